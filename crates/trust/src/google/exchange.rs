//! The token exchange as Google's STS decides it: audience parameter, provider, issuer, audience, times, key, signature,
//! attribute mapping, attribute condition. The order of the token's checks among themselves is not recorded.

use std::collections::BTreeMap;

use cwii_contract::types::{PoolProvider, shorten};
use cwii_token::{DecodeError, Jwks, KeyError, KeyRules, Token, select_key, verify_signature};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    Clause, CloudError, JwksFact, Lint,
    document::escape,
    google::{
        Documents, ExchangeVerdict, LintKind, Principal, Provider, Reason,
        cel::{self, MAX_CONDITION_CHARACTERS, MAX_MAPPING_CHARACTERS},
    },
    verdict::{ABSENT, Failure},
};

/// How far clocks may be apart, seconds. Recorded as about a minute.
pub const LEEWAY_SECONDS: i64 = 60;

/// Longest mapped subject, bytes. Source: IAM API v1, `attributeMapping`.
pub const MAX_SUBJECT_BYTES: usize = 127;

/// What Google's STS is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `subject_token`, decoded or not.
    pub token: Result<&'a Token, &'a DecodeError>,
    /// The issuer's keys, as Google can read them. A provider with uploaded keys uses those.
    pub jwks: JwksFact<'a>,
    /// `audience`, as sent.
    pub audience: &'a str,
    /// The time at Google.
    pub now: Timestamp,
}

/// What Google's STS answers with, except for the access token itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Federated {
    /// Who the token's holder is from now on.
    pub principal: Principal,
    /// The provider.
    pub provider: PoolProvider,
    /// The audience of the token that matched.
    pub audience: String,
    /// `expires_in`, seconds: what is left of the token, an hour at most.
    pub expires_in_seconds: i64,
}

/// Decides what Google's STS would answer.
#[must_use]
pub fn evaluate_exchange(request: &Request<'_>, documents: &Documents) -> ExchangeVerdict {
    let mut lints = Vec::new();
    match decide(request, documents, &mut lints) {
        Ok((federated, clause)) => ExchangeVerdict::granted(federated, clause, lints),
        Err(failure) => ExchangeVerdict::denied(*failure, lints),
    }
}

type Step<T> = Result<T, Box<Failure<Reason>>>;

fn decide(
    request: &Request<'_>,
    documents: &Documents,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<(Federated, Clause)> {
    let name: PoolProvider = request.audience.parse().map_err(
        |error: cwii_contract::types::ParseError| {
            refused(
                "G1",
                "invalid_request",
                "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider. See https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats.",
                Reason::AudienceParameterInvalid {
                    problem: error.to_string(),
                },
                Clause::new("request", "/audience", "audience")
                    .compared(error.expected(), request.audience),
            )
        },
    )?;
    let provider = find_provider(&name, documents)?;
    // What Google says to a text that is no JWT is not recorded; this is its text for a token that was tampered with.
    let token = request.token.map_err(|error| {
        bad_signature(
            Reason::NotAJwt {
                problem: error.to_string(),
            },
            Clause::new("token", "", "JWT").compared("a JWT", error.to_string()),
        )
    })?;
    check_issuer(token, provider)?;
    let audience = check_audience(token, provider, lints)?;
    let expires_in_seconds = check_times(token, request.now)?;
    check_key(token, provider, request.jwks, lints)?;
    if expires_in_seconds <= 1 {
        return Err(Box::new(Failure::new(
            Reason::ExpiresTooSoon,
            Clause::new("token", "/payload/exp", "exp").compared(
                "some seconds of lifetime left",
                format!("{expires_in_seconds} s left"),
            ),
            CloudError::new("G16", 500, "server_error", "Internal error encountered."),
        )));
    }
    let mapped = map_attributes(token, provider, lints)?;
    let clause = check_condition(token, provider, &mapped, lints)?;
    Ok((
        Federated {
            principal: Principal {
                pool: name.pool_resource(),
                subject: mapped.subject,
                groups: mapped.groups,
                attributes: mapped.attributes,
                gke: None,
            },
            provider: name,
            audience,
            expires_in_seconds,
        },
        clause,
    ))
}

fn find_provider<'a>(name: &PoolProvider, documents: &'a Documents) -> Step<&'a Provider> {
    let invalid = |reason, clause| {
        refused(
            "G2",
            "invalid_target",
            "The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.",
            reason,
            clause,
        )
    };
    let Some(provider) = documents.provider(name) else {
        let similar = documents
            .providers
            .iter()
            .max_by_key(|known| {
                [
                    known.name.provider() == name.provider(),
                    known.name.pool() == name.pool(),
                    known.name.project_number() == name.project_number(),
                ]
                .into_iter()
                .filter(|same| *same)
                .count()
            })
            .map(|known| known.name.to_string());
        let found = similar.clone().unwrap_or_else(|| ABSENT.to_owned());
        return Err(invalid(
            Reason::ProviderMissing { similar },
            Clause::new("request", "/audience", "name").compared(found, name.to_string()),
        ));
    };
    let deleted = |state: &Option<String>| state.as_deref() == Some("DELETED");
    let clause = |document: String, pointer: &str, member: &str, found: &str| {
        let expected = if member == "state" { "ACTIVE" } else { "false" };
        Clause::new(document, format!("{pointer}/{member}"), member).compared(expected, found)
    };
    if let Some(pool) = documents
        .pools
        .iter()
        .find(|pool| pool.name == name.pool_resource())
    {
        let document = || format!("pool {}", pool.name);
        if deleted(&pool.state) {
            return Err(invalid(
                Reason::PoolDeleted,
                clause(document(), &pool.pointer, "state", "DELETED"),
            ));
        }
        if pool.disabled {
            return Err(invalid(
                Reason::PoolDisabled,
                clause(document(), &pool.pointer, "disabled", "true"),
            ));
        }
    }
    if deleted(&provider.state) {
        return Err(invalid(
            Reason::ProviderDeleted,
            clause(
                provider.document(),
                provider.pointers.root(),
                "state",
                "DELETED",
            ),
        ));
    }
    if provider.disabled {
        return Err(invalid(
            Reason::ProviderDisabled,
            clause(
                provider.document(),
                provider.pointers.root(),
                "disabled",
                "true",
            ),
        ));
    }
    Ok(provider)
}

fn check_issuer(token: &Token, provider: &Provider) -> Step<()> {
    let found = token.claims.issuer();
    if found == Some(provider.issuer_uri.as_str()) {
        return Ok(());
    }
    Err(refused(
        "G4",
        "invalid_grant",
        format!(
            "The issuer in ID Token {} does not match the expected one in config: {}",
            found.unwrap_or("null"),
            provider.issuer_uri
        ),
        Reason::IssuerMismatch,
        Clause::new(
            provider.document(),
            provider.pointers.of("issuerUri"),
            "issuerUri",
        )
        .compared(&provider.issuer_uri, found.unwrap_or(ABSENT)),
    ))
}

fn check_audience(
    token: &Token,
    provider: &Provider,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<String> {
    let found = token.claims.audiences();
    let defaults = [
        provider.name.to_string(),
        format!("https:{}", provider.name),
    ];
    let allowed: &[String] = if provider.allowed_audiences.is_empty() {
        &defaults
    } else {
        &provider.allowed_audiences
    };
    let clause = Clause::new(
        provider.document(),
        provider.pointers.of("allowedAudiences"),
        "allowedAudiences",
    )
    .compared(allowed.join(" or "), found.join(", "));
    let Some(audience) = found
        .iter()
        .find(|audience| allowed.iter().any(|allowed| allowed == *audience))
    else {
        return Err(refused(
            "G3",
            "invalid_grant",
            format!(
                "The audience in ID Token [{}] does not match the expected audience.",
                found.join(", ")
            ),
            Reason::AudienceNotAllowed {
                default_replaced: found
                    .iter()
                    .any(|audience| defaults.iter().any(|default| default == audience)),
            },
            clause,
        ));
    };
    if found.len() > 1 {
        lints.push(Lint {
            kind: LintKind::SeveralAudiences,
            clause,
        });
    }
    Ok((*audience).to_owned())
}

/// What is left of the token, an hour at most, seconds; negative within the leeway.
fn check_times(token: &Token, now: Timestamp) -> Step<i64> {
    let iat = token.claims.members.get("iat");
    let stale = |reason, claim: &str, expected: String| {
        let found = token
            .claims
            .members
            .get(claim)
            .map_or_else(|| ABSENT.to_owned(), |value| shorten(&value.to_string()));
        refused(
            "G5",
            "invalid_grant",
            format!(
                "ID Token issued at {} is stale to sign-in.",
                iat.map_or_else(|| "null".to_owned(), |iat| shorten(&iat.to_string()))
            ),
            reason,
            Clause::new(
                "token",
                format!("/payload/{claim}"),
                format!("{claim}, leeway {LEEWAY_SECONDS} s"),
            )
            .compared(expected, found),
        )
    };
    let seconds = |claim: &'static str, value: Option<Timestamp>| {
        value.map(Timestamp::as_second).ok_or_else(|| {
            stale(
                Reason::TimeMissing { claim },
                claim,
                "whole seconds since 1970".to_owned(),
            )
        })
    };
    let issued_at = seconds("iat", token.claims.issued_at())?;
    let expires_at = seconds("exp", token.claims.expires_at())?;
    let now = now.as_second();
    let (earliest, latest) = (now - LEEWAY_SECONDS, now + LEEWAY_SECONDS);
    if expires_at <= earliest {
        return Err(stale(
            Reason::Expired,
            "exp",
            format!("more than {earliest}"),
        ));
    }
    if issued_at < earliest - MAX_AGE_SECONDS {
        return Err(stale(
            Reason::TooOld,
            "iat",
            format!("at least {}", earliest - MAX_AGE_SECONDS),
        ));
    }
    if issued_at > latest {
        return Err(stale(
            Reason::NotYetValid,
            "iat",
            format!("at most {latest}"),
        ));
    }
    if token
        .claims
        .not_before()
        .is_some_and(|not_before| not_before.as_second() > latest)
    {
        return Err(stale(
            Reason::NotYetValid,
            "nbf",
            format!("at most {latest}"),
        ));
    }
    Ok((expires_at - now).min(3600))
}

fn check_key(
    token: &Token,
    provider: &Provider,
    published: JwksFact<'_>,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<()> {
    let no_key = |reason, clause| {
        refused(
            "G6",
            "invalid_grant",
            "Error connecting to the given credential's issuer.",
            reason,
            clause,
        )
    };
    let clause = || Clause::new("token", "/header/kid", "verification key");
    let uploaded = provider
        .jwks_json
        .as_ref()
        .map(|text| Jwks::parse(text.as_bytes()));
    let jwks = match (&uploaded, published) {
        (Some(Ok(jwks)), _) | (None, JwksFact::Known(jwks)) => jwks,
        (Some(Err(error)), _) => {
            let problem = error.to_string();
            return Err(no_key(
                Reason::KeysUnavailable {
                    problem: problem.clone(),
                },
                Clause::new(
                    provider.document(),
                    provider.pointers.of("jwksJson"),
                    "jwksJson",
                )
                .compared("a JWKS", problem),
            ));
        }
        (None, JwksFact::Unavailable(problem)) => {
            return Err(no_key(
                Reason::KeysUnavailable {
                    problem: problem.to_owned(),
                },
                clause().compared("the issuer's keys", problem),
            ));
        }
        (None, JwksFact::NotCollected) => {
            lints.push(Lint {
                kind: LintKind::SignatureNotChecked,
                clause: clause(),
            });
            return Ok(());
        }
    };
    let found = token.header.kid.as_deref().unwrap_or(ABSENT);
    let key = select_key(&token.header, jwks, KeyRules::Google).map_err(|error| {
        let clause = clause().compared(error.to_string(), found);
        match error {
            KeyError::AlgorithmNotAccepted { .. } | KeyError::AlgorithmMismatch { .. } => {
                bad_signature(Reason::Key(error), clause)
            }
            _ => no_key(Reason::Key(error), clause),
        }
    })?;
    verify_signature(token, key).map_err(|error| {
        bad_signature(
            Reason::Signature(error.clone()),
            Clause::new("token", "/header/kid", "signature").compared(
                "a signature of the issuer's key of this name",
                error.to_string(),
            ),
        )
    })
}

struct Mapped {
    subject: String,
    groups: Vec<String>,
    attributes: BTreeMap<String, Vec<String>>,
    /// The variables `google` and `attribute` of the condition.
    google: Value,
    attribute: Value,
}

fn map_attributes(
    token: &Token,
    provider: &Provider,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<Mapped> {
    let assertion = Value::Object(token.claims.members.clone());
    let clause = |target: &str, expected: &str, found: &str| {
        Clause::new(
            provider.document(),
            format!(
                "{}/{}",
                provider.pointers.of("attributeMapping"),
                escape(target)
            ),
            target,
        )
        .compared(expected, found)
    };
    let failed = |target: &str, expression: &str, problem: String| {
        refused(
            "G10",
            "invalid_grant",
            format!("Could not obtain a value for {target} from the given credential."),
            Reason::MappingFailed {
                target: target.to_owned(),
                problem: problem.clone(),
            },
            clause(target, &format!("a value of {expression}"), &problem),
        )
    };
    if !provider.attribute_mapping.contains_key(SUBJECT) {
        return Err(failed(SUBJECT, "a mapping", "no mapping".to_owned()));
    }
    let mut mapped = Mapped {
        subject: String::new(),
        groups: Vec::new(),
        attributes: BTreeMap::new(),
        google: Value::Null,
        attribute: Value::Null,
    };
    let (mut google, mut attribute) = (Map::new(), Map::new());
    let mut bytes = 0;
    // The subject first: it is what people look for when several fail.
    let (subject, others): (Vec<_>, Vec<_>) = provider
        .attribute_mapping
        .iter()
        .partition(|(target, _)| *target == SUBJECT);
    for (target, expression) in subject.into_iter().chain(others) {
        if expression.chars().count() > MAX_MAPPING_CHARACTERS {
            lints.push(Lint {
                kind: LintKind::ExpressionTooLong {
                    target: target.clone(),
                    limit: MAX_MAPPING_CHARACTERS,
                },
                clause: clause(
                    target,
                    &format!("at most {MAX_MAPPING_CHARACTERS} characters"),
                    &expression.chars().count().to_string(),
                ),
            });
        }
        let value = cel::evaluate(expression, &[("assertion", &assertion)])
            .map_err(|error| failed(target, expression, error.to_string()))?;
        let texts =
            texts(&value).ok_or_else(|| failed(target, expression, shorten(&value.to_string())))?;
        bytes += texts.iter().map(String::len).sum::<usize>();
        match target.as_str() {
            SUBJECT => {
                let Value::String(subject) = &value else {
                    return Err(failed(target, expression, shorten(&value.to_string())));
                };
                if subject.is_empty() {
                    return Err(failed(target, expression, "an empty string".to_owned()));
                }
                if subject.len() > MAX_SUBJECT_BYTES {
                    return Err(refused(
                        "G9",
                        "invalid_request",
                        "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming assertion to produce a mapped attribute that is less than 127 bytes.",
                        Reason::SubjectTooLong {
                            bytes: subject.len(),
                        },
                        clause(
                            target,
                            &format!("at most {MAX_SUBJECT_BYTES} bytes"),
                            &format!("{} bytes: {subject}", subject.len()),
                        ),
                    ));
                }
                mapped.subject.clone_from(subject);
            }
            "google.groups" => mapped.groups = texts,
            _ => {
                if let Some(name) = target.strip_prefix("attribute.") {
                    mapped.attributes.insert(name.to_owned(), texts);
                }
            }
        }
        if let Some(name) = target.strip_prefix("google.") {
            google.insert(name.to_owned(), value);
        } else if let Some(name) = target.strip_prefix("attribute.") {
            attribute.insert(name.to_owned(), value);
        }
    }
    if bytes > MAX_ATTRIBUTES_BYTES {
        lints.push(Lint {
            kind: LintKind::AttributesTooLarge { bytes },
            clause: Clause::new(
                provider.document(),
                provider.pointers.of("attributeMapping"),
                "attributeMapping",
            )
            .compared(
                format!("at most {MAX_ATTRIBUTES_BYTES} bytes"),
                format!("{bytes} bytes"),
            ),
        });
    }
    mapped.google = Value::Object(google);
    mapped.attribute = Value::Object(attribute);
    Ok(mapped)
}

fn check_condition(
    token: &Token,
    provider: &Provider,
    mapped: &Mapped,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<Clause> {
    let clause = || {
        Clause::new(
            provider.document(),
            provider.pointers.of("attributeCondition"),
            "attributeCondition",
        )
    };
    let Some(condition) = &provider.attribute_condition else {
        if is_shared(&provider.issuer_uri) {
            lints.push(Lint {
                kind: LintKind::NoCondition,
                clause: clause().compared("a condition", ABSENT),
            });
        }
        return Ok(
            Clause::new(provider.document(), provider.pointers.root(), "provider")
                .compared(&provider.issuer_uri, &provider.issuer_uri),
        );
    };
    let length = condition.chars().count();
    if length > MAX_CONDITION_CHARACTERS {
        lints.push(Lint {
            kind: LintKind::ExpressionTooLong {
                target: "attributeCondition".to_owned(),
                limit: MAX_CONDITION_CHARACTERS,
            },
            clause: clause(),
        });
    }
    let assertion = Value::Object(token.claims.members.clone());
    let result = cel::evaluate(
        condition,
        &[
            ("assertion", &assertion),
            ("google", &mapped.google),
            ("attribute", &mapped.attribute),
        ],
    );
    let rejected = |reason, found: String| {
        Err(refused(
            "G8",
            "unauthorized_client",
            "The given credential is rejected by the attribute condition.",
            reason,
            clause().compared(condition, found),
        ))
    };
    match result {
        Ok(Value::Bool(true)) => Ok(clause().compared(condition, "true")),
        Ok(Value::Bool(false)) => rejected(Reason::ConditionFalse, "false".to_owned()),
        Ok(other) => {
            let found = shorten(&other.to_string());
            let problem = format!("expected true or false, found {found}");
            rejected(Reason::ConditionFailed { problem }, found)
        }
        Err(error) => {
            let problem = error.to_string();
            rejected(
                Reason::ConditionFailed {
                    problem: problem.clone(),
                },
                problem,
            )
        }
    }
}

impl Provider {
    pub(super) fn document(&self) -> String {
        format!("provider {}", self.name.resource())
    }
}

/// A string, or a list of strings.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

/// Issuers that sign for people who have nothing to do with each other.
fn is_shared(issuer: &str) -> bool {
    [
        "https://token.actions.githubusercontent.com",
        "https://gitlab.com",
        "https://app.terraform.io",
        "https://agent.buildkite.com",
        "https://api.bitbucket.org",
    ]
    .contains(&issuer)
}

fn refused(
    row: &'static str,
    code: &str,
    message: impl Into<String>,
    reason: Reason,
    clause: Clause,
) -> Box<Failure<Reason>> {
    Box::new(Failure::new(
        reason,
        clause,
        CloudError::new(row, 400, code, message),
    ))
}

fn bad_signature(reason: Reason, clause: Clause) -> Box<Failure<Reason>> {
    refused(
        "G7",
        "invalid_grant",
        "Unable to verify the ID Token signature.",
        reason,
        clause,
    )
}

const SUBJECT: &str = "google.subject";
const MAX_AGE_SECONDS: i64 = 24 * 3600;
const MAX_ATTRIBUTES_BYTES: usize = 8192;
