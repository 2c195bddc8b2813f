//! The published JWKS is not what the clouds accept.
//!
//! ## What it checks
//!
//! The published key set key by key: RSA or EC, a `kid` of its own, parameters in base64url without padding, at most 100 keys per
//! type, and no private members. What would be refused is an error; what only some readers dislike is a warning.
//!
//! ## Why it matters
//!
//! Sets that were put together by hand have standard base64 with `+` and `=`, a certificate where the modulus should be, or, worst,
//! the private key along with the public one: whoever can read it can then sign tokens for every ServiceAccount.
//!
//! ## How it looks
//!
//! ```text
//! InvalidIdentityToken: Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements
//! ```
//!
//! ## How to fix it
//!
//! Publish what the API server serves under `/openid/v1/jwks`, unchanged. A private key that was published has to be replaced, in
//! the cluster as well.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii issuer check` finds nothing in the set.
//!
//! ## References
//!
//! - RFC 7517, "JSON Web Key (JWK)": <https://www.rfc-editor.org/rfc/rfc7517>
//! - RFC 7518, section 6, parameters of RSA and EC keys: <https://www.rfc-editor.org/rfc/rfc7518#section-6>

use cwii_token::{JwksFlaw, JwksFlawKind};

use super::{PUBLISHED, document, of_published, unread, upload};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, known, not_collected},
    facts::Fact,
    report::Finding,
};

pub(super) const RULE: Rule =
    Rule::new("ISS14", PUBLISHED, check).blocked_by(&["ISS01", "ISS05", "ISS06", "ISS08"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    of_published(case, |issuer, fetching| {
        let url = issuer.jwks_url.as_deref();
        let found = |message: String| {
            upload(
                Finding::new("ISS14", message)
                    .at(document("JWKS", url.unwrap_or(&issuer.url)))
                    .answered(unread(fetching))
                    .fix("publish the keys as the API server serves them"),
                url,
            )
        };
        if let Fact::Invalid(why) = &issuer.jwks {
            return Ok(vec![found(format!("the published JWKS is none: {why}"))]);
        }
        let jwks = known(&issuer.jwks, Need::Published)?
            .ok_or_else(|| not_collected(Need::Published))?;
        let flaws = jwks.hygiene();
        let mut findings = Vec::new();
        // A published private key is more than a key that cannot be used.
        if let Some(flaw) = flaws
            .iter()
            .find(|flaw| matches!(flaw.kind, JwksFlawKind::PrivateParts { .. }))
        {
            let mut finding = found(format!("the published JWKS gives a private key away: {flaw}"));
            finding.provider_error = None;
            finding.fix.commands.clear();
            return Ok(vec![finding.fix(
                "take the set down, make a new signing key, and replace every token that the old one signed",
            )]);
        }
        let (fatal, odd): (Vec<&JwksFlaw>, Vec<&JwksFlaw>) =
            flaws.iter().partition(|flaw| is_fatal(&flaw.kind));
        for (flaws, warning) in [(fatal, false), (odd, true)] {
            let Some(first) = flaws.first() else { continue };
            let mut finding = found(format!("the published JWKS: {first}"));
            for flaw in &flaws[1..] {
                finding = finding.evidence("also", flaw.to_string());
            }
            if warning {
                finding.provider_error = None;
                finding = finding.warning();
            }
            findings.push(finding);
        }
        Ok(findings)
    })
}

/// Whether every reader refuses a key, or the set, for it.
fn is_fatal(kind: &JwksFlawKind) -> bool {
    matches!(
        kind,
        JwksFlawKind::NoKeys
            | JwksFlawKind::TooManyKeys { .. }
            | JwksFlawKind::NoKid
            | JwksFlawKind::EmptyKid
            | JwksFlawKind::MissingParameter { .. }
            | JwksFlawKind::NotBase64Url { .. }
            | JwksFlawKind::WrongLength { .. }
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        catalogue::Severity,
        doctor::Outcome,
        facts::Fact,
        rules::fixture::{
            Fixture,
            token::{CLUSTER_JWKS, jwks},
        },
    };

    fn with(member: &str, value: Value) -> Fixture {
        let mut set: Value = serde_json::from_str(CLUSTER_JWKS).unwrap();
        set["keys"][0][member] = value;
        Fixture::irsa()
            .publishing(move |issuer| issuer.jwks = Fact::Known(jwks(&set.to_string())))
    }

    #[test]
    fn the_api_servers_own_set_passes() {
        assert_eq!(Fixture::irsa().published().decide("ISS14"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_private_key_is_the_first_thing_to_say() {
        let fixture = with("d", json!("AQAB"));
        assert!(fixture.messages("ISS14")[0].contains("gives a private key away"));
        assert!(fixture.findings("ISS14")[0].fix.commands.is_empty());
    }

    #[test]
    fn what_nobody_reads_is_an_error_and_what_some_dislike_a_warning() {
        assert_eq!(with("kid", json!("")).severities("ISS14"), [Severity::Error]);
        assert_eq!(with("n", json!("a+b=")).severities("ISS14")[0], Severity::Error);
        assert_eq!(with("use", json!("enc")).severities("ISS14"), [Severity::Warning]);
        let none = Fixture::irsa()
            .publishing(|issuer| issuer.jwks = Fact::Known(jwks(r#"{"keys": []}"#)));
        assert_eq!(none.severities("ISS14"), [Severity::Error]);
        let html = Fixture::irsa().publishing(|issuer| issuer.jwks = Fact::Invalid("HTML".into()));
        assert_eq!(html.messages("ISS14"), ["the published JWKS is none: HTML"]);
    }
}
