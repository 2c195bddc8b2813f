//! Flags. Each is also a variable, `CWII_` and its name; each default is the contract's or stands here, once.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, error::ErrorKind};
use cwii_contract::{
    Provider, Settings,
    image::{Image, ImagePattern},
    names,
    settings::{Delivery, PerProvider},
    spec::{EnvVar, Quantity, ResourceList, Resources},
    types::{AuthorityHost, ParseError, Region, TenantId},
};

use crate::{
    log::{LogFormat, LogLevel},
    tls::{CertificateSource, SharedCertificate},
};

/// What the flags come to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where https is served.
    pub listen: SocketAddr,
    /// Where metrics are served.
    pub metrics_listen: SocketAddr,
    /// Where the certificate comes from.
    pub certificate: CertificateSource,
    /// Who may ask for admissions; none: anybody.
    pub client: Option<ClientAuthority>,
    /// How to reach the cluster; none: as a pod in it, or as the machine's default kubeconfig says.
    pub kubeconfig: Option<PathBuf>,
    /// How long objects that were not seen yet are looked for.
    pub lookup_timeout: Duration,
    /// How long the listeners stay after SIGTERM.
    pub grace_period: Duration,
    /// How long requests may take to finish after that.
    pub drain_timeout: Duration,
    /// Least severity that is logged.
    pub log_level: LogLevel,
    /// Shape of log lines.
    pub log_format: LogFormat,
    /// What the contract leaves to the operator.
    pub settings: Settings,
}

/// Who may ask for admissions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientAuthority {
    /// Certificates of the authorities that sign client certificates, PEM.
    pub ca: PathBuf,
    /// Common names or DNS names; empty: every client with a certificate.
    pub names: Vec<String>,
}

impl Options {
    /// Reads the arguments of a process and its `CWII_*` variables.
    ///
    /// # Errors
    ///
    /// What is wrong with them; also help and version, which clap treats alike.
    pub fn parse(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let mut command = command();
        let flags = Flags::from_arg_matches(&command.try_get_matches_from_mut(arguments)?)?;
        flags
            .into_options()
            .map_err(|problem| command.error(ErrorKind::ValueValidation, problem))
    }
}

/// The command, with a variable for each flag.
#[must_use]
pub fn command() -> clap::Command {
    // No wrapping: whether clap can wrap depends on what else is built with it.
    let command = Flags::command()
        .term_width(0)
        .mut_args(|arg| match arg.get_long() {
            Some(long) => {
                let variable = format!("CWII_{}", long.replace('-', "_").to_ascii_uppercase());
                arg.env(variable).hide_env_values(true)
            }
            None => arg,
        });
    match cwii_contract::settings::default_agent_image(VERSION) {
        Ok(image) => command.mut_arg("agent_image", |arg| {
            arg.required(false).default_value(image.to_string())
        }),
        // A version that makes no tag: the operator has to say which image it is.
        Err(_) => command,
    }
}

/// Admission server that injects workload identity federation into pods, as their annotations ask for.
///
/// Every flag is also a variable: `CWII_` and the flag in capitals, `-` as `_`.
#[derive(Debug, Parser)]
#[command(name = "cwii-webhook", version)]
struct Flags {
    #[command(flatten, next_help_heading = "Serving")]
    serving: Serving,
    #[command(flatten, next_help_heading = "Cluster")]
    cluster: ClusterFlags,
    #[command(flatten, next_help_heading = "Logs")]
    logs: Logs,
    #[command(flatten, next_help_heading = "Providers")]
    providers: Providers,
    #[command(flatten, next_help_heading = "Injected containers")]
    containers: Containers,
}

#[derive(Args, Debug)]
struct Serving {
    /// Where https is served: /mutate, /healthz, /readyz
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value = "[::]:8443")]
    listen: SocketAddr,

    /// Where http is served: /metrics, and /healthz and /readyz too
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value = "[::]:8080")]
    metrics_listen: SocketAddr,

    /// Certificate and what leads to its issuer, PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key_file")]
    tls_cert_file: Option<PathBuf>,

    /// Key of the certificate, PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,

    /// Make a certificate for these DNS names and IP addresses, instead of reading one; at start and for one replica,
    /// since each makes its own, unless --tls-secret shares it
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        conflicts_with = "tls_cert_file"
    )]
    tls_self_signed: Vec<String>,

    /// Where to write the authority of the certificate that --tls-self-signed makes, PEM
    #[arg(long, value_name = "FILE", requires = "tls_self_signed")]
    tls_ca_out: Option<PathBuf>,

    /// Share the certificate that --tls-self-signed makes through this Secret, which must exist and may be empty, and
    /// replace it after two thirds of its lifetime
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        value_parser = namespaced,
        requires = "tls_self_signed",
        requires = "tls_webhook_configuration",
        conflicts_with_all = ["tls_cert_file", "tls_ca_out"]
    )]
    tls_secret: Option<(String, String)>,

    /// MutatingWebhookConfiguration whose caBundle follows the certificate of --tls-secret
    #[arg(long, value_name = "NAME", value_parser = object_name, requires = "tls_secret")]
    tls_webhook_configuration: Option<String>,

    /// How long a certificate of --tls-secret is valid, from the next one on
    #[arg(long, value_name = "DURATION", value_parser = long_duration, default_value = "2160h", requires = "tls_secret")]
    tls_lifetime: Duration,

    /// How long the caBundle holds the old and the new certificate's authority before replicas of --tls-secret switch,
    /// and again after
    #[arg(long, value_name = "DURATION", value_parser = long_duration, default_value = "5m", requires = "tls_secret")]
    tls_overlap: Duration,

    /// Accept admissions only from clients with a certificate of these authorities, PEM; read again when it changes
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,

    /// Common name or DNS name that the client's certificate must carry (repeatable, or comma-separated)
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "client_ca_file"
    )]
    client_name: Vec<String>,

    /// How long the listeners stay after SIGTERM, for clients that have not heard of it
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s")]
    grace_period: Duration,

    /// How long requests that have begun may take to finish after that
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "20s")]
    drain_timeout: Duration,
}

#[derive(Args, Debug)]
struct ClusterFlags {
    /// How to reach the cluster; without it as a pod in it, else as the default kubeconfig says
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// How long to look for an object that no watch has seen yet, at most 80% of the time that the API server waits
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2s")]
    lookup_timeout: Duration,
}

#[derive(Args, Debug)]
struct Logs {
    /// Least severity that is logged
    #[arg(long, value_enum, default_value_t)]
    log_level: LogLevel,

    /// Shape of log lines
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Args, Debug)]
struct Providers {
    /// Inject AWS where pods ask for it
    #[arg(long, value_name = "BOOL", value_parser = boolean, action = ArgAction::Set, default_value = "true")]
    aws_enabled: bool,

    /// Inject Entra ID where pods ask for it
    #[arg(long, value_name = "BOOL", value_parser = boolean, action = ArgAction::Set, default_value = "true")]
    az_enabled: bool,

    /// Inject Google Cloud where pods ask for it
    #[arg(long, value_name = "BOOL", value_parser = boolean, action = ArgAction::Set, default_value = "true")]
    gcp_enabled: bool,

    /// Read the annotations of the clouds' own webhooks where a key of cwii.dev is not set
    #[arg(long, value_name = "BOOL", value_parser = boolean, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    native_annotations: bool,

    /// Region where no aws-region is set
    #[arg(long, value_name = "REGION")]
    aws_default_region: Option<Text<Region>>,

    /// Tenant where no az-tenant-id is set, a UUID or a domain
    #[arg(long, value_name = "TENANT")]
    az_default_tenant_id: Option<Text<TenantId>>,

    /// Entra authority where no az-authority-host is set, an https URL; azure-identity for Python needs one
    #[arg(long, value_name = "URL")]
    az_default_authority_host: Option<Text<AuthorityHost>>,

    /// Audience of Google's tokens where no gcp-audience is set
    #[arg(long, value_name = "AUDIENCE")]
    gcp_default_audience: Option<String>,

    /// How credentials.json reaches a pod where no gcp-delivery is set: init-container or config-map
    #[arg(long, value_name = "DELIVERY", default_value_t)]
    gcp_default_delivery: Text<Delivery>,

    /// Allow config-map delivery, for which the webhook writes ConfigMaps in the pods' namespaces
    #[arg(long, value_name = "BOOL", value_parser = boolean, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    config_map_delivery: bool,
}

#[derive(Args, Debug)]
struct Containers {
    /// Image of the agent, by tag or digest, never latest
    #[arg(long, value_name = "IMAGE")]
    agent_image: Text<Image>,

    /// Image of AWS' verify container where no aws-verify-image is set; without it the agent's
    #[arg(long, value_name = "IMAGE")]
    aws_verify_image: Option<Text<Image>>,

    /// Image of Entra ID's verify container where no az-verify-image is set; without it the agent's
    #[arg(long, value_name = "IMAGE")]
    az_verify_image: Option<Text<Image>>,

    /// Image of Google Cloud's verify container where no gcp-verify-image is set; without it the agent's
    #[arg(long, value_name = "IMAGE")]
    gcp_verify_image: Option<Text<Image>>,

    /// Images that annotations may ask for: `*` stands for anything but `/`, `**` for anything; without it all are
    /// (repeatable, or comma-separated)
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    verify_image_allow: Vec<Text<ImagePattern>>,

    /// Further variable of verify containers, such as a proxy (repeatable, or one per line)
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable, value_delimiter = '\n')]
    verify_env: Vec<EnvVar>,

    /// Processors set aside for a container that runs the agent
    #[arg(long, value_name = "QUANTITY", default_value = names::AGENT_RESOURCES.cpu_request)]
    verify_cpu_request: Text<Quantity>,

    /// Memory set aside for a container that runs the agent
    #[arg(long, value_name = "QUANTITY", default_value = names::AGENT_RESOURCES.memory_request)]
    verify_memory_request: Text<Quantity>,

    /// Most processors of a container that runs the agent
    #[arg(long, value_name = "QUANTITY", default_value = names::AGENT_RESOURCES.cpu_limit)]
    verify_cpu_limit: Text<Quantity>,

    /// Most memory of a container that runs the agent
    #[arg(long, value_name = "QUANTITY", default_value = names::AGENT_RESOURCES.memory_limit)]
    verify_memory_limit: Text<Quantity>,

    /// Processors set aside for a container that runs a cloud's CLI
    #[arg(long, value_name = "QUANTITY", default_value = names::CLOUD_CLI_RESOURCES.cpu_request)]
    cloud_cli_cpu_request: Text<Quantity>,

    /// Memory set aside for a container that runs a cloud's CLI
    #[arg(long, value_name = "QUANTITY", default_value = names::CLOUD_CLI_RESOURCES.memory_request)]
    cloud_cli_memory_request: Text<Quantity>,

    /// Most processors of a container that runs a cloud's CLI
    #[arg(long, value_name = "QUANTITY", default_value = names::CLOUD_CLI_RESOURCES.cpu_limit)]
    cloud_cli_cpu_limit: Text<Quantity>,

    /// Most memory of a container that runs a cloud's CLI
    #[arg(long, value_name = "QUANTITY", default_value = names::CLOUD_CLI_RESOURCES.memory_limit)]
    cloud_cli_memory_limit: Text<Quantity>,
}

impl Flags {
    fn into_options(self) -> Result<Options, String> {
        let Self {
            serving,
            cluster,
            logs,
            providers,
            containers,
        } = self;
        let certificate = match (serving.tls_cert_file, serving.tls_key_file) {
            (Some(certificate), Some(key)) => CertificateSource::Files { certificate, key },
            _ if !serving.tls_self_signed.is_empty() => {
                let names = serving.tls_self_signed;
                match (serving.tls_secret, serving.tls_webhook_configuration) {
                    (Some(secret), Some(configuration)) => {
                        check_lifetime(serving.tls_lifetime, serving.tls_overlap)?;
                        CertificateSource::Shared(SharedCertificate {
                            names,
                            secret,
                            configuration,
                            lifetime: serving.tls_lifetime,
                            overlap: serving.tls_overlap,
                        })
                    }
                    _ => CertificateSource::SelfSigned {
                        names,
                        ca_out: serving.tls_ca_out,
                    },
                }
            }
            _ => {
                return Err(
                    "no certificate: set --tls-cert-file and --tls-key-file, or --tls-self-signed"
                        .into(),
                );
            }
        };
        if serving.listen == serving.metrics_listen && serving.listen.port() != 0 {
            return Err(format!(
                "--listen and --metrics-listen are both {}",
                serving.listen
            ));
        }
        if cluster.lookup_timeout.is_zero() {
            return Err(
                "--lookup-timeout is 0: what no watch has seen yet could not be read".into(),
            );
        }
        if !containers.agent_image.0.is_pinned() {
            return Err(format!(
                "--agent-image `{}` names no version: expected a tag other than `latest`, or a digest",
                containers.agent_image.0
            ));
        }
        if providers.gcp_default_delivery.0 == Delivery::ConfigMap && !providers.config_map_delivery
        {
            return Err("--gcp-default-delivery is `config-map`, which --config-map-delivery does not allow".into());
        }
        let settings = Settings {
            enabled: PerProvider::from_fn(|provider| match provider {
                Provider::Aws => providers.aws_enabled,
                Provider::Az => providers.az_enabled,
                Provider::Gcp => providers.gcp_enabled,
            }),
            native_annotations: providers.native_annotations,
            agent_image: containers.agent_image.0,
            verify_image: PerProvider::from_fn(|provider| {
                let image = match provider {
                    Provider::Aws => &containers.aws_verify_image,
                    Provider::Az => &containers.az_verify_image,
                    Provider::Gcp => &containers.gcp_verify_image,
                };
                image.as_ref().map(|image| image.0.clone())
            }),
            verify_image_allow: containers
                .verify_image_allow
                .into_iter()
                .map(|p| p.0)
                .collect(),
            aws_default_region: providers.aws_default_region.map(|r| r.0),
            az_default_tenant_id: providers.az_default_tenant_id.map(|t| t.0),
            az_default_authority_host: providers.az_default_authority_host.map(|h| h.0),
            gcp_default_audience: providers
                .gcp_default_audience
                .filter(|a| !a.trim().is_empty()),
            gcp_default_delivery: providers.gcp_default_delivery.0,
            config_map_delivery: providers.config_map_delivery,
            resources: Resources {
                requests: ResourceList {
                    cpu: containers.verify_cpu_request.0,
                    memory: containers.verify_memory_request.0,
                },
                limits: ResourceList {
                    cpu: containers.verify_cpu_limit.0,
                    memory: containers.verify_memory_limit.0,
                },
            },
            cloud_cli_resources: Resources {
                requests: ResourceList {
                    cpu: containers.cloud_cli_cpu_request.0,
                    memory: containers.cloud_cli_memory_request.0,
                },
                limits: ResourceList {
                    cpu: containers.cloud_cli_cpu_limit.0,
                    memory: containers.cloud_cli_memory_limit.0,
                },
            },
            verify_env: containers.verify_env,
            version: VERSION.to_owned(),
        };
        for (prefix, resources) in [
            ("verify", &settings.resources),
            ("cloud-cli", &settings.cloud_cli_resources),
        ] {
            if !resources.requests_fit_limits() {
                return Err(format!(
                    "--{prefix}-cpu-request or --{prefix}-memory-request exceeds its limit"
                ));
            }
        }
        Ok(Options {
            listen: serving.listen,
            metrics_listen: serving.metrics_listen,
            certificate,
            client: serving.client_ca_file.map(|ca| ClientAuthority {
                ca,
                names: serving.client_name,
            }),
            kubeconfig: cluster.kubeconfig,
            lookup_timeout: cluster.lookup_timeout,
            grace_period: serving.grace_period,
            drain_timeout: serving.drain_timeout,
            log_level: logs.log_level,
            log_format: logs.log_format,
            settings,
        })
    }
}

/// A value of the contract, whose errors name what was expected. White space around it is dropped, as in annotations.
#[derive(Clone, Debug, Default)]
struct Text<T>(T);

impl<T: std::str::FromStr<Err = ParseError>> std::str::FromStr for Text<T> {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.trim().parse().map(Self)
    }
}

impl<T: std::fmt::Display> std::fmt::Display for Text<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A rotation takes two overlaps, and has the last third of a lifetime for it.
fn check_lifetime(lifetime: Duration, overlap: Duration) -> Result<(), String> {
    if overlap < LEAST_OVERLAP {
        return Err(format!(
            "--tls-overlap is {}, expected at least {}",
            seconds(overlap),
            seconds(LEAST_OVERLAP)
        ));
    }
    if lifetime < overlap * LEAST_OVERLAPS {
        return Err(format!(
            "--tls-lifetime is {}, expected at least {LEAST_OVERLAPS} times --tls-overlap, which is {}",
            seconds(lifetime),
            seconds(overlap)
        ));
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

/// A duration as Go prints short ones and Kubernetes writes them: `500ms`, `2s`, `1m`, `1.5s`, `1m30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    duration_until(LONGEST, text).ok_or_else(|| {
        "expected a duration such as `500ms`, `2s` or `1m`, at most an hour".to_owned()
    })
}

/// One that may be as long as a certificate lasts.
fn long_duration(text: &str) -> Result<Duration, String> {
    duration_until(LONGEST_LIFETIME, text).ok_or_else(|| {
        "expected a duration such as `30s`, `5m` or `2160h`, at most ten years".to_owned()
    })
}

fn duration_until(longest: Duration, text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let seconds = match &rest[..end] {
            "ms" => number / 1000.0,
            "s" => number,
            "m" => number * 60.0,
            "h" => number * 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(seconds).ok()?;
        total = total.checked_add(part).filter(|sum| *sum <= longest)?;
        rest = &rest[end..];
    }
    Some(total)
}

fn namespaced(text: &str) -> Result<(String, String), String> {
    let (namespace, name) = text.trim().split_once('/').ok_or(NAMESPACED)?;
    match (object_name(namespace), object_name(name)) {
        (Ok(namespace), Ok(name)) => Ok((namespace, name)),
        _ => Err(NAMESPACED.into()),
    }
}

/// A DNS subdomain, which names of Secrets and configurations are.
fn object_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    let fits = (1..=253).contains(&name.len())
        && name.split('.').all(|label| {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            label.bytes().all(|b| inner(b) || b == b'-')
                && label.bytes().next().is_some_and(inner)
                && label.bytes().last().is_some_and(inner)
        });
    fits.then(|| name.to_owned())
        .ok_or_else(|| "expected the name of an object: lower case, digits, `-` and `.`".into())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let whole = if text.starts_with(':') {
        format!("[::]{text}")
    } else {
        text.to_owned()
    };
    whole.parse().map_err(|_| {
        "expected an address and a port, such as `[::]:8443`, `0.0.0.0:8443` or `:8443`".into()
    })
}

/// As annotations spell it.
fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected `true` or `false`".into()),
    }
}

fn variable(text: &str) -> Result<EnvVar, String> {
    let (name, value) = text
        .trim_end_matches('\r')
        .split_once('=')
        .ok_or("expected NAME=VALUE")?;
    // What Kubernetes has accepted in all versions that are supported.
    let is_name = name.bytes().enumerate().all(|(i, b)| {
        b.is_ascii_alphabetic() || b"_-.".contains(&b) || (i > 0 && b.is_ascii_digit())
    });
    if name.is_empty() || !is_name {
        return Err("expected a name of letters, digits, `_`, `-` and `.` before the `=`".into());
    }
    Ok(EnvVar::literal(name.to_owned(), value.to_owned()))
}

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const LONGEST: Duration = Duration::from_secs(60 * 60);
const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
/// API servers hear of a bundle within milliseconds; the clock of their answers counts seconds.
const LEAST_OVERLAP: Duration = Duration::from_secs(2);
const LEAST_OVERLAPS: u32 = 6;
const NAMESPACED: &str = "expected NAMESPACE/NAME of a Secret";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent_and_each_is_a_variable() {
        let command = command();
        command.clone().debug_assert();
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            let variable = arg.get_env().unwrap().to_str().unwrap();
            assert_eq!(
                variable
                    .strip_prefix("CWII_")
                    .unwrap()
                    .to_lowercase()
                    .replace('_', "-"),
                long
            );
        }
    }

    #[test]
    fn without_flags_the_settings_are_the_contracts() {
        let options = Options::parse(["cwii-webhook", "--tls-self-signed", "localhost"]).unwrap();
        assert_eq!(options.settings, Settings::new(VERSION).unwrap());
    }

    #[test]
    fn what_a_tool_reads_from_the_deployment_is_what_the_flags_mean() {
        let arguments = [
            "--aws-enabled=false",
            "--az-enabled=true",
            "--gcp-enabled",
            "false",
            "--native-annotations",
            "--aws-default-region=eu-west-1",
            "--az-default-tenant-id=contoso.onmicrosoft.com",
            "--az-default-authority-host=https://login.microsoftonline.us/",
            "--gcp-default-audience=aud",
            "--gcp-default-delivery=config-map",
            "--config-map-delivery=true",
            "--agent-image=example.com/agent:1",
            "--aws-verify-image=example.com/aws:1",
            "--az-verify-image=example.com/az:1",
            "--gcp-verify-image=example.com/gcp:1",
            "--verify-image-allow=a/*,b/**",
            "--verify-env=A=1\nB=2",
            "--verify-cpu-request=1m",
            "--verify-memory-request=1Mi",
            "--verify-cpu-limit=2m",
            "--verify-memory-limit=2Mi",
            "--cloud-cli-cpu-request=3m",
            "--cloud-cli-memory-request=3Mi",
            "--cloud-cli-cpu-limit=4m",
            "--cloud-cli-memory-limit=4Mi",
        ];
        let required = ["cwii-webhook", "--tls-self-signed", "localhost"];
        let container = |arguments: &[&str]| serde_json::json!({ "args": arguments });
        let whole = required.iter().chain(&arguments);
        let options = Options::parse(whole).unwrap();
        let read = cwii_contract::deployed(&container(&arguments), VERSION).unwrap();
        assert_eq!(read.settings, options.settings);
        assert!(read.unread.is_empty());
        // Each flag that decides something is among the arguments.
        for arg in command().get_arguments() {
            let heading = arg.get_help_heading().unwrap_or_default();
            if matches!(heading, "Providers" | "Injected containers") {
                let flag = format!("--{}", arg.get_long().unwrap());
                assert!(arguments.iter().any(|a| a.starts_with(&flag)), "{flag}");
            }
        }
    }

    #[test]
    fn durations_are_those_of_kubernetes() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2000),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            ("0s", 0),
            ("60m", 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "2",
            "s",
            "2h",
            "-1s",
            "61m",
            "1e9s",
            "60m1s",
            "9999999999999999999999s",
            "..s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_lifetime_may_be_longer_than_what_a_request_waits() {
        for (text, seconds) in [
            ("2160h", 2160 * 3600),
            ("1h30m", 5400),
            ("30s", 30),
            ("87600h", 87_600 * 3600),
        ] {
            assert_eq!(
                long_duration(text),
                Ok(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in ["90d", "100000h", "h", "-1h"] {
            assert!(long_duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("1h"), Ok(LONGEST));
    }

    #[test]
    fn a_shared_certificate_is_asked_for_by_two_names_and_lasts_ninety_days() {
        let options = Options::parse([
            "cwii-webhook",
            "--tls-self-signed=cwii-webhook.cwii-system.svc",
            "--tls-secret=cwii-system/cwii-webhook-tls",
            "--tls-webhook-configuration=cwii",
        ])
        .unwrap();
        let CertificateSource::Shared(shared) = options.certificate else {
            panic!("{:?}", options.certificate)
        };
        assert_eq!(shared.names, ["cwii-webhook.cwii-system.svc"]);
        let (namespace, name) = &shared.secret;
        assert_eq!(
            format!("{namespace} {name}"),
            "cwii-system cwii-webhook-tls"
        );
        assert_eq!(shared.configuration, "cwii");
        assert_eq!(shared.lifetime, Duration::from_secs(90 * 24 * 3600));
        assert_eq!(shared.overlap, Duration::from_secs(300));
    }

    #[test]
    fn an_address_may_leave_out_its_host() {
        assert_eq!(address(":8443").unwrap().to_string(), "[::]:8443");
        assert_eq!(address("127.0.0.1:0").unwrap().to_string(), "127.0.0.1:0");
        assert!(address("8443").is_err());
    }
}
