//! What people are told about what they wrote: exact texts.

use cwii_contract::{Settings, Warning, message::Cause};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{Scopes, admit, settings};

/// The answer to a pod with these annotations on its ServiceAccount: what is injected, what is warned of, or the refusal.
fn answer(annotations: &Value) -> String {
    answer_of(annotations, &settings())
}

fn answer_of(annotations: &Value, settings: &Settings) -> String {
    let pod = json!({
        "metadata": { "generateName": "web-" },
        "spec": { "serviceAccountName": "web", "containers": [{ "name": "app" }] },
    });
    match admit(&pod, &Scopes::service_account(annotations), settings) {
        Ok(answer) => {
            let injected = match answer.plan.injected() {
                none if none.is_empty() => "nothing".to_owned(),
                some => some,
            };
            let mut text = format!("injected: {injected}\n");
            for line in answer.warnings {
                text += &format!("warning: {line}\n");
            }
            text
        }
        Err(denial) => format!("denied: {denial}\n"),
    }
}

/// AWS as it should be, and one more annotation.
fn aws_and(key: &str, value: &str) -> Value {
    json!({ "cwii.dev/aws-role-arn": "arn:aws:iam::123456789012:role/web", key: value })
}

fn az_and(key: &str, value: &str) -> Value {
    let mut annotations = json!({
        "cwii.dev/az-inject": "true",
        "cwii.dev/az-client-id": "11111111-1111-1111-1111-111111111111",
        "cwii.dev/az-tenant-id": "22222222-2222-2222-2222-222222222222",
    });
    annotations[key] = value.into();
    annotations
}

fn gcp_and(key: &str, value: &str) -> Value {
    let mut annotations = json!({
        "cwii.dev/gcp-inject": "true",
        "cwii.dev/gcp-audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
    });
    annotations[key] = value.into();
    annotations
}

#[test]
fn what_does_not_parse_as_a_boolean_or_seconds_counts_as_unset() {
    let mut text = String::new();
    for (key, value) in [
        ("aws-inject", "yes"),
        ("aws-inject", ""),
        ("aws-inject", " False "),
        ("aws-verify", "1"),
        ("aws-token-expiration", "abc"),
        ("aws-token-expiration", "60"),
        ("aws-token-expiration", "99999999999"),
        (
            "aws-token-expiration",
            "99999999999999999999999999999999999999999999999999",
        ),
        ("aws-token-expiration", "1h"),
        ("aws-token-expiration", "-600"),
        ("aws-verify-timeout", "0"),
        ("aws-verify-timeout", "30s"),
    ] {
        text += &format!(
            "{key}={value}\n{}\n",
            answer(&aws_and(&format!("cwii.dev/{key}"), value))
        );
    }
    assert_snapshot!(text);
}

#[test]
fn what_would_inject_something_wrong_refuses_the_pod() {
    let mut text = String::new();
    for annotations in [
        aws_and("cwii.dev/aws-role-arn", "web"),
        aws_and("cwii.dev/aws-role-arn", "arn:aws:iam::1234:role/web"),
        aws_and(
            "cwii.dev/aws-role-arn",
            "arn:aws:sts::123456789012:assumed-role/web/x",
        ),
        aws_and("cwii.dev/aws-role-arn", "line\nbreak\u{7}"),
        aws_and("cwii.dev/aws-role-arn", &"x".repeat(1000)),
        aws_and("cwii.dev/aws-region", "EU Frankfurt"),
        aws_and("cwii.dev/aws-role-session-name", "x"),
        az_and("cwii.dev/az-client-id", "my-app"),
        az_and("cwii.dev/az-tenant-id", "contoso"),
        az_and(
            "cwii.dev/az-authority-host",
            "http://login.microsoftonline.com",
        ),
        az_and("cwii.dev/az-authority-host", "login.microsoftonline.com"),
        gcp_and("cwii.dev/gcp-service-account", "reader"),
        gcp_and("cwii.dev/gcp-provider", "projects/1/locations/global"),
        gcp_and("cwii.dev/gcp-delivery", "configmap"),
    ] {
        text += &answer(&annotations);
    }
    assert_snapshot!(text);
}

#[test]
fn what_is_wrong_about_verification_matters_only_where_it_is_on() {
    let mut text = String::new();
    for (key, value) in [
        ("aws-verify-image", "Not An Image"),
        ("aws-verify-command", "aws-cli"),
        ("aws-verify-unreachable", "ignore"),
    ] {
        let mut annotations = aws_and(&format!("cwii.dev/{key}"), value);
        text += &format!("off: {}", answer(&annotations));
        annotations["cwii.dev/aws-verify"] = "true".into();
        text += &format!("on: {}", answer(&annotations));
    }
    assert_snapshot!(text);
}

#[test]
fn what_is_wrong_about_a_provider_that_is_not_injected_is_a_warning() {
    let mut text = String::new();
    let mut aws = aws_and("cwii.dev/aws-role-arn", "web");
    aws["cwii.dev/aws-inject"] = "false".into();
    text += &answer(&aws);
    let mut off = settings();
    off.enabled[cwii_contract::Provider::Aws] = false;
    text += &answer_of(&aws_and("cwii.dev/aws-role-arn", "web"), &off);
    let mut az = az_and("cwii.dev/az-client-id", "my-app");
    az.as_object_mut().unwrap().remove("cwii.dev/az-tenant-id");
    text += &answer(&az);
    assert_snapshot!(text);
}

#[test]
fn what_changes_nothing_is_said() {
    let mut text = String::new();
    for annotations in [
        json!({ "cwii.dev/az-client-id": "11111111-1111-1111-1111-111111111111" }),
        json!({ "cwii.dev/az-client-id": "11111111-1111-1111-1111-111111111111", "cwii.dev/az-inject": "false" }),
        json!({ "cwii.dev/gcp-service-account": "reader@demo.iam.gserviceaccount.com" }),
        json!({ "cwii.dev/aws-verify": "true" }),
        json!({ "cwii.dev/az-inject": "true" }),
        json!({ "cwii.dev/gcp-inject": "true" }),
        json!({ "cwii.dev/aws-inject": "true" }),
    ] {
        text += &format!("{annotations}\n{}\n", answer(&annotations));
    }
    assert_snapshot!(text);
}

#[test]
fn an_image_outside_the_allow_list_refuses_the_pod_and_the_servers_own_never_does() {
    let mut settings = settings();
    settings.verify_image_allow = vec![
        "ghcr.io/example/*".parse().unwrap(),
        "registry.example.com/**".parse().unwrap(),
    ];
    let mut text = String::new();
    for image in [
        "docker.io/somebody/miner:latest",
        "ghcr.io/example/a/b:1",
        "ghcr.io/example/check:1",
        "ghcr.io/cwii-dev/cwii-agent:0.1.0",
    ] {
        let mut annotations = aws_and("cwii.dev/aws-verify-image", image);
        annotations["cwii.dev/aws-verify"] = "true".into();
        text += &answer_of(&annotations, &settings);
    }
    assert_snapshot!(text);
}

#[test]
fn unknown_keys_are_met_with_the_nearest_known_one() {
    let mut text = String::new();
    for key in [
        "aws-role-anr",
        "aws-rolearn",
        "AWS-ROLE-ARN",
        "aws_region",
        "gcp-verify-enforced",
        "azure-client-id",
        "inject",
        "skip-container",
        "<p>-inject",
        "aws-",
        "",
        "zzz",
        &"aws-inject".repeat(50),
    ] {
        text += &answer(&json!({ format!("cwii.dev/{key}"): "x" }));
    }
    assert_snapshot!(text);
}

#[test]
fn the_first_explicit_value_wins_before_it_is_looked_at() {
    let pod = json!({
        "metadata": { "name": "x", "annotations": { "cwii.dev/aws-role-arn": "nonsense" } },
        "spec": { "containers": [{ "name": "app" }] },
    });
    let scopes = Scopes::service_account(&aws_and("cwii.dev/aws-region", "eu-central-1"));
    let denial = admit(&pod, &scopes, &settings()).unwrap_err();
    assert_eq!(
        (
            denial.object.to_string().as_str(),
            denial.key.as_str(),
            denial.value.as_str()
        ),
        ("Pod apps/x", "cwii.dev/aws-role-arn", "nonsense")
    );
    assert!(denial.allowed.contains("ARN"));
}

#[test]
fn an_answer_has_at_most_sixteen_warnings_of_four_kibibytes_in_all() {
    let mut annotations = json!({});
    for index in 0..40 {
        annotations[format!("cwii.dev/{index}{}", "x".repeat(200))] = "x".into();
    }
    let pod = json!({ "metadata": { "name": "x".repeat(253) }, "spec": { "containers": [{ "name": "app" }] } });
    let lines = admit(&pod, &Scopes::service_account(&annotations), &settings())
        .unwrap()
        .warnings;
    assert_eq!(lines.len(), 16);
    assert_eq!(lines[15], "and 25 more warnings of cwii");
    assert!(lines.iter().map(String::len).sum::<usize>() <= 4096);
}

#[test]
fn a_hundred_thousand_misspelt_keys_cost_next_to_nothing() {
    let annotations: Value = (0..100_000)
        .map(|index| (format!("cwii.dev/aws-inject{index}"), Value::from("x")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let answer = admit(
        &json!({ "metadata": {}, "spec": { "containers": [{ "name": "app" }] } }),
        &Scopes::service_account(&annotations),
        &settings(),
    );
    assert_eq!(answer.unwrap().plan.warnings.len(), 100);
}

#[test]
fn a_pod_may_bring_any_name() {
    let name = "\u{1b}[2J\n".repeat(1000);
    let pod = json!({
        "metadata": { "name": name, "annotations": { "cwii.dev/aws-role-arn": "x" } },
        "spec": { "containers": [{ "name": "app" }] },
    });
    let line = admit(&pod, &Scopes::default(), &settings())
        .unwrap_err()
        .to_string();
    assert!(
        !line.contains(char::is_control) && line.len() < 4096,
        "{line}"
    );
}

#[test]
fn a_warning_that_is_given_twice_is_said_once() {
    let pod = json!({ "metadata": { "annotations": { "cwii.dev/x": "1" } }, "spec": { "containers": [{ "name": "app" }] } });
    let answer = admit(&pod, &Scopes::default(), &settings()).unwrap();
    let twice: Vec<Warning> = [answer.plan.warnings.clone(), answer.plan.warnings].concat();
    assert_eq!(
        (twice[0].cause, Warning::limit(twice).len()),
        (Cause::UnknownKey, 1)
    );
}
