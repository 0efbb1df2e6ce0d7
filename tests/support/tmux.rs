//! A real terminal: a shell in a tmux of its own, which tells what is on the screen.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{eventually, patiently, program};

/// What the shell says when it waits for a command.
const PROMPT: &str = "ready>";

/// A terminal with a shell. It ends with the test.
pub struct Terminal {
    server: Child,
    directory: TempDir,
}

impl Terminal {
    /// Of so many columns and rows.
    pub fn start(size: (u16, u16)) -> Terminal {
        let directory = TempDir::new().unwrap();
        let mut server = program("tmux");
        server.arg("-S").arg(directory.path().join("tmux.sock")).args(["-f", "/dev/null", "-u", "-D"]);
        for name in ["TMUX", "TMUX_PANE", "NO_COLOR", "LC_ALL", "LC_CTYPE"] {
            server.env_remove(name);
        }
        server.env("LANG", "C.UTF-8").stdin(Stdio::null()).stdout(Stdio::null());
        let server = server.spawn().unwrap();
        let terminal = Terminal { server, directory };
        let [width, height] = [size.0, size.1].map(|n| n.to_string());
        eventually("tmux", || {
            let command = ["new-session", "-d", "-s", "test", "-x", &width, "-y", &height, "sh"];
            terminal.command(&command).output().unwrap().status.success().then_some(())
        });
        terminal.enter(&format!("PS1='{PROMPT} '"));
        terminal.wait_for_prompt();
        terminal
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        // None is started by this: it would outlive the test.
        command.args(["-N", "-S"]).arg(self.path("tmux.sock")).args(arguments);
        command
    }

    /// What tmux answers.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a line.
    pub fn enter(&self, line: &str) {
        self.ask(&["send-keys", "-t", "test", "-l", line]);
        self.press("Enter");
    }

    /// Types the command line of a program; what is in front of it sets variables.
    pub fn run(&self, variables: &str, command: &Command, arguments: &[&str]) {
        let quote = |word: &OsStr| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"));
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.chain(arguments.iter().map(OsStr::new)).map(quote).collect();
        // The screen would be full of it.
        let script = self.path("command");
        std::fs::write(&script, format!("exec env {variables} {}\n", words.join(" "))).unwrap();
        self.enter(&format!("clear; sh {}", script.display()));
    }

    /// Presses a key, by its name for tmux.
    pub fn press(&self, key: &str) {
        self.ask(&["send-keys", "-t", "test", key]);
    }

    pub fn resize(&self, width: u16, height: u16) {
        self.ask(&["resize-window", "-t", "test", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// What is on the screen, a line a row.
    pub fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p", "-t", "test"])
    }

    /// Likewise, with the colours as a terminal is told them.
    pub fn coloured(&self) -> String {
        self.ask(&["capture-pane", "-p", "-e", "-t", "test"])
    }

    /// The screen, once it is so.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        patiently(what, || Some(self.screen()).filter(|screen| is_so(screen)))
    }

    /// Likewise, once there is this text, in one line or in several.
    pub fn wait_for_text(&self, text: &str) -> String {
        let in_one = |screen: &str| screen.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        self.wait_for(text, |screen| screen.contains(text) || in_one(screen).contains(text))
    }

    /// Whether a program has taken the screen for itself, and whether the cursor is seen.
    pub fn is_taken(&self) -> (bool, bool) {
        let flags = self.ask(&["display-message", "-p", "-t", "test", "#{alternate_on} #{cursor_flag}"]);
        (flags.starts_with('1'), flags.trim().ends_with('1'))
    }

    /// How the terminal is set, as stty has it. The shell must wait for a command.
    pub fn modes(&self) -> String {
        let file = self.path("modes");
        let _ = std::fs::remove_file(&file);
        self.enter(&format!("stty -g >{0}.new; mv {0}.new {0}", file.display()));
        eventually("the modes", || std::fs::read_to_string(&file).ok())
    }

    /// Waits until the shell waits for a command again.
    pub fn wait_for_prompt(&self) -> String {
        self.wait_for("the shell", |screen| screen.trim_end().lines().last().is_some_and(|line| line.ends_with(PROMPT)))
    }

    /// The process that the shell has been told to run.
    pub fn foreground(&self) -> Pid {
        let shell = self.ask(&["display-message", "-p", "-t", "test", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        eventually("the program", || {
            let read = std::fs::read_to_string(Path::new(&children)).unwrap();
            read.split_whitespace().next().map(|pid| Pid::from_raw(pid.parse().unwrap()))
        })
    }

    /// Sends a signal to tmux: stopped, the terminal takes nothing.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.server.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have been stopped.
        self.signal(Signal::SIGCONT);
        if std::thread::panicking() {
            let output = self.command(&["capture-pane", "-p", "-t", "test"]).output();
            let screen = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            eprintln!("--- the terminal\n{}\n---", screen.unwrap_or_default());
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
