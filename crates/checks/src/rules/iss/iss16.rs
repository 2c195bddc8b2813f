//! Several clusters have one and the same issuer.
//!
//! ## What it checks
//!
//! Among the descriptions of clusters that were given with `--trust` (`aws eks describe-cluster`, `az aks show`): whether two of
//! them name this cluster's issuer.
//!
//! ## Why it matters
//!
//! A cloud tells workloads apart by issuer and subject. Where two clusters share the issuer, namespace and ServiceAccount of the
//! same names are one identity to it: whoever may create a ServiceAccount in the lesser cluster has the rights of the other's.
//! Their keys have to be published together, too, or tokens of one are refused.
//!
//! ## How it looks
//!
//! Nothing fails. The cloud's audit log shows one subject from two networks.
//!
//! ## How to fix it
//!
//! Give each cluster an issuer of its own.
//!
//! ## How to verify the fix
//!
//! `kubectl get --raw /.well-known/openid-configuration` shows another issuer in each.
//!
//! ## References
//!
//! - Google, "Identity sameness", which is the same for clusters in one workload identity pool:
//!   <https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity#identity_sameness>

use cwii_trust::library::ClusterDescription;

use super::{NO_TOKEN, document, presenting};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "ISS16",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Discovery,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    if presenting(case)?.is_empty() {
        return Ok(Outcome::not_applicable(NO_TOKEN));
    }
    let clusters = case.trust()?.clusters();
    let issuer = case.discovery()?.map(|discovery| discovery.issuer.as_str());
    let mut names: Vec<&str> = clusters
        .iter()
        .filter(|cluster| {
            let own = match cluster {
                ClusterDescription::Eks(cluster) => cluster.issuer.as_deref(),
                ClusterDescription::Aks(cluster) => cluster.issuer_url.as_deref(),
                ClusterDescription::Gke(_) => None,
            };
            own.is_some() && own == issuer
        })
        .map(ClusterDescription::name)
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < 2 {
        return Ok(Outcome::Pass);
    }
    let issuer = issuer.unwrap_or_default();
    Ok(Outcome::Found(vec![
        Finding::new(
            "ISS16",
            format!("{} clusters have the issuer of this one", names.len()),
        )
        .at(document("Issuer", issuer))
        .evidence("clusters", names.join(", "))
        .fix("give each cluster an issuer of its own"),
    ]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::{Gap, Need, Outcome},
        rules::fixture::{Fixture, token::ISSUER, trust},
    };

    fn with(issuers: [&str; 2]) -> Fixture {
        Fixture::irsa().issued().with(|facts| {
            for (name, issuer) in ["blue", "green"].into_iter().zip(issuers) {
                trust(
                    facts,
                    &format!("{name}.json"),
                    json!({"cluster": {"name": name,
                        "arn": format!("arn:aws:eks:eu-central-1:111122223333:cluster/{name}"),
                        "identity": {"oidc": {"issuer": issuer}}}}),
                );
            }
        })
    }

    #[test]
    fn an_issuer_of_ones_own_passes() {
        assert_eq!(
            with([ISSUER, "https://oidc.example.com/other"]).decide("ISS16"),
            Ok(Outcome::Pass)
        );
        assert!(matches!(
            Fixture::irsa().decide("ISS16"),
            Err(Gap::NotLookedAt(Need::Trust, _))
        ));
    }

    #[test]
    fn a_shared_issuer_is_a_warning() {
        assert_eq!(
            with([ISSUER, ISSUER]).messages("ISS16"),
            ["2 clusters have the issuer of this one"]
        );
        assert_eq!(with([ISSUER, ISSUER]).severities("ISS16"), [Severity::Warning]);
    }
}
