//! Fleet provisioning by claim: how a gateway that was flashed from an image gets an identity of its own.
//!
//! ```text
//!  key ──> connect ──> create-certificate ──> register-thing ──> trial ──> in force
//!          (claim)      CreateCertificateFromCsr  RegisterThing    (the new certificate)
//! ```
//!
//! The claim is a certificate that many gateways share. With it one connects, asks for a certificate of the key that was made here,
//! and has the fleet's template make a thing of that. Then it connects with the new certificate, and only if that is accepted the
//! identity counts. Each step is on the disk ([`crate::identity`]) before the next, so that it goes on there, whatever happens.
//!
//! [`machine`] decides and is pure, [`wire`] knows what is said, and `provisioner` does it.

mod claim;
mod delete;
mod machine;
mod making;
mod of_link;
mod provisioner;
mod setup;
#[cfg(test)]
mod tests;
mod threads;
mod trial;
mod trouble;
mod waits;
pub(crate) mod wire;

pub(crate) use delete::{Undeleted, delete_claim};
pub(crate) use making::{KeySource, Making};
pub(crate) use provisioner::{News, Provisioner};
pub(crate) use setup::Setup;
pub(crate) use trouble::{Stage, Trouble};
