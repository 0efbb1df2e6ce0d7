//! The metrics in a real Prometheus, which asks gatewire itself, or a real node exporter: packaging/systemd/gatewire-textfile.service
//! and packaging/grafana/gatewire.rules.yml, as they stand there.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::daemon::{Gatewire, Setup};
use support::free_port;
use support::mosquitto::Mosquitto;
use support::prometheus::{Server, debian};
use tempfile::TempDir;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What the service does each time its timer elapses.
fn run_the_service(gatewire: &Setup, directory: &Path) {
    let unit = fs::read_to_string(path("packaging/systemd/gatewire-textfile.service")).unwrap();
    let (_, line) = unit.split_once("\nExecStart=/usr/bin/gatewire ").unwrap();
    let words = line.split_once('\n').unwrap().0.replace("/run/gatewire-textfile", directory.to_str().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewire"));
    let output =
        command.args(words.split(' ')).arg("--socket").arg(gatewire.directory.path().join("status.sock")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A Prometheus that scrapes this target each second, with the rules of the recipe, which don't wait.
fn prometheus(directory: &Path, job: &str, port: u16) -> Server {
    let rules = fs::read_to_string(path("packaging/grafana/gatewire.rules.yml")).unwrap();
    let rules: Vec<&str> = rules.lines().filter(|line| !line.trim_start().starts_with("for: ")).collect();
    fs::write(directory.join("rules.yml"), rules.join("\n")).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yml]\n\
         scrape_configs:\n  - {{job_name: {job}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
    );
    fs::write(directory.join("prometheus.yml"), config).unwrap();
    Server::prometheus(directory)
}

const DOWN: &str = "ALERTS{alertname=\"GatewireDown\",alertstate=\"firing\"}";

#[test]
fn a_stopped_daemon_fires_an_alert_in_a_real_prometheus() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, "");
    let gatewire: Gatewire = setup.connect();
    let directory = TempDir::new().unwrap();
    let (textfiles, metrics) = (directory.path().join("textfiles"), directory.path().join("metrics"));
    fs::create_dir(&textfiles).unwrap();
    fs::create_dir(&metrics).unwrap();
    // As docs/recipes.md says.
    std::os::unix::fs::symlink(metrics.join("gatewire.prom"), textfiles.join("gatewire.prom")).unwrap();
    run_the_service(&setup, &metrics);
    let exporter = Server::start(
        "prometheus-node-exporter",
        directory.path(),
        "/metrics",
        &[
            "--web.listen-address=127.0.0.1:PORT".to_owned(),
            "--collector.disable-defaults".to_owned(),
            "--collector.textfile".to_owned(),
            format!("--collector.textfile.directory={}", textfiles.display()),
        ],
    );
    let page = exporter.get("/metrics").unwrap();
    assert!(page.contains("\ngatewire_up 1\n") && page.contains("\nnode_textfile_scrape_error 0\n"), "{page}");

    let prometheus = prometheus(directory.path(), "node", exporter.port);
    prometheus.becomes("gatewire_up", Some("1"));
    prometheus.becomes("gatewire_link_up", Some("1"));
    // A scrape of the beginning may have been too early.
    prometheus.becomes(DOWN, None);
    gatewire.kill();
    run_the_service(&setup, &metrics);
    prometheus.becomes("gatewire_up", Some("0"));
    prometheus.becomes(DOWN, Some("1"));
    let _gatewire = setup.again().connect();
    run_the_service(&setup, &metrics);
    prometheus.becomes("gatewire_up", Some("1"));
    prometheus.becomes(DOWN, None);
}

#[test]
fn a_real_prometheus_asks_gatewire_itself() {
    let broker = Mosquitto::start();
    let (directory, port) = (TempDir::new().unwrap(), free_port());
    let rest = "[[publish]]\nname = \"p\"\ntopic = \"t\"\nevery = \"100ms\"\npayload = \"x\"\n";
    let setup = Setup::new(broker.port, &format!("{rest}[metrics]\nlisten = \"127.0.0.1:{port}\"\n"));
    let gatewire = setup.connect();
    let prometheus = prometheus(directory.path(), "gatewire", port);
    prometheus.becomes("gatewire_up", Some("1"));
    prometheus.becomes("gatewire_link_up", Some("1"));
    prometheus.becomes("gatewire_delivery_seconds_count > bool 5", Some("1"));
    // All of them are delivered within an hour, and one series each says how many within a second.
    prometheus.becomes("histogram_quantile(0.5, gatewire_delivery_seconds_bucket) < bool 3600", Some("1"));
    prometheus.becomes("gatewire_delivery_seconds_bucket{le=\"+Inf\"} >= bool 5", Some("1"));
    // A scrape of the beginning may have been too early.
    prometheus.becomes(DOWN, None);
    gatewire.kill();
    prometheus.becomes("up", Some("0"));
    prometheus.becomes(DOWN, Some("1"));
    let _gatewire = setup.again().connect();
    prometheus.becomes("up", Some("1"));
    prometheus.becomes(DOWN, None);
}

#[test]
fn the_alerts_fire_when_they_should() {
    let directory = TempDir::new().unwrap();
    let tests = fs::read_to_string(path("tests/prometheus/rules.yml")).unwrap();
    let rules = path("packaging/grafana/gatewire.rules.yml");
    let file = directory.path().join("tests.yml");
    fs::write(&file, tests.replace("[RULES]", &format!("['{}']", rules.display()))).unwrap();
    let promtool = |arguments: &[&str], path: &Path| {
        let output = Command::new(debian("promtool")).args(arguments).arg(path).output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    };
    promtool(&["check", "rules"], &rules);
    promtool(&["test", "rules"], &file);
}
