//! An annotation or label is nearly one that a webhook reads, and therefore read by nobody.
//!
//! ## What it checks
//!
//! The keys of annotations and labels on the pod template, the workload, the ServiceAccount and the namespace: those that are
//! a slip of the pen away from a key of cwii, EKS, GKE, Google's federation webhook or Azure, in the name, its case, its
//! separators or the domain before it. A key of `cwii.dev/` that does not exist is reported in any case.
//!
//! ## Why it matters
//!
//! Keys are compared byte by byte. An unknown key is no error for the API server, and webhooks look only for their own.
//!
//! ## How it looks
//!
//! Nothing is injected, and nothing is logged.
//!
//! ## How to fix it
//!
//! Write the key exactly, then restart the workload.
//!
//! ## How to verify the fix
//!
//! A new pod has the variables of the mechanism.
//!
//! ## References
//!
//! - AWS, "Assign IAM roles to Kubernetes service accounts":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>
//! - Google Cloud, "Authenticate to Google Cloud APIs from GKE workloads":
//!   <https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>
//! - Microsoft, "Service account labels and annotations":
//!   <https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>

use cwii_contract::annotations;

use super::keys::{self, Member, Native};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, restarted, set_by},
};

pub(super) const RULE: Rule = Rule::new(
    "POD05",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    case.pod()?;
    let unread = case.service_account().err().or(case.namespace().err());
    let places = Place::all(case);
    let mut findings = Vec::new();
    for place in &places {
        for (key, value) in place.annotations() {
            if let Some((wanted, row)) = keys::meant(key) {
                findings.push(misspelt(case, &places, *place, Member::Annotation, key, value, &wanted, row));
            } else if key.starts_with(annotations::PREFIX) && annotations::find(key).is_none() {
                findings.push(
                    Finding::new("POD05", format!("`{key}` is no key of cwii"))
                        .warning()
                        .at(place.at_annotation(key))
                        .fix("remove it, or write the key that is meant")
                        .command(place.annotate(&[], &[key])),
                );
            }
        }
        for (key, value) in place.labels() {
            if let Some((wanted, row)) = keys::meant(key) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                findings.push(misspelt(case, &places, *place, Member::Label, key, &value, &wanted, row));
            }
        }
    }
    Outcome::despite(findings, unread)
}

#[expect(clippy::too_many_arguments, reason = "one caller for annotations and one for labels")]
fn misspelt(
    case: &Case<'_>,
    places: &[Place<'_>],
    place: Place<'_>,
    member: Member,
    key: &str,
    value: &str,
    wanted: &str,
    row: Option<&'static Native>,
) -> Finding {
    // Whoever has the right key as well has left the wrong one lying about.
    let is_there = places.iter().any(|other| {
        other.annotation(wanted).is_some() || other.labels().any(|(found, _)| found == wanted)
    });
    let meant = row.map_or(Member::Annotation, |row| row.member);
    let (what, at, path) = match member {
        Member::Annotation => ("annotation", place.at_annotation(key), place.path("annotations", key)),
        Member::Label => ("label", place.at_label(key), place.path("labels", key)),
    };
    let mut finding = set_by(
        Finding::new("POD05", format!("nobody reads {what} `{key}`; `{wanted}` is near"))
            .at(at)
            .compared(key, wanted),
        case,
        place.object,
        &path,
    );
    let provider = row.map(|row| row.provider).or_else(|| {
        cwii_contract::Provider::ALL
            .into_iter()
            .find(|provider| wanted.starts_with(&format!("cwii.dev/{provider}-")))
    });
    if let Some(provider) = provider {
        finding = finding.of(provider);
    }
    if is_there {
        return finding
            .warning()
            .fix("remove it: the right key is set as well")
            .command(match member {
                Member::Annotation => place.annotate(&[], &[key]),
                Member::Label => place.label(&[], &[key]),
            });
    }
    let finding = finding
        .fix(format!("write `{wanted}`"))
        .applicable(Applicability::Safe);
    let finding = match (member, meant) {
        (Member::Annotation, Member::Annotation) => {
            finding.command(place.annotate(&[(wanted, value)], &[key]))
        }
        (Member::Label, Member::Label) => finding.command(place.label(&[(wanted, value)], &[key])),
        (Member::Annotation, Member::Label) => finding
            .command(place.label(&[(wanted, value)], &[]))
            .command(place.annotate(&[], &[key])),
        (Member::Label, Member::Annotation) => finding
            .command(place.annotate(&[(wanted, value)], &[]))
            .command(place.label(&[], &[key])),
    };
    // A change of the template starts new pods of itself.
    if place.template.is_some() && place.object.kind() != "CronJob" {
        finding
    } else {
        restarted(finding, case)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        Severity,
        doctor::Outcome,
        report::Finding,
        rules::fixture::{Fixture, edit},
    };

    fn found(fixture: &Fixture) -> Vec<Finding> {
        match fixture.decide("POD05") {
            Ok(Outcome::Found(findings)) => findings,
            other => panic!("{other:?}"),
        }
    }

    fn on_account(key: &str) -> Fixture {
        Fixture::plain().service_account(|account| {
            account["metadata"]["annotations"] = json!({key: "arn:aws:iam::111122223333:role/checkout"});
        })
    }

    #[test]
    fn right_keys_pass() {
        for fixture in [Fixture::plain(), Fixture::irsa(), Fixture::cwii_all()] {
            assert_eq!(fixture.decide("POD05"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn a_key_in_another_case_is_found_and_renamed() {
        let findings = found(&on_account("eks.amazonaws.com/role-ARN"));
        assert_eq!(
            findings[0].message,
            "nobody reads annotation `eks.amazonaws.com/role-ARN`; `eks.amazonaws.com/role-arn` is near"
        );
        assert_eq!(
            findings[0].fix.commands[0],
            "kubectl -n shop annotate serviceaccount checkout \
             eks.amazonaws.com/role-arn=arn:aws:iam::111122223333:role/checkout eks.amazonaws.com/role-ARN- --overwrite"
        );
    }

    #[test]
    fn a_key_of_cwii_with_an_underscore_is_found() {
        let findings = found(&on_account("cwii.dev/aws_role_arn"));
        assert_eq!(findings[0].comparison.clone().unwrap().expected, "cwii.dev/aws-role-arn");
        assert_eq!(findings[0].provider, Some(cwii_contract::Provider::Aws));
    }

    #[test]
    fn a_misspelt_label_of_the_template_is_patched() {
        let fixture = Fixture::plain().with(|facts| {
            edit(&mut facts.owners[1].object, |deployment| {
                deployment["spec"]["template"]["metadata"]["labels"]["azure.workload.identiy/use"] = json!("true");
            });
        });
        assert_eq!(
            found(&fixture)[0].fix.commands,
            ["kubectl -n shop patch deployment checkout --type=json -p \
              '[{\"op\":\"add\",\"path\":\"/spec/template/metadata/labels/azure.workload.identity~1use\",\"value\":\"true\"},\
              {\"op\":\"remove\",\"path\":\"/spec/template/metadata/labels/azure.workload.identiy~1use\"}]'"]
        );
    }

    #[test]
    fn a_wrong_key_beside_the_right_one_is_a_warning() {
        let fixture = Fixture::irsa().service_account(|account| {
            account["metadata"]["annotations"]["eks.amazonaws.com/role_arn"] = json!("x");
        });
        assert_eq!(found(&fixture)[0].severity(), Severity::Warning);
    }
}
