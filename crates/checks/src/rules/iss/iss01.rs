//! The issuer of the cluster's tokens is a name that no cloud can reach.
//!
//! ## What it checks
//!
//! The host of `issuer` in the API server's discovery document: not a name inside the cluster (`kubernetes.default.svc`), not one
//! of a private network, not an IP address. A provider of Google that the cluster's keys were uploaded to needs no issuer that
//! can be reached.
//!
//! ## Why it matters
//!
//! `https://kubernetes.default.svc.cluster.local` is what kube-apiserver calls itself unless somebody sets another name. A cloud
//! fetches the keys from the issuer's address; with this one there is nothing to fetch from, and every other setting is in vain.
//!
//! ## How it looks
//!
//! ```text
//! InvalidIdentityToken: No OpenIDConnect provider found in your account for https://kubernetes.default.svc.cluster.local
//! ```
//!
//! ## How to fix it
//!
//! Publish discovery document and keys under a public https URL, then give kube-apiserver that URL as the first
//! `--service-account-issuer` and keep the old one as the second, so that running pods keep their access to the API server. On
//! managed platforms switch the OIDC issuer on. For Google alone upload the keys instead.
//!
//! ## How to verify the fix
//!
//! `kubectl get --raw /.well-known/openid-configuration` shows the public URL; `kubectl cwii issuer check` reads it from outside.
//!
//! ## References
//!
//! - Kubernetes, "Service account issuer discovery":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>
//! - Google, "Configure Workload Identity Federation with Kubernetes":
//!   <https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes>

use cwii_contract::Provider;
use cwii_token::private_host;
use url::Url;

use super::{NO_TOKEN, UPLOADED, concerning, fetching, presenting};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Finding, Subject},
};

pub(super) const RULE: Rule = Rule::new(
    "ISS01",
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
    let presenting = presenting(case)?;
    if presenting.is_empty() {
        return Ok(Outcome::not_applicable(NO_TOKEN));
    }
    let Some(discovery) = case.discovery()? else {
        return Err(Gap::Unknown(
            Need::Discovery,
            "the API server has no discovery document".into(),
        ));
    };
    let issuer = &discovery.issuer;
    let Some((reason, certain)) = unreachable(issuer) else {
        return Ok(Outcome::Pass);
    };
    let fetching = fetching(case, &presenting)?;
    let Some(first) = fetching.first() else {
        return Ok(Outcome::not_applicable(UPLOADED));
    };
    let finding = Finding::new(
        "ISS01",
        format!("the cluster's issuer is {reason}, which no cloud can reach"),
    )
    .at(Subject {
        kind: "Cluster".into(),
        name: "discovery document".into(),
        pointer: Some("/issuer".into()),
        what: Some("`issuer`".into()),
        ..Subject::default()
    })
    .evidence("issuer", issuer)
    .answered(match first.provider {
        Provider::Aws => format!(
            "AWS will answer: InvalidIdentityToken: No OpenIDConnect provider found in your account for {issuer}"
        ),
        Provider::Gcp => {
            "Google will answer: invalid_grant: Error connecting to the given credential's issuer.".into()
        }
        Provider::Az => format!(
            "Entra will answer: AADSTS700211: No matching federated identity record found for presented assertion issuer '{issuer}'."
        ),
    })
    .fix("publish the issuer under a public https URL, and make that the first --service-account-issuer of kube-apiserver, the old one the second")
    .command("kubectl get --raw /.well-known/openid-configuration")
    .command("kubectl get --raw /openid/v1/jwks");
    let finding = if certain { finding } else { finding.warning() };
    Ok(Outcome::of(concerning(case, vec![finding], &presenting, &fetching)))
}

/// Why an issuer cannot be reached, and whether that is certain: there are public certificates for public addresses.
fn unreachable(issuer: &str) -> Option<(&'static str, bool)> {
    let Ok(url) = Url::parse(issuer) else {
        return Some(("no URL", true));
    };
    let host = url.host_str()?;
    if let Some(reason) = private_host(host) {
        return Some((reason, true));
    }
    match url.host()? {
        url::Host::Domain(_) => None,
        _ => Some(("an IP address", false)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::{Gap, Need, Outcome},
        rules::fixture::{Fixture, token::CLUSTER_JWKS},
    };

    const PRIVATE: &str = "https://kubernetes.default.svc.cluster.local";

    #[test]
    fn a_public_issuer_passes() {
        assert_eq!(Fixture::irsa().issued().decide("ISS01"), Ok(Outcome::Pass));
        assert!(matches!(
            Fixture::plain().issuer(PRIVATE).decide("ISS01"),
            Ok(Outcome::NotApplicable(_))
        ));
        assert!(matches!(
            Fixture::gke().issuer(PRIVATE).decide("ISS01"),
            Ok(Outcome::NotApplicable(_))
        ));
    }

    #[test]
    fn a_name_inside_the_cluster_is_named() {
        assert_eq!(
            Fixture::cwii_all().issuer(PRIVATE).messages("ISS01"),
            ["the cluster's issuer is a name inside the cluster, which no cloud can reach"]
        );
        for issuer in [
            "https://10.0.0.1:6443",
            "https://rancher",
            "kubernetes/serviceaccount",
        ] {
            assert_eq!(
                Fixture::irsa().issuer(issuer).severities("ISS01"),
                [Severity::Error],
                "{issuer}"
            );
        }
        assert_eq!(
            Fixture::irsa().issuer("https://203.0.113.9").severities("ISS01"),
            [Severity::Warning]
        );
    }

    #[test]
    fn keys_that_were_uploaded_to_google_make_it_fine() {
        let without = Fixture::gcp().without_document("provider").issuer(PRIVATE);
        assert!(matches!(
            without.decide("ISS01"),
            Err(Gap::NotLookedAt(Need::Trust, _))
        ));
        let fetched = Fixture::gcp().issuer(PRIVATE);
        assert_eq!(fetched.messages("ISS01").len(), 1);
        let uploaded = Fixture::gcp()
            .google_provider(|provider| provider["oidc"]["jwksJson"] = json!(CLUSTER_JWKS))
            .issuer(PRIVATE);
        assert!(matches!(
            uploaded.decide("ISS01"),
            Ok(Outcome::NotApplicable(_))
        ));
    }
}
