//! Whole tokens against a key set and expectations.

use cwii_token::{
    Algorithm, Claims, Expectation, KeyError, KeyRules, Problem, SignatureError, Token,
    check_claims, verify, verify_signature,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::support::{encode, jwks, p384_key, rsa_key, sign, with};

#[test]
fn a_good_token_passes_with_every_algorithm_under_the_rules_that_accept_it() {
    for algorithm in Algorithm::ALL {
        let (text, key) = sign(algorithm, json!({"kid": "a"}), &claims());
        let token = Token::decode(&text).unwrap();
        let set = jwks(&[with(key, json!({"kid": "a"}))]);
        for rules in [
            KeyRules::Aws,
            KeyRules::Google,
            KeyRules::Entra,
            KeyRules::Kubernetes,
        ] {
            let expected = if rules.algorithms().contains(&algorithm) {
                Ok(())
            } else {
                Err(vec![Problem::Key(KeyError::AlgorithmNotAccepted {
                    alg: Some(algorithm.to_string()),
                    accepted: rules.algorithms(),
                })])
            };
            assert_eq!(
                verify(&token, &set, rules, &expectation()),
                expected,
                "{algorithm} {rules:?}"
            );
        }
    }
}

#[test]
fn every_failing_claim_is_reported_at_once_with_its_distance() {
    let wrong = claims_with(json!({
        "iss": "https://issuer.example.com/c/",
        "sub": "system:serviceaccount:Shop:checkout",
        "aud": ["sts.amazonaws.com\u{a0}"],
        "exp": NOW - 192,
        "nbf": NOW + 280,
        "iat": NOW + 3840,
    }));
    let (text, key) = sign(Algorithm::Es256, json!({"kid": "a"}), &wrong);
    let set = jwks(&[with(key, json!({"kid": "b"}))]);
    let problems = verify(
        &Token::decode(&text).unwrap(),
        &set,
        KeyRules::Aws,
        &expectation(),
    )
    .unwrap_err();
    assert_eq!(
        texts(&problems),
        [
            "no key has the `kid` `a`, found `b`",
            "`iss` has a trailing slash too many: expected `https://issuer.example.com/c`, found `https://issuer.example.com/c/`",
            "`sub` differs only in case, first at character 23: found `S`, expected `s`: expected `system:serviceaccount:shop:checkout`, found `system:serviceaccount:Shop:checkout`",
            "`aud` differs only in characters without a visible shape, first at character 18: found a no-break space (U+00A0), expected the end: expected `sts.amazonaws.com`, found `sts.amazonaws.com\\u{a0}`",
            "expired 3 m 12 s ago: `exp` is 2026-01-01T11:56:48Z",
            "valid from 4 m 40 s in the future: `nbf` is 2026-01-01T12:04:40Z",
            "issued 1 h 4 m in the future: `iat` is 2026-01-01T13:04:00Z",
        ]
    );
}

#[test]
fn leeway_is_granted_to_the_second() {
    let leeway = SignedDuration::from_secs(300);
    for (members, accepted) in [
        (json!({"exp": NOW - 299}), true),
        (json!({"exp": NOW - 300}), false),
        (json!({"nbf": NOW + 300}), true),
        (json!({"nbf": NOW + 301}), false),
        (json!({"iat": NOW + 300}), true),
        (json!({"iat": NOW + 301}), false),
    ] {
        let claims = Claims {
            members: claims_with(members.clone()),
        };
        let problems = check_claims(
            &claims,
            &Expectation {
                leeway,
                ..expectation()
            },
        );
        assert_eq!(problems.is_empty(), accepted, "{members}: {problems:?}");
        for text in texts(&problems) {
            assert!(text.contains(", beyond a leeway of 5 m: "), "{text}");
        }
    }
}

#[test]
fn claims_that_are_missing_or_of_another_type_are_named() {
    let check = |members: Value| {
        let claims = Claims {
            members: claims_with(members),
        };
        texts(&check_claims(&claims, &expectation()))
    };
    assert_eq!(
        check(
            json!({"iss": null, "sub": null, "aud": null, "exp": null, "iat": null, "nbf": null})
        ),
        [
            "`iss` is missing",
            "`sub` is missing",
            "`aud` is missing",
            "`exp` is missing",
            "`iat` is missing"
        ]
    );
    assert_eq!(
        check(json!({"iss": 1, "sub": [], "aud": {}, "exp": "1", "iat": 1.5, "nbf": u64::MAX})),
        [
            "expected a string in `iss`, found a number",
            "expected a string in `sub`, found an array",
            "expected a string or an array of strings in `aud`, found an object",
            "expected a whole number of seconds since 1970 in `exp`, found a string",
            "expected a whole number of seconds since 1970 in `nbf`, found a number that no calendar has",
            "expected a whole number of seconds since 1970 in `iat`, found a fraction",
        ]
    );
    assert_eq!(
        check(json!({"aud": ["x", 1]})),
        ["expected a string or an array of strings in `aud`, found a number"]
    );
}

#[test]
fn one_audience_of_several_suffices() {
    let check = |aud: Value| {
        let claims = Claims {
            members: claims_with(json!({"aud": aud})),
        };
        texts(&check_claims(&claims, &expectation()))
    };
    assert_eq!(check(json!("sts.amazonaws.com")), [""; 0]);
    assert_eq!(check(json!(["vault", "sts.amazonaws.com"])), [""; 0]);
    assert_eq!(
        check(json!([])),
        ["`aud` has no such member: expected `sts.amazonaws.com`, found nothing"]
    );
    assert_eq!(
        check(json!(["vault", "kubernetes"])),
        ["`aud` has no such member: expected `sts.amazonaws.com`, found `vault`, `kubernetes`"]
    );
}

#[test]
fn what_is_not_expected_may_be_anything() {
    let anything = Expectation {
        issuer: None,
        audience: None,
        subject: None,
        ..expectation()
    };
    let claims = Claims {
        members: claims_with(json!({"iss": "i", "sub": "s", "aud": "a"})),
    };
    assert_eq!(check_claims(&claims, &anything), []);
}

#[test]
fn a_token_without_signature_algorithm_or_with_critical_extensions_is_never_verified() {
    for (header, expected) in [
        (
            json!({"alg": "none"}),
            SignatureError::UnsupportedAlgorithm {
                alg: Some("none".to_owned()),
            },
        ),
        (
            json!({"alg": "HS256"}),
            SignatureError::UnsupportedAlgorithm {
                alg: Some("HS256".to_owned()),
            },
        ),
        (
            json!({}),
            SignatureError::UnsupportedAlgorithm { alg: None },
        ),
        (
            json!({"alg": "RS256", "crit": ["b64"]}),
            SignatureError::Critical,
        ),
    ] {
        let text = format!("{}.e30.c2ln", encode(header.to_string().as_bytes()));
        let token = Token::decode(&text).unwrap();
        assert_eq!(
            verify_signature(&token, &jwks(&[rsa_key()]).keys[0]),
            Err(expected),
            "{header}"
        );
    }
    // Signed as it should be, and still not to be accepted.
    let (text, key) = sign(
        Algorithm::Rs256,
        json!({"crit": ["b64"], "b64": true}),
        &claims(),
    );
    let token = Token::decode(&text).unwrap();
    assert_eq!(
        verify_signature(&token, &jwks(&[key]).keys[0]),
        Err(SignatureError::Critical)
    );
}

#[test]
fn a_key_that_cannot_have_signed_is_told_from_one_that_did_not() {
    let (text, _) = sign(Algorithm::Es384, json!({}), &claims());
    let token = Token::decode(&text).unwrap();
    let error = |key: Value| {
        verify_signature(&token, &jwks(&[key]).keys[0])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(p384_key()),
        "the signature is not this key's: another key under the same `kid`, or a changed token"
    );
    assert_eq!(
        error(rsa_key()),
        "the token is signed with ES384, the key is RSA 2048"
    );
    assert_eq!(
        error(with(p384_key(), json!({"x": null, "y": "="}))),
        "the key is unusable: has no `x`; `y` is not base64url without padding"
    );
}

#[test]
fn an_rsa_modulus_beyond_what_can_be_verified_is_an_unusable_key() {
    let (text, _) = sign(Algorithm::Rs256, json!({}), &claims());
    let token = Token::decode(&text).unwrap();
    for (bytes, bits) in [(128, 1024), (1025, 8200)] {
        let key = with(rsa_key(), json!({"n": encode(&vec![0xff; bytes])}));
        assert_eq!(
            verify_signature(&token, &jwks(&[key]).keys[0])
                .unwrap_err()
                .to_string(),
            format!(
                "the key is unusable: expected an RSA modulus of 2048 to 8192 bits, found {bits}"
            )
        );
    }
}

#[test]
fn a_zero_byte_before_the_modulus_does_not_matter_to_the_signature() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let (text, key) = sign(Algorithm::Rs256, json!({}), &claims());
    let n = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
    let key = with(key, json!({"n": encode(&[vec![0], n].concat())}));
    assert_eq!(
        verify_signature(&Token::decode(&text).unwrap(), &jwks(&[key]).keys[0]),
        Ok(())
    );
}

/// 2026-01-01T12:00:00Z.
const NOW: i64 = 1_767_268_800;

pub(crate) fn claims() -> Map<String, Value> {
    let claims = json!({
        "iss": "https://issuer.example.com/c",
        "sub": "system:serviceaccount:shop:checkout",
        "aud": ["sts.amazonaws.com"],
        "exp": NOW + 3000,
        "nbf": NOW - 600,
        "iat": NOW - 600,
    });
    claims.as_object().unwrap().clone()
}

fn claims_with(members: Value) -> Map<String, Value> {
    with(Value::Object(claims()), members)
        .as_object()
        .unwrap()
        .clone()
}

pub(crate) fn expectation() -> Expectation<'static> {
    Expectation {
        issuer: Some("https://issuer.example.com/c"),
        audience: Some("sts.amazonaws.com"),
        subject: Some("system:serviceaccount:shop:checkout"),
        now: Timestamp::from_second(NOW).unwrap(),
        leeway: SignedDuration::ZERO,
    }
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
