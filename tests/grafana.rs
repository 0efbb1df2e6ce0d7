//! packaging/grafana: each query of the dashboard and each expression of the alerts, asked of a real Prometheus that has scraped three
//! gatewires, with traffic, outages, drops and faults.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use support::cloud::Cloud;
use support::cloud::jobs::Status;
use support::daemon::{Gatewire, Setup};
use support::local_broker::LocalBroker;
use support::mosquitto::Mosquitto;
use support::prometheus::{Server, debian};
use support::socket::Client;
use support::{CERTIFICATES, closed_port, eventually, free_port, patiently};
use tempfile::TempDir;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(path("packaging/grafana/gatewire.json")).unwrap()).unwrap()
}

/// Those that show something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

fn rules() -> String {
    fs::read_to_string(path("packaging/grafana/gatewire.rules.yml")).unwrap()
}

/// The metrics of gatewire that a query names.
fn metrics(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("gatewire_")).map(str::to_owned).collect()
}

/// As Grafana fills it in, for all gateways and a scrape each second.
fn filled(query: &str) -> String {
    let query = query.replace("$__rate_interval", "10s").replace("$__range", "60s");
    query.replace("$job", ".+").replace("$instance", ".+")
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Three gateways: one in service, with all that can happen to it; one that does jobs; one that gets no identity.
struct World {
    house: Gatewire,
    _barn: Gatewire,
    _attic: Gatewire,
    /// Those in the place of IoT Core, and the one beside the house's gateway.
    broker: Mosquitto,
    _barns: Mosquitto,
    cloud: Cloud,
    local: LocalBroker,
    _reader: Client,
    prometheus: Server,
    _directory: TempDir,
    began: f64,
}

const TRAFFIC: &str = "\
[[publish]]\nname = \"temperature\"\ntopic = \"gw/temperature\"\nevery = \"500ms\"\npayload = \"{{count}}\"\n\
[[publish]]\nname = \"uptime\"\ntopic = \"gw/uptime\"\nevery = \"1s\"\nqos = 0\npayload = \"{{count}}\"\n\
[[publish]]\nname = \"humidity\"\ntopic = \"gw/humidity\"\nevery = \"1s\"\nfile = \"DIR/absent\"\n\
[[forward]]\nname = \"messages\"\nfilters = [\"gw/temperature\"]\nsocket = \"DIR/messages.sock\"\n\
[[forward]]\nname = \"alarms\"\nfilters = [\"gw/uptime\"]\nsocket = \"DIR/alarms.sock\"\nkeep = { messages = 5 }\n\
[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"up/#\"]\n";

/// Where Prometheus asks a gateway.
fn metrics_at(port: u16) -> String {
    format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n")
}

const METERED: &str = "[meter]\nbudget = { month = \"1 GB\" }\n";

fn house(broker: &Mosquitto, local: &LocalBroker, port: u16) -> Setup {
    let connection = "backoff = { min = \"100ms\", max = \"300ms\", stable_after = \"1m\" }\n\
        rate_limit = { messages_per_second = 20, burst = 1, connects_per_second = 100 }\n";
    let bridge = format!(
        "[[bridge]]\nname = \"zigbee\"\nbroker = \"127.0.0.1:{}\"\n[[bridge.up]]\nfrom = \"dev/#\"\n[[bridge.down]]\nfrom = \"set/#\"\n",
        local.port
    );
    Setup::with_connection(broker.port, connection, &format!("{TRAFFIC}{bridge}{}", metrics_at(port)))
}

/// It asks for an identity, of a server that isn't there.
fn attic(port: u16) -> Setup {
    let file = |name| CERTIFICATES.path(name).display().to_string();
    Setup::with_text(&format!(
        "[connection]\nendpoint = \"localhost\"\nport = {}\nclient_id = \"{{{{thing}}}}\"\n[tls]\nca_file = \"{}\"\n\
         [provisioning]\ntemplate = \"gateways\"\nclaim_cert_file = \"{}\"\nclaim_key_file = \"{}\"\n\
         [status]\nsocket = \"DIR/status.sock\"\n[outbox]\npath = \"DIR/gatewire.db\"\n\
         [[publish]]\nname = \"hello\"\ntopic = \"hello\"\nevery = \"1s\"\npayload = \"x\"\n{}",
        closed_port(),
        file("AmazonRootCA1.pem"),
        file("certificate.pem.crt"),
        file("private.pem.key"),
        metrics_at(port)
    ))
}

fn start() -> World {
    let (directory, began) = (TempDir::new().unwrap(), now());
    let ports = [free_port(), free_port(), free_port()];
    let targets: Vec<String> = ["house", "barn", "attic"]
        .iter()
        .zip(ports)
        .map(|(name, port)| format!("{{targets: ['127.0.0.1:{port}'], labels: {{instance: {name}}}}}"))
        .collect();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
         scrape_configs:\n  - {{job_name: gatewire, static_configs: [{}]}}\n",
        path("packaging/grafana/gatewire.rules.yml").display(),
        targets.join(", ")
    );
    fs::write(directory.path().join("prometheus.yml"), config).unwrap();
    let prometheus = Server::prometheus(directory.path());

    let (broker, local) = (Mosquitto::start(), LocalBroker::start());
    let house = house(&broker, &local, ports[0]).connect();
    house.wait_for("bridge zigbee: connected to ");
    let reader = Client::connect(&house.path("messages.sock"));

    let (barns, cloud) = Cloud::start();
    let setup = Setup::new(barns.port, &format!("{METERED}[jobs]\n[commands]\n{}", metrics_at(ports[1])));
    let barn = setup.connect();
    barns.wait_for("executions/+/response/+/json (QoS 1)");
    cloud.send_command("execution-1", &json!({"operation": "unknown"}), Some(60));
    cloud.wait_for_command("execution-1", "REJECTED");
    // A restart, which the dashboard shows.
    patiently("the barn to be scraped", || prometheus.value("gatewire_executions{instance=\"barn\"}"));
    assert_eq!(barn.stop().0, 0);
    let barn = setup.again().connect();

    let attic = attic(ports[2]);
    let directory_of_attic = attic.directory.path().to_owned();
    let attic = attic.env("STATE_DIRECTORY", directory_of_attic).start();
    World {
        house,
        _barn: barn,
        _attic: attic,
        broker,
        _barns: barns,
        cloud,
        local,
        _reader: reader,
        prometheus,
        _directory: directory,
        began,
    }
}

impl World {
    /// Devices, programs, faults of theirs; a job; an outage, and the backlog that it leaves.
    fn live(&mut self, n: usize) {
        (0..20).for_each(|n| self.local.publish("dev/door", format!("{n}").as_bytes()));
        self.local.publish("dev/camera", &[b'x'; 200 * 1024]);
        self.broker.publish("set/lamp", b"on");
        let job = format!("job-{n}");
        self.cloud.create_job(&job, json!({"operation": "unknown"}));
        self.cloud.wait_for(&job, Status::Rejected);
        let mut program = self.house.client("publish.sock");
        assert_eq!(program.ask("nonsense")["error"], "bad_line");

        self.broker.kill();
        self.house.wait_for("next attempt in");
        program.send("{\"topic\":\"up/old\",\"payload\":\"x\",\"expires_in\":\"3s\"}");
        (0..150).for_each(|_| program.send("{\"topic\":\"up/x\",\"payload\":\"x\"}"));
        (0..151).for_each(|_| assert_eq!(program.json()["result"], "stored"));
        let seen = "sum_over_time((gatewire_link_up{instance=\"house\"} == bool 0)[20s:1s]) >= 4";
        patiently("the outage to be seen", || self.prometheus.value(seen));
        self.broker.restart();
        patiently("the backlog to be sent", || (self.house.status()["outbox"]["stored"] == 0).then_some(()));
    }

    /// What a query of the dashboard gives, once it gives something.
    fn answer(&self, query: &str, is_instant: bool, step: f64) -> Vec<Value> {
        let query = filled(query);
        patiently(&query, || {
            let now = now();
            let data = if is_instant {
                self.prometheus.data("/api/v1/query", &[("query", &query)])
            } else {
                let (start, end, step) = (self.began.to_string(), now.to_string(), step.to_string());
                let times = [("query", &*query), ("start", &start), ("end", &end), ("step", &step)];
                self.prometheus.data("/api/v1/query_range", &times)
            };
            let data = data.unwrap_or_else(|| panic!("Prometheus refuses {query}"));
            let series = data["result"].as_array().unwrap();
            let has_value = |one: &Value| {
                let values = one.get("values").and_then(Value::as_array).cloned().unwrap_or_default();
                values.iter().chain(one.get("value")).any(|value| value[1] != "NaN")
            };
            series.iter().any(has_value).then(|| series.clone())
        })
    }
}

/// GATEWIRE_GRAFANA_DATA=FILE GATEWIRE_GRAFANA_OUTAGES=10 is what packaging/grafana/picture is made from.
#[test]
fn each_query_and_each_alert_finds_what_a_gateway_exports() {
    let outages = std::env::var("GATEWIRE_GRAFANA_OUTAGES").map_or(1, |count| count.parse().unwrap());
    let mut world = start();
    (0..outages).for_each(|n| world.live(n));
    let dashboard = dashboard();
    let step = ((now() - world.began) / 400.0).max(1.0).round();
    let mut answers = Map::new();
    for panel in panels(&dashboard) {
        let mut of_panel = Map::new();
        for target in panel["targets"].as_array().unwrap() {
            let series = world.answer(target["expr"].as_str().unwrap(), target["instant"] == true, step);
            of_panel.insert(target["refId"].as_str().unwrap().to_owned(), Value::Array(series));
        }
        answers.insert(panel["id"].to_string(), Value::Object(of_panel));
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        world.answer(annotation["expr"].as_str().unwrap(), false, step);
    }
    if let Some(file) = std::env::var_os("GATEWIRE_GRAFANA_DATA") {
        let data = json!({"start": world.began, "end": now(), "panels": answers});
        fs::write(file, serde_json::to_vec(&data).unwrap()).unwrap();
    }

    let known = world.prometheus.data("/api/v1/label/__name__/values", &[]).unwrap();
    let known: BTreeSet<&str> = known.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for (variable, expected) in [("job", json!(["gatewire"])), ("instance", json!(["attic", "barn", "house"]))] {
        let query = dashboard["templating"]["list"].as_array().unwrap().iter().find(|one| one["name"] == variable);
        let query = query.unwrap()["query"]["query"].as_str().unwrap();
        let (series, label) =
            query.strip_prefix("label_values(").unwrap().strip_suffix(")").unwrap().rsplit_once(", ").unwrap();
        let values = world.prometheus.data(&format!("/api/v1/label/{label}/values"), &[("match[]", &filled(series))]);
        assert_eq!(values.unwrap(), expected, "{variable}");
    }

    let evaluated = eventually("all rules to be evaluated", || {
        let groups = world.prometheus.data("/api/v1/rules", &[])?["groups"].take();
        let rules = groups[0]["rules"].as_array()?.clone();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    });
    assert_eq!(evaluated.len(), rules().matches("- alert: ").count());
    for rule in &evaluated {
        assert_eq!(rule["health"], "ok", "{rule}");
        let query = rule["query"].as_str().unwrap();
        for name in metrics(query) {
            assert!(known.contains(&*name), "{name} of {query} isn't exported");
        }
    }
    // Those that don't wait.
    for name in
        ["GatewireMessagesDropped", "GatewireReadersMissMessages", "GatewireBridgeLeavesOut", "GatewireJobFailed"]
    {
        let query = format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}");
        patiently(&format!("{name} to fire"), || world.prometheus.value(&query));
    }
}

#[test]
fn the_dashboard_is_as_grafana_wants_it() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 38, "that of Grafana 10");
    assert!(dashboard.get("id").is_none(), "an id is one of some Grafana");
    let names: Vec<&str> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: another panel has its id");
        let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(number("x") + number("w") <= 24, "{title} is too wide");
        for (x, y) in (0..number("w")).flat_map(|x| (0..number("h")).map(move |y| (x, y))) {
            assert!(taken.insert((number("x") + x, number("y") + y)), "{title} lies on another panel");
        }
    }
    let height = taken.iter().map(|(_, y)| y + 1).max().unwrap();
    assert_eq!(taken.len() as u64, 24 * height, "there is a hole");
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        assert!(
            panel["description"].as_str().is_some_and(|text| text.ends_with('.')),
            "{title} says nothing of itself"
        );
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} shows nothing");
        for target in targets.iter().chain([panel]) {
            assert_eq!(target["datasource"], source, "{title}");
        }
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            let filtered = query.matches("{job=~\"$job\", instance=~\"$instance\"").count();
            let named = query.matches("gatewire_").count() + query.matches(" (up{").count();
            assert_eq!(filtered, named, "{title}: the variables choose each metric of {query}");
        }
        let letters: BTreeSet<&str> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(letters.len(), targets.len(), "{title}: two queries have one name");
    }
}

/// As Prometheus reads the configuration of docs/grafana.md, with the rules in their place.
#[test]
fn promtool_accepts_the_configuration_that_the_documentation_has() {
    let page = fs::read_to_string(path("docs/grafana.md")).unwrap();
    let directory = TempDir::new().unwrap();
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        assert!(block.contains("rule_files: [/etc/prometheus/gatewire.rules.yml]"), "{block}");
        let file = directory.path().join("prometheus.yml");
        fs::copy(path("packaging/grafana/gatewire.rules.yml"), directory.path().join("gatewire.rules.yml")).unwrap();
        fs::write(&file, block.replace("/etc/prometheus/", "")).unwrap();
        let output = Command::new(debian("promtool")).args(["check", "config"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains(" rules found"), "{said}{output:?}");
    }
}

/// An alert that nobody has seen firing is none.
#[test]
fn each_alert_is_tested_and_says_what_to_do() {
    let (rules, tests) = (rules(), fs::read_to_string(path("tests/prometheus/rules.yml")).unwrap());
    let page = fs::read_to_string(path("docs/grafana.md")).unwrap();
    for alert in rules.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        for key in ["severity: ", "summary: ", "description: "] {
            assert!(alert.contains(key), "{name} has no {key}");
        }
        let asked = format!("expr: 'ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}'");
        let mut samples = tests.split(&asked).skip(1);
        let fires = |rest: &str| rest.lines().take(3).any(|line| line.trim_start().starts_with("exp_samples: "));
        assert!(samples.clone().any(fires), "{name} never fires in tests/prometheus/rules.yml");
        assert!(samples.any(|rest| rest.starts_with(", eval_time: ")), "{name} always fires there");
        assert!(page.contains(&format!("`{name}`")), "{name} isn't in docs/grafana.md");
    }
}
