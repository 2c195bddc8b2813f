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
            format!("{GCP_CREDENTIALS_DIR}/credentials.json")
        );
    }
}
