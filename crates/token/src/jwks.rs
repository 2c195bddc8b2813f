//! JSON Web Key Sets (RFC 7517): the keys that an issuer publishes, and what is wrong with them.
//!
//! Parsing is tolerant, since one odd key must not hide the others; [`Jwks::hygiene`] then names everything that some
//! cloud refuses, or that should never have been published.

use std::{collections::BTreeMap, fmt};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use cwii_contract::types::shorten;
use serde_json::{Map, Value};

use crate::{
    DocumentError,
    certificate::{self, without_leading_zeros},
    crypto::{Algorithm, Curve, PublicKey},
    document, words,
};

/// A key set, in the order of the document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Jwks {
    /// The keys, those of unknown types included.
    pub keys: Vec<Jwk>,
}

impl Jwks {
    /// The most keys per type that AWS takes. Entra uses the first 100 of a set.
    pub const MAX_KEYS_PER_TYPE: usize = 100;

    /// Parses a document. What only some reader dislikes is no error, see [`Jwks::hygiene`].
    ///
    /// # Errors
    ///
    /// If the bytes are not a JSON object with an array of objects in `keys`; the error says what they look like.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        const EXPECTED: &str = "a JWKS";
        let mut members = document::parse_object(bytes, EXPECTED)?;
        let Some(keys) = members.remove("keys") else {
            return Err(document::missing(&members, EXPECTED, "keys"));
        };
        let wrong_type = |member: String, expected_type, found: &Value| DocumentError::WrongType {
            expected: EXPECTED,
            member,
            expected_type,
            found: document::type_name(found),
        };
        let Value::Array(keys) = keys else {
            return Err(wrong_type("keys".to_owned(), "an array", &keys));
        };
        let keys = keys
            .into_iter()
            .enumerate()
            .map(|(index, key)| match key {
                Value::Object(members) => Ok(Jwk::from_members(members)),
                other => Err(wrong_type(format!("keys[{index}]"), "an object", &other)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// Everything about the set that a cloud refuses, ignores or reads in its own way, or that is dangerous: first what
    /// concerns the set, then key by key in the order of the document.
    #[must_use]
    pub fn hygiene(&self) -> Vec<JwksFlaw> {
        let mut flaws = Vec::new();
        if self.keys.is_empty() {
            flaws.push(JwksFlaw {
                key: None,
                kind: JwksFlawKind::NoKeys,
            });
        }
        for (kty, count) in self.count_types() {
            if count > Self::MAX_KEYS_PER_TYPE {
                flaws.push(JwksFlaw {
                    key: None,
                    kind: JwksFlawKind::TooManyKeys {
                        kty: kty.to_owned(),
                        count,
                    },
                });
            }
        }
        let mut seen = BTreeMap::<&str, usize>::new();
        for (index, key) in self.keys.iter().enumerate() {
            let mut kinds = key.flaws();
            if let Some(kid) = key.kid() {
                let first = *seen.entry(kid).or_insert(index);
                if first != index {
                    kinds.insert(0, JwksFlawKind::DuplicateKid { first });
                }
            }
            flaws.extend(kinds.into_iter().map(|kind| JwksFlaw {
                key: Some((index, key.kid.clone())),
                kind,
            }));
        }
        flaws
    }

    /// How many keys there are of each type.
    pub(crate) fn count_types(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for kty in self.keys.iter().filter_map(|key| key.kty.as_deref()) {
            *counts.entry(kty).or_default() += 1;
        }
        counts
    }
}

/// A JSON Web Key. Members of another type than expected are `None` here and stand in `members`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Jwk {
    /// `kty`, the type: `RSA`, `EC`.
    pub kty: Option<String>,
    /// `kid`, the name.
    pub kid: Option<String>,
    /// `use`: `sig` or `enc`.
    pub use_: Option<String>,
    /// `alg`, the one algorithm that the key is meant for.
    pub alg: Option<String>,
    /// `key_ops`, in whatever shape.
    pub key_ops: Option<Value>,
    /// Names of private members that the document contains; their values were dropped.
    pub private_parts: Vec<String>,
    /// All other members.
    pub members: Map<String, Value>,
}

impl Jwk {
    fn from_members(members: Map<String, Value>) -> Self {
        let (private, members): (Map<_, _>, Map<_, _>) = members
            .into_iter()
            .partition(|(name, _)| PRIVATE_MEMBERS.contains(&name.as_str()));
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            kty: text("kty"),
            kid: text("kid"),
            use_: text("use"),
            alg: text("alg"),
            key_ops: members.get("key_ops").cloned(),
            private_parts: private.into_iter().map(|(name, _)| name).collect(),
            members,
        }
    }

    /// Whether the document contains the private key, or a secret one.
    #[must_use]
    pub fn has_private_parts(&self) -> bool {
        !self.private_parts.is_empty()
    }

    /// Members that carry or name a certificate: of `x5c`, `x5t`, `x5t#S256` and `x5u` those that are present. Google
    /// refuses them in an uploaded set.
    #[must_use]
    pub fn certificate_members(&self) -> Vec<&'static str> {
        ["x5c", "x5t", "x5t#S256", "x5u"]
            .into_iter()
            .filter(|name| self.members.contains_key(*name))
            .collect()
    }

    /// `kid`, unless it is empty.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref().filter(|kid| !kid.is_empty())
    }

    /// Whether `use` allows signatures: absent, or `sig`.
    pub(crate) fn is_for_signatures(&self) -> bool {
        self.members.get("use").is_none_or(|value| value == "sig")
    }

    /// The public key.
    ///
    /// # Errors
    ///
    /// Everything that keeps it from being read, at least one thing.
    pub(crate) fn public_key(&self) -> Result<PublicKey, Vec<JwksFlawKind>> {
        match self.kty.as_deref() {
            Some("RSA") => {
                let [n, e] = all([self.bytes("n"), self.bytes("e")])?;
                Ok(PublicKey::Rsa {
                    n: without_leading_zeros(&n).to_vec(),
                    e: without_leading_zeros(&e).to_vec(),
                })
            }
            Some("EC") => {
                let curve = self.curve().map_err(|flaw| vec![flaw])?;
                let [x, y] = all([self.coordinate("x", curve), self.coordinate("y", curve)])?;
                Ok(PublicKey::Ec {
                    curve,
                    point: [vec![4], x, y].concat(),
                })
            }
            _ => Err(vec![JwksFlawKind::UnusableType {
                kty: self.kty.clone(),
            }]),
        }
    }

    /// How the first certificate of `x5c` relates to the key's own parameters.
    pub(crate) fn certificate(&self) -> Certificate {
        let Some(chain) = self.members.get("x5c") else {
            return Certificate::Absent;
        };
        let key = chain
            .get(0)
            .and_then(Value::as_str)
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|der| certificate::public_key(&der));
        match (key, self.public_key()) {
            (Some(certified), Ok(own)) if certified == own => Certificate::Agrees,
            (_, Ok(_)) => Certificate::Disagrees,
            (_, Err(_)) => Certificate::Only,
        }
    }

    fn flaws(&self) -> Vec<JwksFlawKind> {
        let mut flaws = Vec::new();
        if self.has_private_parts() {
            flaws.push(JwksFlawKind::PrivateParts {
                members: self.private_parts.clone(),
            });
        }
        match self.members.get("kid") {
            None => flaws.push(JwksFlawKind::NoKid),
            Some(Value::String(kid)) if kid.is_empty() => flaws.push(JwksFlawKind::EmptyKid),
            Some(Value::String(_)) => {}
            Some(other) => flaws.push(JwksFlawKind::NotText {
                member: "kid",
                found: document::type_name(other),
            }),
        }
        let key = self.public_key();
        match &key {
            Ok(key) => flaws.extend(self.weaknesses(key)),
            Err(reasons) => flaws.extend(reasons.iter().cloned()),
        }
        match self.members.get("use") {
            None => {}
            Some(Value::String(found)) if found == "sig" => {}
            Some(Value::String(found)) => flaws.push(JwksFlawKind::NotForSignatures {
                found: found.clone(),
            }),
            Some(other) => flaws.push(JwksFlawKind::NotText {
                member: "use",
                found: document::type_name(other),
            }),
        }
        if self.key_ops.is_some() {
            flaws.push(JwksFlawKind::KeyOps);
        }
        match (self.members.get("alg"), &key) {
            (None, _) => {}
            (Some(Value::String(alg)), Ok(key)) => {
                if !Algorithm::from_name(alg).is_some_and(|algorithm| key.fits(algorithm)) {
                    flaws.push(JwksFlawKind::WrongAlgorithm {
                        found: alg.clone(),
                        key: key.to_string(),
                        expected: key.algorithms().collect(),
                    });
                }
            }
            (Some(Value::String(_)), Err(_)) => {}
            (Some(other), _) => flaws.push(JwksFlawKind::NotText {
                member: "alg",
                found: document::type_name(other),
            }),
        }
        let certificates = self.certificate_members();
        if !certificates.is_empty() {
            flaws.push(JwksFlawKind::Certificate {
                members: certificates,
            });
        }
        if self.certificate() == Certificate::Disagrees {
            flaws.push(JwksFlawKind::CertificateDisagrees);
        }
        flaws
    }

    /// What is wrong with a key that works all the same.
    fn weaknesses(&self, key: &PublicKey) -> Vec<JwksFlawKind> {
        let Some(bits) = key.rsa_bits() else {
            return Vec::new();
        };
        let mut flaws: Vec<_> = ["n", "e"]
            .into_iter()
            .filter(|member| {
                self.bytes(member)
                    .is_ok_and(|bytes| bytes.first() == Some(&0))
            })
            .map(|member| JwksFlawKind::LeadingZero { member })
            .collect();
        if bits < 2048 {
            flaws.push(JwksFlawKind::WeakRsa { bits });
        }
        flaws
    }

    fn curve(&self) -> Result<Curve, JwksFlawKind> {
        let name = self.text("crv")?;
        Curve::from_name(name).ok_or_else(|| JwksFlawKind::UnknownCurve {
            crv: name.to_owned(),
        })
    }

    fn coordinate(&self, member: &'static str, curve: Curve) -> Result<Vec<u8>, JwksFlawKind> {
        let bytes = self.bytes(member)?;
        let (expected, found) = (curve.coordinate_bytes(), bytes.len());
        if found == expected {
            Ok(bytes)
        } else {
            Err(JwksFlawKind::WrongLength {
                member,
                expected,
                found,
            })
        }
    }

    fn bytes(&self, member: &'static str) -> Result<Vec<u8>, JwksFlawKind> {
        URL_SAFE_NO_PAD
            .decode(self.text(member)?)
            .map_err(|_| JwksFlawKind::NotBase64Url { member })
    }

    fn text(&self, member: &'static str) -> Result<&str, JwksFlawKind> {
        match self.members.get(member) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            None | Some(Value::String(_)) => Err(JwksFlawKind::MissingParameter { member }),
            Some(other) => Err(JwksFlawKind::NotText {
                member,
                found: document::type_name(other),
            }),
        }
    }
}

/// Both values, or everything that is wrong with them.
fn all<T>(results: [Result<T, JwksFlawKind>; 2]) -> Result<[T; 2], Vec<JwksFlawKind>> {
    match results {
        [Ok(a), Ok(b)] => Ok([a, b]),
        results => Err(results.into_iter().filter_map(Result::err).collect()),
    }
}

/// How a key's certificate relates to its parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Certificate {
    Absent,
    Agrees,
    /// Another key, or no readable certificate.
    Disagrees,
    /// A certificate in place of parameters.
    Only,
}

/// A flaw of a key set and the key that has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JwksFlaw {
    /// Position of the key in the document, from 0, and its `kid`; none if the flaw concerns the set.
    pub key: Option<(usize, Option<String>)>,
    /// What is wrong.
    pub kind: JwksFlawKind,
}

impl fmt::Display for JwksFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            None => write!(f, "{}", self.kind),
            Some((index, Some(kid))) => {
                write!(f, "keys[{index}] `{}`: {}", shorten(kid), self.kind)
            }
            Some((index, None)) => write!(f, "keys[{index}]: {}", self.kind),
        }
    }
}

/// What can be wrong with a key set. Check ISS14 reports these.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksFlawKind {
    /// An empty set.
    #[error("expected at least one key, found none")]
    NoKeys,
    /// More keys of one type than AWS takes: then no token of that type verifies.
    #[error("expected at most {limit} keys of type `{kty}`, found {count}", kty = shorten(kty), limit = Jwks::MAX_KEYS_PER_TYPE)]
    TooManyKeys {
        /// The type.
        kty: String,
        /// How many there are.
        count: usize,
    },
    /// Private or secret parameters: whoever can read the set can sign tokens. The key has to be replaced.
    #[error("has private members: {}", words::list(members))]
    PrivateParts {
        /// Their names.
        members: Vec<String>,
    },
    /// No `kid`: AWS never selects such a key, nobody finds it by name.
    #[error("has no `kid`")]
    NoKid,
    /// An empty `kid`.
    #[error("has an empty `kid`")]
    EmptyKid,
    /// The `kid` of an earlier key. AWS takes the later one.
    #[error("has the `kid` of keys[{first}]")]
    DuplicateKid {
        /// Position of the first key with this `kid`.
        first: usize,
    },
    /// A member that should be a string.
    #[error("expected a string in `{member}`, found {found}")]
    NotText {
        /// The member.
        member: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// A type that no cloud verifies with.
    #[error("expected `kty` `RSA` or `EC`, found {}", words::quoted_or(kty.as_deref(), "none"))]
    UnusableType {
        /// The type found.
        kty: Option<String>,
    },
    /// A curve that no cloud verifies with.
    #[error("expected `crv` `P-256`, `P-384` or `P-521`, found `{}`", shorten(crv))]
    UnknownCurve {
        /// The curve found.
        crv: String,
    },
    /// A parameter of the public key is absent or empty.
    #[error("has no `{member}`")]
    MissingParameter {
        /// `n`, `e`, `crv`, `x` or `y`.
        member: &'static str,
    },
    /// A parameter that is not base64url without padding.
    #[error("`{member}` is not base64url without padding")]
    NotBase64Url {
        /// `n`, `e`, `x` or `y`.
        member: &'static str,
    },
    /// A coordinate of another length than the curve's (RFC 7518, section 6.2.1.2).
    #[error("expected {expected} bytes in `{member}`, found {found}")]
    WrongLength {
        /// `x` or `y`.
        member: &'static str,
        /// Length expected, bytes.
        expected: usize,
        /// Length found, bytes.
        found: usize,
    },
    /// A number that starts with a zero byte, which RFC 7518, section 6.3.1.1, forbids and strict readers refuse.
    #[error("`{member}` starts with a zero byte")]
    LeadingZero {
        /// `n` or `e`.
        member: &'static str,
    },
    /// An RSA key that clouds refuse as too short.
    #[error("expected an RSA modulus of 2048 bits or more, found {bits}")]
    WeakRsa {
        /// Length of the modulus, bits.
        bits: usize,
    },
    /// `use` is not `sig`: AWS does not verify with the key.
    #[error("expected `use` `sig` or none, found `{}`", shorten(found))]
    NotForSignatures {
        /// The value.
        found: String,
    },
    /// `key_ops` is present: AWS refuses each signature of the key, whatever the member says.
    #[error("has `key_ops`, with which AWS refuses every signature of the key")]
    KeyOps,
    /// `alg` names an algorithm that the key cannot be used with by any cloud.
    #[error(
        "expected `alg` {} on a key {key}, found `{}`",
        words::one_of(expected),
        shorten(found)
    )]
    WrongAlgorithm {
        /// The value.
        found: String,
        /// The key: `RSA 2048`.
        key: String,
        /// What goes with the key.
        expected: Vec<Algorithm>,
    },
    /// Members about certificates, which Google refuses in an uploaded set.
    #[error(
        "has {}, which Google refuses in an uploaded set",
        words::list(members)
    )]
    Certificate {
        /// The members.
        members: Vec<&'static str>,
    },
    /// The certificate in `x5c` holds another key than the parameters, or is none.
    #[error("the first certificate in `x5c` is not of this key")]
    CertificateDisagrees,
}

/// Private members of RSA and EC keys, the secret of symmetric ones (RFC 7518, section 6), the seed of ML-DSA keys.
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];
