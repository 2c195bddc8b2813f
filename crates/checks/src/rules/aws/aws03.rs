//! Looks for the token's audience among the client ids of the IAM OIDC provider.
//!
//! ## What it checks
//!
//! The audience of the token (`azp` where the token has one) is looked up, letter by letter, in the `ClientIDList` of the
//! provider that the role's account has for the issuer. That the token has the audience that was asked for is another
//! check's, TOK03, and goes first.
//!
//! ## Why it matters
//!
//! A client id is the audience that the provider was registered for. Kubernetes mints a token for any audience that a pod
//! asks for; STS accepts those only that the provider lists.
//!
//! ## How it looks
//!
//! ```text
//! InvalidIdentityToken: Incorrect token audience
//! InvalidIdentityToken: The web identity token provided could not be validated. See the AssumeRoleWithWebIdentity documentation for requirements.
//! ```
//!
//! The first is the older text; since 2026 the second stands for several causes.
//!
//! ## How to fix it
//!
//! Add the audience to the provider's client ids, or ask for a token with a registered one. The trust policy's condition on
//! `:aud` must agree.
//!
//! ## How to verify the fix
//!
//! `aws iam get-open-id-connect-provider --open-id-connect-provider-arn ARN` lists the audience in `ClientIDList`.
//!
//! ## References
//!
//! - AWS IAM, "Create an OpenID Connect (OIDC) identity provider in IAM":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>
//! - AWS IAM, "AddClientIDToOpenIDConnectProvider":
//!   <https://docs.aws.amazon.com/IAM/latest/APIReference/API_AddClientIDToOpenIDConnectProvider.html>

use cwii_contract::Provider;
use cwii_trust::aws::Reason;

use super::{NEEDS, Ruling, answer, each, quote, region_flag};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding, Subject},
};

pub(super) const RULE: Rule =
    Rule::new("AWS03", NEEDS, check).blocked_by(&["TOK03", "AWS01", "AWS10"]);

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
    if provider.client_ids.is_none() {
        return Err(Gap::Unknown(
            Need::Trust,
            format!(
                "the client ids of the IAM OIDC provider are not among the trust documents; \
                 `aws iam get-open-id-connect-provider --open-id-connect-provider-arn {arn}` prints them"
            ),
        ));
    }
    if let Some(error) = ruling.token_refused() {
        return Err(Gap::Unknown(
            Need::Claims,
            format!("STS refuses the token before it looks at the client ids: {}", error.message),
        ));
    }
    let (Some(Reason::AudienceNotRegistered { audience, .. }), Some(error)) =
        (ruling.whole.reason(), ruling.whole.error())
    else {
        return Ok(Vec::new());
    };
    let clause = &ruling.whole.decided_by;
    let mut finding = Finding::new(
        "AWS03",
        format!("audience `{audience}` is not among the client ids of the IAM OIDC provider"),
    )
    .of(Provider::Aws)
    .at(Subject {
        kind: "IAM OIDC provider".into(),
        name: arn.clone(),
        pointer: Some(clause.pointer.clone()),
        what: Some("`ClientIDList`".into()),
        file: ruling
            .case
            .trust()?
            .file_of_aws_provider(&arn, &ruling.role)
            .map(str::to_owned),
        ..Subject::default()
    });
    if let Some(comparison) = &clause.comparison {
        finding = finding.compared(&comparison.expected, audience);
    }
    Ok(vec![
        ruling
            .claims(finding)
            .answered(answer(error))
            .fix("add the audience to the provider's client ids, or ask for a token with one of them")
            .command(format!(
                "aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {} --client-id {}{}",
                quote(&arn),
                quote(audience),
                region_flag(&ruling.role)
            ))
            .applicable(Applicability::Unsafe),
    ])
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::{Gap, Outcome},
        rules::fixture::Fixture,
    };

    #[test]
    fn a_registered_audience_passes() {
        assert_eq!(Fixture::irsa_trusted().decide("AWS03"), Ok(Outcome::Pass));
    }

    #[test]
    fn an_audience_that_is_not_registered_is_named_with_those_that_are() {
        let fixture = Fixture::irsa_trusted()
            .without("provider.json")
            .document("provider.json", &Fixture::provider(&["https://kubernetes.default.svc"]));
        let finding = fixture.findings("AWS03").remove(0);
        assert_eq!(
            finding.message,
            "audience `sts.amazonaws.com` is not among the client ids of the IAM OIDC provider"
        );
        let comparison = finding.comparison.unwrap();
        assert_eq!(
            (comparison.found.as_str(), comparison.expected.as_str()),
            ("https://kubernetes.default.svc", "sts.amazonaws.com")
        );
        assert!(finding.fix.commands[0].ends_with("--client-id sts.amazonaws.com"));
    }

    #[test]
    fn a_list_does_not_tell_client_ids() {
        let fixture = Fixture::irsa_trusted().without("provider.json").document(
            "providers.json",
            &format!(
                r#"{{"OpenIDConnectProviderList": [{{"Arn": "arn:aws:iam::111122223333:oidc-provider/{}"}}]}}"#,
                Fixture::EKS_PREFIX
            ),
        );
        assert!(matches!(fixture.decide("AWS03"), Err(Gap::Unknown(..))));
        assert_eq!(fixture.decide("AWS01"), Ok(Outcome::Pass));
    }
}
