//! AWS over loopback: what goes out, what comes back, and what is tried again.
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

use common::{Act, CANARY, Ca, Received, Server, env, options, reply, token};
use cwii_checks::facts::{
    Cause, ConfigurationProblemKind, Exchange, Failure, Mechanism, Step, TokenProblemKind,
    TransportProblemKind,
};
use cwii_contract::Provider;
use cwii_exchange::exchange;

const ROLE: &str = "arn:aws:iam::123456789012:role/checkout";

fn assumed() -> Act {
    reply(
        200,
        r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
<SubjectFromWebIdentityToken>system:serviceaccount:shop:checkout</SubjectFromWebIdentityToken><Audience>sts.amazonaws.com</Audience>
<AssumedRoleUser><AssumedRoleId>AROAEXAMPLE:s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/checkout/s</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>ASIAABCDEFGHIJKLMNOP</AccessKeyId><SecretAccessKey>canary-secret-key</SecretAccessKey><SessionToken>canary-session-token</SessionToken><Expiration>2026-01-01T01:00:00.123Z</Expiration></Credentials>
<Provider>arn:aws:iam::123456789012:oidc-provider/oidc.test/c</Provider></AssumeRoleWithWebIdentityResult>
<ResponseMetadata><RequestId>11111111-2222-3333-4444-555555555555</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>"#,
    )
}

fn caller() -> Act {
    reply(
        200,
        r#"<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:sts::123456789012:assumed-role/checkout/s</Arn><UserId>AROAEXAMPLE:s</UserId><Account>123456789012</Account></GetCallerIdentityResult>
<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>"#,
    )
}

fn refused(status: u16, code: &str, message: &str) -> Act {
    reply(
        status,
        format!(
            r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>req-1</RequestId></ErrorResponse>"#
        ),
    )
}

fn healthy(request: &Received) -> Act {
    if request.body.contains("Action=GetCallerIdentity") {
        caller()
    } else {
        assumed()
    }
}

/// Web identity against a server, with more variables.
async fn verify(ca: &Ca, server: &Server, more: &[(&str, &str)], timeout: Duration) -> Exchange {
    let token_file = ca.write("token", &token());
    verify_file(ca, server, &token_file, more, timeout).await
}

async fn verify_file(
    ca: &Ca,
    server: &Server,
    token_file: &str,
    more: &[(&str, &str)],
    timeout: Duration,
) -> Exchange {
    let (endpoint, bundle) = (server.https(""), ca.file());
    let mut variables = vec![
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token_file),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
        ("AWS_CA_BUNDLE", bundle.as_str()),
    ];
    variables.extend(more);
    exchange(Provider::Aws, &env(&variables), &options(timeout)).await
}

fn failure(exchange: Exchange) -> Failure {
    exchange.result.expect_err("the exchange worked")
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn two_requests_go_over_one_connection_with_exactly_these_parameters() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    let exchange = verify(&ca, &server, &[("AWS_ROLE_SESSION_NAME", "shop")], LONG).await;
    assert_eq!(exchange.mechanism, Some(Mechanism::AwsWebIdentity));
    assert_eq!((exchange.wire.connections, exchange.wire.requests), (1, 2));
    assert_eq!(server.accepted(), 1);
    let clock = exchange.server_clock.unwrap();
    assert_eq!(
        clock.server.duration_since(clock.local).as_secs(),
        5,
        "{clock:?}"
    );
    let [assume, caller] = &server.received()[..] else {
        panic!("{:?}", server.received());
    };
    assert_eq!(
        (assume.method.as_str(), assume.path.as_str()),
        ("POST", "/")
    );
    assert_eq!(
        assume.body,
        format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName=shop&WebIdentityToken={}",
            ROLE.replace(':', "%3A").replace('/', "%2F"),
            token()
        )
    );
    assert!(!assume.headers.contains_key("authorization"));
    assert_eq!(caller.body, "Action=GetCallerIdentity&Version=2011-06-15");
    let authorization = &caller.headers["authorization"];
    assert!(
        authorization.contains("ASIAABCDEFGHIJKLMNOP/20260101/eu-central-1/sts/aws4_request"),
        "{authorization}"
    );
    assert_eq!(
        caller.headers["x-amz-security-token"],
        "canary-session-token"
    );
    let printed = format!("{exchange:?}");
    for secret in [
        "canary-secret-key",
        "canary-session-token",
        CANARY,
        &token(),
    ] {
        assert!(!printed.contains(secret), "{secret}");
    }
    let identity = exchange.result.unwrap();
    assert_eq!(
        identity.members,
        [
            ("UserId", "AROAEXAMPLE:s".into()),
            ("Account", "123456789012".into()),
            (
                "Arn",
                "arn:aws:sts::123456789012:assumed-role/checkout/s".into()
            ),
        ]
    );
    assert_eq!(identity.details["access key id"], "ASIA…MNOP");
    assert_eq!(
        identity.details["subject"],
        "system:serviceaccount:shop:checkout"
    );
}

#[tokio::test]
async fn the_second_request_never_opens_a_second_connection() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    for _ in 0..30 {
        let exchange = verify(&ca, &server, &[], LONG).await;
        assert_eq!((exchange.wire.connections, exchange.wire.requests), (1, 2));
    }
    assert_eq!(server.accepted(), 30);
}

#[tokio::test]
async fn an_ipv6_endpoint_is_reached() {
    let ca = Ca::new();
    if tokio::net::TcpListener::bind("[::1]:0").await.is_err() {
        println!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let server = Server::on("[::1]:0", Some(&ca), |r| async move { healthy(&r) }).await;
    let url = format!("https://[::1]:{}", server.port());
    let exchange = verify(&ca, &server, &[("AWS_ENDPOINT_URL_STS", &url)], LONG).await;
    assert!(exchange.result.is_ok(), "{:?}", exchange.result);
}

#[tokio::test]
async fn a_token_that_comes_back_in_an_error_is_taken_out() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |request| async move {
        let token = request.body.rsplit_once("WebIdentityToken=").unwrap().1;
        refused(
            400,
            "ValidationError",
            &format!("Value '{token}' at 'webIdentityToken' failed to satisfy constraint"),
        )
    })
    .await;
    let exchange = verify(&ca, &server, &[], LONG).await;
    let signature = token().rsplit_once('.').unwrap().1.to_owned();
    assert!(!format!("{exchange:?}").contains(&signature));
    assert!(
        matches!(&failure(exchange).cause, Cause::Answer(a) if a.message.contains("Value '[token]' at")),
    );
}

#[tokio::test]
async fn a_newline_behind_the_token_goes_out_and_is_named() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |_| async {
        refused(
            400,
            "InvalidIdentityToken",
            "The ID Token provided is not a valid JWT.",
        )
    })
    .await;
    let file = ca.write("newline", &format!("{}\n", token()));
    let exchange = verify_file(&ca, &server, &file, &[], LONG).await;
    assert!(server.received()[0].body.ends_with("%0A"));
    let presented = exchange.token.as_ref().unwrap();
    assert!(presented.token.is_err() && presented.trimmed.is_some());
    let failure = failure(exchange);
    assert_eq!(failure.attempts, 1);
    assert!(
        matches!(&failure.cause, Cause::Answer(a) if a.status == 400
            && a.code.as_deref() == Some("InvalidIdentityToken")
            && a.request_id.as_deref() == Some("req-1")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn transient_answers_are_tried_again_with_the_token_read_anew() {
    let ca = Ca::new();
    let file = ca.write("rotated", &token());
    let (path, seen) = (file.clone(), Arc::new(AtomicUsize::new(0)));
    let server = Server::start(Some(&ca), move |request| {
        let (path, count) = (path.clone(), seen.fetch_add(1, Ordering::SeqCst));
        async move {
            match count {
                0 => {
                    std::fs::write(&path, token().replace("canary", "fresh") + "AAAA").unwrap();
                    refused(400, "IDPCommunicationError", "x")
                }
                1 => refused(503, "ServiceUnavailable", "x"),
                _ => healthy(&request),
            }
        }
    })
    .await;
    let exchange = verify_file(&ca, &server, &file, &[], LONG).await;
    assert!(exchange.result.is_ok(), "{:?}", exchange.result);
    let received = server.received();
    assert_eq!(received.len(), 4);
    assert_ne!(received[0].body, received[1].body);
    assert_eq!(received[1].body, received[2].body);
}

#[tokio::test]
async fn tries_are_bounded_and_aws_max_attempts_is_the_bound() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |_| async {
        refused(500, "InternalFailure", "x")
    })
    .await;
    assert_eq!(failure(verify(&ca, &server, &[], LONG).await).attempts, 3);
    let one = verify(&ca, &server, &[("AWS_MAX_ATTEMPTS", "1")], LONG).await;
    assert_eq!(failure(one).attempts, 1);
    let wrong = failure(verify(&ca, &server, &[("AWS_MAX_ATTEMPTS", "many")], LONG).await);
    assert!(matches!(wrong.cause, Cause::Configuration(p) if p.name == "AWS_MAX_ATTEMPTS"));
}

#[tokio::test]
async fn a_denial_is_final_unless_patience_is_asked_for() {
    let ca = Ca::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    let server = Server::start(Some(&ca), move |request| {
        let count = counter.fetch_add(1, Ordering::SeqCst);
        async move {
            if count < 2 {
                refused(
                    403,
                    "AccessDenied",
                    "Not authorized to perform sts:AssumeRoleWithWebIdentity",
                )
            } else {
                healthy(&request)
            }
        }
    })
    .await;
    let denied = failure(verify(&ca, &server, &[], LONG).await);
    assert_eq!(
        (denied.step, denied.attempts),
        (Step::AssumeRoleWithWebIdentity, 1)
    );
    let (endpoint, bundle, file) = (server.https(""), ca.file(), ca.write("token", &token()));
    let variables = env(&[
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &file),
        ("AWS_ENDPOINT_URL_STS", &endpoint),
        ("AWS_CA_BUNDLE", &bundle),
    ]);
    let mut patient = options(LONG);
    patient.propagation_retries = 1;
    let exchange = exchange(Provider::Aws, &variables, &patient).await;
    assert!(exchange.result.is_ok(), "{:?}", exchange.result);
}

#[tokio::test]
async fn retry_after_is_honoured_only_where_it_fits_the_deadline() {
    let ca = Ca::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let server = Server::start(Some(&ca), move |request| {
        let count = seen.fetch_add(1, Ordering::SeqCst);
        async move {
            match count {
                0 => Act::Reply(429, vec![("Retry-After", "1".into())], "slow down".into()),
                1 | 2 => healthy(&request),
                _ => Act::Reply(429, vec![("Retry-After", "60".into())], "slow down".into()),
            }
        }
    })
    .await;
    let began = Instant::now();
    assert!(verify(&ca, &server, &[], LONG).await.result.is_ok());
    assert!(began.elapsed() >= Duration::from_secs(1));
    let began = Instant::now();
    let throttled = failure(verify(&ca, &server, &[], LONG).await);
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(
        matches!(&throttled.cause, Cause::Answer(a) if a.status == 429 && a.message == "slow down"),
        "{throttled:?}"
    );
}

#[tokio::test]
async fn a_server_that_hangs_ends_at_the_deadline_with_what_was_waited_for() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |_| async { Act::Hang }).await;
    let began = Instant::now();
    let failure = failure(verify(&ca, &server, &[], Duration::from_millis(700)).await);
    assert!(began.elapsed() < Duration::from_millis(1500));
    let Cause::Deadline {
        after_ms: 700,
        last: Some(last),
    } = &failure.cause
    else {
        panic!("{failure:?}");
    };
    assert!(
        matches!(&**last, Cause::Transport(p) if p.kind == TransportProblemKind::ReadTimeout
            && p.host == format!("localhost:{}", server.port())),
        "{last:?}"
    );
}

#[tokio::test]
async fn answers_that_break_the_protocol_are_told_apart() {
    let ca = Ca::new();
    for (bytes, kind) in [
        (
            "HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            TransportProblemKind::Redirect,
        ),
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 10 << 20),
            TransportProblemKind::TooLarge,
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
                "x".repeat(300 << 10)
            ),
            TransportProblemKind::TooLarge,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<Assume".to_owned(),
            TransportProblemKind::Broken,
        ),
        (String::new(), TransportProblemKind::Broken),
        (
            "\x15\x03\x01 what is this\r\n\r\n".to_owned(),
            TransportProblemKind::Garbage,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>".to_owned(),
            TransportProblemKind::Garbage,
        ),
    ] {
        let answer = bytes.clone();
        let server = Server::start(Some(&ca), move |_| {
            let bytes = answer.clone().into_bytes();
            async { Act::Raw(bytes) }
        })
        .await;
        let failure = failure(verify(&ca, &server, &[], LONG).await);
        let Cause::Transport(problem) = &failure.cause else {
            panic!("{kind:?}: {failure:?}");
        };
        assert_eq!(problem.kind, kind, "{problem:?}");
        assert!(!problem.detail.is_empty());
        let again = kind == TransportProblemKind::Broken;
        assert_eq!(failure.attempts, if again { 3 } else { 1 }, "{kind:?}");
    }
}

#[tokio::test]
async fn an_error_that_is_no_xml_keeps_its_text() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |_| async {
        reply(403, "<html>blocked by filter</html>")
    })
    .await;
    let failure = failure(verify(&ca, &server, &[], LONG).await);
    assert!(
        matches!(&failure.cause, Cause::Answer(a) if a.status == 403 && a.code.is_none()
            && a.message.contains("blocked by filter")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn an_untrusted_certificate_is_not_retried() {
    let ca = Ca::new();
    let server = Server::start(Some(&Ca::new()), |r| async move { healthy(&r) }).await;
    let failure = failure(verify(&ca, &server, &[], LONG).await);
    assert_eq!(failure.attempts, 1);
    assert!(
        matches!(&failure.cause, Cause::Transport(p) if p.kind == TransportProblemKind::Certificate
            && p.detail.contains("invalid peer certificate")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    // A port of loopback that nobody has.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}", free.local_addr().unwrap().port());
    drop(free);
    let failure = failure(
        verify(
            &ca,
            &server,
            &[("AWS_ENDPOINT_URL_STS", &url), ("AWS_MAX_ATTEMPTS", "2")],
            LONG,
        )
        .await,
    );
    assert_eq!(failure.attempts, 2);
    assert!(
        matches!(&failure.cause, Cause::Transport(p) if p.kind == TransportProblemKind::Refused),
        "{failure:?}"
    );
}

/// A proxy that answers CONNECT by a script, and one that really tunnels.
async fn tunnel() -> (u16, Arc<AtomicUsize>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let used = Arc::new(AtomicUsize::new(0));
    let counter = used.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                assert!(
                    head.contains("Basic dTpodW50ZXIy") || head.contains("basic dTpodW50ZXIy"),
                    "{head}"
                );
                let target = head.split(' ').nth(1).unwrap().to_owned();
                let port = target.rsplit_once(':').unwrap().1;
                let mut server = tokio::net::TcpStream::connect(format!("127.0.0.1:{port}"))
                    .await
                    .unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, used)
}

#[tokio::test]
async fn sts_is_reached_through_the_proxy_and_its_password_shows_nowhere() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    let (port, used) = tunnel().await;
    let proxy = format!("http://u:hunter2@127.0.0.1:{port}");
    let exchange = verify(&ca, &server, &[("HTTPS_PROXY", &proxy)], LONG).await;
    assert!(exchange.result.is_ok(), "{:?}", exchange.result);
    assert_eq!(used.load(Ordering::SeqCst), 1);
    let input = exchange.inputs.iter().find(|i| i.name == "proxy").unwrap();
    assert_eq!(input.value, format!("http://127.0.0.1:{port}"));
    assert!(!format!("{exchange:?}").contains("hunter2"));
    let direct = [("HTTPS_PROXY", proxy.as_str()), ("NO_PROXY", "localhost")];
    let exchange = verify(&ca, &server, &direct, LONG).await;
    assert!(exchange.result.is_ok());
    assert_eq!(used.load(Ordering::SeqCst), 1);
    let input = exchange.inputs.iter().find(|i| i.name == "proxy").unwrap();
    assert_eq!(
        (input.value.as_str(), input.source.as_str()),
        ("none", "NO_PROXY")
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    for (status, attempts) in [(407, 1), (403, 3)] {
        let proxy = Server::start(None, move |_| async move { reply(status, "no") }).await;
        let url = format!("http://u:hunter2@127.0.0.1:{}", proxy.port());
        let exchange = verify(&ca, &server, &[("https_proxy", &url)], LONG).await;
        assert!(!format!("{exchange:?}").contains("hunter2"));
        let failure = failure(exchange);
        assert!(
            matches!(&failure.cause, Cause::Transport(p) if p.kind == TransportProblemKind::Proxy
                && p.proxy.as_deref() == Some(&format!("http://127.0.0.1:{}", proxy.port()))),
            "{failure:?}"
        );
        assert!(failure.attempts <= attempts, "{failure:?}");
        assert_eq!(proxy.received()[0].method, "CONNECT");
    }
    let refused = [
        ("https_proxy", "http://127.0.0.1:1"),
        ("AWS_MAX_ATTEMPTS", "1"),
    ];
    let failure = failure(verify(&ca, &server, &refused, LONG).await);
    assert!(
        matches!(&failure.cause, Cause::Transport(p) if p.kind == TransportProblemKind::Proxy),
        "{failure:?}"
    );
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn configuration_that_cannot_work_is_refused_before_any_call() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    for (variables, name, kind) in [
        (
            &[("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")][..],
            "AWS_ROLE_ARN",
            ConfigurationProblemKind::Invalid,
        ),
        (
            &[("AWS_ROLE_ARN", "")],
            "AWS_ROLE_ARN",
            ConfigurationProblemKind::Missing,
        ),
        (
            &[("AWS_ROLE_SESSION_NAME", "a:b")],
            "AWS_ROLE_SESSION_NAME",
            ConfigurationProblemKind::Invalid,
        ),
        (
            &[("AWS_REGION", "eu_central")],
            "AWS_REGION",
            ConfigurationProblemKind::Invalid,
        ),
        (
            &[("AWS_ENDPOINT_URL_STS", "localhost:1")],
            "AWS_ENDPOINT_URL_STS",
            ConfigurationProblemKind::Invalid,
        ),
        (
            &[("AWS_STS_REGIONAL_ENDPOINTS", "x")],
            "AWS_STS_REGIONAL_ENDPOINTS",
            ConfigurationProblemKind::Invalid,
        ),
        (
            &[("AWS_CA_BUNDLE", "/nonexistent.pem")],
            "AWS_CA_BUNDLE",
            ConfigurationProblemKind::Unreadable,
        ),
        (
            &[("HTTPS_PROXY", "socks5://x")],
            "HTTPS_PROXY",
            ConfigurationProblemKind::Invalid,
        ),
        (
            &[("AWS_PROFILE", "nobody")],
            "AWS_PROFILE",
            ConfigurationProblemKind::Missing,
        ),
        (
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", "")],
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            ConfigurationProblemKind::Missing,
        ),
        (
            &[("AWS_ENDPOINT_URL_STS", ""), ("AWS_REGION", "cn-north-1")],
            "AWS_ROLE_ARN",
            ConfigurationProblemKind::PartitionMismatch,
        ),
    ] {
        let failure = failure(verify(&ca, &server, variables, LONG).await);
        assert_eq!(
            (failure.step, failure.attempts),
            (Step::Configuration, 0),
            "{variables:?}"
        );
        assert!(
            matches!(&failure.cause, Cause::Configuration(p) if p.name == name && p.kind == kind),
            "{variables:?}: {failure:?}"
        );
    }
    let nothing = exchange(Provider::Aws, &env(&[]), &options(LONG)).await;
    assert!(
        matches!(&failure(nothing).cause, Cause::Configuration(p) if p.kind == ConfigurationProblemKind::NothingConfigured)
    );
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn token_files_that_hold_no_token_are_refused_before_any_call() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    let directory = ca.dir.path().to_str().unwrap().to_owned();
    for (file, kind) in [
        (format!("{directory}/none"), TokenProblemKind::Missing),
        (directory, TokenProblemKind::NotAFile),
        (ca.write("empty", ""), TokenProblemKind::Empty),
        (
            ca.write("large", &"a".repeat(10 << 20)),
            TokenProblemKind::TooLarge,
        ),
        (
            ca.write("opaque", "opaque-token"),
            TokenProblemKind::Malformed,
        ),
        (ca.write("cut", &token()[..60]), TokenProblemKind::Malformed),
    ] {
        let failure = failure(verify_file(&ca, &server, &file, &[], LONG).await);
        assert_eq!(failure.step, Step::TokenFile);
        assert!(
            matches!(&failure.cause, Cause::Token(p) if p.kind == kind && p.path == file),
            "{failure:?}"
        );
    }
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn the_profile_completes_the_environment_key_by_key() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    let file = ca.write("token", &token());
    let config = ca.write(
        "config",
        &format!(
            "[profile shop]\nrole_arn = {ROLE}\nweb_identity_token_file = /nonexistent\nregion = eu-west-1\n\
             services = local\nca_bundle = {}\nendpoint_url = https://localhost:1\n\n[services local]\nsts =\n  endpoint_url = {}\n",
            ca.file(),
            server.https("")
        ),
    );
    let variables = env(&[
        ("AWS_PROFILE", "shop"),
        ("AWS_CONFIG_FILE", &config),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &file),
    ]);
    let exchange = exchange(Provider::Aws, &variables, &options(LONG)).await;
    assert!(exchange.result.is_ok(), "{:?}", exchange.result);
    let source = |name: &str| {
        exchange
            .inputs
            .iter()
            .find(|i| i.name == name)
            .map(|i| i.source.as_str())
            .unwrap()
    };
    assert_eq!(source("role"), "profile shop");
    assert_eq!(source("token file"), "AWS_WEB_IDENTITY_TOKEN_FILE");
    assert_eq!(source("endpoint"), "profile shop, services");
    assert_eq!(source("CA"), "profile shop");
    assert!(
        exchange
            .notes
            .iter()
            .any(|n| n.text.contains("SDK for Rust does not"))
    );
}

#[tokio::test]
async fn endpoint_overrides_have_their_order() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    let wrong = "https://localhost:1";
    let right = server.https("");
    let config = ca.write("config", &format!("[default]\nendpoint_url = {right}\n"));
    for (variables, source) in [
        (&[("AWS_ENDPOINT_URL", wrong)][..], "AWS_ENDPOINT_URL_STS"),
        (
            &[
                ("AWS_ENDPOINT_URL_STS", ""),
                ("AWS_ENDPOINT_URL", right.as_str()),
            ],
            "AWS_ENDPOINT_URL",
        ),
        (
            &[
                ("AWS_ENDPOINT_URL_STS", ""),
                ("AWS_CONFIG_FILE", config.as_str()),
            ],
            "profile default",
        ),
    ] {
        let exchange = verify(&ca, &server, variables, LONG).await;
        assert!(
            exchange.result.is_ok(),
            "{variables:?}: {:?}",
            exchange.result
        );
        let input = exchange
            .inputs
            .iter()
            .find(|i| i.name == "endpoint")
            .unwrap();
        assert_eq!(input.source, source);
    }
    // Ignored, the role's partition is checked again, so nothing is sent.
    let ignored = [
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "TRUE"),
        ("AWS_REGION", "cn-north-1"),
    ];
    let failure = failure(verify(&ca, &server, &ignored, LONG).await);
    assert!(
        matches!(&failure.cause, Cause::Configuration(p) if p.kind == ConfigurationProblemKind::PartitionMismatch)
    );
}

#[tokio::test]
async fn what_other_sdks_would_do_is_noted() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    for (variables, code, text) in [
        (
            &[("AWS_DEFAULT_REGION", "")][..],
            Some("AWS12"),
            "global endpoint",
        ),
        (
            &[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "")],
            Some("AWS12"),
            "no region",
        ),
        (
            &[("AWS_REGION", "eu-west-1")],
            Some("AWS12"),
            "use the latter",
        ),
        (
            &[("AWS_USE_FIPS_ENDPOINT", "true")],
            None,
            "other SDKs refuse",
        ),
        (
            &[("AWS_ACCESS_KEY_ID", "AKIA")],
            Some("APP01"),
            "static key",
        ),
        (
            &[(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://169.254.170.23/v1/credentials",
            )],
            Some("EPI07"),
            "web identity",
        ),
        (&[], None, "not an AWS endpoint"),
    ] {
        let exchange = verify(&ca, &server, variables, LONG).await;
        assert!(exchange.result.is_ok(), "{variables:?}");
        assert!(
            exchange
                .notes
                .iter()
                .any(|n| n.code == code && n.text.contains(text)),
            "{variables:?}: {:?}",
            exchange.notes
        );
    }
}

/// Container credentials and STS on two servers.
async fn container(agent: &Server, sts: &Server, ca: &Ca, more: &[(&str, &str)]) -> Exchange {
    let (uri, endpoint, bundle) = (agent.http("/v1/credentials"), sts.https(""), ca.file());
    let file = ca.write("pod-token", &token());
    let mut variables = vec![
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.as_str()),
        ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
        ("AWS_CA_BUNDLE", bundle.as_str()),
        ("AWS_REGION", "eu-central-1"),
    ];
    variables.extend(more);
    exchange(Provider::Aws, &env(&variables), &options(LONG)).await
}

const CREDENTIALS: &str = r#"{"AccessKeyId":"ASIAABCDEFGHIJKLMNOP","SecretAccessKey":"canary-secret-key","Token":"canary-session-token","Expiration":"2026-01-01T06:00:00.123456789Z","AccountId":"123456789012"}"#;

#[tokio::test]
async fn the_pod_identity_agent_gets_the_raw_token_and_never_through_a_proxy() {
    let ca = Ca::new();
    let agent = Server::start(None, |_| async { reply(200, CREDENTIALS) }).await;
    let sts = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    let proxy = [("http_proxy", "http://127.0.0.1:1")];
    let exchange = container(&agent, &sts, &ca, &proxy).await;
    assert!(!format!("{exchange:?}").contains("canary"));
    assert_eq!(exchange.mechanism, Some(Mechanism::AwsContainerCredentials));
    assert!(exchange.notes.iter().any(|n| n.code == Some("EPI10")));
    let identity = exchange.result.unwrap();
    assert_eq!(identity.members[1], ("Account", "123456789012".into()));
    assert_eq!(identity.details["account"], "123456789012");
    let request = &agent.received()[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("GET", "/v1/credentials")
    );
    assert_eq!(request.headers["authorization"], token());
    assert_eq!(request.headers["accept"], "application/json");
}

#[tokio::test]
async fn errors_of_the_pod_identity_agent_are_read_and_denials_not_retried() {
    let ca = Ca::new();
    let sts = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    let agent = Server::start(None, |_| async {
        reply(
            404,
            "[id-1]: (ResourceNotFoundException): No association found, fault: client\n",
        )
    })
    .await;
    let failure = failure(container(&agent, &sts, &ca, &[]).await);
    assert_eq!(
        (failure.step, failure.attempts),
        (Step::ContainerCredentials, 1)
    );
    assert!(
        matches!(&failure.cause, Cause::Answer(a) if a.code.as_deref() == Some("ResourceNotFoundException")),
        "{failure:?}"
    );
    assert!(sts.received().is_empty());
}

#[tokio::test]
async fn a_newline_in_the_authorization_token_is_no_header() {
    let ca = Ca::new();
    let sts = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    let agent = Server::start(None, |_| async { reply(200, CREDENTIALS) }).await;
    let file = ca.write("newline", &format!("{}\n", token()));
    let more = [("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.as_str())];
    let failure = failure(container(&agent, &sts, &ca, &more).await);
    assert!(
        matches!(&failure.cause, Cause::Token(p) if p.kind == TokenProblemKind::Malformed),
        "{failure:?}"
    );
    assert!(agent.received().is_empty());
}

#[tokio::test]
async fn a_credentials_host_off_the_machine_is_refused() {
    let ca = Ca::new();
    let sts = Server::start(Some(&ca), |r| async move { healthy(&r) }).await;
    let agent = Server::start(None, |_| async { reply(200, CREDENTIALS) }).await;
    let more = [(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "http://10.0.0.1/creds",
    )];
    let failure = failure(container(&agent, &sts, &ca, &more).await);
    assert!(
        matches!(&failure.cause, Cause::Configuration(p) if p.kind == ConfigurationProblemKind::ForbiddenHost),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_caller_that_is_refused_fails_at_its_own_step() {
    let ca = Ca::new();
    let server = Server::start(Some(&ca), |request| async move {
        if request.body.contains("Action=GetCallerIdentity") {
            refused(
                403,
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            )
        } else {
            assumed()
        }
    })
    .await;
    let failure = failure(verify(&ca, &server, &[], LONG).await);
    assert_eq!(
        (failure.step, failure.attempts),
        (Step::GetCallerIdentity, 1)
    );
}
