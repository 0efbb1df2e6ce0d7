//! One image, two devices: packaging/golden-image prepares a root directory with the package, and two containers with systemd boot from it.
//! Nothing is done in them: what they do is seen from the cloud. `make test-systemd` runs this; it needs root, a package
//! (GATEWIRE_PACKAGE) and what tests/systemd/make-root makes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::CERTIFICATES;
use support::cloud::certificates::State;
use support::cloud::fleet::{Fleet, TEMPLATE};
use support::cloud::front::{Stage, Who};
use support::cloud::jobs::Status;
use support::cloud::service::{Kind, Mood};
use support::mosquitto::Subscriber;
use support::{patiently, program};
use tempfile::TempDir;

/// The configuration of the image: containers have no serial number. Waits of a minute are what a device has, and not for a test.
const CONFIG: &str = r#"
[connection]
endpoint = "localhost"
port = PORT
client_id = "{{thing}}"
backoff = { min = "200ms", max = "1s" }

[jobs]

[provisioning]
template = "TEMPLATE"
claim_cert_file = "/etc/gatewire/claim/certificate.pem.crt"
claim_key_file = "/etc/gatewire/claim/private.pem.key"
parameters = { SerialNumber = "{{machine_id}}" }

[[publish]]
name = "count"
topic = "gateways/{{thing}}/count"
every = "1s"
payload = { count = "{{count}}" }
"#;

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/device")
}

/// The root directory from which devices are flashed.
struct Image(TempDir);

impl Image {
    fn make(fleet: &Fleet, package: &str) -> Image {
        // Not in /tmp, which may be another kind of file system, one that overlayfs doesn't take.
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/systemd");
        let (image, config) = (Image(TempDir::new_in(target).unwrap()), fleet.broker.path("gatewire.toml"));
        let text = CONFIG.replace("PORT", &fleet.port.to_string()).replace("TEMPLATE", TEMPLATE);
        fs::write(&config, text).unwrap();
        let (certificate, key) = fleet.claim_files();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/golden-image");
        let mut command = Command::new(script());
        command
            .arg("--image")
            .arg(image.path("image"))
            .arg(&golden)
            .args(["--package", package, "--config"])
            .arg(&config);
        command.arg("--ca").arg(CERTIFICATES.path("AmazonRootCA1.pem"));
        command.arg("--claim-cert").arg(&certificate).arg("--claim-key").arg(&key);
        let made = command.output().unwrap();
        let said = String::from_utf8_lossy(&made.stdout).into_owned() + &String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        assert!(said.contains("each device that is flashed from it gets its own identity"), "{said}");
        let mut check = Command::new(script());
        check.arg("--image").arg(image.path("image")).arg(&golden).arg("--check");
        assert!(check.status().unwrap().success());
        image
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A device that was flashed from it, switched on.
    fn device<'a>(&'a self, name: &'static str) -> Device<'a> {
        let mut device = Device { image: self, name, container: None };
        device.switch_on();
        device
    }
}

/// A container. It has no power once this is dropped.
struct Device<'a> {
    image: &'a Image,
    name: &'static str,
    container: Option<Child>,
}

impl Device<'_> {
    fn switch_on(&mut self) {
        let mut command = program(script());
        command.arg("--boot").arg(self.image.path("image")).arg(self.image.path(self.name));
        let console = fs::File::create(self.image.path(&format!("{}.console", self.name))).unwrap();
        command.stdin(Stdio::null()).stdout(console.try_clone().unwrap()).stderr(console);
        self.container = Some(command.spawn().unwrap());
    }

    /// SIGKILL for all that runs in it.
    fn cut_power(&mut self) {
        let Some(mut container) = self.container.take() else { return };
        container.kill().unwrap();
        container.wait().unwrap();
        let cgroup = format!("/sys/fs/cgroup/gatewire-device-{}", container.id());
        patiently("nothing runs in the container", || {
            let _ = Command::new("find").args([&cgroup, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]).output();
            (!Path::new(&cgroup).exists()).then_some(())
        });
    }

    /// Its machine id, once it has one.
    fn machine_id(&self) -> String {
        let path = self.image.path(self.name).join("changes/etc/machine-id");
        let read = || fs::read_to_string(&path).ok().map(|text| text.trim().to_owned());
        patiently("a machine id", || read().filter(|text| text.len() == 32))
    }

    fn thing(&self) -> String {
        format!("gateway-{}", self.machine_id())
    }

    /// What its gatewire has logged in all boots.
    fn journal(&self) -> String {
        let mut command = Command::new("journalctl");
        command.arg("-D").arg(self.image.path(self.name).join("changes/var/log/journal")).args(["-u", "gatewire"]);
        command.args(["--no-pager", "-o", "short-precise"]);
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    }
}

impl Drop for Device<'_> {
    fn drop(&mut self) {
        self.cut_power();
        if std::thread::panicking() {
            let console = fs::read_to_string(self.image.path(&format!("{}.console", self.name))).unwrap_or_default();
            eprintln!("--- journal of {}\n{}\n--- its console\n{console}\n---", self.name, self.journal());
        }
    }
}

/// Waits until something new comes from each of these.
fn publish(subscriber: &Subscriber, things: &[&str]) {
    while subscriber.try_next().is_some() {}
    let mut silent: BTreeSet<&str> = things.iter().copied().collect();
    patiently("each publishes", || {
        while let Some(message) = subscriber.try_next() {
            silent.retain(|thing| !message.starts_with(&format!("gateways/{thing}/")));
        }
        silent.is_empty().then_some(())
    });
}

/// Waits, longer than a device needs to boot, until the thing's only certificate is on a connection.
fn wait_for_identity(fleet: &Fleet, thing: &str) -> String {
    patiently(&format!("{thing} is connected with its own certificate"), || {
        let id = fleet.cloud.with(|aws| aws.certificates.active(thing).map(|active| active.id.clone()))?;
        let attempts = fleet.attempts_of(&Who::Certificate(id.clone()));
        attempts.iter().any(|attempt| attempt.stage == Stage::Connected).then_some(id)
    })
}

fn wait_for_job(fleet: &Fleet, job: &str) {
    patiently(&format!("{job} has succeeded"), || {
        fleet.cloud.with(|aws| (aws.jobs.of_job(job)?.status == Status::Succeeded).then_some(()))
    });
}

#[test]
#[ignore = "make test-systemd"]
fn two_devices_from_one_image_are_two_and_nobody_has_to_come() {
    let package = std::env::var("GATEWIRE_PACKAGE").expect("GATEWIRE_PACKAGE is the package's file");
    let fleet = Fleet::start();
    let image = Image::make(&fleet, &package);
    let subscriber = fleet.broker.subscribe("gateways/#");

    // The power of the first is cut while AWS registers it: it may have its thing, and hasn't heard of it.
    fleet.cloud.treat(Kind::RegisterThing, &[Mood::Silent]);
    let mut first = image.device("first");
    patiently("it is registered", || (!fleet.cloud.requests(Kind::RegisterThing).is_empty()).then_some(()));
    let thing = first.thing();
    first.cut_power();
    let second = image.device("second");
    first.switch_on();
    assert_eq!(first.thing(), thing, "the same machine after a power cut");
    let other = second.thing();
    assert_ne!(thing, other);
    let old = [&thing, &other].map(|thing| {
        patiently(&format!("{thing} publishes"), || {
            let known = fleet.cloud.with(|aws| !aws.certificates.of_thing(thing).is_empty());
            known.then_some(())
        });
        thing.clone()
    });
    publish(&subscriber, &[&old[0], &old[1]]);
    let things: BTreeSet<String> =
        fleet.cloud.with(|aws| aws.certificates.all().iter().filter_map(|known| known.thing.clone()).collect());
    assert_eq!(things, BTreeSet::from([thing.clone(), other.clone()]), "two devices, two things");

    // Both are rotated. The power of the second is cut when AWS has heard that the new certificate works, and hasn't said so.
    let before = wait_for_identity(&fleet, &other);
    fleet.cloud.treat(Kind::RotatorCommit, &[Mood::Silent]);
    fleet.rotate("rotate-second", &other);
    patiently("it commits", || (!fleet.cloud.requests(Kind::RotatorCommit).is_empty()).then_some(()));
    let mut second = second;
    second.cut_power();
    second.switch_on();
    wait_for_job(&fleet, "rotate-second");
    fleet.rotate("rotate-first", &thing);
    wait_for_job(&fleet, "rotate-first");
    let after = wait_for_identity(&fleet, &other);
    assert_ne!(before, after);
    assert_eq!(fleet.cloud.with(|aws| aws.certificates.get(&before).unwrap().state), State::Inactive);
    wait_for_identity(&fleet, &thing);
    publish(&subscriber, &[&thing, &other]);
    for device in [&first, &second] {
        let journal = device.journal();
        assert!(!journal.contains("PRIVATE KEY") && !journal.contains("token-"), "{journal}");
    }
}
