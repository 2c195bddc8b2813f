//! Bad input of any kind ends in a clear error and the right exit code.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use cwii_lab::{Certificate, FaultKind, Mechanism, Service, Workload, scenarios};

use crate::support::{Agent, Ran, lab};

/// The variable that names the token file.
fn token_variable(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::AwsWebIdentity => "AWS_WEB_IDENTITY_TOKEN_FILE",
        Mechanism::AwsPodIdentity => "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        Mechanism::EntraFederated => "AZURE_FEDERATED_TOKEN_FILE",
        _ => unreachable!("Google names the file in its credentials document"),
    }
}

fn healthy(lab: &cwii_lab::Lab, mechanism: Mechanism) -> Workload {
    let scenario = scenarios()
        .iter()
        .find(|s| s.case.mechanism == mechanism && s.is_healthy())
        .unwrap();
    lab.workload(scenario).unwrap()
}

#[track_caller]
fn assert_refused(ran: &Ran, code: i32, finding: &str, says: &str) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(
        ran.stderr.contains(&format!("error[{finding}]")),
        "expected {finding}: {}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains(says),
        "expected {says:?}: {}",
        ran.stderr
    );
    assert!(ran.stderr.contains("help:"), "{}", ran.stderr);
    assert!(
        ran.stderr.len() < 4000,
        "not a flood: {} bytes",
        ran.stderr.len()
    );
    assert_eq!(ran.result().code.as_deref(), Some(finding));
    assert!(ran.stdout.is_empty());
}

#[test]
fn a_token_file_that_is_none() {
    let lab = lab();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let missing = dir.path().join("missing").display().to_string();
    let cases = [
        (missing, "no such file"),
        (dir.path().display().to_string(), "a directory"),
        (file("a", b""), "is empty"),
        (file("b", &[0xff, 0xd8, 0x00, 0x01, 0x80]), "no text"),
        (file("c", b"this is no token"), "one part without dots"),
        (file("d", b"eyJhbGciOiJSUzI1NiJ9.eyJpc3Mi"), "found 2 parts"),
        (file("e", &vec![b'a'; 10 << 20]), "10485760 bytes"),
    ];
    for mechanism in [
        Mechanism::AwsWebIdentity,
        Mechanism::AwsPodIdentity,
        Mechanism::EntraFederated,
    ] {
        let workload = healthy(&lab, mechanism);
        // What authorises a container may be any text, so only the agent of EKS can tell that it is no token.
        let told_here =
            |says: &str| mechanism != Mechanism::AwsPodIdentity || !says.contains("part");
        for (path, says) in cases.iter().filter(|(_, says)| told_here(says)) {
            let ran = Agent::verify(&workload)
                .arg("--enforce")
                .env(token_variable(mechanism), path)
                .run();
            assert_refused(&ran, 11, "TOK01", says);
        }
        assert!(
            !lab.requests()
                .iter()
                .any(|r| !r.internal && r.service != Service::Issuer),
            "nothing was sent to a cloud"
        );
    }
    // Google names the file in the document.
    let workload = healthy(&lab, Mechanism::GoogleDirect);
    let document =
        std::fs::read_to_string(&workload.env["GOOGLE_APPLICATION_CREDENTIALS"]).unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    for (path, says) in &cases {
        let mut document = document.clone();
        document["credential_source"] = serde_json::json!({ "file": path });
        let credentials = file("credentials.json", document.to_string().as_bytes());
        let ran = Agent::verify(&workload)
            .arg("--enforce")
            .env("GOOGLE_APPLICATION_CREDENTIALS", credentials)
            .run();
        assert_refused(&ran, 11, "TOK01", says);
    }
    let workload = healthy(&lab, Mechanism::AwsPodIdentity);
    let ran = Agent::verify(&workload)
        .arg("--enforce")
        .env(token_variable(Mechanism::AwsPodIdentity), &cases[4].0)
        .run();
    assert_refused(&ran, 20, "TOK01", "one part without dots");
}

#[test]
fn a_token_file_that_may_not_be_read() {
    // Root reads every file: the agent has to run as somebody else.
    let somebody = Path::new("/usr/bin/setpriv");
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let lab = lab();
    let workload = healthy(&lab, Mechanism::AwsWebIdentity);
    let dir = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir_in("/var/tmp")
        .unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "x").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o000)).unwrap();
    let binary = dir.path().join("cwii-agent");
    std::fs::copy(env!("CARGO_BIN_EXE_cwii-agent"), &binary).unwrap();
    let mut command = if root {
        if !somebody.exists() {
            println!("skipped: running as root without setpriv");
            return;
        }
        let mut command = Command::new(somebody);
        command
            .args(["--reuid=65532", "--regid=65532", "--clear-groups"])
            .arg(&binary);
        command
    } else {
        Command::new(&binary)
    };
    let output = command
        .args(["verify", "aws", "--enforce"])
        .env_clear()
        .env("AWS_ROLE_ARN", &workload.env["AWS_ROLE_ARN"])
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(11), "{stderr}");
    assert!(
        stderr.contains("error[POD13]") && stderr.contains(token.to_str().unwrap()),
        "{stderr}"
    );
}

#[test]
fn aws_settings_that_do_not_parse() {
    let lab = lab();
    let workload = healthy(&lab, Mechanism::AwsWebIdentity);
    for (name, value, finding, says) in [
        ("AWS_ROLE_ARN", "checkout", "AWS10", "`checkout`"),
        (
            "AWS_ROLE_ARN",
            "arn:aws:iam::12345:role/x",
            "AWS10",
            "12 digits",
        ),
        (
            "AWS_ROLE_ARN",
            "arn:aws:iam::123456789012:instance-profile/x",
            "AWS10",
            "instance-profile",
        ),
        (
            "AWS_ROLE_ARN",
            "arn:aws:iam::123456789012:role/x\n",
            "AWS10",
            "white space",
        ),
        (
            "AWS_ROLE_SESSION_NAME",
            "pod/with:signs",
            "AWS15",
            "session name",
        ),
        (
            "AWS_ENDPOINT_URL_STS",
            "not a url",
            "NET02",
            "AWS_ENDPOINT_URL_STS",
        ),
        (
            "AWS_CA_BUNDLE",
            "/no/such/bundle.pem",
            "NET04",
            "/no/such/bundle.pem",
        ),
    ] {
        let ran = Agent::verify(&workload)
            .arg("--enforce")
            .env(name, value)
            .run();
        let finding = if name == "AWS_CA_BUNDLE" {
            ran.result().code.unwrap()
        } else {
            finding.to_owned()
        };
        assert_refused(&ran, 10, &finding, says);
    }
    let ran = Agent::verify(&workload)
        .arg("--enforce")
        .without_env("AWS_ROLE_ARN")
        .run();
    assert_refused(&ran, 10, "POD10", "AWS_ROLE_ARN");
    // The role lives in another partition than the endpoint: nothing is sent.
    let ran = Agent::verify(&workload)
        .arg("--enforce")
        .without_env("AWS_ENDPOINT_URL_STS")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ROLE_ARN", "arn:aws-cn:iam::123456789012:role/x")
        .run();
    assert_refused(&ran, 10, "AWS10", "aws-cn");
}

#[test]
fn entra_settings_that_do_not_parse() {
    let lab = lab();
    let workload = healthy(&lab, Mechanism::EntraFederated);
    for (name, value, finding) in [
        ("AZURE_CLIENT_ID", "my-app", "AZ01"),
        (
            "AZURE_CLIENT_ID",
            "/subscriptions/x/resourceGroups/y",
            "AZ01",
        ),
        ("AZURE_TENANT_ID", "bad/tenant", "AZ02"),
        (
            "AZURE_AUTHORITY_HOST",
            "http://login.microsoftonline.com",
            "AZ08",
        ),
    ] {
        let ran = Agent::verify(&workload)
            .arg("--enforce")
            .env(name, value)
            .run();
        assert_refused(&ran, 10, finding, name);
    }
    for name in [
        "AZURE_CLIENT_ID",
        "AZURE_TENANT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
    ] {
        let ran = Agent::verify(&workload)
            .arg("--enforce")
            .without_env(name)
            .run();
        assert_refused(&ran, 10, "AZ09", name);
    }
}

#[test]
fn google_documents_that_cannot_be_followed() {
    let lab = lab();
    let workload = healthy(&lab, Mechanism::GoogleImpersonated);
    let dir = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(&workload.env["GOOGLE_APPLICATION_CREDENTIALS"]).unwrap();
    let changed = |pointer: &str, value: serde_json::Value| {
        let mut document: serde_json::Value = serde_json::from_str(&good).unwrap();
        document[pointer] = value;
        document.to_string()
    };
    let run = |content: &str| {
        let path = dir.path().join("credentials.json");
        std::fs::write(&path, content).unwrap();
        Agent::verify(&workload)
            .arg("--enforce")
            .env("GOOGLE_APPLICATION_CREDENTIALS", path.display().to_string())
            .run()
    };
    for (content, finding, says) in [
        (String::new(), "GCP10", "JSON"),
        ("{\"type\": \"external_acc".to_owned(), "GCP10", "JSON"),
        (
            r#"{"type":"service_account","private_key":"canary-key"}"#.to_owned(),
            "GCP10",
            "service_account",
        ),
        (
            r#"{"type":"authorized_user","refresh_token":"canary-key"}"#.to_owned(),
            "GCP10",
            "authorized_user",
        ),
        ("[]".to_owned(), "GCP10", "object"),
        (changed("token_url", "ftp://x".into()), "GCP10", "token_url"),
        (
            changed(
                "credential_source",
                serde_json::json!({"url": "http://localhost"}),
            ),
            "GCP10",
            "credential_source",
        ),
        (
            changed("token_url", "https://sts.example.com/v1/token".into()),
            "GCP10",
            "sts.example.com",
        ),
        (
            changed(
                "service_account_impersonation_url",
                "https://evil.example.com/v1/projects/-/serviceAccounts/a@b.c:generateAccessToken"
                    .into(),
            ),
            "GCP10",
            "evil.example.com",
        ),
    ] {
        let ran = run(&content);
        assert_refused(&ran, 10, finding, says);
        assert!(!ran.stderr.contains("canary-key"));
    }
    let ran = Agent::verify(&workload)
        .arg("--enforce")
        .env("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file.json")
        .run();
    assert_refused(&ran, 10, "GCP10", "/no/such/file.json");
    let ran = Agent::verify(&workload)
        .arg("--enforce")
        .env(
            "GOOGLE_APPLICATION_CREDENTIALS",
            dir.path().display().to_string(),
        )
        .run();
    assert_refused(&ran, 10, "GCP10", "directory");
}

#[test]
fn a_foreign_endpoint_gets_no_token_unless_it_is_allowed() {
    let lab = lab();
    for (mechanism, finding) in [
        (Mechanism::GoogleDirect, "GCP10"),
        (Mechanism::EntraFederated, "AZ08"),
    ] {
        let mut workload = healthy(&lab, mechanism);
        let allowed = std::mem::take(&mut workload.allow_endpoints);
        let before = lab.requests().len();
        let ran = Agent::verify(&workload).arg("--enforce").run();
        assert_refused(&ran, 10, finding, "--allow-endpoint");
        assert_eq!(lab.requests().len(), before, "nothing was sent");
        let ran = Agent::verify(&workload)
            .arg("--enforce")
            .env("CWII_ALLOW_ENDPOINT", allowed.join(","))
            .run();
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[test]
fn a_proxy_that_refuses_and_a_certificate_that_is_not_trusted() {
    let lab = lab();
    for mechanism in [
        Mechanism::AwsWebIdentity,
        Mechanism::GoogleDirect,
        Mechanism::EntraFederated,
    ] {
        let workload = healthy(&lab, mechanism);
        // Nobody listens on a port that was just free.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let ran = Agent::verify(&workload)
            .arg("--enforce")
            .arg("--timeout=5s")
            .env(
                "HTTPS_PROXY",
                format!("http://user:canary-password@127.0.0.1:{port}"),
            )
            .without_env("NO_PROXY")
            .without_env("no_proxy")
            .run();
        assert_refused(&ran, 30, "NET05", "127.0.0.1");
        assert!(
            !ran.stderr.contains("canary-password") && !ran.message.contains("canary-password"),
            "{ran:?}"
        );
    }
    for (mechanism, service) in [
        (Mechanism::AwsWebIdentity, Service::AwsSts),
        (Mechanism::GoogleDirect, Service::GoogleSts),
        (Mechanism::EntraFederated, Service::Entra),
    ] {
        let workload = healthy(&lab, mechanism);
        for certificate in [
            Certificate::Untrusted,
            Certificate::Expired,
            Certificate::OtherName,
        ] {
            lab.set_fault(service, FaultKind::Certificate(certificate));
            let ran = Agent::verify(&workload)
                .arg("--enforce")
                .arg("--timeout=5s")
                .run();
            assert_refused(&ran, 30, "NET04", "localhost");
            lab.clear_faults();
        }
    }
}
