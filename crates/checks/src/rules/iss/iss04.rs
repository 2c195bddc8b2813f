//! The issuer is not a URL of the kind that clouds take.
//!
//! ## What it checks
//!
//! That `issuer` of the API server's discovery document is an `https` URL without query and fragment, and, for AWS, without a port
//! other than 443.
//!
//! ## Why it matters
//!
//! IAM refuses to register an issuer with a port, and no cloud fetches keys over plain HTTP. It shows only when the provider is
//! to be created, long after the cluster was.
//!
//! ## How it looks
//!
//! ```text
//! An error occurred (InvalidInput) when calling the CreateOpenIDConnectProvider operation: Invalid Open ID Connect Provider URL
//! ```
//!
//! ## How to fix it
//!
//! Publish the issuer on port 443, under a URL of host and path alone, and make that the first `--service-account-issuer`.
//!
//! ## How to verify the fix
//!
//! `kubectl get --raw /.well-known/openid-configuration` shows the new URL.
//!
//! ## References
//!
//! - AWS IAM API, "CreateOpenIDConnectProvider":
//!   <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html>
//! - OpenID Connect Core 1.0, section 2, `iss`:
//!   <https://openid.net/specs/openid-connect-core-1_0.html#IDToken>

use cwii_contract::Provider;
use url::Url;

use super::{NO_TOKEN, document, presenting};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "ISS04",
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
)
.blocked_by(&["ISS01"]);

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
    let found = |message: String| {
        Finding::new("ISS04", message)
            .at(document("Cluster", "discovery document"))
            .evidence("issuer", issuer)
            .fix("publish the issuer under an https URL of host and path alone, and make that the first --service-account-issuer of kube-apiserver")
    };
    // What is no URL at all is ISS01.
    let Ok(url) = Url::parse(issuer) else {
        return Ok(Outcome::Pass);
    };
    if url.scheme() != "https" {
        return Ok(Outcome::Found(vec![
            found(format!("the issuer's scheme is `{}`, expected `https`", url.scheme())),
        ]));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Ok(Outcome::Found(vec![found(
            "the issuer has a query or a fragment".into(),
        )]));
    }
    let of_aws = presenting
        .iter()
        .any(|mechanism| mechanism.provider == Provider::Aws);
    // `port()` is none for 443.
    match url.port() {
        Some(port) if of_aws => Ok(Outcome::Found(vec![
            found(format!("the issuer has port {port}, which IAM does not register"))
                .of(Provider::Aws),
        ])),
        _ => Ok(Outcome::Pass),
    }
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn host_and_path_pass() {
        assert_eq!(Fixture::irsa().issued().decide("ISS04"), Ok(Outcome::Pass));
        assert_eq!(
            Fixture::gcp().issuer("https://oidc.example.com:8443").decide("ISS04"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn a_port_is_for_aws_to_refuse_and_the_rest_for_all() {
        assert_eq!(
            Fixture::irsa().issuer("https://oidc.example.com:8443").messages("ISS04"),
            ["the issuer has port 8443, which IAM does not register"]
        );
        assert_eq!(
            Fixture::gcp().issuer("http://oidc.example.com").messages("ISS04"),
            ["the issuer's scheme is `http`, expected `https`"]
        );
        assert_eq!(
            Fixture::irsa().issuer("https://oidc.example.com/?a=b").messages("ISS04"),
            ["the issuer has a query or a fragment"]
        );
    }
}
