//! The workload identity pool or its provider is disabled or deleted.
//!
//! ## What it checks
//!
//! `state` and `disabled` of the provider that the workload names, and of its pool where that was given too.
//!
//! ## Why it matters
//!
//! A deleted pool or provider stays visible, and its id taken, for 30 days. Google refuses every token for it with the same
//! text that it has for one that never existed. Disabling a pool also ends the tokens that were issued before; disabling a
//! provider does not.
//!
//! ## How it looks
//!
//! ```text
//! Error code invalid_target: The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.
//! ```
//!
//! ## How to fix it
//!
//! Enable or undelete what the finding names, or point the workload at another provider.
//!
//! ## How to verify the fix
//!
//! `gcloud iam workload-identity-pools providers describe` shows `state: ACTIVE` and no `disabled: true`; save what it
//! prints and run the doctor with it.
//!
//! ## References
//!
//! - Google Cloud, "Manage workload identity pools and providers":
//!   <https://cloud.google.com/iam/docs/manage-workload-identity-pools-providers>
//! - Google Cloud, "Troubleshoot Workload Identity Federation":
//!   <https://cloud.google.com/iam/docs/troubleshooting-workload-identity-federation>

use cwii_trust::google::Reason;

use super::{each, exchange_findings};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule =
    Rule::new("GCP02", super::EXCHANGE, check).blocked_by(&["GCP01", "TOK03"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        exchange_findings(case, mechanism, "GCP02", |exchange, fault| {
            let provider = &exchange.provider;
            let (number, pool) = (provider.project_number(), provider.pool());
            let place = format!("--location=global --project={number}");
            let of_provider = format!(
                "{} --workload-identity-pool={pool} {place}",
                provider.provider()
            );
            let of_pool = format!("{pool} {place}");
            let group = "gcloud iam workload-identity-pools";
            let (what, command) = match fault.reason {
                Reason::PoolDisabled => (
                    format!("the pool `{pool}` is disabled"),
                    format!("{group} update {of_pool} --no-disabled"),
                ),
                Reason::PoolDeleted => (
                    format!("the pool `{pool}` is deleted"),
                    format!("{group} undelete {of_pool}"),
                ),
                Reason::ProviderDeleted => (
                    format!("the provider `{}` is deleted", provider.provider()),
                    format!("{group} providers undelete {of_provider}"),
                ),
                _ => (
                    format!("the provider `{}` is disabled", provider.provider()),
                    format!("{group} providers update-oidc {of_provider} --no-disabled"),
                ),
            };
            Finding::new("GCP02", what)
                .evidence("provider", provider.resource())
                .fix("put it into service again, if nobody took it out on purpose")
                .command(command)
                .applicable(Applicability::Unsafe)
        })
    })
}

#[cfg(test)]
mod tests {
    use cwii_trust::Library;
    use serde_json::json;

    use crate::{
        doctor::{Gap, Need, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, trust},
    };

    #[test]
    fn an_active_provider_passes() {
        assert_eq!(Fixture::gcp().decide("GCP02"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_disabled_provider_and_a_deleted_pool_are_told_apart() {
        let fixture = Fixture::gcp().google_provider(|provider| provider["disabled"] = true.into());
        assert_eq!(
            fixture.messages("GCP02"),
            ["the provider `prod` is disabled"]
        );
        let fixture = Fixture::gcp().with(|facts| {
            trust(facts, "pool.json", json!({
                "name": "projects/123456789012/locations/global/workloadIdentityPools/clusters",
                "state": "DELETED",
            }));
        });
        assert_eq!(fixture.messages("GCP02"), ["the pool `clusters` is deleted"]);
    }

    #[test]
    fn a_provider_that_was_not_given_is_unknown_with_the_command_that_prints_it() {
        let fixture =
            Fixture::gcp().with(|facts| facts.trust = Fact::Known(Library::default()));
        let Err(Gap::Unknown(Need::Trust, why)) = fixture.decide("GCP02") else {
            panic!()
        };
        assert!(why.contains("`gcloud iam workload-identity-pools providers describe prod --workload-identity-pool=clusters --location=global --project=123456789012 --format=json` prints it"), "{why}");
    }

    #[test]
    fn without_trust_documents_nobody_looked() {
        let fixture = Fixture::gcp().with(|facts| facts.trust = Fact::NotCollected);
        assert!(matches!(
            fixture.decide("GCP02"),
            Err(Gap::NotLookedAt(Need::Trust, _))
        ));
    }
}
