//! Compares what the SDKs in the pod take for the region, and which endpoint of STS they ask.
//!
//! ## What it checks
//!
//! In every container that has a web identity: whether `AWS_REGION` and `AWS_DEFAULT_REGION` are both set and agree, and
//! whether `AWS_STS_REGIONAL_ENDPOINTS` is `legacy`. A container that takes variables from a ConfigMap or Secret may have them
//! from there and is passed over.
//!
//! ## Why it matters
//!
//! botocore reads `AWS_DEFAULT_REGION` only, the other SDKs `AWS_REGION` first or alone. Without a region most SDKs end with an
//! error, and botocore asks the global endpoint, which is in us-east-1. `legacy` sends older SDKs there too: a private VPC
//! has no way to it, and an outage of that region becomes one's own.
//!
//! ## How it looks
//!
//! ```text
//! You must specify a region. You can also configure your region by running "aws configure".
//! Connect timeout on endpoint URL: "https://sts.amazonaws.com/"
//! ```
//!
//! ## How to fix it
//!
//! Set both variables to the region: with cwii by the annotation `cwii.dev/aws-region`, by hand in the pod template. Leave
//! `AWS_STS_REGIONAL_ENDPOINTS` at `regional`.
//!
//! ## How to verify the fix
//!
//! `kubectl exec POD -- env` shows both variables with one value.
//!
//! ## References
//!
//! - AWS SDKs and Tools, "AWS Region":
//!   <https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html>
//! - AWS SDKs and Tools, "AWS STS Regional endpoints":
//!   <https://docs.aws.amazon.com/sdkref/latest/guide/feature-sts-regionalized-endpoints.html>
//! - Amazon EKS, "Configure the AWS Security Token Service endpoint for a service account":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/configure-sts-endpoint.html>

use std::collections::BTreeMap;

use cwii_contract::{Provider, env};

use super::{NO_WEB_IDENTITY, annotate, quote, restarted, set_variable, web_identities};
use crate::{
    doctor::{Case, Container, Gap, Mechanism, MechanismKind, Need, Outcome, Rule, variable_subject},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "AWS12",
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
);

/// What is odd about a container's region.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Oddity {
    None,
    OnlyOne { set: &'static str, unset: &'static str, value: String },
    Disagree { region: String, default_region: String },
    Legacy,
}

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let mechanisms = web_identities(case);
    let Some(mechanism) = mechanisms.iter().find(|mechanism| mechanism.injected) else {
        return Ok(Outcome::not_applicable(NO_WEB_IDENTITY));
    };
    let pod = case.pod()?;
    let mut found: BTreeMap<Oddity, Vec<Container<'_>>> = BTreeMap::new();
    for container in pod.containers().filter(|container| {
        container.has_variable(env::AWS_WEB_IDENTITY_TOKEN_FILE)
            && container.elements("envFrom").next().is_none()
    }) {
        for oddity in oddities(&container) {
            found.entry(oddity).or_default().push(container);
        }
    }
    Ok(Outcome::of(
        found
            .into_iter()
            .map(|(oddity, containers)| finding(case, mechanism, &oddity, &containers))
            .collect(),
    ))
}

fn oddities(container: &Container<'_>) -> Vec<Oddity> {
    let names = [env::AWS_REGION, env::AWS_DEFAULT_REGION];
    let mut found = Vec::new();
    let legacy = container
        .variable(env::AWS_STS_REGIONAL_ENDPOINTS)
        .is_some_and(|value| value.eq_ignore_ascii_case("legacy"));
    if legacy {
        found.push(Oddity::Legacy);
    }
    let [region, default_region] = names.map(|name| container.variable(name).filter(|v| !v.is_empty()));
    let elsewhere = |name: &str| container.has_variable(name) && container.variable(name).is_none();
    match (region, default_region) {
        _ if names.iter().any(|name| elsewhere(name)) => {}
        (Some(region), Some(default_region)) if region != default_region => found.push(Oddity::Disagree {
            region: region.to_owned(),
            default_region: default_region.to_owned(),
        }),
        (Some(value), None) => found.push(Oddity::OnlyOne {
            set: names[0],
            unset: names[1],
            value: value.to_owned(),
        }),
        (None, Some(value)) => found.push(Oddity::OnlyOne {
            set: names[1],
            unset: names[0],
            value: value.to_owned(),
        }),
        // A profile may say it.
        (None, None) if !container.has_variable("AWS_CONFIG_FILE") => found.push(Oddity::None),
        _ => {}
    }
    found
}

fn finding(
    case: &Case<'_>,
    mechanism: &Mechanism,
    oddity: &Oddity,
    containers: &[Container<'_>],
) -> Finding {
    let names: Vec<String> = containers.iter().map(|c| format!("`{}`", c.name())).collect();
    let (message, variable) = match oddity {
        Oddity::None => (
            "neither `AWS_REGION` nor `AWS_DEFAULT_REGION` is set beside the web identity".to_owned(),
            env::AWS_REGION,
        ),
        Oddity::OnlyOne { set, unset, .. } => {
            (format!("`{set}` is set and `{unset}`, which other SDKs read, is not"), *unset)
        }
        Oddity::Disagree { region, default_region } => (
            format!("`AWS_REGION` is `{region}` and `AWS_DEFAULT_REGION` is `{default_region}`"),
            env::AWS_DEFAULT_REGION,
        ),
        Oddity::Legacy => (
            "`AWS_STS_REGIONAL_ENDPOINTS` is `legacy`: older SDKs ask STS in us-east-1".to_owned(),
            env::AWS_STS_REGIONAL_ENDPOINTS,
        ),
    };
    let mut finding = Finding::new("AWS12", message)
        .of(Provider::Aws)
        .evidence("containers", names.join(", "));
    if let (Ok(pod), Some(container)) = (case.pod(), containers.first()) {
        finding = finding.at(variable_subject(pod, container, variable));
    }
    let value = match oddity {
        Oddity::OnlyOne { value, .. } => Some(value.as_str()),
        Oddity::Disagree { region, default_region } => {
            finding = finding.compared(default_region, region);
            Some(region.as_str())
        }
        Oddity::Legacy => {
            finding = finding.compared("legacy", "regional");
            Some("regional")
        }
        Oddity::None => None,
    };
    let finding = finding.fix(match oddity {
        Oddity::Legacy => "use the endpoint of the region",
        _ => "set both variables to the same region",
    });
    let of_cwii = mechanism.kind == MechanismKind::Cwii && mechanism.region.is_none();
    let command = match (value, &mechanism.role) {
        (None, Some(role)) if of_cwii => role
            .subject
            .as_ref()
            .and_then(|subject| {
                let mut subject = subject.clone();
                subject.pointer = Some("/metadata/annotations/cwii.dev~1aws-region".into());
                annotate(case, &subject, "REGION")
            }),
        (Some(value), _) => set_variable(case, variable, Some(value)),
        _ => None,
    };
    match command {
        Some(command) => restarted(finding.command(command), case),
        None => finding.evidence("set", format!("{}=REGION", quote(variable))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{catalogue::Severity, doctor::Outcome, rules::fixture::Fixture};

    fn with_variables(change: impl FnOnce(&mut Vec<Value>)) -> Fixture {
        Fixture::irsa().pod(|pod| change(pod["spec"]["containers"][0]["env"].as_array_mut().unwrap()))
    }

    #[test]
    fn both_variables_with_one_value_pass() {
        assert_eq!(Fixture::irsa().decide("AWS12"), Ok(Outcome::Pass));
        assert!(matches!(Fixture::plain().decide("AWS12"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn each_oddity_is_a_warning() {
        let drop = |name: &'static str| {
            with_variables(move |variables| variables.retain(|variable| variable["name"] != name))
        };
        let set = |name: &'static str, value: &'static str| {
            with_variables(move |variables| {
                for variable in variables {
                    if variable["name"] == name {
                        variable["value"] = json!(value);
                    }
                }
            })
        };
        let none = with_variables(|variables| {
            variables.retain(|variable| !variable["name"].as_str().unwrap().ends_with("REGION"));
        });
        for (fixture, words) in [
            (drop("AWS_DEFAULT_REGION"), "`AWS_DEFAULT_REGION`, which other SDKs read, is not"),
            (drop("AWS_REGION"), "`AWS_REGION`, which other SDKs read, is not"),
            (set("AWS_REGION", "us-east-1"), "`AWS_REGION` is `us-east-1` and `AWS_DEFAULT_REGION` is `eu-central-1`"),
            (set("AWS_STS_REGIONAL_ENDPOINTS", "legacy"), "us-east-1"),
            (none, "neither"),
        ] {
            let findings = fixture.findings("AWS12");
            assert_eq!(findings.len(), 1, "{words}");
            assert!(findings[0].message.contains(words), "{}", findings[0].message);
            assert_eq!(findings[0].severity(), Severity::Warning);
        }
    }

    #[test]
    fn what_comes_from_elsewhere_is_not_judged() {
        let fixture = with_variables(|variables| {
            variables.retain(|variable| !variable["name"].as_str().unwrap().ends_with("REGION"));
        })
        .pod(|pod| pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "aws"}}]));
        assert_eq!(fixture.decide("AWS12"), Ok(Outcome::Pass));
    }
}
