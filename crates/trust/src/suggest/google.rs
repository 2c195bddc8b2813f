//! Google: workload identity pool, provider and the binding on a service account; or GKE's own pool.

use cwii_contract::types::{IssuerUrl, PoolProvider, Subject};
use serde_json::{Value, json};

use super::{
    SuggestError, SuggestedDocument, Suggestion, command,
    hcl::{self, Block, label, text},
    name_of,
};
use crate::google::{Documents, MAX_SUBJECT_BYTES, Principal};

/// What a workload identity pool provider is to accept.
#[derive(Clone, Copy, Debug)]
pub struct PoolTrust<'a> {
    /// The cluster's issuer.
    pub issuer: &'a IssuerUrl,
    /// The provider.
    pub provider: &'a PoolProvider,
    /// The token's audience; none for the provider's own name, which it accepts unless told otherwise.
    pub audience: Option<&'a str>,
    /// E-mail address of the service account to impersonate; none where the federated principal itself has the roles.
    pub service_account: Option<&'a str>,
}

/// What GKE's own pool is to be allowed.
#[derive(Clone, Copy, Debug)]
pub struct GkeTrust<'a> {
    /// Id of the cluster's project.
    pub project: &'a str,
    /// Number of the cluster's project, in which the principal of a cluster without impersonation is named.
    pub project_number: Option<&'a str>,
    /// E-mail address of the service account to impersonate; none where the principal itself has the roles.
    pub service_account: Option<&'a str>,
}

/// A pool, a provider that accepts exactly this ServiceAccount's tokens, and the binding that lets it impersonate.
///
/// Sources: IAM documentation, "Configure Workload Identity Federation with Kubernetes"; gcloud reference, `iam
/// workload-identity-pools providers create-oidc`, `iam service-accounts add-iam-policy-binding`.
///
/// # Errors
///
/// Namespace and name are longer than Google's subjects may be.
pub fn pool(
    subject: &Subject,
    trust: &PoolTrust<'_>,
    known: &Documents,
) -> Result<Suggestion, SuggestError> {
    let PoolTrust {
        issuer,
        provider,
        audience,
        service_account,
    } = *trust;
    let own_names = [provider.to_string(), format!("https:{provider}")];
    let audience = audience.filter(|audience| !own_names.iter().any(|name| name == audience));
    let (mapping, mapped) = mapping(subject)?;
    let condition = format!("assertion.sub == '{subject}'");
    let mut suggestion = Suggestion::default();

    let mut oidc = json!({ "issuerUri": issuer.as_str() });
    if let Some(audience) = audience {
        oidc["allowedAudiences"] = json!([audience]);
    }
    suggestion.documents.push(SuggestedDocument {
        file: format!("provider-{}.json", provider.provider()),
        title: format!("workload identity pool provider {}", provider.provider()),
        document: json!({
            "name": provider.resource(),
            "state": "ACTIVE",
            "attributeMapping": { "google.subject": mapping },
            "attributeCondition": condition,
            "oidc": oidc,
        }),
    });
    let exists = known.provider(provider);
    let pool_exists = exists.is_some()
        || known
            .pools
            .iter()
            .any(|p| p.name == provider.pool_resource());
    if !pool_exists {
        suggestion.commands.push(command(
            &[
                "gcloud",
                "iam",
                "workload-identity-pools",
                "create",
                provider.pool(),
            ],
            &[
                ("--project", provider.project_number()),
                ("--location", "global"),
            ],
        ));
    }
    let attribute_mapping = format!("google.subject={mapping}");
    let mut flags = vec![
        ("--project", provider.project_number()),
        ("--location", "global"),
        ("--workload-identity-pool", provider.pool()),
        ("--issuer-uri", issuer.as_str()),
        ("--attribute-mapping", attribute_mapping.as_str()),
        ("--attribute-condition", condition.as_str()),
    ];
    flags.extend(audience.map(|audience| ("--allowed-audiences", audience)));
    let verb = if exists.is_some() {
        suggestion.notes.push(format!(
            "the condition admits this ServiceAccount alone: others that use the provider `{}` now are admitted no longer",
            provider.provider()
        ));
        "update-oidc"
    } else {
        suggestion.notes.push(format!(
            "the provider `{}` is this ServiceAccount's own; where several are to share one, its condition must admit them all, and the bindings tell them apart",
            provider.provider()
        ));
        "create-oidc"
    };
    suggestion.commands.push(command(
        &[
            "gcloud",
            "iam",
            "workload-identity-pools",
            "providers",
            verb,
            provider.provider(),
        ],
        &flags,
    ));

    let mut blocks = Vec::new();
    if !pool_exists {
        blocks.push(
            Block::new(
                "resource",
                &["google_iam_workload_identity_pool", &label(provider.pool())],
            )
            .set("project", provider.project_number())
            .set("workload_identity_pool_id", provider.pool()),
        );
    }
    let mut oidc_block = Block::new("oidc", &[]).set("issuer_uri", issuer.as_str());
    if let Some(audience) = audience {
        oidc_block = oidc_block.list("allowed_audiences", &[audience]);
    }
    let pool_id = if pool_exists {
        text(provider.pool())
    } else {
        format!(
            "google_iam_workload_identity_pool.{}.workload_identity_pool_id",
            label(provider.pool())
        )
    };
    blocks.push(
        Block::new(
            "resource",
            &[
                "google_iam_workload_identity_pool_provider",
                &label(provider.provider()),
            ],
        )
        .set("project", provider.project_number())
        .raw("workload_identity_pool_id", pool_id)
        .set("workload_identity_pool_provider_id", provider.provider())
        .raw(
            "attribute_mapping",
            format!("{{ {} = {} }}", text("google.subject"), text(&mapping)),
        )
        .set("attribute_condition", &condition)
        .block(oidc_block),
    );

    let principal = Principal {
        pool: provider.pool_resource(),
        subject: mapped,
        groups: Vec::new(),
        attributes: std::collections::BTreeMap::new(),
        gke: None,
    };
    bind(
        &mut suggestion,
        subject,
        &principal.identifier(),
        service_account,
        &mut blocks,
    );
    suggestion.terraform = hcl::file(&blocks);
    Ok(suggestion)
}

/// What GKE's own pool needs: the binding, and the annotation of the ServiceAccount.
///
/// Source: GKE documentation, "Authenticate to Google Cloud APIs from GKE workloads".
#[must_use]
pub fn gke(subject: &Subject, trust: &GkeTrust<'_>) -> Suggestion {
    let GkeTrust {
        project,
        project_number,
        service_account,
    } = *trust;
    let mut suggestion = Suggestion::default();
    let mut blocks = Vec::new();
    let member = match (service_account, project_number) {
        // Both are the same principal; this spelling needs no number.
        (Some(_), _) | (None, None) => format!(
            "serviceAccount:{project}.svc.id.goog[{}/{}]",
            subject.namespace(),
            subject.service_account()
        ),
        (None, Some(number)) => Principal::gke(
            project,
            Some(number),
            subject.namespace(),
            subject.service_account(),
        )
        .identifier(),
    };
    bind(
        &mut suggestion,
        subject,
        &member,
        service_account,
        &mut blocks,
    );
    if let Some(email) = service_account {
        let annotation = format!("iam.gke.io/gcp-service-account={email}");
        suggestion.commands.push(command(
            &[
                "kubectl",
                "annotate",
                "serviceaccount",
                subject.service_account(),
                &annotation,
            ],
            &[("--namespace", subject.namespace()), ("--overwrite", "")],
        ));
    }
    suggestion.notes.push(format!(
        "every cluster of project `{project}` shares the pool: a ServiceAccount of the same namespace and name in another of its clusters is the same principal"
    ));
    suggestion.terraform = hcl::file(&blocks);
    suggestion
}

fn bind(
    suggestion: &mut Suggestion,
    subject: &Subject,
    member: &str,
    service_account: Option<&str>,
    blocks: &mut Vec<Block>,
) {
    let Some(email) = service_account else {
        suggestion.notes.push(format!(
            "without a service account to impersonate, the roles that the workload needs are granted to `{member}` itself, on the resources"
        ));
        return;
    };
    suggestion.documents.push(SuggestedDocument {
        file: format!("{email}.json"),
        title: format!("allow policy of service account {email}"),
        document: allow_policy(member),
    });
    let mut flags = Vec::new();
    if let Some(project) = project_of(email) {
        flags.push(("--project", project));
    }
    flags.push(("--role", ROLE));
    flags.push(("--member", member));
    suggestion.commands.push(command(
        &[
            "gcloud",
            "iam",
            "service-accounts",
            "add-iam-policy-binding",
            email,
        ],
        &flags,
    ));
    // A dash stands for the project that the e-mail address tells.
    let id = format!(
        "projects/{}/serviceAccounts/{email}",
        project_of(email).unwrap_or("-")
    );
    blocks.push(
        Block::new(
            "resource",
            &[
                "google_service_account_iam_member",
                &label(&name_of(subject, 100)),
            ],
        )
        .set("service_account_id", &id)
        .set("role", ROLE)
        .set("member", member),
    );
}

fn allow_policy(member: &str) -> Value {
    json!({ "bindings": [{ "role": ROLE, "members": [member] }], "version": 1 })
}

/// `google.subject` of at most 127 bytes, and what it makes of this subject.
fn mapping(subject: &Subject) -> Result<(String, String), SuggestError> {
    let whole = subject.to_string();
    if whole.len() <= MAX_SUBJECT_BYTES {
        return Ok(("assertion.sub".to_owned(), whole));
    }
    let short = format!("{}:{}", subject.namespace(), subject.service_account());
    if short.len() <= MAX_SUBJECT_BYTES {
        let mapping = "assertion.sub.extract('system:serviceaccount:{name}')";
        return Ok((mapping.to_owned(), short));
    }
    Err(SuggestError::SubjectTooLong {
        bytes: whole.len(),
        subject: whole,
        shortest: short.len(),
        limit: MAX_SUBJECT_BYTES,
    })
}

fn project_of(email: &str) -> Option<&str> {
    email
        .split_once('@')?
        .1
        .strip_suffix(".iam.gserviceaccount.com")
}

/// Source: IAM documentation, "IAM basic and predefined roles reference".
const ROLE: &str = "roles/iam.workloadIdentityUser";
