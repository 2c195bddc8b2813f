//! The token's audience is not the one that the cloud expects.
//!
//! ## What it checks
//!
//! The audience that annotations ask for, and the one in the pod's projected volume, against what the cloud takes:
//! `sts.amazonaws.com`, the full name of a workload identity pool provider, `api://AzureADTokenExchange` or its names in the
//! sovereign clouds. A value that differs from it in a slash, in case, in white space or in a scheme is a slip. Another value is
//! none: a cloud takes what was registered there, which AWS03, GCP04 and AZ04 compare with its documents. A token in the pod
//! that has another audience than was asked for, or several for AWS, is reported too.
//!
//! ## Why it matters
//!
//! Audiences are compared byte by byte. No cloud trims a slash or folds case.
//!
//! ## How it looks
//!
//! ```text
//! An error occurred (InvalidIdentityToken) when calling the AssumeRoleWithWebIdentity operation: The web identity token provided could not be validated. See the AssumeRoleWithWebIdentity documentation for requirements.
//! invalid_grant: The audience in ID Token [sts.googleapis.com/] does not match the expected audience.
//! AADSTS700212: No matching federated identity record found for presented assertion audience 'api://azureadtokenexchange'
//! ```
//!
//! ## How to fix it
//!
//! Correct the annotation, or take it away where the default is right, then make the pods anew: a token keeps the audience that
//! it was minted with.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii token decode --pod NAME --provider PROVIDER` shows `aud` as expected.
//!
//! ## References
//!
//! - AWS, "Create an IAM OIDC provider for your cluster":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/enable-iam-roles-for-service-accounts.html>
//! - Google, "Workload Identity Federation", preparing the provider:
//!   <https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes>
//! - Microsoft, "Workload identity federation", important considerations:
//!   <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations>

use cwii_contract::{Provider, types::RoleArn};
use cwii_token::text::first_difference;

use super::{NO_TOKEN, claim, found, reader};
use crate::{
    doctor::{Case, Gap, Given, Mechanism, MechanismKind, Need, Object, Outcome, PodToken, Rule},
    facts::Fact,
    report::{Applicability, Finding, Subject},
    rules::{
        federation::{annotate, each},
        words::{quote, restarted},
    },
};

pub(super) const RULE: Rule = Rule::new("TOK03", super::NEEDS, check)
    .blocked_by(&["POD08", "CWII01", "CWII06", "GCP01", "TOK11"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let concerns = |mechanism: &Mechanism| {
        mechanism.kind.presents_token() || mechanism.kind == MechanismKind::EksPodIdentity
    };
    each(case, concerns, NO_TOKEN, |mechanism| {
        let expected = expected(mechanism);
        let asked = asked_for(case, mechanism, &expected);
        if let Some(finding) = asked {
            return Ok(vec![finding]);
        }
        if let Some(token) = &mechanism.token
            && let Some(finding) = in_pod(case, mechanism, token, &expected)?
        {
            return Ok(vec![finding]);
        }
        Ok(documented(case, mechanism)?.into_iter().collect())
    })
}

/// What the cloud takes without anybody having registered anything else; the usual one first.
fn expected(mechanism: &Mechanism) -> Vec<String> {
    match mechanism.provider {
        Provider::Aws if mechanism.kind == MechanismKind::EksPodIdentity => {
            vec!["pods.eks.amazonaws.com".into()]
        }
        Provider::Aws => vec!["sts.amazonaws.com".into()],
        Provider::Az => [
            "api://AzureADTokenExchange",
            "api://AzureADTokenExchangeUSGov",
            "api://AzureADTokenExchangeChina",
        ]
        .map(str::to_owned)
        .into(),
        Provider::Gcp => {
            let mut expected = Vec::new();
            let provider = mechanism
                .google_provider
                .as_ref()
                .map(|given| given.value.trim().trim_end_matches('/'));
            if let Some(at) = provider.and_then(|name| Some(&name[name.find("projects/")?..])) {
                let name = format!("//iam.googleapis.com/{at}");
                expected.extend([name.clone(), format!("https:{name}")]);
            }
            if mechanism.kind == MechanismKind::GoogleFederation {
                expected.push("sts.googleapis.com".into());
            }
            expected
        }
    }
}

/// The expected audience that this one is a slip of the pen away from.
fn slip<'e>(audience: &str, expected: &'e [String]) -> Option<&'e str> {
    let plain = |text: &str| {
        let text: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && !c.is_control() && !['"', '\'', '\u{a0}'].contains(c))
            .collect();
        let text = text.to_lowercase();
        let bare = text
            .trim_start_matches("https:")
            .trim_start_matches("http:")
            .trim_start_matches("api:");
        bare.trim_matches('/').to_owned()
    };
    if expected.iter().any(|one| one == audience) {
        return None;
    }
    expected
        .iter()
        .find(|one| plain(one) == plain(audience))
        .map(String::as_str)
}

/// Whether the cloud's documents register exactly this audience.
fn registered(case: &Case<'_>, mechanism: &Mechanism, audience: &str) -> bool {
    let Fact::Known(library) = &case.look(Need::Trust).trust else {
        return false;
    };
    let has = |values: &[String]| values.iter().any(|value| value == audience);
    match mechanism.provider {
        Provider::Aws => {
            let role: Option<RoleArn> = mechanism
                .role
                .as_ref()
                .and_then(|given| given.value.parse().ok());
            library
                .aws(role.as_ref())
                .providers
                .iter()
                .flatten()
                .any(|provider| provider.client_ids.as_deref().is_some_and(has))
        }
        Provider::Gcp => library
            .google(None)
            .providers
            .iter()
            .any(|provider| has(&provider.allowed_audiences)),
        Provider::Az => mechanism.client_id.as_ref().is_some_and(|client| {
            library
                .entra(Some(&client.value))
                .find(&client.value)
                .is_some_and(|application| {
                    application
                        .credentials
                        .iter()
                        .any(|credential| has(&credential.audiences))
                })
        }),
    }
}

/// The audience that somebody asked for is a slip.
fn asked_for(case: &Case<'_>, mechanism: &Mechanism, expected: &[String]) -> Option<Finding> {
    let asked = mechanism.audience.as_ref()?;
    let subject = asked.subject.as_ref()?;
    let right = slip(&asked.value, expected)?;
    if registered(case, mechanism, &asked.value) {
        return None;
    }
    let mut finding = mismatch(mechanism, &asked.value, right).at(subject.clone());
    if let (Some(object), Some(key)) = (object(case, subject), key(subject)) {
        finding = crate::rules::words::set_by(
            finding,
            case,
            object,
            &["metadata", "annotations", &key],
        );
        finding = annotate(case, subject, &key, right)
            .into_iter()
            .fold(finding, Finding::command)
            .applicable(Applicability::Safe);
    }
    Some(finding.fix("correct the annotation, then restart the workload"))
}

/// The audience in the pod's own volume is not what was asked for.
fn in_pod(
    case: &Case<'_>,
    mechanism: &Mechanism,
    token: &PodToken,
    expected: &[String],
) -> Result<Option<Finding>, Gap> {
    let at = case.pod()?.subject_at(
        &format!("{}/audience", token.source.pointer),
        format!("audience of the token in volume `{}`", token.source.volume),
    );
    let Some(audience) = token.audience.as_deref() else {
        let Some(right) = expected.first() else {
            return Ok(None);
        };
        return Ok(Some(of_template(
            case,
            Finding::new(
                "TOK03",
                format!(
                    "the token in volume `{}` has the API server's own audience, not one of {}",
                    token.source.volume,
                    reader(mechanism.provider)
                ),
            )
            .of(mechanism.provider)
            .at(at)
            .compared("", right)
            .answered(answer(mechanism, "")),
            token,
            right,
        )));
    };
    if let Some(right) = slip(audience, expected)
        && !registered(case, mechanism, audience)
    {
        return Ok(Some(of_template(
            case,
            mismatch(mechanism, audience, right).at(at),
            token,
            right,
        )));
    }
    let Some(asked) = &mechanism.audience else {
        return Ok(None);
    };
    let taken = expected.iter().any(|one| one == audience);
    // What somebody wrote by hand is what they asked for; what the cloud takes anyhow differs by nobody's asking only.
    if asked.value == audience
        || mechanism.kind == MechanismKind::Manual
        || taken && asked.subject.is_none()
        || registered(case, mechanism, audience)
        || set_after_the_pod(case, asked)?
    {
        return Ok(None);
    }
    Ok(Some(restarted(
        mismatch(mechanism, audience, &asked.value)
            .at(at)
            .fix("make the pod anew, so that it takes the audience that is asked for"),
        case,
    )))
}

/// What was found in the pod says something else than the pod's volume.
fn documented(case: &Case<'_>, mechanism: &Mechanism) -> Result<Option<Finding>, Gap> {
    if !matches!(case.look(Need::Claims).claims, Fact::Known(_)) {
        return Ok(None);
    }
    let Ok(view) = found(case, mechanism) else {
        return Ok(None);
    };
    let audiences = view.token.claims.audiences();
    if mechanism.provider == Provider::Aws
        && audiences.len() > 1
        && view.token.claims.authorized_party().is_none()
    {
        return Ok(Some(
            Finding::new(
                "TOK03",
                format!(
                    "the token has {} audiences, of which AWS STS takes one",
                    audiences.len()
                ),
            )
            .of(mechanism.provider)
            .at(claim(&view, "aud"))
            .evidence("aud", audiences.join(", "))
            .fix("project a token with one audience"),
        ));
    }
    let wanted = mechanism
        .token
        .as_ref()
        .and_then(|token| token.audience.as_deref())
        .or(mechanism.audience.as_ref().map(|given| given.value.as_str()));
    let Some(wanted) = wanted.filter(|wanted| !audiences.contains(wanted)) else {
        return Ok(None);
    };
    if audiences
        .iter()
        .any(|audience| registered(case, mechanism, audience))
    {
        return Ok(None);
    }
    let found = audiences.join(", ");
    Ok(Some(restarted(
        mismatch(mechanism, &found, wanted)
            .at(claim(&view, "aud"))
            .fix("make the pod anew: a token keeps the audience that it was minted with"),
        case,
    )))
}

fn mismatch(mechanism: &Mechanism, found: &str, right: &str) -> Finding {
    let difference = first_difference(found, right)
        .map(|difference| format!(": {}", difference.describe()))
        .unwrap_or_default();
    Finding::new(
        "TOK03",
        format!(
            "the token's audience is not what {} expects{difference}",
            reader(mechanism.provider)
        ),
    )
    .of(mechanism.provider)
    .compared(found, right)
    .answered(answer(mechanism, found))
}

/// The cloud's own words.
fn answer(mechanism: &Mechanism, audience: &str) -> String {
    match mechanism.provider {
        Provider::Aws if mechanism.kind == MechanismKind::EksPodIdentity => {
            "the EKS Pod Identity agent will answer: Service account token failed basic claim validations".into()
        }
        Provider::Aws => "AWS will answer: InvalidIdentityToken: The web identity token provided could not be validated. See the AssumeRoleWithWebIdentity documentation for requirements.".into(),
        Provider::Gcp => format!(
            "Google will answer: invalid_grant: The audience in ID Token [{audience}] does not match the expected audience."
        ),
        Provider::Az => format!(
            "Entra will answer: AADSTS700212: No matching federated identity record found for presented assertion audience '{audience}'."
        ),
    }
}

/// Corrects a volume that somebody wrote into the template, and makes one that a webhook wrote anew.
fn of_template(case: &Case<'_>, finding: Finding, token: &PodToken, right: &str) -> Finding {
    let own = case.top_owner().and_then(|owner| {
        let Fact::Known(object) = &owner.object else {
            return None;
        };
        let prefix = match owner.kind.as_str() {
            "CronJob" => "/spec/jobTemplate/spec/template",
            _ => "/spec/template",
        };
        let index = object
            .list(&format!("{prefix}/spec/volumes"))
            .position(|volume| {
                volume.get("name").and_then(serde_json::Value::as_str)
                    == Some(token.source.volume.as_str())
            })?;
        let source = token.source.pointer.split('/').nth(6)?;
        Some((
            owner,
            format!("{prefix}/spec/volumes/{index}/projected/sources/{source}/serviceAccountToken/audience"),
        ))
    });
    match own {
        Some((owner, path)) => {
            let patch = serde_json::json!([{"op": "add", "path": path, "value": right}]);
            finding
                .fix("correct the audience of the projected token in the pod template")
                .command(format!(
                    "kubectl -n {} patch {} {} --type=json -p {}",
                    case.namespace_name(),
                    owner.kind.to_lowercase(),
                    quote(&owner.name),
                    quote(&patch.to_string())
                ))
                .applicable(Applicability::Safe)
        }
        None => restarted(
            finding.fix("make the pod anew, so that it takes the audience that is asked for"),
            case,
        ),
    }
}

/// Whether the annotation is younger than the pod, which POD03 says.
fn set_after_the_pod(case: &Case<'_>, asked: &Given) -> Result<bool, Gap> {
    let Some(subject) = &asked.subject else {
        return Ok(false);
    };
    let set = key(subject)
        .zip(object(case, subject))
        .and_then(|(key, object)| object.annotation_manager(&key)?.at);
    Ok(matches!((set, case.pod()?.created()), (Some(set), Some(created)) if set > created))
}

/// The key of an annotation.
fn key(subject: &Subject) -> Option<String> {
    let pointer = subject.pointer.as_deref()?;
    let (_, key) = pointer.rsplit_once("/metadata/annotations/")?;
    Some(key.replace("~1", "/").replace("~0", "~"))
}

/// The object of one of the four scopes that a subject names.
fn object<'a>(case: &Case<'a>, subject: &Subject) -> Option<&'a Object> {
    let facts = case.look(Need::Pod);
    for need in [Need::ServiceAccount, Need::Namespace, Need::Owners] {
        case.look(need);
    }
    [&facts.pod, &facts.service_account, &facts.namespace]
        .into_iter()
        .chain(facts.owners.iter().map(|owner| &owner.object))
        .find_map(|fact| match fact {
            Fact::Known(object)
                if object.kind() == subject.kind && object.name() == subject.name =>
            {
                Some(object)
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn annotated(audience: &str) -> Fixture {
        Fixture::cwii(json!({
            "cwii.dev/aws-role-arn": "arn:aws:iam::111122223333:role/checkout",
            "cwii.dev/aws-audience": audience,
        }))
    }

    #[test]
    fn the_audiences_that_the_clouds_take_pass() {
        for fixture in [
            Fixture::irsa(),
            Fixture::cwii_all(),
            Fixture::cwii_az(),
            Fixture::gcp(),
            Fixture::google_federation(),
            Fixture::google_by_hand(),
        ] {
            assert_eq!(fixture.decide("TOK03"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn an_audience_of_ones_own_is_for_the_clouds_documents_to_judge() {
        assert_eq!(annotated("payments").decide("TOK03"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_slip_of_the_pen_is_named_with_its_place_and_the_commands() {
        let fixture = annotated("sts.amazonaws.com/");
        assert_eq!(
            fixture.messages("TOK03"),
            ["the token's audience is not what AWS STS expects: has a trailing slash too many"]
        );
        let finding = &fixture.findings("TOK03")[0];
        assert_eq!(
            finding.subject.as_ref().unwrap().what.as_deref(),
            Some("annotation `cwii.dev/aws-audience`")
        );
        assert_eq!(
            finding.fix.commands,
            [
                "kubectl -n shop annotate serviceaccount checkout cwii.dev/aws-audience=sts.amazonaws.com --overwrite",
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
        for audience in [
            "https://sts.amazonaws.com",
            "STS.amazonaws.com",
            "\"sts.amazonaws.com\"",
        ] {
            assert_eq!(annotated(audience).findings("TOK03").len(), 1, "{audience}");
        }
    }

    #[test]
    fn an_audience_that_the_cloud_has_registered_is_none_whatever_it_looks_like() {
        let fixture = annotated("https://sts.amazonaws.com").with(|facts| {
            crate::rules::fixture::trust(
                facts,
                "provider.json",
                serde_json::from_str(&Fixture::provider(&["https://sts.amazonaws.com"])).unwrap(),
            );
        });
        assert_eq!(fixture.decide("TOK03"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_volume_with_another_audience_than_was_asked_for_is_compared() {
        let fixture = Fixture::irsa().service_account(|account| {
            account["metadata"]["annotations"]["eks.amazonaws.com/audience"] = json!("payments");
        });
        let finding = &fixture.findings("TOK03")[0];
        let comparison = finding.comparison.as_ref().unwrap();
        assert_eq!(comparison.found, "sts.amazonaws.com");
        assert_eq!(comparison.expected, "payments");
        // Set after the pod was made: that the pod is older is POD03.
        let later = fixture.service_account(|account| {
            account["metadata"]["managedFields"] = json!([{
                "manager": "helm", "time": "2026-11-22T11:00:00Z",
                "fieldsV1": {"f:metadata": {"f:annotations": {"f:eks.amazonaws.com/audience": {}}}},
            }]);
        });
        assert_eq!(later.decide("TOK03"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_volume_without_audience_has_the_api_servers() {
        let fixture = Fixture::irsa().pod(|pod| {
            let token = &mut pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
            token.as_object_mut().unwrap().remove("audience");
        });
        assert_eq!(
            fixture.messages("TOK03"),
            [
                "the token in volume `aws-iam-token` has the API server's own audience, not one of AWS STS"
            ]
        );
    }

    #[test]
    fn a_token_with_several_audiences_is_refused_by_aws_alone() {
        let claims = json!({"aud": ["sts.amazonaws.com", "other"]});
        assert_eq!(
            Fixture::cwii_aws().in_pod(claims).messages("TOK03"),
            ["the token has 2 audiences, of which AWS STS takes one"]
        );
        assert_eq!(
            Fixture::cwii_az()
                .in_pod(json!({"aud": ["api://AzureADTokenExchange", "other"]}))
                .decide("TOK03"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn a_token_in_the_pod_with_another_audience_than_its_volume_is_compared() {
        let fixture = Fixture::cwii_aws().in_pod(json!({"aud": ["vault"]}));
        assert_eq!(fixture.messages("TOK03").len(), 1);
    }

    #[test]
    fn entra_compares_case() {
        let fixture = Fixture::cwii(json!({
            "cwii.dev/az-inject": "true",
            "cwii.dev/az-client-id": "00000000-0000-4000-8000-00000000c11e",
            "cwii.dev/az-tenant-id": "00000000-0000-4000-8000-0000000007e0",
            "cwii.dev/az-audience": "api://azureadtokenexchange",
        }));
        assert!(fixture.messages("TOK03")[0].contains("differs only in case"));
    }
}
