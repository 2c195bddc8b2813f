//! The examples of the guides that the project began with, field for field.

use cwii_contract::Provider;
use serde_json::{Value, json};

use crate::support::{Scopes, admit, settings};

/// The AWS guide's pod.
fn aws_demo() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "aws-demo",
            "namespace": "default",
            "annotations": {
                "cwii.dev/aws-role-arn": "arn:aws:iam::123456789012:role/cwii-my-app",
                "cwii.dev/aws-region": "us-east-1",
                "cwii.dev/aws-role-session-name": "aws-demo",
            },
        },
        "spec": {
            "serviceAccountName": "my-app",
            "containers": [{ "name": "app", "image": "amazon/aws-cli:latest", "command": ["sleep", "infinity"] }],
        },
    })
}

/// The Azure guide's pod.
fn reports() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "reports",
            "namespace": "apps",
            "annotations": {
                "cwii.dev/az-inject": "true",
                "cwii.dev/az-client-id": "11111111-1111-1111-1111-111111111111",
                "cwii.dev/az-tenant-id": "22222222-2222-2222-2222-222222222222",
            },
        },
        "spec": {
            "serviceAccountName": "reports",
            "containers": [{ "name": "app", "image": "mcr.microsoft.com/azure-cli:latest", "command": ["sleep", "infinity"] }],
        },
    })
}

fn patched(pod: &Value) -> Value {
    let answer = admit(pod, &Scopes::default(), &settings()).unwrap();
    assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
    answer.pod
}

fn annotated(mut pod: Value, annotations: &[(&str, &str)]) -> Value {
    for (key, value) in annotations {
        pod["metadata"]["annotations"][format!("cwii.dev/{key}")] = (*value).into();
    }
    pod
}

/// Takes the variables that the guides do not list out of the first container; each has its reason.
fn without_our_additions(mut pod: Value, additions: &[(&str, &str, &str)]) -> Value {
    let env = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    for (name, value, _reason) in additions {
        let index = env
            .iter()
            .position(|variable| *variable == json!({ "name": name, "value": value }))
            .unwrap();
        env.remove(index);
    }
    pod
}

#[test]
fn the_pod_of_the_aws_guide_comes_out_as_the_guide_shows_it() {
    let pod = without_our_additions(
        patched(&aws_demo()),
        &[
            (
                "AWS_DEFAULT_REGION",
                "us-east-1",
                "boto3 reads only this one",
            ),
            (
                "AWS_STS_REGIONAL_ENDPOINTS",
                "regional",
                "older SDKs ask the global endpoint in us-east-1 otherwise",
            ),
        ],
    );
    assert_eq!(
        pod["spec"],
        json!({
            "serviceAccountName": "my-app",
            "volumes": [{
                "name": "cwii-aws-token",
                "projected": { "sources": [{ "serviceAccountToken": {
                    "path": "token", "audience": "sts.amazonaws.com", "expirationSeconds": 3600,
                }}]},
            }],
            "containers": [{
                "name": "app",
                "image": "amazon/aws-cli:latest",
                "command": ["sleep", "infinity"],
                "env": [
                    { "name": "AWS_ROLE_ARN", "value": "arn:aws:iam::123456789012:role/cwii-my-app" },
                    { "name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/var/run/secrets/cwii.dev/aws/token" },
                    { "name": "AWS_REGION", "value": "us-east-1" },
                    { "name": "AWS_ROLE_SESSION_NAME", "value": "aws-demo" },
                ],
                "volumeMounts": [{
                    "name": "cwii-aws-token", "mountPath": "/var/run/secrets/cwii.dev/aws", "readOnly": true,
                }],
            }],
        })
    );
    assert_eq!(pod["metadata"]["annotations"]["cwii.dev/injected"], "aws");
}

/// The effective pod of the Azure guide.
fn reports_as_shown() -> Value {
    json!({
        "serviceAccountName": "reports",
        "volumes": [{
            "name": "cwii-az-token",
            "projected": { "sources": [{ "serviceAccountToken": {
                "path": "token", "audience": "api://AzureADTokenExchange", "expirationSeconds": 3600,
            }}]},
        }],
        "containers": [{
            "name": "app",
            "image": "mcr.microsoft.com/azure-cli:latest",
            "command": ["sleep", "infinity"],
            "env": [
                { "name": "AZURE_CLIENT_ID", "value": "11111111-1111-1111-1111-111111111111" },
                { "name": "AZURE_TENANT_ID", "value": "22222222-2222-2222-2222-222222222222" },
                { "name": "AZURE_FEDERATED_TOKEN_FILE", "value": "/var/run/secrets/cwii.dev/az/token" },
            ],
            "volumeMounts": [{
                "name": "cwii-az-token", "mountPath": "/var/run/secrets/cwii.dev/az", "readOnly": true,
            }],
        }],
    })
}

#[test]
fn the_pod_of_the_azure_guide_comes_out_as_the_guide_shows_it() {
    let pod = patched(&reports());
    // Nothing is added to what the guide shows.
    assert_eq!(pod["spec"], reports_as_shown());
    assert_eq!(pod["metadata"]["annotations"]["cwii.dev/injected"], "az");
}

#[test]
fn reports_with_its_annotations_on_the_service_account_comes_out_the_same() {
    let mut pod = reports();
    let annotations = pod["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations")
        .unwrap();
    let answer = admit(&pod, &Scopes::service_account(&annotations), &settings()).unwrap();
    assert_eq!(answer.pod["spec"], reports_as_shown());
    assert_eq!(
        answer.pod["metadata"]["annotations"],
        json!({ "cwii.dev/injected": "az", "cwii.dev/webhook-version": "0.1.0" })
    );
    let from: Vec<_> = answer
        .plan
        .settings()
        .map(|setting| format!("{} from {}", setting.key, setting.from))
        .collect();
    assert_eq!(
        from,
        [
            "cwii.dev/az-inject from `cwii.dev/az-inject` of ServiceAccount apps/reports",
            "cwii.dev/az-audience from the default",
            "cwii.dev/az-token-expiration from the default",
            "cwii.dev/az-client-id from `cwii.dev/az-client-id` of ServiceAccount apps/reports",
            "cwii.dev/az-tenant-id from `cwii.dev/az-tenant-id` of ServiceAccount apps/reports",
        ]
    );
}

#[test]
fn the_authority_of_the_azure_guide_is_set_only_if_annotated() {
    let pod = patched(&annotated(
        reports(),
        &[("az-authority-host", "https://login.microsoftonline.us/")],
    ));
    assert_eq!(
        pod["spec"]["containers"][0]["env"][3],
        json!({ "name": "AZURE_AUTHORITY_HOST", "value": "https://login.microsoftonline.us/" })
    );
}

#[test]
fn without_the_role_there_is_no_aws_injection_even_if_it_is_asked_for() {
    let mut pod = annotated(aws_demo(), &[("aws-inject", "true")]);
    pod["metadata"]["annotations"]
        .as_object_mut()
        .unwrap()
        .remove("cwii.dev/aws-role-arn");
    let answer = admit(&pod, &Scopes::default(), &settings()).unwrap();
    assert_eq!(answer.patch, b"[]");
    assert_eq!(
        answer.warnings,
        [
            "AWS is not injected, though `cwii.dev/aws-inject` of Pod apps/aws-demo asks for it: `cwii.dev/aws-role-arn` is not set"
        ]
    );
}

/// The pod of the verification guide, with all three clouds.
fn verified(annotations: &[(&str, &str)]) -> Value {
    let pod = json!({
        "metadata": { "name": "data-loader", "annotations": {
            "cwii.dev/gcp-inject": "true",
            "cwii.dev/gcp-service-account": "data-loader@my-project.iam.gserviceaccount.com",
            "cwii.dev/gcp-audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "cwii.dev/aws-inject": "true",
            "cwii.dev/aws-role-arn": "arn:aws:iam::123456789012:role/billing-exporter",
            "cwii.dev/aws-region": "us-east-1",
            "cwii.dev/az-inject": "true",
            "cwii.dev/az-client-id": "11111111-1111-1111-1111-111111111111",
            "cwii.dev/az-tenant-id": "22222222-2222-2222-2222-222222222222",
        }},
        "spec": {
            "serviceAccountName": "data-loader",
            "initContainers": [{ "name": "own", "image": "x" }],
            "containers": [{ "name": "app", "image": "ghcr.io/example/data-loader:1.0.0" }],
        },
    });
    patched(&annotated(pod, annotations))
}

const VERIFY_ALL: [(&str, &str); 3] = [
    ("aws-verify", "true"),
    ("az-verify", "true"),
    ("gcp-verify", "true"),
];

fn init_containers(pod: &Value) -> &Vec<Value> {
    pod["spec"]["initContainers"].as_array().unwrap()
}

#[test]
fn verify_containers_have_the_names_and_the_order_of_the_table() {
    let pod = verified(&VERIFY_ALL);
    let names: Vec<_> = init_containers(&pod)
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            // Order 0.
            "cwii-gcp-creds-writer",
            // Order 10.
            "cwii-aws-verify",
            "cwii-az-verify",
            "cwii-gcp-verify",
            // Ours: the pod's own may need the credentials.
            "own",
        ]
    );
}

#[test]
fn verification_is_off_until_it_is_asked_for() {
    let names: Vec<_> = init_containers(&verified(&[]))
        .iter()
        .map(|container| container["name"].clone())
        .collect();
    assert_eq!(names, ["cwii-gcp-creds-writer", "own"]);
}

#[test]
fn a_check_enforces_only_where_its_own_annotation_says_so() {
    let mut annotations = VERIFY_ALL.to_vec();
    annotations.push(("az-verify-enforce", "true"));
    let pod = verified(&annotations);
    let args: Vec<_> = init_containers(&pod)
        .iter()
        .filter(|container| container["name"].as_str().unwrap().ends_with("-verify"))
        .map(|container| container["args"].clone())
        .collect();
    assert_eq!(
        args,
        [
            json!(["verify", "aws"]),
            json!(["verify", "az", "--enforce"]),
            json!(["verify", "gcp"])
        ]
    );
}

#[test]
fn enforcement_without_verification_adds_no_container() {
    let pod = annotated(aws_demo(), &[("aws-verify-enforce", "true")]);
    let answer = admit(&pod, &Scopes::default(), &settings()).unwrap();
    assert_eq!(answer.pod["spec"].get("initContainers"), None);
    assert_eq!(
        answer.warnings,
        [
            "`cwii.dev/aws-verify-enforce` of Pod apps/aws-demo has no effect: `cwii.dev/aws-verify` is not `true`"
        ]
    );
}

#[test]
fn a_verify_container_has_its_providers_variables_and_its_token_read_only() {
    let pod = verified(&VERIFY_ALL);
    let own = pod["spec"]["initContainers"]
        .as_array()
        .unwrap()
        .last()
        .unwrap();
    for provider in Provider::ALL {
        let name = format!("cwii-{provider}-verify");
        let container = init_containers(&pod)
            .iter()
            .find(|container| container["name"] == name.as_str())
            .unwrap();
        let token = json!({
            "name": format!("cwii-{provider}-token"),
            "mountPath": format!("/var/run/secrets/cwii.dev/{provider}"),
            "readOnly": true,
        });
        assert_eq!(container["volumeMounts"][0], token);
        for variable in container["env"].as_array().unwrap() {
            assert!(
                own["env"].as_array().unwrap().contains(variable),
                "{variable}"
            );
        }
        for mount in container["volumeMounts"].as_array().unwrap() {
            assert!(
                own["volumeMounts"].as_array().unwrap().contains(mount),
                "{mount}"
            );
        }
    }
}

/// The commands of the table, for those who pin the image of a cloud's SDK.
#[test]
fn pinned_sdk_images_run_the_commands_of_the_table() {
    for (provider, image, check) in [
        (
            "gcp",
            "google/cloud-sdk:slim",
            "gcloud auth application-default print-access-token >/dev/null",
        ),
        (
            "aws",
            "amazon/aws-cli:latest",
            "aws sts get-caller-identity",
        ),
        (
            "az",
            "mcr.microsoft.com/azure-cli:latest",
            "az login --service-principal --username \"$AZURE_CLIENT_ID\" --tenant \"$AZURE_TENANT_ID\" \
             --federated-token \"$(cat \"$AZURE_FEDERATED_TOKEN_FILE\")\" --allow-no-subscriptions --output none \
             && az account show",
        ),
    ] {
        for enforce in ["false", "true"] {
            let pod = verified(&[
                (&format!("{provider}-verify"), "true"),
                (&format!("{provider}-verify-image"), image),
                (&format!("{provider}-verify-enforce"), enforce),
            ]);
            let name = format!("cwii-{provider}-verify");
            let container = init_containers(&pod)
                .iter()
                .find(|container| container["name"] == name.as_str())
                .unwrap();
            assert_eq!(container["image"], image);
            let script = if enforce == "true" {
                check.to_owned()
            } else {
                format!("{check} || echo \"cwii: verification check failed (non-enforcing)\" >&2")
            };
            assert_eq!(container["command"], json!(["/bin/sh", "-c", script]));
            assert_eq!(container.get("args"), None);
        }
    }
}

#[test]
fn the_credentials_document_of_google_is_the_one_of_the_contract() {
    let pod = verified(&[]);
    let variable = &init_containers(&pod)[0]["env"][0];
    assert_eq!(variable["name"], "CWII_GCP_CREDS_JSON");
    let document: Value = serde_json::from_str(variable["value"].as_str().unwrap()).unwrap();
    assert_eq!(
        document,
        json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "token_info_url": "https://sts.googleapis.com/v1/introspect",
            "credential_source": { "file": "/var/run/secrets/cwii.dev/gcp/token" },
            "service_account_impersonation_url":
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/data-loader@my-project.iam.gserviceaccount.com:generateAccessToken",
        })
    );
}

#[test]
fn several_clouds_are_listed_sorted() {
    assert_eq!(
        verified(&[])["metadata"]["annotations"]["cwii.dev/injected"],
        "aws,az,gcp"
    );
}

#[test]
fn a_specific_false_suppresses_a_broader_true_of_that_provider_alone() {
    let namespace = json!({
        "cwii.dev/aws-role-arn": "arn:aws:iam::123456789012:role/x",
        "cwii.dev/az-inject": "true",
        "cwii.dev/az-client-id": "11111111-1111-1111-1111-111111111111",
        "cwii.dev/az-tenant-id": "22222222-2222-2222-2222-222222222222",
    });
    let pod = json!({
        "metadata": { "name": "x", "annotations": { "cwii.dev/az-inject": "false" } },
        "spec": { "containers": [{ "name": "app" }] },
    });
    let scopes = Scopes {
        namespace: namespace.as_object().unwrap().clone(),
        ..Scopes::default()
    };
    let answer = admit(&pod, &scopes, &settings()).unwrap();
    assert_eq!(
        answer.pod["metadata"]["annotations"]["cwii.dev/injected"],
        "aws"
    );
    assert!(answer.warnings.is_empty());
}
