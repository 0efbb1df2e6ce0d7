//! As whom it is checked: root may read and make what the service's user may not, so root has that user look.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::User;

use crate::cli::output::tell;
use crate::owner;

/// Set for the process that looks as the service's user.
const MARK: &str = "GATEWIRE_CHECKED_AS_SERVICE";

/// Where the package has the configuration of the service.
const OF_THE_SERVICE: &str = "/etc/gatewire";

/// Goes on as the service's user, if this is root on a machine that has one: the same command in the place of this process.
pub(super) fn become_service(configuration: &Path) {
    if !owner::is_root_beside_the_service() || std::env::var_os(MARK).is_some() {
        return;
    }
    let Some((user, program)) = owner::service_user().zip(std::env::current_exe().ok()) else { return };
    let can = |test: &str, path: &Path| {
        as_service(&user)
            .arg("test")
            .arg(test)
            .arg(path)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    // What the service's user can't even reach, such as a trial in a home directory, isn't for the service.
    let is_for_service = configuration.starts_with(OF_THE_SERVICE) || can("-r", configuration);
    if is_for_service && can("-x", &program) {
        tell("checked as the user gatewire, which the service runs as:");
        // It only returns if it fails.
        let _ = as_service(&user).arg(program).args(std::env::args_os().skip(1)).env(MARK, "1").exec();
    }
    tell("warning: checked as root; the service runs as gatewire, which may have fewer permissions");
}

/// With the groups that the user has: setpriv is in util-linux, which every Debian has.
fn as_service(user: &User) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={}", user.name), &format!("--regid={}", user.gid), "--init-groups", "--"]);
    command
}
