//! The table of trust policies and tokens: one row, its documents, its token. Run by the evaluator's own tests and through
//! `kubectl cwii trust check`.

use serde_json::{Map, Value, json};

use crate::support::{KEYS, NOW, PREFIX, SUBJECT, claims, with};

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/apps/checkout";
const PROVIDER: &str =
    "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC";
const AUDIENCE: &str = "sts.amazonaws.com";
const DENIED: &str = "Not authorized to perform sts:AssumeRoleWithWebIdentity";

/// A row, ready to be asked.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) role: Value,
    pub(crate) provider: Value,
    pub(crate) token: String,
    pub(crate) jwks: Value,
    pub(crate) session: String,
    pub(crate) allowed: bool,
    /// Code and text of the refusal.
    pub(crate) error: Option<(String, String)>,
    /// The rule that decides, where the row says it.
    pub(crate) rule: Option<String>,
}

pub(crate) fn rows() -> Vec<Row> {
    let table: Value = serde_json::from_str(include_str!("aws.json")).unwrap();
    let policies = table["policies"].as_array().unwrap().iter().map(policy);
    let tokens = table["tokens"].as_array().unwrap().iter().map(token);
    policies.chain(tokens).collect()
}

fn policy(row: &Value) -> Row {
    let statements = match row.get("statements") {
        Some(statements) => statements.clone(),
        None => json!([{
            "Effect": "Allow",
            "Principal": {"Federated": PROVIDER},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": row["condition"],
        }]),
    };
    let mut policy = json!({});
    match row.get("version") {
        None => policy["Version"] = json!("2012-10-17"),
        Some(Value::Null) => {}
        Some(version) => policy["Version"] = version.clone(),
    }
    policy["Statement"] = filled(&statements);
    let policy = match row.get("form").and_then(Value::as_str) {
        None => policy,
        Some("text") => json!(policy.to_string()),
        Some(_) => json!(percent_encoded(&policy.to_string())),
    };
    let allowed = row["allowed"].as_bool().unwrap();
    Row {
        name: format!("{}: {}", text(row, "group"), text(row, "case")),
        role: role(&policy),
        provider: provider(),
        token: signed(&json!({"alg": "RS256", "kid": "rsa-1"}), row),
        jwks: json!({"keys": [KEYS.rsa_jwk(), KEYS.ec_jwk()]}),
        session: "checkout-0".to_owned(),
        allowed,
        error: (!allowed).then(|| ("AccessDenied".to_owned(), DENIED.to_owned())),
        rule: row.get("rule").and_then(Value::as_str).map(str::to_owned),
    }
}

fn token(row: &Value) -> Row {
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {
            format!("{PREFIX}:sub"): SUBJECT,
            format!("{PREFIX}:aud"): AUDIENCE,
        }},
    }]});
    let header = match row.get("header") {
        Some(header) => header.clone(),
        None => json!({"alg": "RS256", "kid": "rsa-1"}),
    };
    let mut token = match row.get("text") {
        Some(text) => text.as_str().unwrap().to_owned(),
        None => signed(&header, row),
    };
    if row.get("tamper").is_some() {
        let (input, signature) = token.rsplit_once('.').unwrap();
        let (first, rest) = signature.split_at(1);
        let other = if first == "A" { "B" } else { "A" };
        token = format!("{input}.{other}{rest}");
    }
    let key = match row.get("key") {
        Some(changes) => with(KEYS.rsa_jwk(), changes),
        None => KEYS.rsa_jwk(),
    };
    let error = row.get("code").map(|_| {
        (
            text(row, "code").to_owned(),
            in_words(&text(row, "message").replace("/P", &format!("/{PREFIX}"))),
        )
    });
    Row {
        name: format!("{}: {}", text(row, "row"), text(row, "case")),
        role: role(&policy),
        provider: provider(),
        token,
        jwks: json!({"keys": [key, KEYS.ec_jwk()]}),
        session: row
            .get("session")
            .and_then(Value::as_str)
            .unwrap_or("checkout-0")
            .to_owned(),
        allowed: row["allowed"].as_bool().unwrap(),
        error,
        rule: None,
    }
}

fn role(policy: &Value) -> Value {
    json!({"Role": {"Arn": ROLE, "RoleName": "checkout", "AssumeRolePolicyDocument": policy}})
}

fn provider() -> Value {
    json!({"Url": PREFIX, "ClientIDList": [AUDIENCE], "ThumbprintList": []})
}

fn signed(header: &Value, row: &Value) -> String {
    let mut members = claims(AUDIENCE);
    for (name, value) in row
        .get("claims")
        .and_then(Value::as_object)
        .unwrap_or(&Map::new())
    {
        if value == "(removed)" {
            members.as_object_mut().unwrap().remove(name);
        } else {
            members[name.as_str()] = claim(value);
        }
    }
    KEYS.sign_text(&header.to_string(), &members.to_string())
}

fn claim(value: &Value) -> Value {
    match value {
        Value::String(text) => match text.as_str() {
            "x*15000" => json!("x".repeat(15_000)),
            "P" => json!(PREFIX),
            text if text.starts_with("'@") => json!(at(&text[1..]).to_string()),
            text if text.starts_with('@') => json!(at(text)),
            text => json!(
                text.replace("https://P", &format!("https://{PREFIX}"))
                    .replace("{ROLE}", ROLE)
            ),
        },
        Value::Array(items) => items.iter().map(claim).collect(),
        other => other.clone(),
    }
}

/// The moments in a message.
fn in_words(message: &str) -> String {
    message
        .split(' ')
        .map(|word| match word {
            word if word.starts_with('@') => at(word).to_string(),
            "P" => PREFIX.to_owned(),
            word => word.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn at(text: &str) -> i64 {
    NOW + text[1..].parse::<i64>().unwrap()
}

/// Replaces what stands for the names of the workload, in keys too.
fn filled(value: &Value) -> Value {
    let fill = |text: &str| {
        let text = text
            .replace("{SUB}", SUBJECT)
            .replace("{PROVIDER}", PROVIDER)
            .replace("{PREFIX_UPPER}", &PREFIX.to_uppercase())
            .replace("/P/", &format!("/{PREFIX}/"));
        for lead in [
            "",
            "https://",
            "arn:aws-cn:iam::123456789012:oidc-provider/",
            "arn:aws:iam::999999999999:oidc-provider/",
            "arn:aws:iam::123456789012:oidc-provider/https://",
        ] {
            for (from, to) in [("P:", ":"), ("P/:", "/:")] {
                if let Some(rest) = text.strip_prefix(&format!("{lead}{from}")) {
                    return format!("{lead}{PREFIX}{to}{rest}");
                }
            }
            if text == format!("{lead}P") {
                return format!("{lead}{PREFIX}");
            }
        }
        text
    };
    match value {
        Value::String(text) => json!(fill(text)),
        Value::Array(items) => items.iter().map(filled).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (fill(name), filled(value)))
            .collect(),
        other => other.clone(),
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap()
}
