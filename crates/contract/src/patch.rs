//! The patch that turns a pod into what its plan says: RFC 6902, `add` operations only.
//!
//! The only place that knows JSON pointers into a pod that is being admitted. Nothing of the pod is repeated in the patch,
//! so that fields which nobody here knows survive; and it is small, since an API server parses it for every pod: elements
//! are added one by one only where an array is there already.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    Provider,
    annotations::{self, INJECTED, WEBHOOK_VERSION},
    message::{Cause, Warning},
    plan::{self, InitContainer, Plan},
    pod::{self, Pod},
    spec::{Container, EnvVar, Volume, VolumeMount, VolumeSource},
    types::shorten_to,
};

/// A patch, and what came in its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch<'a> {
    /// The operations, in order; empty where the pod has everything.
    pub operations: Vec<Operation<'a>>,
    /// What the pod already has, and therefore keeps.
    pub warnings: Vec<Warning>,
    /// The providers that are injected, sorted.
    pub injected: Vec<Provider>,
}

impl Patch<'_> {
    /// The patch as JSON.
    ///
    /// # Errors
    ///
    /// None that is known: all parts serialise.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::with_capacity(256 * self.operations.len());
        serde_json::to_writer(&mut json, &self.operations)?;
        Ok(json)
    }
}

/// One `add` operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation<'a> {
    /// JSON pointer (RFC 6901) to what is added.
    pub path: String,
    /// What is added there.
    pub value: Added<'a>,
}

impl Serialize for Operation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut operation = serializer.serialize_struct("Operation", 3)?;
        operation.serialize_field("op", "add")?;
        operation.serialize_field("path", &self.path)?;
        operation.serialize_field("value", &self.value)?;
        operation.end()
    }
}

/// What an operation adds: an element of an array or a map, or the whole of it where the pod has none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Added<'a> {
    /// An object without members.
    Object {},
    /// Of `metadata.annotations`.
    Annotation(Cow<'a, str>),
    /// `metadata.annotations`.
    Annotations(BTreeMap<String, Cow<'a, str>>),
    /// Of a container's `env`.
    Variable(&'a EnvVar),
    /// A container's `env`.
    Variables(Vec<&'a EnvVar>),
    /// Of a container's `volumeMounts`.
    Mount(&'a VolumeMount),
    /// A container's `volumeMounts`.
    Mounts(Vec<&'a VolumeMount>),
    /// Of `spec.volumes`.
    Volume(&'a Volume),
    /// `spec.volumes`.
    Volumes(Vec<&'a Volume>),
    /// Of `spec.initContainers`.
    InitContainer(&'a Container),
    /// `spec.initContainers`.
    InitContainers(Vec<&'a Container>),
}

/// The patch for a pod. Empty if the plan injects nothing, or if the pod has it all already.
///
/// The operations on the pod's own init containers come before ours are put in front of them, so that indexes hold.
#[must_use]
pub fn patch<'a>(pod: &Pod, plan: &'a Plan) -> Patch<'a> {
    let mut patch = Patch::default();
    if !plan.injects() {
        return patch;
    }
    patch.injected = plan.providers.iter().map(|plan| plan.provider).collect();
    patch.annotations(pod, plan);
    patch.volumes(pod, plan);
    for (array, containers, may_be_ours) in [
        ("initContainers", &pod.spec.init_containers, true),
        ("containers", &pod.spec.containers, false),
    ] {
        for (index, container) in containers.iter().enumerate() {
            let is_ours = may_be_ours && plan::is_ours(&container.name);
            if !is_ours && !plan::is_skipped(&container.name, plan.skip_containers.as_ref()) {
                let path = format!("/spec/{array}/{index}");
                patch.variables(&path, container, plan);
                patch.mounts(&path, container, plan);
            }
        }
    }
    patch.init_containers(pod, plan);
    patch
}

impl<'a> Patch<'a> {
    fn annotations(&mut self, pod: &Pod, plan: &'a Plan) {
        let outputs = [
            (INJECTED.key, Cow::Owned(plan.injected())),
            (WEBHOOK_VERSION.key, Cow::Borrowed(plan.version.as_str())),
        ];
        if let Some(annotations) = pod.annotations() {
            for (key, value) in outputs {
                if !annotations.outputs.contains(&(key, value.to_string())) {
                    let path =
                        format!("/metadata/annotations/{}{key}", escape(annotations::PREFIX));
                    self.add(path, Added::Annotation(value));
                }
            }
            return;
        }
        if pod.metadata.is_none() {
            self.add("/metadata".into(), Added::Object {});
        }
        let outputs = outputs
            .into_iter()
            .map(|(key, value)| ([annotations::PREFIX, key].concat(), value))
            .collect();
        self.add("/metadata/annotations".into(), Added::Annotations(outputs));
    }

    fn volumes(&mut self, pod: &Pod, plan: &'a Plan) {
        let mut missing: Vec<&Volume> = Vec::new();
        for volume in plan.providers.iter().flat_map(|plan| &plan.volumes) {
            if missing.iter().any(|other| other.name == volume.name) {
                continue;
            }
            match pod.spec.volumes.iter().find(|own| own.name == volume.name) {
                None => missing.push(volume),
                Some(own) if is_as_planned(own, &volume.source) => {}
                Some(_) => self.clash(&format!(
                    "the pod has a volume `{}` of its own, which is kept",
                    volume.name
                )),
            }
        }
        self.add_all(
            "/spec",
            "/volumes",
            pod.spec.volumes.is_empty(),
            missing,
            Added::Volume,
            Added::Volumes,
        );
    }

    fn variables(&mut self, path: &str, container: &pod::Container, plan: &'a Plan) {
        let mut missing: Vec<&EnvVar> = Vec::new();
        for group in plan.providers.iter().flat_map(|plan| &plan.variables) {
            let own = |variable: &EnvVar| container.env.iter().find(|o| o.name == variable.name);
            if !group.iter().any(|variable| own(variable).is_some()) {
                missing.extend(group);
                continue;
            }
            let is_as_planned = group.iter().all(|variable| {
                own(variable).is_some_and(|own| own.value.as_deref() == Some(&*variable.value))
            });
            if is_as_planned {
                continue;
            }
            let names = |present: bool| {
                let names: Vec<_> = group
                    .iter()
                    .filter(|variable| own(variable).is_some() == present)
                    .map(|variable| format!("`{}`", variable.name))
                    .collect();
                names.join(" and ")
            };
            let not_added = names(false);
            let consequence = if not_added.is_empty() {
                "kept".to_owned()
            } else {
                format!("kept; {not_added} would not go with it and is not added")
            };
            self.clash(&format!(
                "container `{}` has its own {}, which is {consequence}",
                shorten_to(&container.name, 63),
                names(true),
            ));
        }
        self.add_all(
            path,
            "/env",
            container.env.is_empty(),
            missing,
            Added::Variable,
            Added::Variables,
        );
    }

    fn mounts(&mut self, path: &str, container: &pod::Container, plan: &'a Plan) {
        let mut missing: Vec<&VolumeMount> = Vec::new();
        for mount in plan.providers.iter().flat_map(|plan| &plan.mounts) {
            match container
                .volume_mounts
                .iter()
                .find(|own| own.mount_path.trim_end_matches('/') == mount.mount_path)
            {
                None => missing.push(mount),
                Some(own) if own.name == mount.name && own.is_whole_and_read_only() => {}
                Some(own) => self.clash(&format!(
                    "container `{}` has its own mount of volume `{}` at `{}`, which is kept",
                    shorten_to(&container.name, 63),
                    shorten_to(&own.name, 63),
                    mount.mount_path,
                )),
            }
        }
        self.add_all(
            path,
            "/volumeMounts",
            container.volume_mounts.is_empty(),
            missing,
            Added::Mount,
            Added::Mounts,
        );
    }

    fn init_containers(&mut self, pod: &Pod, plan: &'a Plan) {
        let mut ours: Vec<&InitContainer> = plan
            .providers
            .iter()
            .flat_map(|plan| &plan.init_containers)
            .collect();
        // Stable: among equals the providers' order stays.
        ours.sort_by_key(|init| init.order);
        // Names are unique among all containers of a pod.
        ours.retain(|init| {
            let name = init.container.name;
            let is_taken = pod.spec.containers.iter().any(|own| own.name == name);
            if is_taken {
                self.clash(&format!(
                    "the pod has a container `{name}`, so that the init container of that name is left out"
                ));
            }
            !is_taken
        });
        let theirs = &pod.spec.init_containers;
        if theirs.is_empty() {
            let ours = ours.iter().map(|init| &init.container).collect();
            self.add_all(
                "/spec",
                "/initContainers",
                true,
                ours,
                Added::InitContainer,
                Added::InitContainers,
            );
            return;
        }
        // Where the next of ours goes, and how many have been put in before.
        let (mut next, mut inserted) = (0, 0);
        for init in ours {
            let container = &init.container;
            match theirs.iter().position(|own| own.name == container.name) {
                Some(index) => {
                    next = next.max(index + inserted + 1);
                    let own = &theirs[index];
                    if own.command != container.command || own.args != container.args {
                        self.clash(&format!(
                            "the pod has an init container `{}` of its own, which is kept",
                            container.name
                        ));
                    }
                }
                None => {
                    self.add(
                        format!("/spec/initContainers/{next}"),
                        Added::InitContainer(container),
                    );
                    next += 1;
                    inserted += 1;
                }
            }
        }
    }

    /// One operation for the whole array where the pod has none, else one for each element.
    fn add_all<T>(
        &mut self,
        parent: &str,
        array: &str,
        is_empty: bool,
        missing: Vec<&'a T>,
        one: fn(&'a T) -> Added<'a>,
        all: fn(Vec<&'a T>) -> Added<'a>,
    ) {
        if missing.is_empty() {
        } else if is_empty {
            self.add([parent, array].concat(), all(missing));
        } else {
            for element in missing {
                self.add([parent, array, "/-"].concat(), one(element));
            }
        }
    }

    fn add(&mut self, path: String, value: Added<'a>) {
        self.operations.push(Operation { path, value });
    }

    fn clash(&mut self, text: &str) {
        self.warnings.push(Warning::new(Cause::Clash, text));
    }
}

/// Escapes a member's name for a JSON pointer (RFC 6901, section 3).
pub(crate) fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) {
        Cow::Owned(name.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether a volume holds what is planned. What an API server adds, such as `defaultMode`, makes no difference.
fn is_as_planned(own: &pod::Volume, planned: &VolumeSource) -> bool {
    match planned {
        VolumeSource::Projected { sources: [planned] } => {
            let token = &planned.service_account_token;
            let Some([own]) = own.projected.as_ref().map(|own| &*own.sources) else {
                return false;
            };
            own.service_account_token.as_ref().is_some_and(|own| {
                own.path.as_deref() == Some(token.path)
                    && own.audience.as_ref() == Some(&token.audience)
                    && own.expiration_seconds.map(u64::try_from)
                        == Some(Ok(token.expiration_seconds))
            })
        }
        VolumeSource::EmptyDir {} => own.empty_dir.is_some(),
        VolumeSource::ConfigMap {
            name,
            items: [planned],
        } => own.config_map.as_ref().is_some_and(|own| {
            own.name.as_ref() == Some(name)
                && own.items.len() == 1
                && own.items.iter().all(|own| {
                    own.key.as_deref() == Some(planned.key)
                        && own.path.as_deref() == Some(planned.path)
                })
        }),
    }
}
