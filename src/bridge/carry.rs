//! What of a message is carried to the other side beside topic and payload. Pure.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use super::cause::Cause;
use crate::limits::MAX_PROPERTIES;
use crate::message::{Properties, Topic, check_characters};

/// The user property in which bridges count how many of them a message has come through.
const HOPS: &str = "gatewire-hops";

/// Through so many bridges a message goes.
const MAX_HOPS: u32 = 4;

/// The properties with which a message that has come `now` goes on, one hop further. Its time counts on. What the other side would end the connection for is left out:
/// a response topic that can't be one there, texts with control characters, a format indicator that isn't true.
///
/// # Errors
/// It has come through too many bridges, or its properties are too large.
pub(super) fn properties(
    from: Option<&Arc<Properties>>,
    payload: &[u8],
    is_topic: impl Fn(&str) -> bool,
    now: Instant,
) -> Result<Option<Arc<Properties>>, Cause> {
    let Some(from) = from else { return Ok(Some(of_first_hop())) };
    let mut properties = (**from).clone();
    let hops = hops(&properties);
    if hops >= MAX_HOPS {
        return Err(Cause::Hops);
    }
    properties.response_topic.take_if(|topic| !is_topic(topic));
    properties.content_type.take_if(|text| check_characters(text).is_err());
    properties
        .user_properties
        .retain(|(name, value)| name != HOPS && check_characters(name).is_ok() && check_characters(value).is_ok());
    properties.payload_format_indicator.take_if(|indicator| match indicator {
        0 => false,
        1 => std::str::from_utf8(payload).is_err(),
        _ => true,
    });
    properties.expires_in.take_if(|seconds| *seconds == 0);
    properties.count_from(now);
    properties.user_properties.push((HOPS.to_owned(), (hops + 1).to_string()));
    if properties.wire_len() > MAX_PROPERTIES {
        return Err(Cause::TooLarge);
    }
    Ok(Some(Arc::new(properties)))
}

/// Those of a message that had none, as most have: one for all of them.
fn of_first_hop() -> Arc<Properties> {
    static FIRST_HOP: LazyLock<Arc<Properties>> = LazyLock::new(|| with_hops("1".to_owned()));
    Arc::clone(&FIRST_HOP)
}

fn with_hops(hops: String) -> Arc<Properties> {
    Arc::new(Properties { user_properties: vec![(HOPS.to_owned(), hops)], ..Properties::default() })
}

/// The properties of several messages that go on as one array: only the hops, the most that any of them has.
pub(super) fn of_several<'a>(all: impl Iterator<Item = &'a Arc<Properties>>) -> Option<Arc<Properties>> {
    let hops = all.map(|properties| hops(properties)).max()?;
    Some(with_hops(hops.to_string()))
}

/// How many bridges it has come through. What isn't a number was written by somebody else, and counts as none.
fn hops(properties: &Properties) -> u32 {
    let said = properties.user_properties.iter().filter(|(name, _)| name == HOPS);
    said.filter_map(|(_, value)| value.parse().ok()).max().unwrap_or(0)
}

/// Whether IoT Core takes it as a response topic.
pub(super) fn is_topic_of_iot_core(topic: &str) -> bool {
    Topic::new(topic).is_ok()
}

/// Whether a local broker takes it as a response topic.
pub(super) fn is_local_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#']) && check_characters(topic).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(users: &[(&str, &str)]) -> Arc<Properties> {
        let user_properties = users.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Arc::new(Properties { user_properties, ..Properties::default() })
    }

    fn users(properties: Option<Arc<Properties>>) -> Vec<(String, String)> {
        properties.unwrap().user_properties.clone()
    }

    #[test]
    fn a_message_goes_through_four_bridges_and_no_more() {
        let mut properties = None;
        for hops in 1..=4 {
            let next = super::properties(properties.as_ref(), b"x", is_topic_of_iot_core, Instant::now()).unwrap();
            assert_eq!(users(next.clone()), [(HOPS.to_owned(), hops.to_string())]);
            properties = next;
        }
        assert_eq!(
            super::properties(properties.as_ref(), b"x", is_topic_of_iot_core, Instant::now()),
            Err(Cause::Hops)
        );
        let other = with(&[("unit", "C"), (HOPS, "many")]);
        let next = super::properties(Some(&other), b"x", is_topic_of_iot_core, Instant::now()).unwrap();
        assert_eq!(users(next), [("unit".to_owned(), "C".to_owned()), (HOPS.to_owned(), "1".to_owned())]);
    }

    #[test]
    fn what_has_no_properties_of_its_own_takes_no_memory_for_them() {
        let next = || properties(None, b"x", is_local_topic, Instant::now()).unwrap().unwrap();
        assert!(Arc::ptr_eq(&next(), &next()));
        // Who changes them changes their own.
        let mut own = next();
        Arc::make_mut(&mut own).expires_in = Some(1);
        assert_eq!((next().expires_in, next().expires_at), (None, None));
    }

    #[test]
    fn what_the_other_side_would_close_for_is_left_out() {
        let odd = Properties {
            response_topic: Some("a/1/2/3/4/5/6/7/8".to_owned()),
            content_type: Some("text\u{1}".to_owned()),
            payload_format_indicator: Some(1),
            expires_in: Some(0),
            user_properties: vec![("a\u{0}".to_owned(), String::new())],
            ..Properties::default()
        };
        let next =
            properties(Some(&Arc::new(odd.clone())), b"\xff", is_topic_of_iot_core, Instant::now()).unwrap().unwrap();
        assert!(next.check(b"\xff").is_ok() && next.user_properties.len() == 1);
        let local = properties(Some(&Arc::new(odd)), b"x", is_local_topic, Instant::now()).unwrap().unwrap();
        assert_eq!(local.response_topic.as_deref(), Some("a/1/2/3/4/5/6/7/8"));
        let large = with(&[("x", &"y".repeat(MAX_PROPERTIES))]);
        assert_eq!(properties(Some(&large), b"x", is_local_topic, Instant::now()), Err(Cause::TooLarge));
    }

    #[test]
    fn several_have_come_as_far_as_any_of_them() {
        let all = [with(&[(HOPS, "1")]), with(&[(HOPS, "3"), ("unit", "C")])];
        assert_eq!(users(of_several(all.iter())), [(HOPS.to_owned(), "3".to_owned())]);
        assert_eq!(of_several([].into_iter()), None);
    }
}
