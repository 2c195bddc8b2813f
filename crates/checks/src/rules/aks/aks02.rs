//! Two webhooks of Azure workload identity inject into the same pods.
//!
//! ## What it checks
//!
//! That only one MutatingWebhookConfiguration calls a webhook of Azure workload identity: that of the AKS add-on, in
//! `kube-system`, or one that was installed with Helm.
//!
//! ## Why it matters
//!
//! Whoever used the Helm chart before the add-on was there often has both. They differ in version and default tenant, and
//! both fail closed: the one that nobody looks after any more decides which tenant a pod signs in at, or keeps pods from being
//! created.
//!
//! ## How it looks
//!
//! `AZURE_TENANT_ID` is not the cluster's tenant, or pods fail to be created with `failed calling webhook
//! "mutation.azure-workload-identity.io"`.
//!
//! ## How to fix it
//!
//! On AKS remove the Helm release and keep the add-on; on another cluster keep the release that is kept up to date.
//!
//! ## How to verify the fix
//!
//! `kubectl get mutatingwebhookconfigurations` lists one of them.
//!
//! ## References
//!
//! - Microsoft, "Deploy and configure workload identity on an AKS cluster":
//!   <https://learn.microsoft.com/azure/aks/workload-identity-deploy-cluster>
//! - Azure Workload Identity, "Mutating Admission Webhook":
//!   <https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html>

use super::each;
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "AKS02",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Webhooks,
        Need::Trust,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        let Some(configurations) = case.webhooks()? else {
            return Ok(Vec::new());
        };
        let mut found: Vec<(&Object, &str)> = configurations
            .iter()
            .filter_map(|configuration| Some((configuration, service_namespace(configuration)?)))
            .collect();
        if found.len() < 2 {
            return Ok(Vec::new());
        }
        // The add-on's stays; of two others the older one is the one that was forgotten.
        found.sort_by_key(|(configuration, namespace)| {
            (*namespace != "kube-system", std::cmp::Reverse(configuration.created()))
        });
        let names: Vec<_> = found
            .iter()
            .map(|(configuration, namespace)| format!("{} ({namespace})", configuration.name()))
            .collect();
        Ok(found
            .iter()
            .skip(1)
            .map(|(configuration, namespace)| {
                Finding::new(
                    "AKS02",
                    format!(
                        "the webhook of Azure workload identity in namespace `{namespace}` is a second one"
                    ),
                )
                .at(configuration.subject())
                .evidence("webhooks", names.join(", "))
                .fix("remove the release that installed it")
                .command(format!("helm uninstall workload-identity-webhook --namespace {namespace}"))
                .applicable(Applicability::Unsafe)
            })
            .collect())
    })
}

/// The namespace of the Service, for a configuration of Azure workload identity.
fn service_namespace(configuration: &Object) -> Option<&str> {
    configuration.list("/webhooks").find_map(|webhook| {
        let name = webhook.get("name")?.as_str()?;
        if name != "mutation.azure-workload-identity.io" {
            return None;
        }
        webhook.pointer("/clientConfig/service/namespace")?.as_str()
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::{Gap, Need, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, azure_webhook},
    };

    #[test]
    fn one_webhook_passes_and_the_helm_release_beside_the_add_on_does_not() {
        assert_eq!(Fixture::aks().decide("AKS02"), Ok(Outcome::Pass));
        let fixture = Fixture::aks().with(|facts| {
            facts.webhooks = Fact::Known(vec![
                azure_webhook("azure-workload-identity-system"),
                azure_webhook("kube-system"),
            ]);
        });
        assert_eq!(
            fixture.messages("AKS02"),
            ["the webhook of Azure workload identity in namespace `azure-workload-identity-system` is a second one"]
        );
    }

    #[test]
    fn webhooks_that_may_not_be_read_are_unknown() {
        let fixture = Fixture::aks().with(|facts| {
            facts.webhooks = Fact::Denied("list mutatingwebhookconfigurations".into());
        });
        assert!(matches!(
            fixture.decide("AKS02"),
            Err(Gap::Unknown(Need::Webhooks, _))
        ));
    }
}
