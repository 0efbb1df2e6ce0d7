//! How a PIN is recognised that was tried before, without keeping it.

use std::num::NonZeroU32;

use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// A PIN has few digits: to try them all shall take a while. Tens of milliseconds on a Raspberry Pi.
const ROUNDS: NonZeroU32 = NonZeroU32::new(20_000).expect("isn't zero");

/// Tells one PIN from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PinMark {
    salt: [u8; 16],
    hash: [u8; 32],
}

impl PinMark {
    /// `None`: the system has no random numbers.
    pub(super) fn of(pin: &Secret<String>) -> Option<PinMark> {
        let mut mark = PinMark { salt: [0; 16], hash: [0; 32] };
        SystemRandom::new().fill(&mut mark.salt).ok()?;
        pbkdf2::derive(PBKDF2_HMAC_SHA256, ROUNDS, &mark.salt, pin.expose().as_bytes(), &mut mark.hash);
        Some(mark)
    }

    pub(super) fn is_of(&self, pin: &Secret<String>) -> bool {
        pbkdf2::verify(PBKDF2_HMAC_SHA256, ROUNDS, &self.salt, pin.expose().as_bytes(), &self.hash).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_recognised_and_isnt_in_its_mark() {
        let pin = |text: &str| Secret::new(text.to_owned());
        let mark = PinMark::of(&pin("12345678")).unwrap();
        assert!(mark.is_of(&pin("12345678")) && !mark.is_of(&pin("12345679")) && !mark.is_of(&pin("")));
        let text = serde_json::to_string(&mark).unwrap();
        assert_eq!(serde_json::from_str::<PinMark>(&text).unwrap(), mark);
        assert!(!text.contains("12345678"), "{text}");
        assert_ne!(PinMark::of(&pin("12345678")).unwrap(), mark);
    }
}
