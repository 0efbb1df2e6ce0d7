use std::fs;

use std::path::Path;

use super::unit::Unit;
use super::*;

/// The unit of the package.
const SHIPPED: &str = include_str!("../../packaging/systemd/gatewire.service");

fn unit(text: &str) -> Unit {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("lib/systemd/system");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("gatewire.service"), text).unwrap();
    Unit::find(root.path(), "gatewire.service").unwrap()
}

fn sandbox(text: &str) -> Sandbox {
    Sandbox::of(unit(text)).unwrap()
}

fn directive(sandbox: &Sandbox, path: &str, wanted: Use) -> Option<String> {
    obstacle(sandbox, Path::new(path), wanted).map(|obstacle| {
        let said = obstacle.to_string();
        let (_, rest) = said.split_once(": ").unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    })
}

#[test]
fn what_the_shipped_unit_hides_is_told_with_its_directive() {
    let sandbox = sandbox(SHIPPED);
    for (path, wanted, expected) in [
        ("/etc/gatewire/certs/private.pem.key", Use::Read, None),
        ("/sys/class/thermal/thermal_zone0/temp", Use::Read, None),
        ("/run/gatewire/publish.sock", Use::Socket, None),
        ("/run/gatewire/own/publish.sock", Use::Socket, None),
        ("/var/lib/gatewire/gatewire.db", Use::Write, None),
        ("/usr/bin/python3", Use::Execute, None),
        ("/run/credentials/gatewire.service/key", Use::Read, None),
        ("/dev/null", Use::Read, None),
        ("/dev/shm/x.sock", Use::Socket, None),
        ("/home/pi/private.pem.key", Use::Read, Some("ProtectHome=yes")),
        ("/root/x.crt", Use::Read, Some("ProtectHome=yes")),
        ("/run/user/1000/x.sock", Use::Socket, Some("ProtectHome=yes")),
        ("/home/pi/read.py", Use::Execute, Some("ProtectHome=yes")),
        ("/homes/pi/x", Use::Read, None),
        ("/tmp/key", Use::Read, Some("PrivateTmp=yes")),
        ("/tmp/x.sock", Use::Socket, Some("PrivateTmp=yes")),
        ("/var/tmp/x.db", Use::Write, Some("PrivateTmp=yes")),
        ("/srv/x.db", Use::Write, Some("ProtectSystem=strict")),
        ("/var/lib/other/x.db", Use::Write, Some("ProtectSystem=strict")),
        ("/etc/gatewire/x.sock", Use::Socket, Some("ProtectSystem=strict")),
        ("/run/x.sock", Use::Socket, Some("ProtectSystem=strict")),
        ("/srv/data", Use::Read, None),
        ("/dev/ttyUSB0", Use::Read, Some("PrivateDevices=yes")),
        ("/dev/x.sock", Use::Socket, Some("PrivateDevices=yes")),
    ] {
        assert_eq!(directive(&sandbox, path, wanted).as_deref(), expected, "{path} {wanted:?}");
    }
    let unseen = |path: &str, wanted| obstacle(&sandbox, Path::new(path), wanted).unwrap().is_only_unseen();
    assert!(unseen("/tmp/x.sock", Use::Socket) && unseen("/tmp/x.db", Use::Write));
    assert!(
        !unseen("/tmp/key", Use::Read) && !unseen("/home/pi/x.sock", Use::Socket) && !unseen("/dev/x", Use::Socket)
    );
    assert!(sandbox.grants_no_privileges());
}

#[test]
fn the_drop_in_lets_the_service_use_the_path() {
    let hardened = "[Service]\nExecStart=/usr/bin/gatewire run\n";
    let units = [
        SHIPPED.to_owned(),
        format!("{hardened}DynamicUser=yes\n"),
        format!("{hardened}ProtectSystem=full\nProtectHome=read-only\n"),
        format!("{hardened}ProtectHome=tmpfs\nProtectSystem=strict\nPrivateTmp=disconnected\n"),
        format!("{hardened}InaccessiblePaths=-/srv /opt\nNoExecPaths=/\nExecPaths=/usr\n"),
        format!("{hardened}TemporaryFileSystem=/srv:ro\nReadOnlyPaths=/opt/a\nBindReadOnlyPaths=/etc:/opt/b\n"),
    ];
    let mut told = 0;
    for text in units {
        let sandbox = sandbox(&text);
        for directory in [
            "/home",
            "/home/pi",
            "/home/pi/a b",
            "/root",
            "/run/user/1000",
            "/tmp",
            "/tmp/a",
            "/var/tmp/100%",
            "/srv",
            "/srv/x",
            "/opt/a",
            "/opt/b",
            "/opt/b/c",
            "/usr/local",
            "/etc",
            "/var/lib",
            "/dev",
        ] {
            for wanted in [Use::Read, Use::Execute, Use::Write, Use::Socket] {
                let path = Path::new(directory).join("it");
                let Some(found) = obstacle(&sandbox, &path, wanted) else { continue };
                // In a directory of devices there is nothing to be made.
                if directory == "/dev" && wanted.changes() {
                    continue;
                }
                told += 1;
                let with = Sandbox::of(sandbox.unit().clone().and(&found.lines)).unwrap();
                let left = obstacle(&with, &path, wanted);
                assert_eq!(left, None, "{text}\n{path:?} {wanted:?}: {:?}", found.lines);
            }
        }
    }
    assert!(told > 100, "{told}");
}

#[test]
fn only_the_configuration_of_the_service_is_meant() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("etc/systemd/system");
    fs::create_dir_all(&directory).unwrap();
    let of = |line: &str, configuration: &str| {
        fs::write(directory.join("gatewire.service"), format!("[Service]\nProtectHome=yes\n{line}\n")).unwrap();
        Sandbox::below(root.path(), Path::new(configuration)).is_some()
    };
    let standard = "/etc/gatewire/gatewire.toml";
    assert!(of("ExecStart=/usr/bin/gatewire run", standard));
    assert!(!of("ExecStart=/usr/bin/gatewire run", "/home/pi/gatewire.toml"));
    assert!(of("ExecStart=-/usr/bin/gatewire --config /home/pi/g.toml run", "/home/pi/g.toml"));
    assert!(of("ExecStart=/usr/bin/gatewire run --config=\"/home/pi/g.toml\"", "/home/pi/./g.toml"));
    assert!(!of("ExecStart=/usr/bin/gatewire run --config=/home/pi/g.toml", standard));
    assert!(!of("ExecStart=+/usr/bin/gatewire run", standard), "without a sandbox");
    assert!(!of("ExecStart=/usr/bin/gatewire run\nRootDirectory=/srv/root", standard));
    assert!(of("ExecStart=/usr/bin/gatewire check\nExecStart=\nExecStart=/usr/bin/gatewire run", standard));
}
