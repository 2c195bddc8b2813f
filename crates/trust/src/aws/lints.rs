//! What is dangerous or useless in a trust policy although it does not deny.

use crate::{
    Lint,
    aws::{
        KeyStatus, LintKind,
        condition::{Condition, Context, IssuerKeys, Quantifier, Test},
        policy::{Caller, Effect, Policy, Statement},
    },
    pattern::{glob, wildcards},
    verdict::ABSENT,
};

/// What is dangerous or useless in the statements that concern this caller and action. `client_ids` are the audiences
/// that the provider has registered, where they are known.
#[must_use]
pub fn lints(
    policy: &Policy,
    caller: Caller<'_>,
    action: &str,
    context: &Context,
    client_ids: Option<&[String]>,
) -> Vec<Lint<LintKind>> {
    let mut lints = Vec::new();
    for statement in &policy.statements {
        if !statement.principals.include(caller) || !statement.actions.include(action) {
            continue;
        }
        if statement.effect == Effect::Allow && statement.principals.are_unbounded() {
            lints.push(Lint {
                kind: LintKind::AnyPrincipal,
                clause: policy.clause(&statement.principals.pointer, "Principal"),
            });
        }
        for condition in &statement.conditions {
            lint_condition(policy, condition, context, &mut lints);
        }
        if let (Effect::Allow, Some(issuer)) = (statement.effect, &context.issuer) {
            lint_claims(policy, statement, issuer, client_ids, &mut lints);
        }
    }
    lints
}

fn lint_condition(
    policy: &Policy,
    condition: &Condition,
    context: &Context,
    lints: &mut Vec<Lint<LintKind>>,
) {
    let operator = condition.operator.text.clone();
    let key = condition.key.clone();
    let clause = || {
        policy
            .clause(&condition.pointer, &condition.operator.text)
            .compared(
                condition.values.join(" or "),
                context.describe(&condition.key),
            )
    };
    match context.status(&key) {
        KeyStatus::NeverPresent(mistake) => lints.push(Lint {
            kind: LintKind::KeyNeverPresent {
                operator,
                key,
                mistake,
            },
            clause: clause(),
        }),
        KeyStatus::NotKnown => lints.push(Lint {
            kind: LintKind::KeyNotKnown { operator, key },
            clause: clause(),
        }),
        KeyStatus::Absent
            if condition.operator.quantifier == Some(Quantifier::ForAllValues)
                || condition.operator.if_exists =>
        {
            lints.push(Lint {
                kind: LintKind::TrueBecauseKeyMissing { operator, key },
                clause: clause(),
            });
        }
        _ if condition.literal_wildcard().is_some() => lints.push(Lint {
            kind: LintKind::WildcardInStringEquals { operator, key },
            clause: clause(),
        }),
        _ => {}
    }
}

fn lint_claims(
    policy: &Policy,
    statement: &Statement,
    issuer: &IssuerKeys,
    client_ids: Option<&[String]>,
    lints: &mut Vec<Lint<LintKind>>,
) {
    let asks_for = |claim: &str| -> Vec<&Condition> {
        let key = format!("{}:{claim}", issuer.prefix);
        statement
            .conditions
            .iter()
            .filter(|c| c.operator.is_positive_text() && c.key.eq_ignore_ascii_case(&key))
            .collect()
    };
    // Any claim that says who it is will do: for the shared issuers that is not always `sub`.
    let restricting: Vec<&Condition> = issuer
        .claims
        .iter()
        .filter(|claim| !["aud", "oaud", "amr"].contains(claim))
        .flat_map(|claim| asks_for(claim))
        .collect();
    if restricting.is_empty() {
        lints.push(Lint {
            kind: LintKind::NoSubjectCondition,
            clause: policy
                .clause(&statement.pointer, "Condition")
                .compared(format!("a condition on {}:sub", issuer.prefix), ABSENT),
        });
    } else if restricting.iter().all(|c| widest(c).is_some()) {
        for condition in restricting {
            let value = widest(condition).unwrap_or_default();
            lints.push(Lint {
                kind: LintKind::SubjectTooWide {
                    value: value.to_owned(),
                },
                clause: policy
                    .clause(&condition.pointer, &condition.operator.text)
                    .compared("system:serviceaccount:NAMESPACE:NAME", value),
            });
        }
    }
    let audiences = asks_for("aud");
    if audiences.is_empty() {
        lints.push(Lint {
            kind: LintKind::NoAudienceCondition,
            clause: policy
                .clause(&statement.pointer, "Condition")
                .compared(format!("a condition on {}:aud", issuer.prefix), ABSENT),
        });
    }
    let Some(client_ids) = client_ids else { return };
    for condition in audiences
        .into_iter()
        .filter(|c| c.operator.test == Test::Equals)
    {
        for value in &condition.values {
            if !client_ids.contains(value) && !value.contains("${") {
                lints.push(Lint {
                    kind: LintKind::AudienceNotRegistered {
                        audience: value.clone(),
                    },
                    clause: policy
                        .clause(&condition.pointer, &condition.operator.text)
                        .compared(client_ids.join(" or "), value),
                });
            }
        }
    }
}

/// A value that any ServiceAccount of the cluster fits: one that matches two made-up ones.
fn widest(condition: &Condition) -> Option<&str> {
    if condition.operator.test != Test::Like {
        return None;
    }
    let subjects = [
        "system:serviceaccount:qx-7:w3-j",
        "system:serviceaccount:kz9v:m-58h",
    ];
    condition
        .values
        .iter()
        .find(|value| {
            let pattern = wildcards(value);
            subjects.iter().all(|subject| glob(&pattern, subject))
        })
        .map(String::as_str)
}
