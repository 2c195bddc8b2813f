//! Does a token hold: which key of the set a reader takes, whether the signature is that key's, and whether the claims
//! say what is expected, at this time.
//!
//! Choosing the key is where clouds differ most and say least: a key that AWS does not see at all and a key that it sees
//! and refuses give different errors, and [`KeyError`] keeps them apart.

use std::collections::BTreeMap;

use cwii_contract::types::shorten;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    Claims, Header, Jwk, Jwks, Token,
    claims::timestamp,
    crypto::{self, Algorithm, SignatureError},
    document,
    jwks::{Certificate, JwksFlawKind},
    span::humanize,
    text::{self, Difference},
    words,
};

/// Whose way of choosing the key applies.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyRules {
    /// AWS STS, as observed: the key must have a `kid`, no `use` but `sig`, no certificate for another key. The last of
    /// duplicates wins. A token without `kid` passes if exactly one key is usable. `alg` of the key is ignored. With more
    /// than 100 keys of one type none of that type is seen. `key_ops` is seen and refused.
    Aws,
    /// Google STS: `kid` required, RS256 and ES256 only. The first of duplicates is taken, which is an assumption.
    Google,
    /// Entra: `kid` required, RS256 only, from the first 100 keys.
    Entra,
    /// kube-apiserver's own tokens against its own keys: by `kid`, every algorithm that this crate verifies.
    Kubernetes,
}

impl KeyRules {
    /// The algorithms that are accepted.
    #[must_use]
    pub const fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Aws | Self::Kubernetes => &Algorithm::ALL,
            Self::Google => &[Algorithm::Rs256, Algorithm::Es256],
            Self::Entra => &[Algorithm::Rs256],
        }
    }
}

/// Why a reader finds no key for a token. For AWS all variants but the first and those marked so give the answer of row
/// A5, "Couldn't retrieve verification key".
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The header's `alg` is not accepted; no key is looked for. AWS: the token is no valid JWT (row A7).
    #[error("expected `alg` {}, found {}", words::one_of(*accepted), words::quoted_or(alg.as_deref(), "none"))]
    AlgorithmNotAccepted {
        /// The header's `alg`, if it is a string.
        alg: Option<String>,
        /// What is accepted.
        accepted: &'static [Algorithm],
    },
    /// The header has no `kid`, or an empty one, and the keys leave the choice open.
    #[error("the token has no `kid`, and {usable} of {keys} keys could be meant")]
    NoKid {
        /// Keys that the reader could use.
        usable: usize,
        /// Keys in the set.
        keys: usize,
    },
    /// No key has the token's `kid`.
    #[error(
        "no key has the `kid` `{}`, found {}",
        shorten(kid),
        words::list(available)
    )]
    Unknown {
        /// The token's `kid`.
        kid: String,
        /// The `kid`s of the set, in its order.
        available: Vec<String>,
    },
    /// The key is past those that the reader looks at.
    #[error(
        "the key `{}` is number {position} of the set, only the first {limit} are used",
        shorten(kid)
    )]
    BeyondLimit {
        /// The token's `kid`.
        kid: String,
        /// Position in the set, from 1.
        position: usize,
        /// How many keys are used.
        limit: usize,
    },
    /// The set has so many keys of the type that the reader uses none of them.
    #[error(
        "the key `{}` is one of {count} of type `{}`, with more than {limit} none is used",
        shorten(kid),
        shorten(kty)
    )]
    TooManyKeys {
        /// The token's `kid`.
        kid: String,
        /// The key's type.
        kty: String,
        /// Keys of that type.
        count: usize,
        /// The most that would work.
        limit: usize,
    },
    /// The key is for something else than signatures.
    #[error("the key `{}` has `use` {}, expected `sig` or none", shorten(kid), words::quoted_or(found.as_deref(), "that is not a string"))]
    NotForSignatures {
        /// The token's `kid`.
        kid: String,
        /// The key's `use`, if it is a string.
        found: Option<String>,
    },
    /// The key has a certificate and no parameters.
    #[error(
        "the key `{}` has a certificate (`x5c`) in place of its parameters",
        shorten(kid)
    )]
    CertificateOnly {
        /// The token's `kid`.
        kid: String,
    },
    /// The key's certificate is not of the key.
    #[error(
        "the first certificate in `x5c` of the key `{}` is not of this key",
        shorten(kid)
    )]
    CertificateConflict {
        /// The token's `kid`.
        kid: String,
    },
    /// The key cannot be read.
    #[error("the key `{}` is unusable: {}", shorten(kid), words::reasons(reasons))]
    Unusable {
        /// The token's `kid`.
        kid: String,
        /// What is wrong with it, at least one thing.
        reasons: Vec<JwksFlawKind>,
    },
    /// The key has `key_ops`. AWS finds it and then refuses each of its signatures (row A3).
    #[error(
        "the key `{}` has `key_ops`, with which AWS refuses every signature",
        shorten(kid)
    )]
    KeyOps {
        /// The key's `kid`.
        kid: String,
    },
    /// The key is found, but does not go with the token's algorithm. AWS: row A3.
    #[error("the token is signed with {alg}, the key `{}` is {key}", shorten(kid))]
    AlgorithmMismatch {
        /// The key's `kid`.
        kid: String,
        /// The token's algorithm.
        alg: Algorithm,
        /// The key: `EC P-384`.
        key: String,
    },
}

/// What a token should say. Fields that are `None` are only required to be there.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// `iss`, byte for byte.
    pub issuer: Option<&'a str>,
    /// A member of `aud`, byte for byte.
    pub audience: Option<&'a str>,
    /// `sub`, byte for byte.
    pub subject: Option<&'a str>,
    /// The time of the judgement.
    pub now: Timestamp,
    /// How far clocks may be apart: added to `exp`, taken from `nbf` and `iat`.
    pub leeway: SignedDuration,
}

/// Something that keeps a token from being accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no key for it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A claim that every cloud wants is absent.
    #[error("`{claim}` is missing")]
    Missing {
        /// The claim.
        claim: &'static str,
    },
    /// A claim is of another type.
    #[error("expected {expected} in `{claim}`, found {found}")]
    WrongType {
        /// The claim.
        claim: &'static str,
        /// The type expected.
        expected: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// Another issuer.
    #[error("`iss` {}: expected `{}`, found `{}`", difference.describe(), shorten(expected), shorten(found))]
    Issuer {
        /// The token's.
        found: String,
        /// The expected one.
        expected: String,
        /// Where they differ.
        difference: Difference,
    },
    /// Other audiences.
    #[error("`aud` {}: expected `{}`, found {}", difference.as_ref().map_or_else(|| "has no such member".to_owned(), Difference::describe), shorten(expected), words::list(found))]
    Audience {
        /// The token's; empty for an empty array.
        found: Vec<String>,
        /// The expected one.
        expected: String,
        /// Where they differ, if the token has exactly one.
        difference: Option<Difference>,
    },
    /// Another subject.
    #[error("`sub` {}: expected `{}`, found `{}`", difference.describe(), shorten(expected), shorten(found))]
    Subject {
        /// The token's.
        found: String,
        /// The expected one.
        expected: String,
        /// Where they differ.
        difference: Difference,
    },
    /// `exp` has passed.
    #[error("expired {} ago{}: `exp` is {exp}", humanize(*ago), beyond(*leeway))]
    Expired {
        /// The claim.
        exp: Timestamp,
        /// Since then.
        ago: SignedDuration,
        /// The leeway that did not suffice.
        leeway: SignedDuration,
    },
    /// `nbf` is to come.
    #[error("valid from {} in the future{}: `nbf` is {nbf}", humanize(*ahead), beyond(*leeway))]
    NotYetValid {
        /// The claim.
        nbf: Timestamp,
        /// Until then.
        ahead: SignedDuration,
        /// The leeway that did not suffice.
        leeway: SignedDuration,
    },
    /// `iat` is to come.
    #[error("issued {} in the future{}: `iat` is {iat}", humanize(*ahead), beyond(*leeway))]
    IssuedInFuture {
        /// The claim.
        iat: Timestamp,
        /// Until then.
        ahead: SignedDuration,
        /// The leeway that did not suffice.
        leeway: SignedDuration,
    },
}

/// Checks everything and reports everything that fails: key or signature first, then the claims.
///
/// # Errors
///
/// Each problem, at least one.
pub fn verify(
    token: &Token,
    jwks: &Jwks,
    rules: KeyRules,
    expectation: &Expectation<'_>,
) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    match select_key(&token.header, jwks, rules) {
        Err(error) => problems.push(error.into()),
        Ok(key) => problems.extend(verify_signature(token, key).err().map(Problem::from)),
    }
    problems.extend(check_claims(&token.claims, expectation));
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// The key that the reader takes for a token with this header.
///
/// # Errors
///
/// Why it takes none.
pub fn select_key<'a>(
    header: &Header,
    jwks: &'a Jwks,
    rules: KeyRules,
) -> Result<&'a Jwk, KeyError> {
    let alg = header
        .alg
        .as_deref()
        .and_then(Algorithm::from_name)
        .filter(|algorithm| rules.algorithms().contains(algorithm))
        .ok_or_else(|| KeyError::AlgorithmNotAccepted {
            alg: header.alg.clone(),
            accepted: rules.algorithms(),
        })?;
    let kid = header.kid.as_deref().filter(|kid| !kid.is_empty());
    let key = match rules {
        KeyRules::Aws => select_as_aws(kid, jwks)?,
        KeyRules::Google | KeyRules::Kubernetes => select_first(kid, jwks, usize::MAX)?,
        KeyRules::Entra => select_first(kid, jwks, 100)?,
    };
    let kid = key.kid().unwrap_or_default().to_owned();
    if rules == KeyRules::Aws && key.key_ops.is_some() {
        return Err(KeyError::KeyOps { kid });
    }
    match key.public_key() {
        Ok(public) if public.fits(alg) => Ok(key),
        Ok(public) => Err(KeyError::AlgorithmMismatch {
            kid,
            alg,
            key: public.to_string(),
        }),
        Err(reasons) => Err(unusable(kid, key, reasons)),
    }
}

/// Checks that the token's signature is this key's. `use`, `key_ops` and `alg` of the key do not matter here.
///
/// # Errors
///
/// Why it is not, or why it cannot be told.
pub fn verify_signature(token: &Token, key: &Jwk) -> Result<(), SignatureError> {
    let alg = token.header.alg.as_deref();
    let algorithm =
        alg.and_then(Algorithm::from_name)
            .ok_or_else(|| SignatureError::UnsupportedAlgorithm {
                alg: alg.map(str::to_owned),
            })?;
    if token.header.crit.is_some() {
        return Err(SignatureError::Critical);
    }
    let public = key
        .public_key()
        .map_err(|reasons| SignatureError::UnusableKey {
            detail: words::reasons(&reasons),
        })?;
    let (signing_input, signature) = token.signed();
    crypto::verify(algorithm, &public, signing_input, signature)
}

/// Checks the claims: `iss`, `sub`, `aud`, `exp` and `iat` must be there, everything must be of its type, as expected,
/// and valid now. A token with several audiences needs the expected one among them (RFC 7519, section 4.1.3).
#[must_use]
pub fn check_claims(claims: &Claims, expectation: &Expectation<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(check_text(
        claims,
        "iss",
        expectation.issuer,
        |found, expected, difference| Problem::Issuer {
            found,
            expected,
            difference,
        },
    ));
    problems.extend(check_text(
        claims,
        "sub",
        expectation.subject,
        |found, expected, difference| Problem::Subject {
            found,
            expected,
            difference,
        },
    ));
    problems.extend(check_audience(claims, expectation.audience));
    problems.extend(check_times(claims, expectation));
    problems
}

fn select_as_aws<'a>(kid: Option<&str>, jwks: &'a Jwks) -> Result<&'a Jwk, KeyError> {
    let counts = jwks.count_types();
    let Some(kid) = kid else {
        let usable: Vec<&Jwk> = jwks
            .keys
            .iter()
            .filter(|key| {
                key.kid()
                    .is_some_and(|kid| obstacle(kid, key, &counts).is_none())
            })
            .collect();
        return match usable.as_slice() {
            [only] => Ok(only),
            usable => Err(KeyError::NoKid {
                usable: usable.len(),
                keys: jwks.keys.len(),
            }),
        };
    };
    let mut reason = None;
    for key in jwks.keys.iter().rev() {
        if key.kid() != Some(kid) {
            continue;
        }
        match obstacle(kid, key, &counts) {
            None => return Ok(key),
            Some(error) => reason = reason.or(Some(error)),
        }
    }
    Err(reason.unwrap_or_else(|| unknown(kid, jwks)))
}

/// Why AWS does not see a key that has a `kid`.
fn obstacle(kid: &str, key: &Jwk, counts: &BTreeMap<&str, usize>) -> Option<KeyError> {
    let kid = kid.to_owned();
    let kty = key.kty.as_deref().unwrap_or_default();
    let count = counts.get(kty).copied().unwrap_or_default();
    if count > Jwks::MAX_KEYS_PER_TYPE {
        return Some(KeyError::TooManyKeys {
            kid,
            kty: kty.to_owned(),
            count,
            limit: Jwks::MAX_KEYS_PER_TYPE,
        });
    }
    if !key.is_for_signatures() {
        return Some(KeyError::NotForSignatures {
            kid,
            found: key.use_.clone(),
        });
    }
    match (key.public_key(), key.certificate()) {
        (Err(reasons), _) => Some(unusable(kid, key, reasons)),
        (Ok(_), Certificate::Disagrees) => Some(KeyError::CertificateConflict { kid }),
        (Ok(_), _) => None,
    }
}

fn select_first<'a>(kid: Option<&str>, jwks: &'a Jwks, limit: usize) -> Result<&'a Jwk, KeyError> {
    let Some(kid) = kid else {
        return Err(KeyError::NoKid {
            usable: jwks.keys.len(),
            keys: jwks.keys.len(),
        });
    };
    match jwks.keys.iter().position(|key| key.kid() == Some(kid)) {
        None => Err(unknown(kid, jwks)),
        Some(index) if index >= limit => Err(KeyError::BeyondLimit {
            kid: kid.to_owned(),
            position: index + 1,
            limit,
        }),
        Some(index) => Ok(&jwks.keys[index]),
    }
}

fn unknown(kid: &str, jwks: &Jwks) -> KeyError {
    KeyError::Unknown {
        kid: kid.to_owned(),
        available: jwks
            .keys
            .iter()
            .filter_map(|key| key.kid().map(str::to_owned))
            .collect(),
    }
}

fn unusable(kid: String, key: &Jwk, reasons: Vec<JwksFlawKind>) -> KeyError {
    if key.certificate() == Certificate::Only {
        KeyError::CertificateOnly { kid }
    } else {
        KeyError::Unusable { kid, reasons }
    }
}

fn check_text(
    claims: &Claims,
    claim: &'static str,
    expected: Option<&str>,
    differs: impl FnOnce(String, String, Difference) -> Problem,
) -> Option<Problem> {
    match claims.members.get(claim) {
        None => Some(Problem::Missing { claim }),
        Some(Value::String(found)) => {
            let expected = expected?;
            let difference = text::first_difference(found, expected)?;
            Some(differs(found.clone(), expected.to_owned(), difference))
        }
        Some(other) => Some(Problem::WrongType {
            claim,
            expected: "a string",
            found: document::type_name(other),
        }),
    }
}

fn check_audience(claims: &Claims, expected: Option<&str>) -> Option<Problem> {
    let wrong_type = |found: &Value| Problem::WrongType {
        claim: "aud",
        expected: "a string or an array of strings",
        found: document::type_name(found),
    };
    match claims.members.get("aud") {
        None => return Some(Problem::Missing { claim: "aud" }),
        Some(Value::String(_)) => {}
        Some(Value::Array(members)) => {
            if let Some(odd) = members.iter().find(|member| !member.is_string()) {
                return Some(wrong_type(odd));
            }
        }
        Some(other) => return Some(wrong_type(other)),
    }
    let found = claims.audiences();
    let expected = expected?;
    if found.contains(&expected) {
        return None;
    }
    Some(Problem::Audience {
        difference: match found.as_slice() {
            [only] => text::first_difference(only, expected),
            _ => None,
        },
        found: found.into_iter().map(str::to_owned).collect(),
        expected: expected.to_owned(),
    })
}

fn check_times(claims: &Claims, expectation: &Expectation<'_>) -> Vec<Problem> {
    let &Expectation { now, leeway, .. } = expectation;
    let mut problems = Vec::new();
    let mut time = |claim: &'static str, required: bool| match claims.members.get(claim) {
        None => {
            problems.extend(required.then_some(Problem::Missing { claim }));
            None
        }
        Some(value) => {
            let time = timestamp(value);
            if time.is_none() {
                problems.push(Problem::WrongType {
                    claim,
                    expected: "a whole number of seconds since 1970",
                    found: describe_number(value),
                });
            }
            time
        }
    };
    let (exp, nbf, iat) = (time("exp", true), time("nbf", false), time("iat", true));
    // RFC 7519 wants now before `exp`, and not before `nbf`.
    problems.extend(exp.and_then(|exp| {
        let ago = now.duration_since(exp);
        (ago >= leeway).then_some(Problem::Expired { exp, ago, leeway })
    }));
    problems.extend(nbf.and_then(|nbf| {
        let ahead = nbf.duration_since(now);
        (ahead > leeway).then_some(Problem::NotYetValid { nbf, ahead, leeway })
    }));
    problems.extend(iat.and_then(|iat| {
        let ahead = iat.duration_since(now);
        (ahead > leeway).then_some(Problem::IssuedInFuture { iat, ahead, leeway })
    }));
    problems
}

fn describe_number(value: &Value) -> &'static str {
    match value {
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number that no calendar has",
        other => document::type_name(other),
    }
}

fn beyond(leeway: SignedDuration) -> String {
    if leeway.is_zero() {
        String::new()
    } else {
        format!(", beyond a leeway of {}", humanize(leeway))
    }
}
