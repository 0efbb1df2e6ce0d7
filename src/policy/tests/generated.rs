//! Configurations that nobody wrote: their least policy is enough, and nothing of it can be spared.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::super::evaluate::{self, Verdict};
use super::*;

/// What may be published to.
fn topics() -> impl Strategy<Value = String> {
    "([ab*?]{1,2}|\\+|\\$aws/rules/r)(/([ab]|\\+|\\*|\\$\\{)){0,3}(/#)?"
}

/// What may be subscribed to.
fn filters() -> impl Strategy<Value = String> {
    (prop_oneof![Just(""), Just("$share/g/")], "([ab*?]{1,2}|\\+)(/([ab]|\\+|\\*|\\$\\{)){0,3}(/#)?")
        .prop_map(|(group, filter)| group.to_owned() + &filter)
}

fn topic() -> impl Strategy<Value = String> {
    "[ab*?]{1,2}(/[ab]){0,3}"
}

fn list(filters: &[String]) -> String {
    filters.iter().map(|filter| format!("\"{filter}\"")).collect::<Vec<_>>().join(", ")
}

prop_compose! {
    fn configurations()(
        client_id in "[a-c*?-]{1,6}",
        publishes in vec((topic(), any::<bool>()), 0..4),
        topics in vec(topics(), 1..4),
        filters in btree_set(filters(), 1..4)
    ) -> Config {
        let publishes: String =
            publishes.iter().enumerate().map(|(n, (topic, retain))| publish(&format!("p{n}"), topic, *retain)).collect();
        let filters: Vec<String> = filters.into_iter().collect();
        config(&client_id, &(publishes + &ingest(&list(&topics)) + &forward(&list(&filters))))
    }
}

/// The policy without one resource, for each of them.
fn without_each_resource(policy: &Value) -> Vec<Value> {
    let mut poorer = Vec::new();
    for (index, statement) in policy["Statement"].as_array().unwrap().iter().enumerate() {
        let resources =
            statement["Resource"].as_array().cloned().unwrap_or_else(|| vec![statement["Resource"].clone()]);
        for left_out in 0..resources.len() {
            let mut rest = resources.clone();
            rest.remove(left_out);
            let mut policy = policy.clone();
            match rest.is_empty() {
                true => drop(policy["Statement"].as_array_mut().unwrap().remove(index)),
                false => policy["Statement"][index]["Resource"] = json!(rest),
            }
            poorer.push(policy);
        }
    }
    poorer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_least_policy_is_enough_and_nothing_of_it_can_be_spared(config in configurations()) {
        let needs = needs::of(&config, IngestRetain::Used);
        let policy = least::policy(&needs, &scope());
        let report = compared(needs.clone(), &policy);
        prop_assert!(report.is_allowed(), "{policy:#}\n{report}");
        let report = report.to_string();
        prop_assert!(!report.contains("wider") && !report.contains("undecided"), "{policy:#}\n{report}");
        for poorer in without_each_resource(&policy) {
            if poorer["Statement"].as_array().unwrap().is_empty() {
                continue;
            }
            let document = document(&poorer);
            let grants = evaluate::grants(&document, &context("thing-1"));
            let is_denied = |need| matches!(evaluate::judge(need, &grants, &scope(), &context("thing-1")), Verdict::Denied(_));
            prop_assert!(needs.iter().any(is_denied), "{policy:#}\n{poorer:#}");
        }
    }
}
