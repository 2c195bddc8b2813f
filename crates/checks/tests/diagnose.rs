//! One exchange in, one cause out: a positive and a negative case for what token, clock and text tell.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use cwii_checks::{
    diagnose,
    facts::{
        Answer, Cause, ConfigurationProblem, ConfigurationProblemKind, Exchange, Fact, Failure,
        Identity, Input, Issuer, IssuerSeen, Mechanism, Note, PresentedToken, ServerClock, Step,
        TokenProblem, TokenProblemKind, TransportProblem, TransportProblemKind, Wire,
    },
    needs_issuer,
};
use cwii_contract::{Provider, VerifyExit};
use cwii_token::{Discovery, Jwks, Token};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const NOW: i64 = 1_790_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// A token of the usual kind with some claims changed. Nobody verifies it here, so its signature is a filler.
fn token(changes: Value) -> Token {
    let mut claims = json!({
        "iss": "https://oidc.example.com/c", "sub": "system:serviceaccount:shop:checkout",
        "aud": ["sts.amazonaws.com"], "iat": NOW - 600, "nbf": NOW - 600, "exp": NOW + 3000,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    Token::decode(&format!(
        "{}.{}.c2lnbmF0dXJl",
        part(&json!({"alg": "RS256", "kid": "k1"})),
        part(&claims)
    ))
    .unwrap()
}

fn exchange(provider: Provider, step: Step, cause: Cause, token: Option<Token>) -> Exchange {
    Exchange {
        provider,
        mechanism: Some(match provider {
            Provider::Aws => Mechanism::AwsWebIdentity,
            Provider::Gcp => Mechanism::GoogleExternalAccount,
            Provider::Az => Mechanism::EntraFederatedCredential,
        }),
        inputs: [
            ("role", "arn:aws:iam::123456789012:role/shop"),
            ("client", "11111111-1111-1111-1111-111111111111"),
            ("audience", "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k"),
            ("service account", "reader@demo.iam.gserviceaccount.com"),
        ]
        .map(|(name, value)| Input { name, value: value.into(), source: "environment".into() })
        .into(),
        token: token.map(|token| PresentedToken { path: "/t/token".into(), bytes: 100, token: Ok(token), trimmed: None }),
        result: Err(Failure { step, cause, attempts: 1 }),
        server_clock: Some(ServerClock { server: now(), local: now() }),
        notes: Vec::new(),
        wire: Wire::default(),
    }
}

fn answer(status: u16, code: &str, message: &str) -> Cause {
    Cause::Answer(Answer {
        status,
        code: Some(code.into()),
        message: message.into(),
        request_id: None,
    })
}

fn generic() -> Cause {
    answer(
        400,
        "InvalidIdentityToken",
        "The web identity token provided could not be validated. See …",
    )
}

fn code(exchange: &Exchange) -> &'static str {
    diagnose(exchange, None, now())
        .cause
        .unwrap()
        .code()
        .unwrap()
}

fn aws(cause: Cause, changes: Value) -> Exchange {
    exchange(
        Provider::Aws,
        Step::AssumeRoleWithWebIdentity,
        cause,
        Some(token(changes)),
    )
}

#[test]
fn one_generic_text_of_aws_has_the_cause_that_the_token_shows() {
    assert_eq!(code(&aws(generic(), json!({}))), "AWS03");
    assert_eq!(
        code(&aws(generic(), json!({"aud": ["sts.amazonaws.com/"]}))),
        "TOK03"
    );
    assert_eq!(
        code(&aws(generic(), json!({"aud": ["something-else"]}))),
        "AWS03"
    );
    assert_eq!(code(&aws(generic(), json!({"aud": ["a", "b"]}))), "TOK03");
    assert_eq!(
        code(&aws(generic(), json!({"aud": ["a", "b"], "azp": "a"}))),
        "AWS03"
    );
    assert_eq!(
        code(&aws(
            generic(),
            json!({"exp": NOW - 301, "iat": NOW - 4000, "nbf": NOW - 4000})
        )),
        "TOK09"
    );
    assert_eq!(
        code(&aws(
            generic(),
            json!({"exp": NOW - 299, "iat": NOW - 4000, "nbf": NOW - 4000})
        )),
        "AWS03"
    );
    assert_eq!(
        code(&aws(
            generic(),
            json!({"iat": NOW + 301, "nbf": NOW + 301, "exp": NOW + 4000})
        )),
        "TOK05"
    );
}

#[test]
fn a_token_that_only_the_servers_clock_calls_expired_is_a_matter_of_clocks() {
    let mut exchange = aws(
        answer(400, "ExpiredTokenException", "Token expired: …"),
        json!({}),
    );
    exchange.server_clock = Some(ServerClock {
        server: now() + SignedDuration::from_secs(4000),
        local: now(),
    });
    let diagnosis = diagnose(&exchange, None, now());
    assert_eq!(diagnosis.cause.unwrap().code(), Some("TOK05"));
    let clocks = diagnosis
        .evidence
        .iter()
        .find(|e| e.label == "clocks")
        .unwrap();
    assert!(
        clocks.value.contains("1 h 6 m") && clocks.value.contains("ahead"),
        "{}",
        clocks.value
    );
}

#[test]
fn a_token_that_sts_accepted_is_not_blamed_though_it_has_expired_meanwhile() {
    let exchange = aws(
        answer(
            403,
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        ),
        json!({"exp": NOW - 4000, "iat": NOW - 8000, "nbf": NOW - 8000}),
    );
    assert_eq!(code(&exchange), "AWS05");
    assert_eq!(needs_issuer(&exchange), None);
}

#[test]
fn the_fix_carries_this_workloads_values() {
    let provider_missing = aws(
        answer(
            400,
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for https://oidc.example.com/c",
        ),
        json!({}),
    );
    let cause = diagnose(&provider_missing, None, now()).cause.unwrap();
    assert_eq!(cause.code(), Some("AWS01"));
    assert_eq!(
        cause.fix.commands,
        [
            "aws iam create-open-id-connect-provider --url https://oidc.example.com/c --client-id-list sts.amazonaws.com"
        ]
    );
    let hostile = aws(
        answer(
            400,
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for x",
        ),
        json!({"aud": ["x; rm -rf '/'"]}),
    );
    let cause = diagnose(&hostile, None, now()).cause.unwrap();
    assert!(
        cause.fix.commands[0].ends_with(r"--client-id-list 'x; rm -rf '\''/'\'''"),
        "{}",
        cause.fix.commands[0]
    );
}

#[test]
fn an_issuer_that_no_cloud_can_reach_is_the_cause_by_its_name() {
    let found = |iss: &str| {
        code(&aws(
            answer(
                400,
                "InvalidIdentityToken",
                "No OpenIDConnect provider found in your account for x",
            ),
            json!({"iss": iss}),
        ))
    };
    assert_eq!(
        found("https://kubernetes.default.svc.cluster.local"),
        "ISS01"
    );
    assert_eq!(found("https://10.0.0.1/x"), "ISS01");
    assert_eq!(found("https://oidc.example.com"), "AWS01");
}

#[test]
fn the_published_keys_decide_where_the_text_does_not() {
    let exchange = aws(generic(), json!({}));
    assert_eq!(needs_issuer(&exchange), Some("https://oidc.example.com/c"));
    let issuer = |discovery: Value, jwks: Fact<Jwks>| Issuer {
        url: "https://oidc.example.com/c".into(),
        discovery_url: "https://oidc.example.com/c/.well-known/openid-configuration".into(),
        discovery: Fact::Known(Discovery::parse(discovery.to_string().as_bytes()).unwrap()),
        jwks_url: Some("https://oidc.example.com/c/jwks".into()),
        jwks,
        seen: IssuerSeen::default(),
    };
    let good = json!({"issuer": "https://oidc.example.com/c", "jwks_uri": "https://oidc.example.com/c/jwks"});
    let other_key = Jwks::parse(
        json!({"keys": [{"kty": "RSA", "kid": "k0", "n": "AQAB", "e": "AQAB"}]})
            .to_string()
            .as_bytes(),
    )
    .unwrap();
    let code = |issuer: Issuer| {
        diagnose(&exchange, Some(&issuer), now())
            .cause
            .unwrap()
            .code()
            .unwrap()
    };
    assert_eq!(
        code(issuer(good.clone(), Fact::Known(other_key.clone()))),
        "ISS10"
    );
    assert_eq!(
        code(issuer(good.clone(), Fact::Invalid("an HTML page".into()))),
        "ISS14"
    );
    assert_eq!(code(issuer(good.clone(), Fact::NotCollected)), "AWS03");
    let slash = json!({"issuer": "https://oidc.example.com/c/", "jwks_uri": "https://oidc.example.com/c/jwks"});
    assert_eq!(code(issuer(slash, Fact::Known(other_key))), "ISS03");
}

#[test]
fn google_and_entra_answers_keep_their_rows() {
    let google = |step, status, provider_code: &str, text: &str| {
        diagnose(
            &exchange(
                Provider::Gcp,
                step,
                answer(status, provider_code, text),
                Some(token(json!({}))),
            ),
            None,
            now(),
        )
    };
    let denied = google(
        Step::GoogleImpersonation,
        403,
        "PERMISSION_DENIED",
        "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
    );
    assert_eq!((denied.row, denied.exit), (Some("G17"), VerifyExit::Denied));
    assert!(denied.cause.unwrap().fix.commands[0].contains("principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/subject/system:serviceaccount:shop:checkout"));
    let throttled = google(
        Step::GoogleTokenExchange,
        429,
        "quota_exceeded",
        "The request was throttled",
    );
    assert_eq!(
        (
            throttled.row,
            throttled.exit,
            throttled.cause.unwrap().code()
        ),
        (Some("G15"), VerifyExit::Unreachable, None)
    );

    let entra = exchange(
        Provider::Az,
        Step::EntraToken,
        answer(401, "AADSTS7002138", "AADSTS7002138: …"),
        Some(token(json!({"aud": ["api://AzureADTokenExchange"]}))),
    );
    let diagnosis = diagnose(&entra, None, now());
    assert_eq!(
        (diagnosis.row, diagnosis.cause.unwrap().code()),
        (Some("7002138"), Some("AZ05"))
    );
}

#[test]
fn what_never_reached_a_cloud_is_told_by_where_it_ended() {
    let local = |provider, cause| {
        let diagnosis = diagnose(
            &exchange(provider, Step::Configuration, cause, None),
            None,
            now(),
        );
        (
            diagnosis.exit.code(),
            diagnosis.cause.unwrap().code().unwrap_or("none"),
        )
    };
    let configuration = |name: &str, kind| {
        Cause::Configuration(ConfigurationProblem {
            name: name.into(),
            source: "environment".into(),
            problem: "x".into(),
            kind,
        })
    };
    use ConfigurationProblemKind as Kind;
    assert_eq!(
        local(
            Provider::Aws,
            configuration("AWS_ROLE_ARN", Kind::NothingConfigured)
        ),
        (10, "POD10")
    );
    assert_eq!(
        local(Provider::Aws, configuration("AWS_ROLE_ARN", Kind::Invalid)),
        (10, "AWS10")
    );
    assert_eq!(
        local(
            Provider::Aws,
            configuration("AWS_ROLE_SESSION_NAME", Kind::Invalid)
        ),
        (10, "AWS15")
    );
    assert_eq!(
        local(
            Provider::Az,
            configuration("AZURE_TENANT_ID", Kind::Missing)
        ),
        (10, "AZ09")
    );
    assert_eq!(
        local(
            Provider::Az,
            configuration("AZURE_CLIENT_ID", Kind::Invalid)
        ),
        (10, "AZ01")
    );
    assert_eq!(
        local(Provider::Gcp, configuration("audience", Kind::Invalid)),
        (10, "GCP01")
    );
    assert_eq!(
        local(
            Provider::Gcp,
            configuration("token_url", Kind::ForeignEndpoint)
        ),
        (10, "GCP10")
    );

    let file = |kind| {
        Cause::Token(TokenProblem {
            path: "/t".into(),
            problem: "x".into(),
            kind,
        })
    };
    assert_eq!(
        local(Provider::Aws, file(TokenProblemKind::Missing)),
        (11, "TOK01")
    );
    assert_eq!(
        local(Provider::Aws, file(TokenProblemKind::Forbidden)),
        (11, "POD13")
    );
    assert_eq!(
        local(Provider::Aws, file(TokenProblemKind::Empty)),
        (11, "TOK01")
    );

    let wire = |kind| {
        Cause::Transport(TransportProblem {
            host: "sts.eu-west-1.amazonaws.com".into(),
            kind,
            detail: "x".into(),
            proxy: None,
        })
    };
    assert_eq!(
        local(Provider::Aws, wire(TransportProblemKind::Dns)),
        (30, "NET01")
    );
    assert_eq!(
        local(Provider::Gcp, wire(TransportProblemKind::ReadTimeout)),
        (30, "NET02")
    );
    assert_eq!(
        local(Provider::Az, wire(TransportProblemKind::Certificate)),
        (30, "NET04")
    );
    assert_eq!(
        local(Provider::Az, wire(TransportProblemKind::Proxy)),
        (30, "NET05")
    );
    assert_eq!(
        local(Provider::Aws, Cause::Internal("x".into())),
        (70, "none")
    );
}

#[test]
fn a_deadline_tells_what_went_wrong_before_it() {
    let last = Cause::Transport(TransportProblem {
        host: "sts.eu-west-1.amazonaws.com".into(),
        kind: TransportProblemKind::Refused,
        detail: "connection refused".into(),
        proxy: None,
    });
    let cause = Cause::Deadline {
        after_ms: 30_000,
        last: Some(Box::new(last)),
    };
    let diagnosis = diagnose(&aws(cause, json!({})), None, now());
    assert_eq!(diagnosis.exit, VerifyExit::Unreachable);
    let cause = diagnosis.cause.unwrap();
    assert!(
        cause.message.contains("nobody listens"),
        "{}",
        cause.message
    );
    assert!(
        cause
            .evidence
            .iter()
            .any(|e| e.label == "deadline" && e.value.contains("30 s"))
    );
}

#[test]
fn an_exchange_that_worked_has_no_cause_but_keeps_its_warnings() {
    let mut exchange = aws(generic(), json!({}));
    exchange.result = Ok(Identity::default());
    exchange.notes.push(Note {
        code: Some("APP01"),
        text: "AWS_ACCESS_KEY_ID is set as well".into(),
    });
    let diagnosis = diagnose(&exchange, None, now());
    assert_eq!(
        (diagnosis.exit, diagnosis.cause),
        (VerifyExit::Verified, None)
    );
    assert_eq!(diagnosis.also[0].code(), Some("APP01"));
}
