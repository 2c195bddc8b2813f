//! Connections: certificates that change, clients that prove who they are, clients that do not behave, and the end.

use std::{path::Path, sync::Arc, time::Duration};

use cwii_webhook::{server::Phase, tls::CertificateSource};
use http::{StatusCode, header};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    ROLE,
    api::FakeApi,
    client::{Alpn, Client, Identity, tls},
    pod, review,
    webhook::{Setup, Webhook, role},
};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn leaf(&self, common_name: &str, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Identity {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn server(&self) -> Identity {
        self.leaf(
            "webhook",
            &["localhost"],
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    fn client(&self, common_name: &str, names: &[&str]) -> Identity {
        self.leaf(common_name, names, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

fn asking() -> Value {
    review(&pod("web", json!({"cwii.dev/aws-role-arn": ROLE})))
}

fn write(dir: &Path, (certificate, key): &Identity) -> CertificateSource {
    let source = (dir.join("tls.crt"), dir.join("tls.key"));
    std::fs::write(&source.0, certificate).unwrap();
    std::fs::write(&source.1, key).unwrap();
    CertificateSource::Files {
        certificate: source.0,
        key: source.1,
    }
}

#[tokio::test]
async fn a_rotated_certificate_serves_new_connections_and_leaves_old_ones_alone() {
    let api = FakeApi::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new(), Authority::new());
    let setup = Setup {
        certificate: Some(write(dir.path(), &first.server())),
        ..Setup::default()
    };
    let webhook = Webhook::cold(&api, setup).await;
    webhook.watch(&api).await;
    let mut old = Vec::new();
    for alpn in [Alpn::Http1, Alpn::Http2] {
        old.push(Client::connect(webhook.https, &first.pem, alpn).await);
    }
    let (kept, metrics) = (Arc::clone(&webhook.tls), Arc::clone(&webhook.metrics));
    let keeping = tokio::spawn(async move { kept.keep(&metrics).await });
    write(dir.path(), &second.server());
    tokio::time::pause();
    while webhook.metrics.certificate_reloads(true) < 2 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    tokio::time::resume();
    keeping.abort();
    assert!(
        tls(webhook.https, &first.pem, Alpn::Http2, None)
            .await
            .is_err()
    );
    // Somebody's bundle has not followed: that must not stay between the API server and the people it turns away.
    let refused = "cwii_webhook_tls_handshake_failures_total{reason=\"certificate_refused\"}";
    let counted = async { while webhook.metric(refused).await != Some(1.0) {} };
    tokio::time::timeout(Duration::from_secs(60), counted)
        .await
        .unwrap();
    old.push(Client::connect(webhook.https, &second.pem, Alpn::Http2).await);
    for client in &mut old {
        assert_eq!(role(&client.admit(&asking()).await).as_deref(), Some(ROLE));
    }
    let reloads = "cwii_webhook_certificate_reloads_total{result=\"success\"}";
    assert_eq!(webhook.metric(reloads).await, Some(2.0));
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_leaves_the_one_in_use() {
    let api = FakeApi::start().await;
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (good, other) = (authority.server(), authority.server());
    let setup = Setup {
        certificate: Some(write(dir.path(), &good)),
        ..Setup::default()
    };
    let webhook = Webhook::cold(&api, setup).await;
    let expiry = "cwii_webhook_certificate_expiry_timestamp_seconds";
    let before = webhook.metric(expiry).await;
    let broken = [
        (other.0.clone(), good.1.clone()),
        ("not a certificate".into(), good.1.clone()),
        (good.0.clone(), String::new()),
        (String::new(), String::new()),
        (good.1.clone(), good.0.clone()),
    ];
    for (failures, pair) in broken.iter().enumerate() {
        write(dir.path(), pair);
        webhook.tls.reload(&webhook.metrics);
        // The same contents are not tried, and not told of, again.
        webhook.tls.reload(&webhook.metrics);
        let failed = "cwii_webhook_certificate_reloads_total{result=\"failure\"}";
        assert_eq!(webhook.metric(failed).await, Some(failures as f64 + 1.0));
        Client::connect(webhook.https, &authority.pem, Alpn::Http2).await;
    }
    std::fs::remove_file(dir.path().join("tls.key")).unwrap();
    webhook.tls.reload(&webhook.metrics);
    Client::connect(webhook.https, &authority.pem, Alpn::Http2).await;
    assert_eq!(webhook.metric(expiry).await, before);
}

#[tokio::test]
async fn without_a_certificate_the_process_waits_and_is_not_ready() {
    let api = FakeApi::start().await;
    let dir = tempfile::tempdir().unwrap();
    let missing = CertificateSource::Files {
        certificate: dir.path().join("tls.crt"),
        key: dir.path().join("tls.key"),
    };
    let setup = Setup {
        certificate: Some(missing),
        ..Setup::default()
    };
    let webhook = Webhook::cold(&api, setup).await;
    webhook.watch(&api).await;
    let mut probe = Client::plain(webhook.http).await;
    let reply = probe.get("/readyz").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.text(), "not ready: no certificate is loaded\n");
    let authority = Authority::new();
    write(dir.path(), &authority.server());
    webhook.tls.reload(&webhook.metrics);
    assert_eq!(probe.get("/readyz").await.status, StatusCode::OK);
    Client::connect(webhook.https, &authority.pem, Alpn::Http1).await;
}

#[tokio::test]
async fn only_clients_with_the_right_name_may_ask_and_probes_need_no_certificate() {
    let api = FakeApi::start().await;
    let authority = Authority::new();
    let setup = Setup {
        client_ca: Some(authority.pem.clone()),
        client_names: vec!["kube-apiserver".into()],
        ..Setup::default()
    };
    let webhook = Webhook::cold(&api, setup).await;
    webhook.watch(&api).await;
    for (identity, expected) in [
        (None, Err((401, "found none"))),
        (Some(authority.client("kube-apiserver", &[])), Ok(())),
        (Some(authority.client("other", &["kube-apiserver"])), Ok(())),
        (
            Some(authority.client("kubelet", &["kubelet.example.com"])),
            Err((403, "`kubelet`, `kubelet.example.com`")),
        ),
    ] {
        for alpn in [Alpn::Http1, Alpn::Http2] {
            let stream = tls(webhook.https, &webhook.ca, alpn, identity.as_ref())
                .await
                .unwrap();
            let mut client = Client::over(stream, alpn).await;
            assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
            let reply = client.post(&asking()).await;
            match expected {
                Ok(()) => assert_eq!(reply.status, StatusCode::OK),
                Err((status, text)) => {
                    assert_eq!(reply.status.as_u16(), status);
                    assert!(reply.text().contains(text), "{}", reply.text());
                }
            }
        }
    }
    // A certificate of somebody else is no certificate: the handshake fails, at the latest with the first read.
    let stranger = Authority::new().client("kube-apiserver", &[]);
    let stream = tls(webhook.https, &webhook.ca, Alpn::Http1, Some(&stranger)).await;
    let refused = match stream {
        Err(_) => true,
        Ok(mut stream) => stream.read_u8().await.is_err(),
    };
    assert!(refused);
}

#[tokio::test]
async fn garbage_and_silence_are_cut_and_others_are_served_meanwhile() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let mut garbage = TcpStream::connect(webhook.https).await.unwrap();
    garbage
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // An alert at most, and the end.
    let _ = garbage.read_to_end(&mut answer).await;
    assert!(answer.len() < 16, "{answer:?}");

    let mut no_handshake = TcpStream::connect(webhook.https).await.unwrap();
    let mut no_request = tls(webhook.https, &webhook.ca, Alpn::Http1, None)
        .await
        .unwrap();
    let mut no_preface = tls(webhook.https, &webhook.ca, Alpn::Http2, None)
        .await
        .unwrap();
    let mut half_a_head = tls(webhook.https, &webhook.ca, Alpn::Http1, None)
        .await
        .unwrap();
    half_a_head
        .write_all(b"POST /mutate HTTP/1.1\r\nHost: local")
        .await
        .unwrap();
    let mut half_a_body = tls(webhook.https, &webhook.ca, Alpn::Http1, None)
        .await
        .unwrap();
    half_a_body
        .write_all(b"POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        .await
        .unwrap();
    let mut idle = webhook.client().await;
    assert_eq!(role(&idle.admit(&asking()).await).as_deref(), Some(ROLE));

    // From here on the clock jumps whenever all wait.
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    let mut sink = Vec::new();
    let _ = no_handshake.read_to_end(&mut sink).await;
    let _ = no_request.read_to_end(&mut sink).await;
    let _ = half_a_head.read_to_end(&mut sink).await;
    let _ = no_preface.read_to_end(&mut sink).await;
    let mut answer = String::new();
    let _ = half_a_body.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        begin.elapsed() < Duration::from_secs(600),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn a_request_that_has_begun_is_answered_while_the_process_leaves() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let mut pending = Vec::new();
    api.hold_reads(true);
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let mut client = Client::connect(webhook.https, &webhook.ca, alpn).await;
        let mut review = asking();
        review["request"]["object"]["spec"]["serviceAccountName"] =
            format!("unseen-{alpn:?}").into();
        pending.push(tokio::spawn(async move { client.post(&review).await }));
    }
    webhook.until(|| api.live_calls().len() == 2).await;
    let mut idle = Client::connect(webhook.https, &webhook.ca, Alpn::Http2).await;
    idle.admit(&asking()).await;

    webhook.phase.send_replace(Phase::Leaving);
    let mut late = webhook.client().await;
    let reply = late.get("/readyz").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.text(), "not ready: the process is ending\n");
    assert_eq!(reply.headers[header::CONNECTION], "close");
    // Whoever has not heard of it is served.
    idle.admit(&asking()).await;
    webhook.client().await.admit(&asking()).await;

    let mut silent_so_far = webhook.client().await;
    webhook.phase.send_replace(Phase::Closing);
    let refused = async {
        while let Ok(stream) = TcpStream::connect(webhook.https).await {
            drop(stream);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), refused)
        .await
        .unwrap();
    assert!(!webhook.serving.is_finished());
    // Connected in time, and its first request on its way.
    let reply = silent_so_far.post(&asking()).await;
    assert_eq!(reply.headers[header::CONNECTION], "close");
    api.hold_reads(false);
    for task in pending {
        let reply = task.await.unwrap();
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.text().contains("JSONPatch"));
    }
    webhook.serving.await.unwrap();
}
