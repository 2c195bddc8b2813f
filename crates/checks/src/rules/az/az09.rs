//! Not all of the four variables that the SDKs look for are set.
//!
//! ## What it checks
//!
//! That every container that has one of `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`, `AZURE_FEDERATED_TOKEN_FILE` and
//! `AZURE_AUTHORITY_HOST` has the other three too, and none of them empty. Containers that take variables from a Secret or
//! ConfigMap as a whole are left alone: what is in there was not read.
//!
//! ## Why it matters
//!
//! SDKs pass over workload identity without a word when one of them is missing, and try the next credential, at last the
//! node's identity. Without `AZURE_AUTHORITY_HOST` alone most SDKs take the public cloud; `ManagedIdentityCredential` of
//! azure-identity for Python takes the way of workload identity only where it is set, so that this is a warning.
//!
//! ## How it looks
//!
//! ```text
//! WorkloadIdentityCredential authentication unavailable. The workload options are not fully configured.
//! ```
//!
//! ## How to fix it
//!
//! Restart the workload where a webhook sets them, after the ServiceAccount has its annotations; set what is missing where
//! they were written by hand.
//!
//! ## How to verify the fix
//!
//! `kubectl get pod NAME -o yaml` shows all four.
//!
//! ## References
//!
//! - Microsoft, "Troubleshoot WorkloadIdentityCredential authentication issues":
//!   <https://aka.ms/azsdk/python/identity/workloadidentitycredential/troubleshoot>
//! - Azure Workload Identity, "Mutating Admission Webhook":
//!   <https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html>

use cwii_contract::{Provider, env};

use super::each;
use crate::{
    doctor::{Case, Container, Gap, Mechanism, MechanismKind, Outcome, Rule, azure::CLIENT_ID},
    report::{Applicability, Finding},
    rules::federation::{quote, restart, with_commands, workload},
};

pub(super) const RULE: Rule = Rule::new("AZ09", crate::doctor::MECHANISMS, check)
    .blocked_by(&["CWII01", "CWII07", "POD01", "POD03", "POD05", "POD06", "POD07", "AKS02", "AZ01", "AZ02",
]);

const VARIABLES: [&str; 4] = [
    env::AZURE_CLIENT_ID,
    env::AZURE_TENANT_ID,
    env::AZURE_FEDERATED_TOKEN_FILE,
    env::AZURE_AUTHORITY_HOST,
];

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        // What is not injected at all is another code's.
        if !mechanism.injected {
            return Ok(Vec::new());
        }
        let pod = case.pod()?;
        let mut found: Vec<Finding> = Vec::new();
        for container in pod.containers() {
            let set: Vec<_> = VARIABLES.iter().filter(|name| is_set(&container, name)).collect();
            let named = VARIABLES.iter().any(|name| container.has_variable(name));
            let elsewhere = container.elements("envFrom").next().is_some();
            if !named || elsewhere || container.list == "ephemeralContainers" || set.len() == VARIABLES.len() {
                continue;
            }
            let missing: Vec<_> = VARIABLES
                .iter()
                .copied()
                .filter(|name| !is_set(&container, name))
                .collect();
            // One finding for a pod whose containers all lack the same.
            let list = missing.join("`, `");
            let message = format!("`{list}` {} not set", if missing.len() == 1 { "is" } else { "are" });
            if found.iter().any(|finding| finding.message == message) {
                continue;
            }
            let finding = Finding::new("AZ09", message)
                .of(Provider::Az)
                .at(pod.subject_at(
                    &format!("{}/env", container.pointer()),
                    format!("variables of container `{}`", container.name()),
                ));
            let finding = mended(finding, case, mechanism, &missing);
            found.push(if missing == [env::AZURE_AUTHORITY_HOST] {
                finding
                    .evidence(
                        "note",
                        "`ManagedIdentityCredential` of azure-identity for Python then asks for the node's identity",
                    )
                    .warning()
            } else {
                finding.answered("the SDK will say: WorkloadIdentityCredential authentication unavailable. The workload options are not fully configured.")
            });
        }
        Ok(found)
    })
}

/// A reference to a Secret or to the pod itself counts: what is behind it was not read.
fn is_set(container: &Container<'_>, name: &str) -> bool {
    container.has_variable(name) && container.variable(name) != Some("")
}

fn mended(finding: Finding, case: &Case<'_>, mechanism: &Mechanism, missing: &[&str]) -> Finding {
    let namespace = case.namespace_name();
    let account = case.service_account_name().unwrap_or("default");
    let value = |name: &str| match name {
        env::AZURE_CLIENT_ID => mechanism.client_id.as_ref().map(|given| given.value.clone()),
        env::AZURE_TENANT_ID => mechanism.tenant_id.as_ref().map(|given| given.value.clone()),
        env::AZURE_FEDERATED_TOKEN_FILE => {
            mechanism.token.as_ref().and_then(|token| token.path.clone())
        }
        _ => Some("https://login.microsoftonline.com/".to_owned()),
    };
    let lacks_client = missing.contains(&env::AZURE_CLIENT_ID) && mechanism.client_id.is_none();
    let (commands, complete) = match mechanism.kind {
        MechanismKind::Cwii => (
            vec![
                format!("kubectl -n {namespace} annotate serviceaccount {account} cwii.dev/az-authority-host=https://login.microsoftonline.com/ --overwrite"),
                restart(case),
            ],
            true,
        ),
        MechanismKind::AzureWorkloadIdentity if lacks_client => (
            vec![
                format!("kubectl -n {namespace} annotate serviceaccount {account} {CLIENT_ID}=CLIENT-ID --overwrite"),
                restart(case),
            ],
            false,
        ),
        MechanismKind::AzureWorkloadIdentity => (vec![restart(case)], true),
        _ => {
            let settings: Vec<_> = missing
                .iter()
                .map(|name| match value(name) {
                    Some(value) => quote(&format!("{name}={value}")),
                    None => format!("{name}=VALUE"),
                })
                .collect();
            let complete = missing.iter().all(|name| value(name).is_some());
            (
                vec![format!(
                    "kubectl -n {namespace} set env {} {}",
                    workload(case),
                    settings.join(" ")
                )],
                complete,
            )
        }
    };
    with_commands(finding.fix("set the variables that are missing"), commands).applicable(
        if complete {
            Applicability::Safe
        } else {
            Applicability::Display
        },
    )
}

#[cfg(test)]
mod tests {
    use crate::{catalogue::Severity, doctor::Outcome, rules::fixture::Fixture};

    fn without(fixture: Fixture, name: &str) -> Fixture {
        fixture.pod(|pod| {
            pod["spec"]["containers"][0]["env"]
                .as_array_mut()
                .unwrap()
                .retain(|variable| variable["name"] != name);
        })
    }

    #[test]
    fn all_four_pass() {
        assert_eq!(Fixture::aks().decide("AZ09"), Ok(Outcome::Pass));
        assert_eq!(Fixture::azure_by_hand().decide("AZ09"), Ok(Outcome::Pass));
    }

    #[test]
    fn the_authority_alone_is_a_warning_and_another_one_an_error() {
        let severity = |name: &str| match without(Fixture::azure_by_hand(), name).decide("AZ09") {
            Ok(Outcome::Found(findings)) => {
                (findings[0].severity(), findings[0].fix.commands[0].clone())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            severity("AZURE_AUTHORITY_HOST"),
            (
                Severity::Warning,
                "kubectl -n shop set env deployment/checkout AZURE_AUTHORITY_HOST=https://login.microsoftonline.com/".to_owned()
            )
        );
        assert_eq!(severity("AZURE_TENANT_ID").0, Severity::Error);
    }

    #[test]
    fn variables_of_a_secret_are_not_called_missing() {
        let fixture = without(Fixture::aks(), "AZURE_TENANT_ID").pod(|pod| {
            pod["spec"]["containers"][0]["envFrom"] =
                serde_json::json!([{"secretRef": {"name": "azure"}}]);
        });
        assert_eq!(fixture.decide("AZ09"), Ok(Outcome::Pass));
    }
}
