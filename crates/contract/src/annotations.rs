//! The annotation keys, with what their values are and what holds when nobody sets them.
//!
//! The table is what webhook, doctor and documentation go by; nothing else spells a key.

use crate::{
    Provider::{self, Aws, Az, Gcp},
    effective::Source,
    names,
    settings::{Delivery, Unreachable, VerifyCommand, flag},
};

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
    /// The annotations of the clouds' own webhooks that say the same: provider and whole key.
    pub native: &'static [(Provider, &'static str)],
    /// The server's flags that hold where nobody sets it: provider and flag.
    pub flags: &'static [(Provider, &'static str)],
}

impl Annotation {
    /// The key with these annotations of the clouds' own webhooks.
    const fn native(self, native: &'static [(Provider, &'static str)]) -> Self {
        Self { native, ..self }
    }

    /// The key with these flags of the server.
    const fn flags(self, flags: &'static [(Provider, &'static str)]) -> Self {
        Self { flags, ..self }
    }

    /// The whole key, for one provider where it has one for each.
    #[must_use]
    pub fn full_key(&self, provider: Provider) -> String {
        match self.key.strip_prefix("<p>") {
            Some(rest) => [PREFIX, provider.as_str(), rest].concat(),
            None => [PREFIX, self.key].concat(),
        }
    }

    /// The server's flag that holds where nobody sets the key, or that nothing does.
    pub(crate) fn flag(&self, provider: Provider) -> Source {
        self.flags
            .iter()
            .find(|(of, _)| *of == provider)
            .map_or(Source::Default, |(_, flag)| Source::Flag(flag))
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
        native: &[],
        flags: &[],
    }
}

/// `<p>-inject`: turns injection for one provider on or off.
pub const INJECT: Annotation = key(
    "<p>-inject",
    ValueKind::Bool,
    None,
    "turns injection for one provider on or off",
);
/// `<p>-audience`: audience of the projected token.
pub const AUDIENCE: Annotation = key(
    "<p>-audience",
    ValueKind::Text,
    None,
    "audience of the projected token",
)
.native(&[(Aws, "eks.amazonaws.com/audience")])
.flags(&[(Gcp, flag::GCP_DEFAULT_AUDIENCE)]);
/// `<p>-token-expiration`: lifetime of the projected token, seconds.
pub const TOKEN_EXPIRATION: Annotation = key(
    "<p>-token-expiration",
    TOKEN_SECONDS,
    Some("3600"),
    "lifetime of the projected token, seconds",
)
.native(&[
    (Aws, "eks.amazonaws.com/token-expiration"),
    (
        Az,
        "azure.workload.identity/service-account-token-expiration",
    ),
]);
/// `<p>-verify`: adds the verify init container.
pub const VERIFY: Annotation = key(
    "<p>-verify",
    ValueKind::Bool,
    Some("false"),
    "adds the verify init container",
);
/// `<p>-verify-enforce`: a failed verification blocks the pod's start.
pub const VERIFY_ENFORCE: Annotation = key(
    "<p>-verify-enforce",
    ValueKind::Bool,
    Some("false"),
    "a failed verification blocks the pod's start",
);
/// `<p>-verify-image`: image of the verify container.
pub const VERIFY_IMAGE: Annotation = key(
    "<p>-verify-image",
    ValueKind::Text,
    None,
    "image of the verify container",
)
.flags(&[
    (Aws, flag::AWS_VERIFY_IMAGE),
    (Az, flag::AZ_VERIFY_IMAGE),
    (Gcp, flag::GCP_VERIFY_IMAGE),
]);
/// `<p>-verify-command`: what the verify container runs.
pub const VERIFY_COMMAND: Annotation = key(
    "<p>-verify-command",
    ValueKind::Word(VerifyCommand::WORDS),
    Some(VerifyCommand::Agent.as_str()),
    "what the verify container runs",
);
/// `<p>-verify-timeout`: deadline of the whole verification, seconds.
pub const VERIFY_TIMEOUT: Annotation = key(
    "<p>-verify-timeout",
    ValueKind::Seconds {
        least: *names::VERIFY_TIMEOUT_RANGE_SECONDS.start(),
        most: *names::VERIFY_TIMEOUT_RANGE_SECONDS.end(),
    },
    Some("30"),
    "deadline of the whole verification, seconds",
);
/// `<p>-verify-unreachable`: with enforce, what to do when the cloud could not be asked.
pub const VERIFY_UNREACHABLE: Annotation = key(
    "<p>-verify-unreachable",
    ValueKind::Word(Unreachable::WORDS),
    Some(Unreachable::Block.as_str()),
    "with enforce, what to do when the cloud could not be asked",
);
/// `aws-role-arn`: role to assume; its presence turns AWS on.
pub const AWS_ROLE_ARN: Annotation = key(
    "aws-role-arn",
    ValueKind::Text,
    None,
    "role to assume; its presence turns AWS on",
)
.native(&[(Aws, "eks.amazonaws.com/role-arn")]);
/// `aws-region`: region.
pub const AWS_REGION: Annotation =
    key("aws-region", ValueKind::Text, None, "region").flags(&[(Aws, flag::AWS_DEFAULT_REGION)]);
/// `aws-role-session-name`: name of the session.
pub const AWS_ROLE_SESSION_NAME: Annotation = key(
    "aws-role-session-name",
    ValueKind::Text,
    None,
    "name of the session",
);
/// `az-client-id`: client id of the application or identity.
pub const AZ_CLIENT_ID: Annotation = key(
    "az-client-id",
    ValueKind::Text,
    None,
    "client id of the application or identity",
)
.native(&[(Az, "azure.workload.identity/client-id")]);
/// `az-tenant-id`: tenant, a UUID or a domain.
pub const AZ_TENANT_ID: Annotation = key(
    "az-tenant-id",
    ValueKind::Text,
    None,
    "tenant, a UUID or a domain",
)
.native(&[(Az, "azure.workload.identity/tenant-id")])
.flags(&[(Az, flag::AZ_DEFAULT_TENANT_ID)]);
/// `az-authority-host`: Entra authority, an https URL.
pub const AZ_AUTHORITY_HOST: Annotation = key(
    "az-authority-host",
    ValueKind::Text,
    None,
    "Entra authority, an https URL",
)
.flags(&[(Az, flag::AZ_DEFAULT_AUTHORITY_HOST)]);
/// `gcp-service-account`: service account to impersonate; none for direct federation.
pub const GCP_SERVICE_ACCOUNT: Annotation = key(
    "gcp-service-account",
    ValueKind::Text,
    None,
    "service account to impersonate; none for direct federation",
)
.native(&[(Gcp, "iam.gke.io/gcp-service-account")]);
/// `gcp-provider`: `audience` of credentials.json where it is not the token's.
pub const GCP_PROVIDER: Annotation = key(
    "gcp-provider",
    ValueKind::Text,
    None,
    "`audience` of credentials.json where it is not the token's",
);
/// `gcp-delivery`: how credentials.json reaches the pod.
pub const GCP_DELIVERY: Annotation = key(
    "gcp-delivery",
    ValueKind::Word(Delivery::WORDS),
    Some(Delivery::InitContainer.as_str()),
    "how credentials.json reaches the pod",
)
.flags(&[(Gcp, flag::GCP_DEFAULT_DELIVERY)]);
/// `skip-containers`: containers that receive nothing.
pub const SKIP_CONTAINERS: Annotation = key(
    "skip-containers",
    ValueKind::Names,
    None,
    "containers that receive nothing",
);
/// `injected`: providers that were injected, sorted.
pub const INJECTED: Annotation = key(
    "injected",
    ValueKind::Output,
    None,
    "providers that were injected, sorted",
);
/// `webhook-version`: version of the webhook that injected.
pub const WEBHOOK_VERSION: Annotation = key(
    "webhook-version",
    ValueKind::Output,
    None,
    "version of the webhook that injected",
);

/// All keys.
pub const ANNOTATIONS: &[Annotation] = &[
    INJECT,
    AUDIENCE,
    TOKEN_EXPIRATION,
    VERIFY,
    VERIFY_ENFORCE,
    VERIFY_IMAGE,
    VERIFY_COMMAND,
    VERIFY_TIMEOUT,
    VERIFY_UNREACHABLE,
    AWS_ROLE_ARN,
    AWS_REGION,
    AWS_ROLE_SESSION_NAME,
    AZ_CLIENT_ID,
    AZ_TENANT_ID,
    AZ_AUTHORITY_HOST,
    GCP_SERVICE_ACCOUNT,
    GCP_PROVIDER,
    GCP_DELIVERY,
    SKIP_CONTAINERS,
    INJECTED,
    WEBHOOK_VERSION,
];

/// The row that a whole `cwii.dev/` key belongs to, with its provider where it has one.
#[must_use]
pub fn find(full_key: &str) -> Option<(&'static Annotation, Option<Provider>)> {
    let key = full_key.strip_prefix(PREFIX)?;
    let provider = Provider::ALL.into_iter().find_map(|provider| {
        let rest = key.strip_prefix(provider.as_str())?.strip_prefix('-')?;
        Some((provider, rest))
    });
    ANNOTATIONS
        .iter()
        .find(|row| match (row.key.strip_prefix("<p>-"), provider) {
            (Some(of_each), Some((_, rest))) => of_each == rest,
            (Some(_), None) => false,
            (None, _) => row.key == key,
        })
        .map(|row| (row, provider.map(|(provider, _)| provider)))
}

/// The row and provider that a key of a cloud's own webhook belongs to.
#[must_use]
pub fn find_native(full_key: &str) -> Option<(&'static Annotation, Provider)> {
    ANNOTATIONS.iter().find_map(|row| {
        row.native
            .iter()
            .find(|(_, key)| *key == full_key)
            .map(|(provider, _)| (row, *provider))
    })
}

/// The known key nearest to an unknown one, if one is near enough to be meant.
#[must_use]
pub fn nearest(full_key: &str) -> Option<String> {
    let typed = full_key.strip_prefix(PREFIX).unwrap_or(full_key);
    // A third of the letters, as in clap and rustc, and no work on texts that cannot be near.
    if typed.len() > 64 {
        return None;
    }
    let typed = typed.to_ascii_lowercase();
    let cut_off = (typed.chars().count() / 3).max(1);
    ANNOTATIONS
        .iter()
        .filter(|row| row.kind != ValueKind::Output)
        .flat_map(|row| {
            let providers = if row.is_per_provider() {
                &Provider::ALL[..]
            } else {
                &Provider::ALL[..1]
            };
            providers
                .iter()
                .map(|provider| row.key.replace("<p>", provider.as_str()))
        })
        .map(|known| (strsim::damerau_levenshtein(&typed, &known), known))
        .filter(|(distance, _)| *distance <= cut_off)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| format!("{PREFIX}{known}"))
}

/// Whether the contract reads this key of an object: all that begin with the prefix but the outputs, and the native ones.
pub(crate) fn is_read(full_key: &str) -> bool {
    if full_key.starts_with(PREFIX) {
        output(full_key).is_none()
    } else {
        find_native(full_key).is_some()
    }
}

/// The output that a whole key names, less its prefix.
pub(crate) fn output(full_key: &str) -> Option<&'static str> {
    let key = full_key.strip_prefix(PREFIX)?;
    ANNOTATIONS
        .iter()
        .find(|row| row.kind == ValueKind::Output && row.key == key)
        .map(|row| row.key)
}

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
    fn the_defaults_of_words_are_those_of_their_types() {
        let default = |row: Annotation| row.default.unwrap();
        assert_eq!(default(GCP_DELIVERY).parse(), Ok(Delivery::default()));
        assert_eq!(default(VERIFY_COMMAND).parse(), Ok(VerifyCommand::Agent));
        assert_eq!(default(VERIFY_UNREACHABLE).parse(), Ok(Unreachable::Block));
    }

    #[test]
    fn every_key_of_the_table_is_found_again() {
        for row in ANNOTATIONS {
            for provider in Provider::ALL {
                let key = row.full_key(provider);
                let (found, of) = find(&key).unwrap();
                assert_eq!(found.key, row.key);
                if row.is_per_provider() {
                    assert_eq!(of, Some(provider));
                }
                assert_eq!(is_read(&key), row.kind != ValueKind::Output);
            }
            for (provider, key) in row.native {
                assert_eq!(find_native(key), Some((row, *provider)));
                assert!(is_read(key));
            }
        }
        for key in [
            "cwii.dev/<p>-inject",
            "cwii.dev/inject",
            "cwii.dev/aws-injected",
            "aws-inject",
        ] {
            assert_eq!(find(key), None, "{key}");
        }
    }

    #[test]
    fn a_key_per_provider_is_spelled_with_its_abbreviation() {
        let verify = ANNOTATIONS.iter().find(|a| a.key == "<p>-verify").unwrap();
        assert!(verify.is_per_provider());
        assert_eq!(verify.full_key(Gcp), "cwii.dev/gcp-verify");
    }
}
