//! What is no admission review of a pod: a status and a text that says what was expected, never a panic.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{
    ROLE,
    api::FakeApi,
    client::{Alpn, Client, post},
    pod, review,
    webhook::{Webhook, role},
};

fn good() -> Value {
    review(&pod("web", json!({"cwii.dev/aws-role-arn": ROLE})))
}

fn with(pointer: &str, value: Value) -> String {
    let mut review = good();
    *review.pointer_mut(pointer).unwrap() = value;
    review.to_string()
}

#[tokio::test]
async fn bad_input_is_told_what_was_expected() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let mut invalid_utf8 = good().to_string().into_bytes();
    let at = invalid_utf8.windows(3).position(|w| w == b"web").unwrap();
    invalid_utf8[at] = 0xff;
    let truncated = good().to_string();
    let cases: Vec<(&str, Bytes, &str)> = vec![
        ("an empty body", Bytes::new(), "no AdmissionReview: EOF"),
        (
            "garbage",
            Bytes::from_static(b"\x00\x01\x02"),
            "expected value",
        ),
        ("an array", Bytes::from_static(b"[]"), "no AdmissionReview"),
        ("a text", Bytes::from_static(b"\"x\""), "no AdmissionReview"),
        (
            "half a review",
            truncated[..truncated.len() / 2].to_owned().into(),
            "no AdmissionReview",
        ),
        (
            "two reviews",
            format!("{truncated}{truncated}").into(),
            "trailing characters",
        ),
        ("invalid UTF-8", invalid_utf8.into(), "no AdmissionReview"),
        (
            "nothing but braces",
            Bytes::from_static(b"{}"),
            "expected apiVersion `admission.k8s.io/v1` and kind `AdmissionReview`, found `` and ``",
        ),
        (
            "v1beta1",
            with("/apiVersion", "admission.k8s.io/v1beta1".into()).into(),
            "found `admission.k8s.io/v1beta1`",
        ),
        (
            "another kind",
            with("/kind", "ConversionReview".into()).into(),
            "`ConversionReview`",
        ),
        (
            "no request",
            with("/request", Value::Null).into(),
            "with a `request`, found none",
        ),
        (
            "a request that is a number",
            with("/request", 7.into()).into(),
            "no AdmissionReview",
        ),
        (
            "not a pod",
            with(
                "/request/kind",
                json!({"group": "apps", "version": "v1", "kind": "Deployment"}),
            )
            .into(),
            "expected an object of kind `v1 Pod`, found `apps/v1 Deployment`",
        ),
        (
            "another group's pod",
            with("/request/kind/group", "metrics.k8s.io".into()).into(),
            "found `metrics.k8s.io/v1 Pod`",
        ),
        (
            "no object",
            with("/request/object", Value::Null).into(),
            "expected a pod in `request.object`, found none",
        ),
        (
            "a pod that is a list",
            with("/request/object", json!([])).into(),
            "`request.object` is no pod",
        ),
        (
            "containers that are a text",
            with("/request/object/spec/containers", "x".into()).into(),
            "`request.object` is no pod",
        ),
        (
            "a namespace that is nowhere",
            {
                let mut review = good();
                review["request"]["namespace"] = "".into();
                review["request"]["object"]["metadata"]["namespace"] = Value::Null;
                review.to_string().into()
            },
            "namespace",
        ),
        (
            "control characters",
            with("/kind", "a\u{1b}[31m\nb".into()).into(),
            "a\\u{1b}[31m\\nb",
        ),
    ];
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let mut client = Client::connect(webhook.https, &webhook.ca, alpn).await;
        for (what, body, expected) in &cases {
            let reply = client.send(post(body.clone())).await.unwrap();
            assert_eq!(
                reply.status,
                StatusCode::BAD_REQUEST,
                "{what}: {}",
                reply.text()
            );
            assert!(reply.text().contains(expected), "{what}: {}", reply.text());
            assert_eq!(reply.text().lines().count(), 1, "{what}: {}", reply.text());
        }
        // The connection has survived all of it.
        assert_eq!(role(&client.admit(&good()).await).as_deref(), Some(ROLE));
    }
}

#[tokio::test]
async fn nesting_without_end_is_no_problem_where_nobody_looks() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let mut client = webhook.client().await;
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    for place in [
        "/request/userInfo",
        "/request/object/spec/futureField",
        "/request/object/metadata/managedFields",
    ] {
        let mut review = good();
        review["request"]["object"]["spec"]["futureField"] = "HERE".into();
        review["request"]["object"]["metadata"]["managedFields"] = "HERE".into();
        *review.pointer_mut(place).unwrap() = "DEEP".into();
        let body = review.to_string().replace("\"DEEP\"", &deep);
        let reply = client.send(post(body)).await.unwrap();
        assert_eq!(reply.status, StatusCode::OK, "{place}: {}", reply.text());
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(role(&answer["response"]).as_deref(), Some(ROLE));
    }
    let body = with("/request/object/spec/containers", "DEEP".into()).replace("\"DEEP\"", &deep);
    let reply = client.send(post(body)).await.unwrap();
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn three_megabytes_are_read_and_more_than_four_are_not() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let mut client = Client::connect(webhook.https, &webhook.ca, alpn).await;
        let mut large = good();
        large["request"]["object"]["metadata"]["annotations"]["example.com/large"] =
            "x".repeat(3 * 1024 * 1024).into();
        assert_eq!(role(&client.admit(&large).await).as_deref(), Some(ROLE));
        let mut client = Client::connect(webhook.https, &webhook.ca, alpn).await;
        // The answer may come before all was sent, and the connection may end with it.
        if let Ok(reply) = client.send(post(" ".repeat(4 * 1024 * 1024 + 1))).await {
            assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(reply.text(), "expected at most 4194304 bytes, found more\n");
        }
        let counted = "cwii_webhook_requests_total{outcome=\"rejected\",reason=\"too_large\"}";
        assert!(webhook.metric(counted).await.is_some());
    }
}

#[tokio::test]
async fn methods_paths_and_content_types_are_checked() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let mut client = webhook.client().await;
    let mut send = async |method: Method, path: &str, content_type: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let body = Full::from(good().to_string());
        client.send(request.body(body).unwrap()).await.unwrap()
    };
    let json = Some("application/json");
    let reply = send(Method::GET, "/mutate", json).await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(reply.text(), "`/mutate` does not accept GET\n");
    assert_eq!(reply.headers[header::ALLOW], "POST");
    let reply = send(Method::POST, "/readyz", json).await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    let reply = send(Method::POST, "/mutate/", json).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(reply.text(), "there is nothing at `/mutate/`\n");
    let reply = send(Method::GET, "/metrics", json).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    for content_type in [None, Some("text/plain"), Some("application/yaml")] {
        let reply = send(Method::POST, "/mutate", content_type).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(
            reply
                .text()
                .starts_with("expected content type `application/json`")
        );
    }
    let reply = send(
        Method::POST,
        "/mutate",
        Some("application/json; charset=utf-8"),
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK);
}
