//! The daemon under test.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::socket::Client;
use super::{CERTIFICATES, PATIENCE, eventually, found_within, patiently, program};

/// The program under test, and the one that runs it if it is for another kind of machine: the words of GATEWIRE_UNDER_TEST
/// (tests/emulated), or else what cargo has built.
fn under_test() -> Vec<OsString> {
    match std::env::var("GATEWIRE_UNDER_TEST") {
        Ok(words) => words.split(' ').map(OsString::from).collect(),
        Err(_) => vec![env!("CARGO_BIN_EXE_gatewire").into()],
    }
}

/// A configuration in a directory of its own, not started yet.
pub struct Setup {
    pub directory: Arc<TempDir>,
    environment: Vec<(String, OsString)>,
    wrapper: Vec<OsString>,
    log_file: Option<PathBuf>,
}

impl Setup {
    /// A configuration for the broker at `port` with `thing-1`'s certificates, and `rest` behind it. `DIR` in `rest` is the
    /// directory.
    pub fn new(port: u16, rest: &str) -> Setup {
        let backoff = "backoff = { min = \"100ms\", max = \"300ms\", stable_after = \"1m\" }";
        let limits = "rate_limit = { messages_per_second = 1000000, bytes_per_second = \"1 GiB\", burst = 100000, connects_per_second = 100 }";
        Setup::with_connection(port, &format!("{backoff}\n{limits}\n"), rest)
    }

    /// Likewise, with other lines in `[connection]`.
    pub fn with_connection(port: u16, connection: &str, rest: &str) -> Setup {
        let head = format!(
            "[connection]\nendpoint = \"localhost\"\nport = {port}\nclient_id = \"thing-1\"\n{connection}\n\
             [tls]\nca_file = \"{}\"\ncert_file = \"{}\"\nkey_file = \"{}\"\n\
             [status]\nsocket = \"DIR/status.sock\"\n[outbox]\npath = \"DIR/gatewire.db\"\n",
            CERTIFICATES.path("AmazonRootCA1.pem").display(),
            CERTIFICATES.path("certificate.pem.crt").display(),
            CERTIFICATES.path("private.pem.key").display(),
        );
        Setup::with_text(&format!("{head}{rest}"))
    }

    /// What waits for its PUBACK isn't written to the disk for a minute, as long as there is a link: it is answered `delivered` or
    /// `rejected`, however slow this machine is.
    pub fn unspilled(self) -> Setup {
        self.edit("[outbox]\n", "[outbox]\nspill_after = \"1m\"\n")
    }

    /// With a version of MQTT that may not be the default.
    pub fn speaking(self, protocol: &str) -> Setup {
        self.edit("[connection]\n", &format!("[connection]\nprotocol = \"{protocol}\"\n"))
    }

    pub fn with_text(text: &str) -> Setup {
        let directory = Arc::new(TempDir::new().unwrap());
        let text = text.replace("DIR", &directory.path().display().to_string());
        std::fs::write(directory.path().join("gatewire.toml"), text).unwrap();
        Setup { directory, environment: Vec::new(), wrapper: Vec::new(), log_file: None }
    }

    /// The same configuration once more, in the same directory: to start it a second time.
    pub fn again(&self) -> Setup {
        let Setup { directory, environment, wrapper, log_file } = self;
        Setup {
            directory: Arc::clone(directory),
            environment: environment.clone(),
            wrapper: wrapper.clone(),
            log_file: log_file.clone(),
        }
    }

    /// `gatewire --config ...`, without a command.
    pub fn command(&self) -> Command {
        let gatewire = under_test();
        let mut words = self.wrapper.iter().chain(&gatewire).map(OsString::as_os_str);
        let mut command = program(words.next().unwrap());
        command.args(words);
        command.arg("--config").arg(self.directory.path().join("gatewire.toml"));
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().cloned());
        command
    }

    /// With another text in the place of `from` in the configuration, which must hold it.
    pub fn edit(self, from: &str, to: &str) -> Setup {
        let path = self.directory.path().join("gatewire.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no {from:?} in\n{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        self
    }

    /// With another credential file than that of `thing-1`.
    pub fn credential(self, name: &str, path: &Path) -> Setup {
        self.edit(&CERTIFICATES.path(name).display().to_string(), &path.display().to_string())
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Setup {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Run by another program: one that ends by executing what its arguments go on with, so that the process stays the same.
    pub fn under<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Setup {
        self.wrapper.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// What it logs is also added to a file of the directory, one start after the other.
    pub fn keep_log(mut self, name: &str) -> Setup {
        self.log_file = Some(self.directory.path().join(name));
        self
    }

    /// Runs `gatewire check` or another command that ends by itself: exit code, standard output, standard error.
    pub fn output(&self, command: &str) -> (i32, String, String) {
        self.output_of(&[command])
    }

    /// Likewise, with arguments.
    pub fn output_of(&self, command: &[&str]) -> (i32, String, String) {
        let output = self.command().args(command).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Starts a command whose standard output is of interest.
    pub fn spawn(&self, command: &[&str]) -> Child {
        self.command().args(command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Starts `gatewire run`.
    pub fn start(&self) -> Gatewire {
        let (read, write) = std::io::pipe().unwrap();
        let stderr = write.try_clone().unwrap();
        let child = self.command().arg("run").stdin(Stdio::null()).stderr(stderr).spawn().unwrap();
        let log = Arc::new(Log::default());
        let open = |path| File::options().create(true).append(true).open(path).unwrap();
        let mut file = self.log_file.as_ref().map(open);
        if let Some(file) = &mut file {
            writeln!(file, "--- process {}", child.id()).unwrap();
        }
        let is_kept = file.is_some();
        let shared = Arc::clone(&log);
        let reader = std::thread::spawn(move || shared.read(read, file));
        let writes_file = is_kept.then_some(reader);
        Gatewire { child, log, stderr: Some(write), writes_file, directory: Arc::clone(&self.directory) }
    }

    /// Starts it and waits for its link, not only for that of a bridge.
    pub fn connect(&self) -> Gatewire {
        let gatewire = self.start();
        let is_of_link = |line: &str| line.contains("connected to") && !line.contains("bridge ");
        gatewire.wait_for_line("the link", 1, is_of_link);
        gatewire
    }
}

/// What a daemon has written to its standard error.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    read: Vec<String>,
    /// Marks that are to be written, and those that were read.
    marks: (usize, usize),
}

/// A line of the log that ends with it isn't the daemon's: what was written before it is read.
const MARK: char = '\0';

impl Log {
    fn read(&self, stderr: PipeReader, mut file: Option<File>) {
        // A mark may stand in a line.
        let mut begun = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(before) = line.strip_suffix(MARK) {
                begun.push_str(before);
                self.lines.lock().unwrap().marks.1 += 1;
            } else {
                let line = std::mem::take(&mut begun) + &line;
                if let Some(file) = &mut file {
                    writeln!(file, "{line}").unwrap();
                }
                self.lines.lock().unwrap().read.push(line);
            }
            self.changed.notify_all();
        }
    }

    /// All that was written to `stderr` before this was called.
    fn all(&self, stderr: Option<&PipeWriter>) -> Vec<String> {
        let mut mark = 0;
        if let Some(mut stderr) = stderr {
            let mut lines = self.lines.lock().unwrap();
            lines.marks.0 += 1;
            mark = lines.marks.0;
            drop(lines);
            stderr.write_all(format!("{MARK}\n").as_bytes()).unwrap();
        }
        let guard = self.lines.lock().unwrap();
        let is_missing = |lines: &mut Lines| lines.marks.1 < mark;
        self.changed.wait_timeout_while(guard, PATIENCE, is_missing).unwrap().0.read.clone()
    }
}

/// A running daemon. It is killed with the test.
pub struct Gatewire {
    child: Child,
    log: Arc<Log>,
    /// The end of its log to which it writes.
    stderr: Option<PipeWriter>,
    /// Writes the log to a file.
    writes_file: Option<JoinHandle<()>>,
    directory: Arc<TempDir>,
}

impl Gatewire {
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client of one of its sockets, once that is there.
    pub fn client(&self, name: &str) -> Client {
        Client::connect(&self.path(name))
    }

    /// The first log line that holds `text`, now or soon.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_nth(text, 1)
    }

    /// Likewise, for what may take its time.
    pub fn wait_patiently(&self, text: &str) {
        patiently(&format!("a line with {text:?}"), || (self.count(text) > 0).then_some(()));
    }

    /// The `n`th such line, from 1.
    pub fn wait_for_nth(&self, text: &str, n: usize) -> String {
        self.wait_for_line(text, n, |line| line.contains(text))
    }

    fn wait_for_line(&self, what: &str, n: usize, is_meant: impl Fn(&str) -> bool) -> String {
        let Log { lines, changed } = &*self.log;
        let guard = lines.lock().unwrap();
        let found = |lines: &[String]| lines.iter().filter(|line| is_meant(line)).nth(n - 1).cloned();
        let (guard, _) = changed.wait_timeout_while(guard, PATIENCE, |lines| found(&lines.read).is_none()).unwrap();
        let line = found(&guard.read);
        drop(guard);
        line.unwrap_or_else(|| panic!("no {n}th line with {what:?}"))
    }

    /// All that it has written so far.
    pub fn log(&self) -> Vec<String> {
        self.log.all(self.stderr.as_ref())
    }

    pub fn count(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Its exit code; how long that took.
    pub fn wait(mut self) -> (i32, Duration) {
        let start = Instant::now();
        let ended = found_within(PATIENCE, || self.child.try_wait().unwrap());
        let status = ended.unwrap_or_else(|| panic!("it doesn't end: {:?}", self.log()));
        let took = start.elapsed();
        assert_eq!(status.signal(), None, "{:?}", self.log());
        self.complete_the_file();
        (status.code().unwrap(), took)
    }

    /// SIGKILL: it can't do anything about it.
    pub fn kill(self) {
        self.kill_if_alive();
    }

    /// SIGKILL, and whether it wasn't at its end already.
    pub fn kill_if_alive(mut self) -> bool {
        self.child.kill().unwrap();
        let was_alive = self.child.wait().unwrap().signal().is_some();
        self.complete_the_file();
        was_alive
    }

    /// It has ended; its last lines may still be on their way to the file.
    fn complete_the_file(&mut self) {
        self.stderr = None;
        if let Some(thread) = self.writes_file.take() {
            thread.join().unwrap();
        }
    }

    /// SIGTERM and the exit code.
    pub fn stop(self) -> (i32, Duration) {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until its link has failed in the way that `code` names: message and advice.
    pub fn wait_for_failure(&self, code: &str) -> String {
        let error = eventually(&format!("last_error {code}"), || {
            let error = self.status()["link"]["last_error"].clone();
            error["code"].as_str().is_some_and(|found| found.starts_with(code)).then_some(error)
        });
        format!("{} {}", error["message"], error["advice"])
    }

    /// What the kernel says of it, from /proc/PID/status.
    pub fn process_status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The most memory of its own that it can have had so far, in KiB: without the pages of the binary and of libraries,
    /// which are the larger part of a debug build, and say nothing about what the daemon holds.
    pub fn own_memory_peak(&self) -> u64 {
        let files = self.process_status("RssFile");
        self.process_status("VmHWM") - files
    }

    /// CPU time that it has spent, all threads.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
        ticks / nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap() as f64
    }

    pub fn status(&self) -> Value {
        let mut client = self.client("status.sock");
        client.be_patient();
        // At once: a silent client is waited for.
        client.send("{}");
        let text = client.read_to_end();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Drop for Gatewire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of gatewire\n{}\n---", self.log().join("\n"));
        }
    }
}
