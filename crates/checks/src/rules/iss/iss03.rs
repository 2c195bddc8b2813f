//! The issuer is not spelled the same in the cluster, where it is published, and where it is trusted.
//!
//! ## What it checks
//!
//! `issuer` of the API server's discovery document, byte by byte, against `issuer` of the published document, the URL of the IAM
//! OIDC provider, `issuerUri` of the workload identity pool provider, and `issuer` of the federated identity credentials: whether
//! one differs in a slash, in case, in white space, in the scheme or in the default port. An issuer that is another one altogether
//! is AWS01, GCP03, AZ03 or ISS06, and these speak first where a trust document is what differs.
//!
//! ## Why it matters
//!
//! Clouds look the issuer up by its text. Two IAM OIDC providers may exist, one for `…/prod` and one for `…/prod/`.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS700211: No matching federated identity record found for presented assertion issuer 'https://oidc.example.com/prod/'
//! ```
//!
//! ## How to fix it
//!
//! Take the issuer of the cluster as it stands, and write it everywhere so. The cluster's is the one to keep: changing it cuts
//! running pods off.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii issuer check` compares the cluster's document with the published one; the doctor with `--trust` the rest.
//!
//! ## References
//!
//! - OpenID Connect Discovery 1.0, section 4.3:
//!   <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfigurationValidation>

use cwii_contract::{Provider, types::RoleArn};
use cwii_trust::Library;

use super::{NO_TOKEN, difference, document, near, presenting};
use crate::{
    doctor::{Case, Gap, Mechanism, Need, Outcome, Rule, known, not_collected},
    facts::Fact,
    report::{Finding, Subject},
};

pub(super) const RULE: Rule = Rule::new(
    "ISS03",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Discovery,
        Need::Published,
    ],
    check,
)
.blocked_by(&["ISS01", "TOK06", "AWS01", "AWS04", "GCP03", "AZ03"]);

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
    let cluster = discovery.issuer.as_str();
    let mut findings = Vec::new();
    let published = known(&case.look(Need::Published).published, Need::Published);
    let mut looked = false;
    if let Ok(Some(issuer)) = &published
        && let Fact::Known(other) = &issuer.discovery
    {
        looked = true;
        if other.issuer != cluster && near(&other.issuer, cluster) {
            findings.push(
                Finding::new(
                    "ISS03",
                    format!(
                        "`issuer` of the published discovery document {}",
                        difference(&other.issuer, cluster)
                    ),
                )
                .at(Subject {
                    pointer: Some("/issuer".into()),
                    what: Some("`issuer`".into()),
                    ..document("DiscoveryDocument", &issuer.discovery_url)
                })
                .compared(&other.issuer, cluster)
                .fix("publish the discovery document of the cluster as it is")
                .command("kubectl get --raw /.well-known/openid-configuration > openid-configuration"),
            );
        }
    }
    if let Fact::Known(library) = &case.look(Need::Trust).trust {
        looked = true;
        for mechanism in presenting {
            if let Some((kind, trusted)) = misspelt(library, mechanism, cluster) {
                findings.push(
                    Finding::new(
                        "ISS03",
                        format!("the issuer of the {kind} {}", difference(&trusted, cluster)),
                    )
                    .of(mechanism.provider)
                    .at(document(kind, &trusted))
                    .compared(trusted, cluster)
                    .fix("write the issuer as the cluster has it"),
                );
            }
        }
    }
    match published {
        Err(gap) if !looked => Err(gap),
        _ if !looked => Err(not_collected(Need::Published)),
        _ => Ok(Outcome::of(findings)),
    }
}

/// What a trust document has in place of the issuer, where it is nearly it and no document has it exactly.
fn misspelt(
    library: &Library,
    mechanism: &Mechanism,
    cluster: &str,
) -> Option<(&'static str, String)> {
    let (kind, trusted): (_, Vec<String>) = match mechanism.provider {
        Provider::Aws => {
            let role: Option<RoleArn> = mechanism
                .role
                .as_ref()
                .and_then(|given| given.value.parse().ok());
            let providers = library.aws(role.as_ref()).providers.unwrap_or_default();
            (
                "IAM OIDC provider",
                providers
                    .into_iter()
                    .map(|provider| format!("https://{}", provider.url.trim_start_matches("https://")))
                    .collect(),
            )
        }
        Provider::Gcp => {
            let given = mechanism.google_provider.as_ref()?;
            let documents = library.google(None);
            let named = |provider: &&cwii_trust::google::Provider| {
                given.value.ends_with(
                    provider
                        .name
                        .to_string()
                        .trim_start_matches("//iam.googleapis.com/"),
                )
            };
            (
                "workload identity pool provider",
                documents
                    .providers
                    .iter()
                    .filter(named)
                    .map(|provider| provider.issuer_uri.clone())
                    .collect(),
            )
        }
        Provider::Az => {
            let client = &mechanism.client_id.as_ref()?.value;
            let documents = library.entra(Some(client));
            (
                "federated identity credential",
                documents
                    .find(client)?
                    .credentials
                    .iter()
                    .map(|credential| credential.issuer.clone())
                    .collect(),
            )
        }
    };
    if trusted.iter().any(|one| one == cluster) {
        return None;
    }
    let one = trusted.into_iter().find(|one| near(one, cluster))?;
    Some((kind, one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Need, Outcome},
        rules::fixture::Fixture,
    };

    #[test]
    fn one_spelling_everywhere_passes() {
        assert_eq!(Fixture::cwii_all().published().decide("ISS03"), Ok(Outcome::Pass));
        assert_eq!(Fixture::irsa_trusted().decide("ISS03"), Ok(Outcome::Pass));
        assert_eq!(Fixture::gcp().decide("ISS03"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_published_document_with_a_slash_more_is_compared() {
        let fixture = Fixture::irsa()
            .publishing_document(json!({"issuer": "https://oidc.example.com/prod/"}));
        assert_eq!(
            fixture.messages("ISS03"),
            ["`issuer` of the published discovery document has a trailing slash too many"]
        );
        let other = Fixture::irsa().publishing_document(json!({"issuer": "https://other.example.com"}));
        assert_eq!(other.decide("ISS03"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_trust_document_with_another_spelling_is_compared() {
        let fixture = Fixture::gcp().google_provider(|provider| {
            provider["oidc"]["issuerUri"] = json!("https://oidc.example.com/prod/");
        });
        assert_eq!(
            fixture.messages("ISS03"),
            ["the issuer of the workload identity pool provider has a trailing slash too many"]
        );
        let trusted = Fixture::irsa_trusted();
        let fixture = trusted
            .built()
            .issuer(&format!("{}/", Fixture::EKS_ISSUER));
        assert_eq!(
            fixture.messages("ISS03"),
            ["the issuer of the IAM OIDC provider lacks a trailing slash"]
        );
    }

    #[test]
    fn with_nothing_to_compare_with_nobody_looked() {
        assert!(matches!(
            Fixture::irsa().issued().decide("ISS03"),
            Err(Gap::NotLookedAt(Need::Published, _))
        ));
    }
}
