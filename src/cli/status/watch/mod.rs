//! `gatewire status --watch`: what the daemon is doing, on the whole terminal, anew each second.
//!
//! What is known and what is drawn of it is pure: [`model`] is told what the daemon answers, [`view`] draws it into a buffer. Here the
//! daemon is asked, once a second and never before it has answered, and [`terminal`] is drawn on.

mod events;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod hour;
mod look;
mod model;
mod rates;
mod rows;
mod tallies;
mod terminal;
mod trouble;
mod view;
mod whom;

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use self::events::{Event, answers, blocked_signals, keys, signals, spawn};
use self::model::{Model, Moment};
use self::terminal::{Screen, lack};
pub(super) use self::whom::Whom;
use super::super::Exit;
use super::super::output::Failure;
use crate::time;

/// How often the daemon is asked.
const EVERY: Duration = Duration::from_secs(1);

/// Shows what the daemon is doing until somebody ends it.
pub(super) fn watch(whom: Whom) -> Result<(), Failure> {
    if let Some(lack) = lack() {
        let text = format!(
            "gatewire status --watch needs a terminal, and {lack}: `gatewire status --follow` prints a line at each change of the \
             link, `gatewire status` what is now. Over SSH, `ssh -t` makes a terminal"
        );
        return Err(Failure::new(text, Exit::Usage));
    }
    // Before there is another thread: none of them is to be ended by these.
    let blocked =
        blocked_signals().map_err(|error| Failure::new(format!("waiting for signals: {error}"), Exit::Internal))?;
    let mut screen = Screen::take().map_err(|error| undrawable(&error))?;
    let (events, happened) = channel();
    let (asks, asked) = channel();
    // Dropped at the end, and not before the terminal is given back.
    let (_ending, ended) = channel();
    spawn(&events, answers(whom, asked));
    spawn(&events, keys);
    spawn(&events, signals(blocked, ended));
    let mut shown = Shown { model: Model::new(now()), asks, is_asked: false, next: time::now() };
    let done = loop {
        match happened.recv_timeout(shown.next.saturating_duration_since(time::now())) {
            Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => break Ok(()),
            Ok(Event::Broken) => break Err(Failure::of_lines(Vec::new(), Exit::Internal)),
            Ok(event) => {
                if let Err(error) = shown.happened(event, &mut screen) {
                    break Err(undrawable(&error));
                }
            }
            Err(RecvTimeoutError::Timeout) => shown.ask(),
        }
        let drawn = screen.draw(|look, buffer| view::draw(&shown.model, now(), look, buffer));
        if let Err(error) = drawn {
            break Err(undrawable(&error));
        }
    };
    drop(screen);
    done
}

struct Shown {
    model: Model,
    asks: Sender<()>,
    /// The daemon hasn't answered yet.
    is_asked: bool,
    /// When it is asked again.
    next: Instant,
}

impl Shown {
    /// A second has passed.
    fn ask(&mut self) {
        self.next = time::now() + EVERY;
        if !self.is_asked {
            self.is_asked = self.asks.send(()).is_ok();
        }
    }

    fn happened(&mut self, event: Event, screen: &mut Screen) -> std::io::Result<()> {
        match event {
            Event::Answer(answer, notes) => {
                self.is_asked = false;
                self.model.notes = notes;
                self.model.learn(answer.map(|document| *document), now());
                Ok(())
            }
            Event::Resized => screen.begin(),
            Event::Suspend => screen.suspend(),
            Event::Continued => screen.retake(),
            Event::End | Event::Broken => Ok(()),
        }
    }
}

fn now() -> Moment {
    Moment { wall: time::wall(), boot: time::since_boot() }
}

fn undrawable(error: &std::io::Error) -> Failure {
    Failure::new(format!("the terminal can't be drawn on: {error}"), Exit::Internal)
}

#[cfg(test)]
mod tests;
