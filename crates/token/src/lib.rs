//! ServiceAccount JWTs, JSON Web Key Sets and discovery documents: decode, verify, compare.
//!
//! The clouds read one and the same token differently: which algorithms, which key of the set, how much clock skew.
//! This crate holds the strict common reading (RFC 7515, 7517, 7518, 7519, OpenID Connect Discovery 1.0) and, as
//! [`KeyRules`], the places where a cloud's choice of key departs from it. It does no I/O and reads no clock.
//!
//! Nothing here prints a token: the raw text lives in a `SecretString`, errors name places and characters, never content,
//! and private members of a JSON Web Key are dropped while it is parsed.

mod certificate;
mod claims;
mod crypto;
mod discovery;
mod document;
mod jwks;
mod jwt;
pub mod span;
pub mod text;
mod verify;
mod words;

pub use claims::{Claims, Kubernetes, Reference};
pub use crypto::{Algorithm, SignatureError};
pub use discovery::{Discovery, DiscoveryFlaw, private_host};
pub use document::DocumentError;
pub use jwks::{Jwk, Jwks, JwksFlaw, JwksFlawKind};
pub use jwt::{DecodeError, Header, MAX_TOKEN_BYTES, Part, Token};
pub use verify::{
    Expectation, KeyError, KeyRules, Problem, check_claims, select_key, verify, verify_signature,
};
