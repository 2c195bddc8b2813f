//! Settings of AWS clients: environment first, then the profile, key by key.

use cwii_checks::facts::{Cause, ConfigurationProblemKind};
use cwii_contract::env::{
    AWS_DEFAULT_REGION, AWS_REGION, AWS_ROLE_ARN, AWS_STS_REGIONAL_ENDPOINTS,
    AWS_WEB_IDENTITY_TOKEN_FILE,
};

use super::profile::Profile;
use crate::{
    Env,
    run::{ENVIRONMENT, Run, misconfigured},
};

/// A value and where it came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sourced {
    pub(crate) value: String,
    /// A variable's name, or `profile NAME`.
    pub(crate) source: String,
}

impl Sourced {
    /// Whether it came from this variable.
    pub(crate) fn is_from(&self, variable: &str) -> bool {
        self.source == variable
    }

    /// `environment`, or the profile.
    pub(crate) fn origin(&self) -> String {
        if self.is_from_profile() {
            self.source.clone()
        } else {
            ENVIRONMENT.into()
        }
    }

    pub(crate) fn is_from_profile(&self) -> bool {
        self.source.starts_with("profile ")
    }

    /// The value does not parse.
    pub(crate) fn invalid(&self, name: &str, problem: impl ToString) -> Cause {
        misconfigured(
            ConfigurationProblemKind::Invalid,
            name,
            self.origin(),
            problem.to_string(),
        )
    }
}

/// The settings of one environment.
pub(crate) struct Settings<'a> {
    env: &'a Env,
    profile: Profile,
}

impl<'a> Settings<'a> {
    /// Reads the profile, and what bounds the tries.
    pub(crate) async fn load(run: &mut Run<'a>) -> Result<Self, Cause> {
        let settings = Self {
            env: run.env,
            profile: Profile::load(run.env).await?,
        };
        if let Some(attempts) = settings.non_empty("AWS_MAX_ATTEMPTS", "max_attempts") {
            let number = attempts.value.trim().parse().ok().filter(|n| *n > 0);
            run.policy.attempts = number.ok_or_else(|| {
                attempts.invalid(
                    "AWS_MAX_ATTEMPTS",
                    format!("`{}` is not a number of tries, 1 or more", attempts.value),
                )
            })?;
            run.input("attempts", &attempts.value, &attempts.source);
        }
        Ok(settings)
    }

    pub(crate) fn env(&self) -> &'a Env {
        self.env
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn profile_name(&self) -> &str {
        self.profile.name()
    }

    /// A key, from the variable where it is set, be it empty, else from the profile: botocore's rule for web identity.
    pub(crate) fn key(&self, variable: &'static str, key: &str) -> Option<Sourced> {
        match self.env.get(variable) {
            Some(value) => Some(Sourced {
                value: value.to_owned(),
                source: variable.to_owned(),
            }),
            None => self.in_profile(key),
        }
    }

    /// A setting, from the variable where it is set and not empty, else from the profile.
    pub(crate) fn non_empty(&self, variable: &'static str, key: &str) -> Option<Sourced> {
        match self.env.non_empty(variable) {
            Some(value) => Some(Sourced {
                value: value.to_owned(),
                source: variable.to_owned(),
            }),
            None => self.in_profile(key).filter(|v| !v.value.is_empty()),
        }
    }

    /// A switch: `true` in any case is on, as in botocore.
    pub(crate) fn switch(&self, variable: &'static str, key: &str) -> Option<Sourced> {
        self.non_empty(variable, key)
            .filter(|setting| setting.value.eq_ignore_ascii_case("true"))
    }

    /// The region: `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile.
    pub(crate) fn region(&self) -> Option<Sourced> {
        self.non_empty(AWS_REGION, "")
            .or_else(|| self.non_empty(AWS_DEFAULT_REGION, "region"))
    }

    /// Whether STS of the old regions is the global endpoint.
    pub(crate) fn legacy_endpoints(&self) -> Result<bool, Cause> {
        let Some(setting) = self.non_empty(AWS_STS_REGIONAL_ENDPOINTS, "sts_regional_endpoints")
        else {
            return Ok(false);
        };
        match setting.value.to_ascii_lowercase().as_str() {
            "legacy" => Ok(true),
            "regional" => Ok(false),
            _ => Err(setting.invalid(
                AWS_STS_REGIONAL_ENDPOINTS,
                format!("`{}` is neither `regional` nor `legacy`", setting.value),
            )),
        }
    }

    /// Static keys beat federation in every SDK; in the profile they do so in some.
    pub(crate) fn note_static_keys(&self, run: &mut Run<'_>) {
        if self.env.non_empty("AWS_ACCESS_KEY_ID").is_some() {
            run.note(
                Some("APP01"),
                "AWS_ACCESS_KEY_ID is set: SDKs use that static key and never the federated role",
            );
        } else if self.profile.get("aws_access_key_id").is_some() {
            run.note(
                Some("APP01"),
                format!(
                    "profile `{}` holds a static key: the SDK for Rust uses it before the \
                     federated role of the environment",
                    self.profile_name()
                ),
            );
        }
    }

    /// What other SDKs would make of the keys of web identity.
    pub(crate) fn note_web_identity(
        &self,
        run: &mut Run<'_>,
        token_file: &Sourced,
        role: Option<&Sourced>,
    ) {
        if let Some(role) = role
            && role.is_from_profile() != token_file.is_from_profile()
        {
            run.note(
                None,
                format!(
                    "role and token file are put together from {} and {}: boto3 and the AWS CLI do \
                     that, the SDK for Rust does not",
                    role.source, token_file.source
                ),
            );
        }
        let chained = ["source_profile", "credential_source"]
            .into_iter()
            .find(|key| self.profile.get(key).is_some());
        if let Some(key) = chained
            && self.profile.get("role_arn").is_some()
        {
            run.note(
                Some("APP02"),
                format!(
                    "profile `{}` has `role_arn` with `{key}`: SDKs assume that role before they \
                     look at the web identity of the environment",
                    self.profile_name()
                ),
            );
        } else if !token_file.is_from_profile()
            && let Some(other) = self.profile.get("web_identity_token_file")
            && other != token_file.value
        {
            run.note(
                Some("APP02"),
                format!(
                    "profile `{}` and {AWS_WEB_IDENTITY_TOKEN_FILE} name different token files: the \
                     SDK for Rust uses the profile's, boto3 and the AWS CLI the variable's",
                    self.profile_name()
                ),
            );
        } else if role.is_some_and(|role| !role.is_from_profile())
            && self.profile.get("web_identity_token_file").is_some()
            && let Some(other) = self.profile.get("role_arn")
            && role.is_some_and(|role| role.value != other)
        {
            run.note(
                Some("APP02"),
                format!(
                    "profile `{}` and {AWS_ROLE_ARN} name different roles: the SDK for Rust uses \
                     the profile's, boto3 and the AWS CLI the variable's",
                    self.profile_name()
                ),
            );
        }
    }

    fn in_profile(&self, key: &str) -> Option<Sourced> {
        self.profile.get(key).map(|value| Sourced {
            value: value.to_owned(),
            source: format!("profile {}", self.profile_name()),
        })
    }
}
