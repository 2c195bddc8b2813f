//! Every fixture comes out as it is written down, and comes out the same when it is admitted again.

use std::{env, fs, path::Path};

use cwii_contract::differences;
use serde_json::Value;

use crate::support::{admit, fixtures};

#[test]
fn golden_pods_come_out_as_written_down() {
    let update = env::var_os("CWII_UPDATE_GOLDEN").is_some();
    for fixture in fixtures().into_values() {
        let answer = admit(&fixture.pod, &fixture.scopes, &fixture.settings).unwrap();
        let lines = answer
            .warnings
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        let config_maps =
            (!answer.config_maps.is_empty()).then(|| pretty(&answer.config_maps.into()));
        for (file, actual) in [
            ("patched.json", Some(pretty(&answer.pod))),
            ("config-maps.json", config_maps),
            (
                "warnings.txt",
                Some(lines).filter(|lines| !lines.is_empty()),
            ),
        ] {
            let path = fixture.directory.join(file);
            if update {
                write(&path, actual.as_deref());
            } else {
                let expected = fs::read_to_string(&path).ok();
                assert_eq!(actual, expected, "{}/{file}", fixture.name);
            }
        }
    }
}

#[test]
fn a_golden_pod_that_is_admitted_again_stays_as_it_is() {
    for fixture in fixtures().into_values() {
        let first = admit(&fixture.pod, &fixture.scopes, &fixture.settings).unwrap();
        let second = admit(&first.pod, &fixture.scopes, &fixture.settings).unwrap();
        assert_eq!(second.patch, b"[]", "{}", fixture.name);
        let new: Vec<_> = second
            .warnings
            .iter()
            .filter(|line| !first.warnings.contains(line))
            .collect();
        assert!(new.is_empty(), "{}: {new:?}", fixture.name);
    }
}

#[test]
fn a_golden_pod_differs_from_its_plan_only_where_it_had_something_of_its_own() {
    for fixture in fixtures().into_values() {
        let answer = admit(&fixture.pod, &fixture.scopes, &fixture.settings).unwrap();
        let differences = differences(&answer.pod, &answer.plan);
        let pointers: Vec<_> = differences.iter().map(|d| d.pointer.as_str()).collect();
        let expected: &[&str] = match fixture.name.as_str() {
            "aws-existing-env" => &[
                "/spec/containers/0/env/0/value",
                "/spec/containers/0/env/-",
                "/spec/containers/1/env/0/value",
                "/spec/containers/1/env/-",
            ],
            "aws-existing-volume" => &["/spec/volumes/0/projected"],
            "aws-same-mount-path" => &[
                "/spec/containers/0/volumeMounts/0/name",
                "/spec/containers/0/volumeMounts/0/readOnly",
            ],
            "aws-existing-init-container" => &[
                "/spec/initContainers/0/image",
                "/spec/initContainers/0/args",
                "/spec/initContainers/0/env/-",
                "/spec/initContainers/0/env/-",
                "/spec/initContainers/0/resources/limits/memory",
                "/spec/initContainers/0/volumeMounts/-",
                "/spec/initContainers/0/imagePullPolicy",
                "/spec/initContainers/0/securityContext/readOnlyRootFilesystem",
                "/spec/initContainers/0/securityContext/runAsNonRoot",
                "/spec/initContainers/0/securityContext/runAsUser",
                "/spec/initContainers/0/securityContext/seccompProfile",
            ],
            _ => &[],
        };
        assert_eq!(pointers, expected, "{}", fixture.name);
    }
}

#[test]
fn a_golden_pod_that_was_missed_differs_wherever_the_patch_would_have_added() {
    for fixture in fixtures().into_values() {
        let answer = admit(&fixture.pod, &fixture.scopes, &fixture.settings).unwrap();
        let differences = differences(&fixture.pod, &answer.plan);
        assert_eq!(
            differences.is_empty(),
            !answer.plan.injects(),
            "{}",
            fixture.name
        );
        for difference in differences {
            let there = fixture
                .pod
                .pointer(&difference.pointer)
                .filter(|v| !v.is_null());
            assert_eq!(there, difference.found.as_ref(), "{}", fixture.name);
        }
    }
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

fn write(path: &Path, content: Option<&str>) {
    match content {
        Some(content) => fs::write(path, content).unwrap(),
        None if path.exists() => fs::remove_file(path).unwrap(),
        None => {}
    }
}
