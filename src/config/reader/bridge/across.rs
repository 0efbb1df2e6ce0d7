//! What several rules, or several bridges, have to do with each other.

use super::{Placed, Reader};
use crate::config::broker::is_same;
use crate::config::places::Place;
use crate::config::{Bridge, Broker, Down, Up};
use crate::mapping::Mapping;
use crate::mapping::image::Pattern;
use crate::mapping::loops::{Rule, Step, loops};
use crate::message::{Topic, TopicFilter};
use crate::mqtt::Protocol;

/// What one bridge announces mustn't go up by another one at the same broker, either.
pub(super) fn share_what_is_announced(bridges: &mut [Placed]) {
    let all: Vec<(Broker, Vec<Topic>)> =
        bridges.iter().map(|Placed { bridge, .. }| (bridge.broker.clone(), bridge.announces())).collect();
    for Placed { bridge, .. } in bridges {
        let here = all.iter().filter(|(broker, _)| is_same(broker, &bridge.broker));
        bridge.announced = here.flat_map(|(_, topics)| topics.clone()).collect();
    }
}

impl Reader<'_> {
    pub(super) fn check_bridges(&self, bridges: &[Placed]) {
        self.check_client_ids(bridges);
        for Placed { bridge, up, down, .. } in bridges {
            let ups: Vec<Mapping<'_>> = bridge.up.iter().map(Up::mapping).collect();
            let downs: Vec<Mapping<'_>> = bridge.down.iter().map(Down::mapping).collect();
            self.warn_of_unreachable("bridge.up", &ups, up);
            self.warn_of_unreachable("bridge.down", &downs, down);
            if bridge.protocol == Protocol::Mqtt311 {
                self.warn_of_echoes(bridge, up);
            }
        }
        self.refuse_loops(bridges);
    }

    /// A broker ends the connection of the first when the second comes.
    fn check_client_ids(&self, bridges: &[Placed]) {
        for (number, Placed { bridge, client_id, .. }) in bridges.iter().enumerate() {
            let is_taken = |other: &&Placed| {
                other.bridge.client_id == bridge.client_id && is_same(&other.bridge.broker, &bridge.broker)
            };
            if let Some(first) = bridges[..number].iter().find(is_taken) {
                let text = format!(
                    "`bridge.client_id`: \"{}\" is also the client id of the bridge \"{}\" at the same broker, which lets only one of them \
                     in; write `client_id = \"gatewire-{{{{client_id}}}}-2\"` here, or put the rules of both under one [[bridge]]",
                    bridge.client_id, first.bridge.name
                );
                self.report.error(client_id, &text);
            }
        }
    }

    fn warn_of_unreachable(&self, kind: &str, rules: &[Mapping<'_>], places: &[Place]) {
        for (number, (rule, place)) in rules.iter().zip(places).enumerate() {
            let whole = Pattern::of(rule.from);
            let mut before = rules[..number].iter().zip(places);
            if let Some((first, at)) = before.find(|(earlier, _)| earlier.takes_all_of(&whole)) {
                let text = format!(
                    "`{kind}.from`: nothing reaches this rule: \"{}\" at {at} comes before it and takes all of \"{}\"; put this rule \
                     above that one, or delete it",
                    first.from, rule.from
                );
                self.report.warning(place, &text);
            }
        }
    }

    /// MQTT 3.1.1 has no No Local: the broker sends a bridge its own messages, too.
    fn warn_of_echoes(&self, bridge: &Bridge, places: &[Place]) {
        for (up, place) in bridge.up.iter().zip(places) {
            let images: Vec<Pattern> = bridge.down.iter().flat_map(|down| down.mapping().images()).collect();
            // The widest comes last.
            if let Some(echo) = images.iter().rev().find_map(|image| up.mapping().taken_of(image)) {
                let except =
                    up.mapping().except_for(&images).map(|filters| format!("write `{}`, or ", except(&filters)));
                let text = format!(
                    "`bridge.up.from`: with `protocol = \"3.1.1\"` what comes down on \"{}\" goes up again, as an echo; {}use \
                     `protocol = \"5\"`, with which the broker doesn't send it back",
                    echo.shown(),
                    except.unwrap_or_default()
                );
                self.report.warning(place, &text);
            }
            let goes_up = |topic: &&Topic| up.mapping().takes(topic) && !bridge.announced.contains(topic);
            if let Some(topic) = bridge.status_topic.as_ref().filter(goes_up) {
                let text = format!(
                    "`bridge.up.from`: with `protocol = \"3.1.1\"` what gatewire publishes on `status_topic`, \"{topic}\", goes up, too; \
                     leave it out, `except = [\"{topic}\"]`"
                );
                self.report.warning(place, &text);
            }
        }
    }

    fn refuse_loops(&self, bridges: &[Placed]) {
        let all: Vec<Bridge> = bridges.iter().map(|placed| placed.bridge.clone()).collect();
        let place = |rule: Rule| match rule {
            Rule::Up(bridge, number) => bridges.get(bridge)?.up.get(number),
            Rule::Down(bridge, number) => bridges.get(bridge)?.down.get(number),
        };
        for steps in loops(&all.iter().map(Bridge::ways).collect::<Vec<_>>()) {
            let last = steps.iter().filter_map(|step| Some((place(step.rule)?, step.rule))).max();
            let Some((at, rule)) = last else { continue };
            let key = if matches!(rule, Rule::Up(..)) { "bridge.up" } else { "bridge.down" };
            self.report.error(at, &format!("`{key}.from`: {}", told(&all, &steps, |step| place(step.rule))));
        }
    }
}

/// What goes round, from the first rule back to it.
fn told<'p>(bridges: &[Bridge], steps: &[Step], place: impl Fn(&Step) -> Option<&'p Place> + Copy) -> String {
    let several = bridges.len() > 1;
    let way = steps.iter().map(|step| {
        let (way, taken) = match step.rule {
            Rule::Up(..) => ("up", step.takes.shown()),
            Rule::Down(..) => ("down", step.takes.shown()),
        };
        let of = match bridges.get(step.rule.bridge()).filter(|_| several) {
            Some(bridge) => format!(" of \"{}\"", bridge.name),
            None => String::new(),
        };
        let at = place(step).map_or_else(String::new, |place| format!(" ({place})"));
        format!("\"{taken}\" goes {way}{of}{at}")
    });
    format!(
        "a message would go round for ever: {}, and so on from the beginning. {}",
        way.collect::<Vec<_>>().join(", then "),
        mend(bridges, steps, place)
    )
}

/// What a person can write so that it doesn't.
fn mend<'p>(bridges: &[Bridge], steps: &[Step], place: impl Fn(&Step) -> Option<&'p Place>) -> String {
    let first = steps.first().and_then(|step| match step.rule {
        Rule::Up(bridge, number) => Some((bridges.get(bridge)?.up.get(number)?.mapping(), place(step)?)),
        Rule::Down(..) => None,
    });
    let last = steps.last().and_then(|step| match step.rule {
        Rule::Down(bridge, number) => Some(bridges.get(bridge)?.down.get(number)?.mapping().images()),
        Rule::Up(..) => None,
    });
    let written = first.zip(last).and_then(|((up, at), images)| {
        // Those that are there already don't suffice.
        let filters = up.except_for(&images)?;
        Some((except(&[up.except, &filters].concat()), at))
    });
    match written {
        Some((except, at)) => format!(
            "Write `{except}` below the `from` at {at}, so that what comes down stays here; or give it topics of its own, by another \
             `from` or `to`"
        ),
        None => {
            "Give what comes down topics of its own, such as `from = \"gateways/{{client_id}}/set/#\"` with `strip = \
                 \"gateways/{{client_id}}/set/\"`"
                .to_owned()
        }
    }
}

/// As it is written.
fn except(filters: &[TopicFilter]) -> String {
    let mut quoted: Vec<String> = filters.iter().map(|filter| format!("\"{filter}\"")).collect();
    quoted.dedup();
    format!("except = [{}]", quoted.join(", "))
}
