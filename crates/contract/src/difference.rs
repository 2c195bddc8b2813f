//! What a live pod lacks, or has otherwise, of what its plan says.

use serde::Serialize;
use serde_json::Value;

use crate::{
    annotations::{self, INJECTED, WEBHOOK_VERSION},
    patch::escape,
    plan::{self, Plan},
    spec::Quantity,
    types::shorten_to,
};

/// One place where a pod is not as planned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// JSON pointer (RFC 6901) into the pod; `-` at its end where an element of an array is missing.
    pub pointer: String,
    /// What is planned there.
    pub expected: Value,
    /// What is there; none where nothing is.
    pub found: Option<Value>,
    /// What it is, for people: ``variable `AWS_ROLE_ARN` of container `app` ``.
    pub what: String,
}

/// Compares a pod with its plan. Fields that the plan does not speak of are not looked at, so that what an API server or
/// another webhook adds makes no difference. Empty for a pod right after it was patched, unless it had something of its
/// own that stands in the way.
#[must_use]
pub fn differences(pod: &Value, plan: &Plan) -> Vec<Difference> {
    let mut comparison = Comparison { found: Vec::new() };
    if plan.injects() {
        comparison.annotations(pod, plan);
        comparison.volumes(pod, plan);
        comparison.containers(pod, plan);
        comparison.init_containers(pod, plan);
    }
    comparison.found
}

struct Comparison {
    found: Vec<Difference>,
}

impl Comparison {
    fn annotations(&mut self, pod: &Value, plan: &Plan) {
        for (row, expected) in [
            (INJECTED, plan.injected()),
            (WEBHOOK_VERSION, plan.version.clone()),
        ] {
            let key = [annotations::PREFIX, row.key].concat();
            let found = member(member(pod, "metadata"), "annotations").get(&key);
            self.value(
                &format!("/metadata/annotations/{}", escape(&key)),
                &Value::String(expected),
                found,
                &format!("annotation `{key}`"),
            );
        }
    }

    fn volumes(&mut self, pod: &Value, plan: &Plan) {
        let volumes = member(member(pod, "spec"), "volumes");
        for volume in plan.providers.iter().flat_map(|plan| &plan.volumes) {
            let what = format!("volume `{}`", volume.name);
            self.element("/spec/volumes", "name", volume, volumes, &what);
        }
    }

    fn containers(&mut self, pod: &Value, plan: &Plan) {
        for array in ["initContainers", "containers"] {
            for (index, container) in elements(member(member(pod, "spec"), array)).enumerate() {
                let name = member(container, "name").as_str().unwrap_or_default();
                let is_ours = array == "initContainers" && plan::is_ours(name);
                if is_ours || plan::is_skipped(name, plan.skip_containers.as_ref()) {
                    continue;
                }
                let path = format!("/spec/{array}/{index}");
                let of = format!("container `{}`", shorten_to(name, 63));
                for provider in &plan.providers {
                    for variable in provider.variables.iter().flatten() {
                        let what = format!("variable `{}` of {of}", variable.name);
                        let env = member(container, "env");
                        self.element(&format!("{path}/env"), "name", variable, env, &what);
                    }
                    for mount in &provider.mounts {
                        let what = format!("mount at `{}` of {of}", mount.mount_path);
                        let mounts = member(container, "volumeMounts");
                        let path = format!("{path}/volumeMounts");
                        self.element(&path, "mountPath", mount, mounts, &what);
                    }
                }
            }
        }
    }

    fn init_containers(&mut self, pod: &Value, plan: &Plan) {
        let containers = member(member(pod, "spec"), "initContainers");
        for init in plan.providers.iter().flat_map(|plan| &plan.init_containers) {
            let what = format!("init container `{}`", init.container.name);
            self.element(
                "/spec/initContainers",
                "name",
                &init.container,
                containers,
                &what,
            );
        }
    }

    /// Compares one element of an array, which is found by one of its members.
    fn element(
        &mut self,
        array_pointer: &str,
        key: &str,
        expected: &impl Serialize,
        array: &Value,
        what: &str,
    ) {
        // All parts of a plan serialise; one that did not would be no difference that anybody could act on.
        if let Ok(expected) = serde_json::to_value(expected) {
            self.keyed(array_pointer, key, &expected, array, what);
        }
    }

    fn keyed(
        &mut self,
        array_pointer: &str,
        key: &str,
        expected: &Value,
        array: &Value,
        what: &str,
    ) {
        let id = |element: &Value| {
            let id = member(element, key).as_str()?;
            Some(id.trim_end_matches('/').to_owned())
        };
        let wanted = id(expected);
        match elements(array)
            .enumerate()
            .find(|(_, found)| id(found) == wanted)
        {
            Some((index, found)) => {
                self.value(
                    &format!("{array_pointer}/{index}"),
                    expected,
                    Some(found),
                    what,
                );
            }
            None => self.value(&format!("{array_pointer}/-"), expected, None, what),
        }
    }

    /// Everything that is expected has to be there; more may be.
    fn value(&mut self, pointer: &str, expected: &Value, found: Option<&Value>, what: &str) {
        let found = found.filter(|found| !found.is_null());
        match (expected, found) {
            (Value::Object(expected), Some(Value::Object(found))) => {
                for (name, expected) in expected {
                    let pointer = format!("{pointer}/{}", escape(name));
                    // Others may add variables and mounts to our containers.
                    let key = match name.as_str() {
                        "env" => Some("name"),
                        "volumeMounts" => Some("mountPath"),
                        _ => None,
                    };
                    match key {
                        Some(key) => {
                            let array = found.get(name).unwrap_or(&Value::Null);
                            for expected in elements(expected) {
                                self.keyed(&pointer, key, expected, array, what);
                            }
                        }
                        // The API server spells a path as it was given; a slash at its end changes nothing.
                        None if name == "mountPath" => {}
                        None => self.value(&pointer, expected, found.get(name), what),
                    }
                }
            }
            (Value::Array(expected), Some(Value::Array(found)))
                if expected.len() == found.len() =>
            {
                for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                    self.value(&format!("{pointer}/{index}"), expected, Some(found), what);
                }
            }
            (expected, Some(found))
                if expected == found || is_same_quantity(pointer, expected, found) => {}
            (expected, found) => self.found.push(Difference {
                pointer: pointer.to_owned(),
                expected: expected.clone(),
                found: found.cloned(),
                what: what.to_owned(),
            }),
        }
    }
}

/// A member, or `null`, which counts as absent.
fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The API server writes quantities in its own way: `0.1` as `100m`.
fn is_same_quantity(pointer: &str, expected: &Value, found: &Value) -> bool {
    let quantity = |value: &Value| value.as_str()?.parse::<Quantity>().ok();
    pointer.contains("/resources/")
        && quantity(expected)
            .zip(quantity(found))
            .is_some_and(|(expected, found)| expected.is_as_much_as(&found))
}
