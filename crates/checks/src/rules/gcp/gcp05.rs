//! The provider's attribute mapping or attribute condition rejects the token.
//!
//! ## What it checks
//!
//! That every expression of `attributeMapping` has a value for the token's claims, and that `attributeCondition` is true for
//! them. The expressions are evaluated as Google does, in CEL, with the claims under `assertion`.
//!
//! ## Why it matters
//!
//! An expression that reads a claim that is not there fails, and a condition that fails counts as false. The answer does not
//! say which part of the condition it was.
//!
//! ## How it looks
//!
//! ```text
//! Error code unauthorized_client: The given credential is rejected by the attribute condition.
//! ```
//!
//! or, for a mapping, `Could not obtain a value for google.subject from the given credential.`
//!
//! ## How to fix it
//!
//! Compare the condition with the claims in the finding. Extend it so that it admits this ServiceAccount too, or correct the
//! namespace or name that it compares with. Guard claims that not every token has with `has()`.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii trust check` evaluates the provider with a token; `kubectl cwii verify` asks Google.
//!
//! ## References
//!
//! - Google Cloud, "Workload Identity Federation", attribute mappings and conditions:
//!   <https://cloud.google.com/iam/docs/workload-identity-federation>
//! - Google Cloud, "Troubleshoot Workload Identity Federation":
//!   <https://cloud.google.com/iam/docs/troubleshooting-workload-identity-federation>

use cwii_trust::google::Reason;

use super::{Exchange, each, exchange_findings, update_provider};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new("GCP05", super::EXCHANGE, check).blocked_by(&[
    "GCP01", "GCP02", "GCP03", "GCP04", "TOK03", "TOK06",
]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        exchange_findings(case, mechanism, "GCP05", |exchange, fault| {
            let claims = &exchange.token.token.claims;
            let subject = claims.subject().unwrap_or_default();
            let condition = exchange
                .document()
                .and_then(|provider| provider.attribute_condition.clone())
                .unwrap_or_default();
            // First, for what follows may fail.
            let extended = format!("assertion.sub == '{subject}' || ({condition})");
            let finding = match &fault.reason {
                Reason::MappingFailed { target, problem } => Finding::new(
                    "GCP05",
                    format!("the mapping of `{target}` has no value for this token: {problem}"),
                )
                .fix("map it from a claim that the token has")
                .command(update_provider(
                    &exchange.provider,
                    "--attribute-mapping",
                    &mapping(exchange, target),
                )),
                Reason::ConditionFailed { problem } => Finding::new(
                    "GCP05",
                    format!("the attribute condition fails on this token: {problem}"),
                )
                .evidence("condition", &condition)
                .fix("have the condition admit this ServiceAccount without the claim that is not there")
                .command(update_provider(&exchange.provider, "--attribute-condition", &extended)),
                _ => Finding::new("GCP05", "the attribute condition is false for this token")
                    .evidence("condition", &condition)
                    .fix("have the condition admit this ServiceAccount")
                    .command(update_provider(&exchange.provider, "--attribute-condition", &extended)),
            };
            let mut finding = finding.evidence("sub", subject);
            // The claims that the expressions speak of, with what they are.
            for claim in ["aud", "iss", "email"] {
                let named = condition.contains(&format!("assertion.{claim}"))
                    || condition.contains(&format!("assertion['{claim}']"));
                if let (true, Some(value)) = (named, claims.members.get(claim)) {
                    finding = finding.evidence(claim, value.to_string());
                }
            }
            if condition.contains("kubernetes.io")
                && let Some(value) = claims.members.get("kubernetes.io")
            {
                finding = finding.evidence("kubernetes.io", value.to_string());
            }
            finding.applicable(Applicability::Unsafe)
        })
    })
}

/// The mapping with another expression for one target.
fn mapping(exchange: &Exchange<'_>, target: &str) -> String {
    let known = |expression: &str| match target {
        "google.subject" => Some("assertion.sub"),
        _ if target.contains("namespace") || expression.contains("'namespace'") => {
            Some("assertion['kubernetes.io']['namespace']")
        }
        _ if target.contains("service_account") => {
            Some("assertion['kubernetes.io']['serviceaccount']['name']")
        }
        _ => None,
    };
    let mut parts: Vec<String> = exchange
        .document()
        .into_iter()
        .flat_map(|provider| &provider.attribute_mapping)
        .filter_map(|(name, expression)| {
            let expression = if name == target {
                known(expression)?
            } else {
                expression
            };
            Some(format!("{name}={expression}"))
        })
        .collect();
    if !parts.iter().any(|part| part.starts_with("google.subject=")) {
        parts.push("google.subject=assertion.sub".to_owned());
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::{Gap, Outcome},
        rules::fixture::Fixture,
    };

    #[test]
    fn a_condition_that_holds_passes() {
        assert_eq!(Fixture::gcp().decide("GCP05"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_condition_on_another_namespace_is_shown_with_the_claims() {
        let fixture = Fixture::gcp().google_provider(|provider| {
            provider["attributeCondition"] =
                "assertion['kubernetes.io']['namespace'] == 'production'".into();
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("GCP05") else {
            panic!()
        };
        assert_eq!(
            findings[0].message,
            "the attribute condition is false for this token"
        );
        assert!(findings[0].evidence.iter().any(|e| e.value.contains("\"namespace\":\"shop\"")));
        assert!(findings[0].fix.commands[0].ends_with(
            "--attribute-condition=\"assertion.sub == 'system:serviceaccount:shop:checkout' || (assertion['kubernetes.io']['namespace'] == 'production')\""
        ));
    }

    #[test]
    fn a_mapping_from_a_claim_that_is_not_there_fails_and_hides_what_follows() {
        let fixture = Fixture::google_federation().google_provider(|provider| {
            provider["attributeMapping"]["google.subject"] = "assertion.email".into();
        });
        assert!(fixture.messages("GCP05")[0].starts_with("the mapping of `google.subject` has no value"));
        assert!(matches!(fixture.decide("GCP07"), Err(Gap::Unknown(..))));
    }
}
