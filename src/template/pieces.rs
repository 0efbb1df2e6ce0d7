//! A text taken apart at its placeholders.

use super::{Field, Fixed, NAMES, Piece, TemplateError, Varying};

/// Takes a text apart at its placeholders.
pub(super) fn pieces<'a>(source: &'a str, fixed: &'a Fixed) -> Result<Vec<Piece<'a>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some((text, after)) = rest.split_once("{{") {
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        if let Some(after) = after.strip_prefix("\"{{\"}}") {
            pieces.push(Piece::Text("{{"));
            rest = after;
            continue;
        }
        let (name, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
        pieces.push(match name.trim() {
            "client_id" => Piece::Fixed(&fixed.client_id),
            "thing" => Piece::Fixed(&fixed.thing),
            "hostname" => Piece::Fixed(&fixed.hostname),
            "count" => Piece::Varying(Varying::Count),
            "timestamp" => Piece::Varying(Varying::Timestamp),
            "value" => Piece::Value(Field::new()),
            name if name.starts_with("value.") => Piece::Value(field(name)?),
            unknown => return Err(TemplateError::Unknown(unknown.to_owned(), &NAMES)),
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// The path in `value.rooms.0.name`.
fn field(name: &str) -> Result<Field, TemplateError> {
    let field: Field = name.split('.').skip(1).map(str::to_owned).collect();
    match field.iter().any(String::is_empty) {
        true => Err(TemplateError::NotAField(name.to_owned())),
        false => Ok(field),
    }
}
