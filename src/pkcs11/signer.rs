//! `gatewire signer`: the process that loads a module, signs once, and ends.
//!
//! It gets one request on standard input and answers on what was its standard output. The module's own output goes to standard
//! error: whatever it prints, it can't spoil an answer.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use cryptoki::slot::TokenInfo;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{alarm, dup2_stdout};

use super::fault::Pkcs11Fault;
use super::mark::PinMark;
use super::module::{self, Module, PrivateKey};
use super::step::Step;
use super::wire::{self, Answer, Done, MAX_FRAME, Request, TokenNames};
use crate::regular::{self, Unread};
use crate::secret::Secret;

/// The daemon kills it after 10 s. Where there is no daemon any more it ends by itself, in seconds.
const ALARM: u32 = 15;

/// No token takes a longer PIN.
const MAX_PIN: usize = 255;

/// Answers the one request.
///
/// # Errors
/// There is no request, or nobody takes the answer.
pub(crate) fn run() -> io::Result<()> {
    let stdout = io::stdout();
    let mut answers = File::from(stdout.as_fd().try_clone_to_owned()?);
    dup2_stdout(io::stderr())?;
    alarm::set(ALARM);
    // Nothing of what is in this process's memory belongs into a file. The systemd unit forbids the call, and has the limit itself.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // It isn't needed without the daemon.
    set_pdeathsig(Signal::SIGKILL)?;
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_FRAME as u64).read_to_end(&mut bytes)?;
    let Ok(Some(request)) = wire::take::<Request>(&mut bytes) else {
        return Err(io::Error::other("there is no request on standard input: only the daemon runs this command"));
    };
    let mut tell = |answer: &Answer| answers.write_all(&wire::frame(answer));
    work(&request, &mut tell)
}

/// The steps, each told before it is done.
fn work(request: &Request, tell: &mut dyn FnMut(&Answer) -> io::Result<()>) -> io::Result<()> {
    if let Err(fault) = readable(&request.module) {
        return tell(&Answer::Failed(fault));
    }
    let mut at = |step| {
        // Where nobody listens, the alarm ends this process.
        let _ = tell(&Answer::At(step));
    };
    let opened = Module::load(&request.module, &request.library, &mut at).and_then(|module| {
        at(Step::FindToken);
        let (slot, info) = module.token(request)?;
        at(Step::Open);
        let session = module.open(slot)?;
        Ok((module, info, session))
    });
    let (module, info, session) = match opened {
        Ok(opened) => opened,
        Err(fault) => return tell(&Answer::Failed(fault)),
    };
    let done = logged_in(request, &info, &session, &mut at).and_then(|accepted| {
        at(Step::FindKey);
        let key = PrivateKey::find(&session, &request.key, accepted.is_some())?;
        let found = TokenNames { library: module.name.clone(), token: info.label().to_owned(), key: key.name.clone() };
        let public_key = key.public_key();
        let signature = match &request.sign {
            Some(sign) => {
                at(Step::Sign);
                Some(key.sign(sign, accepted.is_some())?)
            }
            None => None,
        };
        Ok(Done { found, public_key, signature, accepted })
    });
    // Without a login a token shows and uses what it likes.
    let done = done.map_err(|fault| match fault {
        Pkcs11Fault::NoKey { is_logged_in: false, .. } if info.login_required() && request.pin_file.is_none() => {
            Pkcs11Fault::PinNeeded
        }
        other => other,
    });
    at(Step::Finish);
    tell(&done.map_or_else(Answer::Failed, |done| Answer::Done(Box::new(done))))?;
    module.finish(session);
    Ok(())
}

/// Why the file of a module can't be loaded, in better words than the dynamic linker has.
fn readable(module: &Path) -> Result<(), Pkcs11Fault> {
    if cfg!(target_feature = "crt-static") {
        return Err(Pkcs11Fault::Static);
    }
    match regular::open(module) {
        Ok(_) => Ok(()),
        Err(Unread::Io(error)) if error.kind() == io::ErrorKind::NotFound => Err(Pkcs11Fault::ModuleMissing),
        Err(error) => Err(Pkcs11Fault::ModuleUnreadable(io::Error::from(error).to_string())),
    }
}

/// Logs in where there is a PIN; its mark.
fn logged_in(
    request: &Request,
    info: &TokenInfo,
    session: &cryptoki::session::Session,
    at: &mut dyn FnMut(Step),
) -> Result<Option<PinMark>, Pkcs11Fault> {
    let Some(file) = &request.pin_file else {
        return Ok(None);
    };
    let pin = pin(file)?;
    let is = |mark: &Option<PinMark>| mark.as_ref().is_some_and(|mark| mark.is_of(&pin));
    if is(&request.refused) {
        return Err(Pkcs11Fault::PinRefusedBefore);
    }
    request.notes.allow(&pin)?;
    if info.user_pin_locked() {
        return Err(Pkcs11Fault::PinLocked);
    }
    let is_known = is(&request.accepted);
    if info.user_pin_final_try() && !is_known {
        return Err(Pkcs11Fault::PinLastTry);
    }
    // Before the token counts it: if this process is killed now, the next one knows.
    let tried = request.notes.begin(&pin)?;
    at(Step::Login);
    match module::login(session, &pin) {
        Ok(()) => Ok(Some(tried.accepted())),
        Err(Pkcs11Fault::PinRefused(_)) => Err(Pkcs11Fault::PinRefused(Some(tried.refused()))),
        Err(other) => {
            tried.untold();
            Err(other)
        }
    }
}

/// The PIN in a file: its first and only line.
fn pin(file: &Path) -> Result<Secret<String>, Pkcs11Fault> {
    let bytes = regular::read(file, MAX_PIN as u64 + 2).map_err(|error| match error {
        Unread::Io(error) if error.kind() == io::ErrorKind::NotFound => Pkcs11Fault::PinFileMissing,
        Unread::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => Pkcs11Fault::PinFileDenied,
        Unread::TooLarge => Pkcs11Fault::PinFile(format!("it is longer than {MAX_PIN} characters")),
        other => Pkcs11Fault::PinFile(io::Error::from(other).to_string()),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| Pkcs11Fault::PinFile("it isn't UTF-8".to_owned()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    match line.strip_suffix('\r').unwrap_or(line) {
        "" => Err(Pkcs11Fault::PinFile("it is empty".to_owned())),
        pin if pin.contains(char::is_control) => {
            Err(Pkcs11Fault::PinFile("it holds more than one line, or a control character".to_owned()))
        }
        pin => Ok(Secret::new(pin.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pin");
        for (text, expected) in [
            (&b"1234"[..], Ok("1234")),
            (b"1234\n", Ok("1234")),
            (b"1234\r\n", Ok("1234")),
            (b" 12 34 ", Ok(" 12 34 ")),
            (b"", Err("empty")),
            (b"\n", Err("empty")),
            (b"1234\n\n", Err("more than one line")),
            (b"\xff", Err("UTF-8")),
            (&[b'1'; MAX_PIN + 3], Err("longer")),
        ] {
            std::fs::write(&file, text).unwrap();
            match (pin(&file), expected) {
                (Ok(pin), Ok(expected)) => assert_eq!(pin.expose(), expected),
                (Err(Pkcs11Fault::PinFile(why)), Err(expected)) => assert!(why.contains(expected), "{why}"),
                (found, expected) => panic!("{found:?} {expected:?}"),
            }
        }
        assert_eq!(pin(&directory.path().join("none")).unwrap_err(), Pkcs11Fault::PinFileMissing);
        assert!(matches!(pin(directory.path()), Err(Pkcs11Fault::PinFile(_))));
    }

    #[test]
    fn what_is_no_library_is_told_before_it_is_loaded() {
        assert_eq!(readable(Path::new("/nonexistent/module.so")), Err(Pkcs11Fault::ModuleMissing));
        assert!(matches!(readable(Path::new("/")), Err(Pkcs11Fault::ModuleUnreadable(_))));
    }
}
