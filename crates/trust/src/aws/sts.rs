//! `AssumeRoleWithWebIdentity` as STS decides it, in the order in which the real service was recorded to decide:
//! parameters, token form, claims, times, audience, provider, client id, key, signature, tags and roles claim, trust policy.

use std::{collections::BTreeMap, net::IpAddr};

use cwii_contract::types::{Partition, RoleArn, RoleSessionName, shorten};
use cwii_token::{DecodeError, KeyError, KeyRules, Token, select_key, verify_signature};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    Clause, CloudError, JwksFact, Lint,
    aws::{
        Documents, LintKind, OidcProvider, PrincipalDifference, Reason, Role, Verdict,
        documents::provider_arn,
        policy::{self, Caller, Context},
    },
    verdict::{ABSENT, Failure},
};

/// How far clocks may be apart, seconds; for `exp`, `nbf` and `iat`. Recorded.
pub const LEEWAY_SECONDS: i64 = 300;

/// What STS is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `WebIdentityToken`, decoded or not.
    pub token: Result<&'a Token, &'a DecodeError>,
    /// The issuer's keys, as STS can read them.
    pub jwks: JwksFact<'a>,
    /// `RoleArn`, as sent.
    pub role_arn: &'a str,
    /// `RoleSessionName`, as sent.
    pub session_name: &'a str,
    /// `DurationSeconds`; STS takes 3600 where it is absent.
    pub duration_seconds: Option<i64>,
    /// `ProviderId`, which belongs to other kinds of tokens.
    pub provider_id: Option<&'a str>,
    /// Region of the endpoint; `None` when it is not known.
    pub region: Option<&'a str>,
    /// Address of the caller; `None` when it is not known.
    pub source_ip: Option<IpAddr>,
    /// VPC of the caller; `None` when it is not known or there is none.
    pub source_vpc: Option<&'a str>,
    /// VPC endpoint that the call goes through; `None` when it is not known or there is none.
    pub source_vpce: Option<&'a str>,
    /// The time at STS.
    pub now: Timestamp,
}

impl<'a> Request<'a> {
    /// A request as an SDK sends it, from nowhere in particular.
    #[must_use]
    pub fn new(
        token: Result<&'a Token, &'a DecodeError>,
        jwks: JwksFact<'a>,
        role_arn: &'a str,
        session_name: &'a str,
        now: Timestamp,
    ) -> Self {
        Self {
            token,
            jwks,
            role_arn,
            session_name,
            duration_seconds: None,
            provider_id: None,
            region: None,
            source_ip: None,
            source_vpc: None,
            source_vpce: None,
            now,
        }
    }
}

/// What STS answers with, except for the credentials themselves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// The role.
    pub role_arn: RoleArn,
    /// `AssumedRoleUser.Arn`: `arn:PARTITION:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    pub assumed_role_arn: String,
    /// `AssumedRoleUser.AssumedRoleId`: `AROA…:SESSION`, where the role's id is known.
    pub assumed_role_id: Option<String>,
    /// `Provider`: the ARN of the OIDC provider, or the name of a built-in one.
    pub provider: String,
    /// `Audience`: `azp` if the token has it, else `aud`.
    pub audience: String,
    /// `SubjectFromWebIdentityToken`.
    pub subject: String,
    /// How long the session lasts, seconds. The token's own end does not cap it.
    pub duration_seconds: i64,
    /// `SourceIdentity`.
    pub source_identity: Option<String>,
    /// Session tags.
    pub tags: BTreeMap<String, String>,
}

/// Decides what STS would answer.
#[must_use]
pub fn evaluate(request: &Request<'_>, documents: &Documents) -> Verdict {
    let mut lints = Vec::new();
    match decide(request, documents, &mut lints) {
        Ok((session, clause)) => {
            lints.extend(policy_lints(request, documents));
            Verdict::granted(session, clause, lints)
        }
        Err(failure) => {
            // What denies is not a lint as well.
            let named = |clause: &Clause| {
                let clauses = failure.others.iter().map(|other| &other.clause);
                clauses
                    .chain([&failure.clause])
                    .any(|c| c.document == clause.document && c.pointer == clause.pointer)
            };
            let new = policy_lints(request, documents).into_iter();
            lints.extend(new.filter(|lint| !named(&lint.clause)));
            Verdict::denied(*failure, lints)
        }
    }
}

type Step<T> = Result<T, Box<Failure<Reason>>>;

fn decide(
    request: &Request<'_>,
    documents: &Documents,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<(Session, Clause)> {
    check_parameters(request)?;
    let role_arn = parse_role_arn(request)?;
    if request.provider_id.is_some() {
        return Err(invalid_token(
            "A15",
            "Provided Token is not a Login With Amazon token",
            Reason::ProviderIdSent,
            Clause::new("request", "/ProviderId", "ProviderId").compared(ABSENT, "present"),
        ));
    }
    let token = check_form(request)?;
    let claims = read_claims(&token.claims.members)?;
    check_times(&claims, request.now)?;
    let audience = read_audience(&token.claims.members)?;

    let (provider, principal) = find_provider(&claims.issuer, &role_arn, documents, lints)?;
    if let Some(provider) = provider {
        check_client_ids(provider, &audience, lints)?;
    }
    check_key(token, request.jwks, lints)?;

    let session_claims = read_session_claims(&token.claims.members)?;
    let authorized_by_idp = check_roles_claim(&token.claims.members, &role_arn)?;
    let Some(role) = documents.role(role_arn.as_str()) else {
        return Err(role_missing(&role_arn, documents));
    };
    let context = build_context(&ContextParts {
        request,
        claims: &claims,
        members: &token.claims.members,
        audience: &audience,
        principal: &principal,
        session: &session_claims,
        authorized_by_idp,
    });
    let caller = Caller::Federated(&principal);
    let clause = check_policy(role, caller, &context)?;
    check_session_actions(role, caller, &context, &principal, &session_claims)?;
    let duration_seconds = check_duration(role, request.duration_seconds)?;

    let session_name = request.session_name;
    let session = Session {
        assumed_role_arn: format!(
            "arn:{}:sts::{}:assumed-role/{}/{session_name}",
            role_arn.partition(),
            role_arn.account(),
            role_arn.name()
        ),
        assumed_role_id: role
            .role_id
            .as_ref()
            .map(|id| format!("{id}:{session_name}")),
        role_arn,
        provider: principal,
        audience: audience.effective,
        subject: claims.subject,
        duration_seconds,
        source_identity: session_claims.source_identity,
        tags: session_claims.tags,
    };
    Ok((session, clause))
}

/// The lints of the role's policy, also for a token that does not get as far as the policy.
fn policy_lints(request: &Request<'_>, documents: &Documents) -> Vec<Lint<LintKind>> {
    let (Some(role), Ok(token)) = (documents.role(request.role_arn), request.token) else {
        return Vec::new();
    };
    let members = &token.claims.members;
    let Ok(claims) = read_claims(members) else {
        return Vec::new();
    };
    let principal = principal_of(&claims.issuer, &role.arn);
    let provider = documents
        .providers
        .iter()
        .flatten()
        .find(|provider| provider.arn == principal);
    let context = build_context(&ContextParts {
        request,
        claims: &claims,
        members,
        audience: &read_audience(members).unwrap_or_default(),
        principal: &principal,
        session: &read_session_claims(members).unwrap_or_default(),
        authorized_by_idp: false,
    });
    policy::lints(
        &role.trust_policy,
        Caller::Federated(&principal),
        ASSUME,
        &context,
        provider.and_then(|provider| provider.client_ids.as_deref()),
    )
}

/// The constraints of the API's model. All that are broken are reported together.
fn check_parameters(request: &Request<'_>) -> Step<()> {
    let mut broken: Vec<(&'static str, String, String)> = Vec::new();
    let mut constrain = |parameter, value: String, constraint: String| {
        broken.push((parameter, value, constraint));
    };
    let shown = |value: &str| format!("Value '{value}'");
    if let Some(constraint) = length_constraint(request.role_arn.chars().count(), 20, 2048) {
        constrain("roleArn", shown(request.role_arn), constraint);
    }
    if request.session_name.parse::<RoleSessionName>().is_err() {
        let length = request.session_name.chars().count();
        if let Some(constraint) = length_constraint(length, 2, 64) {
            constrain("roleSessionName", shown(request.session_name), constraint);
        }
        let in_pattern = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !request.session_name.chars().all(in_pattern) {
            constrain(
                "roleSessionName",
                shown(request.session_name),
                r"Member must satisfy regular expression pattern: [\w+=,.@-]*".to_owned(),
            );
        }
    }
    let token_length = match request.token {
        Ok(token) => Some(token.expose().chars().count()),
        Err(DecodeError::Empty) => Some(0),
        Err(DecodeError::TooLong { bytes }) => Some(*bytes),
        Err(_) => None,
    };
    // The value of a sensitive member is left out of the message.
    if let Some(constraint) = token_length.and_then(|length| length_constraint(length, 4, 20_000)) {
        constrain("webIdentityToken", "Value".to_owned(), constraint);
    }
    if let Some(duration) = request.duration_seconds {
        let side = match duration {
            ..900 => Some("greater than or equal to 900"),
            43_201.. => Some("less than or equal to 43200"),
            _ => None,
        };
        if let Some(side) = side {
            constrain(
                "durationSeconds",
                shown(&duration.to_string()),
                format!("Member must have value {side}"),
            );
        }
    }
    let Some((parameter, value, constraint)) = broken.first().cloned() else {
        return Ok(());
    };
    let texts: Vec<String> = broken
        .iter()
        .map(|(parameter, value, constraint)| {
            format!("{value} at '{parameter}' failed to satisfy constraint: {constraint}")
        })
        .collect();
    let row = if parameter == "webIdentityToken" {
        "A26"
    } else {
        "A24"
    };
    let count = match texts.len() {
        1 => "1 validation error".to_owned(),
        n => format!("{n} validation errors"),
    };
    let (first, rest) = parameter.split_at(1);
    let found = match parameter {
        "webIdentityToken" => format!("{} characters", token_length.unwrap_or_default()),
        _ => value
            .trim_start_matches("Value '")
            .trim_end_matches('\'')
            .to_owned(),
    };
    Err(Box::new(Failure::new(
        Reason::ParameterInvalid { parameter },
        Clause::new(
            "request",
            format!("/{}{rest}", first.to_ascii_uppercase()),
            "constraint",
        )
        .compared(constraint, found),
        CloudError::new(
            row,
            400,
            "ValidationError",
            format!("{count} detected: {}", texts.join("; ")),
        ),
    )))
}

fn length_constraint(length: usize, least: usize, most: usize) -> Option<String> {
    if length < least {
        Some(format!(
            "Member must have length greater than or equal to {least}"
        ))
    } else if length > most {
        Some(format!(
            "Member must have length less than or equal to {most}"
        ))
    } else {
        None
    }
}

fn parse_role_arn(request: &Request<'_>) -> Step<RoleArn> {
    let invalid = |reason, expected: String| {
        Box::new(Failure::new(
            reason,
            Clause::new("request", "/RoleArn", "RoleArn").compared(expected, request.role_arn),
            CloudError::new("A23", 400, "ValidationError", "Request ARN is invalid"),
        ))
    };
    let arn: RoleArn =
        request
            .role_arn
            .parse()
            .map_err(|error: cwii_contract::types::ParseError| {
                invalid(
                    Reason::RoleArnInvalid {
                        problem: error.to_string(),
                    },
                    error.expected().to_owned(),
                )
            })?;
    if let Some(region) = request.region {
        let partition = Partition::of_region(region);
        // The global endpoint has no region of its own partition's pattern.
        if partition != arn.partition() {
            return Err(invalid(
                Reason::PartitionMismatch {
                    role: arn.partition().to_string(),
                    region: partition.to_string(),
                },
                format!("a role in the partition {partition} of {region}"),
            ));
        }
    }
    Ok(arn)
}

fn check_form<'a>(request: &Request<'a>) -> Step<&'a Token> {
    let not_a_jwt = |reason, clause| {
        invalid_token(
            "A7",
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
            reason,
            clause,
        )
    };
    let token = request.token.map_err(|error| {
        not_a_jwt(
            Reason::NotAJwt {
                problem: error.to_string(),
            },
            Clause::new("token", "", "JWT").compared("a JWT", error.to_string()),
        )
    })?;
    let accepted: Vec<&str> = KeyRules::Aws
        .algorithms()
        .iter()
        .map(|algorithm| algorithm.as_str())
        .collect();
    let alg = token.header.alg.as_deref();
    if !alg.is_some_and(|alg| accepted.contains(&alg)) {
        return Err(not_a_jwt(
            Reason::AlgorithmNotAccepted {
                alg: alg.map(str::to_owned),
            },
            Clause::new("token", "/header/alg", "alg")
                .compared(accepted.join(" or "), alg.unwrap_or(ABSENT)),
        ));
    }
    if let Some(crit) = &token.header.crit {
        return Err(not_a_jwt(
            Reason::CriticalHeader,
            Clause::new("token", "/header/crit", "crit")
                .compared(ABSENT, shorten(&crit.to_string())),
        ));
    }
    Ok(token)
}

struct Claims {
    issuer: String,
    subject: String,
    issued_at: i64,
    expires_at: i64,
    not_before: Option<i64>,
}

fn read_claims(members: &Map<String, Value>) -> Step<Claims> {
    for claim in ["iss", "sub", "aud", "iat", "exp"] {
        let value = members.get(claim);
        if claim == "sub" && value.is_some_and(Value::is_null) {
            return Err(Box::new(Failure::new(
                Reason::SubjectNull,
                Clause::new("token", "/payload/sub", "sub").compared("a string", "null"),
                CloudError::new(
                    "A28",
                    500,
                    "InternalFailure",
                    "Unknown error validating third-party token",
                ),
            )));
        }
        let is_time = matches!(claim, "iat" | "exp");
        if value.is_none_or(|value| value.is_null() && !is_time) {
            return Err(invalid_token(
                "A8",
                format!("Missing a required claim: {claim}"),
                Reason::ClaimMissing { claim },
                Clause::new("token", format!("/payload/{claim}"), claim)
                    .compared("a value", ABSENT),
            ));
        }
    }
    Ok(Claims {
        issuer: text(members.get("iss")).unwrap_or_default(),
        subject: text(members.get("sub")).unwrap_or_default(),
        issued_at: time(members, "iat")?.unwrap_or_default(),
        expires_at: time(members, "exp")?.unwrap_or_default(),
        not_before: time(members, "nbf")?,
    })
}

/// A whole number, or one in a string. Null and fractions are invalid, not missing.
fn time(members: &Map<String, Value>, claim: &'static str) -> Step<Option<i64>> {
    let Some(value) = members.get(claim) else {
        return Ok(None);
    };
    let seconds = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    match seconds {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(invalid_token(
            "A13",
            "Invalid timestamp in token claims.",
            Reason::TimeInvalid { claim },
            Clause::new("token", format!("/payload/{claim}"), claim)
                .compared("whole seconds since 1970", shorten(&value.to_string())),
        )),
    }
}

fn check_times(claims: &Claims, now: Timestamp) -> Step<()> {
    let now = now.as_second();
    let (earliest, latest) = (now - LEEWAY_SECONDS, now + LEEWAY_SECONDS);
    let Claims {
        issued_at,
        expires_at,
        not_before,
        ..
    } = claims;
    if *issued_at > latest {
        return Err(invalid_token(
            "A11",
            format!("Token issued in the future: {issued_at}"),
            Reason::IssuedInTheFuture,
            Clause::new("token", "/payload/iat", "iat, leeway 300 s")
                .compared(format!("at most {latest}"), issued_at.to_string()),
        ));
    }
    if let Some(not_before) = not_before.filter(|not_before| *not_before > latest) {
        return Err(invalid_token(
            "A12",
            format!(
                "Token not yet valid: current date/time {latest} must be after or equal to the not-before date/time {not_before}"
            ),
            Reason::NotYetValid,
            Clause::new("token", "/payload/nbf", "nbf, leeway 300 s")
                .compared(format!("at most {latest}"), not_before.to_string()),
        ));
    }
    if *expires_at <= earliest {
        return Err(Box::new(Failure::new(
            Reason::Expired,
            Clause::new("token", "/payload/exp", "exp, leeway 300 s")
                .compared(format!("more than {earliest}"), expires_at.to_string()),
            CloudError::new(
                "A16",
                400,
                "ExpiredTokenException",
                format!(
                    "Token expired: current date/time {earliest} must be before the expiration date/time {expires_at}"
                ),
            ),
        )));
    }
    Ok(())
}

#[derive(Default)]
struct Audience {
    /// What decides: `azp` if it is there, even empty, else the first of `aud`.
    effective: String,
    /// All of `aud`.
    original: Vec<String>,
    from_authorized_party: bool,
}

fn read_audience(members: &Map<String, Value>) -> Step<Audience> {
    let authorized_party = members.get("azp").filter(|value| !value.is_null());
    let original: Vec<String> = match members.get("aud") {
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| text(Some(item)).unwrap_or_default())
            .collect(),
        one => vec![text(one).unwrap_or_default()],
    };
    let clause = || Clause::new("token", "/payload/aud", "aud");
    if original.is_empty() {
        return Err(invalid_token(
            "A9",
            "Claim is not allowed to be empty: aud",
            Reason::AudienceEmpty,
            clause().compared("one audience", "[]"),
        ));
    }
    if original.len() > 1 && authorized_party.is_none() {
        return Err(invalid_token(
            "A10",
            "Token audience contains more than one audience while authorized party is not present",
            Reason::SeveralAudiences,
            clause().compared("one audience, or `azp` beside them", original.join(", ")),
        ));
    }
    Ok(match authorized_party {
        Some(party) => Audience {
            effective: text(Some(party)).unwrap_or_default(),
            original,
            from_authorized_party: true,
        },
        None => Audience {
            effective: original.first().cloned().unwrap_or_default(),
            original,
            from_authorized_party: false,
        },
    })
}

/// How a policy calls the provider of an issuer: the ARN in the role's account, or the name of a built-in one.
fn principal_of(issuer: &str, role_arn: &RoleArn) -> String {
    built_in(issuer).map_or_else(
        || {
            provider_arn(
                role_arn.partition().as_str(),
                role_arn.account(),
                issuer.strip_prefix("https://").unwrap_or(issuer),
            )
        },
        str::to_owned,
    )
}

/// The provider's document, where there is one, and how a policy calls it.
fn find_provider<'a>(
    issuer: &str,
    role_arn: &RoleArn,
    documents: &'a Documents,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<(Option<&'a OidcProvider>, String)> {
    let arn = principal_of(issuer, role_arn);
    if built_in(issuer).is_some() {
        return Ok((None, arn));
    }
    let Some(providers) = &documents.providers else {
        lints.push(Lint {
            kind: LintKind::ProvidersNotGiven,
            clause: Clause::new("OIDC providers", "", "Url").compared(arn.clone(), "(not given)"),
        });
        return Ok((None, arn));
    };
    if let Some(provider) = providers
        .iter()
        .find(|provider| issuer.starts_with("https://") && provider.arn == arn)
    {
        return Ok((Some(provider), arn));
    }
    let similar = providers
        .iter()
        .map(|provider| (policy::compare_providers(&provider.arn, &arn), provider))
        .filter(|(difference, _)| *difference != PrincipalDifference::OtherProvider)
        .min_by_key(|(difference, _)| *difference);
    let clause = match similar {
        Some((_, provider)) => Clause::new(
            format!("OIDC provider {}", provider.arn),
            provider.pointers.of("Url"),
            "Url",
        )
        .compared(arn.clone(), provider.arn.clone()),
        None => Clause::new("OIDC providers", "", "Url").compared(
            arn.clone(),
            if providers.is_empty() {
                "no provider".to_owned()
            } else {
                providers
                    .iter()
                    .map(|provider| provider.arn.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            },
        ),
    };
    Err(invalid_token(
        "A2",
        format!("No OpenIDConnect provider found in your account for {issuer}"),
        Reason::ProviderMissing {
            arn,
            similar: similar.map(|(difference, provider)| (provider.arn.clone(), difference)),
        },
        clause,
    ))
}

fn check_client_ids(
    provider: &OidcProvider,
    audience: &Audience,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<()> {
    let clause = Clause::new(
        format!("OIDC provider {}", provider.arn),
        provider.pointers.of("ClientIDList"),
        "ClientIDList",
    );
    let Some(client_ids) = &provider.client_ids else {
        lints.push(Lint {
            kind: LintKind::ClientIdsNotGiven,
            clause: clause.compared(audience.effective.clone(), "(not given)"),
        });
        return Ok(());
    };
    if client_ids.contains(&audience.effective) {
        return Ok(());
    }
    Err(not_validated(
        Reason::AudienceNotRegistered {
            audience: audience.effective.clone(),
            authorized_party: audience.from_authorized_party,
        },
        clause.compared(client_ids.join(" or "), audience.effective.clone()),
    ))
}

fn check_key(token: &Token, jwks: JwksFact<'_>, lints: &mut Vec<Lint<LintKind>>) -> Step<()> {
    let kid = token.header.kid.clone();
    let clause = Clause::new("token", "/header/kid", "verification key");
    let jwks = match jwks {
        JwksFact::Known(jwks) => jwks,
        JwksFact::Unavailable(problem) => {
            return Err(no_key(
                Reason::KeysUnavailable {
                    problem: problem.to_owned(),
                },
                clause.compared("the issuer's keys", problem),
            ));
        }
        JwksFact::NotCollected => {
            lints.push(Lint {
                kind: LintKind::SignatureNotChecked,
                clause,
            });
            return Ok(());
        }
    };
    let found = kid.unwrap_or_else(|| ABSENT.to_owned());
    let key = select_key(&token.header, jwks, KeyRules::Aws).map_err(|error| {
        let clause = clause.compared(error.to_string(), found);
        match error {
            KeyError::KeyOps { .. } | KeyError::AlgorithmMismatch { .. } => {
                not_validated(Reason::Key(error), clause)
            }
            _ => no_key(Reason::Key(error), clause),
        }
    })?;
    verify_signature(token, key).map_err(|error| {
        not_validated(
            Reason::Signature(error.clone()),
            Clause::new("token", "/header/kid", "signature").compared(
                "a signature of the issuer's key of this name",
                error.to_string(),
            ),
        )
    })
}

#[derive(Default)]
struct SessionClaims {
    tags: BTreeMap<String, String>,
    transitive_tag_keys: Vec<String>,
    source_identity: Option<String>,
}

/// Session tags and source identity. Source: IAM user guide, "Passing session tags using AssumeRoleWithWebIdentity", both
/// the nested and the flattened form.
fn read_session_claims(members: &Map<String, Value>) -> Step<SessionClaims> {
    let invalid = |pointer: String, value: &Value| {
        invalid_token(
            "A14",
            "principal_tags passed in claim is not in correct format.",
            Reason::TagsInvalid,
            Clause::new("token", pointer, "principal_tags").compared(
                "an object of arrays with one string each",
                shorten(&value.to_string()),
            ),
        )
    };
    let mut tags = BTreeMap::new();
    let mut transitive_tag_keys = Vec::new();
    let nested = members.get(TAGS).filter(|claim| !claim.is_null());
    if let Some(claim) = nested {
        let pointer = "/payload/https:~1~1aws.amazon.com~1tags".to_owned();
        let Some(principal_tags) = claim.get("principal_tags").and_then(Value::as_object) else {
            return Err(invalid(pointer, claim));
        };
        for (key, value) in principal_tags {
            let Some([Value::String(tag)]) = value.as_array().map(Vec::as_slice) else {
                return Err(invalid(pointer + "/principal_tags", value));
            };
            tags.insert(key.clone(), tag.clone());
        }
        transitive_tag_keys.extend(texts(claim.get("transitive_tag_keys")));
    }
    for (name, value) in members {
        let Some(key) = name
            .strip_prefix(TAGS)
            .and_then(|rest| rest.strip_prefix("/principal_tags/"))
        else {
            continue;
        };
        match texts(Some(value)).as_slice() {
            [tag] => {
                tags.insert(key.to_owned(), tag.clone());
            }
            _ => {
                let pointer = format!("/payload/{}", crate::document::escape(name));
                return Err(invalid(pointer, value));
            }
        }
    }
    transitive_tag_keys.extend(texts(
        members.get("https://aws.amazon.com/tags/transitive_tag_keys"),
    ));
    Ok(SessionClaims {
        tags,
        transitive_tag_keys,
        source_identity: text(members.get("https://aws.amazon.com/source_identity")),
    })
}

/// Whether the token lists the role. Exact ARNs, in an array or with `;` between them.
fn check_roles_claim(members: &Map<String, Value>, role_arn: &RoleArn) -> Step<bool> {
    let clause = || Clause::new("token", "/payload/https:~1~1aws.amazon.com~1roles", "roles");
    let entries: Vec<&str> = match members.get("https://aws.amazon.com/roles") {
        None | Some(Value::Null) => return Ok(false),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => text.split(';').collect(),
        Some(other) => {
            return Err(invalid_token(
                "A15c",
                "The roles claim is not in a supported format",
                Reason::RolesClaimInvalid,
                clause().compared("an array or a string", shorten(&other.to_string())),
            ));
        }
    };
    let arns: Vec<&str> = entries
        .into_iter()
        .map(str::trim)
        // A path may hold nearly anything, so a list with commas could pass for one ARN.
        .filter(|entry| entry.matches(':').count() == 5 && entry.parse::<RoleArn>().is_ok())
        .collect();
    if arns.is_empty() {
        return Err(invalid_token(
            "A15b",
            "The roles claim contains no valid role ARNs",
            Reason::RolesClaimEmpty,
            clause().compared(role_arn.as_str(), "no role ARN"),
        ));
    }
    if !arns.contains(&role_arn.as_str()) {
        return Err(invalid_token(
            "A15b",
            "The target role ARN is not present in the roles claim of the identity token",
            Reason::RolesClaimLacksRole,
            clause().compared(role_arn.as_str(), arns.join(", ")),
        ));
    }
    Ok(true)
}

fn role_missing(role_arn: &RoleArn, documents: &Documents) -> Box<Failure<Reason>> {
    let similar = documents
        .roles
        .iter()
        .find(|role| role.arn.name() == role_arn.name() && role.arn.account() == role_arn.account())
        .map(|role| role.arn.to_string());
    let found = similar.clone().unwrap_or_else(|| ABSENT.to_owned());
    Box::new(Failure::new(
        Reason::RoleMissing { similar },
        Clause::new("request", "/RoleArn", "RoleArn").compared(role_arn.as_str(), found),
        not_authorized(),
    ))
}

struct ContextParts<'a> {
    request: &'a Request<'a>,
    claims: &'a Claims,
    members: &'a Map<String, Value>,
    audience: &'a Audience,
    principal: &'a str,
    session: &'a SessionClaims,
    authorized_by_idp: bool,
}

/// The condition keys of the request. What STS does not offer (`iss`, `kubernetes.io`) is left out on purpose.
fn build_context(parts: &ContextParts<'_>) -> Context {
    let ContextParts {
        request,
        claims,
        members,
        audience,
        principal,
        session,
        authorized_by_idp,
    } = parts;
    let mut context = Context::new();
    let prefix = claims
        .issuer
        .strip_prefix("https://")
        .unwrap_or(&claims.issuer);
    let mut names = vec!["aud", "oaud", "sub", "amr", "email"];
    names.extend(extra_claims(prefix));
    for name in &names {
        let values = match *name {
            "aud" => vec![audience.effective.clone()],
            "oaud" => audience.original.clone(),
            "sub" => vec![claims.subject.clone()],
            "amr" => texts(members.get(*name)),
            name => {
                // Google's and CircleCI's names are paths in a claim's name space.
                let claim = members.get(name).or_else(|| {
                    let (parent, child) = name.split_once('/')?;
                    members.get(parent)?.get(child)
                });
                text(claim).into_iter().collect()
            }
        };
        context.set(&format!("{prefix}:{name}"), values);
    }
    context.set_issuer(prefix, names);

    context.set("aws:CurrentTime", [request.now.to_string()]);
    context.set("aws:EpochTime", [request.now.as_second().to_string()]);
    context.set("aws:SecureTransport", ["true"]);
    context.set("aws:ViaAWSService", ["false"]);
    context.set("aws:PrincipalIsAWSService", ["false"]);
    context.set("aws:PrincipalType", ["User"]);
    context.set("aws:userid", [*principal]);
    context.set("aws:FederatedProvider", [*principal]);
    if let Some(account) = principal.split(':').nth(4) {
        context.set("aws:PrincipalAccount", [account]);
    }
    let given: [(&'static str, Option<String>); 4] = [
        ("aws:RequestedRegion", request.region.map(str::to_owned)),
        ("aws:SourceIp", request.source_ip.map(|ip| ip.to_string())),
        ("aws:SourceVpc", request.source_vpc.map(str::to_owned)),
        ("aws:SourceVpce", request.source_vpce.map(str::to_owned)),
    ];
    for (key, value) in given {
        match value {
            Some(value) => context.set(key, [value]),
            None => context.set_not_known(key),
        }
    }
    for key in ["aws:VpcSourceIp", "aws:UserAgent", "aws:PrincipalOrgID"] {
        context.set_not_known(key);
    }
    context.set("sts:RoleSessionName", [request.session_name]);
    context.set("sts:RoleAuthorizedByIdp", [authorized_by_idp.to_string()]);
    context.set("sts:SourceIdentity", session.source_identity.clone());
    for (key, value) in &session.tags {
        context.set(&format!("aws:RequestTag/{key}"), [value.as_str()]);
    }
    context.set("aws:TagKeys", session.tags.keys().cloned());
    context.set(
        "sts:TransitiveTagKeys",
        session.transitive_tag_keys.iter().cloned(),
    );
    context
}

fn check_policy(role: &Role, caller: Caller<'_>, context: &Context) -> Step<Clause> {
    let evaluation = policy::evaluate(&role.trust_policy, caller, ASSUME, context);
    evaluation.outcome.map_err(|miss| {
        let mut failure = Failure::new(miss.reason, miss.clause, not_authorized());
        failure.others = evaluation.others;
        Box::new(failure)
    })
}

/// Tags and source identity need actions of their own.
fn check_session_actions(
    role: &Role,
    caller: Caller<'_>,
    context: &Context,
    principal: &str,
    session: &SessionClaims,
) -> Step<()> {
    let wanted = [
        ("sts:TagSession", !session.tags.is_empty()),
        ("sts:SetSourceIdentity", session.source_identity.is_some()),
    ];
    for (action, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
        let evaluation = policy::evaluate(&role.trust_policy, caller, action, context);
        if let Err(miss) = evaluation.outcome {
            let mut failure = Failure::new(
                Reason::SessionActionMissing {
                    action,
                    because: Box::new(miss.reason),
                },
                miss.clause,
                CloudError::new(
                    "A30",
                    403,
                    "AccessDenied",
                    format!(
                        "User: {principal} is not authorized to perform: {action} on resource: {}",
                        role.arn
                    ),
                ),
            );
            failure.others = evaluation.others;
            return Err(Box::new(failure));
        }
    }
    Ok(())
}

fn check_duration(role: &Role, requested: Option<i64>) -> Step<i64> {
    let duration = requested.unwrap_or(DEFAULT_DURATION_SECONDS);
    let maximum = role
        .max_session_duration
        .unwrap_or(DEFAULT_DURATION_SECONDS);
    if duration <= maximum {
        return Ok(duration);
    }
    Err(Box::new(Failure::new(
        Reason::DurationExceedsMaximum { maximum },
        Clause::new(
            format!("role {}", role.arn),
            role.pointers.of("MaxSessionDuration"),
            "MaxSessionDuration",
        )
        .compared(format!("at most {maximum}"), duration.to_string()),
        CloudError::new(
            "A25",
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ),
    )))
}

fn invalid_token(
    row: &'static str,
    message: impl Into<String>,
    reason: Reason,
    clause: Clause,
) -> Box<Failure<Reason>> {
    Box::new(Failure::new(
        reason,
        clause,
        CloudError::new(row, 400, "InvalidIdentityToken", message),
    ))
}

fn not_validated(reason: Reason, clause: Clause) -> Box<Failure<Reason>> {
    invalid_token(
        "A3",
        "The web identity token provided could not be validated. See the AssumeRoleWithWebIdentity documentation for requirements.",
        reason,
        clause,
    )
}

fn no_key(reason: Reason, clause: Clause) -> Box<Failure<Reason>> {
    invalid_token(
        "A5",
        // Two spaces, as recorded.
        "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
        reason,
        clause,
    )
}

fn not_authorized() -> CloudError {
    CloudError::new(
        "A1",
        403,
        "AccessDenied",
        format!("Not authorized to perform {ASSUME}"),
    )
}

/// A string, or a number as text, as STS reads claims.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Some(Value::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// Providers that need no object in the account and have a name in place of an ARN.
fn built_in(issuer: &str) -> Option<&'static str> {
    let name = issuer.strip_prefix("https://").unwrap_or(issuer);
    [
        "accounts.google.com",
        "cognito-identity.amazonaws.com",
        "www.amazon.com",
        "graph.facebook.com",
    ]
    .into_iter()
    .find(|known| *known == name)
}

/// Claims beyond the usual five that are condition keys for shared issuers. Source: IAM user guide, "AWS global condition
/// context keys and IAM condition context keys", available keys for OIDC federation.
fn extra_claims(prefix: &str) -> &'static [&'static str] {
    let host = prefix.split('/').next().unwrap_or_default();
    match host {
        "token.actions.githubusercontent.com" => &[
            "actor",
            "actor_id",
            "job_workflow_ref",
            "repository",
            "repository_id",
            "repository_owner_id",
            "workflow",
            "ref",
            "environment",
            "enterprise_id",
        ],
        "gitlab.com" => &[
            "namespace_id",
            "project_id",
            "user_id",
            "user_login",
            "user_email",
            "user_access_level",
            "ref_protected",
            "pipeline_source",
            "runner_environment",
        ],
        "oidc.circleci.com" => &["oidc.circleci.com/project-id"],
        "accounts.google.com" => &["google/organization_number"],
        _ => &[],
    }
}

const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";
const TAGS: &str = "https://aws.amazon.com/tags";
const DEFAULT_DURATION_SECONDS: i64 = 3600;
