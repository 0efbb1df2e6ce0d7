//! Rules that would carry a message round for ever: what one makes is taken by the next, and so on back to the first.

use std::collections::BTreeSet;

use super::image::Pattern;
use super::{Mapping, Ways};

/// How many steps are looked at for a rule, so that no configuration takes for ever: many times what a person writes. What goes
/// round nevertheless is stopped by its hop count.
const MAX_STEPS: usize = 2_000;

/// A rule: of which bridge, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Up(usize, usize),
    Down(usize, usize),
}

impl Rule {
    pub(crate) fn bridge(self) -> usize {
        match self {
            Rule::Up(bridge, _) | Rule::Down(bridge, _) => bridge,
        }
    }
}

/// A step of a loop: a rule, and what reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) rule: Rule,
    pub(crate) takes: Pattern,
    /// The step before, by its number.
    before: Option<usize>,
    /// How many there are before it.
    depth: usize,
}

/// All loops, each once: of those that begin with the same rule the shortest. Brokers at different addresses may be one, or be
/// bridged themselves, so the rules of all bridges count.
pub(crate) fn loops(bridges: &[Ways<'_>]) -> Vec<Vec<Step>> {
    let mut known = BTreeSet::new();
    let starts =
        bridges.iter().enumerate().flat_map(|(at, bridge)| (0..bridge.up.len()).map(move |up| Rule::Up(at, up)));
    let found = starts.filter_map(|start| loop_from(bridges, start));
    found.filter(|steps| known.insert(steps.iter().map(|step| step.rule).collect::<BTreeSet<Rule>>())).collect()
}

fn loop_from(bridges: &[Ways<'_>], start: Rule) -> Option<Vec<Step>> {
    let whole = Pattern::of(mapping(bridges, start)?.from);
    let mut steps = vec![Step { rule: start, takes: whole, before: None, depth: 0 }];
    // Where each rule is on the way once, there are no more steps.
    let farthest: usize = bridges.iter().map(|bridge| bridge.up.len() + bridge.down.len()).sum();
    let mut at = 0;
    while at < steps.len() && steps.len() < MAX_STEPS {
        let Step { rule, takes, depth, .. } = steps[at].clone();
        for image in mapping(bridges, rule)?.images_of(&takes) {
            for (next, takes) in takers(bridges, rule, &image) {
                if next == start {
                    return Some(path(&steps, at));
                }
                let is_known = |step: &Step| step.rule == next && step.takes.common(&takes).as_ref() == Some(&takes);
                if depth + 1 < farthest && !steps.iter().any(is_known) {
                    steps.push(Step { rule: next, takes, before: Some(at), depth: depth + 1 });
                }
            }
        }
        at += 1;
    }
    None
}

/// The steps that lead to number `last`, with it.
fn path(steps: &[Step], last: usize) -> Vec<Step> {
    let mut path: Vec<Step> = std::iter::successors(steps.get(last), |step| steps.get(step.before?)).cloned().collect();
    path.reverse();
    path
}

/// The rules on the other side that take of `image`, and what.
fn takers(bridges: &[Ways<'_>], from: Rule, image: &Pattern) -> Vec<(Rule, Pattern)> {
    let mut takers = Vec::new();
    for (at, bridge) in bridges.iter().enumerate() {
        let rules = match from {
            Rule::Up(..) => &bridge.down,
            Rule::Down(..) => &bridge.up,
        };
        for (number, rule) in rules.iter().enumerate() {
            let Some(taken) = rule.taken_of(image) else { continue };
            if rules[..number].iter().any(|earlier| earlier.takes_all_of(&taken)) {
                continue;
            }
            let rule = match from {
                Rule::Up(..) => Rule::Down(at, number),
                Rule::Down(..) => Rule::Up(at, number),
            };
            takers.push((rule, taken));
        }
    }
    takers
}

fn mapping<'a>(bridges: &[Ways<'a>], rule: Rule) -> Option<Mapping<'a>> {
    match rule {
        Rule::Up(bridge, number) => bridges.get(bridge)?.up.get(number).copied(),
        Rule::Down(bridge, number) => bridges.get(bridge)?.down.get(number).copied(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::testing::{Bridge, any_bridge, any_topic, rule, ways};
    use crate::mapping::{for_iot_core, for_local_broker};
    use crate::message::TopicFilter;

    fn found(bridges: &[Bridge]) -> Vec<Vec<Rule>> {
        loops(&bridges.iter().map(ways).collect::<Vec<_>>())
            .iter()
            .map(|steps| steps.iter().map(|step| step.rule).collect())
            .collect()
    }

    #[test]
    fn what_comes_back_to_the_first_rule_is_a_loop() {
        let both = (vec![rule("x/#", "", "")], vec![rule("x/#", "", "")]);
        assert_eq!(found(&[both]), [[Rule::Up(0, 0), Rule::Down(0, 0)]]);
        let mapped = (vec![rule("z/#", "z/", "g/")], vec![rule("g/#", "g/", "z/")]);
        assert_eq!(found(&[mapped]).len(), 1);
        // One way only: a command that is set is also seen as a state, which goes up and stays there.
        let one_way = (vec![rule("z/#", "z/", "g/state/")], vec![rule("g/set/#", "g/set/", "z/")]);
        assert_eq!(found(&[one_way]).len(), 0);
        let only_up = (vec![rule("z/#", "z/", "g/")], vec![rule("g/#", "g/", "y/")]);
        assert_eq!(found(&[only_up]).len(), 0);
    }

    #[test]
    fn what_except_leaves_out_makes_no_loop() {
        let mut up = rule("z/#", "", "g/");
        let down = rule("g/z/+/set", "g/", "");
        assert_eq!(found(&[(vec![up.clone()], vec![down.clone()])]).len(), 1);
        up.except = vec![TopicFilter::of_mqtt("z/+/set").unwrap()];
        assert_eq!(found(&[(vec![up], vec![down])]).len(), 0);
    }

    #[test]
    fn a_rule_that_takes_all_before_keeps_the_next_out_of_it() {
        let up = vec![rule("z/+/set", "z/", "seen/"), rule("z/#", "z/", "g/")];
        let down = vec![rule("g/+/set", "g/", "z/")];
        assert_eq!(found(&[(up, down)]).len(), 0);
    }

    #[test]
    fn chains_of_several_bridges_are_found() {
        let one = (vec![rule("a/#", "a/", "p/")], vec![rule("q/#", "q/", "a/")]);
        let other = (vec![rule("b/#", "b/", "q/")], vec![rule("p/#", "p/", "b/")]);
        let expected = [[Rule::Up(0, 0), Rule::Down(1, 0), Rule::Up(1, 0), Rule::Down(0, 0)]];
        assert_eq!(found(&[one.clone(), other]), expected);
        let other = (vec![rule("c/#", "c/", "q/")], vec![rule("p/#", "p/", "b/")]);
        assert_eq!(found(&[one, other]).len(), 0);
    }

    #[test]
    fn many_rules_are_looked_through_in_no_time() {
        let up = (0..60).map(|n| rule(&format!("+/{n}/#"), "", "g/")).collect();
        let down = (0..60).map(|n| rule(&format!("g/+/{n}/#"), "", "h/")).collect();
        assert!(found(&[(up, down)]).len() <= 60);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn where_no_loop_is_found_no_topic_goes_round(bridge in any_bridge(), topic in any_topic()) {
            let ways = ways(&bridge);
            prop_assume!(loops(std::slice::from_ref(&ways)).is_empty());
            let (mut topic, mut seen) = (topic, BTreeSet::new());
            while let Some(up) = ways.up.iter().position(|rule| rule.takes(&topic)) {
                let Ok(made) = for_iot_core(&ways.up[up].made(topic.as_str()), ways.up[up].to) else { break };
                let Some(down) = ways.down.iter().find(|rule| rule.takes(&made)) else { break };
                let Ok(next) = for_local_broker(&down.made(made.as_str())) else { break };
                prop_assert!(seen.insert(up), "{bridge:?} {topic}");
                topic = next;
            }
        }
    }
}
