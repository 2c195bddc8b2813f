//! The issuer over loopback: each fact carries its own failure.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests, with their helpers"
)]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use common::{Act, Ca, Server, env, options, reply};
use cwii_checks::facts::{Fact, Issuer};
use cwii_contract::Provider;
use cwii_exchange::issuer;
use serde_json::json;

const KEYS: &str =
    r#"{"keys":[{"kty":"RSA","kid":"k","n":"sXch","e":"AQAB","use":"sig","alg":"RS256"}]}"#;

fn document(issuer: &str, keys: &str) -> String {
    json!({
        "issuer": issuer,
        "jwks_uri": keys,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
    .to_string()
}

async fn look(ca: &Ca, server: &Server, timeout: Duration) -> Issuer {
    let bundle = ca.file();
    let variables = env(&[("SSL_CERT_FILE", &bundle)]);
    issuer(
        &server.https("/c"),
        &variables,
        &options(timeout),
        Provider::Gcp,
    )
    .await
}

const LONG: Duration = Duration::from_secs(10);

/// A server whose discovery document names these keys, `{}` standing for its own URL.
async fn publish(ca: &Ca, keys: &'static str) -> Server {
    let base = Arc::new(Mutex::new(String::new()));
    let own = base.clone();
    let server = Server::start(Some(ca), move |request| {
        let base = own.lock().unwrap().clone();
        async move {
            match request.path.as_str() {
                "/c/.well-known/openid-configuration" => reply(
                    200,
                    document(&format!("{base}/c"), &keys.replace("{}", &base)),
                ),
                "/c/openid/v1/jwks" | "/elsewhere" => reply(200, KEYS),
                _ => reply(404, "no"),
            }
        }
    })
    .await;
    *base.lock().unwrap() = server.https("");
    server
}

#[tokio::test]
async fn document_and_keys_are_fetched_at_the_same_time() {
    let ca = Ca::new();
    let server = publish(&ca, "{}/c/openid/v1/jwks").await;
    let found = look(&ca, &server, LONG).await;
    assert!(
        matches!(found.discovery, Fact::Known(_)),
        "{:?}",
        found.discovery
    );
    assert!(
        matches!(&found.jwks, Fact::Known(keys) if keys.keys.len() == 1),
        "{:?}",
        found.jwks
    );
    assert_eq!(
        found.discovery_url,
        server.https("/c/.well-known/openid-configuration")
    );
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn keys_elsewhere_are_fetched_from_there() {
    let ca = Ca::new();
    let server = publish(&ca, "{}/elsewhere").await;
    let found = look(&ca, &server, LONG).await;
    assert_eq!(
        found.jwks_url.as_deref(),
        Some(server.https("/elsewhere").as_str())
    );
    assert!(matches!(found.jwks, Fact::Known(_)));
    let server = publish(&ca, "{}/gone").await;
    assert_eq!(look(&ca, &server, LONG).await.jwks, Fact::Absent);
    let server = publish(&ca, "http://localhost/keys").await;
    assert!(matches!(
        look(&ca, &server, LONG).await.jwks,
        Fact::Invalid(_)
    ));
}

#[tokio::test]
async fn each_failure_is_told_by_its_kind() {
    let ca = Ca::new();
    for (answer, expected) in [
        ("404", "Absent"),
        ("403", "Denied(\"status 403\")"),
        ("redirect", "Invalid(\"status 301 to https://other.example/"),
        ("html", "Invalid(\"an HTML page"),
        ("huge", "Invalid(\"the answer is larger than 262144 bytes"),
        ("503", "Unreachable(\"status 503\")"),
    ] {
        let server = Server::start(Some(&ca), move |_| async move {
            match answer {
                "redirect" => Act::Reply(
                    301,
                    vec![("Location", "https://other.example/".into())],
                    String::new(),
                ),
                "html" => reply(200, "\n<!doctype html><p>hello"),
                "huge" => reply(200, "x".repeat(2 << 20)),
                status => reply(status.parse().unwrap(), "no"),
            }
        })
        .await;
        let found = look(&ca, &server, LONG).await;
        let shown = format!("{:?}", found.discovery);
        assert!(shown.starts_with(expected), "{answer}: {shown}");
        assert_eq!((found.jwks_url, found.jwks), (None, Fact::NotCollected));
    }
    let server = Server::start(Some(&Ca::new()), |_| async { reply(200, KEYS) }).await;
    let found = look(&ca, &server, LONG).await;
    assert!(matches!(&found.discovery, Fact::Unreachable(text) if text.contains("certificate")));
}

#[tokio::test]
async fn an_issuer_that_hangs_takes_the_time_that_is_left_and_no_more() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |_| async { Act::Hang }).await;
    let began = Instant::now();
    let found = look(&ca, &server, Duration::from_millis(400)).await;
    assert!(began.elapsed() < Duration::from_millis(1200));
    assert_eq!(found.discovery, Fact::TimedOut);
}

#[tokio::test]
async fn an_issuer_that_is_no_https_url_is_not_asked() {
    for url in [
        "http://localhost/c",
        "kubernetes/serviceaccount",
        "https://x/?q",
    ] {
        let found = issuer(url, &env(&[]), &options(LONG), Provider::Aws).await;
        assert!(matches!(found.discovery, Fact::Invalid(_)), "{url}");
    }
}
