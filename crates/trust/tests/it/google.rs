//! Google: the exchange, and the allow policy of the account.

use cwii_token::Token;
use cwii_trust::{
    JwksFact,
    google::{
        self, Documents, ExchangeVerdict, Hints, Impersonation, ImpersonationVerdict, LintKind,
        Principal, Reason, Request,
    },
};
use serde_json::{Value, json};

use crate::support::{ISSUER, KEYS, NOW, SUBJECT, claims, jwks, now, with};

const PROVIDER: &str = "projects/123/locations/global/workloadIdentityPools/pool/providers/k8s";
const AUDIENCE: &str =
    "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/k8s";
const POOL: &str = "iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool";
const ACCOUNT: &str = "app@shop.iam.gserviceaccount.com";

fn provider(changes: &Value) -> Value {
    with(
        json!({
            "name": PROVIDER, "state": "ACTIVE",
            "attributeMapping": {
                "google.subject": "assertion.sub",
                "attribute.namespace": "assertion['kubernetes.io']['namespace']",
            },
            "attributeCondition": "assertion.sub.startsWith('system:serviceaccount:shop:')",
            "oidc": {"issuerUri": ISSUER, "allowedAudiences": []},
        }),
        changes,
    )
}

fn documents(provider: &Value) -> Documents {
    let mut documents = Documents::default();
    documents.add(provider, &Hints::default()).unwrap();
    documents
}

fn exchange(token: &Token, documents: &Documents) -> ExchangeVerdict {
    let set = KEYS.jwks();
    google::evaluate_exchange(
        &Request {
            token: Ok(token),
            jwks: JwksFact::Known(&set),
            audience: AUDIENCE,
            now: now(),
        },
        documents,
    )
}

fn exchange_with(changes: &Value, provider_changes: &Value) -> ExchangeVerdict {
    let token = KEYS.token(&with(claims(AUDIENCE), changes));
    exchange(&token, &documents(&provider(provider_changes)))
}

#[track_caller]
fn expect<G, L>(
    verdict: &cwii_trust::Verdict<G, Reason, L>,
    row: &str,
    status: u16,
    code: &str,
    message: &str,
) {
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

const NO_KEY: &str = "Error connecting to the given credential's issuer.";
const BAD_SIGNATURE: &str = "Unable to verify the ID Token signature.";
const INVALID_TARGET: &str = "The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.";
const REJECTED: &str = "The given credential is rejected by the attribute condition.";

#[test]
fn a_healthy_token_becomes_a_principal() {
    let verdict = exchange_with(&json!({}), &json!({}));
    let federated = verdict.grant().unwrap();
    assert_eq!(
        federated.principal.identifier(),
        format!("principal://{POOL}/subject/{SUBJECT}")
    );
    assert_eq!(federated.principal.attributes["namespace"], ["shop"]);
    assert_eq!(federated.expires_in_seconds, 3540);
    assert_eq!(verdict.decided_by.pointer, "/attributeCondition");
    assert_eq!(
        federated.principal.members(),
        [
            format!("principal://{POOL}/subject/{SUBJECT}"),
            format!("principalSet://{POOL}/attribute.namespace/shop"),
            format!("principalSet://{POOL}/*"),
        ]
    );
    let long = exchange_with(&json!({"exp": NOW + 86_400}), &json!({}));
    assert_eq!(long.grant().unwrap().expires_in_seconds, 3600);
}

#[test]
fn the_audience_parameter_is_the_full_name() {
    let token = KEYS.token(&claims(AUDIENCE));
    let set = KEYS.jwks();
    for audience in [
        format!("https:{AUDIENCE}"),
        PROVIDER.to_owned(),
        AUDIENCE.replace("123", "my-project"),
        String::new(),
    ] {
        let request = Request {
            token: Ok(&token),
            jwks: JwksFact::Known(&set),
            audience: &audience,
            now: now(),
        };
        let verdict = google::evaluate_exchange(&request, &documents(&provider(&json!({}))));
        expect(
            &verdict,
            "G1",
            400,
            "invalid_request",
            "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider. See https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats.",
        );
        assert_eq!(verdict.reason().unwrap().check(), Some("GCP01"));
    }
}

#[test]
fn pool_and_provider_must_be_there_and_active() {
    let token = KEYS.token(&claims(AUDIENCE));
    let pool = json!({"name": PROVIDER.split_once("/providers").unwrap().0, "state": "ACTIVE"});
    for (provider_changes, pool_changes, reason) in [
        (
            json!({"state": "DELETED"}),
            json!({}),
            Reason::ProviderDeleted,
        ),
        (
            json!({"disabled": true}),
            json!({}),
            Reason::ProviderDisabled,
        ),
        (json!({}), json!({"state": "DELETED"}), Reason::PoolDeleted),
        (json!({}), json!({"disabled": true}), Reason::PoolDisabled),
        (
            json!({"name": PROVIDER.replace("k8s", "other")}),
            json!({}),
            Reason::ProviderMissing {
                similar: Some(AUDIENCE.replace("k8s", "other")),
            },
        ),
    ] {
        let mut documents = documents(&provider(&provider_changes));
        documents
            .add(&with(pool.clone(), &pool_changes), &Hints::default())
            .unwrap();
        let verdict = exchange(&token, &documents);
        expect(&verdict, "G2", 400, "invalid_target", INVALID_TARGET);
        assert_eq!(verdict.reason(), Some(&reason));
    }
    let verdict = exchange(&token, &Documents::default());
    assert_eq!(
        verdict.reason(),
        Some(&Reason::ProviderMissing { similar: None })
    );
}

#[test]
fn issuer_and_audience_are_compared_letter_by_letter() {
    let slash = format!("{ISSUER}/");
    let verdict = exchange_with(&json!({"iss": slash}), &json!({}));
    let message = format!(
        "The issuer in ID Token {slash} does not match the expected one in config: {ISSUER}"
    );
    expect(&verdict, "G4", 400, "invalid_grant", &message);
    assert_eq!(verdict.decided_by.pointer, "/oidc/issuerUri");
    let verdict = exchange_with(&json!({"iss": null}), &json!({}));
    let message =
        format!("The issuer in ID Token null does not match the expected one in config: {ISSUER}");
    expect(&verdict, "G4", 400, "invalid_grant", &message);

    let allowed =
        |audiences: Value| json!({"oidc": {"issuerUri": ISSUER, "allowedAudiences": audiences}});
    for (aud, audiences, expected) in [
        (json!([AUDIENCE]), json!([]), Ok(AUDIENCE.to_owned())),
        (
            json!(format!("https:{AUDIENCE}")),
            json!([]),
            Ok(format!("https:{AUDIENCE}")),
        ),
        (json!("x"), json!(["x"]), Ok("x".to_owned())),
        (json!(["y", "x"]), json!(["x"]), Ok("x".to_owned())),
        (json!(["x"]), json!([]), Err((false, "[x]"))),
        (json!(["X"]), json!(["x"]), Err((false, "[X]"))),
        (json!(["a", "b"]), json!(["x"]), Err((false, "[a, b]"))),
        (Value::Null, json!(["x"]), Err((false, "[]"))),
    ] {
        let verdict = exchange_with(&json!({"aud": aud}), &allowed(audiences));
        match expected {
            Ok(audience) => assert_eq!(verdict.grant().unwrap().audience, audience),
            Err((default_replaced, shown)) => {
                let message = format!(
                    "The audience in ID Token {shown} does not match the expected audience."
                );
                expect(&verdict, "G3", 400, "invalid_grant", &message);
                assert_eq!(
                    verdict.reason(),
                    Some(&Reason::AudienceNotAllowed { default_replaced })
                );
            }
        }
    }
    let verdict = exchange_with(&json!({}), &allowed(json!(["x"])));
    assert_eq!(
        verdict.reason(),
        Some(&Reason::AudienceNotAllowed {
            default_replaced: true
        })
    );
}

#[test]
fn stale_tokens_are_refused() {
    for (changes, reason) in [
        (json!({"exp": NOW - 60}), Reason::Expired),
        (
            json!({"iat": NOW - 86_461, "exp": NOW + 60}),
            Reason::TooOld,
        ),
        (json!({"iat": NOW + 61}), Reason::NotYetValid),
        (json!({"nbf": NOW + 61}), Reason::NotYetValid),
        (json!({"exp": null}), Reason::TimeMissing { claim: "exp" }),
        (json!({"exp": "1"}), Reason::TimeMissing { claim: "exp" }),
    ] {
        let verdict = exchange_with(&changes, &json!({}));
        let iat = changes["iat"].as_i64().unwrap_or(NOW - 60);
        let message = format!("ID Token issued at {iat} is stale to sign-in.");
        expect(&verdict, "G5", 400, "invalid_grant", &message);
        assert_eq!(verdict.reason(), Some(&reason));
    }
    assert!(exchange_with(&json!({"iat": NOW + 60, "nbf": NOW + 60}), &json!({})).allowed());
    // Within the leeway, but no lifetime is left to give.
    for exp in [NOW - 59, NOW + 1] {
        assert_eq!(
            exchange_with(&json!({"exp": exp}), &json!({}))
                .error()
                .unwrap()
                .row,
            "G16"
        );
    }
}

#[test]
fn keys_come_from_the_issuer_or_from_an_upload() {
    let documents = documents(&provider(&json!({})));
    let token = KEYS.token(&claims(AUDIENCE));
    let evaluate = |token: &Token, jwks: JwksFact<'_>, documents: &Documents| {
        google::evaluate_exchange(
            &Request {
                token: Ok(token),
                jwks,
                audience: AUDIENCE,
                now: now(),
            },
            documents,
        )
    };
    let other = jwks(&[with(KEYS.rsa_jwk(), &json!({"kid": "other"}))]);
    let wrong = jwks(&[with(KEYS.ec_jwk(), &json!({"kid": "rsa-1"}))]);
    expect(
        &evaluate(&token, JwksFact::Known(&other), &documents),
        "G6",
        400,
        "invalid_grant",
        NO_KEY,
    );
    expect(
        &evaluate(&token, JwksFact::Unavailable("timeout"), &documents),
        "G6",
        400,
        "invalid_grant",
        NO_KEY,
    );
    expect(
        &evaluate(&token, JwksFact::Known(&wrong), &documents),
        "G7",
        400,
        "invalid_grant",
        BAD_SIGNATURE,
    );
    let unchecked = evaluate(&token, JwksFact::NotCollected, &documents);
    assert_eq!(unchecked.lints[0].kind, LintKind::SignatureNotChecked);
    let without_kid = KEYS.sign(&json!({"alg": "RS256"}), &claims(AUDIENCE));
    expect(
        &exchange(&without_kid, &documents),
        "G6",
        400,
        "invalid_grant",
        NO_KEY,
    );
    let rs512 = KEYS.sign(&json!({"alg": "RS512", "kid": "rsa-1"}), &claims(AUDIENCE));
    expect(
        &exchange(&rs512, &documents),
        "G7",
        400,
        "invalid_grant",
        BAD_SIGNATURE,
    );
    let ec = KEYS.sign(&json!({"alg": "ES256", "kid": "ec-1"}), &claims(AUDIENCE));
    assert!(exchange(&ec, &documents).allowed());

    let uploaded = |keys: Value| {
        let oidc = json!({"issuerUri": ISSUER, "jwksJson": keys});
        self::documents(&provider(&json!({"oidc": oidc})))
    };
    let good = uploaded(json!(json!({"keys": [KEYS.rsa_jwk()]}).to_string()));
    assert!(evaluate(&token, JwksFact::Unavailable("private cluster"), &good).allowed());
    let stale = uploaded(json!(
        json!({"keys": [with(KEYS.rsa_jwk(), &json!({"kid": "old"}))]}).to_string()
    ));
    let set = KEYS.jwks();
    expect(
        &evaluate(&token, JwksFact::Known(&set), &stale),
        "G6",
        400,
        "invalid_grant",
        NO_KEY,
    );
    let broken = uploaded(json!("not json"));
    expect(
        &evaluate(&token, JwksFact::Known(&set), &broken),
        "G6",
        400,
        "invalid_grant",
        NO_KEY,
    );

    let undecodable = Token::decode("opaque").unwrap_err();
    let request = Request {
        token: Err(&undecodable),
        jwks: JwksFact::NotCollected,
        audience: AUDIENCE,
        now: now(),
    };
    let verdict = google::evaluate_exchange(&request, &documents);
    assert_eq!(verdict.reason().unwrap().check(), Some("TOK01"));
}

#[test]
fn mappings_are_cel() {
    let mapping = |target: &str, expression: &str| {
        let mut mapping = json!({"google.subject": "assertion.sub"});
        mapping[target] = json!(expression);
        exchange_with(
            &json!({"groups": ["a", "b"]}),
            &json!({"attributeMapping": mapping, "attributeCondition": null}),
        )
    };
    let subject = |expression: &str| {
        mapping("google.subject", expression)
            .grant()
            .map(|f| f.principal.subject.clone())
    };
    assert_eq!(
        subject("assertion.sub.split(':')[2]").as_deref(),
        Some("shop")
    );
    assert_eq!(
        subject("assertion['kubernetes.io'].namespace + '/' + assertion['kubernetes.io'].serviceaccount.name").as_deref(),
        Some("shop/checkout")
    );
    assert_eq!(
        subject("assertion.sub.extract('system:serviceaccount:{ns}:')").as_deref(),
        Some("shop")
    );
    assert_eq!(
        subject("has(assertion.upn) ? assertion.upn : 'nobody'").as_deref(),
        Some("nobody")
    );
    let verdict = mapping("google.groups", "assertion.groups");
    assert_eq!(verdict.grant().unwrap().principal.groups, ["a", "b"]);

    for (target, expression) in [
        ("google.subject", "assertion.upn"),
        ("google.subject", "assertion.aud"),
        ("google.subject", "assertion.exp"),
        ("google.subject", "''"),
        ("google.subject", "null"),
        ("google.subject", "assertion.sub +"),
        ("google.subject", "unknown(assertion.sub)"),
        ("attribute.upn", "assertion.upn"),
        ("attribute.n", "assertion.exp"),
    ] {
        let verdict = mapping(target, expression);
        let message = format!("Could not obtain a value for {target} from the given credential.");
        expect(&verdict, "G10", 400, "invalid_grant", &message);
        assert_eq!(
            verdict.decided_by.pointer,
            format!("/attributeMapping/{target}")
        );
        assert_eq!(verdict.reason().unwrap().check(), Some("GCP05"));
    }
    let verdict = exchange_with(
        &json!({}),
        &json!({"attributeMapping": {"attribute.x": "'y'"}}),
    );
    assert_eq!(verdict.error().unwrap().row, "G10");
}

#[test]
fn a_subject_of_more_than_127_bytes_is_refused() {
    let subject = |length: usize| {
        let subject = format!("system:serviceaccount:shop:{}", "x".repeat(length - 27));
        assert_eq!(subject.len(), length);
        exchange_with(&json!({"sub": subject}), &json!({}))
    };
    assert!(subject(127).allowed());
    let verdict = subject(128);
    expect(
        &verdict,
        "G9",
        400,
        "invalid_request",
        "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming assertion to produce a mapped attribute that is less than 127 bytes.",
    );
    assert_eq!(
        verdict.reason(),
        Some(&Reason::SubjectTooLong { bytes: 128 })
    );
}

#[test]
fn a_condition_that_is_false_or_fails_rejects() {
    let condition =
        |expression: &str| exchange_with(&json!({}), &json!({"attributeCondition": expression}));
    for expression in [
        "assertion.sub.startsWith('system:serviceaccount:shop:')",
        "attribute.namespace == 'shop' && google.subject.endsWith(':checkout')",
        "assertion['kubernetes.io']['namespace'] in ['shop', 'cart']",
        "assertion.sub.matches('^system:serviceaccount:[a-z]+:checkout$')",
        "assertion.aud.exists(a, a.contains('workloadIdentityPools'))",
        "assertion.exp > 5",
        "!has(assertion.groups) || 'x' in assertion.groups",
        "assertion.sub.lowerAscii() == assertion.sub",
    ] {
        let verdict = condition(expression);
        assert!(verdict.allowed(), "{expression}: {:?}", verdict.denial());
    }
    for expression in [
        "assertion.sub == 'x'",
        "attribute.namespace != 'shop'",
        "false",
    ] {
        let verdict = condition(expression);
        expect(&verdict, "G8", 400, "unauthorized_client", REJECTED);
        assert_eq!(
            verdict.reason(),
            Some(&Reason::ConditionFalse),
            "{expression}"
        );
    }
    for expression in [
        "'x' in assertion.groups",
        "attribute.missing == 'x'",
        "assertion.sub",
        "assertion.sub == ",
        "assertion.sub > 5",
        "nope(assertion)",
    ] {
        let verdict = condition(expression);
        expect(&verdict, "G8", 400, "unauthorized_client", REJECTED);
        assert!(
            matches!(verdict.reason(), Some(Reason::ConditionFailed { .. })),
            "{expression}"
        );
    }
}

#[test]
fn a_shared_issuer_without_condition_is_linted() {
    let github = "https://token.actions.githubusercontent.com";
    let changes = json!({"attributeCondition": null, "oidc": {"issuerUri": github}});
    let verdict = exchange_with(&json!({"iss": github}), &changes);
    assert_eq!(verdict.lints[0].kind, LintKind::NoCondition);
    assert_eq!(
        exchange_with(&json!({}), &json!({"attributeCondition": null})).lints,
        []
    );
}

fn principal() -> Principal {
    let mut principal = exchange_with(&json!({}), &json!({}))
        .grant()
        .unwrap()
        .principal
        .clone();
    principal
        .attributes
        .insert("repo".to_owned(), vec!["org/app".to_owned()]);
    principal.groups = vec!["team".to_owned()];
    principal
}

fn policy(bindings: Value) -> Documents {
    let mut documents = Documents::default();
    let hints = Hints {
        service_account: Some(ACCOUNT),
    };
    documents
        .add(
            &json!({"bindings": bindings, "etag": "x", "version": 1}),
            &hints,
        )
        .unwrap();
    documents
}

fn impersonate(principal: &Principal, documents: &Documents) -> ImpersonationVerdict {
    google::evaluate_impersonation(
        &Impersonation {
            principal,
            service_account: ACCOUNT,
            lifetime_seconds: None,
            now: now(),
        },
        documents,
    )
}

const DENIED: &str =
    "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";

#[test]
fn members_that_include_a_principal() {
    let principal = principal();
    let user = "roles/iam.workloadIdentityUser";
    for (role, member, reason) in [
        (user, format!("principal://{POOL}/subject/{SUBJECT}"), None),
        (
            user,
            format!("principalSet://{POOL}/attribute.namespace/shop"),
            None,
        ),
        (
            user,
            format!("principalSet://{POOL}/attribute.repo/org%2Fapp"),
            None,
        ),
        (user, format!("principalSet://{POOL}/group/team"), None),
        (user, format!("principalSet://{POOL}/*"), None),
        (user, "allUsers".to_owned(), None),
        (
            "roles/iam.serviceAccountTokenCreator",
            format!("principal://{POOL}/subject/{SUBJECT}"),
            None,
        ),
        (
            user,
            format!("principalSet://{POOL}/attribute.repo/org/app"),
            Some(Reason::SlashNotEscaped),
        ),
        (
            user,
            format!("principal://{POOL}/subject/system:serviceaccount:shop:cart"),
            Some(Reason::SubjectDiffers),
        ),
        (
            user,
            format!("principal://{POOL}/subject/{}", SUBJECT.to_uppercase()),
            Some(Reason::SubjectDiffers),
        ),
        (
            user,
            format!(
                "principal://{}/subject/{SUBJECT}",
                POOL.replace("123", "my-project")
            ),
            Some(Reason::ProjectIdInMember),
        ),
        (
            user,
            format!(
                "principal://{}/subject/{SUBJECT}",
                POOL.replace("123", "124")
            ),
            Some(Reason::OtherPool),
        ),
        (
            user,
            format!("principal://{POOL}2/subject/{SUBJECT}"),
            Some(Reason::OtherPool),
        ),
        (
            user,
            format!("principalSet://{POOL}/attribute.namespace/cart"),
            Some(Reason::AttributeDiffers {
                attribute: "attribute.namespace".to_owned(),
            }),
        ),
        (
            user,
            format!("principalSet://{POOL}/attribute.team/x"),
            Some(Reason::AttributeNotMapped {
                attribute: "attribute.team".to_owned(),
            }),
        ),
        (
            user,
            format!("principalSet://{POOL}/group/other"),
            Some(Reason::AttributeDiffers {
                attribute: "group".to_owned(),
            }),
        ),
        (
            user,
            format!("principal://{POOL}/*"),
            Some(Reason::NoBinding),
        ),
        (
            user,
            format!("deleted:principal://{POOL}/subject/{SUBJECT}?uid=1"),
            Some(Reason::MemberDeleted),
        ),
        (
            user,
            "user:me@example.com".to_owned(),
            Some(Reason::NoBinding),
        ),
        (
            user,
            "serviceAccount:shop.svc.id.goog[shop/checkout]".to_owned(),
            Some(Reason::OtherPool),
        ),
        (
            "roles/iam.serviceAccountUser",
            format!("principal://{POOL}/subject/{SUBJECT}"),
            Some(Reason::RoleLacksPermission {
                role: "roles/iam.serviceAccountUser".to_owned(),
            }),
        ),
        (
            "projects/p/roles/mine",
            format!("principal://{POOL}/subject/{SUBJECT}"),
            Some(Reason::RoleNotKnown {
                role: "projects/p/roles/mine".to_owned(),
            }),
        ),
    ] {
        let verdict = impersonate(
            &principal,
            &policy(json!([{"role": role, "members": [member]}])),
        );
        assert_eq!(verdict.reason(), reason.as_ref(), "{role} {member}");
        if verdict.allowed() {
            assert_eq!(verdict.decided_by.pointer, "/bindings/0/members/0");
        } else {
            expect(&verdict, "G17", 403, "PERMISSION_DENIED", DENIED);
            assert_eq!(
                verdict.error().unwrap().details.as_ref().unwrap()[0]["reason"],
                "IAM_PERMISSION_DENIED"
            );
        }
    }
    let verdict = impersonate(&principal, &policy(json!([])));
    assert_eq!(verdict.reason(), Some(&Reason::NoBinding));
    assert_eq!(verdict.decided_by.pointer, "/bindings");
}

#[test]
fn the_nearest_member_explains_a_denial() {
    let documents = policy(json!([
        {"role": "roles/viewer", "members": ["user:me@example.com"]},
        {"role": "roles/iam.workloadIdentityUser", "members": [
            format!("principal://{}/subject/{SUBJECT}", POOL.replace("123", "9")),
            format!("principal://{POOL}/subject/system:serviceaccount:shop:Checkout"),
        ]},
    ]));
    let verdict = impersonate(&principal(), &documents);
    assert_eq!(verdict.reason(), Some(&Reason::SubjectDiffers));
    assert_eq!(verdict.decided_by.pointer, "/bindings/1/members/1");
    let comparison = verdict.decided_by.comparison.as_ref().unwrap();
    assert_eq!(
        comparison.found,
        format!("principal://{POOL}/subject/{SUBJECT}")
    );
    let others: Vec<_> = verdict
        .denial()
        .unwrap()
        .others
        .iter()
        .map(|miss| &miss.reason)
        .collect();
    assert_eq!(others, [&Reason::OtherPool, &Reason::OtherMember]);
}

#[test]
fn conditions_of_bindings_are_evaluated() {
    let member = format!("principal://{POOL}/subject/{SUBJECT}");
    for (expression, expected) in [
        ("request.time < timestamp('2027-01-01T00:00:00Z')", Ok(())),
        (
            "request.time < timestamp('2026-11-21T12:00:00Z')",
            Err(false),
        ),
        (
            "resource.type == 'iam.googleapis.com/ServiceAccount'",
            Ok(()),
        ),
        ("request.time.getHours('Europe/Berlin') < 9", Err(true)),
    ] {
        let binding = json!({"role": "roles/iam.workloadIdentityUser", "members": [member], "condition": {"title": "t", "expression": expression}});
        let verdict = impersonate(&principal(), &policy(json!([binding])));
        match (verdict.reason(), expected) {
            (None, Ok(())) => {}
            (Some(Reason::BindingConditionFailed { problem }), Err(failed)) => {
                assert_eq!(problem.is_some(), failed, "{expression}");
                assert_eq!(
                    verdict.decided_by.pointer,
                    "/bindings/0/condition/expression"
                );
            }
            (reason, _) => panic!("{expression}: {reason:?}"),
        }
    }
}

#[test]
fn the_account_must_be_there_and_enabled() {
    let member = json!([{"role": "roles/iam.workloadIdentityUser", "members": [format!("principalSet://{POOL}/*")]}]);
    let mut documents = policy(member);
    let verdict = impersonate(&principal(), &documents);
    assert_eq!(verdict.lints[0].kind, LintKind::WholePool);
    documents
        .add(
            &json!({"email": ACCOUNT, "uniqueId": "42", "disabled": true}),
            &Hints::default(),
        )
        .unwrap();
    let verdict = impersonate(&principal(), &documents);
    expect(&verdict, "G17", 403, "PERMISSION_DENIED", DENIED);
    assert_eq!(verdict.reason(), Some(&Reason::ServiceAccountDisabled));
    documents
        .add(
            &json!({"email": ACCOUNT, "uniqueId": "42"}),
            &Hints::default(),
        )
        .unwrap();
    let principal = principal();
    let request = Impersonation {
        principal: &principal,
        service_account: "42",
        lifetime_seconds: Some(600),
        now: now(),
    };
    let verdict = google::evaluate_impersonation(&request, &documents);
    assert_eq!(verdict.grant().unwrap().service_account, ACCOUNT);
    assert_eq!(verdict.grant().unwrap().lifetime_seconds, 600);

    for lifetime in [0, 3601] {
        let request = Impersonation {
            lifetime_seconds: Some(lifetime),
            ..request
        };
        let verdict = google::evaluate_impersonation(&request, &documents);
        assert_eq!(verdict.error().unwrap().row, "G20", "{lifetime}");
    }
    let verdict = impersonate(&principal, &Documents::default());
    expect(
        &verdict,
        "G19",
        404,
        "NOT_FOUND",
        &format!("Not found; Gaia id not found for email {ACCOUNT}"),
    );

    documents
        .add(&json!([{"parent": "projects/77", "config": {"name": "iam.googleapis.com"}, "state": "ENABLED"}]), &Hints::default())
        .unwrap();
    let verdict = impersonate(&principal, &documents);
    let error = verdict.error().unwrap();
    assert_eq!(error.row, "G18");
    assert!(
        error.message.starts_with(
            "IAM Service Account Credentials API has not been used in project 77 before"
        )
    );
    documents
        .add(&json!({"services": [{"parent": "projects/77", "config": {"name": "iamcredentials.googleapis.com"}, "state": "ENABLED"}]}), &Hints::default())
        .unwrap();
    assert!(impersonate(&principal, &documents).allowed());
}

#[test]
fn gke_has_an_older_spelling() {
    let gke = Principal::gke("shop-prod", Some("123"), "shop", "checkout");
    let pool = "iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/shop-prod.svc.id.goog";
    for (member, reason) in [
        (
            "serviceAccount:shop-prod.svc.id.goog[shop/checkout]".to_owned(),
            None,
        ),
        (
            format!("principal://{pool}/subject/ns/shop/sa/checkout"),
            None,
        ),
        (format!("principalSet://{pool}/namespace/shop"), None),
        (format!("principalSet://{pool}/*"), None),
        (
            "serviceAccount:shop-prod.svc.id.goog[checkout/shop]".to_owned(),
            Some(Reason::GkeSwapped),
        ),
        (
            "serviceAccount:other.svc.id.goog[shop/checkout]".to_owned(),
            Some(Reason::GkeOtherProject),
        ),
        (
            "serviceAccount:shop-prod.svc.id.goog[shop/cart]".to_owned(),
            Some(Reason::GkeOtherServiceAccount),
        ),
        (
            format!("principal://{pool}/subject/ns/shop/sa/cart"),
            Some(Reason::SubjectDiffers),
        ),
        (
            format!(
                "principal://{}/subject/ns/shop/sa/checkout",
                pool.replace("/123/", "/shop-prod/")
            ),
            Some(Reason::ProjectIdInMember),
        ),
    ] {
        let documents =
            policy(json!([{"role": "roles/iam.workloadIdentityUser", "members": [member]}]));
        let request = Impersonation {
            principal: &gke,
            service_account: ACCOUNT,
            lifetime_seconds: None,
            now: now(),
        };
        let verdict = google::evaluate_gke(&request, &documents);
        assert_eq!(verdict.reason(), reason.as_ref(), "{member}");
        if let Some(error) = verdict.error() {
            assert_eq!((error.row, error.http_status), ("G26", 403));
            assert!(error.message.starts_with("Unable to generate access token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).\nThis error could be caused by"));
        }
    }
    let request = Impersonation {
        principal: &gke,
        service_account: ACCOUNT,
        lifetime_seconds: None,
        now: now(),
    };
    let verdict = google::evaluate_gke(&request, &Documents::default());
    let message = format!(
        "Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found for email {ACCOUNT}"
    );
    expect(&verdict, "G27", 404, "", &message);
    assert_eq!(
        Principal::gke("p", None, "n", "s").members()[1],
        "serviceAccount:p.svc.id.goog[n/s]"
    );
}

#[test]
fn documents_come_in_many_shapes() {
    let terraform = json!({
        "name": PROVIDER, "disabled": false, "state": "ACTIVE",
        "attribute_mapping": {"google.subject": "assertion.sub"}, "attribute_condition": "",
        "oidc": [{"issuer_uri": ISSUER, "allowed_audiences": ["x"], "jwks_json": ""}], "aws": [],
    });
    let gcloud = provider(
        &json!({"oidc": {"issuerUri": ISSUER, "allowedAudiences": ["x"]}, "attributeCondition": null}),
    );
    for document in [
        gcloud.clone(),
        json!([gcloud]),
        json!({"workloadIdentityPoolProviders": [gcloud]}),
        json!({"type": "google_iam_workload_identity_pool_provider", "values": terraform}),
        json!({"terraform_version": "1.9", "resources": [{"type": "google_iam_workload_identity_pool_provider", "instances": [{"attributes": terraform}]}]}),
    ] {
        let documents = documents(&document);
        let provider = &documents.providers[0];
        assert_eq!(provider.issuer_uri, ISSUER, "{document}");
        assert_eq!(provider.allowed_audiences, ["x"]);
        assert_eq!(
            (&provider.attribute_condition, &provider.jwks_json),
            (&None, &None)
        );
    }
    let id = format!("projects/shop/serviceAccounts/{ACCOUNT}");
    let role = "roles/iam.workloadIdentityUser";
    let binding = json!({"role": role, "members": ["allUsers"]});
    for (kind, values) in [
        (
            "google_service_account_iam_member",
            json!({"service_account_id": id, "role": role, "member": "allUsers", "condition": []}),
        ),
        (
            "google_service_account_iam_binding",
            json!({"service_account_id": id, "role": role, "members": ["allUsers"], "condition": [{"expression": "true", "title": "t"}]}),
        ),
        (
            "google_service_account_iam_policy",
            json!({"service_account_id": id, "policy_data": json!({"bindings": [binding]}).to_string()}),
        ),
    ] {
        let documents = documents(
            &json!({"values": {"root_module": {"resources": [{"type": kind, "values": values}]}}}),
        );
        let verdict = impersonate(&principal(), &documents);
        assert!(verdict.allowed(), "{kind}");
        assert_eq!(verdict.lints[0].kind, LintKind::Everybody);
    }
    // A policy without bindings is printed as an etag alone.
    let mut empty = Documents::default();
    empty
        .add(
            &json!({"etag": "ACAB"}),
            &Hints {
                service_account: Some(ACCOUNT),
            },
        )
        .unwrap();
    assert_eq!(
        impersonate(&principal(), &empty).reason(),
        Some(&Reason::NoBinding)
    );
}

#[test]
fn what_is_missing_or_wrong_is_named_with_its_place() {
    for (document, pointer, expected) in [
        (json!({}), "", "a workload identity pool provider"),
        (json!({"bindings": []}), "", "its account must be named"),
        (provider(&json!({"oidc": null})), "", "an OIDC provider"),
        (provider(&json!({"oidc": {}})), "/oidc", "`issuerUri`"),
        (
            provider(&json!({"name": "projects/x/providers/y"})),
            "/name",
            "`projects/NUMBER",
        ),
        (
            provider(&json!({"name": PROVIDER.replace("123", "id")})),
            "/name",
            "`projects/NUMBER",
        ),
        (
            provider(&json!({"attributeMapping": ["x"]})),
            "/attributeMapping",
            "an object",
        ),
        (
            provider(&json!({"attributeMapping": {"google.subject": 5}})),
            "/attributeMapping/google.subject",
            "a string",
        ),
        (
            provider(&json!({"disabled": "maybe"})),
            "/disabled",
            "true or false",
        ),
        (json!([{"email": 5}]), "/0/email", "a string"),
    ] {
        let error = Documents::default()
            .add(&document, &Hints::default())
            .unwrap_err();
        assert_eq!(error.pointer, pointer, "{error}");
        assert!(error.expected.contains(expected), "{error}");
    }
    let hints = Hints {
        service_account: Some(ACCOUNT),
    };
    let error = Documents::default()
        .add(&json!({"bindings": [{"members": []}]}), &hints)
        .unwrap_err();
    assert_eq!(error.pointer, "/bindings/0");
}
