//! Looks for pods that were created so soon after their association that EKS did not know it yet.
//!
//! ## What it checks
//!
//! A pod without the variables of Pod Identity that was created less than 15 seconds after its association was created or
//! changed.
//!
//! ## Why it matters
//!
//! Associations are eventually consistent: for some seconds after the call returns, EKS changes pods as if there were none. A
//! pipeline that creates the association and then the workload runs into it again and again.
//!
//! ## How it looks
//!
//! ```text
//! Unable to locate credentials. You can configure credentials by running "aws configure".
//! ```
//!
//! ## How to fix it
//!
//! Restart the workload, and create associations well before the pods that need them.
//!
//! ## How to verify the fix
//!
//! The new pod has `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
//!
//! ## References
//!
//! - Amazon EKS, "Learn how EKS Pod Identity grants pods access to AWS services", considerations:
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>

use cwii_contract::Provider;
use jiff::SignedDuration;

use super::{NEEDS, NONE, association, pod_identity};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::restarted,
};

pub(super) const RULE: Rule = Rule::new("EPI06", NEEDS, check).blocked_by(&["EPI02"]);

const SPREAD: SignedDuration = SignedDuration::from_secs(15);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let Some(identity) = pod_identity(case) else {
        return Ok(Outcome::not_applicable(NONE));
    };
    if identity.injected || case.is_template() {
        return Ok(Outcome::Pass);
    }
    let pod = case.pod()?;
    let changed = association(case)?.and_then(|association| association.changed_at);
    let (Some(created), Some(changed)) = (pod.created(), changed) else {
        return Ok(Outcome::not_applicable("the association's age is not known"));
    };
    let after = created.duration_since(changed);
    if after.is_negative() || after >= SPREAD {
        return Ok(Outcome::Pass);
    }
    let finding = Finding::new(
        "EPI06",
        format!(
            "the pod was created {} s after its pod identity association, and EKS did not know it yet",
            after.as_secs()
        ),
    )
    .of(Provider::Aws)
    .at(pod.subject_at("/metadata/creationTimestamp", "`creationTimestamp`"))
    .evidence("association", changed.to_string())
    .evidence("pod", created.to_string())
    .fix("restart the workload")
    .applicable(Applicability::Safe);
    Ok(Outcome::Found(vec![restarted(finding, case)]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, Trusted},
    };

    fn missed(created: &str) -> Trusted {
        Fixture::pod_identity().with(|fixture| {
            fixture.pod(|pod| {
                pod["spec"]["volumes"] = json!([]);
                pod["spec"]["containers"][0]["env"] = json!([]);
                pod["spec"]["containers"][0]["volumeMounts"] = json!([]);
                pod["metadata"]["creationTimestamp"] = json!(created);
            })
        })
    }

    #[test]
    fn a_pod_with_the_variables_or_much_younger_or_older_passes() {
        assert_eq!(Fixture::pod_identity().decide("EPI06"), Ok(Outcome::Pass));
        for created in ["2026-11-20T08:59:59Z", "2026-11-20T09:00:15Z"] {
            assert_eq!(missed(created).decide("EPI06"), Ok(Outcome::Pass), "{created}");
        }
    }

    #[test]
    fn a_pod_of_the_same_seconds_is_told_and_is_the_root() {
        let fixture = missed("2026-11-20T09:00:04Z");
        assert_eq!(
            fixture.messages("EPI06"),
            ["the pod was created 4 s after its pod identity association, and EKS did not know it yet"]
        );
        assert_eq!(fixture.codes(), ["EPI06"]);
    }
}
