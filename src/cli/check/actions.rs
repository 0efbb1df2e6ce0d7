//! `[[action]]`: whether its program is there, and whether nobody but root can change what root is to run.

use std::collections::BTreeSet;
use std::path::Path;

use super::preparations::{Finding, unreadable};
use super::programs::{not_run, not_run_by_root};
use crate::actions::RunsAs;
use crate::actions::root::{Root, SOCKET};
use crate::cli::act::trusted;
use crate::config::{self, Config};

/// Looks at all that is run for jobs and commands by the configuration at `path`.
pub(super) fn walk(path: &Path, config: &Config) -> Finding {
    let mut found = Finding::default();
    // A directory that others can change is told of once, whatever lies in it.
    let mut told = BTreeSet::new();
    for action in config.actions.iter() {
        let place = config.places.of("action.run", Path::new(&action.run.program));
        let mut warn = |place: &str, fault: &str| {
            // A URL with a login may stand where a program belongs.
            let fault = config::without_secrets(fault);
            found.warnings.push(format!("{place}warning: action {}: {fault}", action.name));
        };
        let fault = match action.runs_as {
            RunsAs::Sandbox => not_run(&action.run.program),
            RunsAs::Root => not_run_by_root(&action.run.program),
        };
        fault.into_iter().for_each(|fault| warn(&place, &format!("`run`: {fault}")));
        if action.runs_as == RunsAs::Root {
            let own = config.places.file_of("action.run", Path::new(&action.run.program));
            for file in [path.to_owned()].into_iter().chain(own).chain(trusted::run_by_root(action)) {
                let fault = std::path::absolute(&file).ok().and_then(|file| trusted::by_root(&file).err());
                if let Some(fault) = fault.filter(|fault| told.insert(fault.clone())) {
                    warn(&place, &fault);
                }
            }
        }
        if let Some(file) = action.download.as_ref().and_then(|download| download.ca_file.as_deref()) {
            let place = config.places.of("action.download.ca_file", file);
            unreadable("ca_file", file).into_iter().for_each(|fault| warn(&place, &fault));
        }
    }
    let of_root = config.actions.iter().find(|action| action.runs_as == RunsAs::Root);
    if let Some(action) = of_root.filter(|_| !Root::default().is_there()) {
        let place = config.places.of("action.run", Path::new(&action.run.program));
        found.warnings.push(format!(
            "{place}warning: action {}: root can't be asked for it, as there is no {SOCKET}; `sudo systemctl enable --now \
             gatewire-action.socket` allows that",
            action.name
        ));
    }
    found
}
