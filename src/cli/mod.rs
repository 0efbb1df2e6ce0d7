//! The command line: one file a command.

mod act;
mod bridge;
mod check;
mod client;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod inputs;
mod jobs;
mod output;
mod owner_of_state;
mod policy;
mod provision;
mod publish;
pub(crate) mod run;
mod signer;
mod status;
mod tail;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::journal;
use crate::printable::printable;
use output::StyledText;

/// What a command ends with (`sysexits.h` where it has a word for it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    /// The answer is no.
    No = 1,
    /// A failure of gatewire itself (`EX_SOFTWARE`).
    Internal = 70,
    /// The command line can't be understood (`EX_USAGE`).
    Usage = 64,
    /// The daemon can't be reached (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// Configuration, credentials or sockets can't be used (`EX_CONFIG`).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

const ABOUT: &str = "Holds one persistent mTLS MQTT connection to AWS IoT Core";

const LONG_ABOUT: &str = "\
gatewire holds one persistent mTLS MQTT connection to AWS IoT Core. It publishes on a
schedule, forwards the messages it subscribes to to local Unix sockets, lets local programs
publish through it, and bridges local MQTT brokers. It reconnects by itself, for ever.";

const AFTER_HELP: &str = "\
Examples:
  gatewire check                             is the configuration right, do the credentials match?
  gatewire check --connect                   does the connection to IoT Core work, and if not, why?
  gatewire policy --account 123456789012     the IoT policy that the configuration needs
  gatewire bridge zigbee2mqtt/kitchen        what becomes of this topic of the local broker?
  gatewire provision                         an identity from AWS IoT, by a claim
  gatewire run                               the daemon, in the foreground
  gatewire status                            is it connected, what waits, what went wrong?
  gatewire jobs                              what did AWS IoT have it do, and with what result?
  gatewire tail                              messages, as they arrive
  gatewire publish TOPIC PAYLOAD             a message through the running daemon
  gatewire --config ./gatewire.toml check    with another configuration
  sudo journalctl -u gatewire                what it does when systemd runs it

Exit codes: 0 done, 1 the answer is no, 64 usage, 69 the daemon can't be reached, 70 a failure of gatewire itself,
78 configuration or credentials unusable.";

pub(in crate::cli) const DEFAULT_CONFIG: &str = "/etc/gatewire/gatewire.toml";

#[derive(Debug, Parser)]
#[command(name = "gatewire", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
struct Arguments {
    /// The configuration file; conf.d/*.toml beside it is read as well
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground, until SIGTERM or SIGINT
    Run,
    /// Check the configuration and credentials, report every problem at once; with --connect try to connect to IoT Core
    #[command(long_about = check::LONG_ABOUT, after_help = check::AFTER_HELP)]
    Check(check::CheckArguments),
    /// Print the minimal IoT policy that this configuration needs, or compare an existing one
    #[command(long_about = policy::LONG_ABOUT, after_help = policy::AFTER_HELP)]
    Policy(policy::PolicyArguments),
    /// Get this gateway's identity from AWS IoT by its claim, in the foreground
    #[command(long_about = provision::LONG_ABOUT, after_help = provision::AFTER_HELP)]
    Provision,
    /// Say what the bridges do with a topic, or translate a mosquitto bridge
    #[command(long_about = bridge::LONG_ABOUT, after_help = bridge::AFTER_HELP)]
    Bridge(bridge::BridgeArguments),
    /// Show what the running daemon is doing
    #[command(long_about = status::LONG_ABOUT, after_help = status::AFTER_HELP)]
    Status(status::StatusArguments),
    /// List the last jobs and commands that AWS IoT had this gateway do
    #[command(long_about = jobs::LONG_ABOUT, after_help = jobs::AFTER_HELP)]
    Jobs(jobs::JobsArguments),
    /// Publish through the running daemon
    #[command(long_about = publish::LONG_ABOUT, after_help = publish::AFTER_HELP)]
    Publish(publish::PublishArguments),
    /// Follow the messages on the forward sockets
    #[command(long_about = tail::LONG_ABOUT, after_help = tail::AFTER_HELP)]
    Tail(tail::TailArguments),
    /// Run an action as root for the daemon; systemd starts it
    #[command(hide = true, long_about = act::LONG_ABOUT, after_help = act::AFTER_HELP)]
    Act(act::ActArguments),
    /// Sign with a key in a token, for the daemon, which starts this
    #[command(hide = true, long_about = signer::LONG_ABOUT, after_help = signer::AFTER_HELP)]
    Signer,
}

/// The command line as it is parsed, for what is made of it: manual pages, completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Says what is wrong with the command line, or what --help and --version ask for.
fn refuse(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // When nobody takes the text there is nobody to tell.
        let _ = output::answer(&StyledText::of_lines(error.render().to_string().lines()));
        return Exit::Done;
    }
    // It repeats arguments: none of them may pass for a line of its own.
    let harmless = std::env::args_os().map(|argument| printable(&argument.to_string_lossy()).into_owned());
    let error = Arguments::try_parse_from(harmless).err();
    let strange = std::env::args_os().skip(1).find(|argument| argument.to_str().is_none());
    let text = match (error, strange) {
        (Some(error), _) => error.render().to_string(),
        (None, Some(strange)) => {
            format!(
                "the argument \"{}\" isn't UTF-8; topics and payloads must be",
                printable(&strange.to_string_lossy())
            )
        }
        (None, None) => "the command line can't be understood".to_owned(),
    };
    text.lines().for_each(output::tell);
    Exit::Usage
}

/// Parses the command line.
fn parse() -> Result<Arguments, clap::Error> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let texts: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
    texts.as_deref().and_then(daemons).map_or_else(Arguments::try_parse, Ok)
}

/// The command line of the daemon, as a unit or a script has it. It doesn't need clap, which it would keep as pages of the program, of
/// stack and of heap for good. Whatever is a little different is clap's.
fn daemons(arguments: &[&str]) -> Option<Arguments> {
    let config = match arguments {
        ["run"] => DEFAULT_CONFIG,
        ["--config", file, "run"] | ["run", "--config", file] => file,
        _ => return None,
    };
    let is_file = !config.is_empty() && !config.starts_with('-');
    is_file.then(|| Arguments { config: config.into(), command: Command::Run })
}

/// Parses the command line and runs the command it names.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| output::tell(&format!("internal error, please report it: {panic}"))));
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error).into(),
    };
    // A panic has said what it is by now; it ends like any other failure of gatewire itself.
    let ended = catch_unwind(AssertUnwindSafe(|| run(arguments)));
    journal::finish();
    ended.unwrap_or(Exit::Internal).into()
}

/// The commands aren't inlined: the daemon's stack would begin with the room that each of them needs.
fn run(arguments: Arguments) -> Exit {
    match arguments.command {
        Command::Run => run::run(&arguments.config),
        Command::Check(check) => check::run(&arguments.config, &check),
        Command::Policy(policy) => policy::run(&arguments.config, policy),
        Command::Provision => provision::run(&arguments.config),
        Command::Bridge(bridge) => bridge::run(&arguments.config, &bridge),
        Command::Status(status) => status::run(&arguments.config, &status),
        Command::Jobs(jobs) => jobs::run(&arguments.config, &jobs),
        Command::Publish(publish) => publish::run(&arguments.config, publish),
        Command::Tail(tail) => tail::run(&arguments.config, tail),
        Command::Act(act) => act::run(&arguments.config, &act),
        Command::Signer => signer::run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_command_line_means_what_it_means_to_clap() {
        let words = ["run", "check", "--config", "--config=a.toml", "a.toml", "-", "--", "", "--help", "run "];
        let mut lines = vec![Vec::new()];
        let mut of_the_daemon = 0;
        for _ in 0..4 {
            lines = lines.iter().flat_map(|line| words.map(|word| [line.as_slice(), &[word]].concat())).collect();
            for line in &lines {
                let Some(found) = daemons(line) else { continue };
                let clap = Arguments::try_parse_from([&["gatewire"], line.as_slice()].concat()).unwrap();
                assert!(matches!((&found.command, &clap.command), (Command::Run, Command::Run)), "{line:?}");
                assert_eq!(found.config, clap.config, "{line:?}");
                of_the_daemon += 1;
            }
        }
        // `run` alone, and with each word that may be a file's name before and behind it.
        assert_eq!(of_the_daemon, 1 + 2 * 4);
    }
}
