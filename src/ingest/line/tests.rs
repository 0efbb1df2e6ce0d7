use super::*;

fn payload(line: &str) -> Vec<u8> {
    parse(line).1.unwrap().payload.to_vec()
}

fn reject(line: &str) -> String {
    parse(line).1.unwrap_err().to_string()
}

#[test]
fn a_line_is_taken_as_the_design_shows_it() {
    let (id, request) =
        parse(r#"{"topic":"gateways/g1/door","payload":{"open":true},"qos":0,"retain":true,"id":"a7"}"#);
    let request = request.unwrap();
    assert_eq!((id, &*request.topic), (Some("\"a7\""), "gateways/g1/door"));
    assert_eq!((&*request.payload, request.qos, request.retain), (&br#"{"open":true}"#[..], Qos::AtMostOnce, true));

    let (id, request) = parse(r#"{"topic":"a","payload":""}"#);
    let request = request.unwrap();
    assert_eq!((id, request.qos, request.retain, request.urgent), (None, Qos::AtLeastOnce, false, false));
    assert!(parse(r#"{"topic":"a","payload":"","urgent":true}"#).1.unwrap().urgent);
}

#[test]
fn a_string_is_sent_as_it_is_and_other_json_exactly_as_its_values_were() {
    assert_eq!(payload(r#"{"topic":"a","payload":"plain"}"#), b"plain");
    assert_eq!(payload(r#"{"topic":"a","payload":"a\nb \u00e9 \ud83e\udd80"}"#), "a\nb é 🦀".as_bytes());
    assert_eq!(
        payload(r#"{"topic":"a","payload": { "z" : 1.10, "a": [1e400, -0, null ] } }"#),
        br#"{"z":1.10,"a":[1e400,-0,null]}"#
    );
    assert_eq!(payload(r#"{"topic":"a","payload":null}"#), b"null");
    assert_eq!(payload(r#"{"topic":"a","payload":12345678901234567890123}"#), b"12345678901234567890123");
}

#[test]
fn base64_is_taken_with_and_without_padding() {
    assert_eq!(payload(r#"{"topic":"a","payload_base64":"/wA="}"#), b"\xff\x00");
    assert_eq!(payload(r#"{"topic":"a","payload_base64":"/wA"}"#), b"\xff\x00");
    assert_eq!(payload(r#"{"topic":"a","payload_base64":""}"#), b"");
    for (text, expected) in [
        ("_wA", "its byte 1 is `_`; Base64 has A to Z"),
        ("\u{e9}wA=", "its byte 1 is no ASCII"),
        ("abcde", "a part of it is missing"),
        ("/wB", "its last character, at byte 3,"),
        ("ab===", "isn't Base64: "),
    ] {
        let found = reject(&format!(r#"{{"topic":"a","payload_base64":"{text}"}}"#));
        assert!(found.starts_with("`payload_base64` isn't Base64: ") && found.contains(expected), "{found}");
        assert!(!found.contains("symbol") && !found.contains("Invalid"), "{found}");
    }
}

#[test]
fn every_fault_is_named() {
    for (line, expected) in [
        ("[1]", "the line isn't a JSON object: it is an array. Write an object like {"),
        (" 17", "the line isn't a JSON object: it is a number. "),
        ("null", "the line isn't a JSON object: it is null. "),
        ("nonsense", "the line isn't a JSON object: what stands at byte 2 isn't JSON"),
        ("{'topic':'a'}", "the line isn't a JSON object: what stands at byte 2 isn't JSON. Texts and keys need double"),
        ("", "the line isn't a JSON object: it ends too early"),
        ("\u{feff}{\"topic\":\"a\"}", "the line isn't a JSON object: it begins with a byte order mark (U+FEFF); write"),
        (r#"{"topic":"a","payload":1"#, "the line isn't a JSON object: it ends too early"),
        (r#"{"topic":"a","payload":1} x"#, "the line isn't a JSON object: something follows it at byte 26. Write one"),
        (r#"{"payload":1}"#, "`topic` is missing"),
        (r#"{"topic":7,"payload":1}"#, "`topic` must be a string"),
        (r#"{"topic":"a"}"#, "`payload` is missing"),
        (r#"{"topic":"a","payload":1,"payload_base64":""}"#, "`payload` and `payload_base64` are both given"),
        (r#"{"topic":"a","payload":"\ud800"}"#, "`payload` has half of a surrogate pair (U+D800) as character 1,"),
        (
            r#"{"topic":"a","payload":{"x":["\udfff"]}}"#,
            "`payload` has half of a surrogate pair (U+DFFF) as character 8,",
        ),
        (r#"{"topic":"a","payload":{"\ud83d":1}}"#, "`payload` has half of a surrogate pair (U+D83D) as character 3,"),
        (
            r#"{"topic":"a","payload":1,"\ud83dx":1}"#,
            "the line isn't a JSON object: a key has half of a surrogate pair as an escape",
        ),
        (
            r#"{"topic":"a","payload":1,"properties":{"user_properties":[["k","\udc00"]]}}"#,
            "`properties` has half of a surrogate pair (U+DC00)",
        ),
        (
            r#"{"topic":"ü\\\ud83e\udd80\udc00","payload":1}"#,
            "`topic` has half of a surrogate pair (U+DC00) as character 4,",
        ),
        (r#"{"topic":"a\ud800\u0041","payload":1}"#, "`topic` has half of a surrogate pair (U+D800) as character 2,"),
        (
            r#"{"topic":"a","payload":1,"properties":{"content_type":"a\u0007"}}"#,
            "`properties` can't be sent: `content_type` has a control character (U+0007) as character 2",
        ),
        (
            r#"{"topic":"a","payload":1,"properties":{"user_properties":[["k","\ufffe"]]}}"#,
            "`properties` can't be sent: `user_properties` has a code point",
        ),
        (r#"{"topic":"a","payload":1,"qos":2}"#, "`qos` must be 0 or 1"),
        (r#"{"topic":"a","payload":1,"qos":"1"}"#, "`qos` must be 0 or 1"),
        (r#"{"topic":"a","payload":1,"retain":1}"#, "`retain` must be true or false"),
        (r#"{"topic":"a","payload":1,"urgent":"true"}"#, "`urgent` must be true or false"),
        (r#"{"topic":"a","payload":1,"urgent":true,"urgent":false}"#, "`urgent` is given twice"),
        (r#"{"topic":"a","payload":1,"topic":"b"}"#, "`topic` is given twice"),
        (r#"{"topic":"a","paylod":1}"#, "unknown key `paylod`; the nearest is `payload`"),
        (r#"{"topic":"a","message":1}"#, "unknown key `message`; the nearest is `payload`"),
        (r#"{"topic":"a","sensor":1}"#, "unknown key `sensor`. The keys are topic, payload,"),
        (r#"{"topic":"a","payload":1,"id":null}"#, "`id` must be a string or a number"),
        (r#"{"topic":"a","payload":1,"id":[1]}"#, "`id` must be a string or a number"),
        (r#"{"topic":"a","payload":1,"id":"\ud800"}"#, "`id` has half of a surrogate pair (U+D800) as character 1,"),
        (
            r#"{"topic":"a","payload":1,"id":"ab\udc00\ud800"}"#,
            "`id` has half of a surrogate pair (U+DC00) as character 3,",
        ),
        (r#"{"topic":7,"id":"\ud83d\ude00\ud83d"}"#, "`id` has half of a surrogate pair (U+D83D) as character 2,"),
    ] {
        let found = reject(line);
        assert!(found.starts_with(expected), "{line}: {found}");
    }
}

#[test]
fn an_answer_to_a_faulty_line_has_its_id_where_it_can_be_made_out() {
    assert_eq!(parse(r#"{"topic":7,"id":17}"#).0, Some("17"));
    assert_eq!(parse(r#"{"nonsense":7,"id":-1.50}"#).0, Some("-1.50"));
    assert_eq!(parse(r#"{"topic":"a","payload":1,"id":{}}"#).0, None);
    assert_eq!(parse(r#"{"topic":"a","payload":1,"id":"\ud83d\ude00"}"#).0, Some(r#""\ud83d\ude00""#));
    // Whatever is given back is JSON that any program reads.
    for id in [r#""\ud800""#, r#""\udfff""#, r#""a\ud83d\u0041""#, r#""\ude00\ud83d""#, r#""\\ud800""#] {
        let line = format!(r#"{{"topic":"a","payload":1,"id":{id}}}"#);
        let given_back = parse(&line).0;
        assert!(given_back.is_none_or(|id| serde_json::from_str::<serde_json::Value>(id).is_ok()), "{id}");
    }
}

#[test]
fn the_largest_payload_is_taken_and_a_larger_one_is_not() {
    let line = |length| format!(r#"{{"topic":"a","payload":"{}"}}"#, "x".repeat(length));
    assert_eq!(payload(&line(MAX_PAYLOAD)).len(), MAX_PAYLOAD);
    assert_eq!(parse(&line(MAX_PAYLOAD + 1)).1.unwrap_err(), Reject::TooLarge(MAX_PAYLOAD + 1));
}

#[test]
fn deep_nesting_does_no_harm() {
    let deep = "[".repeat(50_000) + &"]".repeat(50_000);
    assert_eq!(payload(&format!(r#"{{"topic":"a","payload":{deep}}}"#)), deep.as_bytes());
    assert!(reject(&format!(r#"{{"topic":{deep},"payload":1}}"#)).contains("`topic` must be a string"));
}

#[test]
fn properties_and_expiry_are_taken_and_their_faults_named() {
    let taken = |rest: &str| parse(&format!(r#"{{"topic":"a","payload":"x",{rest}}}"#)).1.unwrap().properties.unwrap();
    let properties = taken(r#""properties":{"content_type":"c","user_properties":[["k","v"]],"expires_in":7}"#);
    assert_eq!((properties.content_type.as_deref(), properties.expires_in), (Some("c"), Some(7)));
    assert_eq!(taken(r#""expires_in":"1h 5s""#).expires_in, Some(3605));
    assert_eq!(taken(r#""expires_in":"1500ms","properties":{}"#).expires_in, Some(1));
    assert!(parse(r#"{"topic":"a","payload":"x"}"#).1.unwrap().properties.is_none());
    for (rest, expected) in [
        (r#""expires_in":60"#, "`expires_in` must be a duration"),
        (r#""expires_in":"500ms""#, "`expires_in` must be a duration"),
        (r#""expires_in":"1M""#, "`expires_in` must be a duration"),
        (r#""expires_in":"200y""#, "`expires_in` must be a duration"),
        (r#""expires_in":"1s","properties":{"expires_in":1}"#, "`expires_in` is given twice"),
        (r#""properties":[]"#, "`properties` must be an object"),
        (
            r#""properties":{"content-type":"c"}"#,
            "`properties` isn't valid: unknown key `content-type`; the nearest is `content_type`. The keys are content_type, resp",
        ),
        (
            r#""properties":{"user_properties":[["k"]]}"#,
            "`properties` isn't valid: `user_properties` must be a list of pairs",
        ),
        (
            r#""properties":{"user_properties":{"k":"v"}}"#,
            "`properties` isn't valid: `user_properties` must be a list of pairs",
        ),
        (r#""properties":{"content_type":[]}"#, "`properties` isn't valid: `content_type` must be a string"),
        (
            r#""properties":{"expires_in":"60"}"#,
            "`properties` isn't valid: `expires_in` must be a whole number of seconds",
        ),
        (
            r#""properties":{"expires_in":1.5}"#,
            "`properties` isn't valid: `expires_in` must be a whole number of seconds",
        ),
        (
            r#""properties":{"payload_format_indicator":"1"}"#,
            "`properties` isn't valid: `payload_format_indicator` must be 0",
        ),
        (r#""properties":{"expires_in":1,"expires_in":1}"#, "`properties` isn't valid: a key is given twice"),
        (
            r#""properties":{"correlation_data_base64":"a*b="}"#,
            "`properties` isn't valid: `correlation_data_base64` isn't Base64: its byte 2 is `*`",
        ),
        (r#""properties":{"response_topic":"a/#"}"#, "`properties` has a `response_topic` that can't be one: `#`"),
        (r#""properties":{"payload_format_indicator":2}"#, "`properties` has a `payload_format_indicator`"),
    ] {
        let found = reject(&format!(r#"{{"topic":"a","payload":"x",{rest}}}"#));
        assert!(found.starts_with(expected), "{rest}: {found}");
    }
    let large = format!(r#"{{"topic":"a","payload":"x","properties":{{"content_type":"{}"}}}}"#, "x".repeat(8190));
    assert!(reject(&large).starts_with("`properties` takes 8193 bytes, at most 8192"), "{}", reject(&large));
}
