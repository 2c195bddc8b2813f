//! The annotation keys, with what their values are and what holds when nobody sets them.
//!
//! The table is what webhook, doctor and documentation go by; nothing else spells a key.

use crate::{Provider, names};

/// Prefix of every key.
pub const PREFIX: &str = "cwii.dev/";

/// What the value of a key is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ValueKind {
    /// `true` or `false`, any case, trimmed; empty counts as unset.
    Bool,
    /// Seconds, a whole number within these bounds.
    Seconds {
        /// Least.
        least: u64,
        /// Most.
        most: u64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text with a type of its own in [`crate::types`], or none.
    Text,
    /// Names separated by commas, trimmed.
    Names,
    /// Written by the webhook, never read as input.
    Output,
}

/// One key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Annotation {
    /// The key without its prefix. `<p>-` in front stands for each provider's abbreviation.
    pub key: &'static str,
    /// What its value is.
    pub kind: ValueKind,
    /// What holds when it is not set; none where nothing does, or where the server's flags or the provider decide.
    pub default: Option<&'static str>,
    /// What it is for, one sentence.
    pub meaning: &'static str,
}

impl Annotation {
    /// The whole key, for one provider where it has one for each.
    #[must_use]
    pub fn full_key(&self, provider: Provider) -> String {
        format!("{PREFIX}{}", self.key.replace("<p>", provider.as_str()))
    }

    /// Whether each provider has this key of its own.
    #[must_use]
    pub fn is_per_provider(&self) -> bool {
        self.key.starts_with("<p>-")
    }
}

/// Kubernetes accepts no lifetime below ten minutes (Kubernetes API, `ServiceAccountTokenProjection.expirationSeconds`);
/// the upper bound is ours, since API servers refuse the pod above their own.
const TOKEN_SECONDS: ValueKind = ValueKind::Seconds {
    least: 600,
    most: 86_400,
};

const fn key(
    key: &'static str,
    kind: ValueKind,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Annotation {
    Annotation {
        key,
        kind,
        default,
        meaning,
    }
}

/// All keys.
pub const ANNOTATIONS: &[Annotation] = &[
    key(
        "<p>-inject",
        ValueKind::Bool,
        None,
        "turns injection for one provider on or off",
    ),
    key(
        "<p>-audience",
        ValueKind::Text,
        None,
        "audience of the projected token",
    ),
    key(
        "<p>-token-expiration",
        TOKEN_SECONDS,
        Some("3600"),
        "lifetime of the projected token, seconds",
    ),
    key(
        "<p>-verify",
        ValueKind::Bool,
        Some("false"),
        "adds the verify init container",
    ),
    key(
        "<p>-verify-enforce",
        ValueKind::Bool,
        Some("false"),
        "a failed verification blocks the pod's start",
    ),
    key(
        "<p>-verify-image",
        ValueKind::Text,
        None,
        "image of the verify container",
    ),
    key(
        "<p>-verify-command",
        ValueKind::Word(&["agent", "cloud-cli"]),
        Some("agent"),
        "what the verify container runs",
    ),
    key(
        "<p>-verify-timeout",
        ValueKind::Seconds {
            least: *names::VERIFY_TIMEOUT_RANGE_SECONDS.start(),
            most: *names::VERIFY_TIMEOUT_RANGE_SECONDS.end(),
        },
        Some("30"),
        "deadline of the whole verification, seconds",
    ),
    key(
        "<p>-verify-unreachable",
        ValueKind::Word(&["block", "allow"]),
        Some("block"),
        "with enforce, what to do when the cloud could not be asked",
    ),
    key(
        "aws-role-arn",
        ValueKind::Text,
        None,
        "role to assume; its presence turns AWS on",
    ),
    key("aws-region", ValueKind::Text, None, "region"),
    key(
        "aws-role-session-name",
        ValueKind::Text,
        None,
        "name of the session",
    ),
    key(
        "az-client-id",
        ValueKind::Text,
        None,
        "client id of the application or identity",
    ),
    key(
        "az-tenant-id",
        ValueKind::Text,
        None,
        "tenant, a UUID or a domain",
    ),
    key(
        "az-authority-host",
        ValueKind::Text,
        None,
        "Entra authority, an https URL",
    ),
    key(
        "gcp-service-account",
        ValueKind::Text,
        None,
        "service account to impersonate; none for direct federation",
    ),
    key(
        "gcp-provider",
        ValueKind::Text,
        None,
        "`audience` of credentials.json where it is not the token's",
    ),
    key(
        "gcp-delivery",
        ValueKind::Word(&["init-container", "config-map"]),
        Some("init-container"),
        "how credentials.json reaches the pod",
    ),
    key(
        "skip-containers",
        ValueKind::Names,
        None,
        "containers that receive nothing",
    ),
    key(
        "injected",
        ValueKind::Output,
        None,
        "providers that were injected, sorted",
    ),
    key(
        "webhook-version",
        ValueKind::Output,
        None,
        "version of the webhook that injected",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_defaults_are_values_of_their_kind() {
        let mut keys: Vec<_> = ANNOTATIONS.iter().map(|a| a.key).collect();
        keys.sort_unstable();
        assert!(keys.windows(2).all(|w| w[0] != w[1]));
        for annotation in ANNOTATIONS {
            let Some(default) = annotation.default else {
                continue;
            };
            assert!(
                match annotation.kind {
                    ValueKind::Bool => ["true", "false"].contains(&default),
                    ValueKind::Seconds { least, most } =>
                        (least..=most).contains(&default.parse().unwrap()),
                    ValueKind::Word(words) => words.contains(&default),
                    ValueKind::Text | ValueKind::Names | ValueKind::Output => false,
                },
                "{}",
                annotation.key
            );
        }
        let timeout = ANNOTATIONS
            .iter()
            .find(|a| a.key == "<p>-verify-timeout")
            .unwrap();
        assert_eq!(
            timeout.default.unwrap().parse(),
            Ok(names::VERIFY_TIMEOUT_DEFAULT_SECONDS)
        );
    }

    #[test]
    fn a_key_per_provider_is_spelled_with_its_abbreviation() {
        let verify = ANNOTATIONS.iter().find(|a| a.key == "<p>-verify").unwrap();
        assert!(verify.is_per_provider());
        assert_eq!(verify.full_key(Provider::Gcp), "cwii.dev/gcp-verify");
    }
}
