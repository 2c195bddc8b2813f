//! The webhook is older than a feature that the workload asks it for.
//!
//! ## What it checks
//!
//! Versions in the image tags behind the webhook's Service against the features that annotations of the pod and its
//! ServiceAccount ask for: the label on pods in place of the ServiceAccount's label (Azure workload identity 1.0.0). For
//! cwii, whose version every injected pod carries, CWII02 looks.
//!
//! ## Why it matters
//!
//! Documentation is read on the web, where it belongs to the newest version; what is installed may be years older. An
//! annotation or label that the installed version does not know is ignored without a word.
//!
//! ## How it looks
//!
//! The pod runs, and what the annotation asks for is not in it.
//!
//! ## How to fix it
//!
//! Upgrade the webhook, then make the pods anew.
//!
//! ## How to verify the fix
//!
//! `kubectl -n NAMESPACE get deployments -o wide` shows the new image; a new pod has what was asked for.
//!
//! ## References
//!
//! - Azure Workload Identity, release notes of v1.0.0:
//!   <https://github.com/Azure/azure-workload-identity/releases/tag/v1.0.0>

use super::{each, shell};
use crate::{
    doctor::{Case, Gap, MechanismKind, Need, Object, Outcome, Rule, known, not_collected},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK10",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Webhooks,
        Need::Backends,
    ],
    check,
);

/// The label that asks for injection, read from pods since 1.0.0.
const USE: &str = "azure.workload.identity/use";

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |wish, webhook| {
        let Some(service) = webhook.service() else {
            return Ok(None);
        };
        if wish.mechanism.kind != MechanismKind::AzureWorkloadIdentity || !wish.lacking() {
            return Ok(None);
        }
        if case.pod()?.label(USE) != Some("true") {
            return Ok(Some(Vec::new()));
        }
        let backend = case
            .backends()?
            .and_then(|backends| backends.get(&service.to_string()))
            .ok_or_else(|| not_collected(Need::Backends))?;
        let pods = known(&backend.pods, Need::Backends)?.ok_or_else(|| not_collected(Need::Backends))?;
        let old = pods.iter().find_map(|pod| {
            let image = image(pod)?;
            (version(image)? < (1, 0)).then_some((pod, image))
        });
        let Some((pod, image)) = old else {
            return Ok(Some(Vec::new()));
        };
        Ok(Some(vec![
            Finding::new(
                "HOOK10",
                format!(
                    "the installed {} looks for label `{USE}` on the ServiceAccount, not on the pod",
                    wish.family.name.trim_start_matches("the ")
                ),
            )
            .of(wish.mechanism.provider)
            .at(pod.subject())
            .compared(image, "version 1.0.0 or later")
            .fix("upgrade the webhook, then make the pods anew")
            .command(format!(
                "kubectl -n {} get deployments -o wide",
                shell(service.namespace)
            )),
        ]))
    })
}

fn image(pod: &Object) -> Option<&str> {
    pod.list("/spec/containers")
        .find_map(|container| container.get("image")?.as_str())
}

/// Major and minor version of a tag such as `v0.15.0`; none of a digest or another word.
fn version(image: &str) -> Option<(u32, u32)> {
    let name = image.split('@').next()?;
    let (_, tag) = name.rsplit_once('/').unwrap_or(("", name)).1.split_once(':')?;
    let mut parts = tag.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn image(image: &str) -> Fixture {
        Fixture::azure_wanting().backend(|backend| {
            backend.pods = Fact::Known(vec![Object::new(json!({
                "kind": "Pod", "metadata": {"name": "wi-1", "namespace": "kube-system"},
                "spec": {"containers": [{"name": "manager", "image": image}]},
            }))]);
        })
    }

    #[test]
    fn a_webhook_that_reads_the_pods_label_passes() {
        for new in [
            "mcr.microsoft.com/oss/azure/workload-identity/webhook:v1.3.0",
            "localhost:5000/webhook@sha256:0000",
            "webhook:latest",
        ] {
            assert_eq!(image(new).decide("HOOK10"), Ok(Outcome::Pass), "{new}");
        }
    }

    #[test]
    fn an_older_one_is_named_with_its_image() {
        assert_eq!(
            image("mcr.microsoft.com/oss/azure/workload-identity/webhook:v0.15.0").messages("HOOK10"),
            [
                "the installed Azure workload identity webhook looks for label `azure.workload.identity/use` on the ServiceAccount, not on the pod"
            ]
        );
    }
}
