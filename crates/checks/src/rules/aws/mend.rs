//! A trust policy that admits the workload, made of the one that was given.
//!
//! One fault at a time is mended, as the evaluator names them, until it admits the token and leaves the role open to nobody
//! else. What is not at fault stays letter for letter: other statements, other subjects, other conditions. Where the
//! evaluator names something that only a person can decide (a `Deny`, a condition on the network) nothing is proposed.

use cwii_trust::{
    Clause,
    aws::{
        Documents, KeyMistake, KeyStatus, LintKind, Policy, PrincipalDifference, Reason, Verdict,
    },
};
use serde_json::{Map, Value, json};

/// Who is to be admitted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// ARN of the OIDC provider.
    pub(super) provider: String,
    /// Issuer without its scheme: what condition keys begin with.
    pub(super) prefix: String,
    /// `sub`.
    pub(super) subject: String,
    /// The audience that STS compares.
    pub(super) audience: String,
}

/// The corrected policy; none where it needs none, or where no mending of single parts helps. `evaluate` judges a policy.
pub(super) fn mend(
    policy: &Policy,
    wanted: &Wanted,
    documents: &Documents,
    evaluate: impl Fn(&Policy) -> Verdict,
) -> Option<Value> {
    let mut source = policy.source.clone();
    for round in 0..16 {
        // Parsed anew, so that pointers begin at the policy itself.
        let parsed = Policy::parse(&source).ok()?;
        let verdict = evaluate(&parsed);
        let step = match verdict.denial() {
            Some(denial) => reason(
                &mut source,
                &denial.reason,
                &verdict.decided_by,
                wanted,
                documents,
            ),
            None => {
                let fault = verdict.lints.iter().find(|found| is_fault(&found.kind));
                match fault {
                    Some(found) => lint(&mut source, &found.kind, &found.clause, wanted),
                    None => return (round > 0).then_some(source),
                }
            }
        };
        step?;
    }
    None
}

/// Whether a lint of a policy that admits the token is a fault all the same.
pub(super) fn is_fault(kind: &LintKind) -> bool {
    match kind {
        LintKind::NoSubjectCondition
        | LintKind::SubjectTooWide { .. }
        | LintKind::WildcardInStringEquals { .. } => true,
        // A key of another issuer under `…IfExists` is how one role serves several clusters.
        LintKind::KeyNeverPresent { mistake, .. } => is_misspelt(*mistake),
        _ => false,
    }
}

/// Whether a key is meant to be this issuer's.
pub(super) fn is_misspelt(mistake: KeyMistake) -> bool {
    matches!(
        mistake,
        KeyMistake::Scheme | KeyMistake::TrailingSlash | KeyMistake::ProviderArn
    )
}

fn reason(
    source: &mut Value,
    reason: &Reason,
    clause: &Clause,
    wanted: &Wanted,
    documents: &Documents,
) -> Option<()> {
    match reason {
        Reason::NoAllowStatement => append(source, wanted),
        Reason::PrincipalMismatch { difference, .. } => {
            principal(source, *difference, clause, wanted, documents)
        }
        Reason::ActionMismatch { .. } => action(source, clause, wanted),
        Reason::ConditionKeyUnknown(miss) => {
            let KeyStatus::NeverPresent(mistake) = miss.status else {
                return None;
            };
            key(source, &clause.pointer, mistake, wanted)
        }
        Reason::ConditionOnOtherClaim(_) => other_claim(source, &clause.pointer, wanted),
        Reason::WildcardInStringEquals { would_match, .. } => {
            wildcard(source, &clause.pointer, *would_match, wanted)
        }
        Reason::ConditionFailed(miss) => match miss.status {
            KeyStatus::Present => values(source, &clause.pointer, &miss.operator, wanted),
            KeyStatus::Absent => remove_condition(source, &clause.pointer),
            KeyStatus::NotKnown | KeyStatus::NeverPresent(_) => None,
        },
        _ => None,
    }
}

fn lint(source: &mut Value, kind: &LintKind, clause: &Clause, wanted: &Wanted) -> Option<()> {
    match kind {
        LintKind::NoSubjectCondition => {
            add_condition(source, &clause.pointer, "sub", &wanted.subject, wanted)
        }
        LintKind::SubjectTooWide { .. } => {
            let statement = statement_of(&clause.pointer)?.to_owned();
            remove_condition(source, &clause.pointer)?;
            add_condition(source, &statement, "sub", &wanted.subject, wanted)
        }
        LintKind::KeyNeverPresent { mistake, .. } => key(source, &clause.pointer, *mistake, wanted),
        LintKind::WildcardInStringEquals { .. } => {
            let values = source.pointer_mut(&clause.pointer)?.as_array_mut()?;
            values.retain(|value| !value.as_str().is_some_and(|text| text.contains(['*', '?'])));
            (!values.is_empty()).then_some(())
        }
        _ => None,
    }
}

fn principal(
    source: &mut Value,
    difference: PrincipalDifference,
    clause: &Clause,
    wanted: &Wanted,
    documents: &Documents,
) -> Option<()> {
    use PrincipalDifference as D;
    match difference {
        D::Partition | D::Account | D::Scheme | D::TrailingSlash | D::Case => {
            *source.pointer_mut(&clause.pointer)? = json!(wanted.provider);
            Some(())
        }
        D::OtherProvider => {
            let named = source.pointer(&clause.pointer)?.as_str()?.to_owned();
            let in_use = documents
                .providers
                .iter()
                .flatten()
                .any(|provider| provider.arn == named);
            let statement = statement_of(&clause.pointer)?.to_owned();
            if in_use {
                // Another cluster may live by it: it stays, and the new issuer gets a statement of its own.
                let mut copy = source.pointer(&statement)?.clone();
                let members = copy.as_object_mut()?;
                members.shift_remove("Sid");
                members.insert("Principal".into(), json!({"Federated": wanted.provider}));
                rename_issuer(members, &named, wanted);
                push(source, copy)
            } else {
                *source.pointer_mut(&clause.pointer)? = json!(wanted.provider);
                rename_issuer(
                    source.pointer_mut(&statement)?.as_object_mut()?,
                    &named,
                    wanted,
                );
                Some(())
            }
        }
        D::AwsAnyone => {
            let statement = statement_of(&clause.pointer)?.to_owned();
            let members = source.pointer_mut(&statement)?.as_object_mut()?;
            members.insert("Principal".into(), json!({"Federated": wanted.provider}));
            Some(())
        }
        D::OtherKind | D::Excluded => append(source, wanted),
    }
}

/// Condition keys of the issuer that a principal named, which are of no use without it.
fn rename_issuer(statement: &mut Map<String, Value>, named: &str, wanted: &Wanted) {
    let Some((_, old)) = named.split_once(":oidc-provider/") else {
        return;
    };
    let operators = statement
        .get_mut("Condition")
        .and_then(Value::as_object_mut);
    for keys in operators
        .into_iter()
        .flat_map(|operators| operators.values_mut())
    {
        let Some(keys) = keys.as_object_mut() else {
            continue;
        };
        *keys = std::mem::take(keys)
            .into_iter()
            .map(|(key, values)| match key.rsplit_once(':') {
                Some((prefix, claim)) if prefix.eq_ignore_ascii_case(old) => {
                    (format!("{}:{claim}", wanted.prefix), values)
                }
                _ => (key, values),
            })
            .collect();
    }
}

fn action(source: &mut Value, clause: &Clause, wanted: &Wanted) -> Option<()> {
    if clause.pointer.ends_with("/NotAction") {
        return append(source, wanted);
    }
    let statement = statement_of(&clause.pointer)?.to_owned();
    let federated_only = source
        .pointer(&format!("{statement}/Principal"))
        .and_then(Value::as_object)
        .is_some_and(|kinds| kinds.keys().all(|kind| kind == "Federated"));
    let actions = source.pointer_mut(&clause.pointer)?;
    let is_plain = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.eq_ignore_ascii_case("sts:AssumeRole"))
    };
    match actions {
        Value::Array(list) => match list.iter_mut().find(|value| is_plain(value)) {
            Some(found) if federated_only => *found = json!(ASSUME),
            _ => list.push(json!(ASSUME)),
        },
        one if federated_only && is_plain(one) => *one = json!(ASSUME),
        one => *one = json!([one.clone(), ASSUME]),
    }
    Some(())
}

/// A key that no request has: spelt right where it is clear what was meant, else taken away.
fn key(source: &mut Value, pointer: &str, mistake: KeyMistake, wanted: &Wanted) -> Option<()> {
    let (operator, key) = condition_at(pointer)?;
    let claim = key
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let meant = match mistake {
        KeyMistake::Scheme
        | KeyMistake::TrailingSlash
        | KeyMistake::ProviderArn
        | KeyMistake::OtherIssuer
        | KeyMistake::NoSuchKey => ["aud", "oaud", "sub"].contains(&claim.as_str()),
        KeyMistake::ClaimNotAvailable | KeyMistake::NotForThisCaller => false,
    };
    if !meant {
        return remove_condition(source, pointer);
    }
    let name = format!("{}:{claim}", wanted.prefix);
    let keys = source.pointer_mut(&operator)?.as_object_mut()?;
    let taken = keys.keys().any(|known| known.eq_ignore_ascii_case(&name));
    *keys = std::mem::take(keys)
        .into_iter()
        .filter(|(known, _)| !(taken && *known == key))
        .map(|(known, values)| {
            if known == key {
                (name.clone(), values)
            } else {
                (known, values)
            }
        })
        .collect();
    Some(())
}

/// `aud` asked for the subject, or the other way round.
fn other_claim(source: &mut Value, pointer: &str, wanted: &Wanted) -> Option<()> {
    let (_, key) = condition_at(pointer)?;
    let statement = statement_of(pointer)?.to_owned();
    let claim = key
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let (right, other) = match claim.as_str() {
        "aud" => (&wanted.audience, "sub"),
        _ => (&wanted.subject, "aud"),
    };
    *source.pointer_mut(pointer)? = json!(right);
    let other_key = format!("{}:{other}", wanted.prefix);
    let has_other = source
        .pointer(&format!("{statement}/Condition"))
        .and_then(Value::as_object)
        .is_some_and(|operators| {
            operators.values().filter_map(Value::as_object).any(|keys| {
                keys.keys()
                    .any(|known| known.eq_ignore_ascii_case(&other_key))
            })
        });
    if has_other {
        return Some(());
    }
    let value = if other == "sub" {
        &wanted.subject
    } else {
        &wanted.audience
    };
    add_condition(source, &statement, other, value, wanted)
}

/// `*` where it is a letter like any other.
fn wildcard(source: &mut Value, pointer: &str, would_match: bool, wanted: &Wanted) -> Option<()> {
    let (operator, key) = condition_at(pointer)?;
    if !would_match {
        let name = operator.rsplit('/').next().unwrap_or_default().to_owned();
        return values(source, pointer, &name, wanted);
    }
    let statement = statement_of(pointer)?.to_owned();
    let name = operator.rsplit('/').next()?.to_owned();
    // There is no form of `StringLike` that ignores case.
    let like = if name.contains("IgnoreCase") {
        name.replace("StringEqualsIgnoreCase", "StringLike")
    } else {
        name.replace("StringEquals", "StringLike")
    };
    let taken = source.pointer(pointer)?.clone();
    remove_condition(source, pointer)?;
    let operators = conditions(source, &statement)?;
    operators
        .entry(like)
        .or_insert_with(|| json!({}))
        .as_object_mut()?
        .insert(key, taken);
    Some(())
}

/// The value of a condition on subject or audience: what nobody can have is replaced, what others may have stays.
fn values(source: &mut Value, pointer: &str, operator: &str, wanted: &Wanted) -> Option<()> {
    let (_, key) = condition_at(pointer)?;
    if operator.contains("Not") {
        return None;
    }
    let subject = format!("{}:sub", wanted.prefix);
    let audience = format!("{}:aud", wanted.prefix);
    let is_subject = key.eq_ignore_ascii_case(&subject);
    if !is_subject && !key.eq_ignore_ascii_case(&audience) {
        return None;
    }
    let right = if is_subject {
        &wanted.subject
    } else {
        &wanted.audience
    };
    let place = source.pointer_mut(pointer)?;
    let mut list = match place.take() {
        Value::Array(list) => list,
        one => vec![one],
    };
    list.retain(|value| {
        let text = value.as_str().unwrap_or_default();
        is_subject && may_be_anothers(text, right)
    });
    list.push(json!(right));
    *place = match list.as_slice() {
        [only] => only.clone(),
        _ => Value::Array(list),
    };
    Some(())
}

/// Whether a subject, or a pattern of subjects, could be that of another workload rather than this one's misspelt.
fn may_be_anothers(text: &str, subject: &str) -> bool {
    let well_formed = text
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
        .is_some_and(|(namespace, name)| {
            !namespace.is_empty()
                && !name.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:*?".contains(&b))
        });
    well_formed && !text.eq_ignore_ascii_case(subject)
}

fn append(source: &mut Value, wanted: &Wanted) -> Option<()> {
    let statement = json!({
        "Effect": "Allow",
        "Principal": {"Federated": wanted.provider},
        "Action": ASSUME,
        "Condition": {"StringEquals": {
            format!("{}:aud", wanted.prefix): wanted.audience,
            format!("{}:sub", wanted.prefix): wanted.subject,
        }},
    });
    push(source, statement)
}

pub(in crate::rules) fn push(source: &mut Value, statement: Value) -> Option<()> {
    let statements = source.as_object_mut()?.get_mut("Statement")?;
    match statements {
        Value::Array(list) => list.push(statement),
        one => *one = json!([one.clone(), statement]),
    }
    Some(())
}

fn add_condition(
    source: &mut Value,
    statement: &str,
    claim: &str,
    value: &str,
    wanted: &Wanted,
) -> Option<()> {
    conditions(source, statement)?
        .entry("StringEquals")
        .or_insert_with(|| json!({}))
        .as_object_mut()?
        .insert(format!("{}:{claim}", wanted.prefix), json!(value));
    Some(())
}

fn conditions<'v>(source: &'v mut Value, statement: &str) -> Option<&'v mut Map<String, Value>> {
    source
        .pointer_mut(statement)?
        .as_object_mut()?
        .entry("Condition")
        .or_insert_with(|| json!({}))
        .as_object_mut()
}

/// Takes a condition away, and what is empty without it.
pub(in crate::rules) fn remove_condition(source: &mut Value, pointer: &str) -> Option<()> {
    let (operator, key) = condition_at(pointer)?;
    let statement = statement_of(pointer)?.to_owned();
    let keys = source.pointer_mut(&operator)?.as_object_mut()?;
    keys.shift_remove(&key)?;
    if keys.is_empty() {
        let name = operator.rsplit('/').next()?.to_owned();
        let operators = conditions(source, &statement)?;
        operators.shift_remove(&name);
        if operators.is_empty() {
            source
                .pointer_mut(&statement)?
                .as_object_mut()?
                .shift_remove("Condition");
        }
    }
    Some(())
}

/// Pointer to the operator, and the key: `/Statement/0/Condition/StringEquals` and `oidc.example.com:sub`.
pub(in crate::rules) fn condition_at(pointer: &str) -> Option<(String, String)> {
    let (operator, key) = pointer.rsplit_once('/')?;
    Some((
        operator.to_owned(),
        key.replace("~1", "/").replace("~0", "~"),
    ))
}

/// Pointer to the statement that a pointer leads into: `/Statement` or `/Statement/0`.
pub(in crate::rules) fn statement_of(pointer: &str) -> Option<&str> {
    let after = pointer.find("/Statement")? + "/Statement".len();
    let rest = pointer[after..].strip_prefix('/').unwrap_or_default();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let is_index = digits > 0 && matches!(rest.as_bytes().get(digits), None | Some(b'/'));
    Some(&pointer[..if is_index { after + 1 + digits } else { after }])
}

const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";
