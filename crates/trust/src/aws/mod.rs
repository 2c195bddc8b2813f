//! AWS: a role's trust policy, the IAM OIDC provider of its account, and what STS makes of both.
//!
//! STS says little: one text for everything that a trust policy can refuse, and since 2026 one text for much of what can
//! be wrong with a token. The reasons here are finer, and each maps to the check of the catalogue that explains it.

mod condition;
mod documents;
mod lints;
mod pod_identity;
pub mod policy;
mod sts;

use cwii_token::{KeyError, SignatureError};

pub(crate) use documents::provider_arn;
pub use documents::{Association, Documents, Hints, OidcProvider, Role};
pub use pod_identity::{
    Pod, PodIdentity, PodIdentityRequest, PodIdentityVerdict, evaluate_pod_identity,
    evaluate_pod_identity_trust,
};
pub use policy::Policy;
pub use sts::{LEEWAY_SECONDS, Request, Session, evaluate};

/// The answer to `AssumeRoleWithWebIdentity`.
pub type Verdict = crate::Verdict<Session, Reason, LintKind>;

/// Why AWS refuses.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// A parameter breaks a constraint of the API's model: a length, a pattern, a range.
    ParameterInvalid {
        /// `roleArn`, `roleSessionName`, `webIdentityToken` or `durationSeconds`.
        parameter: &'static str,
    },
    /// The role's ARN is none.
    RoleArnInvalid {
        /// What is wrong with it.
        problem: String,
    },
    /// The role lives in another partition than the endpoint's region.
    PartitionMismatch {
        /// The role's partition.
        role: String,
        /// The region's partition.
        region: String,
    },
    /// `ProviderId` was sent along with an OIDC token.
    ProviderIdSent,
    /// The text is no JWT.
    NotAJwt {
        /// What is wrong with it.
        problem: String,
    },
    /// `alg` is not one that STS takes.
    AlgorithmNotAccepted {
        /// The header's `alg`.
        alg: Option<String>,
    },
    /// The header has `crit` with extensions.
    CriticalHeader,
    /// A claim is missing.
    ClaimMissing {
        /// `iss`, `sub`, `aud`, `iat` or `exp`.
        claim: &'static str,
    },
    /// `sub` is null, at which STS breaks.
    SubjectNull,
    /// A time is no whole number.
    TimeInvalid {
        /// `iat`, `exp` or `nbf`.
        claim: &'static str,
    },
    /// `iat` lies in the future.
    IssuedInTheFuture,
    /// `nbf` lies in the future.
    NotYetValid,
    /// `exp` has passed.
    Expired,
    /// `aud` is an empty array.
    AudienceEmpty,
    /// `aud` has several members and there is no `azp`.
    SeveralAudiences,
    /// The role's account has no provider of exactly this URL.
    ProviderMissing {
        /// The ARN that it would have.
        arn: String,
        /// The most similar provider that was given, and how it differs.
        similar: Option<(String, PrincipalDifference)>,
    },
    /// The audience (or `azp`, which goes first) is not among the provider's client ids.
    AudienceNotRegistered {
        /// The audience that STS looks for.
        audience: String,
        /// Whether it comes from `azp`.
        authorized_party: bool,
    },
    /// The issuer's keys cannot be read.
    KeysUnavailable {
        /// Why.
        problem: String,
    },
    /// No key for the token.
    Key(KeyError),
    /// The signature does not hold.
    Signature(SignatureError),
    /// A tag of the token is not in the form that STS reads.
    TagsInvalid,
    /// The roles claim is neither array nor string.
    RolesClaimInvalid,
    /// The roles claim has no ARN of a role.
    RolesClaimEmpty,
    /// The roles claim does not have this role.
    RolesClaimLacksRole,
    /// There is no such role. STS says the same as for a policy that denies.
    RoleMissing {
        /// A role of the same account and name that was given, with another path.
        similar: Option<String>,
    },
    /// The policy has no statement with effect `Allow`.
    NoAllowStatement,
    /// A statement that would do is for somebody else.
    PrincipalMismatch {
        /// The principal that asks.
        principal: String,
        /// How the policy's differs from it.
        difference: PrincipalDifference,
    },
    /// A statement that would do allows something else.
    ActionMismatch {
        /// The action that is asked for.
        action: String,
    },
    /// A condition does not hold.
    ConditionFailed(ConditionMiss),
    /// A condition asks for a key that no token of this issuer ever has.
    ConditionKeyUnknown(ConditionMiss),
    /// A condition compares the audience with a subject, or the other way round.
    ConditionOnOtherClaim(ConditionMiss),
    /// `*` or `?` under an operator that compares literally.
    WildcardInStringEquals {
        /// The operator.
        operator: String,
        /// The key.
        key: String,
        /// Whether `StringLike` would match.
        would_match: bool,
    },
    /// A `Deny` matches.
    ExplicitDeny {
        /// `Sid` of the statement.
        sid: Option<String>,
    },
    /// The role may be assumed, but not with the tags or the source identity that the token brings: this action is
    /// missing.
    SessionActionMissing {
        /// `sts:TagSession` or `sts:SetSourceIdentity`.
        action: &'static str,
        /// Why the policy does not allow it.
        because: Box<Reason>,
    },
    /// `DurationSeconds` is more than the role's `MaxSessionDuration`.
    DurationExceedsMaximum {
        /// The maximum, seconds.
        maximum: i64,
    },
    /// No pod identity association for this namespace and ServiceAccount.
    AssociationMissing {
        /// An association of the cluster that was given and comes close, as `namespace/serviceaccount`.
        similar: Option<String>,
    },
    /// The token is not for EKS Pod Identity.
    PodIdentityAudience,
    /// The token is not one of a pod's ServiceAccount.
    NotAServiceAccountToken,
}

/// A condition that does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConditionMiss {
    /// The operator as written.
    pub operator: String,
    /// The key as written.
    pub key: String,
    /// Whether the request has the key.
    pub status: KeyStatus,
}

/// Whether a request has a condition key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyStatus {
    /// It has.
    Present,
    /// This one has not; another token of the issuer might.
    Absent,
    /// No request of this kind ever has.
    NeverPresent(KeyMistake),
    /// The real request has it, but its value is not known here; it counts as missing.
    NotKnown,
}

/// Why a condition key never is in a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyMistake {
    /// It begins with `https://`.
    Scheme,
    /// A slash at the end of the issuer too many or too few.
    TrailingSlash,
    /// The provider's ARN in place of its URL.
    ProviderArn,
    /// It names another issuer, often an old cluster.
    OtherIssuer,
    /// The issuer is right, but STS makes no key of this claim (`iss`, `kubernetes.io`, …).
    ClaimNotAvailable,
    /// A global key that this kind of caller does not have.
    NotForThisCaller,
    /// Not a key at all.
    NoSuchKey,
}

/// How a principal or provider differs from the one that asks; the first that applies.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PrincipalDifference {
    /// The same URL and account in another partition.
    Partition,
    /// The same URL in another account.
    Account,
    /// `https://` inside the ARN.
    Scheme,
    /// A slash at the end too many or too few.
    TrailingSlash,
    /// Upper or lower case.
    Case,
    /// Another issuer.
    OtherProvider,
    /// `{"AWS": "*"}`, which includes no OIDC caller.
    AwsAnyone,
    /// Only principals of other kinds.
    OtherKind,
    /// `NotPrincipal` names the caller.
    Excluded,
}

/// What else is worth saying about AWS documents.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LintKind {
    /// No condition on the subject: any ServiceAccount of the cluster can assume the role.
    NoSubjectCondition,
    /// A condition on the subject that any ServiceAccount fits.
    SubjectTooWide {
        /// The pattern.
        value: String,
    },
    /// No condition on the audience.
    NoAudienceCondition,
    /// A condition asks for an audience that the provider has not registered.
    AudienceNotRegistered {
        /// The audience.
        audience: String,
    },
    /// The condition holds only because the key is missing (`ForAllValues:`, `…IfExists`).
    TrueBecauseKeyMissing {
        /// The operator.
        operator: String,
        /// The key.
        key: String,
    },
    /// The key never is in a request.
    KeyNeverPresent {
        /// The operator.
        operator: String,
        /// The key.
        key: String,
        /// Why.
        mistake: KeyMistake,
    },
    /// The real request has the key, but its value is not known here, so the answer may differ.
    KeyNotKnown {
        /// The operator.
        operator: String,
        /// The key.
        key: String,
    },
    /// `*` or `?` under an operator that compares literally, in a condition that holds because of another value.
    WildcardInStringEquals {
        /// The operator.
        operator: String,
        /// The key.
        key: String,
    },
    /// The principal is `*`, or `NotPrincipal`: only conditions say who gets in.
    AnyPrincipal,
    /// The OIDC providers of the account were not given: whether there is one was not checked.
    ProvidersNotGiven,
    /// The provider's client ids were not given: the audience was not checked.
    ClientIdsNotGiven,
    /// The issuer's keys were not given: the signature was not checked.
    SignatureNotChecked,
    /// The pod identity associations were not given: whether there is one was not checked.
    AssociationsNotGiven,
}

impl Reason {
    /// The check of the catalogue that explains it.
    #[must_use]
    pub fn check(&self) -> Option<&'static str> {
        Some(match self {
            Self::ParameterInvalid {
                parameter: "roleArn",
            }
            | Self::RoleArnInvalid { .. }
            | Self::PartitionMismatch { .. } => "AWS10",
            Self::ParameterInvalid {
                parameter: "roleSessionName",
            } => "AWS15",
            Self::ParameterInvalid {
                parameter: "durationSeconds",
            }
            | Self::DurationExceedsMaximum { .. } => "AWS14",
            Self::ParameterInvalid { .. } | Self::NotAJwt { .. } => "TOK01",
            Self::AlgorithmNotAccepted { .. } => "TOK12",
            Self::IssuedInTheFuture | Self::NotYetValid | Self::Expired => "TOK05",
            Self::AudienceEmpty | Self::SeveralAudiences | Self::PodIdentityAudience => "TOK03",
            Self::ProviderMissing { .. } => "AWS01",
            Self::AudienceNotRegistered { .. } => "AWS03",
            Self::KeysUnavailable { .. } => "ISS06",
            Self::Key(KeyError::AlgorithmNotAccepted { .. }) => "TOK12",
            Self::Key(KeyError::Unknown { .. } | KeyError::NoKid { .. }) | Self::Signature(_) => {
                "ISS10"
            }
            Self::Key(_) => "ISS14",
            Self::RoleMissing { .. } => "AWS11",
            Self::PrincipalMismatch {
                difference: PrincipalDifference::OtherKind,
                principal,
            } if principal.starts_with("Service ") => "EPI04",
            // Only EKS Pod Identity asks for these on their own.
            Self::ActionMismatch { action } if action != "sts:AssumeRoleWithWebIdentity" => "EPI04",
            Self::PrincipalMismatch { .. } => "AWS04",
            Self::ActionMismatch { .. } | Self::SessionActionMissing { .. } => "AWS09",
            Self::ConditionFailed(_) | Self::ExplicitDeny { .. } | Self::NoAllowStatement => {
                "AWS05"
            }
            Self::ConditionKeyUnknown(_) | Self::ConditionOnOtherClaim(_) => "AWS06",
            Self::WildcardInStringEquals { .. } => "AWS07",
            Self::AssociationMissing { .. } => "EPI03",
            Self::NotAServiceAccountToken => "TOK04",
            Self::ProviderIdSent
            | Self::CriticalHeader
            | Self::ClaimMissing { .. }
            | Self::SubjectNull
            | Self::TimeInvalid { .. }
            | Self::TagsInvalid
            | Self::RolesClaimInvalid
            | Self::RolesClaimEmpty
            | Self::RolesClaimLacksRole => return None,
        })
    }
}

impl LintKind {
    /// The check of the catalogue that explains it.
    #[must_use]
    pub fn check(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoSubjectCondition | Self::SubjectTooWide { .. } | Self::AnyPrincipal => "AWS08",
            Self::AudienceNotRegistered { .. } => "AWS03",
            Self::KeyNeverPresent { .. } => "AWS06",
            Self::WildcardInStringEquals { .. } => "AWS07",
            Self::TrueBecauseKeyMissing { .. }
            | Self::NoAudienceCondition
            | Self::KeyNotKnown { .. } => "AWS05",
            Self::ProvidersNotGiven
            | Self::ClientIdsNotGiven
            | Self::SignatureNotChecked
            | Self::AssociationsNotGiven => return None,
        })
    }
}
