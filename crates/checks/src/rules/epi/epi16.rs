//! Looks whether the target role of an association admits the associated role with its session tags.
//!
//! ## What it checks
//!
//! An association may have a target role, often in another account, which EKS assumes with the credentials of the associated role.
//! Its trust policy must name that role, its account or everybody, for `sts:AssumeRole` and, unless the association turns session
//! tags off, for `sts:TagSession`. Conditions on it are not looked at.
//!
//! ## Why it matters
//!
//! The session tags of EKS are transitive: they go along with the second step, which is refused as a whole where tagging is.
//!
//! ## How it looks
//!
//! ```text
//! (AccessDeniedException): … is not authorized to perform: sts:TagSession on resource: arn:aws:iam::444455556666:role/reader
//! ```
//!
//! ## How to fix it
//!
//! Let the target role's trust policy allow both actions to the associated role, and the associated role's permissions allow both on
//! the target role.
//!
//! ## How to verify the fix
//!
//! `aws sts get-caller-identity` in the container names the target role.
//!
//! ## References
//!
//! - Amazon EKS, "Access AWS resources using EKS Pod Identity target IAM roles":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-assign-target-role.html>
//! - Amazon EKS, "Grant Pods access to AWS resources based on tags":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>

use cwii_contract::{Provider, types::RoleArn};
use serde_json::{Value, json};

use super::{NEEDS, NONE, associated_role, association, pod_identity};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding, Subject},
    rules::{
        aws::{mend::push, update_policy},
        words::{quote, restarted},
    },
};

pub(super) const RULE: Rule = Rule::new("EPI16", NEEDS, check).blocked_by(&["EPI03"]);

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
    let Some(target) = association.target_role_arn.as_deref() else {
        return Ok(Outcome::not_applicable("the association has no target role"));
    };
    let first = associated_role(&association)?;
    let target: RoleArn = target
        .parse()
        .map_err(|_| Gap::Unknown(Need::Trust, format!("`{target}` is not the ARN of a role")))?;
    let documents = library.aws(Some(&target));
    let role = documents.role(target.as_str()).ok_or_else(|| {
        Gap::Unknown(
            Need::Trust,
            format!(
                "the role {target} is not among the trust documents; `aws iam get-role --role-name {}` prints it",
                quote(target.name())
            ),
        )
    })?;
    let policy = &role.trust_policy;
    let mut wanted = vec!["sts:AssumeRole"];
    if !association.disable_session_tags {
        wanted.push("sts:TagSession");
    }
    let lacking: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|action| policy.statement_for_role(&first, action).is_none())
        .collect();
    if lacking.is_empty() {
        return Ok(Outcome::Pass);
    }
    let mut source = policy.source.clone();
    let beside = policy
        .statement_for_role(&first, "sts:AssumeRole")
        .and_then(|statement| statement.actions.pointer.strip_prefix(&policy.pointer));
    let mended = match beside {
        Some(pointer) => source.pointer_mut(pointer).map(|actions| {
            let mut list = match actions.take() {
                Value::Array(list) => list,
                one => vec![one],
            };
            list.extend(lacking.iter().map(|action| json!(action)));
            *actions = Value::Array(list);
        }),
        None => {
            let statement =
                json!({"Effect": "Allow", "Principal": {"AWS": first.as_str()}, "Action": wanted});
            push(&mut source, statement)
        }
    };
    let mut finding = Finding::new(
        "EPI16",
        format!(
            "the trust policy of the target role `{}` does not allow {} to the associated role",
            target.name(),
            lacking
                .iter()
                .map(|action| format!("`{action}`"))
                .collect::<Vec<_>>()
                .join(" and ")
        ),
    )
    .of(Provider::Aws)
    .at(Subject {
        kind: "IAM role".into(),
        name: target.to_string(),
        pointer: Some(format!("{}/Statement", policy.pointer)),
        what: Some("the trust policy".into()),
        file: library.file_of_aws_role(&target).map(str::to_owned),
        ..Subject::default()
    })
    .evidence("associated role", first.to_string())
    .answered(format!(
        "AWS will answer: AccessDeniedException: not authorized to perform: {} on resource: {target}",
        lacking[0]
    ))
    .fix("let the target role's trust policy allow both actions to the associated role");
    if mended.is_some() {
        finding = finding
            .command(update_policy(&target, &source))
            .applicable(Applicability::Unsafe);
        finding = restarted(finding, case);
    }
    Ok(Outcome::Found(vec![finding]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        doctor::{Gap, Outcome},
        rules::fixture::{Fixture, Trusted, mended_policy},
    };

    fn with_target() -> Trusted {
        Fixture::pod_identity().change("association.json", |document| {
            document["association"]["targetRoleArn"] = json!("arn:aws:iam::444455556666:role/reader");
        })
    }

    fn reader(principal: &str, action: Value) -> String {
        json!({"Role": {"RoleName": "reader", "Arn": "arn:aws:iam::444455556666:role/reader",
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action}]}}})
        .to_string()
    }

    #[test]
    fn a_target_that_allows_both_passes() {
        let both = json!(["sts:AssumeRole", "sts:TagSession"]);
        let fixture = with_target().document("reader.json", &reader("arn:aws:iam::111122223333:root", both));
        assert_eq!(fixture.decide("EPI16"), Ok(Outcome::Pass));
        assert!(matches!(Fixture::pod_identity().decide("EPI16"), Ok(Outcome::NotApplicable(_))));
        assert!(matches!(with_target().decide("EPI16"), Err(Gap::Unknown(..))));
    }

    #[test]
    fn a_target_without_tagging_or_for_somebody_else_is_told_and_mended() {
        for (principal, lacking) in [
            ("arn:aws:iam::111122223333:role/checkout", "`sts:TagSession`"),
            ("arn:aws:iam::111122223333:role/other", "`sts:AssumeRole` and `sts:TagSession`"),
        ] {
            let document = reader(principal, json!("sts:AssumeRole"));
            let fixture = with_target().document("reader.json", &document);
            let finding = fixture.findings("EPI16").remove(0);
            assert!(finding.message.contains(lacking), "{}", finding.message);
            let mended = json!({"Role": {"RoleName": "reader", "Arn": "arn:aws:iam::444455556666:role/reader",
                "AssumeRolePolicyDocument": mended_policy(&finding)}});
            let fixture = with_target().document("reader.json", &mended.to_string());
            assert_eq!(fixture.decide("EPI16"), Ok(Outcome::Pass), "{principal}");
        }
    }

    #[test]
    fn without_session_tags_tagging_is_not_needed() {
        let fixture = with_target()
            .document("reader.json", &reader("111122223333", json!("sts:AssumeRole")))
            .change("association.json", |document| document["association"]["disableSessionTags"] = json!(true));
        assert_eq!(fixture.decide("EPI16"), Ok(Outcome::Pass));
    }
}
