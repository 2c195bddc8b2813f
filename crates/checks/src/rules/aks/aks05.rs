//! The application reads the token at a path where the webhook no longer puts it.
//!
//! ## What it checks
//!
//! Arguments, commands, variables and ConfigMaps of the workload for a token path of Azure's webhook that is not where this
//! pod's token is mounted. Until 1.5 that was `/var/run/secrets/azure/tokens/azure-identity-token`; newer versions mount it
//! below `/var/run/secrets/azure/wi`. The path is not part of any promise, the variable `AZURE_FEDERATED_TOKEN_FILE` is.
//!
//! ## Why it matters
//!
//! AKS updates the webhook by itself. A path that was copied into a configuration works until the pods are made anew.
//!
//! ## How it looks
//!
//! ```text
//! open /var/run/secrets/azure/tokens/azure-identity-token: no such file or directory
//! ```
//!
//! ## How to fix it
//!
//! Read the path from `AZURE_FEDERATED_TOKEN_FILE`.
//!
//! ## How to verify the fix
//!
//! Run the doctor again: no path is left in the workload.
//!
//! ## References
//!
//! - Azure Workload Identity, "Mutating Admission Webhook":
//!   <https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html>

use cwii_contract::env;
use serde_json::{Value, json};

use super::each;
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, azure::TOKEN_DIRECTORY},
    report::{Applicability, Finding},
    rules::federation::{quote, template_prefix, workload},
};

pub(super) const RULE: Rule = Rule::new(
    "AKS05",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::ConfigMaps,
        Need::Trust,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        // What the pod has not got at all is another code's.
        let Some(mounted) = mechanism.token.as_ref().and_then(|token| token.path.as_deref()) else {
            return Ok(Vec::new());
        };
        let pod = case.pod()?;
        let mut found = Vec::new();
        let finding = |old: &str, place: String| {
            Finding::new(
                "AKS05",
                format!("{place} names a token path of Azure's webhook where this pod has none"),
            )
            .compared(old, mounted)
            .answered(format!("the application will say: open {old}: no such file or directory"))
            .fix(format!("read the path from `{}`", env::AZURE_FEDERATED_TOKEN_FILE))
        };
        for container in pod.containers() {
            for member in ["command", "args"] {
                for (index, argument) in container.elements(member).enumerate() {
                    let Some(argument) = argument.as_str() else { continue };
                    let Some(old) = other_path(argument, mounted) else { continue };
                    let pointer = format!("{}/{member}/{index}", container.pointer());
                    let mended = argument.replace(old, &format!("$({})", env::AZURE_FEDERATED_TOKEN_FILE));
                    let path = format!("{}{pointer}", template_prefix(case));
                    let patch: Value = json!([{"op": "replace", "path": path, "value": mended}]);
                    found.push(
                        finding(old, format!("an argument of container `{}`", container.name()))
                            .at(pod.subject_at(&pointer, format!("`{member}` of container `{}`", container.name())))
                            .command(format!(
                                "kubectl -n {} patch {} --type=json -p {}",
                                case.namespace_name(),
                                workload(case).replace('/', " "),
                                quote(&patch.to_string())
                            ))
                            .applicable(Applicability::Unsafe),
                    );
                }
            }
            for (_, name, element) in container.variables() {
                let value = element.get("value").and_then(Value::as_str).unwrap_or_default();
                let Some(old) = other_path(value, mounted) else { continue };
                found.push(
                    finding(old, format!("variable `{name}` of container `{}`", container.name()))
                        .at(crate::doctor::variable_subject(pod, &container, name))
                        .command(format!(
                            "kubectl -n {} set env {} -c {} {name}-",
                            case.namespace_name(),
                            workload(case),
                            container.name()
                        ))
                        .applicable(Applicability::Unsafe),
                );
            }
        }
        // A ConfigMap that could not be read hides no path in the pod itself.
        for map in case.config_maps().ok().flatten().into_iter().flatten() {
            let data = map.get("/data").and_then(Value::as_object);
            for (key, text) in data.into_iter().flatten() {
                let Some(old) = text.as_str().and_then(|text| other_path(text, mounted)) else {
                    continue;
                };
                found.push(
                    finding(old, format!("ConfigMap `{}`", map.name())).at(map.subject_at(
                        &format!("/data/{}", crate::doctor::escape(key)),
                        format!("key `{key}`"),
                    )),
                );
            }
        }
        Ok(found)
    })
}

/// A path below the webhook's directory that is not the pod's.
fn other_path<'t>(text: &'t str, mounted: &str) -> Option<&'t str> {
    let mut rest = text;
    while let Some(at) = rest.find(TOKEN_DIRECTORY) {
        let from = &rest[at..];
        let end = from
            .find(|c: char| c.is_whitespace() || "\"',;:)]}".contains(c))
            .unwrap_or(from.len());
        let path = &from[..end];
        if path != mounted && !mounted.starts_with(&format!("{}/", path.trim_end_matches('/'))) {
            return Some(path);
        }
        rest = &from[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    /// The pod as a newer webhook makes it.
    fn newer() -> Fixture {
        Fixture::aks().pod(|pod| {
            let spec = &mut pod["spec"];
            spec["volumes"][0]["name"] = "azure-workload-identity-reserved-0a1b2c3d".into();
            let container = &mut spec["containers"][0];
            container["volumeMounts"][0]["name"] = "azure-workload-identity-reserved-0a1b2c3d".into();
            container["volumeMounts"][0]["mountPath"] = "/var/run/secrets/azure/wi/token".into();
            container["env"][2]["value"] = "/var/run/secrets/azure/wi/token/azure-identity-token".into();
        })
    }

    #[test]
    fn pods_of_both_webhooks_pass() {
        assert_eq!(Fixture::aks().decide("AKS05"), Ok(Outcome::Pass));
        assert_eq!(newer().decide("AKS05"), Ok(Outcome::Pass));
        assert_eq!(newer().decide("AZ09"), Ok(Outcome::Pass));
    }

    #[test]
    fn an_argument_with_the_old_path_is_marked() {
        let fixture = newer().pod(|pod| {
            pod["spec"]["containers"][0]["args"] =
                json!(["--token-file=/var/run/secrets/azure/tokens/azure-identity-token", "--verbose"]);
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("AKS05") else {
            panic!()
        };
        assert_eq!(findings.len(), 1);
        assert_eq!(
            findings[0].comparison.as_ref().unwrap().expected,
            "/var/run/secrets/azure/wi/token/azure-identity-token"
        );
        assert!(findings[0].fix.commands[0].contains("--token-file=$(AZURE_FEDERATED_TOKEN_FILE)"));
    }

    #[test]
    fn a_path_that_is_right_today_is_not_this_codes() {
        let fixture = Fixture::aks().pod(|pod| {
            pod["spec"]["containers"][0]["args"] =
                json!(["--token-file=/var/run/secrets/azure/tokens/azure-identity-token"]);
        });
        assert_eq!(fixture.decide("AKS05"), Ok(Outcome::Pass));
    }
}
