//! The settings of a deployed webhook, from the arguments and variables of its container.
//!
//! The reverse of what the webhook does with its flags, for tools that foretell or judge what it does. What cannot be
//! read, because it comes from elsewhere or does not parse, keeps its default and is named.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::Value;

use crate::{
    Provider, Settings,
    image::Image,
    settings::default_agent_image,
    spec::EnvVar,
    types::{ParseError, shorten_to},
};

/// What a webhook's container says of its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployed {
    /// The settings.
    pub settings: Settings,
    /// Flags whose value cannot be known from here: `--aws-default-region` from a ConfigMap, say. Sorted.
    pub unread: Vec<String>,
}

/// Reads the container of a webhook, as it stands in a pod template. The version is that of the image's tag, or
/// `fallback_version` where the tag is none.
///
/// # Errors
///
/// The version makes no image tag.
pub fn deployed(container: &Value, fallback_version: &str) -> Result<Deployed, ParseError> {
    let flags = Flags::of(container);
    let version = container["image"]
        .as_str()
        .and_then(version_of)
        .unwrap_or(fallback_version);
    let mut read = Reader {
        flags,
        unread: Vec::new(),
    };
    let mut settings = Settings::new(version)?;
    for provider in Provider::ALL {
        read.boolean(
            &format!("{provider}-enabled"),
            &mut settings.enabled[provider],
        );
        read.optional(
            &format!("{provider}-verify-image"),
            &mut settings.verify_image[provider],
        );
    }
    read.boolean("native-annotations", &mut settings.native_annotations);
    read.boolean("config-map-delivery", &mut settings.config_map_delivery);
    settings.agent_image = default_agent_image(version)?;
    read.parsed("agent-image", &mut settings.agent_image);
    read.optional("aws-default-region", &mut settings.aws_default_region);
    read.optional("az-default-tenant-id", &mut settings.az_default_tenant_id);
    read.optional(
        "az-default-authority-host",
        &mut settings.az_default_authority_host,
    );
    read.parsed("gcp-default-delivery", &mut settings.gcp_default_delivery);
    if let Some(values) = read.values("gcp-default-audience") {
        settings.gcp_default_audience = values
            .into_iter()
            .last()
            .filter(|audience| !audience.trim().is_empty());
    }
    if let Some(values) = read.values("verify-image-allow") {
        let patterns = values.iter().flat_map(|value| value.split(','));
        match patterns
            .map(|pattern| pattern.trim().parse())
            .collect::<Result<_, _>>()
        {
            Ok(patterns) => settings.verify_image_allow = patterns,
            Err(_) => read.unreadable("verify-image-allow"),
        }
    }
    if let Some(values) = read.values("verify-env") {
        settings.verify_env = values
            .iter()
            .flat_map(|value| value.split('\n'))
            .filter_map(|variable| variable.trim_end_matches('\r').split_once('='))
            .map(|(name, value)| EnvVar::literal(name.to_owned(), value.to_owned()))
            .collect();
    }
    for (prefix, resources) in [
        ("verify", &mut settings.resources),
        ("cloud-cli", &mut settings.cloud_cli_resources),
    ] {
        for (kind, list) in [
            ("request", &mut resources.requests),
            ("limit", &mut resources.limits),
        ] {
            read.parsed(&format!("{prefix}-cpu-{kind}"), &mut list.cpu);
            read.parsed(&format!("{prefix}-memory-{kind}"), &mut list.memory);
        }
    }
    let mut unread = read.unread;
    unread.sort();
    Ok(Deployed { settings, unread })
}

/// Flags and variables of a container, in the order of the webhook's own reading: a flag comes before its variable.
struct Flags {
    /// Values by flag without dashes.
    flags: BTreeMap<String, Vec<String>>,
    /// Values by variable; none where it comes from elsewhere.
    variables: BTreeMap<String, Option<String>>,
}

impl Flags {
    fn of(container: &Value) -> Self {
        let mut variables = BTreeMap::new();
        for variable in array(&container["env"]) {
            let Some(name) = variable["name"].as_str() else {
                continue;
            };
            let value = match &variable["valueFrom"] {
                Value::Null => {
                    let text = variable["value"].as_str().unwrap_or_default();
                    Some(expanded(text, &variables))
                }
                _ => None,
            };
            variables.insert(name.to_owned(), value);
        }
        let arguments: Vec<String> = array(&container["args"])
            .filter_map(Value::as_str)
            .map(|argument| expanded(argument, &variables))
            .collect();
        let mut flags: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut rest = arguments.iter().peekable();
        while let Some(argument) = rest.next() {
            let Some(flag) = argument.strip_prefix("--") else {
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                // A switch may stand alone.
                None => match rest.next_if(|next| !next.starts_with("--")) {
                    Some(value) => (flag, value.clone()),
                    None => (flag, "true".to_owned()),
                },
            };
            flags.entry(name.to_owned()).or_default().push(value);
        }
        Self { flags, variables }
    }
}

struct Reader {
    flags: Flags,
    unread: Vec<String>,
}

impl Reader {
    /// What was said for a flag; none where nothing was.
    fn values(&mut self, flag: &str) -> Option<Vec<String>> {
        if let Some(values) = self.flags.flags.get(flag) {
            return Some(values.clone());
        }
        let variable = format!("CWII_{}", flag.replace('-', "_").to_ascii_uppercase());
        match self.flags.variables.get(&variable)? {
            Some(value) => Some(vec![value.clone()]),
            None => {
                self.unreadable(flag);
                None
            }
        }
    }

    fn parsed<T: FromStr>(&mut self, flag: &str, setting: &mut T) {
        let Some(value) = self
            .values(flag)
            .and_then(|values| values.into_iter().last())
        else {
            return;
        };
        match value.trim().parse() {
            Ok(value) => *setting = value,
            Err(_) => self.unreadable(flag),
        }
    }

    fn optional<T: FromStr>(&mut self, flag: &str, setting: &mut Option<T>) {
        let Some(value) = self
            .values(flag)
            .and_then(|values| values.into_iter().last())
        else {
            return;
        };
        match value.trim().parse() {
            Ok(value) => *setting = Some(value),
            Err(_) => self.unreadable(flag),
        }
    }

    fn boolean(&mut self, flag: &str, setting: &mut bool) {
        let Some(value) = self
            .values(flag)
            .and_then(|values| values.into_iter().last())
        else {
            return;
        };
        match value.trim().to_ascii_lowercase().as_str() {
            "true" => *setting = true,
            "false" => *setting = false,
            _ => self.unreadable(flag),
        }
    }

    fn unreadable(&mut self, flag: &str) {
        self.unread.push(format!("--{}", shorten_to(flag, 64)));
    }
}

/// The version that an image's tag names: `0.1.0`, `v1.2.3-rc.1`. A tag such as `latest` names none.
fn version_of(image: &str) -> Option<&str> {
    let parsed: Image = image.parse().ok()?;
    let name = parsed.as_str().split('@').next()?;
    let at = image.find(name)?;
    let (_, tag) = image[at..at + name.len()].rsplit_once(':')?;
    let version = tag.strip_prefix('v').unwrap_or(tag);
    let is_version = version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.');
    // A colon may also stand before a port.
    (is_version && !tag.contains('/')).then_some(version)
}

/// `$(NAME)` of a variable that is known before; `$$` stands for `$`. Kubernetes API, `Container.args`.
fn expanded(text: &str, variables: &BTreeMap<String, Option<String>>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let reference = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'));
        match reference.and_then(|(name, rest)| Some((variables.get(name)?.as_ref()?, rest))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Delivery;

    fn read(container: &Value) -> Deployed {
        deployed(container, "9.9.9").unwrap()
    }

    #[test]
    fn a_container_without_flags_has_the_defaults_of_its_images_version() {
        let container = json!({ "image": "ghcr.io:5000/cwii-dev/cwii-webhook:v0.3.1@sha256:0000000000000000000000000000000000000000000000000000000000000000" });
        assert_eq!(
            read(&container),
            Deployed {
                settings: Settings::new("0.3.1").unwrap(),
                unread: Vec::new()
            }
        );
        for image in ["cwii-webhook:latest", "localhost:5000/cwii-webhook", "x"] {
            assert_eq!(
                read(&json!({ "image": image })).settings.version,
                "9.9.9",
                "{image}"
            );
        }
    }

    #[test]
    fn flags_come_before_variables_and_both_are_read_as_the_webhook_reads_them() {
        let container = json!({
            "args": [
                "--aws-default-region=$(REGION)", "--aws-enabled", "FALSE", "--native-annotations",
                "--gcp-default-delivery", "config-map", "--config-map-delivery", "--verify-env=A=1\nB=$$(X)",
                "--verify-image-allow=a/*,b/*", "--verify-image-allow", "c/*", "--verify-memory-limit=64Mi",
                "--listen=:8443",
            ],
            "env": [
                { "name": "REGION", "value": "eu-west-1" },
                { "name": "CWII_AWS_ENABLED", "value": "true" },
                { "name": "CWII_AZ_DEFAULT_TENANT_ID", "value": "contoso.onmicrosoft.com" },
            ],
        });
        let Deployed { settings, unread } = read(&container);
        assert_eq!(unread, [""; 0]);
        assert_eq!(settings.aws_default_region.unwrap().as_str(), "eu-west-1");
        assert!(!settings.enabled[Provider::Aws] && settings.native_annotations);
        assert_eq!(settings.gcp_default_delivery, Delivery::ConfigMap);
        assert!(settings.config_map_delivery);
        assert_eq!(settings.verify_image_allow.len(), 3);
        assert_eq!(
            settings.verify_env[1],
            EnvVar::literal("B".to_owned(), "$(X)".to_owned())
        );
        assert_eq!(settings.resources.limits.memory.as_str(), "64Mi");
        assert!(settings.az_default_tenant_id.is_some());
    }

    #[test]
    fn what_comes_from_elsewhere_or_does_not_parse_is_named() {
        let container = json!({
            "args": ["--aws-default-region=not a region", "--az-enabled=yes"],
            "env": [{ "name": "CWII_GCP_DEFAULT_AUDIENCE", "valueFrom": { "configMapKeyRef": {} } }],
        });
        let Deployed { settings, unread } = read(&container);
        assert_eq!(
            unread,
            [
                "--aws-default-region",
                "--az-enabled",
                "--gcp-default-audience"
            ]
        );
        assert_eq!(settings, Settings::new("9.9.9").unwrap());
    }
}
