//! The binary itself: flags, what it says, and how it ends.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
};

use http::StatusCode;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::support::{
    ROLE,
    api::FakeApi,
    client::{Alpn, Client},
    pod, review,
    webhook::role,
};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cwii-webhook"));
    command.env_clear().kill_on_drop(true).stdin(Stdio::null());
    command
}

async fn output(arguments: &[&str]) -> Output {
    command().args(arguments).output().await.unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "exit: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    )
}

struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    https: SocketAddr,
    http: SocketAddr,
    ca: String,
    _dir: tempfile::TempDir,
}

impl Process {
    async fn start(api: &FakeApi, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = write_kubeconfig(dir.path(), api);
        let ca = dir.path().join("ca.pem");
        let mut child = command()
            .args(["--kubeconfig", &kubeconfig, "--listen", "127.0.0.1:0"])
            .args([
                "--metrics-listen",
                "127.0.0.1:0",
                "--tls-self-signed",
                "localhost",
            ])
            .arg("--tls-ca-out")
            .arg(&ca)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = until(&mut lines, "listening").await;
        let address = |name: &str| listening[name].as_str().unwrap().parse().unwrap();
        Self {
            child,
            lines,
            https: address("https"),
            http: address("http"),
            ca: std::fs::read_to_string(ca).unwrap(),
            _dir: dir,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

fn write_kubeconfig(dir: &Path, api: &FakeApi) -> String {
    let path = dir.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": api.url.to_string()}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The next line with a message.
async fn until(lines: &mut Lines<BufReader<ChildStderr>>, message: &str) -> Value {
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["message"] == message {
            return line;
        }
    }
}

#[tokio::test]
async fn sigterm_fails_readiness_finishes_what_has_begun_and_ends_with_0() {
    let api = FakeApi::start().await;
    let mut process = Process::start(&api, &["--grace-period", "0s"]).await;
    until(&mut process.lines, "ready").await;
    let mut probe = Client::plain(process.http).await;
    assert_eq!(probe.get("/readyz").await.status, StatusCode::OK);

    api.hold_reads(true);
    let mut client = Client::connect(process.https, &process.ca, Alpn::Http2).await;
    let mut review = review(&pod("web", json!({"cwii.dev/aws-role-arn": ROLE})));
    review["request"]["object"]["spec"]["serviceAccountName"] = "unseen".into();
    let pending = tokio::spawn(async move { client.admit(&review).await });
    while api.live_calls().is_empty() {
        tokio::task::yield_now().await;
    }
    process.signal(Signal::SIGTERM);
    assert_eq!(
        until(&mut process.lines, "leaving").await["signal"],
        "SIGTERM"
    );
    api.hold_reads(false);
    assert_eq!(role(&pending.await.unwrap()).as_deref(), Some(ROLE));
    until(&mut process.lines, "all requests are answered").await;
    assert_eq!(process.child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn an_injection_is_one_line_of_the_log_and_foreign_text_cannot_leave_it() {
    let api = FakeApi::start().await;
    let mut process = Process::start(&api, &[]).await;
    until(&mut process.lines, "ready").await;
    let mut client = Client::connect(process.https, &process.ca, Alpn::Http1).await;
    let name = "web\n{\"level\":\"ERROR\"}\u{1b}[31m";
    client
        .admit(&review(&pod(name, json!({"cwii.dev/aws-role-arn": ROLE}))))
        .await;
    let line = until(&mut process.lines, "admission").await;
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["uid"], "5f2c");
    assert_eq!(line["namespace"], "apps");
    assert_eq!(line["pod"], "web\\n{\"level\":\"ERROR\"}\\u{1b}[31m");
    assert_eq!(line["outcome"], "injected");
    assert_eq!(line["reason"], "requested");
    assert_eq!(line["injected"], "aws");
    assert_eq!(line["warnings"], 0);
    assert_eq!(line["dry_run"], false);
    assert!(line["took_ms"].as_f64().unwrap() > 0.0);
    process.signal(Signal::SIGINT);
    until(&mut process.lines, "leaving").await;
}

#[tokio::test]
async fn what_the_operator_has_to_mend_is_said_once_with_status_2() {
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let occupied = occupied.local_addr().unwrap().to_string();
    let mut all = String::new();
    let tls = ["--tls-self-signed", "localhost"];
    let short = [
        "--tls-secret=a/b",
        "--tls-webhook-configuration=c",
        "--tls-overlap=5s",
        "--tls-lifetime=29s",
    ];
    let hasty = [
        "--tls-secret=a/b",
        "--tls-webhook-configuration=c",
        "--tls-overlap=1s",
    ];
    let with_files = [
        "--tls-cert-file=a",
        "--tls-key-file=b",
        "--tls-secret=a/b",
        "--tls-webhook-configuration=c",
    ];
    let cases: [(&[&str], bool); 24] = [
        (&[], false),
        (&["--tls-cert-file", "tls.crt"], false),
        (
            &[
                "--tls-cert-file",
                "a",
                "--tls-key-file",
                "b",
                "--tls-self-signed",
                "c",
            ],
            false,
        ),
        (&["--agent-image", "cwii-agent:latest"], true),
        (&["--agent-image", "UPPER CASE"], true),
        (&["--aws-enabled", "yes"], true),
        (&["--aws-default-region", "Frankfurt am Main"], true),
        (&["--az-default-tenant-id", "contoso"], true),
        (
            &["--az-default-authority-host", "http://login.example.com"],
            true,
        ),
        (&["--gcp-default-delivery", "configmap"], true),
        (&["--gcp-default-delivery", "config-map"], true),
        (&["--verify-memory-request", "1Gi"], true),
        (&["--verify-env", "NO_EQUALS_SIGN"], true),
        (&["--lookup-timeout", "0s"], true),
        (&["--client-name", "x"], true),
        (&["--listen", "8443"], true),
        (&["--tls-secret", "a/b"], true),
        (&["--tls-webhook-configuration", "c"], true),
        (&["--tls-lifetime", "30m"], true),
        (&["--tls-secret=a/B", "--tls-webhook-configuration=c"], true),
        (&["--tls-lifetime", "90d"], true),
        (&short, true),
        (&hasty, true),
        (&with_files, false),
    ];
    for (arguments, with_tls) in cases {
        let mut whole = arguments.to_vec();
        if with_tls {
            whole.extend(tls);
        }
        let output = output(&whole).await;
        all.push_str(&format!(
            "$ cwii-webhook {}\n{}\n",
            arguments.join(" "),
            text(&output)
        ));
    }
    insta::assert_snapshot!(all);

    // What only the start finds out is in the log.
    let api = FakeApi::start().await;
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_kubeconfig(dir.path(), &api);
    for (arguments, expected) in [
        (
            vec!["--kubeconfig", "/nonexistent/kubeconfig"],
            "no way to reach the cluster: failed to read kubeconfig",
        ),
        (
            vec![
                "--kubeconfig",
                &kubeconfig,
                "--metrics-listen",
                "127.0.0.1:0",
                "--listen",
                &occupied,
            ],
            "--listen 127.0.0.1:",
        ),
        (
            vec![
                "--kubeconfig",
                &kubeconfig,
                "--tls-ca-out",
                "/nonexistent/ca.pem",
            ],
            "`/nonexistent/ca.pem` could not be written",
        ),
    ] {
        let mut whole = arguments.clone();
        whole.extend(tls);
        let output = output(&whole).await;
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        let line: Value = serde_json::from_slice(output.stderr.trim_ascii()).unwrap_or_else(|_| {
            // The certificate may be loaded before.
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            serde_json::from_str(text.trim().lines().last().unwrap()).unwrap()
        });
        let error = line["error"].as_str().unwrap();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn help_and_version_are_answers() {
    let version = output(&["--version"]).await;
    assert_eq!(
        text(&version),
        format!(
            "exit: 0\n--- stdout\ncwii-webhook {}\n--- stderr\n",
            env!("CARGO_PKG_VERSION")
        )
    );
    let help = output(&["--help"]).await;
    insta::with_settings!({filters => vec![(r"cwii-agent:\S+\]", "cwii-agent:VERSION]")]}, {
        insta::assert_snapshot!(text(&help));
    });
}

#[tokio::test]
async fn a_variable_is_as_good_as_a_flag() {
    let output = command()
        .env("CWII_TLS_SELF_SIGNED", "localhost,127.0.0.1")
        .env("CWII_AWS_DEFAULT_REGION", "no region")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("--aws-default-region"), "{error}");
}
