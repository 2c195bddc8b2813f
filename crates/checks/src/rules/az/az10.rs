//! A client secret, certificate or password in the environment wins over federation.
//!
//! ## What it checks
//!
//! That no container of the workload has `AZURE_CLIENT_SECRET`, `AZURE_CLIENT_CERTIFICATE_PATH`, or `AZURE_USERNAME` with
//! `AZURE_PASSWORD`, from wherever.
//!
//! ## Why it matters
//!
//! `DefaultAzureCredential` tries the environment's secret first and stops there if it fails: the federation that was set up
//! so carefully is never used, and an expired secret breaks a workload that needs none.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS7000215: Invalid client secret provided.
//! AADSTS7000222: The provided client secret keys for app '…' are expired.
//! ```
//!
//! Nothing at all as long as the secret is good.
//!
//! ## How to fix it
//!
//! Remove the variables from the workload, then delete the secret.
//!
//! ## How to verify the fix
//!
//! The new pod does not have them; `kubectl cwii verify TYPE/NAME --provider az` signs in.
//!
//! ## References
//!
//! - Microsoft, "Credential chains in the Azure Identity library":
//!   <https://learn.microsoft.com/python/api/overview/azure/identity-readme>
//! - Microsoft, "DefaultAzureCredential Class":
//!   <https://learn.microsoft.com/python/api/azure-identity/azure.identity.defaultazurecredential>

use cwii_contract::{Provider, env};

use super::each;
use crate::{
    doctor::{Case, Gap, Outcome, Rule, variable_subject},
    report::{Applicability, Finding},
    rules::federation::workload,
};

pub(super) const RULE: Rule = Rule::new("AZ10", crate::doctor::MECHANISMS, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        let pod = case.pod()?;
        let mut found = Vec::new();
        for container in pod.containers() {
            if container.list == "ephemeralContainers" {
                continue;
            }
            let has = |name: &str| container.has_variable(name);
            let mut names: Vec<&str> =
                [env::AZURE_CLIENT_SECRET, env::AZURE_CLIENT_CERTIFICATE_PATH]
                    .into_iter()
                    .filter(|name| has(name))
                    .collect();
            if has(env::AZURE_USERNAME) && has(env::AZURE_PASSWORD) {
                names.extend([env::AZURE_USERNAME, env::AZURE_PASSWORD]);
            }
            let Some(first) = names.first() else {
                continue;
            };
            let removed: Vec<_> = names.iter().map(|name| format!("{name}-")).collect();
            found.push(
                Finding::new(
                    "AZ10",
                    format!(
                        "`{}` of container `{}` wins over the federated token",
                        names.join("`, `"),
                        container.name()
                    ),
                )
                .of(Provider::Az)
                .at(variable_subject(pod, &container, first))
                .fix("remove the variables from the workload")
                .command(format!(
                    "kubectl -n {} set env {} -c {} {}",
                    case.namespace_name(),
                    workload(case),
                    container.name(),
                    removed.join(" ")
                ))
                .applicable(Applicability::Unsafe),
            );
        }
        Ok(found)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn with(variables: &[&str]) -> Fixture {
        Fixture::aks().pod(|pod| {
            let list = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
            for name in variables {
                list.push(json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "azure", "key": "x"}}}));
            }
        })
    }

    #[test]
    fn the_four_variables_alone_pass() {
        assert_eq!(Fixture::aks().decide("AZ10"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_secret_is_named_without_its_value() {
        let fixture = with(&["AZURE_CLIENT_SECRET"]);
        assert_eq!(
            fixture.messages("AZ10"),
            ["`AZURE_CLIENT_SECRET` of container `app` wins over the federated token"]
        );
    }

    #[test]
    fn a_user_name_counts_only_with_a_password() {
        assert_eq!(with(&["AZURE_USERNAME"]).decide("AZ10"), Ok(Outcome::Pass));
        assert_eq!(with(&["AZURE_USERNAME", "AZURE_PASSWORD"]).messages("AZ10").len(), 1);
    }
}
