//! What holds for every document, however odd.

use cwii_contract::Provider;
use cwii_token::Token;
use cwii_trust::{
    JwksFact, Library,
    aws::{
        self,
        policy::{self, Caller, Context, Policy},
    },
    entra, google,
    judge::{Question, judge},
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{ISSUER, KEYS, PREFIX, SUBJECT, claims, now};

const ROLE: &str = "arn:aws:iam::123456789012:role/checkout";
const PROVIDER: &str =
    "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC";
const ACTION: &str = "sts:AssumeRoleWithWebIdentity";
const ACCOUNT: &str = "app@shop.iam.gserviceaccount.com";
const AUDIENCE: &str =
    "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/k8s";

/// Words that the readers know, so that odd documents get past the first look.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "Version", "2012-10-17", "2008-10-17", "Statement", "Effect", "Allow", "Deny", "Principal", "NotPrincipal",
            "Federated", "AWS", "Service", "*", "Action", "NotAction", "sts:*", ACTION, "Condition", "StringEquals",
            "ForAnyValue:StringLike", "ForAllValues:StringNotLikeIfExists", "Null", "Bool", "NumericLessThan", "DateLessThan",
            "IpAddress", "ArnLike", "BinaryEquals", "Sid", PROVIDER, "${aws:userid}", "${x, 'y'}", "${", "true", "aws:userid",
            "Role", "Roles", "Arn", "AssumeRolePolicyDocument", ROLE, "Url", "ClientIDList", "type", "values", "instances",
            "root_module", "resources", "terraform_version", "aws_iam_role", "aws_iam_openid_connect_provider", "arn",
            "name", "oidc", "issuerUri", "issuer_uri", ISSUER, "attributeMapping", "google.subject", "attributeCondition",
            "assertion.sub", "bindings", "members", "role", "condition", "expression", "email", "etag", "jwksJson",
            "projects/123/locations/global/workloadIdentityPools/pool/providers/k8s", "allowedAudiences",
            "google_iam_workload_identity_pool_provider", "value", "properties", "issuer", "subject", "audiences", "appId",
            "clientId", "claimsMatchingExpression", "claims['sub'] eq 'x'", "tenantId", "verifiedDomains", "accountEnabled",
        ]).prop_map(str::to_owned),
        1 => ".{0,12}",
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A statement that IAM would take, with conditions of every kind.
fn statement() -> impl Strategy<Value = Value> {
    let operator = prop::sample::select(vec![
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLikeIfExists",
        "ForAnyValue:StringEquals",
        "ForAllValues:StringLike",
        "Null",
        "Bool",
        "NumericLessThan",
        "DateGreaterThan",
        "IpAddress",
        "NotIpAddress",
        "ArnLike",
        "BinaryEquals",
        "StringEqualsIgnoreCase",
    ]);
    let key = prop::sample::select(vec![
        "aws:userid",
        "aws:SourceIp",
        "sts:RoleSessionName",
        "x:sub",
        "aws:CurrentTime",
    ]);
    let value = prop_oneof![
        Just(SUBJECT.to_owned()),
        Just("*".to_owned()),
        Just("${aws:userid}".to_owned()),
        ".{0,8}"
    ];
    let condition =
        prop::collection::vec((operator, key, prop::collection::vec(value, 0..3)), 0..3);
    let principal = prop_oneof![
        Just(json!("*")),
        Just(json!({"Federated": PROVIDER})),
        Just(json!({"AWS": "*"})),
        Just(json!({"Federated": "other"})),
    ];
    let action = prop_oneof![Just("sts:*"), Just(ACTION), Just("sts:AssumeRole")];
    let effect = prop_oneof![3 => Just("Allow"), 1 => Just("Deny")];
    (condition, principal, action, effect).prop_map(|(conditions, principal, action, effect)| {
        let mut element = Map::new();
        for (operator, key, values) in conditions {
            let keys = element.entry(operator).or_insert_with(|| json!({}));
            keys[key] = json!(values);
        }
        json!({"Effect": effect, "Principal": principal, "Action": action, "Condition": element})
    })
}

fn context() -> Context {
    let mut context = Context::new();
    context.set_issuer(PREFIX, vec!["sub"]);
    context.set("x:sub", [SUBJECT]);
    context.set("aws:userid", [PROVIDER]);
    context.set("aws:CurrentTime", ["2026-11-21T12:00:00Z"]);
    context
}

fn outcome(statements: Vec<Value>) -> Result<(), aws::Reason> {
    let policy = Policy::parse(&json!({"Version": "2012-10-17", "Statement": statements})).unwrap();
    policy::evaluate(&policy, Caller::Federated(PROVIDER), ACTION, &context())
        .outcome
        .map(|_| ())
        .map_err(|miss| miss.reason)
}

proptest! {
    #[test]
    fn no_bytes_make_the_library_panic_and_what_it_holds_can_be_stored_and_asked(
        documents in prop::collection::vec((json_value(), "[a-z@._/-]{0,12}(published|claims.json)?"), 1..4), text in ".{0,60}",
    ) {
        let mut library = Library::default();
        let _ = library.parse("text.json", text.as_bytes());
        for (document, file) in &documents {
            let _ = library.add(file, document);
            let _ = library.parse(file, document.to_string().as_bytes());
        }
        if let Ok(data) = library.to_config_map_data() {
            let (back, results) = Library::from_config_map_data(data.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            prop_assert_eq!(results.len(), data.len());
            prop_assert_eq!(back.files().count(), library.files().count());
        }
        let token = KEYS.token(&claims("sts.amazonaws.com"));
        let role = ROLE.parse().unwrap();
        let _ = (library.claims("shop", "checkout"), library.has_aws_role(&role), library.has_entra_credentials("x"));
        for provider in [None, Some(Provider::Aws), Some(Provider::Az), Some(Provider::Gcp)] {
            let mut question = Question::new(Ok(&token), JwksFact::NotCollected, now());
            question.provider = provider;
            let _ = judge(&library, &question);
            question.role_arn = Some(&role);
            let _ = judge(&library, &question);
        }
    }

    #[test]
    fn no_document_makes_a_reader_or_an_evaluator_panic(document in json_value(), text in ".{0,40}") {
        let token = KEYS.token(&claims("sts.amazonaws.com"));
        let undecodable = Token::decode(&text);
        let role = ROLE.parse().unwrap();
        let mut documents = aws::Documents::default();
        let _ = documents.add(&document, &aws::Hints { role_arn: Some(&role) });
        let _ = documents.add(&Value::String(document.to_string()), &aws::Hints { role_arn: Some(&role) });
        for token in [Ok(&token), undecodable.as_ref()] {
            let request = aws::Request::new(token, JwksFact::NotCollected, ROLE, "s1", now());
            let _ = aws::evaluate(&request, &documents);
        }
        let mut documents = google::Documents::default();
        let _ = documents.add(&document, &google::Hints { service_account: Some(ACCOUNT) });
        let request = google::Request { token: Ok(&token), jwks: JwksFact::NotCollected, audience: AUDIENCE, now: now() };
        let _ = google::evaluate_exchange(&request, &documents);
        let principal = google::Principal::gke("p", None, "n", "s");
        let request = google::Impersonation { principal: &principal, service_account: ACCOUNT, lifetime_seconds: None, now: now() };
        let _ = google::evaluate_gke(&request, &documents);
        let mut documents = entra::Documents::default();
        let _ = documents.add(&document, &entra::Hints { client_id: Some("c"), ..Default::default() });
        let request = entra::Request { token: Some(Ok(&token)), jwks: JwksFact::NotCollected, tenant: "a.b", client_id: "c", scope: None, now: now() };
        let _ = entra::evaluate(&request, &documents);
    }

    #[test]
    fn no_claims_make_an_evaluator_panic(members in json_value(), iss in Just(ISSUER)) {
        let mut members = members.as_object().cloned().unwrap_or_default();
        members.insert("iss".to_owned(), json!(iss));
        let token = KEYS.token(&Value::Object(members));
        let mut documents = aws::Documents::default();
        documents.add(&json!({"Role": {"Arn": ROLE, "AssumeRolePolicyDocument": {"Statement": []}}}), &aws::Hints::default()).unwrap();
        let request = aws::Request::new(Ok(&token), JwksFact::NotCollected, ROLE, "s1", now());
        prop_assert!(!aws::evaluate(&request, &documents).allowed());
    }

    #[test]
    fn a_deny_for_everybody_always_denies(mut statements in prop::collection::vec(statement(), 0..5), at in any::<prop::sample::Index>()) {
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "*"});
        statements.insert(at.index(statements.len() + 1), deny);
        let denied = matches!(outcome(statements), Err(aws::Reason::ExplicitDeny { .. }));
        prop_assert!(denied);
    }

    #[test]
    fn a_deny_that_matches_whenever_an_allow_does_leaves_nothing_allowed(statements in prop::collection::vec(statement(), 1..4)) {
        let denies = statements.iter().map(|statement| {
            let mut statement = statement.clone();
            statement["Effect"] = json!("Deny");
            statement
        });
        let all: Vec<Value> = statements.iter().cloned().chain(denies).collect();
        prop_assert!(outcome(all).is_err());
    }

    #[test]
    fn the_order_of_statements_does_not_matter(statements in prop::collection::vec(statement(), 0..5)) {
        let mut reversed = statements.clone();
        reversed.reverse();
        prop_assert_eq!(outcome(statements).is_ok(), outcome(reversed).is_ok());
    }

    #[test]
    fn an_allow_that_matches_nobody_changes_nothing(mut statements in prop::collection::vec(statement(), 0..5)) {
        let before = outcome(statements.clone()).is_ok();
        statements.push(json!({"Effect": "Allow", "Principal": {"Federated": "nobody"}, "Action": "*"}));
        prop_assert_eq!(outcome(statements).is_ok(), before);
    }
}
