//! What people read: the identity, or cause, evidence and fix.

use std::fmt::Write as _;

use cwii_checks::{
    Evidence, Finding, Severity,
    facts::{Cause, Mechanism, Step},
};
use cwii_contract::{Outcome, Provider};
use serde_json::{Map, Value, json};

use crate::{output, verify::Verification};

/// The identity as JSON, indented by four, as `aws sts get-caller-identity` prints it.
#[must_use]
pub fn identity(verification: &Verification) -> Option<String> {
    let identity = verification.exchange.result.as_ref().ok()?;
    let members: Map<String, Value> = identity
        .members
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    Some(pretty(&Value::Object(members)))
}

/// Everything a failed verification has to say, ending with cause, evidence and fix; warnings for one that worked.
#[must_use]
pub fn text(verification: &Verification) -> String {
    let mut out = String::new();
    if let Some(line) = first_line(verification) {
        out.push_str(&line);
        out.push_str("\n\n");
    }
    for also in &verification.diagnosis.also {
        out.push_str(&finding(also, &[]));
    }
    if let Some(cause) = &verification.diagnosis.cause {
        if !verification.diagnosis.also.is_empty() {
            out.push('\n');
        }
        out.push_str(&finding(cause, &verification.diagnosis.evidence));
    }
    output::scrub(&out, &verification.exchange)
}

/// The same on one screen, for `kubectl describe pod`.
#[must_use]
pub fn summary(verification: &Verification) -> String {
    let provider = verification.exchange.provider;
    match (&verification.diagnosis.cause, &verification.exchange.result) {
        (Some(_), _) => text(verification),
        (None, Ok(identity)) => {
            let mut out = format!("cwii: {} accepted the token", cloud(verification));
            for (name, value) in &identity.members {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                let _ = write!(out, "\n  {name}: {}", output::printable(&value));
            }
            out
        }
        (None, Err(_)) => format!("cwii: the check of {provider} ended without a result"),
    }
}

/// The whole result for `-o json`: what the termination message carries, and what people would have read.
#[must_use]
pub fn document(verification: &Verification) -> String {
    let mut value = serde_json::to_value(verification.result()).unwrap_or_default();
    let diagnosis = &verification.diagnosis;
    value["exitCode"] = diagnosis.exit.code().into();
    value["mechanism"] = verification
        .exchange
        .mechanism
        .map_or(Value::Null, |m| mechanism(m).into());
    value["cause"] = diagnosis.cause.as_ref().map_or(Value::Null, finding_json);
    value["evidence"] = evidence_json(&diagnosis.evidence);
    value["notes"] = diagnosis.also.iter().map(finding_json).collect();
    value["inputs"] = verification
        .exchange
        .inputs
        .iter()
        .map(|input| json!({"name": input.name, "value": input.value, "source": input.source}))
        .collect();
    if let Ok(identity) = &verification.exchange.result {
        value["details"] = json!(identity.details);
    }
    value["wire"] = json!({
        "connections": verification.exchange.wire.connections,
        "requests": verification.exchange.wire.requests,
    });
    output::scrub(&pretty(&value), &verification.exchange)
}

/// One finding with its evidence and fix.
fn finding(finding: &Finding, more: &[Evidence]) -> String {
    let mut out = match (finding.entry, finding.severity()) {
        (Some(entry), Severity::Error) => format!(
            "error[{}]: {}\n",
            entry.code,
            output::printable(&finding.message)
        ),
        (Some(entry), Severity::Warning) => format!(
            "warning[{}]: {}\n",
            entry.code,
            output::printable(&finding.message)
        ),
        (None, _) => format!("note: {}\n", output::printable(&finding.message)),
    };
    let evidence: Vec<&Evidence> = finding.evidence.iter().chain(more).collect();
    let width = evidence
        .iter()
        .map(|e| e.label.len())
        .max()
        .unwrap_or_default();
    for Evidence { label, value, .. } in evidence {
        let _ = writeln!(out, "  | {label:width$}  {}", output::printable(value));
    }
    if !finding.fix.summary.is_empty() {
        let _ = writeln!(out, "help: {}", output::printable(&finding.fix.summary));
    }
    for command in &finding.fix.commands {
        let _ = writeln!(out, "      {}", output::printable(command));
    }
    out
}

/// The provider's own words first, since those are what people search for.
fn first_line(verification: &Verification) -> Option<String> {
    let failure = verification.exchange.result.as_ref().err()?;
    let cause = match &failure.cause {
        Cause::Deadline {
            last: Some(last), ..
        } => last,
        cause => cause,
    };
    let Cause::Answer(answer) = cause else {
        return None;
    };
    let message = output::printable_lines(&answer.message);
    let code = answer.code.as_deref().map(output::printable);
    Some(match (failure.step, code) {
        (Step::AssumeRoleWithWebIdentity | Step::GetCallerIdentity, code) => format!(
            "An error occurred ({}) when calling the {} operation: {message}",
            code.unwrap_or_else(|| answer.status.to_string()),
            if failure.step == Step::GetCallerIdentity {
                "GetCallerIdentity"
            } else {
                "AssumeRoleWithWebIdentity"
            },
        ),
        (_, Some(code)) if !message.starts_with(&code) => {
            format!(
                "{} answered {} ({code}): {message}",
                cloud(verification),
                answer.status
            )
        }
        _ => format!(
            "{} answered {}: {message}",
            cloud(verification),
            answer.status
        ),
    })
}

fn cloud(verification: &Verification) -> &'static str {
    match verification.exchange.result.as_ref().err().map(|f| f.step) {
        Some(Step::GoogleImpersonation) => return "Google IAM",
        Some(Step::GetCallerIdentity) => return "AWS STS",
        _ => {}
    }
    match (
        verification.exchange.mechanism,
        verification.exchange.provider,
    ) {
        (Some(Mechanism::AwsContainerCredentials), _) if verification.exchange.result.is_err() => {
            "the Pod Identity agent"
        }
        (Some(Mechanism::GoogleMetadataServer), _) => "the metadata server",
        (_, Provider::Aws) => "AWS STS",
        (_, Provider::Gcp) => "Google STS",
        (_, Provider::Az) => "Entra ID",
    }
}

fn mechanism(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::AwsWebIdentity => "aws-web-identity",
        Mechanism::AwsContainerCredentials => "aws-container-credentials",
        Mechanism::GoogleExternalAccount => "google-external-account",
        Mechanism::GoogleMetadataServer => "google-metadata-server",
        Mechanism::EntraFederatedCredential => "entra-federated-credential",
    }
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "code": finding.code(),
        "name": finding.entry.map(|e| e.name),
        "severity": match (finding.entry, finding.severity()) {
            (None, _) => "note",
            (Some(_), Severity::Error) => "error",
            (Some(_), Severity::Warning) => "warning",
        },
        "message": finding.message,
        "evidence": evidence_json(&finding.evidence),
        "fix": (!finding.fix.summary.is_empty() || !finding.fix.commands.is_empty())
            .then(|| json!({"summary": finding.fix.summary, "commands": finding.fix.commands})),
    })
}

fn evidence_json(evidence: &[Evidence]) -> Value {
    evidence
        .iter()
        .map(|e| json!({"label": e.label, "value": e.value}))
        .collect()
}

fn pretty(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        Err(_) => value.to_string(),
    }
}

/// The last line of a check that did not pass, for the outcome that let the pod start all the same.
#[must_use]
pub fn allowed_line(outcome: Outcome) -> String {
    format!(
        "cwii: verification ended `{}`, allowed to go on (--on-unreachable allow)",
        outcome.as_str()
    )
}
