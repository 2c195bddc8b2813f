//! The client id is not one: another kind of id, a name, or nothing that Entra knows.
//!
//! ## What it checks
//!
//! That the client id of the workload is a UUID, and, where documents of applications or managed identities were given, that
//! it is not the object id of one of them.
//!
//! ## Why it matters
//!
//! An application has an application (client) id and an object id, a managed identity has a client id, a principal id and a
//! resource id; portals and command lines show several of them side by side. Only the client id signs in.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS700016: Application with identifier '…' was not found in the directory '…'.
//! ```
//!
//! ## How to fix it
//!
//! Take the client id: `az identity show --name NAME -g GROUP --query clientId` for a managed identity, `az ad app show --id
//! ID --query appId` for an application; set it where the finding says and restart the workload.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider az` signs in.
//!
//! ## References
//!
//! - Microsoft, "Microsoft Entra authentication and authorization error codes":
//!   <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
//! - Azure Workload Identity, "Service Account Labels and Annotations":
//!   <https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>

use cwii_contract::{Provider, types::ClientId};

use super::{annotation_of, each, is_empty_variable};
use crate::{
    doctor::{Case, Gap, Outcome, Rule, azure::CLIENT_ID},
    report::{Applicability, Finding},
    rules::federation::{annotate, with_commands, workload},
};

pub(super) const RULE: Rule = Rule::new("AZ01", crate::doctor::MECHANISMS, check).blocked_by(&["POD08", "CWII06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        // A variable without a value is one that is missing (AZ09).
        let Some(given) = mechanism
            .client_id
            .as_ref()
            .filter(|given| !is_empty_variable(given))
        else {
            return Ok(Vec::new());
        };
        let tenant = mechanism
            .tenant_id
            .as_ref()
            .map_or("TENANT", |tenant| tenant.value.as_str());
        let parsed = given.value.parse::<ClientId>();
        let (message, right) = match &parsed {
            Err(_) => {
                let kind = if given.value.trim() != given.value {
                    "has white space around it"
                } else if given.value.starts_with("/subscriptions/") {
                    "is a resource id"
                } else {
                    "is not a UUID"
                };
                let trimmed = given.value.trim();
                let right = trimmed.parse::<ClientId>().is_ok().then(|| trimmed.to_owned());
                (format!("the client id `{}` {kind}", given.value), right)
            }
            Ok(_) => {
                // Without documents every UUID may be one.
                let Ok(library) = case.trust() else {
                    return Ok(Vec::new());
                };
                let documents = library.entra(None);
                let owner = documents.applications.iter().find(|application| {
                    application
                        .owner_id
                        .as_deref()
                        .is_some_and(|id| id.eq_ignore_ascii_case(&given.value))
                });
                let Some(owner) = owner else {
                    return Ok(Vec::new());
                };
                let name = owner.display_name.as_deref().unwrap_or(&owner.client_id);
                (
                    format!("`{}` is the object id of `{name}`, not its client id", given.value),
                    Some(owner.client_id.clone()),
                )
            }
        };
        let mut finding = Finding::new("AZ01", message)
            .of(Provider::Az)
            .answered(format!(
                "Entra will answer: AADSTS700016: Application with identifier '{}' was not found in the directory '{tenant}'.",
                given.value
            ))
            .fix("set the client id of the application or managed identity");
        if let Some(right) = &right {
            finding = finding.compared(&given.value, right);
        }
        let value = right.as_deref().unwrap_or("CLIENT-ID");
        if given.value.starts_with("/subscriptions/") {
            finding = finding.command(format!(
                "az identity show --ids {} --query clientId -o tsv",
                given.value
            ));
        } else if right.is_none() {
            finding = finding.command("az identity list --query \"[].{name:name, clientId:clientId}\" -o table");
        }
        let commands = match (annotation_of(mechanism, "cwii.dev/az-client-id", CLIENT_ID), &given.subject) {
            (Some(key), Some(subject)) if subject.pointer.as_deref().is_some_and(|p| p.starts_with("/metadata/annotations/")) => {
                annotate(case, subject, key, value)
            }
            _ => vec![format!(
                "kubectl -n {} set env {} AZURE_CLIENT_ID={value}",
                case.namespace_name(),
                workload(case)
            )],
        };
        finding = with_commands(finding, commands).applicable(if right.is_some() {
            Applicability::Safe
        } else {
            Applicability::Display
        });
        Ok(vec![match &given.subject {
            Some(subject) => finding.at(subject.clone()),
            None => finding,
        }])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, trust},
    };

    fn with(client_id: &str) -> Fixture {
        Fixture::aks().service_account(|account| {
            account["metadata"]["annotations"]["azure.workload.identity/client-id"] = client_id.into();
        })
    }

    #[test]
    fn a_uuid_passes_and_without_azure_it_does_not_apply() {
        assert_eq!(Fixture::aks().decide("AZ01"), Ok(Outcome::Pass));
        assert!(matches!(Fixture::plain().decide("AZ01"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn a_resource_id_is_named_with_the_command_that_resolves_it() {
        let id = "/subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/checkout";
        let Ok(Outcome::Found(findings)) = with(id).decide("AZ01") else {
            panic!()
        };
        assert!(findings[0].message.ends_with("is a resource id"));
        assert!(findings[0].fix.commands[0].starts_with("az identity show --ids /subscriptions/"));
    }

    #[test]
    fn an_object_id_is_told_from_the_client_id() {
        let object = "99999999-0000-4000-8000-000000000009";
        let fixture = with(object).with(|facts| {
            trust(facts, "app.json", json!({
                "appId": "11111111-2222-4333-8444-555555555555", "id": object, "displayName": "checkout",
            }));
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("AZ01") else {
            panic!()
        };
        assert_eq!(
            findings[0].fix.commands[0],
            "kubectl -n shop annotate serviceaccount checkout azure.workload.identity/client-id=11111111-2222-4333-8444-555555555555 --overwrite"
        );
    }
}
