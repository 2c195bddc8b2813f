//! Looks for `*` and `?` in a trust policy under an operator that takes them literally.
//!
//! ## What it checks
//!
//! Values of `StringEquals` and `StringEqualsIgnoreCase` conditions that hold a wildcard. Where the condition holds because
//! of another value, the one with the wildcard is of no use, which is a warning.
//!
//! ## Why it matters
//!
//! Only `StringLike` and the ARN operators know wildcards. Under `StringEquals` the subject would have to contain an asterisk,
//! which no ServiceAccount's name does.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
//! ```
//!
//! ## How to fix it
//!
//! Move the condition to `StringLike`, or better name the subjects one by one.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii doctor --trust` with the role as `aws iam get-role` prints it passes.
//!
//! ## References
//!
//! - AWS IAM, "IAM JSON policy elements: Condition operators", string condition operators:
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use cwii_trust::aws::{LintKind, Reason};

use super::{NEEDS, Ruling, each};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("AWS07", NEEDS, check).blocked_by(&["AWS10", "TOK06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, decide)
}

fn decide(ruling: &Ruling<'_>) -> Result<Vec<Finding>, Gap> {
    let mut found = Vec::new();
    for miss in ruling.misses()? {
        let Reason::WildcardInStringEquals {
            operator,
            key,
            would_match,
        } = miss.reason
        else {
            continue;
        };
        let finding = ruling.of_policy(
            "AWS07",
            format!("`{operator}` on `{key}` takes the wildcard in its value literally"),
            miss.clause,
        );
        let summary = if *would_match {
            "move the condition to `StringLike`, which knows wildcards"
        } else {
            "name the subject; the pattern would not fit it under `StringLike` either"
        };
        found.push(ruling.with_policy(finding, summary));
    }
    if ruling.policy.allowed() {
        for lint in &ruling.policy.lints {
            if let LintKind::WildcardInStringEquals { operator, key } = &lint.kind {
                let finding = ruling
                    .of_policy(
                        "AWS07",
                        format!("a value with a wildcard under `{operator}` on `{key}` admits nobody"),
                        &lint.clause,
                    )
                    .warning();
                found.push(ruling.with_policy(finding, "take the value away, or move it to `StringLike`"));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::Outcome,
        rules::fixture::{Fixture, mended_policy},
    };

    #[test]
    fn a_wildcard_under_string_like_passes() {
        let fixture = Fixture::irsa_trusted().policy(|policy| {
            let statement = &mut policy["Statement"][0];
            statement["Condition"] = json!({"StringLike":
                {format!("{}:sub", Fixture::EKS_PREFIX): "system:serviceaccount:shop:*"}});
        });
        for code in ["AWS05", "AWS07", "AWS08"] {
            assert_eq!(fixture.decide(code), Ok(Outcome::Pass), "{code}");
        }
    }

    #[test]
    fn a_wildcard_under_string_equals_is_moved_to_string_like() {
        let fixture = Fixture::irsa_trusted().condition("sub", json!("system:serviceaccount:shop:*"));
        let finding = fixture.findings("AWS07").remove(0);
        assert_eq!(
            mended_policy(&finding)["Statement"][0]["Condition"],
            json!({
                "StringEquals": {format!("{}:aud", Fixture::EKS_PREFIX): "sts.amazonaws.com"},
                "StringLike": {format!("{}:sub", Fixture::EKS_PREFIX): "system:serviceaccount:shop:*"},
            })
        );
    }

    #[test]
    fn a_wildcard_that_would_open_the_role_is_not_moved() {
        let fixture = Fixture::irsa_trusted().condition("sub", json!("system:serviceaccount:*:*"));
        let policy = mended_policy(&fixture.findings("AWS07").remove(0)).to_string();
        assert!(policy.contains("system:serviceaccount:shop:checkout") && !policy.contains('*'), "{policy}");
    }

    #[test]
    fn a_wildcard_beside_a_value_that_fits_is_a_warning() {
        let fixture = Fixture::irsa_trusted().condition(
            "sub",
            json!(["system:serviceaccount:shop:checkout", "system:serviceaccount:shop:batch-*"]),
        );
        assert_eq!(fixture.findings("AWS07")[0].severity(), Severity::Warning);
        assert_eq!(fixture.decide("AWS05"), Ok(Outcome::Pass));
    }
}
