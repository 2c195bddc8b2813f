//! The TLS certificate of the published issuer is not one that clouds trust.
//!
//! ## What it checks
//!
//! With `--probe`, the connection to the issuer with the roots that browsers have: a chain that is complete, not expired, and for
//! the issuer's host. A certificate that expires within seven days is a warning.
//!
//! ## Why it matters
//!
//! Google and Entra accept public authorities only. AWS accepts another one whose thumbprint was registered. A chain without its
//! intermediate certificate works in browsers, which keep those that they have seen, and fails elsewhere; behind a load balancer
//! it may fail now and then.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS50166: Request to External OIDC endpoint failed.
//! InvalidIdentityToken: OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint
//! ```
//!
//! ## How to fix it
//!
//! Serve the whole chain of a certificate from a public authority, or publish the documents in public storage.
//!
//! ## How to verify the fix
//!
//! `openssl s_client -connect HOST:443 -servername HOST -verify_return_error </dev/null` ends with `Verify return code: 0 (ok)`.
//!
//! ## References
//!
//! - AWS, "Obtain the thumbprint for an OpenID Connect identity provider":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc_verify-thumbprint.html>

use cwii_token::span::humanize;
use jiff::SignedDuration;

use super::{PUBLISHED, document, of_published, unread};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    facts::TransportProblemKind,
    report::Finding,
    rules::words::quote,
};

pub(super) const RULE: Rule = Rule::new("ISS08", PUBLISHED, check).blocked_by(&["ISS01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    of_published(case, |issuer, fetching| {
        let seen = &issuer.seen;
        let troubles = [(&seen.trouble, &issuer.url), (&seen.jwks_trouble, issuer.jwks_url.as_ref().unwrap_or(&issuer.url))];
        for (trouble, url) in troubles {
            let Some(problem) = trouble else { continue };
            if !matches!(
                problem.kind,
                TransportProblemKind::Certificate | TransportProblemKind::Tls
            ) {
                continue;
            }
            let host = quote(&problem.host);
            return Ok(vec![
                Finding::new("ISS08", "the issuer's TLS certificate is not trusted")
                    .at(document("Issuer", url))
                    .evidence("host", &problem.host)
                    .evidence("detail", &problem.detail)
                    .answered(unread(fetching))
                    .fix("serve the whole chain of a certificate from a public authority")
                    .command(format!(
                        "openssl s_client -connect {host}:443 -servername {host} -showcerts </dev/null"
                    )),
            ]);
        }
        if let Some(expires) = seen.certificate_expires {
            let left = expires.duration_since(case.now());
            if left < SignedDuration::from_hours(7 * 24) {
                return Ok(vec![
                    Finding::new(
                        "ISS08",
                        format!("the issuer's TLS certificate expires in {}", humanize(left)),
                    )
                    .at(document("Issuer", &issuer.url))
                    .evidence("expires", expires.to_string())
                    .fix("renew the certificate")
                    .warning(),
                ]);
            }
            return Ok(Vec::new());
        }
        // A connection that came about was verified.
        if seen.discovery.is_some() || seen.trouble.is_some() {
            return Ok(Vec::new());
        }
        Err(Gap::NotLookedAt(
            Need::Published,
            "--probe would show the issuer's certificate".into(),
        ))
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        catalogue::Severity,
        doctor::{Gap, Need, Outcome},
        facts::{DocumentAnswer, Fact, TransportProblem, TransportProblemKind},
        rules::fixture::Fixture,
    };

    #[test]
    fn a_connection_that_came_about_passes() {
        let fixture = Fixture::irsa()
            .publishing(|issuer| issuer.seen.discovery = Some(DocumentAnswer::default()));
        assert_eq!(fixture.decide("ISS08"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_private_authority_is_named() {
        let fixture = Fixture::irsa().publishing(|issuer| {
            issuer.discovery = Fact::Unreachable("x".into());
            issuer.seen.trouble = Some(TransportProblem {
                host: "oidc.example.com".into(),
                kind: TransportProblemKind::Certificate,
                detail: "UnknownIssuer".into(),
                proxy: None,
            });
        });
        assert_eq!(
            fixture.messages("ISS08"),
            ["the issuer's TLS certificate is not trusted"]
        );
    }

    #[test]
    fn one_that_expires_soon_is_a_warning() {
        let fixture = Fixture::irsa().publishing(|issuer| {
            issuer.seen.certificate_expires = Some("2026-11-25T12:00:00Z".parse().unwrap());
        });
        assert_eq!(
            fixture.messages("ISS08"),
            ["the issuer's TLS certificate expires in 3 d"]
        );
        assert_eq!(fixture.severities("ISS08"), [Severity::Warning]);
    }

    #[test]
    fn documents_alone_do_not_show_it() {
        assert!(matches!(
            Fixture::irsa().published().decide("ISS08"),
            Err(Gap::NotLookedAt(Need::Published, _))
        ));
    }
}
