//! Conditions: the operators, the keys of a request, and whether one holds for the other.
//!
//! Source: IAM user guide, "IAM JSON policy elements: Condition operators", "Multivalued context keys", "IAM policy elements:
//! variables and tags".

use std::{cmp::Ordering, collections::BTreeMap, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, civil, tz::Offset};
use serde_json::Value;

use crate::{
    DocumentError,
    aws::{ConditionMiss, KeyMistake, KeyStatus, Reason, policy::Version},
    document::Node,
    pattern::{Piece, glob, piece, wildcards},
    verdict::ABSENT,
};

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
    pub(super) test: Test,
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
pub(super) enum Test {
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
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The keys of a request that conditions can ask for. Their names have no case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    keys: BTreeMap<String, Vec<String>>,
    not_known: Vec<&'static str>,
    pub(super) issuer: Option<IssuerKeys>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct IssuerKeys {
    pub(super) prefix: String,
    pub(super) claims: Vec<&'static str>,
}

impl Condition {
    /// Reads the element `Condition`.
    pub(super) fn parse_all(node: &Node<'_>) -> Result<Vec<Self>, DocumentError> {
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
                conditions.push(Self {
                    operator: operator.clone(),
                    key: key.to_owned(),
                    values: values_text,
                    pointer: values.pointer,
                });
            }
        }
        Ok(conditions)
    }

    /// Whether it holds for a request.
    pub(super) fn holds(&self, version: Version, context: &Context) -> bool {
        let operator = &self.operator;
        let found = context.get(&self.key);
        if operator.test == Test::Null {
            return self
                .values
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case("true") == found.is_none());
        }
        let Some(found) = found else {
            return operator.holds_without_key();
        };
        let mut patterns = Vec::with_capacity(self.values.len());
        for value in &self.values {
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
                test => self.values.iter().any(|v| compare(test, value, v)),
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

    /// Why it does not hold.
    pub(super) fn reason(&self, context: &Context) -> Reason {
        let operator = self.operator.text.clone();
        let key = self.key.clone();
        match context.status(&key) {
            KeyStatus::NeverPresent(mistake) => Reason::ConditionKeyUnknown(ConditionMiss {
                operator,
                key,
                status: KeyStatus::NeverPresent(mistake),
            }),
            KeyStatus::Present if self.literal_wildcard().is_some() => {
                let would_match = context.get(&key).is_some_and(|found| {
                    self.values
                        .iter()
                        .any(|value| found.iter().any(|f| glob(&wildcards(value), f)))
                });
                Reason::WildcardInStringEquals {
                    operator,
                    key,
                    would_match,
                }
            }
            KeyStatus::Present if self.is_for_other_claim(context) => {
                Reason::ConditionOnOtherClaim(ConditionMiss {
                    operator,
                    key,
                    status: KeyStatus::Present,
                })
            }
            status => Reason::ConditionFailed(ConditionMiss {
                operator,
                key,
                status,
            }),
        }
    }

    /// Whether it compares the audience with what looks like a subject, or the subject with the audience.
    fn is_for_other_claim(&self, context: &Context) -> bool {
        let Some(issuer) = &context.issuer else {
            return false;
        };
        let key = |claim: &str| format!("{}:{claim}", issuer.prefix);
        if self.key.eq_ignore_ascii_case(&key("aud")) {
            return self
                .values
                .iter()
                .any(|value| value.starts_with("system:serviceaccount:"));
        }
        self.key.eq_ignore_ascii_case(&key("sub"))
            && context
                .get(&key("aud"))
                .is_some_and(|audience| audience.iter().any(|a| self.values.contains(a)))
    }

    /// A `*` or `?` that is compared literally.
    pub(super) fn literal_wildcard(&self) -> Option<&str> {
        if !matches!(self.operator.test, Test::Equals | Test::EqualsIgnoreCase) {
            return None;
        }
        self.values
            .iter()
            .find(|value| value.contains(['*', '?']) && !value.contains("${"))
            .map(String::as_str)
    }
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
    pub(super) fn is_positive_text(&self) -> bool {
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

    /// The values of a key, for a person.
    pub(super) fn describe(&self, key: &str) -> String {
        self.get(key)
            .map_or_else(|| ABSENT.to_owned(), |values| values.join(", "))
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
    fn admits(self, ordering: Ordering) -> bool {
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
