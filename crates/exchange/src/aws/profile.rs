//! The shared configuration files, parsed by the AWS SDK's own parser.
//!
//! `~/.aws/config` and `~/.aws/credentials`, or where `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE` point; the
//! profile is the one that `AWS_PROFILE` names, else `default`. A file that is not there counts as empty, as in the SDKs.
//! Source: AWS SDKs and Tools Reference Guide, "Location of the shared config and credentials files".

use aws_config::profile::ProfileSet;
use aws_runtime::env_config::{
    file::{EnvConfigFileKind, EnvConfigFiles},
    property::PropertiesKey,
};
use aws_types::os_shim_internal;
use cwii_checks::facts::{Cause, ConfigurationProblemKind};

use crate::{
    Env,
    files::{self, FileError},
    run::{ENVIRONMENT, misconfigured},
};

/// The selected profile.
pub(crate) struct Profile {
    name: String,
    set: Option<ProfileSet>,
}

impl Profile {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A file that is there and cannot be read or parsed, or a profile that is named and not there.
    pub(crate) async fn load(env: &Env) -> Result<Self, Cause> {
        let selected = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]
            .into_iter()
            .find_map(|name| env.non_empty(name).map(|value| (name, value)));
        let name = selected.map_or("default", |(_, name)| name).to_owned();
        let mut builder = EnvConfigFiles::builder();
        let mut looked_in = Vec::new();
        let mut found = false;
        for (kind, variable, default) in [
            (EnvConfigFileKind::Config, "AWS_CONFIG_FILE", "config"),
            (
                EnvConfigFileKind::Credentials,
                "AWS_SHARED_CREDENTIALS_FILE",
                "credentials",
            ),
        ] {
            let Some((path, source)) = location(env, variable, default) else {
                continue;
            };
            match files::read(&path, PROFILE_LIMIT) {
                Ok(bytes) => {
                    let text = String::from_utf8(bytes).map_err(|_| {
                        misconfigured(
                            ConfigurationProblemKind::Unreadable,
                            &path,
                            source,
                            "it holds bytes that are no text, expected AWS profiles",
                        )
                    })?;
                    builder = builder.with_contents(kind, text);
                    found = true;
                }
                Err(FileError::Missing) => {}
                Err(error) => {
                    return Err(misconfigured(
                        ConfigurationProblemKind::Unreadable,
                        &path,
                        source,
                        error.describe(&path),
                    ));
                }
            }
            looked_in.push(path);
        }
        let set = if found {
            let parsed = aws_config::profile::load(
                &os_shim_internal::Fs::from_slice(&[]),
                &os_shim_internal::Env::from_slice(&[]),
                &builder.build(),
                Some(name.clone().into()),
            )
            .await;
            // The parser's own text quotes the line at fault, which may hold a key.
            Some(parsed.map_err(|_| {
                misconfigured(
                    ConfigurationProblemKind::Invalid,
                    looked_in.join(", "),
                    "AWS profiles",
                    "it does not parse: expected sections in brackets, and `key = value` lines below them",
                )
            })?)
        } else {
            None
        };
        let missing = set
            .as_ref()
            .is_none_or(|set| set.get_profile(&name).is_none());
        if let Some((variable, name)) = selected
            && missing
        {
            return Err(misconfigured(
                ConfigurationProblemKind::Missing,
                variable,
                ENVIRONMENT,
                format!(
                    "there is no profile `{name}` in {}",
                    if looked_in.is_empty() {
                        "any file: neither HOME nor AWS_CONFIG_FILE is set".to_owned()
                    } else {
                        looked_in.join(" or ")
                    }
                ),
            ));
        }
        Ok(Self { name, set })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A key of the profile.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.set.as_ref()?.get(key)
    }

    /// `endpoint_url` under `sts` in the services section that the profile names.
    pub(crate) fn services_endpoint(&self) -> Option<&str> {
        let set = self.set.as_ref()?;
        let key = PropertiesKey::builder()
            .section_key("services")
            .section_name(set.get("services")?)
            .property_name("sts")
            .sub_property_name("endpoint_url")
            .build()
            .ok()?;
        set.other_sections().get(&key).map(String::as_str)
    }
}

/// Path of a file, and what says so; none where only a home directory would tell and there is none.
fn location(env: &Env, variable: &'static str, default: &str) -> Option<(String, &'static str)> {
    let home = || env.non_empty("HOME").map(|h| h.trim_end_matches('/'));
    match env.non_empty(variable) {
        Some(path) => Some((
            match path.strip_prefix("~/") {
                Some(rest) => format!("{}/{rest}", home()?),
                None => path.to_owned(),
            },
            variable,
        )),
        None => Some((format!("{}/.aws/{default}", home()?), "default")),
    }
}

/// Profiles are written by hand.
const PROFILE_LIMIT: u64 = 1024 * 1024;
