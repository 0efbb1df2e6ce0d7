//! What the disk is asked for, one thing after the other, each in a thread.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Task;
use crate::config;
use crate::identity::{Identity, Platform, Progress, Which};
use crate::net::credentials::{self, Credentials};
use crate::rotation::files::{Csr, Files, Left, note};
use crate::rotation::{Cause, Effect, Note, Rotations, said};
use crate::services::jobs::Identity as Job;
use crate::store::{Store, Write};
use crate::time;

/// The name of the [`Note`] in the store.
const ROTATION: &str = "rotation";

/// That of [`Made`].
const ROTATED: &str = "rotated";

/// What is noted of rotations, and the certificate that was in force then.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Noted {
    #[serde(flatten)]
    note: Note,
    #[serde(default)]
    certificate: String,
}

/// For which job the certificate was made that is put in force: noted before that is done.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    job: Option<Job>,
    certificate: String,
}

/// What the disk has done, or why not.
pub(super) enum Done {
    Begun(Result<(Progress, Csr), String>),
    /// How far the new identity is by its notes now.
    Noted(Result<Progress, String>),
    InForce(Result<Identity, String>),
    Discarded(Result<(), String>),
    Recorded(Result<(), String>),
}

pub(super) type Working = Pin<Box<dyn Future<Output = Done>>>;

/// Files that are being read.
pub(super) type Reading = Pin<Box<dyn Future<Output = Result<Credentials, String>>>>;

/// What is there of a rotation. Until the disk can be read, nothing is begun.
pub(super) async fn left(files: &Files) -> Left {
    loop {
        match on_disk(files, Files::left).await {
            Ok(left) => return left,
            Err(why) => {
                said::disk(&why);
                tokio::time::sleep(super::READ_AGAIN).await;
            }
        }
    }
}

/// What is noted in the store, and for which job the identity in force was made.
pub(super) async fn notes(store: &Store, identity: &Identity) -> (Note, Option<Job>) {
    let read = async |name| {
        store.note_in_time(name, |failure| said::disk(&said::of_database(&failure))).await.unwrap_or_default()
    };
    // One that can't be read is as good as none.
    let Noted { mut note, certificate } = serde_json::from_str(&read(ROTATION).await).unwrap_or_default();
    // That another identity wasn't rotated says nothing of this one.
    note.failed.take_if(|_| certificate != identity.certificate_id);
    let made: Option<Made> = serde_json::from_str(&read(ROTATED).await).ok();
    let made = made.filter(|made| made.certificate == identity.certificate_id);
    (note, made.and_then(|made| made.job))
}

/// Does it in a thread, once it is its turn.
async fn on_disk<T: Send + 'static>(
    files: &Files,
    work: impl FnOnce(&Files) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (turn, files) = (files.making.turn().await, files.clone());
    let platform = Arc::clone(files.making.directory().platform());
    let begun = platform.aside("identity", move || {
        let done = work(&files);
        drop(turn);
        done
    });
    let panicked = |_| Err("it ended with a panic, which was logged".to_owned());
    begun.map_err(|no_thread| no_thread.to_string())?.await.unwrap_or_else(panicked)
}

/// Completes when the disk has done what it was asked for; never if it wasn't asked.
pub(super) async fn done(working: &mut Option<Working>) -> Done {
    match working {
        Some(working) => working.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Completes when the files are read; never if none are.
pub(super) async fn read(reading: &mut Option<(Which, config::Tls, Reading)>) -> Result<Credentials, String> {
    match reading {
        Some((_, _, reading)) => reading.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Begins to read the files of `tls`.
pub(super) fn reading(platform: Arc<dyn Platform>, tls: config::Tls) -> Reading {
    Box::pin(async move {
        let begun = platform.aside("credentials", move || credentials::load(&tls, time::system()));
        let panicked = |_| "it ended with a panic, which was logged".to_owned();
        let read = begun.map_err(|no_thread| no_thread.to_string())?.await.map_err(panicked)?;
        read.map_err(|problems| problems.to_string().replace('\n', "; "))
    })
}

impl Task<'_> {
    /// Begins what an effect asks of the disk.
    pub(super) fn store(&mut self, effect: Effect) {
        let files = self.files.clone();
        let progress = self.progress.clone().ok_or_else(|| "nothing is being made".to_owned());
        let key = self.csr.as_ref().map(|csr| Arc::clone(&csr.key));
        self.working = Some(match effect {
            Effect::Prepare(cause) => {
                Box::pin(async move { Done::Begun(on_disk(&files, move |files| files.begin(&cause)).await) })
            }
            Effect::StoreCertificate { pem, stage } => Box::pin(async move {
                let store = move |files: &Files| {
                    let (mut progress, key) = (progress?, key.ok_or_else(|| "there is no key".to_owned())?);
                    note(&mut progress, &stage);
                    files.store_certificate(&mut progress, &pem, &*key)?;
                    Ok(progress)
                };
                Done::Noted(on_disk(&files, store).await)
            }),
            Effect::Store(stage) => Box::pin(async move { Done::Noted(noted(&files, progress, stage, None).await) }),
            Effect::StoreConfiguration { configuration, stage } => {
                Box::pin(async move { Done::Noted(noted(&files, progress, stage, Some(configuration)).await) })
            }
            Effect::PutInForce(cause) => {
                let store = Rc::clone(&self.around.store);
                Box::pin(async move {
                    if let Ok(progress) = &progress {
                        note_made(&store, cause, progress).await;
                    }
                    Done::InForce(on_disk(&files, move |files| files.put_in_force(&progress?)).await)
                })
            }
            Effect::Record(note) => {
                let (store, noted) = (Rc::clone(&self.around.store), self.noted(note));
                Box::pin(async move { Done::Recorded(write(&store, ROTATION, &noted).await) })
            }
            // The others aren't the disk's.
            _ => Box::pin(async move { Done::Discarded(on_disk(&files, Files::discard).await) }),
        });
    }

    /// Nobody waits for it.
    pub(super) fn note(&self, note: Note) {
        let (store, noted) = (Rc::clone(&self.around.store), self.noted(note));
        tokio::task::spawn_local(async move {
            if let Err(why) = write(&store, ROTATION, &noted).await {
                said::disk(&why);
            }
        });
    }

    fn noted(&self, note: Note) -> Noted {
        Noted { note, certificate: self.current.to_string() }
    }

    /// The disk has done what it was asked for.
    pub(super) fn done(&mut self, done: Done) {
        self.working = None;
        let result = match done {
            Done::Begun(result) => {
                result.map(|(progress, csr)| (self.progress, self.csr) = (Some(progress), Some(csr)))
            }
            Done::Noted(result) => result.map(|progress| self.progress = Some(progress)),
            Done::InForce(result) => result.map(|identity| {
                if let Some(next) = self.next.take() {
                    self.current = next;
                }
                self.progress = None;
                self.files.configuration.clone_from(&identity.configuration);
                self.around.state.found(Some(&identity));
            }),
            Done::Discarded(result) => {
                (self.progress, self.next) = (None, None);
                result
            }
            Done::Recorded(result) => result,
        };
        if let Err(why) = &result {
            said::disk(why);
        }
        self.machine.stored(result, Rotations::now());
    }
}

async fn noted(
    files: &Files,
    progress: Result<Progress, String>,
    stage: crate::rotation::Stage,
    configuration: Option<serde_json::Map<String, serde_json::Value>>,
) -> Result<Progress, String> {
    let store = move |files: &Files| {
        let mut progress = progress?;
        note(&mut progress, &stage);
        progress.configuration = configuration.unwrap_or(progress.configuration);
        files.store(&progress)?;
        Ok(progress)
    };
    on_disk(files, store).await
}

/// If it can't be noted, its job may begin another rotation after a restart that comes just then.
async fn note_made(store: &Store, cause: Cause, progress: &Progress) {
    let job = if let Cause::Job(job) = cause { Some(job) } else { None };
    let made = Made { job, certificate: progress.certificate_id.clone().unwrap_or_default() };
    if let Err(why) = write(store, ROTATED, &made).await {
        said::disk(&why);
    }
}

async fn write(store: &Store, name: &'static str, note: &impl Serialize) -> Result<(), String> {
    // Texts and numbers: nothing in it can fail to be written.
    let text = serde_json::to_string(note).unwrap_or_default();
    store.write(Write::of_notes(vec![(name.into(), text)])).await.map_err(|failure| said::of_database(&failure))
}
