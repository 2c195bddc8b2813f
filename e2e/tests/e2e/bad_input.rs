//! Values that are not as they should be, through the real API server: a warning, or a message that names object, key,
//! value and what is allowed; never a wrong injection.

use cwii_e2e::{FailurePolicy, Webhook, control_plane};
use serde_json::Value;

use crate::support::{annotated, annotations, injected, pod, role};

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_not_as_it_should_be_warns_or_denies_and_never_injects_wrongly() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let webhook = Webhook::new(plane, "bad-input", &plane.url).await.unwrap();
    let _replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    plane
        .namespace(&api, "bad-input", webhook.label(), Value::Null)
        .await
        .unwrap();
    let arn = role("web");
    let aws = |key: &'static str, value: &'static str| {
        vec![("aws-role-arn", arn.clone()), (key, value.to_owned())]
    };
    let az = |client: &str| {
        vec![
            ("az-inject", "true".to_owned()),
            ("az-client-id", client.to_owned()),
            ("az-tenant-id", TENANT.to_owned()),
        ]
    };
    let gcp = |key: &'static str, value: &'static str| {
        vec![
            ("gcp-inject", "true".to_owned()),
            ("gcp-audience", POOL_PROVIDER.to_owned()),
            (key, value.to_owned()),
        ]
    };
    for (n, (asked, expected)) in [
        (aws("aws-inject", "yes"), Injects("aws", 3600, "`yes`")),
        (
            aws("aws-token-expiration", "abc"),
            Injects("aws", 3600, "`abc`"),
        ),
        (
            aws("aws-token-expiration", "60"),
            Injects("aws", 600, "600"),
        ),
        (
            aws("aws-token-expiration", "99999999999"),
            Injects("aws", 86400, "86400"),
        ),
        (
            aws("aws-rolearn", "x"),
            Injects("aws", 3600, "`cwii.dev/aws-role-arn`"),
        ),
        (
            vec![("az-inject", "true".to_owned())],
            Warns("cwii.dev/az-client-id"),
        ),
        (
            vec![("aws-role-arn", "arn:aws:iam::web".to_owned())],
            Denies(&["aws-role-arn", "arn:aws:iam::web"]),
        ),
        (
            az("not-a-uuid"),
            Denies(&["az-client-id", "not-a-uuid", "UUID"]),
        ),
        (
            gcp("gcp-delivery", "sidecar"),
            Denies(&["gcp-delivery", "sidecar", "init-container", "config-map"]),
        ),
        (
            gcp("gcp-service-account", "reader"),
            Denies(&["gcp-service-account", "reader"]),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let asked = annotations(asked.iter().map(|(k, v)| (*k, v.as_str())));
        let manifest = annotated(pod("bad-input", &format!("pod-{n}")), asked.clone());
        let answer = api.create_and_listen(&manifest, "").await;
        match (expected, answer) {
            (Injects(provider, seconds, warning), Ok((pod, warnings))) => {
                assert_eq!(injected(&pod), Some(provider), "{asked}");
                assert_eq!(lifetime(&pod), Some(seconds), "{asked}");
                assert!(warnings.concat().contains(warning), "{asked}: {warnings:?}");
            }
            (Warns(warning), Ok((pod, warnings))) => {
                assert_eq!(injected(&pod), None, "{asked}");
                assert!(warnings.concat().contains(warning), "{asked}: {warnings:?}");
            }
            (Denies(names), Err(error)) => {
                assert_eq!((error.status, error.reason.as_str()), (400, "BadRequest"));
                let object = format!("Pod bad-input/pod-{n}");
                for name in names.iter().copied().chain([object.as_str()]) {
                    assert!(error.message.contains(name), "`{name}` in {error}");
                }
            }
            (expected, answer) => panic!("{asked}: expected {expected:?}, found {answer:?}"),
        }
    }
}

/// What comes of a pod.
#[derive(Debug)]
enum Outcome {
    /// A provider, the lifetime of its token, and what a warning says.
    Injects(&'static str, u64, &'static str),
    /// Nothing, and what a warning says.
    Warns(&'static str),
    /// It is not admitted; what the message names beside the pod.
    Denies(&'static [&'static str]),
}
use Outcome::{Denies, Injects, Warns};

fn lifetime(pod: &Value) -> Option<u64> {
    let volumes = pod["spec"]["volumes"].as_array()?;
    volumes
        .iter()
        .find(|v| v["name"].as_str().is_some_and(|n| n.starts_with("cwii-")))?
        .pointer("/projected/sources/0/serviceAccountToken/expirationSeconds")?
        .as_u64()
}

const TENANT: &str = "22222222-2222-2222-2222-222222222222";
const POOL_PROVIDER: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p";
