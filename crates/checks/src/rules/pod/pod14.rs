//! The token's mount is doubled, or is one that never refreshes.
//!
//! ## What it checks
//!
//! Two volumes of one name, two mounts at one path in a container, and `subPath` on the mount of a volume with a
//! ServiceAccount token.
//!
//! ## Why it matters
//!
//! The API server refuses a pod with the first two; a webhook that is called twice, or two webhooks, make them. A `subPath` is
//! mounted as the file that it was when the container started: the kubelet replaces the token in the volume, and the
//! container keeps the old one until it ends.
//!
//! ## How it looks
//!
//! ```text
//! Pod "checkout" is invalid: spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/var/run/secrets/eks.amazonaws.com/serviceaccount": must be unique
//! ```
//!
//! ## How to fix it
//!
//! Mount the directory without `subPath`; remove one of the doubles.
//!
//! ## How to verify the fix
//!
//! `kubectl exec POD -- ls -l PATH` shows a link into `..data`.
//!
//! ## References
//!
//! - Kubernetes, "Projected Volumes", section "serviceAccountToken":
//!   <https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken>
//! - Kubernetes, "Volumes", section "Using subPath": <https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath>

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    doctor::{Case, Container, Gap, Need, Object, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, patch},
};

pub(super) const RULE: Rule = Rule::new("POD14", &[Need::Pod, Need::Owners], check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mut findings = Vec::new();
    let mut volumes = BTreeSet::new();
    for (index, volume) in pod.list("/spec/volumes").enumerate() {
        let name = text(volume, "name");
        if !volumes.insert(name) {
            findings.push(
                Finding::new("POD14", format!("two volumes have the name `{name}`"))
                    .at(pod.subject_at(&format!("/spec/volumes/{index}"), format!("volume `{name}`")))
                    .answered(format!("spec.volumes[{index}].name: Duplicate value: \"{name}\""))
                    .fix("remove one of them: two webhooks add the same volume, or the template has one already"),
            );
        }
    }
    let tokens: Vec<String> = pod
        .projected_tokens()
        .into_iter()
        .map(|token| token.volume)
        .collect();
    for container in pod.containers() {
        let mut paths = BTreeSet::new();
        for (index, mount) in container.elements("volumeMounts").enumerate() {
            let path = text(mount, "mountPath").trim_end_matches('/');
            let at = || {
                pod.subject_at(
                    &format!("{}/volumeMounts/{index}", container.pointer()),
                    format!("mount at `{path}` of container `{}`", container.name()),
                )
            };
            if !paths.insert(path) {
                findings.push(
                    Finding::new("POD14", format!("container `{}` has two mounts at `{path}`", container.name()))
                        .at(at())
                        .answered(format!("volumeMounts[{index}].mountPath: Invalid value: \"{path}\": must be unique"))
                        .fix("remove one of them from the pod template"),
                );
            }
            let volume = text(mount, "name");
            let is_part = ["subPath", "subPathExpr"]
                .iter()
                .any(|member| !text(mount, member).is_empty());
            if is_part && tokens.iter().any(|token| token == volume) {
                let finding = Finding::new(
                    "POD14",
                    format!(
                        "container `{}` mounts the token of volume `{volume}` with `subPath`: it is never refreshed",
                        container.name()
                    ),
                )
                .at(at())
                .fix("mount the volume's directory, without `subPath`");
                findings.push(whole(case, pod, &container, finding, volume, mount));
            }
        }
    }
    Ok(Outcome::of(findings))
}

/// The command that mounts the directory instead: the path of the file stays.
fn whole(
    case: &Case<'_>,
    pod: &Object,
    container: &Container<'_>,
    finding: Finding,
    volume: &str,
    mount: &Value,
) -> Finding {
    let Some(Place {
        object,
        template: Some(template),
    }) = Place::of_pod(case)
    else {
        return finding;
    };
    let list = format!("{template}/spec/{}", container.list);
    let found = object
        .list(&list)
        .position(|found| text(found, "name") == container.name())
        .and_then(|at| {
            let mounts = format!("{list}/{at}/volumeMounts");
            let index = object.list(&mounts).position(|found| {
                text(found, "name") == volume && text(found, "mountPath") == text(mount, "mountPath")
            })?;
            Some(format!("{mounts}/{index}"))
        });
    let (Some(pointer), Some((directory, file))) = (found, text(mount, "mountPath").rsplit_once('/')) else {
        return finding;
    };
    // The file in the directory has the volume's name for it, which may be another than the mount's.
    let has_same_name = pod
        .projected_tokens()
        .iter()
        .any(|token| token.volume == volume && token.path == file);
    if directory.is_empty() || !has_same_name {
        return finding;
    }
    let operations = json!([
        {"op": "remove", "path": format!("{pointer}/subPath")},
        {"op": "replace", "path": format!("{pointer}/mountPath"), "value": directory},
    ]);
    finding
        .command(patch(object, &operations))
        .applicable(Applicability::Unsafe)
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::{Fixture, edit}};

    #[test]
    fn one_whole_mount_passes() {
        for fixture in [Fixture::irsa(), Fixture::cwii_all()] {
            assert_eq!(fixture.decide("POD14"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn doubles_are_found() {
        let fixture = Fixture::irsa().pod(|pod| {
            let mount = pod["spec"]["containers"][0]["volumeMounts"][0].clone();
            pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount);
            let volume = pod["spec"]["volumes"][0].clone();
            pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
        });
        assert_eq!(
            fixture.messages("POD14"),
            [
                "two volumes have the name `aws-iam-token`",
                "container `app` has two mounts at `/var/run/secrets/eks.amazonaws.com/serviceaccount`",
            ]
        );
    }

    #[test]
    fn a_part_of_a_token_volume_is_found_and_mounted_whole() {
        let change = |spec: &mut serde_json::Value| {
            spec["volumes"] = json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken":
                {"audience": "sts.amazonaws.com", "path": "token"}}]}}]);
            spec["containers"][0]["volumeMounts"] =
                json!([{"name": "t", "mountPath": "/var/run/aws/token", "subPath": "token"}]);
        };
        let fixture = Fixture::plain().pod(|pod| change(&mut pod["spec"])).with(|facts| {
            for owner in &mut facts.owners {
                edit(&mut owner.object, |object| change(&mut object["spec"]["template"]["spec"]));
            }
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("POD14") else {
            panic!()
        };
        assert_eq!(
            findings[0].message,
            "container `app` mounts the token of volume `t` with `subPath`: it is never refreshed"
        );
        assert!(findings[0].fix.commands[0].contains("\"value\":\"/var/run/aws\""));
    }
}
