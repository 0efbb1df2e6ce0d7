//! A text taken apart at its placeholders.

use super::{Field, Fixed, NAMES, Piece, TemplateError, Varying};

/// A stretch of a text.
pub(super) enum Part<'a> {
    Text(&'a str),
    /// What stands between `{{` and `}}`.
    Name(&'a str),
}

/// Takes a text apart at its placeholders, whatever they are called.
pub(super) fn parts(source: &str) -> Result<Vec<Part<'_>>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = source;
    while let Some((text, after)) = rest.split_once("{{") {
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        if let Some(after) = after.strip_prefix("\"{{\"}}") {
            parts.push(Part::Text("{{"));
            rest = after;
            continue;
        }
        let (name, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
        parts.push(Part::Name(name.trim()));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// Takes a text apart at its placeholders.
pub(super) fn pieces<'a>(source: &'a str, fixed: &'a Fixed) -> Result<Vec<Piece<'a>>, TemplateError> {
    let piece = |part| {
        Ok(match part {
            Part::Text(text) => Piece::Text(text),
            Part::Name("client_id") => Piece::Fixed(&fixed.client_id),
            Part::Name("thing") => Piece::Fixed(&fixed.thing),
            Part::Name("hostname") => Piece::Fixed(&fixed.hostname),
            Part::Name("count") => Piece::Varying(Varying::Count),
            Part::Name("timestamp") => Piece::Varying(Varying::Timestamp),
            Part::Name("value") => Piece::Value(Field::new()),
            Part::Name(name) if name.starts_with("value.") => Piece::Value(field(name)?),
            Part::Name(unknown) => return Err(TemplateError::Unknown(unknown.to_owned(), &NAMES)),
        })
    };
    parts(source)?.into_iter().map(piece).collect()
}

/// The path in `value.rooms.0.name`.
fn field(name: &str) -> Result<Field, TemplateError> {
    let field: Field = name.split('.').skip(1).map(str::to_owned).collect();
    match field.iter().any(String::is_empty) {
        true => Err(TemplateError::NotAField(name.to_owned())),
        false => Ok(field),
    }
}
