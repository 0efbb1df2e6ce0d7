//! Resources as they stand in a policy: wildcards, escapes and policy variables.

use super::pattern::{Pattern, Piece};

/// What IoT Core puts in the place of policy variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variables {
    pub(crate) client_id: String,
    pub(crate) thing: String,
}

/// The variable for the name of the thing.
const THING_NAME: &str = "iot:Connection.Thing.ThingName";
const CLIENT_ID: &str = "iot:ClientId";

impl Variables {
    /// Names of variables are like those of conditions, in which case doesn't count.
    fn value(&self, name: &str) -> Option<&str> {
        match name {
            "*" | "?" | "$" => None,
            _ if name.eq_ignore_ascii_case(CLIENT_ID) => Some(&self.client_id),
            _ if name.eq_ignore_ascii_case(THING_NAME) => Some(&self.thing),
            _ => None,
        }
    }
}

/// A resource of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    /// As it stands in the document.
    pub(crate) text: String,
    /// What it matches; at most, where it holds variables that nobody here knows.
    pub(crate) pattern: Pattern,
    /// The variables whose values only IoT Core knows.
    pub(crate) unknown: Vec<String>,
    /// It holds the name of the thing.
    pub(crate) names_thing: bool,
}

impl Resource {
    /// Reads a resource of a document of version 2012-10-17.
    pub(crate) fn read(text: &str, variables: &Variables) -> Resource {
        let mut resource =
            Resource { text: text.to_owned(), pattern: Pattern::default(), unknown: Vec::new(), names_thing: false };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = match rest.strip_prefix("${") {
                Some(variable) => {
                    // One that isn't closed has no value either.
                    let (name, after) = variable.split_once('}').unwrap_or((variable, ""));
                    resource.fill_in(name, variables);
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

    fn fill_in(&mut self, name: &str, variables: &Variables) {
        self.names_thing |= name.eq_ignore_ascii_case(THING_NAME);
        // Wildcards in a value have no meaning of their own.
        let literal = match name {
            "*" | "?" | "$" => Some(name),
            _ => variables.value(name),
        };
        match literal {
            Some(value) => value.chars().for_each(|c| self.pattern.push(Piece::Char(c))),
            None => {
                self.pattern.push(Piece::ANY_RUN);
                self.unknown.push(name.to_owned());
            }
        }
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
        Resource::read(text, &Variables { client_id: "c*".to_owned(), thing: "t".to_owned() })
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
        assert_eq!(resource.unknown, ["iot:Connection.Thing.IsAttached"]);
        assert!(resource.pattern.matches("a/true/b") && !resource.pattern.matches("a/true/c"));
        assert_eq!(read("a/${open").unknown, ["open"]);
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
