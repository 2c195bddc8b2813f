//! What one pod or ServiceAccount asks clouds for, read from the cluster: the least that tells which audience, role or client
//! its tokens are for. The finding of it is the doctor's own.

use cwii_checks::{
    doctor::{Facts, Mechanism, Object, Owner, Target, examine},
    facts::Fact,
};
use cwii_contract::{
    Provider,
    names::default_audience,
    types::{IssuerUrl, Subject},
};
use cwii_token::Discovery;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::{
    cluster::{
        Cluster, Failure, Resource,
        client::Mint,
        fact,
        resource::{NAMESPACE, POD, SERVICE_ACCOUNT},
    },
    problem::Problem,
};

/// A ServiceAccount, and the pod of it that was asked about.
pub(crate) struct Identity {
    /// Whose tokens.
    pub(crate) subject: Subject,
    /// Name and UID of the pod.
    pub(crate) pod: Option<(String, String)>,
    /// The ways to a cloud.
    pub(crate) mechanisms: Vec<Mechanism>,
}

impl Identity {
    /// A pod of a namespace.
    pub(crate) async fn of_pod(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
    ) -> Result<Self, Problem> {
        let pod = cluster
            .get(POD, namespace, name)
            .await
            .map_err(|failure| failure.into_problem(&format!("pod `{namespace}/{name}`")))?;
        let account = pod
            .pointer("/spec/serviceAccountName")
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
            .unwrap_or("default")
            .to_owned();
        let uid = pod
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let owners = owners(cluster, namespace, &pod).await;
        let mut facts = facts("Pod", namespace, name);
        facts.owners = owners;
        facts.pod = Fact::Known(Object::new(pod));
        let (subject, mechanisms) = looked_at(cluster, facts, namespace, &account, None).await?;
        Ok(Self {
            subject,
            pod: Some((name.to_owned(), uid)),
            mechanisms,
        })
    }

    /// A ServiceAccount of a namespace. Where it asks for Azure's webhook, the label that pods alone can have is taken as
    /// there.
    pub(crate) async fn of_service_account(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
    ) -> Result<Self, Problem> {
        let mut facts = facts("ServiceAccount", namespace, name);
        facts.from_template = true;
        facts.pod = Fact::Known(Object::new(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": namespace,
            },
            "spec": {
                "serviceAccountName": name,
                "containers": [{ "name": "main" }],
            },
        })));
        let what = format!("service account `{namespace}/{name}`");
        let (subject, mechanisms) = looked_at(cluster, facts, namespace, name, Some(&what)).await?;
        Ok(Self {
            subject,
            pod: None,
            mechanisms,
        })
    }

    /// The first mechanism of a cloud that a token is exchanged for.
    pub(crate) fn mechanism(&self, provider: Option<Provider>) -> Option<&Mechanism> {
        let mut of_cloud = self
            .mechanisms
            .iter()
            .filter(|mechanism| provider.is_none_or(|provider| mechanism.provider == provider));
        of_cloud
            .clone()
            .find(|mechanism| mechanism.kind.presents_token())
            .or_else(|| of_cloud.next())
    }

    /// The audience that a cloud's tokens are for, and where that is said.
    ///
    /// # Errors
    ///
    /// Nobody says it, and there is no default.
    pub(crate) fn audience(&self, provider: Provider) -> Result<(String, String), Problem> {
        let given = self
            .mechanism(Some(provider))
            .and_then(|mechanism| mechanism.audience.as_ref());
        match (given, default_audience(provider)) {
            (Some(given), _) => {
                let source = match &given.subject {
                    Some(subject) => format!(
                        "{} of {} {}",
                        subject.pointer.as_deref().unwrap_or("annotation"),
                        subject.kind,
                        subject.name
                    ),
                    None => format!("the default of {}", provider.display_name()),
                };
                Ok((given.value.clone(), source))
            }
            (None, Some(default)) => Ok((
                default.to_owned(),
                format!("the default of {}", provider.display_name()),
            )),
            (None, None) => Err(Problem::new(format!(
                "expected an audience for {}, found no annotation that names the provider",
                provider.display_name()
            ))
            .help("annotate the service account, or request a token by its audience with")
            .help(format!(
                "  kubectl cwii token request --sa {} -n {} --audience AUDIENCE",
                self.subject.service_account(),
                self.subject.namespace()
            ))),
        }
    }

    /// Mints a token, bound to the pod where there is one.
    pub(crate) async fn mint(
        &self,
        cluster: &Cluster,
        audience: &str,
    ) -> Result<SecretString, Problem> {
        let pod = self
            .pod
            .as_ref()
            .map(|(name, uid)| (name.as_str(), uid.as_str()));
        mint(cluster, &self.subject, &[audience.to_owned()], pod).await
    }
}

/// Mints a short-lived token of a ServiceAccount.
pub(crate) async fn mint(
    cluster: &Cluster,
    subject: &Subject,
    audiences: &[String],
    pod: Option<(&str, &str)>,
) -> Result<SecretString, Problem> {
    let minted = cluster
        .mint(Mint {
            namespace: subject.namespace(),
            service_account: subject.service_account(),
            audiences,
            expiration_seconds: Some(SHORTEST_LIFETIME_SECONDS),
            pod,
        })
        .await
        .map_err(|failure| {
            let account = format!(
                "service account `{}/{}`",
                subject.namespace(),
                subject.service_account()
            );
            match failure {
                Failure::Absent => failure.into_problem(&account),
                _ => failure.into_problem(&format!("a token of {account}")),
            }
        })?;
    if minted.token.expose_secret().is_empty() {
        return Err(Problem::new("the API server minted an empty token"));
    }
    Ok(minted.token)
}

/// The cluster's discovery document.
pub(crate) async fn discovery(cluster: &Cluster) -> Fact<Discovery> {
    let found = cluster.raw("/.well-known/openid-configuration").await;
    read(found, |bytes| {
        Discovery::parse(bytes).map_err(|error| error.to_string())
    })
}

/// The cluster's issuer.
///
/// # Errors
///
/// The API server did not say it, or it is none.
pub(crate) async fn issuer(cluster: &Cluster) -> Result<IssuerUrl, Problem> {
    match discovery(cluster).await {
        Fact::Known(discovery) => discovery
            .issuer
            .parse()
            .map_err(|error| Problem::new(format!("the cluster's issuer: {error}"))),
        fact => Err(Problem::new(format!(
            "the cluster's discovery document: {}",
            crate::sources::describe(&fact)
        ))
        .help("name the issuer with --issuer")),
    }
}

/// What the API server sent, parsed, with its failure.
pub(crate) fn read<T>(
    found: Result<bytes::Bytes, Failure>,
    parse: impl Fn(&[u8]) -> Result<T, String>,
) -> Fact<T> {
    match fact(found) {
        Fact::Known(bytes) => parse(&bytes).map_or_else(Fact::Invalid, Fact::Known),
        Fact::Absent => Fact::Absent,
        Fact::Denied(text) => Fact::Denied(text),
        Fact::Unreachable(text) => Fact::Unreachable(text),
        Fact::TimedOut => Fact::TimedOut,
        Fact::Invalid(text) => Fact::Invalid(text),
        Fact::NotCollected => Fact::NotCollected,
    }
}

fn facts(kind: &str, namespace: &str, name: &str) -> Facts {
    Facts::new(
        Target {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        Timestamp::now(),
    )
}

/// `required` names the ServiceAccount where nothing can be said without it.
async fn looked_at(
    cluster: &Cluster,
    mut facts: Facts,
    namespace: &str,
    account: &str,
    required: Option<&str>,
) -> Result<(Subject, Vec<Mechanism>), Problem> {
    let subject = format!("system:serviceaccount:{namespace}:{account}")
        .parse()
        .map_err(|error| Problem::new(format!("{error}")))?;
    let (service_account, of_namespace) = tokio::join!(
        cluster.get(SERVICE_ACCOUNT, namespace, account),
        cluster.get(NAMESPACE, namespace, namespace),
    );
    if let (Some(what), Err(failure)) = (required, &service_account) {
        return Err(failure.clone().into_problem(what));
    }
    facts.service_account = fact(service_account.map(Object::new));
    if let (true, Fact::Known(account), Fact::Known(pod)) =
        (facts.from_template, &facts.service_account, &facts.pod)
        && account.annotation(AZURE_CLIENT_ID).is_some()
    {
        let mut labelled = pod.value().clone();
        labelled["metadata"]["labels"] = json!({ "azure.workload.identity/use": "true" });
        facts.pod = Fact::Known(Object::new(labelled));
    }
    facts.namespace = fact(of_namespace.map(Object::new));
    Ok((subject, examine(&facts).mechanisms))
}

/// The controllers above a pod, the nearest first.
async fn owners(cluster: &Cluster, namespace: &str, pod: &Value) -> Vec<Owner> {
    let mut owners = Vec::new();
    let mut next = controller(pod);
    while let Some((api_version, kind, name)) = next.take() {
        let object = match Resource::of(&api_version, &kind) {
            Some(resource) => fact(cluster.get(resource, namespace, &name).await),
            None => Fact::NotCollected,
        };
        if let Fact::Known(object) = &object
            && owners.len() < MAX_OWNERS
        {
            next = controller(object);
        }
        let object = match object {
            Fact::Known(object) => Fact::Known(Object::new(object)),
            Fact::Absent => Fact::Absent,
            Fact::Denied(text) => Fact::Denied(text),
            Fact::TimedOut => Fact::TimedOut,
            Fact::Unreachable(text) | Fact::Invalid(text) => Fact::Unreachable(text),
            Fact::NotCollected => Fact::NotCollected,
        };
        owners.push(Owner {
            api_version,
            kind,
            name,
            object,
        });
    }
    owners
}

fn controller(object: &Value) -> Option<(String, String, String)> {
    let references = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let controller = references
        .iter()
        .find(|reference| reference.get("controller").and_then(Value::as_bool) == Some(true))?;
    let text = |name: &str| controller.get(name)?.as_str().map(str::to_owned);
    Some((text("apiVersion")?, text("kind")?, text("name")?))
}

/// Source: Azure Workload Identity documentation, "Service Account Labels and Annotations".
const AZURE_CLIENT_ID: &str = "azure.workload.identity/client-id";
/// The least that the TokenRequest API takes.
const SHORTEST_LIFETIME_SECONDS: u64 = 600;
/// A pod, a ReplicaSet, a Deployment, and what an operator may have put above.
const MAX_OWNERS: usize = 4;
