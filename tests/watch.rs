//! `gatewire status --watch` in a real terminal.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "watch/picture.rs"]
mod picture;
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Uid;
use serde_json::{Value, json};
use support::daemon::{Gatewire, Setup};
use support::mosquitto::Mosquitto;
use support::socket::Client;
use support::tmux::Terminal;
use support::{closed_port, eventually, patiently, settled};

/// Ten messages a second, which come back to a reader.
const TRAFFIC: &str = "[[publish]]\nname = \"fast\"\ntopic = \"test/fast\"\nevery = \"100ms\"\npayload = \"x\"\n\
    [[publish]]\nname = \"hello\"\ntopic = \"test/topic\"\nevery = \"1h\"\npayload = \"x\"\n\
    [[forward]]\nname = \"messages\"\nfilters = [\"test/fast\"]\nsocket = \"DIR/messages.sock\"\n\
    [[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"up/#\"]\n";

const WATCH: &[&str] = &["status", "--watch"];

/// A daemon whose link is up, with traffic, and the reader.
fn in_service(broker: &Mosquitto) -> (Setup, Gatewire, Client) {
    let setup = Setup::new(broker.port, TRAFFIC);
    let gatewire = setup.connect();
    let reader = gatewire.client("messages.sock");
    (setup, gatewire, reader)
}

/// The number behind `label` and in front of `/s`.
fn rate(screen: &str, label: &str) -> Option<f64> {
    let line = screen.lines().find(|line| line.starts_with(label))?;
    line[label.len()..].trim_start().split_once("/s")?.0.parse().ok()
}

/// Waits until the shell has the terminal again, as it was.
fn given_back(terminal: &Terminal, modes: &str) {
    terminal.wait_for_prompt();
    assert_eq!(terminal.is_taken(), (false, true));
    assert_eq!(terminal.modes(), modes);
    assert!(!terminal.screen().contains("last hour"), "{}", terminal.screen());
}

#[test]
fn traffic_is_seen_at_each_size_and_q_gives_the_terminal_back() {
    let broker = Mosquitto::start();
    let (setup, _gatewire, _reader) = in_service(&broker);
    let terminal = Terminal::start((80, 24));
    let modes = terminal.modes();
    terminal.run("", &setup.command(), WATCH);
    let screen = terminal.wait_for("rates of both ways", |screen| {
        let [out, back] = ["out", "in"].map(|label| rate(screen, label).unwrap_or_default());
        out > 1.0 && back > 1.0
    });
    assert_eq!(terminal.is_taken(), (true, false));
    let title = format!("gatewire {}, up for ", env!("CARGO_PKG_VERSION"));
    for start in
        [&title, "link         connected for ", "last hour ", "outbox ", "PUBLISH ", "fast ", "FORWARD ", "INGEST "]
    {
        assert!(screen.lines().any(|line| line.starts_with(start)), "no {start:?} in\n{screen}");
    }
    assert!(screen.contains("▁") || screen.contains("█"), "{screen}");
    terminal.resize(40, 10);
    let screen = terminal.wait_for("less", |screen| {
        screen.lines().all(|line| line.chars().count() <= 40)
            && screen.contains("TROUBLE")
            && !screen.contains("INGEST")
    });
    assert!(screen.lines().any(|line| line.starts_with("link ")), "{screen}");
    terminal.resize(200, 60);
    terminal.wait_for("more", |screen| screen.contains("thing-1 at localhost:") && screen.contains("peak "));
    terminal.resize(1, 1);
    terminal.resize(13, 2);
    terminal.wait_for("hardly anything", |screen| screen.starts_with("gatewire"));
    terminal.resize(80, 24);
    terminal.wait_for_text("TROUBLE");
    terminal.press("q");
    given_back(&terminal, &modes);
}

#[test]
fn it_stays_without_a_daemon_and_finds_the_one_that_comes() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, TRAFFIC);
    let terminal = Terminal::start((80, 24));
    terminal.run("", &setup.command(), WATCH);
    let screen = terminal.wait_for_text("It is asked again each second.");
    assert!(screen.contains("gatewire isn't running") && screen.contains("`sudo journalctl -u"), "{screen}");
    let gatewire = setup.connect();
    terminal.wait_for_text("link         connected for ");
    gatewire.kill();
    let screen = terminal.wait_for_text("It is asked again each second.");
    assert!(screen.contains("gatewire stopped answering"), "{screen}");
    let _gatewire = setup.again().connect();
    let screen = terminal.wait_for_text("link         connected for ");
    assert!(screen.contains(&format!("gatewire {} answers", env!("CARGO_PKG_VERSION"))), "{screen}");
    assert!(screen.contains("gatewire stopped answering"), "{screen}");
    terminal.press("Escape");
    terminal.wait_for_prompt();
}

#[test]
fn an_outage_is_told_with_what_to_do() {
    let mut broker = Mosquitto::start();
    let (setup, _gatewire, _reader) = in_service(&broker);
    let terminal = Terminal::start((100, 30));
    terminal.run("", &setup.command(), WATCH);
    terminal.wait_for_text("link         connected for ");
    broker.kill();
    let screen = terminal.wait_for("the outage", |screen| {
        screen.contains("link         not connected for ") && screen.contains("now          link: ")
    });
    assert!(screen.contains("TROUBLE"), "{screen}");
    terminal.wait_for("what waits", |screen| screen.contains(" wait, the oldest for "));
}

/// The configuration is read as it changes: its faults come and go, a reload that is refused is told, and a socket that moves is found.
#[test]
fn the_configuration_is_watched_too() {
    let broker = Mosquitto::start();
    let setup = Setup::new(broker.port, "");
    let gatewire = setup.connect();
    let terminal = Terminal::start((140, 40));
    let absent = setup.directory.path().join("nofile");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewire"));
    command.arg("--config").arg(&absent);
    terminal.run("", &command, WATCH);
    terminal.wait_for_text("there is no such file");
    terminal.wait_for_prompt();
    terminal.run("", &setup.command(), WATCH);
    terminal.wait_for_text("link         connected for ");
    let setup = setup.again().edit("[connection]\n", "[connection]\nzzz = 1\n");
    terminal.wait_for_text("`connection.zzz`: unknown key");
    gatewire.signal("HUP");
    terminal.wait_for_text("was refused, and gatewire goes on with the configuration that it had");
    assert!(gatewire.status()["reload_refused"]["errors"][0].as_str().unwrap().contains("zzz"));
    let (_, page, _) = setup.output("status");
    assert!(page.contains("reload") && page.contains("was refused"), "{page}");
    let setup = setup.again().edit("[connection]\nzzz = 1\n", "[connection]\n");
    gatewire.signal("HUP");
    terminal.wait_for("the fault to go, and the refusal", |screen| {
        !screen.contains("zzz") && !screen.contains("was refused")
    });
    let _setup = setup.edit("status.sock", "moved.sock");
    gatewire.signal("HUP");
    gatewire.wait_for("the configuration is read again");
    terminal.wait_for_text("link         connected for ");
    terminal.press("q");
    terminal.wait_for_prompt();
}

#[test]
fn it_works_without_colours_and_without_utf8() {
    let broker = Mosquitto::start();
    let (setup, _gatewire, _reader) = in_service(&broker);
    let terminal = Terminal::start((80, 24));
    for (variables, has_colours, is_ascii) in
        [("", true, false), ("NO_COLOR=1", false, false), ("LC_ALL=C", true, true)]
    {
        terminal.run(variables, &setup.command(), WATCH);
        let screen = terminal.wait_for_text("link         connected for ");
        assert_eq!(screen.is_ascii(), is_ascii, "{variables} {screen}");
        assert_eq!(terminal.coloured().contains('\u{1b}'), has_colours, "{variables} {:?}", terminal.coloured());
        terminal.press("q");
        terminal.wait_for_prompt();
    }
}

#[test]
fn where_nothing_can_be_drawn_it_names_what_can_be_done() {
    let setup = Setup::new(closed_port(), TRAFFIC);
    let (code, out, err) = setup.output_of(WATCH);
    assert_eq!((code, out.as_str()), (64, ""), "{err}");
    assert!(
        err.contains("needs a terminal, and standard output isn't one") && err.contains("`gatewire status --follow`")
    );
    let terminal = Terminal::start((100, 24));
    for (variables, why) in [("TERM=dumb", "TERM is dumb"), ("TERM=", "or not set"), ("-u TERM", "or not set")] {
        terminal.run(variables, &setup.command(), WATCH);
        let screen = terminal.wait_for_text("gatewire status --follow");
        assert!(screen.contains(why), "{screen}");
        terminal.wait_for_prompt();
    }
}

#[test]
fn whatever_ends_it_gives_the_terminal_back() {
    let setup = Setup::new(closed_port(), TRAFFIC);
    let terminal = Terminal::start((80, 24));
    let modes = terminal.modes();
    let run = || {
        terminal.run("", &setup.command(), WATCH);
        terminal.wait_for_text("It is asked again each second.");
    };
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1] {
        run();
        kill(terminal.foreground(), signal).unwrap();
        given_back(&terminal, &modes);
    }
    run();
    terminal.press("C-c");
    given_back(&terminal, &modes);
    // The shell goes on, and so does the view.
    run();
    terminal.press("C-z");
    given_back(&terminal, &modes);
    terminal.enter("clear; fg");
    terminal.wait_for_text("It is asked again each second.");
    assert_eq!(terminal.is_taken(), (true, false));
    terminal.press("q");
    given_back(&terminal, &modes);
}

/// A connection that is lost, and one that hangs: nothing is left behind.
#[test]
fn it_ends_with_its_terminal() {
    let setup = Setup::new(closed_port(), TRAFFIC);
    let has_ended = |pid: nix::unistd::Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
    };
    for is_lost in [true, false] {
        let terminal = Terminal::start((80, 24));
        terminal.run("", &setup.command(), WATCH);
        terminal.wait_for_text("It is asked again each second.");
        let pid = terminal.foreground();
        if is_lost {
            terminal.ask(&["kill-session", "-t", "test"]);
        } else {
            terminal.signal(Signal::SIGSTOP);
            // It draws all of it again and again, until the terminal takes no more.
            settled("the bytes that it has written", || {
                kill(pid, Signal::SIGWINCH).unwrap();
                fs::read_to_string(format!("/proc/{pid}/io")).unwrap().lines().nth(1).map(str::to_owned)
            });
            kill(pid, Signal::SIGTERM).unwrap();
        }
        patiently("its end", || has_ended(pid).then_some(()));
    }
}

#[test]
fn a_socket_that_is_not_for_us_is_told_as_everywhere() {
    let setup = Setup::new(closed_port(), TRAFFIC);
    let gatewire = setup.start();
    // It has its mode once it is answered.
    gatewire.status();
    let socket = gatewire.path("status.sock");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
    let terminal = Terminal::start((80, 24));
    let mut command = Command::new("setpriv");
    // Root without its capabilities is a user like others.
    command.args(Uid::effective().is_root().then_some("--bounding-set=-all"));
    command.arg("--").arg(env!("CARGO_BIN_EXE_gatewire"));
    terminal.run("", &command, &["status", "--watch", "--socket", socket.to_str().unwrap()]);
    terminal.wait_for("why", |screen| screen.replace('\n', " ").contains("prefix the command with `sudo -u"));
    terminal.press("q");
    terminal.wait_for_prompt();
}

/// Whether a client hasn't closed its connection: the kernel knows, however late our threads are.
fn is_there(client: &UnixStream) -> bool {
    let mut polled = [PollFd::new(client.as_fd(), PollFlags::empty())];
    poll(&mut polled, PollTimeout::ZERO).unwrap();
    !polled[0].revents().unwrap().contains(PollFlags::POLLHUP)
}

/// In the place of a daemon: it answers with what it is told to, or not at all.
struct Daemon {
    answer: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
    /// The most that were connected at once.
    most: Arc<AtomicUsize>,
}

impl Daemon {
    fn start(socket: &Path) -> Daemon {
        let listener = UnixListener::bind(socket).unwrap();
        let daemon = Daemon { answer: Arc::default(), asked: Arc::default(), most: Arc::default() };
        let (answer, asked, most) = (Arc::clone(&daemon.answer), Arc::clone(&daemon.asked), Arc::clone(&daemon.most));
        std::thread::spawn(move || {
            let mut connected: Vec<UnixStream> = Vec::new();
            for client in listener.incoming().map_while(Result::ok) {
                connected.retain(is_there);
                connected.push(client.try_clone().unwrap());
                most.fetch_max(connected.len(), Ordering::SeqCst);
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().unwrap().clone();
                std::thread::spawn(move || {
                    let mut client = BufReader::new(client);
                    let _ = client.read_line(&mut String::new());
                    match answer {
                        Some(answer) => drop(client.get_mut().write_all(answer.as_bytes())),
                        // Until it has gone.
                        None => drop(client.read_line(&mut String::new())),
                    }
                    let _ = client.get_mut().shutdown(Shutdown::Both);
                });
            }
        });
        daemon
    }

    fn answers(&self, answer: impl ToString) {
        *self.answer.lock().unwrap() = Some(answer.to_string());
    }
}

#[test]
fn daemons_of_other_versions_and_what_is_none_are_shown_as_far_as_they_are_understood() {
    let terminal = Terminal::start((80, 24));
    let socket = terminal.path("status.sock");
    let daemon = Daemon::start(&socket);
    let setup = Setup::new(closed_port(), "");
    terminal.run("", &setup.command(), &["status", "--watch", "--socket", socket.to_str().unwrap()]);
    terminal.wait_for_text("gatewire is asked");
    let began = Instant::now();
    daemon.answers(json!({"version": "9.0.0", "link": {"state": "dreaming", "mood": 7}, "weather": []}));
    terminal.wait_for_text("link         in a state that this version doesn't know");
    daemon.answers("what?");
    terminal.wait_for_text("isn't answered by gatewire, or by another version of it");
    daemon.answers(json!({"version": "9.1.0", "outbox": 7}));
    terminal.wait_for_text("not a status document");
    daemon.answers(
        json!({"version": "9.2.0", "link": {"state": "connected", "last_error": {"message": "\u{1b}[2J\u{9b}x"}}}),
    );
    let screen = terminal.wait_for_text("gatewire 9.2.0 answers");
    assert!(screen.contains("link: \\u001b[2J\\u009bx"), "{screen}");
    // One that hangs isn't asked again until it is given up.
    *daemon.answer.lock().unwrap() = None;
    terminal.wait_for_text("no answer for ");
    terminal.wait_for_text("doesn't answer at ");
    let asked = daemon.asked.load(Ordering::SeqCst);
    assert_eq!(daemon.most.load(Ordering::SeqCst), 1, "never twice at once");
    assert!(asked as u64 <= began.elapsed().as_secs() + 8, "{asked} in {:?}", began.elapsed());
}
