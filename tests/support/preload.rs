//! Libraries that stand between the daemon and the system.

use std::path::Path;
use std::process::Command;

use super::daemon::Setup;

/// Builds a C file of the project into the setup's directory, and has the daemon load it.
pub fn preload(setup: Setup, source: &str) -> Setup {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let library = setup.directory.path().join(source.file_name().unwrap()).with_extension("so");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").output();
    let built = built.expect("cc (`make test` installs it)");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    setup.env("LD_PRELOAD", library)
}
