//! EKS Pod Identity: association, and both actions of the trust policy.

use cwii_token::{DecodeError, Token};
use cwii_trust::{
    JwksFact,
    aws::{self, Documents, Hints, Pod, PodIdentityRequest, PodIdentityVerdict, Reason},
};
use serde_json::{Value, json};

use crate::support::{KEYS, NOW, claims, now, with};

const ROLE: &str = "arn:aws:iam::123456789012:role/checkout";
const CLUSTER: &str = "arn:aws:eks:eu-central-1:123456789012:cluster/prod";
const AUDIENCE: &str = "pods.eks.amazonaws.com";

fn trust(action: Value, condition: Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": AUDIENCE}, "Action": action, "Condition": condition}
    ]})
}

fn documents(policy: &Value) -> Documents {
    let mut documents = Documents::default();
    for document in [
        json!({"Role": {"Arn": ROLE, "AssumeRolePolicyDocument": policy}}),
        json!({"association": {"clusterName": "prod", "namespace": "shop", "serviceAccount": "checkout", "roleArn": ROLE}}),
        json!({"association": {"clusterName": "test", "namespace": "shop", "serviceAccount": "cart", "roleArn": ROLE}}),
    ] {
        documents.add(&document, &Hints::default()).unwrap();
    }
    documents
}

fn evaluate(token: Result<&Token, &DecodeError>, documents: &Documents) -> PodIdentityVerdict {
    let set = KEYS.jwks();
    let request = PodIdentityRequest {
        token,
        jwks: JwksFact::Known(&set),
        cluster_arn: CLUSTER,
        now: now(),
    };
    aws::evaluate_pod_identity(&request, documents)
}

#[test]
fn both_actions_are_needed() {
    let token = KEYS.token(&claims(AUDIENCE));
    for (action, expected) in [
        (json!(["sts:AssumeRole", "sts:TagSession"]), None),
        (json!("sts:*"), None),
        (json!("sts:AssumeRole"), Some("EPI04")),
        (json!("sts:TagSession"), Some("EPI04")),
        (json!("sts:AssumeRoleWithWebIdentity"), Some("EPI04")),
    ] {
        let verdict = evaluate(Ok(&token), &documents(&trust(action.clone(), json!({}))));
        assert_eq!(
            verdict.reason().and_then(Reason::check),
            expected,
            "{action}"
        );
        if let Some(error) = verdict.error() {
            assert_eq!((error.row, error.http_status), ("P1", 400));
            assert_eq!(
                error.message,
                "Unauthorized Exception! EKS does not have permissions to assume the associated role."
            );
        }
    }
}

#[test]
fn the_principal_is_a_service() {
    let token = KEYS.token(&claims(AUDIENCE));
    let mut policy = trust(json!("sts:*"), json!({}));
    for (principal, check) in [
        (json!({"Service": "ec2.amazonaws.com"}), Some("EPI04")),
        (
            json!({"Federated": "arn:aws:iam::1:oidc-provider/x"}),
            Some("EPI04"),
        ),
        (json!({"Service": ["ec2.amazonaws.com", AUDIENCE]}), None),
    ] {
        policy["Statement"][0]["Principal"] = principal.clone();
        let verdict = evaluate(Ok(&token), &documents(&policy));
        assert_eq!(
            verdict.reason().and_then(Reason::check),
            check,
            "{principal}"
        );
    }
}

#[test]
fn conditions_see_the_session_tags() {
    let token = KEYS.token(&claims(AUDIENCE));
    let actions = json!(["sts:AssumeRole", "sts:TagSession"]);
    for (condition, expected) in [
        (
            json!({"StringEquals": {"aws:RequestTag/kubernetes-namespace": "shop"}}),
            true,
        ),
        (
            json!({"StringEquals": {"aws:RequestTag/kubernetes-namespace": "cart"}}),
            false,
        ),
        (
            json!({"StringEquals": {"aws:RequestTag/kubernetes-service-account": "checkout", "aws:RequestTag/kubernetes-pod-name": "checkout-0", "aws:RequestTag/kubernetes-pod-uid": "p-1"}}),
            true,
        ),
        (
            json!({"StringEquals": {"aws:RequestTag/eks-cluster-name": "prod", "aws:SourceAccount": "123456789012"}}),
            true,
        ),
        (json!({"ArnEquals": {"aws:SourceArn": CLUSTER}}), true),
        (
            json!({"ArnLike": {"aws:SourceArn": "arn:aws:eks:*:123456789012:cluster/test"}}),
            false,
        ),
    ] {
        let verdict = evaluate(
            Ok(&token),
            &documents(&trust(actions.clone(), condition.clone())),
        );
        assert_eq!(verdict.allowed(), expected, "{condition}");
        assert!(verdict.lints.is_empty(), "{:?}", verdict.lints);
    }
    let verdict = evaluate(Ok(&token), &documents(&trust(actions, json!({}))));
    let grant = verdict.grant().unwrap();
    assert_eq!(grant.role_arn, ROLE);
    assert_eq!(grant.tags["eks-cluster-arn"], CLUSTER);
    assert_eq!(grant.tags.len(), 6);
}

#[test]
fn without_session_tags_one_action_is_enough() {
    let documents = documents(&trust(json!("sts:AssumeRole"), json!({})));
    let pod = Pod {
        cluster_arn: CLUSTER,
        namespace: "shop",
        service_account: "checkout",
        name: None,
        uid: None,
    };
    let role = documents.role(ROLE).unwrap();
    assert!(aws::evaluate_pod_identity_trust(role, &pod, false, now()).allowed());
    assert!(!aws::evaluate_pod_identity_trust(role, &pod, true, now()).allowed());
}

#[test]
fn an_association_belongs_to_cluster_namespace_and_service_account() {
    let policy = trust(json!("sts:*"), json!({}));
    let token = |name: &str| {
        KEYS.token(&with(
            claims(AUDIENCE),
            &json!({"kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": name}}}),
        ))
    };
    let verdict = evaluate(Ok(&token("cart")), &documents(&policy));
    let error = verdict.error().unwrap();
    assert_eq!(
        (error.row, error.http_status, error.code.as_str()),
        ("P2", 404, "ResourceNotFoundException")
    );
    assert_eq!(
        verdict.reason(),
        Some(&Reason::AssociationMissing {
            similar: Some("shop/checkout".to_owned())
        })
    );
}

#[test]
fn the_agent_refuses_tokens_that_are_not_for_it() {
    let documents = documents(&trust(json!("sts:*"), json!({})));
    let verdict = evaluate(Err(&DecodeError::Empty), &documents);
    assert_eq!(
        verdict.error().unwrap().message,
        "Service account token cannot be empty"
    );
    let broken = Token::decode("a.b").unwrap_err();
    let verdict = evaluate(Err(&broken), &documents);
    assert!(
        verdict
            .error()
            .unwrap()
            .message
            .starts_with("Service account token cannot be parsed: ")
    );
    for (changes, check) in [
        (json!({"aud": ["sts.amazonaws.com"]}), "TOK03"),
        (json!({"exp": NOW - 1}), "TOK05"),
        (json!({"kubernetes.io": null}), "TOK04"),
    ] {
        let verdict = evaluate(
            Ok(&KEYS.token(&with(claims(AUDIENCE), &changes))),
            &documents,
        );
        let error = verdict.error().unwrap();
        assert_eq!((error.row, error.http_status), ("P3", 400));
        assert!(
            error
                .message
                .starts_with("Service account token failed basic claim validations"),
            "{changes}"
        );
        assert_eq!(verdict.reason().unwrap().check(), Some(check));
    }
}
