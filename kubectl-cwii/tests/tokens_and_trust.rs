//! `token`, `trust` and `issuer` as a person runs them, with tokens that are really signed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write the files that people have"
)]
#![allow(
    clippy::type_complexity,
    reason = "tables of arguments and what they give"
)]

#[path = "support/mod.rs"]
mod double;
#[path = "../../crates/trust/tests/it/support.rs"]
mod support;
#[path = "../../crates/trust/tests/table/mod.rs"]
mod table;

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use double::{Api, finish, kubectl_cwii};
use serde_json::{Value, json};
use support::{ISSUER, KEYS, SUBJECT, claims, with};

const NOW: &str = "2026-11-21T12:00:00Z";
const ROLE: &str = "arn:aws:iam::123456789012:role/checkout";
const PREFIX: &str = support::PREFIX;

type Finished = (Option<i32>, String, String);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs in this directory, so that messages have short names.
    fn run(&self, arguments: &[&str]) -> Finished {
        finish(kubectl_cwii(arguments).current_dir(self.0.path()))
    }
}

fn healthy() -> String {
    KEYS.token(&claims("sts.amazonaws.com")).expose().to_owned()
}

fn jwks() -> String {
    json!({"keys": [KEYS.rsa_jwk(), KEYS.ec_jwk()]}).to_string()
}

fn role(subject: &str) -> String {
    json!({"Role": {"Arn": ROLE, "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{PREFIX}")},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {format!("{PREFIX}:sub"): subject}},
    }]}}})
    .to_string()
}

/// A token, keys and documents that are all right.
fn all_right() -> Place {
    let place = Place::new();
    place.write("token.jwt", healthy());
    place.write("jwks.json", jwks());
    place.write("trust/role.json", role(SUBJECT));
    place.write(
        "trust/provider.json",
        json!({"Url": PREFIX, "ClientIDList": ["sts.amazonaws.com"]}).to_string(),
    );
    place
}

const CHECK: &[&str] = &[
    "trust",
    "check",
    "--token",
    "token.jwt",
    "--jwks",
    "jwks.json",
    "--trust",
    "trust",
    "--now",
    NOW,
];

#[test]
fn every_row_of_the_table_gets_its_verdict_on_the_command_line() {
    let place = Place::new();
    for (index, row) in table::rows().into_iter().enumerate() {
        let file = |name: &str| format!("{index}/{name}");
        place.write(&file("token.jwt"), &row.token);
        place.write(&file("jwks.json"), row.jwks.to_string());
        place.write(&file("role.json"), row.role.to_string());
        place.write(&file("provider.json"), row.provider.to_string());
        let (status, stdout, stderr) = place.run(&[
            "trust",
            "check",
            "--token",
            &file("token.jwt"),
            "--jwks",
            &file("jwks.json"),
            "--trust",
            &file("role.json"),
            "--trust",
            &file("provider.json"),
            "--now",
            NOW,
            "--session-name",
            &row.session,
            "-o",
            "json",
        ]);
        let name = &row.name;
        let answer: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{name}: {stderr}"));
        let members: Vec<&str> = answer
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(members, ["allowed", "error", "decidedBy"], "{name}");
        assert_eq!(answer["allowed"], row.allowed, "{name}: {stdout}");
        let error = row
            .error
            .map(|(code, message)| json!({"code": code, "message": message}));
        assert_eq!(answer["error"], json!(error), "{name}");
        assert_eq!(status, Some(i32::from(!row.allowed)), "{name}");
        if let Some(rule) = row.rule {
            assert_eq!(answer["decidedBy"]["rule"], rule, "{name}");
        }
    }
}

#[test]
fn a_verdict_names_the_clause_and_marks_the_difference() {
    let place = all_right();
    let (status, stdout, _) = place.run(CHECK);
    assert_eq!(status, Some(0), "{stdout}");
    assert!(stdout.starts_with(&format!("accepted by AWS: role {ROLE}\n")));

    place.write(
        "trust/role.json",
        role("system:serviceaccount:shop:Checkout"),
    );
    let (status, stdout, stderr) = place.run(CHECK);
    assert_eq!(status, Some(1));
    assert_eq!(stderr, "");
    for part in [
        &*format!("refused by AWS: role {ROLE}\n"),
        "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity",
        "/Role/AssumeRolePolicyDocument/Statement/0/Condition/StringEquals/",
        "expected  system:serviceaccount:shop:Checkout",
        "found     system:serviceaccount:shop:checkout",
        "differs only in case, first at character 28",
        "in        trust/role.json",
        "kubectl cwii explain AWS05",
    ] {
        assert!(stdout.contains(part), "{part}\n{stdout}");
    }
    // The same in YAML, which is JSON's.
    let (status, stdout, _) = place.run(&[CHECK, &["-o", "yaml"]].concat());
    assert_eq!(status, Some(1));
    assert!(stdout.starts_with("allowed: false\nerror:\n  code: AccessDenied\n"));
}

#[test]
fn the_moment_and_the_keys_decide_as_well() {
    let place = all_right();
    let at = |now: &str| {
        let mut arguments = CHECK.to_vec();
        *arguments.last_mut().unwrap() = now;
        place.run(&[&arguments[..], &["-o", "json"]].concat())
    };
    let (status, stdout, _) = at("2026-11-21T14:00:00Z");
    assert_eq!(status, Some(1));
    assert!(stdout.contains("\"ExpiredTokenException\""), "{stdout}");
    place.write("jwks.json", json!({"keys": [KEYS.ec_jwk()]}).to_string());
    let (status, stdout, _) = at(NOW);
    assert_eq!(status, Some(1));
    assert!(
        stdout.contains("Couldn't retrieve verification key"),
        "{stdout}"
    );
    // Keys among the documents are used too, those of the public issuer first.
    place.write("trust/jwks.json", jwks());
    place.write("trust/published.json", r#"{"keys": []}"#);
    let arguments = [
        "trust",
        "check",
        "--token",
        "token.jwt",
        "--trust",
        "trust",
        "--now",
        NOW,
    ];
    let (status, stdout, _) = place.run(&arguments);
    assert_eq!(status, Some(1), "{stdout}");
    fs::remove_file(place.path("trust/published.json")).unwrap();
    let (status, stdout, _) = place.run(&arguments);
    assert_eq!(status, Some(0), "{stdout}");
}

#[test]
fn whom_to_ask_is_found_or_asked_for() {
    let place = all_right();
    place.write(
        "trust/other.json",
        role("x").replace("role/checkout", "role/billing"),
    );
    let (status, stdout, stderr) = place.run(CHECK);
    assert_eq!((status, &*stdout), (Some(2), ""));
    assert_eq!(
        stderr,
        "error: expected one role, found `arn:aws:iam::123456789012:role/billing`, `arn:aws:iam::123456789012:role/checkout`\n\
         help: name the role with --role-arn\n"
    );
    let (status, ..) = place.run(&[CHECK, &["--role-arn", ROLE]].concat());
    assert_eq!(status, Some(0));
    // A trust policy alone has no name, and needs none.
    let place = all_right();
    let whole: Value = serde_json::from_str(&role(SUBJECT)).unwrap();
    place.write(
        "trust/role.json",
        whole["Role"]["AssumeRolePolicyDocument"].to_string(),
    );
    let (status, stdout, stderr) = place.run(CHECK);
    assert_eq!(status, Some(0), "{stdout}{stderr}");
}

#[test]
fn google_and_entra_answer_in_their_own_words() {
    let place = Place::new();
    let audience = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/k8s";
    place.write("token.jwt", KEYS.token(&claims(audience)).expose());
    place.write("jwks.json", jwks());
    let provider = |condition: &str| {
        json!({"name": audience.strip_prefix("//iam.googleapis.com/").unwrap(), "state": "ACTIVE",
            "attributeMapping": {"google.subject": "assertion.sub"}, "attributeCondition": condition,
            "oidc": {"issuerUri": ISSUER}})
        .to_string()
    };
    let gsa = "checkout@shop-prod.iam.gserviceaccount.com";
    let policy = |subject: &str| {
        json!({"bindings": [{"role": "roles/iam.workloadIdentityUser", "members": [format!(
            "principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/subject/{subject}")]}]})
        .to_string()
    };
    place.write("trust/provider.json", provider("assertion.sub != ''"));
    place.write(&format!("trust/{gsa}.json"), policy(SUBJECT));
    let json = |place: &Place| -> (Option<i32>, Value) {
        let (status, stdout, stderr) = place.run(&[CHECK, &["-o", "json"]].concat());
        (
            status,
            serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}")),
        )
    };
    let (status, answer) = json(&place);
    assert_eq!(status, Some(0), "{answer}");
    place.write(
        &format!("trust/{gsa}.json"),
        policy("system:serviceaccount:shop:x"),
    );
    let (status, answer) = json(&place);
    assert_eq!(status, Some(1));
    assert_eq!(
        answer["error"],
        json!({"code": "PERMISSION_DENIED", "message":
            "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."})
    );
    place.write("trust/provider.json", provider("assertion.sub == 'x'"));
    let (_, answer) = json(&place);
    assert_eq!(
        answer["error"],
        json!({"code": "unauthorized_client", "message":
            "The given credential is rejected by the attribute condition."})
    );

    let place = Place::new();
    place.write(
        "token.jwt",
        KEYS.token(&claims("api://AzureADTokenExchange")).expose(),
    );
    place.write("jwks.json", jwks());
    place.write(
        "trust/fic.json",
        json!([{"name": "k", "issuer": ISSUER, "subject": SUBJECT.replace("shop", "Shop"),
            "audiences": ["api://AzureADTokenExchange"]}])
        .to_string(),
    );
    let (status, answer) = json(&place);
    assert_eq!(status, Some(1));
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("AADSTS7002138: "), "{message}");
}

#[test]
fn a_document_that_was_named_must_be_one_and_junk_in_a_directory_is_passed_over() {
    let place = all_right();
    let pipe = place.path("trust/pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    place.write("trust/empty.json", "");
    place.write("trust/binary.json", [0xff, 0x00, 0xfe]);
    place.write("trust/.hidden.json", "{");
    place.write("trust/notes.txt", "hello");
    place.write(
        "trust/deep/sa.json",
        r#"{"apiVersion":"v1","kind":"ServiceAccount"}"#,
    );
    symlink(place.path("trust"), place.path("trust/deep/loop")).unwrap();
    let (status, _, stderr) = place.run(CHECK);
    assert_eq!(status, Some(0), "{stderr}");
    for line in [
        "passed over trust/empty.json: expected a trust document in JSON, found nothing: the file is empty\n",
        "passed over trust/binary.json: expected a trust document in JSON, found bytes that are not UTF-8 text\n",
        "passed over trust/notes.txt: expected a trust document in JSON, found text that is not JSON\n",
        "passed over trust/deep/sa.json: expected an IAM role,",
    ] {
        assert!(stderr.contains(line), "{line}\n{stderr}");
    }
    assert!(!stderr.contains("hidden") && !stderr.contains("pipe"));
    // Quiet is quiet.
    let (status, _, stderr) = place.run(&[CHECK, &["-q"]].concat());
    assert_eq!((status, &*stderr), (Some(0), ""));

    for (file, text, told) in [
        (
            "empty.json",
            "",
            "empty.json: expected a trust document in JSON, found nothing: the file is empty",
        ),
        (
            "cut.json",
            "{\"Role\": {\n  \"Arn\":",
            "cut.json:2:8: expected a trust document in JSON, found the end of the file",
        ),
        (
            "role.json",
            "{\n  \"Role\": {\n    \"Arn\": \"arn:aws:iam::1:role/x\",\n    \"AssumeRolePolicyDocument\": {}}}",
            "role.json:3:12: AWS document at `/Role/Arn`: expected the ARN of a role, found the string `arn:aws:iam::1:role/x`",
        ),
        (
            "key.json",
            r#"{"type": "service_account", "client_email": "x", "private_key": "hunter2"}"#,
            "key.json: expected an IAM role, trust policy,",
        ),
        (
            "app.json",
            r#"{"appId": "x", "passwordCredentials": [{"secretText": "hunter2"}]}"#,
            "app.json:1:55: a secret at `/passwordCredentials/0/secretText`, where a trust document has none",
        ),
    ] {
        place.write(file, text);
        let (status, stdout, stderr) =
            place.run(&["trust", "check", "--token", "token.jwt", "--trust", file]);
        assert_eq!((status, &*stdout), (Some(2), ""), "{file}");
        assert!(stderr.starts_with(&format!("error: {told}")), "{stderr}");
        assert!(!stderr.contains("hunter2"));
    }
    let (status, _, stderr) = place.run(&[
        "trust",
        "check",
        "--token",
        "token.jwt",
        "--trust",
        "nowhere",
    ]);
    assert_eq!(
        (status, &*stderr),
        (Some(2), "error: nowhere: no such file or directory\n")
    );
}

#[test]
fn a_token_is_taken_apart() {
    let place = all_right();
    let decode = ["token", "decode", "token.jwt", "--now", NOW];
    let (status, stdout, stderr) = place.run(&decode);
    assert_eq!((status, &*stderr), (Some(0), ""));
    for part in [
        "signature  UNVERIFIED: no keys were given\n",
        "not shown; SHA-256 of the token begins with ",
        "  alg             RS256\n",
        "  aud             sts.amazonaws.com\n",
        "  exp             2026-11-21T12:59:00Z, in 59 m\n",
        "  iat             2026-11-21T11:59:00Z, 1 m ago\n",
        "  lifetime        1 h\n",
        "  ServiceAccount  shop/checkout, uid u-1\n",
        "  Pod             shop/checkout-0, uid p-1\n",
    ] {
        assert!(stdout.contains(part), "{part}\n{stdout}");
    }
    let token = healthy();
    let signature = token.rsplit('.').next().unwrap();
    for arguments in [
        &decode[..],
        &[&decode[..], &["-o", "json"]].concat(),
        &[&decode[..], &["-o", "yaml"]].concat(),
    ] {
        let (_, stdout, stderr) = place.run(arguments);
        assert!(!stdout.contains(&signature[..12]) && !stderr.contains(&signature[..12]));
        assert!(stdout.contains("UNVERIFIED"));
    }

    let keys = [&decode[..], &["--jwks", "jwks.json"]].concat();
    let (status, stdout, _) = place.run(&keys);
    assert_eq!(status, Some(0));
    assert!(
        stdout.starts_with("signature  verified with a key of jwks.json\n"),
        "{stdout}"
    );
    place.write(
        "jwks.json",
        json!({"keys": [with(KEYS.rsa_jwk(), &json!({"n": KEYS.ec_jwk()["x"]}))]}).to_string(),
    );
    let (status, stdout, _) = place.run(&keys);
    assert_eq!(status, Some(1));
    assert!(
        stdout.starts_with("signature  NOT VERIFIED with the keys of jwks.json: "),
        "{stdout}"
    );
}

#[test]
fn a_token_is_compared_with_what_is_expected_and_with_the_trust() {
    let place = all_right();
    place.write(
        "token.jwt",
        KEYS.token(&claims("sts.amazonaws.com/")).expose(),
    );
    let arguments = [
        "token",
        "decode",
        "token.jwt",
        "--now",
        NOW,
        "--provider",
        "aws",
        "--trust",
        "trust",
        "-o",
        "json",
    ];
    let (status, stdout, _) = place.run(&arguments);
    assert_eq!(status, Some(1));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        report["comparisons"],
        json!([{"claim": "aud", "expected": "sts.amazonaws.com", "found": ["sts.amazonaws.com/"], "agrees": false,
            "difference": "has a trailing slash too many", "code": "TOK03", "source": "the default of AWS"}])
    );
    assert_eq!(report["trust"][0]["allowed"], false);
    assert_eq!(report["trust"][0]["error"]["code"], "InvalidIdentityToken");
    assert_eq!(report["exitCode"], 1);
    assert_eq!(
        report["boundTo"][1],
        json!({"kind": "Pod", "name": "shop/checkout-0", "uid": "p-1"})
    );
    // An expired one is told by itself.
    let (status, stdout, _) = place.run(&[
        "token",
        "decode",
        "token.jwt",
        "--now",
        "2026-11-22T12:59:00Z",
    ]);
    assert_eq!(status, Some(1));
    assert!(stdout.contains("error: expired 1 d ago"), "{stdout}");
}

#[test]
fn tokens_come_from_standard_input_and_their_line_end_is_told() {
    let place = all_right();
    place.write("token.jwt", format!("{}\n", healthy()));
    let file = fs::File::open(place.path("token.jwt")).unwrap();
    let (status, stdout, stderr) =
        finish(kubectl_cwii(&["token", "decode", "-", "--now", NOW]).stdin(file));
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.contains("system:serviceaccount:shop:checkout"));
    assert!(
        stderr.starts_with(
            "standard input: expected a JWT and nothing else, found a newline at the end"
        ),
        "{stderr}"
    );
}

#[test]
fn what_is_no_token_is_said_and_not_shown() {
    let place = Place::new();
    let huge = KEYS.sign_text(
        r#"{"alg":"RS256","kid":"rsa-1"}"#,
        &with(
            claims("sts.amazonaws.com"),
            &json!({"groups": "x".repeat(10 << 20)}),
        )
        .to_string(),
    );
    for (text, told) in [
        (&b""[..], "expected a JWT, found nothing"),
        (b"\n", "expected a JWT, found only a newline"),
        (
            b"hunter2",
            "expected three parts with dots between them, found one part",
        ),
        (b"hunter2.hunter2.hunter2", "the header is not"),
        (
            b"e30.W10.eA",
            "the payload is not a JSON object but an array",
        ),
        (
            &[0xff, 0xfe][..],
            "expected a token, found bytes that are not text",
        ),
        (
            huge.as_bytes(),
            "expected a JWT of at most 65536 bytes, found 139",
        ),
    ] {
        place.write("token.jwt", text);
        let (status, stdout, stderr) = place.run(&["token", "decode", "token.jwt"]);
        assert_eq!((status, &*stdout), (Some(2), ""), "{told}");
        assert!(
            stderr.starts_with(&format!("error: token.jwt: {told}")),
            "{stderr}"
        );
        assert!(
            !stderr.contains("hunter2") && stderr.len() < 300,
            "{stderr}"
        );
    }
    place.write("huge", vec![b'a'; 17 << 20]);
    let (status, _, stderr) = place.run(&["token", "decode", "huge"]);
    assert_eq!(status, Some(2));
    assert_eq!(stderr, "error: huge: expected at most 16 MiB, found more\n");
    let (status, _, stderr) = place.run(&["token", "decode", "."]);
    assert_eq!(status, Some(2));
    assert_eq!(stderr, "error: .: expected a file, found a directory\n");
    let (status, _, stderr) = place.run(&["token", "decode"]);
    assert_eq!(status, Some(2));
    assert!(
        stderr.contains("expected a file with a token, `-`, --pod or --sa"),
        "{stderr}"
    );
}

#[test]
fn claims_cannot_write_on_the_terminal() {
    let place = Place::new();
    let evil = "\u{1b}[2Jred\r\u{202e}\u{7}";
    place.write(
        "token.jwt",
        KEYS.token(&with(
            claims("sts.amazonaws.com"),
            &json!({"evil": evil, evil: "x", "sub": evil, "aud": [evil],
                "kubernetes.io": {"namespace": evil, "serviceaccount": {"name": evil, "uid": evil}}}),
        ))
        .expose(),
    );
    place.write("trust/role.json", role(evil));
    place.write("jwks.json", jwks());
    for arguments in [
        &[
            "token",
            "decode",
            "token.jwt",
            "--provider",
            "aws",
            "--trust",
            "trust",
            "--color",
            "never",
        ][..],
        CHECK,
    ] {
        let (_, stdout, stderr) = place.run(arguments);
        for text in [&stdout, &stderr] {
            assert!(
                !text
                    .chars()
                    .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
                "{text:?}"
            );
        }
        assert!(stdout.contains("\\u{1b}[2J"), "{stdout}");
    }
}

#[test]
fn suggestions_need_no_cluster_where_flags_say_everything() {
    let place = Place::new();
    let base = [
        "trust",
        "suggest",
        "checkout",
        "-n",
        "shop",
        "--issuer",
        "https://oidc.example.com/id/1",
    ];
    for (arguments, parts) in [
        (
            &["--provider", "aws", "--role-arn", ROLE][..],
            &[
                "the least trust of AWS that admits exactly system:serviceaccount:shop:checkout\n",
                "aws iam create-open-id-connect-provider \\\n  --url https://oidc.example.com/id/1 \\\n",
                "\"oidc.example.com/id/1:sub\": \"system:serviceaccount:shop:checkout\"",
                "resource \"aws_iam_role\" \"checkout\" {",
            ][..],
        ),
        (
            &[
                "--provider",
                "aws",
                "--native",
                "--cluster-arn",
                "arn:aws:eks:eu-central-1:123456789012:cluster/prod",
                "--role-arn",
                ROLE,
            ],
            &[
                "aws eks create-pod-identity-association \\\n  --cluster-name prod \\\n",
                "aws:RequestTag/kubernetes-namespace",
            ],
        ),
        (
            &[
                "--provider",
                "gcp",
                "--google-service-account",
                "c@p.iam.gserviceaccount.com",
                "--pool-provider",
                "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/k8s",
            ],
            &[
                "gcloud iam workload-identity-pools providers create-oidc k8s",
                "assertion.sub == 'system:serviceaccount:shop:checkout'",
            ],
        ),
        (
            &[
                "--provider",
                "gcp",
                "--native",
                "--project",
                "p",
                "--google-service-account",
                "c@p.iam.gserviceaccount.com",
            ],
            &[
                "--member 'serviceAccount:p.svc.id.goog[shop/checkout]'",
                "kubectl annotate serviceaccount checkout",
            ],
        ),
        (
            &[
                "--provider",
                "az",
                "--client-id",
                "11111111-2222-3333-4444-555555555555",
            ],
            &[
                "az ad app federated-credential create",
                "azuread_application_federated_identity_credential",
            ],
        ),
        (
            &[
                "--provider",
                "az",
                "--client-id",
                "11111111-2222-3333-4444-555555555555",
                "--identity-name",
                "i",
                "--resource-group",
                "g",
            ],
            &[
                "az identity federated-credential create",
                "azurerm_federated_identity_credential",
            ],
        ),
    ] {
        let (status, stdout, stderr) = place.run(&[&base, arguments].concat());
        assert_eq!(status, Some(0), "{stderr}");
        for part in parts {
            assert!(stdout.contains(part), "{part}\n{stdout}");
        }
        let (status, stdout, _) = place.run(&[&base, arguments, &["-o", "json"]].concat());
        assert_eq!(status, Some(0));
        let document: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(document["subject"], "system:serviceaccount:shop:checkout");
        assert!(!document["commands"].as_array().unwrap().is_empty());
    }
}

#[test]
fn what_was_suggested_is_what_check_accepts() {
    let place = all_right();
    let (status, stdout, _) = place.run(&[
        "trust",
        "suggest",
        "checkout",
        "-n",
        "shop",
        "--provider",
        "aws",
        "--issuer",
        ISSUER,
        "--role-arn",
        ROLE,
        "-o",
        "json",
    ]);
    assert_eq!(status, Some(0));
    let suggestion: Value = serde_json::from_str(&stdout).unwrap();
    fs::remove_dir_all(place.path("trust")).unwrap();
    for document in suggestion["documents"].as_array().unwrap() {
        let file = format!("trust/{}", document["file"].as_str().unwrap());
        place.write(&file, document["document"].to_string());
    }
    assert_eq!(place.run(CHECK).0, Some(0));
    let other = with(
        claims("sts.amazonaws.com"),
        &json!({"sub": "system:serviceaccount:shop:billing"}),
    );
    place.write("token.jwt", KEYS.token(&other).expose());
    assert_eq!(place.run(CHECK).0, Some(1));
}

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: checkout
  namespace: shop
  annotations:
    cwii.dev/inject-aws: "true"
    cwii.dev/aws-role-arn: arn:aws:iam::123456789012:role/checkout
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: irsa
  namespace: shop
  annotations:
    eks.amazonaws.com/role-arn: arn:aws:iam::123456789012:role/checkout
    eks.amazonaws.com/audience: custom
---
apiVersion: v1
kind: Pod
metadata: { name: checkout-0, namespace: shop, uid: p-1 }
spec:
  serviceAccountName: checkout
  containers: [{ name: app, image: "example.com/app:1" }]
"#;

/// A cluster whose tokens are signed with our key.
fn cluster() -> Api {
    let api = Api::start();
    api.put_yaml(SHOP)
        .token(&healthy())
        .answer("/openid/v1/jwks", 200, &jwks())
        .answer(
            "/.well-known/openid-configuration",
            200,
            &discovery(ISSUER).to_string(),
        );
    api
}

fn discovery(issuer: &str) -> Value {
    json!({"issuer": issuer, "jwks_uri": format!("{issuer}/openid/v1/jwks"), "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"]})
}

fn run_in(api: &Api, place: &Place, arguments: &[&str]) -> Finished {
    let config = api.kubeconfig(place.0.path(), &json!({}));
    finish(
        kubectl_cwii(arguments)
            .env("KUBECONFIG", config)
            .current_dir(place.0.path()),
    )
}

#[test]
fn a_token_is_minted_for_a_pod_or_a_service_account_with_its_own_audience() {
    let (api, place) = (cluster(), all_right());
    let (status, stdout, stderr) = run_in(
        &api,
        &place,
        &[
            "token",
            "decode",
            "--pod",
            "checkout-0",
            "-n",
            "shop",
            "--cluster-keys",
            "--now",
            NOW,
        ],
    );
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    assert!(
        stdout.starts_with("signature  verified with a key of the cluster\n"),
        "{stdout}"
    );
    assert!(stdout.contains("aud  ok  sts.amazonaws.com"), "{stdout}");
    assert!(
        stdout.contains("sub  ok  system:serviceaccount:shop:checkout"),
        "{stdout}"
    );
    assert!(stdout.contains("iss  ok"), "{stdout}");
    let minted = api
        .seen()
        .into_iter()
        .find(|seen| seen.path.ends_with("/serviceaccounts/checkout/token"))
        .unwrap();
    assert_eq!(
        minted.body["spec"]["audiences"],
        json!(["sts.amazonaws.com"])
    );
    assert_eq!(minted.body["spec"]["boundObjectRef"]["name"], "checkout-0");
    assert_eq!(minted.body["spec"]["boundObjectRef"]["uid"], "p-1");

    api.forget();
    let (status, ..) = run_in(
        &api,
        &place,
        &[
            "token",
            "decode",
            "--sa",
            "irsa",
            "-n",
            "shop",
            "--provider",
            "aws",
            "--now",
            NOW,
        ],
    );
    // The double mints the same token whoever asks: neither subject nor audience are this one's.
    assert_eq!(status, Some(1));
    let minted = api
        .seen()
        .into_iter()
        .find(|seen| seen.path.ends_with("/serviceaccounts/irsa/token"))
        .unwrap();
    assert_eq!(minted.body["spec"]["audiences"], json!(["custom"]));

    let (status, stdout, stderr) = run_in(
        &api,
        &place,
        &[
            "token",
            "request",
            "--sa",
            "checkout",
            "-n",
            "shop",
            "--audience",
            "vault",
            "-o",
            "json",
        ],
    );
    assert_eq!(status, Some(1), "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["verification"]["status"], "verified");
    assert_eq!(report["comparisons"][1]["expected"], "vault");
    assert!(!stdout.contains(&healthy()));
}

#[test]
fn a_missing_permission_is_named() {
    let (api, place) = (cluster(), all_right());
    api.deny("create", "serviceaccounts/token");
    let (status, stdout, stderr) = run_in(
        &api,
        &place,
        &["token", "decode", "--sa", "checkout", "-n", "shop"],
    );
    assert_eq!((status, &*stdout), (Some(2), ""));
    assert!(stderr.contains("create serviceaccounts/token"), "{stderr}");
    let (status, _, stderr) = run_in(
        &api,
        &place,
        &["token", "decode", "--pod", "nobody", "-n", "shop"],
    );
    assert_eq!(status, Some(2));
    assert!(
        stderr.contains("pod `shop/nobody` does not exist"),
        "{stderr}"
    );
}

#[test]
fn trust_is_checked_with_a_minted_token_and_suggested_from_the_cluster() {
    let (api, place) = (cluster(), all_right());
    let (status, stdout, stderr) = run_in(
        &api,
        &place,
        &[
            "trust", "check", "--sa", "checkout", "-n", "shop", "--trust", "trust", "--now", NOW,
        ],
    );
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    let (status, stdout, stderr) = run_in(
        &api,
        &place,
        &[
            "trust",
            "suggest",
            "irsa",
            "-n",
            "shop",
            "--provider",
            "aws",
        ],
    );
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.contains(&format!("--url {ISSUER}")), "{stdout}");
    assert!(stdout.contains("--client-id-list custom"), "{stdout}");
    assert!(stdout.contains("--role-name checkout"), "{stdout}");
    let (status, _, stderr) = run_in(
        &api,
        &place,
        &[
            "trust",
            "suggest",
            "checkout",
            "-n",
            "shop",
            "--provider",
            "az",
        ],
    );
    assert_eq!(status, Some(2));
    assert!(
        stderr.contains("help: name it with --client-id"),
        "{stderr}"
    );
}

#[test]
fn trust_is_stored_where_doctor_finds_it() {
    let (api, place) = (cluster(), all_right());
    api.put_yaml("apiVersion: v1\nkind: Namespace\nmetadata: { name: cwii-system }\n");
    let (status, stdout, stderr) = run_in(&api, &place, &["trust", "store", "--trust", "trust"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert_eq!(
        stdout,
        "configmap/cwii-trust serverside-applied\n  trust/provider.json: IAM OIDC provider\n  trust/role.json: IAM role\n"
    );
    let sent = api.seen().pop().unwrap();
    assert_eq!(sent.method.as_str(), "PATCH");
    assert_eq!(
        sent.path.replace("%2D", "-"),
        "/api/v1/namespaces/cwii-system/configmaps/cwii-trust"
    );
    let data: Vec<&String> = sent.body["data"].as_object().unwrap().keys().collect();
    assert_eq!(data, ["provider.json", "role.json"]);

    api.forget();
    let (status, stdout, _) = run_in(
        &api,
        &place,
        &["trust", "store", "--trust", "trust", "--dry-run"],
    );
    assert_eq!(status, Some(0));
    assert!(
        stdout.starts_with("apiVersion: v1\nkind: ConfigMap\n"),
        "{stdout}"
    );
    assert_eq!(api.lines(), Vec::<String>::new());

    place.write(
        "trust/jwks.json",
        r#"{"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB", "d": "hunter2"}]}"#,
    );
    let (status, stdout, stderr) = run_in(&api, &place, &["trust", "store", "--trust", "trust"]);
    assert_eq!((status, &*stdout), (Some(2), ""));
    assert!(
        stderr.contains("trust/jwks.json: a secret at `/keys/0/d`"),
        "{stderr}"
    );
    assert!(!stderr.contains("hunter2"));
    fs::remove_dir_all(place.path("trust")).unwrap();
    fs::create_dir(place.path("trust")).unwrap();
    let (status, _, stderr) = run_in(&api, &place, &["trust", "store", "--trust", "trust"]);
    assert_eq!(status, Some(2));
    assert!(
        stderr.contains("expected trust documents, found none"),
        "{stderr}"
    );
}

/// A public issuer over TLS, as public as loopback is.
fn issuer() -> Api {
    let api = Api::start_tls();
    let url = api.url.clone();
    api.answer(
        "/.well-known/openid-configuration",
        200,
        &discovery(&url).to_string(),
    )
    .answer("/openid/v1/jwks", 200, &jwks());
    api
}

fn check_issuer(
    api: &Api,
    place: &Place,
    arguments: &[&str],
    trusted: bool,
) -> (Option<i32>, Value) {
    let config = api.kubeconfig(place.0.path(), &json!({}));
    let mut command = kubectl_cwii(&[&["issuer", "check", "-o", "json"], arguments].concat());
    command.env("KUBECONFIG", config);
    if trusted {
        command.env("SSL_CERT_FILE", place.path("issuer-ca.crt"));
    }
    let (status, stdout, stderr) = finish(&mut command);
    (
        status,
        serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}")),
    )
}

fn row(report: &Value, code: &str) -> (String, String) {
    let row = report["results"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["code"] == code)
        .unwrap_or_else(|| panic!("{code}: {report}"));
    (
        row["status"].as_str().unwrap().to_owned(),
        row["message"].as_str().unwrap().to_owned(),
    )
}

fn ca(api: &Api, place: &Place) {
    place.write("issuer-ca.crt", &api.pki.as_ref().unwrap().ca);
}

#[test]
fn the_clusters_issuer_is_compared_with_what_it_publishes() {
    let (outside, inside, place) = (issuer(), Api::start(), Place::new());
    ca(&outside, &place);
    inside
        .answer(
            "/.well-known/openid-configuration",
            200,
            &discovery(&outside.url).to_string(),
        )
        .answer("/openid/v1/jwks", 200, &jwks());
    let (status, report) = check_issuer(&inside, &place, &[], true);
    for code in [
        "ISS03", "ISS05", "ISS07", "ISS08", "ISS10", "ISS12", "ISS14",
    ] {
        assert_eq!(row(&report, code).0, "pass", "{code}: {report}");
    }
    // Loopback is not public, and its port is not 443.
    assert_eq!(row(&report, "ISS01").0, "fail");
    assert_eq!(row(&report, "ISS04").0, "fail");
    assert_eq!(status, Some(1));
    assert_eq!(report["summary"]["exitCode"], 1);
    assert_eq!(
        report["keys"][0],
        json!({"kid": "rsa-1", "kty": "RSA", "inCluster": true, "published": true})
    );

    // The same name and another key is another key.
    let rotated =
        json!({"keys": [with(KEYS.rsa_jwk(), &json!({"n": format!("{}AA", "x".repeat(340))}))]});
    inside.answer("/openid/v1/jwks", 200, &rotated.to_string());
    let (_, report) = check_issuer(&inside, &place, &[], true);
    assert_eq!(
        row(&report, "ISS10"),
        (
            "fail".to_owned(),
            "no key of the cluster is published: `rsa-1`".to_owned()
        )
    );
    let both = json!({"keys": [KEYS.ec_jwk(), rotated["keys"][0]]});
    inside.answer("/openid/v1/jwks", 200, &both.to_string());
    let (_, report) = check_issuer(&inside, &place, &[], true);
    assert_eq!(row(&report, "ISS12").0, "warn");
    inside
        .deny("get", "/openid/v1/jwks")
        .answer("/openid/v1/jwks", 403, "{}");
    let (_, report) = check_issuer(&inside, &place, &[], true);
    assert_eq!(row(&report, "ISS10").0, "unknown");
}

#[test]
fn what_is_wrong_with_an_issuer_is_told_apart() {
    let (api, place) = (issuer(), Place::new());
    ca(&api, &place);
    let url = api.url.clone();
    let check = |arguments: &[&str], trusted: bool| check_issuer(&api, &place, arguments, trusted);
    let (_, report) = check(&[&url], true);
    // Keys on loopback are as little public as the issuer.
    let (status, message) = row(&report, "ISS06");
    assert_eq!(status, "fail", "{report}");
    assert!(message.contains("`jwks_uri`"), "{message}");
    assert_eq!(row(&report, "ISS10").0, "skipped");

    let (status, report) = check(&[&url], false);
    assert_eq!(status, Some(1));
    assert_eq!(row(&report, "ISS05").0, "pass");
    assert_eq!(row(&report, "ISS08").0, "fail", "{report}");
    assert_eq!(row(&report, "ISS06").0, "unknown");

    let refused = "https://127.0.0.1:1";
    let (_, report) = check(&[refused], true);
    let (status, message) = row(&report, "ISS05");
    assert_eq!(status, "fail");
    assert!(message.contains("refuses connections"), "{message}");

    let (_, report) = check(&[&format!("{url}/")], true);
    let (status, message) = row(&report, "ISS03");
    assert_eq!(status, "fail");
    assert!(message.contains("lacks a trailing slash"), "{message}");

    let document = "/.well-known/openid-configuration";
    for (status, text, code, told) in [
        (200, "<html><body>login</body></html>", "ISS06", "HTML"),
        (200, "{", "ISS06", "cut off"),
        (200, "", "ISS06", "found nothing"),
        (301, "", "ISS06", "redirect"),
        (404, "", "ISS06", "status 404"),
        (401, "", "ISS07", "status 401"),
    ] {
        api.answer(document, status, text);
        let (exit, report) = check(&[&url], true);
        let (state, message) = row(&report, code);
        assert_eq!((exit, &*state), (Some(1), "fail"), "{report}");
        assert!(message.contains(told), "{told}: {message}");
    }
    api.answer(
        document,
        200,
        &format!("{{\"issuer\": \"{}\"}}", "x".repeat(2 << 20)),
    );
    let (_, report) = check(&[&url], true);
    assert_eq!(row(&report, "ISS06").0, "fail", "{report}");
    // Private keys in public.
    api.answer(document, 200, &discovery(&url).to_string());
    api.answer(
        "/openid/v1/jwks",
        200,
        &json!({"keys": [with(KEYS.rsa_jwk(), &json!({"d": "hunter2"}))]}).to_string(),
    );
    let (_, report) = check(&[&url], true);
    let (status, message) = row(&report, "ISS14");
    assert_eq!(status, "fail");
    assert!(message.contains("private members"), "{message}");
    assert!(!report.to_string().contains("hunter2"));

    let (status, _, stderr) =
        place.run(&["issuer", "check", "http://oidc.example.com", "-o", "sarif"]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("no output format `sarif`"), "{stderr}");
}

#[test]
fn a_cluster_that_cannot_be_read_says_how_to_go_on() {
    let (api, place) = (Api::start(), Place::new());
    api.answer("/.well-known/openid-configuration", 403, "{}");
    let (status, stdout, stderr) = run_in(&api, &place, &["issuer", "check"]);
    assert_eq!((status, &*stdout), (Some(2), ""));
    assert!(
        stderr.contains("help: check an issuer by its URL:"),
        "{stderr}"
    );
}

#[test]
fn keys_come_from_https_alone() {
    let (api, place) = (issuer(), all_right());
    ca(&api, &place);
    let jwks = format!("{}/openid/v1/jwks", api.url);
    let arguments = [
        "token",
        "decode",
        "token.jwt",
        "--now",
        NOW,
        "--jwks",
        &jwks,
    ];
    let (status, stdout, stderr) = finish(
        kubectl_cwii(&arguments)
            .current_dir(place.0.path())
            .env("SSL_CERT_FILE", place.path("issuer-ca.crt")),
    );
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.starts_with("signature  verified"), "{stdout}");
    // Not to be had is not the same as wrong.
    let (status, stdout, _) = place.run(&arguments);
    assert_eq!(status, Some(3));
    assert!(stdout.starts_with("signature  UNVERIFIED: "), "{stdout}");
    let plain = jwks.replace("https", "http");
    let (status, stdout, _) = place.run(&[
        "token",
        "decode",
        "token.jwt",
        "--now",
        NOW,
        "--jwks",
        &plain,
    ]);
    assert_eq!(status, Some(3));
    assert!(stdout.contains("is not an https URL"), "{stdout}");
}
