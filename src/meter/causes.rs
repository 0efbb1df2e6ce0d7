//! What bytes are for: whose a message is, by its topic. Pure.
//!
//! A message says nothing of who published it, least of all one that was read from the disk. So its topic decides: it belongs to the
//! `[[publish]]` with this topic, else to AWS's services if they have it, else to a bridge if a rule of it may have made it, else to
//! ingest. What comes belongs to a service, to a bridge with a rule for it, or else to the forwards.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::config::{Config, Down, Up};
use crate::mapping::image::Pattern;
use crate::message::{Topic, TopicFilter};
use crate::mqtt::session::{Label, Labels};

/// What has a label whatever is configured. The first three are the session's.
const FIXED: [&str; 10] = [
    "handshake",
    "keep_alive",
    "subscribe",
    "ingest",
    "forward",
    "bridge",
    "services",
    "identity",
    "download",
    "other",
];

/// So many causes have a name. Each reload may bring others, and those before have had their bytes; what comes then is [`OTHER`]'s.
pub(super) const MOST: usize = 256;

const INGEST: Label = Label(3);
const FORWARD: Label = Label(4);
const BRIDGE: Label = Label(5);
const SERVICES: Label = Label(6);
const OTHER: Label = Label(9);

/// How the topics of AWS's services begin; below `$aws/rules/` are those of Basic Ingest, which are anybody's.
const SERVICE_TOPICS: [&str; 4] =
    ["$aws/things/", "$aws/commands/", "$aws/provisioning-templates/", "$aws/certificates/"];

/// See the module.
#[derive(Debug)]
pub(super) struct Causes(RefCell<Table>);

#[derive(Debug)]
struct Table {
    /// By label. Those of a configuration that isn't in force any more stay: they have had their bytes.
    names: Vec<String>,
    publish: HashMap<Topic, Label>,
    up: Vec<Pattern>,
    down: Vec<TopicFilter>,
}

impl Causes {
    pub(super) const IDENTITY: Label = Label(7);
    pub(super) const DOWNLOAD: Label = Label(8);

    pub(super) fn new(config: &Config) -> Causes {
        let names = FIXED.map(str::to_owned).into();
        let table = Table { names, publish: HashMap::new(), up: Vec::new(), down: Vec::new() };
        let causes = Causes(RefCell::new(table));
        causes.configure(config);
        causes
    }

    /// Other tables are in force.
    pub(super) fn configure(&self, config: &Config) {
        let publications = config.publications();
        // Of several with one topic the first one has its messages.
        let publish = publications
            .iter()
            .rev()
            .map(|publish| (publish.topic.clone(), self.label(&format!("publish {}", publish.name))));
        let publish = publish.collect();
        let bridges = || config.bridges();
        let up = bridges().flat_map(|bridge| &bridge.up).flat_map(|rule| Up::mapping(rule).images()).collect();
        let down = bridges().flat_map(|bridge| &bridge.down).map(|Down { from, .. }| from.clone()).collect();
        let table = &mut *self.0.borrow_mut();
        (table.publish, table.up, table.down) = (publish, up, down);
    }

    /// The label of this name, which is known from now on, unless there are too many.
    pub(super) fn label(&self, name: &str) -> Label {
        let names = &mut self.0.borrow_mut().names;
        let known = names.iter().position(|known| known == name).unwrap_or(names.len());
        if known >= MOST {
            return OTHER;
        }
        if known == names.len() {
            names.push(name.to_owned());
        }
        Label(known as u16)
    }

    pub(super) fn name(&self, label: Label) -> String {
        self.0.borrow().names.get(usize::from(label.0)).cloned().unwrap_or_default()
    }
}

impl Labels for Causes {
    fn sent(&self, topic: &Topic) -> Label {
        let table = self.0.borrow();
        if let Some(label) = table.publish.get(topic) {
            return *label;
        }
        match () {
            () if is_of_a_service(topic) => SERVICES,
            () if table.up.iter().any(|made| made.matches(topic)) => BRIDGE,
            () => INGEST,
        }
    }

    fn received(&self, topic: &Topic) -> Label {
        match () {
            () if is_of_a_service(topic) => SERVICES,
            () if self.0.borrow().down.iter().any(|taken| taken.matches(topic)) => BRIDGE,
            () => FORWARD,
        }
    }
}

fn is_of_a_service(topic: &Topic) -> bool {
    SERVICE_TOPICS.iter().any(|beginning| topic.as_str().starts_with(beginning))
}
