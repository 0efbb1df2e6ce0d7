//! What becomes of a digest before an RSA key signs it, where the token doesn't do that itself (RFC 8017).

use ring::digest::{self, SHA256, SHA384, SHA512};

use super::wire::Hash;

impl Hash {
    pub(super) fn of(self, message: &[u8]) -> Vec<u8> {
        digest::digest(self.algorithm(), message).as_ref().to_vec()
    }

    /// Of a digest, in bytes.
    pub(super) fn len(self) -> usize {
        self.algorithm().output_len()
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha256 => &SHA256,
            Hash::Sha384 => &SHA384,
            Hash::Sha512 => &SHA512,
        }
    }
}

/// DigestInfo (RFC 8017, 9.2): what RSASSA-PKCS1-v1_5 signs.
pub(super) fn digest_info(hash: Hash, digest: &[u8]) -> Vec<u8> {
    // The last byte of the OID, which are 2.16.840.1.101.3.4.2.N.
    let number = match hash {
        Hash::Sha256 => 1,
        Hash::Sha384 => 2,
        Hash::Sha512 => 3,
    };
    let len = hash.len() as u8;
    let mut info = vec![0x30, 17 + len, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 101, 3, 4, 2, number, 5, 0, 4, len];
    info.extend(digest);
    info
}

/// EMSA-PSS (RFC 8017, 9.1.1) for a modulus of so many bits. `None`: it is too short.
pub(super) fn pss(hash: Hash, digest: &[u8], salt: &[u8], modulus_bits: usize) -> Option<Vec<u8>> {
    let bits = modulus_bits.checked_sub(1)?;
    let len = bits.div_ceil(8);
    let masked_len = len.checked_sub(hash.len() + 1)?;
    let padding = masked_len.checked_sub(salt.len() + 1)?;
    let seed = hash.of(&[&[0; 8], digest, salt].concat());
    let mut encoded = vec![0; padding];
    encoded.push(1);
    encoded.extend(salt);
    // The mask generation function MGF1 (B.2.1).
    let mask = (0u32..).flat_map(|counter| hash.of(&[&seed[..], &counter.to_be_bytes()].concat()));
    encoded.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    encoded[0] &= 0xff >> (8 * len - bits);
    encoded.extend(seed);
    encoded.push(0xbc);
    // A modulus with one bit more than whole bytes is a byte longer than what is signed.
    Some([vec![0; modulus_bits.div_ceil(8) - len], encoded].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EMSA-PSS-VERIFY (RFC 8017, 9.1.2), written the other way round.
    fn is_pss(hash: Hash, digest: &[u8], encoded: &[u8], bits: usize) -> bool {
        let Some((0xbc, rest)) = encoded.split_last() else { return false };
        let (masked, seed) = rest.split_at(rest.len() - hash.len());
        let mut data = masked.to_vec();
        for (counter, block) in (0u32..).zip(data.chunks_mut(hash.len())) {
            let mask = hash.of(&[seed, &counter.to_be_bytes()].concat());
            block.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        let unused = 8 * encoded.len() - bits;
        if unused > 0 && masked[0] >> (8 - unused) != 0 {
            return false;
        }
        data[0] &= 0xff >> unused;
        let start = data.iter().position(|byte| *byte != 0).unwrap();
        data[start] == 1 && hash.of(&[&[0; 8], digest, &data[start + 1..]].concat()) == seed
    }

    #[test]
    fn padding_is_as_who_verifies_takes_it() {
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let digest = hash.of(b"message");
            for bits in [2047, 2048, 2049, 2050, 3072, 4096] {
                let encoded = pss(hash, &digest, &vec![7; hash.len()], bits).unwrap();
                assert_eq!(encoded.len(), bits.div_ceil(8));
                let inner = &encoded[bits.div_ceil(8) - (bits - 1).div_ceil(8)..];
                assert!(is_pss(hash, &digest, inner, bits - 1), "{hash:?} {bits}");
            }
            assert_eq!(pss(hash, &digest, &vec![7; hash.len()], 8 * (2 * hash.len() + 1)), None);
            assert_eq!(pss(hash, &digest, &[], 0), None);
            assert_eq!(digest_info(hash, &digest).len(), 19 + hash.len());
        }
    }
}
