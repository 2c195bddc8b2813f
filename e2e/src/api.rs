//! The API server as a client sees it: objects are JSON, so that no field is lost between the server and a test.

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, WARNING},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json as object};

use crate::pki::Identity;

/// A client of the API server. A clone uses the same connections.
#[derive(Clone, Debug)]
pub struct Api {
    url: String,
    http: reqwest::Client,
}

/// Which object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Object {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Pod`.
    pub kind: String,
    /// None for what is in no namespace.
    pub namespace: Option<String>,
    /// Its name; empty for the collection.
    pub name: String,
}

/// The API server said no, or nothing.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// HTTP status; 0 where there was no answer.
    pub status: u16,
    /// `reason` of the answer's `Status`: `AlreadyExists`, `InternalError`.
    pub reason: String,
    /// What it says.
    pub message: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {} {}: {}", self.status, self.reason, self.message)
    }
}

impl std::error::Error for ApiError {}

impl Object {
    /// One in a namespace.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    /// A pod.
    #[must_use]
    pub fn pod(namespace: &str, name: &str) -> Self {
        Self::new("v1", "Pod", namespace, name)
    }

    /// What a manifest is of.
    #[must_use]
    pub fn of(manifest: &Value) -> Self {
        let text = |pointer: &str| {
            manifest
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        Self::new(
            text("/apiVersion"),
            text("/kind"),
            text("/metadata/namespace"),
            text("/metadata/name"),
        )
    }

    fn collection(&self) -> String {
        let root = if self.api_version.contains('/') {
            "apis"
        } else {
            "api"
        };
        let namespace = self
            .namespace
            .as_ref()
            .map(|n| format!("namespaces/{n}/"))
            .unwrap_or_default();
        // Every kind that the tests use has the plain plural.
        let plural = format!("{}s", self.kind.to_lowercase());
        format!("/{root}/{}/{namespace}{plural}", self.api_version)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }
}

impl Api {
    /// A client that trusts one authority, and shows a certificate or nothing.
    ///
    /// # Errors
    ///
    /// A certificate cannot be read.
    pub fn new(url: &str, ca: &str, identity: Option<&Identity>) -> Result<Self> {
        Ok(Self {
            url: url.to_owned(),
            http: http_client(Some(ca), identity, Some(Duration::from_secs(60)))?,
        })
    }

    /// Creates an object.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn create(&self, manifest: &Value) -> Result<Value, ApiError> {
        self.create_with(manifest, "").await
    }

    /// Creates an object, with parameters such as `dryRun=All`.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn create_with(&self, manifest: &Value, query: &str) -> Result<Value, ApiError> {
        Ok(self.create_and_listen(manifest, query).await?.0)
    }

    /// Creates an object, and returns the warnings that come with the answer as well.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn create_and_listen(
        &self,
        manifest: &Value,
        query: &str,
    ) -> Result<(Value, Vec<String>), ApiError> {
        let path = format!("{}?{query}", Object::of(manifest).collection());
        let body = Some((JSON, manifest));
        let (text, warnings) = self.answer(Method::POST, &path, body).await?;
        Ok((json(&path, &text)?, warnings))
    }

    /// Creates an object, or leaves it as it is where there is one.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn ensure(&self, manifest: &Value) -> Result<(), ApiError> {
        match self.create(manifest).await {
            Err(error) if error.reason == "AlreadyExists" => Ok(()),
            other => other.map(drop),
        }
    }

    /// Posts to a subresource: `binding`, `token`.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn post(
        &self,
        object: &Object,
        subresource: &str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let path = format!("{}/{subresource}", object.path());
        self.send(Method::POST, &path, Some((JSON, body))).await
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn get(&self, object: &Object) -> Result<Value, ApiError> {
        self.send(Method::GET, &object.path(), None).await
    }

    /// Reads whatever is at a path, as text.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn text(&self, path: &str) -> Result<String, ApiError> {
        Ok(self.answer(Method::GET, path, None).await?.0)
    }

    /// The items of a collection, with parameters such as `labelSelector=app%3Dweb`.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn list(&self, object: &Object, query: &str) -> Result<Vec<Value>, ApiError> {
        let path = format!("{}?{query}", object.collection());
        let mut list = self.send(Method::GET, &path, None).await?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// Merges into an object (RFC 7396), or into a subresource such as `status`.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn merge(
        &self,
        object: &Object,
        subresource: &str,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        let mut path = object.path();
        if !subresource.is_empty() {
            path = format!("{path}/{subresource}");
        }
        let body = Some(("application/merge-patch+json", patch));
        self.send(Method::PATCH, &path, body).await
    }

    /// Deletes an object, at once where it would have time to end.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn delete(&self, object: &Object) -> Result<(), ApiError> {
        let options = object!({ "gracePeriodSeconds": 0, "propagationPolicy": "Background" });
        self.send(Method::DELETE, &object.path(), Some((JSON, &options)))
            .await
            .map(drop)
    }

    /// Reads an object again and again until it is as it should be.
    ///
    /// # Errors
    ///
    /// It is not within a minute; the text says what was waited for and how the object is instead.
    pub async fn wait_for(
        &self,
        object: &Object,
        what: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let last = std::sync::Mutex::new(String::new());
        until(
            &format!("{} {}: {what}", object.kind, object.name),
            || async {
                let (found, text) = match self.get(object).await {
                    Ok(value) => (
                        condition(&value).then_some(value.clone()),
                        value.to_string(),
                    ),
                    Err(error) => (None, error.to_string()),
                };
                if let Ok(mut last) = last.lock() {
                    *last = text;
                }
                found
            },
        )
        .await
        .with_context(|| last.lock().map(|l| l.clone()).unwrap_or_default())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Value, ApiError> {
        json(path, &self.answer(method, path, body).await?.0)
    }

    /// The body of a good answer, and its warnings.
    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<(String, Vec<String>), ApiError> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some((content_type, body)) = body {
            request = request
                .header(CONTENT_TYPE, content_type)
                .body(body.to_string());
        }
        let lost = |error: reqwest::Error| ApiError {
            status: 0,
            reason: "NoAnswer".into(),
            message: format!("{path}: {error:?}"),
        };
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        let warnings = response
            .headers()
            .get_all(WARNING)
            .iter()
            .filter_map(|v| warning(v.to_str().ok()?))
            .collect();
        let text = response.text().await.map_err(lost)?;
        if status.is_success() {
            return Ok((text, warnings));
        }
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let member = |name: &str| answer[name].as_str().map(str::to_owned);
        Err(ApiError {
            status: status.as_u16(),
            reason: member("reason").unwrap_or_default(),
            message: member("message").unwrap_or(text),
        })
    }
}

fn json(path: &str, text: &str) -> Result<Value, ApiError> {
    serde_json::from_str(text).map_err(|error| ApiError {
        status: 200,
        reason: "NoJson".into(),
        message: format!("{path}: {error}"),
    })
}

/// The text of a warning header, `299 - "text"` with backslashes before quotes and backslashes (RFC 7234, section 5.5).
fn warning(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 - \"")?.strip_suffix('"')?;
    let mut text = String::new();
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        text.push(if letter == '\\' {
            letters.next()?
        } else {
            letter
        });
    }
    Some(text)
}

/// An HTTP client that trusts one authority or none, and shows a certificate or nothing.
pub(crate) fn http_client(
    ca: Option<&str>,
    identity: Option<&Identity>,
    timeout: Option<Duration>,
) -> Result<reqwest::Client> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let tls = match identity {
        None => tls.with_no_client_auth(),
        Some(identity) => tls.with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(
                identity.certificate.as_bytes(),
            )?],
            PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?,
        )?,
    };
    let mut client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy();
    if let Some(timeout) = timeout {
        client = client.timeout(timeout);
    }
    Ok(client.build()?)
}

/// Tries until there is something, for a minute.
///
/// # Errors
///
/// There was nothing in time; the text says what was waited for.
pub async fn until<T, F>(what: &str, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt().await {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("not within {PATIENCE:?}: {what}");
        }
        tokio::time::sleep(POLL).await;
    }
}

const JSON: &str = "application/json";
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);
