//! Every fault, as a client meets it.
#![expect(
    clippy::disallowed_methods,
    reason = "tests measure time and read files"
)]

mod support;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use cwii_lab::{Certificate, Fault, FaultKind, ForcedAnswer, Lab, Scenario, Service, scenarios};
use jiff::{SignedDuration, Timestamp};
use support::{client, drive, lab};

fn scenario(name: &str) -> &'static Scenario {
    scenarios()
        .iter()
        .find(|s| s.name == name)
        .expect("a scenario of this name")
}

/// One request to STS that would be answered with `MissingAction`.
async fn ask(lab: &Lab, timeout: Duration) -> Result<reqwest::Response, reqwest::Error> {
    client(&lab.ca_file())
        .post(format!("{}/", lab.endpoints().sts))
        .timeout(timeout)
        .send()
        .await
}

const SOON: Duration = Duration::from_millis(400);
const LATER: Duration = Duration::from_secs(5);

#[tokio::test]
async fn errors_come_in_the_shape_of_the_service_with_retry_after() {
    let lab = lab();
    for (service, name, code) in [
        (Service::AwsSts, "hello-aws", "Throttling"),
        (Service::GoogleSts, "hello-google", "quota_exceeded"),
        (Service::GoogleIam, "hello-google", "RESOURCE_EXHAUSTED"),
        (Service::Entra, "hello-entra", "AADSTS90055"),
        (Service::PodIdentity, "hello-pod-identity", ""),
    ] {
        let workload = lab.workload(scenario(name)).unwrap();
        lab.set_fault(
            service,
            Fault::first(
                1,
                FaultKind::Status {
                    status: 429,
                    retry_after: Some(7),
                },
            ),
        );
        let seen = drive(&workload).await.unwrap();
        assert_eq!((seen.status, seen.code.as_str()), (429, code), "{service}");
        let seen = drive(&workload).await.unwrap();
        assert!(seen.verified(), "{service} works the second time: {seen:?}");
    }
    lab.set_fault(
        Service::AwsSts,
        FaultKind::Status {
            status: 503,
            retry_after: Some(7),
        },
    );
    let response = ask(&lab, LATER).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "7");
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("ServiceUnavailable")
    );
}

#[tokio::test]
async fn latency_delays_every_answer() {
    let lab = lab();
    lab.set_fault(
        Service::AwsSts,
        FaultKind::Latency(Duration::from_millis(300)),
    );
    let begun = Instant::now();
    assert_eq!(ask(&lab, LATER).await.unwrap().status(), 400);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    lab.clear_faults();
    let begun = Instant::now();
    assert_eq!(ask(&lab, LATER).await.unwrap().status(), 400);
    assert!(begun.elapsed() < Duration::from_millis(300));
}

#[tokio::test]
async fn a_link_costs_its_round_trip_for_tcp_for_tls_and_for_each_answer() {
    const RTT: Duration = Duration::from_millis(80);
    let lab = lab();
    lab.set_fault(Service::AwsSts, FaultKind::RoundTrip(RTT));
    let http = client(&lab.ca_file());
    let url = format!("{}/", lab.endpoints().sts);
    let begun = Instant::now();
    http.post(&url).send().await.unwrap().text().await.unwrap();
    let first = begun.elapsed();
    http.post(&url).send().await.unwrap().text().await.unwrap();
    let second = begun.elapsed() - first;
    assert!(first >= RTT * 3 && first < RTT * 4, "{first:?}");
    assert!(second >= RTT && second < RTT * 2, "{second:?}");
    let connections = lab.connection_details();
    let connection = connections
        .iter()
        .find(|c| c.service == Service::AwsSts)
        .unwrap();
    assert_eq!(
        (connection.requests, connection.round_trips),
        (2, 4),
        "{connection:?}"
    );
    assert_eq!(lab.connections(Service::AwsSts), 1);
}

#[tokio::test]
async fn hanging_services_accept_and_never_answer() {
    let lab = lab();
    for kind in [FaultKind::HangConnect, FaultKind::Hang] {
        lab.set_fault(Service::AwsSts, kind.clone());
        assert!(ask(&lab, SOON).await.unwrap_err().is_timeout(), "{kind:?}");
        lab.clear_fault(Service::AwsSts);
    }
    lab.set_fault(Service::AwsSts, FaultKind::HangBody);
    let response = ask(&lab, SOON).await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(response.content_length().unwrap() > 0);
    assert!(response.bytes().await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn broken_answers_break_in_the_way_that_was_asked_for() {
    let lab = lab();
    lab.set_fault(Service::AwsSts, FaultKind::Truncated);
    let response = ask(&lab, LATER).await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(!response.bytes().await.unwrap_err().is_timeout());
    lab.clear_faults();

    lab.set_fault(Service::AwsSts, FaultKind::Garbage);
    let error = ask(&lab, LATER).await.unwrap_err();
    assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
    lab.clear_faults();

    lab.set_fault(Service::AwsSts, FaultKind::Oversized(3_000_000));
    let response = ask(&lab, LATER).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.bytes().await.unwrap().len(), 3_000_000);
    lab.clear_faults();

    for (kind, status, part) in [
        (FaultKind::WrongContent, 200, "hello"),
        (FaultKind::HtmlPage, 200, "<form"),
        (FaultKind::HtmlError, 502, "502 Bad Gateway"),
        (
            FaultKind::Answer(ForcedAnswer {
                status: 403,
                code: "AccessDenied".into(),
                message: "because".into(),
                detail: None,
            }),
            403,
            "<Code>AccessDenied</Code>",
        ),
    ] {
        lab.set_fault(Service::AwsSts, kind.clone());
        let response = ask(&lab, LATER).await.unwrap();
        assert_eq!(response.status(), status, "{kind:?}");
        assert!(response.text().await.unwrap().contains(part), "{kind:?}");
        lab.clear_faults();
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_and_not_an_end() {
    let lab = lab();
    lab.set_fault(Service::PodIdentity, FaultKind::Reset);
    let address = lab
        .endpoints()
        .pod_identity
        .trim_start_matches("http://")
        .to_owned();
    let error = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            .unwrap();
        stream.read(&mut [0; 64]).unwrap_err().kind()
    })
    .await
    .unwrap();
    assert_eq!(error, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_redirect_that_is_followed_is_seen() {
    let lab = lab();
    lab.set_fault(Service::GoogleSts, FaultKind::Redirect(307));
    let workload = lab.workload(scenario("hello-google")).unwrap();
    assert_eq!(drive(&workload).await.unwrap().status, 307);
    assert_eq!(lab.connections(Service::Trap), 0);
    let location = format!("{}/v1/token", lab.endpoints().trap);
    let response = client(&lab.ca_file())
        .post(location)
        .header("content-type", support::FORM)
        .body("subject_token=eyJ.secret.token")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let caught = lab.requests().pop().unwrap();
    assert_eq!(caught.service, Service::Trap);
    assert_eq!(caught.form[0].1, cwii_lab::redact("eyJ.secret.token"));
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_and_the_right_one_again_accepted() {
    let lab = lab();
    for wrong in [
        Certificate::Untrusted,
        Certificate::Expired,
        Certificate::OtherName,
    ] {
        lab.set_fault(Service::AwsSts, FaultKind::Certificate(wrong));
        let error = ask(&lab, LATER).await.unwrap_err();
        assert!(
            error.is_connect() && format!("{error:?}").contains("ertificate"),
            "{wrong:?}: {error:?}"
        );
    }
    lab.clear_faults();
    assert_eq!(ask(&lab, LATER).await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_shifted_clock_shows_in_date_and_verdict() {
    let lab = lab();
    let workload = lab.workload(scenario("hello-aws")).unwrap();
    lab.set_fault(
        Service::AwsSts,
        FaultKind::ClockShift(SignedDuration::from_hours(-2)),
    );
    let response = ask(&lab, LATER).await.unwrap();
    let date = response.headers()["date"].to_str().unwrap();
    let date = Timestamp::try_from(httpdate::parse_http_date(date).unwrap()).unwrap();
    let behind = lab.now().duration_since(date);
    assert!((7190..7220).contains(&behind.as_secs()), "{behind}");
    let seen = drive(&workload).await.unwrap();
    assert_eq!(seen.code, "InvalidIdentityToken");
    assert!(
        seen.text.starts_with("Token issued in the future: "),
        "{seen:?}"
    );
}

#[tokio::test]
async fn stale_keys_are_those_that_were_fetched_first() {
    let lab = lab();
    let scenario = scenario("hello-aws");
    let mut next = scenario.case.clone();
    let workload = lab.workload(scenario).unwrap();
    assert!(drive(&workload).await.unwrap().verified());
    // The cluster rotates, and publishes both keys.
    next.token = |t| t.key = cwii_lab::KeyName::RsaNext;
    let rotated = cwii_lab::Case::new("rotated", scenario.case.mechanism)
        .published([cwii_lab::KeyName::Rsa, cwii_lab::KeyName::RsaNext]);
    lab.lay_out(&rotated).unwrap();
    let keys = std::fs::read(lab.document_file(&rotated, cwii_lab::Document::Jwks)).unwrap();
    std::fs::write(
        lab.document_file(&scenario.case, cwii_lab::Document::Jwks),
        keys,
    )
    .unwrap();
    lab.set_fault(Service::AwsSts, FaultKind::StaleJwks);
    let workload = lab.lay_out(&next).unwrap();
    let seen = drive(&workload).await.unwrap();
    assert!(seen.text.contains("verification key"), "{seen:?}");
    lab.clear_faults();
    assert!(drive(&workload).await.unwrap().verified());
}

#[tokio::test]
async fn a_fault_of_the_issuer_is_an_error_of_the_clouds() {
    let lab = lab();
    lab.set_fault(
        Service::Issuer,
        FaultKind::Status {
            status: 503,
            retry_after: None,
        },
    );
    for (name, code) in [
        ("hello-aws", "InvalidIdentityToken"),
        ("hello-google", "invalid_grant"),
        ("hello-entra", "AADSTS90061"),
    ] {
        let workload = lab.workload(scenario(name)).unwrap();
        assert_eq!(drive(&workload).await.unwrap().code, code);
    }
    lab.clear_faults();
    for name in ["hello-aws", "hello-google", "hello-entra"] {
        let workload = lab.workload(scenario(name)).unwrap();
        assert!(drive(&workload).await.unwrap().verified());
    }
}
