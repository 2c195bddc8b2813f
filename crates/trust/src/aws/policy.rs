//! Role trust policies: the grammar of IAM's policy language as far as a trust policy has it, and its evaluation.
//!
//! Source: IAM user guide, "IAM JSON policy elements reference", "Policy evaluation logic", "IAM policy elements:
//! variables and tags". Where the real STS was recorded to differ, the recording wins.

use cwii_contract::types::RoleArn;
use serde_json::Value;

use crate::{
    Clause, DocumentError, NearMiss,
    aws::{PrincipalDifference, Reason},
    document::Node,
    pattern::{glob, wildcards},
};

pub use super::{
    condition::{Condition, Context, Operator, Quantifier},
    lints::lints,
};

/// A parsed trust policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How people call it: `trust policy of arn:…`.
    pub name: String,
    /// `Version`; decides whether policy variables exist.
    pub version: Version,
    /// `Statement`, as an array even where the document has a single object.
    pub statements: Vec<Statement>,
    /// The policy as it was given, decoded: what a corrected one is made of.
    pub source: Value,
    /// JSON pointer to the policy in the document that holds it; pointers of statements and clauses begin with it.
    pub pointer: String,
}

/// `Version` of the policy language.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// `2008-10-17`, which a policy without the element has. No variables.
    V2008,
    /// `2012-10-17`.
    V2012,
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// `Sid`.
    pub sid: Option<String>,
    /// `Effect`.
    pub effect: Effect,
    /// `Principal` or `NotPrincipal`.
    pub principals: Principals,
    /// `Action` or `NotAction`.
    pub actions: Actions,
    /// `Condition`, one per operator and key, in the order of the document.
    pub conditions: Vec<Condition>,
    /// JSON pointer to the statement.
    pub pointer: String,
}

/// `Effect`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// `Allow`.
    Allow,
    /// `Deny`.
    Deny,
}

/// `Principal` or `NotPrincipal`.
#[derive(Clone, Debug, PartialEq)]
pub struct Principals {
    /// Whether it is `NotPrincipal`.
    pub negated: bool,
    /// Whether it is the string `*`: everybody, also an OIDC caller, which `{"AWS": "*"}` is not.
    pub anyone: bool,
    /// The principals by kind, in the order of the document.
    pub named: Vec<Principal>,
    /// JSON pointer to the element.
    pub pointer: String,
}

/// One principal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal {
    /// `AWS`, `Federated`, `Service` or `CanonicalUser`.
    pub kind: String,
    /// ARN, account, service name.
    pub value: String,
    /// JSON pointer to the value.
    pub pointer: String,
}

/// `Action` or `NotAction`.
#[derive(Clone, Debug, PartialEq)]
pub struct Actions {
    /// Whether it is `NotAction`.
    pub negated: bool,
    /// The patterns: `*` and `?` match, upper and lower case are one.
    pub patterns: Vec<String>,
    /// JSON pointer to the element.
    pub pointer: String,
}

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller<'a> {
    /// Somebody with a token of this OIDC provider: its ARN, or the name of a built-in provider.
    Federated(&'a str),
    /// An AWS service: `pods.eks.amazonaws.com`.
    Service(&'a str),
}

/// The answer of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The statement that allows, or why none does.
    pub outcome: Result<Clause, NearMiss<Reason>>,
    /// What else does not match, nearest first.
    pub others: Vec<NearMiss<Reason>>,
}

impl Policy {
    /// Reads a policy: an object, JSON in a string, or percent-encoded JSON in a string (as the IAM API returns it).
    ///
    /// # Errors
    ///
    /// What IAM would refuse to store, with its place.
    pub fn parse(value: &Value) -> Result<Self, DocumentError> {
        Self::parse_node(&Node::root("trust policy", value), "trust policy")
    }

    pub(crate) fn parse_node(node: &Node<'_>, name: &str) -> Result<Self, DocumentError> {
        match node.value {
            Value::String(text) => {
                let value = parse_text(text)
                    .ok_or_else(|| node.error("a policy: JSON, or percent-encoded JSON"))?;
                Self::parse_object(
                    &Node::at("trust policy", node.pointer.clone(), &value),
                    name,
                )
            }
            _ => Self::parse_object(
                &Node::at("trust policy", node.pointer.clone(), node.value),
                name,
            ),
        }
    }

    fn parse_object(node: &Node<'_>, name: &str) -> Result<Self, DocumentError> {
        only(node, &["Version", "Id", "Statement"])?;
        let version = match node.get(&["Version"]) {
            None => Version::V2008,
            Some(version) => match version.value.as_str() {
                Some("2012-10-17") => Version::V2012,
                Some("2008-10-17") => Version::V2008,
                _ => return Err(version.error("`2012-10-17` or `2008-10-17`")),
            },
        };
        let statements = node
            .require(&["Statement"])?
            .one_or_many()
            .iter()
            .map(Statement::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.to_owned(),
            version,
            statements,
            source: node.value.clone(),
            pointer: node.pointer.clone(),
        })
    }

    /// The statement that names a role as a principal of AWS for an action: by its ARN, by its account, or with everybody. Its
    /// conditions are not looked at, nor is any `Deny`: a role that no statement names is not admitted, whatever they say.
    #[must_use]
    pub fn statement_for_role(&self, role: &RoleArn, action: &str) -> Option<&Statement> {
        let account = format!("arn:{}:iam::{}:root", role.partition(), role.account());
        self.statements.iter().find(|statement| {
            let principals = &statement.principals;
            let named = principals.anyone
                || principals.named.iter().any(|principal| {
                    principal.kind == "AWS"
                        && ["*", role.as_str(), role.account(), &account]
                            .contains(&principal.value.as_str())
                });
            statement.effect == Effect::Allow
                && named != principals.negated
                && statement.actions.include(action)
        })
    }

    pub(super) fn clause(&self, pointer: &str, rule: &str) -> Clause {
        Clause::new(&self.name, pointer, rule)
    }
}

impl Statement {
    fn parse(node: &Node<'_>) -> Result<Self, DocumentError> {
        if let Some(prohibited) = node.get(&["Resource", "NotResource"]) {
            return Err(prohibited.error("no such element: a trust policy has no resource"));
        }
        only(
            node,
            &[
                "Sid",
                "Effect",
                "Principal",
                "NotPrincipal",
                "Action",
                "NotAction",
                "Condition",
            ],
        )?;
        let effect = node.require(&["Effect"])?;
        let effect = match effect.value.as_str() {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(effect.error("`Allow` or `Deny`")),
        };
        let conditions = match node.get(&["Condition"]) {
            None => Vec::new(),
            Some(condition) => Condition::parse_all(&condition)?,
        };
        Ok(Self {
            sid: node.optional_text(&["Sid"])?,
            effect,
            principals: Principals::parse(node)?,
            actions: Actions::parse(node)?,
            conditions,
            pointer: node.pointer.clone(),
        })
    }
}

impl Principals {
    fn parse(statement: &Node<'_>) -> Result<Self, DocumentError> {
        let node = one_of(statement, "Principal", "NotPrincipal")?;
        let mut principals = Self {
            negated: !statement.has("Principal"),
            anyone: false,
            named: Vec::new(),
            pointer: node.pointer.clone(),
        };
        if node.value.as_str() == Some("*") {
            principals.anyone = true;
            return Ok(principals);
        }
        if !node.value.is_object() {
            return Err(node.error("`*` or an object such as {\"Federated\": \"arn:…\"}"));
        }
        for (kind, values) in node.members()? {
            if !["AWS", "Federated", "Service", "CanonicalUser"].contains(&kind) {
                return Err(
                    values.error("a kind of principal: AWS, Federated, Service or CanonicalUser")
                );
            }
            for value in values.one_or_many() {
                principals.named.push(Principal {
                    kind: kind.to_owned(),
                    value: value.text()?.to_owned(),
                    pointer: value.pointer.clone(),
                });
            }
        }
        Ok(principals)
    }

    pub(super) fn include(&self, caller: Caller<'_>) -> bool {
        let named = self.anyone
            || self.named.iter().any(|principal| match caller {
                Caller::Federated(provider) => {
                    principal.kind == "Federated"
                        && (principal.value == provider || principal.value == "*")
                }
                Caller::Service(service) => {
                    principal.kind == "Service" && principal.value == service
                }
            });
        named != self.negated
    }

    /// Whether they leave it to the conditions who gets in.
    pub(super) fn are_unbounded(&self) -> bool {
        let everybody =
            |principal: &Principal| principal.kind == "Federated" && principal.value == "*";
        self.negated || self.anyone || self.named.iter().any(everybody)
    }

    fn describe(&self) -> String {
        if self.anyone {
            return "*".to_owned();
        }
        let names: Vec<String> = self
            .named
            .iter()
            .map(|principal| match principal.kind.as_str() {
                "Federated" => principal.value.clone(),
                kind => format!("{kind} {}", principal.value),
            })
            .collect();
        names.join(", ")
    }

    /// How the principal that is meant for the caller differs from it, and where it stands.
    fn difference(&self, caller: Caller<'_>) -> (PrincipalDifference, &str) {
        let Caller::Federated(provider) = caller else {
            return (PrincipalDifference::OtherKind, &self.pointer);
        };
        if self.negated {
            return (PrincipalDifference::Excluded, &self.pointer);
        }
        let federated = self.named.iter().filter(|p| p.kind == "Federated");
        if let Some((difference, principal)) = federated
            .map(|principal| (compare_providers(&principal.value, provider), principal))
            .min_by_key(|(difference, _)| *difference)
        {
            return (difference, &principal.pointer);
        }
        let anyone = self
            .named
            .iter()
            .find(|p| p.kind == "AWS" && p.value == "*");
        match anyone {
            Some(principal) => (PrincipalDifference::AwsAnyone, &principal.pointer),
            None => (PrincipalDifference::OtherKind, &self.pointer),
        }
    }
}

/// `arn:PARTITION:iam::ACCOUNT:oidc-provider/URL` against another.
pub(super) fn compare_providers(found: &str, expected: &str) -> PrincipalDifference {
    let split = |arn: &str| -> Option<(String, String, String)> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let [_, partition, _, _, account, resource] = parts[..] else {
            return None;
        };
        let url = resource.strip_prefix("oidc-provider/")?;
        Some((partition.to_owned(), account.to_owned(), url.to_owned()))
    };
    let (Some(found), Some(expected)) = (split(found), split(expected)) else {
        return PrincipalDifference::OtherProvider;
    };
    if found.2 == expected.2 {
        return if found.1 == expected.1 {
            PrincipalDifference::Partition
        } else {
            PrincipalDifference::Account
        };
    }
    if found.2.strip_prefix("https://") == Some(&*expected.2) {
        PrincipalDifference::Scheme
    } else if found.2.trim_end_matches('/') == expected.2.trim_end_matches('/') {
        PrincipalDifference::TrailingSlash
    } else if found.2.eq_ignore_ascii_case(&expected.2) {
        PrincipalDifference::Case
    } else {
        PrincipalDifference::OtherProvider
    }
}

impl Actions {
    fn parse(statement: &Node<'_>) -> Result<Self, DocumentError> {
        let node = one_of(statement, "Action", "NotAction")?;
        Ok(Self {
            negated: !statement.has("Action"),
            patterns: node.texts()?,
            pointer: node.pointer.clone(),
        })
    }

    pub(super) fn include(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        let named = self
            .patterns
            .iter()
            .any(|pattern| glob(&wildcards(&pattern.to_ascii_lowercase()), &action));
        named != self.negated
    }
}

/// Evaluates a policy: a matching `Deny` denies, else a matching `Allow` allows, else it is denied.
#[must_use]
pub fn evaluate(
    policy: &Policy,
    caller: Caller<'_>,
    action: &str,
    context: &Context,
) -> Evaluation {
    let mut nearest: Vec<Vec<NearMiss<Reason>>> = Vec::new();
    let mut allowed = None;
    for statement in &policy.statements {
        let misses = misses(policy, statement, caller, action, context);
        match (statement.effect, misses.is_empty()) {
            (Effect::Deny, true) => {
                return Evaluation {
                    outcome: Err(NearMiss {
                        reason: Reason::ExplicitDeny {
                            sid: statement.sid.clone(),
                        },
                        clause: match_clause(policy, statement, caller, context),
                    }),
                    others: Vec::new(),
                };
            }
            (Effect::Allow, true) => {
                allowed.get_or_insert_with(|| match_clause(policy, statement, caller, context));
            }
            (Effect::Allow, false) => nearest.push(misses),
            (Effect::Deny, false) => {}
        }
    }
    if let Some(clause) = allowed {
        return Evaluation {
            outcome: Ok(clause),
            others: Vec::new(),
        };
    }
    nearest.sort_by_key(|misses| {
        let principal = matches!(
            misses.first().map(|miss| &miss.reason),
            Some(Reason::PrincipalMismatch { .. })
        );
        (misses.len(), principal)
    });
    let mut others = nearest.into_iter().flatten();
    let first = others.next().unwrap_or_else(|| NearMiss {
        reason: Reason::NoAllowStatement,
        clause: policy.clause("", "Statement").compared(
            format!("a statement that allows {action}"),
            "none with Effect Allow",
        ),
    });
    Evaluation {
        outcome: Err(first),
        others: others.collect(),
    }
}

/// Everything about a statement that does not match; empty when it matches. The most telling comes first.
fn misses(
    policy: &Policy,
    statement: &Statement,
    caller: Caller<'_>,
    action: &str,
    context: &Context,
) -> Vec<NearMiss<Reason>> {
    let mut misses = Vec::new();
    if !statement.principals.include(caller) {
        let (difference, pointer) = statement.principals.difference(caller);
        let expected = match caller {
            Caller::Federated(provider) => provider.to_owned(),
            Caller::Service(service) => format!("Service {service}"),
        };
        misses.push(NearMiss {
            reason: Reason::PrincipalMismatch {
                principal: expected.clone(),
                difference,
            },
            clause: policy
                .clause(pointer, "Principal")
                .compared(statement.principals.describe(), expected),
        });
    }
    if !statement.actions.include(action) {
        misses.push(NearMiss {
            reason: Reason::ActionMismatch {
                action: action.to_owned(),
            },
            clause: policy
                .clause(&statement.actions.pointer, "Action")
                .compared(statement.actions.patterns.join(" or "), action),
        });
    }
    let mut conditions: Vec<NearMiss<Reason>> = statement
        .conditions
        .iter()
        .filter(|condition| !condition.holds(policy.version, context))
        .map(|condition| NearMiss {
            reason: condition.reason(context),
            clause: policy
                .clause(&condition.pointer, &condition.operator.text)
                .compared(
                    condition.values.join(" or "),
                    context.describe(&condition.key),
                ),
        })
        .collect();
    conditions.sort_by_key(|miss| match miss.reason {
        Reason::ConditionKeyUnknown(_) | Reason::ConditionOnOtherClaim(_) => 0,
        Reason::WildcardInStringEquals { .. } => 1,
        _ => 2,
    });
    misses.append(&mut conditions);
    misses
}

/// The clause of a statement that matches: its last condition on a claim, which is what usually tells callers apart, or
/// its principal.
fn match_clause(
    policy: &Policy,
    statement: &Statement,
    caller: Caller<'_>,
    context: &Context,
) -> Clause {
    let effect = match statement.effect {
        Effect::Allow => "Allow",
        Effect::Deny => "Deny",
    };
    let telling = statement
        .conditions
        .iter()
        .find(|condition| condition.key.to_ascii_lowercase().ends_with(":sub"))
        .or(statement.conditions.first());
    let clause = policy.clause(&statement.pointer, effect);
    match (telling, caller) {
        (Some(condition), _) => clause.compared(
            format!(
                "{} {}",
                condition.operator.text,
                condition.values.join(" or ")
            ),
            context.describe(&condition.key),
        ),
        (None, Caller::Federated(name) | Caller::Service(name)) => {
            clause.compared(statement.principals.describe(), name)
        }
    }
}

fn parse_text(text: &str) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let decoded = percent_encoding::percent_decode_str(text.trim())
        .decode_utf8()
        .ok()?;
    serde_json::from_str(&decoded).ok()
}

/// Refuses members that the grammar does not have: a condition under a misspelt name would be no condition at all.
fn only(node: &Node<'_>, names: &[&str]) -> Result<(), DocumentError> {
    for (name, member) in node.members()? {
        if !names.contains(&name) {
            return Err(member.error(format!("no member but {}", names.join(", "))));
        }
    }
    Ok(())
}

fn one_of<'a>(node: &Node<'a>, name: &str, negated: &str) -> Result<Node<'a>, DocumentError> {
    let element = node.require(&[name, negated])?;
    if node.has(name) && node.has(negated) {
        return Err(node.error(format!("either `{name}` or `{negated}`")));
    }
    Ok(element)
}
