//! The AKS cluster's OIDC issuer or workload identity is switched off.
//!
//! ## What it checks
//!
//! `oidcIssuerProfile.enabled` and `securityProfile.workloadIdentity.enabled` in the cluster's description. A pod that the
//! webhook injected into shows without it that both are on.
//!
//! ## Why it matters
//!
//! Labels and annotations do nothing on a cluster without the add-on: there is no webhook that reads them, and no public
//! issuer that Entra could ask.
//!
//! ## How it looks
//!
//! The pod has no `AZURE_*` variables and no token; SDKs fall back to the node's identity.
//!
//! ## How to fix it
//!
//! `az aks update --enable-oidc-issuer --enable-workload-identity`, then restart the workloads. Enabling the issuer changes
//! `iss` of all tokens; AKS restarts the API server for it.
//!
//! ## How to verify the fix
//!
//! `az aks show --query '{issuer:oidcIssuerProfile, workloadIdentity:securityProfile.workloadIdentity}'` shows both enabled.
//!
//! ## References
//!
//! - Microsoft, "Deploy and configure workload identity on an AKS cluster":
//!   <https://learn.microsoft.com/azure/aks/workload-identity-deploy-cluster>
//! - Microsoft, "Create an OpenID Connect provider on AKS": <https://learn.microsoft.com/azure/aks/use-oidc-issuer>

use super::{CLUSTER, cluster_subject, clusters, each, is_aks};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
    rules::federation::{missing, restart},
};

pub(super) const RULE: Rule = Rule::new("AKS01", CLUSTER, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        if mechanism.injected || is_aks(case) == Some(false) {
            return Ok(Vec::new());
        }
        let described = clusters(case)?;
        if described.is_empty() {
            return Err(missing(
                "the cluster's description",
                "az aks show --name CLUSTER -g RESOURCE-GROUP",
            ));
        }
        if described
            .iter()
            .any(|cluster| cluster.oidc_issuer_enabled && cluster.workload_identity_enabled)
        {
            return Ok(Vec::new());
        }
        Ok(described
            .into_iter()
            .take(1)
            .map(|cluster| {
                let (what, pointer) = if cluster.oidc_issuer_enabled {
                    ("workload identity is", "/securityProfile/workloadIdentity/enabled")
                } else if cluster.workload_identity_enabled {
                    ("the OIDC issuer is", "/oidcIssuerProfile/enabled")
                } else {
                    ("OIDC issuer and workload identity are", "/oidcIssuerProfile/enabled")
                };
                let group = cluster.resource_group.as_deref().unwrap_or("RESOURCE-GROUP");
                Finding::new("AKS01", format!("{what} switched off in the cluster `{}`", cluster.name))
                    .at(cluster_subject(cluster, pointer))
                    .fix("switch both on, then restart the workload")
                    .command(format!(
                        "az aks update --name {} -g {group} --enable-oidc-issuer --enable-workload-identity",
                        cluster.name
                    ))
                    .command(restart(case))
                    .applicable(if cluster.resource_group.is_some() {
                        Applicability::Unsafe
                    } else {
                        Applicability::Display
                    })
            })
            .collect())
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::{Gap, Outcome},
        rules::fixture::Fixture,
    };

    fn not_injected() -> Fixture {
        Fixture::aks().pod(|pod| {
            pod["spec"]["volumes"] = serde_json::json!([]);
            pod["spec"]["containers"][0]["env"] = serde_json::json!([]);
            pod["spec"]["containers"][0]["volumeMounts"] = serde_json::json!([]);
        })
    }

    #[test]
    fn an_injected_pod_and_an_enabled_cluster_pass() {
        assert_eq!(Fixture::aks().decide("AKS01"), Ok(Outcome::Pass));
        assert_eq!(not_injected().decide("AKS01"), Ok(Outcome::Pass));
    }

    #[test]
    fn what_is_off_is_named_and_no_description_is_unknown() {
        let fixture = not_injected().document("aks.json", |cluster| {
            cluster["securityProfile"]["workloadIdentity"]["enabled"] = false.into();
        });
        assert_eq!(
            fixture.messages("AKS01"),
            ["workload identity is switched off in the cluster `prod`"]
        );
        assert!(matches!(
            not_injected().without_document("aks").decide("AKS01"),
            Err(Gap::Unknown(..))
        ));
    }
}
