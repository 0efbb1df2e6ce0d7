//! Resources as they stand in a policy: wildcards, escapes and policy variables.

use super::context::{Context, KnownValue};
use super::pattern::{Pattern, Piece};

/// A resource of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    /// As it stands in the document.
    pub(crate) text: String,
    /// What it matches; at most, where it holds variables that nobody here knows.
    pub(crate) pattern: Pattern,
    /// The variables whose values only IoT Core knows for sure.
    pub(crate) unknown: Vec<Variable>,
    /// It holds the name of the thing.
    pub(crate) names_thing: bool,
}

/// A variable whose value isn't certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// Why it isn't, where there is something to say.
    pub(crate) why: Option<String>,
}

impl Resource {
    /// Reads a resource of a document of version 2012-10-17.
    pub(crate) fn read(text: &str, context: &Context) -> Resource {
        let mut resource =
            Resource { text: text.to_owned(), pattern: Pattern::default(), unknown: Vec::new(), names_thing: false };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = match rest.strip_prefix("${") {
                Some(variable) => {
                    // One that isn't closed has no value either.
                    let (name, after) = variable.split_once('}').unwrap_or((variable, ""));
                    resource.fill_in(name, context);
                    after
                }
                None => {
                    resource.pattern.push(Pattern::glob_piece(c));
                    &rest[c.len_utf8()..]
                }
            };
        }
        resource
    }

    fn fill_in(&mut self, name: &str, context: &Context) {
        self.names_thing |= Context::is_thing_name(name);
        let known = match name {
            "*" | "?" | "$" => KnownValue::Values(vec![name.to_owned()]),
            _ => context.value(name, None),
        };
        let (value, doubt) = match known {
            KnownValue::Values(values) => (values.into_iter().next(), None),
            KnownValue::Perhaps(value, why) => (Some(value), Some(Some(why))),
            // What IoT Core makes of a variable that has no value AWS doesn't say.
            KnownValue::Missing(why) => (None, Some(Some(why))),
            KnownValue::Unknown(why) => (None, Some(why)),
        };
        match value {
            // Wildcards in a value have no meaning of their own.
            Some(value) => value.chars().for_each(|c| self.pattern.push(Piece::Char(c))),
            None => self.pattern.push(Piece::ANY_RUN),
        }
        self.unknown.extend(doubt.map(|why| Variable { name: name.to_owned(), why }));
    }
}

/// `text` as a resource that matches it and nothing else.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' => escaped.push_str("${*}"),
            '?' => escaped.push_str("${?}"),
            // Only before a brace does it begin a variable; `$aws` stays readable.
            '$' if rest.peek() == Some(&'{') => escaped.push_str("${$}"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Resource {
        Resource::read(text, &Context { client_id: "c*".to_owned(), thing: Some("t".to_owned()), ..Context::unknown() })
    }

    #[test]
    fn variables_are_filled_in() {
        let matches = |text: &str, found: &str| read(text).pattern.matches(found);
        assert!(matches("client/${iot:ClientId}", "client/c*"));
        assert!(!matches("client/${iot:ClientId}", "client/cx"));
        assert!(matches("${iot:connection.thing.thingname}/${*}${?}${$}{*", "t/*?${x"));
        assert!(!matches("${*}", "x"));
        assert!(matches("$aws/*", "$aws/things"));
        assert!(read("a/${iot:Connection.Thing.ThingName}").names_thing);
    }

    #[test]
    fn a_variable_without_a_known_value_may_be_anything() {
        let resource = read("a/${iot:Connection.Thing.IsAttached}/b");
        assert_eq!(resource.unknown[0].name, "iot:Connection.Thing.IsAttached");
        assert!(resource.pattern.matches("a/true/b") && !resource.pattern.matches("a/true/c"));
        assert_eq!(read("a/${open").unknown[0].name, "open");
    }

    proptest! {
        #[test]
        fn an_escaped_text_matches_itself_alone(text in "[a*?${}/]{0,8}", other in "[a*?${}/]{0,8}") {
            let resource = read(&escaped(&text));
            prop_assert_eq!(&resource.pattern, &Pattern::literal(&text));
            prop_assert_eq!(resource.pattern.matches(&other), text == other);
        }
    }
}
