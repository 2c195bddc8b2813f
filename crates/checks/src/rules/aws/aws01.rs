//! Looks in the role's account for an IAM OIDC provider whose URL is exactly the issuer of the pod's token.
//!
//! ## What it checks
//!
//! The token's `iss`, without `https://`, is compared letter by letter with the URLs of the IAM OIDC providers of the account
//! that owns the role. A slash at the end, upper case, another path or a provider in another account are all a different
//! provider. A provider counts as missing only where the account's list was given, or where one was given that is the same
//! but for its spelling.
//!
//! ## Why it matters
//!
//! STS picks the provider by the issuer and the role's account before it looks at anything else. In a set-up across accounts
//! the provider belongs where the role is, not where the cluster is. A rebuilt cluster has another issuer.
//!
//! ## How it looks
//!
//! ```text
//! InvalidIdentityToken: No OpenIDConnect provider found in your account for https://oidc.example.com/prod
//! ```
//!
//! ## How to fix it
//!
//! Create the provider in the role's account, with the issuer spelt as in the token and the token's audience as client id.
//!
//! ## How to verify the fix
//!
//! `aws iam list-open-id-connect-providers` shows the issuer, and `kubectl cwii doctor --trust` with that list passes. IAM
//! needs a few seconds to spread the change.
//!
//! ## References
//!
//! - AWS IAM, "Create an OpenID Connect (OIDC) identity provider in IAM":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>
//! - AWS STS, "AssumeRoleWithWebIdentity":
//!   <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
//! - Amazon EKS, "Create an IAM OIDC provider for your cluster":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/enable-iam-roles-for-service-accounts.html>

use cwii_contract::Provider;
use cwii_trust::aws::{PrincipalDifference, Reason};

use super::{NEEDS, Ruling, answer, each, quote, region_flag, update_policy};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding, Subject},
};

pub(super) const RULE: Rule =
    Rule::new("AWS01", NEEDS, check).blocked_by(&["ISS01", "ISS04", "TOK06", "AWS10"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, decide)
}

fn decide(ruling: &Ruling<'_>) -> Result<Vec<Finding>, Gap> {
    ruling.providers()?;
    let (Some(Reason::ProviderMissing { arn, similar }), Some(error)) =
        (ruling.whole.reason(), ruling.whole.error())
    else {
        return Ok(Vec::new());
    };
    let account = ruling.role.account();
    let respelt = similar.as_ref().is_some_and(|(_, difference)| {
        matches!(
            difference,
            PrincipalDifference::Scheme
                | PrincipalDifference::TrailingSlash
                | PrincipalDifference::Case
        )
    });
    let library = ruling.case.trust()?;
    if !respelt && !library.has_all_aws_providers_of(account) {
        return Err(Gap::Unknown(
            Need::Trust,
            format!(
                "the IAM OIDC provider {arn} is not among the trust documents, and neither is the list of account \
                 {account}; `aws iam list-open-id-connect-providers` prints it"
            ),
        ));
    }
    let issuer = ruling.issuer();
    let mut finding = Finding::new(
        "AWS01",
        match similar.as_ref().map(|(_, difference)| *difference) {
            Some(PrincipalDifference::Account) => format!(
                "the IAM OIDC provider of `{issuer}` is in another account than the role, {account}"
            ),
            _ => format!("account {account} has no IAM OIDC provider for the issuer `{issuer}`"),
        },
    )
    .of(Provider::Aws)
    .at(Subject {
        kind: "IAM OIDC provider".into(),
        name: arn.clone(),
        file: similar
            .as_ref()
            .and_then(|(similar, _)| library.file_of_aws_provider(similar, &ruling.role))
            .map(str::to_owned),
        ..Subject::default()
    })
    .evidence("role", ruling.role.to_string());
    if let Some((similar, _)) = similar {
        finding = finding.compared(similar, arn);
    }
    let mut finding = ruling
        .claims(finding)
        .answered(answer(error))
        .fix("create the IAM OIDC provider in the role's account")
        .command(format!(
            "aws iam create-open-id-connect-provider --url {} --client-id-list {}{}",
            quote(&issuer),
            quote(&ruling.audience()),
            region_flag(&ruling.role)
        ))
        .applicable(Applicability::Unsafe);
    // A policy that names the provider that was meant is of no use without the right one.
    if let Some(policy) = ruling.mended() {
        finding = finding
            .fix("create the IAM OIDC provider in the role's account, and let the role's trust policy name it")
            .command(update_policy(&ruling.role, &policy));
    }
    Ok(vec![finding])
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, doctor::Gap, rules::fixture::Fixture};

    #[test]
    fn a_provider_of_exactly_the_issuer_passes() {
        assert_eq!(Fixture::irsa_trusted().decide("AWS01"), Ok(Outcome::Pass));
    }

    #[test]
    fn an_account_that_lists_none_has_none() {
        let fixture = Fixture::irsa_trusted().document("providers.json", r#"{"OpenIDConnectProviderList": []}"#)
            .without("provider.json");
        assert_eq!(
            fixture.messages("AWS01"),
            [format!("account 111122223333 has no IAM OIDC provider for the issuer `{}`", Fixture::EKS_ISSUER)]
        );
        let finding = fixture.findings("AWS01").remove(0);
        assert_eq!(
            finding.fix.commands,
            [format!(
                "aws iam create-open-id-connect-provider --url {} --client-id-list sts.amazonaws.com",
                Fixture::EKS_ISSUER
            )]
        );
        assert!(finding.provider_error.unwrap().contains("No OpenIDConnect provider found"));
    }

    #[test]
    fn a_provider_in_the_account_of_the_cluster_is_not_one_of_the_role() {
        let fixture = Fixture::irsa_trusted()
            .without("provider.json")
            .document("cluster-account.json", &format!(r#"{{"OpenIDConnectProviderList": [{{"Arn":
                "arn:aws:iam::444455556666:oidc-provider/{}"}}]}}"#, Fixture::EKS_PREFIX))
            .document("111122223333.json", r#"{"OpenIDConnectProviderList": []}"#);
        assert_eq!(
            fixture.messages("AWS01"),
            [format!("the IAM OIDC provider of `{}` is in another account than the role, 111122223333", Fixture::EKS_ISSUER)]
        );
    }

    #[test]
    fn a_slash_too_many_is_another_provider() {
        let fixture = Fixture::irsa_trusted()
            .without("provider.json")
            .document("provider.json", &format!(r#"{{"Url": "{}/", "ClientIDList": ["sts.amazonaws.com"],
                "ThumbprintList": []}}"#, Fixture::EKS_PREFIX));
        let finding = fixture.findings("AWS01").remove(0);
        assert!(finding.comparison.unwrap().found.ends_with('/'));
    }

    #[test]
    fn a_provider_that_was_not_given_is_not_missing() {
        let fixture = Fixture::irsa_trusted().without("provider.json");
        assert!(matches!(fixture.decide("AWS01"), Err(Gap::Unknown(..))));
        let other = fixture.document("other.json", r#"{"Url": "oidc.example.com/other",
            "ClientIDList": ["sts.amazonaws.com"], "ThumbprintList": []}"#);
        assert!(matches!(other.decide("AWS01"), Err(Gap::Unknown(..))));
    }

    #[test]
    fn without_trust_documents_it_is_not_looked_at() {
        assert!(matches!(Fixture::irsa().decide("AWS01"), Err(Gap::NotLookedAt(..))));
        assert!(matches!(Fixture::plain().decide("AWS01"), Ok(Outcome::NotApplicable(_))));
    }
}
