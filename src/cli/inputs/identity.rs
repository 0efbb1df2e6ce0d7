//! What gatewire connects with where it makes its identity itself: that, or until then the claim.

use std::path::Path;
use std::sync::Arc;

use super::Means;
use crate::config::{Config, Environment, Provisioning};
use crate::identity::{Directory, FoundIdentity, Identity, KeyPlace, Platform};
use crate::net::credentials::{self, Credentials, CredentialsProblems};
use crate::owner::quoted;
use crate::time;

/// Reads what there is. `warnings` gets what is said of an identity that can't be used and is made anew.
///
/// # Errors
/// Everything that is wrong, a line each, if there is nothing to connect with.
pub(super) fn read(
    (config, provisioning): (&Config, &Provisioning),
    (environment, platform): (&Environment, &Arc<dyn Platform>),
    warnings: &mut Vec<String>,
) -> Result<Means, Vec<String>> {
    let state = environment.state();
    let damaged = match Directory::at(&state, platform).current() {
        Ok(FoundIdentity::Nothing) => None,
        Ok(FoundIdentity::Damaged(what)) => Some(what),
        Ok(FoundIdentity::Identity(identity)) => match elsewhere(config, &identity, &environment.identity()) {
            Some(line) => return Err(vec![line]),
            None => match own(config, &state, &identity, platform) {
                Ok(credentials) => return Ok(Means::Own(credentials, Some(identity))),
                Err(Unusable::Problems(problems)) => return Err(problems),
                Err(Unusable::Damaged(what)) => Some(what),
            },
        },
        Err(error) => {
            let advice = error.advice();
            return Err(vec![format!(
                "whether there is an identity can't be told: {error}. {}",
                advice.trim_end_matches('.')
            )]);
        }
    };
    let about = damaged.map(|what| format!("the identity in {} is damaged: {what}", environment.identity().display()));
    match claim(config, provisioning) {
        Ok(credentials) => {
            let anew =
                about.map(|about| format!("warning: {about}. gatewire gets a new one by the claim of [provisioning]"));
            warnings.extend(anew);
            // The token's PIN is used before there is a certificate of the key.
            let exposed = credentials::exposed_pin(&config.tls.key_file);
            warnings.extend(exposed.map(|exposed| format!("warning: {exposed}")));
            Ok(Means::Claim(credentials))
        }
        Err(problems) => {
            let lost = about.map(|about| {
                format!("{about}. To have gatewire get a new one, put the files of the claim where [provisioning] says")
            });
            Err(lost.into_iter().chain(problems).collect())
        }
    }
}

/// Why an identity that is there can't be used.
enum Unusable {
    Damaged(String),
    /// It isn't the identity, or not that alone.
    Problems(Vec<String>),
}

fn own(
    config: &Config,
    state: &Path,
    identity: &Identity,
    platform: &Arc<dyn Platform>,
) -> Result<Credentials, Unusable> {
    let load = || credentials::load(&config.tls, time::system());
    let mut loaded = load();
    if !loaded.as_ref().is_ok_and(|credentials| **credentials.certificate_id() == *identity.certificate_id) {
        // It was to be put in its place when a crash came: that is ended, for what is there may be the one before. Who can't do
        // that takes what is there, or says that it is missing.
        drop(Directory::open(state, platform));
        loaded = load();
    }
    loaded.map_err(|problems| match problems.are_of_identity() {
        false => Unusable::Problems(super::at_their_places(&problems, Some(&config.places))),
        true => Unusable::Damaged(problems.of_identity()),
    })
}

/// Why the identity isn't the one that the configuration means: its key is somewhere else. It may be whole, and nothing makes
/// another in its place without being told to.
fn elsewhere(config: &Config, identity: &Identity, directory: &Path) -> Option<String> {
    let remove = format!("sudo rm -r {}", quoted(directory));
    match (identity.key, config.tls.key_file.token()) {
        (KeyPlace::Token, None) => Some(format!(
            "the key of this gateway's identity is in a token, and tls.key_file doesn't name it: write its URI there again. To have \
             another identity made, with its key in a file: `{remove}`"
        )),
        (KeyPlace::File, Some(_)) => Some(format!(
            "{}the key of this gateway's identity is in a file, and tls.key_file names one in a token: remove that line. To have \
             another identity made, for the key in the token: `{remove}`",
            config.places.of("tls.key_file", config.tls.key_file.token().map_or(Path::new(""), |uri| &uri.module))
        )),
        _ => None,
    }
}

fn claim(config: &Config, provisioning: &Provisioning) -> Result<Credentials, Vec<String>> {
    let said = |problems: CredentialsProblems| {
        let line = |(key, path, said)| format!("{}{said}", config.places.of(key, path));
        problems.of_claim().map(line).collect()
    };
    credentials::load(&provisioning.claim(&config.tls), time::system()).map_err(said)
}
