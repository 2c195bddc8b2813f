//! What must hold for every input.

use cwii_token::{
    Algorithm, Discovery, Jwks, KeyRules, MAX_TOKEN_BYTES, Token, check_claims, select_key, text,
    verify_signature,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    support::{encode, jwks, sign, with},
    verify::{claims, expectation},
};

proptest! {
    #[test]
    fn decoding_takes_any_text(text in any::<String>()) {
        let _ = Token::decode(&text);
        let _ = Token::decode_trimmed(&text);
    }

    #[test]
    fn decoding_takes_any_parts(
        header in proptest::collection::vec(any::<u8>(), 0..64),
        payload in json_value(),
        signature in proptest::collection::vec(any::<u8>(), 0..64),
        around in "[ \t\r\n\"']{0,3}",
    ) {
        let text = [
            encode(&header),
            encode(payload.to_string().as_bytes()),
            encode(&signature),
        ].join(".");
        let _ = Token::decode(&text);
        let _ = Token::decode(&format!("{around}{text}{around}"));
    }

    #[test]
    fn a_decoded_token_is_the_text_that_came(members in json_object()) {
        let text = ["{}".to_owned(), Value::Object(members.clone()).to_string(), "s".to_owned()]
            .map(|part| encode(part.as_bytes()))
            .join(".");
        let token = Token::decode(&text).unwrap();
        prop_assert_eq!(token.expose(), &text);
        prop_assert_eq!(&token.claims.members, &members);
        let shown = format!("{token:?}");
        prop_assert!(!shown.contains(&text), "{}", shown);
    }

    #[test]
    fn claims_of_any_shape_are_read(members in json_object()) {
        let mut token = Token::decode("e30.e30.c2ln").unwrap();
        for name in ["iss", "sub", "aud", "exp", "iat", "nbf", "kubernetes.io"] {
            if let Some(value) = members.values().next() {
                token.claims.members.insert(name.to_owned(), value.clone());
            }
        }
        let _ = (token.claims.kubernetes(), token.claims.lifetime(), token.claims.audiences());
        for problem in check_claims(&token.claims, &expectation()) {
            prop_assert!(!problem.to_string().contains('\n'));
        }
    }

    #[test]
    fn key_sets_and_discovery_documents_of_any_shape_are_read(
        bytes in proptest::collection::vec(any::<u8>(), 0..256),
        members in json_object(),
        name in "kty|kid|use|alg|n|e|crv|x|y|x5c|key_ops",
    ) {
        let _ = Jwks::parse(&bytes);
        let _ = Discovery::parse(&bytes);
        for key in [sign(Algorithm::Rs256, json!({}), &Map::new()).1, json!({"kty": "EC", "kid": "a"})] {
            for value in members.values() {
                let set = jwks(&[with(key.clone(), json!({"kid": "a"})), with(key.clone(), json!({&name: value}))]);
                let token = Token::decode("eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.c2ln").unwrap();
                for flaw in set.hygiene() {
                    prop_assert!(!flaw.to_string().is_empty());
                }
                for rules in [KeyRules::Aws, KeyRules::Google, KeyRules::Entra, KeyRules::Kubernetes] {
                    let _ = select_key(&token.header, &set, rules);
                }
                prop_assert!(set.keys.iter().all(|key| verify_signature(&token, key).is_err()));
            }
        }
    }

    #[test]
    fn certificates_of_any_shape_are_read(
        cut in 0_usize..900,
        at in 0_usize..900,
        byte in any::<u8>(),
    ) {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let key = crate::rfc::certified_key();
        let mut der = STANDARD.decode(key["x5c"][0].as_str().unwrap()).unwrap();
        let at = at % der.len();
        der[at] = byte;
        der.truncate(cut);
        let _ = jwks(&[with(key, json!({"x5c": [STANDARD.encode(&der)]}))]).hygiene();
    }

    #[test]
    fn the_first_difference_is_where_the_texts_part(a in ".{0,12}", b in ".{0,12}") {
        match text::first_difference(&a, &b) {
            None => prop_assert_eq!(a, b),
            Some(difference) => {
                prop_assert_eq!(&a[..difference.offset], &b[..difference.offset]);
                prop_assert_eq!(a[difference.offset..].chars().next(), difference.found);
                prop_assert_eq!(b[difference.offset..].chars().next(), difference.expected);
                prop_assert_ne!(difference.found, difference.expected);
                prop_assert_eq!(a[..difference.offset].chars().count() + 1, difference.column);
            }
        }
    }
}

proptest! {
    // Each case signs and verifies, which takes milliseconds without optimisation.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_signed_token_verifies_and_no_flipped_bit_does(
        algorithm in proptest::sample::select(&Algorithm::ALL[..]),
        places in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 8),
    ) {
        let (text, key) = sign(algorithm, json!({"kid": "a"}), &claims());
        let set = jwks(&[key]);
        let token = Token::decode(&text).unwrap();
        prop_assert_eq!(verify_signature(&token, &set.keys[0]), Ok(()));
        for (index, bit) in places {
            let flipped = flip(&text, index.index(text.len()), bit);
            prop_assert!(!verifies(&flipped, &set), "{algorithm}: byte {}", index.index(text.len()));
        }
    }
}

#[test]
fn no_single_bit_of_a_token_can_be_flipped() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let (text, key) = sign(algorithm, json!({"kid": "a"}), &claims());
        let set = jwks(&[key]);
        assert!(verifies(text.as_bytes(), &set));
        for index in 0..text.len() {
            for bit in 0..8 {
                assert!(
                    !verifies(&flip(&text, index, bit), &set),
                    "{algorithm}: bit {bit} of byte {index}"
                );
            }
        }
    }
}

#[test]
fn json_of_any_depth_is_refused_not_followed() {
    for depth in [200, MAX_TOKEN_BYTES / 2 - 100] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let payload = encode(format!("{{\"a\":{deep}}}").as_bytes());
        let error = Token::decode(&format!("e30.{payload}.c2ln")).unwrap_err();
        assert!(!error.to_string().is_empty());
        let document = format!("{{\"keys\":{deep}}}");
        assert!(Jwks::parse(document.as_bytes()).is_err());
        assert!(Discovery::parse(document.as_bytes()).is_err());
    }
}

fn flip(text: &str, index: usize, bit: u8) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes[index] ^= 1 << bit;
    bytes
}

fn verifies(text: &[u8], set: &Jwks) -> bool {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| Token::decode(text).ok())
        .is_some_and(|token| verify_signature(&token, &set.keys[0]).is_ok())
}

fn json_object() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::vec((any::<String>(), json_value()), 0..4)
        .prop_map(|members| members.into_iter().collect())
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[A-Za-z0-9_-]{0,90}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
