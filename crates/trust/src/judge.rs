//! One question, whatever the cloud: would it accept this token, going by these documents?
//!
//! The evaluators want to know whom to ask: which role, which pool provider, which client. Here that is found in the documents
//! and in the token, as far as there is one answer, and the rest is what a person has to say.

use std::fmt;

use cwii_contract::{
    Provider,
    types::{PoolProvider, RoleArn, Subject, shorten},
};
use cwii_token::{DecodeError, Token};
use jiff::Timestamp;

use crate::{
    Clause, CloudError, JwksFact, Library, Verdict, aws, entra, google,
    library::{ClusterDescription, Shape},
};

/// The token, and what a person has said about whom it is for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The token.
    pub token: Result<&'a Token, &'a DecodeError>,
    /// The issuer's keys.
    pub jwks: JwksFact<'a>,
    /// The moment.
    pub now: Timestamp,
    /// The cloud.
    pub provider: Option<Provider>,
    /// AWS: the role.
    pub role_arn: Option<&'a RoleArn>,
    /// AWS: the session name.
    pub session_name: Option<&'a str>,
    /// EKS Pod Identity: the cluster.
    pub cluster_arn: Option<&'a str>,
    /// Google: the workload identity pool provider.
    pub pool_provider: Option<&'a PoolProvider>,
    /// Google: the service account to impersonate, by its e-mail address.
    pub service_account: Option<&'a str>,
    /// Entra: the application or managed identity.
    pub client_id: Option<&'a str>,
    /// Entra: the tenant.
    pub tenant: Option<&'a str>,
}

impl<'a> Question<'a> {
    /// A question about which nothing but the token is known.
    #[must_use]
    pub fn new(
        token: Result<&'a Token, &'a DecodeError>,
        jwks: JwksFact<'a>,
        now: Timestamp,
    ) -> Self {
        Self {
            token,
            jwks,
            now,
            provider: None,
            role_arn: None,
            session_name: None,
            cluster_arn: None,
            pool_provider: None,
            service_account: None,
            client_id: None,
            tenant: None,
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The cloud.
    pub provider: Provider,
    /// Who was asked for what: `role arn:…`, `service account … through provider …`, `client …`.
    pub target: String,
    /// What the cloud says; none where it grants what was asked for.
    pub error: Option<CloudError>,
    /// The clause that decided.
    pub decided_by: Clause,
    /// The check of the catalogue that explains a refusal.
    pub check: Option<&'static str>,
    /// What else would have to change, nearest first.
    pub others: Vec<Clause>,
    /// What did not decide and is worth saying, with the check that explains it.
    pub remarks: Vec<(Option<&'static str>, Clause)>,
}

impl Judgement {
    /// Whether the cloud grants what was asked for.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.error.is_none()
    }

    fn of<G, R, L>(
        provider: Provider,
        target: String,
        verdict: &Verdict<G, R, L>,
        check: impl Fn(&R) -> Option<&'static str>,
        remark: impl Fn(&L) -> Option<&'static str>,
    ) -> Self {
        let others = verdict.denial().map_or_else(Vec::new, |denial| {
            denial
                .others
                .iter()
                .map(|other| other.clause.clone())
                .collect()
        });
        Self {
            provider,
            target,
            error: verdict.error().cloned(),
            decided_by: verdict.decided_by.clone(),
            check: verdict.reason().and_then(check),
            others,
            remarks: verdict
                .lints
                .iter()
                .map(|lint| (remark(&lint.kind), lint.clause.clone()))
                .collect(),
        }
    }
}

/// Why the question has no answer yet. `Display` says what is missing; what a person could name is in `candidates`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Undecided {
    /// What would have to be said.
    pub missing: Missing,
    /// What it could be, as far as the documents tell; sorted.
    pub candidates: Vec<String>,
}

/// What a person would have to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Missing {
    /// The cloud.
    Provider,
    /// A role.
    Role,
    /// The ARN of an EKS cluster.
    ClusterArn,
    /// A workload identity pool provider.
    PoolProvider,
    /// A client id.
    ClientId,
    /// The number of the cluster's project, or anything else that names GKE's pool.
    GkeCluster,
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.missing {
            Missing::Provider => "expected documents of one cloud",
            Missing::Role => "expected one role",
            Missing::ClusterArn => "expected the description of one EKS cluster",
            Missing::PoolProvider => "expected one workload identity pool provider",
            Missing::ClientId => "expected one application or managed identity",
            Missing::GkeCluster => "expected the description of one GKE cluster",
        })?;
        match self.candidates.as_slice() {
            [] => f.write_str(", found none in the documents"),
            some => {
                let shown: Vec<String> = some
                    .iter()
                    .take(5)
                    .map(|candidate| format!("`{}`", shorten(candidate)))
                    .collect();
                let more = if some.len() > 5 { ", …" } else { "" };
                write!(f, ", found {}{more}", shown.join(", "))
            }
        }
    }
}

impl std::error::Error for Undecided {}

/// Asks the cloud that the documents are of.
///
/// # Errors
///
/// What would have to be said first.
pub fn judge(library: &Library, question: &Question<'_>) -> Result<Judgement, Undecided> {
    match provider_of(library, question)? {
        Provider::Aws if is_for_pod_identity(library, question) => pod_identity(library, question),
        Provider::Aws => web_identity(library, question),
        Provider::Gcp => google(library, question),
        Provider::Az => entra(library, question),
    }
}

/// The cloud: as was said, or the only one that documents were given of, or the one whose audience the token has.
fn provider_of(library: &Library, question: &Question<'_>) -> Result<Provider, Undecided> {
    if let Some(provider) = question.provider {
        return Ok(provider);
    }
    if question.role_arn.is_some() || question.cluster_arn.is_some() {
        return Ok(Provider::Aws);
    }
    if question.pool_provider.is_some() || question.service_account.is_some() {
        return Ok(Provider::Gcp);
    }
    if question.client_id.is_some() {
        return Ok(Provider::Az);
    }
    let given = providers_in(library);
    if let [only] = given.as_slice() {
        return Ok(*only);
    }
    let audiences = question
        .token
        .map(|token| token.claims.audiences())
        .unwrap_or_default();
    let by_audience = |provider: Provider| {
        audiences.iter().any(|audience| match provider {
            Provider::Aws => {
                audience.contains("sts.amazonaws.com") || *audience == POD_IDENTITY_AUDIENCE
            }
            Provider::Gcp => audience.contains("iam.googleapis.com"),
            Provider::Az => audience.contains("AzureADTokenExchange"),
        })
    };
    let mut fitting = given.iter().copied().filter(|p| by_audience(*p));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(Undecided {
            missing: Missing::Provider,
            candidates: given.iter().map(ToString::to_string).collect(),
        }),
    }
}

/// The clouds that documents were given of.
#[must_use]
pub fn providers_in(library: &Library) -> Vec<Provider> {
    let aws = library.aws(None);
    let google = library.google(None);
    let entra = library.entra(None);
    let has = |shapes: &[Shape]| library.files().any(|(_, shape)| shapes.contains(&shape));
    let mut found = Vec::new();
    if !aws.roles.is_empty()
        || aws.associations.is_some()
        || aws.providers.is_some()
        || has(&[Shape::AwsTrustPolicy, Shape::AwsOidcProvider])
    {
        found.push(Provider::Aws);
    }
    if !entra.applications.is_empty()
        || has(&[Shape::EntraCredentials, Shape::EntraIdentityCredentials])
    {
        found.push(Provider::Az);
    }
    if !google.providers.is_empty()
        || !google.policies.is_empty()
        || has(&[Shape::GoogleIamPolicy, Shape::GooglePool])
    {
        found.push(Provider::Gcp);
    }
    found
}

fn is_for_pod_identity(library: &Library, question: &Question<'_>) -> bool {
    question.cluster_arn.is_some()
        || (library.has_associations()
            && question
                .token
                .is_ok_and(|token| token.claims.audiences().contains(&POD_IDENTITY_AUDIENCE)))
}

fn web_identity(library: &Library, question: &Question<'_>) -> Result<Judgement, Undecided> {
    let found;
    let role = match question.role_arn {
        Some(role) => role,
        None => {
            found = role_in(library)?;
            &found
        }
    };
    let request = aws::Request::new(
        question.token,
        question.jwks,
        role.as_str(),
        question.session_name.unwrap_or(SESSION_NAME),
        question.now,
    );
    let verdict = aws::evaluate(&request, &library.aws(Some(role)));
    Ok(Judgement::of(
        Provider::Aws,
        format!("role {role}"),
        &verdict,
        aws::Reason::check,
        aws::LintKind::check,
    ))
}

/// The one role in the documents. A trust policy alone has no name; what it is called decides nothing, and its account is
/// that of the IAM OIDC provider that was given, or else of the one that it names.
fn role_in(library: &Library) -> Result<RoleArn, Undecided> {
    let known = library.aws(None).roles;
    let policies = library
        .files()
        .filter(|(_, shape)| *shape == Shape::AwsTrustPolicy)
        .count();
    if let ([only], 0) = (known.as_slice(), policies) {
        return Ok(only.arn.clone());
    }
    if known.is_empty() && policies == 1 {
        let providers = library.aws(None).providers.unwrap_or_default();
        let prefix = providers
            .into_iter()
            .map(|provider| provider.arn)
            .chain(library.federated_principals())
            .find_map(|principal| {
                let (prefix, _) = principal.split_once(":oidc-provider/")?;
                Some(prefix.to_owned())
            })
            .unwrap_or_else(|| "arn:aws:iam::000000000000".to_owned());
        if let Ok(role) = format!("{prefix}:role/{UNNAMED_ROLE}").parse() {
            return Ok(role);
        }
    }
    let mut candidates: Vec<String> = known.iter().map(|role| role.arn.to_string()).collect();
    candidates.sort();
    Err(Undecided {
        missing: Missing::Role,
        candidates,
    })
}

fn pod_identity(library: &Library, question: &Question<'_>) -> Result<Judgement, Undecided> {
    let clusters: Vec<&str> = library
        .clusters()
        .iter()
        .filter_map(|cluster| match cluster {
            ClusterDescription::Eks(cluster) => cluster.arn.as_deref(),
            _ => None,
        })
        .collect();
    let cluster_arn = match (question.cluster_arn, clusters.as_slice()) {
        (Some(arn), _) => arn,
        (None, [only]) => only,
        (None, several) => {
            return Err(Undecided {
                missing: Missing::ClusterArn,
                candidates: several.iter().map(|arn| (*arn).to_owned()).collect(),
            });
        }
    };
    let request = aws::PodIdentityRequest {
        token: question.token,
        jwks: question.jwks,
        cluster_arn,
        now: question.now,
    };
    let verdict = aws::evaluate_pod_identity(&request, &library.aws(question.role_arn));
    Ok(Judgement::of(
        Provider::Aws,
        format!("EKS Pod Identity of {cluster_arn}"),
        &verdict,
        aws::Reason::check,
        aws::LintKind::check,
    ))
}

fn google(library: &Library, question: &Question<'_>) -> Result<Judgement, Undecided> {
    let account = question
        .service_account
        .map(str::to_owned)
        .or_else(|| service_account_in(library));
    let documents = library.google(account.as_deref());
    let gke: Vec<(&str, &str)> = library
        .clusters()
        .iter()
        .filter_map(|cluster| match cluster {
            ClusterDescription::Gke(cluster) => Some((
                cluster.name.as_str(),
                cluster
                    .workload_pool
                    .as_deref()?
                    .strip_suffix(".svc.id.goog")?,
            )),
            _ => None,
        })
        .collect();
    // GKE's own pool has no provider that anybody could give.
    if question.pool_provider.is_none()
        && documents.providers.is_empty()
        && let (Some(account), [(_, project)]) = (&account, gke.as_slice())
        && let Some(subject) = subject_of(question)
    {
        let impersonation = google::Impersonation {
            principal: &google::Principal::gke(
                project,
                None,
                subject.namespace(),
                subject.service_account(),
            ),
            service_account: account,
            lifetime_seconds: None,
            now: question.now,
        };
        let verdict = google::evaluate_gke(&impersonation, &documents);
        return Ok(Judgement::of(
            Provider::Gcp,
            format!("service account {account} through GKE's pool {project}.svc.id.goog"),
            &verdict,
            google::Reason::check,
            google::LintKind::check,
        ));
    }
    let provider = match question.pool_provider {
        Some(provider) => provider.clone(),
        None => pool_provider_in(&documents, question)?,
    };
    let audience = provider.to_string();
    let request = google::Request {
        token: question.token,
        jwks: question.jwks,
        audience: &audience,
        now: question.now,
    };
    let exchange = google::evaluate_exchange(&request, &documents);
    let (Some(federated), Some(account)) = (exchange.grant(), &account) else {
        return Ok(Judgement::of(
            Provider::Gcp,
            format!("provider {}", provider.resource()),
            &exchange,
            google::Reason::check,
            google::LintKind::check,
        ));
    };
    let verdict = google::evaluate_impersonation(
        &google::Impersonation {
            principal: &federated.principal,
            service_account: account,
            lifetime_seconds: None,
            now: question.now,
        },
        &documents,
    );
    let mut judgement = Judgement::of(
        Provider::Gcp,
        format!(
            "service account {account} through provider {}",
            provider.resource()
        ),
        &verdict,
        google::Reason::check,
        google::LintKind::check,
    );
    let first: Vec<_> = exchange
        .lints
        .iter()
        .map(|lint| (lint.kind.check(), lint.clause.clone()))
        .collect();
    judgement.remarks.splice(0..0, first);
    Ok(judgement)
}

/// The one service account that an allow policy was given of, where it can be told.
fn service_account_in(library: &Library) -> Option<String> {
    let mut owners: Vec<String> = library
        .google(None)
        .policies
        .into_keys()
        .chain(library.policy_owners())
        .collect();
    owners.sort();
    owners.dedup();
    match owners.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    }
}

/// The one provider, or the one of several whose name or issuer the token has.
fn pool_provider_in(
    documents: &google::Documents,
    question: &Question<'_>,
) -> Result<PoolProvider, Undecided> {
    if let [only] = documents.providers.as_slice() {
        return Ok(only.name.clone());
    }
    let claims = question.token.map(|token| &token.claims).ok();
    let mut fitting: Vec<&google::Provider> = documents
        .providers
        .iter()
        .filter(|provider| {
            claims.is_some_and(|claims| {
                let name = provider.name.to_string();
                claims.audiences().iter().any(|audience| {
                    audience.strip_prefix("https:").unwrap_or(audience) == name
                        || provider.allowed_audiences.iter().any(|a| a == audience)
                })
            })
        })
        .collect();
    if fitting.len() != 1 {
        fitting = documents
            .providers
            .iter()
            .filter(|provider| {
                claims.is_some_and(|claims| claims.issuer() == Some(&provider.issuer_uri))
            })
            .collect();
    }
    match fitting.as_slice() {
        [only] => Ok(only.name.clone()),
        _ => {
            let mut candidates: Vec<String> = documents
                .providers
                .iter()
                .map(|provider| provider.name.to_string())
                .collect();
            candidates.sort();
            Err(Undecided {
                missing: Missing::PoolProvider,
                candidates,
            })
        }
    }
}

fn entra(library: &Library, question: &Question<'_>) -> Result<Judgement, Undecided> {
    let client_id = match question.client_id {
        Some(client_id) => client_id.to_owned(),
        None => client_in(library)?,
    };
    let documents = library.entra(Some(&client_id));
    let tenant = question
        .tenant
        .map(str::to_owned)
        .or_else(|| Some(documents.tenants.as_deref()?.first()?.id.clone()))
        .unwrap_or_else(|| UNNAMED_TENANT.to_owned());
    let request = entra::Request {
        token: Some(question.token),
        jwks: question.jwks,
        tenant: &tenant,
        client_id: &client_id,
        scope: None,
        now: question.now,
    };
    let verdict = entra::evaluate(&request, &documents);
    Ok(Judgement::of(
        Provider::Az,
        format!("client {client_id}"),
        &verdict,
        entra::Reason::check,
        entra::LintKind::check,
    ))
}

/// The one client in the documents. Credentials alone do not name theirs, but their file may; where it does not, what it is
/// decides nothing.
fn client_in(library: &Library) -> Result<String, Undecided> {
    let known = library.entra(None).applications;
    let credentials = library
        .files()
        .filter(|(_, shape)| {
            matches!(
                shape,
                Shape::EntraCredentials | Shape::EntraIdentityCredentials
            )
        })
        .count();
    if let [only] = known.as_slice() {
        return Ok(only.client_id.clone());
    }
    if known.is_empty() && credentials == 1 {
        return Ok(library
            .credential_owners()
            .into_iter()
            .next()
            .unwrap_or_else(|| UNNAMED_CLIENT.to_owned()));
    }
    let mut candidates: Vec<String> = known
        .into_iter()
        .map(|application| application.client_id)
        .chain(library.credential_owners())
        .collect();
    candidates.sort();
    candidates.dedup();
    Err(Undecided {
        missing: Missing::ClientId,
        candidates,
    })
}

fn subject_of(question: &Question<'_>) -> Option<Subject> {
    question.token.ok()?.claims.subject()?.parse().ok()
}

/// Source: Amazon EKS User Guide, "Understand how EKS Pod Identity works".
const POD_IDENTITY_AUDIENCE: &str = "pods.eks.amazonaws.com";

/// Where nobody says one; no policy of ours asks for it.
const SESSION_NAME: &str = "cwii";

/// A trust policy alone does not say what its role is called.
const UNNAMED_ROLE: &str = "role-of-the-trust-policy";

/// Neither do credentials say whose they are, nor in which tenant.
const UNNAMED_CLIENT: &str = "00000000-0000-0000-0000-000000000000";
const UNNAMED_TENANT: &str = "00000000-0000-0000-0000-000000000000";
