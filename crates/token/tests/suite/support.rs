//! Keys of the RFCs' examples and a signer that shares no code with the crate.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cwii_token::{Algorithm, Header, Jwks, Token};
use p521::ecdsa::signature::Signer as _;
use ring::{rand::SystemRandom, rsa, signature};
use serde_json::{Map, Value, json};

/// RFC 7515, appendix A.2.
pub(crate) fn rsa_key() -> Value {
    json!({"kty": "RSA", "n": RSA_N, "e": "AQAB"})
}

/// RFC 7515, appendix A.3.
pub(crate) fn p256_key() -> Value {
    json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

/// RFC 7515, appendix A.4.
pub(crate) fn p521_key() -> Value {
    json!({
        "kty": "EC",
        "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    })
}

/// Made by OpenSSL; nobody has the private key any more.
pub(crate) fn p384_key() -> Value {
    json!({
        "kty": "EC",
        "crv": "P-384",
        "x": "R77LlBTxX4MV72E5ho9hb6K-dSfSeGVsw9hp75vlIPYFtrT-KXNw5A9_7ny1hc4i",
        "y": "k7HtQCXjRTHQOeC9LkXEE6s2krLk_SX7UCnEul-AOIR76yVNuv3zBT6JFcAiPt1S",
    })
}

/// A key with members added or replaced; `null` removes one.
pub(crate) fn with(mut key: Value, members: Value) -> Value {
    let object = key.as_object_mut().unwrap();
    for (name, value) in members.as_object().unwrap() {
        if value.is_null() {
            object.shift_remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    key
}

pub(crate) fn jwks(keys: &[Value]) -> Jwks {
    Jwks::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

pub(crate) fn header(members: Value) -> Header {
    let token = [
        encode(members.to_string().as_bytes()),
        encode(b"{}"),
        encode(b"signature"),
    ]
    .join(".");
    Token::decode(&token).unwrap().header
}

/// Signs a token with a key of the RFCs' examples, or a fresh one for ES384; returns it with its public key.
pub(crate) fn sign(
    algorithm: Algorithm,
    header: Value,
    claims: &Map<String, Value>,
) -> (String, Value) {
    let header = with(header, json!({"alg": algorithm.as_str()}));
    let input = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(Value::Object(claims.clone()).to_string().as_bytes())
    );
    let (signature, key) = match algorithm {
        Algorithm::Rs256 => (sign_rsa(&signature::RSA_PKCS1_SHA256, &input), rsa_key()),
        Algorithm::Rs384 => (sign_rsa(&signature::RSA_PKCS1_SHA384, &input), rsa_key()),
        Algorithm::Rs512 => (sign_rsa(&signature::RSA_PKCS1_SHA512, &input), rsa_key()),
        Algorithm::Es256 => sign_es256(&input),
        Algorithm::Es384 => sign_es384(&input),
        Algorithm::Es512 => sign_es512(&input),
    };
    (format!("{input}.{}", encode(&signature)), key)
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn sign_rsa(encoding: &'static dyn signature::RsaEncoding, input: &str) -> Vec<u8> {
    let components = rsa::KeyPairComponents {
        public_key: rsa::PublicKeyComponents {
            n: decode(RSA_N),
            e: decode("AQAB"),
        },
        d: decode(RSA_D),
        p: decode(RSA_P),
        q: decode(RSA_Q),
        dP: decode(RSA_DP),
        dQ: decode(RSA_DQ),
        qInv: decode(RSA_QI),
    };
    let pair = rsa::KeyPair::from_components(&components).unwrap();
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(
        encoding,
        &SystemRandom::new(),
        input.as_bytes(),
        &mut signature,
    )
    .unwrap();
    signature
}

fn sign_es256(input: &str) -> (Vec<u8>, Value) {
    let key = p256_key();
    let point = [
        vec![4],
        decode(key["x"].as_str().unwrap()),
        decode(key["y"].as_str().unwrap()),
    ]
    .concat();
    let pair = signature::EcdsaKeyPair::from_private_key_and_public_key(
        &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"),
        &point,
        &SystemRandom::new(),
    )
    .unwrap();
    let signature = pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    (signature.as_ref().to_vec(), key)
}

fn sign_es384(input: &str) -> (Vec<u8>, Value) {
    let algorithm = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
    let random = SystemRandom::new();
    let pkcs8 = signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = signature::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let point = signature::KeyPair::public_key(&pair).as_ref().to_vec();
    let key =
        json!({"kty": "EC", "crv": "P-384", "x": encode(&point[1..49]), "y": encode(&point[49..])});
    let signature = pair.sign(&random, input.as_bytes()).unwrap();
    (signature.as_ref().to_vec(), key)
}

fn sign_es512(input: &str) -> (Vec<u8>, Value) {
    let d =
        "AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C";
    let key = p521::ecdsa::SigningKey::from_slice(&decode(d)).unwrap();
    let signature: p521::ecdsa::Signature = key.sign(input.as_bytes());
    (signature.to_bytes().to_vec(), p521_key())
}

// The private key that RFC 7515 publishes in appendix A.2.
const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RSA_D: &str = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ";
const RSA_P: &str = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc";
const RSA_Q: &str = "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc";
const RSA_DP: &str = "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0";
const RSA_DQ: &str = "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU";
const RSA_QI: &str = "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U";
