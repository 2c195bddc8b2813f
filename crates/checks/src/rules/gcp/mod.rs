//! Federation with Google Cloud.
//!
//! One verdict, many rules: [`exchange`] asks the evaluator what Google's STS would say, mends what it refuses and asks again,
//! so that faults that do not depend on each other are all found; [`impersonation`] does the same for the second step. Each
//! rule takes the faults that are its own.

use cwii_contract::{
    ExternalAccount, Provider, env,
    external_account::ExternalAccountError,
    names,
    types::{ParseError, PoolProvider},
};
use cwii_trust::{
    Clause, JwksFact, Library, Shape,
    google::{
        self, Documents, Impersonation, LintKind, Principal, Reason, Request, evaluate_exchange,
        evaluate_impersonation,
    },
};

use super::federation::{answer, document, exchanges, missing, quote};
use crate::{
    doctor::{
        Case, Container, Gap, Given, Mechanism, MechanismKind, Need, Object, Outcome, TokenOrigin,
        TokenView,
        google::{CREDENTIALS, PROVIDER},
    },
    report::{Finding, Subject},
};

group! { gcp01 gcp02 gcp03 gcp04 gcp05 gcp06 gcp07 gcp08 gcp09 gcp10 gcp11 gcp12 gcp13 gcp14 gcp15 }

/// What a rule needs that asks what Google makes of the token.
pub(super) const EXCHANGE: &[Need] = &[
    Need::Pod,
    Need::Owners,
    Need::ServiceAccount,
    Need::Namespace,
    Need::WebhookSettings,
    Need::Node,
    Need::ConfigMaps,
    Need::Others,
    Need::Discovery,
    Need::Jwks,
    Need::Tokens,
    Need::Claims,
    Need::Trust,
];

pub(super) use gcp07::finding as policy_finding;

/// Why a rule of this group does not concern a workload.
pub(super) const NO_FEDERATION: &str = "the workload does not exchange tokens at Google";

/// Asks a question of every mechanism that exchanges tokens at Google.
fn each<'a>(
    case: &Case<'a>,
    judge: impl FnMut(&'a Mechanism) -> Result<Vec<Finding>, Gap>,
) -> Result<Outcome, Gap> {
    super::federation::each(case, exchanges(Provider::Gcp), NO_FEDERATION, judge)
}

/// What Google's STS makes of the token.
pub(super) struct Exchange<'a> {
    pub(super) library: &'a Library,
    pub(super) provider: PoolProvider,
    pub(super) documents: Documents,
    pub(super) token: TokenView,
    pub(super) faults: Vec<Fault>,
    /// Who the token's holder is after all faults are mended; none where they cannot be mended here.
    pub(super) principal: Option<Principal>,
    /// Why there is no principal.
    stopped: Option<String>,
}

/// One thing that Google refuses.
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) clause: Clause,
    pub(super) answer: String,
}

/// What names a provider, and the provider if it does.
pub(super) type Named = (Given, Result<PoolProvider, ParseError>);

/// The provider that a mechanism presents its token to; none where it does not say.
pub(super) fn provider_name(case: &Case<'_>, mechanism: &Mechanism) -> Result<Option<Named>, Gap> {
    let given = match &mechanism.google_provider {
        Some(given) => given.clone(),
        None => match credentials(case, mechanism)? {
            Some(Credentials {
                subject,
                account: Ok(account),
                ..
            }) => Given {
                value: account.audience,
                subject: Some(subject),
            },
            _ => return Ok(None),
        },
    };
    let parsed = if mechanism.kind == MechanismKind::GoogleFederation {
        // The annotation has the name alone; its webhook puts the rest in front.
        format!("//iam.googleapis.com/{}", given.value).parse()
    } else {
        let value = given.value.as_str();
        // The webhook takes the audience with `https:` in front, which is one of Google's defaults, for the provider's name.
        value.strip_prefix("https:").unwrap_or(value).parse()
    };
    Ok(Some((given, parsed)))
}

/// The service account that a mechanism impersonates; none for direct federation.
pub(super) fn service_account(
    case: &Case<'_>,
    mechanism: &Mechanism,
) -> Result<Option<Given>, Gap> {
    if mechanism.google_service_account.is_some() || mechanism.kind != MechanismKind::Manual {
        return Ok(mechanism.google_service_account.clone());
    }
    Ok(match credentials(case, mechanism)? {
        Some(Credentials {
            subject,
            account: Ok(account),
            ..
        }) => account.service_account().map(|email| Given {
            value: email.to_owned(),
            subject: Some(subject.clone()),
        }),
        _ => None,
    })
}

/// Asks what Google's STS would answer.
pub(super) fn exchange<'a>(case: &Case<'a>, mechanism: &Mechanism) -> Result<Exchange<'a>, Gap> {
    let library = case.trust()?;
    let provider = match provider_name(case, mechanism)? {
        Some((_, Ok(provider))) => provider,
        Some((given, Err(_))) => {
            return Err(Gap::Unknown(
                Need::Trust,
                format!("`{}` names no workload identity pool provider", given.value),
            ));
        }
        None => {
            return Err(Gap::Unknown(
                Need::ConfigMaps,
                "the pod does not show which provider its credentials document names".into(),
            ));
        }
    };
    if !library.has_google_provider(&provider) {
        return Err(missing(
            format!("the provider `{}`", provider.resource()),
            describe_provider(&provider),
        ));
    }
    let account = service_account(case, mechanism)?;
    let documents = library.google(account.as_ref().map(|given| given.value.as_str()));
    let token = case.token(mechanism)?;
    let mut exchange = Exchange {
        library,
        provider,
        documents,
        token,
        faults: Vec::new(),
        principal: None,
        stopped: None,
    };
    exchange.evaluate(case);
    Ok(exchange)
}

impl Exchange<'_> {
    fn evaluate(&mut self, case: &Case<'_>) {
        let name = self.provider.to_string();
        let mut documents = self.documents.clone();
        // Keys are other rules' matter (ISS10, GCP14), and only a minted token has a signature.
        for provider in &mut documents.providers {
            provider.jwks_json = None;
        }
        // So are times (TOK05, TOK09); a token that was foretold has none that mean anything.
        let now = self.token.token.claims.issued_at().unwrap_or(case.now());
        // As many steps as there are things to mend.
        for _ in 0..8 {
            let verdict = evaluate_exchange(
                &Request {
                    token: Ok(&self.token.token),
                    jwks: JwksFact::NotCollected,
                    audience: &name,
                    now,
                },
                &documents,
            );
            let Err(denial) = verdict.result else {
                self.principal = verdict.grant().map(|federated| federated.principal.clone());
                return;
            };
            let mended = mend(&denial.reason, &mut documents, &self.provider, &self.token);
            let text = answer("Google", &denial.error);
            self.stopped = (!mended).then(|| text.clone());
            self.faults.push(Fault {
                reason: denial.reason,
                clause: verdict.decided_by,
                answer: text,
            });
            if !mended {
                return;
            }
        }
    }

    /// The provider's document.
    pub(super) fn document(&self) -> Option<&google::Provider> {
        self.documents.provider(&self.provider)
    }

    /// The faults of one code.
    fn of<'f>(&'f self, code: &'static str) -> impl Iterator<Item = &'f Fault> {
        self.faults
            .iter()
            .filter(move |fault| fault.reason.check() == Some(code))
    }

    /// A place in the provider's document.
    fn at(&self, clause: &Clause) -> Subject {
        document(
            self.library,
            &[Shape::GoogleProvider],
            "WorkloadIdentityPoolProvider",
            self.provider.resource(),
            clause,
        )
    }

    /// A gap where Google refuses for another reason before it comes to this code's.
    fn reached(&self, code: &'static str) -> Result<(), Gap> {
        match (&self.stopped, self.faults.last()) {
            (Some(stopped), Some(last)) if rank(last.reason.check()) < rank(Some(code)) => {
                Err(Gap::Unknown(Need::Trust, stopped.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// The place of a code in Google's order.
fn rank(code: Option<&str>) -> u8 {
    match code {
        Some("GCP02") => 1,
        Some("GCP03") => 2,
        Some("GCP04") => 3,
        Some("GCP05" | "GCP06") => 5,
        Some("GCP07" | "GCP08" | "GCP09") => 6,
        _ => 4,
    }
}

/// Makes the documents as they would be without this fault.
fn mend(
    reason: &Reason,
    documents: &mut Documents,
    name: &PoolProvider,
    token: &TokenView,
) -> bool {
    for pool in &mut documents.pools {
        if matches!(reason, Reason::PoolDisabled | Reason::PoolDeleted) {
            pool.disabled = false;
            pool.state = None;
        }
    }
    let Some(provider) = documents.providers.iter_mut().find(|one| one.name == *name) else {
        return false;
    };
    match reason {
        Reason::PoolDisabled | Reason::PoolDeleted => {}
        Reason::ProviderDisabled => provider.disabled = false,
        Reason::ProviderDeleted => provider.state = None,
        Reason::IssuerMismatch => match token.token.claims.issuer() {
            Some(issuer) => provider.issuer_uri = issuer.to_owned(),
            None => return false,
        },
        Reason::AudienceNotAllowed { .. } => match token.token.claims.audiences().first() {
            Some(audience) => provider.allowed_audiences.push((*audience).to_owned()),
            None => return false,
        },
        Reason::ConditionFalse | Reason::ConditionFailed { .. } => {
            provider.attribute_condition = None;
        }
        _ => return false,
    }
    true
}

/// The findings of one code about the exchange.
fn exchange_findings<'a>(
    case: &Case<'a>,
    mechanism: &Mechanism,
    code: &'static str,
    tell: impl Fn(&Exchange<'a>, &Fault) -> Finding,
) -> Result<Vec<Finding>, Gap> {
    let exchange = exchange(case, mechanism)?;
    let found: Vec<_> = exchange
        .of(code)
        .map(|fault| {
            tell(&exchange, fault)
                .of(Provider::Gcp)
                .at(exchange.at(&fault.clause))
                .answered(&fault.answer)
        })
        .collect();
    if found.is_empty() {
        exchange.reached(code)?;
    }
    Ok(found)
}

/// What IAM credentials makes of the principal.
pub(super) struct Impersonated<'a> {
    pub(super) library: &'a Library,
    pub(super) email: String,
    pub(super) principal: Principal,
    pub(super) faults: Vec<Fault>,
    pub(super) lints: Vec<cwii_trust::Lint<LintKind>>,
}

/// Asks what `generateAccessToken` would answer; none for direct federation.
fn impersonation<'a>(
    case: &Case<'a>,
    mechanism: &Mechanism,
) -> Result<Option<Impersonated<'a>>, Gap> {
    let library = case.trust()?;
    let Some(account) = service_account(case, mechanism)? else {
        return Ok(None);
    };
    let email = account.value;
    if !library.has_service_account_policy(&email) {
        return Err(missing(
            format!("the allow policy of `{email}`"),
            get_policy(&email),
        ));
    }
    let exchange = exchange(case, mechanism)?;
    let Some(principal) = exchange.principal else {
        return Err(Gap::Unknown(
            Need::Trust,
            exchange.stopped.unwrap_or_default(),
        ));
    };
    let mut documents = exchange.documents;
    let (faults, lints) = impersonate(
        &principal,
        &email,
        &mut documents,
        case,
        evaluate_impersonation,
    );
    Ok(Some(Impersonated {
        library,
        email,
        principal,
        faults,
        lints,
    }))
}

/// Evaluates the second step, mends what can be mended and evaluates again.
pub(super) fn impersonate(
    principal: &Principal,
    email: &str,
    documents: &mut Documents,
    case: &Case<'_>,
    evaluate: fn(&Impersonation<'_>, &Documents) -> google::ImpersonationVerdict,
) -> (Vec<Fault>, Vec<cwii_trust::Lint<LintKind>>) {
    let mut faults = Vec::new();
    let request = Impersonation {
        principal,
        service_account: email,
        lifetime_seconds: None,
        now: case.now(),
    };
    for _ in 0..3 {
        let verdict = evaluate(&request, documents);
        let lints = verdict.lints;
        let Err(denial) = verdict.result else {
            return (faults, lints);
        };
        let again = match &denial.reason {
            Reason::ServiceDisabled { .. } => {
                documents.services = None;
                true
            }
            Reason::ServiceAccountDisabled => {
                for account in &mut documents.service_accounts {
                    account.disabled = false;
                }
                true
            }
            _ => false,
        };
        faults.push(Fault {
            answer: answer("Google", &denial.error),
            reason: denial.reason,
            clause: verdict.decided_by,
        });
        if !again {
            return (faults, lints);
        }
    }
    (faults, Vec::new())
}

/// A credentials document and where it stands.
pub(super) struct Credentials {
    pub(super) subject: Subject,
    pub(super) account: Result<ExternalAccount, ExternalAccountError>,
}

/// The document that the mechanism's SDKs follow, where the pod or a ConfigMap shows it.
pub(super) fn credentials(
    case: &Case<'_>,
    mechanism: &Mechanism,
) -> Result<Option<Credentials>, Gap> {
    let pod = case.pod()?;
    let parsed = |subject: Subject, text: &str| Credentials {
        subject,
        account: ExternalAccount::parse(text),
    };
    match mechanism.kind {
        MechanismKind::Cwii => {
            if let Some(given) = Given::variable(pod, env::CWII_GCP_CREDS_JSON) {
                return Ok(given.subject.map(|subject| parsed(subject, &given.value)));
            }
            match config_map_at(pod, names::GCP_CREDENTIALS_FILE) {
                Some(source) => from_config_map(case, &source)
                    .map(|found| found.map(|(subject, text)| parsed(subject, &text))),
                None => Ok(None),
            }
        }
        MechanismKind::GoogleFederation => Ok(pod
            .annotation(CREDENTIALS)
            .map(|text| parsed(pod.subject_annotation(CREDENTIALS), text))),
        MechanismKind::Manual => {
            let Some(path) = Given::variable(pod, env::GOOGLE_APPLICATION_CREDENTIALS) else {
                return Ok(None);
            };
            match config_map_at(pod, &path.value) {
                Some(source) => from_config_map(case, &source)
                    .map(|found| found.map(|(subject, text)| parsed(subject, &text))),
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// A key of a ConfigMap that a pod mounts.
struct ConfigMapKey {
    name: String,
    key: String,
    optional: bool,
}

/// The ConfigMap that the file at a path comes from.
fn config_map_at(pod: &Object, path: &str) -> Option<ConfigMapKey> {
    let text = |value: &serde_json::Value, member: &str| {
        value
            .get(member)
            .and_then(|v| v.as_str())
            .map(str::to_owned)
    };
    for container in pod.containers() {
        for mount in container.elements("volumeMounts") {
            let Some((volume, at)) = text(mount, "name").zip(text(mount, "mountPath")) else {
                continue;
            };
            let file = match text(mount, "subPath") {
                Some(sub) if at == path => sub,
                Some(_) => continue,
                None => match path.strip_prefix(at.trim_end_matches('/')) {
                    Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/').to_owned(),
                    _ => continue,
                },
            };
            let found = pod
                .list("/spec/volumes")
                .find(|one| one.get("name").and_then(|name| name.as_str()) == Some(&volume))?;
            let projected = found
                .pointer("/projected/sources")
                .and_then(|sources| sources.as_array())
                .into_iter()
                .flatten()
                .filter_map(|source| source.get("configMap"));
            for source in found.get("configMap").into_iter().chain(projected) {
                let items = source.get("items").and_then(|items| items.as_array());
                let key = match items {
                    None => Some(file.clone()),
                    Some(items) => items
                        .iter()
                        .find(|item| text(item, "path").as_deref() == Some(&file))
                        .and_then(|item| text(item, "key")),
                };
                if let Some((name, key)) = text(source, "name").zip(key) {
                    return Some(ConfigMapKey {
                        name,
                        key,
                        optional: source.get("optional").and_then(|v| v.as_bool()) == Some(true),
                    });
                }
            }
        }
    }
    None
}

/// The text of a key; none where the ConfigMap is not there, which the pod itself complains of.
fn from_config_map(
    case: &Case<'_>,
    source: &ConfigMapKey,
) -> Result<Option<(Subject, String)>, Gap> {
    let maps = case.config_maps();
    let others = case.others();
    let found = [&maps, &others]
        .into_iter()
        .filter_map(|list| list.as_ref().ok().copied().flatten())
        .flatten()
        .find(|object| object.kind() == "ConfigMap" && object.name() == source.name);
    let Some(map) = found else {
        if source.optional {
            return Ok(None);
        }
        return match (maps, others) {
            (Err(gap), _) => Err(gap),
            _ => Err(Gap::NotLookedAt(
                Need::ConfigMaps,
                format!("the ConfigMap `{}` was not found", source.name),
            )),
        };
    };
    Ok(map
        .get("/data")
        .and_then(|data| data.get(&source.key))
        .and_then(|text| text.as_str())
        .map(|text| {
            (
                map.subject_at(
                    &format!("/data/{}", crate::doctor::escape(&source.key)),
                    format!("key `{}`", source.key),
                ),
                text.to_owned(),
            )
        }))
}

/// `providers describe` of a provider.
pub(super) fn describe_provider(provider: &PoolProvider) -> String {
    format!(
        "gcloud iam workload-identity-pools providers describe {} --workload-identity-pool={} --location=global --project={} --format=json",
        provider.provider(),
        provider.pool(),
        provider.project_number(),
    )
}

/// `providers update-oidc` of a provider, with one more flag.
pub(super) fn update_provider(provider: &PoolProvider, flag: &str, value: &str) -> String {
    format!(
        "gcloud iam workload-identity-pools providers update-oidc {} --workload-identity-pool={} --location=global --project={} {flag}={}",
        provider.provider(),
        provider.pool(),
        provider.project_number(),
        quote(value),
    )
}

/// `get-iam-policy` of a service account.
pub(super) fn get_policy(email: &str) -> String {
    format!("gcloud iam service-accounts get-iam-policy {email} --format=json")
}

/// Gives a member the role of workload identity on a service account.
pub(super) fn add_binding(email: &str, member: &str) -> String {
    let project = match project_of(email) {
        Some(project) => format!(" --project={project}"),
        None => String::new(),
    };
    format!(
        "gcloud iam service-accounts add-iam-policy-binding {email}{project} --role=roles/iam.workloadIdentityUser --member={}",
        quote(member)
    )
}

/// The project of a service account, from its e-mail.
pub(super) fn project_of(email: &str) -> Option<&str> {
    email
        .split_once('@')?
        .1
        .strip_suffix(".iam.gserviceaccount.com")
}

/// The key by which a mechanism is told its provider.
fn provider_key(mechanism: &Mechanism, given: &Given) -> &'static str {
    let of = |key: &str| {
        given
            .subject
            .as_ref()
            .and_then(|subject| subject.pointer.as_deref())
            .is_some_and(|pointer| pointer.ends_with(key))
    };
    match mechanism.kind {
        MechanismKind::GoogleFederation => PROVIDER,
        _ if of("cwii.dev~1gcp-provider") => "cwii.dev/gcp-provider",
        _ => "cwii.dev/gcp-audience",
    }
}

/// The path of the credentials document that a mechanism injects into a container.
fn injected_credentials(mechanism: &Mechanism, container: &Container<'_>) -> Option<String> {
    match mechanism.kind {
        MechanismKind::Cwii => Some(names::GCP_CREDENTIALS_FILE.to_owned()),
        // Versions of the webhook differ in the directory, and call the file the same.
        MechanismKind::GoogleFederation => ["external-credential-config", "gcloud-config"]
            .into_iter()
            .find_map(|volume| container.mount_paths(volume).next())
            .map(|directory| format!("{}/federation.json", directory.trim_end_matches('/'))),
        _ => None,
    }
}

/// How the token was come by, where that matters to a reader.
pub(super) fn origin(token: &TokenView) -> &'static str {
    match token.origin {
        TokenOrigin::Minted => "a token minted for this ServiceAccount",
        TokenOrigin::Documented => "the documented claims",
        TokenOrigin::Foretold => "the API server's discovery document and the pod",
    }
}
