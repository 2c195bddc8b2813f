//! Compares the caller that AWS reported to the verify container with the role that was asked for.
//!
//! ## What it checks
//!
//! The verify container leaves its result in its termination message. A verified exchange names the caller,
//! `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`: account and role must be those of the role's ARN. A refused exchange is
//! told by CWII04, with its cause.
//!
//! ## Why it matters
//!
//! An exchange that works is not yet the right one: a variable of the container's own, another annotation that wins or a
//! pod that is older than the annotation can all lead to another role.
//!
//! ## How it looks
//!
//! The exchange succeeds and calls to services are denied for another role than the one in the annotation:
//!
//! ```text
//! AccessDenied: User: arn:aws:sts::111122223333:assumed-role/other/session is not authorized to perform: s3:GetObject
//! ```
//!
//! ## How to fix it
//!
//! Restart the workload if the role was changed after the pod was created; otherwise take away what sets the other role.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify` shows the caller, or `kubectl describe pod` the verify container's message.
//!
//! ## References
//!
//! - AWS STS, "AssumedRoleUser": <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumedRoleUser.html>
//! - AWS STS, "GetCallerIdentity": <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>

use cwii_contract::{
    Provider,
    types::RoleArn,
    verdict::{Outcome as Verified, VerifyResult},
};

use super::{NO_WEB_IDENTITY, restarted, web_identities};
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "AWS19",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
    ],
    check,
)
.blocked_by(&["POD03", "AWS10", "CWII01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let mechanisms = web_identities(case);
    let Some(given) = mechanisms.iter().find_map(|mechanism| mechanism.role.as_ref()) else {
        return Ok(Outcome::not_applicable(NO_WEB_IDENTITY));
    };
    let pod = case.pod()?;
    let Some((pointer, result)) = verified(pod) else {
        return Ok(Outcome::not_applicable(
            "no verify container has shown who the pod is to AWS",
        ));
    };
    let caller = result.identity.get("Arn").and_then(|arn| arn.as_str());
    let (Some(caller), Ok(role)) = (caller, given.value.parse::<RoleArn>()) else {
        return Ok(Outcome::Pass);
    };
    let expected = format!(
        "arn:{}:sts::{}:assumed-role/{}/",
        role.partition(),
        role.account(),
        role.name()
    );
    if caller.starts_with(&expected) {
        return Ok(Outcome::Pass);
    }
    let finding = Finding::new(
        "AWS19",
        format!("AWS took the pod for another role than `{}`", role.name()),
    )
    .of(Provider::Aws)
    .at(pod.subject_at(&pointer, "the verify container's result"))
    .compared(caller, format!("{expected}SESSION"))
    .evidence("expected role", role.to_string())
    .evidence("verified at", result.at)
    .fix("restart the workload; where that does not help take away what sets the other role")
    .applicable(Applicability::Safe);
    Ok(Outcome::Found(vec![restarted(finding, case)]))
}

/// The result of a verification of AWS that succeeded, and where it stands.
fn verified(pod: &Object) -> Option<(String, VerifyResult)> {
    pod.list("/status/initContainerStatuses")
        .enumerate()
        .flat_map(|(index, status)| {
            ["state", "lastState"].map(|state| {
                let pointer = format!("/{state}/terminated/message");
                let message = status.pointer(&pointer).and_then(|message| message.as_str());
                (
                    format!("/status/initContainerStatuses/{index}{pointer}"),
                    message.and_then(VerifyResult::from_termination_message),
                )
            })
        })
        .find_map(|(pointer, result)| {
            result
                .filter(|result| {
                    result.provider == Provider::Aws && result.outcome == Verified::Verified
                })
                .map(|result| (pointer, result))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn verified_as(arn: &str) -> Fixture {
        let line = json!({"cwii": 1, "provider": "aws", "outcome": "verified", "code": null, "providerError": null,
            "identity": {"Account": "111122223333", "Arn": arn}, "at": "2026-11-22T10:00:10Z"});
        Fixture::irsa().pod(|pod| {
            pod["status"]["initContainerStatuses"] = json!([{"name": "cwii-aws-verify",
                "state": {"terminated": {"exitCode": 0, "message": format!("verified\n\n{line}")}}}]);
        })
    }

    #[test]
    fn the_expected_role_passes() {
        let fixture = verified_as("arn:aws:sts::111122223333:assumed-role/checkout/botocore-session-1");
        assert_eq!(fixture.decide("AWS19"), Ok(Outcome::Pass));
        assert!(matches!(Fixture::irsa().decide("AWS19"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn another_role_or_account_is_told() {
        for arn in [
            "arn:aws:sts::111122223333:assumed-role/checkout-old/botocore-session-1",
            "arn:aws:sts::444455556666:assumed-role/checkout/botocore-session-1",
        ] {
            let finding = verified_as(arn).findings("AWS19").remove(0);
            assert_eq!(finding.message, "AWS took the pod for another role than `checkout`");
            assert_eq!(finding.comparison.unwrap().found, arn);
            assert_eq!(finding.fix.commands, ["kubectl -n shop rollout restart deployment checkout"]);
        }
    }
}
