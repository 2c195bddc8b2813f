//! The deployed webhook and this tool are of different versions.
//!
//! ## What it checks
//!
//! The version that the webhook wrote into `cwii.dev/webhook-version` of the pod, and the version of the webhook that is
//! deployed now where its flags can be read, against the version of this tool.
//!
//! ## Why it matters
//!
//! Tool and webhook share one contract: names, paths, defaults. A tool of another version replays another contract and
//! may call a sound pod altered, or the other way round. A difference in the minor version is a warning, one in the major
//! version an error.
//!
//! ## How it looks
//!
//! CWII01 reports differences in a pod that works.
//!
//! ## How to fix it
//!
//! Install the tool of the webhook's version, or upgrade the webhook and restart the workloads.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii version` prints the version that `cwii.dev/webhook-version` of a new pod carries.
//!
//! ## References
//!
//! - "Semantic Versioning 2.0.0": <https://semver.org/spec/v2.0.0.html>

use cwii_contract::annotations::{PREFIX, WEBHOOK_VERSION};

use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("CWII02", &[Need::Pod, Need::WebhookSettings], check);

/// The contract that this tool replays.
const OURS: &str = env!("CARGO_PKG_VERSION");

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let key = [PREFIX, WEBHOOK_VERSION.key].concat();
    let Some(of_pod) = pod.annotation(&key) else {
        return Ok(Outcome::not_applicable("the pod was not injected by cwii"));
    };
    let Some(different) = difference(of_pod) else {
        return Ok(Outcome::Pass);
    };
    let mut finding = Finding::new(
        "CWII02",
        format!("the pod was injected by webhook {of_pod}, and this tool is {OURS}"),
    )
    .at(pod.subject_annotation(&key))
    .compared(of_pod, OURS)
    .fix(format!(
        "use kubectl-cwii {of_pod}, or upgrade the webhook to {OURS} and restart the workload"
    ));
    if let Ok(Some(settings)) = case.webhook_settings() {
        finding = finding.evidence("webhook now", settings.version.clone());
    }
    if different == Part::Minor {
        finding = finding.warning();
    }
    Ok(Outcome::Found(vec![finding]))
}

#[derive(Eq, PartialEq)]
enum Part {
    Major,
    Minor,
}

/// The first part in which a version differs from ours; none if major and minor version are the same.
fn difference(version: &str) -> Option<Part> {
    let parts = |version: &str| {
        let mut parts = version.trim_start_matches('v').split('.');
        (
            parts.next().map(str::to_owned),
            parts.next().map(str::to_owned),
        )
    };
    let (theirs, ours) = (parts(version), parts(OURS));
    if theirs.0 != ours.0 {
        Some(Part::Major)
    } else if theirs.1 != ours.1 {
        Some(Part::Minor)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Severity, doctor::Outcome, rules::fixture::Fixture};

    fn severity(version: &str) -> Severity {
        let fixture = Fixture::cwii_aws().pod(|pod| {
            pod["metadata"]["annotations"]["cwii.dev/webhook-version"] = json!(version);
        });
        match fixture.decide("CWII02") {
            Ok(Outcome::Found(findings)) => findings[0].severity(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_minor_version_passes_whatever_the_patch() {
        assert_eq!(Fixture::cwii_aws().decide("CWII02"), Ok(Outcome::Pass));
        let patch = Fixture::cwii_aws().pod(|pod| {
            pod["metadata"]["annotations"]["cwii.dev/webhook-version"] = json!("0.1.99");
        });
        assert_eq!(patch.decide("CWII02"), Ok(Outcome::Pass));
    }

    #[test]
    fn another_minor_version_is_a_warning_and_another_major_version_an_error() {
        assert_eq!(severity("0.9.0"), Severity::Warning);
        assert_eq!(severity("7.0.0"), Severity::Error);
    }

    #[test]
    fn a_pod_that_cwii_never_touched_does_not_concern_it() {
        assert!(matches!(
            Fixture::plain().decide("CWII02"),
            Ok(Outcome::NotApplicable(_))
        ));
    }
}
