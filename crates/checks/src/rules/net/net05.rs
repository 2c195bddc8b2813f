//! A proxy stands between the pod and a metadata endpoint, or its URL is none.
//!
//! ## What it checks
//!
//! `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of each container, in both cases of letters: that the proxy's URL is one, and
//! that a pod which asks a metadata server on the node (GKE) exempts it. EKS Pod Identity's address is EPI10's. Whether the
//! proxy lets the exchange through only the agent sees.
//!
//! ## Why it matters
//!
//! A link-local address means another machine to the proxy than to the pod: the proxy answers for itself, or not at all. A
//! proxy's URL without a scheme is read in different ways by different SDKs.
//!
//! ## How it looks
//!
//! ```text
//! google.auth.exceptions.DefaultCredentialsError: Your default credentials were not found.
//! ```
//!
//! ## How to fix it
//!
//! Add `169.254.169.254` and `metadata.google.internal` to `NO_PROXY`; write the proxy as `http://host:port`.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider P` passes.
//!
//! ## References
//!
//! - Google Cloud, "About VM metadata": <https://cloud.google.com/compute/docs/metadata/overview>
//! - AWS, "Using an HTTP proxy for the AWS CLI": <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html>

use crate::{
    doctor::{
        Case, Container, Gap, MECHANISMS, MechanismKind, Outcome, Rule, variable_subject,
    },
    report::{Applicability, Finding},
    rules::words::{Place, kubectl, quote},
};

pub(super) const RULE: Rule = Rule::new("NET05", MECHANISMS, check).blocked_by(&["EPI10"]);

const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"];
const METADATA: [&str; 2] = ["169.254.169.254", "metadata.google.internal"];

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mechanisms = case.mechanisms();
    if mechanisms.is_empty() {
        return Ok(Outcome::not_applicable("no cloud is asked for"));
    }
    let metadata = mechanisms
        .iter()
        .find(|mechanism| mechanism.kind == MechanismKind::GkeMetadata);
    let mut findings = Vec::new();
    let mut any = false;
    for container in pod.containers().filter(|container| container.list != "ephemeralContainers") {
        let proxy = PROXIES
            .iter()
            .find_map(|name| Some((*name, container.variable(name).filter(|value| !value.is_empty())?)));
        let Some((name, value)) = proxy else { continue };
        any = true;
        if !is_url(value) {
            findings.push(
                Finding::new(
                    "NET05",
                    format!("`{name}` of container `{}` is no URL that every SDK reads", container.name()),
                )
                .at(variable_subject(pod, &container, name))
                .evidence("value", without_credentials(value))
                .fix("write it as `http://host:port`"),
            );
        }
        if let Some(mechanism) = metadata {
            let lacking: Vec<&str> = METADATA
                .iter()
                .copied()
                .filter(|host| !is_exempt(&container, host))
                .collect();
            // Clients speak to one of the two, and some to both.
            if !lacking.is_empty() && !name.to_ascii_lowercase().starts_with("https") {
                findings.push(exempt(case, &container, &lacking).of(mechanism.provider).at(
                    variable_subject(pod, &container, name),
                ));
            }
        }
    }
    if !any {
        return Ok(Outcome::not_applicable("the pod has no proxy"));
    }
    Ok(Outcome::of(findings))
}

fn exempt(case: &Case<'_>, container: &Container<'_>, lacking: &[&str]) -> Finding {
    let own = ["NO_PROXY", "no_proxy"]
        .iter()
        .find_map(|name| container.variable(name))
        .unwrap_or_default();
    let mut all: Vec<&str> = own.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
    all.extend(lacking);
    let finding = Finding::new(
        "NET05",
        format!(
            "container `{}` asks the metadata server through a proxy: `NO_PROXY` lacks {}",
            container.name(),
            lacking.join(" and ")
        ),
    )
    .compared(own, all.join(","))
    .fix("exempt the metadata server from the proxy");
    match Place::of_pod(case).filter(|place| place.template.is_some()) {
        Some(place) => finding
            .command(format!(
                "{} set env {}/{} -c {} {}",
                kubectl(place.object),
                place.object.kind().to_lowercase(),
                quote(place.object.name()),
                quote(container.name()),
                quote(&format!("NO_PROXY={}", all.join(",")))
            ))
            .applicable(Applicability::Unsafe),
        None => finding,
    }
}

/// Whether `NO_PROXY` has a host, its network or a suffix of it.
fn is_exempt(container: &Container<'_>, host: &str) -> bool {
    ["NO_PROXY", "no_proxy"]
        .iter()
        .filter_map(|name| container.variable(name))
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|entry| {
            entry == "*"
                || entry == host
                || (entry.starts_with("169.254.") && entry.contains('/') && host.starts_with("169.254."))
                || (!entry.is_empty() && entry.starts_with('.') && host.ends_with(entry))
                || (!entry.is_empty() && host.ends_with(&format!(".{}", entry.trim_start_matches("*."))))
        })
}

fn is_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else {
        return false;
    };
    ["http", "https", "socks5", "socks5h"].contains(&scheme.to_ascii_lowercase().as_str())
        && !rest.is_empty()
        && !rest.contains(char::is_whitespace)
}

/// A proxy's URL may carry a password.
fn without_credentials(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn with(fixture: Fixture, env: serde_json::Value) -> Fixture {
        fixture.pod(|pod| {
            for variable in env.as_array().unwrap() {
                let list = &mut pod["spec"]["containers"][0]["env"];
                if list.is_null() {
                    *list = json!([]);
                }
                list.as_array_mut().unwrap().push(variable.clone());
            }
        })
    }

    fn gke() -> Fixture {
        Fixture::plain().service_account(|account| {
            account["metadata"]["annotations"] =
                json!({"iam.gke.io/gcp-service-account": "checkout@shop-prod.iam.gserviceaccount.com"});
        })
    }

    #[test]
    fn a_proxy_is_no_trouble_for_a_web_identity() {
        let fixture = with(Fixture::irsa(), json!([{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]));
        assert_eq!(fixture.decide("NET05"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_metadata_server_behind_a_proxy_is_found() {
        let fixture = with(gke(), json!([{"name": "HTTP_PROXY", "value": "http://proxy:3128"},
            {"name": "NO_PROXY", "value": ".svc,10.0.0.0/8"}]));
        assert_eq!(
            fixture.messages("NET05"),
            ["container `app` asks the metadata server through a proxy: `NO_PROXY` lacks 169.254.169.254 and \
              metadata.google.internal"]
        );
        let exempt = with(gke(), json!([{"name": "HTTP_PROXY", "value": "http://proxy:3128"},
            {"name": "NO_PROXY", "value": "169.254.169.254,.google.internal"}]));
        assert_eq!(exempt.decide("NET05"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_proxy_without_a_scheme_is_found_and_its_password_not_shown() {
        let fixture = with(Fixture::irsa(), json!([{"name": "HTTPS_PROXY", "value": "user:hush@proxy:3128"}]));
        assert_eq!(fixture.messages("NET05"), ["`HTTPS_PROXY` of container `app` is no URL that every SDK reads"]);
        assert!(!format!("{:?}", fixture.decide("NET05")).contains("hush"));
    }

    #[test]
    fn a_pod_without_a_proxy_does_not_concern_it() {
        assert!(matches!(Fixture::irsa().decide("NET05"), Ok(Outcome::NotApplicable(_))));
    }
}
