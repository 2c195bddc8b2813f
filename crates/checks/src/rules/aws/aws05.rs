//! Evaluates the role's trust policy with the token's claims and shows the condition that does not hold.
//!
//! ## What it checks
//!
//! Every condition of the statement that is nearest to admitting the token is evaluated as IAM does: operators, wildcards,
//! upper and lower case, missing keys, `Deny`. The condition that does not hold is shown with what the policy asks for and
//! what the token has.
//!
//! ## Why it matters
//!
//! The conditions on `:sub` and `:aud` are what ties a role to one ServiceAccount. A namespace or name that was changed, a
//! `ServiceAccount` that Helm named otherwise, or another audience all end here. STS does not say which one it was.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
//! ```
//!
//! ## How to fix it
//!
//! Let the condition admit the token's subject, `system:serviceaccount:NAMESPACE:NAME`, and its audience. The printed policy
//! keeps what others are admitted by; take away what nobody uses any more. A `Deny` is somebody's decision: nothing is
//! proposed for it.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii doctor --trust` with the role as `aws iam get-role` prints it passes, and `kubectl cwii trust check` says
//! that the token is admitted.
//!
//! ## References
//!
//! - AWS IAM, "Create a role for OpenID Connect federation":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_oidc.html>
//! - AWS IAM, "IAM JSON policy elements: Condition operators":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
//! - Amazon EKS, "Assign IAM roles to Kubernetes service accounts":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>

use cwii_trust::aws::{KeyStatus, Reason};

use super::{NEEDS, Ruling, each};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("AWS05", NEEDS, check).blocked_by(&[
    "POD01", "TOK03", "TOK06", "AWS04", "AWS06", "AWS07", "AWS09", "AWS10",
]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, decide)
}

fn decide(ruling: &Ruling<'_>) -> Result<Vec<Finding>, Gap> {
    let mut found = Vec::new();
    for miss in ruling.misses()? {
        let (message, summary) = match miss.reason {
            Reason::ConditionFailed(condition) => (
                match condition.status {
                    KeyStatus::Absent => format!(
                        "the trust policy asks for `{}`, which the token does not bring",
                        condition.key
                    ),
                    _ => format!(
                        "the trust policy's condition `{}` on `{}` does not hold",
                        condition.operator, condition.key
                    ),
                },
                "let the trust policy admit the token's subject and audience",
            ),
            Reason::NoAllowStatement => (
                "the trust policy has no statement that allows anything".to_owned(),
                "add a statement that admits the token's subject and audience",
            ),
            Reason::ExplicitDeny { sid } => (
                match sid {
                    Some(sid) => format!("the statement `{sid}` of the trust policy denies"),
                    None => "a statement of the trust policy denies".to_owned(),
                },
                "see what the `Deny` is for before anything else",
            ),
            _ => continue,
        };
        let finding = ruling.of_policy("AWS05", message, miss.clause);
        found.push(ruling.with_policy(finding, summary));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Outcome},
        rules::fixture::{Fixture, mended_policy},
    };

    #[test]
    fn a_policy_that_admits_the_token_passes() {
        assert_eq!(Fixture::irsa_trusted().decide("AWS05"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_subject_of_another_account_is_shown_with_both_sides() {
        let fixture = Fixture::irsa_trusted().condition("sub", json!("system:serviceaccount:shop:check-out"));
        let finding = fixture.findings("AWS05").remove(0);
        assert_eq!(
            finding.message,
            format!("the trust policy's condition `StringEquals` on `{}:sub` does not hold", Fixture::EKS_PREFIX)
        );
        let comparison = finding.comparison.clone().unwrap();
        assert_eq!(comparison.found, "system:serviceaccount:shop:check-out");
        assert_eq!(comparison.expected, "system:serviceaccount:shop:checkout");
        let subject = finding.subject.clone().unwrap();
        assert_eq!(subject.file.as_deref(), Some("role.json"));
        assert!(subject.pointer.unwrap().ends_with(":sub"));
        // What another workload may live by stays.
        let policy = mended_policy(&finding).to_string();
        assert!(policy.contains("shop:check-out\"") && policy.contains("shop:checkout\""), "{policy}");
    }

    #[test]
    fn what_nobody_can_have_is_replaced() {
        for wrong in ["system:serviceaccount:shop:Checkout", "shop:checkout", " system:serviceaccount:shop:checkout"] {
            let fixture = Fixture::irsa_trusted().condition("sub", json!(wrong));
            let policy = mended_policy(&fixture.findings("AWS05").remove(0));
            assert!(!policy.to_string().contains(&format!("\"{wrong}\"")), "{policy}");
            let mended = Fixture::irsa_trusted().policy(|whole| *whole = policy);
            assert_eq!(mended.decide("AWS05"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn an_audience_that_differs_is_shown() {
        let fixture = Fixture::irsa_trusted().condition("aud", json!("https://sts.amazonaws.com"));
        let finding = fixture.findings("AWS05").remove(0);
        assert_eq!(finding.comparison.unwrap().expected, "sts.amazonaws.com");
    }

    #[test]
    fn a_statement_for_another_cluster_is_no_fault() {
        let fixture = Fixture::irsa_trusted().policy(|policy| {
            let other = policy["Statement"][0].to_string().replace(Fixture::EKS_PREFIX, "oidc.example.com/other");
            let other = serde_json::from_str(&other).unwrap();
            policy["Statement"].as_array_mut().unwrap().insert(0, other);
        });
        assert_eq!(fixture.decide("AWS05"), Ok(Outcome::Pass));
        assert_eq!(fixture.decide("AWS04"), Ok(Outcome::Pass));
        let broken = fixture.policy(|policy| {
            policy["Statement"][1]["Condition"]["StringEquals"][format!("{}:sub", Fixture::EKS_PREFIX)] =
                json!("system:serviceaccount:shop:other");
        });
        assert_eq!(broken.messages("AWS05").len(), 1);
        assert_eq!(broken.decide("AWS04"), Ok(Outcome::Pass));
    }

    #[test]
    fn what_only_a_request_shows_is_not_settled() {
        for (operator, effect) in [("StringEquals", "Allow"), ("StringNotEquals", "Deny")] {
            let fixture = Fixture::irsa_trusted().policy(|policy| {
                if effect == "Deny" {
                    let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "*",
                        "Condition": {operator: {"aws:SourceVpc": "vpc-0123456789abcdef0"}}});
                    policy["Statement"].as_array_mut().unwrap().push(deny);
                } else {
                    policy["Statement"][0]["Condition"][operator]["aws:SourceVpc"] = json!("vpc-0123456789abcdef0");
                }
            });
            assert!(matches!(fixture.decide("AWS05"), Err(Gap::Unknown(..))), "{effect}");
        }
    }

    #[test]
    fn a_deny_is_named_and_left_to_people() {
        let fixture = Fixture::irsa_trusted().policy(|policy| {
            policy["Statement"].as_array_mut().unwrap().push(
                json!({"Sid": "NoShop", "Effect": "Deny", "Principal": "*", "Action": "*", "Condition":
                    {"StringLike": {format!("{}:sub", Fixture::EKS_PREFIX): "system:serviceaccount:shop:*"}}}),
            );
        });
        let finding = fixture.findings("AWS05").remove(0);
        assert_eq!(finding.message, "the statement `NoShop` of the trust policy denies");
        assert!(finding.fix.commands[0].starts_with("aws iam get-role"));
    }
}
