//! What a reader may ask for: which text is a filter, and within the forward's `allow`.

use crate::config;
use crate::message::TopicFilter;
use crate::template::fill;

/// Why a client doesn't get what it has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::forward) struct Denied {
    /// As docs/sockets.md has it.
    pub(in crate::forward) code: &'static str,
    pub(in crate::forward) detail: String,
}

pub(super) fn is_allowed(filter: &TopicFilter, forward: &config::Forward) -> bool {
    let allow = forward.allow.as_ref();
    allow.is_some_and(|allow| allow.filters.iter().any(|wide| wide == filter || wide.covers(filter)))
}

/// The filter that a client has written.
///
/// # Errors
/// It isn't one.
pub(super) fn read(text: &str, forward: &config::Forward) -> Result<TopicFilter, Denied> {
    let bad = |why: String| Denied { code: "bad_filter", detail: format!("{text:?} isn't a topic filter: {why}") };
    let filled = match &forward.allow {
        Some(allow) => fill(text, &allow.fixed).map_err(|error| bad(error.to_string()))?,
        None => text.to_owned(),
    };
    TopicFilter::new(&filled).map_err(|error| bad(error.to_string()))
}

/// That a filter isn't allowed.
pub(super) fn not_allowed(filter: &TopicFilter, forward: &config::Forward) -> Denied {
    let Some(allow) = &forward.allow else { return no_allow(forward) };
    let list: Vec<String> = allow.filters.iter().map(|filter| format!("`{}`", filter.as_str())).collect();
    let detail = format!("`{}` isn't within `allow` of the forward: {}", filter.as_str(), list.join(", "));
    Denied { code: "filter_not_allowed", detail }
}

fn no_allow(forward: &config::Forward) -> Denied {
    let detail = format!("the forward {} has no `allow` in its configuration: readers can't subscribe", forward.name);
    Denied { code: "filter_not_allowed", detail }
}

/// The filters of `texts`.
///
/// # Errors
/// One isn't a filter, or isn't allowed.
pub(super) fn allowed(texts: &[String], forward: &config::Forward) -> Result<Vec<TopicFilter>, Denied> {
    if forward.allow.is_none() {
        return Err(no_allow(forward));
    }
    let checked = |text: &String| {
        let filter = read(text, forward)?;
        if is_allowed(&filter, forward) { Ok(filter) } else { Err(not_allowed(&filter, forward)) }
    };
    texts.iter().map(checked).collect()
}
