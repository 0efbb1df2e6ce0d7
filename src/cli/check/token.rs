//! The key in a token: whether module, token and key are there, and whether it signs for the certificate.

use std::sync::Arc;

use crate::cli::inputs::{Inputs, Means};
use crate::pkcs11::TokenKey;

/// Signs with the key, if it is in a token: what signed, or a line about what is wrong.
pub(super) fn try_out(inputs: &Inputs) -> Option<Result<String, String>> {
    let uri = inputs.config.tls.key_file.token()?;
    let key = match &inputs.means {
        Means::Own(credentials, _) => Ok(Arc::clone(credentials.token_key()?)),
        // There is no certificate yet that would tell which key it is.
        Means::Claim(_) => TokenKey::find(uri).map(Arc::new),
    };
    Some(match key.and_then(|key| key.try_out()) {
        Ok(found) => Ok(format!(
            "  {:<8} {} of the token {:?} signs (module {})",
            "key",
            if found.key.is_empty() { "the private key" } else { &found.key },
            found.token,
            found.library
        )),
        Err(fault) => {
            let place = inputs.config.places.of("tls.key_file", &uri.module);
            Err(format!("{place}{fault}. {}", fault.advice()))
        }
    })
}
