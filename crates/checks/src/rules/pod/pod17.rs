//! A policy or quota of the namespace refuses a container that a webhook injects.
//!
//! ## What it checks
//!
//! The LimitRanges of the namespace against the requests and limits of the init containers that cwii would inject: least, most
//! and the ratio between them. And the namespace's Pod Security level against Azure's proxy sidecar, whose init container
//! changes the pod's network as root.
//!
//! ## Why it matters
//!
//! Quotas and policies look at the pod as the webhooks leave it. The template is within the bounds, and the pod is refused.
//!
//! ## How it looks
//!
//! ```text
//! pods "checkout-7d9f8b6c5-" is forbidden: minimum cpu usage per Container is 50m, but request is 10m
//! ```
//!
//! ## How to fix it
//!
//! Set the webhook's resources for injected containers within the bounds, or change the LimitRange. For Azure's sidecar use an
//! SDK that federates by itself.
//!
//! ## How to verify the fix
//!
//! New pods appear, and no `FailedCreate` stands on the ReplicaSet.
//!
//! ## References
//!
//! - Kubernetes, "Limit Ranges": <https://kubernetes.io/docs/concepts/policy/limit-range/>
//! - Kubernetes, "Pod Security Standards": <https://kubernetes.io/docs/concepts/security/pod-security-standards/>

use cwii_contract::{
    Provider,
    spec::{Quantity, Resources},
};
use serde_json::Value;

use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule, azure},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "POD17",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Quotas,
    ],
    check,
)
.blocked_by(&["CWII06", "CWII07", "AKS08"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mut findings = Vec::new();
    if let Some(namespace) = case.namespace()? {
        findings.extend(proxy_sidecar(pod, namespace));
    }
    let plan = match case.replay()?.plan {
        Ok(plan) => plan,
        Err(_) => return Ok(Outcome::not_applicable("the webhook would refuse the pod")),
    };
    let injected: Vec<(Provider, &cwii_contract::spec::Container)> = plan
        .providers
        .iter()
        .flat_map(|part| part.init_containers.iter().map(|init| (part.provider, &init.container)))
        .collect();
    if injected.is_empty() {
        return if findings.is_empty() {
            Ok(Outcome::not_applicable("no container is injected"))
        } else {
            Ok(Outcome::Found(findings))
        };
    }
    let quotas = case.quotas()?.map(Vec::as_slice).unwrap_or_default();
    for range in quotas.iter().filter(|object| object.kind() == "LimitRange") {
        for (index, limit) in range.list("/spec/limits").enumerate() {
            if limit.get("type").and_then(Value::as_str) != Some("Container") {
                continue;
            }
            // The containers are alike: the first one that does not fit says it.
            let broken = injected.iter().find_map(|(provider, container)| {
                Some((*provider, container.name, breach(limit, &container.resources)?))
            });
            let Some((provider, name, breach)) = broken else {
                continue;
            };
            findings.push(
                Finding::new(
                    "POD17",
                    format!("LimitRange `{}` refuses init container `{name}`: {}", range.name(), breach.message),
                )
                .of(provider)
                .at(range.subject_at(&format!("/spec/limits/{index}/{}", breach.member), format!("`{}`", breach.member)))
                .answered(format!("pods \"{}\" is forbidden: {}", pod.name(), breach.answer))
                .fix("set the webhook's requests and limits for injected containers within the range, or change the range"),
            );
        }
    }
    Ok(Outcome::of(findings))
}

struct Breach {
    member: String,
    message: String,
    answer: String,
}

fn breach(limit: &Value, resources: &Resources) -> Option<Breach> {
    let bound = |member: &str, resource: &str| -> Option<Quantity> {
        let value = limit.get(member)?.get(resource)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.parse().ok()
    };
    for (resource, request, most) in [
        ("cpu", &resources.requests.cpu, &resources.limits.cpu),
        ("memory", &resources.requests.memory, &resources.limits.memory),
    ] {
        if let Some(least) = bound("min", resource).filter(|least| request.nano() < least.nano()) {
            return Some(Breach {
                member: format!("min/{resource}"),
                message: format!("it asks for {request} of {resource}, and the least is {least}"),
                answer: format!("minimum {resource} usage per Container is {least}, but request is {request}"),
            });
        }
        if let Some(allowed) = bound("max", resource).filter(|allowed| most.nano() > allowed.nano()) {
            return Some(Breach {
                member: format!("max/{resource}"),
                message: format!("its limit of {resource} is {most}, and the most is {allowed}"),
                answer: format!("maximum {resource} usage per Container is {allowed}, but limit is {most}"),
            });
        }
        if let Some(ratio) = bound("maxLimitRequestRatio", resource)
            // limit / request > ratio, without fractions.
            && most.nano().saturating_mul(1_000_000_000) > request.nano().saturating_mul(ratio.nano())
        {
            return Some(Breach {
                member: format!("maxLimitRequestRatio/{resource}"),
                message: format!("its limit of {resource} is {most} for a request of {request}, and the ratio may be {ratio}"),
                answer: format!("{resource} max limit to request ratio per Container is {ratio}"),
            });
        }
    }
    None
}

fn proxy_sidecar(pod: &Object, namespace: &Object) -> Option<Finding> {
    let level = namespace
        .label("pod-security.kubernetes.io/enforce")
        .filter(|level| ["baseline", "restricted"].contains(level))?;
    let key = azure::PROXY_SIDECAR;
    (pod.annotation(key) == Some("true")).then(|| {
        Finding::new(
            "POD17",
            format!("the namespace enforces the Pod Security level `{level}`, which refuses the init container of Azure's proxy sidecar"),
        )
        .of(Provider::Az)
        .at(pod.subject_annotation(key))
        .answered(format!("violates PodSecurity \"{level}:latest\": non-default capabilities (container \"azwi-proxy-init\" must not include \"NET_ADMIN\")"))
        .fix("use an SDK that federates by itself, and remove the annotation")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, edit},
    };

    fn range(limit: Value) -> Fixture {
        let mut limit = limit;
        limit["type"] = json!("Container");
        Fixture::cwii_aws().with(|facts| {
            facts.quotas = Fact::Known(vec![Object::new(json!({"kind": "LimitRange",
                "metadata": {"name": "bounds", "namespace": "shop"}, "spec": {"limits": [limit]}}))]);
        })
    }

    #[test]
    fn containers_within_the_range_pass() {
        let fixture = range(json!({"min": {"cpu": "5m", "memory": "4Mi"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "10"}}));
        assert_eq!(fixture.decide("POD17"), Ok(Outcome::Pass));
    }

    // azure-workload-identity#1424 and the like
    #[test]
    fn a_range_that_refuses_them_is_named() {
        for (limit, message) in [
            (json!({"min": {"cpu": "50m"}}), "it asks for 10m of cpu, and the least is 50m"),
            (json!({"max": {"memory": "16Mi"}}), "its limit of memory is 32Mi, and the most is 16Mi"),
            (
                json!({"maxLimitRequestRatio": {"cpu": "4"}}),
                "its limit of cpu is 100m for a request of 10m, and the ratio may be 4",
            ),
        ] {
            assert_eq!(
                range(limit).messages("POD17"),
                [format!("LimitRange `bounds` refuses init container `cwii-aws-verify`: {message}")]
            );
        }
    }

    #[test]
    fn a_proxy_sidecar_in_a_restricted_namespace_is_found() {
        let fixture = Fixture::plain()
            .pod(|pod| pod["metadata"]["annotations"] = json!({"azure.workload.identity/inject-proxy-sidecar": "true"}))
            .with(|facts| {
                edit(&mut facts.namespace, |namespace| {
                    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("restricted");
                });
            });
        assert_eq!(fixture.messages("POD17").len(), 1);
    }

    #[test]
    fn quotas_that_may_not_be_read_leave_it_open() {
        let fixture = Fixture::cwii_aws().with(|facts| facts.quotas = Fact::Denied("list limitranges".into()));
        assert!(fixture.decide("POD17").is_err());
        assert!(matches!(Fixture::cwii_az().decide("POD17"), Ok(Outcome::NotApplicable(_))));
    }
}
