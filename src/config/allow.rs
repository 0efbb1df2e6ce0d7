//! What readers of a forward may ask for.

use crate::message::TopicFilter;
use crate::template::Fixed;

/// `forward.allow`: what readers may subscribe to, beside the forward's own filters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Allow {
    /// What they ask for must be covered by one of these.
    pub(crate) filters: Vec<TopicFilter>,
    /// For the placeholders in what they ask for.
    pub(crate) fixed: Fixed,
}
