//! A client that sends what is in a workload and checks nothing itself, as a blunt SDK would.
#![allow(
    dead_code,
    reason = "every test program includes this file and uses a part of it"
)]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read the files that a workload names, and fail where something is not as it must be"
)]

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock, time::Duration};

use cwii_lab::{Keys, Lab, Mechanism, Options, Workload};
use serde_json::{Value, json};

/// A lab of its own, with keys that the tests of one program share.
pub(crate) fn lab() -> Lab {
    static KEYS: LazyLock<Keys> = LazyLock::new(Keys::default);
    Lab::start(Options {
        keys: Some(KEYS.clone()),
        ..Options::default()
    })
    .unwrap()
}

/// What came back, cloud by cloud in one shape.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    /// `AccessDenied`, `invalid_grant`, `PERMISSION_DENIED`, `AADSTS700213`; empty where there is none.
    pub(crate) code: String,
    pub(crate) text: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn verified(&self) -> bool {
        self.status == 200 && self.code.is_empty()
    }
}

/// A client that trusts the certificate in `ca`.
pub(crate) fn client(ca: &Path) -> reqwest::Client {
    let pem = fs::read(ca).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for der in pem_blocks(std::str::from_utf8(&pem).unwrap()) {
        roots.add(der.into()).unwrap();
    }
    let tls = rustls::ClientConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

fn pem_blocks(pem: &str) -> Vec<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    pem.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|block| {
            let body: String = block
                .split("-----END")
                .next()
                .unwrap()
                .split_whitespace()
                .collect();
            STANDARD.decode(body).unwrap()
        })
        .collect()
}

/// Sends what a workload holds; the last answer counts.
pub(crate) async fn drive(workload: &Workload) -> Result<Seen, reqwest::Error> {
    drive_with(workload, |_| {}).await
}

/// The same, with AWS credentials that were tampered with before they are used.
pub(crate) async fn drive_with(
    workload: &Workload,
    tamper: fn(&mut Credentials),
) -> Result<Seen, reqwest::Error> {
    let env = &workload.env;
    let http = client(Path::new(&env["SSL_CERT_FILE"]));
    match workload.mechanism {
        Mechanism::AwsWebIdentity => {
            let token = fs::read_to_string(&env["AWS_WEB_IDENTITY_TOKEN_FILE"]).unwrap_or_default();
            let assumed = sts(http
                .post(format!("{}/", env["AWS_ENDPOINT_URL_STS"]))
                .header("content-type", FORM)
                .body(form(&[
                    ("Action", "AssumeRoleWithWebIdentity"),
                    ("Version", "2011-06-15"),
                    ("RoleArn", &env["AWS_ROLE_ARN"]),
                    ("RoleSessionName", &env["AWS_ROLE_SESSION_NAME"]),
                    ("WebIdentityToken", &token),
                ])))
            .await?;
            if !assumed.verified() {
                return Ok(assumed);
            }
            let mut credentials = Credentials {
                key: element(&assumed.body, "AccessKeyId"),
                secret: element(&assumed.body, "SecretAccessKey"),
                token: element(&assumed.body, "SessionToken"),
            };
            tamper(&mut credentials);
            caller_identity(&http, env, &credentials).await
        }
        Mechanism::AwsPodIdentity => {
            let token = fs::read_to_string(&env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
                .unwrap_or_default();
            let response = http
                .get(&env["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
                .header("accept", "application/json")
                .header("authorization", token)
                .send()
                .await?;
            let status = response.status().as_u16();
            let body = response.text().await?;
            if status != 200 {
                let code = body
                    .split_once("]: (")
                    .and_then(|(_, rest)| rest.split_once("):"))
                    .map_or(String::new(), |(code, _)| code.to_owned());
                return Ok(Seen {
                    status,
                    code,
                    text: body.clone(),
                    body,
                });
            }
            let value: Value = serde_json::from_str(&body).unwrap();
            let text = |name: &str| value[name].as_str().unwrap().to_owned();
            let credentials = Credentials {
                key: text("AccessKeyId"),
                secret: text("SecretAccessKey"),
                token: text("Token"),
            };
            caller_identity(&http, env, &credentials).await
        }
        Mechanism::GoogleDirect | Mechanism::GoogleImpersonated => google(&http, env).await,
        Mechanism::GkeMetadata => {
            let base = format!(
                "http://{}/computeMetadata/v1/instance/service-accounts/default",
                env["GCE_METADATA_HOST"]
            );
            let get = |url: String| http.get(url).header("metadata-flavor", "Google").send();
            get(format!("{base}/?recursive=true"))
                .await?
                .error_for_status()?;
            let response = get(format!(
                "{base}/token?scopes=https://www.googleapis.com/auth/cloud-platform"
            ))
            .await?;
            let status = response.status().as_u16();
            let body = response.text().await?;
            Ok(Seen {
                status,
                code: String::new(),
                text: body.clone(),
                body,
            })
        }
        Mechanism::EntraFederated => {
            let token = fs::read_to_string(&env["AZURE_FEDERATED_TOKEN_FILE"]).unwrap_or_default();
            let tenant: String =
                url::form_urlencoded::byte_serialize(env["AZURE_TENANT_ID"].as_bytes()).collect();
            let url = format!("{}{tenant}/oauth2/v2.0/token", env["AZURE_AUTHORITY_HOST"]);
            let response = http
                .post(url)
                .header("content-type", FORM)
                .body(form(&[
                    ("client_assertion", &token),
                    (
                        "client_assertion_type",
                        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                    ),
                    ("client_id", &env["AZURE_CLIENT_ID"]),
                    ("grant_type", "client_credentials"),
                    ("scope", "https://management.azure.com/.default"),
                ]))
                .send()
                .await?;
            let status = response.status().as_u16();
            let body = response.text().await?;
            let value: Value = serde_json::from_str(&body).unwrap_or_default();
            Ok(Seen {
                status,
                code: value["error_codes"][0]
                    .as_i64()
                    .map_or(String::new(), |n| format!("AADSTS{n}")),
                text: value["error_description"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                body,
            })
        }
    }
}

async fn google(
    http: &reqwest::Client,
    env: &BTreeMap<String, String>,
) -> Result<Seen, reqwest::Error> {
    let document: Value =
        serde_json::from_slice(&fs::read(&env["GOOGLE_APPLICATION_CREDENTIALS"]).unwrap()).unwrap();
    let text = |pointer: &str| {
        document
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut token = fs::read_to_string(text("/credential_source/file")).unwrap_or_default();
    if text("/credential_source/format/type") == "json" {
        let value: Value = serde_json::from_str(&token).unwrap();
        let field = text("/credential_source/format/subject_token_field_name");
        token = value[field].as_str().unwrap_or_default().to_owned();
    }
    let impersonation = text("/service_account_impersonation_url");
    let scope = if impersonation.is_empty() {
        "https://www.googleapis.com/auth/cloud-platform"
    } else {
        "https://www.googleapis.com/auth/iam"
    };
    let response = http
        .post(text("/token_url"))
        .header("content-type", FORM)
        .body(form(&[
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("audience", &text("/audience")),
            ("scope", scope),
            (
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("subject_token", &token),
            ("subject_token_type", &text("/subject_token_type")),
        ]))
        .send()
        .await?;
    let status = response.status().as_u16();
    let body = response.text().await?;
    let value: Value = serde_json::from_str(&body).unwrap_or_default();
    if status != 200 || impersonation.is_empty() {
        return Ok(Seen {
            status,
            code: value["error"].as_str().unwrap_or_default().to_owned(),
            text: value["error_description"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            body,
        });
    }
    let lifetime = document
        .pointer("/service_account_impersonation/token_lifetime_seconds")
        .and_then(Value::as_i64)
        .unwrap_or(3600);
    let response = http
        .post(impersonation)
        .bearer_auth(value["access_token"].as_str().unwrap())
        .header("content-type", "application/json")
        .body(
            json!({
                "delegates": null,
                "scope": ["https://www.googleapis.com/auth/cloud-platform"],
                "lifetime": format!("{lifetime}s"),
            })
            .to_string(),
        )
        .send()
        .await?;
    let status = response.status().as_u16();
    let body = response.text().await?;
    let value: Value = serde_json::from_str(&body).unwrap_or_default();
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Ok(Seen {
        status,
        code: text("/error/status"),
        text: text("/error/message"),
        body,
    })
}

/// What AWS hands out.
pub(crate) struct Credentials {
    pub(crate) key: String,
    pub(crate) secret: String,
    pub(crate) token: String,
}

async fn caller_identity(
    http: &reqwest::Client,
    env: &BTreeMap<String, String>,
    credentials: &Credentials,
) -> Result<Seen, reqwest::Error> {
    let url = format!("{}/", env["AWS_ENDPOINT_URL_STS"]);
    let body = form(&[("Action", "GetCallerIdentity"), ("Version", "2011-06-15")]);
    let host = url
        .trim_start_matches("https://")
        .trim_end_matches('/')
        .to_owned();
    let date = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string();
    let day = &date[..8];
    let canonical = format!(
        "POST\n/\n\ncontent-type:{FORM}\nhost:{host}\nx-amz-date:{date}\nx-amz-security-token:{}\n\n{SIGNED}\n{}",
        credentials.token,
        sha256(body.as_bytes())
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{day}/us-east-1/sts/aws4_request\n{}",
        sha256(canonical.as_bytes())
    );
    let key = [day, "us-east-1", "sts", "aws4_request"].iter().fold(
        format!("AWS4{}", credentials.secret).into_bytes(),
        |key, part| mac(&key, part.as_bytes()),
    );
    let signature = hex(&mac(&key, text.as_bytes()));
    sts(http
        .post(url)
        .header("content-type", FORM)
        .header("x-amz-date", date.clone())
        .header("x-amz-security-token", &credentials.token)
        .header(
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{day}/us-east-1/sts/aws4_request, SignedHeaders={SIGNED}, Signature={signature}",
                credentials.key
            ),
        )
        .body(body))
    .await
}

async fn sts(request: reqwest::RequestBuilder) -> Result<Seen, reqwest::Error> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let body = response.text().await?;
    Ok(Seen {
        status,
        code: element(&body, "Code"),
        text: element(&body, "Message")
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
        body,
    })
}

/// Content of the first element of a name.
pub(crate) fn element(xml: &str, name: &str) -> String {
    xml.split_once(&format!("<{name}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{name}>")))
        .map_or(String::new(), |(text, _)| text.to_owned())
}

/// A form body.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    ring::hmac::sign(&key, message).as_ref().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
const SIGNED: &str = "content-type;host;x-amz-date;x-amz-security-token";
