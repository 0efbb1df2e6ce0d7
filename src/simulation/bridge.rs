//! The bridge of a run: its tables, and what its rules make of a topic, written down a second time by other means.

use crate::limits::{MAX_PAYLOAD, MAX_TOPIC_SLASHES};

/// With this configuration it lacks the rules that only some have.
pub(super) const WITHOUT_SOME: usize = 3;

/// What a rule does with what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Plain,
    Retain,
    Every,
    Change,
    Batch,
}

/// What a bridge is, beside its rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bridge {
    /// To the local broker.
    pub(super) is_mqtt5: bool,
    /// The broker refuses publications.
    pub(super) refuses: bool,
    /// It ends connections for no reason.
    pub(super) closes: bool,
    /// It announces limits.
    pub(super) limits: bool,
}

pub(super) const STATUS_TOPIC: &str = "gatewire/link";

/// The filters of the rules up, all of them.
pub(super) const FILTERS: [&str; 5] = ["every/+", "change/+", "batch/+", "keep/+/state", "z/#"];

/// Topics at IoT Core by the rules down, all of them, with a rest that each takes, and where it comes.
pub(super) const DOWN: [(&str, &str); 3] = [
    ("gateways/gateway/set/lamp/set", "z/lamp/set"),
    ("gateways/gateway/few/x", "few/x"),
    ("gateways/gateway/some/x", "here/x"),
];

/// How many messages wait for the second rule down.
const FEW: usize = 20;

/// The table of a bridge, in the configuration of a number.
pub(super) fn table(bridge: Bridge, number: usize) -> String {
    let protocol = if bridge.is_mqtt5 { "5" } else { "3.1.1" };
    let every = if number == 5 { "20s" } else { "5s" };
    let (batch, some) = match number {
        WITHOUT_SOME => ("", ""),
        _ => (
            "[[bridge.up]]\nfrom = \"batch/+\"\nto = \"gw/\"\nbatch = { max = 5, within = \"10s\" }\n",
            "[[bridge.down]]\nfrom = \"gateways/gateway/some/+\"\nstrip = \"gateways/gateway/some/\"\nto = \"here/\"\n\
             keep = { messages = 1000000, bytes = \"1 GiB\" }\n",
        ),
    };
    format!(
        r#"
[[bridge]]
name = "house"
broker = "127.0.0.1:1883"
protocol = "{protocol}"
status_topic = "{STATUS_TOPIC}"
[[bridge.up]]
from = "every/+"
strip = "every/"
to = "gw/e/"
every = "{every}"
[[bridge.up]]
from = "change/+"
to = "gw/"
on_change = true
{batch}
[[bridge.up]]
from = "keep/+/state"
to = "gw/"
retain = true
[[bridge.up]]
from = "z/#"
strip = "z/"
to = "gw/z/"
except = ["z/+/set", "z/private/#"]
[[bridge.down]]
from = "gateways/gateway/set/+/set"
strip = "gateways/gateway/set/"
to = "z/"
keep = {{ messages = 1000000, bytes = "1 GiB" }}
[[bridge.down]]
from = "gateways/gateway/few/+"
strip = "gateways/gateway/"
keep = {{ messages = {FEW}, bytes = "64 KiB", when_full = "drop-oldest" }}
{some}
"#
    )
}

/// The name of each queue on the disk.
pub(super) fn queues() -> impl Iterator<Item = String> {
    let up = FILTERS.iter().map(|filter| format!("bridge house up {filter}"));
    let down = ["set/+/set", "few/+", "some/+"];
    up.chain(down.into_iter().map(|rest| format!("bridge house down gateways/gateway/{rest}")))
}

/// Which rule takes what a device publishes, and to which topic at IoT Core; `None`: it doesn't go there.
pub(super) fn carried(topic: &str, size: usize) -> Option<(Kind, String)> {
    let levels: Vec<&str> = topic.split('/').collect();
    let (kind, made) = match *levels {
        ["every", rest] => (Kind::Every, format!("gw/e/{rest}")),
        ["change", _] => (Kind::Change, format!("gw/{topic}")),
        ["batch", _] => (Kind::Batch, format!("gw/{topic}")),
        ["keep", _, "state"] => (Kind::Retain, format!("gw/{topic}")),
        ["z", _, "set"] | ["z", "private", ..] => return None,
        // `z/#` has it, and it doesn't begin with `z/`.
        ["z"] => (Kind::Plain, "gw/z/z".to_owned()),
        ["z", ref rest @ ..] => (Kind::Plain, format!("gw/z/{}", rest.join("/"))),
        _ => return None,
    };
    (made.matches('/').count() <= MAX_TOPIC_SLASHES && size <= MAX_PAYLOAD).then_some((kind, made))
}
