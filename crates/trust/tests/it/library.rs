//! Documents as people have them: recognised by shape, attached to their owner, stored and read back.

use cwii_trust::{
    Library, LibraryError, Shape, entra,
    library::{ClusterDescription, Position, locate},
};
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::111122223333:role/checkout";
const OTHER_ROLE: &str = "arn:aws:iam::111122223333:role/billing";
const GSA: &str = "checkout@shop-prod.iam.gserviceaccount.com";
const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
const OTHER_CLIENT: &str = "99999999-2222-3333-4444-555555555555";
const IDENTITY: &str = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/checkout";

#[test]
fn every_document_is_known_by_its_shape() {
    for (file, document, shape) in shapes() {
        let mut library = Library::default();
        let recognised = library.add(file, &document);
        assert_eq!(
            recognised.as_ref().map(|known| known.shape),
            Ok(shape),
            "{file}: {document}"
        );
        assert_eq!(
            library.files().collect::<Vec<_>>(),
            [(file, shape)],
            "{file}"
        );
    }
}

#[test]
fn what_is_no_trust_document_is_named_and_changes_nothing() {
    for (document, found) in [
        (json!({}), "an empty object"),
        (json!([]), "an empty array"),
        (json!(null), "null"),
        (json!(7), "the number 7"),
        (json!([1, 2]), "an array of 2, the first the number 1"),
        (
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}}),
            "a Kubernetes object of kind `ServiceAccount`",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}),
            "an object of `Statement`",
        ),
        (
            json!({"name": "projects/1/locations/global/workloadIdentityPools/p/providers/a", "aws": {"accountId": "1"}}),
            "an object of `name`, `aws`",
        ),
    ] {
        let mut library = Library::default();
        let error = library.add("x.json", &document).unwrap_err();
        let LibraryError::NotRecognised { found: told, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(told, found);
        assert!(error.is_something_else());
        assert!(library.is_empty());
    }
}

#[test]
fn a_broken_document_is_told_with_line_and_column() {
    let role = "{\n  \"Role\": {\n    \"Arn\": \"arn:aws:iam::1:role/x\",\n    \"AssumeRolePolicyDocument\": {\"Statement\": []}\n  }\n}\n";
    for (text, told) in [
        (
            role,
            "role.json:3:12: AWS document at `/Role/Arn`: expected the ARN of a role, found the string `arn:aws:iam::1:role/x`",
        ),
        (
            "",
            "role.json: expected a trust document in JSON, found nothing: the file is empty",
        ),
        (
            " \n",
            "role.json: expected a trust document in JSON, found nothing: the file is empty",
        ),
        (
            "{\"Role\": {\n  \"Arn\": }",
            "role.json:2:10: expected a trust document in JSON, found expected value",
        ),
        (
            "{\"Role\": {",
            "role.json:1:10: expected a trust document in JSON, found the end of the file",
        ),
        (
            "Role:\n  Arn: x\n",
            "role.json: expected a trust document in JSON, found text that is not JSON",
        ),
        (
            "<html>",
            "role.json: expected a trust document in JSON, found HTML or XML",
        ),
        (
            "eyJhbGciOi.eyJ.x",
            "role.json: expected a trust document in JSON, found a token",
        ),
    ] {
        let error = Library::default()
            .parse("role.json", text.as_bytes())
            .unwrap_err();
        assert_eq!(error.to_string(), told, "{text}");
        assert_eq!(error.file(), "role.json");
    }
    let error = Library::default()
        .parse("x", &[0xff, 0xfe, 0x00, 0x7f])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "x: expected a trust document in JSON, found bytes that are not UTF-8 text"
    );
}

#[test]
fn depth_and_size_do_not_bring_it_down() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(
        Library::default()
            .parse("deep.json", deep.as_bytes())
            .is_err()
    );
    let wide = format!("{{\"a\": \"{}\"}}", "x".repeat(10_000_000));
    let error = Library::default()
        .parse("wide.json", wide.as_bytes())
        .unwrap_err();
    assert!(
        error.to_string().len() < 1000,
        "{}",
        error.to_string().len()
    );
}

#[test]
fn a_byte_order_mark_is_tolerated() {
    let mut text = b"\xef\xbb\xbf".to_vec();
    text.extend_from_slice(role(ROLE).to_string().as_bytes());
    let recognised = Library::default().parse("role.json", &text);
    assert_eq!(recognised.map(|known| known.shape), Ok(Shape::AwsRole));
}

#[test]
fn a_single_ownerless_trust_policy_is_that_of_whatever_role_is_asked_for() {
    let mut library = Library::default();
    library.add("policy.json", &trust_policy()).unwrap();
    for role in [ROLE, OTHER_ROLE] {
        assert!(library.has_aws_role(&role.parse().unwrap()));
    }
    assert!(library.aws(None).roles.is_empty());
}

#[test]
fn of_several_ownerless_trust_policies_the_file_name_tells() {
    let mut library = Library::default();
    library
        .add("trust/checkout-policy.json", &trust_policy())
        .unwrap();
    library.add("trust/other.json", &trust_policy()).unwrap();
    assert!(library.has_aws_role(&ROLE.parse().unwrap()));
    assert!(!library.has_aws_role(&OTHER_ROLE.parse().unwrap()));
}

#[test]
fn a_role_that_names_itself_is_no_other() {
    let mut library = Library::default();
    library.add("role.json", &role(ROLE)).unwrap();
    assert!(library.has_aws_role(&ROLE.parse().unwrap()));
    assert!(!library.has_aws_role(&OTHER_ROLE.parse().unwrap()));
    assert!(!library.has_aws_providers());
    assert_eq!(library.aws(None).roles.len(), 1);
}

#[test]
fn a_provider_without_an_arn_is_of_the_roles_account() {
    let mut library = Library::default();
    // In whatever order they come.
    library.add("provider.json", &oidc_provider()).unwrap();
    library.add("role.json", &role(ROLE)).unwrap();
    assert!(library.has_aws_providers());
    let documents = library.aws(Some(&ROLE.parse().unwrap()));
    assert_eq!(
        documents.providers.unwrap()[0].arn,
        "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/id/1"
    );
    // But not one that is named after another account.
    let mut library = Library::default();
    library
        .add("oidc-444455556666.json", &oidc_provider())
        .unwrap();
    let documents = library.aws(Some(&ROLE.parse().unwrap()));
    assert_eq!(documents.providers, None);
}

#[test]
fn an_allow_policy_is_of_the_account_in_its_file_name() {
    let mut library = Library::default();
    library.add("policy.json", &allow_policy()).unwrap();
    assert!(library.has_service_account_policy(GSA));

    let mut library = Library::default();
    library
        .add(&format!("gcp/{GSA}.json"), &allow_policy())
        .unwrap();
    assert!(library.has_service_account_policy(GSA));
    // A single one applies, unless its name says that it is somebody else's.
    assert!(!library.has_service_account_policy("billing@shop-prod.iam.gserviceaccount.com"));
}

#[test]
fn credentials_are_of_the_client_in_their_file_name() {
    let mut library = Library::default();
    library.add("fic.json", &credentials()).unwrap();
    assert!(library.has_entra_application(CLIENT));
    assert!(library.has_entra_credentials(CLIENT));

    let mut library = Library::default();
    library
        .add(&format!("{CLIENT}.json"), &credentials())
        .unwrap();
    assert!(library.has_entra_application(CLIENT));
    assert!(!library.has_entra_application(OTHER_CLIENT));

    // An empty list says that there is none, which is more than nothing.
    let mut library = Library::default();
    library
        .add(&format!("credentials-{CLIENT}.json"), &json!([]))
        .unwrap();
    assert!(library.has_entra_application(CLIENT));
    let documents = library.entra(Some(CLIENT));
    assert!(documents.find(CLIENT).unwrap().credentials.is_empty());
}

#[test]
fn credentials_of_a_managed_identity_find_it_by_its_resource_id() {
    let mut library = Library::default();
    library.add("fic.json", &identity_credentials()).unwrap();
    library.add("identity.json", &managed_identity()).unwrap();
    let documents = library.entra(None);
    let identity = documents.find(CLIENT).unwrap();
    assert_eq!(identity.kind, entra::ObjectKind::ManagedIdentity);
    assert_eq!(identity.credentials.len(), 1);
    // They are nobody else's then.
    assert!(!library.has_entra_application(OTHER_CLIENT));
}

#[test]
fn terraform_keeps_what_is_read_and_nothing_else() {
    let state = json!({
        "version": 4, "terraform_version": "1.9.0", "serial": 3, "lineage": "x",
        "outputs": {"password": {"value": "hunter2", "type": "string"}},
        "resources": [
            {"mode": "managed", "type": "random_password", "name": "p", "instances": [{"attributes": {"result": "hunter2"}}]},
            {"mode": "managed", "type": "aws_iam_role", "name": "checkout", "instances": [{"attributes": {
                "arn": ROLE, "name": "checkout", "assume_role_policy": trust_policy().to_string(),
                "inline_policy": [{"policy": "hunter2"}]}}]},
            {"mode": "managed", "type": "azuread_application", "name": "a", "instances": [{"attributes": {
                "client_id": CLIENT, "id": "/applications/o", "display_name": "checkout", "password": [{"value": "hunter2"}]}}]},
            {"mode": "managed", "type": "azuread_application_federated_identity_credential", "name": "a", "instances": [{"attributes": {
                "application_id": "/applications/o", "display_name": "k", "issuer": "https://oidc.example.com/id/1",
                "subject": "system:serviceaccount:shop:checkout", "audiences": ["api://AzureADTokenExchange"]}}]},
            {"mode": "managed", "type": "azurerm_kubernetes_cluster", "name": "k", "instances": [{"attributes": {
                "name": "prod", "oidc_issuer_enabled": true, "oidc_issuer_url": "https://oidc.example.com/id/1/",
                "workload_identity_enabled": false, "kube_config_raw": "hunter2"}}]}
        ]
    });
    let mut library = Library::default();
    let recognised = library.add("terraform.tfstate", &state).unwrap();
    assert_eq!(
        (recognised.shape, recognised.objects),
        (Shape::Terraform, 4)
    );
    let role = library.aws(None);
    let role = role.role(ROLE).unwrap();
    // Pointers stay those of the file.
    assert_eq!(role.pointers.root(), "/resources/1/instances/0/attributes");
    let documents = library.entra(None);
    assert_eq!(documents.find(CLIENT).unwrap().credentials.len(), 1);
    let [ClusterDescription::Aks(cluster)] = library.clusters() else {
        panic!("{:?}", library.clusters());
    };
    assert!(cluster.oidc_issuer_enabled && !cluster.workload_identity_enabled);
    let data = library.to_config_map_data().unwrap();
    assert!(!format!("{data:?}{library:?}").contains("hunter2"));
}

#[test]
fn a_plan_that_does_not_know_everything_yet_hides_nothing_else() {
    let plan = json!({
        "format_version": "1.2", "terraform_version": "1.9.0",
        "variables": {"secret": {"value": "hunter2"}},
        "planned_values": {"root_module": {
            "resources": [
                {"type": "aws_iam_openid_connect_provider", "values": {"client_id_list": ["sts.amazonaws.com"]}},
                {"type": "aws_iam_role", "values": {"name": "billing"}},
                {"type": "azuread_application_federated_identity_credential", "values": {"display_name": "x"}},
            ],
            "child_modules": [{"resources": [
                {"type": "aws_iam_role", "values": {"name": "checkout", "assume_role_policy": trust_policy().to_string()}},
            ]}]
        }}
    });
    let mut library = Library::default();
    library.add("plan.json", &plan).unwrap();
    // A role to be made has no ARN yet; its name tells.
    assert!(library.has_aws_role(&ROLE.parse().unwrap()));
    assert!(!library.has_aws_role(&OTHER_ROLE.parse().unwrap()));
    assert!(!library.has_aws_providers());
}

#[test]
fn secrets_are_refused_and_never_told() {
    for (document, pointer) in [
        (
            json!({"appId": CLIENT, "passwordCredentials": [{"secretText": "hunter2"}]}),
            "/passwordCredentials/0/secretText",
        ),
        (
            json!({"email": GSA, "private_key": "hunter2"}),
            "/private_key",
        ),
        (
            json!({"Role": {"Arn": ROLE, "AssumeRolePolicyDocument": trust_policy(), "Tags": [{"Value": "-----BEGIN RSA PRIVATE KEY-----\nhunter2"}]}}),
            "/Role/Tags/0/Value",
        ),
        (
            json!({"appId": CLIENT, "notes": "eyJhbGciOiJSUzI1NiJ9.eyJodW50ZXIyIjoxfQ.c2ln"}),
            "/notes",
        ),
        (
            json!({"name": "projects/1/locations/global/workloadIdentityPools/p/providers/k", "oidc": {
                "issuerUri": "https://x", "jwksJson": "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"x\",\"d\":\"hunter2\"}]}"}}),
            "/oidc/jwksJson",
        ),
    ] {
        let mut library = Library::default();
        let error = library.add("x.json", &document).unwrap_err();
        assert_eq!(
            error,
            LibraryError::Secret {
                file: "x.json".to_owned(),
                position: None,
                pointer: pointer.to_owned()
            }
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(library.is_empty());
    }
}

#[test]
fn a_key_set_with_private_keys_is_looked_at_but_not_stored() {
    let mut library = Library::default();
    let jwks =
        json!({"keys": [{"kty": "RSA", "kid": "a", "n": "AQ", "e": "AQAB", "d": "hunter2"}]});
    library.add("published-jwks.json", &jwks).unwrap();
    assert!(library.published_jwks().unwrap().keys[0].has_private_parts());
    assert!(!format!("{library:?}").contains("hunter2"));
    let error = library.to_config_map_data().unwrap_err();
    assert_eq!(
        error.to_string(),
        "published-jwks.json: a secret at `/keys/0/d`, where a trust document has none"
    );
}

#[test]
fn the_name_of_a_key_set_tells_who_serves_it() {
    let mut library = Library::default();
    library
        .add("issuer/jwks.json", &json!({"keys": [{"kid": "inside"}]}))
        .unwrap();
    assert!(library.published_jwks().is_none());
    library
        .add("issuer/Published.json", &json!({"keys": []}))
        .unwrap();
    assert_eq!(library.cluster_jwks().unwrap().keys.len(), 1);
    assert_eq!(library.published_jwks().unwrap().keys.len(), 0);
}

#[test]
fn claims_are_those_of_their_service_account() {
    let mut library = Library::default();
    let subject = |namespace: &str, name: &str| format!("system:serviceaccount:{namespace}:{name}");
    library
        .add(
            "a.claims.json",
            &json!({"sub": subject("shop", "checkout")}),
        )
        .unwrap();
    library
        .add("b.claims.json", &json!({"sub": subject("shop", "billing")}))
        .unwrap();
    library
        .add(
            "c.claims.json",
            &json!({"sub": "me", "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "checkout"}}}),
        )
        .unwrap();
    library
        .add("admin.claims.json", &json!({"sub": "me"}))
        .unwrap();
    let subjects = |sa: &str| -> Vec<Option<String>> {
        library
            .claims("shop", sa)
            .iter()
            .map(|claims| claims.subject().map(str::to_owned))
            .collect()
    };
    assert_eq!(
        subjects("checkout"),
        [Some(subject("shop", "checkout")), Some("me".to_owned())]
    );
    assert_eq!(subjects("billing"), [Some(subject("shop", "billing"))]);
    assert_eq!(subjects("admin"), [Some("me".to_owned())]);
    assert!(library.claims("other", "checkout").is_empty());
}

#[test]
fn a_stored_library_is_read_back_the_same() {
    let mut library = Library::default();
    for (file, document, _) in shapes() {
        library.add(file, &document).unwrap();
    }
    library
        .add(&format!("gcp/{GSA}.json"), &allow_policy())
        .unwrap();
    library.add("a/role_40x.json", &role(OTHER_ROLE)).unwrap();
    library.add("b/role_40x.json", &role(ROLE)).unwrap();
    let data = library.to_config_map_data().unwrap();
    for key in data.keys() {
        assert!(
            key.len() <= 253
                && key
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
            "{key}"
        );
    }
    let (back, results) =
        Library::from_config_map_data(data.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    for result in results {
        result.unwrap();
    }
    let documents = |data: &std::collections::BTreeMap<String, String>| {
        let mut documents: Vec<String> = data.values().cloned().collect();
        documents.sort();
        documents
    };
    let again = back.to_config_map_data().unwrap();
    assert_eq!(documents(&again), documents(&data));
    let role = ROLE.parse().unwrap();
    let arns = |library: &Library| {
        let mut arns: Vec<String> = library
            .aws(Some(&role))
            .roles
            .iter()
            .map(|role| role.arn.to_string())
            .collect();
        arns.sort();
        arns
    };
    assert_eq!(arns(&back), arns(&library));
    assert!(back.has_service_account_policy(GSA));
    assert_eq!(back.clusters().len(), library.clusters().len());
    // Names that a key cannot have come back.
    assert!(back.files().any(|(file, _)| file == format!("{GSA}.json")));
}

#[test]
fn a_pointer_leads_to_its_line() {
    let text = "{\n  \"a\": [1, {\"b/c\": \"ä\", \"d\": \"x\\\"}\"}],\n  \"e\": null\n}";
    for (pointer, expected) in [
        ("", (1, 1)),
        ("/a", (2, 8)),
        ("/a/0", (2, 9)),
        ("/a/1", (2, 12)),
        ("/a/1/b~1c", (2, 20)),
        ("/a/1/d", (2, 30)),
        ("/e", (3, 8)),
        // What is not there: the object that lacks it.
        ("/a/1/x", (2, 12)),
        ("/a/7", (2, 8)),
        ("/nothing/here", (1, 1)),
    ] {
        let (line, column) = expected;
        assert_eq!(
            locate(text.as_bytes(), pointer),
            Some(Position { line, column }),
            "{pointer}"
        );
    }
    for broken in ["", "{", "{\"a\"", "[1", "}", "{\"a\": }", "\"", "{\"a\\"] {
        let _ = locate(broken.as_bytes(), "/a/0");
    }
}

fn shapes() -> Vec<(&'static str, Value, Shape)> {
    vec![
        ("role.json", role(ROLE), Shape::AwsRole),
        ("bare-role.json", role(ROLE)["Role"].clone(), Shape::AwsRole),
        (
            "roles.json",
            json!({"Roles": [role(ROLE)["Role"]]}),
            Shape::AwsRoleList,
        ),
        ("policy.json", trust_policy(), Shape::AwsTrustPolicy),
        (
            "encoded.json",
            json!("%7B%22Statement%22%3A%5B%5D%7D"),
            Shape::AwsTrustPolicy,
        ),
        ("provider.json", oidc_provider(), Shape::AwsOidcProvider),
        (
            "providers.json",
            json!({"OpenIDConnectProviderList": [{"Arn": "arn:aws:iam::111122223333:oidc-provider/x"}]}),
            Shape::AwsOidcProviderList,
        ),
        (
            "association.json",
            json!({"association": association()}),
            Shape::AwsPodIdentityAssociation,
        ),
        (
            "associations.json",
            json!({"associations": [association()]}),
            Shape::AwsPodIdentityAssociationList,
        ),
        (
            "eks.json",
            json!({"cluster": {"name": "prod", "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/prod",
                "identity": {"oidc": {"issuer": "https://oidc.example.com/id/1"}}}}),
            Shape::EksCluster,
        ),
        (
            "pool.json",
            json!({"name": "projects/123/locations/global/workloadIdentityPools/p", "state": "ACTIVE"}),
            Shape::GooglePool,
        ),
        (
            "pool-provider.json",
            json!({"name": "projects/123/locations/global/workloadIdentityPools/p/providers/k",
                "attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": "https://oidc.example.com/id/1"}}),
            Shape::GoogleProvider,
        ),
        (
            "service-account.json",
            json!({"email": GSA, "name": format!("projects/shop-prod/serviceAccounts/{GSA}"), "uniqueId": "1"}),
            Shape::GoogleServiceAccount,
        ),
        ("iam-policy.json", allow_policy(), Shape::GoogleIamPolicy),
        (
            "iam-policy-empty.json",
            json!({"etag": "ACAB"}),
            Shape::GoogleIamPolicy,
        ),
        (
            "services.json",
            json!([{"config": {"name": "sts.googleapis.com"}, "parent": "projects/123", "state": "ENABLED"}]),
            Shape::GoogleServices,
        ),
        (
            "gke.json",
            json!({"name": "prod", "location": "europe-west1", "selfLink":
                "https://container.googleapis.com/v1/projects/shop-prod/locations/europe-west1/clusters/prod",
                "masterAuth": {"clientKey": "c2VjcmV0", "clusterCaCertificate": "x"},
                "workloadIdentityConfig": {"workloadPool": "shop-prod.svc.id.goog"},
                "nodePools": [{"name": "a", "config": {"workloadMetadataConfig": {"mode": "GKE_METADATA"}}}]}),
            Shape::GkeCluster,
        ),
        (
            "aks.json",
            json!({"name": "prod", "type": "Microsoft.ContainerService/ManagedClusters", "agentPoolProfiles": [],
                "oidcIssuerProfile": {"enabled": true, "issuerUrl": "https://oidc.example.com/id/1/"},
                "securityProfile": {"workloadIdentity": {"enabled": true}},
                "servicePrincipalProfile": {"clientId": "msi", "secret": null}}),
            Shape::AksCluster,
        ),
        ("credentials.json", credentials(), Shape::EntraCredentials),
        (
            "graph.json",
            json!({"value": credentials()}),
            Shape::EntraCredentials,
        ),
        (
            "identity-credentials.json",
            identity_credentials(),
            Shape::EntraIdentityCredentials,
        ),
        (
            "app.json",
            json!({"appId": OTHER_CLIENT, "displayName": "checkout", "id": "o", "passwordCredentials": []}),
            Shape::EntraApplication,
        ),
        (
            "identity.json",
            managed_identity(),
            Shape::EntraManagedIdentity,
        ),
        (
            "sp.json",
            json!({"appId": OTHER_CLIENT, "accountEnabled": true, "servicePrincipalType": "Application"}),
            Shape::EntraServicePrincipal,
        ),
        (
            "tenant.json",
            json!([{"tenantId": CLIENT, "tenantCategory": "Home", "defaultDomain": "example.com"}]),
            Shape::EntraTenant,
        ),
        (
            "state.json",
            json!({"format_version": "1.0", "terraform_version": "1.9.0", "values": {"root_module": {}}}),
            Shape::Terraform,
        ),
        (
            "resource.json",
            json!({"type": "aws_iam_role", "values": {"arn": ROLE, "assume_role_policy": trust_policy().to_string()}}),
            Shape::Terraform,
        ),
        (
            "discovery.json",
            json!({"issuer": "https://oidc.example.com/id/1", "jwks_uri": "https://oidc.example.com/id/1/keys"}),
            Shape::Discovery,
        ),
        ("jwks.json", json!({"keys": []}), Shape::Jwks),
        (
            "jwks-published.json",
            json!({"keys": []}),
            Shape::PublishedJwks,
        ),
        (
            "pod.claims.json",
            json!({"sub": "system:serviceaccount:shop:checkout"}),
            Shape::Claims,
        ),
    ]
}

fn role(arn: &str) -> Value {
    json!({"Role": {"Arn": arn, "RoleName": arn.rsplit('/').next(), "AssumeRolePolicyDocument": trust_policy()}})
}

fn trust_policy() -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/id/1"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"oidc.example.com/id/1:sub": "system:serviceaccount:shop:checkout"}},
    }]})
}

fn oidc_provider() -> Value {
    json!({"Url": "oidc.example.com/id/1", "ClientIDList": ["sts.amazonaws.com"], "ThumbprintList": []})
}

fn association() -> Value {
    json!({"clusterName": "prod", "namespace": "shop", "serviceAccount": "checkout", "roleArn": ROLE})
}

fn allow_policy() -> Value {
    json!({"bindings": [{"role": "roles/iam.workloadIdentityUser", "members": ["allUsers"]}], "etag": "BwY=", "version": 1})
}

fn credentials() -> Value {
    json!([{"id": "o", "name": "k", "issuer": "https://oidc.example.com/id/1",
        "subject": "system:serviceaccount:shop:checkout", "audiences": ["api://AzureADTokenExchange"]}])
}

fn identity_credentials() -> Value {
    json!([{"id": format!("{IDENTITY}/federatedIdentityCredentials/k"), "name": "k", "issuer": "https://oidc.example.com/id/1",
        "subject": "system:serviceaccount:shop:checkout", "audiences": ["api://AzureADTokenExchange"],
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"}])
}

fn managed_identity() -> Value {
    json!({"id": IDENTITY.replace("resourcegroups", "resourceGroups"), "clientId": CLIENT, "principalId": OTHER_CLIENT,
        "name": "checkout", "type": "Microsoft.ManagedIdentity/userAssignedIdentities"})
}

#[test]
fn the_published_discovery_document_is_told_from_the_clusters_by_its_file() {
    let mut library = Library::default();
    let document =
        |issuer: &str| json!({"issuer": issuer, "jwks_uri": "https://oidc.example.com/keys"});
    library
        .add("discovery.json", &document("https://oidc.example.com/a"))
        .unwrap();
    library
        .add(
            "published-discovery.json",
            &document("https://oidc.example.com/b"),
        )
        .unwrap();
    let issuer = |discovery: Option<&cwii_token::Discovery>| discovery.map(|d| d.issuer.clone());
    assert_eq!(
        issuer(library.discovery()).as_deref(),
        Some("https://oidc.example.com/a")
    );
    assert_eq!(
        issuer(library.published_discovery()).as_deref(),
        Some("https://oidc.example.com/b")
    );
}
