//! Role trust policies: the grammar of IAM's policy language as far as a trust policy has it, and its evaluation.
//!
//! Source: IAM user guide, "IAM JSON policy elements reference", "Policy evaluation logic", "IAM policy elements:
//! variables and tags". Where the real STS was recorded to differ, the recording wins.

use std::{collections::BTreeMap, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, civil, tz::Offset};
use serde_json::Value;

use crate::{
    Clause, DocumentError, Lint, NearMiss,
    aws::{ConditionMiss, KeyMistake, KeyStatus, LintKind, PrincipalDifference, Reason},
    document::Node,
    pattern::{Piece, glob, piece, wildcards},
    verdict::ABSENT,
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

/// One key under one operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The operator.
    pub operator: Operator,
    /// The key, as written; its case does not matter.
    pub key: String,
    /// The values; numbers and booleans as text.
    pub values: Vec<String>,
    /// JSON pointer to the key's values.
    pub pointer: String,
}

/// A condition operator with prefix and suffix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operator {
    /// As written: `ForAnyValue:StringLikeIfExists`.
    pub text: String,
    test: Test,
    negated: bool,
    /// Whether it ends in `IfExists`.
    pub if_exists: bool,
    /// `ForAllValues:` or `ForAnyValue:`.
    pub quantifier: Option<Quantifier>,
}

/// How a key with several values is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quantifier {
    /// `ForAllValues:`, true when the key is missing.
    ForAllValues,
    /// `ForAnyValue:`, false when the key is missing.
    ForAnyValue,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Numeric(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller<'a> {
    /// Somebody with a token of this OIDC provider: its ARN, or the name of a built-in provider.
    Federated(&'a str),
    /// An AWS service: `pods.eks.amazonaws.com`.
    Service(&'a str),
}

/// The keys of a request that conditions can ask for. Their names have no case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    keys: BTreeMap<String, Vec<String>>,
    not_known: Vec<&'static str>,
    issuer: Option<IssuerKeys>,
}

#[derive(Clone, Debug, PartialEq)]
struct IssuerKeys {
    prefix: String,
    claims: Vec<&'static str>,
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
        })
    }

    fn clause(&self, pointer: &str, rule: &str) -> Clause {
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
            Some(condition) => conditions(&condition)?,
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

    fn include(&self, caller: Caller<'_>) -> bool {
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

    fn include(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        let named = self
            .patterns
            .iter()
            .any(|pattern| glob(&wildcards(&pattern.to_ascii_lowercase()), &action));
        named != self.negated
    }
}

fn conditions(node: &Node<'_>) -> Result<Vec<Condition>, DocumentError> {
    let mut conditions = Vec::new();
    for (name, keys) in node.members()? {
        let operator = Operator::parse(name)
            .ok_or_else(|| keys.error("a condition operator such as StringEquals above it"))?;
        for (key, values) in keys.members()? {
            let values_text = values
                .one_or_many()
                .iter()
                .map(|value| match value.value {
                    Value::String(text) => Ok(text.clone()),
                    Value::Number(number) => Ok(number.to_string()),
                    Value::Bool(flag) => Ok(flag.to_string()),
                    _ => Err(value.error("a string, number or boolean")),
                })
                .collect::<Result<_, _>>()?;
            conditions.push(Condition {
                operator: operator.clone(),
                key: key.to_owned(),
                values: values_text,
                pointer: values.pointer,
            });
        }
    }
    Ok(conditions)
}

impl Operator {
    fn parse(text: &str) -> Option<Self> {
        let mut name = text.to_ascii_lowercase();
        let mut quantifier = None;
        for (prefix, value) in [
            ("forallvalues:", Quantifier::ForAllValues),
            ("foranyvalue:", Quantifier::ForAnyValue),
        ] {
            if let Some(rest) = name.strip_prefix(prefix) {
                name = rest.to_owned();
                quantifier = Some(value);
                break;
            }
        }
        let if_exists = name.ends_with("ifexists");
        if if_exists {
            name.truncate(name.len() - "ifexists".len());
        }
        let (test, negated) = match name.as_str() {
            "stringequals" => (Test::Equals, false),
            "stringnotequals" => (Test::Equals, true),
            "stringequalsignorecase" => (Test::EqualsIgnoreCase, false),
            "stringnotequalsignorecase" => (Test::EqualsIgnoreCase, true),
            "stringlike" => (Test::Like, false),
            "stringnotlike" => (Test::Like, true),
            "numericequals" => (Test::Numeric(Order::Equal), false),
            "numericnotequals" => (Test::Numeric(Order::Equal), true),
            "numericlessthan" => (Test::Numeric(Order::Less), false),
            "numericlessthanequals" => (Test::Numeric(Order::LessOrEqual), false),
            "numericgreaterthan" => (Test::Numeric(Order::Greater), false),
            "numericgreaterthanequals" => (Test::Numeric(Order::GreaterOrEqual), false),
            "dateequals" => (Test::Date(Order::Equal), false),
            "datenotequals" => (Test::Date(Order::Equal), true),
            "datelessthan" => (Test::Date(Order::Less), false),
            "datelessthanequals" => (Test::Date(Order::LessOrEqual), false),
            "dategreaterthan" => (Test::Date(Order::Greater), false),
            "dategreaterthanequals" => (Test::Date(Order::GreaterOrEqual), false),
            "bool" => (Test::Bool, false),
            "binaryequals" => (Test::Binary, false),
            "ipaddress" => (Test::Ip, false),
            "notipaddress" => (Test::Ip, true),
            "arnequals" | "arnlike" => (Test::Arn, false),
            "arnnotequals" | "arnnotlike" => (Test::Arn, true),
            "null" if !if_exists && quantifier.is_none() => (Test::Null, false),
            _ => return None,
        };
        Some(Self {
            text: text.to_owned(),
            test,
            negated,
            if_exists,
            quantifier,
        })
    }

    /// Whether a condition under this operator holds for a key that is missing.
    fn holds_without_key(&self) -> bool {
        self.if_exists
            || match self.quantifier {
                Some(Quantifier::ForAllValues) => true,
                Some(Quantifier::ForAnyValue) => false,
                None => self.negated,
            }
    }

    /// Whether it asks for certain values, rather than excluding some.
    fn is_positive_text(&self) -> bool {
        !self.negated
            && matches!(
                self.test,
                Test::Equals | Test::EqualsIgnoreCase | Test::Like | Test::Arn
            )
    }

    fn takes_variables(&self) -> bool {
        matches!(
            self.test,
            Test::Equals | Test::EqualsIgnoreCase | Test::Like | Test::Arn
        )
    }
}

impl Context {
    /// Without any key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key. A key without values is one that is missing.
    pub fn set<V: Into<String>>(&mut self, key: &str, values: impl IntoIterator<Item = V>) {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        if !values.is_empty() {
            self.keys.insert(key.to_ascii_lowercase(), values);
        }
    }

    /// Names a key that the real request has but whose value nobody knows here. It counts as missing.
    pub fn set_not_known(&mut self, key: &'static str) {
        self.not_known.push(key);
    }

    /// Names the provider whose claims are keys, `host/path`, and those claims.
    pub fn set_issuer(&mut self, prefix: &str, claims: Vec<&'static str>) {
        self.issuer = Some(IssuerKeys {
            prefix: prefix.to_owned(),
            claims,
        });
    }

    /// The values of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.keys.get(&key.to_ascii_lowercase()).map(Vec::as_slice)
    }

    /// Whether a key is there, and if not, whether it ever could be.
    #[must_use]
    pub fn status(&self, key: &str) -> KeyStatus {
        let lower = key.to_ascii_lowercase();
        if self.keys.contains_key(&lower) {
            return KeyStatus::Present;
        }
        if self
            .not_known
            .iter()
            .any(|name| name.eq_ignore_ascii_case(key))
        {
            return KeyStatus::NotKnown;
        }
        if lower.starts_with("aws:") || lower.starts_with("sts:") {
            // Keys that a token's tags and source identity, or a session's, bring along.
            let depends_on_token = lower.starts_with("aws:requesttag/")
                || ["aws:tagkeys", "sts:transitivetagkeys", "sts:sourceidentity"]
                    .contains(&lower.as_str());
            return if depends_on_token {
                KeyStatus::Absent
            } else {
                KeyStatus::NeverPresent(KeyMistake::NotForThisCaller)
            };
        }
        let Some(issuer) = &self.issuer else {
            return KeyStatus::NeverPresent(KeyMistake::NotForThisCaller);
        };
        let Some((prefix, claim)) = key.rsplit_once(':') else {
            return KeyStatus::NeverPresent(KeyMistake::NoSuchKey);
        };
        let expected = &issuer.prefix;
        if prefix.eq_ignore_ascii_case(expected) {
            let known = issuer.claims.iter().any(|c| c.eq_ignore_ascii_case(claim));
            return if known {
                KeyStatus::Absent
            } else {
                KeyStatus::NeverPresent(KeyMistake::ClaimNotAvailable)
            };
        }
        KeyStatus::NeverPresent(
            if prefix.split_once("://").is_some_and(|(_, rest)| {
                rest.trim_end_matches('/') == expected.trim_end_matches('/')
            }) {
                KeyMistake::Scheme
            } else if prefix
                .trim_end_matches('/')
                .eq_ignore_ascii_case(expected.trim_end_matches('/'))
            {
                KeyMistake::TrailingSlash
            } else if prefix.contains(":oidc-provider/") {
                KeyMistake::ProviderArn
            } else {
                KeyMistake::OtherIssuer
            },
        )
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
        if statement.effect == Effect::Allow && statement.principals.anyone {
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
                found(context, &condition.key),
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
        _ if literal_wildcard(condition).is_some() => lints.push(Lint {
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
        .filter(|condition| !holds(condition, policy.version, context))
        .map(|condition| NearMiss {
            reason: condition_reason(condition, context),
            clause: policy
                .clause(&condition.pointer, &condition.operator.text)
                .compared(
                    condition.values.join(" or "),
                    found(context, &condition.key),
                ),
        })
        .collect();
    conditions.sort_by_key(|miss| match miss.reason {
        Reason::ConditionKeyUnknown { .. } => 0,
        Reason::WildcardInStringEquals { .. } => 1,
        _ => 2,
    });
    misses.append(&mut conditions);
    misses
}

fn condition_reason(condition: &Condition, context: &Context) -> Reason {
    let operator = condition.operator.text.clone();
    let key = condition.key.clone();
    match context.status(&key) {
        KeyStatus::NeverPresent(mistake) => Reason::ConditionKeyUnknown(ConditionMiss {
            operator,
            key,
            status: KeyStatus::NeverPresent(mistake),
        }),
        KeyStatus::Present if literal_wildcard(condition).is_some() => {
            let would_match = context.get(&key).is_some_and(|found| {
                condition
                    .values
                    .iter()
                    .any(|value| found.iter().any(|f| glob(&wildcards(value), f)))
            });
            Reason::WildcardInStringEquals {
                operator,
                key,
                would_match,
            }
        }
        status => Reason::ConditionFailed(ConditionMiss {
            operator,
            key,
            status,
        }),
    }
}

/// A `*` or `?` that is compared literally.
fn literal_wildcard(condition: &Condition) -> Option<&str> {
    if !matches!(
        condition.operator.test,
        Test::Equals | Test::EqualsIgnoreCase
    ) {
        return None;
    }
    condition
        .values
        .iter()
        .find(|value| value.contains(['*', '?']) && !value.contains("${"))
        .map(String::as_str)
}

fn found(context: &Context, key: &str) -> String {
    context
        .get(key)
        .map_or_else(|| ABSENT.to_owned(), |values| values.join(", "))
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
            found(context, &condition.key),
        ),
        (None, Caller::Federated(name) | Caller::Service(name)) => {
            clause.compared(statement.principals.describe(), name)
        }
    }
}

fn holds(condition: &Condition, version: Version, context: &Context) -> bool {
    let operator = &condition.operator;
    let found = context.get(&condition.key);
    if operator.test == Test::Null {
        return condition
            .values
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case("true") == found.is_none());
    }
    let Some(found) = found else {
        return operator.holds_without_key();
    };
    let mut patterns = Vec::with_capacity(condition.values.len());
    for value in &condition.values {
        if operator.takes_variables() && version == Version::V2012 {
            match expand(value, context) {
                Some(pattern) => patterns.push(pattern),
                // A variable that cannot be resolved matches nothing. Under a negated operator this would admit
                // everybody, so there the condition fails as a whole.
                None if operator.negated => return false,
                None => {}
            }
        } else {
            patterns.push(wildcards(value));
        }
    }
    let matches = |value: &String| {
        let any = match operator.test {
            Test::Equals => patterns.iter().any(|p| literal(p) == *value),
            Test::EqualsIgnoreCase => patterns
                .iter()
                .any(|p| literal(p).to_lowercase() == value.to_lowercase()),
            Test::Like => patterns.iter().any(|p| glob(p, value)),
            Test::Arn => patterns.iter().any(|p| glob_arn(p, value)),
            test => condition.values.iter().any(|v| compare(test, value, v)),
        };
        any != operator.negated
    };
    match operator.quantifier {
        Some(Quantifier::ForAllValues) => found.iter().all(matches),
        Some(Quantifier::ForAnyValue) => found.iter().any(matches),
        None if operator.negated => found.iter().all(matches),
        None => found.iter().any(matches),
    }
}

fn compare(test: Test, found: &str, expected: &str) -> bool {
    match test {
        Test::Numeric(order) => {
            match (found.trim().parse::<f64>(), expected.trim().parse::<f64>()) {
                (Ok(found), Ok(expected)) => found
                    .partial_cmp(&expected)
                    .is_some_and(|ordering| order.admits(ordering)),
                _ => false,
            }
        }
        Test::Date(order) => match (parse_date(found), parse_date(expected)) {
            (Some(found), Some(expected)) => order.admits(found.cmp(&expected)),
            _ => false,
        },
        Test::Bool => found.eq_ignore_ascii_case(expected),
        Test::Binary => STANDARD
            .decode(expected)
            .is_ok_and(|bytes| bytes == found.as_bytes()),
        Test::Ip => in_network(found, expected),
        Test::Equals | Test::EqualsIgnoreCase | Test::Like | Test::Arn | Test::Null => false,
    }
}

impl Order {
    fn admits(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// ISO 8601 in the forms of the W3C profile, or seconds since 1970. Four digits are a year.
fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let midnight = |year: i16, month: i8, day: i8| {
        let date = civil::Date::new(year, month, day).ok()?;
        Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()
    };
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.len() {
            4 => midnight(text.parse().ok()?, 1, 1),
            _ => Timestamp::from_second(text.parse().ok()?).ok(),
        };
    }
    if let Ok(timestamp) = text.parse() {
        return Some(timestamp);
    }
    let parts: Vec<&str> = text.split('-').collect();
    match parts[..] {
        [year, month] => midnight(year.parse().ok()?, month.parse().ok()?, 1),
        [year, month, day] => midnight(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?),
        _ => None,
    }
}

/// Whether an address lies in `address/prefix`; without a prefix they must be the same.
fn in_network(address: &str, network: &str) -> bool {
    let (base, prefix) = match network.split_once('/') {
        Some((base, prefix)) => (base, prefix.parse::<u32>().ok()),
        None => (network, Some(128)),
    };
    let (Ok(address), Ok(base), Some(prefix)) = (
        address.trim().parse::<IpAddr>(),
        base.trim().parse::<IpAddr>(),
        prefix,
    ) else {
        return false;
    };
    match (address, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let kept = 32 - prefix.min(32);
            u64::from(a.to_bits()) >> kept == u64::from(b.to_bits()) >> kept
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let kept = 128 - prefix.min(128);
            kept == 128 || a.to_bits() >> kept == b.to_bits() >> kept
        }
        _ => false,
    }
}

/// The pattern as text, where wildcards mean nothing.
fn literal(pattern: &[Piece]) -> String {
    pattern
        .iter()
        .map(|piece| match piece {
            Piece::Char(c) => *c,
            Piece::One => '?',
            Piece::Many => '*',
        })
        .collect()
}

/// Replaces policy variables. What they insert is literal. `None` when one cannot be resolved: its key is missing and it
/// has no default, or its key has several values.
fn expand(text: &str, context: &Context) -> Option<Vec<Piece>> {
    let mut pieces = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else {
            break;
        };
        pieces.extend(rest[..start].chars().map(piece));
        let variable = &rest[start + 2..start + length];
        match variable {
            "*" | "?" | "$" => pieces.extend(variable.chars().map(Piece::Char)),
            _ => {
                let (key, default) = match variable.split_once(',') {
                    Some((key, default)) => (key.trim(), Some(default.trim())),
                    None => (variable.trim(), None),
                };
                let value = match (context.get(key), default) {
                    (Some([value]), _) => value.as_str(),
                    (Some(_), _) | (None, None) => return None,
                    (None, Some(default)) => default.strip_prefix('\'')?.strip_suffix('\'')?,
                };
                pieces.extend(value.chars().map(Piece::Char));
            }
        }
        rest = &rest[start + length + 1..];
    }
    pieces.extend(rest.chars().map(piece));
    Some(pieces)
}

/// Compares two ARNs, each of the six parts on its own. A lone `*` stands for every ARN.
fn glob_arn(pattern: &[Piece], text: &str) -> bool {
    if pattern == [Piece::Many] {
        return text.starts_with("arn:");
    }
    let patterns: Vec<&[Piece]> = pattern.splitn(6, |p| *p == Piece::Char(':')).collect();
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    patterns.len() == 6
        && parts.len() == 6
        && patterns
            .iter()
            .zip(parts)
            .all(|(pattern, part)| glob(pattern, part))
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
