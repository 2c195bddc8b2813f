//! The published issuer cannot be reached.
//!
//! ## What it checks
//!
//! With `--probe`, that the issuer's host resolves, to a public address, and that a connection to port 443 is answered. The doctor
//! looks from where it runs; a cloud looks from the internet.
//!
//! ## Why it matters
//!
//! AWS, Google and Entra fetch the keys themselves. A private control-plane endpoint, a host name that only an internal DNS
//! server knows, or a storage account with a firewall leave them without.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS90061: Request to External OIDC endpoint failed.
//! invalid_grant: Error connecting to the given credential's issuer.
//! InvalidIdentityToken: Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements
//! ```
//!
//! ## How to fix it
//!
//! Publish the two documents in public storage: S3, Cloud Storage, Blob Storage. For Google alone upload the keys to the provider
//! instead, and no issuer has to be public.
//!
//! ## How to verify the fix
//!
//! `curl https://ISSUER/.well-known/openid-configuration` from outside the network.
//!
//! ## References
//!
//! - AWS, "Creating OpenID Connect (OIDC) identity providers":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>
//! - Google, "Configure Workload Identity Federation with Kubernetes":
//!   <https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes>

use cwii_token::private_host;

use super::{PUBLISHED, document, of_published, unread};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    facts::{Fact, TransportProblemKind},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("ISS05", PUBLISHED, check).blocked_by(&["ISS01", "ISS08"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    of_published(case, |issuer, fetching| {
        let found = |message: String| {
            Finding::new("ISS05", message)
                .at(document("Issuer", &issuer.url))
                .answered(unread(fetching))
                .fix("publish discovery document and keys where the internet can read them")
                .command(format!("curl -sS {}", crate::rules::words::quote(&issuer.discovery_url)))
        };
        if let Some(problem) = &issuer.seen.trouble {
            let what = match problem.kind {
                TransportProblemKind::Dns => "the issuer's host name does not resolve",
                TransportProblemKind::Refused => "nobody listens at the issuer's address",
                TransportProblemKind::ConnectTimeout | TransportProblemKind::ReadTimeout => {
                    "the issuer does not answer in time"
                }
                TransportProblemKind::Broken => "the connection to the issuer breaks",
                // Certificates are ISS08, documents ISS06.
                TransportProblemKind::Certificate
                | TransportProblemKind::Tls
                | TransportProblemKind::Garbage
                | TransportProblemKind::TooLarge
                | TransportProblemKind::Redirect => return Ok(Vec::new()),
                TransportProblemKind::Proxy | TransportProblemKind::Other => {
                    return Err(Gap::Unknown(
                        Need::Published,
                        format!("the published issuer could not be read from here: {}", problem.detail),
                    ));
                }
            };
            return Ok(vec![
                found(what.to_owned())
                    .evidence("host", &problem.host)
                    .evidence("detail", &problem.detail),
            ]);
        }
        let private: Vec<_> = issuer
            .seen
            .addresses
            .iter()
            .filter_map(|address| {
                let text = match address {
                    std::net::IpAddr::V4(v4) => v4.to_string(),
                    std::net::IpAddr::V6(v6) => format!("[{v6}]"),
                };
                Some(format!("{address}, {}", private_host(&text)?))
            })
            .collect();
        if !private.is_empty() && private.len() == issuer.seen.addresses.len() {
            return Ok(vec![
                found("the issuer's host has no public address".into())
                    .evidence("addresses", private.join("; ")),
            ]);
        }
        Ok(match &issuer.discovery {
            Fact::Unreachable(why) => vec![
                found("the issuer cannot be reached from here".into()).evidence("detail", why),
            ],
            Fact::TimedOut => vec![found("the issuer does not answer in time".into())],
            Fact::NotCollected if issuer.seen.discovery.is_none() => {
                return Err(Gap::NotLookedAt(
                    Need::Published,
                    "--probe would show whether the issuer answers".into(),
                ));
            }
            _ => Vec::new(),
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::{Gap, Need, Outcome},
        facts::{Fact, TransportProblem, TransportProblemKind},
        rules::fixture::Fixture,
    };

    fn troubled(kind: TransportProblemKind) -> Fixture {
        Fixture::irsa().publishing(|issuer| {
            issuer.discovery = Fact::Unreachable("x".into());
            issuer.seen.trouble = Some(TransportProblem {
                host: "oidc.example.com".into(),
                kind,
                detail: "no such host".into(),
                proxy: None,
            });
        })
    }

    #[test]
    fn an_issuer_that_answers_passes() {
        assert_eq!(Fixture::irsa().published().decide("ISS05"), Ok(Outcome::Pass));
    }

    #[test]
    fn what_keeps_it_from_answering_is_named() {
        assert_eq!(
            troubled(TransportProblemKind::Dns).messages("ISS05"),
            ["the issuer's host name does not resolve"]
        );
        assert_eq!(
            troubled(TransportProblemKind::ConnectTimeout).messages("ISS05"),
            ["the issuer does not answer in time"]
        );
        assert_eq!(
            troubled(TransportProblemKind::Certificate).decide("ISS05"),
            Ok(Outcome::Pass)
        );
        assert!(matches!(
            troubled(TransportProblemKind::Proxy).decide("ISS05"),
            Err(Gap::Unknown(Need::Published, _))
        ));
    }

    #[test]
    fn a_private_address_is_named() {
        let fixture = Fixture::irsa()
            .publishing(|issuer| issuer.seen.addresses = vec!["10.1.2.3".parse().unwrap()]);
        assert_eq!(
            fixture.messages("ISS05"),
            ["the issuer's host has no public address"]
        );
    }

    #[test]
    fn documents_alone_do_not_show_it_and_without_any_nobody_looked() {
        let fixture = Fixture::irsa().publishing(|issuer| issuer.discovery = Fact::NotCollected);
        assert!(matches!(
            fixture.decide("ISS05"),
            Err(Gap::NotLookedAt(Need::Published, _))
        ));
        assert!(matches!(
            Fixture::irsa().decide("ISS05"),
            Err(Gap::NotLookedAt(Need::Published, _))
        ));
    }
}
