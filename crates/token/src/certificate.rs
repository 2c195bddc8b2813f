//! The public key of an X.509 certificate, for `x5c`: just enough of DER (ITU-T X.690) to walk to it.
//!
//! Nothing is trusted on account of a certificate here. AWS refuses a JSON Web Key whose certificate holds another key
//! than its parameters, and only that comparison needs the certificate.

use crate::crypto::{Curve, PublicKey};

/// The key of a certificate in DER (RFC 5280, section 4.1); none if the bytes are not one, or the key is neither RSA nor
/// on a curve that JSON Web Keys have.
pub(crate) fn public_key(der: &[u8]) -> Option<PublicKey> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, rest)) = expect(fields, VERSION) {
        fields = rest;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        // Serial number, signature algorithm, issuer, validity, subject.
        (_, fields) = expect(fields, tag)?;
    }
    let (key_info, _) = expect(fields, SEQUENCE)?;
    let (algorithm, rest) = expect(key_info, SEQUENCE)?;
    let (bits, _) = expect(rest, BIT_STRING)?;
    let key = bits.strip_prefix(&[0])?;
    let (identifier, parameters) = expect(algorithm, OBJECT_IDENTIFIER)?;
    match identifier {
        RSA_ENCRYPTION => {
            let (numbers, _) = expect(key, SEQUENCE)?;
            let (n, rest) = expect(numbers, INTEGER)?;
            let (e, _) = expect(rest, INTEGER)?;
            Some(PublicKey::Rsa {
                n: without_leading_zeros(n).to_vec(),
                e: without_leading_zeros(e).to_vec(),
            })
        }
        EC_PUBLIC_KEY => {
            let (named_curve, _) = expect(parameters, OBJECT_IDENTIFIER)?;
            let curve = match named_curve {
                SECP256R1 => Curve::P256,
                SECP384R1 => Curve::P384,
                SECP521R1 => Curve::P521,
                _ => return None,
            };
            Some(PublicKey::Ec {
                curve,
                point: key.to_vec(),
            })
        }
        _ => None,
    }
}

/// A number without the zero bytes in front that DER adds for the sign, and that some issuers leave in `n`.
pub(crate) fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// The content of the element at the start, if it has this tag, and what follows the element.
fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // Long form: the count of length bytes. Four hold more than any document here; zero is BER's indefinite form.
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) || rest.len() < count {
            return None;
        }
        let (bytes, rest) = rest.split_at(count);
        let length = bytes
            .iter()
            .fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        (length, rest)
    };
    (found == tag && length <= rest.len()).then(|| rest.split_at(length))
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[0]`, explicit.
const VERSION: u8 = 0xa0;

/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const SECP256R1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.132.0.35
const SECP521R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
