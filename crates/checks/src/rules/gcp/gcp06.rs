//! The mapped `google.subject` is longer than the 127 bytes that Google takes.
//!
//! ## What it checks
//!
//! The length of what the provider maps to `google.subject`. Without the provider's document the usual mapping is assumed,
//! `google.subject=assertion.sub`: 22 bytes of `system:serviceaccount:`, the namespace, a colon, and the ServiceAccount. That
//! needs no cloud and no running pod.
//!
//! ## Why it matters
//!
//! Namespaces have up to 63 and ServiceAccounts up to 253 characters, so that long generated names do not fit. Nothing but
//! the exchange itself says so.
//!
//! ## How it looks
//!
//! ```text
//! Error code invalid_request: The size of mapped attribute google.subject exceeds the 127 bytes limit.
//! ```
//!
//! ## How to fix it
//!
//! Map a shorter subject: the part of `sub` after `system:serviceaccount:` saves 22 bytes and stays unique in the cluster.
//! Members that name the subject must then be written anew. Where that does not suffice, give the ServiceAccount a shorter
//! name.
//!
//! ## How to verify the fix
//!
//! Run the doctor again with the provider's new document.
//!
//! ## References
//!
//! - Google Cloud, "REST Resource: projects.locations.workloadIdentityPools.providers", `attributeMapping`:
//!   <https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools.providers>
//! - Google Cloud, "Troubleshoot Workload Identity Federation":
//!   <https://cloud.google.com/iam/docs/troubleshooting-workload-identity-federation>

use cwii_contract::Provider;
use cwii_trust::google::{MAX_SUBJECT_BYTES, Reason};

use super::{add_binding, each, exchange, update_provider};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new("GCP06", super::EXCHANGE, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let pod = case.pod()?;
        let subject = case.subject()?;
        let too_long = subject.len() > MAX_SUBJECT_BYTES;
        // The provider's own mapping, where it can be evaluated.
        let (mapped, provider) = match exchange(case, mechanism) {
            Ok(exchange) => {
                let bytes = exchange.of("GCP06").find_map(|fault| match fault.reason {
                    Reason::SubjectTooLong { bytes } => Some(bytes),
                    _ => None,
                });
                let maps_subject = exchange.document().is_some_and(|document| {
                    document.attribute_mapping.get("google.subject").map(String::as_str)
                        == Some("assertion.sub")
                });
                match (bytes, exchange.reached("GCP06")) {
                    (None, Ok(())) => return Ok(Vec::new()),
                    (Some(bytes), _) => (Some(bytes), Some(exchange.provider)),
                    // Another fault comes first; the usual mapping can be counted all the same.
                    (None, Err(_)) if maps_subject => (None, Some(exchange.provider)),
                    (None, Err(gap)) => return if too_long { Err(gap) } else { Ok(Vec::new()) },
                }
            }
            Err(_) => (None, None),
        };
        if mapped.is_none() && !too_long {
            return Ok(Vec::new());
        }
        let bytes = mapped.unwrap_or(subject.len());
        let short = subject.trim_start_matches("system:serviceaccount:");
        let mut finding = Finding::new(
            "GCP06",
            format!("the mapped subject has {bytes} bytes, and Google takes {MAX_SUBJECT_BYTES}"),
        )
        .of(Provider::Gcp)
        .at(pod.subject_at("/spec/serviceAccountName", "`serviceAccountName`"))
        .evidence("sub", &subject)
        .evidence(
            "mapping",
            match mapped {
                Some(_) => "the provider's own",
                None => "google.subject=assertion.sub, the usual one",
            },
        )
        .answered("Google will answer: invalid_request: The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming assertion to produce a mapped attribute that is less than 127 bytes.")
        .fix("map what follows `system:serviceaccount:`, which every binding of the provider to a subject then has to name, or give the ServiceAccount a shorter name");
        if short.len() <= MAX_SUBJECT_BYTES
            && let Some(provider) = provider
        {
            let library = case.trust()?;
            let documents = library.google(None);
            let mapping = documents
                .provider(&provider)
                .into_iter()
                .flat_map(|document| &document.attribute_mapping)
                .filter(|(name, _)| *name != "google.subject")
                .map(|(name, expression)| format!("{name}={expression}"));
            let all: Vec<_> = std::iter::once(
                "google.subject=assertion.sub.extract('system:serviceaccount:{name}')".to_owned(),
            )
            .chain(mapping)
            .collect();
            finding = finding.command(update_provider(
                &provider,
                "--attribute-mapping",
                &all.join(","),
            ));
            if let Some(account) = super::service_account(case, mechanism)? {
                let member = format!(
                    "principal://iam.googleapis.com/{}/subject/{short}",
                    provider.pool_resource()
                );
                finding = finding.command(add_binding(&account.value, &member));
            }
            finding = finding.applicable(Applicability::Unsafe);
        }
        Ok(vec![finding])
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::Outcome,
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn long(fixture: Fixture) -> Fixture {
        let name = "a".repeat(110);
        fixture
            .pod(|pod| pod["spec"]["serviceAccountName"] = name.clone().into())
            .service_account(|account| account["metadata"]["name"] = name.clone().into())
    }

    #[test]
    fn a_short_subject_passes_with_and_without_documents() {
        assert_eq!(Fixture::gcp().decide("GCP06"), Ok(Outcome::Pass));
        let fixture = Fixture::gcp().with(|facts| facts.trust = Fact::NotCollected);
        assert_eq!(fixture.decide("GCP06"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_long_one_is_counted_before_anything_runs() {
        let fixture = long(Fixture::gcp()).with(|facts| {
            facts.trust = Fact::NotCollected;
            facts.discovery = Fact::NotCollected;
        });
        assert_eq!(
            fixture.messages("GCP06"),
            ["the mapped subject has 137 bytes, and Google takes 127"]
        );
    }

    #[test]
    fn the_providers_own_mapping_counts() {
        let fixture = long(Fixture::gcp());
        assert_eq!(fixture.messages("GCP06").len(), 1);
        let shorter = fixture.google_provider(|provider| {
            provider["attributeMapping"]["google.subject"] =
                "assertion.sub.extract('system:serviceaccount:{name}')".into();
        });
        assert_eq!(shorter.decide("GCP06"), Ok(Outcome::Pass));
    }
}
