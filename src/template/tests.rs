use proptest::prelude::*;
use serde_json::json;

use super::*;

fn fixed() -> Fixed {
    Fixed { client_id: "thing-1".to_owned(), thing: "t-1".to_owned(), hostname: "pi\"4".to_owned() }
}

fn tick(value: Option<&SourceValue>) -> Tick<'_> {
    Tick { count: 7, due: "2026-01-31T12:00:00.1239Z".parse().unwrap(), value }
}

fn render(template: &Template) -> String {
    let out = template.render(&tick(None)).unwrap();
    assert!(out.len() <= template.max_len());
    String::from_utf8(out).unwrap()
}

fn text(source: &str) -> String {
    render(&Template::text(source, &fixed()).unwrap())
}

#[test]
fn a_text_is_sent_as_it_is_with_its_placeholders_filled_in() {
    assert_eq!(text("Hello [{{count}}]"), "Hello [7]");
    assert_eq!(text("{{ client_id }} on {{hostname}}: { } }} {"), "thing-1 on pi\"4: { } }} {");
    assert_eq!(text(r#"{{"{{"}}count}}"#), "{{count}}");
    assert_eq!(text("{{timestamp}}"), "2026-01-31T12:00:00.124Z");
    assert_eq!(text(""), "");
}

#[test]
fn json_keeps_its_order_and_escapes_what_is_filled_in() {
    let value = json!({"z": "Hello [{{count}}]", "a": [1, 2.5, null, true, {}, []], "host": "{{hostname}}\n"});
    let template = Template::json(&value, &fixed()).unwrap();
    let expected = r#"{"z":"Hello [7]","a":[1,2.5,null,true,{},[]],"host":"pi\"4\n"}"#;
    assert_eq!(render(&template), expected);
    assert!(matches!(template.segments[..], [Segment::Literal(_), Segment::Varying(_), Segment::Literal(_)]));
}

#[test]
fn a_string_that_is_one_number_is_sent_as_a_number() {
    let fixed = Fixed { client_id: "42".to_owned(), thing: "t".to_owned(), hostname: "042".to_owned() };
    let value = json!(["{{count}}", "{{count}} ", "{{client_id}}", "{{hostname}}", "{{timestamp}}"]);
    let template = Template::json(&value, &fixed).unwrap();
    assert_eq!(render(&template), r#"[7,"7 ",42,"042","2026-01-31T12:00:00.124Z"]"#);
}

#[test]
fn a_topic_may_hold_only_what_does_not_change() {
    assert_eq!(fill("gateways/{{client_id}}/{{thing}}", &fixed()).unwrap(), "gateways/thing-1/t-1");
    assert_eq!(fill("a/{{count}}", &fixed()), Err(TemplateError::OnlyInPayload("count")));
    assert_eq!(fill("a/{{value.x}}", &fixed()), Err(TemplateError::OnlyInPayload("value")));
}

#[test]
fn a_wrong_name_is_refused_with_the_nearest() {
    let error = |source: &str| Template::text(source, &fixed()).unwrap_err().to_string();
    assert_eq!(error("{{clientid}}"), "`{{clientid}}` isn't known; did you mean `{{client_id}}`?");
    assert!(error("{{}}").contains("there are client_id, thing, hostname, count, timestamp and value"));
    assert!(error("{{valeu}}").ends_with("did you mean `{{value}}`?"));
    // By the same rule as the keys of the configuration: what is spelt another way is none of them.
    for (written, meant) in
        [("Client-ID", "client_id"), ("host.name", "hostname"), ("ts", "timestamp"), ("counts", "count")]
    {
        assert!(
            error(&format!("{{{{{written}}}}}")).ends_with(&format!("did you mean `{{{{{meant}}}}}`?")),
            "{written}"
        );
    }
    for unlike in ["temperature", "vault", "cost", "house", "timer"] {
        assert!(error(&format!("{{{{{unlike}}}}}")).contains("there are client_id"), "{unlike}");
    }
    for source in ["{{value.}}", "{{value..a}}", "{{value.a.}}"] {
        assert!(error(source).ends_with("fields are named like `{{value.temp}}`"), "{source}");
    }
    assert_eq!(
        error("{{count"),
        "`{{` without `}}`; a placeholder is written `{{count}}`, and a literal `{{` as `{{\"{{\"}}`"
    );
}

fn filled(template: &Template, value: SourceValue) -> Result<String, RenderError> {
    template.render(&tick(Some(&value))).map(|out| String::from_utf8_lossy(&out).into_owned())
}

fn read(text: &str) -> SourceValue {
    SourceValue::text(text.as_bytes().to_vec())
}

#[test]
fn the_value_stands_in_a_text_as_it_is() {
    let template = Template::text("{{value}}C [{{count}}]", &fixed()).unwrap();
    assert!(template.takes_value() && !Template::text("{{count}}", &fixed()).unwrap().takes_value());
    assert_eq!(filled(&template, read("48312\n")).unwrap(), "48312C [7]");
    let bare = Template::bare_value();
    assert_eq!(bare.render(&tick(Some(&SourceValue::text(vec![0xff, b'\n'])))).unwrap(), [0xff]);
    assert_eq!(
        filled(&bare, SourceValue::json(&json!({"cpu": {"percent": 1.5}}))).unwrap(),
        r#"{"cpu":{"percent":1.5}}"#
    );
    let template = Template::text("{{value.name}} {{value.temp}} {{value.on}}", &fixed()).unwrap();
    assert_eq!(filled(&template, read(r#"{"temp":21.5,"name":"\"k\"","on":[true]}"#)).unwrap(), "\"k\" 21.5 [true]");
}

#[test]
fn the_value_stands_in_json_as_a_number_if_it_is_one() {
    let template = Template::json(&json!({"v": "{{value}}", "s": "{{value}} C", "{{value}}": 1}), &fixed()).unwrap();
    assert_eq!(filled(&template, read("48.5\n")).unwrap(), r#"{"v":48.5,"s":"48.5 C","48.5":1}"#);
    assert_eq!(filled(&template, read("a\"b\n")).unwrap(), r#"{"v":"a\"b","s":"a\"b C","a\"b":1}"#);
    for number in ["12345678901234567890123", "1e400", "-0.10"] {
        assert_eq!(
            filled(&Template::json(&json!(["{{value}}"]), &fixed()).unwrap(), read(number)).unwrap(),
            format!("[{number}]")
        );
    }
    for text in ["NaN", "inf", "0x10", "1_000", "+5", "042", ".5"] {
        assert_eq!(
            filled(&Template::json(&json!(["{{value}}"]), &fixed()).unwrap(), read(text)).unwrap(),
            format!("[\"{text}\"]")
        );
    }
    assert_eq!(filled(&template, read("true")).unwrap(), r#"{"v":"true","s":"true C","true":1}"#);
    assert_eq!(filled(&template, SourceValue::text(vec![0xff])), Err(RenderError::NotUtf8));
    let alone = Template::json(&json!(["{{value}}"]), &fixed()).unwrap();
    assert_eq!(filled(&alone, SourceValue::json(&json!({"uptime": 5}))).unwrap(), r#"[{"uptime":5}]"#);
}

#[test]
fn a_field_of_a_json_value_stands_in_json_as_what_it_is() {
    let value = r#"{"temp": 21.50, "name": "a\nb", "rooms": [{"on": true}, null]}"#;
    let source = json!({"t": "{{value.temp}}", "n": "{{ value.name }}", "r": "{{value.rooms.0}}", "s": "is {{value.rooms.0.on}}"});
    let template = Template::json(&source, &fixed()).unwrap();
    assert_eq!(filled(&template, read(value)).unwrap(), r#"{"t":21.50,"n":"a\nb","r":{"on":true},"s":"is true"}"#);
    let numbers = r#"{"temp": 12345678901234567890123, "name": 1e400, "rooms": [{"x": [1.10, -0]}]}"#;
    let source = json!({"t": "{{value.temp}}", "n": "{{value.name}}", "r": "{{value.rooms}}", "s": "{{value.temp}} {{value.rooms.0}}"});
    let template = Template::json(&source, &fixed()).unwrap();
    assert_eq!(
        filled(&template, read(numbers)).unwrap(),
        r#"{"t":12345678901234567890123,"n":1e400,"r":[{"x":[1.10,-0]}],"s":"12345678901234567890123 {\"x\":[1.10,-0]}"}"#
    );
    let error = |source: &str, value: &str| {
        filled(&Template::text(source, &fixed()).unwrap(), read(value)).unwrap_err().to_string()
    };
    assert_eq!(error("{{value.a.b}}", r#"{"a":{}}"#), "has no `a.b`");
    assert!(error("{{value.a}}", r#"{"a":"\ud800"}"#).starts_with("has half a character as `a`"));
    let alone = Template::json(&json!(["{{value.a}}"]), &fixed()).unwrap();
    let half = filled(&alone, read(r#"{"a":{"b":"\udc00"}}"#));
    assert_eq!(half, Err(RenderError::NotUnicode("a".to_owned())), "nobody could read the rest of the payload");
    assert_eq!(error("{{value.a}}", "21.5'C"), "isn't JSON, so it has no `a`");
}

#[test]
fn a_payload_is_never_too_large_for_iot_core() {
    let value = read(&"x".repeat(MAX_PAYLOAD - 2));
    let quoted = Template::json(&json!("{{value}}"), &fixed()).unwrap();
    assert_eq!(filled(&quoted, value.clone()).unwrap().len(), MAX_PAYLOAD);
    let twice = Template::text(&"{{value}}".repeat(1000), &fixed()).unwrap();
    assert_eq!(filled(&twice, value), Err(RenderError::TooLarge));
}

proptest! {
    /// Whatever is read, what is sent as JSON is JSON.
    #[test]
    fn whatever_is_read_json_stays_json(bytes in prop::collection::vec(any::<u8>(), 0..50), text in any::<String>()) {
        let template = Template::json(&json!({"a": "{{value}}", "b": "x{{value}}", "{{value}}": 1}), &fixed()).unwrap();
        for value in [SourceValue::text(bytes), SourceValue::text(text.into_bytes())] {
            if let Ok(out) = template.render(&tick(Some(&value))) {
                prop_assert!(serde_json::from_slice::<Json>(&out).is_ok(), "{:?}", out);
            }
        }
    }
}
