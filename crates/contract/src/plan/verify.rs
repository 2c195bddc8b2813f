//! The init container that proves a provider's exchange before the workload starts.

use crate::{
    Provider, Settings,
    annotations::{VERIFY_COMMAND, VERIFY_IMAGE, VERIFY_TIMEOUT, VERIFY_UNREACHABLE},
    effective::Source,
    env,
    image::Image,
    message::{Cause, Denial},
    names,
    resolve::Resolver,
    settings::{Unreachable, VerifyCommand, flag},
    spec::{Container, EnvVar, SecurityContext, Volume, VolumeMount, VolumeSource},
};

use super::{Cloud, InitContainer, ProviderPlan};

/// How a provider is to be verified.
pub(super) struct Check {
    provider: Provider,
    image: Image,
    command: Vec<String>,
    args: Vec<String>,
    is_cli: bool,
}

/// Reads the keys about verification. None unless it is on.
pub(super) fn read(
    cloud: &Cloud,
    resolver: &mut Resolver<'_>,
    settings: &Settings,
    on: bool,
    enforce: bool,
) -> Result<Option<Check>, Denial> {
    let provider = cloud.provider;
    if !on {
        // Read for their mistakes alone.
        let before = resolver.effective.len();
        resolver.parsed::<Image>(&VERIFY_IMAGE, provider, false, None)?;
        resolver.parsed::<VerifyCommand>(&VERIFY_COMMAND, provider, false, None)?;
        resolver.seconds(&VERIFY_TIMEOUT, provider);
        resolver.parsed::<Unreachable>(&VERIFY_UNREACHABLE, provider, false, None)?;
        resolver.effective.truncate(before);
        return Ok(None);
    }
    let image = image(resolver, settings, provider)?;
    let command = command(resolver, settings, provider, &image)?;
    let timeout = resolver.seconds(&VERIFY_TIMEOUT, provider).value;
    let unreachable = resolver.parsed::<Unreachable>(&VERIFY_UNREACHABLE, provider, true, None)?;
    let is_cli = command == VerifyCommand::CloudCli;
    let (command, args) = if is_cli {
        let check = cloud.cli_check;
        let script = if enforce {
            check.to_owned()
        } else {
            let last = names::NON_ENFORCING_LAST_LINE;
            format!("{check} || echo \"{last}\" >&2")
        };
        let shell = names::SHELL.map(str::to_owned);
        (shell.into_iter().chain([script]).collect(), Vec::new())
    } else {
        let mut args = vec![names::VERIFY.to_owned(), provider.to_string()];
        if enforce {
            args.push("--enforce".to_owned());
        }
        if timeout != names::VERIFY_TIMEOUT_DEFAULT_SECONDS {
            args.push(format!("--timeout={timeout}s"));
        }
        if unreachable == Some(Unreachable::Allow) {
            args.push(format!("--on-unreachable={}", Unreachable::Allow));
        }
        (Vec::new(), args)
    };
    Ok(Some(Check {
        provider,
        image,
        command,
        args,
        is_cli,
    }))
}

impl Check {
    /// Adds the container, and what only it needs.
    pub(super) fn add_to(
        self,
        plan: &mut ProviderPlan,
        settings: &Settings,
        run_as_user: Option<i64>,
    ) {
        let mut env: Vec<EnvVar> = plan.variables.iter().flatten().cloned().collect();
        let mut mounts = plan.mounts.clone();
        if self.is_cli {
            let scratch = VolumeMount {
                name: names::VERIFY_SCRATCH_VOLUME,
                mount_path: names::VERIFY_SCRATCH_DIR,
                read_only: false,
            };
            env.push(EnvVar::literal(env::HOME, names::VERIFY_SCRATCH_DIR));
            plan.volumes.push(Volume {
                name: scratch.name,
                source: VolumeSource::EmptyDir {},
            });
            mounts.push(scratch);
        }
        for extra in &settings.verify_env {
            if !env.iter().any(|variable| variable.name == extra.name) {
                env.push(extra.clone());
            }
        }
        plan.init_containers.push(InitContainer {
            order: names::ORDER_VERIFY,
            container: Container {
                name: names::verify_container(self.provider),
                image: self.image.to_string(),
                command: self.command,
                args: self.args,
                env,
                resources: if self.is_cli {
                    settings.cloud_cli_resources.clone()
                } else {
                    settings.resources.clone()
                },
                volume_mounts: mounts,
                image_pull_policy: names::IMAGE_PULL_POLICY,
                security_context: SecurityContext::restricted(run_as_user),
            },
        });
    }
}

fn image(
    resolver: &mut Resolver<'_>,
    settings: &Settings,
    provider: Provider,
) -> Result<Image, Denial> {
    let operators = settings.verify_image[provider].as_ref();
    let parsed = resolver.parsed::<Image>(&VERIFY_IMAGE, provider, true, operators)?;
    let Some(image) = parsed else {
        let image = &settings.agent_image;
        resolver.keep(
            &VERIFY_IMAGE,
            provider,
            image,
            Source::Flag(flag::AGENT_IMAGE),
        );
        return Ok(image.clone());
    };
    let is_allowed = settings.verify_image_allow.is_empty()
        || is_the_servers_own(&image, settings)
        || settings
            .verify_image_allow
            .iter()
            .any(|pattern| pattern.matches(&image));
    if !is_allowed && let Some(entry) = resolver.first(&VERIFY_IMAGE, provider) {
        let patterns: Vec<_> = settings
            .verify_image_allow
            .iter()
            .take(8)
            .map(|pattern| format!("`{pattern}`"))
            .collect();
        let allowed = format!(
            "an image that `{}` of the webhook allows: {}",
            flag::VERIFY_IMAGE_ALLOW,
            patterns.join(", ")
        );
        resolver.refuse(entry, true, allowed)?;
    }
    Ok(image)
}

fn is_the_servers_own(image: &Image, settings: &Settings) -> bool {
    *image == settings.agent_image
        || settings
            .verify_image
            .iter()
            .any(|(_, own)| own.as_ref() == Some(image))
}

fn command(
    resolver: &mut Resolver<'_>,
    settings: &Settings,
    provider: Provider,
    image: &Image,
) -> Result<VerifyCommand, Denial> {
    let asked = resolver.parsed::<VerifyCommand>(&VERIFY_COMMAND, provider, true, None)?;
    let command = match asked {
        None if names::CLOUD_CLI_IMAGES.contains(&image.last_path_part()) => {
            VerifyCommand::CloudCli
        }
        None => VerifyCommand::Agent,
        Some(asked) => asked,
    };
    if command == VerifyCommand::CloudCli && *image == settings.agent_image {
        if let Some(entry) = resolver.first(&VERIFY_COMMAND, provider) {
            resolver.warn(
                Cause::Ineffective,
                &format!(
                    "{} is `{command}`, but the agent's image has no shell: `{}` is used; `{}` sets an image",
                    entry.name(),
                    VerifyCommand::Agent,
                    VERIFY_IMAGE.full_key(provider),
                ),
            );
        }
        return Ok(VerifyCommand::Agent);
    }
    Ok(command)
}
