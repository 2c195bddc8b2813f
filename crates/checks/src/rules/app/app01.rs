//! Static credentials in a container win over federation.
//!
//! ## What it checks
//!
//! For each cloud that a container has an identity of: variables that the SDK reads before the web identity token
//! (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`), whether literal, from a Secret or from a ConfigMap of `envFrom`; Secrets mounted where
//! SDKs look for files (`~/.aws`, `~/.config/gcloud`); and `GOOGLE_APPLICATION_CREDENTIALS` that points into a mounted Secret.
//! Secrets themselves are never read. `AZURE_CLIENT_SECRET` and its like are AZ10's.
//!
//! ## Why it matters
//!
//! Every SDK has an order, and stops at the first source that has something. The pod works with an old key, until somebody
//! deletes it; or it fails with the rights of somebody else, while the federation is in order.
//!
//! ## How it looks
//!
//! ```text
//! An error occurred (InvalidAccessKeyId) when calling the ListBuckets operation: The AWS Access Key Id you provided does not exist in our records.
//! ```
//!
//! ## How to fix it
//!
//! Remove the variables or the mount from the pod template, then delete the key at the cloud.
//!
//! ## How to verify the fix
//!
//! `kubectl exec POD -- aws sts get-caller-identity` shows `assumed-role`, not `user`.
//!
//! ## References
//!
//! - AWS, "Configuration and credential file settings in the AWS CLI", section "precedence":
//!   <https://docs.aws.amazon.com/cli/latest/userguide/cli-chap-configure.html#configure-precedence>
//! - Google Cloud, "How Application Default Credentials works":
//!   <https://cloud.google.com/docs/authentication/application-default-credentials>

use std::collections::BTreeSet;

use cwii_contract::{Provider, env, names};
use serde_json::Value;

use crate::{
    doctor::{Case, Container, Gap, MechanismKind, Need, Object, Outcome, Rule, variable_subject},
    report::{Applicability, Finding},
    rules::words::{Place, kubectl, patch, quote, restarted},
};

pub(super) const RULE: Rule = Rule::new(
    "APP01",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::ConfigMaps,
    ],
    check,
)
.blocked_by(&["GKE09", "AZ10"]);

/// Read by every AWS SDK before the web identity variables.
const AWS_STATIC: [&str; 2] = [env::AWS_ACCESS_KEY_ID, env::AWS_SECRET_ACCESS_KEY];
/// A profile's own settings come before the web identity variables in most SDKs, and one that does not exist is an error.
const AWS_PROFILES: [&str; 2] = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"];

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mechanisms = case.mechanisms();
    let providers: BTreeSet<Provider> = mechanisms
        .iter()
        .filter(|mechanism| mechanism.injected || mechanism.asked_by.is_some())
        .map(|mechanism| mechanism.provider)
        .collect();
    if providers.is_empty() {
        return Ok(Outcome::not_applicable("no cloud is asked for"));
    }
    let mut findings = Vec::new();
    let mut unread = None;
    for container in pod.containers().filter(|container| container.list != "ephemeralContainers") {
        if Provider::ALL.iter().any(|provider| container.name() == names::verify_container(*provider)) {
            continue;
        }
        if providers.contains(&Provider::Aws) {
            findings.extend(keys(case, pod, &container));
            match of_config_maps(case, pod, &container, &AWS_STATIC) {
                Ok(found) => findings.extend(found.map(|finding| finding.of(Provider::Aws))),
                Err(gap) => unread = Some(gap),
            }
            findings.extend(
                mounted(case, pod, &container, &["/.aws", "/.aws/credentials", "/.aws/config"])
                    .map(|finding| finding.of(Provider::Aws)),
            );
        }
        if providers.contains(&Provider::Gcp) {
            let by_variable = mechanisms
                .iter()
                .any(|mechanism| mechanism.provider == Provider::Gcp && mechanism.kind != MechanismKind::Manual);
            if by_variable {
                findings.extend(key_file(case, pod, &container));
            }
            findings.extend(
                mounted(case, pod, &container, &["/.config/gcloud"])
                    .filter(|_| !container.has_variable(env::GOOGLE_APPLICATION_CREDENTIALS))
                    .map(|finding| finding.of(Provider::Gcp)),
            );
        }
    }
    match unread {
        Some(gap) if findings.is_empty() => Err(gap),
        _ => Ok(Outcome::of(findings)),
    }
}

/// Access keys and profiles in a container's own variables.
fn keys(case: &Case<'_>, pod: &Object, container: &Container<'_>) -> Option<Finding> {
    let of = |names: &[&'static str]| -> Vec<&'static str> {
        names.iter().copied().filter(|name| is_set(container, name)).collect()
    };
    let mut found = of(&AWS_STATIC);
    let is_profile = found.is_empty();
    if is_profile {
        found = of(&AWS_PROFILES);
    }
    let first = *found.first()?;
    let name = container.name();
    let finding = if is_profile {
        Finding::new(
            "APP01",
            format!("container `{name}` has `{first}`, whose profile SDKs prefer to the web identity variables"),
        )
        // A profile may say nothing about credentials.
        .warning()
        .evidence("value", container.variable(first).unwrap_or("from elsewhere"))
    } else {
        Finding::new(
            "APP01",
            format!("container `{name}` has `{first}`, which SDKs prefer to the web identity token"),
        )
        .evidence("source", source(container, first))
    };
    let finding = finding
        .of(Provider::Aws)
        .at(variable_subject(pod, container, first))
        .fix("remove the variables from the pod template");
    Some(without_variables(case, container, finding, &found))
}

/// `envFrom` a ConfigMap that has such a variable.
fn of_config_maps(
    case: &Case<'_>,
    pod: &Object,
    container: &Container<'_>,
    names: &[&'static str],
) -> Result<impl Iterator<Item = Finding>, Gap> {
    let mut findings = Vec::new();
    for (index, from) in container.elements("envFrom").enumerate() {
        let Some(map) = from.pointer("/configMapRef/name").and_then(Value::as_str) else {
            continue;
        };
        let prefix = from.get("prefix").and_then(Value::as_str).unwrap_or_default();
        let maps = case.config_maps()?.map(Vec::as_slice).unwrap_or_default();
        let Some(map) = maps.iter().find(|found| found.name() == map) else {
            continue;
        };
        let found = names.iter().find(|name| {
            let key = name.strip_prefix(prefix).unwrap_or(name);
            map.get("/data").and_then(|data| data.get(key)).is_some() && !is_set(container, name)
        });
        let Some(found) = found else { continue };
        findings.push(
            Finding::new(
                "APP01",
                format!(
                    "container `{}` takes `{found}` from ConfigMap `{}`, and SDKs prefer it to the web identity token",
                    container.name(),
                    map.name()
                ),
            )
            .at(pod.subject_at(
                &format!("{}/envFrom/{index}", container.pointer()),
                format!("`envFrom` of container `{}`", container.name()),
            ))
            .fix("remove the keys from the ConfigMap, and restart the workload")
            .command(patch(map, &Value::Array(
                names
                    .iter()
                    .map(|name| name.strip_prefix(prefix).unwrap_or(name))
                    .filter(|key| map.get("/data").and_then(|data| data.get(*key)).is_some())
                    .map(|key| serde_json::json!({"op": "remove", "path": format!("/data/{key}")}))
                    .collect(),
            )))
            .applicable(Applicability::Unsafe),
        );
    }
    Ok(findings
        .into_iter()
        .map(|finding| restarted(finding, case))
        .collect::<Vec<_>>()
        .into_iter())
}

/// A Secret mounted where an SDK looks for a file of its own.
fn mounted(
    case: &Case<'_>,
    pod: &Object,
    container: &Container<'_>,
    ends: &[&str],
) -> impl Iterator<Item = Finding> {
    let mut findings = Vec::new();
    for (index, mount) in container.elements("volumeMounts").enumerate() {
        let text = |member: &str| mount.get(member).and_then(Value::as_str).unwrap_or_default();
        let path = text("mountPath").trim_end_matches('/');
        if !ends.iter().any(|end| path.ends_with(end)) {
            continue;
        }
        let Some(secret) = secret_of(pod, text("name")) else {
            continue;
        };
        findings.push(
            Finding::new(
                "APP01",
                format!(
                    "container `{}` has Secret `{secret}` mounted at `{path}`, where SDKs look for credentials first",
                    container.name()
                ),
            )
            .at(pod.subject_at(
                &format!("{}/volumeMounts/{index}", container.pointer()),
                format!("mount at `{path}` of container `{}`", container.name()),
            ))
            .fix("remove the mount from the pod template"),
        );
    }
    findings
        .into_iter()
        .map(|finding| without_mounts(case, container, finding))
        .collect::<Vec<_>>()
        .into_iter()
}

/// `GOOGLE_APPLICATION_CREDENTIALS` that names a file of a Secret.
fn key_file(case: &Case<'_>, pod: &Object, container: &Container<'_>) -> Option<Finding> {
    let name = env::GOOGLE_APPLICATION_CREDENTIALS;
    let path = container.variable(name)?;
    let mount = container.elements("volumeMounts").find(|mount| {
        let at = mount
            .get("mountPath")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim_end_matches('/');
        !at.is_empty() && path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })?;
    let secret = secret_of(pod, mount.get("name")?.as_str()?)?;
    let finding = Finding::new(
        "APP01",
        format!(
            "`{name}` of container `{}` is `{path}`, a file of Secret `{secret}`: a key that wins over federation",
            container.name()
        ),
    )
    .of(Provider::Gcp)
    .at(variable_subject(pod, container, name))
    .fix("remove the variable and the Secret's mount from the pod template");
    Some(without_variables(case, container, finding, &[name]))
}

/// A variable that is set to something; an empty literal is none.
fn is_set(container: &Container<'_>, name: &str) -> bool {
    container.has_variable(name) && container.variable(name) != Some("")
}

fn source(container: &Container<'_>, name: &str) -> String {
    let element = container
        .variables()
        .filter(|(_, found, _)| *found == name)
        .last()
        .map(|(_, _, element)| element);
    let reference = |kind: &str| {
        let of = element?.pointer(&format!("/valueFrom/{kind}/name"))?.as_str()?;
        Some(of.to_owned())
    };
    if let Some(secret) = reference("secretKeyRef") {
        format!("Secret `{secret}`")
    } else if let Some(map) = reference("configMapKeyRef") {
        format!("ConfigMap `{map}`")
    } else {
        // The value is a credential.
        "a literal value".to_owned()
    }
}

fn secret_of(pod: &Object, volume: &str) -> Option<String> {
    let volume = pod
        .list("/spec/volumes")
        .find(|found| found.get("name").and_then(Value::as_str) == Some(volume))?;
    let direct = volume.pointer("/secret/secretName");
    let projected = volume
        .pointer("/projected/sources")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find_map(|source| source.pointer("/secret/name"));
    direct.or(projected)?.as_str().map(str::to_owned)
}

/// The command that takes variables out of the template.
fn without_variables(
    case: &Case<'_>,
    container: &Container<'_>,
    finding: Finding,
    names: &[&str],
) -> Finding {
    let Some(place) = Place::of_pod(case).filter(|place| {
        place.template.is_some() && ["Deployment", "StatefulSet", "DaemonSet", "CronJob"].contains(&place.object.kind())
    }) else {
        return finding;
    };
    let gone: Vec<String> = names.iter().map(|name| format!("{name}-")).collect();
    finding
        .command(format!(
            "{} set env {}/{} -c {} {}",
            kubectl(place.object),
            place.object.kind().to_lowercase(),
            quote(place.object.name()),
            quote(container.name()),
            gone.join(" ")
        ))
        .applicable(Applicability::Unsafe)
}

/// The command that takes a mount out of the template.
fn without_mounts(case: &Case<'_>, container: &Container<'_>, finding: Finding) -> Finding {
    let Some(Place {
        object,
        template: Some(template),
    }) = Place::of_pod(case)
    else {
        return finding;
    };
    let list = format!("{template}/spec/{}", container.list);
    let Some(index) = object
        .list(&list)
        .position(|found| found.get("name").and_then(Value::as_str) == Some(container.name()))
    else {
        return finding;
    };
    let Some(path) = finding
        .subject
        .as_ref()
        .and_then(|subject| subject.what.as_deref())
        .and_then(|what| what.split('`').nth(1))
    else {
        return finding;
    };
    let mounts = format!("{list}/{index}/volumeMounts");
    let Some(mount) = object.list(&mounts).position(|mount| {
        mount
            .get("mountPath")
            .and_then(Value::as_str)
            .is_some_and(|found| found.trim_end_matches('/') == path)
    }) else {
        return finding;
    };
    let operations = serde_json::json!([{"op": "remove", "path": format!("{mounts}/{mount}")}]);
    finding
        .command(patch(object, &operations))
        .applicable(Applicability::Unsafe)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        Severity,
        doctor::{Object, Outcome},
        facts::Fact,
        report::Finding,
        rules::fixture::{Fixture, edit},
    };

    /// The container of template and pod, changed alike.
    fn with(fixture: Fixture, change: impl Fn(&mut Value)) -> Fixture {
        fixture
            .pod(|pod| {
                let containers = pod["spec"]["containers"].as_array_mut().unwrap();
                change(&mut containers[0]);
            })
            .with(|facts| {
                for owner in &mut facts.owners {
                    edit(&mut owner.object, |object| {
                        change(&mut object["spec"]["template"]["spec"]["containers"][0]);
                    });
                }
            })
    }

    fn push(container: &mut Value, member: &str, element: Value) {
        if container[member].is_null() {
            container[member] = json!([]);
        }
        container[member].as_array_mut().unwrap().push(element);
    }

    fn found(fixture: &Fixture) -> Finding {
        match fixture.decide("APP01") {
            Ok(Outcome::Found(mut findings)) if findings.len() == 1 => findings.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn federation_alone_passes() {
        for fixture in [Fixture::irsa(), Fixture::cwii_all()] {
            assert_eq!(fixture.decide("APP01"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn keys_of_a_secret_are_found_by_name_and_taken_out() {
        let key = |name: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "aws-keys", "key": name}}});
        let fixture = with(Fixture::irsa(), |container| {
            push(container, "env", key("AWS_ACCESS_KEY_ID"));
            push(container, "env", key("AWS_SECRET_ACCESS_KEY"));
        });
        let finding = found(&fixture);
        assert_eq!(
            finding.message,
            "container `app` has `AWS_ACCESS_KEY_ID`, which SDKs prefer to the web identity token"
        );
        assert!(finding.evidence.iter().any(|e| e.value == "Secret `aws-keys`"));
        assert_eq!(
            finding.fix.commands,
            ["kubectl -n shop set env deployment/checkout -c app AWS_ACCESS_KEY_ID- AWS_SECRET_ACCESS_KEY-"]
        );
    }

    #[test]
    fn a_literal_key_never_shows_its_value() {
        let fixture = with(Fixture::cwii_aws(), |container| {
            push(container, "env", json!({"name": "AWS_SECRET_ACCESS_KEY", "value": "hush"}));
        });
        assert!(!format!("{:?}", found(&fixture)).contains("hush"));
    }

    #[test]
    fn a_profile_is_a_warning() {
        let fixture = with(Fixture::irsa(), |container| {
            push(container, "env", json!({"name": "AWS_PROFILE", "value": "prod"}));
        });
        assert_eq!(found(&fixture).severity(), Severity::Warning);
    }

    #[test]
    fn keys_of_a_config_map_are_found_where_it_may_be_read() {
        let fixture = with(Fixture::irsa(), |container| {
            push(container, "envFrom", json!({"configMapRef": {"name": "settings"}}));
        });
        let known = fixture.clone().with(|facts| {
            facts.config_maps = Fact::Known(vec![Object::new(json!({"kind": "ConfigMap",
                "metadata": {"name": "settings", "namespace": "shop"}, "data": {"AWS_ACCESS_KEY_ID": "x"}}))]);
        });
        assert_eq!(
            found(&known).message,
            "container `app` takes `AWS_ACCESS_KEY_ID` from ConfigMap `settings`, and SDKs prefer it to the web identity \
             token"
        );
        let denied = fixture.with(|facts| facts.config_maps = Fact::Denied("get configmaps".into()));
        assert!(denied.decide("APP01").is_err());
    }

    #[test]
    fn a_secret_at_the_place_of_the_shared_credentials_is_found() {
        let volume = json!({"name": "aws", "secret": {"secretName": "aws-config"}});
        let fixture = with(Fixture::irsa(), |container| {
            push(container, "volumeMounts", json!({"name": "aws", "mountPath": "/home/app/.aws"}));
        })
        .pod(|pod| pod["spec"]["volumes"].as_array_mut().unwrap().push(volume));
        let finding = found(&fixture);
        assert_eq!(
            finding.message,
            "container `app` has Secret `aws-config` mounted at `/home/app/.aws`, where SDKs look for credentials first"
        );
        assert!(finding.fix.commands[0].contains("/spec/template/spec/containers/0/volumeMounts/0"));
    }

    #[test]
    fn a_google_key_of_a_secret_is_found() {
        let fixture = with(Fixture::plain(), |container| {
            push(container, "env", json!({"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": "/keys/key.json"}));
            push(container, "volumeMounts", json!({"name": "keys", "mountPath": "/keys"}));
        })
        .pod(|pod| pod["spec"]["volumes"] = json!([{"name": "keys", "secret": {"secretName": "gcp-key"}}]))
        .service_account(|account| {
            account["metadata"]["annotations"] = json!({"cwii.dev/gcp-inject": "true",
                "cwii.dev/gcp-audience": crate::rules::fixture::cwii::PROVIDER});
        });
        assert_eq!(
            found(&fixture).message,
            "`GOOGLE_APPLICATION_CREDENTIALS` of container `app` is `/keys/key.json`, a file of Secret `gcp-key`: a key that \
             wins over federation"
        );
    }

    #[test]
    fn a_pod_that_asks_no_cloud_may_have_any_key() {
        assert!(matches!(Fixture::plain().decide("APP01"), Ok(Outcome::NotApplicable(_))));
    }
}
