//! Downloads of actions: by https, from hosts of the action's list, against a SHA-256.
//!
//! [`fetch()`] asks for the file, writes it in large pieces below the state directory and goes on where it stopped: after a
//! failure, and in another life of the daemon. What it does with an answer is decided in [`resume`], which is pure; so is what a
//! URL may be (`actions/url.rs`). The sum decides in the end: with the right one nothing else matters, and a wrong one in a file
//! that was put together from several answers is worth one try from the beginning.

mod digest;
mod fault;
mod fetch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod head;
mod http;
mod part;
mod place;
mod resume;
mod retry;

pub(crate) use fetch::{Order, Progress, Settings, fetch};
pub(crate) use place::{DIRECTORY, clean};
pub(crate) use retry::Patience;
