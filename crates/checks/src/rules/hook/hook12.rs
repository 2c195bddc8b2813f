//! The API server has admitted pods although the webhook did not answer, and this pod lacks its identity.
//!
//! ## What it checks
//!
//! The API server's own metrics, which `--probe` reads: `apiserver_admission_webhook_fail_open_count` of the webhook, which
//! counts requests that were let through after a failed call since the API server started. It is a finding only for a pod
//! that asks for an identity and lacks it.
//!
//! ## Why it matters
//!
//! With `failurePolicy: Ignore` this counter is the one place where a failed call leaves a trace: there is no event, and the
//! pod looks as if nobody had asked for anything. It begins at zero with each start of an API server, and each of several API
//! servers counts for itself.
//!
//! ## How it looks
//!
//! ```text
//! apiserver_admission_webhook_fail_open_count{name="iam-for-pods.amazonaws.com",type="admit"} 37
//! ```
//!
//! ## How to fix it
//!
//! Restart the workloads that were created while the webhook was away. To keep it from happening again, run two replicas with
//! a PodDisruptionBudget, and consider `failurePolicy: Fail` for namespaces that cannot do without.
//!
//! ## How to verify the fix
//!
//! The new pods have the variables; `kubectl get --raw /metrics` shows the same count after the next rollout.
//!
//! ## References
//!
//! - Kubernetes, "Kubernetes Metrics Reference":
//!   <https://kubernetes.io/docs/reference/instrumentation/metrics/>
//! - Kubernetes, "Dynamic Admission Control", "Failure policy":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#failure-policy>

use super::{each, restart};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, not_collected},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK12",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Webhooks,
        Need::Metrics,
    ],
    check,
)
// Why it did not answer, or why it was not even called.
.blocked_by(&["POD03", "HOOK02", "HOOK03", "HOOK05", "HOOK06", "HOOK07", "HOOK08"]);

const FAIL_OPEN: &str = "apiserver_admission_webhook_fail_open_count";
const REJECTED: &str = "apiserver_admission_webhook_rejection_count";

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |wish, webhook| {
        let metrics = case.metrics()?.ok_or_else(|| not_collected(Need::Metrics))?;
        let name = ("name", webhook.name());
        let count = sum(metrics, FAIL_OPEN, &[name]);
        if !wish.lacking() || count < 1.0 {
            return Ok(Some(Vec::new()));
        }
        let mut finding = Finding::new(
            "HOOK12",
            format!(
                "the API server admitted {count} pods without an answer of webhook `{}`",
                webhook.name()
            ),
        )
        .of(wish.mechanism.provider)
        .at(webhook.subject("/failurePolicy", "`failurePolicy`"))
        .evidence_from(
            "fail open",
            format!("{count}, since the API server that answered was started"),
            FAIL_OPEN,
        );
        let failed = sum(
            metrics,
            REJECTED,
            &[name, ("error_type", "calling_webhook_error")],
        );
        if failed > 0.0 {
            finding = finding.evidence_from("failed calls", format!("{failed}"), REJECTED);
        }
        finding = finding.fix("restart the workload now that the webhook answers");
        Ok(Some(vec![match restart(case) {
            Some(command) => finding.command(command).applicable(Applicability::Safe),
            None => finding,
        }]))
    })
}

/// The sum of a metric's samples with these labels, in Prometheus' text format.
fn sum(metrics: &str, metric: &str, labels: &[(&str, &str)]) -> f64 {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'))
        .filter_map(|rest| rest.rsplit_once('}'))
        .filter(|(found, _)| {
            labels.iter().all(|(label, value)| {
                let pair = format!("{label}=\"{value}\"");
                // Values have no commas here: webhook names are DNS names, error types words.
                found.split(',').any(|one| one.trim() == pair)
            })
        })
        // A timestamp may follow the value.
        .filter_map(|(_, value)| value.split_ascii_whitespace().next()?.parse::<f64>().ok())
        .filter(|value| value.is_finite())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::{FAIL_OPEN, sum};
    use crate::{
        doctor::{Gap, Need, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    const METRICS: &str = "# HELP apiserver_admission_webhook_fail_open_count [ALPHA] Admission webhook fail open count.
# TYPE apiserver_admission_webhook_fail_open_count counter
apiserver_admission_webhook_fail_open_count{name=\"mutate.cwii.dev\",type=\"admit\"} 37
apiserver_admission_webhook_fail_open_count{name=\"x.mutate.cwii.dev\",type=\"admit\"} 5
apiserver_admission_webhook_rejection_count{error_type=\"calling_webhook_error\",name=\"mutate.cwii.dev\",operation=\"CREATE\",rejection_code=\"0\",type=\"admit\"} 2
";

    fn with(metrics: &str) -> Fixture {
        let metrics = metrics.to_owned();
        Fixture::wanting().with(|facts| facts.metrics = Fact::Known(metrics))
    }

    #[test]
    fn a_webhook_that_always_answered_passes() {
        assert_eq!(with("").decide("HOOK12"), Ok(Outcome::Pass));
        assert_eq!(
            with("apiserver_admission_webhook_fail_open_count{name=\"other\",type=\"admit\"} 3\n")
                .decide("HOOK12"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn what_was_admitted_without_an_answer_is_counted() {
        assert_eq!(
            with(METRICS).messages("HOOK12"),
            ["the API server admitted 37 pods without an answer of webhook `mutate.cwii.dev`"]
        );
    }

    #[test]
    fn a_pod_with_its_injection_is_not_concerned() {
        let fixture = Fixture::irsa().with(|facts| {
            facts.metrics = Fact::Known(METRICS.replace("mutate.cwii.dev", "iam-for-pods.amazonaws.com"));
        });
        assert_eq!(fixture.decide("HOOK12"), Ok(Outcome::Pass));
    }

    #[test]
    fn without_a_probe_nobody_looked() {
        assert!(matches!(
            Fixture::wanting().decide("HOOK12"),
            Err(Gap::NotLookedAt(Need::Metrics, _))
        ));
    }

    #[test]
    fn samples_are_summed_whatever_else_is_in_the_text() {
        let text = "m{a=\"1\"} 1\nm{a=\"1\",b=\"2\"} 2 1700000000\nm{a=\"2\"} 4\nmm{a=\"1\"} 8\nm{a=\"1\" 16\nm{a=\"1\"} NaN\n";
        assert!((sum(text, "m", &[("a", "1")]) - 3.0).abs() < f64::EPSILON);
        assert!(sum(METRICS, FAIL_OPEN, &[("name", "nobody")]) < 1.0);
    }
}
