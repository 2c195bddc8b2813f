//! One workload of the lab: what is right about it by construction, and what one case makes different.
//!
//! Every case has a cluster (unless it is put into another), a role, a provider, a pool, a client of its own, all named
//! after it. So one lab serves all cases at once and none disturbs another; what the clouds decide differs only by what
//! the case changed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use cwii_contract::{ExternalAccount, Provider, env, names};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    ForcedAnswer, LabError,
    documents::{Change, Document, Names, write_atomically},
    fault::Service,
    issuer::{self, TokenSpec, uuid_of},
    keys::KeyName,
    lab::{Endpoints, State},
};

/// A way from a pod to credentials.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mechanism {
    /// `AssumeRoleWithWebIdentity` with a token file (IRSA, cwii).
    AwsWebIdentity,
    /// EKS Pod Identity.
    AwsPodIdentity,
    /// Google STS, the federated token itself.
    GoogleDirect,
    /// Google STS, then a service account's token.
    GoogleImpersonated,
    /// The GKE metadata server.
    GkeMetadata,
    /// Entra client credentials with a federated token.
    EntraFederated,
}

impl Mechanism {
    /// All mechanisms.
    pub const ALL: [Self; 6] = [
        Self::AwsWebIdentity,
        Self::AwsPodIdentity,
        Self::GoogleDirect,
        Self::GoogleImpersonated,
        Self::GkeMetadata,
        Self::EntraFederated,
    ];

    /// The cloud that it leads to.
    #[must_use]
    pub const fn provider(self) -> Provider {
        match self {
            Self::AwsWebIdentity | Self::AwsPodIdentity => Provider::Aws,
            Self::GoogleDirect | Self::GoogleImpersonated | Self::GkeMetadata => Provider::Gcp,
            Self::EntraFederated => Provider::Az,
        }
    }
}

/// A workload, by its differences from one in which everything is right.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name, kebab-case, 6 to 30 characters; everything of the case bears it.
    pub name: &'static str,
    /// How it comes by credentials.
    pub mechanism: Mechanism,
    /// Cluster that it runs in, which decides the issuer.
    pub cluster: &'static str,
    /// Namespace of the pod.
    pub namespace: &'static str,
    /// ServiceAccount of the pod.
    pub service_account: &'static str,
    /// AWS account.
    pub account: &'static str,
    /// Google project: id and number.
    pub project: (&'static str, &'static str),
    /// Whether the issuer ends in a slash, as AKS has it.
    pub issuer_ends_in_slash: bool,
    /// Keys that the cluster publishes.
    pub published: Vec<KeyName>,
    /// How the token differs.
    pub token: fn(&mut TokenSpec),
    /// How the token file differs.
    pub file: TokenFile,
    /// How the documents differ.
    pub changes: Vec<Change>,
    /// How the environment differs: set, or with `None` unset. Values may hold placeholders.
    pub env: Vec<(&'static str, Option<&'static str>)>,
    /// How Google's credentials document differs: JSON pointer, and a value or nothing.
    pub credentials: Vec<(&'static str, Option<Value>)>,
    /// The answer to give in place of a decision.
    pub forced: Option<(Service, ForcedAnswer)>,
    /// The operation that a forced answer is for, where the service has several.
    pub forced_operation: Option<&'static str>,
}

/// How a token file can differ from one that the kubelet keeps.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TokenFile {
    /// A projected volume: `token` leads to `..data/token`, and `..data` to a folder that is replaced as a whole.
    #[default]
    Projected,
    /// A plain file, as an entrypoint script copies it: nobody renews it.
    Copied,
    /// JSON with the token under `access_token`.
    Json,
    /// The token with a newline after it.
    Newline,
    /// The token in double quotes.
    Quoted,
    /// The first two thirds of the token.
    Truncated,
    /// No token but a text.
    Text(&'static str),
    /// Nothing in it.
    Empty,
    /// Bytes that are no text.
    Binary,
    /// This many bytes.
    Large(usize),
    /// A directory.
    Directory,
    /// No such file.
    Missing,
}

impl Case {
    /// A workload in which everything is right.
    #[must_use]
    pub fn new(name: &'static str, mechanism: Mechanism) -> Self {
        Self {
            name,
            mechanism,
            cluster: name,
            namespace: "shop",
            service_account: "checkout",
            account: "111122223333",
            project: ("lab-project", "123456789012"),
            issuer_ends_in_slash: false,
            published: vec![KeyName::Rsa],
            token: |_| {},
            file: TokenFile::Projected,
            changes: Vec::new(),
            env: Vec::new(),
            credentials: Vec::new(),
            forced: None,
            forced_operation: None,
        }
    }

    /// The pod runs as another ServiceAccount.
    #[must_use]
    pub fn of(mut self, namespace: &'static str, service_account: &'static str) -> Self {
        self.namespace = namespace;
        self.service_account = service_account;
        self
    }

    /// The workload runs in a cluster that it shares with others. What the cluster publishes is written by each of them,
    /// so they have to agree on it.
    #[must_use]
    pub fn in_cluster(mut self, cluster: &'static str) -> Self {
        self.cluster = cluster;
        self
    }

    /// The role lives in another account.
    #[must_use]
    pub fn account(mut self, account: &'static str) -> Self {
        self.account = account;
        self
    }

    /// The pool and the service account live in another project.
    #[must_use]
    pub fn project(mut self, id: &'static str, number: &'static str) -> Self {
        self.project = (id, number);
        self
    }

    /// The issuer ends in a slash.
    #[must_use]
    pub fn issuer_ends_in_slash(mut self) -> Self {
        self.issuer_ends_in_slash = true;
        self
    }

    /// The cluster publishes these keys.
    #[must_use]
    pub fn published(mut self, keys: impl IntoIterator<Item = KeyName>) -> Self {
        self.published = keys.into_iter().collect();
        self
    }

    /// The token differs.
    #[must_use]
    pub fn token(mut self, differ: fn(&mut TokenSpec)) -> Self {
        self.token = differ;
        self
    }

    /// The token file differs.
    #[must_use]
    pub fn file(mut self, file: TokenFile) -> Self {
        self.file = file;
        self
    }

    /// A document has another value at a pointer.
    #[must_use]
    pub fn set(mut self, document: Document, pointer: &'static str, value: Value) -> Self {
        self.changes.push(Change::Set(document, pointer, value));
        self
    }

    /// A document lacks what is at a pointer.
    #[must_use]
    pub fn unset(mut self, document: Document, pointer: &'static str) -> Self {
        self.changes.push(Change::Unset(document, pointer));
        self
    }

    /// A document does not exist.
    #[must_use]
    pub fn without(mut self, document: Document) -> Self {
        self.changes.push(Change::Remove(document));
        self
    }

    /// A document differs in another way.
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// A variable has another value, or with `None` none.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<Option<&'static str>>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Google's credentials document has another value at a pointer, or with `None` none.
    #[must_use]
    pub fn credentials(mut self, pointer: &'static str, value: impl Into<Option<Value>>) -> Self {
        self.credentials.push((pointer, value.into()));
        self
    }

    /// The service gives this answer in place of a decision.
    #[must_use]
    pub fn forced(mut self, service: Service, answer: ForcedAnswer) -> Self {
        self.forced = Some((service, answer));
        self
    }

    /// The forced answer is for one operation of the service.
    #[must_use]
    pub fn at(mut self, operation: &'static str) -> Self {
        self.forced_operation = Some(operation);
        self
    }
}

/// A workload laid out on disk, ready for the agent or an official SDK.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Name of the case.
    pub name: String,
    /// The cloud that it federates into.
    pub provider: Provider,
    /// How.
    pub mechanism: Mechanism,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// What `--allow-endpoint` has to name, `HOST:PORT`.
    pub allow_endpoints: Vec<String>,
    /// Where its token is, or should be; none for the GKE metadata server.
    pub token_file: Option<PathBuf>,
    /// Its files.
    pub dir: PathBuf,
    /// Its cluster's issuer.
    pub issuer: String,
    /// Its names, by placeholder.
    pub names: Names,
}

impl Workload {
    /// The environment as lines for a POSIX shell.
    #[must_use]
    pub fn shell_exports(&self) -> String {
        shell_exports(&self.env)
    }
}

/// Variables as `export` lines for a POSIX shell.
#[must_use]
pub fn shell_exports(variables: &BTreeMap<String, String>) -> String {
    variables
        .iter()
        .map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', r"'\''")))
        .collect()
}

/// The names of a case.
pub(crate) fn names(case: &Case, endpoints: &Endpoints, thumbprint: &str) -> Names {
    let name = case.name;
    let (project, number) = case.project;
    let base = format!("{}/{}", endpoints.issuer, case.cluster);
    let issuer = if case.issuer_ends_in_slash {
        format!("{base}/")
    } else {
        base.clone()
    };
    let host = issuer.trim_start_matches("https://").to_owned();
    let subject = format!(
        "system:serviceaccount:{}:{}",
        case.namespace, case.service_account
    );
    let pool = format!(
        "iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/{name}"
    );
    let provider = format!("//{pool}/providers/kubernetes");
    let member = match case.mechanism {
        Mechanism::GkeMetadata => format!(
            "serviceAccount:{project}.svc.id.goog[{}/{}]",
            case.namespace, case.service_account
        ),
        _ => format!("principal://{pool}/subject/{subject}"),
    };
    let audience = match case.mechanism {
        Mechanism::AwsWebIdentity => "sts.amazonaws.com".to_owned(),
        Mechanism::AwsPodIdentity => "pods.eks.amazonaws.com".to_owned(),
        Mechanism::GoogleDirect | Mechanism::GoogleImpersonated => provider.clone(),
        Mechanism::GkeMetadata => format!("{project}.svc.id.goog"),
        Mechanism::EntraFederated => "api://AzureADTokenExchange".to_owned(),
    };
    let account = case.account;
    Names::new([
        ("CASE", name.to_owned()),
        ("CLUSTER", case.cluster.to_owned()),
        ("NAMESPACE", case.namespace.to_owned()),
        ("SERVICE_ACCOUNT", case.service_account.to_owned()),
        ("SUBJECT", subject),
        ("AUDIENCE", audience),
        ("ISSUER", issuer),
        ("ISSUER_BASE", base),
        (
            "OIDC_PROVIDER_ARN",
            format!("arn:aws:iam::{account}:oidc-provider/{host}"),
        ),
        ("ISSUER_HOST", host),
        ("CA_THUMBPRINT", thumbprint.to_owned()),
        ("REGION", REGION.to_owned()),
        ("ACCOUNT", account.to_owned()),
        ("ROLE_NAME", name.to_owned()),
        ("ROLE_ID", format!("AROA{}", letters(name, 17))),
        ("ROLE_ARN", format!("arn:aws:iam::{account}:role/{name}")),
        (
            "ASSOCIATION_ID",
            format!("a-{}", letters(name, 17).to_lowercase()),
        ),
        ("PROJECT", project.to_owned()),
        ("PROJECT_NUMBER", number.to_owned()),
        ("POOL", name.to_owned()),
        ("PROVIDER", "kubernetes".to_owned()),
        ("PROVIDER_NAME", provider),
        ("MEMBER", member),
        ("GSA", format!("{name}@{project}.iam.gserviceaccount.com")),
        ("TENANT_ID", TENANT.to_owned()),
        ("CLIENT_ID", uuid_of(&format!("client {name}"))),
        ("OBJECT_ID", uuid_of(&format!("object {name}"))),
        ("APPLICATION_ID", uuid_of(&format!("application {name}"))),
        ("CREDENTIAL_ID", uuid_of(&format!("credential {name}"))),
    ])
}

/// Writes the documents of a case. What it decides is in place before any token is minted.
pub(crate) fn write_documents(state: &State, case: &Case, names: &Names) -> Result<(), LabError> {
    let keys = case
        .published
        .iter()
        .map(|name| Ok(state.keys.key(*name)?.jwk.clone()))
        .collect::<Result<Vec<_>, LabError>>()?;
    let mut made = vec![(Document::Jwks, json!({ "keys": keys }))];
    if let Some((service, answer)) = &case.forced {
        let subject = match service {
            Service::AwsSts => "{{ROLE_ARN}}",
            Service::GoogleSts => "{{PROVIDER_NAME}}",
            Service::GoogleIam => "{{GSA}}",
            Service::Entra => "{{CLIENT_ID}}",
            Service::PodIdentity | Service::Issuer | Service::Trap => "{{ISSUER}}",
            Service::GkeMetadata => "{{CASE}}",
        };
        made.push((
            Document::ForcedAnswer,
            json!({
                "service": service.as_str(),
                "operation": case.forced_operation,
                "match": subject,
                "status": answer.status,
                "code": answer.code,
                "message": answer.message,
                "detail": answer.detail,
            }),
        ));
    }
    state
        .store
        .instantiate(names, case.mechanism, &made, &case.changes)
}

/// Lays a case out: a token as the kubelet keeps it, credentials, environment.
pub(crate) fn lay_out(state: &Arc<State>, case: &Case, names: Names) -> Result<Workload, LabError> {
    let endpoints = state.endpoints();
    let dir = state.store.absolute(&format!("workloads/{}", case.name));
    let token_file = token_path(case.mechanism).map(|path| dir.join(path));
    if let Some(path) = &token_file {
        write_token(state, case, &names, path)?;
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let token_text = token_file.as_deref().map(text).unwrap_or_default();
    let mut variables = common_environment(state, &dir)?;
    let mut allow_endpoints = Vec::new();
    let mut put = |name: &str, value: String| {
        variables.insert(name.to_owned(), value);
    };
    match case.mechanism {
        Mechanism::AwsWebIdentity | Mechanism::AwsPodIdentity => {
            put(env::AWS_REGION, REGION.into());
            put(env::AWS_DEFAULT_REGION, REGION.into());
            put(env::AWS_STS_REGIONAL_ENDPOINTS, "regional".into());
            put("AWS_ENDPOINT_URL_STS", endpoints.sts.clone());
            allow_endpoints.push(authority(&endpoints.sts));
            if case.mechanism == Mechanism::AwsWebIdentity {
                put(env::AWS_ROLE_ARN, names.get("ROLE_ARN").into());
                put(env::AWS_WEB_IDENTITY_TOKEN_FILE, token_text);
                put(env::AWS_ROLE_SESSION_NAME, case.name.into());
            } else {
                put(
                    env::AWS_CONTAINER_CREDENTIALS_FULL_URI,
                    format!("{}/v1/credentials", endpoints.pod_identity),
                );
                put(env::AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, token_text);
            }
        }
        Mechanism::GoogleDirect | Mechanism::GoogleImpersonated => {
            let path = dir.join(&names::GCP_CREDENTIALS_FILE[1..]);
            let document = credentials(case, &names, endpoints, &token_text);
            write_atomically(&path, format!("{document:#}\n").as_bytes())?;
            put(env::GOOGLE_APPLICATION_CREDENTIALS, text(&path));
            put(env::CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE, text(&path));
            put("GOOGLE_CLOUD_PROJECT", case.project.0.into());
            allow_endpoints
                .extend([&endpoints.google_sts, &endpoints.google_iam].map(|e| authority(e)));
        }
        Mechanism::GkeMetadata => {
            let port = state.metadata_port(case.name)?;
            let host = format!("127.0.0.1:{port}");
            put("GCE_METADATA_HOST", host.clone());
            put("GCE_METADATA_ROOT", host.clone());
            put("GCE_METADATA_IP", host);
        }
        Mechanism::EntraFederated => {
            put(env::AZURE_CLIENT_ID, names.get("CLIENT_ID").into());
            put(env::AZURE_TENANT_ID, names.get("TENANT_ID").into());
            put(env::AZURE_FEDERATED_TOKEN_FILE, token_text);
            put(env::AZURE_AUTHORITY_HOST, format!("{}/", endpoints.entra));
            allow_endpoints.push(authority(&endpoints.entra));
        }
    }
    let names = names
        .with("DIR", dir.display())
        .with("OTHER_CA_FILE", state.store.absolute(OTHER_CA).display())
        .with("POD_IDENTITY_PORT", port_of(&endpoints.pod_identity));
    for (name, value) in &case.env {
        match value {
            Some(value) => variables.insert((*name).to_owned(), names.render(value)),
            None => variables.remove(*name),
        };
    }
    Ok(Workload {
        name: case.name.to_owned(),
        provider: case.mechanism.provider(),
        mechanism: case.mechanism,
        env: variables,
        allow_endpoints,
        token_file,
        dir,
        issuer: names.issuer().to_owned(),
        names,
    })
}

/// Mints the case's token and puts it where the workload looks for it.
pub(crate) fn write_token(
    state: &State,
    case: &Case,
    names: &Names,
    path: &Path,
) -> Result<(), LabError> {
    let failed = |source| LabError::File {
        path: path.to_owned(),
        source,
    };
    let token = || issuer::mint(state, &token_spec(case, names));
    let content: Vec<u8> = match case.file {
        TokenFile::Projected | TokenFile::Copied => token()?.into(),
        TokenFile::Json => json!({ "access_token": token()? }).to_string().into(),
        TokenFile::Newline => format!("{}\n", token()?).into(),
        TokenFile::Quoted => format!("\"{}\"", token()?).into(),
        TokenFile::Truncated => {
            let token = token()?;
            token[..token.len() * 2 / 3].into()
        }
        TokenFile::Text(text) => text.into(),
        TokenFile::Empty => Vec::new(),
        TokenFile::Binary => (0..=255u8).cycle().take(1024).collect(),
        TokenFile::Large(bytes) => vec![b'e'; bytes],
        TokenFile::Missing => {
            return fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed);
        }
        TokenFile::Directory => return fs::create_dir_all(path).map_err(failed),
    };
    if case.file == TokenFile::Projected {
        project(path, &content)
    } else {
        write_atomically(path, &content)
    }
}

/// The token of a case.
pub(crate) fn token_spec(case: &Case, names: &Names) -> TokenSpec {
    let mut spec = TokenSpec::new(
        case.cluster,
        case.namespace,
        case.service_account,
        names.get("AUDIENCE"),
    );
    (case.token)(&mut spec);
    spec
}

/// Whether the kubelet would renew the token: a projected one that is not broken on purpose.
pub(crate) fn renewable(case: &Case, names: &Names) -> Option<SignedDuration> {
    let spec = token_spec(case, names);
    let as_the_kubelet_asks = spec.issued == SignedDuration::ZERO
        && spec.expires.is_none()
        && spec.not_before.is_none()
        && spec.payload.is_none();
    (case.file == TokenFile::Projected && as_the_kubelet_asks).then_some(spec.lifetime)
}

pub(crate) fn token_path(mechanism: Mechanism) -> Option<&'static str> {
    // Relative to the workload's folder, which stands for the container's root.
    match mechanism {
        Mechanism::AwsWebIdentity
        | Mechanism::GoogleDirect
        | Mechanism::GoogleImpersonated
        | Mechanism::EntraFederated => Some(&names::token_file(mechanism.provider())[1..]),
        Mechanism::AwsPodIdentity => {
            Some("var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token")
        }
        Mechanism::GkeMetadata => None,
    }
}

/// Writes as the kubelet's atomic writer does: a new folder, then `..data` renamed to lead to it. A reader that opens
/// the file again sees the old content or the new, never half of one.
#[cfg(unix)]
fn project(path: &Path, content: &[u8]) -> Result<(), LabError> {
    use std::os::unix::fs::symlink;

    let failed = |source| LabError::File {
        path: path.to_owned(),
        source,
    };
    let (Some(volume), Some(name)) = (path.parent(), path.file_name()) else {
        return write_atomically(path, content);
    };
    let mut unique = [0; 8];
    crate::keys::fill_random(&mut unique)?;
    let folder = format!("..{:016x}", u64::from_le_bytes(unique));
    write_atomically(&volume.join(&folder).join(name), content)?;
    let data = volume.join("..data");
    let previous = fs::read_link(&data).ok();
    let temporary = volume.join(format!("{folder}_tmp"));
    symlink(&folder, &temporary).map_err(failed)?;
    fs::rename(&temporary, &data).map_err(failed)?;
    if fs::symlink_metadata(path).is_err() {
        symlink(Path::new("..data").join(name), path).map_err(failed)?;
    }
    if let Some(previous) = previous {
        // A reader may still have it open, which is fine; that it cannot be removed would be strange but harms nobody.
        let _ = fs::remove_dir_all(volume.join(previous));
    }
    Ok(())
}

#[cfg(not(unix))]
fn project(path: &Path, content: &[u8]) -> Result<(), LabError> {
    write_atomically(path, content)
}

fn common_environment(state: &State, dir: &Path) -> Result<BTreeMap<String, String>, LabError> {
    let ca = state.ca_file().to_string_lossy().into_owned();
    // Folders and files of the person who runs this must not decide anything: the AWS SDKs, gcloud and az are given
    // empty ones.
    let empty = dir.join("home").join("empty");
    write_atomically(&empty, b"")?;
    let empty = empty.to_string_lossy().into_owned();
    let folder = |name: &str| dir.join("home").join(name).to_string_lossy().into_owned();
    Ok([
        ("AWS_CA_BUNDLE", ca.clone()),
        ("REQUESTS_CA_BUNDLE", ca.clone()),
        ("CURL_CA_BUNDLE", ca.clone()),
        ("SSL_CERT_FILE", ca.clone()),
        ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", ca),
        ("NO_PROXY", "localhost,127.0.0.1,::1".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_CONFIG_FILE", empty.clone()),
        ("AWS_SHARED_CREDENTIALS_FILE", empty),
        ("CLOUDSDK_CONFIG", folder("gcloud")),
        ("AZURE_CONFIG_DIR", folder("azure")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into())
}

fn credentials(case: &Case, names: &Names, endpoints: &Endpoints, token_file: &str) -> Value {
    let mut document = ExternalAccount::document(names.get("PROVIDER_NAME"), token_file, None);
    document["token_url"] = format!("{}/v1/token", endpoints.google_sts).into();
    document["token_info_url"] = format!("{}/v1/introspect", endpoints.google_sts).into();
    if case.mechanism == Mechanism::GoogleImpersonated {
        document["service_account_impersonation_url"] = format!(
            "{}/v1/projects/-/serviceAccounts/{}:generateAccessToken",
            endpoints.google_iam,
            names.get("GSA")
        )
        .into();
    }
    if case.file == TokenFile::Json {
        document["credential_source"]["format"] =
            json!({ "type": "json", "subject_token_field_name": "access_token" });
    }
    for (pointer, value) in &case.credentials {
        match value {
            Some(value) => crate::documents::set(&mut document, pointer, value.clone()),
            None => crate::documents::unset(&mut document, pointer),
        }
    }
    names.render_value(&document)
}

/// `HOST:PORT` of an endpoint.
fn authority(endpoint: &str) -> String {
    endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest)
        .to_owned()
}

fn port_of(endpoint: &str) -> &str {
    endpoint.rsplit(':').next().unwrap_or_default()
}

/// Capital letters and digits made from a text, as IAM's unique ids have them.
fn letters(text: &str, count: usize) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    Sha256::digest(text.as_bytes())
        .iter()
        .take(count)
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

/// Certificate of an authority that signed nothing here, for workloads that trust the wrong one.
pub(crate) const OTHER_CA: &str = "other-ca.pem";
/// The one region that the emulated STS stands in.
pub(crate) const REGION: &str = "us-east-1";
/// The one tenant that the emulated Entra knows by this id; see `entra/tenants.json`.
pub(crate) const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
