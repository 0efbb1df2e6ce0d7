//! `gatewire provision`: an identity from AWS IoT, in the foreground.

use std::path::Path;
use std::rc::Rc;

use super::Exit;
use super::inputs::{self, Inputs, Means, Problems};
use super::output::{self, Failure};
use super::owner_of_state::become_owner;
use crate::config::{Config, Environment, Provisioning};
use crate::identity::{Directory, FoundIdentity, Identity, this_machine};
use crate::net::MachineNetwork;
use crate::pkcs11::{RELOAD, forget_refused_pin};
use crate::provisioning::{News, Provisioner, Setup, delete_claim};
use crate::store;

pub(super) const LONG_ABOUT: &str = "\
Get this gateway's identity from AWS IoT by the claim of [provisioning], in the foreground: a
line for each step, and why a step failed. It makes one attempt, which goes on where the
last one, or the daemon's, has ended; what has been done is kept. It tries a PIN that the
token has refused before, which the daemon doesn't.

`gatewire run` does the same by itself, again and again. With an identity there is nothing to
do, and this says whose it is. Run as root, it goes on as the user whom the state directory
belongs to, who must be able to read the configuration and the claim.";

pub(super) const AFTER_HELP: &str = "\
Examples:
  sudo gatewire provision
  gatewire policy --claim --account 123456789012   the policy that the claim's certificate needs
  gatewire check --connect                         does the claim connect?

Exit codes: 0 there is an identity; 1 it was refused, wasn't answered, or a gatewire runs; 64 usage; 70 a failure of
gatewire itself; 78 configuration or claim unusable.";

/// What is done goes to standard output, why it isn't done to standard error.
#[inline(never)]
pub(super) fn run(config: &Path) -> Exit {
    provision(config).map_or_else(Failure::end, |identity| {
        output::say(&format!("identity: this gateway is the thing `{}`", identity.thing));
        Exit::Done
    })
}

fn provision(path: &Path) -> Result<Identity, Failure> {
    become_owner(&Environment::of_service().state())?;
    let refuse = |Problems { warnings, errors, .. }| Failure::of_lines([warnings, errors].concat(), Exit::Config);
    let Inputs { config, means, warnings } = inputs::read(path, &Environment::of_service()).map_err(refuse)?;
    warnings.iter().for_each(|warning| output::tell(warning));
    means.credentials().warnings().iter().for_each(|warning| output::tell(&format!("warning: {warning}")));
    let Some(setup) = Setup::of(&config) else {
        let line =
            "there is no [provisioning] in the configuration: the certificate and key of [tls] are put there by hand";
        return Err(Failure::new(line, Exit::Config));
    };
    let provisioning = setup.provisioning.clone();
    if let Means::Own(_, Some(identity)) = means {
        delete(&provisioning);
        return Ok(identity);
    }
    let opened = Directory::open(&provisioning.state, &this_machine())
        .map_err(|error| Failure::new(format!("{error}"), Exit::No).and(error.advice()))?;
    let Some((directory, _lock)) = opened else {
        return beside(&config, &provisioning);
    };
    // Whoever runs this wants it to be tried.
    if config.tls.key_file.token().is_some() {
        forget_refused_pin();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime =
        runtime.map_err(|error| Failure::new(format!("the runtime can't be started: {error}"), Exit::Internal))?;
    let attempt = runtime.block_on(attempt(setup, directory));
    // A look-up in DNS that hangs in the C library mustn't hold us.
    runtime.shutdown_background();
    let identity = attempt?;
    delete(&provisioning);
    Ok(identity)
}

async fn attempt(setup: Setup, directory: Directory) -> Result<Identity, Failure> {
    let provisioner = Provisioner::new(Rc::new(MachineNetwork::new(&Rc::default())), setup, directory);
    let mut tell = |news: News<'_>| {
        if let News::Done(stage, line) = news {
            output::say(&format!("{stage}: {line}"));
        }
    };
    provisioner.attempt(&mut tell).await.map_err(|trouble| {
        let goes_on = "what has been done is kept: run this again, or `gatewire run`, which tries again by itself";
        // No daemon has anything to do with it.
        let said = trouble.to_string().replace(RELOAD, "running this again");
        Failure::new(said, Exit::No).and(goes_on)
    })
}

/// Another process has the files. It may have been quicker.
fn beside(config: &Config, provisioning: &Provisioning) -> Result<Identity, Failure> {
    if let Ok(FoundIdentity::Identity(identity)) = Directory::at(&provisioning.state, &this_machine()).current() {
        return Ok(identity);
    }
    if matches!(store::is_held(&config.outbox.path), Ok(false)) {
        // The daemon holds it, too.
        let line = "another `gatewire provision` runs, and gets the identity";
        return Err(
            Failure::new(line, Exit::No).and("wait until that has ended: `pgrep -af 'gatewire.*provision'` shows it")
        );
    }
    let line = "a gatewire runs, and gets the identity by itself: `gatewire status` shows how far it is";
    Err(Failure::new(line, Exit::No).and("to do it here instead, stop that first: `sudo systemctl stop gatewire`"))
}

fn delete(provisioning: &Provisioning) {
    for file in delete_claim(provisioning) {
        output::tell(&format!(
            "warning: the claim's {} can't be deleted ({}): `{}`",
            file.path.display(),
            file.said,
            file.command
        ));
    }
}
