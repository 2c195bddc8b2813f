//! Follows profiles that assume a second role with the credentials of the first.
//!
//! ## What it checks
//!
//! AWS configuration files in ConfigMaps that the pod uses: profiles with `role_arn` and `source_profile` or
//! `credential_source`. The trust policy of that role must name the role of the pod's web identity, its account or everybody,
//! for `sts:AssumeRole`. Conditions on it are not looked at.
//!
//! ## Why it matters
//!
//! Each step of a chain has a trust policy of its own. The second is an ordinary `sts:AssumeRole` by an AWS principal and lasts an
//! hour at most, whatever the role allows.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: User: arn:aws:sts::111122223333:assumed-role/checkout/session is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::444455556666:role/reader
//! ```
//!
//! ## How to fix it
//!
//! Let the second role's trust policy name the first role, and the first role's permissions allow `sts:AssumeRole` on the second.
//!
//! ## How to verify the fix
//!
//! `aws sts get-caller-identity --profile PROFILE` in the container names the second role.
//!
//! ## References
//!
//! - AWS IAM, "Methods to assume a role", role chaining:
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_manage-assume.html>
//! - AWS SDKs and Tools, "Assume role credential provider":
//!   <https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html>

use cwii_contract::{Provider, types::RoleArn};
use serde_json::{Value, json};

use super::{NO_WEB_IDENTITY, mend, role_not_given, update_policy, web_identities};
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::{Applicability, Finding, Subject},
};

pub(super) const RULE: Rule = Rule::new(
    "AWS22",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::ConfigMaps,
    ],
    check,
)
.blocked_by(&["AWS10"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let first: Option<RoleArn> = web_identities(case)
        .iter()
        .find_map(|mechanism| mechanism.role.as_ref()?.value.parse().ok());
    let Some(first) = first else {
        return Ok(Outcome::not_applicable(NO_WEB_IDENTITY));
    };
    let chained: Vec<(&Object, String, RoleArn)> = case
        .config_maps()?
        .into_iter()
        .flatten()
        .flat_map(|map| {
            let data = map.get("/data").and_then(Value::as_object);
            data.into_iter()
                .flatten()
                .filter_map(|(_, text)| text.as_str())
                .flat_map(chained_roles)
                .map(move |(profile, role)| (map, profile, role))
                .collect::<Vec<_>>()
        })
        .filter(|(_, _, role)| *role != first)
        .collect();
    if chained.is_empty() {
        return Ok(Outcome::not_applicable("no profile assumes a second role"));
    }
    let library = case.trust()?;
    let mut findings = Vec::new();
    for (map, profile, second) in chained {
        let documents = library.aws(Some(&second));
        let role = documents.role(second.as_str()).ok_or_else(|| role_not_given(&second))?;
        if role.trust_policy.statement_for_role(&first, "sts:AssumeRole").is_some() {
            continue;
        }
        let mut source = role.trust_policy.source.clone();
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": first.as_str()}, "Action": "sts:AssumeRole"});
        let mut finding = Finding::new(
            "AWS22",
            format!("the trust policy of `{}` does not name the role before it", second.name()),
        )
        .of(Provider::Aws)
        .at(Subject {
            kind: "IAM role".into(),
            name: second.to_string(),
            pointer: Some(format!("{}/Statement", role.trust_policy.pointer)),
            what: Some("the trust policy".into()),
            file: library.file_of_aws_role(&second).map(str::to_owned),
            ..Subject::default()
        })
        .evidence("role before it", first.to_string())
        .evidence_from("profile", profile, format!("ConfigMap {}", map.name()))
        .answered(format!(
            "AWS will answer: AccessDenied: User is not authorized to perform: sts:AssumeRole on resource: {second}"
        ))
        .fix("let the second role's trust policy name the first role");
        if mend::push(&mut source, statement).is_some() {
            finding = finding
                .command(update_policy(&second, &source))
                .applicable(Applicability::Unsafe);
        }
        findings.push(finding);
    }
    Ok(Outcome::of(findings))
}

/// The profiles of an AWS configuration file that assume a role with other credentials.
/// Source: AWS SDKs and Tools, "Shared config and credentials files".
fn chained_roles(text: &str) -> Vec<(String, RoleArn)> {
    let mut found = Vec::new();
    let mut profile = String::new();
    let mut role: Option<RoleArn> = None;
    let mut sourced = false;
    for line in text.lines().chain(["["]) {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            if let (Some(role), true) = (role.take(), sourced) {
                found.push((profile.clone(), role));
            }
            sourced = false;
            let name = name.trim_end_matches(']').trim();
            profile = name.strip_prefix("profile ").unwrap_or(name).trim().to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        match key.trim() {
            "role_arn" => role = value.trim().parse().ok(),
            "source_profile" | "credential_source" => sourced = true,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Object, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, Trusted},
    };

    fn chained() -> Trusted {
        let config = "[profile irsa]\nrole_arn = arn:aws:iam::111122223333:role/checkout\n\
            web_identity_token_file = /t\n[profile reader]\nrole_arn = arn:aws:iam::444455556666:role/reader\nsource_profile = irsa\n";
        Fixture::irsa_trusted().with(|fixture| {
            fixture.with(|facts| {
                facts.config_maps = Fact::Known(vec![Object::new(json!({"kind": "ConfigMap",
                    "metadata": {"name": "aws-config", "namespace": "shop"}, "data": {"config": config}}))]);
            })
        })
    }

    fn reader(principal: &str) -> String {
        json!({"Role": {"RoleName": "reader", "Arn": "arn:aws:iam::444455556666:role/reader",
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}]}}})
        .to_string()
    }

    #[test]
    fn a_second_role_that_names_the_first_or_its_account_passes() {
        for principal in ["arn:aws:iam::111122223333:role/checkout", "arn:aws:iam::111122223333:root", "111122223333"] {
            let fixture = chained().document("reader.json", &reader(principal));
            assert_eq!(fixture.decide("AWS22"), Ok(Outcome::Pass), "{principal}");
        }
        assert!(matches!(Fixture::irsa_trusted().decide("AWS22"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn a_second_role_that_names_somebody_else_is_told() {
        let fixture = chained().document("reader.json", &reader("arn:aws:iam::111122223333:role/other"));
        let finding = fixture.findings("AWS22").remove(0);
        assert_eq!(finding.message, "the trust policy of `reader` does not name the role before it");
        assert!(finding.fix.commands[0].contains("--role-name reader"));
    }

    #[test]
    fn a_second_role_that_was_not_given_leaves_it_open() {
        assert!(matches!(chained().decide("AWS22"), Err(Gap::Unknown(..))));
    }
}
