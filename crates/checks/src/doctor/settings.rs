//! The settings of a webhook that runs, from the arguments and variables of its Deployment.
//!
//! What the webhook reads at its start is read the same way here, with the same defaults, so that a replay does what the
//! deployed webhook does and not what this tool's version would.

use cwii_contract::{Provider, Settings, image::ImagePattern, spec::EnvVar};
use serde_json::Value;

use super::object::Object;
use crate::facts::Fact;

/// Reads the flags and `CWII_*` variables of a webhook's Deployment.
///
/// A flag that does not parse makes the whole [`Fact::Invalid`]: the webhook would not start with it.
#[must_use]
pub fn webhook_settings(deployment: &Object) -> Fact<Settings> {
    let containers: Vec<&Value> = deployment.list("/spec/template/spec/containers").collect();
    let is_webhook = |container: &&&Value| {
        ["image", "name"]
            .iter()
            .any(|member| text(container, member).is_some_and(|text| text.contains("cwii-webhook")))
            || words(container).any(|word| word.starts_with("--tls-cert-file"))
    };
    let Some(container) = containers
        .iter()
        .find(is_webhook)
        .or(match containers.as_slice() {
            [only] => Some(only),
            _ => None,
        })
    else {
        return Fact::Invalid(format!(
            "no container of deployment {} runs the webhook",
            deployment.name()
        ));
    };
    match read(container) {
        Ok(settings) => Fact::Known(settings),
        Err(problem) => Fact::Invalid(format!("deployment {}: {problem}", deployment.name())),
    }
}

fn read(container: &Value) -> Result<Settings, String> {
    let version = text(container, "image")
        .and_then(tag)
        .filter(|tag| tag.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or(env!("CARGO_PKG_VERSION"));
    let mut settings = Settings::new(version).map_err(|error| error.to_string())?;
    for (flag, value) in flags(container) {
        apply(&mut settings, &flag, &value).map_err(|why| format!("`{flag}={value}`: {why}"))?;
    }
    Ok(settings)
}

fn apply(settings: &mut Settings, flag: &str, value: &str) -> Result<(), String> {
    fn parsed<T: std::str::FromStr>(value: &str) -> Result<T, String>
    where
        T::Err: std::fmt::Display,
    {
        value
            .trim()
            .parse()
            .map_err(|error: T::Err| error.to_string())
    }
    for provider in Provider::ALL {
        if flag == format!("--{provider}-enabled") {
            settings.enabled[provider] = boolean(value)?;
            return Ok(());
        }
        if flag == format!("--{provider}-verify-image") {
            settings.verify_image[provider] = Some(parsed(value)?);
            return Ok(());
        }
    }
    match flag {
        "--native-annotations" => settings.native_annotations = boolean(value)?,
        "--config-map-delivery" => settings.config_map_delivery = boolean(value)?,
        "--agent-image" => settings.agent_image = parsed(value)?,
        "--verify-image-allow" => {
            for pattern in value.split(',') {
                settings
                    .verify_image_allow
                    .push(parsed::<ImagePattern>(pattern)?);
            }
        }
        "--aws-default-region" => settings.aws_default_region = Some(parsed(value)?),
        "--az-default-tenant-id" => settings.az_default_tenant_id = Some(parsed(value)?),
        "--az-default-authority-host" => settings.az_default_authority_host = Some(parsed(value)?),
        "--gcp-default-audience" => {
            settings.gcp_default_audience =
                Some(value.to_owned()).filter(|audience| !audience.trim().is_empty());
        }
        "--gcp-default-delivery" => settings.gcp_default_delivery = parsed(value)?,
        "--verify-env" => {
            for line in value.lines() {
                let (name, value) = line.split_once('=').ok_or("expected NAME=VALUE")?;
                settings
                    .verify_env
                    .push(EnvVar::literal(name.to_owned(), value.to_owned()));
            }
        }
        "--verify-cpu-request" => settings.resources.requests.cpu = parsed(value)?,
        "--verify-memory-request" => settings.resources.requests.memory = parsed(value)?,
        "--verify-cpu-limit" => settings.resources.limits.cpu = parsed(value)?,
        "--verify-memory-limit" => settings.resources.limits.memory = parsed(value)?,
        "--cloud-cli-cpu-request" => settings.cloud_cli_resources.requests.cpu = parsed(value)?,
        "--cloud-cli-memory-request" => {
            settings.cloud_cli_resources.requests.memory = parsed(value)?;
        }
        "--cloud-cli-cpu-limit" => settings.cloud_cli_resources.limits.cpu = parsed(value)?,
        "--cloud-cli-memory-limit" => settings.cloud_cli_resources.limits.memory = parsed(value)?,
        // What serves, logs and watches decides nothing that is injected; nor does a flag of a newer version that nobody here
        // knows.
        _ => {}
    }
    Ok(())
}

/// Flags with their values: those of variables first, since an argument wins over its variable.
fn flags(container: &Value) -> Vec<(String, String)> {
    let mut flags = Vec::new();
    let variables = container.get("env").and_then(Value::as_array);
    for variable in variables.into_iter().flatten() {
        if let (Some(name), Some(value)) = (text(variable, "name"), text(variable, "value"))
            && let Some(name) = name.strip_prefix("CWII_")
        {
            let name = name.to_ascii_lowercase().replace('_', "-");
            flags.push((format!("--{name}"), value.to_owned()));
        }
    }
    let words: Vec<&str> = words(container).collect();
    let mut arguments: Vec<(String, String)> = Vec::new();
    let mut index = 0;
    while let Some(word) = words.get(index) {
        index += 1;
        if !word.starts_with("--") {
            continue;
        }
        if let Some((flag, value)) = word.split_once('=') {
            arguments.push((flag.to_owned(), value.to_owned()));
        } else {
            // A switch stands alone; everything else takes the next word.
            match words.get(index).filter(|next| !next.starts_with("--")) {
                Some(value) => {
                    arguments.push(((*word).to_owned(), (*value).to_owned()));
                    index += 1;
                }
                None => arguments.push(((*word).to_owned(), "true".into())),
            }
        }
    }
    // A list of an argument replaces that of its variable.
    flags.retain(|(flag, _)| !arguments.iter().any(|(argument, _)| argument == flag));
    flags.extend(arguments);
    flags
}

fn words(container: &Value) -> impl Iterator<Item = &str> {
    ["command", "args"].into_iter().flat_map(|member| {
        container
            .get(member)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    })
}

fn text<'v>(value: &'v Value, member: &str) -> Option<&'v str> {
    value.get(member)?.as_str()
}

/// The tag of an image; none where it has a digest alone.
fn tag(image: &str) -> Option<&str> {
    let name = image.split('@').next()?;
    let (_, last) = name.rsplit_once('/').unwrap_or(("", name));
    last.split_once(':').map(|(_, tag)| tag)
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected `true` or `false`".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(container: Value) -> Object {
        Object::new(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cwii-webhook", "namespace": "cwii-system"},
            "spec": {"template": {"spec": {"containers": [{"name": "proxy"}, container]}}},
        }))
    }

    #[test]
    fn without_flags_the_settings_are_the_defaults_of_the_images_version() {
        let found = webhook_settings(&deployment(
            json!({"name": "webhook", "image": "ghcr.io/cwii-dev/cwii-webhook:0.2.0@sha256:00", "args": ["--tls-cert-file=/tls/tls.crt"]}),
        ));
        assert_eq!(found, Fact::Known(Settings::new("0.2.0").unwrap()));
    }

    #[test]
    fn arguments_win_over_variables() {
        let found = webhook_settings(&deployment(json!({
            "name": "webhook", "image": "registry:5000/cwii-webhook",
            "args": ["--aws-default-region", "eu-central-1", "--native-annotations", "--gcp-enabled=false",
                "--verify-env=A=b\nC=d=e", "--some-new-flag", "x"],
            "env": [{"name": "CWII_AWS_DEFAULT_REGION", "value": "us-east-1"}, {"name": "CWII_AZ_ENABLED", "value": "False"},
                {"name": "OTHER", "value": "x"}],
        })));
        let Fact::Known(settings) = found else {
            panic!("{found:?}");
        };
        assert_eq!(
            settings.aws_default_region.unwrap().as_str(),
            "eu-central-1"
        );
        assert!(settings.native_annotations);
        assert!(!settings.enabled[Provider::Gcp] && !settings.enabled[Provider::Az]);
        assert_eq!(settings.verify_env[1].value, "d=e");
    }

    #[test]
    fn what_the_webhook_would_refuse_is_invalid() {
        let found = webhook_settings(&deployment(
            json!({"name": "cwii-webhook", "args": ["--aws-enabled=yes"]}),
        ));
        assert!(
            matches!(&found, Fact::Invalid(why) if why.contains("--aws-enabled=yes")),
            "{found:?}"
        );
        let found = webhook_settings(&deployment(json!({"name": "other"})));
        assert!(matches!(found, Fact::Invalid(_)));
    }
}
