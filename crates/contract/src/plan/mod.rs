//! What a pod is to receive: a pure function of what the four scopes say and what the operator decided.

mod aws;
mod az;
mod gcp;
mod verify;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    Provider,
    annotations::{
        AUDIENCE, Annotation, INJECT, SKIP_CONTAINERS, TOKEN_EXPIRATION, VERIFY, VERIFY_ENFORCE,
    },
    effective::{Effective, Setting, Source},
    message::{Cause, Denial, Warning},
    names,
    pod::{self, Pod},
    resolve::{Entry, Resolver},
    scope::{Layer, Scope},
    settings::{Settings, flag},
    spec::{
        Container, EnvVar, SecurityContext, ServiceAccountToken, TokenSource, Volume, VolumeMount,
        VolumeSource,
    },
    types::shorten_to,
};

/// What a pod is to receive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The providers that are injected, sorted.
    pub providers: Vec<ProviderPlan>,
    /// Containers that receive nothing.
    pub skip_containers: Option<Setting<Vec<String>>>,
    /// What the person who ran kubectl should know.
    pub warnings: Vec<Warning>,
    /// The webhook's version.
    pub version: String,
}

impl Plan {
    /// Whether anything is injected.
    #[must_use]
    pub fn injects(&self) -> bool {
        !self.providers.is_empty()
    }

    /// The providers that are injected, as `cwii.dev/injected` names them; empty if there are none.
    #[must_use]
    pub fn injected(&self) -> String {
        let names: Vec<_> = self
            .providers
            .iter()
            .map(|plan| plan.provider.as_str())
            .collect();
        names.join(",")
    }

    /// The ConfigMaps that have to exist in the pod's namespace before it starts.
    #[must_use]
    pub fn config_maps(&self) -> Vec<&ConfigMap> {
        self.providers
            .iter()
            .filter_map(|plan| plan.config_map.as_ref())
            .collect()
    }

    /// The keys that hold, with their provenance, of all providers that are injected.
    pub fn settings(&self) -> impl Iterator<Item = &Effective> {
        self.providers.iter().flat_map(|plan| &plan.settings)
    }
}

/// What a pod is to receive for one provider.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderPlan {
    /// The provider.
    pub provider: Provider,
    /// `aud` of the projected token.
    pub audience: Setting<String>,
    /// Lifetime of the projected token, seconds.
    pub expiration_seconds: Setting<u64>,
    /// Variables, in groups of those that only make sense together.
    pub variables: Vec<Vec<EnvVar>>,
    /// Volumes, the token's first.
    pub volumes: Vec<Volume>,
    /// Mounts of every container.
    pub mounts: Vec<VolumeMount>,
    /// Init containers.
    pub init_containers: Vec<InitContainer>,
    /// The ConfigMap that one of the volumes names.
    pub config_map: Option<ConfigMap>,
    /// The keys that hold, with their provenance.
    pub settings: Vec<Effective>,
}

/// An injected init container and its place among those.
#[derive(Clone, Debug, PartialEq)]
pub struct InitContainer {
    /// Lower comes first; among equals the provider decides.
    pub order: u8,
    /// The container.
    pub container: Container,
}

/// A ConfigMap that a pod's volume names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigMap {
    /// Name, which follows from the content.
    pub name: String,
    /// Content by key.
    pub data: BTreeMap<&'static str, String>,
}

impl ConfigMap {
    /// The object, as server-side apply takes it.
    #[must_use]
    pub fn manifest(&self, namespace: &str) -> Value {
        let (label, value) = names::MANAGED_BY_LABEL;
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.name,
                "namespace": namespace,
                "labels": { label: value },
            },
            "data": self.data,
        })
    }
}

/// Decides what a pod is to receive. `layers` are the objects of its four scopes; where one scope has several (a Job and its
/// CronJob) the nearer comes first. An object that does not exist or says nothing may be left out.
///
/// # Errors
///
/// An explicit value that would inject something wrong.
pub fn plan(pod: &Pod, layers: &[Layer], settings: &Settings) -> Result<Plan, Denial> {
    let mut plan = Plan {
        version: settings.version.clone(),
        ..Plan::default()
    };
    // A pod without containers is none; the API server says so after us.
    if layers.iter().all(|layer| layer.keys.is_empty()) || !pod.has_containers() {
        return Ok(plan);
    }
    let mut resolver = Resolver::new(layers, settings.native_annotations);
    if !resolver.is_empty() {
        plan.skip_containers = skip_containers(&resolver);
        let targets = Targets::new(pod, plan.skip_containers.as_ref());
        for cloud in CLOUDS {
            if !resolver.speaks_of(cloud.provider) {
                continue;
            }
            resolver.effective.clear();
            if let Some(injected) = provider_plan(cloud, &mut resolver, settings, &targets)? {
                plan.providers.push(injected);
            }
        }
        if plan.injects() {
            warn_of_names_that_the_pod_lacks(&mut resolver, pod, plan.skip_containers.as_ref());
        }
    }
    plan.warnings = resolver.warnings;
    Ok(plan)
}

/// The clouds, sorted.
const CLOUDS: [&Cloud; Provider::ALL.len()] = [&aws::CLOUD, &az::CLOUD, &gcp::CLOUD];

/// What sets one cloud apart.
struct Cloud {
    provider: Provider,
    /// Who the pod is to be.
    identity: &'static Annotation,
    /// Whether naming that is enough to ask for injection.
    identity_activates: bool,
    /// The keys that are required and that nobody set.
    required: fn(&Resolver<'_>, &Settings) -> Vec<&'static Annotation>,
    /// Reads the cloud's own keys; nothing comes of them unless the provider is active.
    parts: ReadParts,
    /// The operator's audience.
    default_audience: fn(&Settings) -> Option<&str>,
    /// Sets of variables of which the SDK prefers each whole set to what is injected.
    static_credentials: &'static [&'static [&'static str]],
    /// The check with the cloud's own CLI.
    cli_check: &'static str,
}

/// From what the scopes say, the operator's settings, the token's audience and whether the provider is active.
type ReadParts =
    fn(&mut Resolver<'_>, &Settings, Option<&str>, bool) -> Result<Option<Parts>, Denial>;

/// What one cloud adds beside its token.
#[derive(Default)]
struct Parts {
    variables: Vec<Vec<EnvVar>>,
    volumes: Vec<Volume>,
    mounts: Vec<VolumeMount>,
    writer: Option<Writer>,
    config_map: Option<ConfigMap>,
}

/// The init container that writes credentials.
struct Writer {
    name: &'static str,
    args: Vec<String>,
    env: Vec<EnvVar>,
    mounts: Vec<VolumeMount>,
}

/// What the containers of a pod say that matters to every provider.
struct Targets<'a> {
    /// The containers that receive variables and mounts.
    containers: Vec<&'a pod::Container>,
    /// The user of injected containers; none: the pod's own.
    run_as_user: Option<i64>,
    is_windows: bool,
}

impl<'a> Targets<'a> {
    fn new(pod: &'a Pod, skip: Option<&Setting<Vec<String>>>) -> Self {
        Self {
            containers: pod
                .own_containers()
                .filter(|container| !is_skipped(&container.name, skip))
                .collect(),
            run_as_user: run_as_user(pod),
            is_windows: pod.is_windows(),
        }
    }
}

/// Whether a container of this name is to receive nothing.
pub(crate) fn is_skipped(name: &str, skip: Option<&Setting<Vec<String>>>) -> bool {
    skip.is_some_and(|skip| skip.value.iter().any(|skipped| skipped == name))
}

/// Whether an init container has a name that cwii gives. Those receive nothing beyond what they bring.
pub(crate) fn is_ours(name: &str) -> bool {
    name == names::GCP_CREDENTIALS_WRITER
        || Provider::ALL
            .into_iter()
            .any(|provider| name == names::verify_container(provider))
}

/// The pod's own user where it is not root: nothing to set. Else the one that all containers share, else a constant.
/// The kubelet hands the token file to a user only where every container runs as that same one.
fn run_as_user(pod: &Pod) -> Option<i64> {
    let of_pod = pod.run_as_user().filter(|user| *user != 0);
    if of_pod.is_some() {
        return None;
    }
    let mut users = pod.own_containers().map(pod::Container::run_as_user);
    let first = users.next().flatten().filter(|user| *user != 0);
    let shared = first.filter(|first| users.all(|user| user == Some(*first)));
    Some(shared.unwrap_or(names::NON_ROOT_USER))
}

fn provider_plan(
    cloud: &Cloud,
    resolver: &mut Resolver<'_>,
    settings: &Settings,
    targets: &Targets<'_>,
) -> Result<Option<ProviderPlan>, Denial> {
    let provider = cloud.provider;
    let inject = resolver.boolean(&INJECT, provider);
    let asker = match inject {
        Some((true, entry)) => Some(entry),
        Some((false, _)) => None,
        None => asker_by_presence(cloud, resolver),
    };
    let active = asker.is_some_and(|asker| is_possible(cloud, resolver, settings, asker));

    let audience = audience(cloud, resolver, settings);
    let expiration_seconds = resolver.seconds(&TOKEN_EXPIRATION, provider);
    let audience_text = audience.as_ref().map(|audience| audience.value.as_str());
    let parts = (cloud.parts)(resolver, settings, audience_text, active)?;
    let verify = resolver.boolean(&VERIFY, provider);
    let enforce = resolver.boolean(&VERIFY_ENFORCE, provider);
    let is_on = |flag: Option<(bool, _)>| matches!(flag, Some((true, _)));
    if let (Some((true, entry)), false) = (enforce, is_on(verify)) {
        let because = format!("`{}` is not `true`", VERIFY.full_key(provider));
        warn_of_no_effect(resolver, entry, &because);
    }
    if let (Some((true, entry)), None, None) = (verify, asker, inject) {
        let because = format!("{} is not injected", provider.display_name());
        warn_of_no_effect(resolver, entry, &because);
    }
    let check = verify::read(
        cloud,
        resolver,
        settings,
        active && is_on(verify),
        is_on(enforce),
    )?;
    let (Some(parts), Some(audience)) = (parts, audience) else {
        return Ok(None);
    };
    if targets.containers.is_empty() && check.is_none() {
        let because = resolver
            .first(&SKIP_CONTAINERS, None)
            .map_or_else(String::new, |entry| format!(" ({})", entry.name()));
        resolver.warn(
            Cause::Ineffective,
            &format!(
                "{} is not injected: no container is left that would receive it{because}",
                provider.display_name()
            ),
        );
        return Ok(None);
    }
    warn_of_static_credentials(cloud, resolver, targets);

    let token = VolumeMount {
        name: names::token_volume(provider),
        mount_path: names::token_dir(provider),
        read_only: true,
    };
    let mut plan = ProviderPlan {
        provider,
        variables: parts.variables,
        volumes: vec![Volume {
            name: token.name,
            source: VolumeSource::Projected {
                sources: [TokenSource {
                    service_account_token: ServiceAccountToken {
                        path: names::TOKEN_FILE_NAME,
                        audience: audience.value.clone(),
                        expiration_seconds: expiration_seconds.value,
                    },
                }],
            },
        }],
        mounts: vec![token],
        init_containers: Vec::new(),
        config_map: parts.config_map,
        audience,
        expiration_seconds,
        settings: std::mem::take(&mut resolver.effective),
    };
    plan.volumes.extend(parts.volumes);
    plan.mounts.extend(parts.mounts);
    if let Some(writer) = parts.writer {
        plan.init_containers.push(InitContainer {
            order: names::ORDER_CREDENTIALS,
            container: Container {
                name: writer.name,
                image: settings.agent_image.to_string(),
                command: Vec::new(),
                args: writer.args,
                env: writer.env,
                resources: settings.resources.clone(),
                volume_mounts: writer.mounts,
                image_pull_policy: names::IMAGE_PULL_POLICY,
                security_context: SecurityContext::restricted(targets.run_as_user),
            },
        });
    }
    if let Some(check) = check {
        check.add_to(&mut plan, settings, targets.run_as_user);
    }
    if targets.is_windows && !plan.init_containers.is_empty() {
        leave_out_init_containers(&mut plan, resolver);
    }
    Ok(Some(plan))
}

/// Where nothing is said about injection itself: what asks for it by being there.
fn asker_by_presence<'a>(cloud: &Cloud, resolver: &mut Resolver<'a>) -> Option<Entry<'a>> {
    let provider = cloud.provider;
    let identity = resolver.first(cloud.identity, provider)?;
    if cloud.identity_activates {
        return Some(identity);
    }
    let native = resolver.first_native(cloud.identity, provider);
    if native.is_none() {
        let because = format!("`{}` is not `true`", INJECT.full_key(provider));
        warn_of_no_effect(resolver, identity, &because);
    }
    native
}

/// Whether a provider that is asked for can be injected. Warns where it cannot.
fn is_possible(
    cloud: &Cloud,
    resolver: &mut Resolver<'_>,
    settings: &Settings,
    asker: Entry<'_>,
) -> bool {
    let provider = cloud.provider;
    if !settings.enabled[provider] {
        resolver.warn(
            Cause::SwitchedOff,
            &format!(
                "{} is not injected, though {} asks for it: `{}` of the webhook is `false`",
                provider.display_name(),
                asker.name(),
                flag::enabled(provider),
            ),
        );
        return false;
    }
    let missing = (cloud.required)(resolver, settings);
    if missing.is_empty() {
        return true;
    }
    let keys: Vec<_> = missing
        .iter()
        .map(|row| format!("`{}`", row.full_key(provider)))
        .collect();
    resolver.warn(
        Cause::Missing,
        &format!(
            "{} is not injected, though {} asks for it: {} {} not set",
            provider.display_name(),
            asker.name(),
            keys.join(" and "),
            if keys.len() == 1 { "is" } else { "are" },
        ),
    );
    false
}

fn audience(
    cloud: &Cloud,
    resolver: &mut Resolver<'_>,
    settings: &Settings,
) -> Option<Setting<String>> {
    let provider = cloud.provider;
    let (value, from) = match resolver.first(&AUDIENCE, provider) {
        Some(entry) => (entry.value.to_owned(), entry.source()),
        None => match (cloud.default_audience)(settings) {
            Some(audience) => (audience.to_owned(), AUDIENCE.flag(provider)),
            None => (
                names::default_audience(provider)?.to_owned(),
                Source::Default,
            ),
        },
    };
    resolver.keep(&AUDIENCE, provider, &value, from.clone());
    Some(Setting { value, from })
}

fn skip_containers(resolver: &Resolver<'_>) -> Option<Setting<Vec<String>>> {
    let entry = resolver.first(&SKIP_CONTAINERS, None)?;
    let names: Vec<String> = entry
        .value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    (!names.is_empty()).then(|| Setting {
        value: names,
        from: entry.source(),
    })
}

/// Only where the list was written for this pod or its workload: one for many pods names containers that some lack.
fn warn_of_names_that_the_pod_lacks(
    resolver: &mut Resolver<'_>,
    pod: &Pod,
    skip: Option<&Setting<Vec<String>>>,
) {
    let (Some(skip), Some(entry)) = (skip, resolver.first(&SKIP_CONTAINERS, None)) else {
        return;
    };
    if entry.scope() > Scope::Workload {
        return;
    }
    for name in &skip.value {
        if resolver.is_full() {
            break;
        }
        if !pod
            .own_containers()
            .any(|container| container.name == *name)
        {
            resolver.warn(
                Cause::Ineffective,
                &format!(
                    "{} names `{}`, which is no container of the pod",
                    entry.name(),
                    shorten_to(name, 63)
                ),
            );
        }
    }
}

/// A key that changes nothing. Not said of a namespace, which may hold defaults for those pods that ask.
fn warn_of_no_effect(resolver: &mut Resolver<'_>, entry: Entry<'_>, because: &str) {
    if entry.scope() < Scope::Namespace {
        resolver.warn(
            Cause::Ineffective,
            &format!("{} has no effect: {because}", entry.name()),
        );
    }
}

fn warn_of_static_credentials(cloud: &Cloud, resolver: &mut Resolver<'_>, targets: &Targets<'_>) {
    for set in cloud.static_credentials {
        let carriers: Vec<String> = targets
            .containers
            .iter()
            .filter(|container| set.iter().all(|name| container.has_variable(name)))
            .map(|container| format!("`{}`", shorten_to(&container.name, 63)))
            .collect();
        if !carriers.is_empty() {
            resolver.warn(
                Cause::StaticCredentials,
                &format!(
                    "SDKs prefer `{}` to the injected identity of {}: set in {} {}",
                    set.join("` and `"),
                    cloud.provider.display_name(),
                    if carriers.len() == 1 {
                        "container"
                    } else {
                        "containers"
                    },
                    carriers.join(", "),
                ),
            );
            return;
        }
    }
}

fn leave_out_init_containers(plan: &mut ProviderPlan, resolver: &mut Resolver<'_>) {
    let consequence = if plan
        .init_containers
        .iter()
        .any(|init| init.order == names::ORDER_CREDENTIALS)
    {
        ", so that nothing writes the credentials document"
    } else {
        ""
    };
    let names: Vec<_> = plan
        .init_containers
        .drain(..)
        .map(|init| format!("`{}`", init.container.name))
        .collect();
    resolver.warn(
        Cause::Windows,
        &format!(
            "Windows pods get no init containers: {} {} left out{consequence}",
            names.join(" and "),
            if names.len() == 1 { "is" } else { "are" },
        ),
    );
    plan.volumes
        .retain(|volume| volume.name != names::VERIFY_SCRATCH_VOLUME);
}
