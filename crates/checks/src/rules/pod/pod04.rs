//! A pod like this one would be admitted otherwise today.
//!
//! ## What it checks
//!
//! With `--probe`: a server-side dry run creates a copy of the pod, less what was injected, and shows what the API server
//! and its webhooks would make of it now. What a mechanism injects is compared with the live pod.
//!
//! ## Why it matters
//!
//! It tells two failures apart that look alike in the pod. If the copy is injected, the webhook works and this pod missed it:
//! restart it. If the copy is not, the webhook does not act on such pods at all, and no restart helps.
//!
//! ## How it looks
//!
//! A pod without its variables, and nobody knows whether that is yesterday's outage or today's.
//!
//! ## How to fix it
//!
//! Restart the workload, or look at the webhook (HOOK checks).
//!
//! ## How to verify the fix
//!
//! `kubectl cwii doctor --probe pod NAME` on a new pod passes.
//!
//! ## References
//!
//! - Kubernetes, "API Concepts", section "Dry-run": <https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run>

use super::{needs_webhook, shows};
use crate::{
    doctor::{Case, Gap, MechanismKind, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::{cwii, words::restarted},
};

pub(super) const RULE: Rule = Rule::new(
    "POD04",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::DryRun,
    ],
    check,
)
.blocked_by(&[
    "POD01", "POD02", "POD03", "POD05", "POD06", "POD07", "POD08", "CWII06", "CWII07", "HOOK01",
    "HOOK02", "HOOK03", "HOOK05", "HOOK06", "HOOK07", "HOOK08",
]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    if case.is_template() {
        return Ok(Outcome::not_applicable("nothing runs yet"));
    }
    let mechanisms: Vec<_> = case
        .mechanisms()
        .iter()
        .filter(|mechanism| needs_webhook(mechanism))
        .collect();
    if mechanisms.is_empty() {
        return Ok(Outcome::not_applicable("no webhook is asked for"));
    }
    let Some(tried) = case.dry_run()? else {
        return Err(Gap::Unknown(
            Need::DryRun,
            "the API server does not admit a copy of the pod".into(),
        ));
    };
    let mut findings = Vec::new();
    for mechanism in mechanisms {
        let name = mechanism.kind.name();
        let provider = mechanism.provider;
        let (live, now) = (shows(pod, mechanism), shows(tried, mechanism));
        let finding = match (live, now) {
            (false, true) => restarted(
                Finding::new(
                    "POD04",
                    format!("a copy of the pod gets the injection of {name}; this pod missed it"),
                )
                .fix("restart the workload: the webhook works now")
                .applicable(Applicability::Safe),
                case,
            ),
            (false, false) if mechanism.asked_by.is_some() => Finding::new(
                "POD04",
                format!("a copy of the pod does not get the injection of {name} either: no webhook acts on it"),
            )
            .fix("find out why the webhook does not act on pods of this namespace: it is absent, its selectors leave the pod out, or it does not answer"),
            (true, false) if mechanism.asked_by.is_some() => Finding::new(
                "POD04",
                format!("the pod has the injection of {name}, and a copy of it would not get it: the next start loses it"),
            )
            .fix("find out why the webhook no longer acts on pods of this namespace"),
            (true, true) if mechanism.kind == MechanismKind::Cwii => {
                let replay = case.replay()?;
                let altered = cwii::altered(case, &replay, provider)?;
                let Some(first) = altered.first().filter(|first| {
                    // What the copy has as planned, and the pod has not.
                    tried
                        .get(&first.pointer)
                        .is_some_and(|found| *found == first.expected)
                }) else {
                    continue;
                };
                restarted(
                    Finding::new("POD04", format!("a copy of the pod has {} as planned; this pod has not", first.what))
                        .fix("restart the workload")
                        .applicable(Applicability::Safe),
                    case,
                )
            }
            _ => continue,
        };
        findings.push(finding.of(provider).at(pod.subject()));
    }
    Ok(Outcome::of(findings))
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, facts::Fact, rules::fixture::Fixture};

    fn tried(fixture: Fixture, as_this: &Fixture) -> Fixture {
        let pod = as_this.facts.pod.clone();
        fixture.with(|facts| facts.dry_run = pod)
    }

    #[test]
    fn a_copy_that_comes_out_the_same_passes() {
        for fixture in [Fixture::irsa(), Fixture::cwii_all()] {
            let same = fixture.clone();
            assert_eq!(tried(fixture, &same).decide("POD04"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn a_copy_that_is_injected_shows_that_the_pod_missed_it() {
        let fixture = tried(Fixture::cwii_aws().not_injected(), &Fixture::cwii_aws());
        assert_eq!(
            fixture.messages("POD04"),
            ["a copy of the pod gets the injection of cwii; this pod missed it"]
        );
    }

    #[test]
    fn a_copy_that_is_not_injected_shows_that_no_webhook_acts() {
        let fixture = tried(Fixture::cwii_aws().not_injected(), &Fixture::plain());
        assert_eq!(
            fixture.messages("POD04"),
            ["a copy of the pod does not get the injection of cwii either: no webhook acts on it"]
        );
    }

    #[test]
    fn an_injection_that_the_next_pod_would_lack_is_told() {
        let fixture = tried(Fixture::irsa(), &Fixture::plain());
        assert_eq!(
            fixture.messages("POD04"),
            ["the pod has the injection of IRSA, and a copy of it would not get it: the next start loses it"]
        );
    }

    #[test]
    fn without_a_probe_it_is_not_looked_at() {
        assert!(matches!(
            Fixture::irsa().decide("POD04"),
            Err(crate::doctor::Gap::NotLookedAt(..))
        ));
        let denied = Fixture::irsa().with(|facts| facts.dry_run = Fact::Denied("create pods".into()));
        assert!(matches!(denied.decide("POD04"), Err(crate::doctor::Gap::Unknown(..))));
    }
}
