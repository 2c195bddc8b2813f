//! The tenant is not one, or not the identity's.
//!
//! ## What it checks
//!
//! That the tenant is a UUID or a domain, and, where documents of tenants were given, that it is among them.
//!
//! ## Why it matters
//!
//! The tenant is part of the address that the token is sent to. The webhook of Azure takes its default from its own
//! configuration, which is easily another tenant than that of the identity. An application of several tenants may sign in at
//! another one than its own, so that a difference there is only a warning.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS90002: Tenant '…' not found.
//! AADSTS900023: Specified tenant identifier '…' is neither a valid DNS name, nor a valid external domain.
//! ```
//!
//! ## How to fix it
//!
//! Set the tenant of the identity: `az account show --query tenantId` in its subscription.
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

use cwii_contract::{Provider, types::TenantId};

use super::{annotation_of, each, is_empty_variable};
use crate::{
    doctor::{Case, Gap, Outcome, Rule, azure::TENANT_ID},
    report::{Applicability, Finding},
    rules::federation::{annotate, with_commands, workload},
};

pub(super) const RULE: Rule = Rule::new("AZ02", crate::doctor::MECHANISMS, check).blocked_by(&["POD08", "CWII06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        // A variable without a value is one that is missing (AZ09).
        let Some(given) = mechanism
            .tenant_id
            .as_ref()
            .filter(|given| !is_empty_variable(given))
        else {
            return Ok(Vec::new());
        };
        let known = case.trust().ok().and_then(|library| library.entra(None).tenants);
        let is = |id: &str| id.eq_ignore_ascii_case(&given.value);
        let invalid = given.value.parse::<TenantId>().is_err();
        let elsewhere = known.as_ref().is_some_and(|known| {
            !known
                .iter()
                .any(|tenant| is(&tenant.id) || tenant.domains.iter().any(|domain| is(domain)))
        });
        if !invalid && !elsewhere {
            return Ok(Vec::new());
        }
        let only = match known.as_deref() {
            Some([only]) => Some(only.id.as_str()),
            _ => None,
        };
        let right = only.or_else(|| {
            let trimmed = given.value.trim();
            trimmed.parse::<TenantId>().is_ok().then_some(trimmed).filter(|_| invalid)
        });
        let mut finding = if invalid {
            Finding::new(
                "AZ02",
                format!("the tenant `{}` is neither a UUID nor a domain", given.value),
            )
            .answered(format!(
                "Entra will answer: AADSTS900023: Specified tenant identifier '{}' is neither a valid DNS name, nor a valid external domain.",
                given.value
            ))
        } else {
            Finding::new(
                "AZ02",
                format!("the tenant `{}` is not the one that the documents are of", given.value),
            )
            .warning()
        }
        .of(Provider::Az)
        .fix("set the tenant of the identity");
        if let Some(right) = right {
            finding = finding.compared(&given.value, right);
        }
        let value = right.unwrap_or("TENANT-ID");
        let commands = match (annotation_of(mechanism, "cwii.dev/az-tenant-id", TENANT_ID), &given.subject) {
            (Some(key), Some(subject)) if subject.pointer.as_deref().is_some_and(|p| p.starts_with("/metadata/annotations/")) => {
                annotate(case, subject, key, value)
            }
            (Some(key), _) => {
                let account = case.service_account_name()?;
                vec![
                    format!(
                        "kubectl -n {} annotate serviceaccount {account} {key}={value} --overwrite",
                        case.namespace_name()
                    ),
                    crate::rules::federation::restart(case),
                ]
            }
            _ => vec![format!(
                "kubectl -n {} set env {} AZURE_TENANT_ID={value}",
                case.namespace_name(),
                workload(case)
            )],
        };
        finding = with_commands(finding, commands).applicable(if right.is_some() {
            Applicability::Unsafe
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
        catalogue::Severity,
        doctor::Outcome,
        rules::fixture::{Fixture, trust},
    };

    #[test]
    fn a_uuid_and_a_domain_pass() {
        assert_eq!(Fixture::aks().decide("AZ02"), Ok(Outcome::Pass));
        assert_eq!(Fixture::azure_by_hand().decide("AZ02"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_placeholder_is_an_error_and_a_foreign_tenant_a_warning() {
        let fixture = Fixture::aks().service_account(|account| {
            account["metadata"]["annotations"]["azure.workload.identity/tenant-id"] =
                "<your tenant id>".into();
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("AZ02") else {
            panic!()
        };
        assert_eq!(findings[0].severity(), Severity::Error);
        let fixture = Fixture::aks().with(|facts| {
            trust(facts, "tenant.json", json!([{
                "tenantId": "77777777-0000-4000-8000-000000000007", "id": "/tenants/77777777-0000-4000-8000-000000000007",
                "tenantCategory": "Home", "defaultDomain": "example.onmicrosoft.com",
            }]));
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("AZ02") else {
            panic!()
        };
        assert_eq!(findings[0].severity(), Severity::Warning);
    }
}
