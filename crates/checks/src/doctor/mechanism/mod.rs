//! Which ways to a cloud a pod has, or asks for.
//!
//! A mechanism is asked for by an annotation, a label or a cloud's own document, and shows in the pod by what its webhook
//! injected. Either alone makes it one: asked for and not there is what most failures are. A cloud is a module.

pub(crate) mod aws;
pub(crate) mod azure;
pub(crate) mod google;

use cwii_contract::{Effective, Provider, names, plan::ProviderPlan};

use super::{
    case,
    facts::Facts,
    object::{Container, Object, ProjectedToken},
};
use crate::{facts::Fact, report::Subject};

/// A family of mechanisms.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MechanismKind {
    /// cwii's own injection.
    Cwii,
    /// IAM roles for service accounts: EKS, or AWS's webhook on another cluster.
    Irsa,
    /// EKS Pod Identity.
    EksPodIdentity,
    /// GKE's metadata server.
    GkeMetadata,
    /// Google's webhook for federation from other clusters.
    GoogleFederation,
    /// Azure's webhook, of AKS or installed by hand.
    AzureWorkloadIdentity,
    /// A projected token and variables that somebody wrote into the pod.
    Manual,
}

/// One way to a cloud.
#[derive(Clone, Debug, PartialEq)]
pub struct Mechanism {
    /// The family.
    pub kind: MechanismKind,
    /// The cloud.
    pub provider: Provider,
    /// What asks for it; none where only the pod shows it.
    pub asked_by: Option<Subject>,
    /// Whether the pod shows any of it. A template never does, unless somebody wrote it there.
    pub injected: bool,
    /// The audience that was asked for, or the mechanism's default.
    pub audience: Option<Given>,
    /// AWS: the role.
    pub role: Option<Given>,
    /// AWS: the region.
    pub region: Option<Given>,
    /// AWS: the session name.
    pub session_name: Option<Given>,
    /// Google: the provider as `credentials.json` names it.
    pub google_provider: Option<Given>,
    /// Google: the service account to impersonate.
    pub google_service_account: Option<Given>,
    /// Entra: the application or managed identity.
    pub client_id: Option<Given>,
    /// Entra: the tenant.
    pub tenant_id: Option<Given>,
    /// The token that the pod has for it.
    pub token: Option<PodToken>,
}

/// A value and who gave it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Given {
    /// The value as it stands.
    pub value: String,
    /// Where it stands; none for a default.
    pub subject: Option<Subject>,
}

/// A token file in a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodToken {
    /// The projected source.
    pub source: ProjectedToken,
    /// `audience`.
    pub audience: Option<String>,
    /// Path in the first container that mounts it.
    pub path: Option<String>,
}

impl MechanismKind {
    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cwii => "cwii",
            Self::Irsa => "IRSA",
            Self::EksPodIdentity => "EKS Pod Identity",
            Self::GkeMetadata => "GKE workload identity",
            Self::GoogleFederation => "Google's federation webhook",
            Self::AzureWorkloadIdentity => "Azure workload identity",
            Self::Manual => "by hand",
        }
    }

    /// Whether a web token is exchanged, as opposed to a credentials endpoint on the node.
    #[must_use]
    pub const fn presents_token(self) -> bool {
        !matches!(self, Self::EksPodIdentity | Self::GkeMetadata)
    }
}

impl Mechanism {
    /// A mechanism of which nothing but its family is known.
    #[must_use]
    pub fn new(kind: MechanismKind, provider: Provider) -> Self {
        Self {
            kind,
            provider,
            asked_by: None,
            injected: false,
            audience: None,
            role: None,
            region: None,
            session_name: None,
            google_provider: None,
            google_service_account: None,
            client_id: None,
            tenant_id: None,
            token: None,
        }
    }

    /// Whether one of these audiences is of the kind that the cloud takes, whatever the exact text.
    #[must_use]
    pub fn could_be_audience(&self, audiences: &[&str]) -> bool {
        let part = match self.provider {
            Provider::Aws if self.kind == MechanismKind::EksPodIdentity => "eks.amazonaws.com",
            Provider::Aws => "sts.amazonaws.com",
            Provider::Gcp => "iam.googleapis.com",
            Provider::Az => "azureadtokenexchange",
        };
        audiences
            .iter()
            .any(|audience| audience.to_lowercase().contains(part))
    }
}

impl Given {
    /// A value that nobody gave.
    #[must_use]
    pub fn default(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            subject: None,
        }
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(object: &Object, key: &str) -> Option<Self> {
        Some(Self {
            value: object.annotation(key)?.to_owned(),
            subject: Some(object.subject_annotation(key)),
        })
    }

    /// The literal value of a variable, from the first container that has it.
    #[must_use]
    pub fn variable(pod: &Object, name: &str) -> Option<Self> {
        pod.containers().find_map(|container| {
            Some(Self {
                value: container.variable(name)?.to_owned(),
                subject: Some(variable_subject(pod, &container, name)),
            })
        })
    }
}

/// Finds all mechanisms. What could not be read is taken as silent; rules that need it say so themselves.
#[must_use]
pub(crate) fn detect(facts: &Facts) -> Vec<Mechanism> {
    let Fact::Known(pod) = &facts.pod else {
        return Vec::new();
    };
    let cwii = cwii(facts, pod);
    let mut found = Vec::new();
    for (provider, of_cloud) in [
        (Provider::Aws, aws::detect(facts, pod)),
        (Provider::Gcp, google::detect(facts, pod)),
        (Provider::Az, azure::detect(facts, pod)),
    ] {
        let own = cwii
            .iter()
            .filter(|mechanism| mechanism.provider == provider)
            .cloned();
        let before = found.len();
        found.extend(own);
        let is_cwii = found.len() > before;
        // What cwii reads from native annotations is cwii's, as long as nobody else injected anything.
        found.extend(of_cloud.into_iter().filter(|mechanism| {
            !is_cwii || mechanism.injected && mechanism.kind != MechanismKind::Manual
        }));
    }
    found
}

/// A variable as the place of a finding.
#[must_use]
pub(crate) fn variable_subject(pod: &Object, container: &Container<'_>, name: &str) -> Subject {
    pod.subject_at(
        &container.variable_pointer(name),
        format!("variable `{name}` of container `{}`", container.name()),
    )
}

/// The token that lies at a path in a container, or in the volume of a name.
pub(crate) fn token_at(pod: &Object, volume: &str, path: Option<&str>) -> Option<PodToken> {
    pod.projected_tokens().into_iter().find_map(|source| {
        let paths: Vec<_> = pod
            .containers()
            .flat_map(|container| {
                container
                    .mount_paths(&source.volume)
                    .map(|mount| format!("{}/{}", mount.trim_end_matches('/'), source.path))
                    .collect::<Vec<_>>()
            })
            .collect();
        let at_path = path.is_some_and(|path| paths.iter().any(|found| found == path));
        (at_path || source.volume == volume).then(|| PodToken {
            audience: source.audience.clone(),
            path: paths.first().cloned(),
            source,
        })
    })
}

/// What cwii was asked for, and what it injected.
fn cwii(facts: &Facts, pod: &Object) -> Vec<Mechanism> {
    let plan = case::plan(facts, pod).unwrap_or_default();
    Provider::ALL
        .into_iter()
        .filter_map(|provider| {
            let planned = plan
                .providers
                .iter()
                .find(|planned| planned.provider == provider);
            let token = token_at(pod, names::token_volume(provider), None);
            let injected = token.is_some()
                || pod
                    .annotation("cwii.dev/injected")
                    .is_some_and(|list| list.split(',').any(|one| one.trim() == provider.as_str()));
            if planned.is_none() && !injected {
                return None;
            }
            let mut mechanism = Mechanism {
                injected,
                token,
                ..Mechanism::new(MechanismKind::Cwii, provider)
            };
            match planned {
                Some(planned) => of_plan(&mut mechanism, facts, planned),
                None => of_variables(&mut mechanism, pod),
            }
            Some(mechanism)
        })
        .collect()
}

fn of_plan(mechanism: &mut Mechanism, facts: &Facts, planned: &ProviderPlan) {
    let given = |effective: &Effective| Given {
        value: effective.value.clone(),
        subject: case::source_subject(facts, &effective.from),
    };
    let find = |key: &str| {
        planned
            .settings
            .iter()
            .find(|setting| setting.key.trim_start_matches("cwii.dev/") == key)
            .map(given)
    };
    mechanism.audience = Some(Given {
        value: planned.audience.value.clone(),
        subject: case::source_subject(facts, &planned.audience.from),
    });
    mechanism.role = find("aws-role-arn");
    mechanism.region = find("aws-region");
    mechanism.session_name = find("aws-role-session-name");
    mechanism.google_service_account = find("gcp-service-account");
    mechanism.client_id = find("az-client-id");
    mechanism.tenant_id = find("az-tenant-id");
    if mechanism.provider == Provider::Gcp {
        mechanism.google_provider = find("gcp-provider").or_else(|| mechanism.audience.clone());
    }
    let identity = [
        &mechanism.role,
        &mechanism.client_id,
        &mechanism.google_service_account,
        &mechanism.audience,
    ]
    .into_iter()
    .flatten()
    .find_map(|given| given.subject.clone());
    mechanism.asked_by = find(&format!("{}-inject", mechanism.provider))
        .and_then(|given| given.subject)
        .or(identity);
}

/// An injection that nothing asks for any more: the pod's own variables say what it is.
fn of_variables(mechanism: &mut Mechanism, pod: &Object) {
    let audience = mechanism
        .token
        .as_ref()
        .and_then(|token| token.audience.clone());
    mechanism.audience = audience.map(Given::default);
    match mechanism.provider {
        Provider::Aws => aws::of_variables(mechanism, pod),
        Provider::Gcp => google::of_variables(mechanism, pod),
        Provider::Az => azure::of_variables(mechanism, pod),
    }
}
