//! What the operator decides for the whole cluster: the webhook's flags, parsed.
//!
//! The defaults here are the only ones; the webhook renders them into its help and the chart into its values.

use std::{fmt, ops::Index, ops::IndexMut, str::FromStr};

use crate::{
    Provider,
    image::{Image, ImagePattern},
    names,
    spec::{EnvVar, Quantity, ResourceList, Resources},
    types::{AuthorityHost, ParseError, Region, TenantId},
};

/// The flags of the webhook that messages name.
pub mod flag {
    use crate::Provider;

    macro_rules! flags {
        ($($name:ident = $flag:literal),* $(,)?) => {
            $(#[doc = concat!("`", $flag, "`.")] pub const $name: &str = $flag;)*

            /// All of them, for a test that the webhook has them.
            pub const ALL: &[&str] = &[$($name),*];
        };
    }

    flags! {
        AWS_ENABLED = "--aws-enabled",
        AZ_ENABLED = "--az-enabled",
        GCP_ENABLED = "--gcp-enabled",
        AGENT_IMAGE = "--agent-image",
        AWS_VERIFY_IMAGE = "--aws-verify-image",
        AZ_VERIFY_IMAGE = "--az-verify-image",
        GCP_VERIFY_IMAGE = "--gcp-verify-image",
        VERIFY_IMAGE_ALLOW = "--verify-image-allow",
        AWS_DEFAULT_REGION = "--aws-default-region",
        AZ_DEFAULT_TENANT_ID = "--az-default-tenant-id",
        AZ_DEFAULT_AUTHORITY_HOST = "--az-default-authority-host",
        GCP_DEFAULT_AUDIENCE = "--gcp-default-audience",
        GCP_DEFAULT_DELIVERY = "--gcp-default-delivery",
        CONFIG_MAP_DELIVERY = "--config-map-delivery",
    }

    /// `--<p>-enabled`.
    #[must_use]
    pub const fn enabled(provider: Provider) -> &'static str {
        match provider {
            Provider::Aws => AWS_ENABLED,
            Provider::Az => AZ_ENABLED,
            Provider::Gcp => GCP_ENABLED,
        }
    }
}

/// One value for each provider.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct PerProvider<T>([T; Provider::ALL.len()]);

impl<T> PerProvider<T> {
    /// Makes the value of each provider.
    pub fn from_fn(make: impl FnMut(Provider) -> T) -> Self {
        Self(Provider::ALL.map(make))
    }

    /// Providers with their values, in the order of [`Provider::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Provider, &T)> {
        Provider::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Provider> for PerProvider<T> {
    type Output = T;

    fn index(&self, provider: Provider) -> &T {
        &self.0[provider as usize]
    }
}

impl<T> IndexMut<Provider> for PerProvider<T> {
    fn index_mut(&mut self, provider: Provider) -> &mut T {
        &mut self.0[provider as usize]
    }
}

/// How Google's credentials document reaches the pod.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Delivery {
    /// An init container writes it into an `emptyDir`.
    #[default]
    InitContainer,
    /// A ConfigMap holds it.
    ConfigMap,
}

/// What a verify container runs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VerifyCommand {
    /// `cwii-agent verify`.
    Agent,
    /// The cloud's own CLI, in a shell.
    CloudCli,
}

/// What an enforcing verification does when the cloud could not be asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Unreachable {
    /// The pod does not start.
    Block,
    /// The pod starts.
    Allow,
}

macro_rules! words {
    ($($type:ident, $expected:literal: $($variant:ident => $word:literal),+);+ $(;)?) => {$(
        impl $type {
            /// The words that mean one.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The word, as annotations and flags spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = ParseError;

            fn from_str(s: &str) -> Result<Self, ParseError> {
                match s {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(ParseError::new(s, $expected)),
                }
            }
        }
    )+};
}

words! {
    Delivery, "`init-container` or `config-map`": InitContainer => "init-container", ConfigMap => "config-map";
    VerifyCommand, "`agent` or `cloud-cli`": Agent => "agent", CloudCli => "cloud-cli";
    Unreachable, "`block` or `allow`": Block => "block", Allow => "allow";
}

/// Everything that the webhook's flags decide.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// `--<p>-enabled`.
    pub enabled: PerProvider<bool>,
    /// `--native-annotations`: whether the annotations of the clouds' own webhooks are read as a fallback.
    pub native_annotations: bool,
    /// `--agent-image`.
    pub agent_image: Image,
    /// `--<p>-verify-image`; none: the agent's.
    pub verify_image: PerProvider<Option<Image>>,
    /// `--verify-image-allow`: what `<p>-verify-image` may name; empty: anything. The server's own images always are allowed.
    pub verify_image_allow: Vec<ImagePattern>,
    /// `--aws-default-region`.
    pub aws_default_region: Option<Region>,
    /// `--az-default-tenant-id`.
    pub az_default_tenant_id: Option<TenantId>,
    /// `--az-default-authority-host`.
    pub az_default_authority_host: Option<AuthorityHost>,
    /// `--gcp-default-audience`.
    pub gcp_default_audience: Option<String>,
    /// `--gcp-default-delivery`.
    pub gcp_default_delivery: Delivery,
    /// `--config-map-delivery`: whether the webhook may write ConfigMaps at all.
    pub config_map_delivery: bool,
    /// Requests and limits of containers that run the agent.
    pub resources: Resources,
    /// Requests and limits of containers that run a cloud's CLI.
    pub cloud_cli_resources: Resources,
    /// `--verify-env`: further variables of the verify containers, such as a proxy.
    pub verify_env: Vec<EnvVar>,
    /// Version of the webhook, written to `cwii.dev/webhook-version`.
    pub version: String,
}

impl Settings {
    /// The defaults of a webhook of this version.
    ///
    /// # Errors
    ///
    /// The version makes no image tag.
    pub fn new(version: &str) -> Result<Self, ParseError> {
        Ok(Self {
            enabled: PerProvider::from_fn(|_| true),
            native_annotations: false,
            agent_image: default_agent_image(version)?,
            verify_image: PerProvider::default(),
            verify_image_allow: Vec::new(),
            aws_default_region: None,
            az_default_tenant_id: None,
            az_default_authority_host: None,
            gcp_default_audience: None,
            gcp_default_delivery: Delivery::default(),
            config_map_delivery: false,
            resources: default_resources(names::AGENT_RESOURCES)?,
            cloud_cli_resources: default_resources(names::CLOUD_CLI_RESOURCES)?,
            verify_env: Vec::new(),
            version: version.to_owned(),
        })
    }
}

/// The agent's image of this version.
///
/// # Errors
///
/// The version makes no image tag.
pub fn default_agent_image(version: &str) -> Result<Image, ParseError> {
    // `+` of a build's version may not stand in a tag.
    format!("{}:{}", names::AGENT_REPOSITORY, version.replace('+', "-")).parse()
}

fn default_resources(defaults: names::ResourceDefaults) -> Result<Resources, ParseError> {
    let quantity = |text: &str| text.parse::<Quantity>();
    Ok(Resources {
        requests: ResourceList {
            cpu: quantity(defaults.cpu_request)?,
            memory: quantity(defaults.memory_request)?,
        },
        limits: ResourceList {
            cpu: quantity(defaults.cpu_limit)?,
            memory: quantity(defaults.memory_limit)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_pinned() {
        let settings = Settings::new("0.1.0+abc").unwrap();
        assert_eq!(
            settings.agent_image.as_str(),
            "ghcr.io/cwii-dev/cwii-agent:0.1.0-abc"
        );
        assert!(settings.agent_image.is_pinned());
        assert!(settings.resources.requests_fit_limits());
        assert!(settings.cloud_cli_resources.requests_fit_limits());
    }

    #[test]
    fn each_provider_has_a_value_of_its_own() {
        let mut names = PerProvider::from_fn(|provider| provider.to_string());
        for provider in Provider::ALL {
            assert_eq!(names[provider], provider.as_str());
            assert_eq!(flag::enabled(provider), format!("--{provider}-enabled"));
        }
        names[Provider::Az].push('!');
        assert_eq!(
            names
                .iter()
                .map(|(_, name)| name.as_str())
                .collect::<Vec<_>>(),
            ["aws", "az!", "gcp"]
        );
    }

    #[test]
    fn words_parse_to_what_prints_as_them() {
        for word in Delivery::WORDS {
            assert_eq!(word.parse::<Delivery>().unwrap().to_string(), *word);
        }
        assert!("configmap".parse::<Delivery>().is_err());
    }
}
