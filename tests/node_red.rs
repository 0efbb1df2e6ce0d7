//! docs/recipes/node-red.json in a real Node-RED: deployed again and again, as its editor does, and while gatewire is away.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::{eventually, free_port, patiently, program};
use tempfile::TempDir;

const SOCKETS: &str = "[[forward]]\nname = \"messages\"\nfilters = [\"test/topic\", \"gateways/{{client_id}}/echo\"]\n\
    socket = \"DIR/messages.sock\"\n[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\n\
    topics = [\"gateways/{{client_id}}/#\"]\n";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Node-RED with the recipe. Messages for its second node come in by HTTP; what its nodes give, and their status, goes into
/// a file.
struct NodeRed {
    child: Child,
    port: u16,
    directory: TempDir,
    flow: Vec<Value>,
    /// So many objects of the file have been looked at.
    seen: Cell<usize>,
}

impl NodeRed {
    fn start(gatewire: &Gatewire) -> NodeRed {
        let directory = TempDir::new().unwrap();
        let flow = flow(gatewire.directory(), &directory.path().join("seen"));
        fs::write(directory.path().join("flows.json"), serde_json::to_vec(&flow).unwrap()).unwrap();
        fs::write(directory.path().join("seen"), "").unwrap();
        // A port can't be chosen by Node-RED itself: another process may take it in between, then it is tried again.
        let (child, port) = (0..5).find_map(|_| run(directory.path())).expect("Node-RED doesn't start");
        NodeRed { child, port, directory, flow, seen: Cell::new(0) }
    }

    /// What curl says to a request with this body.
    fn post(&self, path: &str, headers: &[&str], body: &Value) {
        let mut command = program("curl");
        command.args([
            "-sS",
            "--fail",
            "--max-time",
            "100",
            "--data-binary",
            "@-",
            "-H",
            "Content-Type: application/json",
        ]);
        command.args(headers.iter().flat_map(|header| ["-H", header]));
        command.arg(format!("http://127.0.0.1:{}{path}", self.port)).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut curl = command.spawn().unwrap();
        curl.stdin.take().unwrap().write_all(body.to_string().as_bytes()).unwrap();
        assert!(curl.wait().unwrap().success(), "{path}: {}", self.log());
    }

    /// As the editor's button does: `full`, `flows` or `nodes`. Ends when the flows have started, and both nodes are connected
    /// again if they can be.
    fn deploy(&mut self, kind: &str, connects: bool) {
        self.seen.set(self.all().len());
        for node in
            self.flow.iter_mut().filter(|node| node["name"].as_str().is_some_and(|name| name.ends_with("IoT Core")))
        {
            // Else nothing would have changed for `nodes`.
            node["y"] = json!(node["y"].as_i64().unwrap() + 20);
            let again = format!("{}\n// again", node["initialize"].as_str().unwrap());
            node["initialize"] = json!(again);
        }
        let started = |log: String| log.matches("] Started ").count();
        let before = started(self.log());
        let header = format!("Node-RED-Deployment-Type: {kind}");
        self.post("/flows", &["Node-RED-API-Version: v1", &header], &json!(self.flow));
        // The answer may come while they still start.
        patiently("the flows", || (started(self.log()) > before).then_some(()));
        if connects {
            self.wait_until_connected();
        }
    }

    fn publish(&self, messages: Value) {
        self.post("/publish", &[], &messages);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn all(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.path().join("seen")).unwrap();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The first `count` objects of a node since the last look, with all before them passed over.
    fn next(&self, from: &str, count: usize) -> Vec<Value> {
        let (found, seen) = patiently(&format!("{count} of `{from}` in {:?}", self.directory), || {
            let all = self.all();
            let of = all.iter().enumerate().skip(self.seen.get()).filter(|(_, object)| object["from"] == from);
            let of: Vec<(usize, Value)> = of.map(|(i, object)| (i, object.clone())).take(count).collect();
            let last = of.get(count - 1)?.0;
            Some((of.into_iter().map(|(_, object)| object).collect(), last + 1))
        });
        self.seen.set(seen);
        found
    }

    fn wait_until_connected(&self) {
        patiently("both nodes connected", || {
            let all = self.all();
            let since = all[self.seen.get()..].iter().filter(|object| object["from"] == "status");
            let connected =
                since.filter(|object| object["text"].as_str().is_some_and(|text| text.starts_with("connected")));
            let nodes: BTreeSet<&str> = connected.map(|object| object["node"].as_str().unwrap()).collect();
            (nodes.len() == 2).then_some(())
        });
    }
}

impl Drop for NodeRed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The recipe, with what the test needs around it.
fn flow(sockets: &Path, seen: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path("docs/recipes/node-red.json")).unwrap();
    let mut flow: Vec<Value> = serde_json::from_str(&text.replace("/run/gatewire", sockets.to_str().unwrap())).unwrap();
    let tab = flow[0]["id"].clone();
    let id = |flow: &[Value], name: &str| flow.iter().find(|node| node["name"] == name).unwrap()["id"].clone();
    let nodes = [id(&flow, "from IoT Core"), id(&flow, "to IoT Core")];
    let fs = json!([{"var": "fs", "module": "fs"}]);
    let append =
        |object: &str| format!("fs.appendFileSync({:?}, JSON.stringify({object}) + '\\n');", seen.to_str().unwrap());
    let function = |id: &str, func: String, wires: Value| {
        let outputs = wires.as_array().unwrap().len();
        json!({"id": id, "type": "function", "z": tab, "name": id, "func": func, "outputs": outputs, "libs": fs, "wires": wires, "x": 0, "y": 0})
    };
    let to_buffer = "for (const message of msg.payload) {\n    if (message.bytes) message.payload = Buffer.from(message.bytes);\n    \
                     node.send([message, null]);\n}\nreturn [null, msg];";
    let message = "{from: 'message', topic: msg.topic, payload: msg.payload, bytes: Buffer.isBuffer(msg.payload), qos: msg.qos, \
                   retain: msg.retain, properties: msg.properties}";
    let added = [
        json!({"id": "in", "type": "http in", "z": tab, "url": "/publish", "method": "post", "wires": [["split"]], "x": 0, "y": 0}),
        function("split", to_buffer.to_owned(), json!([[nodes[1]], ["out"]])),
        json!({"id": "out", "type": "http response", "z": tab, "wires": [], "x": 0, "y": 0}),
        function("message", append(message), json!([])),
        function("answer", append("{from: 'answer', topic: msg.topic, answer: msg.payload}"), json!([])),
        json!({"id": "status", "type": "status", "z": tab, "scope": nodes, "wires": [["told"]], "x": 0, "y": 0}),
        function("told", append("{from: 'status', node: msg.status.source.id, text: msg.status.text}"), json!([])),
    ];
    for (node, to) in nodes.iter().zip(["message", "answer"]) {
        let node = flow.iter_mut().find(|found| found["id"] == *node).unwrap();
        node["wires"][0].as_array_mut().unwrap().push(json!(to));
    }
    flow.extend(added);
    flow
}

/// Node-RED on a port that was free, if it still was.
fn run(directory: &Path) -> Option<(Child, u16)> {
    let port = free_port();
    let settings = "module.exports = { flowFile: 'flows.json', uiHost: '127.0.0.1', disableEditor: true, \
                    telemetry: { enabled: false, updateNotification: false } };";
    fs::write(directory.join("settings.js"), settings).unwrap();
    let log = directory.join("log");
    let file = File::create(&log).unwrap();
    let script = path("target/node-red/node_modules/node-red/red.js");
    assert!(script.exists(), "{} isn't there: `make tools` installs it", script.display());
    let mut command = program("node");
    command.arg(script).args(["--port", &port.to_string(), "--userDir"]).arg(directory);
    command.arg("--settings").arg(directory.join("settings.js")).current_dir(directory).env("HOME", directory);
    let mut child = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    let started = patiently("Node-RED", || {
        let text = fs::read_to_string(&log).unwrap();
        if text.contains("Started flows") && text.contains("Server now running") {
            return Some(true);
        }
        child.try_wait().unwrap().map(|_| false)
    });
    started.then_some((child, port))
}

/// A message from each side reaches the other, and only once.
fn exchange(node_red: &NodeRed, broker: &Mosquitto, n: u32) {
    node_red.publish(json!([{"topic": "gateways/thing-1/door", "payload": {"open": n}}]));
    assert_eq!(node_red.next("answer", 1)[0]["answer"], json!({"result": "delivered"}), "{}", node_red.log());
    broker.publish("test/topic", n.to_string().as_bytes());
    assert_eq!(node_red.next("message", 1)[0]["payload"], json!(n.to_string()), "{}", node_red.log());
}

#[test]
fn a_node_red_flow_is_deployed_again_and_again_and_loses_nothing() {
    let broker = Mosquitto::start();
    let doors = broker.subscribe_with("gateways/thing-1/door", &[], "%p");
    let setup = Setup::new(broker.port, SOCKETS);
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let mut node_red = NodeRed::start(&gatewire);
    node_red.wait_until_connected();
    let mut n = 0;
    for kind in ["full", "full", "nodes", "flows", "nodes", "full"] {
        n += 1;
        exchange(&node_red, &broker, n);
        node_red.deploy(kind, true);
    }
    exchange(&node_red, &broker, n + 1);
    (1..=n + 1).for_each(|n| assert_eq!(doors.next(), json!({"open": n}).to_string()));
    // Away, with a Deploy meanwhile.
    gatewire.kill();
    let batch =
        |from: u32| (from..from + 250).map(|i| json!({"topic": "gateways/thing-1/door", "payload": i})).collect();
    node_red.publish(batch(1000));
    node_red.deploy("full", false);
    node_red.publish(batch(1250));
    node_red.deploy("nodes", false);
    node_red.publish(batch(1500));
    let gatewire = setup.again().connect();
    node_red.publish(batch(1750));
    // Whatever was on its way when the daemon died or a node was deployed may come twice.
    let mut expected = 1000;
    while expected < 2000 {
        let door: u32 = doors.next().parse().unwrap();
        assert!(door <= expected, "{door} before {expected}");
        expected = expected.max(door + 1);
    }
    // Each of them has its answer.
    let answers = node_red.next("answer", 1000);
    assert!(answers.iter().all(|answer| answer["answer"]["result"].is_string()), "{}", node_red.log());
    exchange(&node_red, &broker, n + 2);
    // No connection is left over from before.
    let status = gatewire.status();
    assert_eq!((&status["forward"][0]["readers"], &status["ingest"][0]["clients"]), (&json!(1), &json!(1)), "{status}");
    let messages = node_red.all().iter().filter(|object| object["from"] == "message").count();
    assert_eq!(messages as u32, n + 2, "each message once");
    assert!(node_red.child.try_wait().unwrap().is_none(), "{}", node_red.log());
}

#[test]
fn a_node_red_flow_passes_on_bytes_qos_retain_and_properties() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, SOCKETS);
    let gatewire = setup.connect();
    broker.wait_for("Sending SUBACK to thing-1");
    let node_red = NodeRed::start(&gatewire);
    node_red.wait_until_connected();
    let echo = "gateways/thing-1/echo";
    let properties = json!({"content_type": "text/plain", "response_topic": "a/b", "correlation_data_base64": "AQI=",
                            "user_properties": [["k", "v"], ["k", "w"]]});
    node_red.publish(json!([
        {"topic": echo, "bytes": [0, 255, 128, 10]},
        {"topic": echo, "payload": "zero", "qos": 0},
        {"topic": echo, "payload": "two", "qos": "2"},
        {"topic": echo, "payload": 21.5, "properties": properties},
        {"topic": echo, "payload": {"a": [true, null]}, "expires_in": 3600, "retain": "true"},
    ]));
    let answers = node_red.next("answer", 5);
    let results: Vec<&Value> = answers.iter().map(|answer| &answer["answer"]["result"]).collect();
    assert_eq!(results, ["delivered", "sent", "delivered", "delivered", "delivered"]);
    node_red.seen.set(0);
    let messages = node_red.next("message", 5);
    let bytes = json!({"type": "Buffer", "data": [0, 255, 128, 10]});
    assert_eq!((&messages[0]["payload"], &messages[0]["bytes"]), (&bytes, &json!(true)));
    assert_eq!((&messages[1]["payload"], &messages[1]["qos"]), (&json!("zero"), &json!(0)));
    assert_eq!((&messages[2]["payload"], &messages[2]["qos"]), (&json!("two"), &json!(1)));
    assert_eq!((&messages[3]["payload"], &messages[3]["properties"]), (&json!("21.5"), &properties));
    assert_eq!(messages[4]["payload"], json!("{\"a\":[true,null]}"));
    assert!(messages[4]["properties"]["expires_in"].as_u64().is_some_and(|left| left <= 3600), "{:?}", messages[4]);
    let retained = broker.subscribe_with(echo, &[], "%r %p");
    assert_eq!(retained.next(), "1 {\"a\":[true,null]}");
    // What can't be published is named, and the rest goes on.
    node_red.publish(json!([
        {"topic": "elsewhere", "payload": "x"},
        {"topic": echo},
        {"payload": "without topic"},
        {"topic": echo, "payload": "x".repeat(300_000)},
        {"topic": echo, "payload": "after"},
    ]));
    node_red.seen.set(0);
    let answers = node_red.next("answer", 10);
    let codes: BTreeSet<&str> = answers[5..].iter().filter_map(|answer| answer["answer"]["error"].as_str()).collect();
    assert_eq!(codes, BTreeSet::from(["bad_line", "bad_message", "topic_not_allowed"]));
    assert_eq!(answers.iter().filter(|answer| answer["answer"]["result"].is_string()).count(), 6);
    eventually("the last message", || node_red.all().iter().any(|object| object["payload"] == "after").then_some(()));
}
