//! A real Node-RED with the palette package, installed from what `npm pack` makes.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{free_port, patiently, program};

/// Where `make tools` has installed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version(pub(crate) &'static str);

impl Version {
    /// The Node.js that has been installed with it, if it wants a newer one than Debian's.
    fn node(self) -> PathBuf {
        let own = path(self.0).join("node_modules/.bin/node");
        if own.exists() { own } else { "node".into() }
    }
}

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs a program that must succeed; its standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// What would be published, and its directory.
pub(crate) static PACKED: LazyLock<(PathBuf, TempDir)> = LazyLock::new(|| {
    let directory = TempDir::new().unwrap();
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", "--pack-destination"]).arg(directory.path());
    let name = succeed(npm.current_dir(path("packaging/node-red")));
    (directory.path().join(name.trim()), directory)
});

/// A directory of Node-RED's with the package in it.
pub(crate) static INSTALLED: LazyLock<TempDir> = LazyLock::new(|| {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("package.json"), r#"{"name":"node-red-project","private":true}"#).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--offline", "--no-audit", "--no-fund"]).arg(&PACKED.0);
    succeed(npm.current_dir(directory.path()));
    directory
});

/// Node-RED with both nodes. Messages for `gatewire out` come in by HTTP; what the nodes give, their status, and what Complete
/// and Catch nodes hear goes into a file.
pub(crate) struct NodeRed {
    version: Version,
    child: Option<Child>,
    port: u16,
    directory: TempDir,
    pub(crate) flow: Vec<Value>,
    seen: RefCell<Seen>,
}

/// What was read of the file.
#[derive(Default)]
struct Seen {
    offset: u64,
    begun: String,
    objects: Vec<Value>,
    /// So many of them have been looked at.
    looked: usize,
}

impl NodeRed {
    /// With its nodes at the sockets in a directory.
    pub(crate) fn start(version: Version, sockets: &Path) -> NodeRed {
        let mut node_red = NodeRed::new(version, sockets);
        node_red.run();
        node_red
    }

    /// Likewise, not running yet.
    pub(crate) fn new(version: Version, sockets: &Path) -> NodeRed {
        let node_red = NodeRed::without_package(version, sockets);
        let files = ["package.json", "node_modules"].map(|name| INSTALLED.path().join(name));
        succeed(Command::new("cp").arg("-r").args(files).arg(node_red.directory()));
        node_red
    }

    /// Likewise, without the package: it has to be installed first.
    pub(crate) fn without_package(version: Version, sockets: &Path) -> NodeRed {
        let directory = TempDir::new().unwrap();
        let seen = directory.path().join("seen");
        fs::write(&seen, "").unwrap();
        let flow = flow(sockets, &seen);
        let mut node_red =
            NodeRed { version, child: None, port: 0, directory, flow: Vec::new(), seen: RefCell::default() };
        node_red.replace_flow(flow);
        node_red
    }

    /// With another flow, before it runs.
    pub(crate) fn replace_flow(&mut self, flow: Vec<Value>) {
        fs::write(self.directory.path().join("flows.json"), serde_json::to_vec(&flow).unwrap()).unwrap();
        self.flow = flow;
    }

    /// Starts it, for the first time or again.
    pub(crate) fn run(&mut self) {
        let (directory, port) = (self.directory.path(), free_port());
        let root = path(self.version.0).join("node_modules");
        let script = root.join("node-red/red.js");
        assert!(script.exists(), "{} isn't there: `make tools` installs it", script.display());
        let settings = format!(
            "module.exports = {{ flowFile: 'flows.json', uiHost: '127.0.0.1', credentialSecret: false, \
             telemetry: {{ enabled: false, updateNotification: false }}, \
             functionGlobalContext: {{ events: require({:?}).events }} }};",
            root.join("@node-red/util")
        );
        fs::write(directory.join("settings.js"), settings).unwrap();
        let log = directory.join("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let before = file.metadata().unwrap().len() as usize;
        let mut command = program(self.version.node());
        command.arg(script).args(["--port", &port.to_string(), "--userDir"]).arg(directory);
        command.arg("--settings").arg(directory.join("settings.js")).current_dir(directory).env("HOME", directory);
        let mut child = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        patiently("Node-RED", || {
            let (text, ended) = (self.log(), child.try_wait().unwrap());
            assert!(ended.is_none(), "Node-RED doesn't start, {ended:?}: {}", &text[before..]);
            let is_said = |words: &str| text[before..].contains(words).then_some(());
            is_said("Started flows").and_then(|()| is_said("Server now running"))
        });
        (self.child, self.port) = (Some(child), port);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, as `systemctl stop` does it.
    pub(crate) fn stop(&mut self) {
        succeed(Command::new("kill").arg(self.pid().to_string()));
        let mut child = self.child.take().unwrap();
        patiently("the end of Node-RED", || child.try_wait().unwrap());
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// So many files it has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// What curl gets for a request with this body.
    pub(crate) fn post(&self, path: &str, headers: &[&str], body: &Value) -> String {
        let mut command = program("curl");
        command.args(["-sS", "--fail", "--max-time", "100", "--data-binary", "@-"]);
        let headers = headers.iter().chain(&["Content-Type: application/json"]);
        command.args(headers.flat_map(|header| ["-H", header]));
        command.arg(format!("http://127.0.0.1:{}{path}", self.port)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut curl = command.spawn().unwrap();
        curl.stdin.take().unwrap().write_all(body.to_string().as_bytes()).unwrap();
        let output = curl.wait_with_output().unwrap();
        assert!(output.status.success(), "{path}: {}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it serves to its editor.
    pub(crate) fn get(&self, path: &str, accept: &str) -> String {
        let mut command = program("curl");
        command.args(["-sS", "--fail", "--max-time", "100", "-H", &format!("Accept: {accept}")]);
        succeed(command.arg(format!("http://127.0.0.1:{}{path}", self.port)))
    }

    /// As the editor's button does: `full`, `flows` or `nodes`. Ends when the flows have started.
    pub(crate) fn deploy(&self, kind: &str) {
        let started = |log: String| log.matches("] Started ").count();
        let before = started(self.log());
        let header = format!("Node-RED-Deployment-Type: {kind}");
        self.post("/flows", &["Node-RED-API-Version: v1", &header], &json!(self.flow));
        // The answer may come while they still start.
        patiently("the flows", || (started(self.log()) > before).then_some(()));
    }

    /// A node of the flow, to be changed before a deploy.
    pub(crate) fn node(&mut self, id: &str) -> &mut Value {
        self.flow.iter_mut().find(|node| node["id"] == id).unwrap()
    }

    /// Changes something in these nodes, else a deploy of `nodes` would have nothing to do.
    pub(crate) fn touch(&mut self, ids: &[&str]) {
        for id in ids {
            let node = self.node(id);
            let name = format!("{}+", node["name"].as_str().unwrap());
            node["name"] = json!(name);
        }
    }

    /// Gives messages to `gatewire out`. An array of numbers `bytes` in one becomes a Buffer that is its payload, `correlation`
    /// likewise.
    pub(crate) fn publish(&self, messages: Value) {
        self.post("/publish", &[], &messages);
    }

    /// How many listeners the events of the process and of Node-RED have.
    pub(crate) fn listeners(&self) -> Value {
        serde_json::from_str(&self.post("/listeners", &[], &json!({}))).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What the nodes have given so far.
    fn read(&self) {
        let mut seen = self.seen.borrow_mut();
        let mut file = File::open(self.directory.path().join("seen")).unwrap();
        file.seek(SeekFrom::Start(seen.offset)).unwrap();
        let mut text = std::mem::take(&mut seen.begun);
        seen.offset += file.read_to_string(&mut text).unwrap() as u64;
        let end = text.rfind('\n').map_or(0, |end| end + 1);
        seen.begun = text.split_off(end);
        seen.objects.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }

    /// All that came from a node.
    pub(crate) fn all(&self, from: &str) -> Vec<Value> {
        self.read();
        let seen = self.seen.borrow();
        seen.objects.iter().filter(|object| object["from"] == from).cloned().collect()
    }

    /// The first `count` objects of a node since the last look, with all before them passed over.
    pub(crate) fn next(&self, from: &str, count: usize) -> Vec<Value> {
        patiently(&format!("{count} of `{from}` in {:?}: {}", self.directory, self.log()), || {
            self.read();
            let mut seen = self.seen.borrow_mut();
            let of = seen.objects.iter().enumerate().skip(seen.looked).filter(|(_, object)| object["from"] == from);
            let of: Vec<(usize, Value)> = of.map(|(i, object)| (i, object.clone())).take(count).collect();
            seen.looked = of.get(count - 1)?.0 + 1;
            Some(of.into_iter().map(|(_, object)| object).collect())
        })
    }

    /// Passes over all that there is.
    pub(crate) fn skip(&self) {
        self.read();
        let mut seen = self.seen.borrow_mut();
        seen.looked = seen.objects.len();
    }

    /// The last status of a node, once it holds this text.
    pub(crate) fn wait_for_status(&self, node: &str, text: &str) -> Value {
        let what = format!("status {text:?} of {node}");
        patiently(&what, || {
            let last = self.all("status").into_iter().rfind(|object| object["node"] == node)?;
            last["text"].as_str()?.contains(text).then_some(last)
        })
    }

    pub(crate) fn wait_until_connected(&self) {
        for node in ["gw-in", "gw-out"] {
            self.wait_for_status(node, "connected");
        }
    }
}

impl Drop for NodeRed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of Node-RED\n{}\n---", self.log());
        }
    }
}

/// Both nodes, with what the test needs around them.
fn flow(sockets: &Path, seen: &Path) -> Vec<Value> {
    let socket = |name: &str| sockets.join(name);
    let seen = seen.to_str().unwrap();
    let fs = json!([{"var": "fs", "module": "fs"}, {"var": "process", "module": "process"}]);
    let function = |id: &str, func: String, wires: Value| {
        let outputs = wires.as_array().unwrap().len();
        json!({"id": id, "type": "function", "z": "tab", "name": id, "x": 0, "y": 0, "func": func, "outputs": outputs, "libs": fs, "wires": wires})
    };
    let append = |id: &str, object: &str| {
        function(id, format!("fs.appendFileSync({seen:?}, JSON.stringify({object}) + '\\n');"), json!([]))
    };
    let node = |id: &str, kind: &str, more: Value| {
        let mut node = json!({"id": id, "type": kind, "z": "tab", "name": id, "x": 0, "y": 0, "wires": []});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let split = "for (const message of msg.payload) {\n    if (message.bytes) message.payload = Buffer.from(message.bytes);\n    \
                 if (message.correlation) message.correlationData = Buffer.from(message.correlation);\n    \
                 node.send([message, null]);\n}\nmsg.payload = '';\nreturn [null, msg];";
    let listeners = "const events = global.get('events');\nconst count = (emitter) => Object.fromEntries(emitter.eventNames()\
                     .map((name) => [String(name), emitter.listenerCount(name)]));\n\
                     msg.payload = { process: count(process), events: count(events) };\nreturn msg;";
    let heard = "{from: 'FROM', topic: msg.topic, payload: msg.payload, gatewire: msg.gatewire, error: msg.error?.message, \
                 code: msg.error?.code}";
    let message = "{from: 'message', kind: Buffer.isBuffer(msg.payload) ? 'buffer' : typeof msg.payload, ...msg, _msgid: undefined}";
    vec![
        json!({"id": "tab", "type": "tab", "label": "test"}),
        node(
            "gw-in",
            "gatewire in",
            json!({"socket": socket("messages.sock"), "datatype": "auto-detect", "wires": [["message"]]}),
        ),
        append("message", message),
        node("http", "http in", json!({"url": "/publish", "method": "post", "wires": [["split"]]})),
        function("split", split.to_owned(), json!([["gw-out"], ["answer"]])),
        node("answer", "http response", json!({})),
        node("gw-out", "gatewire out", json!({"socket": socket("publish.sock"), "topic": "", "qos": "", "retain": ""})),
        node("complete", "complete", json!({"scope": ["gw-out"], "wires": [["completed"]]})),
        append("completed", &heard.replace("FROM", "complete")),
        node("catch", "catch", json!({"scope": ["gw-in", "gw-out"], "wires": [["caught"]]})),
        append("caught", &heard.replace("FROM", "caught")),
        node("status", "status", json!({"scope": ["gw-in", "gw-out"], "wires": [["told"]]})),
        append("told", "{from: 'status', node: msg.status.source.id, text: msg.status.text, fill: msg.status.fill}"),
        node("http-listeners", "http in", json!({"url": "/listeners", "method": "post", "wires": [["listeners"]]})),
        function("listeners", listeners.to_owned(), json!([["answer"]])),
    ]
}
