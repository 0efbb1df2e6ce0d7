//! `[meter]`: what is carried over the network is counted.

/// `[meter]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meter {}
