//! What the configuration names and the sandbox of the systemd unit keeps from the service: who checks by hand sees all of it.

use std::io::ErrorKind;
use std::iter;
use std::path::{Path, PathBuf};

use super::preparations::Finding;
use super::programs::{file_of, is_set_user_id};
use crate::actions::{RunsAs, Word};
use crate::config::{Broker, ClaimAfter, Config, Source};
use crate::sandbox::{Obstacle, Sandbox, Use, obstacle};

/// Looks at all that the configuration at `path` names. Nothing is found if the service doesn't use that configuration.
pub(super) fn walk(path: &Path, config: &Config) -> Finding {
    let mut found = Finding::default();
    let Some(sandbox) = Sandbox::of_service(path) else { return found };
    let places = &config.places;
    found.refused.extend(obstacle(&sandbox, path, Use::Read).map(|obstacle| format!("{}: {obstacle}", path.display())));
    let tls = &config.tls;
    let key_files = tls.key_file.files().into_iter().map(|file| ("key_file", file));
    for (key, file) in [("ca_file", &*tls.ca_file), ("cert_file", &*tls.cert_file)].into_iter().chain(key_files) {
        let place = places.with_key(key, file);
        found.refused.extend(obstacle(&sandbox, file, Use::Read).map(|obstacle| format!("{place}{obstacle}")));
    }
    if let Some(provisioning) = &config.provisioning {
        let files =
            [("claim_cert_file", &provisioning.claim_cert_file), ("claim_key_file", &provisioning.claim_key_file)];
        for (key, file) in files {
            let place = places.with_key(key, file);
            found.refused.extend(obstacle(&sandbox, file, Use::Read).map(|obstacle| format!("{place}{obstacle}")));
            let kept = obstacle(&sandbox, file, Use::Write).filter(|_| provisioning.claim_after == ClaimAfter::Delete);
            found.warnings.extend(kept.map(|obstacle| format!("{place}warning: it can't be deleted: {obstacle}")));
        }
    }
    for socket in config.sockets().map(|socket| &socket.path) {
        // systemd makes them outside of the sandbox.
        let obstacle = obstacle(&sandbox, socket, Use::Socket).filter(|_| !sandbox.is_given(socket));
        tell(obstacle, &places.of_socket(socket), &mut found.refused, &mut found.warnings);
    }
    let store = &config.outbox.path;
    tell(
        obstacle(&sandbox, store, Use::Write),
        &places.with_key("path", store),
        &mut found.hindered,
        &mut found.warnings,
    );
    for publish in &config.publish {
        let mut warn = |place: String, what: String| {
            found.warnings.push(format!("{place}warning: publish {}: {what}", publish.name));
        };
        match &publish.source {
            Some(Source::File(file)) => {
                let obstacle = obstacle(&sandbox, file, Use::Read);
                obstacle.into_iter().for_each(|it| warn(places.of("publish.file", file), it.to_string()));
            }
            Some(Source::Command { argv, .. }) => {
                let place = argv.first().map(|word| places.of("publish.command", Path::new(word))).unwrap_or_default();
                let mend = "Give what needs them a unit of its own that publishes through a socket (docs/sources.md)";
                of_command(&sandbox, argv, mend).into_iter().for_each(|what| warn(place.clone(), what));
            }
            Some(Source::Metrics(_)) | None => {}
        }
    }
    for action in config.actions.iter() {
        let mut warn = |place: String, what: String| {
            found.warnings.push(format!("{place}warning: action {}: {what}", action.name));
        };
        if action.runs_as == RunsAs::Sandbox {
            let text = |word: &Word| if let Word::Text(text) = word { Some(text.clone()) } else { None };
            let place = places.of("action.run", action.run.program.as_ref());
            let argv: Vec<String> =
                iter::once(action.run.program.clone()).chain(action.run.words.iter().filter_map(text)).collect();
            of_command(&sandbox, &argv, "Write `as = \"root\"`").into_iter().for_each(|what| warn(place.clone(), what));
        }
        if let Some(file) = action.download.as_ref().and_then(|download| download.ca_file.as_deref()) {
            let obstacle = obstacle(&sandbox, file, Use::Read);
            obstacle.into_iter().for_each(|it| warn(places.of("action.download.ca_file", file), it.to_string()));
        }
    }
    for bridge in &config.bridge {
        let socket = match &bridge.broker {
            Broker::Unix(socket) => Some(("broker", socket.as_path())),
            Broker::Tcp { .. } => None,
        };
        for (key, file) in bridge.files().into_iter().chain(socket) {
            let place = places.of(&format!("bridge.{key}"), file);
            let obstacle = obstacle(&sandbox, file, Use::Read);
            found.warnings.extend(obstacle.map(|it| format!("{place}warning: bridge {}: {it}", bridge.name)));
        }
    }
    found
}

/// What the daemon does all the same is a warning.
fn tell(obstacle: Option<Obstacle>, place: &str, faults: &mut Vec<String>, warnings: &mut Vec<String>) {
    let Some(obstacle) = obstacle else { return };
    match obstacle.is_only_unseen() {
        true => warnings.push(format!("{place}warning: {obstacle}")),
        false => faults.push(format!("{place}{obstacle}")),
    }
}

/// The program, and the files among its arguments. `mend` is what to do about a program that needs the rights of another user.
fn of_command(sandbox: &Sandbox, argv: &[String], mend: &str) -> Vec<String> {
    let Some((program, arguments)) = argv.split_first() else { return Vec::new() };
    let mut found = Vec::new();
    let named = || program.starts_with('/').then(|| PathBuf::from(program));
    if let Some(file) = file_of(program).or_else(named) {
        found.extend(obstacle(sandbox, &file, Use::Execute).map(|obstacle| obstacle.to_string()));
        if sandbox.grants_no_privileges() && is_set_user_id(&file) {
            found.push(format!(
                "the program {} needs the rights of another user (set-user-ID), which the service doesn't get: NoNewPrivileges=yes. \
                 {mend}",
                file.display()
            ));
        }
    }
    let is_there =
        |path: &Path| path.symlink_metadata().map_or_else(|error| error.kind() != ErrorKind::NotFound, |_| true);
    let separates = |c: char| c.is_whitespace() || "\"'`=;|&<>(),".contains(c);
    for path in
        arguments.iter().flat_map(|word| word.split(separates)).filter(|word| word.starts_with('/')).map(Path::new)
    {
        let obstacle = is_there(path).then(|| obstacle(sandbox, path, Use::Read)).flatten();
        found.extend(obstacle.map(|obstacle| obstacle.to_string()));
    }
    found
}
