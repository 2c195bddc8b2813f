//! An init container asks the cloud before the mesh's proxy runs.
//!
//! ## What it checks
//!
//! For a pod of an Istio mesh whose traffic is redirected by the CNI plugin (init container `istio-validation`) and whose proxy
//! is an ordinary container: cwii's verify containers, and other init containers with an identity that failed, unless they run
//! as the proxy's user or the pod excludes the port or the addresses from redirection.
//!
//! ## Why it matters
//!
//! With the CNI plugin all traffic of the pod goes to the proxy from the first moment, and the proxy starts after the init
//! containers. They cannot reach anything.
//!
//! ## How it looks
//!
//! ```text
//! connect: connection refused
//! ```
//!
//! ## How to fix it
//!
//! Let Istio run its proxy as a native sidecar (`ENABLE_NATIVE_SIDECARS=true`, the default from Istio 1.27 on), or exclude port
//! 443 with `traffic.sidecar.istio.io/excludeOutboundPorts`.
//!
//! ## How to verify the fix
//!
//! The init containers of a new pod end with 0.
//!
//! ## References
//!
//! - Istio, "Install the Istio CNI node agent", section "Compatibility with application init containers":
//!   <https://istio.io/latest/docs/setup/additional-setup/cni/#compatibility-with-application-init-containers>
//! - Istio, "Resource Annotations": <https://istio.io/latest/docs/reference/config/annotations/>

use cwii_contract::{Provider, names};
use serde_json::Value;

use super::variables;
use crate::{
    doctor::{Case, Container, Gap, MECHANISMS, Object, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, restarted},
};

pub(super) const RULE: Rule = Rule::new("POD16", MECHANISMS, check);

/// Istio's proxy runs as this user, whose traffic is not redirected.
const PROXY_USER: i64 = 1337;

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let redirected = pod
        .containers()
        .any(|container| container.is_init() && container.name() == "istio-validation");
    let proxy_is_late = pod
        .containers()
        .any(|container| container.list == "containers" && container.name() == "istio-proxy");
    if !redirected || !proxy_is_late {
        return Ok(Outcome::not_applicable("no mesh redirects the init containers' traffic"));
    }
    if excludes_https(pod) {
        return Ok(Outcome::Pass);
    }
    let mut findings = Vec::new();
    for mechanism in case.mechanisms() {
        for container in pod.containers().filter(Container::is_init) {
            let verifies = container.name() == names::verify_container(mechanism.provider);
            let has_identity = variables(mechanism)
                .first()
                .is_some_and(|variable| container.has_variable(variable));
            let of_others = Provider::ALL
                .iter()
                .any(|provider| container.name() == names::verify_container(*provider));
            let asks = verifies || (has_identity && !of_others && failed(pod, container.name()));
            if !asks || is_proxy_user(pod, &container) {
                continue;
            }
            let key = "traffic.sidecar.istio.io/excludeOutboundPorts";
            let mut finding = Finding::new(
                "POD16",
                format!(
                    "init container `{}` asks {} before `istio-proxy` runs, which all of the pod's traffic goes to",
                    container.name(),
                    mechanism.provider.display_name()
                ),
            )
            .of(mechanism.provider)
            .at(pod.subject_at(&container.pointer(), format!("init container `{}`", container.name())))
            .fix("run the proxy as a native sidecar, or exclude port 443 from redirection");
            if let Some(place) = Place::of_pod(case) {
                finding = finding
                    .command(place.annotate(&[(key, "443")], &[]))
                    .applicable(Applicability::Unsafe);
                if place.template.is_none() {
                    finding = restarted(finding, case);
                }
            }
            findings.push(finding);
        }
    }
    Ok(Outcome::of(findings))
}

fn excludes_https(pod: &Object) -> bool {
    let has = |key: &str, wanted: &[&str]| {
        pod.annotation(key)
            .is_some_and(|value| value.split(',').any(|entry| wanted.contains(&entry.trim())))
    };
    has("traffic.sidecar.istio.io/excludeOutboundPorts", &["443", "*"])
        || has("traffic.sidecar.istio.io/excludeOutboundIPRanges", &["0.0.0.0/0", "*"])
        || pod.annotation("traffic.sidecar.istio.io/includeOutboundPorts") == Some("")
        || pod.annotation("traffic.sidecar.istio.io/includeOutboundIPRanges") == Some("")
}

fn is_proxy_user(pod: &Object, container: &Container<'_>) -> bool {
    container
        .value
        .pointer("/securityContext/runAsUser")
        .or_else(|| pod.get("/spec/securityContext/runAsUser"))
        .and_then(Value::as_i64)
        == Some(PROXY_USER)
}

fn failed(pod: &Object, name: &str) -> bool {
    pod.list("/status/initContainerStatuses")
        .find(|status| status.get("name").and_then(Value::as_str) == Some(name))
        .is_some_and(|status| {
            ["/state/terminated/exitCode", "/lastState/terminated/exitCode"]
                .iter()
                .any(|pointer| status.pointer(pointer).and_then(Value::as_i64).is_some_and(|exit| exit != 0))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn meshed(fixture: Fixture) -> Fixture {
        fixture.pod(|pod| {
            let spec = &mut pod["spec"];
            if spec["initContainers"].is_null() {
                spec["initContainers"] = json!([]);
            }
            spec["initContainers"].as_array_mut().unwrap().insert(0, json!({"name": "istio-validation", "image": "x"}));
            spec["containers"].as_array_mut().unwrap().push(json!({"name": "istio-proxy", "image": "x"}));
        })
    }

    // istio#11130, #43324
    #[test]
    fn a_verification_before_the_proxy_is_found() {
        assert_eq!(
            meshed(Fixture::cwii_aws()).messages("POD16"),
            ["init container `cwii-aws-verify` asks AWS before `istio-proxy` runs, which all of the pod's traffic goes to"]
        );
    }

    #[test]
    fn an_excluded_port_or_the_proxys_user_passes() {
        let excluded = meshed(Fixture::cwii_aws()).pod(|pod| {
            pod["metadata"]["annotations"]["traffic.sidecar.istio.io/excludeOutboundPorts"] = json!("443");
        });
        assert_eq!(excluded.decide("POD16"), Ok(Outcome::Pass));
        let user = meshed(Fixture::cwii_aws()).pod(|pod| {
            for container in pod["spec"]["initContainers"].as_array_mut().unwrap() {
                container["securityContext"]["runAsUser"] = json!(1337);
            }
        });
        assert_eq!(user.decide("POD16"), Ok(Outcome::Pass));
    }

    #[test]
    fn an_init_container_that_has_an_identity_is_judged_by_its_end() {
        let with = |exit: i64| {
            meshed(Fixture::irsa()).pod(|pod| {
                let migrate: Value = json!({"name": "migrate", "image": "x",
                    "env": [{"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}]});
                pod["spec"]["initContainers"].as_array_mut().unwrap().push(migrate);
                pod["status"]["initContainerStatuses"] =
                    json!([{"name": "migrate", "state": {"terminated": {"exitCode": exit}}}]);
            })
        };
        assert_eq!(with(0).decide("POD16"), Ok(Outcome::Pass));
        assert_eq!(with(1).messages("POD16").len(), 1);
    }

    #[test]
    fn a_native_sidecar_and_a_pod_without_a_mesh_do_not_concern_it() {
        assert!(matches!(Fixture::cwii_aws().decide("POD16"), Ok(Outcome::NotApplicable(_))));
    }
}
