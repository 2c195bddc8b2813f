//! Looks for proxy variables that send the requests for credentials to a proxy.
//!
//! ## What it checks
//!
//! A container with the endpoint of Pod Identity and `HTTP_PROXY` (or `http_proxy`), whose `NO_PROXY` (or `no_proxy`) does not cover
//! the endpoint's address: `169.254.170.23`, or `[fd00:ec2::23]` on nodes with IPv6. The endpoint is plain HTTP, so `HTTPS_PROXY` has
//! no say in it.
//!
//! ## Why it matters
//!
//! The agent listens on an address of the node that no proxy can reach, and refuses requests that come by another address. Some
//! SDKs never use a proxy here, others do.
//!
//! ## How it looks
//!
//! ```text
//! Access Denied. Called agent through invalid address, please use either [169.254.170.23 fd00:ec2::23] address not …
//! ```
//!
//! ## How to fix it
//!
//! Add both addresses to `NO_PROXY` and `no_proxy`, wherever the proxy variables come from.
//!
//! ## How to verify the fix
//!
//! `kubectl exec POD -- env` shows the addresses, and `aws sts get-caller-identity` names the role.
//!
//! ## References
//!
//! - Amazon EKS, "Learn how EKS Pod Identity grants pods access to AWS services", considerations:
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>
//! - AWS SDKs and Tools, "Container credential provider":
//!   <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>

use std::net::IpAddr;

use cwii_contract::{Provider, env};

use super::{NEEDS, NONE, pod_identity};
use crate::{
    doctor::{Case, Container, Gap, Outcome, Rule, aws as mechanism, variable_subject},
    report::{Applicability, Finding},
    rules::{aws::set_variable, words::restarted},
};

pub(super) const RULE: Rule = Rule::new("EPI10", NEEDS, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    if pod_identity(case).is_none() {
        return Ok(Outcome::not_applicable(NONE));
    }
    let pod = case.pod()?;
    let caught: Vec<(Container<'_>, &str)> = pod
        .containers()
        .filter_map(|container| {
            let endpoint = container.variable(env::AWS_CONTAINER_CREDENTIALS_FULL_URI)?;
            let address = address_of(endpoint)?;
            let proxy = ["http_proxy", "HTTP_PROXY"]
                .into_iter()
                .find(|name| container.variable(name).is_some_and(|value| !value.is_empty()))?;
            // What comes from elsewhere may cover it.
            let unseen = ["NO_PROXY", "no_proxy"]
                .iter()
                .any(|name| container.has_variable(name) && container.variable(name).is_none());
            let covered = ["NO_PROXY", "no_proxy"]
                .iter()
                .filter_map(|name| container.variable(name))
                .any(|list| covers(list, address));
            (!unseen && !covered && container.elements("envFrom").next().is_none())
                .then_some((container, proxy))
        })
        .collect();
    let Some((first, proxy)) = caught.first() else {
        return Ok(Outcome::Pass);
    };
    let names: Vec<String> = caught.iter().map(|(c, _)| format!("`{}`", c.name())).collect();
    let (name, list) = ["NO_PROXY", "no_proxy"]
        .into_iter()
        .find_map(|name| Some((name, first.variable(name)?)))
        .unwrap_or(("NO_PROXY", ""));
    let right = [list, mechanism::POD_IDENTITY_IPV4, mechanism::POD_IDENTITY_IPV6]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(",");
    let mut finding = Finding::new(
        "EPI10",
        format!("`{proxy}` sends requests for Pod Identity to a proxy: `{name}` does not cover its address"),
    )
    .of(Provider::Aws)
    .at(variable_subject(pod, first, name))
    .compared(list, &right)
    .evidence("containers", names.join(", "))
    .answered(
        "AWS will answer: Access Denied. Called agent through invalid address, please use either \
         [169.254.170.23 fd00:ec2::23] address",
    )
    .fix("add the agent's addresses to `NO_PROXY`, then restart the workload")
    .applicable(Applicability::Unsafe);
    if let Some(command) = set_variable(case, name, Some(&right)) {
        finding = restarted(finding.command(command), case);
    }
    Ok(Outcome::Found(vec![finding]))
}

fn address_of(endpoint: &str) -> Option<IpAddr> {
    if !mechanism::is_pod_identity(endpoint) {
        return None;
    }
    let host = if endpoint.contains('[') { "fd00:ec2::23" } else { mechanism::POD_IDENTITY_IPV4 };
    host.parse().ok()
}

/// Whether a list of exceptions has an address: itself, a network, or everything. Not every SDK knows networks; one that does
/// not is left to the agent.
fn covers(list: &str, address: IpAddr) -> bool {
    list.split([',', ' ']).map(str::trim).any(|part| {
        let part = part.trim_start_matches('[').trim_end_matches(']');
        part == "*"
            || part.parse::<IpAddr>().is_ok_and(|known| known == address)
            || in_network(part, address)
    })
}

pub(super) fn in_network(network: &str, address: IpAddr) -> bool {
    let Some((base, bits)) = network.split_once('/') else {
        return false;
    };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) if bits <= 32 => {
            let differing = u32::from(base) ^ u32::from(address);
            differing.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(base), IpAddr::V6(address)) if bits <= 128 => {
            let differing = u128::from(base) ^ u128::from(address);
            differing.checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, Trusted},
    };

    fn with_variables(variables: &[(&str, &str)]) -> Trusted {
        Fixture::pod_identity().with(|fixture| {
            fixture.pod(|pod| {
                let list = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
                list.extend(variables.iter().map(|(name, value)| json!({"name": name, "value": value})));
            })
        })
    }

    #[test]
    fn no_proxy_variable_and_exceptions_pass() {
        assert_eq!(Fixture::pod_identity().decide("EPI10"), Ok(Outcome::Pass));
        let proxy = ("HTTP_PROXY", "http://proxy.example.com:3128");
        for exceptions in ["localhost,169.254.170.23", "169.254.0.0/16", "*", "10.0.0.0/8, 169.254.170.23"] {
            let fixture = with_variables(&[proxy, ("no_proxy", exceptions)]);
            assert_eq!(fixture.decide("EPI10"), Ok(Outcome::Pass), "{exceptions}");
        }
        let secure = with_variables(&[("HTTPS_PROXY", "http://proxy.example.com:3128")]);
        assert_eq!(secure.decide("EPI10"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_proxy_without_exception_is_told_with_the_whole_list() {
        let fixture = with_variables(&[
            ("HTTP_PROXY", "http://proxy.example.com:3128"),
            ("NO_PROXY", "localhost,.svc,169.254.169.254"),
        ]);
        let finding = fixture.findings("EPI10").remove(0);
        assert_eq!(
            finding.fix.commands[0],
            "kubectl -n shop set env deployment/checkout \
             'NO_PROXY=localhost,.svc,169.254.169.254,169.254.170.23,[fd00:ec2::23]'"
        );
    }
}
