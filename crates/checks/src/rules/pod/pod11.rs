//! A list of containers to skip does not say what it seems to say.
//!
//! ## What it checks
//!
//! The skip list of each webhook, with the separator that it reads: `,` without spaces for EKS, `;` for Azure, `,` for
//! Google's federation webhook and for cwii. And whether the pod has containers of these names.
//!
//! ## Why it matters
//!
//! With another separator the whole list is one name that no container has. A space before a name is part of the name for
//! EKS. Containers that were to be left alone get variables and mounts, and some do not start with them.
//!
//! ## How it looks
//!
//! A sidecar has `AWS_ROLE_ARN` although it is on the list.
//!
//! ## How to fix it
//!
//! Write the list with the separator of its reader.
//!
//! ## How to verify the fix
//!
//! The containers of a new pod that are on the list have no variables of the mechanism.
//!
//! ## References
//!
//! - Microsoft, "Service account labels and annotations":
//!   <https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>
//! - Package documentation of the Google Cloud federation webhook:
//!   <https://pkg.go.dev/github.com/pfnet-research/gcp-workload-identity-federation-webhook/webhooks>

use super::{SKIP_LISTS, SkipList};
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, restarted},
};

pub(super) const RULE: Rule = Rule::new("POD11", &[Need::Pod, Need::Owners], check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let place = Place::of_pod(case).unwrap_or_else(|| Place::of(pod));
    let mut findings = Vec::new();
    let mut any = false;
    for list in &SKIP_LISTS {
        let Some(value) = place.annotation(list.key).filter(|value| !value.trim().is_empty()) else {
            continue;
        };
        any = true;
        findings.extend(finding(case, pod, place, list, value));
    }
    if !any {
        return Ok(Outcome::not_applicable("no containers are to be skipped"));
    }
    Ok(Outcome::of(findings))
}

fn finding(
    case: &Case<'_>,
    pod: &Object,
    place: Place<'_>,
    list: &SkipList,
    value: &str,
) -> Option<Finding> {
    let has = |name: &str| pod.containers().any(|container| container.name() == name);
    // A container's name is a DNS label: whatever else stands there separates.
    let names: Vec<&str> = value
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|name| !name.is_empty())
        .collect();
    let meant = names.join(&list.separator.to_string());
    let read = list.names(value);
    let finding = if read != names {
        let mut finding = Finding::new(
            "POD11",
            format!(
                "`{}` is read as {}, which is not what it lists",
                list.key,
                quoted(&read)
            ),
        )
        .compared(value, meant.clone())
        .fix(format!("separate the names with `{}` and nothing else", list.separator))
        .command(place.annotate(&[(list.key, &meant)], &[]))
        .applicable(Applicability::Safe);
        if place.template.is_none() {
            finding = restarted(finding, case);
        }
        finding
    } else {
        let unknown: Vec<&str> = read.iter().copied().filter(|name| !has(name)).collect();
        // cwii warns of it itself: CWII05.
        if unknown.is_empty() || list.key.starts_with("cwii.dev/") {
            return None;
        }
        Finding::new(
            "POD11",
            format!("`{}` names {}, which the pod does not have", list.key, quoted(&unknown)),
        )
        .warning()
        .fix("correct the name, or remove it from the list")
    };
    Some(finding.at(place.at_annotation(list.key)))
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, edit},
    };

    fn with(key: &str, value: &str) -> Fixture {
        Fixture::plain()
            .pod(|pod| {
                let containers = pod["spec"]["containers"].as_array_mut().unwrap();
                containers.push(json!({"name": "proxy", "image": "x"}));
                containers.push(json!({"name": "logs", "image": "x"}));
            })
            .with(|facts| {
                edit(&mut facts.owners[1].object, |deployment| {
                    deployment["spec"]["template"]["metadata"]["annotations"] = json!({key: value});
                });
            })
    }

    #[test]
    fn lists_with_their_own_separator_pass() {
        for (key, value) in [
            ("eks.amazonaws.com/skip-containers", "proxy,logs"),
            ("azure.workload.identity/skip-containers", "proxy;logs"),
            ("cloud.google.com/skip-containers", "proxy,logs"),
            ("cwii.dev/skip-containers", "proxy, logs"),
        ] {
            assert_eq!(with(key, value).decide("POD11"), Ok(Outcome::Pass), "{key}");
        }
    }

    #[test]
    fn another_separator_makes_one_name_of_the_list() {
        let fixture = with("azure.workload.identity/skip-containers", "proxy,logs");
        assert_eq!(
            fixture.messages("POD11"),
            ["`azure.workload.identity/skip-containers` is read as `proxy,logs`, which is not what it lists"]
        );
    }

    #[test]
    fn a_space_is_part_of_the_name_for_eks() {
        let fixture = with("eks.amazonaws.com/skip-containers", "proxy, logs");
        let Ok(Outcome::Found(findings)) = fixture.decide("POD11") else {
            panic!()
        };
        assert_eq!(
            findings[0].message,
            "`eks.amazonaws.com/skip-containers` is read as `proxy`, ` logs`, which is not what it lists"
        );
        assert_eq!(findings[0].comparison.clone().unwrap().expected, "proxy,logs");
    }

    #[test]
    fn a_name_that_the_pod_lacks_is_a_warning() {
        let fixture = with("eks.amazonaws.com/skip-containers", "proxi");
        assert_eq!(
            fixture.messages("POD11"),
            ["`eks.amazonaws.com/skip-containers` names `proxi`, which the pod does not have"]
        );
    }

    #[test]
    fn a_pod_without_a_list_does_not_concern_it() {
        assert!(matches!(Fixture::irsa().decide("POD11"), Ok(Outcome::NotApplicable(_))));
    }
}
