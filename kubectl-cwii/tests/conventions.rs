//! The conventions of kubectl, each on the binary as a person runs it, against a double of the API server.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests are where environment and clock come from"
)]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use support::{Api, finish, kubectl_cwii};

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
    cwii.dev/aws-role-arn: arn:aws:iam::111122223333:role/checkout
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: checkout, namespace: shop }
spec:
  template:
    metadata: { labels: { app: checkout } }
    spec:
      serviceAccountName: checkout
      containers:
        - name: app
          image: example.com/app:1
---
apiVersion: v1
kind: Pod
metadata: { name: lonely, namespace: shop }
spec:
  serviceAccountName: checkout
  containers: [{ name: app, image: "example.com/app:1" }]
"#;

fn shop() -> Api {
    let api = Api::start_tls();
    api.put_yaml(SHOP);
    api
}

/// The same over plain HTTP, where nobody's credentials are sent.
fn plain_shop() -> Api {
    let api = Api::start();
    api.put_yaml(SHOP);
    api
}

/// Runs with a kubeconfig of the double.
fn run_in(api: &Api, user: &Value, arguments: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let config = api.kubeconfig(dir.path(), user);
    finish(kubectl_cwii(arguments).env("KUBECONFIG", config))
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn headers(api: &Api, name: &str) -> Vec<Vec<String>> {
    let of = |seen: &support::Seen| {
        let values = seen.headers.get_all(name).iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    };
    api.seen().iter().map(of).collect()
}

#[test]
fn every_global_flag_is_taken_before_and_after_the_command() {
    let api = plain_shop();
    let url = api.url.as_str();
    for arguments in [
        &[
            "--server",
            url,
            "-n",
            "shop",
            "-o",
            "json",
            "plan",
            "deploy/checkout",
        ][..],
        &[
            "plan",
            "deploy/checkout",
            "--server",
            url,
            "-n",
            "shop",
            "-o",
            "json",
        ],
        &[
            "plan",
            "--server",
            url,
            "deploy/checkout",
            "--namespace=shop",
            "-ojson",
        ],
        &[
            "-s",
            url,
            "plan",
            "-n",
            "shop",
            "deploy",
            "checkout",
            "--output=json",
        ],
    ] {
        let (code, stdout, stderr) = finish(&mut kubectl_cwii(arguments));
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        assert_eq!(parse(&stdout)["items"][0]["injected"], json!(["aws"]));
    }
    // The names of all of them.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    for flag in [
        &["--kubeconfig", file][..],
        &["--context", "x"],
        &["--cluster", "x"],
        &["--user", "x"],
        &["--namespace", "x"],
        &["--as", "x"],
        &["--as-group", "x"],
        &["--as-uid", "x"],
        &["--request-timeout", "5s"],
        &["--server", "http://x"],
        &["--certificate-authority", file],
        &["--client-certificate", file],
        &["--client-key", file],
        &["--insecure-skip-tls-verify"],
        &["--insecure-skip-tls-verify=false"],
        &["--tls-server-name", "x"],
        &["--timeout", "1m30s"],
        &["--color", "never"],
        &["--output", "json"],
        &["--quiet"],
        &["-v", "6"],
        &["--v=2"],
    ] {
        for arguments in [[flag, &["version"]].concat(), [&["version"], flag].concat()] {
            let (code, stdout, stderr) = finish(&mut kubectl_cwii(&arguments));
            assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
            assert!(stdout.contains("0."), "{stdout}");
        }
    }
}

#[test]
fn several_kubeconfigs_are_one_and_missing_ones_are_passed_over() {
    let (one, two) = (plain_shop(), Api::start());
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, value: Value| fs::write(path(name), value.to_string()).unwrap();
    write(
        "first",
        json!({
            "current-context": "",
            "contexts": [{ "name": "a", "context": { "cluster": "c", "namespace": "shop" } }],
            "users": null,
        }),
    );
    write(
        "second",
        json!({
            "current-context": "a",
            "clusters": [{ "name": "c", "cluster": { "server": one.url } }],
            "contexts": [{ "name": "a", "context": { "cluster": "other" } }, { "name": "b", "context": { "user": "u" } }],
        }),
    );
    write(
        "third",
        json!({ "clusters": [{ "name": "c", "cluster": { "server": two.url } }], "current-context": "b" }),
    );
    let list = ["missing", "first", "", "second", "third"].map(|name| {
        if name.is_empty() {
            Default::default()
        } else {
            path(name)
        }
    });
    let list = std::env::join_paths(list).unwrap();
    let (code, _, stderr) =
        finish(kubectl_cwii(&["plan", "deploy/checkout"]).env("KUBECONFIG", &list));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        !one.seen().is_empty() && two.seen().is_empty(),
        "the first entry holds"
    );
    // --kubeconfig comes before KUBECONFIG, and must exist.
    let missing = path("missing");
    let missing = missing.to_str().unwrap();
    let (code, stdout, stderr) = finish(
        kubectl_cwii(&["plan", "deploy/checkout", "--kubeconfig", missing])
            .env("KUBECONFIG", &list),
    );
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(
        stderr.contains("missing` could not be read: no such file"),
        "{stderr}"
    );
    // ~/.kube/config comes last.
    fs::create_dir(path(".kube")).unwrap();
    fs::copy(path("second"), path(".kube/config")).unwrap();
    one.forget();
    let (code, _, stderr) = finish(
        kubectl_cwii(&["plan", "deploy/checkout", "-n", "shop", "--cluster", "c"])
            .env("HOME", dir.path()),
    );
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!one.seen().is_empty());
}

#[test]
fn the_pods_own_credentials_are_used_only_where_nothing_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let service = [
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", "1"),
    ];
    let (code, _, stderr) = finish(
        kubectl_cwii(&["plan", "deploy/x"])
            .envs(service)
            .env("KUBECONFIG", missing),
    );
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("no cluster is configured") && stderr.contains("missing"),
        "{stderr}"
    );
    let (_, _, stderr) = finish(kubectl_cwii(&["plan", "deploy/x"]).envs(service));
    assert!(
        stderr.contains("/var/run/secrets/kubernetes.io/serviceaccount"),
        "{stderr}"
    );
    let (code, _, stderr) = finish(&mut kubectl_cwii(&["plan", "deploy/x"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no cluster is configured"), "{stderr}");
}

#[test]
fn names_that_are_in_no_kubeconfig_are_said_with_the_nearest() {
    let api = shop();
    for (flag, name, said) in [
        ("--context", "tset", "there is a context `test`"),
        ("--cluster", "duoble", "there is a cluster `double`"),
        ("--user", "testre", "there is a user `tester`"),
        // kubectl asks for a user name here.
        ("--context", "dangling", "there is a user `tester`"),
    ] {
        let (code, _, stderr) = run_in(&api, &json!({}), &["plan", "deploy/x", flag, name]);
        assert_eq!(code, Some(2));
        assert!(
            stderr.contains("does not exist in the kubeconfig") && stderr.contains(said),
            "{stderr}"
        );
    }
    assert!(api.seen().is_empty());
}

#[test]
fn a_broken_kubeconfig_is_said_with_its_place_and_nothing_of_it_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    for (text, said) in [
        (
            "users:\n- name: a\n  user: {token: s3cret\n",
            "is not YAML, line",
        ),
        (
            "users:\n- name: a\n  user: {token: [s3cret]}\n",
            "`users[0].user`",
        ),
        ("- s3cret\n", "holds no mapping"),
        ("clusters: s3cret\n", "`clusters` of the kubeconfig"),
    ] {
        fs::write(&path, text).unwrap();
        let (code, _, stderr) =
            finish(kubectl_cwii(&["plan", "deploy/x"]).env("KUBECONFIG", &path));
        assert_eq!(code, Some(2));
        assert!(stderr.contains(said), "{stderr}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
    }
}

#[test]
fn impersonation_is_sent_from_flags_and_kubeconfig() {
    let api = shop();
    let (code, _, stderr) = run_in(
        &api,
        &json!({ "as": "nobody", "as-groups": ["x"] }),
        &[
            "--as",
            "jane",
            "plan",
            "deploy/checkout",
            "--as-group",
            "dev",
            "--as-group=ops",
            "--as-uid",
            "7",
        ],
    );
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        headers(&api, "impersonate-user")
            .iter()
            .all(|values| values == &["jane"])
    );
    assert!(
        headers(&api, "impersonate-group")
            .iter()
            .all(|values| values == &["dev", "ops"])
    );
    assert!(
        headers(&api, "impersonate-uid")
            .iter()
            .all(|values| values == &["7"])
    );
    api.forget();
    let user = json!({ "as": "kim", "as-user-extra": { "Scopes": ["view"] } });
    let (code, ..) = run_in(&api, &user, &["plan", "deploy/checkout"]);
    assert_eq!(code, Some(0));
    assert!(
        headers(&api, "impersonate-user")
            .iter()
            .all(|values| values == &["kim"])
    );
    assert!(
        headers(&api, "impersonate-extra-scopes")
            .iter()
            .all(|values| values == &["view"])
    );
    api.forget();
    let (code, _, stderr) = run_in(
        &api,
        &json!({}),
        &["plan", "deploy/checkout", "--as-group", "dev"],
    );
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("no user") && stderr.contains("--as"),
        "{stderr}"
    );
    assert!(api.seen().is_empty());
}

#[test]
fn groups_given_before_and_after_the_command_are_all_sent() {
    let api = shop();
    let arguments = [
        "--as",
        "a",
        "--as-group",
        "one",
        "plan",
        "deploy/checkout",
        "--as-group",
        "two",
    ];
    let (code, ..) = run_in(&api, &json!({}), &arguments);
    assert_eq!(code, Some(0));
    assert!(
        headers(&api, "impersonate-group")
            .iter()
            .all(|values| values == &["one", "two"])
    );
}

fn plugin(dir: &Path, script: &str) -> Value {
    let path = dir.join("plugin");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "./plugin",
        "args": ["get-token"],
        "env": [{ "name": "PLUGIN_SAYS", "value": "from-env" }],
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": true,
    }})
}

fn run_plugin(api: &Api, script: &str) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let config = api.kubeconfig(dir.path(), &plugin(dir.path(), script));
    finish(kubectl_cwii(&["plan", "deploy/checkout"]).env("KUBECONFIG", config))
}

const CREDENTIAL: &str =
    r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":"#;

#[test]
fn a_credential_plugin_gives_the_token_and_knows_the_cluster() {
    let api = shop();
    let script = format!(
        r#"case "$KUBERNETES_EXEC_INFO" in *'"server":"{}"'*) ;; *) exit 9;; esac
test "$1" = get-token || exit 8
printf '%s{{"token":"%s"}}}}' '{CREDENTIAL}' "$PLUGIN_SAYS""#,
        api.url
    );
    let (code, _, stderr) = run_plugin(&api, &script);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        headers(&api, "authorization")
            .iter()
            .all(|values| values == &["Bearer from-env"])
    );
}

#[test]
fn what_a_credential_plugin_prints_reaches_no_error() {
    let api = shop();
    for (script, said) in [
        (
            "echo s3cret; echo s3cret >&2; exit 3",
            "ended with exit code 3",
        ),
        ("echo s3cret; echo s3cret >&2", "no ExecCredential"),
        (
            "echo '{\"apiVersion\":\"s3cret\"}'",
            "of another apiVersion",
        ),
        ("kill -9 $$", "ended by a signal"),
        (
            "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"clientKeyData\":\"s3cret\"}}'",
            "a key without its certificate",
        ),
        (
            "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"expirationTimestamp\":\"s3cret\"}}'",
            "no RFC 3339 time",
        ),
    ] {
        let (code, stdout, stderr) = run_plugin(&api, script);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{script}: {stderr}");
        assert!(stderr.contains(said), "{script}: {stderr}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
    }
    assert!(api.seen().is_empty());
    let user = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "no-such-plugin",
        "installHint": "see https://example.com/plugin",
    }});
    let (code, _, stderr) = run_in(&api, &user, &["plan", "deploy/checkout"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("no-such-plugin") && stderr.contains("see https://example.com/plugin"),
        "{stderr}"
    );
}

#[test]
fn a_credential_plugin_that_hangs_ends_with_the_command() {
    let api = shop();
    let dir = tempfile::tempdir().unwrap();
    let config = api.kubeconfig(dir.path(), &plugin(dir.path(), "exec sleep 60"));
    let begin = Instant::now();
    let arguments = ["plan", "deploy/checkout", "--timeout", "300ms"];
    let (code, _, stderr) = finish(kubectl_cwii(&arguments).env("KUBECONFIG", config));
    assert_eq!(code, Some(124), "{stderr}");
    assert!(stderr.contains("had not ended"), "{stderr}");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

/// Answers everything with 401.
fn refuse_everybody(api: &Api) {
    let path = "/apis/apps/v1/namespaces/shop/deployments/checkout";
    api.answer(
        path,
        401,
        r#"{"kind":"Status","code":401,"reason":"Unauthorized","message":"Unauthorized"}"#,
    );
}

#[test]
fn credentials_that_have_expired_are_said_to_have() {
    let api = Api::start_tls();
    api.put_yaml(SHOP);
    refuse_everybody(&api);
    let end = SystemTime::now() - Duration::from_secs(86_400);
    let (certificate, key) = api.pki.as_ref().unwrap().certificate("jane", end);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tls.crt"), certificate).unwrap();
    fs::write(dir.path().join("tls.key"), key).unwrap();
    let user = json!({ "client-certificate": "tls.crt", "client-key": "tls.key" });
    let config = api.kubeconfig(dir.path(), &user);
    let (code, _, stderr) =
        finish(kubectl_cwii(&["plan", "deploy/checkout"]).env("KUBECONFIG", config));
    assert_eq!(code, Some(2));
    // The double verifies what it is shown, kube-apiserver answers 401.
    assert!(
        stderr.contains("the client certificate") && stderr.contains("expired"),
        "{stderr}"
    );

    let api = shop();
    refuse_everybody(&api);
    let claims = base64url(r#"{"exp":1000000000,"sub":"x"}"#);
    let token = format!("{}.{claims}.c2lnbmF0dXJl", base64url(r#"{"alg":"RS256"}"#));
    let (code, _, stderr) = run_in(
        &api,
        &json!({ "token": token }),
        &["plan", "deploy/checkout"],
    );
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("(401 Unauthorized): the token expired at 2001-09-09"),
        "{stderr}"
    );
    assert!(!stderr.contains(&claims), "{stderr}");
    let (code, _, stderr) = run_in(&api, &json!({}), &["plan", "deploy/checkout"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("there are none in the kubeconfig"),
        "{stderr}"
    );
}

fn base64url(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn tokens_come_from_files_before_texts_and_names_with_passwords_last() {
    let api = shop();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), "from-file\n").unwrap();
    for (user, sent) in [
        (
            json!({ "token": "from-text", "tokenFile": "token" }),
            "Bearer from-file",
        ),
        (
            json!({ "token": "from-text", "tokenFile": "missing" }),
            "Bearer from-text",
        ),
        (
            json!({ "token": "from-text", "username": "a", "password": "b" }),
            "Bearer from-text",
        ),
        (json!({ "username": "a", "password": "b" }), "Basic YTpi"),
        (
            json!({ "auth-provider": { "name": "oidc", "config": { "id-token": "from-oidc" } } }),
            "Bearer from-oidc",
        ),
    ] {
        api.forget();
        let config = api.kubeconfig(dir.path(), &user);
        let (code, _, stderr) =
            finish(kubectl_cwii(&["plan", "deploy/checkout"]).env("KUBECONFIG", config));
        assert_eq!(code, Some(0), "{stderr}");
        assert!(
            headers(&api, "authorization")
                .iter()
                .all(|values| values == &[sent]),
            "{sent}"
        );
    }
}

#[test]
fn tls_works_with_client_certificates_and_fails_in_words() {
    let api = Api::start_tls();
    api.put_yaml(SHOP);
    let dir = tempfile::tempdir().unwrap();
    let end = SystemTime::now() + Duration::from_secs(3600);
    let (certificate, key) = api.pki.as_ref().unwrap().certificate("jane", end);
    for (name, text) in [
        ("tls.crt", certificate),
        ("tls.key", key),
        ("other.crt", support::Pki::new().ca),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let config = api.kubeconfig(dir.path(), &json!({}));
    let run = |more: &[&str]| {
        let arguments = [&["plan", "deploy/checkout"], more].concat();
        finish(kubectl_cwii(&arguments).env("KUBECONFIG", &config))
    };
    let (certificate, key) = (path("tls.crt"), path("tls.key"));
    let (code, _, stderr) = run(&["--client-certificate", &certificate, "--client-key", &key]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(api.seen().iter().all(|seen| seen.client == "jane"));
    let (code, _, stderr) = run(&["--certificate-authority", &path("other.crt")]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("is not signed by an authority of"),
        "{stderr}"
    );
    let (code, ..) = run(&["--insecure-skip-tls-verify"]);
    assert_eq!(code, Some(0));
    let (code, _, stderr) = run(&["--tls-server-name", "kubernetes.default.svc"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("is not valid for the name `kubernetes.default.svc`"),
        "{stderr}"
    );

    let named = Api::start_tls_for("kubernetes.default.svc");
    named.put_yaml(SHOP);
    let config = named.kubeconfig(dir.path(), &json!({}));
    let arguments = [
        "plan",
        "deploy/checkout",
        "--tls-server-name",
        "kubernetes.default.svc",
    ];
    let (code, _, stderr) = finish(kubectl_cwii(&arguments).env("KUBECONFIG", config));
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn a_server_that_does_not_answer_is_said_to() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let url = format!("https://{address}");
    let (code, _, stderr) = finish(&mut kubectl_cwii(&["plan", "deploy/x", "--server", &url]));
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("refuses the connection: nobody listens there"),
        "{stderr}"
    );
    let (code, _, stderr) = finish(&mut kubectl_cwii(&[
        "plan",
        "deploy/x",
        "--server",
        "https://name.invalid",
    ]));
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("`name.invalid` of the API server does not resolve"),
        "{stderr}"
    );
    let plain = plain_shop();
    let url = plain.url.replace("http:", "https:");
    let (code, _, stderr) = finish(&mut kubectl_cwii(&["plan", "deploy/x", "--server", &url]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("does not speak TLS"), "{stderr}");
}

#[test]
fn a_slow_answer_ends_with_the_request_timeout() {
    let api = shop();
    api.delay(Duration::from_secs(20));
    let begin = Instant::now();
    let (code, _, stderr) = run_in(
        &api,
        &json!({}),
        &["plan", "deploy/checkout", "--request-timeout=200ms"],
    );
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("no answer in time") && stderr.contains("--request-timeout"),
        "{stderr}"
    );
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_whole_command_ends_with_timeout_in_124() {
    let api = shop();
    api.delay(Duration::from_secs(20));
    let (code, ..) = run_in(
        &api,
        &json!({}),
        &["plan", "deploy/checkout", "--timeout", "0.3s"],
    );
    assert_eq!(code, Some(124));
}

#[test]
fn an_interrupted_command_ends_with_130_and_a_terminated_one_with_143() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let api = shop();
        api.delay(Duration::from_secs(20));
        let dir = tempfile::tempdir().unwrap();
        let config = api.kubeconfig(dir.path(), &json!({}));
        let child = kubectl_cwii(&["plan", "deploy/checkout"])
            .env("KUBECONFIG", config)
            .spawn()
            .unwrap();
        until(|| !api.seen().is_empty());
        let killed = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
    }
}

fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "it did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn standard_output_carries_one_document_and_the_log_goes_elsewhere() {
    let api = shop();
    let (code, stdout, stderr) = run_in(
        &api,
        &json!({}),
        &["plan", "deploy/checkout", "-o", "json", "-v", "6"],
    );
    assert_eq!(code, Some(0));
    assert_eq!(parse(&stdout)["summary"]["exitCode"], 0);
    let requests = api.lines().len();
    assert_eq!(
        stderr.lines().filter(|line| line.contains(" in ")).count(),
        requests,
        "{stderr}"
    );
    let (code, stdout, _) = run_in(&api, &json!({}), &["plan", "deploy/checkout", "-o", "yaml"]);
    assert_eq!(code, Some(0));
    let yaml: Value = serde_saphyr::from_str(&stdout).unwrap();
    assert_eq!(yaml["items"][0]["target"]["name"], "checkout");
}

#[test]
fn what_is_not_allowed_is_named_with_the_permission_and_makes_the_result_inconclusive() {
    let api = shop();
    api.deny("get", "serviceaccounts");
    let (code, stdout, _) = run_in(&api, &json!({}), &["plan", "deploy/checkout", "-o", "json"]);
    let report = parse(&stdout);
    assert_eq!(code, Some(3));
    assert_eq!(report["summary"]["exitCode"], 3);
    assert_eq!(
        report["items"][0]["unknown"],
        json!([
            "ServiceAccount shop/checkout: missing permission: get serviceaccounts in namespace shop"
        ])
    );
    api.deny("get", "deployments");
    let (code, stdout, stderr) =
        run_in(&api, &json!({}), &["plan", "deploy/checkout", "-o", "json"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(
        stderr.contains("not allowed to get deployments.apps in namespace shop"),
        "{stderr}"
    );
}

#[test]
fn a_person_who_may_not_impersonate_is_told_that() {
    let api = shop();
    for (message, missing) in [
        // As kube-apiserver says it up to 1.34, and 1.36.
        (
            "groups \"x\" is forbidden: User \"dev\" cannot impersonate resource \"groups\" in API group \"\" at the cluster scope",
            "impersonate groups",
        ),
        (
            "pods is forbidden: User \"dev\" cannot impersonate-on:user-info:list resource \"pods\" in API group \"\" in the namespace \"shop\"",
            "impersonate users",
        ),
    ] {
        let status =
            json!({ "kind": "Status", "code": 403, "reason": "Forbidden", "message": message });
        api.answer(
            "/apis/apps/v1/namespaces/shop/deployments/checkout",
            403,
            &status.to_string(),
        );
        let arguments = ["plan", "deploy/checkout", "--as", "jane"];
        let (code, _, stderr) = run_in(&api, &json!({}), &arguments);
        assert_eq!(code, Some(2));
        assert!(
            stderr.contains(&format!("not allowed to {missing}")),
            "{stderr}"
        );
    }
}

#[test]
fn targets_that_there_are_not_are_usage_errors() {
    let api = shop();
    for (arguments, said) in [
        (
            &["plan", "deploy/nope"][..],
            "deployment/nope in namespace shop does not exist",
        ),
        (
            &["plan", "nope"],
            "pod/nope in namespace shop does not exist",
        ),
        (&["plan", "deplyo/checkout"], "did you mean `deploy`?"),
        (&["plan"], "nothing is named"),
        (&["plan", "deploy"], "expected a name after `deployment`"),
        (
            &["plan", "deploy/checkout", "-o", "sarif"],
            "no output format `sarif`",
        ),
        (&["plan", "-f", "/nonexistent.yaml"], "cannot be read"),
    ] {
        let (code, stdout, stderr) = run_in(&api, &json!({}), arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn tokens_in_arguments_are_refused_and_not_repeated() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
    for arguments in [
        &["token", "decode", token][..],
        &["--token", "abc", "doctor"],
        &["doctor", "--token=abc"],
        &["--unknown", token],
        &["plan", "--kubeconfig", token],
    ] {
        let (code, stdout, stderr) = finish(&mut kubectl_cwii(arguments));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(
            stderr.contains("help:") && !stderr.contains(token) && !stderr.contains("abc"),
            "{stderr}"
        );
    }
}

#[test]
fn a_closed_pipe_is_a_quiet_success() {
    for arguments in [
        &["--help"][..],
        &["options"],
        &["plan", "deploy/checkout"],
        &["version"],
    ] {
        let api = shop();
        let dir = tempfile::tempdir().unwrap();
        let config = api.kubeconfig(dir.path(), &json!({}));
        let mut child = kubectl_cwii(arguments)
            .env("KUBECONFIG", config)
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn what_a_terminal_would_obey_is_escaped() {
    let api = shop();
    let mut account: Value = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "checkout", "namespace": "shop", "annotations": {
            "cwii.dev/aws-role-arn": "arn:aws:iam::111122223333:role/checkout",
            "cwii.dev/aws-audience": "\u{1b}[2J\u{202e}x\r",
        } },
    });
    account["metadata"]["annotations"]["cwii.dev/aws-regoin\u{9b}"] = "y".into();
    api.put(account);
    for format in ["human", "json", "yaml"] {
        let (_, stdout, stderr) =
            run_in(&api, &json!({}), &["plan", "deploy/checkout", "-o", format]);
        for text in [&stdout, &stderr] {
            let bad = text.chars().find(|c| {
                (c.is_control() && *c != '\n')
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            });
            assert_eq!(bad, None, "{format}: {text:?}");
        }
    }
}

#[test]
fn help_is_spelt_as_the_program_was_called_and_fits_the_screen() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("cwii");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubectl-cwii"), &link).unwrap();
    let commands = [
        "doctor",
        "token",
        "token decode",
        "token request",
        "trust",
        "trust check",
        "trust suggest",
        "trust store",
        "issuer",
        "issuer check",
        "plan",
        "verify",
        "explain",
        "checks",
        "lab",
        "completion",
        "version",
        "options",
    ];
    for command in commands {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let (code, plugin, _) = finish(&mut kubectl_cwii(&arguments));
        assert_eq!(code, Some(0), "{command}");
        assert!(plugin.contains("\nExamples:\n  # "), "{command}: {plugin}");
        assert!(
            plugin.contains(&format!("\nUsage:\n  kubectl cwii {command}")),
            "{plugin}"
        );
        let mut standalone = Command::new(&link);
        let (_, standalone, _) = finish(
            standalone
                .args(&arguments)
                .stdout(std::process::Stdio::piped()),
        );
        // Lines may break elsewhere, within the name too.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let expected = words(&plugin).replace("kubectl cwii", "cwii");
        assert_eq!(words(&standalone), expected, "{command}");
        let long: Vec<_> = plugin
            .lines()
            .filter(|line| line.chars().count() > 100)
            .collect();
        assert!(long.is_empty(), "{command}: {long:#?}");
        let order = [
            "\nExamples:",
            "\nUsage:\n",
            "\nUse \"kubectl cwii options\"",
        ]
        .map(|part| plugin.find(part).unwrap());
        assert!(order.is_sorted(), "{plugin}");
    }
    let (_, options, _) = finish(&mut kubectl_cwii(&["options"]));
    assert!(
        options.lines().all(|line| line.chars().count() <= 100),
        "{options}"
    );
}

/// A directory with the binary and its completer, as `completion install` makes it.
fn installed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("kubectl-cwii");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubectl-cwii"), &link).unwrap();
    let mut install = Command::new(&link);
    install
        .args(["completion", "install"])
        .stdout(std::process::Stdio::piped());
    for _ in 0..2 {
        let (code, stdout, stderr) = finish(&mut install);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains("kubectl_complete-cwii"), "{stdout}");
    }
    let completer = dir.path().join("kubectl_complete-cwii");
    assert_eq!(
        fs::read_link(completer).unwrap(),
        Path::new("kubectl-cwii"),
        "relative"
    );
    dir
}

fn complete(api: &Api, words: &[&str]) -> (Vec<String>, String) {
    let dir = installed();
    let config = api.kubeconfig(dir.path(), &json!({}));
    let mut completer = Command::new(dir.path().join("kubectl_complete-cwii"));
    completer
        .args(words)
        .env("KUBECONFIG", config)
        .stderr(std::process::Stdio::piped());
    let (code, stdout, stderr) = finish(completer.stdout(std::process::Stdio::piped()));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let mut lines: Vec<_> = stdout.lines().map(str::to_owned).collect();
    let directive = lines.pop().unwrap();
    let values = lines
        .iter()
        .map(|line| line.split('\t').next().unwrap().to_owned());
    (values.collect(), directive)
}

#[test]
fn completion_speaks_kubectls_protocol() {
    let api = shop();
    let has = |words: &[&str], expected: &[&str], directive: &str| {
        let (values, found) = complete(&api, words);
        for value in expected {
            assert!(values.iter().any(|v| v == value), "{words:?}: {values:?}");
        }
        assert_eq!(found, directive, "{words:?}");
        values
    };
    has(&[""], &["doctor", "token", "version"], ":4");
    assert_eq!(has(&["do"], &["doctor"], ":4"), ["doctor"]);
    has(&["token", ""], &["decode", "request"], ":4");
    has(&["doctor", "--na"], &["--namespace="], ":4");
    has(&["-n", "shop", "doctor", "--pro"], &["--probe"], ":4");
    has(&["doctor", "-o", ""], &["json", "sarif"], ":4");
    assert_eq!(
        has(&["doctor", "--output=js"], &["--output=json"], ":4").len(),
        2
    );
    has(&["doctor", ""], &["deployment", "lonely"], ":4");
    assert_eq!(
        has(&["doctor", "deploy/"], &["deploy/checkout"], ":4").len(),
        1
    );
    has(&["doctor", "deploy", "c"], &["checkout"], ":4");
    has(&["doctor", "-n", ""], &["shop"], ":4");
    has(&["token", "decode", "--sa", ""], &["checkout"], ":4");
    has(&["doctor", "--context", ""], &["test"], ":4");
    has(&["explain", "TOK0"], &["TOK03"], ":4");
    has(&["doctor", "-f", ""], &[], ":0");
    has(&["completion", ""], &["bash", "install"], ":4");
    // Nobody there is no candidates, and soon.
    api.delay(Duration::from_secs(20));
    let begin = Instant::now();
    has(&["doctor", "pod", ""], &[], ":4");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn kubectl_itself_completes_the_plugin() {
    let paths = std::env::var_os("PATH").unwrap();
    let kubectl = std::env::split_paths(&paths).any(|dir| dir.join("kubectl").is_file());
    if !kubectl {
        eprintln!("no kubectl here: its protocol is tested without it");
        return;
    }
    let dir = installed();
    let paths = std::env::join_paths(
        std::iter::once(dir.path().to_owned()).chain(std::env::split_paths(&paths)),
    );
    let output = Command::new("kubectl")
        .args(["__complete", "cwii", "tok"])
        .env("PATH", paths.unwrap())
        .env("HOME", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("token\t") && text.trim_end().ends_with(":4"),
        "{text}"
    );
}

#[test]
fn completion_scripts_are_for_the_standalone_name() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (code, stdout, stderr) = finish(&mut kubectl_cwii(&["completion", shell]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert!(
            stdout.contains("cwii")
                && stdout.contains("doctor")
                && !stdout.contains("kubectl__cwii"),
            "{shell}"
        );
    }
    let (code, script, _) = finish(&mut kubectl_cwii(&["completion", "bash"]));
    assert_eq!(code, Some(0));
    let mut bash = Command::new("bash");
    let (code, _, stderr) = finish(
        bash.args(["-n", "-c", &script])
            .stderr(std::process::Stdio::piped()),
    );
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_catalogue_is_a_table_and_a_document() {
    let (code, stdout, _) = finish(&mut kubectl_cwii(&["checks", "tok"]));
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with("CODE ") && stdout.contains("\nTOK03 "),
        "{stdout}"
    );
    assert!(
        stdout.lines().all(|line| line.chars().count() <= 100),
        "{stdout}"
    );
    let (_, bare, _) = finish(&mut kubectl_cwii(&["checks", "TOK", "--no-headers"]));
    assert_eq!(bare, stdout.split_once('\n').unwrap().1);
    let (_, stdout, _) = finish(&mut kubectl_cwii(&["checks", "-o", "json"]));
    let all = parse(&stdout);
    assert_eq!(all["schema"]["name"], "cwii.checks");
    assert!(all["checks"].as_array().unwrap().len() > 50);
    let (_, codes, _) = finish(&mut kubectl_cwii(&["checks", "-o", "name"]));
    assert_eq!(
        codes.lines().count(),
        all["checks"].as_array().unwrap().len()
    );
    let (code, _, stderr) = finish(&mut kubectl_cwii(&["checks", "TOKK"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("`TOKK` is no group"), "{stderr}");
}

/// What a terminal would get: standard output and standard error together.
fn on_terminal(command: &str, variables: &[(&str, &str)]) -> String {
    let mut script = Command::new("script");
    script
        .args(["-qec", command, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .envs(variables.iter().copied())
        .stdin(std::process::Stdio::null());
    String::from_utf8(script.output().unwrap().stdout).unwrap()
}

#[test]
fn colour_and_a_turning_line_are_for_terminals() {
    let paths = std::env::var_os("PATH").unwrap();
    if !std::env::split_paths(&paths).any(|dir| dir.join("script").is_file()) {
        eprintln!("no script(1) here to make a terminal");
        return;
    }
    let api = shop();
    let pending = json!({ "phase": "Pending" });
    api.on_create(move |pod| pod["status"] = pending.clone());
    let dir = tempfile::tempdir().unwrap();
    let config = api.kubeconfig(dir.path(), &json!({}));
    let program = env!("CARGO_BIN_EXE_kubectl-cwii");
    let plan = format!(
        "{program} plan deploy/checkout --kubeconfig {}",
        config.display()
    );
    assert!(on_terminal(&plan, &[]).contains("\u{1b}[1mshop/deployment/checkout\u{1b}[0m"));
    for variables in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        assert!(
            !on_terminal(&plan, &variables).contains('\u{1b}'),
            "{variables:?}"
        );
    }
    assert!(!on_terminal(&format!("{plan} --color never"), &[]).contains('\u{1b}'));
    let verify = format!(
        "{program} verify deploy/checkout --provider aws --timeout 1s --kubeconfig {}",
        config.display()
    );
    let turning = on_terminal(&verify, &[("LC_ALL", "C.UTF-8")]);
    assert!(
        turning.contains("\r\u{1b}[K⠋ creating a pod") && turning.contains(": Pending"),
        "{turning:?}"
    );
    // The line is taken away before anything else is said.
    assert!(turning.contains("\r\u{1b}[K\u{1b}[1mshop/"), "{turning:?}");
    let plain = on_terminal(&format!("{verify} 2>&1 | cat"), &[]);
    assert!(
        !plain.contains('\u{1b}') && plain.matches(": Pending").count() == 2,
        "{plain:?}"
    );
    assert!(
        !on_terminal(&format!("{verify} -q"), &[]).contains("creating"),
        "quiet"
    );
}

#[test]
fn a_code_a_pasted_error_and_a_log_on_standard_input_are_explained() {
    let (code, stdout, stderr) = finish(&mut kubectl_cwii(&["explain", "pod02"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("error[POD02]: "), "{stdout}");
    assert!(stdout.contains("\nHow to fix it\n"), "{stdout}");
    let pasted = "AADSTS700213: No matching federated identity record found \u{1b}[31m";
    let (code, stdout, _) = finish(&mut kubectl_cwii(&["explain", pasted]));
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with("Entra ID says:\n  | AADSTS700213: "),
        "{stdout}"
    );
    assert!(!stdout.contains('\u{1b}'), "{stdout}");
    let (_, stdout, _) = finish(&mut kubectl_cwii(&["explain", "-o", "json", pasted]));
    assert_eq!(parse(&stdout)["errors"][0]["codes"][0], "AZ05");
    let (code, stdout, stderr) = finish(&mut kubectl_cwii(&["explain", "audience-mismach"]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("help: nearest: TOK03 "), "{stderr}");
}

/// Exit code, standard output and standard error together.
fn snapshot((code, stdout, stderr): (Option<i32>, String, String), api: &Api) -> String {
    let text = format!(
        "exit code: {}\n--- stdout\n{stdout}--- stderr\n{stderr}",
        code.unwrap_or_default()
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    text.replace(&api.url, "[server]")
}

#[test]
fn a_plan_reads_as_a_diff_with_provenance() {
    let api = shop();
    api.put_yaml(WEBHOOK);
    insta::assert_snapshot!(
        "plan",
        snapshot(run_in(&api, &json!({}), &["plan", "deploy/checkout"]), &api)
    );
    // Of a live pod: what is missing now, and what is otherwise.
    insta::assert_snapshot!(
        "plan_of_a_pod",
        snapshot(run_in(&api, &json!({}), &["plan", "lonely"]), &api)
    );
    api.put_yaml(
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {cwii.dev/aws-role-arn: nonsense}}}",
    );
    api.put_yaml(
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: checkout, namespace: shop}}",
    );
    insta::assert_snapshot!(
        "plan_denied",
        snapshot(run_in(&api, &json!({}), &["plan", "deploy/checkout"]), &api)
    );
}

const WEBHOOK: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: { name: cwii }
webhooks:
  - name: mutate.cwii.dev
    clientConfig: { service: { namespace: identity, name: hook } }
---
apiVersion: v1
kind: Service
metadata: { name: hook, namespace: identity }
spec: { selector: { app: hook } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: other, namespace: identity }
spec: { template: { metadata: { labels: { app: other } }, spec: { containers: [{ name: x, image: x }] } } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: hook, namespace: identity }
spec:
  template:
    metadata: { labels: { app: hook, more: x } }
    spec:
      containers:
        - name: sidecar
          image: example.com/proxy:9
        - name: webhook
          image: ghcr.io/cwii-dev/cwii-webhook:0.3.0
          args: ["--aws-default-region=eu-central-1"]
          env:
            - name: CWII_AZ_DEFAULT_TENANT_ID
              valueFrom: { configMapKeyRef: { name: x, key: y } }
"#;

#[test]
fn manifests_are_planned_alone_or_laid_over_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let deployment = dir.path().join("deployment.yaml");
    let text = SHOP.split("---").nth(2).unwrap();
    fs::write(&deployment, text).unwrap();
    fs::create_dir(dir.path().join("below")).unwrap();
    let account = SHOP.split("---").nth(1).unwrap();
    fs::write(dir.path().join("below/account.yaml"), account).unwrap();
    let (dir, file) = (dir.path().to_str().unwrap(), deployment.to_str().unwrap());
    let injected = |(code, stdout, stderr): (Option<i32>, String, String)| {
        assert_eq!(code, Some(0), "{stderr}");
        parse(&stdout)["items"][0]["injected"].clone()
    };
    let json = ["-o", "json"];
    let run = |arguments: &[&str]| finish(&mut kubectl_cwii(&[arguments, &json].concat()));
    assert_eq!(injected(run(&["plan", "--local", "-f", file])), json!([]));
    assert_eq!(injected(run(&["plan", "--local", "-f", dir])), json!([]));
    assert_eq!(
        injected(run(&["plan", "--local", "-R", "-f", dir])),
        json!(["aws"])
    );
    let api = shop();
    let over = run_in(&api, &json!({}), &["plan", "-f", file, "-o", "json"]);
    assert_eq!(injected(over), json!(["aws"]));
    let mut stdin = kubectl_cwii(&["plan", "--local", "-f", "-", "-o", "json"]);
    stdin.stdin(fs::File::open(&deployment).unwrap());
    assert_eq!(injected(finish(&mut stdin)), json!([]));
}

#[test]
fn without_a_locale_for_it_nothing_but_ascii_is_shown() {
    let api = shop();
    for (name, value) in [("LC_ALL", "C"), ("LANG", "POSIX"), ("TERM", "dumb")] {
        let dir = tempfile::tempdir().unwrap();
        let config = api.kubeconfig(dir.path(), &json!({}));
        let mut command = kubectl_cwii(&["plan", "deploy/checkout"]);
        let (code, stdout, _) = finish(command.env("KUBECONFIG", config).env(name, value));
        assert_eq!(code, Some(0));
        assert!(stdout.is_ascii(), "{name}: {stdout}");
    }
}

#[test]
fn a_list_is_read_in_pages_and_each_object_once() {
    let api = shop();
    for number in 0..1_100 {
        api.put(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("p{number:04}"), "namespace": "shop" },
        }));
    }
    let (values, _) = complete(&api, &["doctor", "pod", "p"]);
    assert_eq!(values.len(), 1_100);
    let requests = api.lines();
    assert_eq!(requests.len(), 3, "{requests:#?}");
    assert!(
        requests[0].ends_with("?limit=500") && requests[1].contains("continue="),
        "{requests:#?}"
    );
}

#[test]
fn a_plan_takes_two_rounds_and_reads_each_object_once() {
    let api = shop();
    let (code, ..) = run_in(&api, &json!({}), &["plan", "deploy/checkout"]);
    assert_eq!(code, Some(0));
    let mut requests = api.lines();
    let all = requests.len();
    requests.sort();
    requests.dedup();
    assert_eq!(requests.len(), all, "{requests:#?}");
    assert!(all <= 6, "{requests:#?}");

    // Pod, then ReplicaSet, Deployment, ServiceAccount and namespace at once: the answers of a slow server add up to two.
    let api = shop();
    let controlled = |kind: &str, name: &str| json!([{ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true }]);
    api.put(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": "checkout-abc", "namespace": "shop", "ownerReferences": controlled("Deployment", "checkout") },
    }));
    api.put(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "checkout-abc-1", "namespace": "shop", "labels": { "pod-template-hash": "abc" },
            "ownerReferences": controlled("ReplicaSet", "checkout-abc"),
        },
        "spec": { "serviceAccountName": "checkout", "containers": [{ "name": "app" }] },
    }));
    let delay = Duration::from_millis(1_500);
    api.delay(delay);
    let begin = Instant::now();
    let (code, stdout, _) = run_in(&api, &json!({}), &["plan", "checkout-abc-1", "-o", "json"]);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(
        begin.elapsed() < 3 * delay,
        "{:?}: {:#?}",
        begin.elapsed(),
        api.lines()
    );
    assert!(
        api.lines()
            .iter()
            .any(|line| line.ends_with("/deployments/checkout"))
    );
}

#[test]
fn a_proxy_of_the_kubeconfig_is_used_and_its_password_is_not_shown() {
    let api = Api::start_tls();
    api.put_yaml(SHOP);
    let proxy = support::Proxy::start();
    let dir = tempfile::tempdir().unwrap();
    let path = api.kubeconfig(dir.path(), &json!({}));
    let mut config = parse(&fs::read_to_string(&path).unwrap());
    let with_proxy = |config: &mut Value, url: String| {
        config["clusters"][0]["cluster"]["proxy-url"] = url.into();
        fs::write(&path, config.to_string()).unwrap();
        finish(
            kubectl_cwii(&["plan", "deploy/checkout"])
                .env("KUBECONFIG", &path)
                .env("NO_PROXY", "*"),
        )
    };
    let (code, _, stderr) =
        with_proxy(&mut config, format!("http://jane:s3cret@{}", proxy.address));
    assert_eq!(code, Some(0), "{stderr}");
    let heads = proxy.heads();
    let authority = api.url.trim_start_matches("https://");
    assert!(!heads.is_empty());
    for head in heads {
        assert!(
            head.starts_with(&format!("CONNECT {authority} HTTP/1.1\r\n")),
            "{head}"
        );
        // jane:s3cret
        assert!(
            head.to_lowercase()
                .contains("proxy-authorization: basic amfuztpzm2nyzxq="),
            "{head}"
        );
    }
    for url in [
        "ftp://jane:s3cret@127.0.0.1:1",
        "http://jane:s3cret@127.0.0.1:1",
    ] {
        let (code, _, stderr) = with_proxy(&mut config, url.to_owned());
        assert_eq!(code, Some(2));
        assert!(stderr.contains("proxy"), "{stderr}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
    }
}

#[test]
fn a_credential_plugin_may_give_a_client_certificate_and_say_when_it_ends() {
    let api = Api::start_tls();
    api.put_yaml(SHOP);
    let end = SystemTime::now() + Duration::from_secs(3600);
    let (certificate, key) = api.pki.as_ref().unwrap().certificate("plugged", end);
    let status = json!({ "clientCertificateData": certificate, "clientKeyData": key });
    let dir = tempfile::tempdir().unwrap();
    let credential = dir.path().join("credential");
    fs::write(&credential, format!("{CREDENTIAL}{status}}}")).unwrap();
    let script = format!("cat {}", credential.display());
    let (code, _, stderr) = run_plugin(&api, &script);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(api.seen().iter().all(|seen| seen.client == "plugged"));

    let api = shop();
    refuse_everybody(&api);
    let status = json!({ "token": "s3cret", "expirationTimestamp": "2020-01-01T00:00:00Z" });
    fs::write(&credential, format!("{CREDENTIAL}{status}}}")).unwrap();
    let (code, _, stderr) = run_plugin(&api, &script);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("what the credential plugin gave expired at 2020-01-01"),
        "{stderr}"
    );
    assert!(!stderr.contains("s3cret"), "{stderr}");
}

/// Where there is a kubectl, it is the judge of who asks which server.
#[test]
fn kubectl_sends_the_same_credentials_to_the_same_server() {
    let paths = std::env::var_os("PATH").unwrap();
    if !std::env::split_paths(&paths).any(|dir| dir.join("kubectl").is_file()) {
        eprintln!("no kubectl here to compare with");
        return;
    }
    let (one, two, plain) = (shop(), shop(), plain_shop());
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), "from-file\n").unwrap();
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "",
        "clusters": [
            { "name": "one", "cluster": { "server": one.url, "insecure-skip-tls-verify": true } },
            { "name": "plain", "cluster": { "server": plain.url } },
        ],
        "users": [
            { "name": "file", "user": { "tokenFile": "token", "token": "from-text" } },
            { "name": "text", "user": { "token": "from-text" } },
            { "name": "basic", "user": { "username": "a", "password": "b" } },
            { "name": "acting", "user": { "token": "t", "as": "kim", "as-uid": "1", "as-groups": ["g"], "as-user-extra": { "Some.Key/x": ["y"] } } },
        ],
        "contexts": [
            { "name": "plain", "context": { "cluster": "one", "user": "text" } },
        ],
    });
    let second = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "plain",
        "clusters": [
            { "name": "one", "cluster": { "server": two.url } },
            { "name": "two", "cluster": { "server": two.url, "insecure-skip-tls-verify": true } },
        ],
    });
    let write = |name: &str, config: &Value| {
        let path = dir.path().join(name);
        fs::write(&path, config.to_string()).unwrap();
        path
    };
    let list = [
        dir.path().join("missing"),
        write("a", &config),
        write("b", &second),
    ];
    let list = std::env::join_paths(list).unwrap();
    let asked = |command: &mut Command| {
        for api in [&one, &two, &plain] {
            api.forget();
        }
        command.env("KUBECONFIG", &list).output().unwrap();
        [&one, &two, &plain].map(|api| {
            let seen = api.seen();
            let first = seen
                .iter()
                .find(|seen| seen.path.contains("/deployments/checkout"))?;
            let mut sent: Vec<(String, String)> = first
                .headers
                .iter()
                .filter(|(name, _)| {
                    name.as_str() == "authorization" || name.as_str().starts_with("impersonate")
                })
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            sent.sort();
            Some(sent)
        })
    };
    let two_url = two.url.clone();
    for flags in [
        &[][..],
        &["--user", "file"],
        &["--user", "basic"],
        &["--user", "acting"],
        &["--user", "acting", "--as", "jane"],
        &["--user", "acting", "--as-group", "x", "--as-group", "y"],
        &["--cluster", "two"],
        &["--server", &two_url],
        &["--cluster", "plain"],
        &["--cluster", "plain", "--user", "acting"],
        &["--as", "jane", "--as-uid", "7"],
    ] {
        let raw = [
            "get",
            "--raw",
            "/apis/apps/v1/namespaces/shop/deployments/checkout",
        ];
        let mut kubectl = Command::new("kubectl");
        let judged = asked(kubectl.args(flags).args(raw).env("HOME", dir.path()));
        let ours = asked(kubectl_cwii(&["plan", "deploy/checkout", "-n", "shop"]).args(flags));
        assert_eq!(ours, judged, "{flags:?}");
        assert!(ours.iter().flatten().count() == 1, "{flags:?}");
    }
}
