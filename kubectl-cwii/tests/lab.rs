//! The lab's commands as a person runs them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn kubectl_cwii(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-cwii"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = kubectl_cwii(arguments).output().unwrap();
    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

#[test]
fn the_tour_ends_in_a_table_and_finds_what_was_broken_on_purpose() {
    let (code, stdout, stderr) = run(&["lab"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(
        stdout.contains("\nWORKLOAD ") && stdout.contains("12 of 12 as expected"),
        "{stdout}"
    );
    assert!(!stdout.contains('\u{1b}'), "no colour where nobody looks");
    let long: Vec<&str> = stdout
        .lines()
        .filter(|line| line.chars().count() > 100)
        .collect();
    assert!(long.is_empty(), "{long:?}");
    let (_, colourful, _) = run(&["lab", "--color", "always", "--scenario", "hello-aws"]);
    assert!(colourful.contains("\u{1b}[1m"));
}

#[test]
fn one_scenario_shows_all_that_the_agent_says() {
    let (code, stdout, _) = run(&["lab", "--scenario", "aws-wrong-namespace"]);
    assert_eq!(code, Some(0));
    for part in [
        "An error occurred (AccessDenied) when calling the AssumeRoleWithWebIdentity operation",
        "error[AWS05]",
        "| subject ",
        "help:",
        "aws iam get-role --role-name aws-wrong-namespace",
    ] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    let (code, _, stderr) = run(&["lab", "--scenario", "nope"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("`nope`") && stderr.contains("--list"),
        "{stderr}"
    );
    let (code, stdout, _) = run(&["lab", "--list"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.lines().count() > 20 && stdout.contains("hello-entra"),
        "{stdout}"
    );
}

#[test]
fn a_closed_pipe_is_a_quiet_success_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = kubectl_cwii(&["lab"])
        .env("TMPDIR", dir.path())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn serving_prints_variables_keeps_documents_and_leaves_no_token_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = kubectl_cwii(&["lab", "--serve", "--dir", dir.path().to_str().unwrap()])
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        told.by_ref().any(|line| line.unwrap().contains("Ctrl-C")),
        "it says when it is ready"
    );
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let variables: BTreeMap<&str, &str> = stdout
        .lines()
        .map(|line| {
            line.strip_prefix("export ")
                .and_then(|rest| rest.split_once('='))
                .unwrap()
        })
        .collect();
    for name in [
        "AWS_ROLE_ARN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "AZURE_CLIENT_ID",
        "CWII_ALLOW_ENDPOINT",
    ] {
        assert!(variables.contains_key(name), "{name}: {stdout}");
    }
    assert!(dir.path().join("aws/roles").is_dir(), "the documents stay");
    let token = variables["AWS_WEB_IDENTITY_TOKEN_FILE"].trim_matches('\'');
    assert!(!Path::new(token).exists(), "the tokens go");
}
