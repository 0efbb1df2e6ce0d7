//! What an action's program can't do where it runs, and what it does to gatewire itself.

use crate::actions::{Action, Command, Done, RunsAs};

/// Programs for which one has to be root, but for what is asked with one of these words.
const FOR_ROOT: &[(&[&str], &[&str])] = &[
    (
        &["systemctl"],
        &[
            "status",
            "is-active",
            "is-enabled",
            "is-failed",
            "is-system-running",
            "show",
            "cat",
            "list-units",
            "list-unit-files",
            "list-timers",
            "list-sockets",
            "list-dependencies",
            "list-jobs",
            "get-default",
            "show-environment",
            "help",
            "--version",
            "--help",
        ],
    ),
    (&["service"], &["status", "--status-all", "--version"]),
    (&["apt", "aptitude"], &["list", "show", "search", "policy", "depends", "changelog", "--version"]),
    (&["apt-get"], &["changelog", "indextargets", "download", "-s", "--simulate", "--dry-run", "--version"]),
    (
        &["dpkg"],
        &[
            "-l",
            "--list",
            "-s",
            "--status",
            "-L",
            "--listfiles",
            "-S",
            "--search",
            "-p",
            "--print-avail",
            "-V",
            "--verify",
            "-C",
            "--audit",
            "-I",
            "--info",
            "-c",
            "--contents",
            "--print-architecture",
            "--version",
        ],
    ),
    (&["snap"], &["list", "info", "find", "version", "services", "changes"]),
    (&["mount"], &["-l", "--version"]),
    (&["swapon"], &["-s", "--show", "--version"]),
    (
        &["hostnamectl", "timedatectl", "localectl"],
        &["status", "show", "list-timezones", "list-locales", "timesync-status"],
    ),
    (&["nft", "ufw"], &["list", "status", "version"]),
    (
        &[
            "reboot",
            "shutdown",
            "poweroff",
            "halt",
            "telinit",
            "init",
            "umount",
            "swapoff",
            "modprobe",
            "insmod",
            "rmmod",
            "useradd",
            "userdel",
            "usermod",
            "adduser",
            "deluser",
            "groupadd",
            "groupdel",
            "passwd",
            "chpasswd",
            "iptables",
            "ip6tables",
            "invoke-rc.d",
            "update-rc.d",
            "update-initramfs",
            "dpkg-reconfigure",
            "unattended-upgrade",
            "raspi-config",
            "rpi-update",
            "rpi-eeprom-update",
            "ldconfig",
            "hwclock",
            "visudo",
        ],
        &["--help", "--version"],
    ),
];

/// Programs that give the rights of another user, who is root unless it is said otherwise.
const FOR_OTHERS: [&str; 5] = ["sudo", "doas", "su", "pkexec", "runuser"];

/// What is doubtful in `run`.
pub(super) fn doubts(action: &Action) -> Vec<String> {
    let commands = action.run.commands();
    let mut doubts = Vec::new();
    if action.runs_as == RunsAs::Sandbox {
        let of_other = commands.iter().find(|command| FOR_OTHERS.contains(&command.name.as_str()));
        match (of_other, commands.iter().find(|command| is_for_root(command))) {
            (Some(other), _) => doubts.push(format!(
                "{0} can't work here: the sandbox of gatewire.service lets no program have another user's rights \
                 (NoNewPrivileges=yes); write `as = \"root\"`, and `run` without {0}",
                other.name
            )),
            (None, Some(command)) => doubts.push(format!(
                "{} most likely needs root, and the action runs as gatewire, in the sandbox of gatewire.service, to which the system is \
                 read-only; write `as = \"root\"`",
                command.name
            )),
            (None, None) => {}
        }
    }
    match action.done {
        Done::Exit | Done::AfterRestart if commands.iter().any(is_end_of_boot) => doubts.push(
            "the machine goes down with this, so that the job fails as interrupted; write `done = \"after-boot\"`, with which it has \
             succeeded once the machine has booted"
                .to_owned(),
        ),
        Done::Exit if commands.iter().any(is_end_of_gatewire) => doubts.push(
            "gatewire is ended by this, so that the job fails as interrupted; write `done = \"after-restart\"`, with which it has \
             succeeded once gatewire is connected again"
                .to_owned(),
        ),
        _ => {}
    }
    doubts
}

fn is_for_root(command: &Command) -> bool {
    let has = |words: &[&str]| command.words.iter().any(|word| words.contains(&word.as_str()));
    let of_program = FOR_ROOT.iter().find(|(names, _)| names.contains(&command.name.as_str()));
    of_program.is_some_and(|(_, harmless)| !has(harmless) && !has(&["--user"]))
}

/// What ends or restarts the machine.
fn is_end_of_boot(command: &Command) -> bool {
    let has = |words: &[&str]| command.words.iter().any(|word| words.contains(&word.as_str()));
    match command.name.as_str() {
        "reboot" | "poweroff" | "halt" => !has(&["--help", "--version", "-w", "--wtmp-only"]),
        "shutdown" => !has(&["-c", "--show", "-k", "--help"]),
        "systemctl" => has(&["reboot", "poweroff", "halt", "kexec", "soft-reboot"]),
        "init" | "telinit" => has(&["0", "6"]),
        _ => false,
    }
}

/// What ends or restarts gatewire.
fn is_end_of_gatewire(command: &Command) -> bool {
    let has = |words: &[&str]| command.words.iter().any(|word| words.contains(&word.as_str()));
    let is_named = has(&["gatewire", "gatewire.service"]);
    match command.name.as_str() {
        "systemctl" | "service" => is_named && has(&["restart", "stop", "try-restart", "kill"]),
        "apt" | "apt-get" => is_named && has(&["install", "reinstall"]),
        _ => false,
    }
}
