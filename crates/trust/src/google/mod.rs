//! Google: a workload identity pool provider, what its CEL makes of a token, and the allow policies that name the result.

pub mod cel;
mod documents;
mod exchange;
mod iam;

use cwii_token::{KeyError, SignatureError};

pub use documents::{
    Binding, Documents, Hints, IamPolicy, Member, Pool, Provider, Service, ServiceAccount,
};
pub use exchange::{Federated, LEEWAY_SECONDS, MAX_SUBJECT_BYTES, Request, evaluate_exchange};
pub use iam::{
    GkeWorkload, Impersonated, Impersonation, Principal, evaluate_gke, evaluate_impersonation,
};

/// The answer of Google's STS.
pub type ExchangeVerdict = crate::Verdict<Federated, Reason, LintKind>;

/// The answer of `generateAccessToken`.
pub type ImpersonationVerdict = crate::Verdict<Impersonated, Reason, LintKind>;

/// Why Google refuses.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The audience parameter is not the full name of a provider.
    AudienceParameterInvalid {
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such provider.
    ProviderMissing {
        /// A provider that was given and comes close.
        similar: Option<String>,
    },
    /// The provider is disabled.
    ProviderDisabled,
    /// The provider is deleted and can be restored for 30 days.
    ProviderDeleted,
    /// The pool is disabled.
    PoolDisabled,
    /// The pool is deleted and can be restored for 30 days.
    PoolDeleted,
    /// The text is no JWT.
    NotAJwt {
        /// What is wrong with it.
        problem: String,
    },
    /// `iss` is not the provider's `issuerUri`.
    IssuerMismatch,
    /// `aud` has none of the allowed audiences.
    AudienceNotAllowed {
        /// Whether it would have been the default audience, which counts only while no audience is allowed explicitly.
        default_replaced: bool,
    },
    /// `exp` has passed.
    Expired,
    /// `exp` is so near that no lifetime is left.
    ExpiresTooSoon,
    /// `iat` is more than 24 hours ago.
    TooOld,
    /// `iat` or `nbf` lies in the future.
    NotYetValid,
    /// `iat` or `exp` is missing or no whole number.
    TimeMissing {
        /// `iat` or `exp`.
        claim: &'static str,
    },
    /// The issuer's keys, or the uploaded ones, cannot be read.
    KeysUnavailable {
        /// Why.
        problem: String,
    },
    /// No key for the token.
    Key(KeyError),
    /// The signature does not hold.
    Signature(SignatureError),
    /// A mapping has no value, or none of the right type.
    MappingFailed {
        /// `google.subject`, `google.groups` or `attribute.NAME`.
        target: String,
        /// Why.
        problem: String,
    },
    /// The mapped subject is too long.
    SubjectTooLong {
        /// Its length, bytes.
        bytes: usize,
    },
    /// The condition is false.
    ConditionFalse,
    /// The condition cannot be evaluated, which counts as false.
    ConditionFailed {
        /// Why.
        problem: String,
    },
    /// There is no such service account.
    ServiceAccountMissing,
    /// The service account is disabled.
    ServiceAccountDisabled,
    /// A service is not enabled in the account's project.
    ServiceDisabled {
        /// `iamcredentials.googleapis.com`.
        service: &'static str,
    },
    /// The lifetime is not one that may be asked for.
    LifetimeInvalid,
    /// No binding of the policy is for this principal, nor nearly.
    NoBinding,
    /// The principal has a role, but not one with `iam.serviceAccounts.getAccessToken`.
    RoleLacksPermission {
        /// The role.
        role: String,
    },
    /// The principal has a role whose permissions are not known here: a custom one.
    RoleNotKnown {
        /// The role.
        role: String,
    },
    /// The binding's condition is false or cannot be evaluated here.
    BindingConditionFailed {
        /// Why, where it could not be evaluated.
        problem: Option<String>,
    },
    /// A member that would do if `/` in its value were written `%2F`.
    SlashNotEscaped,
    /// A member that names the project by its id; only the number counts.
    ProjectIdInMember,
    /// A member that names another subject of the pool.
    SubjectDiffers,
    /// A member that names another value of an attribute, or another group.
    AttributeDiffers {
        /// `attribute.NAME` or `group`.
        attribute: String,
    },
    /// A member that names an attribute without a mapping.
    AttributeNotMapped {
        /// `attribute.NAME`.
        attribute: String,
    },
    /// A member of another pool or project.
    OtherPool,
    /// `serviceAccount:….svc.id.goog[NS/KSA]` of another project.
    GkeOtherProject,
    /// `serviceAccount:….svc.id.goog[NS/KSA]` with namespace and ServiceAccount the wrong way round.
    GkeSwapped,
    /// `serviceAccount:….svc.id.goog[NS/KSA]` of another namespace or ServiceAccount.
    GkeOtherServiceAccount,
    /// A member that was deleted since (`deleted:…?uid=…`).
    MemberDeleted,
    /// Another kind of member.
    OtherMember,
}

/// What else is worth saying about Google documents.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LintKind {
    /// No condition on a provider whose issuer serves others too: everybody with a token of that issuer gets in.
    NoCondition,
    /// An expression longer than Google takes.
    ExpressionTooLong {
        /// Its target, or `attributeCondition`.
        target: String,
        /// The limit, characters.
        limit: usize,
    },
    /// Mapped attributes are more than 8 KiB together.
    AttributesTooLarge {
        /// Their size, bytes.
        bytes: usize,
    },
    /// Several audiences in the token. That one match suffices is documented only by wording.
    SeveralAudiences,
    /// The issuer's keys were not given: the signature was not checked.
    SignatureNotChecked,
    /// The whole pool may impersonate the account.
    WholePool,
    /// Everybody may impersonate the account (`allUsers`).
    Everybody,
}

impl Reason {
    /// The check of the catalogue that explains it.
    #[must_use]
    pub fn check(&self) -> Option<&'static str> {
        Some(match self {
            Self::AudienceParameterInvalid { .. } => "GCP01",
            Self::ProviderMissing { .. }
            | Self::ProviderDisabled
            | Self::ProviderDeleted
            | Self::PoolDisabled
            | Self::PoolDeleted => "GCP02",
            Self::NotAJwt { .. } => "TOK01",
            Self::IssuerMismatch => "GCP03",
            Self::AudienceNotAllowed { .. } => "GCP04",
            Self::TooOld => "TOK09",
            Self::Expired | Self::ExpiresTooSoon | Self::NotYetValid | Self::TimeMissing { .. } => {
                "TOK05"
            }
            Self::KeysUnavailable { .. } => "ISS06",
            Self::Key(KeyError::AlgorithmNotAccepted { .. }) => "TOK12",
            Self::Key(KeyError::Unknown { .. } | KeyError::NoKid { .. }) | Self::Signature(_) => {
                "ISS10"
            }
            Self::Key(_) => "ISS14",
            Self::MappingFailed { .. } | Self::ConditionFalse | Self::ConditionFailed { .. } => {
                "GCP05"
            }
            Self::SubjectTooLong { .. } => "GCP06",
            Self::ServiceAccountMissing | Self::ServiceAccountDisabled | Self::MemberDeleted => {
                "GCP08"
            }
            Self::ServiceDisabled { .. } => "GCP09",
            Self::LifetimeInvalid => return None,
            Self::GkeOtherProject | Self::GkeSwapped | Self::GkeOtherServiceAccount => "GKE05",
            Self::NoBinding
            | Self::RoleLacksPermission { .. }
            | Self::RoleNotKnown { .. }
            | Self::BindingConditionFailed { .. }
            | Self::SlashNotEscaped
            | Self::ProjectIdInMember
            | Self::SubjectDiffers
            | Self::AttributeDiffers { .. }
            | Self::AttributeNotMapped { .. }
            | Self::OtherPool
            | Self::OtherMember => "GCP07",
        })
    }
}

impl LintKind {
    /// The check of the catalogue that explains it.
    #[must_use]
    pub fn check(&self) -> Option<&'static str> {
        match self {
            Self::NoCondition
            | Self::ExpressionTooLong { .. }
            | Self::AttributesTooLarge { .. } => Some("GCP05"),
            Self::SeveralAudiences => Some("TOK03"),
            Self::WholePool | Self::Everybody => Some("GCP07"),
            Self::SignatureNotChecked => None,
        }
    }
}
