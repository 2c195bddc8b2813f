//! Reads the role's ARN: a role, in an account of 12 digits, with its path, in the partition of the region.
//!
//! ## What it checks
//!
//! The ARN in the annotation, or else in `AWS_ROLE_ARN`, must be `arn:PARTITION:iam::ACCOUNT:role/[PATH/]NAME`. An instance
//! profile, a user, a policy, a session (`assumed-role`) or a placeholder is none. Its partition must be that of the region:
//! `aws-cn` for China, `aws-us-gov` for GovCloud, `aws-eusc` for the European Sovereign Cloud. Where the role's document was
//! given, its path must be there too: names are unique in an account whatever the path, so a role of the same name is the one
//! that was meant.
//!
//! ## Why it matters
//!
//! Admission lets nearly any text pass. STS then refuses the request without looking at the token, or looks for a role that
//! does not exist.
//!
//! ## How it looks
//!
//! ```text
//! ValidationError: Request ARN is invalid
//! ```
//!
//! Without its path the role is not found, which STS calls `AccessDenied`.
//!
//! ## How to fix it
//!
//! Copy the ARN that `aws iam get-role --role-name NAME --query Role.Arn --output text` prints.
//!
//! ## How to verify the fix
//!
//! The new pod has the ARN in `AWS_ROLE_ARN`, and `kubectl cwii doctor` passes.
//!
//! ## References
//!
//! - AWS IAM, "IAM identifiers": <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
//! - Amazon EKS, "Assign IAM roles to Kubernetes service accounts":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>

use cwii_contract::{
    Provider,
    types::{ParseError, Partition, RoleArn},
};

use super::{NO_WEB_IDENTITY, annotate, restarted, set_variable, web_identities};
use crate::{
    doctor::{Case, Gap, Given, Mechanism, Need, Outcome, Rule},
    facts::Fact,
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "AWS10",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
    ],
    check,
)
.blocked_by(&["POD08"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let mechanisms = web_identities(case);
    if mechanisms.is_empty() {
        return Ok(Outcome::not_applicable(NO_WEB_IDENTITY));
    }
    let findings = mechanisms
        .into_iter()
        .filter_map(|mechanism| {
            let given = mechanism.role.as_ref()?;
            judge(case, mechanism, given)
        })
        .collect();
    Ok(Outcome::of(findings))
}

fn judge(case: &Case<'_>, mechanism: &Mechanism, given: &Given) -> Option<Finding> {
    const INVALID: &str = "AWS will answer: ValidationError: Request ARN is invalid";
    let region = mechanism.region.as_ref().map(|given| given.value.as_str());
    let text = given.value.as_str();
    let role: RoleArn = match text.parse() {
        Ok(role) => role,
        Err(error) => {
            let error: ParseError = error;
            return Some(finish(
                case,
                given,
                Finding::new("AWS10", error.to_string()).answered(INVALID),
                correct(text, region),
            ));
        }
    };
    if let Some(region) = region {
        let partition = Partition::of_region(region);
        if partition != role.partition() {
            let right = format!("arn:{partition}{}", &text["arn:".len() + role.partition().as_str().len()..]);
            let finding = Finding::new(
                "AWS10",
                format!(
                    "the role is in the partition `{}`, and the region `{region}` in `{partition}`",
                    role.partition()
                ),
            )
            .evidence("region", region)
            .answered(INVALID);
            return Some(finish(case, given, finding, Some(right)));
        }
    }
    // Only where documents are at hand; a rule of its own says so where they are missing.
    let Fact::Known(library) = &case.look(Need::Trust).trust else {
        return None;
    };
    let documents = library.aws(Some(&role));
    if documents.role(role.as_str()).is_some() {
        return None;
    }
    let meant = documents.roles.iter().find(|known| {
        known.arn.account() == role.account() && known.arn.name().eq_ignore_ascii_case(role.name())
    })?;
    let finding = Finding::new(
        "AWS10",
        format!("the role `{}` has another path than in the ARN", role.name()),
    )
    .answered("AWS will answer: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity");
    Some(finish(case, given, finding, Some(meant.arn.to_string())))
}

fn finish(case: &Case<'_>, given: &Given, finding: Finding, right: Option<String>) -> Finding {
    let mut finding = finding.of(Provider::Aws);
    if let Some(subject) = &given.subject {
        finding = finding.at(subject.clone());
    }
    let Some(right) = right else {
        return finding.fix("write the ARN that `aws iam get-role` prints");
    };
    finding = finding
        .compared(&given.value, &right)
        .fix("write the role's ARN as IAM has it, then restart the workload");
    let command = given.subject.as_ref().and_then(|subject| {
        annotate(case, subject, &right).or_else(|| {
            let of_pod = subject.kind == "Pod";
            of_pod.then(|| set_variable(case, "AWS_ROLE_ARN", Some(&right)))?
        })
    });
    match command {
        Some(command) => {
            restarted(finding.command(command), case).applicable(Applicability::Unsafe)
        }
        None => restarted(finding, case),
    }
}

/// The ARN that was probably meant; nothing where that takes knowledge of the account.
fn correct(text: &str, region: Option<&str>) -> Option<String> {
    let text = text.trim().trim_matches(['"', '\'']).trim();
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [_, partition, _, _, account, resource] = parts[..] else {
        return None;
    };
    let partition = partition
        .parse::<Partition>()
        .ok()
        .or_else(|| region.map(Partition::of_region))?;
    let digits: String = account.chars().filter(char::is_ascii_digit).collect();
    let (kind, name) = resource.split_once('/')?;
    let name = match kind {
        // A session's name comes after the role's, and the role's path is not in it.
        "assumed-role" => name.split('/').next()?,
        // The console makes both under one name.
        "role" | "instance-profile" | "roles" => name,
        _ => return None,
    };
    let right = format!("arn:{partition}:iam::{digits}:role/{name}");
    right.parse::<RoleArn>().ok().map(|_| right)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    const ROLE: &str = "eks.amazonaws.com/role-arn";

    fn with_role(role: &str) -> Fixture {
        Fixture::irsa().service_account(|account| account["metadata"]["annotations"][ROLE] = json!(role))
    }

    #[test]
    fn the_arn_of_a_role_passes_with_and_without_path() {
        for role in ["arn:aws:iam::111122223333:role/checkout", "arn:aws:iam::111122223333:role/team/a/checkout"] {
            assert_eq!(with_role(role).decide("AWS10"), Ok(Outcome::Pass), "{role}");
        }
        assert!(matches!(Fixture::plain().decide("AWS10"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn what_is_no_role_is_told_and_corrected_where_it_can_be() {
        let right = "arn:aws:iam::111122223333:role/checkout";
        for (wrong, expected) in [
            ("arn:aws:iam::111122223333:instance-profile/checkout", Some(right)),
            ("arn:aws:sts::111122223333:assumed-role/checkout/session", Some(right)),
            ("arn:aws:iam:eu-central-1:111122223333:role/checkout", Some(right)),
            ("arn:aws:iam::1111-2222-3333:role/checkout", Some(right)),
            ("\"arn:aws:iam::111122223333:role/checkout\"", Some(right)),
            ("arn:aws:iam::111122223333:user/checkout", None),
            ("arn:aws:iam::${ACCOUNT_ID}:role/checkout", None),
            ("arn:aws:iam::11112222333:role/checkout", None),
            ("checkout", None),
        ] {
            let finding = with_role(wrong).findings("AWS10").remove(0);
            assert_eq!(finding.comparison.map(|c| c.expected).as_deref(), expected, "{wrong}");
            assert_eq!(finding.fix.commands.len(), if expected.is_some() { 2 } else { 0 }, "{wrong}");
            assert!(finding.subject.unwrap().pointer.unwrap().contains("role-arn"));
        }
        let finding = with_role("arn:aws:iam::111122223333:instance-profile/checkout").findings("AWS10").remove(0);
        assert_eq!(
            finding.fix.commands,
            [
                "kubectl -n shop annotate serviceaccount checkout \
                 eks.amazonaws.com/role-arn=arn:aws:iam::111122223333:role/checkout --overwrite",
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
    }

    #[test]
    fn a_partition_that_is_not_the_regions_is_told() {
        let fixture = Fixture::irsa().pod(|pod| {
            for variable in pod["spec"]["containers"][0]["env"].as_array_mut().unwrap() {
                if variable["name"] == "AWS_REGION" || variable["name"] == "AWS_DEFAULT_REGION" {
                    variable["value"] = json!("cn-north-1");
                }
            }
        });
        let finding = fixture.findings("AWS10").remove(0);
        assert_eq!(finding.comparison.unwrap().expected, "arn:aws-cn:iam::111122223333:role/checkout");
    }

    #[test]
    fn a_path_that_the_document_shows_is_missing_from_the_arn() {
        let fixture = Fixture::irsa_trusted();
        let with_path = |arn: &str| {
            fixture.clone().document("role.json", &json!({"Role": {"RoleName": "checkout", "Arn": arn,
                "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}}}).to_string())
        };
        let finding = with_path("arn:aws:iam::111122223333:role/team/checkout").findings("AWS10").remove(0);
        assert_eq!(finding.comparison.unwrap().expected, "arn:aws:iam::111122223333:role/team/checkout");
        assert!(finding.provider_error.unwrap().contains("AccessDenied"));
        // A role of the same name in another account is another role.
        assert_eq!(
            with_path("arn:aws:iam::444455556666:role/team/checkout").decide("AWS10"),
            Ok(Outcome::Pass)
        );
    }
}
