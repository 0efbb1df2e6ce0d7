//! Any URI in a configuration, and a signer, or a daemon, that says anything.

use std::path::Path;
use std::sync::Arc;

use super::der;
use super::fault::TokenFault;
use super::key::TokenKey;
use super::uri::Uri;
use super::wire::{self, Answer, Done, Request};
use super::words;

/// Reads `input` as the URI of a key. What is said of a wrong one doesn't repeat the PIN in it.
pub fn token_uri(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Uri::parse(text, |path| Ok(path.into())) {
        Ok(uri) => {
            assert_eq!(uri.to_string(), text);
            assert!(!uri.module.as_os_str().is_empty() && uri.files().all(|file| file != Path::new("")));
            let mut frame = wire::frame(&Request::of(&uri, None));
            assert_eq!(wire::take(&mut frame), Ok(Some(Request::of(&uri, None))));
        }
        Err(said) => {
            let pin = text.split_once("pin-value=").map(|(_, rest)| rest.split(['&', '?']).next().unwrap_or_default());
            assert!(!said.is_empty() && !said.contains('\n'));
            // What is short may be in any words.
            assert!(pin.is_none_or(|pin| pin.len() < 16 || !said.contains(pin)), "{said}");
        }
    }
}

/// Takes `input` as what comes from the signer, and as what comes to it. What is understood is the same once more.
pub fn signer_frames(input: &[u8]) {
    let uri = Uri::parse("pkcs11:token=gw?module-path=/m.so&pin-source=/nonexistent/pin", |path| Ok(path.into()));
    let uri = Arc::new(uri.expect("it is right"));
    let mut bytes = input.to_vec();
    while let Ok(Some(answer)) = wire::take::<Answer>(&mut bytes) {
        assert_eq!(wire::take(&mut wire::frame(&answer)), Ok(Some(answer.clone())));
        match answer {
            Answer::Failed(fault) => {
                let fault = TokenFault { uri: Arc::clone(&uri), fault, module_said: words::shown(input, None) };
                assert!(
                    !fault.to_string().contains('\n') && !fault.advice().contains('\n') && !fault.code().is_empty()
                );
            }
            Answer::Done(done) => {
                let Done { public_key, signature, .. } = *done;
                let _ = public_key.map(|key| TokenKey::of(Arc::clone(&uri), &key));
                let _ = signature.map(|raw| der::ecdsa_signature(&raw));
            }
            Answer::At(step) => assert!(!step.to_string().is_empty()),
        }
    }
    let _ = wire::take::<Request>(&mut input.to_vec());
}
