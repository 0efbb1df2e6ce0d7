//! `gatewire signer`: loads a PKCS#11 module and signs, for the daemon.

use super::Exit;
use super::output;
use crate::pkcs11;

pub(super) const LONG_ABOUT: &str = "\
Loads the PKCS#11 module of tls.key_file and signs once with the key that the URI names. Nobody calls this by hand:
the daemon, and `gatewire check`, start it for each signature and talk to it over pipes. The module is code of the
token's maker: it runs here, and never in the daemon.";

pub(super) const AFTER_HELP: &str = "\
Exit codes: 0 the answer was given, which may be that nothing is signed, 64 standard input holds no request.";

/// Answers the request on standard input.
#[inline(never)]
pub(super) fn run() -> Exit {
    match pkcs11::run_signer() {
        Ok(()) => Exit::Done,
        Err(error) => {
            output::tell(&format!("gatewire signer: {error}"));
            Exit::Usage
        }
    }
}
