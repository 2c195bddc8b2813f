//! The commands beside `verify`.

use std::os::unix::fs::PermissionsExt as _;

use cwii_lab::scenarios;

use crate::support::{Agent, lab};

#[test]
fn the_credentials_writer_writes_what_the_sdks_read() {
    let document = r#"{"type":"external_account","audience":"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k","subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"https://sts.googleapis.com/v1/token","credential_source":{"file":"/var/run/secrets/cwii.dev/gcp/token"}}"#;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials.json");
    let ran = Agent::new(&["write-gcp-credentials", "--output", file.to_str().unwrap()])
        .env("CWII_GCP_CREDS_JSON", document)
        .run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), document);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o444);

    for (value, problem) in [
        ("", "not set"),
        ("{", "not JSON"),
        (r#"{"type":"service_account"}"#, "service_account"),
    ] {
        let ran = Agent::new(&["write-gcp-credentials", "--output", file.to_str().unwrap()])
            .env("CWII_GCP_CREDS_JSON", value)
            .run();
        assert_eq!(ran.code, Some(10), "{ran:?}");
        assert!(ran.stderr.contains(problem), "{ran:?}");
    }
    let ran = Agent::new(&["write-gcp-credentials", "--output", "/dev/full/x"])
        .env("CWII_GCP_CREDS_JSON", document)
        .run();
    assert_eq!(ran.code, Some(10), "{ran:?}");
}

#[test]
fn a_decoded_token_shows_claims_and_no_signature() {
    let lab = lab();
    let workload = lab
        .workload(scenarios().iter().find(|s| s.tour).unwrap())
        .unwrap();
    let file = workload.token_file.unwrap();
    let token = std::fs::read_to_string(&file).unwrap();
    let signature = token.rsplit('.').next().unwrap();
    let ran = Agent::new(&["token", "decode", file.to_str().unwrap()]).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.starts_with("UNVERIFIED") && ran.stdout.contains("system:serviceaccount:"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains(signature));
    let ran = Agent::new(&["token", "decode", file.to_str().unwrap(), "-ojson"]).run();
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["verified"], false);
    assert!(document["claims"]["kubernetes.io"]["namespace"].is_string());
    assert!(!ran.stdout.contains(signature));
}

#[test]
fn a_token_in_the_arguments_is_refused_and_not_repeated() {
    let lab = lab();
    let workload = lab
        .workload(scenarios().iter().find(|s| s.tour).unwrap())
        .unwrap();
    let token = std::fs::read_to_string(workload.token_file.unwrap()).unwrap();
    let ran = Agent::new(&["token", "decode", &token]).run();
    assert_eq!(ran.code, Some(2));
    assert!(
        !ran.stderr.contains(token.rsplit('.').next().unwrap()) && ran.stderr.contains("help:"),
        "{ran:?}"
    );
}

#[test]
fn what_is_no_token_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("empty", &b""[..]),
        ("text", b"hello"),
        ("binary", &[0xff, 0xfe, 0]),
        ("large", &[b'x'; 200_000]),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, content).unwrap();
        let ran = Agent::new(&["token", "decode", file.to_str().unwrap()]).run();
        assert_eq!(ran.code, Some(11), "{ran:?}");
        assert!(
            ran.stderr.contains(file.to_str().unwrap()) && ran.stderr.len() < 600,
            "{ran:?}"
        );
    }
    for missing in ["/no/such/file", dir.path().to_str().unwrap()] {
        assert_eq!(
            Agent::new(&["token", "decode", missing]).run().code,
            Some(11)
        );
    }
}
