//! A PKCS#11 module and what is done with it. Only `gatewire signer` comes here: what is loaded may crash, hang or lie.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Info, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::{AuthPin, Ulong};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::der;
use super::fault::Pkcs11Fault;
use super::padding;
use super::step::Step;
use super::uri::{self, Library};
use super::wire::{Hash, Padding, Request, Sign};
use crate::secret::Secret;

/// A failed step in the words of the fault.
fn failed(step: Step) -> impl Fn(Error) -> Pkcs11Fault {
    move |error| match error {
        Error::Pkcs11(RvError::TokenNotPresent | RvError::DeviceRemoved, _) => Pkcs11Fault::Gone(step),
        Error::Pkcs11(error, _) => Pkcs11Fault::Failed(step, code(error)),
        other => Pkcs11Fault::Failed(step, other.to_string()),
    }
}

const NOT_LOGGED_IN: &str = "CKR_USER_NOT_LOGGED_IN";

/// As PKCS#11 has it: `CKR_DEVICE_ERROR`.
fn code(error: RvError) -> String {
    if let RvError::VendorDefined(number) = error {
        return format!("0x{number:08x}");
    }
    let mut code = "CKR".to_owned();
    for c in format!("{error:?}").chars() {
        if c.is_ascii_uppercase() {
            code.push('_');
        }
        code.push(c.to_ascii_uppercase());
    }
    code
}

/// A module that is loaded and initialized.
pub(super) struct Module {
    pkcs11: Pkcs11,
    /// What it calls itself.
    pub(super) name: String,
}

impl Module {
    /// Loads and initializes the library at `path`, of which `wanted` must be true.
    pub(super) fn load(path: &Path, wanted: &Library, tell: &mut dyn FnMut(Step)) -> Result<Module, Pkcs11Fault> {
        tell(Step::Load);
        let pkcs11 = Pkcs11::new(path).map_err(|error| match error {
            Error::LibraryLoading(error) => Pkcs11Fault::ModuleUnloadable(error.to_string()),
            Error::MissingSymbol(_) => Pkcs11Fault::NoModule,
            other => failed(Step::Load)(other),
        })?;
        tell(Step::Initialize);
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        pkcs11.initialize(arguments).map_err(failed(Step::Initialize))?;
        let info = pkcs11.get_library_info().map_err(failed(Step::Initialize))?;
        let name = name_of(&info);
        match fits_library(wanted, &info) {
            true => Ok(Module { pkcs11, name }),
            false => Err(Pkcs11Fault::OtherModule(name)),
        }
    }

    /// The one token of the request.
    pub(super) fn token(&self, request: &Request) -> Result<(Slot, TokenInfo), Pkcs11Fault> {
        let failed = failed(Step::FindToken);
        let (mut fitting, mut there) = (Vec::new(), Vec::new());
        for slot in self.pkcs11.get_slots_with_token().map_err(&failed)? {
            // One that can't be read is another, or is just pulled out.
            let Ok(info) = self.pkcs11.get_token_info(slot) else { continue };
            // SoftHSM has a slot for the token that is made next.
            if !info.token_initialized() {
                continue;
            }
            there.push(format!("{:?} with the serial {:?}", info.label(), info.serial_number()));
            if fits_token(&request.token, &info) && self.fits_slot(&request.slot, slot) {
                fitting.push((slot, info, there.last().cloned().unwrap_or_default()));
            }
        }
        match fitting.len() {
            0 => Err(Pkcs11Fault::NoToken(there)),
            1 => fitting.pop().map(|(slot, info, _)| (slot, info)).ok_or(Pkcs11Fault::NoToken(Vec::new())),
            _ => Err(Pkcs11Fault::SeveralTokens(fitting.into_iter().map(|(_, _, name)| name).collect())),
        }
    }

    fn fits_slot(&self, wanted: &uri::Slot, slot: Slot) -> bool {
        if wanted.id.is_some_and(|id| id != slot.id()) {
            return false;
        }
        if wanted.description.is_none() && wanted.manufacturer.is_none() {
            return true;
        }
        let Ok(info) = self.pkcs11.get_slot_info(slot) else { return false };
        fits(&wanted.description, info.slot_description()) && fits(&wanted.manufacturer, info.manufacturer_id())
    }

    pub(super) fn open(&self, slot: Slot) -> Result<Session, Pkcs11Fault> {
        self.pkcs11.open_ro_session(slot).map_err(failed(Step::Open))
    }

    /// Gives back what the module has of the device. What fails now is no matter.
    pub(super) fn finish(self, session: Session) {
        let _ = session.close();
        let _ = self.pkcs11.finalize();
    }
}

/// Logs in. A PIN that the token takes is no fault, nor is a session that is logged in already.
pub(super) fn login(session: &Session, pin: &Secret<String>) -> Result<(), Pkcs11Fault> {
    match session.login(UserType::User, Some(&AuthPin::from(pin.expose().clone()))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            Err(Pkcs11Fault::PinRefused(None))
        }
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(Pkcs11Fault::PinLocked),
        Err(Error::Pkcs11(RvError::PinExpired, _)) => Err(Pkcs11Fault::PinExpired),
        Err(Error::Pkcs11(RvError::UserPinNotInitialized, _)) => Err(Pkcs11Fault::PinUnset),
        Err(other) => Err(failed(Step::Login)(other)),
    }
}

/// A private key of a token.
pub(super) struct PrivateKey<'a> {
    session: &'a Session,
    handle: ObjectHandle,
    kind: Kind,
    /// What it is called there.
    pub(super) name: String,
    id: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    Ec,
}

impl<'a> PrivateKey<'a> {
    /// The one private key that is `wanted`.
    pub(super) fn find(
        session: &'a Session,
        wanted: &uri::Key,
        is_logged_in: bool,
    ) -> Result<PrivateKey<'a>, Pkcs11Fault> {
        let failed = failed(Step::FindKey);
        let class = || Attribute::Class(ObjectClass::PRIVATE_KEY);
        let mut template = vec![class()];
        template.extend(wanted.label.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
        template.extend(wanted.id.clone().map(Attribute::Id));
        let names = |handles: Vec<ObjectHandle>| {
            let mut names: Vec<_> = handles.into_iter().map(|handle| describe(session, handle).0).collect();
            names.sort_unstable();
            names
        };
        let mut found = session.find_objects(&template).map_err(&failed)?;
        let handle = match (found.pop(), found.is_empty()) {
            (Some(handle), true) => handle,
            (Some(handle), false) => {
                found.push(handle);
                return Err(Pkcs11Fault::SeveralKeys(names(found)));
            }
            (None, _) => {
                let there = session.find_objects(&[class()]).map_err(&failed)?;
                return Err(Pkcs11Fault::NoKey { there: names(there), is_logged_in });
            }
        };
        let (name, id) = describe(session, handle);
        let kind = match session.get_attributes(handle, &[AttributeType::KeyType]).map_err(&failed)?.first() {
            Some(Attribute::KeyType(KeyType::RSA)) => Kind::Rsa,
            Some(Attribute::KeyType(KeyType::EC)) => Kind::Ec,
            Some(Attribute::KeyType(other)) => return Err(Pkcs11Fault::KindOfKey(other.to_string())),
            _ => return Err(Pkcs11Fault::KindOfKey("of an unknown kind".to_owned())),
        };
        Ok(PrivateKey { session, handle, kind, name, id })
    }

    /// SubjectPublicKeyInfo, if the token tells it: of the key itself, or of the public key beside it.
    pub(super) fn public_key(&self) -> Option<Vec<u8>> {
        self.public_key_of(self.handle).or_else(|| {
            let mut template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY)];
            template.push(Attribute::Id(Some(self.id.clone()).filter(|id| !id.is_empty())?));
            let beside = self.session.find_objects(&template).ok()?;
            beside.into_iter().find_map(|handle| self.public_key_of(handle))
        })
    }

    fn public_key_of(&self, handle: ObjectHandle) -> Option<Vec<u8>> {
        let bytes = |wanted| match self.session.get_attributes(handle, &[wanted]).ok()?.pop()? {
            Attribute::Modulus(bytes)
            | Attribute::PublicExponent(bytes)
            | Attribute::EcParams(bytes)
            | Attribute::EcPoint(bytes) => Some(bytes).filter(|bytes| !bytes.is_empty()),
            _ => None,
        };
        match self.kind {
            Kind::Rsa => {
                Some(der::rsa_public_key(&bytes(AttributeType::Modulus)?, &bytes(AttributeType::PublicExponent)?))
            }
            Kind::Ec => Some(der::ec_public_key(&bytes(AttributeType::EcParams)?, &bytes(AttributeType::EcPoint)?)),
        }
    }

    /// A signature as TLS has it.
    pub(super) fn sign(&self, sign: &Sign, is_logged_in: bool) -> Result<Vec<u8>, Pkcs11Fault> {
        self.signature(sign).map_err(|fault| match fault {
            Pkcs11Fault::Failed(Step::Sign, code) if code == NOT_LOGGED_IN => match is_logged_in {
                true => Pkcs11Fault::KindOfKey(
                    "a key that wants its PIN for each signature (CKA_ALWAYS_AUTHENTICATE)".to_owned(),
                ),
                false => Pkcs11Fault::PinNeeded,
            },
            other => other,
        })
    }

    fn signature(&self, sign: &Sign) -> Result<Vec<u8>, Pkcs11Fault> {
        match (sign.padding, self.kind) {
            (Padding::Ecdsa, Kind::Ec) => {
                let raw = self.run(&Mechanism::Ecdsa, &sign.digest, "ECDSA (CKM_ECDSA)")?;
                Ok(der::ecdsa_signature(&raw))
            }
            (Padding::Pkcs1, Kind::Rsa) => {
                let info = padding::digest_info(sign.hash, &sign.digest);
                self.run(&Mechanism::RsaPkcs, &info, "RSA (CKM_RSA_PKCS)")
            }
            (Padding::Pss, Kind::Rsa) => match self.run(&pss(sign.hash), &sign.digest, "RSA-PSS (CKM_RSA_PKCS_PSS)") {
                Err(unable @ Pkcs11Fault::Unable(_)) => self.padded_here(sign, unable),
                done => done,
            },
            // The daemon asks for what the certificate's key signs with.
            _ => Err(Pkcs11Fault::OtherKey),
        }
    }

    /// RSA-PSS of a token that only knows plain RSA; `unable` is what it said.
    fn padded_here(&self, sign: &Sign, unable: Pkcs11Fault) -> Result<Vec<u8>, Pkcs11Fault> {
        let attributes = self.session.get_attributes(self.handle, &[AttributeType::Modulus]).ok();
        let Some(Attribute::Modulus(modulus)) = attributes.and_then(|mut found| found.pop()) else {
            return Err(unable);
        };
        let first = modulus.iter().position(|byte| *byte != 0).unwrap_or(modulus.len());
        let Some(top) = modulus.get(first) else { return Err(unable) };
        let bits = 8 * (modulus.len() - first) - top.leading_zeros() as usize;
        let mut salt = vec![0; sign.hash.len()];
        if SystemRandom::new().fill(&mut salt).is_err() {
            return Err(unable);
        }
        let Some(padded) = padding::pss(sign.hash, &sign.digest, &salt, bits) else { return Err(unable) };
        self.run(&Mechanism::RsaX509, &padded, "RSA (CKM_RSA_X_509)").map_err(|fault| match fault {
            Pkcs11Fault::Unable(_) => unable,
            other => other,
        })
    }

    fn run(&self, mechanism: &Mechanism<'_>, data: &[u8], what: &str) -> Result<Vec<u8>, Pkcs11Fault> {
        self.session.sign(mechanism, self.handle, data).map_err(|error| match error {
            Error::Pkcs11(RvError::MechanismInvalid | RvError::MechanismParamInvalid, _) => {
                Pkcs11Fault::Unable(what.to_owned())
            }
            Error::Pkcs11(RvError::KeyFunctionNotPermitted, _) => {
                Pkcs11Fault::KindOfKey("a key that may not sign (CKA_SIGN)".to_owned())
            }
            other => failed(Step::Sign)(other),
        })
    }
}

/// CKM_RSA_PKCS_PSS with a salt as long as the digest.
fn pss(hash: Hash) -> Mechanism<'static> {
    let (hash_alg, mgf, salt) = match hash {
        Hash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32),
        Hash::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
        Hash::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
    };
    Mechanism::RsaPkcsPss(PkcsPssParams { hash_alg, mgf, s_len: Ulong::new(salt) })
}

/// What an object is called, and its ID.
fn describe(session: &Session, handle: ObjectHandle) -> (String, Vec<u8>) {
    let found = session.get_attributes(handle, &[AttributeType::Label, AttributeType::Id]).unwrap_or_default();
    let mut key = uri::Key::default();
    for attribute in found {
        match attribute {
            Attribute::Label(label) => key.label = Some(String::from_utf8_lossy(&label).into_owned()),
            Attribute::Id(id) if !id.is_empty() => key.id = Some(id),
            _ => {}
        }
    }
    (key.to_string(), key.id.unwrap_or_default())
}

fn name_of(info: &Info) -> String {
    let version = info.library_version();
    format!(
        "{:?} of {:?}, version {}.{}",
        info.library_description(),
        info.manufacturer_id(),
        version.major(),
        version.minor()
    )
}

fn fits_library(wanted: &Library, info: &Info) -> bool {
    let version = info.library_version();
    fits(&wanted.manufacturer, info.manufacturer_id())
        && fits(&wanted.description, info.library_description())
        && wanted.version.is_none_or(|wanted| wanted == (version.major(), version.minor()))
}

fn fits_token(wanted: &uri::Token, info: &TokenInfo) -> bool {
    fits(&wanted.label, info.label())
        && fits(&wanted.manufacturer, info.manufacturer_id())
        && fits(&wanted.serial, info.serial_number())
        && fits(&wanted.model, info.model())
}

/// Whether a text is the one that is wanted; tokens fill theirs up with blanks.
fn fits(wanted: &Option<String>, found: &str) -> bool {
    wanted.as_ref().is_none_or(|wanted| wanted.trim_end() == found.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_called_as_pkcs11_calls_them() {
        assert_eq!(code(RvError::DeviceError), "CKR_DEVICE_ERROR");
        assert_eq!(code(RvError::PinLenRange), "CKR_PIN_LEN_RANGE");
        assert_eq!(code(RvError::UserNotLoggedIn), NOT_LOGGED_IN);
        assert_eq!(code(RvError::VendorDefined(0x8000_0001)), "0x80000001");
    }

    #[test]
    fn names_fit_whatever_blanks_are_behind_them() {
        let wanted = |text: &str| Some(text.to_owned());
        assert!(fits(&None, "x") && fits(&wanted("a b"), "a b   ") && fits(&wanted("a b "), "a b"));
        assert!(!fits(&wanted("a"), "ab") && !fits(&wanted("ab"), "a"));
    }
}
