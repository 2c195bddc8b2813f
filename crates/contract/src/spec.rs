//! The parts of a pod that the webhook adds, as the Kubernetes API writes them.
//!
//! Only the fields that cwii sets; field names, order and omission are those of the Kubernetes API, so that what is
//! serialised here can be compared with what an API server returns.

use std::{borrow::Cow, str::FromStr};

use serde::Serialize;

use crate::types::ParseError;

/// `core/v1 EnvVar` with a literal value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct EnvVar {
    /// Name.
    pub name: Cow<'static, str>,
    /// Value as it stands in the spec, where the kubelet reads `$$` as `$`.
    pub value: Cow<'static, str>,
}

impl EnvVar {
    /// A variable whose value reaches the process as given. The kubelet expands `$(NAME)` in values, so that a `$` is
    /// doubled here (Kubernetes API: `EnvVar.value`).
    pub fn literal(
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let value = value.into();
        Self {
            name: name.into(),
            value: if value.contains('$') {
                Cow::Owned(value.replace('$', "$$"))
            } else {
                value
            },
        }
    }
}

/// `core/v1 VolumeMount`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume.
    pub name: &'static str,
    /// Where it appears.
    pub mount_path: &'static str,
    /// Whether it may not be written to; absent in JSON when it may.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
}

/// `core/v1 Volume`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Name.
    pub name: &'static str,
    /// What is in it.
    #[serde(flatten)]
    pub source: VolumeSource,
}

/// The kinds of volume that cwii adds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeSource {
    /// `projected` with one token.
    Projected {
        /// The one source.
        sources: [TokenSource; 1],
    },
    /// `emptyDir`, all defaults.
    EmptyDir {},
    /// `configMap` with one item.
    ConfigMap {
        /// Name of the ConfigMap.
        name: String,
        /// The one item.
        items: [KeyToPath; 1],
    },
}

/// `core/v1 VolumeProjection` with a token.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenSource {
    /// The token.
    pub service_account_token: ServiceAccountToken,
}

/// `core/v1 ServiceAccountTokenProjection`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountToken {
    /// File name in the volume.
    pub path: &'static str,
    /// `aud` of the token.
    pub audience: String,
    /// Lifetime, seconds.
    pub expiration_seconds: u64,
}

/// `core/v1 KeyToPath`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct KeyToPath {
    /// Key of the ConfigMap.
    pub key: &'static str,
    /// File name in the volume.
    pub path: &'static str,
}

/// `core/v1 Container`, as an init container.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Name.
    pub name: &'static str,
    /// Image.
    pub image: String,
    /// Replaces the image's entry point.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Arguments of the entry point.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables.
    pub env: Vec<EnvVar>,
    /// Requests and limits.
    pub resources: Resources,
    /// Mounts.
    pub volume_mounts: Vec<VolumeMount>,
    /// `IfNotPresent`.
    pub image_pull_policy: &'static str,
    /// What Pod Security `restricted` asks for.
    pub security_context: SecurityContext,
}

/// `core/v1 SecurityContext` as Pod Security `restricted` asks for, and a read-only root file system.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContext {
    /// `false`.
    pub allow_privilege_escalation: bool,
    /// All dropped.
    pub capabilities: Capabilities,
    /// `true`.
    pub read_only_root_filesystem: bool,
    /// `true`.
    pub run_as_non_root: bool,
    /// The user; absent where the pod's own is inherited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// `RuntimeDefault`.
    pub seccomp_profile: SeccompProfile,
}

impl SecurityContext {
    /// The context of an injected container that runs as this user, or as the pod's.
    #[must_use]
    pub fn restricted(run_as_user: Option<i64>) -> Self {
        Self {
            allow_privilege_escalation: false,
            capabilities: Capabilities { drop: ["ALL"] },
            read_only_root_filesystem: true,
            run_as_non_root: true,
            run_as_user,
            seccomp_profile: SeccompProfile {
                kind: "RuntimeDefault",
            },
        }
    }
}

/// `core/v1 Capabilities`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Capabilities {
    /// What is taken away.
    pub drop: [&'static str; 1],
}

/// `core/v1 SeccompProfile`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct SeccompProfile {
    /// The profile.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// `core/v1 ResourceRequirements`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Resources {
    /// What is set aside.
    pub requests: ResourceList,
    /// What is the most.
    pub limits: ResourceList,
}

impl Resources {
    /// Whether nothing is requested beyond its limit, as the API server wants it.
    #[must_use]
    pub fn requests_fit_limits(&self) -> bool {
        self.requests.cpu.nano() <= self.limits.cpu.nano()
            && self.requests.memory.nano() <= self.limits.memory.nano()
    }
}

/// `core/v1 ResourceList` of processor and memory.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ResourceList {
    /// Processors.
    pub cpu: Quantity,
    /// Bytes.
    pub memory: Quantity,
}

/// A positive quantity, spelled as given: `100m`, `16Mi`, `1`.
/// Source: Kubernetes API, `resource.Quantity`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Quantity {
    text: Cow<'static, str>,
    #[serde(skip)]
    nano: u128,
}

impl Quantity {
    /// The quantity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether both are the same amount, however they are spelled.
    #[must_use]
    pub fn is_as_much_as(&self, other: &Self) -> bool {
        self.nano == other.nano
    }

    /// The amount, in billionths.
    #[must_use]
    pub fn nano(&self) -> u128 {
        self.nano
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::new(s, "a positive quantity such as `100m`, `16Mi` or `1`");
        let digits = s
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(s.len());
        let (number, suffix) = s.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() > 15 || fraction.len() > 9 || fraction.contains('.') || number.is_empty() {
            return Err(wrong());
        }
        let factor: u128 = match suffix {
            "n" => 1,
            "u" => 1_000,
            "m" => 1_000_000,
            "" => 1_000_000_000,
            "k" => 1_000_000_000_000,
            "M" => 1_000_000_000_000_000,
            "G" => 1_000_000_000_000_000_000,
            "T" => 1_000_000_000_000_000_000_000,
            "Ki" => 1_000_000_000 << 10,
            "Mi" => 1_000_000_000 << 20,
            "Gi" => 1_000_000_000 << 30,
            "Ti" => 1_000_000_000_u128 << 40,
            _ => return Err(wrong()),
        };
        let parse = |digits: &str| -> Option<u128> {
            if digits.is_empty() {
                Some(0)
            } else {
                digits.parse().ok()
            }
        };
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
        let whole = parse(whole).ok_or_else(wrong)?;
        let part = parse(fraction).ok_or_else(wrong)?;
        let nano = (whole * scale + part) * factor / scale;
        if nano == 0 {
            return Err(wrong());
        }
        Ok(Self {
            text: Cow::Owned(s.to_owned()),
            nano,
        })
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_as_the_api_reads_them() {
        for (text, nano) in [
            ("1", 1_000_000_000),
            ("100m", 100_000_000),
            ("0.1", 100_000_000),
            (".5", 500_000_000),
            ("1.", 1_000_000_000),
            ("32Mi", 1_000_000_000 * 32 * 1024 * 1024),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap().nano(), nano, "{text}");
        }
        for text in [
            "",
            ".",
            "0",
            "-1",
            "1x",
            "1mi",
            "1 Mi",
            "1.1.1",
            "Mi",
            "1e400",
            "9999999999999999",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_dollar_reaches_the_process_as_one() {
        assert_eq!(EnvVar::literal("A", "a$(B)$$").value, "a$$(B)$$$$");
        assert!(matches!(
            EnvVar::literal("A", "plain").value,
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn fields_are_spelled_as_the_api_spells_them() {
        let volume = Volume {
            name: "v",
            source: VolumeSource::Projected {
                sources: [TokenSource {
                    service_account_token: ServiceAccountToken {
                        path: "token",
                        audience: "a".into(),
                        expiration_seconds: 600,
                    },
                }],
            },
        };
        assert_eq!(
            serde_json::to_string(&volume).unwrap(),
            r#"{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"token","audience":"a","expirationSeconds":600}}]}}"#
        );
        let volume = Volume {
            name: "v",
            source: VolumeSource::EmptyDir {},
        };
        assert_eq!(
            serde_json::to_string(&volume).unwrap(),
            r#"{"name":"v","emptyDir":{}}"#
        );
    }
}
