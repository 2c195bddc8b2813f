//! A trust policy that lets EKS assume the role for this pod, made of the one that was given.

use cwii_trust::{
    Clause,
    aws::{Pod, Policy, Reason, Role, evaluate_pod_identity_trust},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::rules::aws::mend::{condition_at, push, statement_of};

/// The corrected policy; none where no mending of single parts helps.
pub(super) fn mend(
    role: &Role,
    pod: &Pod<'_>,
    session_tags: bool,
    now: Timestamp,
) -> Option<Value> {
    let mut source = role.trust_policy.source.clone();
    for round in 0..16 {
        let mut changed = role.clone();
        changed.trust_policy = Policy::parse(&source).ok()?;
        let verdict = evaluate_pod_identity_trust(&changed, pod, session_tags, now);
        let Some(denial) = verdict.denial() else {
            return (round > 0).then_some(source);
        };
        step(
            &mut source,
            &denial.reason,
            &verdict.decided_by,
            session_tags,
        )?;
    }
    None
}

fn step(source: &mut Value, reason: &Reason, clause: &Clause, session_tags: bool) -> Option<()> {
    match reason {
        Reason::NoAllowStatement | Reason::PrincipalMismatch { .. } => {
            let mut actions = vec!["sts:AssumeRole"];
            if session_tags {
                actions.push("sts:TagSession");
            }
            let statement = json!({
                "Effect": "Allow",
                "Principal": {"Service": "pods.eks.amazonaws.com"},
                "Action": actions,
            });
            push(source, statement)
        }
        Reason::ActionMismatch { action } => {
            let pointer = &clause.pointer;
            if pointer.ends_with("/NotAction") {
                return None;
            }
            match source.pointer_mut(pointer)? {
                Value::Array(list) => list.push(json!(action)),
                one => *one = json!([one.clone(), action]),
            }
            Some(())
        }
        Reason::ConditionFailed(miss) if !miss.operator.contains("Not") => {
            let (_, key) = condition_at(&clause.pointer)?;
            // What a pod's session tags say is known; anything else only people can decide.
            key.to_ascii_lowercase()
                .strip_prefix("aws:requesttag/")
                .filter(|tag| tag.starts_with("kubernetes-") || tag.starts_with("eks-"))?;
            statement_of(&clause.pointer)?;
            let found = clause.comparison.as_ref()?.found.clone();
            match source.pointer_mut(&clause.pointer)? {
                Value::Array(list) => list.push(json!(found)),
                one => *one = json!([one.clone(), found]),
            }
            Some(())
        }
        _ => None,
    }
}
