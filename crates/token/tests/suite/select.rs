//! Which key each cloud takes: the recorded behaviour of AWS, and what the others document.

use cwii_token::{Algorithm, JwksFlawKind, KeyError, KeyRules, select_key};
use serde_json::{Value, json};

use crate::{
    rfc::certified_key,
    support::{header, jwks, p256_key, p384_key, p521_key, rsa_key, with},
};

/// The position of the key that is taken.
fn select(rules: KeyRules, members: Value, keys: &[Value]) -> Result<usize, KeyError> {
    let set = jwks(keys);
    let key = select_key(&header(members), &set, rules)?;
    let position = set
        .keys
        .iter()
        .position(|candidate| std::ptr::eq(candidate, key));
    Ok(position.expect("the key is one of the set"))
}

fn rs256(kid: &str) -> Value {
    json!({"alg": "RS256", "kid": kid})
}

fn named(key: Value, kid: &str) -> Value {
    with(key, json!({"kid": kid}))
}

const ALL_RULES: [KeyRules; 4] = [
    KeyRules::Aws,
    KeyRules::Google,
    KeyRules::Entra,
    KeyRules::Kubernetes,
];

#[test]
fn everyone_finds_a_key_by_its_kid() {
    let keys = [
        named(p256_key(), "a"),
        named(rsa_key(), "b"),
        named(rsa_key(), "c"),
    ];
    for rules in ALL_RULES {
        assert_eq!(select(rules, rs256("b"), &keys), Ok(1), "{rules:?}");
        assert_eq!(
            select(rules, rs256("B"), &keys),
            Err(KeyError::Unknown {
                kid: "B".to_owned(),
                available: ["a", "b", "c"].map(str::to_owned).to_vec(),
            }),
            "{rules:?}"
        );
    }
}

#[test]
fn each_cloud_has_its_own_algorithms() {
    let keys = [
        named(rsa_key(), "rsa"),
        named(p256_key(), "p256"),
        named(p384_key(), "p384"),
        named(p521_key(), "p521"),
    ];
    for (alg, kid, accepting) in [
        ("RS256", "rsa", &ALL_RULES[..]),
        ("RS384", "rsa", &[KeyRules::Aws, KeyRules::Kubernetes]),
        ("RS512", "rsa", &[KeyRules::Aws, KeyRules::Kubernetes]),
        (
            "ES256",
            "p256",
            &[KeyRules::Aws, KeyRules::Google, KeyRules::Kubernetes],
        ),
        ("ES384", "p384", &[KeyRules::Aws, KeyRules::Kubernetes]),
        ("ES512", "p521", &[KeyRules::Aws, KeyRules::Kubernetes]),
        ("PS256", "rsa", &[]),
        ("EdDSA", "rsa", &[]),
        ("HS256", "rsa", &[]),
        ("none", "rsa", &[]),
        ("rs256", "rsa", &[]),
        ("ML-DSA-65", "rsa", &[]),
    ] {
        for rules in ALL_RULES {
            let found = select(rules, json!({"alg": alg, "kid": kid}), &keys);
            let not_accepted = matches!(found, Err(KeyError::AlgorithmNotAccepted { .. }));
            assert_eq!(
                found.is_ok(),
                accepting.contains(&rules),
                "{alg} {rules:?}: {found:?}"
            );
            assert_eq!(
                not_accepted,
                !accepting.contains(&rules),
                "{alg} {rules:?}: {found:?}"
            );
        }
    }
    assert_eq!(
        select(KeyRules::Entra, json!({"alg": "ES256"}), &keys)
            .unwrap_err()
            .to_string(),
        "expected `alg` `RS256`, found `ES256`"
    );
    assert_eq!(
        select(KeyRules::Google, json!({"alg": 1}), &keys)
            .unwrap_err()
            .to_string(),
        "expected `alg` `RS256` or `ES256`, found none"
    );
}

#[test]
fn a_key_that_does_not_go_with_the_algorithm_is_found_and_refused() {
    let keys = [named(p384_key(), "a")];
    for (rules, alg) in [
        (KeyRules::Aws, Algorithm::Rs256),
        (KeyRules::Aws, Algorithm::Es512),
        (KeyRules::Google, Algorithm::Es256),
        (KeyRules::Entra, Algorithm::Rs256),
        (KeyRules::Kubernetes, Algorithm::Es256),
    ] {
        assert_eq!(
            select(rules, json!({"alg": alg.as_str(), "kid": "a"}), &keys),
            Err(KeyError::AlgorithmMismatch {
                kid: "a".to_owned(),
                alg,
                key: "EC P-384".to_owned(),
            })
        );
    }
}

#[test]
fn aws_takes_a_token_without_kid_only_where_one_key_is_usable() {
    let anonymous = json!({"alg": "RS256"});
    let select = |keys: &[Value]| select(KeyRules::Aws, anonymous.clone(), keys);
    assert_eq!(select(&[named(rsa_key(), "a")]), Ok(0));
    let enc = with(rsa_key(), json!({"kid": "enc", "use": "enc"}));
    assert_eq!(
        select(&[enc.clone(), rsa_key(), named(rsa_key(), "a")]),
        Ok(2)
    );
    assert_eq!(
        select(&[named(rsa_key(), "a"), named(rsa_key(), "b")]),
        Err(KeyError::NoKid { usable: 2, keys: 2 })
    );
    assert_eq!(
        select(&[rsa_key()]),
        Err(KeyError::NoKid { usable: 0, keys: 1 })
    );
    assert_eq!(select(&[enc]), Err(KeyError::NoKid { usable: 0, keys: 1 }));
    assert_eq!(select(&[]), Err(KeyError::NoKid { usable: 0, keys: 0 }));
}

#[test]
fn an_empty_kid_is_none() {
    let keys = [
        named(rsa_key(), ""),
        named(rsa_key(), "a"),
        named(rsa_key(), "b"),
    ];
    assert_eq!(
        select(KeyRules::Aws, rs256(""), &keys),
        Err(KeyError::NoKid { usable: 2, keys: 3 })
    );
    assert_eq!(select(KeyRules::Aws, rs256(""), &keys[..2]), Ok(1));
}

#[test]
fn everyone_but_aws_insists_on_a_kid() {
    for rules in [KeyRules::Google, KeyRules::Entra, KeyRules::Kubernetes] {
        for members in [
            json!({"alg": "RS256"}),
            rs256(""),
            json!({"alg": "RS256", "kid": 1}),
        ] {
            assert_eq!(
                select(rules, members, &[named(rsa_key(), "a")]),
                Err(KeyError::NoKid { usable: 1, keys: 1 })
            );
        }
    }
}

#[test]
fn aws_takes_the_last_of_duplicates_that_it_can_use_and_others_the_first() {
    let other = with(certified_key(), json!({"kid": "a", "x5c": null}));
    let keys = [named(rsa_key(), "a"), other, named(p256_key(), "b")];
    assert_eq!(select(KeyRules::Aws, rs256("a"), &keys), Ok(1));
    assert_eq!(select(KeyRules::Google, rs256("a"), &keys), Ok(0));
    let shadowed = [
        named(rsa_key(), "a"),
        with(rsa_key(), json!({"kid": "a", "use": "enc"})),
    ];
    assert_eq!(select(KeyRules::Aws, rs256("a"), &shadowed), Ok(0));
}

#[test]
fn aws_ignores_the_alg_of_a_key() {
    let key = with(rsa_key(), json!({"kid": "a", "alg": "RS512"}));
    assert_eq!(select(KeyRules::Aws, rs256("a"), &[key]), Ok(0));
}

#[test]
fn aws_wants_use_to_be_absent_or_sig() {
    let key = |usage: Value| with(rsa_key(), json!({"kid": "a", "use": usage}));
    assert_eq!(
        select(KeyRules::Aws, rs256("a"), &[key(json!("sig"))]),
        Ok(0)
    );
    for (usage, found) in [(json!("enc"), Some("enc")), (json!(1), None)] {
        assert_eq!(
            select(KeyRules::Aws, rs256("a"), &[key(usage)]),
            Err(KeyError::NotForSignatures {
                kid: "a".to_owned(),
                found: found.map(str::to_owned),
            })
        );
    }
}

#[test]
fn aws_finds_a_key_with_key_ops_and_refuses_it() {
    for operations in [json!(["verify"]), json!([]), json!("verify")] {
        let key = with(rsa_key(), json!({"kid": "a", "key_ops": operations}));
        let refused = Err(KeyError::KeyOps {
            kid: "a".to_owned(),
        });
        assert_eq!(
            select(KeyRules::Aws, rs256("a"), std::slice::from_ref(&key)),
            refused
        );
        assert_eq!(
            select(
                KeyRules::Aws,
                json!({"alg": "RS256"}),
                std::slice::from_ref(&key)
            ),
            refused
        );
        assert_eq!(select(KeyRules::Kubernetes, rs256("a"), &[key]), Ok(0));
    }
}

#[test]
fn aws_never_sees_a_key_without_kid() {
    for kid in [json!(null), json!(""), json!(7)] {
        let key = with(rsa_key(), json!({"kid": kid}));
        assert_eq!(
            select(KeyRules::Aws, rs256("7"), &[key]),
            Err(KeyError::Unknown {
                kid: "7".to_owned(),
                available: Vec::new()
            })
        );
    }
}

#[test]
fn aws_wants_the_certificate_to_be_of_the_key() {
    let kid = || "1b94c".to_owned();
    let taken = |changes: Value| {
        select(
            KeyRules::Aws,
            rs256("1b94c"),
            &[with(certified_key(), changes)],
        )
    };
    assert_eq!(taken(json!({})), Ok(0));
    for changes in [
        json!({"n": rsa_key()["n"]}),
        json!({"e": "Aw"}),
        json!({"x5c": ["AAAA"]}),
        json!({"x5c": ["not base64"]}),
        json!({"x5c": []}),
        json!({"x5c": "text"}),
    ] {
        assert_eq!(
            taken(changes),
            Err(KeyError::CertificateConflict { kid: kid() })
        );
    }
    assert_eq!(
        taken(json!({"n": null, "e": null})),
        Err(KeyError::CertificateOnly { kid: kid() })
    );
}

#[test]
fn certificates_on_every_curve_are_compared() {
    for (crv, x, y, certificate) in EC_CERTIFICATES {
        let alg = match crv {
            "P-256" => "ES256",
            "P-384" => "ES384",
            _ => "ES512",
        };
        let key =
            json!({"kty": "EC", "kid": "a", "crv": crv, "x": x, "y": y, "x5c": [certificate]});
        let taken = |key| select(KeyRules::Aws, json!({"alg": alg, "kid": "a"}), &[key]);
        assert_eq!(taken(key.clone()), Ok(0), "{crv}");
        let conflict = Err(KeyError::CertificateConflict {
            kid: "a".to_owned(),
        });
        assert_eq!(taken(with(key, json!({"y": x}))), conflict, "{crv}");
    }
}

#[test]
fn more_than_100_rsa_keys_hide_each_other_from_aws_but_not_the_ec_key() {
    let set = |rsa: usize| -> Vec<Value> {
        let names = (0..rsa).map(|i| named(rsa_key(), &format!("rsa-{i}")));
        names.chain([named(p256_key(), "ec")]).collect()
    };
    let ec = json!({"alg": "ES256", "kid": "ec"});
    assert_eq!(select(KeyRules::Aws, rs256("rsa-7"), &set(100)), Ok(7));
    assert_eq!(
        select(KeyRules::Aws, rs256("rsa-7"), &set(101)),
        Err(KeyError::TooManyKeys {
            kid: "rsa-7".to_owned(),
            kty: "RSA".to_owned(),
            count: 101,
            limit: 100,
        })
    );
    assert_eq!(select(KeyRules::Aws, ec.clone(), &set(101)), Ok(101));
    assert_eq!(
        select(KeyRules::Aws, json!({"alg": "ES256"}), &set(101)),
        Ok(101)
    );
    assert_eq!(
        select(KeyRules::Google, rs256("rsa-100"), &set(101)),
        Ok(100)
    );
}

#[test]
fn entra_uses_the_first_100_keys_of_any_type() {
    let keys: Vec<Value> = (0..101)
        .map(|i| {
            named(
                if i % 2 == 0 { rsa_key() } else { p256_key() },
                &i.to_string(),
            )
        })
        .collect();
    assert_eq!(select(KeyRules::Entra, rs256("98"), &keys), Ok(98));
    assert_eq!(
        select(KeyRules::Entra, rs256("100"), &keys),
        Err(KeyError::BeyondLimit {
            kid: "100".to_owned(),
            position: 101,
            limit: 100,
        })
    );
}

#[test]
fn a_key_that_cannot_be_read_does_not_hide_the_others() {
    let keys = [
        json!({"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": "AA"}),
        json!({}),
        with(rsa_key(), json!({"kid": "cut", "n": "!"})),
        named(rsa_key(), "a"),
    ];
    for rules in ALL_RULES {
        assert_eq!(select(rules, rs256("a"), &keys), Ok(3));
        assert_eq!(
            select(rules, rs256("cut"), &keys),
            Err(KeyError::Unusable {
                kid: "cut".to_owned(),
                reasons: vec![JwksFlawKind::NotBase64Url { member: "n" }],
            })
        );
        assert_eq!(
            select(rules, rs256("ed"), &keys).unwrap_err().to_string(),
            "the key `ed` is unusable: expected `kty` `RSA` or `EC`, found `OKP`"
        );
    }
    assert_eq!(select(KeyRules::Aws, json!({"alg": "RS256"}), &keys), Ok(3));
}

/// Self-signed certificates made by OpenSSL, coordinates read out by Python's cryptography.
const EC_CERTIFICATES: [(&str, &str, &str, &str); 3] = [
    (
        "P-256",
        "OiVeCR3Vaf0JbylWctpikDG8Um45E3FYn3ox8OjmbTQ",
        "n1iaQPafSoTar76qJixwxPK4_YckNV-P6Z3ElSWLj5E",
        "MIIBdzCCAR2gAwIBAgIUFcb7Lh0G3Eui/3JmPNy60IREAQowCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGaXNzdWVyMB4XDTI2MTEyMTIzMTA0NFoXDTI2MTEyMjIzMTA0NFowETEPMA0GA1UEAwwGaXNzdWVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOiVeCR3Vaf0JbylWctpikDG8Um45E3FYn3ox8OjmbTSfWJpA9p9KhNqvvqomLHDE8rj9hyQ1X4/pncSVJYuPkaNTMFEwHQYDVR0OBBYEFKUPK1ltWz1B4N4BRazT1gs/DgzeMB8GA1UdIwQYMBaAFKUPK1ltWz1B4N4BRazT1gs/DgzeMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhALb0oxncJfF7AtYwch/1pWJMlr8WIBlvdoJyQn1PrTtDAiA/sd+2GZfTwdKAXVCHGi6CReq8wfwpGogH7nguiAT4Sg==",
    ),
    (
        "P-384",
        "R77LlBTxX4MV72E5ho9hb6K-dSfSeGVsw9hp75vlIPYFtrT-KXNw5A9_7ny1hc4i",
        "k7HtQCXjRTHQOeC9LkXEE6s2krLk_SX7UCnEul-AOIR76yVNuv3zBT6JFcAiPt1S",
        "MIIBtDCCATqgAwIBAgIUaQPhq8Ys6LVstw0cWeKp1+dXOj8wCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGaXNzdWVyMB4XDTI2MTEyMTIzMTA0NFoXDTI2MTEyMjIzMTA0NFowETEPMA0GA1UEAwwGaXNzdWVyMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAER77LlBTxX4MV72E5ho9hb6K+dSfSeGVsw9hp75vlIPYFtrT+KXNw5A9/7ny1hc4ik7HtQCXjRTHQOeC9LkXEE6s2krLk/SX7UCnEul+AOIR76yVNuv3zBT6JFcAiPt1So1MwUTAdBgNVHQ4EFgQUTS17MRF1EVx9KO1r83KiVbt13AEwHwYDVR0jBBgwFoAUTS17MRF1EVx9KO1r83KiVbt13AEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNoADBlAjB+YS60gwJgu58S4zuw2kYPvsF8cshZPwXmul6hy8NqK+bzqxdzbq21+0LWa8BxJBECMQDDTxn6Dfw/XXXTSwjWW77wlJGQTeYsWBjbQKIXWJZ+0G0eLQCOxGDrWOEue6TSApo=",
    ),
    (
        "P-521",
        "AE_9s3pUgCy4zvyb6uY2hdjH_8Tfgpk0JDssNqNcx1zmUscNlNR0Za0OGh6_ZGtoq5rl-53ncKfYtOAWIiPTthl-",
        "AYB19EeZnsCKD-jlnztMluxoag4Pj-uotOJgFTZzdu8XjoG5qC0BPRPXnx6BV3k33XKGYKRcq3Mezlqoiu5VZ_Nc",
        "MIIB/zCCAWCgAwIBAgIUdCgntBnGPnHUp+snl+vI5MWaJgswCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGaXNzdWVyMB4XDTI2MTEyMTIzMTA0NFoXDTI2MTEyMjIzMTA0NFowETEPMA0GA1UEAwwGaXNzdWVyMIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAT/2zelSALLjO/Jvq5jaF2Mf/xN+CmTQkOyw2o1zHXOZSxw2U1HRlrQ4aHr9ka2irmuX7nedwp9i04BYiI9O2GX4BgHX0R5mewIoP6OWfO0yW7GhqDg+P66i04mAVNnN27xeOgbmoLQE9E9efHoFXeTfdcoZgpFyrcx7OWqiK7lVn81yjUzBRMB0GA1UdDgQWBBSRlvA89UgHRZfemxUCZlDzUOihkTAfBgNVHSMEGDAWgBSRlvA89UgHRZfemxUCZlDzUOihkTAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA4GMADCBiAJCAbdhlyegKPtkryIzyyM88p8NHz39XHejxMgRgZGw9kJRJ4DrIkpBdDdcAwkhLry518ZNN5Yca89TzICk12hA9I6lAkIBfg/j6hhNgN1faNjM2xpMkiFfAbfViElp4yufHyMEN+kphWg0C+ItUe3JwEjmQ5WJo1Q1kCh0Yusi32QIBVEo+Ws=",
    ),
];
