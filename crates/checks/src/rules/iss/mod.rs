//! The issuer and its keys.

group! { iss01 iss02 iss03 iss04 iss05 iss06 iss07 iss08 iss09 iss10 iss11 iss12 iss13 iss14 iss15 iss16 }

use cwii_contract::{Provider, types::PoolProvider};
use cwii_token::text::{DifferenceKind, first_difference};

use crate::{
    doctor::{Case, Gap, Mechanism, Need, Outcome, not_collected},
    facts::{Fact, Issuer},
    report::{Finding, Subject},
};

/// What a rule looks at that asks whether the published issuer matters to this pod, and how it is published.
const PUBLISHED: &[Need] = &[
    Need::Pod,
    Need::Owners,
    Need::ServiceAccount,
    Need::Namespace,
    Need::WebhookSettings,
    Need::Node,
    Need::Trust,
    Need::Published,
];

const NO_TOKEN: &str = "nothing in this pod presents a token to a cloud";
const UPLOADED: &str = "the keys were uploaded to the provider, so that nobody asks the issuer";

/// The mechanisms that present a token.
fn presenting<'a>(case: &Case<'a>) -> Result<Vec<&'a Mechanism>, Gap> {
    case.pod()?;
    let presenting: Vec<_> = case
        .mechanisms()
        .iter()
        .filter(|mechanism| mechanism.kind.presents_token())
        .collect();
    if presenting.is_empty() {
        // One that asks for it may be what could not be read.
        case.service_account()?;
    }
    Ok(presenting)
}

/// Those whose cloud fetches the issuer's documents: all, save a provider of Google that the keys were uploaded to. Whether they
/// were is in the provider's document.
fn fetching<'a>(case: &Case<'a>, presenting: &[&'a Mechanism]) -> Result<Vec<&'a Mechanism>, Gap> {
    let mut fetching = Vec::new();
    let mut open = false;
    for mechanism in presenting {
        match uploaded(case, mechanism) {
            Some(true) => {}
            Some(false) => fetching.push(*mechanism),
            None => open = true,
        }
    }
    if fetching.is_empty() && open {
        return Err(Gap::NotLookedAt(
            Need::Trust,
            "--trust with the document of the workload identity pool provider would show whether the keys were uploaded to it, or are fetched from the issuer".into(),
        ));
    }
    Ok(fetching)
}

fn uploaded(case: &Case<'_>, mechanism: &Mechanism) -> Option<bool> {
    if mechanism.provider != Provider::Gcp {
        return Some(false);
    }
    let Fact::Known(library) = &case.look(Need::Trust).trust else {
        return None;
    };
    let given = mechanism.google_provider.as_ref()?.value.as_str();
    let at = given.find("projects/")?;
    let name: PoolProvider = format!("//iam.googleapis.com/{}", &given[at..])
        .parse()
        .ok()?;
    let documents = library.google(None);
    documents
        .provider(&name)
        .map(|provider| provider.jwks_json.is_some())
}

/// Asks one question of the published issuer, where its documents are fetched at all.
fn of_published(
    case: &Case<'_>,
    judge: impl FnOnce(&Issuer, &[&Mechanism]) -> Result<Vec<Finding>, Gap>,
) -> Result<Outcome, Gap> {
    let presenting = presenting(case)?;
    if presenting.is_empty() {
        return Ok(Outcome::not_applicable(NO_TOKEN));
    }
    let issuer = case
        .published()?
        .ok_or_else(|| not_collected(Need::Published))?;
    let fetching = fetching(case, &presenting)?;
    if fetching.is_empty() {
        return Ok(Outcome::not_applicable(UPLOADED));
    }
    let findings = judge(issuer, &fetching)?;
    Ok(Outcome::of(concerning(
        case,
        findings,
        &presenting,
        &fetching,
    )))
}

/// What concerns all clouds that the pod presents tokens to is said once; where keys were uploaded to one of them, once for
/// each of the others.
fn concerning(
    case: &Case<'_>,
    findings: Vec<Finding>,
    presenting: &[&Mechanism],
    fetching: &[&Mechanism],
) -> Vec<Finding> {
    if presenting
        .iter()
        .all(|mechanism| uploaded(case, mechanism) != Some(true))
    {
        return findings;
    }
    let mut clouds: Vec<_> = fetching
        .iter()
        .map(|mechanism| mechanism.provider)
        .collect();
    clouds.dedup();
    findings
        .into_iter()
        .flat_map(|finding| clouds.iter().map(move |cloud| finding.clone().of(*cloud)))
        .collect()
}

/// Whether two issuers differ in their spelling alone: slash, case, white space, scheme or the default port.
pub(super) fn near(a: &str, b: &str) -> bool {
    let plain = |text: &str| {
        let text: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && !c.is_control() && *c != '\u{a0}')
            .collect();
        let text = text.to_lowercase();
        let bare = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .unwrap_or(&text)
            .trim_end_matches('/');
        match bare.split_once('/') {
            Some((host, path)) => format!("{}/{path}", host.trim_end_matches(":443")),
            None => bare.trim_end_matches(":443").to_owned(),
        }
    };
    plain(a) == plain(b)
}

/// In what two spellings differ, as a clause.
fn difference(found: &str, expected: &str) -> String {
    first_difference(found, expected).map_or_else(String::new, |difference| {
        match difference.kind {
            // "differs at character 9" says less than both texts below it.
            DifferenceKind::Other => "is spelled differently".to_owned(),
            _ => difference.describe(),
        }
    })
}

/// A published document as the place of a finding.
fn document(kind: &str, url: &str) -> Subject {
    Subject {
        kind: kind.to_owned(),
        name: url.to_owned(),
        ..Subject::default()
    }
}

/// What the cloud of the first of these mechanisms says when it does not get the issuer's documents.
fn unread(fetching: &[&Mechanism]) -> &'static str {
    match fetching.first().map(|mechanism| mechanism.provider) {
        Some(Provider::Gcp) => {
            "Google will answer: invalid_grant: Error connecting to the given credential's issuer."
        }
        Some(Provider::Az) => {
            "Entra will answer: AADSTS90061: Request to External OIDC endpoint failed."
        }
        _ => {
            "AWS will answer: InvalidIdentityToken: Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements"
        }
    }
}

/// The commands that publish a key set where it is fetched from, as far as the address tells whose storage that is.
fn upload(finding: Finding, url: Option<&str>) -> Finding {
    let finding = finding.command("kubectl get --raw /openid/v1/jwks > jwks.json");
    match url.and_then(storage) {
        Some(command) => finding.command(command),
        None => finding,
    }
}

fn storage(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://")?;
    let (host, path) = rest.split_once('/')?;
    let json = "--content-type application/json";
    if host == "storage.googleapis.com" {
        return Some(format!(
            "gcloud storage cp jwks.json gs://{path} {json} --cache-control=max-age=300"
        ));
    }
    if let Some(account) = host.strip_suffix(".blob.core.windows.net") {
        let (container, name) = path.split_once('/')?;
        return Some(format!(
            "az storage blob upload --account-name {account} --container-name {container} --name {name} --file jwks.json {json} --overwrite"
        ));
    }
    let aws = host.strip_suffix(".amazonaws.com")?;
    let target = if aws == "s3" || aws.starts_with("s3.") || aws.starts_with("s3-") {
        path.to_owned()
    } else {
        let (bucket, _) = aws.split_once(".s3")?;
        format!("{bucket}/{path}")
    };
    Some(format!("aws s3 cp jwks.json s3://{target} {json}"))
}

#[cfg(test)]
mod tests {
    use super::{near, storage};

    #[test]
    fn spellings_of_one_issuer_are_near_and_others_are_not() {
        for other in [
            "https://oidc.example.com/prod/",
            "https://OIDC.example.com/prod",
            "http://oidc.example.com/prod",
            "oidc.example.com/prod",
            "https://oidc.example.com:443/prod",
            " https://oidc.example.com/prod\n",
        ] {
            assert!(near("https://oidc.example.com/prod", other), "{other}");
        }
        for other in [
            "https://oidc.example.com/test",
            "https://oidc.example.com:8443/prod",
            "https://oidc.example.com",
            "",
        ] {
            assert!(!near("https://oidc.example.com/prod", other), "{other}");
        }
    }

    #[test]
    fn the_address_of_the_keys_tells_how_they_are_uploaded() {
        for (url, command) in [
            (
                "https://bucket.s3.eu-central-1.amazonaws.com/prod/openid/v1/jwks",
                "aws s3 cp jwks.json s3://bucket/prod/openid/v1/jwks --content-type application/json",
            ),
            (
                "https://s3.eu-central-1.amazonaws.com/bucket/jwks",
                "aws s3 cp jwks.json s3://bucket/jwks --content-type application/json",
            ),
            (
                "https://account.blob.core.windows.net/oidc/openid/v1/jwks",
                "az storage blob upload --account-name account --container-name oidc --name openid/v1/jwks --file jwks.json --content-type application/json --overwrite",
            ),
            (
                "https://storage.googleapis.com/bucket/jwks",
                "gcloud storage cp jwks.json gs://bucket/jwks --content-type application/json --cache-control=max-age=300",
            ),
        ] {
            assert_eq!(storage(url).as_deref(), Some(command));
        }
        assert_eq!(storage("https://oidc.example.com/jwks"), None);
        assert_eq!(
            storage("https://oidc.eks.eu-central-1.amazonaws.com/id/1/keys"),
            None
        );
    }
}
