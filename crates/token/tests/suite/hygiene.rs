//! Key sets as issuers really publish them: what is said about each flaw, and that a clean set has none. Check ISS14.

use cwii_token::{Jwks, JwksFlawKind};
use serde_json::{Value, json};

use crate::support::{encode, jwks, p256_key, p384_key, p521_key, rsa_key, with};

fn flaws(keys: &[Value]) -> Vec<String> {
    jwks(keys)
        .hygiene()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// What kube-apiserver publishes.
fn clean(key: Value, kid: &str, alg: &str) -> Value {
    with(key, json!({"use": "sig", "kid": kid, "alg": alg}))
}

#[test]
fn what_kube_apiserver_publishes_has_no_flaw() {
    let keys = [
        clean(rsa_key(), "a", "RS256"),
        clean(p256_key(), "b", "ES256"),
        clean(p384_key(), "c", "ES384"),
        clean(p521_key(), "d", "ES512"),
        with(rsa_key(), json!({"kid": "e"})),
    ];
    assert_eq!(flaws(&keys), [""; 0]);
}

#[test]
fn each_flaw_is_named_with_its_key() {
    let weak = encode(&[0xff; 128]);
    for (changes, expected) in [
        (json!({"kid": null}), "keys[0]: has no `kid`"),
        (json!({"kid": ""}), "keys[0] ``: has an empty `kid`"),
        (
            json!({"kid": 7}),
            "keys[0]: expected a string in `kid`, found a number",
        ),
        (
            json!({"kty": null}),
            "keys[0] `a`: expected `kty` `RSA` or `EC`, found none",
        ),
        (
            json!({"kty": "OKP"}),
            "keys[0] `a`: expected `kty` `RSA` or `EC`, found `OKP`",
        ),
        (json!({"n": null}), "keys[0] `a`: has no `n`"),
        (json!({"e": ""}), "keys[0] `a`: has no `e`"),
        (
            json!({"e": 65537}),
            "keys[0] `a`: expected a string in `e`, found a number",
        ),
        (
            json!({"n": "AQAB="}),
            "keys[0] `a`: `n` is not base64url without padding",
        ),
        (
            json!({"n": "a+b/"}),
            "keys[0] `a`: `n` is not base64url without padding",
        ),
        (
            json!({"n": weak}),
            "keys[0] `a`: expected an RSA modulus of 2048 bits or more, found 1024",
        ),
        (
            json!({"e": "AAEAAQ"}),
            "keys[0] `a`: `e` starts with a zero byte",
        ),
        (
            json!({"use": "enc"}),
            "keys[0] `a`: expected `use` `sig` or none, found `enc`",
        ),
        (
            json!({"use": ["sig"]}),
            "keys[0] `a`: expected a string in `use`, found an array",
        ),
        (
            json!({"key_ops": ["verify"]}),
            "keys[0] `a`: has `key_ops`, with which AWS refuses every signature of the key",
        ),
        (
            json!({"alg": "ES256"}),
            "keys[0] `a`: expected `alg` `RS256`, `RS384` or `RS512` on a key RSA 2048, found `ES256`",
        ),
        (
            json!({"alg": 256}),
            "keys[0] `a`: expected a string in `alg`, found a number",
        ),
        (
            json!({"x5t": "AA", "x5t#S256": "AA"}),
            "keys[0] `a`: has `x5t`, `x5t#S256`, which Google refuses in an uploaded set",
        ),
    ] {
        let key = with(clean(rsa_key(), "a", "RS256"), changes.clone());
        assert_eq!(flaws(&[key]), [expected], "{changes}");
    }
    for (changes, expected) in [
        (json!({"crv": null}), "keys[0] `a`: has no `crv`"),
        (
            json!({"crv": "secp256k1"}),
            "keys[0] `a`: expected `crv` `P-256`, `P-384` or `P-521`, found `secp256k1`",
        ),
        (json!({"x": null}), "keys[0] `a`: has no `x`"),
        (
            json!({"y": "AA"}),
            "keys[0] `a`: expected 32 bytes in `y`, found 1",
        ),
        (
            json!({"alg": "ES384"}),
            "keys[0] `a`: expected `alg` `ES256` on a key EC P-256, found `ES384`",
        ),
    ] {
        let key = with(clean(p256_key(), "a", "ES256"), changes.clone());
        assert_eq!(flaws(&[key]), [expected], "{changes}");
    }
}

#[test]
fn private_members_are_named_and_dropped() {
    let secret = "c2VjcmV0LXZhbHVl";
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        let set = jwks(&[with(
            clean(rsa_key(), "a", "RS256"),
            json!({member: secret}),
        )]);
        let found: Vec<String> = set.hygiene().iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [format!("keys[0] `a`: has private members: `{member}`")]
        );
        assert!(set.keys[0].has_private_parts());
        assert!(!format!("{set:?}").contains(secret));
    }
}

#[test]
fn every_later_key_of_the_same_name_is_a_duplicate() {
    let key = |kid: &str| clean(rsa_key(), kid, "RS256");
    assert_eq!(
        flaws(&[key("a"), key("b"), key("a"), key("a")]),
        [
            "keys[2] `a`: has the `kid` of keys[0]",
            "keys[3] `a`: has the `kid` of keys[0]"
        ]
    );
}

#[test]
fn an_empty_set_and_a_crowded_one_are_flaws_of_the_set() {
    assert_eq!(flaws(&[]), ["expected at least one key, found none"]);
    let crowd = |n: usize| -> Vec<Value> {
        (0..n)
            .map(|i| clean(rsa_key(), &i.to_string(), "RS256"))
            .collect()
    };
    assert_eq!(flaws(&crowd(100)), [""; 0]);
    assert_eq!(
        flaws(&crowd(101)),
        ["expected at most 100 keys of type `RSA`, found 101"]
    );
    assert_eq!(
        jwks(&crowd(101)).hygiene()[0].kind,
        JwksFlawKind::TooManyKeys {
            kty: "RSA".to_owned(),
            count: 101
        }
    );
}

#[test]
fn what_is_no_key_set_is_named() {
    for (document, expected) in [
        ("", "expected a JWKS, found nothing"),
        (" \n", "expected a JWKS, found nothing"),
        (
            "<!DOCTYPE html><html><body>Sign in</body></html>",
            "expected a JWKS, found an HTML page",
        ),
        (
            "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
            "expected a JWKS, found an XML document (AccessDenied)",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\n",
            "expected a JWKS, found a PEM file",
        ),
        (
            "\u{feff}{\"keys\":[]}",
            "expected a JWKS, found JSON behind a byte order mark",
        ),
        (
            "{\"keys\":[{\"kty\"",
            "expected a JWKS, found JSON that is cut off (EOF while parsing an object at line 1 column 15)",
        ),
        (
            "not found",
            "expected a JWKS, found text that is not JSON (expected ident at line 1 column 2)",
        ),
        ("[]", "expected a JWKS, found an array"),
        ("null", "expected a JWKS, found null"),
        (
            "{}",
            "expected a JWKS, found an empty object without `keys`",
        ),
        (
            "{\"issuer\":\"https://i\",\"jwks_uri\":\"https://i/k\"}",
            "expected a JWKS, found a discovery document without `keys`",
        ),
        (
            "{\"kty\":\"RSA\"}",
            "expected a JWKS, found a single JSON Web Key without `keys`",
        ),
        (
            "{\"kind\":\"Status\",\"message\":\"forbidden: User \\\"system:anonymous\\\"\"}",
            "expected a JWKS, found a Kubernetes `Status` (forbidden: User \"system:anonymous\") without `keys`",
        ),
        (
            "{\"a\":1,\"b\":2}",
            "expected a JWKS, found an object of `a`, `b` without `keys`",
        ),
        (
            "{\"keys\":{}}",
            "a JWKS has an array in `keys`, found an object",
        ),
        (
            "{\"keys\":[{},1]}",
            "a JWKS has an object in `keys[1]`, found a number",
        ),
    ] {
        assert_eq!(
            Jwks::parse(document.as_bytes()).unwrap_err().to_string(),
            expected
        );
    }
    for (document, expected) in [
        (&b"\x1f\x8b\x08\x00"[..], "expected a JWKS, found gzip data"),
        (
            &b"\xff\xfe{\0"[..],
            "expected a JWKS, found bytes that are not UTF-8",
        ),
    ] {
        assert_eq!(Jwks::parse(document).unwrap_err().to_string(), expected);
    }
}
