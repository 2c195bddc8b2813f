//! Clusters: minting tokens as kube-apiserver does, and publishing what a verifier fetches.
//!
//! A cluster is a name. Its issuer is `https://localhost:PORT/NAME`; what it publishes are two files in the lab's
//! directory, so that a rotation that was forgotten, a private `jwks_uri` or a broken document is an edit.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cwii_token::Algorithm;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    LabError,
    documents::{Document, Names},
    keys::{Key, KeyName, fill_random},
    lab::State,
    server::{Received, Reply},
};

/// A token to mint. [`TokenSpec::new`] describes one that kube-apiserver would mint for a pod; everything else is a
/// deviation from it.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenSpec {
    /// Cluster that mints it; decides the issuer.
    pub cluster: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// ServiceAccount of the pod.
    pub service_account: String,
    /// Name of the pod; none leaves the claim out, as for a token that is bound to nothing.
    pub pod: Option<String>,
    /// Name of the node; none leaves the claim out, as before Kubernetes 1.30.
    pub node: Option<String>,
    /// `aud`, always an array.
    pub audiences: Vec<String>,
    /// Clock of the API server: how far ahead of the lab's clock it is when it mints (negative: how long ago it minted).
    pub issued: SignedDuration,
    /// `exp - iat`.
    pub lifetime: SignedDuration,
    /// `exp`, as far from the lab's clock as this; none: by `lifetime`.
    pub expires: Option<SignedDuration>,
    /// `nbf`, as far from the lab's clock as this; none: `iat`.
    pub not_before: Option<SignedDuration>,
    /// Key that signs.
    pub key: KeyName,
    /// Algorithm; none: the key's own.
    pub algorithm: Option<Algorithm>,
    /// Whose `kid` the header carries; none: that of the key that signs.
    pub kid_of: Option<KeyName>,
    /// Members of the header to set, or with `None` to leave out.
    pub header: Vec<(String, Option<Value>)>,
    /// Claims to set, or with `None` to leave out. Strings may hold placeholders such as `{{ISSUER}}`.
    pub claims: Vec<(String, Option<Value>)>,
    /// The payload verbatim, in place of everything above: for documents that no JSON library writes, such as
    /// duplicate members. May hold placeholders, `{{NOW}}` (seconds) among them.
    pub payload: Option<String>,
    /// Whether one bit of the signature is wrong.
    pub damaged: bool,
}

impl TokenSpec {
    /// A token of `namespace/service_account` for one audience, valid for an hour from now.
    #[must_use]
    pub fn new(cluster: &str, namespace: &str, service_account: &str, audience: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            pod: Some(format!("{service_account}-6d5f9c7b8-x2x4q")),
            node: Some("node-1".to_owned()),
            audiences: vec![audience.to_owned()],
            issued: SignedDuration::ZERO,
            lifetime: SignedDuration::from_hours(1),
            expires: None,
            not_before: None,
            key: KeyName::Rsa,
            algorithm: None,
            kid_of: None,
            header: Vec::new(),
            claims: Vec::new(),
            payload: None,
            damaged: false,
        }
    }

    /// Sets a claim to anything, or leaves it out.
    pub fn claim(&mut self, name: &str, value: impl Into<Option<Value>>) {
        self.claims.push((name.to_owned(), value.into()));
    }

    /// Sets a member of the header to anything, or leaves it out.
    pub fn header_member(&mut self, name: &str, value: impl Into<Option<Value>>) {
        self.header.push((name.to_owned(), value.into()));
    }
}

/// Mints; the signature is remembered as a secret.
pub(crate) fn mint(state: &State, spec: &TokenSpec) -> Result<String, LabError> {
    let names = state.names(&spec.cluster);
    let signing = state.keys.key(spec.key)?;
    let algorithm = spec.algorithm.unwrap_or_else(|| spec.key.algorithm());
    let shown = match spec.kid_of {
        Some(name) => state.keys.key(name)?,
        None => signing,
    };
    let header = header(spec, shown, algorithm);
    let payload = match &spec.payload {
        Some(text) => names.with("NOW", state.now().as_second()).render(text),
        None => claims(spec, &names, state.now())?.to_string(),
    };
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let mut signature = signing.sign(algorithm, message.as_bytes())?;
    if spec.damaged
        && let Some(byte) = signature.last_mut()
    {
        *byte ^= 1;
    }
    let signature = URL_SAFE_NO_PAD.encode(signature);
    state.keep_secret(&signature);
    Ok(format!("{message}.{signature}"))
}

fn header(spec: &TokenSpec, key: &Key, algorithm: Algorithm) -> Value {
    let mut members = Map::new();
    members.insert("alg".into(), algorithm.as_str().into());
    members.insert("kid".into(), key.kid.clone().into());
    overlay(&mut members, &spec.header);
    Value::Object(members)
}

fn claims(spec: &TokenSpec, names: &Names, now: Timestamp) -> Result<Value, LabError> {
    let at = |offset: SignedDuration| now.as_second().saturating_add(offset.as_secs());
    let issued = at(spec.issued);
    let expires = spec
        .expires
        .map_or(issued.saturating_add(spec.lifetime.as_secs()), at);
    let subject = format!(
        "system:serviceaccount:{}:{}",
        spec.namespace, spec.service_account
    );
    let mut kubernetes = Map::new();
    kubernetes.insert("namespace".into(), spec.namespace.clone().into());
    if let Some(node) = &spec.node {
        kubernetes.insert("node".into(), reference(node, &[node]));
    }
    if let Some(pod) = &spec.pod {
        kubernetes.insert(
            "pod".into(),
            reference(pod, &[&spec.cluster, &subject, pod]),
        );
    }
    kubernetes.insert(
        "serviceaccount".into(),
        reference(&spec.service_account, &[&spec.cluster, &subject]),
    );
    let Value::Object(mut members) = json!({
        "aud": spec.audiences,
        "exp": expires,
        "iat": issued,
        "iss": names.issuer(),
        "jti": random_uuid()?,
        "kubernetes.io": kubernetes,
        "nbf": spec.not_before.map_or(issued, at),
        "sub": subject,
    }) else {
        return Ok(Value::Null);
    };
    overlay(&mut members, &spec.claims);
    Ok(names.render_value(&Value::Object(members)))
}

fn overlay(members: &mut Map<String, Value>, changes: &[(String, Option<Value>)]) {
    for (name, value) in changes {
        match value {
            Some(value) => members.insert(name.clone(), value.clone()),
            None => members.shift_remove(name),
        };
    }
}

/// The name of an object and the uid that it would have: the same in every run.
fn reference(name: &str, identity: &[&str]) -> Value {
    json!({ "name": name, "uid": uuid_of(&identity.join("/")) })
}

/// A UUID made from a text, so that documents are the same in every run.
pub(crate) fn uuid_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid(bytes)
}

/// A random UUID, version 4.
pub(crate) fn random_uuid() -> Result<String, LabError> {
    let mut bytes = [0; 16];
    fill_random(&mut bytes)?;
    Ok(uuid(bytes))
}

fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Serves the two documents of a cluster from its files.
pub(crate) fn handle(state: &State, request: &Received) -> Reply {
    let not_found = || Reply::text(404, "404 page not found\n");
    if request.method != "GET" {
        return Reply::text(405, "Method Not Allowed\n");
    }
    let Some((cluster, rest)) = request
        .path
        .strip_prefix('/')
        .and_then(|path| path.split_once('/'))
    else {
        return not_found();
    };
    // A name that could leave the directory is no cluster.
    if cluster.is_empty()
        || !cluster
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return not_found();
    }
    let names = state.names(cluster);
    let (document, content_type) = match rest {
        ".well-known/openid-configuration" => (Document::Discovery, "application/json"),
        "openid/v1/jwks" => (Document::Jwks, "application/jwk-set+json"),
        _ => return not_found(),
    };
    // As it stands, byte for byte: a file that is not JSON is a fault that somebody wants to see.
    match state.store.read(&document.path(&names)) {
        Some(bytes) => {
            Reply::new(200, content_type, bytes).with("cache-control", "public, max-age=3600")
        }
        None => not_found(),
    }
}
