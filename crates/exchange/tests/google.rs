//! Google over loopback: direct and impersonated federation, and the metadata server.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests, with their helpers"
)]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Act, CANARY, Ca, Server, env, options, reply, token};
use cwii_checks::facts::{
    Cause, ConfigurationProblemKind, Exchange, Failure, Mechanism, Step, TokenProblemKind,
    TransportProblemKind,
};
use cwii_contract::Provider;
use cwii_exchange::exchange;
use serde_json::{Value, json};

const AUDIENCE: &str =
    "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/p/providers/k8s";
const EMAIL: &str = "reader@demo.iam.gserviceaccount.com";
const LONG: Duration = Duration::from_secs(20);

fn federated() -> Act {
    reply(
        200,
        r#"{"access_token":"canary-federated","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":"3599"}"#,
    )
}

fn document(sts: &Server, iam: Option<&Server>, source: Value) -> Value {
    let mut document = json!({
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": sts.https("/v1/token"),
        "credential_source": source,
    });
    if let Some(iam) = iam {
        document["service_account_impersonation_url"] = iam
            .https(&format!(
                "/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
            ))
            .into();
    }
    document
}

async fn verify(ca: &Ca, document: &Value, allow: &[&Server]) -> Exchange {
    let path = ca.write("credentials.json", &document.to_string());
    let bundle = ca.file();
    let mut options = options(LONG);
    options.allow_endpoints = allow
        .iter()
        .map(|server| format!("localhost:{}", server.port()))
        .collect();
    let variables = env(&[
        ("GOOGLE_APPLICATION_CREDENTIALS", &path),
        ("REQUESTS_CA_BUNDLE", &bundle),
    ]);
    exchange(Provider::Gcp, &variables, &options).await
}

fn failure(exchange: Exchange) -> Failure {
    exchange.result.expect_err("the exchange worked")
}

#[tokio::test]
async fn direct_federation_is_one_request_with_exactly_these_parameters() {
    let ca = Ca::new();
    let sts = Server::start(Some(&ca), |_| async { federated() }).await;
    let file = ca.write("token", &token());
    let exchange = verify(&ca, &document(&sts, None, json!({"file": file})), &[&sts]).await;
    assert_eq!(exchange.mechanism, Some(Mechanism::GoogleExternalAccount));
    assert_eq!((exchange.wire.connections, exchange.wire.requests), (1, 1));
    let request = &sts.received()[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/v1/token")
    );
    assert_eq!(
        request.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert!(!request.headers.contains_key("authorization"));
    assert_eq!(
        request.body,
        format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&audience={}\
             &scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform\
             &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &subject_token={}&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt",
            AUDIENCE.replace('/', "%2F"),
            token()
        )
    );
    let printed = format!("{exchange:?}");
    assert!(!printed.contains("canary-federated") && !printed.contains(CANARY));
    let identity = exchange.result.unwrap();
    let member = |name: &str| &identity.members.iter().find(|(n, _)| *n == name).unwrap().1;
    assert_eq!(member("type"), "direct");
    assert_eq!(
        member("principal"),
        "principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/p/subject/system:serviceaccount:shop:checkout"
    );
    assert_eq!(member("expiresIn"), 3599);
}

#[tokio::test]
async fn impersonation_connects_to_the_second_host_while_the_first_one_works() {
    let ca = Ca::new();
    let iam = Server::start(Some(&ca), |_| async {
        reply(
            200,
            r#"{"accessToken":"canary-access","expireTime":"2026-01-01T01:00:00Z"}"#,
        )
    })
    .await;
    let connected = iam.connections.clone();
    let sts = Server::start(Some(&ca), move |_| {
        let connected = connected.clone();
        async move {
            // Answers only once the other host has been connected to.
            for _ in 0..200 {
                if connected.load(Ordering::SeqCst) > 0 {
                    return federated();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            reply(400, r#"{"error":"nobody connected"}"#)
        }
    })
    .await;
    let file = ca.write("token", &token());
    let mut document = document(&sts, Some(&iam), json!({"file": file}));
    document["service_account_impersonation"] = json!({"token_lifetime_seconds": 600});
    let exchange = verify(&ca, &document, &[&sts, &iam]).await;
    assert_eq!((exchange.wire.connections, exchange.wire.requests), (2, 2));
    assert_eq!((sts.accepted(), iam.accepted()), (1, 1));
    assert!(!format!("{exchange:?}").contains("canary-"));
    let identity = exchange.result.unwrap();
    assert_eq!(identity.members[0], ("type", "impersonated".into()));
    assert_eq!(identity.members[1], ("principal", EMAIL.into()));
    assert!(
        sts.received()[0]
            .body
            .contains("&scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fiam&")
    );
    let [request] = &iam.received()[..] else {
        panic!("{:?}", iam.received());
    };
    assert_eq!(request.headers["authorization"], "Bearer canary-federated");
    assert_eq!(
        request.body,
        r#"{"delegates":null,"scope":["https://www.googleapis.com/auth/cloud-platform"],"lifetime":"600s"}"#
    );
    assert_eq!(
        request.path,
        format!("/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken")
    );
}

#[tokio::test]
async fn a_denied_exchange_does_not_wait_for_the_second_host() {
    let ca = Ca::new();
    let sts = Server::start(Some(&ca), |_| async {
        reply(400, r#"{"error":"invalid_grant","error_description":"The audience in ID Token [x] does not match the expected audience."}"#)
    })
    .await;
    // Accepts connections and never shakes hands.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let file = ca.write("token", &token());
    let mut document = document(&sts, Some(&sts), json!({"file": file}));
    document["service_account_impersonation_url"] = format!(
        "https://127.0.0.1:{}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken",
        silent.local_addr().unwrap().port()
    )
    .into();
    let path = ca.write("credentials.json", &document.to_string());
    let bundle = ca.file();
    let mut options = options(LONG);
    options.allow_endpoints = vec!["localhost".into(), "127.0.0.1".into()];
    let variables = env(&[
        ("GOOGLE_APPLICATION_CREDENTIALS", &path),
        ("REQUESTS_CA_BUNDLE", &bundle),
    ]);
    let began = Instant::now();
    let failure = failure(exchange(Provider::Gcp, &variables, &options).await);
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(
        (failure.step, failure.attempts),
        (Step::GoogleTokenExchange, 1)
    );
    assert!(
        matches!(&failure.cause, Cause::Answer(a) if a.code.as_deref() == Some("invalid_grant")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_denied_impersonation_fails_at_its_own_step() {
    let ca = Ca::new();
    let sts = Server::start(Some(&ca), |_| async { federated() }).await;
    let iam = Server::start(Some(&ca), |_| async {
        reply(403, r#"{"error":{"code":403,"message":"Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).","status":"PERMISSION_DENIED"}}"#)
    })
    .await;
    let file = ca.write("token", &token());
    let document = document(&sts, Some(&iam), json!({"file": file}));
    let failure = failure(verify(&ca, &document, &[&sts, &iam]).await);
    assert_eq!(
        (failure.step, failure.attempts),
        (Step::GoogleImpersonation, 1)
    );
    assert!(
        matches!(&failure.cause, Cause::Answer(a) if a.status == 403 && a.code.as_deref() == Some("PERMISSION_DENIED")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_connection_opened_ahead_outlives_a_second_try_of_the_first_host() {
    let ca = Ca::new();
    let iam = Server::start(Some(&ca), |_| async {
        reply(
            200,
            r#"{"accessToken":"a","expireTime":"2026-01-01T01:00:00Z"}"#,
        )
    })
    .await;
    let seen = Arc::new(AtomicUsize::new(0));
    let sts = Server::start(Some(&ca), move |_| {
        let count = seen.fetch_add(1, Ordering::SeqCst);
        async move {
            if count == 0 {
                reply(503, "busy")
            } else {
                federated()
            }
        }
    })
    .await;
    let file = ca.write("token", &token());
    let document = document(&sts, Some(&iam), json!({"file": file}));
    let exchange = verify(&ca, &document, &[&sts, &iam]).await;
    assert!(exchange.result.is_ok(), "{:?}", exchange.result);
    assert_eq!((exchange.wire.connections, exchange.wire.requests), (2, 3));
}

#[tokio::test]
async fn endpoints_outside_the_universe_are_refused_before_any_request() {
    let ca = Ca::new();
    let sts = Server::start(Some(&ca), |_| async { federated() }).await;
    let iam = Server::start(Some(&ca), |_| async { federated() }).await;
    let file = ca.write("token", &token());
    let document = document(&sts, Some(&iam), json!({"file": file}));
    for (allow, member) in [
        (&[][..], "token_url"),
        (&[&sts][..], "service_account_impersonation_url"),
    ] {
        let failure = failure(verify(&ca, &document, allow).await);
        assert!(
            matches!(&failure.cause, Cause::Configuration(p)
                if p.kind == ConfigurationProblemKind::ForeignEndpoint && p.name == member),
            "{failure:?}"
        );
    }
    assert_eq!(sts.accepted() + iam.accepted(), 0);
}

#[tokio::test]
async fn a_token_inside_a_json_file_is_found_by_its_member() {
    let ca = Ca::new();
    let sts = Server::start(Some(&ca), |_| async { federated() }).await;
    let file = ca.write("token.json", &json!({"access_token": token()}).to_string());
    let source = |field: &str| json!({"file": file, "format": {"type": "json", "subject_token_field_name": field}});
    let exchange = verify(&ca, &document(&sts, None, source("access_token")), &[&sts]).await;
    assert!(exchange.result.is_ok(), "{:?}", exchange.result);
    assert!(sts.received()[0].body.contains(&token()));
    let failure = failure(verify(&ca, &document(&sts, None, source("other")), &[&sts]).await);
    assert_eq!(failure.step, Step::TokenFile);
    assert!(
        matches!(&failure.cause, Cause::Token(p) if p.kind == TokenProblemKind::OtherFormat && p.problem.contains("`other`")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn documents_that_cannot_be_followed_are_configuration_problems() {
    let ca = Ca::new();
    let missing = [(
        "GOOGLE_APPLICATION_CREDENTIALS",
        "/nonexistent/credentials.json",
    )];
    let failed = failure(exchange(Provider::Gcp, &env(&missing), &options(LONG)).await);
    assert!(
        matches!(&failed.cause, Cause::Configuration(p) if p.kind == ConfigurationProblemKind::Unreadable)
    );
    let directory = ca.dir.path().to_str().unwrap().to_owned();
    let directory = [("GOOGLE_APPLICATION_CREDENTIALS", directory.as_str())];
    let failed = failure(exchange(Provider::Gcp, &env(&directory), &options(LONG)).await);
    assert!(
        matches!(&failed.cause, Cause::Configuration(p) if p.problem.contains("directory")),
        "{failed:?}"
    );
    let key = verify(
        &ca,
        &json!({"type": "service_account", "private_key": "canary-key"}),
        &[],
    )
    .await;
    assert!(key.notes.iter().any(|n| n.code == Some("APP01")));
    assert!(!format!("{key:?}").contains("canary-key"));
    assert!(matches!(&failure(key).cause, Cause::Configuration(p) if p.name == "type"));
}

/// A metadata server that is healthy.
async fn metadata(address: &str) -> Server {
    Server::on(address, None, |request| async move {
        if request.headers.get("metadata-flavor").map(String::as_str) != Some("Google") {
            return reply(403, "Missing Metadata-Flavor:Google header");
        }
        let body = match request.path.as_str() {
            "/" => "computeMetadata/\n".to_owned(),
            "/computeMetadata/v1/project/project-id" => "demo".to_owned(),
            "/computeMetadata/v1/instance/service-accounts/default/?recursive=true" => {
                json!({"email": EMAIL, "aliases": ["default"], "scopes": ["x"]}).to_string()
            }
            path if path.starts_with("/computeMetadata/v1/instance/service-accounts/default/token?scopes=") => {
                json!({"access_token": "canary-metadata", "expires_in": 3599, "token_type": "Bearer"}).to_string()
            }
            other => return reply(404, other),
        };
        Act::Reply(200, vec![("Metadata-Flavor", "Google".into())], body)
    })
    .await
}

async fn ask(address: &str, more: &[(&str, &str)]) -> Exchange {
    let mut variables = vec![("GCE_METADATA_HOST", address), ("GCE_METADATA_IP", address)];
    variables.extend(more);
    exchange(Provider::Gcp, &env(&variables), &options(LONG)).await
}

#[tokio::test]
async fn the_metadata_server_is_asked_in_order_on_one_connection_and_without_proxy() {
    let server = metadata("127.0.0.1:0").await;
    let address = format!("127.0.0.1:{}", server.port());
    let exchange = ask(&address, &[("http_proxy", "http://127.0.0.1:1")]).await;
    assert_eq!(exchange.mechanism, Some(Mechanism::GoogleMetadataServer));
    assert_eq!((exchange.wire.connections, exchange.wire.requests), (1, 4));
    assert!(!format!("{exchange:?}").contains("canary"));
    let identity = exchange.result.unwrap();
    assert_eq!(identity.members[1], ("principal", EMAIL.into()));
    assert_eq!(identity.members[2], ("project", "demo".into()));
    let paths: Vec<String> = server.received().iter().map(|r| r.path.clone()).collect();
    assert_eq!(paths[0], "/");
    assert_eq!(paths[1], "/computeMetadata/v1/project/project-id");
    assert!(
        paths[3].ends_with("token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform")
    );
}

#[tokio::test]
async fn a_metadata_server_that_starts_late_is_waited_for() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let (exchange, _server) = tokio::join!(ask(&address, &[]), async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        metadata(&address).await
    });
    assert!(exchange.result.is_ok(), "{:?}", exchange.result);
}

#[tokio::test]
async fn what_answers_without_the_flavor_is_no_metadata_server() {
    let imds = Server::start(None, |_| async { reply(200, "latest") }).await;
    let failure = failure(ask(&format!("127.0.0.1:{}", imds.port()), &[]).await);
    assert!(
        matches!(&failure.cause, Cause::Transport(p) if p.kind == TransportProblemKind::Garbage),
        "{failure:?}"
    );
    assert_eq!(failure.attempts, 1);
}

#[tokio::test]
async fn no_gce_check_leaves_nothing_configured() {
    let failure = failure(ask("127.0.0.1:1", &[("NO_GCE_CHECK", "true")]).await);
    assert!(
        matches!(&failure.cause, Cause::Configuration(p) if p.kind == ConfigurationProblemKind::NothingConfigured),
        "{failure:?}"
    );
}
