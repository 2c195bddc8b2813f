//! Entra over loopback.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests, with their helpers"
)]

mod common;

use std::time::Duration;

use common::{Act, CANARY, Ca, Server, env, options, reply, token};
use cwii_checks::facts::{Cause, ConfigurationProblemKind, Exchange, Failure, Mechanism, Step};
use cwii_contract::Provider;
use cwii_exchange::exchange;

const TENANT: &str = "aaaaaaaa-1111-2222-3333-444444444444";
const CLIENT: &str = "bbbbbbbb-1111-2222-3333-444444444444";
const LONG: Duration = Duration::from_secs(20);

fn granted() -> Act {
    Act::Reply(
        200,
        vec![("x-ms-request-id", "req-7".into())],
        r#"{"token_type":"Bearer","expires_in":86399,"ext_expires_in":86399,"access_token":"canary-access"}"#.into(),
    )
}

async fn verify(ca: &Ca, more: &[(&str, &str)], allow: &[&str]) -> Exchange {
    let (file, bundle) = (ca.write("token", &token()), ca.file());
    let mut variables = vec![
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", CLIENT),
        ("AZURE_FEDERATED_TOKEN_FILE", file.as_str()),
        ("SSL_CERT_FILE", bundle.as_str()),
    ];
    variables.extend(more);
    let mut options = options(LONG);
    options.allow_endpoints = allow.iter().map(|a| (*a).to_owned()).collect();
    exchange(Provider::Az, &env(&variables), &options).await
}

fn failure(exchange: Exchange) -> Failure {
    exchange.result.expect_err("the exchange worked")
}

#[tokio::test]
async fn the_request_is_that_of_the_sdk_in_its_order() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |_| async { granted() }).await;
    let authority = format!("localhost:{}/", server.port());
    let exchange = verify(&ca, &[("AZURE_AUTHORITY_HOST", &authority)], &["localhost"]).await;
    assert_eq!(
        exchange.mechanism,
        Some(Mechanism::EntraFederatedCredential)
    );
    assert_eq!((exchange.wire.connections, exchange.wire.requests), (1, 1));
    let request = &server.received()[0];
    assert_eq!(request.path, format!("/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(
        request.body,
        format!(
            "client_assertion={}&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
             &client_id={CLIENT}&grant_type=client_credentials&scope=https%3A%2F%2Fmanagement.azure.com%2F.default",
            token()
        )
    );
    assert_eq!(request.headers["x-ms-client-request-id"].len(), 36);
    let printed = format!("{exchange:?}");
    assert!(!printed.contains("canary-access") && !printed.contains(CANARY));
    assert!(exchange.notes.iter().any(|n| n.text.contains("bare host")));
    let identity = exchange.result.unwrap();
    let names: Vec<&str> = identity.members.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "tenantId",
            "clientId",
            "cloud",
            "scope",
            "tokenType",
            "expiresIn"
        ]
    );
    assert_eq!(identity.details["request id"], "req-7");
}

#[tokio::test]
async fn an_error_is_known_by_its_number_and_not_retried() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |_| async {
        reply(401, r#"{"error":"invalid_client","error_description":"AADSTS700213: No matching federated identity record found for presented assertion subject 's'.\r\nTrace ID: t","error_codes":[700213],"trace_id":"trace-1"}"#)
    })
    .await;
    let authority = server.https("");
    let failure =
        failure(verify(&ca, &[("AZURE_AUTHORITY_HOST", &authority)], &["localhost"]).await);
    assert_eq!((failure.step, failure.attempts), (Step::EntraToken, 1));
    assert!(
        matches!(&failure.cause, Cause::Answer(a) if a.code.as_deref() == Some("AADSTS700213")
            && a.request_id.as_deref() == Some("trace-1")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named_before_any_call() {
    let ca = Ca::new();
    for (more, name, kind) in [
        (
            &[("AZURE_TENANT_ID", "")][..],
            "AZURE_TENANT_ID",
            ConfigurationProblemKind::Missing,
        ),
        (
            &[("AZURE_TENANT_ID", "bad/tenant")],
            "AZURE_TENANT_ID",
            ConfigurationProblemKind::Invalid,
        ),
        (
            &[("AZURE_CLIENT_ID", "my-app")],
            "AZURE_CLIENT_ID",
            ConfigurationProblemKind::Invalid,
        ),
        (
            &[("AZURE_AUTHORITY_HOST", "http://localhost:1")],
            "AZURE_AUTHORITY_HOST",
            ConfigurationProblemKind::Invalid,
        ),
        (
            &[("AZURE_AUTHORITY_HOST", "login.evil.example")],
            "AZURE_AUTHORITY_HOST",
            ConfigurationProblemKind::ForeignEndpoint,
        ),
    ] {
        let failure = failure(verify(&ca, more, &[]).await);
        assert!(
            matches!(&failure.cause, Cause::Configuration(p) if p.name == name && p.kind == kind),
            "{more:?}: {failure:?}"
        );
    }
    let nothing = exchange(Provider::Az, &env(&[]), &options(LONG)).await;
    assert!(
        matches!(&failure(nothing).cause, Cause::Configuration(p) if p.kind == ConfigurationProblemKind::NothingConfigured)
    );
}

#[tokio::test]
async fn credentials_that_come_first_and_a_missing_authority_are_noted() {
    let ca = Ca::new();
    // Half a token proxy stops the exchange before anything is sent.
    let stopped = verify(&ca, &[("AZURE_KUBERNETES_SNI_NAME", "x")], &[]).await;
    assert!(stopped.notes.iter().any(|n| n.code == Some("AZ09")));
    assert!(
        matches!(&failure(stopped).cause, Cause::Configuration(p) if p.name == "AZURE_KUBERNETES_TOKEN_PROXY")
    );
    let server = Server::start(Some(&ca), |_| async { granted() }).await;
    let authority = server.https("");
    let more = [
        ("AZURE_CLIENT_SECRET", "canary-secret"),
        ("AZURE_AUTHORITY_HOST", authority.as_str()),
    ];
    let exchange = verify(&ca, &more, &["localhost"]).await;
    assert!(exchange.notes.iter().any(|n| n.code == Some("AZ10")));
    assert!(!format!("{exchange:?}").contains("canary-secret"));
}

#[tokio::test]
async fn the_token_proxy_of_aks_is_used_with_its_tls_name_and_path() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |_| async { granted() }).await;
    let proxy = server.https("/binding");
    let pem = std::fs::read_to_string(ca.file()).unwrap();
    let more = [
        ("AZURE_KUBERNETES_TOKEN_PROXY", proxy.as_str()),
        ("AZURE_KUBERNETES_SNI_NAME", "entra.test"),
        ("AZURE_KUBERNETES_CA_DATA", pem.as_str()),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
    ];
    let exchange = verify(&ca, &more, &["localhost"]).await;
    assert!(exchange.result.is_ok(), "{:?}", exchange.result);
    assert!(exchange.notes.iter().any(|n| n.code == Some("AKS07")));
    assert_eq!(*server.names.lock().unwrap(), ["entra.test"]);
    let request = &server.received()[0];
    assert_eq!(request.path, format!("/binding/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(
        request.headers["host"],
        format!("localhost:{}", server.port())
    );
    let refused = failure(verify(&ca, &more, &[]).await);
    assert!(
        matches!(&refused.cause, Cause::Configuration(p) if p.kind == ConfigurationProblemKind::ForeignEndpoint)
    );
}
