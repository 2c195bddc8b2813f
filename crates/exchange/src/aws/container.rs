//! Container credentials: EKS Pod Identity, and ECS, whose variables it uses.
//!
//! A GET to an endpoint on this machine or link, with the token as `Authorization`, raw. Never through a proxy. The host
//! rule keeps the token on the machine: plain HTTP only to loopback and to the agents' link-local addresses, checked for
//! every address that a name has, and the checked addresses are the ones that are connected to.
//! Source: AWS SDKs and Tools Reference Guide, "Container credential provider"; EKS Pod Identity Agent.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use aws_credential_types::Credentials;
use bytes::Bytes;
use cwii_checks::facts::{
    Answer, Cause, ConfigurationProblemKind, Step, TokenProblemKind, TransportProblem,
    TransportProblemKind,
};
use cwii_contract::{
    env::{
        AWS_CONTAINER_AUTHORIZATION_TOKEN, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE,
        AWS_CONTAINER_CREDENTIALS_FULL_URI, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI,
    },
    types::shorten,
};
use http::{HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::{Host, Url};

use super::{roots, settings::Settings, sts::masked};
use crate::{
    Env,
    answer::answer,
    http::{DOCUMENT_LIMIT, Http, Proxies, Reach, Reply, Resolver, Trouble, authority},
    retry::{Failed, attempt, retry_after},
    run::{ENVIRONMENT, Run, misconfigured},
    token_file,
};

/// Whether the variables name an endpoint.
pub(crate) fn is_configured(env: &Env) -> bool {
    [
        AWS_CONTAINER_CREDENTIALS_RELATIVE_URI,
        AWS_CONTAINER_CREDENTIALS_FULL_URI,
    ]
    .iter()
    .any(|name| env.non_empty(name).is_some())
}

/// The endpoint and its token.
pub(crate) struct Source {
    url: Url,
    /// The addresses that passed the host rule, where the host is a name.
    addresses: Vec<SocketAddr>,
    authorization: Authorization,
}

enum Authorization {
    File(String),
    Value(SecretString),
    None,
}

/// What the endpoint gave.
pub(crate) struct Fetched {
    pub(crate) credentials: Credentials,
    pub(crate) details: BTreeMap<&'static str, String>,
}

impl Source {
    /// Reads the variables and applies the host rule.
    pub(crate) async fn find(run: &mut Run<'_>) -> Result<Self, Cause> {
        let relative = run.env.non_empty(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI);
        let full = run.env.non_empty(AWS_CONTAINER_CREDENTIALS_FULL_URI);
        let (variable, text) = match (relative, full) {
            (Some(path), _) if !path.starts_with('/') => {
                return Err(misconfigured(
                    ConfigurationProblemKind::Invalid,
                    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI,
                    ENVIRONMENT,
                    format!("`{}` does not begin with `/`", shorten(path)),
                ));
            }
            (Some(path), _) => (
                AWS_CONTAINER_CREDENTIALS_RELATIVE_URI,
                format!("http://{ECS_HOST}{path}"),
            ),
            (None, Some(url)) => (AWS_CONTAINER_CREDENTIALS_FULL_URI, url.to_owned()),
            (None, None) => {
                return Err(Cause::Internal(
                    "no container credentials are configured".into(),
                ));
            }
        };
        let wrong = |kind, problem: String| misconfigured(kind, variable, ENVIRONMENT, problem);
        let url = Url::parse(&text).map_err(|e| {
            wrong(
                ConfigurationProblemKind::Invalid,
                format!("`{}` is no URL: {e}", shorten(&text)),
            )
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong(
                ConfigurationProblemKind::Invalid,
                format!("`{}` is not an http or https URL", shorten(&text)),
            ));
        }
        run.input("credentials endpoint", url.as_str(), variable);
        let addresses = match url.host() {
            Some(Host::Domain(name)) if url.scheme() == "http" => {
                let port = url.port_or_known_default().unwrap_or(80);
                let found = Resolver::system(run.traffic())
                    .lookup(name)
                    .await
                    .map_err(|e| {
                        run.begin(Step::ContainerCredentials);
                        Cause::Transport(TransportProblem {
                            host: authority(&url),
                            kind: TransportProblemKind::Dns,
                            detail: e.detail,
                            proxy: None,
                        })
                    })?;
                if name != "localhost" {
                    run.note(
                        None,
                        format!(
                            "{variable} names the host `{}`: boto3 and the AWS CLI accept `localhost` \
                             and literal addresses only",
                            shorten(name)
                        ),
                    );
                }
                found
                    .into_iter()
                    .map(|ip| SocketAddr::new(ip, port))
                    .collect()
            }
            _ => Vec::new(),
        };
        if let Some(forbidden) = forbidden(&url, &addresses) {
            return Err(wrong(
                ConfigurationProblemKind::ForbiddenHost,
                format!(
                    "plain http may go to a loopback address, {ALLOWED_TEXT} only, found {forbidden}"
                ),
            ));
        }
        note_proxy(run, &url);
        let authorization = match (
            run.env.non_empty(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE),
            run.env.non_empty(AWS_CONTAINER_AUTHORIZATION_TOKEN),
        ) {
            (Some(path), _) => {
                run.input("token file", path, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE);
                Authorization::File(path.to_owned())
            }
            (None, Some(value)) => {
                run.input(
                    "authorization token",
                    format!("{} bytes", value.len()),
                    AWS_CONTAINER_AUTHORIZATION_TOKEN,
                );
                Authorization::Value(value.into())
            }
            (None, None) => Authorization::None,
        };
        Ok(Self {
            url,
            addresses,
            authorization,
        })
    }
}

/// The endpoint is asked directly here; SDKs that read the proxy variables for it hand the token to the proxy.
fn note_proxy(run: &mut Run<'_>, url: &Url) {
    if let Ok(proxies) = Proxies::from_env(run.env)
        && let Some(source) = proxies.source_for(url)
    {
        run.note(
            Some("EPI10"),
            format!(
                "{source} is set and NO_PROXY does not name `{}`: some SDKs ask the proxy for these \
                 credentials",
                url.host_str().unwrap_or_default()
            ),
        );
    }
}

/// Asks the endpoint for credentials. The token file is read at each try.
pub(crate) async fn fetch(
    run: &mut Run<'_>,
    settings: &Settings<'_>,
    source: &Source,
) -> Result<Fetched, Cause> {
    let reach = Reach {
        roots: match source.url.scheme() {
            "https" => Some(roots(run, settings)?),
            _ => None,
        },
        proxies: None,
        pinned: match source.url.host_str() {
            Some(name) if !source.addresses.is_empty() => {
                vec![(name.to_owned(), source.addresses.clone())]
            }
            _ => Vec::new(),
        },
    };
    let http = Http::new(run, reach)?;
    attempt(run, Step::ContainerCredentials, async |run| {
        let mut request = http::Request::get(source.url.as_str())
            .header(header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|e| Cause::Internal(format!("the request cannot be built: {e}")))?;
        if let Some(value) = authorization(run, source)? {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let reply = http.send(request, DOCUMENT_LIMIT).await?;
        if reply.status != 200 {
            let wait = reply
                .header("retry-after")
                .and_then(|v| retry_after(v, (run.options.clock)()));
            return Err(Failed::answer(refusal(&reply), wait));
        }
        read(&reply, &authority(&source.url))
    })
    .await
}

fn authorization(run: &mut Run<'_>, source: &Source) -> Result<Option<HeaderValue>, Cause> {
    let (path, text) = match &source.authorization {
        Authorization::File(path) => {
            let text = token_file::read(path).inspect_err(|_| run.step = Step::TokenFile)?;
            (path.as_str(), text)
        }
        Authorization::Value(value) => ("", value.clone()),
        Authorization::None => return Ok(None),
    };
    // ECS tokens are no JWTs, so nothing is refused for not being one.
    token_file::present(run, path, &text);
    let mut value = HeaderValue::from_str(text.expose_secret()).map_err(|_| {
        run.step = Step::TokenFile;
        token_file::problem(
            path,
            TokenProblemKind::Malformed,
            "it is sent as a header and holds characters that a header must not have, such as a \
             newline at the end",
        )
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The error in an answer: `[request id]: (Code): message, fault: …` of the EKS agent, JSON of ECS, or plain text.
fn refusal(reply: &Reply) -> Answer {
    let text = reply.text();
    if let Ok(Value::Object(members)) = serde_json::from_str(&text) {
        let members = lower_case(members);
        let member = |name: &str| members.get(name).and_then(Value::as_str);
        return answer(
            reply.status,
            member("code"),
            member("message").unwrap_or(&text),
            None,
        );
    }
    let (id, code) = text
        .strip_prefix('[')
        .and_then(|t| t.split_once("]: "))
        .and_then(|(id, rest)| Some((id, rest.strip_prefix('(')?.split_once("): ")?.0)))
        .unzip();
    answer(reply.status, code, &text, id)
}

/// The credentials in an answer. Names of members are taken in any case, as the SDKs do.
fn read(reply: &Reply, host: &str) -> Result<Fetched, Failed> {
    let garbage = |detail: &str| Failed::from(Trouble::garbage(host, detail));
    let Ok(Value::Object(members)) = serde_json::from_slice(&reply.body) else {
        return Err(garbage("the answer is not a JSON object"));
    };
    let members = lower_case(members);
    let member = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| members.get(*name).and_then(Value::as_str))
            .filter(|value| !value.is_empty())
    };
    if let Some(code) = member(&["code"]).filter(|code| *code != "Success") {
        return Err(Failed::answer(
            answer(
                reply.status,
                Some(code),
                member(&["message"]).unwrap_or_default(),
                None,
            ),
            None,
        ));
    }
    let (Some(id), Some(secret)) = (member(&["accesskeyid"]), member(&["secretaccesskey"])) else {
        return Err(garbage(
            "the answer holds no `AccessKeyId` or no `SecretAccessKey`",
        ));
    };
    let token = member(&["token", "sessiontoken"]).map(str::to_owned);
    let mut details = BTreeMap::from([("access key id", masked(id))]);
    for (name, value) in [
        ("expiration", member(&["expiration", "expiresat"])),
        ("account", member(&["accountid"])),
    ] {
        if let Some(value) = value {
            details.insert(name, value.to_owned());
        }
    }
    Ok(Fetched {
        credentials: Credentials::new(id, secret, token, None, "ContainerCredentials"),
        details,
    })
}

fn lower_case(members: serde_json::Map<String, Value>) -> BTreeMap<String, Value> {
    members
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect()
}

/// The first address of a URL that the host rule forbids, described.
fn forbidden(url: &Url, resolved: &[SocketAddr]) -> Option<String> {
    if url.scheme() == "https" {
        return None;
    }
    match url.host()? {
        Host::Ipv4(ip) => (!is_allowed(ip.into())).then(|| format!("`{ip}`")),
        Host::Ipv6(ip) => (!is_allowed(ip.into())).then(|| format!("`{ip}`")),
        Host::Domain(name) => resolved
            .iter()
            .find(|address| !is_allowed(address.ip()))
            .map(|address| format!("`{name}`, which is `{}`", address.ip())),
    }
}

fn is_allowed(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4 == ECS_HOST || v4 == EKS_HOST,
        IpAddr::V6(v6) => v6.is_loopback() || v6 == EKS_HOST_V6,
    }
}

const ECS_HOST: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const EKS_HOST: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 23);
const EKS_HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);
const ALLOWED_TEXT: &str = "169.254.170.2, 169.254.170.23 or fd00:ec2::23";

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn rule(url: &str, resolved: &[&str]) -> bool {
        let resolved: Vec<SocketAddr> = resolved
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), 80))
            .collect();
        forbidden(&url.parse().unwrap(), &resolved).is_none()
    }

    #[test]
    fn the_host_rule_keeps_the_token_on_the_machine() {
        for (url, resolved, allowed) in [
            ("http://169.254.170.23/v1/credentials", &[][..], true),
            ("http://[fd00:ec2::23]/v1/credentials", &[], true),
            ("http://169.254.170.2/creds", &[], true),
            ("http://127.0.0.1:8080/", &[], true),
            ("http://127.9.9.9/", &[], true),
            ("http://[::1]/", &[], true),
            ("http://localhost/", &["127.0.0.1", "::1"], true),
            ("http://creds.internal/", &["127.0.0.1"], true),
            ("http://creds.internal/", &["127.0.0.1", "10.0.0.1"], false),
            ("http://creds.internal/", &["169.254.170.23"], true),
            ("http://10.0.0.1/", &[], false),
            ("http://169.254.169.254/", &[], false),
            ("http://[fd00:ec2::254]/", &[], false),
            ("http://[::ffff:10.0.0.1]/", &[], false),
            ("https://anything.example/", &["10.0.0.1"], true),
        ] {
            assert_eq!(rule(url, resolved), allowed, "{url} {resolved:?}");
        }
    }

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status,
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn texts_of_the_agent_give_code_and_request_id() {
        let text = "[abc-1]: (AccessDeniedException): Unauthorized Exception! EKS does not have \
                    permissions to assume the associated role., fault: client";
        let answer = refusal(&reply(400, text));
        assert_eq!(answer.code.as_deref(), Some("AccessDeniedException"));
        assert_eq!(answer.request_id.as_deref(), Some("abc-1"));
        assert_eq!(answer.message, text);
        let answer = refusal(&reply(400, "Service account token cannot be empty\n"));
        assert_eq!(
            (answer.code, answer.message.as_str()),
            (None, "Service account token cannot be empty")
        );
        let answer = refusal(&reply(404, r#"{"Code":"NotFound","Message":"no such"}"#));
        assert_eq!(
            (answer.code.as_deref(), answer.message.as_str()),
            (Some("NotFound"), "no such")
        );
    }

    #[test]
    fn credentials_are_read_whatever_the_case_of_their_names() {
        for body in [
            r#"{"AccessKeyId":"ASIAABCDEFGHIJKLMNOP","SecretAccessKey":"s","Token":"t","Expiration":"2026-01-01T00:00:00Z"}"#,
            r#"{"accessKeyId":"ASIAABCDEFGHIJKLMNOP","secretaccesskey":"s","SessionToken":"t","ExpiresAt":"2026-01-01T00:00:00Z","Code":"Success"}"#,
        ] {
            let fetched = read(&reply(200, body), "h").ok().unwrap();
            assert_eq!(fetched.credentials.session_token(), Some("t"));
            assert_eq!(fetched.details["expiration"], "2026-01-01T00:00:00Z");
        }
        let failed = read(&reply(200, r#"{"Code":"Failed","Message":"m"}"#), "h")
            .err()
            .unwrap();
        assert!(matches!(failed.cause, Cause::Answer(a) if a.code.as_deref() == Some("Failed")));
        for body in ["", "<html>", "[]", "{}", r#"{"AccessKeyId":"x"}"#] {
            let failed = read(&reply(200, body), "h").err().unwrap();
            assert!(
                matches!(failed.cause, Cause::Transport(p) if p.kind == TransportProblemKind::Garbage),
                "{body}"
            );
        }
    }
}
