//! Volume and container names, paths and defaults; the annotation keys are in [`crate::annotations`].
//!
//! The mount path is an API: applications hard-code it, so it never moves.

use crate::Provider;

/// File name of the projected token inside its volume.
pub const TOKEN_FILE_NAME: &str = "token";

/// Directory, as mounted, of Google's credentials document.
pub const GCP_CREDENTIALS_DIR: &str = "/var/run/secrets/cwii.dev/gcp-creds";

/// Google's credentials document as the containers see it.
pub const GCP_CREDENTIALS_FILE: &str = "/var/run/secrets/cwii.dev/gcp-creds/credentials.json";

/// Volume that holds Google's credentials document.
pub const GCP_CREDENTIALS_VOLUME: &str = "cwii-gcp-creds";

/// Init container (order 0) that writes Google's credentials document.
pub const GCP_CREDENTIALS_WRITER: &str = "cwii-gcp-creds-writer";

/// Where the kubelet reads a container's last words from unless the container says otherwise.
/// Kubernetes API: `Container.terminationMessagePath`.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// Most bytes the kubelet keeps of one termination message.
/// Kubernetes docs: "Determine the Reason for Pod Failure".
pub const TERMINATION_MESSAGE_MAX_BYTES: usize = 4096;

/// Last line of standard error of a failed check that must not block the pod.
pub const NON_ENFORCING_LAST_LINE: &str = "cwii: verification check failed (non-enforcing)";

/// Deadline of a whole verification, in seconds, unless set.
pub const VERIFY_TIMEOUT_DEFAULT_SECONDS: u64 = 30;

/// Shortest and longest accepted deadline of a verification, in seconds.
pub const VERIFY_TIMEOUT_RANGE_SECONDS: std::ops::RangeInclusive<u64> = 1..=600;

/// File name of Google's credentials document inside its volume, and its key in a ConfigMap.
pub const GCP_CREDENTIALS_FILE_NAME: &str = "credentials.json";

/// Start of the name of a ConfigMap that holds Google's credentials document.
pub const GCP_CREDENTIALS_CONFIG_MAP_PREFIX: &str = "cwii-gcp-creds-";

/// Label, with its value, of what the webhook creates.
pub const MANAGED_BY_LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "cwii");

/// Argument of the agent that writes Google's credentials document.
pub const WRITE_GCP_CREDENTIALS: &str = "write-gcp-credentials";

/// Argument of the agent that verifies.
pub const VERIFY: &str = "verify";

/// When the kubelet pulls the image of an injected container.
pub const IMAGE_PULL_POLICY: &str = "IfNotPresent";

/// Start of the command of a container that runs a cloud's CLI; the script follows.
pub const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Order of the init container that writes credentials.
pub const ORDER_CREDENTIALS: u8 = 0;

/// Order of the init containers that verify.
pub const ORDER_VERIFY: u8 = 10;

/// Volume below which a cloud's CLI writes, and where it is mounted.
pub const VERIFY_SCRATCH_VOLUME: &str = "cwii-verify-scratch";

/// Where [`VERIFY_SCRATCH_VOLUME`] is mounted; also `HOME` there.
pub const VERIFY_SCRATCH_DIR: &str = "/tmp";

/// Where the agent's image is published; the webhook's own version is its tag.
pub const AGENT_REPOSITORY: &str = "ghcr.io/cwii-dev/cwii-agent";

/// User of injected containers where pod and containers name none: `nonroot` of distroless images.
pub const NON_ROOT_USER: i64 = 65_532;

/// Last path part of the images of the clouds' CLIs.
pub const CLOUD_CLI_IMAGES: &[&str] = &["aws-cli", "cloud-sdk", "google-cloud-cli", "azure-cli"];

/// Requests and limits of a container.
#[derive(Clone, Copy, Debug)]
pub struct ResourceDefaults {
    /// Processors set aside.
    pub cpu_request: &'static str,
    /// Memory set aside.
    pub memory_request: &'static str,
    /// Most processors.
    pub cpu_limit: &'static str,
    /// Most memory.
    pub memory_limit: &'static str,
}

/// For containers that run the agent.
pub const AGENT_RESOURCES: ResourceDefaults = ResourceDefaults {
    cpu_request: "10m",
    memory_request: "16Mi",
    cpu_limit: "100m",
    memory_limit: "32Mi",
};

/// For containers that run a cloud's CLI, which is a Python program.
pub const CLOUD_CLI_RESOURCES: ResourceDefaults = ResourceDefaults {
    cpu_request: "100m",
    memory_request: "128Mi",
    cpu_limit: "1",
    memory_limit: "512Mi",
};

/// Audience of the projected token unless an annotation sets it; Google has no default, it is the provider's own name.
#[must_use]
pub const fn default_audience(provider: Provider) -> Option<&'static str> {
    match provider {
        Provider::Aws => Some("sts.amazonaws.com"),
        Provider::Az => Some("api://AzureADTokenExchange"),
        Provider::Gcp => None,
    }
}

/// Name of the volume that holds the provider's projected token.
#[must_use]
pub const fn token_volume(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "cwii-aws-token",
        Provider::Az => "cwii-az-token",
        Provider::Gcp => "cwii-gcp-token",
    }
}

/// Directory, as mounted, of the provider's projected token.
#[must_use]
pub const fn token_dir(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "/var/run/secrets/cwii.dev/aws",
        Provider::Az => "/var/run/secrets/cwii.dev/az",
        Provider::Gcp => "/var/run/secrets/cwii.dev/gcp",
    }
}

/// The provider's projected token as the containers see it.
#[must_use]
pub const fn token_file(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "/var/run/secrets/cwii.dev/aws/token",
        Provider::Az => "/var/run/secrets/cwii.dev/az/token",
        Provider::Gcp => "/var/run/secrets/cwii.dev/gcp/token",
    }
}

/// Init container (order 10) that proves the provider's exchange.
#[must_use]
pub const fn verify_container(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "cwii-aws-verify",
        Provider::Az => "cwii-az-verify",
        Provider::Gcp => "cwii-gcp-verify",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spellings_of_one_provider_agree() {
        for provider in Provider::ALL {
            assert_eq!(token_volume(provider), format!("cwii-{provider}-token"));
            assert_eq!(
                token_dir(provider),
                format!("/var/run/secrets/cwii.dev/{provider}")
            );
            assert_eq!(
                token_file(provider),
                format!("{}/{TOKEN_FILE_NAME}", token_dir(provider))
            );
            assert_eq!(
                verify_container(provider),
                format!("cwii-{provider}-verify")
            );
        }
        assert_eq!(
            GCP_CREDENTIALS_FILE,
            format!("{GCP_CREDENTIALS_DIR}/{GCP_CREDENTIALS_FILE_NAME}")
        );
    }
}
