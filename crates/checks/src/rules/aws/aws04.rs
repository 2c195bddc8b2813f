//! Compares the provider that the trust policy names with the one that speaks for the token.
//!
//! ## What it checks
//!
//! `Principal.Federated` of the statement that is nearest to admitting the token is compared with the ARN of the IAM OIDC
//! provider of the token's issuer: partition, account, host and path, letter by letter.
//!
//! ## Why it matters
//!
//! A statement for another provider is a statement for somebody else. The ARN of the old cluster, of another account, or with
//! `https://` in it can be stored and never matches.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
//! ```
//!
//! STS says the same about everything in a trust policy.
//!
//! ## How to fix it
//!
//! Name the provider of the role's own account with the issuer's host and path. Condition keys begin with the same host and
//! path. Where another cluster still lives by the old provider, add a statement instead.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii doctor --trust` with the role as `aws iam get-role` prints it passes, and the next exchange succeeds. IAM
//! needs a few seconds to spread the change.
//!
//! ## References
//!
//! - AWS IAM, "Create a role for OpenID Connect federation":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_oidc.html>
//! - AWS IAM, "AWS JSON policy elements: Principal":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>

use cwii_trust::aws::{PrincipalDifference, Reason};

use super::{NEEDS, Ruling, each};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule =
    Rule::new("AWS04", NEEDS, check).blocked_by(&["AWS01", "AWS10", "TOK06", "ISS01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, decide)
}

fn decide(ruling: &Ruling<'_>) -> Result<Vec<Finding>, Gap> {
    let mut found = Vec::new();
    for miss in ruling.misses()? {
        let Reason::PrincipalMismatch { difference, .. } = miss.reason else {
            continue;
        };
        let message = format!(
            "the trust policy of `{}` {}",
            ruling.role.name(),
            describe(*difference)
        );
        let finding = ruling.of_policy("AWS04", message, miss.clause);
        found.push(ruling.with_policy(
            finding,
            "let the trust policy name the provider of the token's issuer in the role's account",
        ));
    }
    Ok(found)
}

fn describe(difference: PrincipalDifference) -> &'static str {
    match difference {
        PrincipalDifference::Partition => "names the provider in another partition",
        PrincipalDifference::Account => "names the provider of another account",
        PrincipalDifference::Scheme => "names the provider with `https://` in its ARN",
        PrincipalDifference::TrailingSlash => {
            "names the provider with a slash at its end too many or too few"
        }
        PrincipalDifference::Case => "names the provider in other upper and lower case",
        PrincipalDifference::OtherProvider => "names the provider of another issuer",
        PrincipalDifference::AwsAnyone => {
            "admits `{\"AWS\": \"*\"}`, which no OIDC provider is part of"
        }
        PrincipalDifference::OtherKind => "names no OIDC provider",
        PrincipalDifference::Excluded => "excludes the provider by `NotPrincipal`",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        doctor::{Gap, Outcome},
        rules::fixture::{Fixture, Trusted, mended_policy},
    };

    fn with_principal(principal: Value) -> Trusted {
        Fixture::irsa_trusted().policy(|policy| policy["Statement"][0]["Principal"] = principal)
    }

    #[test]
    fn the_provider_of_the_issuer_passes() {
        assert_eq!(Fixture::irsa_trusted().decide("AWS04"), Ok(Outcome::Pass));
    }

    #[test]
    fn each_way_to_name_another_provider_is_told_and_mended() {
        let right = format!("arn:aws:iam::111122223333:oidc-provider/{}", Fixture::EKS_PREFIX);
        for (principal, words) in [
            (json!({"Federated": right.replace("111122223333", "444455556666")}), "another account"),
            (json!({"Federated": right.replace("arn:aws:", "arn:aws-cn:")}), "another partition"),
            (json!({"Federated": right.replace("provider/", "provider/https://")}), "https://"),
            (json!({"Federated": format!("{right}/")}), "slash"),
            (json!({"Federated": right.replace("/id/EXAMPLE", "/id/example")}), "upper and lower case"),
            (json!({"Federated": ["arn:aws:iam::111122223333:oidc-provider/oidc.example.com/old"]}), "another issuer"),
            (json!({"AWS": "*"}), "no OIDC provider is part of"),
            (json!({"Service": "ec2.amazonaws.com"}), "names no OIDC provider"),
        ] {
            let fixture = with_principal(principal.clone());
            let finding = fixture.findings("AWS04").remove(0);
            assert!(finding.message.contains(words), "{}", finding.message);
            assert!(finding.provider_error.as_ref().unwrap().contains("AccessDenied"));
            let policy = mended_policy(&finding);
            let mended = Fixture::irsa_trusted().policy(|whole| *whole = policy);
            for code in ["AWS04", "AWS05", "AWS06", "AWS07", "AWS08", "AWS09"] {
                assert_eq!(mended.decide(code), Ok(Outcome::Pass), "{principal} {code}");
            }
        }
    }

    #[test]
    fn keys_of_the_old_issuer_move_with_the_principal() {
        let old = "oidc.example.com/old";
        let fixture = Fixture::irsa_trusted().policy(|policy| {
            let text = policy.to_string().replace(Fixture::EKS_PREFIX, old);
            *policy = serde_json::from_str(&text).unwrap();
        });
        let text = mended_policy(&fixture.findings("AWS04").remove(0)).to_string();
        assert!(!text.contains(old), "{text}");
        assert!(text.contains(&format!("{}:sub", Fixture::EKS_PREFIX)));
    }

    #[test]
    fn a_provider_that_another_cluster_lives_by_keeps_its_statement() {
        let old = "oidc.example.com/old";
        let fixture = Fixture::irsa_trusted()
            .policy(|policy| {
                let text = policy.to_string().replace(Fixture::EKS_PREFIX, old);
                *policy = serde_json::from_str(&text).unwrap();
            })
            .document(
                "old.json",
                &format!(r#"{{"Url": "{old}", "ClientIDList": ["sts.amazonaws.com"], "ThumbprintList": []}}"#),
            );
        let policy = mended_policy(&fixture.findings("AWS04").remove(0));
        assert_eq!(policy["Statement"].as_array().unwrap().len(), 2);
        assert!(policy["Statement"][0].to_string().contains(old));
        assert!(!policy["Statement"][1].to_string().contains(old));
    }

    #[test]
    fn a_role_that_was_not_given_leaves_it_open() {
        let fixture = Fixture::irsa_trusted().without("role.json");
        assert!(matches!(fixture.decide("AWS04"), Err(Gap::Unknown(..))));
    }
}
