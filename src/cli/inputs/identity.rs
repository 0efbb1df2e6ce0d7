//! What gatewire connects with where it makes its identity itself: that, or until then the claim.

use std::path::Path;

use super::Means;
use crate::config::{Config, Environment, Provisioning};
use crate::identity::{Directory, Found};
use crate::net::credentials::{self, Credentials, CredentialsProblems};
use crate::time;

/// Reads what there is. `warnings` gets what is said of an identity that can't be used and is made anew.
///
/// # Errors
/// Everything that is wrong, a line each, if there is nothing to connect with.
pub(super) fn read(
    (config, provisioning): (&Config, &Provisioning),
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Means, Vec<String>> {
    let state = environment.state();
    let damaged = match Directory::at(&state).current() {
        Ok(Found::Nothing) => None,
        Ok(Found::Damaged(what)) => Some(what),
        Ok(Found::Identity(identity)) => match own(config, &state) {
            Ok(credentials) => return Ok(Means::Own(credentials, Some(identity))),
            Err(Unusable::Problems(problems)) => return Err(problems),
            Err(Unusable::Damaged(what)) => Some(what),
        },
        Err(error) => {
            return Err(vec![format!(
                "whether there is an identity can't be told: {error}. Run this as root or as gatewire's user; see `dmesg` for errors of \
                 the disk"
            )]);
        }
    };
    let about = damaged.map(|what| format!("the identity in {} is damaged: {what}", environment.identity().display()));
    match claim(config, provisioning) {
        Ok(credentials) => {
            let anew =
                about.map(|about| format!("warning: {about}. gatewire gets a new one by the claim of [provisioning]"));
            warnings.extend(anew);
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

fn own(config: &Config, state: &Path) -> Result<Credentials, Unusable> {
    if !config.tls.cert_file.exists() {
        // It was to be put in its place when a crash came: that is ended. Who can't do that says that it is missing.
        drop(Directory::open(state));
    }
    credentials::load(&config.tls, time::system()).map_err(|problems| {
        let is_of_authorities = |problem: &credentials::Problem| problem.about().0 == "tls.ca_file";
        match problems.0.iter().any(is_of_authorities) {
            true => Unusable::Problems(super::at_their_places(&problems, Some(&config.places))),
            false => Unusable::Damaged(problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        }
    })
}

fn claim(config: &Config, provisioning: &Provisioning) -> Result<Credentials, Vec<String>> {
    let said = |problems: CredentialsProblems| {
        let line = |(key, path, said)| format!("{}{said}", config.places.of(key, path));
        problems.of_claim().map(line).collect()
    };
    credentials::load(&provisioning.claim(&config.tls), time::system()).map_err(said)
}
