//! Conditions of statements, decided as far as their keys are known.

use std::fmt;

use super::Action;
use super::context::{Context, KnownValue};
use super::pattern::{Pattern, Piece};
use super::resource::Resource;

/// One key under one operator: `{"StringEquals": {"iot:ClientId": ["a", "b"]}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// As it is written, such as `ForAllValues:StringEquals`.
    pub(crate) operator: String,
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.values.as_slice() {
            [one] => write!(f, "{} {} {one:?}", self.operator, self.key),
            values => write!(f, "{} {} {values:?}", self.operator, self.key),
        }
    }
}

/// Whether a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Truth {
    Holds,
    /// What it compares with isn't so.
    Fails(String),
    /// Only IoT Core can tell, perhaps for a reason that is worth telling.
    Unknown(Option<String>),
}

/// How the values of a request that has several count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    /// None is written: the key has one value.
    Single,
    All,
    Any,
}

/// How one value is compared with one of the policy's.
#[derive(Clone, Copy)]
struct Comparison {
    negated: bool,
    ignores_case: bool,
    wildcards: bool,
}

impl Condition {
    /// Decides it for `action`, as IAM's reference of condition operators says.
    pub(crate) fn decide(&self, action: Action, context: &Context) -> Truth {
        let operator = self.operator.to_ascii_lowercase();
        let (quantifier, operator) = match operator.split_once(':') {
            Some(("forallvalues", operator)) => (Quantifier::All, operator),
            Some(("foranyvalue", operator)) => (Quantifier::Any, operator),
            Some(_) => return Truth::Unknown(None),
            None => (Quantifier::Single, operator.as_str()),
        };
        let known = context.value(&self.key, Some(action));
        if operator == "null" {
            return self.decide_null(&known);
        }
        let (operator, if_exists) = match operator.strip_suffix("ifexists") {
            Some(operator) => (operator, true),
            None => (operator, false),
        };
        let Some(comparison) = Comparison::of(operator) else { return Truth::Unknown(None) };
        match known {
            KnownValue::Unknown(why) => Truth::Unknown(why),
            KnownValue::Perhaps(_, why) => Truth::Unknown(Some(why)),
            KnownValue::Missing(_) if if_exists || quantifier == Quantifier::All => Truth::Holds,
            KnownValue::Missing(_) if comparison.negated && quantifier == Quantifier::Single => Truth::Holds,
            KnownValue::Missing(why) => Truth::Fails(why),
            KnownValue::Values(found) => self.decide_values(&found, quantifier, comparison, context),
        }
    }

    /// `Null` holds with `"true"` where the key is missing, with `"false"` where it isn't.
    fn decide_null(&self, known: &KnownValue) -> Truth {
        let (is_missing, why) = match known {
            KnownValue::Unknown(why) => return Truth::Unknown(why.clone()),
            KnownValue::Perhaps(_, why) => return Truth::Unknown(Some(why.clone())),
            KnownValue::Missing(why) => (true, why.clone()),
            KnownValue::Values(found) => (false, shown(found)),
        };
        match self.values.iter().any(|wanted| wanted.eq_ignore_ascii_case(if is_missing { "true" } else { "false" })) {
            true => Truth::Holds,
            false => Truth::Fails(why),
        }
    }

    fn decide_values(
        &self,
        found: &[String],
        quantifier: Quantifier,
        comparison: Comparison,
        context: &Context,
    ) -> Truth {
        if quantifier == Quantifier::Single && found.len() > 1 {
            let why = format!(
                "it has several values here ({}), which only ForAllValues and ForAnyValue compare",
                shown(found)
            );
            return Truth::Unknown(Some(why));
        }
        let mut unknown = None;
        let mut is_met = |value: &String| {
            let matched = self.values.iter().any(|wanted| match comparison.matches(value, wanted, context) {
                Ok(matched) => matched,
                Err(variable) => {
                    unknown = Some(format!("${{{variable}}} in it"));
                    false
                }
            });
            matched != comparison.negated
        };
        let met = match quantifier {
            Quantifier::Any => found.iter().any(&mut is_met),
            Quantifier::Single | Quantifier::All => found.iter().all(&mut is_met),
        };
        match (unknown, met) {
            (Some(why), _) => Truth::Unknown(Some(why)),
            (None, true) => Truth::Holds,
            (None, false) => Truth::Fails(format!("it is {} here", shown(found))),
        }
    }
}

impl Comparison {
    /// That of an operator in lower case; `None` for those whose values aren't plain text.
    fn of(operator: &str) -> Option<Comparison> {
        let (negated, ignores_case, wildcards) = match operator {
            "stringequals" => (false, false, false),
            "stringnotequals" => (true, false, false),
            "stringequalsignorecase" | "bool" => (false, true, false),
            "stringnotequalsignorecase" => (true, true, false),
            "stringlike" => (false, false, true),
            "stringnotlike" => (true, false, true),
            _ => return None,
        };
        Some(Comparison { negated, ignores_case, wildcards })
    }

    /// Whether `value` is what the policy names by `wanted`.
    ///
    /// # Errors
    /// A variable in `wanted` that isn't known.
    fn matches(self, value: &str, wanted: &str, context: &Context) -> Result<bool, String> {
        let fold = |text: &str| if self.ignores_case { text.to_lowercase() } else { text.to_owned() };
        let read = Resource::read(wanted, context);
        if let Some(variable) = read.unknown.first() {
            return Err(variable.name.clone());
        }
        let pattern = match self.wildcards {
            true => read.pattern,
            // `*` and `?` are letters to the other operators, and what the variables held is in the text.
            false if !wanted.contains("${") => Pattern::literal(&fold(wanted)),
            false => return Ok(read.pattern.is_literal(&fold(value), self.ignores_case)),
        };
        Ok(pattern.matches(&fold(value)))
    }
}

impl Pattern {
    /// Whether its letters, with wildcards as letters, are those of `text`.
    fn is_literal(&self, text: &str, ignores_case: bool) -> bool {
        let own: String = self
            .pieces()
            .map(|piece| match piece {
                Piece::Char(c) => c,
                Piece::One(_) => '?',
                Piece::Run(_) => '*',
            })
            .collect();
        if ignores_case { own.to_lowercase() == text } else { own == text }
    }
}

fn shown(values: &[String]) -> String {
    values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::super::context::Certificate;
    use super::*;

    fn decide(operator: &str, key: &str, values: &[&str]) -> Truth {
        let fields = [("iot:certificate.subject.commonname".to_owned(), vec!["Bulb".to_owned()])];
        let context = Context {
            client_id: "thing-1".to_owned(),
            thing: None,
            endpoint: Some("host".to_owned()),
            connect_attributes: vec!["PersistentConnect", "LastWill"],
            certificate: Certificate::Known(fields.into()),
        };
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Condition { operator: operator.to_owned(), key: key.to_owned(), values }.decide(Action::Connect, &context)
    }

    #[test]
    fn what_is_known_is_decided() {
        let client = "iot:ClientId";
        let common = "iot:Certificate.Subject.CommonName";
        let attributes = "iot:ConnectAttributes";
        for (operator, key, values) in [
            ("StringEquals", client, &["other", "thing-1"] as &[&str]),
            ("StringLike", client, &["thing-?"]),
            ("StringNotLike", client, &["gate*"]),
            ("stringequalsignorecase", common, &["bULB"]),
            ("StringEquals", client, &["${iot:ClientId}"]),
            ("StringNotEquals", client, &["${iot:Certificate.Subject.CommonName}"]),
            ("StringEqualsIfExists", "iot:Certificate.Subject.Country", &["DE"]),
            ("StringNotEquals", "iot:Certificate.Subject.Country", &["DE"]),
            ("Null", "iot:Certificate.Subject.Country", &["true"]),
            ("Null", common, &["false"]),
            ("ForAnyValue:StringEquals", attributes, &["LastWill"]),
            ("ForAllValues:StringEquals", attributes, &["LastWill", "PersistentConnect"]),
            ("ForAllValues:StringEquals", "iot:Certificate.Subject.Country", &["DE"]),
        ] {
            assert_eq!(decide(operator, key, values), Truth::Holds, "{operator} {key} {values:?}");
        }
        for (operator, key, values) in [
            ("StringEquals", client, &["thing-*"] as &[&str]),
            ("StringEquals", client, &["Thing-1"]),
            ("StringLike", client, &["gate*"]),
            ("StringNotEquals", client, &["other", "thing-1"]),
            ("StringEquals", "iot:Certificate.Subject.Country", &["DE"]),
            ("Null", common, &["true"]),
            ("ForAllValues:StringEquals", attributes, &["PersistentConnect"]),
            ("ForAllValues:StringNotEquals", attributes, &["PersistentConnect"]),
            ("ForAnyValue:StringEquals", attributes, &["Other"]),
            ("ForAnyValue:StringEquals", "iot:Certificate.Subject.Country", &["DE"]),
        ] {
            assert!(matches!(decide(operator, key, values), Truth::Fails(_)), "{operator} {key} {values:?}");
        }
    }

    #[test]
    fn what_only_iot_core_knows_is_left_to_it() {
        for (operator, key, values) in [
            ("Bool", "iot:Connection.Thing.IsAttached", "true"),
            ("IpAddress", "aws:SourceIp", "10.0.0.0/8"),
            ("StringEquals", "iot:ConnectAttributes", "PersistentConnect"),
            ("StringEquals", "iot:ClientId", "${iot:Connection.Thing.ThingTypeName}"),
            ("NumericLessThan", "iot:ClientId", "3"),
            ("Every:StringEquals", "iot:ClientId", "thing-1"),
        ] {
            assert!(matches!(decide(operator, key, &[values]), Truth::Unknown(_)), "{operator} {key}");
        }
    }
}
