//! The little DER (X.690) that a token's own forms lack: its public keys and signatures as X.509 and TLS have them.

/// rsaEncryption with its NULL (RFC 3279, 2.3.1), and id-ecPublicKey (2.3.5).
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const EC: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// SubjectPublicKeyInfo of an RSA key.
pub(super) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = value(SEQUENCE, &[integer(modulus), integer(exponent)].concat());
    public_key(RSA, &key)
}

/// SubjectPublicKeyInfo of a key on an elliptic curve. `parameters` (CKA_EC_PARAMS) are the OID of the curve in DER; `point`
/// (CKA_EC_POINT) is in an OCTET STRING, as PKCS#11 wants it, or bare, as some tokens have it.
pub(super) fn ec_public_key(parameters: &[u8], point: &[u8]) -> Vec<u8> {
    // A bare point begins with 4, too; then its length would have to fit by chance.
    let inner = point.strip_prefix(&[OCTET_STRING]).and_then(|rest| match rest {
        [0x81, length, inner @ ..] | [length, inner @ ..] if inner.len() == usize::from(*length) => Some(inner),
        _ => None,
    });
    public_key(&[EC, parameters].concat(), inner.unwrap_or(point))
}

fn public_key(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = [&[0], key].concat();
    value(SEQUENCE, &[value(SEQUENCE, algorithm), value(BIT_STRING, &bits)].concat())
}

/// Ecdsa-Sig-Value (RFC 3279, 2.2.3) of the two numbers that a token gives one behind the other, both of the same length.
pub(super) fn ecdsa_signature(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    value(SEQUENCE, &[integer(r), integer(s)].concat())
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    // What begins with a set bit would be negative.
    let zero = if bytes.get(start).is_none_or(|byte| byte & 0x80 != 0) { &[0][..] } else { &[] };
    value(INTEGER, &[zero, &bytes[start..]].concat())
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut der = vec![tag];
    if content.len() >= 0x80 {
        der.push(0x80 | digits.len() as u8);
    }
    der.extend(digits);
    der.extend(content);
    der
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData as _};
    use x509_parser::prelude::FromDer as _;
    use x509_parser::public_key::PublicKey;
    use x509_parser::x509::SubjectPublicKeyInfo;

    use super::*;

    #[test]
    fn public_keys_are_as_in_a_certificate() {
        for (algorithm, curve) in [
            (&PKCS_ECDSA_P256_SHA256, &b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"[..]),
            (&PKCS_ECDSA_P384_SHA384, &b"\x06\x05\x2b\x81\x04\x00\x22"[..]),
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let point = key.der_bytes();
            assert_eq!(ec_public_key(curve, point), key.subject_public_key_info());
            assert_eq!(ec_public_key(curve, &value(OCTET_STRING, point)), key.subject_public_key_info());
        }
        for modulus in [&[0xff; 256][..], &[0x7f; 257], &[1; 100], &[0, 0, 0x80, 1]] {
            let der = rsa_public_key(modulus, &[1, 0, 1]);
            let (rest, found) = SubjectPublicKeyInfo::from_der(&der).unwrap();
            let Ok(PublicKey::RSA(key)) = found.parsed() else { panic!("{found:?}") };
            let trimmed = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
            assert_eq!((trimmed(key.modulus), key.try_exponent(), rest.len()), (trimmed(modulus), Ok(65537), 0));
        }
    }

    #[test]
    fn signatures_are_two_positive_numbers() {
        assert_eq!(ecdsa_signature(&[0, 1, 0x80, 0]), [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 0]);
        assert_eq!(ecdsa_signature(&[0, 0]), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(ecdsa_signature(&[]), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(ecdsa_signature(&[0xff; 132])[..4], [0x30, 0x81, 138, 2]);
    }
}
