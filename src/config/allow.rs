//! What readers of a forward may ask for.

use super::Forward;
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

impl Forward {
    /// What goes to it, in words: its filters, and what its readers may ask for.
    pub(crate) fn wants(&self) -> String {
        let listed = |filters: &[TopicFilter]| filters.iter().map(TopicFilter::as_str).collect::<Vec<_>>().join(", ");
        let asked = |allow: &Allow| format!("what readers ask for (allow {})", listed(&allow.filters));
        match (&self.filters[..], &self.allow) {
            (filters, None) => listed(filters),
            ([], Some(allow)) => asked(allow),
            (filters, Some(allow)) => format!("{}, and {}", listed(filters), asked(allow)),
        }
    }
}
