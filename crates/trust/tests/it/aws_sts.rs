//! The rows of the catalogue that STS decides from token and documents, and the order in which it does.

use std::net::IpAddr;

use cwii_token::{KeyError, Token};
use cwii_trust::{
    JwksFact,
    aws::{self, Documents, Hints, LintKind, PrincipalDifference, Reason, Request, Verdict},
};
use serde_json::{Value, json};

use crate::support::{ISSUER, KEYS, NOW, PREFIX, SUBJECT, claims, jwks, now, with};

const ROLE: &str = "arn:aws:iam::123456789012:role/apps/checkout";
const PROVIDER: &str =
    "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC";
const AUDIENCE: &str = "sts.amazonaws.com";

fn trust_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Federated": PROVIDER},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {
                format!("{PREFIX}:sub"): SUBJECT,
                format!("{PREFIX}:aud"): AUDIENCE,
            }},
        }],
    })
}

fn documents(policy: &Value) -> Documents {
    let mut documents = Documents::default();
    for document in [
        json!({"Role": {
            "Arn": ROLE, "RoleId": "AROAEXAMPLE", "RoleName": "checkout", "MaxSessionDuration": 7200,
            "AssumeRolePolicyDocument": policy,
        }}),
        json!({"Url": PREFIX, "ClientIDList": [AUDIENCE, "my-party"], "ThumbprintList": []}),
    ] {
        documents.add(&document, &Hints::default()).unwrap();
    }
    documents
}

fn evaluate_with(token: &Token, change: impl FnOnce(&mut Request<'_>)) -> Verdict {
    let set = KEYS.jwks();
    let mut request = Request::new(Ok(token), JwksFact::Known(&set), ROLE, "checkout-0", now());
    change(&mut request);
    aws::evaluate(&request, &documents(&trust_policy()))
}

fn evaluate_keys(token: &Token, keys: JwksFact<'_>) -> Verdict {
    let request = Request::new(Ok(token), keys, ROLE, "checkout-0", now());
    aws::evaluate(&request, &documents(&trust_policy()))
}

fn evaluate(token: &Token) -> Verdict {
    evaluate_with(token, |_| {})
}

#[track_caller]
fn expect(verdict: &Verdict, row: &str, status: u16, code: &str, message: &str) {
    let error = verdict.error().unwrap_or_else(|| panic!("{row}: allowed"));
    assert_eq!(
        (
            error.row,
            error.http_status,
            error.code.as_str(),
            error.message.as_str()
        ),
        (row, status, code, message)
    );
}

const GENERIC: &str = "The web identity token provided could not be validated. See the AssumeRoleWithWebIdentity documentation for requirements.";
const NO_KEY: &str = "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements";
const NOT_A_JWT: &str = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)";
const DENIED: &str = "Not authorized to perform sts:AssumeRoleWithWebIdentity";

#[test]
fn a_healthy_token_gets_a_session() {
    let verdict = evaluate(&KEYS.token(&claims(AUDIENCE)));
    let session = verdict.grant().unwrap();
    assert_eq!(
        session.assumed_role_arn,
        "arn:aws:sts::123456789012:assumed-role/checkout/checkout-0"
    );
    assert_eq!(
        session.assumed_role_id.as_deref(),
        Some("AROAEXAMPLE:checkout-0")
    );
    assert_eq!(session.provider, PROVIDER);
    assert_eq!(session.audience, AUDIENCE);
    assert_eq!(session.subject, SUBJECT);
    assert_eq!(session.duration_seconds, 3600);
    assert_eq!(
        verdict.decided_by.pointer,
        "/Role/AssumeRolePolicyDocument/Statement/0"
    );
    assert_eq!(
        verdict.decided_by.document,
        format!("trust policy of {ROLE}")
    );
    assert_eq!(verdict.lints, []);
}

#[test]
fn elliptic_curves_work_too() {
    let token = KEYS.sign(&json!({"alg": "ES256", "kid": "ec-1"}), &claims(AUDIENCE));
    assert!(evaluate(&token).allowed());
}

#[test]
fn parameters_are_checked_before_anything_else() {
    // Nothing about this token is right, yet the parameters are what STS complains about.
    let token = KEYS.token(&json!({}));
    let rows: [(&str, &str, Option<i64>, &str, &str); 7] = [
        (
            "short",
            "ok",
            None,
            "A24",
            "1 validation error detected: Value 'short' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20",
        ),
        (
            ROLE,
            "a:b/c",
            None,
            "A24",
            r"1 validation error detected: Value 'a:b/c' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*",
        ),
        (
            ROLE,
            "x",
            None,
            "A24",
            "1 validation error detected: Value 'x' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2",
        ),
        (
            "short",
            "x",
            None,
            "A24",
            "2 validation errors detected: Value 'short' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20; Value 'x' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2",
        ),
        (
            ROLE,
            "ok",
            Some(899),
            "A24",
            "1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900",
        ),
        (
            ROLE,
            "ok",
            Some(43_201),
            "A24",
            "1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200",
        ),
        (
            "arn:aws:iam::123456789012:instance-profile/x",
            "ok",
            None,
            "A23",
            "Request ARN is invalid",
        ),
    ];
    for (role, session, duration, row, message) in rows {
        let set = KEYS.jwks();
        let mut request = Request::new(Ok(&token), JwksFact::Known(&set), role, session, now());
        request.duration_seconds = duration;
        let verdict = aws::evaluate(&request, &Documents::default());
        expect(&verdict, row, 400, "ValidationError", message);
    }
}

#[test]
fn a_token_beyond_20000_characters_is_refused_unseen() {
    let token = KEYS.token(&with(
        claims(AUDIENCE),
        &json!({"groups": "x".repeat(15_000)}),
    ));
    assert!(token.expose().len() > 20_000);
    let message = "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length less than or equal to 20000";
    expect(&evaluate(&token), "A26", 400, "ValidationError", message);

    for text in [String::new(), "x".repeat(70_000)] {
        let decoded = Token::decode(&text);
        let request = Request::new(decoded.as_ref(), JwksFact::NotCollected, ROLE, "s1", now());
        let verdict = aws::evaluate(&request, &Documents::default());
        assert_eq!(verdict.error().unwrap().row, "A26");
    }
}

#[test]
fn a_role_of_another_partition_than_the_region_is_no_valid_arn() {
    let verdict = evaluate_with(&KEYS.token(&claims(AUDIENCE)), |request| {
        request.region = Some("cn-north-1");
    });
    expect(
        &verdict,
        "A23",
        400,
        "ValidationError",
        "Request ARN is invalid",
    );
    assert_eq!(verdict.reason().unwrap().check(), Some("AWS10"));
}

#[test]
fn a_provider_id_does_not_go_with_a_jwt() {
    let verdict = evaluate_with(&KEYS.token(&claims(AUDIENCE)), |request| {
        request.provider_id = Some("www.amazon.com");
    });
    let message = "Provided Token is not a Login With Amazon token";
    expect(&verdict, "A15", 400, "InvalidIdentityToken", message);
}

#[test]
fn what_is_no_jwt_is_named_so() {
    let good = KEYS.sign_text(
        r#"{"alg":"RS256","kid":"rsa-1"}"#,
        &claims(AUDIENCE).to_string(),
    );
    let texts = [
        "opaque-access-token".to_owned(),
        good[..good.len() / 2].to_owned(),
        format!("{good}\n"),
        good.replacen('.', "..", 1),
    ];
    for text in &texts {
        let decoded = Token::decode(text);
        let request = Request::new(decoded.as_ref(), JwksFact::NotCollected, ROLE, "s1", now());
        let verdict = aws::evaluate(&request, &documents(&trust_policy()));
        expect(&verdict, "A7", 400, "InvalidIdentityToken", NOT_A_JWT);
        assert_eq!(verdict.reason().unwrap().check(), Some("TOK01"));
    }
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256", "kid": "rsa-1"}),
        json!({"alg": "PS256", "kid": "rsa-1"}),
        json!({"kid": "rsa-1"}),
        json!({"alg": "RS256", "kid": "rsa-1", "crit": ["x"]}),
    ] {
        let verdict = evaluate(&KEYS.sign(&header, &claims(AUDIENCE)));
        expect(&verdict, "A7", 400, "InvalidIdentityToken", NOT_A_JWT);
    }
}

#[test]
fn missing_claims_are_named_in_order() {
    let mut members = claims(AUDIENCE);
    for claim in ["exp", "iat", "aud", "sub", "iss"] {
        members = with(members, &json!({claim: null}));
        let message = format!("Missing a required claim: {claim}");
        expect(
            &evaluate(&KEYS.token(&members)),
            "A8",
            400,
            "InvalidIdentityToken",
            &message,
        );
    }
}

#[test]
fn a_null_subject_breaks_sts_and_a_number_becomes_text() {
    let mut members = claims(AUDIENCE);
    members["sub"] = Value::Null;
    let message = "Unknown error validating third-party token";
    expect(
        &evaluate(&KEYS.token(&members)),
        "A28",
        500,
        "InternalFailure",
        message,
    );

    let mut policy = trust_policy();
    policy["Statement"][0]["Condition"]["StringEquals"][format!("{PREFIX}:sub")] = json!("42");
    members["sub"] = json!(42);
    let token = KEYS.token(&members);
    let set = KEYS.jwks();
    let request = Request::new(Ok(&token), JwksFact::Known(&set), ROLE, "s1", now());
    let verdict = aws::evaluate(&request, &documents(&policy));
    assert_eq!(verdict.grant().unwrap().subject, "42");
}

#[test]
fn times_are_whole_numbers_or_such_in_strings() {
    for (claim, value) in [
        ("exp", json!(1.5)),
        ("exp", Value::Null),
        ("iat", json!("yesterday")),
        ("iat", json!(true)),
        ("nbf", json!({})),
        ("nbf", Value::Null),
    ] {
        let mut members = claims(AUDIENCE);
        members[claim] = value;
        let message = "Invalid timestamp in token claims.";
        expect(
            &evaluate(&KEYS.token(&members)),
            "A13",
            400,
            "InvalidIdentityToken",
            message,
        );
    }
    let members = with(
        claims(AUDIENCE),
        &json!({"exp": (NOW + 60).to_string(), "iat": NOW.to_string(), "nbf": NOW.to_string()}),
    );
    assert!(evaluate(&KEYS.token(&members)).allowed());
}

#[test]
fn clocks_may_be_five_minutes_apart() {
    for (claim, value) in [
        ("exp", NOW - 24),
        ("exp", NOW - 299),
        ("iat", NOW + 275),
        ("iat", NOW + 300),
        ("nbf", NOW + 300),
    ] {
        let members = with(claims(AUDIENCE), &json!({claim: value}));
        assert!(
            evaluate(&KEYS.token(&members)).allowed(),
            "{claim} {}",
            value - NOW
        );
    }
    let refused = |claim: &str, value: i64| {
        evaluate(&KEYS.token(&with(claims(AUDIENCE), &json!({claim: value}))))
    };
    let message = format!(
        "Token expired: current date/time {} must be before the expiration date/time {}",
        NOW - 300,
        NOW - 300
    );
    expect(
        &refused("exp", NOW - 300),
        "A16",
        400,
        "ExpiredTokenException",
        &message,
    );
    let message = format!(
        "Token not yet valid: current date/time {} must be after or equal to the not-before date/time {}",
        NOW + 300,
        NOW + 301
    );
    expect(
        &refused("nbf", NOW + 301),
        "A12",
        400,
        "InvalidIdentityToken",
        &message,
    );
    let message = format!("Token issued in the future: {}", NOW + 301);
    expect(
        &refused("iat", NOW + 301),
        "A11",
        400,
        "InvalidIdentityToken",
        &message,
    );
}

#[test]
fn the_audience_is_one_or_has_an_authorized_party() {
    let audience = |aud: Value, azp: Value| {
        evaluate(&KEYS.token(&with(claims(AUDIENCE), &json!({"aud": aud, "azp": azp}))))
    };
    let none = Value::Null;
    let message = "Claim is not allowed to be empty: aud";
    expect(
        &audience(json!([]), none.clone()),
        "A9",
        400,
        "InvalidIdentityToken",
        message,
    );
    let message =
        "Token audience contains more than one audience while authorized party is not present";
    expect(
        &audience(json!([AUDIENCE, "vault"]), none.clone()),
        "A10",
        400,
        "InvalidIdentityToken",
        message,
    );
    for (aud, azp) in [
        (json!("vault"), none.clone()),
        (json!(["vault"]), none.clone()),
        (json!(""), none.clone()),
        (json!(AUDIENCE), json!("")),
        (json!(AUDIENCE), json!("stranger")),
        (json!([AUDIENCE, "vault"]), json!("stranger")),
        (json!("STS.amazonaws.com"), none.clone()),
    ] {
        let verdict = audience(aud.clone(), azp.clone());
        expect(&verdict, "A3", 400, "InvalidIdentityToken", GENERIC);
        assert_eq!(
            verdict.reason().unwrap().check(),
            Some("AWS03"),
            "{aud} {azp}"
        );
        assert_eq!(verdict.decided_by.pointer, "/ClientIDList");
    }
    assert!(audience(json!(AUDIENCE), none).allowed());
}

#[test]
fn the_authorized_party_alone_decides_registration_and_the_audience() {
    let mut policy = trust_policy();
    policy["Statement"][0]["Condition"]["StringEquals"][format!("{PREFIX}:aud")] =
        json!("my-party");
    policy["Statement"][0]["Condition"]["ForAnyValue:StringEquals"] =
        json!({format!("{PREFIX}:oaud"): "vault"});
    let token = KEYS.token(&with(
        claims("x"),
        &json!({"aud": ["other", "vault"], "azp": "my-party"}),
    ));
    let set = KEYS.jwks();
    let request = Request::new(Ok(&token), JwksFact::Known(&set), ROLE, "s1", now());
    let verdict = aws::evaluate(&request, &documents(&policy));
    assert_eq!(verdict.grant().unwrap().audience, "my-party");
}

#[test]
fn the_provider_must_be_exactly_the_issuers_in_the_roles_account() {
    let issuer =
        |issuer: &str| evaluate(&KEYS.token(&with(claims(AUDIENCE), &json!({"iss": issuer}))));
    for (text, similar) in [
        (
            format!("{ISSUER}/"),
            Some(PrincipalDifference::TrailingSlash),
        ),
        (
            ISSUER.replace("ABC", "abc"),
            Some(PrincipalDifference::Case),
        ),
        (ISSUER.replace("https", "http"), None),
        (ISSUER.replace("ABC", "NEW"), None),
        (PREFIX.to_owned(), None),
    ] {
        let verdict = issuer(&text);
        let message = format!("No OpenIDConnect provider found in your account for {text}");
        expect(&verdict, "A2", 400, "InvalidIdentityToken", &message);
        let Some(Reason::ProviderMissing { similar: found, .. }) = verdict.reason() else {
            panic!("{text}");
        };
        if let Some(expected) = similar {
            assert_eq!(found.as_ref().unwrap().1, expected, "{text}");
        }
        assert_eq!(verdict.reason().unwrap().check(), Some("AWS01"));
    }
    let token = KEYS.token(&claims(AUDIENCE));
    let verdict = evaluate_with(&token, |request| {
        request.role_arn = "arn:aws:iam::999999999999:role/checkout";
    });
    let Some(Reason::ProviderMissing {
        similar: Some((_, difference)),
        ..
    }) = verdict.reason()
    else {
        panic!("{verdict:?}");
    };
    assert_eq!(*difference, PrincipalDifference::Account);
}

#[test]
fn keys_that_sts_does_not_find_and_keys_that_it_refuses_differ() {
    let token = KEYS.token(&claims(AUDIENCE));
    let rsa = KEYS.rsa_jwk();
    let key = |changes: &Value| with(rsa.clone(), changes);
    for (keys, row, message) in [
        (vec![], "A5", NO_KEY),
        (vec![key(&json!({"kid": "other"}))], "A5", NO_KEY),
        (vec![key(&json!({"kid": null}))], "A5", NO_KEY),
        (vec![key(&json!({"use": "enc"}))], "A5", NO_KEY),
        (vec![key(&json!({"key_ops": ["verify"]}))], "A3", GENERIC),
        (
            vec![with(KEYS.ec_jwk(), &json!({"kid": "rsa-1"}))],
            "A3",
            GENERIC,
        ),
        // The last of two keys of one name wins.
        (
            vec![rsa.clone(), with(KEYS.ec_jwk(), &json!({"kid": "rsa-1"}))],
            "A3",
            GENERIC,
        ),
    ] {
        let set = jwks(&keys);
        let verdict = evaluate_keys(&token, JwksFact::Known(&set));
        expect(&verdict, row, 400, "InvalidIdentityToken", message);
    }
    for keys in [
        vec![key(&json!({"alg": "RS512"}))],
        vec![key(&json!({"use": null}))],
        vec![with(KEYS.ec_jwk(), &json!({"kid": "rsa-1"})), rsa.clone()],
    ] {
        let set = jwks(&keys);
        assert!(evaluate_keys(&token, JwksFact::Known(&set)).allowed());
    }
    let without_kid = KEYS.sign(&json!({"alg": "RS256"}), &claims(AUDIENCE));
    let set = jwks(&[rsa]);
    assert!(evaluate_keys(&without_kid, JwksFact::Known(&set)).allowed());
    let verdict = evaluate(&without_kid);
    expect(&verdict, "A5", 400, "InvalidIdentityToken", NO_KEY);
    assert!(matches!(
        verdict.reason(),
        Some(Reason::Key(KeyError::NoKid { .. }))
    ));

    let verdict = evaluate_keys(&token, JwksFact::Unavailable("connection refused"));
    expect(&verdict, "A5", 400, "InvalidIdentityToken", NO_KEY);
    let verdict = evaluate_keys(&token, JwksFact::NotCollected);
    assert!(verdict.allowed());
    assert_eq!(verdict.lints[0].kind, LintKind::SignatureNotChecked);
}

#[test]
fn a_signature_of_another_key_is_refused_with_the_generic_text() {
    let token = KEYS.token(&claims(AUDIENCE));
    let text = token.expose();
    let (input, signature) = text.rsplit_once('.').unwrap();
    let flipped: String = signature
        .chars()
        .enumerate()
        .map(|(at, c)| {
            if at == 10 {
                if c == 'A' { 'B' } else { 'A' }
            } else {
                c
            }
        })
        .collect();
    let tampered = Token::decode(&format!("{input}.{flipped}")).unwrap();
    let verdict = evaluate(&tampered);
    expect(&verdict, "A3", 400, "InvalidIdentityToken", GENERIC);
    assert_eq!(verdict.reason().unwrap().check(), Some("ISS10"));
}

#[test]
fn the_last_of_duplicate_claims_wins() {
    let payload = claims(AUDIENCE).to_string();
    let payload = |aud: &str| payload.replacen('{', &format!(r#"{{"aud":"{aud}","#), 1);
    let header = r#"{"alg":"RS256","kid":"rsa-1"}"#;
    let token = Token::decode(&KEYS.sign_text(header, &payload("vault"))).unwrap();
    assert!(evaluate(&token).allowed());
    let last =
        payload(AUDIENCE).replacen(&format!(r#""aud":["{AUDIENCE}"]"#), r#""aud":["vault"]"#, 1);
    let token = Token::decode(&KEYS.sign_text(header, &last)).unwrap();
    expect(
        &evaluate(&token),
        "A3",
        400,
        "InvalidIdentityToken",
        GENERIC,
    );
}

#[test]
fn the_roles_claim_is_checked_before_the_trust_policy() {
    let claim = "https://aws.amazon.com/roles";
    let roles = |value: Value| {
        let mut members = claims(AUDIENCE);
        members[claim] = value;
        // The policy would deny this subject.
        members["sub"] = json!("system:serviceaccount:shop:other");
        evaluate(&KEYS.token(&members))
    };
    let lacks = "The target role ARN is not present in the roles claim of the identity token";
    let none = "The roles claim contains no valid role ARNs";
    let format = "The roles claim is not in a supported format";
    let other = "arn:aws:iam::123456789012:role/other";
    for (value, row, message) in [
        (json!([other]), "A15b", lacks),
        (json!(format!("{other};{other}")), "A15b", lacks),
        (json!([]), "A15b", none),
        (json!(""), "A15b", none),
        (json!([ROLE.to_uppercase()]), "A15b", none),
        (json!(["arn:aws:iam::123456789012:role/*"]), "A15b", none),
        (json!(format!("{ROLE},{other}")), "A15b", none),
        (json!([[ROLE]]), "A15b", none),
        (json!(5), "A15c", format),
        (json!(true), "A15c", format),
        (json!({}), "A15c", format),
    ] {
        let verdict = roles(value.clone());
        expect(&verdict, row, 400, "InvalidIdentityToken", message);
    }
    for value in [
        json!([ROLE]),
        json!([5, "", format!(" {ROLE} "), other]),
        json!(format!("{other}; {ROLE};")),
        Value::Null,
    ] {
        expect(&roles(value), "A1", 403, "AccessDenied", DENIED);
    }
}

#[test]
fn authorization_by_the_identity_provider_is_a_condition_key() {
    let mut policy = trust_policy();
    policy["Statement"][0]["Condition"]["Bool"] = json!({"sts:RoleAuthorizedByIdp": "true"});
    let documents = documents(&policy);
    let set = KEYS.jwks();
    for (roles, expected) in [(Value::Null, false), (json!([ROLE]), true)] {
        let token = KEYS.token(&with(
            claims(AUDIENCE),
            &json!({"https://aws.amazon.com/roles": roles}),
        ));
        let request = Request::new(Ok(&token), JwksFact::Known(&set), ROLE, "s1", now());
        assert_eq!(aws::evaluate(&request, &documents).allowed(), expected);
    }
}

#[test]
fn a_missing_role_and_a_policy_that_denies_sound_the_same() {
    let token = KEYS.token(&claims(AUDIENCE));
    let verdict = evaluate_with(&token, |request| {
        request.role_arn = "arn:aws:iam::123456789012:role/checkout";
    });
    expect(&verdict, "A1", 403, "AccessDenied", DENIED);
    assert_eq!(
        verdict.reason(),
        Some(&Reason::RoleMissing {
            similar: Some(ROLE.to_owned())
        })
    );
    assert_eq!(verdict.reason().unwrap().check(), Some("AWS11"));

    let token = KEYS.token(&with(
        claims(AUDIENCE),
        &json!({"sub": "system:serviceaccount:shop:Checkout"}),
    ));
    let verdict = evaluate(&token);
    expect(&verdict, "A1", 403, "AccessDenied", DENIED);
    assert_eq!(verdict.reason().unwrap().check(), Some("AWS05"));
    assert_eq!(
        verdict.decided_by.to_string(),
        "StringEquals at `/Role/AssumeRolePolicyDocument/Statement/0/Condition/StringEquals/oidc.eks.eu-central-1.amazonaws.com~1id~1ABC:sub` of the trust policy of arn:aws:iam::123456789012:role/apps/checkout: expected system:serviceaccount:shop:checkout, found system:serviceaccount:shop:Checkout"
    );
}

#[test]
fn facts_of_the_request_can_decide() {
    let token = KEYS.token(&claims(AUDIENCE));
    let set = KEYS.jwks();
    for (condition, expected) in [
        (
            json!({"StringEquals": {"sts:RoleSessionName": "checkout-0"}}),
            true,
        ),
        (
            json!({"StringEquals": {"sts:RoleSessionName": "other"}}),
            false,
        ),
        (
            json!({"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}),
            true,
        ),
        (json!({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}), true),
        (json!({"StringEquals": {"aws:SourceVpce": "vpce-1"}}), true),
        (json!({"StringEquals": {"aws:SourceVpc": "vpc-1"}}), false),
        (
            json!({"StringEquals": {"aws:PrincipalAccount": "123456789012"}}),
            true,
        ),
        (json!({"StringEquals": {"aws:PrincipalType": "User"}}), true),
        (json!({"StringEquals": {"aws:userid": PROVIDER}}), true),
        (
            json!({"StringEquals": {"aws:FederatedProvider": PROVIDER}}),
            true,
        ),
        (json!({"Null": {"aws:PrincipalArn": "true"}}), true),
        (
            json!({"DateLessThan": {"aws:CurrentTime": "2026-11-21T12:00:01Z"}}),
            true,
        ),
        (
            json!({"DateLessThan": {"aws:CurrentTime": "2026-11-21T12:00:00Z"}}),
            false,
        ),
        (json!({"Bool": {"aws:SecureTransport": "true"}}), true),
    ] {
        let mut policy = trust_policy();
        policy["Statement"][0]["Condition"] = condition.clone();
        let mut request =
            Request::new(Ok(&token), JwksFact::Known(&set), ROLE, "checkout-0", now());
        request.region = Some("eu-central-1");
        request.source_ip = Some("192.0.2.7".parse::<IpAddr>().unwrap());
        request.source_vpce = Some("vpce-1");
        assert_eq!(
            aws::evaluate(&request, &documents(&policy)).allowed(),
            expected,
            "{condition}"
        );
    }
}

#[test]
fn session_tags_need_an_action_of_their_own() {
    let tags = "https://aws.amazon.com/tags";
    let tagged = |value: Value| KEYS.token(&with(claims(AUDIENCE), &json!({tags: value})));
    for wrong in [
        json!({"principal_tags": {"team": "shop"}}),
        json!({"principal_tags": {"team": ["a", "b"]}}),
        json!({"principal_tags": {"team": [1]}}),
        json!({"principal_tags": []}),
        json!("x"),
    ] {
        let message = "principal_tags passed in claim is not in correct format.";
        expect(
            &evaluate(&tagged(wrong)),
            "A14",
            400,
            "InvalidIdentityToken",
            message,
        );
    }
    let token =
        tagged(json!({"principal_tags": {"team": ["shop"]}, "transitive_tag_keys": ["team"]}));
    let verdict = evaluate(&token);
    let message = format!(
        "User: {PROVIDER} is not authorized to perform: sts:TagSession on resource: {ROLE}"
    );
    expect(&verdict, "A30", 403, "AccessDenied", &message);
    assert_eq!(verdict.reason().unwrap().check(), Some("AWS09"));

    let mut policy = trust_policy();
    policy["Statement"][0]["Action"] = json!(["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]);
    policy["Statement"][0]["Condition"]["StringEquals"]["aws:RequestTag/Team"] = json!("shop");
    policy["Statement"][0]["Condition"]["ForAllValues:StringEquals"] =
        json!({"aws:TagKeys": "team"});
    let set = KEYS.jwks();
    let request = Request::new(Ok(&token), JwksFact::Known(&set), ROLE, "s1", now());
    let verdict = aws::evaluate(&request, &documents(&policy));
    assert_eq!(verdict.grant().unwrap().tags["team"], "shop");

    let token = KEYS.token(&with(
        claims(AUDIENCE),
        &json!({"https://aws.amazon.com/tags/principal_tags/team": "shop", "https://aws.amazon.com/source_identity": "me"}),
    ));
    let request = Request::new(Ok(&token), JwksFact::Known(&set), ROLE, "s1", now());
    let verdict = aws::evaluate(&request, &documents(&policy));
    assert!(
        verdict
            .error()
            .unwrap()
            .message
            .contains("sts:SetSourceIdentity")
    );
    policy["Statement"][0]["Action"] = json!("sts:*");
    let verdict = aws::evaluate(&request, &documents(&policy));
    assert_eq!(
        verdict.grant().unwrap().source_identity.as_deref(),
        Some("me")
    );
}

#[test]
fn a_session_is_as_long_as_the_role_allows() {
    let token = KEYS.token(&claims(AUDIENCE));
    let duration =
        |seconds| evaluate_with(&token, |request| request.duration_seconds = Some(seconds));
    // The token ends in an hour; that does not matter.
    assert_eq!(duration(7200).grant().unwrap().duration_seconds, 7200);
    let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    expect(&duration(7201), "A25", 400, "ValidationError", message);
}

#[test]
fn each_step_hides_the_ones_behind_it() {
    // Everything is wrong at first; each line repairs what the error before it named.
    let set = KEYS.jwks();
    let empty = jwks(&[]);
    let mut members = json!({
        "iss": "https://unknown.example.com", "sub": "x", "aud": ["a", "b"], "exp": "soon", "iat": NOW + 999,
        "https://aws.amazon.com/roles": 5,
    });
    let mut header = json!({"alg": "none", "kid": "rsa-1"});
    let mut key_set = &empty;
    let mut rows = Vec::new();
    for repair in 0..12 {
        match repair {
            1 => header = json!({"alg": "RS256", "kid": "rsa-1"}),
            2 => members["exp"] = json!(NOW - 999),
            3 => members["iat"] = json!(NOW - 9999),
            4 => members["exp"] = json!(NOW + 999),
            5 => members["aud"] = json!("b"),
            6 => members["iss"] = json!(ISSUER),
            7 => members["aud"] = json!(AUDIENCE),
            8 => key_set = &set,
            9 => members["https://aws.amazon.com/roles"] = json!([]),
            10 => members["https://aws.amazon.com/roles"] = json!([ROLE]),
            11 => members["sub"] = json!(SUBJECT),
            _ => {}
        }
        let token = KEYS.sign(&header, &members);
        let request = Request::new(Ok(&token), JwksFact::Known(key_set), ROLE, "s1", now());
        let verdict = aws::evaluate(&request, &documents(&trust_policy()));
        rows.push(verdict.error().map_or("allowed", |error| error.row));
    }
    assert_eq!(
        rows,
        [
            "A7", "A13", "A11", "A16", "A10", "A2", "A3", "A5", "A15c", "A15b", "A1", "allowed"
        ]
    );
}

#[test]
fn built_in_providers_need_no_object() {
    let policy = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Federated": "accounts.google.com"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"accounts.google.com:aud": "party", "accounts.google.com:oaud": "client", "accounts.google.com:sub": "1"}},
    }});
    let token = KEYS.token(&with(
        claims("client"),
        &json!({"iss": "https://accounts.google.com", "azp": "party", "sub": "1"}),
    ));
    let set = KEYS.jwks();
    let request = Request::new(Ok(&token), JwksFact::Known(&set), ROLE, "s1", now());
    let verdict = aws::evaluate(&request, &documents(&policy));
    assert_eq!(verdict.grant().unwrap().provider, "accounts.google.com");
}

#[test]
fn documents_that_nobody_gave_are_not_taken_as_missing() {
    let token = KEYS.token(&claims(AUDIENCE));
    let mut documents = documents(&trust_policy());
    documents.providers = None;
    let request = Request::new(Ok(&token), JwksFact::NotCollected, ROLE, "s1", now());
    let verdict = aws::evaluate(&request, &documents);
    assert!(verdict.allowed());
    let kinds: Vec<_> = verdict.lints.iter().map(|lint| lint.kind.clone()).collect();
    assert_eq!(
        kinds,
        [LintKind::ProvidersNotGiven, LintKind::SignatureNotChecked]
    );

    documents.providers = None;
    let list = json!({"OpenIDConnectProviderList": [{"Arn": PROVIDER}]});
    documents.add(&list, &Hints::default()).unwrap();
    let verdict = aws::evaluate(&request, &documents);
    assert_eq!(verdict.lints[0].kind, LintKind::ClientIdsNotGiven);
}

#[test]
fn a_dangerous_policy_is_linted_even_when_the_token_is_refused() {
    let mut policy = trust_policy();
    policy["Statement"][0]["Condition"] =
        json!({"StringNotEquals": {format!("{PREFIX}:iss"): "x"}});
    let documents = documents(&policy);
    let set = KEYS.jwks();
    let kinds = |token: &Token| -> Vec<LintKind> {
        let request = Request::new(Ok(token), JwksFact::Known(&set), ROLE, "s1", now());
        let verdict = aws::evaluate(&request, &documents);
        verdict.lints.into_iter().map(|lint| lint.kind).collect()
    };
    let expired = kinds(&KEYS.token(&with(claims(AUDIENCE), &json!({"exp": NOW - 9999}))));
    assert_eq!(expired.len(), 3);
    assert!(expired.contains(&LintKind::NoSubjectCondition));
    assert_eq!(kinds(&KEYS.token(&claims(AUDIENCE))), expired);
}

#[test]
fn pointers_are_spelled_as_the_document_spells_them() {
    let mut documents = Documents::default();
    let state = json!({"terraform_version": "1.9.0", "resources": [
        {"type": "aws_iam_openid_connect_provider", "instances": [{"attributes": {"arn": PROVIDER, "url": PREFIX, "client_id_list": ["x"]}}]},
        {"type": "aws_iam_role", "instances": [{"attributes": {"arn": ROLE, "assume_role_policy": trust_policy().to_string(), "max_session_duration": 3600}}]},
    ]});
    documents.add(&state, &Hints::default()).unwrap();
    let token = KEYS.token(&claims(AUDIENCE));
    let set = KEYS.jwks();
    let mut request = Request::new(Ok(&token), JwksFact::Known(&set), ROLE, "s1", now());
    let verdict = aws::evaluate(&request, &documents);
    let pointer = "/resources/0/instances/0/attributes/client_id_list";
    assert_eq!(verdict.decided_by.pointer, pointer);
    assert_eq!(state.pointer(pointer), Some(&json!(["x"])));
    documents.providers.as_mut().unwrap()[0].client_ids = None;
    request.duration_seconds = Some(3601);
    let verdict = aws::evaluate(&request, &documents);
    assert_eq!(
        state.pointer(&verdict.decided_by.pointer),
        Some(&json!(3600))
    );
}

#[test]
fn no_verdict_prints_the_token() {
    let token = KEYS.token(&with(claims(AUDIENCE), &json!({"sub": "x"})));
    let (_, signature) = token.expose().rsplit_once('.').unwrap();
    let verdict = evaluate(&token);
    assert!(!format!("{verdict:?}").contains(signature));
}
