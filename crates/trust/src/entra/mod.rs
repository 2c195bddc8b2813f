//! Entra: federated identity credentials of applications and user-assigned managed identities, and what the token endpoint
//! makes of an assertion.

mod documents;
mod endpoint;
mod expression;

use cwii_token::{KeyError, SignatureError};

pub use documents::{
    Application, Documents, FederatedIdentityCredential, Hints, ObjectKind, ServicePrincipal,
    Tenant,
};
pub use endpoint::{Granted, LEEWAY_SECONDS, Request, evaluate};

/// The answer of the token endpoint.
pub type Verdict = crate::Verdict<Granted, Reason, LintKind>;

/// Why Entra refuses.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The tenant is neither a UUID nor a domain.
    TenantInvalid,
    /// There is no such tenant in this cloud.
    TenantMissing,
    /// A parameter of the request is empty.
    ParameterMissing {
        /// `client_id`, `scope` or `client_assertion`.
        parameter: &'static str,
    },
    /// The scope does not end in `/.default`.
    ScopeInvalid,
    /// There is no application or managed identity with this client id.
    ClientMissing,
    /// The application has no service principal in the tenant.
    ServicePrincipalMissing,
    /// The application's service principal is disabled.
    ClientDisabled,
    /// The assertion is no JWT.
    NotAJwt {
        /// What is wrong with it.
        problem: String,
    },
    /// The header's `typ` is another one than `JWT`.
    TypeNotAccepted {
        /// The header's `typ`.
        typ: String,
    },
    /// A claim is missing or of another type.
    ClaimMissing {
        /// `iss`, `sub`, `aud` or `exp`.
        claim: &'static str,
    },
    /// The token is one of Entra's own.
    IssuedByEntra,
    /// The client has no federated identity credential.
    NoCredentials,
    /// No credential has the token's issuer.
    IssuerMismatch,
    /// No credential of the issuer has the token's subject.
    SubjectMismatch,
    /// A credential has the token's subject but for upper and lower case.
    SubjectCaseMismatch,
    /// The credential of issuer and subject has another audience.
    AudienceMismatch,
    /// A credential with an expression, for an issuer that may not have one (every cluster's).
    ExpressionNotAllowedForIssuer,
    /// A credential with an expression on a managed identity, which may not have one.
    ExpressionNotAllowedForIdentity,
    /// An expression that does not parse.
    ExpressionInvalid {
        /// Why.
        problem: String,
    },
    /// An expression that does not match.
    ExpressionMismatch,
    /// `exp` has passed.
    Expired,
    /// `nbf` or `iat` lies in the future.
    NotYetValid,
    /// The issuer's keys cannot be read.
    KeysUnavailable {
        /// Why.
        problem: String,
    },
    /// No key for the token.
    Key(KeyError),
    /// The signature does not hold.
    Signature(SignatureError),
}

/// What else is worth saying about Entra documents.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LintKind {
    /// Nearly as many credentials as fit on one object.
    CredentialsNearLimit {
        /// How many there are.
        count: usize,
    },
    /// White space around a value, which is compared as it stands.
    SurroundingWhitespace {
        /// `issuer`, `subject` or `audiences`.
        member: &'static str,
    },
    /// An expression on a credential whose issuer may not have one: it never matches.
    ExpressionNeverMatches,
    /// A wildcard in a subject, which is compared literally.
    WildcardInSubject,
    /// Several audiences in the token. That one match suffices is not documented.
    SeveralAudiences,
    /// The issuer's keys were not given: the signature was not checked.
    SignatureNotChecked,
}

impl Reason {
    /// The check of the catalogue that explains it.
    #[must_use]
    pub fn check(&self) -> Option<&'static str> {
        Some(match self {
            Self::TenantInvalid | Self::TenantMissing => "AZ02",
            Self::ClientMissing => "AZ01",
            Self::NotAJwt { .. } => "TOK01",
            Self::IssuerMismatch
            | Self::NoCredentials
            | Self::IssuedByEntra
            | Self::ExpressionNotAllowedForIssuer
            | Self::ExpressionNotAllowedForIdentity
            | Self::ExpressionInvalid { .. } => "AZ03",
            Self::AudienceMismatch => "AZ04",
            Self::SubjectMismatch | Self::SubjectCaseMismatch | Self::ExpressionMismatch => "AZ05",
            Self::Expired | Self::NotYetValid => "TOK05",
            Self::KeysUnavailable { .. } => "AZ14",
            Self::Key(KeyError::AlgorithmNotAccepted { .. }) => "TOK12",
            Self::Key(KeyError::Unknown { .. } | KeyError::NoKid { .. }) | Self::Signature(_) => {
                "ISS10"
            }
            Self::Key(_) => "ISS14",
            Self::ParameterMissing { .. }
            | Self::ScopeInvalid
            | Self::ServicePrincipalMissing
            | Self::ClientDisabled
            | Self::TypeNotAccepted { .. }
            | Self::ClaimMissing { .. } => return None,
        })
    }
}

impl LintKind {
    /// The check of the catalogue that explains it.
    #[must_use]
    pub fn check(&self) -> Option<&'static str> {
        match self {
            Self::CredentialsNearLimit { .. } => Some("AZ07"),
            Self::ExpressionNeverMatches => Some("AZ03"),
            Self::SurroundingWhitespace { member: "issuer" } => Some("AZ03"),
            Self::SurroundingWhitespace {
                member: "audiences",
            } => Some("AZ04"),
            Self::SurroundingWhitespace { .. } | Self::WildcardInSubject => Some("AZ05"),
            Self::SeveralAudiences => Some("TOK03"),
            Self::SignatureNotChecked => None,
        }
    }
}
