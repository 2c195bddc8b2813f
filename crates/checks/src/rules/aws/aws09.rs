//! Looks whether the trust policy allows `sts:AssumeRoleWithWebIdentity`.
//!
//! ## What it checks
//!
//! `Action` of the statement for the token's provider, with its wildcards; `sts:TagSession` and `sts:SetSourceIdentity` too
//! where the token brings session tags or a source identity.
//!
//! ## Why it matters
//!
//! `sts:AssumeRole` is another call, for callers that have AWS credentials already. Policies that were copied from a role for
//! EC2 or for another account have it.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
//! ```
//!
//! ## How to fix it
//!
//! Allow `sts:AssumeRoleWithWebIdentity` in the statement for the OIDC provider.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii doctor --trust` with the role as `aws iam get-role` prints it passes.
//!
//! ## References
//!
//! - AWS IAM, "Create a role for OpenID Connect federation":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_oidc.html>
//! - AWS STS, "AssumeRoleWithWebIdentity":
//!   <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use cwii_trust::aws::Reason;

use super::{NEEDS, Ruling, each};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule =
    Rule::new("AWS09", NEEDS, check).blocked_by(&["AWS04", "AWS10"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, decide)
}

fn decide(ruling: &Ruling<'_>) -> Result<Vec<Finding>, Gap> {
    let mut found = Vec::new();
    for miss in ruling.misses()? {
        let action = match miss.reason {
            Reason::ActionMismatch { action } => action.as_str(),
            Reason::SessionActionMissing { action, .. } => action,
            _ => continue,
        };
        let finding = ruling.of_policy(
            "AWS09",
            format!("the trust policy's statement for the provider does not allow `{action}`"),
            miss.clause,
        );
        found.push(ruling.with_policy(finding, "allow the action in the statement for the OIDC provider"));
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
    fn the_action_and_patterns_of_it_pass() {
        for action in [json!("sts:AssumeRoleWithWebIdentity"), json!(["sts:TagSession", "sts:*"]), json!("STS:assumerolewith*")] {
            let fixture =
                Fixture::irsa_trusted().policy(|policy| policy["Statement"][0]["Action"] = action.clone());
            assert_eq!(fixture.decide("AWS09"), Ok(Outcome::Pass), "{action}");
        }
    }

    #[test]
    fn another_action_is_told_and_mended() {
        for (action, expected) in [
            (json!("sts:AssumeRole"), json!("sts:AssumeRoleWithWebIdentity")),
            (
                json!(["sts:AssumeRole", "sts:TagSession"]),
                json!(["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]),
            ),
            (
                json!("sts:AssumeRoleWithSAML"),
                json!(["sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"]),
            ),
        ] {
            let fixture =
                Fixture::irsa_trusted().policy(|policy| policy["Statement"][0]["Action"] = action.clone());
            let finding = fixture.findings("AWS09").remove(0);
            assert_eq!(finding.comparison.as_ref().unwrap().expected, "sts:AssumeRoleWithWebIdentity");
            assert_eq!(mended_policy(&finding)["Statement"][0]["Action"], expected);
        }
    }
}
