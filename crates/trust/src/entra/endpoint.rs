//! The token endpoint as Entra decides a client-credentials request with a federated assertion.
//!
//! The order of the checks is not recorded as AWS's is. It follows from what each needs: the tenant before the client, the
//! client before its credentials, the credential's issuer before the issuer's keys.

use cwii_contract::types::{TenantId, shorten};
use cwii_token::{DecodeError, KeyError, KeyRules, Token, select_key, verify_signature};
use jiff::Timestamp;

use crate::{
    Clause, CloudError, JwksFact, Lint, NearMiss,
    entra::{
        Application, Documents, FederatedIdentityCredential, LintKind, ObjectKind, Reason, Verdict,
        expression,
    },
    verdict::{ABSENT, Failure},
};

/// How far clocks may be apart, seconds.
pub const LEEWAY_SECONDS: i64 = 300;

/// What the token endpoint is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `client_assertion`, decoded or not; `None` when it is absent or empty.
    pub token: Option<Result<&'a Token, &'a DecodeError>>,
    /// The issuer's keys, as Entra can read them.
    pub jwks: JwksFact<'a>,
    /// The tenant in the path.
    pub tenant: &'a str,
    /// `client_id`.
    pub client_id: &'a str,
    /// `scope`; `None` when it is not to be checked.
    pub scope: Option<&'a str>,
    /// The time at Entra.
    pub now: Timestamp,
}

/// What the token endpoint answers with, except for the access token itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Granted {
    /// The tenant: its UUID where it is known, else as asked for.
    pub tenant: String,
    /// The client id.
    pub client_id: String,
    /// The client's name.
    pub display_name: Option<String>,
    /// Name of the credential that matched.
    pub credential: String,
    /// The token's issuer.
    pub issuer: String,
    /// The token's subject.
    pub subject: String,
    /// The audience that matched.
    pub audience: String,
}

/// Decides what the token endpoint would answer.
#[must_use]
pub fn evaluate(request: &Request<'_>, documents: &Documents) -> Verdict {
    let mut lints = Vec::new();
    let result = decide(request, documents, &mut lints);
    if let Some(application) = documents.find(request.client_id) {
        lint(application, &mut lints);
    }
    match result {
        Ok((granted, clause)) => Verdict::granted(granted, clause, lints),
        Err(failure) => Verdict::denied(*failure, lints),
    }
}

type Step<T> = Result<T, Box<Failure<Reason>>>;

fn decide(
    request: &Request<'_>,
    documents: &Documents,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<(Granted, Clause)> {
    let tenant = find_tenant(request, documents)?;
    check_parameters(request)?;
    let application = find_application(request, documents, &tenant)?;
    let assertion = read_assertion(request)?;
    if application.credentials.is_empty() {
        return Err(refused(
            "70025",
            format!(
                "The client '{}'({}) has no configured federated identity credentials.",
                application.client_id,
                application.display_name.as_deref().unwrap_or_default()
            ),
            Reason::NoCredentials,
            Clause::new(application.document(), "", "federatedIdentityCredentials")
                .compared("a credential", "none"),
        ));
    }
    let (credential, audience) = find_credential(application, &assertion)?;
    if assertion.audiences.len() > 1 {
        lints.push(Lint {
            kind: LintKind::SeveralAudiences,
            clause: Clause::new("token", "/payload/aud", "aud")
                .compared("one audience", assertion.audiences.join(", ")),
        });
    }
    check_times(assertion.token, request.now)?;
    check_key(assertion.token, request.jwks, lints)?;
    let clause = Clause::new(
        application.document(),
        credential.pointers.root(),
        "issuer, subject, audiences",
    )
    .compared(
        format!(
            "{} {} {}",
            credential.issuer,
            credential
                .subject
                .as_deref()
                .or(credential.claims_matching_expression.as_deref())
                .unwrap_or_default(),
            credential.audiences.join(", ")
        ),
        format!("{} {} {audience}", assertion.issuer, assertion.subject),
    );
    Ok((
        Granted {
            tenant,
            client_id: application.client_id.clone(),
            display_name: application.display_name.clone(),
            credential: credential.name.clone(),
            issuer: assertion.issuer.to_owned(),
            subject: assertion.subject.to_owned(),
            audience,
        },
        clause,
    ))
}

fn find_tenant(request: &Request<'_>, documents: &Documents) -> Step<String> {
    let tenant = request.tenant;
    let clause = || Clause::new("request", "/tenant", "tenant");
    if tenant.parse::<TenantId>().is_err() {
        return Err(refused(
            "900023",
            format!(
                "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain."
            ),
            Reason::TenantInvalid,
            clause().compared("a UUID or a domain", tenant),
        ));
    }
    let Some(tenants) = &documents.tenants else {
        return Ok(tenant.to_owned());
    };
    let found = tenants.iter().find(|known| {
        known.id.eq_ignore_ascii_case(tenant)
            || known.domains.iter().any(|d| d.eq_ignore_ascii_case(tenant))
    });
    match found {
        Some(found) => Ok(found.id.clone()),
        None => Err(refused(
            "90002",
            format!(
                "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
            ),
            Reason::TenantMissing,
            clause().compared(
                tenants
                    .iter()
                    .map(|known| known.id.as_str())
                    .collect::<Vec<_>>()
                    .join(" or "),
                tenant,
            ),
        )),
    }
}

fn check_parameters(request: &Request<'_>) -> Step<()> {
    for (parameter, value) in [
        ("client_id", Some(request.client_id)),
        ("scope", request.scope),
    ] {
        if value.is_some_and(str::is_empty) {
            return Err(refused(
                "900144",
                format!("The request body must contain the following parameter: '{parameter}'."),
                Reason::ParameterMissing { parameter },
                Clause::new("request", format!("/{parameter}"), parameter)
                    .compared("a value", "an empty string"),
            ));
        }
    }
    if let Some(scope) = request.scope.filter(|scope| {
        // OpenID scopes may stand beside the resource's.
        !scope
            .split_ascii_whitespace()
            .any(|scope| scope.ends_with("/.default"))
    }) {
        return Err(refused(
            "1002012",
            format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."
            ),
            Reason::ScopeInvalid,
            Clause::new("request", "/scope", "scope").compared("RESOURCE/.default", scope),
        ));
    }
    let empty = matches!(request.token, None | Some(Err(DecodeError::Empty)));
    if empty {
        return Err(refused(
            "7000218",
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            Reason::ParameterMissing {
                parameter: "client_assertion",
            },
            Clause::new("request", "/client_assertion", "client_assertion")
                .compared("a token", ABSENT),
        ));
    }
    Ok(())
}

fn find_application<'a>(
    request: &Request<'_>,
    documents: &'a Documents,
    tenant: &str,
) -> Step<&'a Application> {
    let client_id = request.client_id;
    let clause = || Clause::new("request", "/client_id", "client_id");
    let Some(application) = documents.find(client_id) else {
        return Err(refused(
            "700016",
            format!(
                "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."
            ),
            Reason::ClientMissing,
            clause().compared(
                documents
                    .applications
                    .iter()
                    .map(|known| known.client_id.as_str())
                    .collect::<Vec<_>>()
                    .join(" or "),
                client_id,
            ),
        ));
    };
    let Some(service_principals) = &documents.service_principals else {
        return Ok(application);
    };
    let service_principal = service_principals
        .iter()
        .find(|known| known.app_id.eq_ignore_ascii_case(client_id));
    match service_principal {
        Some(disabled) if !disabled.account_enabled => Err(refused(
            "7000112",
            format!(
                "Application '{client_id}'({}) is disabled.",
                application.display_name.as_deref().unwrap_or_default()
            ),
            Reason::ClientDisabled,
            Clause::new(
                format!("service principal of {client_id}"),
                disabled.pointers.of("accountEnabled"),
                "accountEnabled",
            )
            .compared("true", "false"),
        )),
        // A managed identity is its own service principal.
        None if application.kind == ObjectKind::Application => Err(refused(
            "7000229",
            format!(
                "The client application {client_id} is missing service principal in the tenant {tenant}. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119"
            ),
            Reason::ServicePrincipalMissing,
            Clause::new(format!("service principals of {tenant}"), "", "appId")
                .compared(client_id, ABSENT),
        )),
        _ => Ok(application),
    }
}

struct Assertion<'a> {
    token: &'a Token,
    issuer: &'a str,
    subject: &'a str,
    audiences: Vec<&'a str>,
}

fn read_assertion<'a>(request: &Request<'a>) -> Step<Assertion<'a>> {
    let malformed = |reason, clause| {
        refused(
            "50027",
            "JWT token is invalid or malformed.",
            reason,
            clause,
        )
    };
    let token = match request.token {
        Some(Ok(token)) => token,
        Some(Err(error)) => {
            let problem = error.to_string();
            return Err(malformed(
                Reason::NotAJwt {
                    problem: problem.clone(),
                },
                Clause::new("token", "", "JWT").compared("a JWT", problem),
            ));
        }
        None => {
            return Err(malformed(
                Reason::ParameterMissing {
                    parameter: "client_assertion",
                },
                Clause::new("request", "/client_assertion", "client_assertion"),
            ));
        }
    };
    if let Some(typ) = token
        .header
        .typ
        .as_ref()
        .filter(|typ| !typ.eq_ignore_ascii_case("JWT") && *typ != LONG_TYPE)
    {
        return Err(refused(
            "5002727",
            format!("Invalid JWT header type specified, must be 'JWT' or '{LONG_TYPE}'."),
            Reason::TypeNotAccepted { typ: typ.clone() },
            Clause::new("token", "/header/typ", "typ").compared("JWT", typ),
        ));
    }
    let missing = |claim: &'static str| {
        malformed(
            Reason::ClaimMissing { claim },
            Clause::new("token", format!("/payload/{claim}"), claim).compared(
                "a value",
                token
                    .claims
                    .members
                    .get(claim)
                    .map_or_else(|| ABSENT.to_owned(), |value| shorten(&value.to_string())),
            ),
        )
    };
    let issuer = token.claims.issuer().ok_or_else(|| missing("iss"))?;
    let subject = token.claims.subject().ok_or_else(|| missing("sub"))?;
    let audiences = token.claims.audiences();
    if audiences.is_empty() {
        return Err(missing("aud"));
    }
    if token.claims.expires_at().is_none() {
        return Err(missing("exp"));
    }
    Ok(Assertion {
        token,
        issuer,
        subject,
        audiences,
    })
}

/// The credential that matches, and the audience it matches with.
fn find_credential<'a>(
    application: &'a Application,
    assertion: &Assertion<'_>,
) -> Step<(&'a FederatedIdentityCredential, String)> {
    let mut misses = Vec::new();
    for credential in &application.credentials {
        match compare(application, credential, assertion) {
            Ok(audience) => return Ok((credential, audience)),
            Err(miss) => misses.push(miss),
        }
    }
    misses.sort_by_key(|(rank, _)| *rank);
    let mut misses = misses.into_iter().map(|(_, miss)| *miss);
    let first = misses.next().unwrap_or_else(|| NearMiss {
        reason: Reason::NoCredentials,
        clause: Clause::new(application.document(), "", "federatedIdentityCredentials"),
    });
    let Assertion {
        issuer,
        subject,
        audiences,
        ..
    } = assertion;
    let no_match = "No matching federated identity record found for presented assertion";
    let check = "Please check your federated identity credential Subject, Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation";
    let (row, message) = match &first.reason {
        Reason::AudienceMismatch => (
            "700212",
            format!("{no_match} audience '{}'. {check}", audiences.join("', '")),
        ),
        Reason::SubjectCaseMismatch => (
            "7002138",
            format!(
                "{no_match} subject '{subject}'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison."
            ),
        ),
        Reason::SubjectMismatch => (
            "700213",
            format!(
                "{no_match} subject '{subject}'. {}",
                check.replacen("Please check", "Check", 1)
            ),
        ),
        Reason::ExpressionMismatch => (
            "7002131",
            format!("{no_match} subject '{subject}'. {check}"),
        ),
        Reason::ExpressionNotAllowedForIssuer => (
            "7002241",
            format!(
                "Flexible federated identity credentials are not supported for issuer '{issuer}'."
            ),
        ),
        Reason::ExpressionNotAllowedForIdentity => (
            "700235",
            "Flexible federated identity credentials are not supported on managed identities."
                .to_owned(),
        ),
        Reason::ExpressionInvalid { .. } => (
            "700233",
            "Parsing of the claims matching expression failed.".to_owned(),
        ),
        _ if is_entra(issuer) => (
            "700222",
            "AAD-issued tokens may not be used for federated identity flows.".to_owned(),
        ),
        _ => ("700211", format!("{no_match} issuer '{issuer}'. {check}")),
    };
    let reason = match (first.reason, row) {
        (_, "700222") => Reason::IssuedByEntra,
        (reason, _) => reason,
    };
    let mut failure = refused(row, message, reason, first.clause);
    failure.others = misses.collect();
    Err(failure)
}

/// Compares letter by letter. The rank says how near a miss is.
fn compare(
    application: &Application,
    credential: &FederatedIdentityCredential,
    assertion: &Assertion<'_>,
) -> Result<String, (u8, Box<NearMiss<Reason>>)> {
    let miss = |rank, reason, member: &str, expected: &str, found: &str| {
        let clause = Clause::new(
            application.credential_document(credential),
            credential.pointers.of(member),
            member,
        );
        Err((
            rank,
            Box::new(NearMiss {
                reason,
                clause: clause.compared(expected, found),
            }),
        ))
    };
    if credential.issuer != assertion.issuer {
        // One for the same subject is the one that was meant.
        let rank = if credential.subject.as_deref() == Some(assertion.subject) {
            6
        } else {
            7
        };
        return miss(
            rank,
            Reason::IssuerMismatch,
            "issuer",
            &credential.issuer,
            assertion.issuer,
        );
    }
    if let Some(expression) = &credential.claims_matching_expression {
        let refuse = |rank, reason| {
            miss(
                rank,
                reason,
                "claimsMatchingExpression",
                expression,
                assertion.subject,
            )
        };
        if application.kind == ObjectKind::ManagedIdentity {
            return refuse(5, Reason::ExpressionNotAllowedForIdentity);
        }
        if !may_have_expression(&credential.issuer) {
            return refuse(5, Reason::ExpressionNotAllowedForIssuer);
        }
        match expression::evaluate(expression, &assertion.token.claims.members) {
            Err(problem) => return refuse(4, Reason::ExpressionInvalid { problem }),
            Ok(false) => return refuse(4, Reason::ExpressionMismatch),
            Ok(true) => {}
        }
    } else {
        let expected = credential.subject.as_deref().unwrap_or_default();
        if expected != assertion.subject {
            let (rank, reason) = if expected.to_lowercase() == assertion.subject.to_lowercase() {
                (2, Reason::SubjectCaseMismatch)
            } else {
                (3, Reason::SubjectMismatch)
            };
            return miss(rank, reason, "subject", expected, assertion.subject);
        }
    }
    let audience = assertion
        .audiences
        .iter()
        .find(|audience| credential.audiences.iter().any(|known| known == *audience));
    match audience {
        Some(audience) => Ok((*audience).to_owned()),
        None => miss(
            1,
            Reason::AudienceMismatch,
            "audiences",
            &credential.audiences.join(" or "),
            &assertion.audiences.join(", "),
        ),
    }
}

fn check_times(token: &Token, now: Timestamp) -> Step<()> {
    let expires_at = token.claims.expires_at().unwrap_or(Timestamp::MAX);
    let not_before = token.claims.not_before().or(token.claims.issued_at());
    let refuse = |reason, claim: &str, expected: String, found: Timestamp| {
        refused(
            "700024",
            format!(
                "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, expiry time of assertion {}. Review the documentation at https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials .",
                long_form(now),
                long_form(not_before.unwrap_or(Timestamp::UNIX_EPOCH)),
                long_form(expires_at)
            ),
            reason,
            Clause::new(
                "token",
                format!("/payload/{claim}"),
                format!("{claim}, leeway {LEEWAY_SECONDS} s"),
            )
            .compared(expected, found.to_string()),
        )
    };
    let seconds = now.as_second();
    if expires_at.as_second() <= seconds - LEEWAY_SECONDS {
        return Err(refuse(
            Reason::Expired,
            "exp",
            format!("after {now}"),
            expires_at,
        ));
    }
    match not_before {
        Some(not_before) if not_before.as_second() > seconds + LEEWAY_SECONDS => Err(refuse(
            Reason::NotYetValid,
            if token.claims.not_before().is_some() {
                "nbf"
            } else {
                "iat"
            },
            format!("at most {now}"),
            not_before,
        )),
        _ => Ok(()),
    }
}

fn check_key(token: &Token, jwks: JwksFact<'_>, lints: &mut Vec<Lint<LintKind>>) -> Step<()> {
    let clause = || Clause::new("token", "/header/kid", "verification key");
    let jwks = match jwks {
        JwksFact::Known(jwks) => jwks,
        JwksFact::Unavailable(problem) => {
            return Err(refused(
                "90061",
                "Request to External OIDC endpoint failed.",
                Reason::KeysUnavailable {
                    problem: problem.to_owned(),
                },
                clause().compared("the issuer's keys", problem),
            ));
        }
        JwksFact::NotCollected => {
            lints.push(Lint {
                kind: LintKind::SignatureNotChecked,
                clause: clause(),
            });
            return Ok(());
        }
    };
    let found = token.header.kid.as_deref().unwrap_or(ABSENT);
    let key = select_key(&token.header, jwks, KeyRules::Entra).map_err(|error| {
        let message = match error {
            KeyError::AlgorithmNotAccepted { .. } | KeyError::AlgorithmMismatch { .. } => {
                FAILED_VALIDATION
            }
            _ => {
                "Client assertion contains an invalid signature. [Reason - The key was not found.]"
            }
        };
        let clause = clause().compared(error.to_string(), found);
        refused("700027", message, Reason::Key(error), clause)
    })?;
    verify_signature(token, key).map_err(|error| {
        refused(
            "700027",
            FAILED_VALIDATION,
            Reason::Signature(error.clone()),
            Clause::new("token", "/header/kid", "signature").compared(
                "a signature of the issuer's key of this name",
                error.to_string(),
            ),
        )
    })
}

fn lint(application: &Application, lints: &mut Vec<Lint<LintKind>>) {
    let count = application.credentials.len();
    if count >= MAX_CREDENTIALS - 2 {
        lints.push(Lint {
            kind: LintKind::CredentialsNearLimit { count },
            clause: Clause::new(application.document(), "", "federatedIdentityCredentials")
                .compared(format!("at most {MAX_CREDENTIALS}"), count.to_string()),
        });
    }
    for credential in &application.credentials {
        let mut add = |kind, member: &str, value: &str| {
            lints.push(Lint {
                kind,
                clause: Clause::new(
                    application.credential_document(credential),
                    credential.pointers.of(member),
                    member,
                )
                .compared(value.trim(), value),
            });
        };
        let values = [
            ("issuer", Some(credential.issuer.as_str())),
            ("subject", credential.subject.as_deref()),
            (
                "audiences",
                credential.audiences.first().map(String::as_str),
            ),
        ];
        for (member, value) in values {
            if let Some(value) = value.filter(|value| value.trim() != *value) {
                add(LintKind::SurroundingWhitespace { member }, member, value);
            }
        }
        if let Some(subject) = credential
            .subject
            .as_deref()
            .filter(|subject| subject.contains('*'))
        {
            add(LintKind::WildcardInSubject, "subject", subject);
        }
        if let Some(expression) = &credential.claims_matching_expression
            && (application.kind == ObjectKind::ManagedIdentity
                || !may_have_expression(&credential.issuer))
        {
            add(
                LintKind::ExpressionNeverMatches,
                "claimsMatchingExpression",
                expression,
            );
        }
    }
}

impl Application {
    fn document(&self) -> String {
        let kind = match self.kind {
            ObjectKind::Application => "application",
            ObjectKind::ManagedIdentity => "managed identity",
        };
        format!("{kind} {}", self.client_id)
    }

    fn credential_document(&self, credential: &FederatedIdentityCredential) -> String {
        format!(
            "federated identity credential `{}` of {}",
            credential.name,
            self.document()
        )
    }
}

/// Entra's own issuers, of any of its clouds.
fn is_entra(issuer: &str) -> bool {
    let host = issuer
        .strip_prefix("https://")
        .unwrap_or(issuer)
        .split('/')
        .next()
        .unwrap_or_default();
    [
        "sts.windows.net",
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
        "login.chinacloudapi.cn",
        "sts.chinacloudapi.cn",
    ]
    .contains(&host)
}

/// Issuers that flexible credentials exist for: GitHub, GitLab and Terraform Cloud.
fn may_have_expression(issuer: &str) -> bool {
    [
        "https://token.actions.githubusercontent.com",
        "https://gitlab.com",
        "https://app.terraform.io",
    ]
    .iter()
    .any(|known| {
        issuer
            .strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// The form of .NET, with seven digits after the second.
fn long_form(time: Timestamp) -> String {
    let text = time.to_string();
    let (seconds, fraction) = text
        .trim_end_matches('Z')
        .split_once('.')
        .map_or((text.trim_end_matches('Z'), ""), |(s, f)| (s, f));
    format!("{seconds}.{fraction:0<7.7}Z")
}

/// HTTP status and OAuth error of a number. Microsoft warns against depending on either.
fn refused(
    row: &'static str,
    message: impl Into<String>,
    reason: Reason,
    clause: Clause,
) -> Box<Failure<Reason>> {
    let (status, code) = match row {
        "900023" | "90002" | "900144" | "50027" | "90061" => (400, "invalid_request"),
        "700016" => (400, "unauthorized_client"),
        "7000112" => (401, "unauthorized_client"),
        "1002012" => (400, "invalid_scope"),
        _ => (401, "invalid_client"),
    };
    Box::new(Failure::new(
        reason,
        clause,
        CloudError::new(
            row,
            status,
            code,
            format!("AADSTS{row}: {}", message.into()),
        ),
    ))
}

const LONG_TYPE: &str = "http://openid.net/specs/jwt/1.0";
const FAILED_VALIDATION: &str = "Client assertion failed signature validation.";
const MAX_CREDENTIALS: usize = 20;
