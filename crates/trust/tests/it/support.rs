//! An issuer with an RSA and an EC key, and the tokens that kube-apiserver would make.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cwii_token::{Jwks, Token};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use rsa::{
    RsaPrivateKey, pkcs8::EncodePrivateKey as _, rand_core::OsRng, traits::PublicKeyParts as _,
};
use serde_json::{Value, json};

/// 2026-11-21T12:00:00Z.
pub(crate) const NOW: i64 = 1_795_262_400;
pub(crate) const ISSUER: &str = "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC";
pub(crate) const PREFIX: &str = "oidc.eks.eu-central-1.amazonaws.com/id/ABC";
pub(crate) const SUBJECT: &str = "system:serviceaccount:shop:checkout";

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

pub(crate) struct Issuer {
    rsa: RsaKeyPair,
    rsa_public: Value,
    ec: EcdsaKeyPair,
    ec_public: Value,
}

pub(crate) static KEYS: LazyLock<Issuer> = LazyLock::new(|| {
    let private = RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let rsa_public = json!({
        "kty": "RSA", "kid": "rsa-1", "use": "sig", "alg": "RS256",
        "n": b64(&private.n().to_bytes_be()), "e": b64(&private.e().to_bytes_be()),
    });
    let rsa = RsaKeyPair::from_pkcs8(private.to_pkcs8_der().unwrap().as_bytes()).unwrap();
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let point = ec.public_key().as_ref();
    let ec_public = json!({
        "kty": "EC", "crv": "P-256", "kid": "ec-1", "use": "sig",
        "x": b64(&point[1..33]), "y": b64(&point[33..65]),
    });
    Issuer {
        rsa,
        rsa_public,
        ec,
        ec_public,
    }
});

impl Issuer {
    pub(crate) fn rsa_jwk(&self) -> Value {
        self.rsa_public.clone()
    }

    pub(crate) fn ec_jwk(&self) -> Value {
        self.ec_public.clone()
    }

    pub(crate) fn jwks(&self) -> Jwks {
        jwks(&[self.rsa_jwk(), self.ec_jwk()])
    }

    /// Signs texts as they are, with the key that the header's `alg` begins to name.
    pub(crate) fn sign_text(&self, header: &str, payload: &str) -> String {
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let random = SystemRandom::new();
        let signature = if header.contains("\"ES") {
            self.ec
                .sign(&random, input.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec()
        } else {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa
                .sign(&RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature)
                .unwrap();
            signature
        };
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> Token {
        Token::decode(&self.sign_text(&header.to_string(), &claims.to_string())).unwrap()
    }

    pub(crate) fn token(&self, claims: &Value) -> Token {
        self.sign(&json!({"alg": "RS256", "kid": "rsa-1"}), claims)
    }
}

pub(crate) fn jwks(keys: &[Value]) -> Jwks {
    Jwks::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

/// The claims of a projected token for this audience.
pub(crate) fn claims(audience: &str) -> Value {
    json!({
        "iss": ISSUER, "sub": SUBJECT, "aud": [audience],
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3540, "jti": "x",
        "kubernetes.io": {
            "namespace": "shop",
            "serviceaccount": {"name": "checkout", "uid": "u-1"},
            "pod": {"name": "checkout-0", "uid": "p-1"},
        },
    })
}

/// The claims with members set; null removes one.
pub(crate) fn with(mut claims: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name.as_str()] = value.clone();
        }
    }
    claims
}
