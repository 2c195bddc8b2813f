//! The issuer's discovery document is missing, or not what the clouds expect.
//!
//! ## What it checks
//!
//! The document under `ISSUER/.well-known/openid-configuration`: answered with 200 and neither a redirect nor a demand for
//! credentials; JSON; `issuer` the cluster's; `jwks_uri` an https URL with a public host, which answers; the lists that the
//! standard requires; at least one algorithm that a cloud reads.
//!
//! ## Why it matters
//!
//! kube-apiserver fills `jwks_uri` with its own address unless it is told another: a document that was copied as it is points into
//! a private network. Storage in another region answers with a redirect, which clouds do not follow, and a missing file with an
//! HTML page.
//!
//! ## How it looks
//!
//! ```text
//! InvalidIdentityToken: Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements
//! ```
//!
//! ## How to fix it
//!
//! Upload the cluster's document with `jwks_uri` set to where the keys are published, or have kube-apiserver write it so with
//! `--service-account-jwks-uri`.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii issuer check` reads both documents from outside.
//!
//! ## References
//!
//! - OpenID Connect Discovery 1.0, section 3:
//!   <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata>
//! - AWS, "Creating OpenID Connect (OIDC) identity providers", prerequisites:
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>

use cwii_token::DiscoveryFlaw;
use serde_json::{Value, json};

use super::{document, near, of_published, unread};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, known},
    facts::{DocumentAnswer, Fact, TransportProblemKind},
    report::{Finding, Subject},
    rules::words::quote,
};

pub(super) const RULE: Rule = Rule::new(
    "ISS06",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Published,
        Need::Discovery,
    ],
    check,
)
.blocked_by(&["ISS01", "ISS03", "ISS05", "ISS07", "ISS08"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    of_published(case, |issuer, fetching| {
        let at = |pointer: Option<&str>| Subject {
            pointer: pointer.map(str::to_owned),
            what: pointer.map(|pointer| format!("`{}`", pointer.trim_start_matches('/'))),
            ..document("DiscoveryDocument", &issuer.discovery_url)
        };
        // The document as it should be: the cluster's own, with the keys where they are published.
        let right = |finding: Finding| {
            let Fact::Known(cluster) = &case.look(Need::Discovery).discovery else {
                return finding.command("kubectl get --raw /.well-known/openid-configuration");
            };
            let mut members = cluster.members.clone();
            members.insert(
                "jwks_uri".into(),
                json!(format!("{}/openid/v1/jwks", cluster.issuer.trim_end_matches('/'))),
            );
            finding.evidence("should be", Value::Object(members).to_string())
        };
        let found = |message: String, pointer: Option<&str>| {
            Finding::new("ISS06", message)
                .at(at(pointer))
                .answered(unread(fetching))
                .fix("publish the cluster's discovery document, with `jwks_uri` where the keys are published")
        };
        if let Some(problem) = refused(
            issuer.seen.discovery.as_ref(),
            issuer.seen.trouble.as_ref().map(|trouble| trouble.kind),
            &issuer.discovery,
        ) {
            return Ok(vec![right(found(
                format!("the discovery document {problem}"),
                None,
            ))]);
        }
        let discovery = match &issuer.discovery {
            Fact::Known(discovery) => discovery,
            // ISS05 and ISS08.
            Fact::Unreachable(_) | Fact::TimedOut => return Ok(Vec::new()),
            other => {
                known(other, Need::Published)?;
                return Ok(Vec::new());
            }
        };
        let mut findings = Vec::new();
        let cluster = case.discovery().ok().flatten();
        let expected = cluster.map_or(issuer.url.as_str(), |cluster| cluster.issuer.as_str());
        for flaw in discovery.flaws(expected) {
            let pointer = match &flaw {
                DiscoveryFlaw::Issuer { found, expected, .. } if near(found, expected) => continue,
                DiscoveryFlaw::Issuer { .. } => "/issuer",
                DiscoveryFlaw::JwksUriInvalid { .. }
                | DiscoveryFlaw::JwksUriNotHttps { .. }
                | DiscoveryFlaw::JwksUriPrivate { .. } => "/jwks_uri",
                DiscoveryFlaw::Missing { .. } => "",
                _ => "/id_token_signing_alg_values_supported",
            };
            let finding = right(found(
                format!("the published discovery document: {flaw}"),
                Some(pointer).filter(|pointer| !pointer.is_empty()),
            ));
            // The standard wants these lists; which cloud reads them is not known.
            findings.push(if matches!(flaw, DiscoveryFlaw::Missing { .. }) {
                finding.warning()
            } else {
                finding
            });
        }
        if findings.is_empty()
            && let Some(problem) = refused(
                issuer.seen.jwks.as_ref(),
                issuer.seen.jwks_trouble.as_ref().map(|trouble| trouble.kind),
                &issuer.jwks,
            )
            && !matches!(issuer.jwks, Fact::Invalid(_))
        {
            findings.push(
                found(format!("the JWKS that `jwks_uri` names {problem}"), Some("/jwks_uri"))
                    .evidence("jwks_uri", &discovery.jwks_uri)
                    .command(format!("curl -sSI {}", quote(&discovery.jwks_uri))),
            );
        } else if findings.is_empty()
            && let Fact::Unreachable(why) = &issuer.jwks
        {
            findings.push(
                found("the JWKS that `jwks_uri` names cannot be reached".into(), Some("/jwks_uri"))
                    .evidence("jwks_uri", &discovery.jwks_uri)
                    .evidence("detail", why),
            );
        }
        Ok(findings)
    })
}

/// Why a document was not handed out, as the rest of a sentence.
fn refused<T>(
    answer: Option<&DocumentAnswer>,
    trouble: Option<TransportProblemKind>,
    fact: &Fact<T>,
) -> Option<String> {
    if let Some(answer) = answer
        && (300..400).contains(&answer.status)
    {
        let to = answer
            .location
            .as_deref()
            .map_or_else(String::new, |to| format!(" to {to}"));
        return Some(format!("is redirected{to}, which clouds do not follow"));
    }
    if trouble == Some(TransportProblemKind::Redirect) {
        return Some("is redirected, which clouds do not follow".into());
    }
    Some(match fact {
        Fact::Absent => "is not found (404)".to_owned(),
        Fact::Denied(text) => format!("is shown to nobody without credentials ({text})"),
        Fact::Invalid(text) => format!("is none: {text}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::{Gap, Need, Outcome},
        facts::{DocumentAnswer, Fact},
        rules::fixture::Fixture,
    };

    #[test]
    fn the_clusters_own_document_passes() {
        assert_eq!(Fixture::irsa().published().decide("ISS06"), Ok(Outcome::Pass));
        assert!(matches!(
            Fixture::gke().published().decide("ISS06"),
            Ok(Outcome::NotApplicable(_))
        ));
    }

    #[test]
    fn a_document_that_is_not_there_or_none_is_named() {
        for (fact, message) in [
            (Fact::Absent, "the discovery document is not found (404)"),
            (
                Fact::Denied("403".into()),
                "the discovery document is shown to nobody without credentials (403)",
            ),
            (
                Fact::Invalid("expected a discovery document, found HTML".into()),
                "the discovery document is none: expected a discovery document, found HTML",
            ),
        ] {
            let fixture = Fixture::irsa().publishing(|issuer| issuer.discovery = fact);
            assert_eq!(fixture.messages("ISS06"), [message]);
        }
        let moved = Fixture::irsa().publishing(|issuer| {
            issuer.discovery = Fact::Invalid("a redirect".into());
            issuer.seen.discovery = Some(DocumentAnswer {
                status: 301,
                location: Some("https://bucket.s3.eu-west-1.amazonaws.com/".into()),
                ..DocumentAnswer::default()
            });
        });
        assert!(moved.messages("ISS06")[0].contains("is redirected to https://bucket"));
    }

    #[test]
    fn a_private_jwks_uri_is_named_with_the_document_that_would_do() {
        let fixture = Fixture::irsa()
            .publishing_document(json!({"jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks"}));
        assert_eq!(
            fixture.messages("ISS06"),
            [
                "the published discovery document: expected a public host in `jwks_uri`, found `10.0.0.1`, a private address"
            ]
        );
        assert!(
            fixture.findings("ISS06")[0].evidence[0]
                .value
                .contains("https://oidc.example.com/prod/openid/v1/jwks")
        );
    }

    #[test]
    fn another_issuer_is_named_and_another_spelling_left_to_iss03() {
        let other = Fixture::irsa().publishing_document(json!({"issuer": "https://old.example.com"}));
        assert_eq!(other.messages("ISS06").len(), 1);
        let spelling =
            Fixture::irsa().publishing_document(json!({"issuer": "https://oidc.example.com/prod/"}));
        assert_eq!(spelling.decide("ISS06"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_missing_list_is_a_warning() {
        let fixture = Fixture::irsa().publishing_document(json!({"subject_types_supported": null}));
        assert_eq!(fixture.severities("ISS06"), [Severity::Warning]);
    }

    #[test]
    fn keys_that_are_not_found_are_named() {
        let fixture = Fixture::irsa().publishing(|issuer| issuer.jwks = Fact::Absent);
        assert_eq!(
            fixture.messages("ISS06"),
            ["the JWKS that `jwks_uri` names is not found (404)"]
        );
        let fixture = Fixture::irsa().publishing(|issuer| issuer.jwks = Fact::Unreachable("x".into()));
        assert_eq!(
            fixture.messages("ISS06"),
            ["the JWKS that `jwks_uri` names cannot be reached"]
        );
    }

    #[test]
    fn without_the_document_nobody_looked() {
        let fixture = Fixture::irsa().publishing(|issuer| issuer.discovery = Fact::NotCollected);
        assert!(matches!(
            fixture.decide("ISS06"),
            Err(Gap::NotLookedAt(Need::Published, _))
        ));
    }
}
