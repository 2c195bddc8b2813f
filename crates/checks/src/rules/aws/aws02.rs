//! Looks whether STS has to compare thumbprints for this issuer, and whether it can.
//!
//! ## What it checks
//!
//! STS trusts an issuer whose keys are served with a certificate of a public authority, and compares thumbprints only where
//! they are not. With `--probe` the issuer was fetched: if its certificate is one that public authorities vouch for, the
//! thumbprints do not matter. If it is not, the provider must have one; which of its certificates the issuer serves is not
//! seen from here.
//!
//! ## Why it matters
//!
//! A private authority behind the issuer, or a proxy that opens TLS, makes the thumbprint the only thing that STS goes by. It
//! changes whenever that authority's certificate does.
//!
//! ## How it looks
//!
//! ```text
//! InvalidIdentityToken: OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint
//! ```
//!
//! ## How to fix it
//!
//! Serve the issuer's documents with a certificate of a public authority, from an object store for instance; or put the SHA-1
//! of the topmost certificate that the server sends into the provider's thumbprints.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii issuer check` reaches the issuer without a certificate error.
//!
//! ## References
//!
//! - AWS IAM, "Obtain the thumbprint for an OpenID Connect identity provider":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc_verify-thumbprint.html>
//! - AWS IAM, "UpdateOpenIDConnectProviderThumbprint":
//!   <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateOpenIDConnectProviderThumbprint.html>

use cwii_contract::Provider;

use super::{NEEDS, Ruling, each, quote};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    facts::{Issuer, TransportProblemKind},
    report::{Finding, Subject},
};

pub(super) const RULE: Rule = Rule::new("AWS02", WITH_ISSUER, check).blocked_by(&["AWS01", "AWS10", "ISS08"]);

const WITH_ISSUER: &[Need] = &{
    let mut needs = [Need::Published; NEEDS.len() + 1];
    let mut index = 0;
    while index < NEEDS.len() {
        needs[index] = NEEDS[index];
        index += 1;
    }
    needs
};

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, decide)
}

fn decide(ruling: &Ruling<'_>) -> Result<Vec<Finding>, Gap> {
    let arn = ruling.provider();
    let Some(provider) = ruling.providers()?.iter().find(|known| known.arn == arn) else {
        return Err(Gap::Unknown(
            Need::Trust,
            format!("the IAM OIDC provider {arn} is not among the trust documents"),
        ));
    };
    let Some(issuer) = ruling.case.published()? else {
        return Err(Gap::Unknown(Need::Published, "nothing is published".into()));
    };
    if !untrusted(issuer) {
        return if issuer.seen.discovery.is_some() {
            Ok(Vec::new())
        } else {
            Err(Gap::NotLookedAt(
                Need::Published,
                "--probe would show the issuer's certificate".into(),
            ))
        };
    }
    if !provider.thumbprints.is_empty() {
        return Err(Gap::Unknown(
            Need::Published,
            "no public authority vouches for the issuer's certificate, so STS compares thumbprints; \
             `openssl s_client -showcerts` shows the certificates"
                .into(),
        ));
    }
    Ok(vec![
        Finding::new(
            "AWS02",
            "no public authority vouches for the issuer's certificate, and the IAM OIDC provider has no thumbprint",
        )
        .of(Provider::Aws)
        .at(Subject {
            kind: "IAM OIDC provider".into(),
            name: arn.clone(),
            pointer: Some(provider.pointers.of("ThumbprintList")),
            what: Some("`ThumbprintList`".into()),
            file: ruling
                .case
                .trust()?
                .file_of_aws_provider(&arn, &ruling.role)
                .map(str::to_owned),
            ..Subject::default()
        })
        .evidence("issuer", ruling.issuer())
        .answered(
            "AWS will answer: InvalidIdentityToken: OpenIDConnect provider's HTTPS certificate doesn't match \
             configured thumbprint",
        )
        .fix("serve the issuer with a certificate of a public authority, or give the provider the thumbprint")
        .command(format!(
            "aws iam update-open-id-connect-provider-thumbprint --open-id-connect-provider-arn {} --thumbprint-list SHA1",
            quote(&arn)
        )),
    ])
}

/// Whether the fetch ended at a certificate that is not trusted.
fn untrusted(issuer: &Issuer) -> bool {
    [&issuer.seen.trouble, &issuer.seen.jwks_trouble]
        .into_iter()
        .flatten()
        .any(|trouble| trouble.kind == TransportProblemKind::Certificate)
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::{Gap, Outcome},
        facts::{DocumentAnswer, Fact, Issuer, IssuerSeen, TransportProblem, TransportProblemKind},
        rules::fixture::{Fixture, Trusted},
    };

    fn published(trouble: Option<TransportProblemKind>) -> Trusted {
        let seen = IssuerSeen {
            discovery: trouble.is_none().then(DocumentAnswer::default),
            trouble: trouble.map(|kind| TransportProblem {
                host: "oidc.example.com".into(),
                kind,
                detail: "unknown issuer".into(),
                proxy: None,
            }),
            ..IssuerSeen::default()
        };
        Fixture::irsa_trusted().with(|fixture| {
            fixture.with(|facts| {
                facts.published = Fact::Known(Issuer {
                    url: Fixture::EKS_ISSUER.into(),
                    discovery_url: String::new(),
                    discovery: Fact::NotCollected,
                    jwks_url: None,
                    jwks: Fact::NotCollected,
                    seen,
                });
            })
        })
    }

    #[test]
    fn a_certificate_of_a_public_authority_needs_no_thumbprint() {
        assert_eq!(published(None).decide("AWS02"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_private_authority_without_thumbprint_is_told() {
        let private = published(Some(TransportProblemKind::Certificate));
        assert!(matches!(private.decide("AWS02"), Err(Gap::Unknown(..))));
        let bare = private.change("provider.json", |document| document["ThumbprintList"] = serde_json::json!([]));
        assert_eq!(bare.messages("AWS02").len(), 1);
    }

    #[test]
    fn without_a_probe_it_is_not_looked_at() {
        assert!(matches!(Fixture::irsa_trusted().decide("AWS02"), Err(Gap::NotLookedAt(..))));
    }
}
