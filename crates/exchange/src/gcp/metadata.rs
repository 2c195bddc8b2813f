//! The metadata server of GKE, asked as google-auth asks it: is it one, which project, which account, a token.
//!
//! Plain HTTP to a link-local address, never through a proxy. The `Metadata-Flavor` header goes both ways: without it in
//! the answer, what answers is no metadata server of Google (AWS serves its own at the same address). A pod may start
//! before the node's gke-metadata-server does, so a refused connection is waited out for some seconds.
//! Source: Google Cloud documentation, "About VM metadata" and "Troubleshoot GKE authentication".

use std::time::Duration;

use bytes::Bytes;
use cwii_checks::facts::{Cause, ConfigurationProblemKind, Identity, Step, TransportProblemKind};
use cwii_contract::{env::GOOGLE_APPLICATION_CREDENTIALS, types::shorten};
use serde_json::Value;
use url::Url;

use super::{CLOUD_PLATFORM, Details, refusal, seconds, size_of};
use crate::{
    http::{DOCUMENT_LIMIT, Http, Proxies, Reach, Reply, Trouble, authority},
    retry::{Failed, attempt, retry_after},
    run::{ENVIRONMENT, Run, misconfigured},
};

/// Asks the metadata server who we are.
pub(super) async fn exchange(run: &mut Run<'_>) -> Result<Identity, Cause> {
    if run
        .env
        .trimmed("NO_GCE_CHECK")
        .is_some_and(|v| v.eq_ignore_ascii_case("true"))
    {
        return Err(nothing_configured(
            "NO_GCE_CHECK forbids the metadata server",
        ));
    }
    let server = Server::find(run)?;
    let http = Http::new(
        run,
        Reach {
            roots: None,
            proxies: None,
            pinned: Vec::new(),
        },
    )?;
    run.policy.awaited = STARTUP;
    server.detect(run, &http).await?;
    let project = server.text(run, &http, "project/project-id").await?;
    let account = server
        .json(
            run,
            &http,
            "instance/service-accounts/default/?recursive=true",
        )
        .await?;
    let scopes: String = url::form_urlencoded::byte_serialize(CLOUD_PLATFORM.as_bytes()).collect();
    let token = server
        .json(
            run,
            &http,
            &format!("instance/service-accounts/default/token?scopes={scopes}"),
        )
        .await?;
    let Some(access_token) = token["access_token"].as_str().filter(|t| !t.is_empty()) else {
        return Err(server.garbage("the answer holds no `access_token`"));
    };
    let email = account["email"].as_str();
    let mut details = Details::from([("access token", size_of(access_token))]);
    if let Some(email) = email {
        details.insert("service account", email.to_owned());
    }
    Ok(Identity {
        members: vec![
            ("type", "metadata".into()),
            ("principal", email.into()),
            ("project", project.trim().into()),
            ("scope", CLOUD_PLATFORM.into()),
            (
                "tokenType",
                token["token_type"].as_str().unwrap_or("Bearer").into(),
            ),
            ("expiresIn", seconds(&token["expires_in"]).into()),
        ],
        details,
    })
}

/// Where the server is.
struct Server {
    /// The host of requests.
    base: Url,
    /// The address that is asked whether it is one.
    ping: Url,
    /// A variable says so.
    named: bool,
    timeout: Duration,
    detect_attempts: u32,
}

impl Server {
    fn find(run: &mut Run<'_>) -> Result<Self, Cause> {
        let host = ["GCE_METADATA_HOST", "GCE_METADATA_ROOT"]
            .into_iter()
            .find_map(|name| run.env.trimmed(name).map(|value| (name, value)));
        let ip = run
            .env
            .trimmed("GCE_METADATA_IP")
            .map(|value| ("GCE_METADATA_IP", value));
        let (base, source) = match host {
            Some((name, value)) => (plain_url(name, value)?, name),
            None => (plain_url("default", DEFAULT_HOST)?, "default"),
        };
        run.input("endpoint", authority(&base), source);
        let ping = match ip {
            Some((name, value)) => plain_url(name, value)?,
            None => plain_url("default", DEFAULT_ADDRESS)?,
        };
        if let Ok(proxies) = Proxies::from_env(run.env)
            && let Some(variable) = proxies.source_for(&base)
        {
            run.note(
                Some("NET05"),
                format!(
                    "{variable} is set and NO_PROXY does not name `{}`: some clients ask the \
                     proxy for the token",
                    authority(&base)
                ),
            );
        }
        Ok(Self {
            base,
            ping,
            named: host.is_some() || ip.is_some(),
            timeout: Duration::from_secs(number(run, "GCE_METADATA_TIMEOUT", 3)?.into()),
            detect_attempts: number(run, "GCE_METADATA_DETECT_RETRIES", 3)?.max(1),
        })
    }

    /// Finds out whether this is a metadata server at all.
    async fn detect(&self, run: &mut Run<'_>, http: &Http) -> Result<(), Cause> {
        let usual = std::mem::replace(&mut run.policy.attempts, self.detect_attempts);
        let found = attempt(run, Step::GoogleMetadata, async |run| {
            let reply = self.get(run, http, self.ping.clone()).await?;
            match (reply.status, is_flavored(&reply)) {
                (200, true) => Ok(()),
                (200, false) => Err(nothing_configured(&format!(
                    "what answers at {} is not Google's metadata server: its answer has no header \
                     `Metadata-Flavor: Google`",
                    authority(&self.ping)
                ))
                .into()),
                _ if is_flavored(&reply) || transient(reply.status) => Err(refused(run, &reply)),
                (status, _) => Err(nothing_configured(&format!(
                    "what answers at {} with status {status} is not Google's metadata server",
                    authority(&self.ping)
                ))
                .into()),
            }
        })
        .await;
        run.policy.attempts = usual;
        found.map_err(|cause| match &cause {
            // Nobody said that there is one, and nothing is there: most likely nothing was injected.
            Cause::Transport(problem)
                if !self.named
                    && !matches!(
                        problem.kind,
                        TransportProblemKind::Refused | TransportProblemKind::Broken
                    ) =>
            {
                nothing_configured(&format!(
                    "no metadata server answers at {}: {}",
                    problem.host, problem.detail
                ))
            }
            Cause::Configuration(_) if self.named => Cause::Transport(
                Trouble::garbage(
                    authority(&self.ping),
                    "the answer has no header `Metadata-Flavor: Google`: this is not a metadata server",
                )
                .problem,
            ),
            _ => cause,
        })
    }

    async fn text(&self, run: &mut Run<'_>, http: &Http, path: &str) -> Result<String, Cause> {
        let body = self.ask(run, http, path).await?;
        String::from_utf8(body.to_vec()).map_err(|_| self.garbage("the answer is no text"))
    }

    async fn json(&self, run: &mut Run<'_>, http: &Http, path: &str) -> Result<Value, Cause> {
        let body = self.ask(run, http, path).await?;
        match serde_json::from_slice(&body) {
            Ok(value @ Value::Object(_)) => Ok(value),
            _ => Err(self.garbage("the answer is not a JSON object")),
        }
    }

    async fn ask(&self, run: &mut Run<'_>, http: &Http, path: &str) -> Result<Bytes, Cause> {
        let url = self
            .base
            .join(&format!("/computeMetadata/v1/{path}"))
            .map_err(|e| Cause::Internal(format!("`{path}` makes no URL: {e}")))?;
        attempt(run, Step::GoogleMetadata, async |run| {
            let reply = self.get(run, http, url.clone()).await?;
            match reply.status {
                200 if is_flavored(&reply) => Ok(reply.body),
                200 => Err(Trouble::garbage(
                    authority(&url),
                    "the answer has no header `Metadata-Flavor: Google`",
                )
                .into()),
                _ => Err(refused(run, &reply)),
            }
        })
        .await
    }

    async fn get(&self, run: &Run<'_>, http: &Http, url: Url) -> Result<Reply, Failed> {
        let request = http::Request::get(url.as_str())
            .header(FLAVOR, "Google")
            .body(Bytes::new())
            .map_err(|e| Cause::Internal(format!("the request cannot be built: {e}")))?;
        let patience = self.timeout.min(run.remaining());
        Ok(http.send_within(request, DOCUMENT_LIMIT, patience).await?)
    }

    fn garbage(&self, detail: &str) -> Cause {
        Cause::Transport(Trouble::garbage(authority(&self.base), detail).problem)
    }
}

fn is_flavored(reply: &Reply) -> bool {
    reply.header(FLAVOR) == Some("Google")
}

fn transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
}

fn refused(run: &Run<'_>, reply: &Reply) -> Failed {
    let wait = reply
        .header("retry-after")
        .and_then(|value| retry_after(value, (run.options.clock)()));
    Failed::answer(refusal(reply), wait)
}

fn plain_url(name: &str, host: &str) -> Result<Url, Cause> {
    let wrong = |why: &str| {
        misconfigured(
            ConfigurationProblemKind::Invalid,
            name,
            ENVIRONMENT,
            format!(
                "`{}` is not a host, or a host with a port: {why}",
                shorten(host)
            ),
        )
    };
    if host.contains(['/', '@', '?', '#']) {
        return Err(wrong("expected neither scheme nor path"));
    }
    Url::parse(&format!("http://{host}/")).map_err(|e| wrong(&e.to_string()))
}

fn number(run: &Run<'_>, name: &str, default: u32) -> Result<u32, Cause> {
    match run.env.trimmed(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| {
            misconfigured(
                ConfigurationProblemKind::Invalid,
                name,
                ENVIRONMENT,
                format!("`{}` is not a whole number", shorten(text)),
            )
        }),
    }
}

fn nothing_configured(why: &str) -> Cause {
    misconfigured(
        ConfigurationProblemKind::NothingConfigured,
        GOOGLE_APPLICATION_CREDENTIALS,
        ENVIRONMENT,
        format!(
            "nothing is configured: {GOOGLE_APPLICATION_CREDENTIALS} is not set, gcloud's own file is \
             not there, and {why}"
        ),
    )
}

const FLAVOR: &str = "metadata-flavor";
const DEFAULT_HOST: &str = "metadata.google.internal";
const DEFAULT_ADDRESS: &str = "169.254.169.254";

/// GKE says that its metadata server may take seconds to accept connections on a new node.
const STARTUP: Duration = Duration::from_secs(10);
