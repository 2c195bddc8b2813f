//! An annotation stands on an object where nobody reads it.
//!
//! ## What it checks
//!
//! Keys of EKS, GKE, Google's federation webhook and Azure on objects that their webhooks do not look at: on the Deployment
//! or the namespace instead of the ServiceAccount, as a label instead of an annotation; keys of cwii on Services, ConfigMaps
//! and the like. If the right object has the key as well, nothing is reported.
//!
//! ## Why it matters
//!
//! Each webhook reads one or two kinds of objects. The same key elsewhere is accepted by the API server and seen by nobody.
//!
//! ## How it looks
//!
//! Nothing is injected, and nothing is logged.
//!
//! ## How to fix it
//!
//! Put the key on the object that the message names, and restart the workload.
//!
//! ## How to verify the fix
//!
//! A new pod has the variables of the mechanism.
//!
//! ## References
//!
//! - AWS, "Assign IAM roles to Kubernetes service accounts":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>
//! - Microsoft, "Service account labels and annotations":
//!   <https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>

use cwii_contract::annotations;

use super::keys::{self, Member, Native};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    facts::Fact,
    report::{Applicability, Finding},
    rules::words::{Place, restarted},
};

pub(super) const RULE: Rule = Rule::new(
    "POD06",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::Others,
    ],
    check,
)
.blocked_by(&["POD01", "POD02"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    case.pod()?;
    let account = case.service_account();
    let unread = account.as_ref().err().cloned().or(case.namespace().err());
    let account = account.ok().flatten();
    let mut places = Place::all(case);
    let others = match &case.look(Need::Others).others {
        Fact::Known(others) => others.as_slice(),
        _ => &[],
    };
    places.extend(
        others
            .iter()
            .filter(|other| !["ServiceAccount", "Pod", "Namespace"].contains(&other.kind()))
            .filter(|other| other.template_pointer().is_none())
            .map(Place::of),
    );
    let mut findings = Vec::new();
    for place in &places {
        let keys = place
            .annotations()
            .map(|(key, value)| (Member::Annotation, key, value))
            .chain(place.labels().filter_map(|(key, value)| Some((Member::Label, key, value.as_str()?))));
        for (member, key, value) in keys {
            if let Some(row) = keys::find(key) {
                let is_right = row.member == member && row.on.contains(&place.kind());
                // The label of Azure on a workload is POD07's.
                let is_label_of_workload = row.member == Member::Label && member == Member::Label;
                if !is_right && !is_label_of_workload && !is_read(&places, row) {
                    findings.push(native(case, account.map(Place::of), *place, member, row, value));
                }
            } else if annotations::find(key).is_some() {
                let of_four = ["Pod", "ServiceAccount", "Namespace", "Deployment", "StatefulSet", "DaemonSet",
                    "ReplicationController", "Job", "CronJob", "ReplicaSet"];
                let is_right = member == Member::Annotation && of_four.contains(&place.kind());
                let elsewhere = places.iter().any(|other| {
                    of_four.contains(&other.kind()) && other.annotation(key).is_some()
                });
                if !is_right && !elsewhere {
                    findings.push(of_cwii(case, account.map(Place::of), *place, member, key, value));
                }
            }
        }
    }
    Outcome::despite(findings, unread)
}

/// Whether the key stands where it is read, too.
fn is_read(places: &[Place<'_>], row: &Native) -> bool {
    places.iter().any(|place| {
        row.on.contains(&place.kind())
            && match row.member {
                Member::Annotation => place.annotation(row.key).is_some(),
                Member::Label => place.labels().any(|(key, _)| key == row.key),
            }
    })
}

fn native(
    case: &Case<'_>,
    account: Option<Place<'_>>,
    place: Place<'_>,
    member: Member,
    row: &Native,
    value: &str,
) -> Finding {
    let is_as = match member {
        Member::Annotation => "an annotation",
        Member::Label => "a label",
    };
    let wanted = match row.member {
        Member::Annotation => "an annotation",
        Member::Label => "a label",
    };
    let on = row.on.join(" or ");
    let message = if row.on.contains(&place.kind()) {
        format!("`{}` is {is_as} of {}; it is read as {wanted}", row.key, place.describe())
    } else {
        format!("`{}` stands on {}; it is read on the {on}", row.key, place.describe())
    };
    let mut finding = Finding::new("POD06", message)
        .of(row.provider)
        .at(match member {
            Member::Annotation => place.at_annotation(row.key),
            Member::Label => place.at_label(row.key),
        })
        .evidence("value", value)
        .fix(format!("put it on the {on} as {wanted}"))
        .applicable(Applicability::Unsafe);
    if !row.identity {
        finding = finding.warning();
    }
    let target = if row.on.contains(&"ServiceAccount") && row.member == Member::Annotation {
        account
    } else {
        Place::of_pod(case)
    };
    let Some(target) = target else {
        return finding;
    };
    finding = match row.member {
        Member::Annotation => finding.command(target.annotate(&[(row.key, value)], &[])),
        Member::Label => finding.command(target.label(&[(row.key, value)], &[])),
    };
    restarted(finding, case)
}

fn of_cwii(
    case: &Case<'_>,
    account: Option<Place<'_>>,
    place: Place<'_>,
    member: Member,
    key: &str,
    value: &str,
) -> Finding {
    let message = match member {
        Member::Label => format!("`{key}` is a label of {}; cwii reads annotations", place.describe()),
        Member::Annotation => format!(
            "`{key}` stands on {}; cwii reads it on the pod, its workload, the ServiceAccount and the namespace",
            place.describe()
        ),
    };
    let finding = Finding::new("POD06", message)
        .at(match member {
            Member::Annotation => place.at_annotation(key),
            Member::Label => place.at_label(key),
        })
        .evidence("value", value)
        .fix("put it on the ServiceAccount as an annotation")
        .applicable(Applicability::Unsafe);
    match account {
        Some(account) => restarted(finding.command(account.annotate(&[(key, value)], &[])), case),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, edit},
    };

    const ROLE: &str = "arn:aws:iam::111122223333:role/checkout";

    #[test]
    fn keys_where_they_are_read_pass() {
        for fixture in [Fixture::plain(), Fixture::irsa(), Fixture::cwii_all()] {
            assert_eq!(fixture.decide("POD06"), Ok(Outcome::Pass));
        }
    }

    // eks#1357
    #[test]
    fn a_role_on_the_deployment_is_moved_to_the_account() {
        let fixture = Fixture::plain().with(|facts| {
            edit(&mut facts.owners[1].object, |deployment| {
                deployment["metadata"]["annotations"] = json!({"eks.amazonaws.com/role-arn": ROLE});
            });
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("POD06") else {
            panic!()
        };
        assert_eq!(
            findings[0].message,
            "`eks.amazonaws.com/role-arn` stands on Deployment `checkout`; it is read on the ServiceAccount"
        );
        assert_eq!(
            findings[0].fix.commands,
            [
                format!("kubectl -n shop annotate serviceaccount checkout eks.amazonaws.com/role-arn={ROLE} --overwrite"),
                "kubectl -n shop rollout restart deployment checkout".to_owned(),
            ]
        );
    }

    #[test]
    fn a_key_that_stands_where_it_is_read_as_well_is_no_finding() {
        let fixture = Fixture::irsa().with(|facts| {
            edit(&mut facts.namespace, |namespace| {
                namespace["metadata"]["annotations"] = json!({"eks.amazonaws.com/role-arn": ROLE});
            });
        });
        assert_eq!(fixture.decide("POD06"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_label_that_should_be_an_annotation_is_found() {
        let fixture = Fixture::plain().service_account(|account| {
            account["metadata"]["labels"] = json!({"iam.gke.io/gcp-service-account": "a"});
        });
        assert_eq!(
            fixture.messages("POD06"),
            ["`iam.gke.io/gcp-service-account` is a label of ServiceAccount `checkout`; it is read as an annotation"]
        );
    }

    #[test]
    fn a_key_of_cwii_on_a_service_is_found() {
        let fixture = Fixture::plain().with(|facts| {
            facts.others = Fact::Known(vec![Object::new(json!({"kind": "Service", "metadata": {"name": "checkout",
                "namespace": "shop", "annotations": {"cwii.dev/aws-role-arn": ROLE}}}))]);
        });
        assert_eq!(
            fixture.messages("POD06"),
            ["`cwii.dev/aws-role-arn` stands on Service `checkout`; cwii reads it on the pod, its workload, the \
              ServiceAccount and the namespace"]
        );
    }
}
