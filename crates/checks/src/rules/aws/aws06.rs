//! Looks for condition keys in the trust policy that no token of this issuer ever fits.
//!
//! ## What it checks
//!
//! The key of every condition in the statement that is nearest to admitting the token. A key of an OIDC provider is its host
//! and path, a colon, and the claim: no `https://`, no slash at the end, not the provider's ARN, and not another cluster's
//! host and path. For an issuer of one's own there are keys of `aud`, `oaud`, `sub`, `amr` and `email` only; `iss` and what
//! Kubernetes puts under `kubernetes.io` are none. `:aud` that is compared with a subject counts here too.
//!
//! ## Why it matters
//!
//! IAM stores any key. One that no request has makes a condition that never holds, and under `…IfExists` or a negated
//! operator one that always does.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
//! ```
//!
//! ## How to fix it
//!
//! Write the key with the host and path of the issuer as they stand in the token, and take away conditions on what STS
//! makes no key of.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii doctor --trust` with the role as `aws iam get-role` prints it passes.
//!
//! ## References
//!
//! - AWS IAM, "IAM and AWS STS condition context keys", available keys for AWS OIDC federation:
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html>
//! - Amazon EKS, "Assign IAM roles to Kubernetes service accounts":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>

use cwii_trust::{
    Clause,
    aws::{KeyMistake, KeyStatus, LintKind, Reason},
};

use super::{NEEDS, Ruling, each, mend};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule =
    Rule::new("AWS06", NEEDS, check).blocked_by(&["AWS01", "AWS04", "AWS10", "TOK06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, decide)
}

fn decide(ruling: &Ruling<'_>) -> Result<Vec<Finding>, Gap> {
    let mut found = Vec::new();
    for miss in ruling.misses()? {
        match miss.reason {
            Reason::ConditionKeyUnknown(condition) => {
                if let KeyStatus::NeverPresent(mistake) = condition.status {
                    found.push(unknown(ruling, &condition.key, mistake, miss.clause));
                }
            }
            Reason::ConditionOnOtherClaim(condition) => {
                let finding = ruling.of_policy(
                    "AWS06",
                    format!(
                        "the trust policy compares `{}` with the value of another claim",
                        condition.key
                    ),
                    miss.clause,
                );
                found.push(ruling.with_policy(finding, "ask `:sub` for the subject and `:aud` for the audience"));
            }
            _ => {}
        }
    }
    if ruling.policy.allowed() {
        for lint in &ruling.policy.lints {
            if let LintKind::KeyNeverPresent { key, mistake, .. } = &lint.kind
                && mend::is_misspelt(*mistake)
            {
                found.push(unknown(ruling, key, *mistake, &lint.clause));
            }
        }
    }
    Ok(found)
}

fn unknown(ruling: &Ruling<'_>, key: &str, mistake: KeyMistake, clause: &Clause) -> Finding {
    let why = match mistake {
        KeyMistake::Scheme => "a key has no `https://`",
        KeyMistake::TrailingSlash => "the issuer has another slash at its end",
        KeyMistake::ProviderArn => "a key begins with the issuer's host, not with the provider's ARN",
        KeyMistake::OtherIssuer => "the token is of another issuer",
        KeyMistake::ClaimNotAvailable => "STS makes no key of this claim",
        KeyMistake::NotForThisCaller => "a request with a web token has no such key",
        KeyMistake::NoSuchKey => "there is no such key",
    };
    let mut finding = ruling.of_policy(
        "AWS06",
        format!("no token has the trust policy's condition key `{key}`: {why}"),
        clause,
    );
    finding.comparison = None;
    let claim = key.rsplit(':').next().unwrap_or_default();
    let summary = if ["aud", "oaud", "sub"].contains(&claim) {
        finding = finding.compared(key, format!("{}:{claim}", ruling.prefix()));
        "write the key with the issuer's host and path"
    } else {
        "take the condition away, and limit the subject instead"
    };
    ruling.with_policy(finding, summary)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, Trusted, mended_policy},
    };

    fn with_key(from: &str, to: &str) -> Trusted {
        Fixture::irsa_trusted().policy(|policy| {
            let keys = policy["Statement"][0]["Condition"]["StringEquals"].as_object_mut().unwrap();
            let value = keys.shift_remove(from).unwrap();
            keys.insert(to.to_owned(), value);
        })
    }

    #[test]
    fn keys_of_the_issuer_pass() {
        assert_eq!(Fixture::irsa_trusted().decide("AWS06"), Ok(Outcome::Pass));
    }

    #[test]
    fn each_way_to_misspell_a_key_is_told_and_mended() {
        let right = format!("{}:sub", Fixture::EKS_PREFIX);
        for (wrong, words) in [
            (format!("https://{right}"), "https://"),
            (format!("{}/:sub", Fixture::EKS_PREFIX), "slash"),
            (format!("arn:aws:iam::111122223333:oidc-provider/{right}"), "ARN"),
            ("oidc.example.com/old:sub".to_owned(), "another issuer"),
            (format!("{}:kubernetes.io", Fixture::EKS_PREFIX), "no key of this claim"),
        ] {
            let fixture = with_key(&right, &wrong);
            let finding = fixture.findings("AWS06").remove(0);
            assert!(finding.message.contains(words), "{}", finding.message);
            let mended = Fixture::irsa_trusted().policy(|policy| *policy = mended_policy(&finding));
            for code in ["AWS05", "AWS06", "AWS08"] {
                assert_eq!(mended.decide(code), Ok(Outcome::Pass), "{wrong} {code}");
            }
        }
    }

    #[test]
    fn an_audience_that_is_asked_for_the_subject_is_told() {
        let key = |claim: &str| format!("{}:{claim}", Fixture::EKS_PREFIX);
        let fixture = Fixture::irsa_trusted().policy(|policy| {
            policy["Statement"][0]["Condition"] =
                json!({"StringEquals": {key("aud"): "system:serviceaccount:shop:checkout"}});
        });
        let finding = fixture.findings("AWS06").remove(0);
        let policy = mended_policy(&finding);
        assert_eq!(
            policy["Statement"][0]["Condition"],
            json!({"StringEquals": {key("aud"): "sts.amazonaws.com", key("sub"): "system:serviceaccount:shop:checkout"}})
        );
    }

    #[test]
    fn a_role_for_several_clusters_is_no_fault() {
        let fixture = Fixture::irsa_trusted().policy(|policy| {
            let statement = &mut policy["Statement"][0];
            let own = statement["Principal"]["Federated"].clone();
            statement["Principal"]["Federated"] =
                Value::Array(vec![own, json!("arn:aws:iam::111122223333:oidc-provider/oidc.example.com/two")]);
            statement["Condition"]["StringEqualsIfExists"] =
                json!({"oidc.example.com/two:sub": "system:serviceaccount:shop:checkout"});
        });
        for code in ["AWS04", "AWS05", "AWS06", "AWS08"] {
            assert_eq!(fixture.decide(code), Ok(Outcome::Pass), "{code}");
        }
    }

    #[test]
    fn a_misspelt_key_that_holds_because_it_is_missing_is_told() {
        let wrong = format!("https://{}:sub", Fixture::EKS_PREFIX);
        let fixture = Fixture::irsa_trusted().policy(|policy| {
            let statement = &mut policy["Statement"][0];
            let keys = statement["Condition"]["StringEquals"].as_object_mut().unwrap();
            let value = keys.shift_remove(&format!("{}:sub", Fixture::EKS_PREFIX)).unwrap();
            statement["Condition"]["StringEqualsIfExists"] = json!({wrong: value});
        });
        assert_eq!(fixture.messages("AWS06").len(), 1);
    }
}
