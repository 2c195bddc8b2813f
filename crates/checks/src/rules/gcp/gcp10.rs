//! The credentials document that the pod's SDKs follow cannot be followed.
//!
//! ## What it checks
//!
//! The document of type `external_account`, where the pod shows it: in the variable that `cwii-gcp-creds-writer` writes it
//! from, in the annotation `cloud.google.com/external-credentials-json`, or in the ConfigMap that
//! `GOOGLE_APPLICATION_CREDENTIALS` points into. Its type and members; that `credential_source.file` is where the pod's token
//! is mounted; that `token_url` is Google's; that the service account in it is the one that was asked for.
//!
//! ## Why it matters
//!
//! The document is often made once with `gcloud` and copied from workload to workload, with the path of another cluster's
//! token in it. SDKs follow any `token_url`, so that a foreign one hands the token to a stranger.
//!
//! ## How it looks
//!
//! ```text
//! google.auth.exceptions.RefreshError: File '/var/run/service-account/token' was not found.
//! ```
//!
//! ## How to fix it
//!
//! Make the document anew with `gcloud iam workload-identity-pools create-cred-config`, with the path at which the pod has
//! its token.
//!
//! ## How to verify the fix
//!
//! Run the doctor again; `kubectl cwii verify` follows the document.
//!
//! ## References
//!
//! - Google Cloud, "Configure Workload Identity Federation with Kubernetes":
//!   <https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes>
//! - Google, AIP-4117, "External Account Credentials (Workload Identity Federation)":
//!   <https://google.aip.dev/auth/4117>

use cwii_contract::{ExternalAccount, Provider};

use super::{credentials, each, provider_name};
use crate::{
    doctor::{Case, Gap, Mechanism, MechanismKind, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::federation::{quote, restart},
};

pub(super) const RULE: Rule = Rule::new(
    "GCP10",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::ConfigMaps,
        Need::Others,
    ],
    check,
)
// The document of cwii's webhook is replayed as a whole.
.blocked_by(&["CWII01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let Some(found) = credentials(case, mechanism)? else {
            return Ok(Vec::new());
        };
        let subject = found.subject;
        let problems = match found.account {
            Err(error) => vec![Finding::new("GCP10", error.to_string())],
            Ok(account) => follow(mechanism, &account),
        };
        Ok(problems
            .into_iter()
            .map(|finding| {
                mended(case, mechanism, finding)
                    .of(Provider::Gcp)
                    .at(subject.clone())
            })
            .collect())
    })
}

/// What keeps the SDKs from following a document that is one.
fn follow(mechanism: &Mechanism, account: &ExternalAccount) -> Vec<Finding> {
    let mut found = Vec::new();
    let mounted = mechanism.token.as_ref().and_then(|token| token.path.as_deref());
    if let Some(mounted) = mounted.filter(|mounted| *mounted != account.source.file) {
        found.push(
            Finding::new(
                "GCP10",
                "`credential_source.file` of the credentials document is not where the token is mounted",
            )
            .compared(&account.source.file, mounted)
            .answered(format!(
                "the SDK will say: File '{}' was not found.",
                account.source.file
            )),
        );
    }
    let host = account.token_url.host_str().unwrap_or_default();
    let universe = &account.universe_domain;
    let regional = host
        .strip_prefix("sts.")
        .is_some_and(|rest| rest.ends_with(&format!(".rep.{universe}")));
    if host != format!("sts.{universe}") && !regional {
        found.push(
            Finding::new(
                "GCP10",
                format!("`token_url` of the credentials document leads to `{host}`, which is not Google's"),
            )
            .compared(
                account.token_url.as_str(),
                format!("https://sts.{universe}/v1/token"),
            ),
        );
    }
    let asked = mechanism.google_service_account.as_ref();
    if let (Some(asked), Some(named)) = (asked, account.service_account())
        && asked.value != named
    {
        found.push(
            Finding::new(
                "GCP10",
                "the credentials document impersonates another service account than the one asked for",
            )
            .compared(named, &asked.value),
        );
    }
    found
}

fn mended(case: &Case<'_>, mechanism: &Mechanism, finding: Finding) -> Finding {
    if mechanism.kind != MechanismKind::Manual {
        return finding
            .fix("the webhook makes the document anew for a new pod")
            .command(restart(case))
            .applicable(Applicability::Safe);
    }
    let resource = match provider_name(case, mechanism) {
        Ok(Some((_, Ok(provider)))) => provider.resource(),
        _ => "projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER".to_owned(),
    };
    let file = mechanism
        .token
        .as_ref()
        .and_then(|token| token.path.clone())
        .unwrap_or_else(|| "TOKEN-FILE".to_owned());
    finding
        .fix("make the document anew, with the path of the pod's token, and put it into the ConfigMap")
        .command(format!(
            "gcloud iam workload-identity-pools create-cred-config {resource} --credential-source-file={} --output-file=credentials.json",
            quote(&file)
        ))
        .applicable(Applicability::Display)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::{
        doctor::{Gap, Need, Object, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn document(change: impl FnOnce(&mut Value)) -> Fixture {
        Fixture::google_by_hand().with(|facts| {
            let Fact::Known(maps) = &mut facts.config_maps else {
                panic!()
            };
            let mut map = maps[0].value().clone();
            let mut document: Value =
                serde_json::from_str(map["data"]["credentials.json"].as_str().unwrap()).unwrap();
            change(&mut document);
            map["data"]["credentials.json"] = document.to_string().into();
            maps[0] = Object::new(map);
        })
    }

    #[test]
    fn a_document_that_fits_the_pod_passes() {
        for fixture in [Fixture::google_by_hand(), Fixture::gcp(), Fixture::google_federation()] {
            assert_eq!(fixture.decide("GCP10"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn a_path_that_is_not_mounted_is_marked() {
        let fixture = document(|document| {
            document["credential_source"]["file"] = "/var/run/service-account/token".into();
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("GCP10") else {
            panic!()
        };
        let comparison = findings[0].comparison.as_ref().unwrap();
        assert_eq!(comparison.expected, "/var/run/secrets/tokens/gcp-token");
    }

    #[test]
    fn a_key_file_and_a_foreign_endpoint_are_named() {
        let fixture = document(|document| document["type"] = "service_account".into());
        assert_eq!(
            fixture.messages("GCP10"),
            ["the credentials document is of type `service_account`, not `external_account`"]
        );
        let fixture =
            document(|document| document["token_url"] = "https://sts.example.com/v1/token".into());
        assert!(fixture.messages("GCP10")[0].contains("`sts.example.com`"));
    }

    #[test]
    fn a_config_map_that_could_not_be_read_is_unknown() {
        let fixture = Fixture::google_by_hand().with(|facts| {
            facts.config_maps = Fact::Denied("get configmaps in namespace shop".into());
            facts.others = Fact::NotCollected;
        });
        assert!(matches!(
            fixture.decide("GCP10"),
            Err(Gap::Unknown(Need::ConfigMaps, _))
        ));
    }
}
