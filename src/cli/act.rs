//! `gatewire act`: runs an action as root, for the daemon, which has no privilege (`gatewire-action@.service`).
//!
//! The daemon, which hears from the whole world, may have been broken into. So nothing that it says is believed: it names an action
//! and gives arguments; what that runs is read from the configuration again, from files only that nobody but root can change, and the
//! arguments are checked again, by the same code.

mod allowed;
mod asked;
pub(super) mod trusted;
mod turn;

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use log::LevelFilter;
use nix::unistd::geteuid;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Exit;
use super::output;
use crate::actions::leftover::Ending;
use crate::actions::process::{Program, Running};
use crate::actions::root::wire::{Answer, Request, RunRequest};
use crate::actions::{Done, ExecutionId, How, ProgramEnd};
use crate::journal;
use crate::owner;
use crate::printable::printable;
use allowed::Downloaded;
use asked::{Asked, Interruption};
use turn::Turn;

pub(super) const LONG_ABOUT: &str = "\
Runs one action of the configuration that has `as = \"root\"`, for the daemon. Nobody calls this by hand: systemd
starts it as root for each connection to gatewire-action.socket (gatewire-action@.service), which is its standard
input. Only the user gatewire, and root, may ask. It reads the configuration itself, from files that nobody but root
can change, and runs what that lists for the action that the daemon names.";

pub(super) const AFTER_HELP: &str = "\
Exit codes: 0 the answer was given, which may be that nothing is run, 64 standard input isn't a connection, 70 a failure of gatewire itself.";

/// For the request to arrive.
const UNTIL_ASKED: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct ActArguments {
    /// Held while an action is run: there is one at a time
    #[arg(long, value_name = "FILE", default_value = "/run/gatewire-action.lock")]
    lock: PathBuf,
}

/// Answers the daemon that is connected to standard input.
#[inline(never)]
pub(super) fn run(path: &Path, arguments: &ActArguments) -> Exit {
    journal::init(LevelFilter::Info);
    let runtime = match Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::tell(&format!("the runtime can't be started: {error}"));
            return Exit::Internal;
        }
    };
    runtime.block_on(async {
        match connection() {
            Ok(connection) => answer(connection, path, &arguments.lock).await,
            Err(_) => {
                output::tell(
                    "standard input isn't a connection to a Unix socket: systemd starts `gatewire act`, for each connection to \
                     gatewire-action.socket",
                );
                Exit::Usage
            }
        }
    })
}

/// Standard input, if that is a connection.
fn connection() -> io::Result<tokio::net::UnixStream> {
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Of another kind of file, or one that isn't connected, this is an error.
    stream.peer_addr()?;
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

/// Reads the request, does what it says, and answers.
async fn answer(connection: tokio::net::UnixStream, path: &Path, lock: &Path) -> Exit {
    let peer = match connection.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => {
            output::tell(&format!("the kernel doesn't say who asks: {error}"));
            return Exit::Internal;
        }
    };
    let mut asked = match Asked::by(connection) {
        Ok(asked) => asked,
        Err(error) => {
            output::tell(&format!("SIGTERM can't be waited for: {error}"));
            return Exit::Internal;
        }
    };
    if !may_ask(peer) {
        let name = owner::name_of(peer);
        refuse(&mut asked, &format!("the user {name} may not ask for actions of root; gatewire's own user may")).await;
        return Exit::Done;
    }
    let request = match timeout(UNTIL_ASKED, asked.request()).await {
        Ok(Ok(request)) => request,
        Ok(Err(why)) => {
            refuse(&mut asked, &why).await;
            return Exit::Done;
        }
        Err(_) => {
            refuse(&mut asked, &format!("no request came within {} s", UNTIL_ASKED.as_secs())).await;
            return Exit::Done;
        }
    };
    match request {
        Request::Run(request) => act(&mut asked, &request, peer, path, lock).await,
        Request::EndLeftover(execution) => end_leftover(&mut asked, &execution, lock).await,
        Request::Cancel => refuse(&mut asked, "there is nothing to cancel").await,
    }
    Exit::Done
}

/// The user of the service, root, and who runs this: they are one in production.
fn may_ask(peer: u32) -> bool {
    peer == 0 || peer == geteuid().as_raw() || owner::service_user().is_some_and(|user| user.uid.as_raw() == peer)
}

async fn refuse(asked: &mut Asked, why: &str) {
    log::warn!(GATEWIRE_EVENT = "root_action_refused"; "refused to act as root: {why}");
    asked.answer(&Answer::Refused(why.to_owned())).await;
}

/// Waits for the turn. `None`: it can't be had, or isn't wanted any more, which is answered.
async fn turn(asked: &mut Asked, lock: &Path) -> Option<Turn> {
    match asked.turn(lock).await {
        Some(Ok(turn)) => return Some(turn),
        Some(Err(error)) => refuse(asked, &format!("{} can't be locked: {error}", lock.display())).await,
        None => asked.answer(&Answer::Ended(ProgramEnd::silently(How::Cancelled))).await,
    }
    None
}

async fn end_leftover(asked: &mut Asked, execution: &ExecutionId, lock: &Path) {
    let Some(_turn) = turn(asked, lock).await else { return };
    let answer = match Ending::default().of(execution).await {
        Ok(()) => Answer::Gone,
        Err(left) => Answer::Refused(left.to_string()),
    };
    asked.answer(&answer).await;
}

async fn act(asked: &mut Asked, request: &RunRequest, peer: u32, path: &Path, lock: &Path) {
    let Some(_turn) = turn(asked, lock).await else { return };
    let name = format!("the action \"{}\" of execution {}", printable(&request.action), request.execution);
    let (invocation, download) = match allowed::by(path, request, peer) {
        Ok(allowed) => allowed,
        Err(why) => return refuse(asked, &format!("{name}: {why}")).await,
    };
    let file = download.as_ref().map(Downloaded::path);
    let (action, argv) = (invocation.action(), invocation.argv(file.as_deref()));
    let program = Program { argv: &argv, execution: &request.execution, timeout: action.timeout };
    let mut running = match Running::start(program) {
        Ok(running) => running,
        Err(why) => return refuse(asked, &format!("{name}: {} can't be started: {why}", action.run.program)).await,
    };
    log::info!(GATEWIRE_EVENT = "root_action"; "{name} has begun as root: {}", action.run.program);
    // It is in the journal whatever becomes of this process: the action may reboot.
    journal::finish();
    asked.answer(&Answer::Started).await;
    let Some(ended) = until_the_end(asked, &mut running, action.done).await else {
        log::info!(GATEWIRE_EVENT = "root_action"; "{name} goes on, and this helper ends, as systemd stops it");
        return running.leave();
    };
    log::info!(GATEWIRE_EVENT = "root_action"; "{name} {}", ended.how);
    asked.answer(&Answer::Ended(ended)).await;
}

/// Until the program has ended by itself or by who asked for it; `None`: this process is to end before.
async fn until_the_end(asked: &mut Asked, running: &mut Running, done: Done) -> Option<ProgramEnd> {
    let ending = Ending::default();
    let (cancel, cancelled) = oneshot::channel::<()>();
    let mut ended = pin!(running.until_the_end(async { drop(cancelled.await) }, &ending));
    tokio::select! {
        biased;
        ended = &mut ended => Some(ended),
        interruption = asked.interrupted(done) => match interruption {
            Interruption::Leave => None,
            Interruption::End => {
                drop(cancel);
                Some(ended.await)
            }
        }
    }
}
