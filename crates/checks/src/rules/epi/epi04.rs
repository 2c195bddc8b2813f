//! Evaluates the trust policy of the associated role for EKS Pod Identity.
//!
//! ## What it checks
//!
//! The role of the association must let the service `pods.eks.amazonaws.com` do `sts:AssumeRole` and, unless the association
//! turns session tags off, `sts:TagSession`. Conditions on the tags that EKS sends (cluster, namespace, ServiceAccount) are
//! evaluated with those of this pod.
//!
//! ## Why it matters
//!
//! A role that was made for IRSA names an OIDC provider, which Pod Identity does not use. `sts:TagSession` is the part that
//! people forget: the tags come with every request.
//!
//! ## How it looks
//!
//! ```text
//! (AccessDeniedException): Unauthorized Exception! EKS does not have permissions to assume the associated role., fault: client
//! ```
//!
//! ## How to fix it
//!
//! Let the role trust `pods.eks.amazonaws.com` for both actions.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii doctor --trust` with the role as `aws iam get-role` prints it passes, and a new pod gets credentials.
//!
//! ## References
//!
//! - Amazon EKS, "Create IAM role with trust policy required by EKS Pod Identity":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html>
//! - Amazon EKS, "Grant Pods access to AWS resources based on tags":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>

use cwii_contract::Provider;
use cwii_trust::{
    Clause,
    aws::{KeyStatus, Pod, Reason, evaluate_pod_identity_trust},
};

use super::{NEEDS, NONE, associated_role, association, cluster_arn, mend, pod_identity};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding, Subject},
    rules::{
        aws::{answer, mend::statement_of, update_policy},
        words::{quote, restarted},
    },
};

pub(super) const RULE: Rule = Rule::new("EPI04", NEEDS, check).blocked_by(&["EPI03"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    if pod_identity(case).is_none() {
        return Ok(Outcome::not_applicable(NONE));
    }
    let library = case.trust()?;
    let Some(association) = association(case)? else {
        return Err(Gap::Unknown(
            Need::Trust,
            "the pod identity association is not among the trust documents".into(),
        ));
    };
    let arn = associated_role(&association)?;
    let documents = library.aws(Some(&arn));
    let role = documents.role(arn.as_str()).ok_or_else(|| {
        Gap::Unknown(
            Need::Trust,
            format!(
                "the role {arn} is not among the trust documents; `aws iam get-role --role-name {}` prints it",
                quote(arn.name())
            ),
        )
    })?;
    let cluster = cluster_arn(case, &association);
    let object = case.pod()?;
    let pod = Pod {
        // A role and its cluster are of one account; only the region is not known then.
        cluster_arn: cluster.as_deref().unwrap_or_default(),
        namespace: case.namespace_name(),
        service_account: case.service_account_name()?,
        name: (!case.is_template()).then(|| object.name()),
        uid: object.uid(),
    };
    let session_tags = !association.disable_session_tags;
    let verdict = evaluate_pod_identity_trust(role, &pod, session_tags, case.now());
    let Some(denial) = verdict.denial() else {
        return Ok(Outcome::Pass);
    };
    let nearest = statement_of(&verdict.decided_by.pointer);
    let misses: Vec<(&Reason, &Clause)> = std::iter::once((&denial.reason, &verdict.decided_by))
        .chain(
            denial
                .others
                .iter()
                .filter(|other| statement_of(&other.clause.pointer) == nearest)
                .map(|other| (&other.reason, &other.clause)),
        )
        .filter(|(reason, _)| is_known(reason, cluster.is_some()))
        .collect();
    // A statement for another principal says nothing of this one with its actions and conditions.
    let misses = match misses.iter().find(|(reason, _)| is_of_principal(reason)) {
        Some(principal) => vec![*principal],
        None => misses,
    };
    if misses.is_empty() {
        return Err(Gap::Unknown(
            Need::Trust,
            format!(
                "the trust policy of {arn} asks for something at `{}` that only the real request shows",
                verdict.decided_by.pointer
            ),
        ));
    }
    let mended = mend::mend(role, &pod, session_tags, case.now());
    let findings = misses
        .into_iter()
        .map(|(reason, clause)| {
            let mut finding = Finding::new("EPI04", describe(reason))
                .of(Provider::Aws)
                .at(Subject {
                    kind: "IAM role".into(),
                    name: arn.to_string(),
                    pointer: Some(clause.pointer.clone()),
                    what: Some(format!("`{}` of the trust policy", clause.rule)),
                    file: library.file_of_aws_role(&arn).map(str::to_owned),
                    ..Subject::default()
                })
                .evidence("association", format!(
                    "{}: {}/{}",
                    association.cluster_name, association.namespace, association.service_account
                ))
                .answered(answer(&denial.error));
            if let Some(comparison) = &clause.comparison
                && !comparison.finds_nothing()
            {
                finding = finding.compared(&comparison.expected, &comparison.found);
            }
            let summary = "let the role trust `pods.eks.amazonaws.com` for `sts:AssumeRole` and `sts:TagSession`";
            let finding = finding.fix(summary);
            match &mended {
                Some(policy) => restarted(finding.command(update_policy(&arn, policy)), case)
                    .applicable(Applicability::Unsafe),
                None => finding.command(format!(
                    "aws iam get-role --role-name {} --query Role.AssumeRolePolicyDocument",
                    quote(arn.name())
                )),
            }
        })
        .collect();
    Ok(Outcome::of(findings))
}

/// Whether a miss does not hang on something that nobody knows here.
fn is_known(reason: &Reason, cluster_known: bool) -> bool {
    let Reason::ConditionFailed(miss) = reason else {
        return true;
    };
    let key = miss.key.to_ascii_lowercase();
    let of_cluster = key.contains("eks-cluster") || key.starts_with("aws:source") || key == "aws:requestedregion";
    miss.status != KeyStatus::NotKnown && (cluster_known || !of_cluster)
}

fn is_of_principal(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::PrincipalMismatch { .. } | Reason::NoAllowStatement
    )
}

fn describe(reason: &Reason) -> String {
    match reason {
        Reason::PrincipalMismatch { .. } | Reason::NoAllowStatement => {
            "the role's trust policy does not name the service `pods.eks.amazonaws.com`".to_owned()
        }
        Reason::ActionMismatch { action } => {
            format!("the role's trust policy does not allow `{action}` to EKS Pod Identity")
        }
        Reason::ExplicitDeny { sid } => match sid {
            Some(sid) => format!("the statement `{sid}` of the role's trust policy denies"),
            None => "a statement of the role's trust policy denies".to_owned(),
        },
        Reason::ConditionFailed(miss) | Reason::ConditionKeyUnknown(miss) | Reason::ConditionOnOtherClaim(miss) => {
            format!(
                "the trust policy's condition `{}` on `{}` does not hold for this pod",
                miss.operator, miss.key
            )
        }
        Reason::WildcardInStringEquals { operator, key, .. } => {
            format!("`{operator}` on `{key}` takes the wildcard in its value literally")
        }
        _ => "the role's trust policy does not admit EKS Pod Identity".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Outcome},
        rules::fixture::{Fixture, mended_policy},
    };

    #[test]
    fn the_documented_policy_passes() {
        assert_eq!(Fixture::pod_identity().decide("EPI04"), Ok(Outcome::Pass));
        assert!(matches!(Fixture::irsa_trusted().decide("EPI04"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn each_way_to_forget_a_part_is_told_and_mended() {
        let both = json!(["sts:AssumeRole", "sts:TagSession"]);
        let service = json!({"Service": "pods.eks.amazonaws.com"});
        for (statement, words) in [
            (json!({"Effect": "Allow", "Principal": service, "Action": "sts:AssumeRole"}), "does not allow `sts:TagSession`"),
            (json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": both}), "does not name the service"),
            (json!({"Effect": "Allow", "Principal": service, "Action": both, "Condition": {"StringEquals":
                {"aws:RequestTag/kubernetes-namespace": "store"}}}), "kubernetes-namespace"),
            (json!({"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/oidc.example.com"},
                "Action": "sts:AssumeRoleWithWebIdentity"}), "does not name the service"),
        ] {
            let fixture = Fixture::pod_identity().policy(|policy| policy["Statement"] = json!([statement]));
            let finding = fixture.findings("EPI04").remove(0);
            assert!(finding.message.contains(words), "{}", finding.message);
            assert!(finding.provider_error.as_ref().unwrap().contains("Unauthorized Exception!"));
            let policy = mended_policy(&finding);
            let mended = Fixture::pod_identity().policy(|whole| *whole = policy);
            assert_eq!(mended.decide("EPI04"), Ok(Outcome::Pass), "{words}");
        }
    }

    #[test]
    fn without_session_tags_one_action_is_enough() {
        let fixture = Fixture::pod_identity()
            .policy(|policy| policy["Statement"][0]["Action"] = json!("sts:AssumeRole"))
            .change("association.json", |document| document["association"]["disableSessionTags"] = json!(true));
        assert_eq!(fixture.decide("EPI04"), Ok(Outcome::Pass));
    }

    #[test]
    fn what_was_not_given_is_not_settled() {
        assert!(matches!(Fixture::pod_identity().without("role.json").decide("EPI04"), Err(Gap::Unknown(..))));
        let summary = Fixture::pod_identity().change("association.json", |document| {
            document["association"].as_object_mut().unwrap().shift_remove("roleArn");
        });
        assert!(matches!(summary.decide("EPI04"), Err(Gap::Unknown(..))));
    }
}
