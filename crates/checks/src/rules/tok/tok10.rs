//! The token file that the SDK is told to read is a copy, and not the projected one that the kubelet renews.
//!
//! ## What it checks
//!
//! Per container: the path in `AWS_WEB_IDENTITY_TOKEN_FILE`, `AZURE_FEDERATED_TOKEN_FILE` or
//! `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` is the token of a projected volume that the container mounts as a directory. A path
//! in a Secret, a ConfigMap, an empty or a host directory is a copy; another file name in the projected volume is nothing. A path
//! that no volume covers is POD10, one under a `subPath` POD14.
//!
//! ## Why it matters
//!
//! A copy holds the token of the moment at which it was made. It works in every test, and fails a day later.
//!
//! ## How it looks
//!
//! ```text
//! ExpiredTokenException: Token expired: current date/time … must be before the expiration date/time …
//! ```
//!
//! ## How to fix it
//!
//! Take the variable and the volume out of the template and let the webhook inject both, or let the variable name the file in the
//! projected volume.
//!
//! ## How to verify the fix
//!
//! The file is a symbolic link into `..data`: `kubectl -n NAMESPACE exec POD -- ls -l PATH`.
//!
//! ## References
//!
//! - Kubernetes, "Projected Volumes":
//!   <https://kubernetes.io/docs/concepts/storage/projected-volumes/>

use cwii_contract::{Provider, env};
use serde_json::Value;

use crate::{
    doctor::{Case, Container, Gap, Need, Object, Outcome, Rule, variable_subject},
    report::Finding,
    rules::federation::workload,
};

pub(super) const RULE: Rule =
    Rule::new("TOK10", &[Need::Pod, Need::Owners], check).blocked_by(&["TOK11"]);

/// Variables that name a token file, and whose they are.
const VARIABLES: &[(&str, Provider)] = &[
    (env::AWS_WEB_IDENTITY_TOKEN_FILE, Provider::Aws),
    (env::AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, Provider::Aws),
    (env::AZURE_FEDERATED_TOKEN_FILE, Provider::Az),
];

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mut findings = Vec::new();
    let mut any = false;
    for container in pod.containers() {
        for (variable, provider) in VARIABLES {
            let Some(path) = container.variable(variable) else {
                continue;
            };
            any = true;
            let Some((volume, file)) = covering(pod, &container, path) else {
                continue;
            };
            let name = volume.get("name").and_then(Value::as_str).unwrap_or_default();
            let problem = match projected(volume).as_slice() {
                [] => format!("a copy in volume `{name}`, which is {}", kind(volume)),
                paths if paths.contains(&file) => continue,
                paths => format!(
                    "not in volume `{name}`, whose token is `{}`",
                    paths.join("`, `")
                ),
            };
            findings.push(
                Finding::new(
                    "TOK10",
                    format!("the file in `{variable}` of container `{}` is {problem}", container.name()),
                )
                .of(*provider)
                .at(variable_subject(pod, &container, variable))
                .evidence("path", path)
                .fix("take variable and volume out of the pod template, so that the webhook injects both, or name the file of the projected volume")
                .command(format!(
                    "kubectl -n {} set env {} {variable}-",
                    case.namespace_name(),
                    workload(case)
                )),
            );
        }
    }
    Ok(if any {
        Outcome::of(findings)
    } else {
        Outcome::not_applicable("no variable of this pod names a token file")
    })
}

/// The volume under whose mount a path lies, the innermost, and the path in it. Not one that is mounted with `subPath`.
fn covering<'o, 'p>(
    pod: &'o Object,
    container: &Container<'_>,
    path: &'p str,
) -> Option<(&'o Value, &'p str)> {
    let text = |mount: &Value, member: &str| mount.get(member)?.as_str().map(str::to_owned);
    let (mount, file) = container
        .elements("volumeMounts")
        .filter_map(|mount| {
            let at = text(mount, "mountPath")?;
            let rest = path.strip_prefix(at.trim_end_matches('/'))?;
            Some((mount, rest.strip_prefix('/')?))
        })
        .min_by_key(|(_, file)| file.len())?;
    if mount.get("subPath").is_some() || mount.get("subPathExpr").is_some() {
        return None;
    }
    let name = text(mount, "name")?;
    let volume = pod
        .list("/spec/volumes")
        .find(|volume| volume.get("name").and_then(Value::as_str) == Some(name.as_str()))?;
    Some((volume, file))
}

/// Paths of the tokens in a projected volume.
fn projected(volume: &Value) -> Vec<&str> {
    volume
        .pointer("/projected/sources")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|source| source.pointer("/serviceAccountToken/path")?.as_str())
        .collect()
}

/// What a volume is made of, for people.
fn kind(volume: &Value) -> &'static str {
    let has = |member: &str| volume.get(member).is_some();
    if has("secret") {
        "a Secret"
    } else if has("configMap") {
        "a ConfigMap"
    } else if has("emptyDir") {
        "an empty directory"
    } else if has("hostPath") {
        "a directory of the node"
    } else if has("persistentVolumeClaim") {
        "a persistent volume"
    } else {
        "no projected volume with a token"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn the_projected_file_passes() {
        assert_eq!(Fixture::irsa().decide("TOK10"), Ok(Outcome::Pass));
        assert_eq!(Fixture::cwii_az().decide("TOK10"), Ok(Outcome::Pass));
        assert!(matches!(
            Fixture::plain().decide("TOK10"),
            Ok(Outcome::NotApplicable(_))
        ));
    }

    #[test]
    fn a_copy_in_a_secret_is_named() {
        let fixture = Fixture::irsa().pod(|pod| {
            pod["spec"]["volumes"][0] = json!({"name": "aws-iam-token", "secret": {"secretName": "token"}});
        });
        assert_eq!(
            fixture.messages("TOK10"),
            [
                "the file in `AWS_WEB_IDENTITY_TOKEN_FILE` of container `app` is a copy in volume `aws-iam-token`, which is a Secret"
            ]
        );
    }

    #[test]
    fn another_file_name_is_named_with_the_right_one() {
        let fixture = Fixture::irsa().pod(|pod| {
            pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["path"] = json!("jwt");
        });
        assert_eq!(
            fixture.messages("TOK10"),
            [
                "the file in `AWS_WEB_IDENTITY_TOKEN_FILE` of container `app` is not in volume `aws-iam-token`, whose token is `jwt`"
            ]
        );
    }

    #[test]
    fn what_no_volume_covers_and_what_is_under_a_sub_path_is_for_others() {
        let fixture = Fixture::irsa().pod(|pod| pod["spec"]["containers"][0]["volumeMounts"] = json!([]));
        assert_eq!(fixture.decide("TOK10"), Ok(Outcome::Pass));
        let fixture = Fixture::irsa().pod(|pod| {
            pod["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = json!("token");
        });
        assert_eq!(fixture.decide("TOK10"), Ok(Outcome::Pass));
    }
}
