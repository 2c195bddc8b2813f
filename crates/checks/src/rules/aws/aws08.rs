//! Looks for trust policies that let any ServiceAccount of the cluster assume the role.
//!
//! ## What it checks
//!
//! Every `Allow` statement for the provider that admits this token must limit the subject: by a condition on the issuer's
//! `:sub`, or another claim that says who it is, that is narrower than `system:serviceaccount:*`. STS always supplies `sub`,
//! so `ForAllValues:` and `…IfExists` on it limit like any other operator.
//!
//! ## Why it matters
//!
//! Anybody who may create a pod in any namespace of the cluster then has the role. Nothing fails, so nobody notices.
//!
//! ## How it looks
//!
//! There is no error. CloudTrail shows `AssumeRoleWithWebIdentity` by subjects that nobody expected.
//!
//! ## How to fix it
//!
//! Add a condition on the subject: `StringEquals` with `system:serviceaccount:NAMESPACE:NAME`. Whoever else uses the role needs
//! to be named too before that; CloudTrail tells who they are.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii doctor --trust` with the role as `aws iam get-role` prints it passes.
//!
//! ## References
//!
//! - AWS IAM, "Create a role for OpenID Connect federation":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_oidc.html>
//! - Amazon EKS, "Assign IAM roles to Kubernetes service accounts":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>

use cwii_trust::aws::LintKind;

use super::{NEEDS, Ruling, each};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("AWS08", NEEDS, check).blocked_by(&["AWS10"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, decide)
}

fn decide(ruling: &Ruling<'_>) -> Result<Vec<Finding>, Gap> {
    ruling.misses()?;
    let mut found = Vec::new();
    if !ruling.policy.allowed() {
        return Ok(found);
    }
    for lint in &ruling.policy.lints {
        let message = match &lint.kind {
            LintKind::NoSubjectCondition => {
                "any ServiceAccount of the cluster can assume the role: no condition limits the subject".to_owned()
            }
            LintKind::SubjectTooWide { value } => format!(
                "any ServiceAccount of the cluster can assume the role: `{value}` fits every subject"
            ),
            _ => continue,
        };
        let finding = ruling
            .of_policy("AWS08", message, &lint.clause)
            .evidence("role", ruling.role.to_string());
        found.push(ruling.with_policy(finding, "limit the subject to the ServiceAccounts that need the role"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, mended_policy},
    };

    #[test]
    fn a_limited_subject_passes_under_any_operator() {
        for operator in ["StringEquals", "ForAllValues:StringEquals", "StringEqualsIfExists", "ForAnyValue:StringLike"] {
            let fixture = Fixture::irsa_trusted().policy(|policy| {
                policy["Statement"][0]["Condition"] = json!({operator:
                    {format!("{}:sub", Fixture::EKS_PREFIX): "system:serviceaccount:shop:checkout"}});
            });
            assert_eq!(fixture.decide("AWS08"), Ok(Outcome::Pass), "{operator}");
        }
    }

    #[test]
    fn no_condition_and_a_pattern_of_everybody_are_told_and_mended() {
        let key = |claim: &str| format!("{}:{claim}", Fixture::EKS_PREFIX);
        for condition in [
            json!({"StringEquals": {key("aud"): "sts.amazonaws.com"}}),
            json!({"StringLike": {key("sub"): "system:serviceaccount:*:*"}}),
            json!({"StringLike": {key("sub"): "*", key("aud"): "sts.*"}}),
        ] {
            let fixture = Fixture::irsa_trusted()
                .policy(|policy| policy["Statement"][0]["Condition"] = condition.clone());
            let finding = fixture.findings("AWS08").remove(0);
            assert!(finding.message.starts_with("any ServiceAccount of the cluster"));
            assert_eq!(finding.provider_error, None);
            let policy = mended_policy(&finding);
            assert_eq!(
                policy["Statement"][0]["Condition"]["StringEquals"][key("sub")],
                "system:serviceaccount:shop:checkout"
            );
            let mended = Fixture::irsa_trusted().policy(|whole| *whole = policy);
            assert_eq!(mended.decide("AWS08"), Ok(Outcome::Pass), "{condition}");
        }
    }

    #[test]
    fn an_open_statement_that_does_not_admit_this_token_is_left_to_others() {
        let fixture = Fixture::irsa_trusted().policy(|policy| {
            policy["Statement"][0]["Condition"] =
                json!({"StringEquals": {format!("{}:aud", Fixture::EKS_PREFIX): "other"}});
        });
        assert_eq!(fixture.decide("AWS08"), Ok(Outcome::Pass));
    }
}
