//! The token proxy of an AKS identity binding is half configured.
//!
//! ## What it checks
//!
//! The variables of the proxy: `AZURE_KUBERNETES_TOKEN_PROXY` is an https URL without query; of `AZURE_KUBERNETES_CA_FILE` and
//! `AZURE_KUBERNETES_CA_DATA` only one is set; none of the others stands without the proxy's URL.
//!
//! ## Why it matters
//!
//! The proxy is in preview, and SDKs use it only where an application asks for it. Half a configuration is refused by the SDK
//! or ignored, and the token then goes to Entra with an audience that Entra does not take.
//!
//! ## How it looks
//!
//! ```text
//! AZURE_KUBERNETES_TOKEN_PROXY is not set but other custom endpoint-related environment variables are present.
//! Both AZURE_KUBERNETES_CA_FILE and AZURE_KUBERNETES_CA_DATA are set. Only one should be set.
//! ```
//!
//! ## How to fix it
//!
//! Restart the workload, so that the webhook sets all of them, or remove those that somebody wrote by hand.
//!
//! ## How to verify the fix
//!
//! The new pod has the URL, the server name and one of the two CA variables.
//!
//! ## References
//!
//! - Microsoft, "Identity bindings in AKS": <https://learn.microsoft.com/azure/aks/identity-bindings-concepts>

use super::{CLUSTER, each};
use crate::{
    doctor::{Case, Container, Gap, Outcome, Rule, variable_subject},
    report::Finding,
    rules::federation::restart,
};

pub(super) const RULE: Rule = Rule::new("AKS07", CLUSTER, check);

const PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const SNI: &str = "AZURE_KUBERNETES_SNI_NAME";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        let pod = case.pod()?;
        Ok(pod
            .containers()
            .filter_map(|container| {
                let (variable, message) = problem(&container)?;
                Some(
                    Finding::new("AKS07", format!("{message} in container `{}`", container.name()))
                        .at(variable_subject(pod, &container, variable))
                        .fix("have the webhook set all of them, or remove what was written by hand")
                        .command(restart(case)),
                )
            })
            .collect())
    })
}

fn problem(container: &Container<'_>) -> Option<(&'static str, String)> {
    let has = |name: &str| container.has_variable(name);
    if has(CA_FILE) && has(CA_DATA) {
        return Some((CA_DATA, format!("both `{CA_FILE}` and `{CA_DATA}` are set")));
    }
    if !has(PROXY) {
        let other = [SNI, CA_FILE, CA_DATA].into_iter().find(|name| has(name))?;
        return Some((other, format!("`{other}` is set and `{PROXY}` is not")));
    }
    let url = container.variable(PROXY)?;
    let right = url.starts_with("https://") && !url.contains(['?', '#', '@']);
    (!right).then(|| {
        (
            PROXY,
            format!("`{PROXY}` is `{url}`, not an https URL without user, query and fragment,"),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn with(variables: &[(&str, &str)]) -> Fixture {
        Fixture::aks().pod(|pod| {
            let list = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
            for (name, value) in variables {
                list.push(json!({"name": name, "value": value}));
            }
        })
    }

    #[test]
    fn none_and_all_of_them_pass() {
        assert_eq!(Fixture::aks().decide("AKS07"), Ok(Outcome::Pass));
        let fixture = with(&[
            ("AZURE_KUBERNETES_TOKEN_PROXY", "https://10.0.0.1/identity"),
            ("AZURE_KUBERNETES_SNI_NAME", "proxy.example.com"),
            ("AZURE_KUBERNETES_CA_FILE", "/var/run/secrets/azure/wi/ca.crt"),
        ]);
        assert_eq!(fixture.decide("AKS07"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_name_without_a_proxy_and_two_authorities_are_named() {
        let fixture = with(&[("AZURE_KUBERNETES_SNI_NAME", "proxy.example.com")]);
        assert_eq!(
            fixture.messages("AKS07"),
            ["`AZURE_KUBERNETES_SNI_NAME` is set and `AZURE_KUBERNETES_TOKEN_PROXY` is not in container `app`"]
        );
        let fixture = with(&[("AZURE_KUBERNETES_CA_FILE", "/a"), ("AZURE_KUBERNETES_CA_DATA", "b")]);
        assert_eq!(fixture.messages("AKS07").len(), 1);
    }
}
