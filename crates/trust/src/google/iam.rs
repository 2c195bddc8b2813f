//! Allow policies of service accounts: who may have an access token of the account.
//!
//! The permission is `iam.serviceAccounts.getAccessToken`. It can also come from the project, a folder or the
//! organization; their policies are not among the documents, so a denial here means "not by this policy".

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use crate::{
    Clause, CloudError, Lint, NearMiss,
    google::{
        Documents, ImpersonationVerdict, LintKind, Reason, cel,
        documents::{Binding, Member},
    },
    verdict::{ABSENT, Failure},
};

/// Somebody that Google's STS or a GKE cluster vouches for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Principal {
    /// The pool's resource name: `projects/NUMBER/locations/global/workloadIdentityPools/POOL`. For GKE the pool is
    /// `PROJECT.svc.id.goog`; where the project's number is not known the name begins with `projects/-`, which no member
    /// has.
    pub pool: String,
    /// `google.subject`.
    pub subject: String,
    /// `google.groups`.
    pub groups: Vec<String>,
    /// `attribute.NAME`, by name; one value, or several where the mapping gives a list.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Set for a pod on GKE, which has an older spelling as well.
    pub gke: Option<GkeWorkload>,
}

/// A ServiceAccount on GKE.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GkeWorkload {
    /// Id of the cluster's project.
    pub project_id: String,
    /// Namespace.
    pub namespace: String,
    /// ServiceAccount.
    pub service_account: String,
}

/// What IAM credentials is asked: `generateAccessToken`.
#[derive(Clone, Copy, Debug)]
pub struct Impersonation<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// E-mail (or unique id) of the service account.
    pub service_account: &'a str,
    /// `lifetime`, seconds; 3600 where it is absent.
    pub lifetime_seconds: Option<i64>,
    /// The time at Google.
    pub now: Timestamp,
}

/// What IAM credentials answers with, except for the access token itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Impersonated {
    /// E-mail of the service account.
    pub service_account: String,
    /// Lifetime of the access token, seconds.
    pub lifetime_seconds: i64,
}

impl Principal {
    /// A pod on GKE. `project_number` is that of the cluster's project, where it is known.
    #[must_use]
    pub fn gke(
        project_id: &str,
        project_number: Option<&str>,
        namespace: &str,
        service_account: &str,
    ) -> Self {
        Self {
            pool: format!(
                "projects/{}/locations/global/workloadIdentityPools/{project_id}.svc.id.goog",
                project_number.unwrap_or("-")
            ),
            subject: format!("ns/{namespace}/sa/{service_account}"),
            gke: Some(GkeWorkload {
                project_id: project_id.to_owned(),
                namespace: namespace.to_owned(),
                service_account: service_account.to_owned(),
            }),
            ..Self::default()
        }
    }

    /// `principal://iam.googleapis.com/…/subject/SUBJECT`.
    #[must_use]
    pub fn identifier(&self) -> String {
        format!("{PRINCIPAL}{}/subject/{}", self.pool, self.subject)
    }

    /// Every member that includes this principal, the narrowest first.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        let mut members = vec![self.identifier()];
        if let Some(gke) = &self.gke {
            members.push(gke.member());
            members.push(format!(
                "{PRINCIPAL_SET}{}/namespace/{}",
                self.pool, gke.namespace
            ));
        }
        for (name, values) in &self.attributes {
            for value in values {
                members.push(format!(
                    "{PRINCIPAL_SET}{}/attribute.{name}/{}",
                    self.pool,
                    value.replace('/', "%2F")
                ));
            }
        }
        for group in &self.groups {
            members.push(format!(
                "{PRINCIPAL_SET}{}/group/{}",
                self.pool,
                group.replace('/', "%2F")
            ));
        }
        members.push(format!("{PRINCIPAL_SET}{}/*", self.pool));
        members
    }
}

impl GkeWorkload {
    fn member(&self) -> String {
        format!(
            "serviceAccount:{}.svc.id.goog[{}/{}]",
            self.project_id, self.namespace, self.service_account
        )
    }
}

/// Decides what `generateAccessToken` would answer.
#[must_use]
pub fn evaluate_impersonation(
    request: &Impersonation<'_>,
    documents: &Documents,
) -> ImpersonationVerdict {
    let mut lints = Vec::new();
    match decide(request, documents, &mut lints) {
        Ok((impersonated, clause)) => ImpersonationVerdict::granted(impersonated, clause, lints),
        Err(failure) => ImpersonationVerdict::denied(*failure, lints),
    }
}

/// Decides what the GKE metadata server would answer: the same rules, but IAM's error comes wrapped in text.
#[must_use]
pub fn evaluate_gke(request: &Impersonation<'_>, documents: &Documents) -> ImpersonationVerdict {
    let mut verdict = evaluate_impersonation(request, documents);
    if let Err(denial) = &mut verdict.result {
        let error = &denial.error;
        // The server prints the name of the status and then IAM's text.
        denial.error = match error.http_status {
            404 => CloudError::new(
                "G27",
                404,
                "",
                format!(
                    "Unable to generate access token; IAM returned 404 Not Found: {}",
                    error.message
                ),
            ),
            status => CloudError::new(
                "G26",
                status,
                "",
                format!(
                    "Unable to generate access token; IAM returned {status} {}: {}\nThis error could be caused by a missing IAM policy binding on the target IAM service account.\nFor more information, refer to the Workload Identity documentation:\n\thttps://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity#authenticating_to",
                    if status == 400 {
                        "Bad Request"
                    } else {
                        "Forbidden"
                    },
                    error.message
                ),
            ),
        };
    }
    verdict
}

type Step<T> = Result<T, Box<Failure<Reason>>>;

fn decide(
    request: &Impersonation<'_>,
    documents: &Documents,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<(Impersonated, Clause)> {
    check_service(documents)?;
    let account = documents.service_account(request.service_account);
    let email = account.map_or(request.service_account, |account| &account.email);
    let policy = documents.policies.get(email);
    if account.is_none() && policy.is_none() {
        return Err(Box::new(Failure::new(
            Reason::ServiceAccountMissing,
            Clause::new("request", "/serviceAccount", "email").compared(email, ABSENT),
            CloudError::new(
                "G19",
                404,
                "NOT_FOUND",
                format!("Not found; Gaia id not found for email {email}"),
            ),
        )));
    }
    if let Some(account) = account.filter(|account| account.disabled) {
        return Err(Box::new(Failure::new(
            Reason::ServiceAccountDisabled,
            Clause::new(
                format!("service account {email}"),
                format!("{}/disabled", account.pointer),
                "disabled",
            )
            .compared("false", "true"),
            permission_denied(),
        )));
    }
    let bindings = policy.map_or(&[][..], |policy| &policy.bindings);
    let clause = check_bindings(request, email, bindings, lints)?;
    let lifetime_seconds = check_lifetime(request.lifetime_seconds)?;
    Ok((
        Impersonated {
            service_account: email.to_owned(),
            lifetime_seconds,
        },
        clause,
    ))
}

fn check_service(documents: &Documents) -> Step<()> {
    let Some(services) = &documents.services else {
        return Ok(());
    };
    if services
        .iter()
        .any(|service| service.name == CREDENTIALS_SERVICE && service.enabled)
    {
        return Ok(());
    }
    let project = services.first().map_or("-", |service| {
        service.parent.trim_start_matches("projects/")
    });
    let mut error = CloudError::new(
        "G18",
        403,
        "PERMISSION_DENIED",
        format!(
            "IAM Service Account Credentials API has not been used in project {project} before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project={project} then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry."
        ),
    );
    error.details = Some(json!([{
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "SERVICE_DISABLED",
        "domain": "googleapis.com",
        "metadata": {"service": CREDENTIALS_SERVICE, "consumer": format!("projects/{project}")},
    }]));
    Err(Box::new(Failure::new(
        Reason::ServiceDisabled {
            service: CREDENTIALS_SERVICE,
        },
        Clause::new(format!("services of project {project}"), "", "state")
            .compared(format!("{CREDENTIALS_SERVICE} ENABLED"), ABSENT),
        error,
    )))
}

fn check_bindings(
    request: &Impersonation<'_>,
    email: &str,
    bindings: &[Binding],
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<Clause> {
    let document = format!("allow policy of {email}");
    let principal = request.principal;
    let mut granted = None;
    let mut misses: Vec<(u8, NearMiss<Reason>)> = Vec::new();
    for binding in bindings {
        for member in &binding.members {
            let clause = |expected: &str, found: &str| {
                Clause::new(&document, &member.pointer, &binding.role).compared(expected, found)
            };
            let miss = match compare(&member.text, principal) {
                Some((rank, reason)) => (
                    rank,
                    NearMiss {
                        reason,
                        clause: clause(&member.text, &closest(member, principal)),
                    },
                ),
                None => match check_binding(binding, request, &document) {
                    Ok(()) => {
                        lint_member(member, clause(&member.text, &principal.identifier()), lints);
                        granted.get_or_insert_with(|| {
                            clause(&member.text, &closest(member, principal))
                        });
                        continue;
                    }
                    Err((rank, miss)) => (rank, *miss),
                },
            };
            misses.push(miss);
        }
    }
    if let Some(clause) = granted {
        return Ok(clause);
    }
    misses.sort_by_key(|(rank, _)| *rank);
    let mut misses = misses.into_iter().map(|(_, miss)| miss).peekable();
    let first = misses
        .next_if(|miss| miss.reason != Reason::OtherMember)
        .unwrap_or_else(|| NearMiss {
            reason: Reason::NoBinding,
            clause: Clause::new(&document, "/bindings", GRANTING_ROLES[0])
                .compared(principal.members().join(" or "), ABSENT),
        });
    let mut failure = Failure::new(first.reason, first.clause, permission_denied());
    failure.others = misses.collect();
    Err(Box::new(failure))
}

/// Whether a binding that has the principal among its members gives it the permission.
fn check_binding(
    binding: &Binding,
    request: &Impersonation<'_>,
    document: &str,
) -> Result<(), (u8, Box<NearMiss<Reason>>)> {
    let miss = |rank, reason, clause| Err((rank, Box::new(NearMiss { reason, clause })));
    if !GRANTING_ROLES.contains(&binding.role.as_str()) {
        let role = binding.role.clone();
        let reason = if role.starts_with("roles/") {
            Reason::RoleLacksPermission { role }
        } else {
            Reason::RoleNotKnown { role }
        };
        let clause = Clause::new(document, format!("{}/role", binding.pointer), "role")
            .compared(GRANTING_ROLES.join(" or "), &binding.role);
        return miss(1, reason, clause);
    }
    let Some(expression) = &binding.condition else {
        return Ok(());
    };
    let variables = json!({"time": request.now.as_microsecond()});
    let resource = json!({
        "type": "iam.googleapis.com/ServiceAccount",
        "service": "iam.googleapis.com",
    });
    let result = cel::evaluate(
        expression,
        &[("request", &variables), ("resource", &resource)],
    );
    let (problem, found) = match result {
        Ok(value) if value == true => return Ok(()),
        Ok(value) => (None, value.to_string()),
        Err(error) => (Some(error.to_string()), error.to_string()),
    };
    let clause = Clause::new(
        document,
        format!("{}/condition/expression", binding.pointer),
        "condition",
    )
    .compared(expression, found);
    miss(0, Reason::BindingConditionFailed { problem }, clause)
}

fn lint_member(member: &Member, clause: Clause, lints: &mut Vec<Lint<LintKind>>) {
    let kind = match member.text.as_str() {
        "allUsers" => LintKind::Everybody,
        text if text.ends_with("/*") => LintKind::WholePool,
        _ => return,
    };
    lints.push(Lint { kind, clause });
}

/// Nothing where the member includes the principal; else how far it is from that, and why.
fn compare(member: &str, principal: &Principal) -> Option<(u8, Reason)> {
    if member == "allUsers" {
        return None;
    }
    if let Some(deleted) = member.strip_prefix("deleted:") {
        let member = deleted.split('?').next().unwrap_or_default();
        // One that was never ours is no more interesting than any other.
        return Some(match compare(member, principal) {
            None => (2, Reason::MemberDeleted),
            Some(_) => (9, Reason::OtherMember),
        });
    }
    if let Some(rest) = member
        .strip_prefix(PRINCIPAL)
        .or_else(|| member.strip_prefix(PRINCIPAL_SET))
    {
        return compare_pool_member(member.starts_with(PRINCIPAL_SET), rest, principal);
    }
    let Some((project, workload)) = member
        .strip_prefix("serviceAccount:")
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|rest| rest.split_once(".svc.id.goog["))
    else {
        return Some((9, Reason::OtherMember));
    };
    let Some(gke) = &principal.gke else {
        return Some((8, Reason::OtherPool));
    };
    let straight = format!("{}/{}", gke.namespace, gke.service_account);
    let swapped = format!("{}/{}", gke.service_account, gke.namespace);
    if workload == straight {
        return (project != gke.project_id).then_some((3, Reason::GkeOtherProject));
    }
    Some(if workload == swapped && project == gke.project_id {
        (3, Reason::GkeSwapped)
    } else {
        (6, Reason::GkeOtherServiceAccount)
    })
}

/// `rest` is what follows `principal://iam.googleapis.com/` or `principalSet://iam.googleapis.com/`.
fn compare_pool_member(is_set: bool, rest: &str, principal: &Principal) -> Option<(u8, Reason)> {
    let Some(tail) = rest
        .strip_prefix(principal.pool.as_str())
        .and_then(|rest| rest.strip_prefix('/'))
    else {
        // The same pool under the project's id.
        let by_id =
            |path: &str| -> Option<String> { Some(path.split_once("/locations/")?.1.to_owned()) };
        let project = rest
            .strip_prefix("projects/")
            .and_then(|rest| rest.split('/').next())
            .unwrap_or_default();
        let is_id = !project.bytes().all(|b| b.is_ascii_digit());
        let same_pool = by_id(rest)
            .zip(by_id(&principal.pool))
            .is_some_and(|(found, pool)| found.starts_with(&format!("{pool}/")));
        return Some(if is_id && same_pool {
            (3, Reason::ProjectIdInMember)
        } else {
            (7, Reason::OtherPool)
        });
    };
    if is_set && tail == "*" {
        return None;
    }
    let Some((kind, value)) = tail.split_once('/') else {
        return Some((9, Reason::OtherMember));
    };
    let values: Vec<&str> = match (is_set, kind) {
        (false, "subject") => {
            let same = value == principal.subject || unescape(value) == principal.subject;
            return (!same).then_some((5, Reason::SubjectDiffers));
        }
        (true, "group") => principal.groups.iter().map(String::as_str).collect(),
        (true, "namespace") => principal
            .gke
            .iter()
            .map(|gke| gke.namespace.as_str())
            .collect(),
        (true, kind) => {
            let Some(name) = kind.strip_prefix("attribute.") else {
                return Some((9, Reason::OtherMember));
            };
            match principal.attributes.get(name) {
                Some(values) => values.iter().map(String::as_str).collect(),
                None => {
                    return Some((
                        4,
                        Reason::AttributeNotMapped {
                            attribute: kind.to_owned(),
                        },
                    ));
                }
            }
        }
        _ => return Some((9, Reason::OtherMember)),
    };
    if value.contains('/') {
        // It is accepted when it is written, and never matches.
        return Some(if values.contains(&value) {
            (2, Reason::SlashNotEscaped)
        } else {
            (
                5,
                Reason::AttributeDiffers {
                    attribute: kind.to_owned(),
                },
            )
        });
    }
    let found = unescape(value);
    (!values.contains(&found.as_str())).then(|| {
        (
            5,
            Reason::AttributeDiffers {
                attribute: kind.to_owned(),
            },
        )
    })
}

fn unescape(value: &str) -> String {
    value.replace("%2F", "/").replace("%2f", "/")
}

/// The principal in the spelling that is nearest to a member's, for a comparison letter by letter.
fn closest(member: &Member, principal: &Principal) -> String {
    let kind = |text: &str| -> Option<String> {
        let tail = text.split_once("/workloadIdentityPools/")?.1;
        let kind = tail.split('/').nth(1)?;
        Some(kind.to_owned())
    };
    let legacy = member.text.contains(".svc.id.goog[");
    principal
        .members()
        .into_iter()
        .find(|candidate| {
            if legacy {
                candidate.starts_with("serviceAccount:")
            } else {
                kind(candidate).is_some() && kind(candidate) == kind(&member.text)
            }
        })
        .unwrap_or_else(|| principal.identifier())
}

fn check_lifetime(requested: Option<i64>) -> Step<i64> {
    let lifetime = requested.unwrap_or(MAX_LIFETIME_SECONDS);
    let message = match lifetime {
        ..=0 => "Lifetime of access token must be larger then zero.",
        1..=MAX_LIFETIME_SECONDS => return Ok(lifetime),
        _ => {
            "The access token lifetime can not have lifetimes of more than 1 hour. Use the Org Policy Constraint constraints/iam.allowServiceAccountCredentialLifetimeExtension to extend it."
        }
    };
    Err(Box::new(Failure::new(
        Reason::LifetimeInvalid,
        Clause::new("request", "/lifetime", "lifetime")
            .compared("1 to 3600 seconds", format!("{lifetime} s")),
        CloudError::new("G20", 400, "INVALID_ARGUMENT", message),
    )))
}

fn permission_denied() -> CloudError {
    let mut error = CloudError::new(
        "G17",
        403,
        "PERMISSION_DENIED",
        "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
    );
    error.details = Some(json!([{
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "IAM_PERMISSION_DENIED",
        "domain": "iam.googleapis.com",
        "metadata": {"permission": "iam.serviceAccounts.getAccessToken"},
    }]));
    error
}

const PRINCIPAL: &str = "principal://iam.googleapis.com/";
const PRINCIPAL_SET: &str = "principalSet://iam.googleapis.com/";
/// Predefined roles with `iam.serviceAccounts.getAccessToken`.
const GRANTING_ROLES: [&str; 2] = [
    "roles/iam.workloadIdentityUser",
    "roles/iam.serviceAccountTokenCreator",
];
const CREDENTIALS_SERVICE: &str = "iamcredentials.googleapis.com";
const MAX_LIFETIME_SECONDS: i64 = 3600;
