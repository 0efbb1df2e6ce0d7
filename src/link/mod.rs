//! The one connection to the server.

pub(crate) mod credentials;
pub(crate) mod diagnosis;
#[cfg(test)]
pub(crate) mod test_pki;
pub(crate) mod transport;
