//! Debian's Prometheus and what belongs to it, which `make tools` unpacks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{free_port, patiently, program};

pub fn debian(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/prometheus/usr/bin").join(name);
    assert!(path.exists(), "{} isn't there: `make tools` unpacks it", path.display());
    path
}

/// A server on a free port, killed with the test.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    /// `arguments` with PORT in them; `ready` is a path that is answered when it is.
    pub fn start(name: &str, directory: &Path, ready: &str, arguments: &[String]) -> Server {
        let (port, log) = (free_port(), directory.join(format!("{name}.log")));
        let mut command = program(debian(name));
        command.args(arguments.iter().map(|argument| argument.replace("PORT", &port.to_string())));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap()).current_dir(directory);
        let mut server = Server { child: command.spawn().unwrap(), port };
        patiently(name, || {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{name}: {ended:?}: {}", fs::read_to_string(&log).unwrap());
            server.get(ready)
        });
        server
    }

    /// A Prometheus with `prometheus.yml` of the directory.
    pub fn prometheus(directory: &Path) -> Server {
        let arguments = [
            "--config.file=prometheus.yml".to_owned(),
            "--web.listen-address=127.0.0.1:PORT".to_owned(),
            format!("--storage.tsdb.path={}", directory.join("data").display()),
        ];
        Server::start("prometheus", directory, "/-/ready", &arguments)
    }

    pub fn get(&self, path: &str) -> Option<String> {
        self.ask(path, &[])
    }

    /// The answer to a GET with these parameters.
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<String> {
        let mut command = Command::new("curl");
        command.args(["-s", "--fail", "--get", "--max-time", "20"]);
        command.arg(format!("http://127.0.0.1:{}{path}", self.port));
        for (name, value) in parameters {
            command.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        let output = command.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The `data` of an answer of Prometheus; `None` if it refuses the query.
    pub fn data(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let mut answer: Value = serde_json::from_str(&self.ask(path, parameters)?).unwrap();
        (answer["status"] == "success").then(|| answer["data"].take())
    }

    /// The value of a query's first series.
    pub fn value(&self, query: &str) -> Option<String> {
        let data = self.data("/api/v1/query", &[("query", query)])?;
        Some(data["result"][0]["value"][1].as_str()?.to_owned())
    }

    pub fn becomes(&self, query: &str, expected: Option<&str>) {
        let is = || (self.value(query).as_deref() == expected).then_some(());
        patiently(&format!("{query} to be {expected:?}"), is);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
