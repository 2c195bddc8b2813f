//! Every shape in which people get AWS documents out of AWS and Terraform.

use cwii_trust::aws::{Documents, Hints};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/checkout";
const PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/c";

fn policy() -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithWebIdentity"}
    ]})
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn read(document: &Value) -> Documents {
    let mut documents = Documents::default();
    let arn = ROLE.parse().unwrap();
    let hints = Hints {
        role_arn: Some(&arn),
    };
    documents
        .add(document, &hints)
        .unwrap_or_else(|error| panic!("{error}: {document}"));
    documents
}

#[test]
fn a_role_comes_in_many_shapes() {
    let text = policy().to_string();
    let bare = json!({"Arn": ROLE, "RoleId": "AROA1", "AssumeRolePolicyDocument": policy()});
    let terraform = json!({"arn": ROLE, "name": "checkout", "unique_id": "AROA1", "max_session_duration": 3600, "assume_role_policy": text, "description": null});
    for document in [
        json!({"Role": bare}),
        bare.clone(),
        json!({"Roles": [bare]}),
        json!([{"Role": bare}]),
        json!({"Role": {"Arn": ROLE, "AssumeRolePolicyDocument": text}}),
        json!({"Role": {"Arn": ROLE, "AssumeRolePolicyDocument": percent_encoded(&text)}}),
        policy(),
        json!(text),
        json!(percent_encoded(&text)),
        terraform.clone(),
        json!({"type": "aws_iam_role", "values": terraform}),
        json!({"format_version": "1.0", "values": {"root_module": {"resources": [{"type": "aws_iam_role", "values": terraform}]}}}),
        json!({"values": {"root_module": {"child_modules": [{"child_modules": [{"resources": [{"type": "aws_iam_role", "values": terraform}]}]}]}}}),
        json!({"version": 4, "terraform_version": "1.9.0", "resources": [{"mode": "managed", "type": "aws_iam_role", "instances": [{"attributes": terraform}]}]}),
        // A plan: the ARN is not known yet.
        json!({"planned_values": {"root_module": {"resources": [{"type": "aws_iam_role", "values": {"name": "checkout", "assume_role_policy": text}}]}}}),
    ] {
        let documents = read(&document);
        assert_eq!(documents.roles.len(), 1, "{document}");
        let role = documents.role(ROLE).unwrap();
        assert_eq!(role.trust_policy.statements.len(), 1);
        assert_eq!(
            role.trust_policy.statements[0].principals.named[0].value,
            PROVIDER
        );
        assert_eq!(role.trust_policy.name, format!("trust policy of {ROLE}"));
    }
}

#[test]
fn pointers_lead_into_the_document_as_it_was_given() {
    let role = json!({"Arn": ROLE, "AssumeRolePolicyDocument": policy().to_string()});
    for (document, pointer) in [
        (
            json!({"Role": role}),
            "/Role/AssumeRolePolicyDocument/Statement/0",
        ),
        (
            json!([{"Roles": [role]}]),
            "/0/Roles/0/AssumeRolePolicyDocument/Statement/0",
        ),
        (policy(), "/Statement/0"),
    ] {
        assert_eq!(
            read(&document).roles[0].trust_policy.statements[0].pointer,
            pointer
        );
    }
}

#[test]
fn a_provider_comes_in_many_shapes() {
    for document in [
        json!({"Url": "oidc.example.com/c", "ClientIDList": ["sts.amazonaws.com"], "ThumbprintList": ["AB"], "CreateDate": "x"}),
        json!({"Url": "https://oidc.example.com:443/c", "ClientIDList": ["sts.amazonaws.com", "sts.amazonaws.com"], "ThumbprintList": ["ab"]}),
        json!({"OpenIDConnectProviderArn": PROVIDER, "Url": "oidc.example.com/c", "ClientIDList": ["sts.amazonaws.com"], "ThumbprintList": ["ab"]}),
        json!({"type": "aws_iam_openid_connect_provider", "values": {"arn": PROVIDER, "url": "oidc.example.com/c", "client_id_list": ["sts.amazonaws.com"], "thumbprint_list": ["ab"]}}),
        json!({"type": "aws_iam_openid_connect_provider", "values": {"url": "https://oidc.example.com/c", "client_id_list": ["sts.amazonaws.com"], "thumbprint_list": ["ab"]}}),
    ] {
        let providers = read(&document).providers.unwrap();
        assert_eq!(providers.len(), 1);
        assert_eq!(providers[0].arn, PROVIDER, "{document}");
        assert_eq!(providers[0].url, "oidc.example.com/c");
        assert_eq!(
            providers[0].client_ids,
            Some(vec!["sts.amazonaws.com".to_owned()])
        );
        assert_eq!(providers[0].thumbprints, ["ab"]);
    }
    let list = json!({"OpenIDConnectProviderList": [{"Arn": PROVIDER}]});
    let providers = read(&list).providers.unwrap();
    assert_eq!(
        (providers[0].arn.as_str(), &providers[0].client_ids),
        (PROVIDER, &None)
    );
    let none = json!({"OpenIDConnectProviderList": []});
    assert_eq!(read(&none).providers, Some(vec![]));
}

#[test]
fn a_list_does_not_undo_what_a_description_said() {
    let mut documents = Documents::default();
    let arn = ROLE.parse().unwrap();
    let hints = Hints {
        role_arn: Some(&arn),
    };
    for document in [
        json!({"Url": "oidc.example.com/c", "ClientIDList": ["a"]}),
        json!({"OpenIDConnectProviderList": [{"Arn": PROVIDER}]}),
    ] {
        documents.add(&document, &hints).unwrap();
    }
    assert_eq!(
        documents.providers.unwrap()[0].client_ids,
        Some(vec!["a".to_owned()])
    );
}

#[test]
fn a_slash_at_the_end_makes_another_provider() {
    let mut documents = Documents::default();
    let arn = ROLE.parse().unwrap();
    let hints = Hints {
        role_arn: Some(&arn),
    };
    for url in [
        "oidc.example.com/c",
        "oidc.example.com/c/",
        "OIDC.example.com/c",
    ] {
        documents
            .add(&json!({"Url": url, "ClientIDList": []}), &hints)
            .unwrap();
    }
    assert_eq!(documents.providers.unwrap().len(), 3);
}

#[test]
fn an_association_comes_from_eks_and_terraform() {
    for document in [
        json!({"association": {"clusterName": "c", "namespace": "shop", "serviceAccount": "checkout", "roleArn": ROLE}}),
        json!({"associations": [{"clusterName": "c", "namespace": "shop", "serviceAccount": "checkout"}]}),
        json!({"type": "aws_eks_pod_identity_association", "values": {"cluster_name": "c", "namespace": "shop", "service_account": "checkout", "role_arn": ROLE, "target_role_arn": null}}),
    ] {
        let associations = read(&document).associations.unwrap();
        assert_eq!(associations[0].service_account, "checkout");
        assert_eq!(associations[0].target_role_arn, None);
    }
    assert_eq!(
        read(&json!({"associations": []})).associations,
        Some(vec![])
    );
}

#[test]
fn what_is_missing_or_wrong_is_named_with_its_place() {
    for (document, pointer, expected) in [
        (json!({}), "", "a role, a trust policy"),
        (json!(5), "", "a role, a trust policy"),
        (json!([{"x": 1}]), "/0", "a role, a trust policy"),
        (policy(), "", "its role must be named"),
        (
            json!({"Role": {"Arn": ROLE}}),
            "/Role",
            "a member `AssumeRolePolicyDocument`",
        ),
        (
            json!({"Role": {"Arn": "arn:aws:iam::1:user/x", "AssumeRolePolicyDocument": policy()}}),
            "/Role/Arn",
            "the ARN of a role",
        ),
        (
            json!({"Role": {"AssumeRolePolicyDocument": policy()}}),
            "/Role",
            "a member `Arn`",
        ),
        (
            json!({"Role": {"Arn": ROLE, "MaxSessionDuration": "1h", "AssumeRolePolicyDocument": policy()}}),
            "/Role/MaxSessionDuration",
            "a whole number",
        ),
        (
            json!({"Url": "x", "ClientIDList": ["a"]}),
            "",
            "a role that tells the provider's account",
        ),
        (
            json!({"Arn": PROVIDER, "ClientIDList": [5]}),
            "/ClientIDList/0",
            "a string",
        ),
        (json!({"Roles": {}}), "/Roles", "an array"),
        (
            json!({"association": {"clusterName": "c"}}),
            "/association",
            "a member `namespace`",
        ),
    ] {
        let error = Documents::default()
            .add(&document, &Hints::default())
            .unwrap_err();
        assert_eq!(error.pointer, pointer, "{document}: {error}");
        assert!(error.expected.contains(expected), "{document}: {error}");
    }
    let error = Documents::default()
        .add(&json!({"a": 1}), &Hints::default())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "AWS document at ``: expected a role, a trust policy, an OIDC provider, a pod identity association, or Terraform's JSON, found an object of `a`"
    );
}
