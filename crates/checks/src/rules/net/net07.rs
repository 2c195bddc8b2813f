//! The service mesh knows no way from the pod to the cloud.
//!
//! ## What it checks
//!
//! For a pod with an Istio proxy, among the manifests of `-f`: whether a `Sidecar` that applies to it sets
//! `outboundTrafficPolicy.mode: REGISTRY_ONLY` while no `ServiceEntry` names the hosts of the exchange. The mesh-wide setting
//! stands in Istio's own configuration and is not looked at.
//!
//! ## Why it matters
//!
//! With `REGISTRY_ONLY` the proxy sends what it does not know to `BlackHoleCluster`: the connection is closed, or answered
//! with 502, and the SDK reports an error of the cloud.
//!
//! ## How it looks
//!
//! ```text
//! Connection was closed before we received a valid response from endpoint URL: "https://sts.eu-central-1.amazonaws.com/"
//! ```
//!
//! ## How to fix it
//!
//! Add a `ServiceEntry` for the hosts, or set `ALLOW_ANY` for the workload.
//!
//! ## How to verify the fix
//!
//! The proxy's access log shows the host with `PassthroughCluster` or the entry's own cluster.
//!
//! ## References
//!
//! - Istio, "Accessing External Services": <https://istio.io/latest/docs/tasks/traffic-management/egress/egress-control/>
//! - Istio, "Sidecar": <https://istio.io/latest/docs/reference/config/networking/sidecar/>

use cwii_contract::Provider;
use serde_json::Value;

use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "NET07",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Others,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let providers: Vec<Provider> = case
        .mechanisms()
        .iter()
        .filter(|mechanism| mechanism.kind.presents_token())
        .map(|mechanism| mechanism.provider)
        .collect();
    let is_meshed = pod.containers().any(|container| container.name() == "istio-proxy");
    if providers.is_empty() || !is_meshed {
        return Ok(Outcome::not_applicable("the pod asks no cloud through a mesh"));
    }
    let others = case.others()?.map(Vec::as_slice).unwrap_or_default();
    let of = |kind: &'static str| {
        others
            .iter()
            .filter(move |object| object.kind() == kind && object.api_version().starts_with("networking.istio.io/"))
    };
    let closed = of("Sidecar").find(|sidecar| {
        sidecar.text("/spec/outboundTrafficPolicy/mode") == Some("REGISTRY_ONLY")
            && sidecar
                .get("/spec/workloadSelector/labels")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .all(|(key, value)| pod.label(key) == value.as_str())
    });
    let Some(closed) = closed else {
        return Ok(Outcome::Pass);
    };
    let known: Vec<&str> = of("ServiceEntry")
        .flat_map(|entry| entry.list("/spec/hosts"))
        .filter_map(Value::as_str)
        .collect();
    let findings = providers
        .into_iter()
        .filter(|provider| !known.iter().any(|host| serves(host, *provider)))
        .map(|provider| finding(closed, provider))
        .collect();
    Ok(Outcome::of(findings))
}

fn finding(closed: &Object, provider: Provider) -> Finding {
    Finding::new(
        "NET07",
        format!(
            "Sidecar `{}` lets the pod reach registered hosts only, and no ServiceEntry names those of {}",
            closed.name(),
            provider.display_name()
        ),
    )
    .of(provider)
    .at(closed.subject_at("/spec/outboundTrafficPolicy/mode", "`outboundTrafficPolicy`"))
    .evidence("hosts", hosts(provider).join(", "))
    .fix("add a ServiceEntry for the hosts (`location: MESH_EXTERNAL`, `resolution: DNS`, port 443 TLS)")
}

fn hosts(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::Aws => &["sts.amazonaws.com", "sts.REGION.amazonaws.com"],
        Provider::Gcp => &["sts.googleapis.com", "iamcredentials.googleapis.com"],
        Provider::Az => &["login.microsoftonline.com"],
    }
}

fn serves(host: &str, provider: Provider) -> bool {
    let suffix = match provider {
        Provider::Aws => "amazonaws.com",
        Provider::Gcp => "googleapis.com",
        Provider::Az => "microsoftonline.",
    };
    host.contains(suffix)
        && match provider {
            Provider::Aws => host.starts_with("sts.") || host.starts_with('*'),
            Provider::Gcp => host.starts_with("sts.") || host.starts_with('*'),
            Provider::Az => true,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn istio(kind: &str, spec: Value) -> Object {
        Object::new(json!({"apiVersion": "networking.istio.io/v1", "kind": kind,
            "metadata": {"name": "default", "namespace": "shop"}, "spec": spec}))
    }

    fn meshed(others: Vec<Object>) -> Fixture {
        Fixture::irsa()
            .pod(|pod| {
                pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "istio-proxy", "image": "x"}));
            })
            .with(|facts| facts.others = Fact::Known(others))
    }

    #[test]
    fn a_mesh_that_lets_everything_out_passes() {
        assert_eq!(meshed(Vec::new()).decide("NET07"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_registry_without_the_cloud_is_found_and_with_it_not() {
        let sidecar = istio("Sidecar", json!({"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}));
        assert_eq!(
            meshed(vec![sidecar.clone()]).messages("NET07"),
            ["Sidecar `default` lets the pod reach registered hosts only, and no ServiceEntry names those of AWS"]
        );
        let entry = istio("ServiceEntry", json!({"hosts": ["sts.eu-central-1.amazonaws.com"]}));
        assert_eq!(meshed(vec![sidecar, entry]).decide("NET07"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_pod_without_a_mesh_does_not_concern_it() {
        assert!(matches!(Fixture::irsa().decide("NET07"), Ok(Outcome::NotApplicable(_))));
    }
}
