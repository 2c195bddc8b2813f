//! Signature checks: jsonwebtoken over ring, which TLS brings along anyway, and p521 for the one algorithm that neither
//! has.
//!
//! jsonwebtoken takes its cryptography from a process-wide provider. Ours verifies and nothing else: no program of this
//! project but the lab signs, and the lab does so itself. Where another provider is installed already, that one is used.

use std::{fmt, sync::Once};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm as Jwa, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    jwk::ThumbprintHash,
};
use ring::{digest, signature as ring_signature};
use signature::Verifier;

use crate::words;

/// A signature algorithm that at least one cloud accepts (RFC 7518, section 3.1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
}

impl Algorithm {
    /// All of them, which is what AWS accepts.
    pub const ALL: [Self; 6] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
    ];

    /// The name in `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    /// The algorithm of this exact name; none for `none`, HMAC, PSS, EdDSA and ML-DSA.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }

    const fn curve(self) -> Option<Curve> {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 => None,
            Self::Es256 => Some(Curve::P256),
            Self::Es384 => Some(Curve::P384),
            Self::Es512 => Some(Curve::P521),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a signature does not hold.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// `alg` is none of [`Algorithm::ALL`]; `none` is one such.
    #[error("the token is signed with {}, which cannot be verified", words::quoted_or(.alg.as_deref(), "no algorithm"))]
    UnsupportedAlgorithm {
        /// The header's `alg`, if it is a string.
        alg: Option<String>,
    },
    /// The header demands that extensions be understood (RFC 7515, section 4.1.11); none is.
    #[error("the header's `crit` demands extensions that nobody defined for these tokens")]
    Critical,
    /// The key is of another type, curve or use than the algorithm wants.
    #[error("the token is signed with {alg}, the key is {key}")]
    KeyMismatch {
        /// The header's algorithm.
        alg: Algorithm,
        /// The key: `EC P-384`.
        key: String,
    },
    /// The key itself cannot be used.
    #[error("the key is unusable: {detail}")]
    UnusableKey {
        /// What is wrong with it.
        detail: String,
    },
    /// The signature is not this key's signature of this text.
    #[error(
        "the signature is not this key's: another key under the same `kid`, or a changed token"
    )]
    Mismatch,
}

/// An elliptic curve of RFC 7518, section 6.2.1.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521]
            .into_iter()
            .find(|curve| curve.as_str() == name)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Bytes of one coordinate.
    pub(crate) const fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// A public key out of a JSON Web Key or a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// The curve and an uncompressed point: 4, x, y.
    Ec { curve: Curve, point: Vec<u8> },
}

impl PublicKey {
    /// Whether the algorithm works with a key of this type and curve.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => algorithm.curve().is_none(),
            Self::Ec { curve, .. } => algorithm.curve() == Some(*curve),
        }
    }

    /// The algorithms that work with it.
    pub(crate) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(|a| self.fits(*a))
    }

    /// Bits of an RSA modulus.
    pub(crate) fn rsa_bits(&self) -> Option<usize> {
        match self {
            Self::Rsa { n, .. } => {
                let first = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
                Some((n.len() * 8).saturating_sub(first))
            }
            Self::Ec { .. } => None,
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { .. } => write!(f, "RSA {}", self.rsa_bits().unwrap_or_default()),
            Self::Ec { curve, .. } => write!(f, "EC {}", curve.as_str()),
        }
    }
}

/// Checks a signature, given as base64url, of a signing input (RFC 7515, section 5.2).
pub(crate) fn verify(
    algorithm: Algorithm,
    key: &PublicKey,
    signing_input: &str,
    signature: &str,
) -> Result<(), SignatureError> {
    if !key.fits(algorithm) {
        return Err(SignatureError::KeyMismatch {
            alg: algorithm,
            key: key.to_string(),
        });
    }
    if let Some(bits) = key.rsa_bits().filter(|bits| !RSA_BITS.contains(bits)) {
        return Err(SignatureError::UnusableKey {
            detail: format!(
                "expected an RSA modulus of {} to {} bits, found {bits}",
                RSA_BITS.start(),
                RSA_BITS.end()
            ),
        });
    }
    let (jwa, key) = match (algorithm, key) {
        (Algorithm::Es512, PublicKey::Ec { point, .. }) => {
            return verify_es512(point, signing_input, signature);
        }
        (Algorithm::Rs256, key) => (Jwa::RS256, decoding_key(key)),
        (Algorithm::Rs384, key) => (Jwa::RS384, decoding_key(key)),
        (Algorithm::Rs512, key) => (Jwa::RS512, decoding_key(key)),
        (Algorithm::Es256, key) => (Jwa::ES256, decoding_key(key)),
        (Algorithm::Es384 | Algorithm::Es512, key) => (Jwa::ES384, decoding_key(key)),
    };
    install();
    match jsonwebtoken::crypto::verify(signature, signing_input.as_bytes(), &key, jwa) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SignatureError::Mismatch),
        Err(error) => Err(SignatureError::UnusableKey {
            detail: error.to_string(),
        }),
    }
}

fn verify_es512(point: &[u8], signing_input: &str, signature: &str) -> Result<(), SignatureError> {
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| {
        SignatureError::UnusableKey {
            detail: "its point is not on P-521".to_owned(),
        }
    })?;
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .ok()
        .and_then(|bytes| p521::ecdsa::Signature::from_slice(&bytes).ok())
        .ok_or(SignatureError::Mismatch)?;
    key.verify(signing_input.as_bytes(), &signature)
        .map_err(|_| SignatureError::Mismatch)
}

fn decoding_key(key: &PublicKey) -> DecodingKey {
    match key {
        PublicKey::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
        PublicKey::Ec { point, .. } => DecodingKey::from_ec_der(point),
    }
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error means that the program chose a provider before us, which verifies as well as ours.
        let _already_installed = RING.install_default();
    });
}

/// ring's limits for RSA with SHA-2.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_: &Jwa, _: &EncodingKey| -> Result<Box<dyn JwtSigner>, Error> {
        Err(ErrorKind::UnsupportedAlgorithm.into())
    },
    verifier_factory: |algorithm, key| {
        let verification = match algorithm {
            Jwa::RS256 => Verification::Rsa(&ring_signature::RSA_PKCS1_2048_8192_SHA256),
            Jwa::RS384 => Verification::Rsa(&ring_signature::RSA_PKCS1_2048_8192_SHA384),
            Jwa::RS512 => Verification::Rsa(&ring_signature::RSA_PKCS1_2048_8192_SHA512),
            Jwa::ES256 => Verification::Ecdsa(&ring_signature::ECDSA_P256_SHA256_FIXED),
            Jwa::ES384 => Verification::Ecdsa(&ring_signature::ECDSA_P384_SHA384_FIXED),
            _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
        };
        if key.family() != verification.family() {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Box::new(RingVerifier {
            algorithm: *algorithm,
            verification,
            key: key.clone(),
        }))
    },
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        rsa_pub_components_from_public_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ec_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ed_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        compute_digest: |data, hash| {
            let algorithm = match hash {
                ThumbprintHash::SHA256 => &digest::SHA256,
                ThumbprintHash::SHA384 => &digest::SHA384,
                ThumbprintHash::SHA512 => &digest::SHA512,
                _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
            };
            Ok(digest::digest(algorithm, data).as_ref().to_vec())
        },
    },
};

#[derive(Clone, Copy)]
enum Verification {
    Rsa(&'static ring_signature::RsaParameters),
    Ecdsa(&'static ring_signature::EcdsaVerificationAlgorithm),
}

impl Verification {
    fn family(self) -> AlgorithmFamily {
        match self {
            Self::Rsa(_) => AlgorithmFamily::Rsa,
            Self::Ecdsa(_) => AlgorithmFamily::Ec,
        }
    }
}

struct RingVerifier {
    algorithm: Jwa,
    verification: Verification,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        match (self.verification, self.key.kind()) {
            (Verification::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                ring_signature::RsaPublicKeyComponents { n, e }
                    .verify(parameters, message, signature)
            }
            (Verification::Rsa(parameters), DecodingKeyKind::SecretOrDer(der)) => {
                ring_signature::UnparsedPublicKey::new(parameters, der).verify(message, signature)
            }
            (Verification::Ecdsa(parameters), DecodingKeyKind::SecretOrDer(point)) => {
                ring_signature::UnparsedPublicKey::new(parameters, point).verify(message, signature)
            }
            (Verification::Ecdsa(_), DecodingKeyKind::RsaModulusExponent { .. }) => {
                Err(ring::error::Unspecified)
            }
        }
        .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Jwa {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.4.
    #[test]
    fn the_es512_example_of_rfc_7515_verifies() {
        let signature = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
        let key = p521_key();
        let input = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA";
        assert_eq!(verify(Algorithm::Es512, &key, input, signature), Ok(()));
        for (input, signature) in [
            ("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZB", signature.to_owned()),
            (input, signature.replacen('A', "B", 1)),
            (input, signature[..172].to_owned()),
            (input, "AAAA".repeat(44)),
            (input, String::new()),
        ] {
            assert_eq!(
                verify(Algorithm::Es512, &key, input, &signature),
                Err(SignatureError::Mismatch)
            );
        }
    }

    #[test]
    fn a_point_beside_the_curve_is_an_unusable_key() {
        let PublicKey::Ec { curve, mut point } = p521_key() else {
            panic!("a P-521 key is an EC key");
        };
        point[132] ^= 1;
        let error = verify(
            Algorithm::Es512,
            &PublicKey::Ec { curve, point },
            "a.b",
            "AAAA",
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "the key is unusable: its point is not on P-521"
        );
    }

    #[test]
    fn the_provider_verifies_and_does_not_sign() {
        let key = DecodingKey::from_secret(b"secret");
        for algorithm in [Jwa::HS256, Jwa::PS256, Jwa::EdDSA, Jwa::RS256, Jwa::ES384] {
            assert!(
                (RING.verifier_factory)(&algorithm, &key).is_err(),
                "{algorithm:?}"
            );
        }
        assert!((RING.signer_factory)(&Jwa::RS256, &EncodingKey::from_secret(b"secret")).is_err());
        let digest = (RING.key_utils.compute_digest)(b"", ThumbprintHash::SHA256);
        assert_eq!(digest.map(|bytes| bytes.len()).ok(), Some(32));
    }

    #[test]
    fn names_of_algorithms_are_exact() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.as_str()), Some(algorithm));
            assert_eq!(
                Algorithm::from_name(&algorithm.as_str().to_lowercase()),
                None
            );
        }
        assert_eq!(Algorithm::from_name(""), None);
    }

    fn p521_key() -> PublicKey {
        let x = "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk";
        let y = "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2";
        let [x, y] = [x, y].map(|text| URL_SAFE_NO_PAD.decode(text).unwrap_or_default());
        PublicKey::Ec {
            curve: Curve::P521,
            point: [vec![4], x, y].concat(),
        }
    }
}
