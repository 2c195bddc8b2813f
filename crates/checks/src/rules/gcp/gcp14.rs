//! The keys that were uploaded to the provider are not those that the cluster signs with.
//!
//! ## What it checks
//!
//! For a provider with `oidc.jwksJson`, that the uploaded set holds the key of the token, where its key id is known, and every
//! key that the API server serves. With an upload Google never fetches the issuer's keys.
//!
//! ## Why it matters
//!
//! Uploading is how clusters without a public issuer federate. Nothing tells Google when the cluster gets new keys: tokens
//! signed with them fail until the set is uploaded again, all at once.
//!
//! ## How it looks
//!
//! ```text
//! Error code invalid_grant: Error connecting to the given credential's issuer.
//! ```
//!
//! ## How to fix it
//!
//! Upload the keys of `kubectl get --raw /openid/v1/jwks`, before the cluster begins to sign with a new one.
//!
//! ## How to verify the fix
//!
//! The key ids of `providers describe … --format='value(oidc.jwksJson)'` are those of the cluster. It takes effect within
//! seconds.
//!
//! ## References
//!
//! - Google Cloud, "Configure Workload Identity Federation with Kubernetes", uploading a JWKS:
//!   <https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes>
//! - Google Cloud, "gcloud iam workload-identity-pools providers update-oidc":
//!   <https://cloud.google.com/sdk/gcloud/reference/iam/workload-identity-pools/providers/update-oidc>

use cwii_contract::Provider;
use cwii_token::Jwks;
use cwii_trust::Shape;

use super::{each, exchange};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding, Subject},
};

pub(super) const RULE: Rule =
    Rule::new("GCP14", super::EXCHANGE, check).blocked_by(&["GCP01", "GCP02", "GCP03"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let exchange = exchange(case, mechanism)?;
        let Some((document, uploaded)) = exchange
            .document()
            .and_then(|document| Some((document, document.jwks_json.as_deref()?)))
        else {
            return Ok(Vec::new());
        };
        let provider = &exchange.provider;
        let subject = Subject {
            kind: "WorkloadIdentityPoolProvider".into(),
            name: provider.resource(),
            pointer: Some(document.pointers.of("jwksJson")),
            what: Some("`jwksJson`".into()),
            file: exchange.library.file_of(&[Shape::GoogleProvider]).map(str::to_owned),
            ..Subject::default()
        };
        let finding = |message: String| {
            Finding::new("GCP14", message)
                .of(Provider::Gcp)
                .at(subject.clone())
                .answered("Google will answer: invalid_grant: Error connecting to the given credential's issuer.")
                .fix("upload the cluster's present keys")
                .command("kubectl get --raw /openid/v1/jwks > cluster-jwks.json")
                .command(super::update_provider(provider, "--jwk-json-path", "cluster-jwks.json"))
                .applicable(Applicability::Unsafe)
        };
        let uploaded = match Jwks::parse(uploaded.as_bytes()) {
            Ok(uploaded) => uploaded,
            Err(error) => return Ok(vec![finding(format!("the uploaded keys cannot be read: {error}"))]),
        };
        let has = |kid: &str| uploaded.keys.iter().any(|key| key.kid.as_deref() == Some(kid));
        let of_token = exchange.token.token.header.kid.as_deref();
        let listed = |keys: &Jwks| {
            let kids: Vec<_> = keys.keys.iter().filter_map(|key| key.kid.as_deref()).collect();
            kids.join(", ")
        };
        if let Some(kid) = of_token.filter(|kid| !has(kid)) {
            return Ok(vec![
                finding(format!("the key `{kid}` that the token is signed with was not uploaded"))
                    .evidence("uploaded keys", listed(&uploaded)),
            ]);
        }
        let Some(cluster) = case.jwks()? else {
            return Ok(Vec::new());
        };
        let missing: Vec<_> = cluster
            .keys
            .iter()
            .filter_map(|key| key.kid.as_deref())
            .filter(|kid| !has(kid))
            .collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let finding = finding(format!(
            "the cluster serves keys that were not uploaded: {}",
            missing.join(", ")
        ))
        .evidence("uploaded keys", listed(&uploaded))
        .evidence("cluster's keys", listed(cluster));
        // The token of now works; the next ones may not.
        Ok(vec![if of_token.is_some() { finding.warning() } else { finding }])
    })
}

#[cfg(test)]
mod tests {
    use cwii_token::Jwks;
    use serde_json::json;

    use crate::{doctor::Outcome, facts::Fact, rules::fixture::Fixture};

    const MODULUS: &str = "u1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onLRnrq0_IzW7yWR7QkrmBL7jTKEn5u-qKhbwKfBstIs-bMY2Zkp18gnTxKLxoS2tFczGkPLPgizskuemMghRniWaoLcyehkd3qqGElvW_VDL5AaWTg0nLVkjRo9z-40RQzuVaE8AkAFmxZzow3x-VJYKdjykkJ0iT9wCS0DRTXu269V264Vf_3jvredZiKRkgwlL9xNAwxXFg0x_XFw005UWVRIkdgcKWTjpBP2dPwVZ4WWC-9aGVd-Gyn1o0CLelf4rEjGoXbAAEgAqeGUxrcIlbjXfbcmw";

    fn jwks(kids: &[&str]) -> String {
        let keys: Vec<_> = kids
            .iter()
            .map(|kid| json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": MODULUS, "e": "AQAB"}))
            .collect();
        json!({"keys": keys}).to_string()
    }

    fn with(cluster: &[&str], uploaded: &[&str]) -> Fixture {
        let uploaded = jwks(uploaded);
        Fixture::gcp()
            .google_provider(|provider| provider["oidc"]["jwksJson"] = uploaded.into())
            .with(|facts| {
                facts.jwks = Fact::Known(Jwks::parse(jwks(cluster).as_bytes()).unwrap());
            })
    }

    #[test]
    fn without_an_upload_there_is_nothing_to_compare() {
        assert_eq!(Fixture::gcp().decide("GCP14"), Ok(Outcome::Pass));
    }

    #[test]
    fn the_clusters_key_passes_and_another_one_does_not() {
        assert_eq!(with(&["new"], &["old", "new"]).decide("GCP14"), Ok(Outcome::Pass));
        assert_eq!(
            with(&["new"], &["old"]).messages("GCP14"),
            ["the key `new` that the token is signed with was not uploaded"]
        );
        assert_eq!(
            with(&["new", "old"], &["old"]).messages("GCP14"),
            ["the cluster serves keys that were not uploaded: new"]
        );
    }
}
