//! Signing keys of the clusters, of every kind that kube-apiserver signs with and a cloud verifies.
//!
//! Keys are made when first needed (an RSA key takes a moment) and shared by the clusters of one lab: clusters differ in
//! what they publish, not in key material.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cwii_token::Algorithm;
use p521::ecdsa::signature::RandomizedSigner as _;
use ring::{
    rand::{SecureRandom, SystemRandom},
    rsa::KeyPair as RingRsa,
    signature::{self, EcdsaKeyPair, KeyPair as _},
};
use rsa::{
    RsaPrivateKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey},
    traits::PublicKeyParts,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::LabError;

/// A key of the lab.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum KeyName {
    /// RSA 2048: what the clusters sign with and publish unless told otherwise.
    #[default]
    Rsa,
    /// Another RSA 2048 key: what a cluster signs with after a rotation, or what an impostor signs with.
    RsaNext,
    /// EC P-256.
    P256,
    /// EC P-384.
    P384,
    /// EC P-521.
    P521,
}

impl KeyName {
    /// The algorithm that a cluster with this key signs with.
    #[must_use]
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Rsa | Self::RsaNext => Algorithm::Rs256,
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::P521 => Algorithm::Es512,
        }
    }
}

/// Keys that a lab signs with. Making an RSA key takes a moment, so whoever starts many labs may hand the keys of one to
/// the next.
#[derive(Clone, Default)]
pub struct Keys(Arc<[OnceLock<Key>; 5]>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    pub(crate) fn key(&self, name: KeyName) -> Result<&Key, LabError> {
        let cell = &self.0[name as usize];
        if let Some(key) = cell.get() {
            return Ok(key);
        }
        let key = Key::generate(name)?;
        Ok(cell.get_or_init(|| key))
    }
}

/// One key pair.
pub(crate) struct Key {
    /// As kube-apiserver names it: base64url(SHA-256(DER of the SubjectPublicKeyInfo)).
    pub(crate) kid: String,
    /// The public key as kube-apiserver publishes it.
    pub(crate) jwk: Value,
    signer: Signer,
}

enum Signer {
    Rsa(Box<RingRsa>),
    Ec(Box<EcdsaKeyPair>),
    P521(Box<p521::ecdsa::SigningKey>),
}

impl Key {
    fn generate(name: KeyName) -> Result<Self, LabError> {
        match name {
            KeyName::Rsa | KeyName::RsaNext => Self::rsa(),
            KeyName::P256 => Self::ec(
                &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                "P-256",
                "ES256",
                &P256_SPKI_PREFIX,
            ),
            KeyName::P384 => Self::ec(
                &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
                "P-384",
                "ES384",
                &P384_SPKI_PREFIX,
            ),
            KeyName::P521 => Self::p521(),
        }
    }

    fn rsa() -> Result<Self, LabError> {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048)
            .map_err(|e| LabError::Key(e.to_string()))?;
        let private = key
            .to_pkcs8_der()
            .map_err(|e| LabError::Key(e.to_string()))?;
        let public = key.to_public_key();
        let spki = public
            .to_public_key_der()
            .map_err(|e| LabError::Key(e.to_string()))?;
        let kid = key_id(spki.as_bytes());
        Ok(Self {
            jwk: json!({
                "use": "sig",
                "kty": "RSA",
                "kid": kid,
                "alg": "RS256",
                "n": URL_SAFE_NO_PAD.encode(public.n().to_bytes_be()),
                "e": URL_SAFE_NO_PAD.encode(public.e().to_bytes_be()),
            }),
            kid,
            signer: Signer::Rsa(Box::new(
                RingRsa::from_pkcs8(private.as_bytes())
                    .map_err(|e| LabError::Key(e.to_string()))?,
            )),
        })
    }

    fn ec(
        algorithm: &'static signature::EcdsaSigningAlgorithm,
        curve: &str,
        alg: &str,
        spki_prefix: &[u8],
    ) -> Result<Self, LabError> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random)
            .map_err(|e| LabError::Key(e.to_string()))?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)
            .map_err(|e| LabError::Key(e.to_string()))?;
        let (kid, jwk) = ec_jwk(curve, alg, spki_prefix, pair.public_key().as_ref());
        Ok(Self {
            kid,
            jwk,
            signer: Signer::Ec(Box::new(pair)),
        })
    }

    fn p521() -> Result<Self, LabError> {
        // A scalar below the order: nearly every 521-bit number is one.
        for _ in 0..64 {
            let mut scalar = [0u8; 66];
            fill_random(&mut scalar)?;
            scalar[0] &= 1;
            if let Ok(key) = p521::ecdsa::SigningKey::from_slice(&scalar) {
                let point = p521::ecdsa::VerifyingKey::from(&key).to_encoded_point(false);
                let (kid, jwk) = ec_jwk("P-521", "ES512", &P521_SPKI_PREFIX, point.as_bytes());
                return Ok(Self {
                    kid,
                    jwk,
                    signer: Signer::P521(Box::new(key)),
                });
            }
        }
        Err(LabError::Key("no P-521 scalar in 64 attempts".into()))
    }

    /// Signs as JWS does. An algorithm that does not fit the key is replaced by the key's own: the header may lie.
    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, LabError> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Rsa(key) => {
                let padding: &dyn signature::RsaEncoding = match algorithm {
                    Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, message, &mut out)
                    .map_err(|e| LabError::Key(e.to_string()))?;
                Ok(out)
            }
            Signer::Ec(key) => Ok(key
                .sign(&random, message)
                .map_err(|e| LabError::Key(e.to_string()))?
                .as_ref()
                .to_vec()),
            Signer::P521(key) => {
                let signature: p521::ecdsa::Signature = key
                    .try_sign_with_rng(&mut rsa::rand_core::OsRng, message)
                    .map_err(|e| LabError::Key(e.to_string()))?;
                Ok(signature.to_bytes().to_vec())
            }
        }
    }
}

/// Random bytes from the operating system.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), LabError> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| LabError::Key("the operating system gave no random bytes".into()))
}

fn ec_jwk(curve: &str, alg: &str, spki_prefix: &[u8], point: &[u8]) -> (String, Value) {
    let kid = key_id(&[spki_prefix, point].concat());
    // An uncompressed point: 4, then both coordinates at the width of the field.
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    let jwk = json!({
        "use": "sig",
        "kty": "EC",
        "kid": kid,
        "crv": curve,
        "alg": alg,
        "x": URL_SAFE_NO_PAD.encode(x),
        "y": URL_SAFE_NO_PAD.encode(y),
    });
    (kid, jwk)
}

fn key_id(spki: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(spki))
}

// DER of a SubjectPublicKeyInfo up to the point: SEQUENCE, id-ecPublicKey, the curve's OID, BIT STRING (RFC 5480).
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P384_SPKI_PREFIX: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
const P521_SPKI_PREFIX: [u8; 25] = [
    0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05,
    0x2b, 0x81, 0x04, 0x00, 0x23, 0x03, 0x81, 0x86, 0x00,
];
