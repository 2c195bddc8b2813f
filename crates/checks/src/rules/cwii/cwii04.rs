//! The verify init container, or the one that writes Google's credentials, failed.
//!
//! ## What it checks
//!
//! The status of cwii's init containers as `kubectl get pod` shows it: exit code, termination message, restarts, and why one
//! waits. The agent writes its result as JSON into the termination message, also when it does not block the pod.
//!
//! ## Why it matters
//!
//! It is the exchange itself, tried with the pod's own token from the pod's own network. With trust documents the code that
//! they fail is the cause and this is its echo; without them the agent's own finding is the best that is known.
//!
//! ## How it looks
//!
//! With enforcement the pod stays in `Init:Error` or `Init:CrashLoopBackOff`; without, it runs and the application fails.
//!
//! ```text
//! cwii: verification check failed (non-enforcing)
//! ```
//!
//! ## How to fix it
//!
//! What the agent's code says: `kubectl cwii explain CODE`. Its text stands in the container's log.
//!
//! ## How to verify the fix
//!
//! Restart the workload: the init container ends with `"outcome":"verified"` in its termination message.
//!
//! ## References
//!
//! - Kubernetes, "Determine the Reason for Pod Failure":
//!   <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
//! - Kubernetes, "Images", section "ImagePullBackOff": <https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff>

use cwii_contract::{Outcome as Verified, Provider, VerifyExit, VerifyResult, names, types::shorten};
use serde_json::Value;

use crate::{
    catalogue,
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    facts::Fact,
    report::Finding,
    rules::words::quote,
};

pub(super) const RULE: Rule = Rule::new("CWII04", &[Need::Pod, Need::Trust], check).blocked_by(&[
    "POD02", "POD10", "POD13", "POD16", "POD17", "POD19", "POD21", "CWII01", "TOK02", "TOK03", "TOK04", "TOK05",
    "TOK06", "TOK09", "ISS01", "ISS02", "ISS03", "ISS05", "ISS06", "ISS08", "ISS10", "ISS14",
    "AWS01", "AWS02", "AWS03", "AWS04", "AWS05", "AWS06", "AWS07", "AWS09", "AWS10", "AWS15", "GCP01",
    "GCP02", "GCP03", "GCP04", "GCP05", "GCP06", "GCP07", "GCP08", "GCP10", "AZ01", "AZ02", "AZ03",
    "AZ04", "AZ05", "AZ08", "NET06", "NET07",
]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    if case.is_template() {
        return Ok(Outcome::not_applicable("nothing runs yet"));
    }
    let names = Provider::ALL
        .map(|provider| (names::verify_container(provider), provider))
        .into_iter()
        .chain([(names::GCP_CREDENTIALS_WRITER, Provider::Gcp)]);
    let has_trust = matches!(case.look(Need::Trust).trust, Fact::Known(_));
    let mut findings = Vec::new();
    let mut looked = false;
    for (name, provider) in names {
        let Some(index) = pod.list("/spec/initContainers").position(|found| named(found, name)) else {
            continue;
        };
        looked = true;
        let status = pod
            .list("/status/initContainerStatuses")
            .find(|status| named(status, name));
        if let Some(finding) = status.and_then(|status| of_status(name, provider, status, has_trust)) {
            let namespace = case.namespace_name();
            findings.push(
                finding
                    .of(provider)
                    .at(pod.subject_at(&format!("/spec/initContainers/{index}"), format!("init container `{name}`")))
                    .command(format!(
                        "kubectl -n {namespace} logs {} -c {name}",
                        quote(pod.name())
                    )),
            );
        }
    }
    if !looked {
        return Ok(Outcome::not_applicable("the pod has no init container of cwii"));
    }
    if findings.is_empty() && !has_status(pod) {
        return Ok(Outcome::not_applicable("the pod has no status yet"));
    }
    Ok(Outcome::of(findings))
}

fn has_status(pod: &Object) -> bool {
    pod.get("/status/initContainerStatuses").is_some()
        || pod.text("/status/phase").is_some_and(|phase| phase == "Running")
}

fn named(element: &Value, name: &str) -> bool {
    element.get("name").and_then(Value::as_str) == Some(name)
}

fn of_status(name: &str, provider: Provider, status: &Value, has_trust: bool) -> Option<Finding> {
    let restarts = status.get("restartCount").and_then(Value::as_u64).unwrap_or(0);
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str);
    let ended = ["/state/terminated", "/lastState/terminated"]
        .into_iter()
        .find_map(|pointer| status.pointer(pointer));
    let finding = match ended {
        Some(ended) => of_end(name, provider, ended, has_trust)?,
        None => {
            let reason = text("/state/waiting/reason")?;
            let fix = match reason {
                "PodInitializing" | "ContainerCreating" => return None,
                "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                    "let the node pull the agent's image, or set `--agent-image` of the webhook to a registry that it reaches"
                }
                _ => "see what the kubelet says about the container",
            };
            let mut finding =
                Finding::new("CWII04", format!("init container `{name}` waits: {reason}")).fix(fix);
            if let Some(message) = text("/state/waiting/message") {
                finding = finding.evidence("kubelet", shorten(message));
            }
            if let Some(image) = text("/image") {
                finding = finding.evidence("image", image);
            }
            finding
        }
    };
    Some(match restarts {
        0 => finding,
        restarts => finding.evidence("restarts", restarts.to_string()),
    })
}

fn of_end(name: &str, provider: Provider, ended: &Value, has_trust: bool) -> Option<Finding> {
    let exit = ended.get("exitCode").and_then(Value::as_i64).unwrap_or(0);
    let message = ended.get("message").and_then(Value::as_str).unwrap_or_default();
    let cloud = provider.display_name();
    let Some(result) = VerifyResult::from_termination_message(message) else {
        if exit == 0 {
            return None;
        }
        let mut finding = Finding::new(
            "CWII04",
            format!("init container `{name}` ended with {exit}{}", meaning(exit)),
        )
        .fix("read its log");
        if let Some(reason) = ended.get("reason").and_then(Value::as_str) {
            finding = finding.evidence("reason", reason);
        }
        if !message.trim().is_empty() {
            finding = finding.evidence("last words", shorten(message.trim()));
        }
        return Some(finding);
    };
    if result.outcome == Verified::Verified {
        return None;
    }
    let what = match result.outcome {
        Verified::Denied => format!("{cloud} refused the exchange"),
        Verified::Unreachable => format!("{cloud} could not be asked"),
        Verified::Invalid => format!("the configuration or the token for {cloud} cannot be used"),
        Verified::Error | Verified::Verified => format!("the check of {cloud} failed"),
    };
    let entry = result.code.as_deref().and_then(catalogue::find);
    let title = match (entry, result.code.as_deref()) {
        (Some(entry), _) => format!(": {} ({})", entry.title, entry.code),
        (None, Some(code)) => format!(": {}", shorten(code)),
        (None, None) => String::new(),
    };
    let mut finding = Finding::new("CWII04", format!("{what}{title}"))
        .evidence("exit code", exit.to_string())
        .evidence_from("verified", shorten(&result.at), format!("init container `{name}`"));
    if let Some(error) = &result.provider_error {
        // Entra repeats the code in its text, and ends it with lines of trace ids.
        let text = error.message.lines().next().unwrap_or_default().trim_end();
        finding = finding.answered(match &error.code {
            Some(code) if !text.starts_with(code.as_str()) => format!("{code}: {text}"),
            _ => text.to_owned(),
        });
    }
    // What the agent wrote for people stands before its line of JSON.
    if let Some(summary) = message.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('{')) {
        finding = finding.evidence("agent", shorten(summary));
    }
    finding = match entry {
        Some(entry) => finding.fix(format!(
            "`kubectl cwii explain {}` tells what mends it{}",
            entry.code,
            if has_trust { "" } else { "; with `--trust` the doctor names the clause" }
        )),
        None => finding.fix("read the container's log"),
    };
    // A cloud that could not be asked said nothing, and the pod runs.
    if exit == 0 && matches!(result.outcome, Verified::Unreachable | Verified::Error) {
        finding = finding.warning();
    }
    Some(finding)
}

/// What the agent's exit codes mean.
fn meaning(exit: i64) -> &'static str {
    let is = |code: VerifyExit| exit == i64::from(code.code());
    if is(VerifyExit::Configuration) {
        ": configuration missing or invalid"
    } else if is(VerifyExit::Token) {
        ": token missing, unreadable or invalid"
    } else if is(VerifyExit::Denied) {
        ": the cloud said no"
    } else if is(VerifyExit::Unreachable) {
        ": the cloud could not be asked"
    } else if is(VerifyExit::Internal) {
        ": internal error"
    } else if exit == 137 {
        ": it was killed"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Severity, doctor::Outcome, report::Finding, rules::fixture::Fixture};

    fn with(status: Value) -> Fixture {
        Fixture::cwii_aws().pod(|pod| {
            let mut status = status;
            status["name"] = json!("cwii-aws-verify");
            pod["status"] = json!({"phase": "Pending", "initContainerStatuses": [status]});
        })
    }

    fn result(outcome: &str, code: Value, error: Value) -> String {
        let line = json!({"cwii": 1, "provider": "aws", "outcome": outcome, "code": code, "providerError": error,
            "identity": {}, "at": "2026-11-22T10:00:03Z"});
        format!("aws: not verified\ntoken sub system:serviceaccount:shop:checkout\n\n{line}")
    }

    fn found(fixture: &Fixture) -> Finding {
        match fixture.decide("CWII04") {
            Ok(Outcome::Found(mut findings)) if findings.len() == 1 => findings.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_verified_exchange_passes() {
        let message = result("verified", Value::Null, Value::Null);
        let fixture = with(json!({"state": {"terminated": {"exitCode": 0, "message": message}}}));
        assert_eq!(fixture.decide("CWII04"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_refusal_carries_the_agents_code_and_the_providers_text() {
        let error = json!({"code": "AccessDenied", "message": "Not authorized to perform sts:AssumeRoleWithWebIdentity"});
        let message = result("denied", json!("AWS05"), error);
        let finding = found(&with(json!({"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 20, "message": message}}})));
        assert_eq!(
            finding.message,
            "AWS refused the exchange: the role's trust policy does not admit the token, or the role does not exist (AWS05)"
        );
        assert_eq!(
            finding.provider_error.unwrap(),
            "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"
        );
        assert!(finding.evidence.iter().any(|e| e.label == "restarts" && e.value == "3"));
        assert_eq!(finding.severity, Severity::Error);
    }

    #[test]
    fn a_refusal_that_does_not_block_the_pod_is_a_failure_all_the_same() {
        let message = result("denied", json!("AWS05"), json!({"code": null, "message": "no"}));
        let finding = found(&with(json!({"state": {"terminated": {"exitCode": 0, "message": message}}})));
        assert_eq!(finding.severity, Severity::Error);
    }

    #[test]
    fn a_cloud_that_could_not_be_asked_is_a_warning_unless_the_pod_waits_for_it() {
        let end = |exit: i64| {
            let message = result("unreachable", json!("NET02"), Value::Null);
            found(&with(json!({"state": {"terminated": {"exitCode": exit, "message": message}}}))).severity
        };
        assert_eq!((end(0), end(30)), (Severity::Warning, Severity::Error));
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named() {
        let finding = found(&with(json!({"image": "ghcr.io/cwii-dev/cwii-agent:0.1.0",
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}})));
        assert_eq!(finding.message, "init container `cwii-aws-verify` waits: ImagePullBackOff");
    }

    #[test]
    fn an_end_without_a_result_is_told_by_its_exit_code() {
        let finding = found(&with(json!({"state": {"terminated": {"exitCode": 11, "message": "gone"}}})));
        assert_eq!(
            finding.message,
            "init container `cwii-aws-verify` ended with 11: token missing, unreadable or invalid"
        );
    }

    #[test]
    fn a_container_that_is_about_to_start_is_no_failure() {
        let fixture = with(json!({"state": {"waiting": {"reason": "PodInitializing"}}}));
        assert_eq!(fixture.decide("CWII04"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_pod_without_a_verification_does_not_concern_it() {
        assert!(matches!(Fixture::cwii_az().decide("CWII04"), Ok(Outcome::NotApplicable(_))));
    }
}
