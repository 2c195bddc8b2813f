//! The AKS cluster's service account signing keys are being rotated.
//!
//! ## What it checks
//!
//! `provisioningState` in the cluster's description: `RotatingServiceAccountSigningKeys` while it lasts.
//!
//! ## Why it matters
//!
//! During a rotation tokens are signed with a key that the cloud may not have read yet, and pods keep tokens of the old key
//! until the kubelet fetches new ones. After a second rotation tokens of the first key are refused.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS700027: Client assertion contains an invalid signature. [Reason - The key was not found.]
//! ```
//!
//! ## How to fix it
//!
//! Wait until the rotation is through, then restart what still fails.
//!
//! ## How to verify the fix
//!
//! `az aks show --query provisioningState` prints `Succeeded`; `kubectl cwii issuer check` finds the key of a fresh token.
//!
//! ## References
//!
//! - Microsoft, "Create an OpenID Connect provider on AKS", rotating the signing keys:
//!   <https://learn.microsoft.com/azure/aks/use-oidc-issuer>

use super::{CLUSTER, cluster_subject, clusters, each, is_aks};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::Finding,
    rules::federation::restart,
};

pub(super) const RULE: Rule = Rule::new("AKS04", CLUSTER, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        if is_aks(case) == Some(false) {
            return Ok(Vec::new());
        }
        let described = clusters(case)?;
        if described.is_empty() {
            // Seldom the cause, so that nobody is held up for want of it.
            return Err(Gap::NotLookedAt(
                Need::Trust,
                "the cluster's description is not among the trust documents; `az aks show --name CLUSTER -g RESOURCE-GROUP` prints it".into(),
            ));
        }
        Ok(described
            .into_iter()
            .filter(|cluster| {
                cluster
                    .provisioning_state
                    .as_deref()
                    .is_some_and(|state| state.eq_ignore_ascii_case("RotatingServiceAccountSigningKeys"))
            })
            .map(|cluster| {
                Finding::new(
                    "AKS04",
                    format!("the cluster `{}` is rotating its service account signing keys", cluster.name),
                )
                .at(cluster_subject(cluster, "/provisioningState"))
                .fix("wait until the rotation is through, then restart what still fails")
                .command(restart(case))
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

    #[test]
    fn a_settled_cluster_passes_and_a_rotation_is_a_warning() {
        assert_eq!(Fixture::aks().decide("AKS04"), Ok(Outcome::Pass));
        let fixture = Fixture::aks().document("aks.json", |cluster| {
            cluster["provisioningState"] = "RotatingServiceAccountSigningKeys".into();
        });
        assert_eq!(
            fixture.messages("AKS04"),
            ["the cluster `prod` is rotating its service account signing keys"]
        );
        assert!(matches!(
            Fixture::aks().without_document("aks").decide("AKS04"),
            Err(Gap::NotLookedAt(..))
        ));
    }
}
