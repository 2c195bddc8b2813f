//! The webhook of cwii as it is deployed, and the settings that its flags come to.

use cwii_contract::{Deployed, Settings, deployed};
use serde_json::Value;

use super::{Cluster, Failure, ListOptions, resource};

/// The deployed webhook.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub(crate) namespace: String,
    /// Name of its Deployment.
    pub(crate) name: String,
    pub(crate) deployed: Deployed,
    /// Image of its container.
    pub(crate) image: String,
}

/// Looks for the webhook: its MutatingWebhookConfiguration names the Service, the Service its pods, and a Deployment of
/// the same namespace makes those.
///
/// # Errors
///
/// [`Failure::Absent`] where none is installed; every other failure.
pub(crate) async fn find(cluster: &Cluster) -> Result<Webhook, Failure> {
    let (namespace, name) = match service(cluster).await {
        Ok(service) => service,
        // Where it stands unless somebody chose otherwise.
        Err(Failure::Denied(_)) => (NAMESPACE.to_owned(), SERVICE.to_owned()),
        Err(failure) => return Err(failure),
    };
    let deployments = ListOptions {
        namespace: Some(&namespace),
        ..ListOptions::default()
    };
    let (service, deployments) = tokio::join!(
        cluster.get(resource::SERVICE, &namespace, &name),
        cluster.list(resource::DEPLOYMENT, deployments),
    );
    let selector = service
        .as_ref()
        .ok()
        .and_then(|service| service.pointer("/spec/selector"))
        .and_then(Value::as_object);
    let deployments = deployments?;
    let deployment = deployments
        .iter()
        .find(|deployment| {
            let labels = deployment.pointer("/spec/template/metadata/labels");
            match selector {
                Some(selector) => selector
                    .iter()
                    .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value)),
                None => deployment.pointer("/metadata/name").and_then(Value::as_str) == Some(&name),
            }
        })
        .ok_or(Failure::Absent)?;
    let containers = deployment
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array);
    let container = containers
        .into_iter()
        .flatten()
        .max_by_key(|container| is_webhook(container))
        .ok_or(Failure::Absent)?;
    let deployed = deployed(container, env!("CARGO_PKG_VERSION"))
        .map_err(|error| Failure::Unreadable(error.to_string()))?;
    Ok(Webhook {
        name: text(deployment, "/metadata/name"),
        image: text(container, "/image"),
        namespace,
        deployed,
    })
}

/// Namespace and name of the Service behind our webhook.
async fn service(cluster: &Cluster) -> Result<(String, String), Failure> {
    let configurations = cluster
        .list(
            resource::MUTATING_WEBHOOK_CONFIGURATION,
            ListOptions::default(),
        )
        .await?;
    configurations
        .iter()
        .filter_map(|configuration| configuration["webhooks"].as_array())
        .flatten()
        .filter(|webhook| webhook["name"] == WEBHOOK)
        .find_map(|webhook| webhook.pointer("/clientConfig/service"))
        .map(|service| (text(service, "/namespace"), text(service, "/name")))
        .ok_or(Failure::Absent)
}

/// Whether a container runs the webhook, for pods that have others beside it.
pub(crate) fn is_webhook(container: &Value) -> bool {
    text(container, "/image").contains("cwii-webhook")
        || text(container, "/name").contains("webhook")
}

fn text(value: &Value, pointer: &str) -> String {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// The settings of a webhook that is not there.
///
/// # Errors
///
/// The version of this tool makes no image tag.
pub(crate) fn default_settings() -> Result<Settings, Failure> {
    Settings::new(env!("CARGO_PKG_VERSION")).map_err(|error| Failure::Unreadable(error.to_string()))
}

const WEBHOOK: &str = "mutate.cwii.dev";
const NAMESPACE: &str = "cwii-system";
const SERVICE: &str = "cwii-webhook";
