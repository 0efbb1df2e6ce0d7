//! What is wrong with a line of a client, in words for its writer.

use serde_json::error::Category;

use super::half_pair;

/// Why a line isn't one JSON object, such as `example`. The text follows "the line isn't a JSON object: ".
pub(crate) fn not_an_object(line: &str, error: &serde_json::Error, example: &str) -> String {
    let column = error.column();
    // What stands behind a whole value.
    let mut values = serde_json::Deserializer::from_str(line).into_iter::<serde::de::IgnoredAny>();
    let first = values.next();
    let end = line.get(values.byte_offset()..);
    match (error.classify(), first) {
        (Category::Data, _) => format!("it is {}. Write an object like {example}", kind(line)),
        (Category::Eof | Category::Io, _) => {
            "it ends too early: a quote, brace or bracket isn't closed. A line holds the whole object".to_owned()
        }
        (Category::Syntax, Some(Ok(_))) if end.is_some_and(|rest| !rest.trim().is_empty()) => {
            format!("something follows it at byte {}. Write one object to a line", values.byte_offset() + 1)
        }
        (Category::Syntax, _) if line.starts_with('\u{feff}') => {
            "it begins with a byte order mark (U+FEFF); write the line without it".to_owned()
        }
        (Category::Syntax, Some(Ok(_))) if half_pair(line).is_some() => format!(
            "a key has half of a surrogate pair as an escape (\\ud800 to \\udfff), which is no character; it ends at byte {column}"
        ),
        (Category::Syntax, _) => format!(
            "what stands at byte {column} isn't JSON. Texts and keys need double quotes, and control characters in them \
             escapes such as \\n"
        ),
    }
}

/// What begins so, with its article.
fn kind(json: &str) -> &'static str {
    match json.trim_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}
