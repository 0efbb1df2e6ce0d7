//! What tests of connections need.

pub(crate) mod pki;
