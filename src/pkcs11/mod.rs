//! Private keys in tokens: a TPM, a secure element, SoftHSM, through the PKCS#11 module of its maker.
//!
//! The daemon never loads a module: that is code of others, which may crash or hang. For each signature it starts itself once more,
//! as `gatewire signer` ([`signer`]), which alone loads the module, and which alone reads the PIN to log in with. Both talk over
//! pipes ([`wire`]). What comes of it is verified before it is used ([`key`]).

mod child;
mod der;
mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod key;
mod mark;
mod module;
mod padding;
mod refused;
mod signer;
mod step;
mod uri;
mod wire;
mod words;

pub(crate) use fault::{RELOAD, TokenFault};
pub(crate) use key::{TlsKey, TokenKey};
pub(crate) use refused::forget_refused_pin;
pub(crate) use signer::run as run_signer;
pub(crate) use uri::{Uri, is_uri};
