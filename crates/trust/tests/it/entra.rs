//! Entra: tenant, client, credential, times, key.

use cwii_token::{DecodeError, Token};
use cwii_trust::{
    JwksFact,
    entra::{self, Documents, Hints, LintKind, ObjectKind, Reason, Request, Verdict},
};
use serde_json::{Value, json};

use crate::support::{ISSUER, KEYS, NOW, SUBJECT, claims, jwks, now, with};

const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const SCOPE: &str = "https://management.azure.com/.default";

fn credential(changes: &Value) -> Value {
    with(
        json!({"id": "1", "name": "k8s", "issuer": ISSUER, "subject": SUBJECT, "audiences": [AUDIENCE], "description": null, "claimsMatchingExpression": null}),
        changes,
    )
}

fn documents(credentials: &Value) -> Documents {
    let mut documents = Documents::default();
    let hints = Hints {
        client_id: Some(CLIENT),
        kind: ObjectKind::Application,
    };
    documents.add(credentials, &hints).unwrap();
    documents
}

fn request<'a>(token: Result<&'a Token, &'a DecodeError>, jwks: JwksFact<'a>) -> Request<'a> {
    Request {
        token: Some(token),
        jwks,
        tenant: TENANT,
        client_id: CLIENT,
        scope: Some(SCOPE),
        now: now(),
    }
}

fn evaluate(token: &Token, documents: &Documents) -> Verdict {
    let set = KEYS.jwks();
    entra::evaluate(&request(Ok(token), JwksFact::Known(&set)), documents)
}

fn evaluate_claims(changes: &Value, credentials: &Value) -> Verdict {
    evaluate(
        &KEYS.token(&with(claims(AUDIENCE), changes)),
        &documents(credentials),
    )
}

#[track_caller]
fn expect(verdict: &Verdict, row: &str, status: u16, code: &str, message: &str) {
    let error = verdict.error().unwrap_or_else(|| panic!("{row}: allowed"));
    assert_eq!(
        (error.row, error.http_status, error.code.as_str()),
        (row, status, code)
    );
    let text = format!("AADSTS{row}: {message}");
    assert!(
        error.message.starts_with(&text),
        "{} is not {text}",
        error.message
    );
}

#[test]
fn a_credential_that_matches_grants() {
    let verdict = evaluate_claims(&json!({}), &json!([credential(&json!({}))]));
    let granted = verdict.grant().unwrap();
    assert_eq!(
        (granted.credential.as_str(), granted.audience.as_str()),
        ("k8s", AUDIENCE)
    );
    assert_eq!(
        (granted.tenant.as_str(), granted.subject.as_str()),
        (TENANT, SUBJECT)
    );
    assert_eq!(verdict.decided_by.pointer, "/0");
    assert_eq!(verdict.lints, []);
}

#[test]
fn tenant_and_client_come_first() {
    let mut documents = documents(&json!([credential(&json!({}))]));
    let undecodable = DecodeError::NotThreeParts { parts: 1 };
    let base = request(Err(&undecodable), JwksFact::NotCollected);
    for tenant in ["", "<tenant>", "\"x\"", "bad/tenant"] {
        let verdict = entra::evaluate(&Request { tenant, ..base }, &documents);
        let message = format!(
            "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain."
        );
        expect(&verdict, "900023", 400, "invalid_request", &message);
    }
    documents.add(&json!({"value": [{"id": TENANT, "verifiedDomains": [{"name": "contoso.onmicrosoft.com"}]}]}), &Hints::default()).unwrap();
    let verdict = entra::evaluate(
        &Request {
            tenant: "other.example.com",
            ..base
        },
        &documents,
    );
    expect(
        &verdict,
        "90002",
        400,
        "invalid_request",
        "Tenant 'other.example.com' not found. ",
    );
    assert_eq!(verdict.reason().unwrap().check(), Some("AZ02"));

    let client_id = "33333333-3333-3333-3333-333333333333";
    let verdict = entra::evaluate(
        &Request {
            client_id,
            tenant: "Contoso.onmicrosoft.com",
            ..base
        },
        &documents,
    );
    expect(
        &verdict,
        "700016",
        400,
        "unauthorized_client",
        &format!(
            "Application with identifier '{client_id}' was not found in the directory '{TENANT}'. "
        ),
    );
    assert_eq!(verdict.reason().unwrap().check(), Some("AZ01"));
    // UUIDs have no case.
    let verdict = entra::evaluate(
        &Request {
            client_id: &CLIENT.to_uppercase(),
            ..base
        },
        &documents,
    );
    assert_eq!(verdict.error().unwrap().row, "50027");
}

#[test]
fn parameters_that_are_empty_or_wrong() {
    let documents = documents(&json!([credential(&json!({}))]));
    let token = KEYS.token(&claims(AUDIENCE));
    let base = request(Ok(&token), JwksFact::NotCollected);
    let verdict = entra::evaluate(
        &Request {
            client_id: "",
            ..base
        },
        &documents,
    );
    expect(
        &verdict,
        "900144",
        400,
        "invalid_request",
        "The request body must contain the following parameter: 'client_id'",
    );
    let verdict = entra::evaluate(
        &Request {
            scope: Some(""),
            ..base
        },
        &documents,
    );
    expect(
        &verdict,
        "900144",
        400,
        "invalid_request",
        "The request body must contain the following parameter: 'scope'",
    );
    let verdict = entra::evaluate(
        &Request {
            scope: Some("https://management.azure.com/"),
            ..base
        },
        &documents,
    );
    expect(
        &verdict,
        "1002012",
        400,
        "invalid_scope",
        "The provided value for scope https://management.azure.com/ is not valid. ",
    );
    for token in [None, Some(Err(&DecodeError::Empty))] {
        let verdict = entra::evaluate(&Request { token, ..base }, &documents);
        expect(
            &verdict,
            "7000218",
            401,
            "invalid_client",
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        );
    }
    assert!(
        entra::evaluate(
            &Request {
                scope: None,
                ..base
            },
            &documents
        )
        .allowed()
    );
}

#[test]
fn service_principals_must_be_there_and_enabled() {
    let token = KEYS.token(&claims(AUDIENCE));
    let credentials = json!([credential(&json!({}))]);
    let with_principal = |principal: Value| {
        let mut documents = documents(&credentials);
        documents.add(&principal, &Hints::default()).unwrap();
        evaluate(&token, &documents)
    };
    let other = json!({"appId": "x", "servicePrincipalType": "Application"});
    expect(
        &with_principal(other.clone()),
        "7000229",
        401,
        "invalid_client",
        &format!(
            "The client application {CLIENT} is missing service principal in the tenant {TENANT}."
        ),
    );
    let disabled = with_principal(json!([{"appId": CLIENT, "accountEnabled": false}]));
    expect(
        &disabled,
        "7000112",
        401,
        "unauthorized_client",
        &format!("Application '{CLIENT}'() is disabled."),
    );
    assert_eq!(disabled.decided_by.pointer, "/0/accountEnabled");
    assert!(with_principal(json!({"appId": CLIENT, "accountEnabled": true})).allowed());

    // A managed identity needs none.
    let mut documents = Documents::default();
    let hints = Hints {
        client_id: Some(CLIENT),
        kind: ObjectKind::ManagedIdentity,
    };
    documents.add(&credentials, &hints).unwrap();
    documents.add(&other, &Hints::default()).unwrap();
    assert!(evaluate(&token, &documents).allowed());
}

#[test]
fn an_assertion_is_a_jwt_with_its_claims() {
    let documents = documents(&json!([credential(&json!({}))]));
    let undecodable = Token::decode("x.y").unwrap_err();
    let verdict = entra::evaluate(
        &request(Err(&undecodable), JwksFact::NotCollected),
        &documents,
    );
    expect(
        &verdict,
        "50027",
        400,
        "invalid_request",
        "JWT token is invalid or malformed.",
    );
    assert_eq!(verdict.reason().unwrap().check(), Some("TOK01"));
    for claim in ["iss", "sub", "aud", "exp"] {
        let verdict = evaluate(
            &KEYS.token(&with(claims(AUDIENCE), &json!({claim: null}))),
            &documents,
        );
        assert_eq!(verdict.reason(), Some(&Reason::ClaimMissing { claim }));
    }
    let header = json!({"alg": "RS256", "kid": "rsa-1", "typ": "at+jwt"});
    let verdict = evaluate(&KEYS.sign(&header, &claims(AUDIENCE)), &documents);
    expect(
        &verdict,
        "5002727",
        401,
        "invalid_client",
        "Invalid JWT header type specified, must be 'JWT' or 'http://openid.net/specs/jwt/1.0'.",
    );
    let header = json!({"alg": "RS256", "kid": "rsa-1", "typ": "JWT"});
    assert!(evaluate(&KEYS.sign(&header, &claims(AUDIENCE)), &documents).allowed());
}

#[test]
fn issuer_subject_and_audience_are_compared_letter_by_letter() {
    let no_match = "No matching federated identity record found for presented assertion";
    let slash = format!("{ISSUER}/");
    for (changes, row, message, check, member) in [
        (
            json!({"iss": slash}),
            "700211",
            format!("{no_match} issuer '{slash}'. "),
            "AZ03",
            "issuer",
        ),
        (
            json!({"iss": ISSUER.to_uppercase()}),
            "700211",
            format!("{no_match} issuer '{}'. ", ISSUER.to_uppercase()),
            "AZ03",
            "issuer",
        ),
        (
            json!({"sub": "system:serviceaccount:shop:cart"}),
            "700213",
            format!("{no_match} subject 'system:serviceaccount:shop:cart'. Check your federated"),
            "AZ05",
            "subject",
        ),
        (
            json!({"sub": "system:serviceaccount:shop:Checkout"}),
            "7002138",
            format!(
                "{no_match} subject 'system:serviceaccount:shop:Checkout'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison."
            ),
            "AZ05",
            "subject",
        ),
        (
            json!({"sub": format!("{SUBJECT} ")}),
            "700213",
            format!("{no_match} subject '{SUBJECT} '. "),
            "AZ05",
            "subject",
        ),
        (
            json!({"aud": [format!("{AUDIENCE}China")]}),
            "700212",
            format!("{no_match} audience '{AUDIENCE}China'. Please check your federated"),
            "AZ04",
            "audiences",
        ),
    ] {
        let verdict = evaluate_claims(&changes, &json!({"value": [credential(&json!({}))]}));
        expect(&verdict, row, 401, "invalid_client", &message);
        assert_eq!(verdict.reason().unwrap().check(), Some(check));
        assert_eq!(verdict.decided_by.pointer, format!("/value/0/{member}"));
    }
    let verdict = evaluate_claims(
        &json!({"aud": ["x", AUDIENCE]}),
        &json!([credential(&json!({}))]),
    );
    assert_eq!(verdict.lints[0].kind, LintKind::SeveralAudiences);
}

#[test]
fn the_nearest_credential_explains_a_denial() {
    let credentials = json!([
        credential(&json!({"name": "old", "issuer": format!("{ISSUER}OLD")})),
        credential(&json!({"name": "other", "subject": "system:serviceaccount:shop:cart"})),
        credential(&json!({"name": "case", "subject": SUBJECT.to_uppercase()})),
    ]);
    let verdict = evaluate_claims(&json!({}), &credentials);
    assert_eq!(verdict.reason(), Some(&Reason::SubjectCaseMismatch));
    assert_eq!(verdict.decided_by.pointer, "/2/subject");
    let others: Vec<_> = verdict
        .denial()
        .unwrap()
        .others
        .iter()
        .map(|miss| &miss.reason)
        .collect();
    assert_eq!(others, [&Reason::SubjectMismatch, &Reason::IssuerMismatch]);
}

#[test]
fn a_client_without_credentials_and_tokens_of_entra_itself() {
    let verdict = evaluate_claims(&json!({}), &json!([]));
    expect(
        &verdict,
        "70025",
        401,
        "invalid_client",
        &format!("The client '{CLIENT}'() has no configured federated identity credentials."),
    );
    for issuer in [
        "https://sts.windows.net/t/",
        "https://login.microsoftonline.com/t/v2.0",
    ] {
        let verdict = evaluate_claims(&json!({"iss": issuer}), &json!([credential(&json!({}))]));
        expect(
            &verdict,
            "700222",
            401,
            "invalid_client",
            "AAD-issued tokens may not be used for federated identity flows.",
        );
        // A managed identity's token for a credential that names its issuer is fine.
        assert!(
            evaluate_claims(
                &json!({"iss": issuer}),
                &json!([credential(&json!({"issuer": issuer}))])
            )
            .allowed()
        );
    }
}

#[test]
fn expressions_are_for_applications_and_a_few_issuers() {
    let github = "https://token.actions.githubusercontent.com";
    let flexible = |issuer: &str, expression: &str| {
        json!([credential(
            &json!({"issuer": issuer, "subject": null, "claimsMatchingExpression": {"value": expression, "languageVersion": 1}})
        )])
    };
    let repository = json!({"iss": github, "sub": "repo:org/app:ref:refs/heads/main"});
    assert!(
        evaluate_claims(
            &repository,
            &flexible(github, "claims['sub'] matches 'repo:org/*'")
        )
        .allowed()
    );
    for (credentials, row) in [
        (
            flexible(github, "claims['sub'] matches 'repo:other/*'"),
            "7002131",
        ),
        (flexible(github, "sub == 'x'"), "700233"),
    ] {
        assert_eq!(
            evaluate_claims(&repository, &credentials)
                .error()
                .unwrap()
                .row,
            row
        );
    }
    let cluster = evaluate_claims(&json!({}), &flexible(ISSUER, "claims['sub'] matches '*'"));
    assert_eq!(cluster.error().unwrap().row, "7002241");

    let mut documents = Documents::default();
    let hints = Hints {
        client_id: Some(CLIENT),
        kind: ObjectKind::ManagedIdentity,
    };
    documents
        .add(&flexible(github, "claims['sub'] matches '*'"), &hints)
        .unwrap();
    let verdict = evaluate(
        &KEYS.token(&with(claims(AUDIENCE), &repository)),
        &documents,
    );
    assert_eq!(verdict.error().unwrap().row, "700235");
}

#[test]
fn clocks_may_be_five_minutes_apart() {
    let credentials = json!([credential(&json!({}))]);
    for changes in [
        json!({"exp": NOW - 299}),
        json!({"nbf": NOW + 300}),
        json!({"nbf": null, "iat": NOW + 300}),
    ] {
        assert!(
            evaluate_claims(&changes, &credentials).allowed(),
            "{changes}"
        );
    }
    let verdict = evaluate_claims(&json!({"exp": NOW - 300}), &credentials);
    expect(
        &verdict,
        "700024",
        401,
        "invalid_client",
        "Client assertion is not within its valid time range. Current time: 2026-11-21T12:00:00.0000000Z, assertion valid from 2026-11-21T11:59:00.0000000Z, expiry time of assertion 2026-11-21T11:55:00.0000000Z. Review the documentation at",
    );
    assert_eq!(verdict.reason(), Some(&Reason::Expired));
    for (changes, pointer) in [
        (json!({"nbf": NOW + 301}), "/payload/nbf"),
        (json!({"nbf": null, "iat": NOW + 301}), "/payload/iat"),
    ] {
        let verdict = evaluate_claims(&changes, &credentials);
        assert_eq!(verdict.reason(), Some(&Reason::NotYetValid));
        assert_eq!(verdict.decided_by.pointer, pointer);
    }
}

#[test]
fn keys_are_looked_for_last() {
    let documents = documents(&json!([credential(&json!({}))]));
    let token = KEYS.token(&claims(AUDIENCE));
    let evaluate_keys =
        |token: &Token, jwks| entra::evaluate(&request(Ok(token), jwks), &documents);
    let other = jwks(&[with(KEYS.rsa_jwk(), &json!({"kid": "other"}))]);
    expect(
        &evaluate_keys(&token, JwksFact::Known(&other)),
        "700027",
        401,
        "invalid_client",
        "Client assertion contains an invalid signature. [Reason - The key was not found.]",
    );
    let wrong = jwks(&[with(KEYS.ec_jwk(), &json!({"kid": "rsa-1"}))]);
    expect(
        &evaluate_keys(&token, JwksFact::Known(&wrong)),
        "700027",
        401,
        "invalid_client",
        "Client assertion failed signature validation.",
    );
    expect(
        &evaluate_keys(&token, JwksFact::Unavailable("timeout")),
        "90061",
        400,
        "invalid_request",
        "Request to External OIDC endpoint failed.",
    );
    assert_eq!(
        evaluate_keys(&token, JwksFact::NotCollected).lints[0].kind,
        LintKind::SignatureNotChecked
    );
    let ec = KEYS.sign(&json!({"alg": "ES256", "kid": "ec-1"}), &claims(AUDIENCE));
    expect(
        &evaluate(&ec, &documents),
        "700027",
        401,
        "invalid_client",
        "Client assertion failed signature validation.",
    );
}

#[test]
fn credentials_that_cannot_match_are_linted() {
    let mut credentials = vec![credential(&json!({}))];
    credentials.push(credential(
        &json!({"name": "b", "issuer": format!("{ISSUER} ")}),
    ));
    credentials.push(credential(
        &json!({"name": "c", "subject": "system:serviceaccount:shop:*"}),
    ));
    credentials.push(credential(
        &json!({"name": "d", "subject": null, "claimsMatchingExpression": "claims['sub'] eq 'x'"}),
    ));
    let kinds: Vec<_> = evaluate_claims(&json!({}), &json!(credentials))
        .lints
        .into_iter()
        .map(|lint| lint.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            LintKind::SurroundingWhitespace { member: "issuer" },
            LintKind::WildcardInSubject,
            LintKind::ExpressionNeverMatches,
        ]
    );
    let many: Vec<Value> = (0..19)
        .map(|n| credential(&json!({"name": n.to_string()})))
        .collect();
    let verdict = evaluate_claims(&json!({}), &json!(many));
    assert_eq!(
        verdict.lints[0].kind,
        LintKind::CredentialsNearLimit { count: 19 }
    );
}

#[test]
fn documents_come_in_many_shapes() {
    let fic = credential(&json!({}));
    let terraform = json!({"display_name": "k8s", "issuer": ISSUER, "subject": SUBJECT, "audiences": [AUDIENCE], "application_id": "/applications/o-1"});
    let azurerm = json!({"name": "k8s", "issuer": ISSUER, "subject": SUBJECT, "audience": [AUDIENCE], "parent_id": "/subscriptions/S/id"});
    let resources = |resources: Value| json!({"values": {"root_module": {"resources": resources}}});
    for document in [
        json!([fic]),
        json!({"value": [fic]}),
        fic.clone(),
        json!([{"name": "k8s", "properties": {"issuer": ISSUER, "subject": SUBJECT, "audiences": [AUDIENCE]}}]),
        json!({"appId": CLIENT, "displayName": "app", "signInAudience": "AzureADMyOrg", "federatedIdentityCredentials": [fic]}),
        resources(json!([
            {"type": "azuread_application_federated_identity_credential", "values": terraform},
            {"type": "azuread_application", "values": {"client_id": CLIENT, "id": "/applications/o-1", "object_id": "o-1", "display_name": "app"}},
        ])),
        resources(json!([
            {"type": "azurerm_user_assigned_identity", "values": {"client_id": CLIENT, "id": "/subscriptions/s/id", "name": "app"}},
            {"type": "azurerm_federated_identity_credential", "values": azurerm},
        ])),
        json!({"type": "azurerm_federated_identity_credential", "values": azurerm}),
    ] {
        let documents = documents(&document);
        let application = documents
            .find(CLIENT)
            .unwrap_or_else(|| panic!("{document}"));
        assert_eq!(application.credentials.len(), 1, "{document}");
        assert_eq!(application.credentials[0].name, "k8s");
        assert_eq!(application.credentials[0].audiences, [AUDIENCE]);
        assert!(evaluate(&KEYS.token(&claims(AUDIENCE)), &documents).allowed());
    }
    let mut documents = Documents::default();
    for document in [
        json!({"clientId": CLIENT, "principalId": "p", "tenantId": TENANT, "id": "/subscriptions/s/id", "name": "uami", "type": "Microsoft.ManagedIdentity/userAssignedIdentities"}),
        json!([{"tenantId": TENANT, "defaultDomain": "contoso.com"}]),
    ] {
        documents.add(&document, &Hints::default()).unwrap();
    }
    let identity = documents.find(CLIENT).unwrap();
    assert_eq!(
        (identity.kind, identity.display_name.as_deref()),
        (ObjectKind::ManagedIdentity, Some("uami"))
    );
    assert_eq!(documents.tenants.unwrap()[0].domains, ["contoso.com"]);
}

#[test]
fn what_is_missing_or_wrong_is_named_with_its_place() {
    for (document, pointer, expected) in [
        (json!({}), "", "federated identity credentials"),
        (
            json!([{"issuer": "x", "subject": "y"}]),
            "/0",
            "`audiences`",
        ),
        (
            json!([{"issuer": "x", "audiences": ["y"]}]),
            "/0",
            "`subject` or `claimsMatchingExpression`",
        ),
        (
            json!([{"properties": {"issuer": 5, "subject": "y", "audiences": []}}]),
            "/0/properties/issuer",
            "a string",
        ),
        (
            json!([credential(&json!({}))]),
            "/0",
            "its owner must be named",
        ),
        (json!({"appId": 1}), "/appId", "a string"),
        (
            json!({"type": "azuread_application_federated_identity_credential", "values": {"issuer": "i", "subject": "s", "audiences": ["a"], "application_id": "x"}}),
            "/values",
            "its owner is x",
        ),
    ] {
        let error = Documents::default()
            .add(&document, &Hints::default())
            .unwrap_err();
        assert_eq!(error.pointer, pointer, "{error}");
        assert!(error.expected.contains(expected), "{error}");
    }
}
