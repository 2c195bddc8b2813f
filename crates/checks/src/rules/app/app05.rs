//! A token path is written down where no token is mounted.
//!
//! ## What it checks
//!
//! Arguments, commands and variables of the containers, and values of the ConfigMaps that they take variables from, for the
//! paths that webhooks are known to have used: whether the container has a mount there. The variables that a webhook sets
//! itself are not meant.
//!
//! ## Why it matters
//!
//! The path belongs to the webhook. EKS, Azure and Google each have had several, and Azure's moved with a version; the
//! variable moves along, a copied path does not.
//!
//! ## How it looks
//!
//! ```text
//! open /var/run/secrets/azure/tokens/azure-identity-token: no such file or directory
//! ```
//!
//! ## How to fix it
//!
//! Let the application read the variable (`AZURE_FEDERATED_TOKEN_FILE`, `AWS_WEB_IDENTITY_TOKEN_FILE`) instead of a path.
//!
//! ## How to verify the fix
//!
//! The application works after a restart, and no path stands in its arguments.
//!
//! ## References
//!
//! - Microsoft, "Mutating Admission Webhook": <https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html>
//! - AWS, "Configure Pods to use a Kubernetes service account":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-configuration.html>

use cwii_contract::env;
use serde_json::Value;

use crate::{
    doctor::{Case, Container, Gap, Need, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule =
    Rule::new("APP05", &[Need::Pod], check).blocked_by(&["AKS05", "POD03", "POD10", "CWII01"]);

/// Directories that webhooks have mounted tokens at.
const KNOWN: [&str; 6] = [
    "/var/run/secrets/eks.amazonaws.com/serviceaccount",
    "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount",
    "/var/run/secrets/azure/tokens",
    "/var/run/secrets/azure/wi",
    "/var/run/secrets/sts.googleapis.com/serviceaccount",
    "/var/run/secrets/cwii.dev",
];

/// What webhooks set themselves.
const INJECTED: [&str; 6] = [
    env::CWII_GCP_CREDS_JSON,
    env::AWS_WEB_IDENTITY_TOKEN_FILE,
    env::AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE,
    env::AZURE_FEDERATED_TOKEN_FILE,
    env::GOOGLE_APPLICATION_CREDENTIALS,
    env::CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE,
];

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    if case.is_template() {
        return Ok(Outcome::not_applicable("nothing is mounted yet"));
    }
    let mut findings = Vec::new();
    for container in pod.containers().filter(|container| container.list != "ephemeralContainers") {
        // Google's webhook writes the path into the document that this one makes.
        if container.name() == "gcloud-setup" {
            continue;
        }
        for (pointer, what, text) in texts(&container) {
            let Some(directory) = KNOWN.iter().find(|known| text.contains(*known)) else {
                continue;
            };
            let path = path_in(&text, directory);
            if is_mounted(&container, &path) {
                continue;
            }
            findings.push(
                Finding::new(
                    "APP05",
                    format!("{what} of container `{}` names `{path}`, where nothing is mounted", container.name()),
                )
                .at(pod.subject_at(&pointer, format!("{what} of container `{}`", container.name())))
                .fix("let the application read the variable that the webhook sets"),
            );
        }
    }
    Ok(Outcome::of(findings))
}

fn texts(container: &Container<'_>) -> Vec<(String, String, String)> {
    let mut texts = Vec::new();
    for member in ["command", "args"] {
        for (index, text) in container.elements(member).enumerate() {
            if let Some(text) = text.as_str() {
                texts.push((
                    format!("{}/{member}/{index}", container.pointer()),
                    format!("`{member}`"),
                    text.to_owned(),
                ));
            }
        }
    }
    for (index, name, element) in container.variables() {
        if !INJECTED.contains(&name)
            && let Some(text) = element.get("value").and_then(Value::as_str)
        {
            texts.push((
                format!("{}/env/{index}", container.pointer()),
                format!("variable `{name}`"),
                text.to_owned(),
            ));
        }
    }
    texts
}

/// The whole path that begins with this directory.
fn path_in(text: &str, directory: &str) -> String {
    let from = text.find(directory).unwrap_or_default();
    text[from..]
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "/._-".contains(*c))
        .collect()
}

fn is_mounted(container: &Container<'_>, path: &str) -> bool {
    container.elements("volumeMounts").any(|mount| {
        let at = mount
            .get("mountPath")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim_end_matches('/');
        !at.is_empty()
            && (path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || at.starts_with(&format!("{}/", path.trim_end_matches('/'))))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn paths_of_the_webhooks_own_variables_and_mounts_pass() {
        for fixture in [Fixture::irsa(), Fixture::cwii_all()] {
            assert_eq!(fixture.decide("APP05"), Ok(Outcome::Pass));
        }
        let mounted = Fixture::irsa().pod(|pod| {
            pod["spec"]["containers"][0]["args"] =
                json!(["--token=/var/run/secrets/eks.amazonaws.com/serviceaccount/token"]);
        });
        assert_eq!(mounted.decide("APP05"), Ok(Outcome::Pass));
    }

    // airflow#18972 and others
    #[test]
    fn a_path_that_moved_is_found() {
        let fixture = Fixture::cwii_az().pod(|pod| {
            pod["spec"]["containers"][0]["args"] =
                json!(["--federated-token-file=/var/run/secrets/azure/tokens/azure-identity-token"]);
        });
        assert_eq!(
            fixture.messages("APP05"),
            ["`args` of container `app` names `/var/run/secrets/azure/tokens/azure-identity-token`, where nothing is \
              mounted"]
        );
    }
}
