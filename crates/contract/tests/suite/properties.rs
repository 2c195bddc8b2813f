//! What holds for any pod and any annotations, not only for those that somebody thought of.

use std::hash::{DefaultHasher, Hash, Hasher};

use cwii_contract::{Pod, Provider, annotations::ANNOTATIONS, differences, names, plan};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use crate::support::{Answer, Scopes, admit, layers, settings};

proptest! {
    // No file of past failures: a failure becomes a test with a name.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_not_ours_is_unchanged(pod in pod(), scopes in scopes()) {
        if let Ok(answer) = admit(&pod, &scopes, &operators()) {
            let mut stripped = answer.pod;
            strip(&pod, &mut stripped);
            prop_assert_eq!(stripped, without_empty(&pod));
        }
    }

    #[test]
    fn what_is_patched_again_stays_as_it_is(pod in pod(), scopes in scopes()) {
        if let Ok(first) = admit(&pod, &scopes, &operators()) {
            let again = admit(&first.pod, &scopes, &operators()).unwrap();
            prop_assert_eq!(again.patch, b"[]");
            prop_assert_eq!(&again.warnings, &first.warnings);

            let defaulted = defaulted(&first.pod);
            let after_defaulting = admit(&defaulted, &scopes, &operators()).unwrap();
            prop_assert_eq!(after_defaulting.patch, b"[]");
            prop_assert_eq!(after_defaulting.warnings, first.warnings);
        }
    }

    #[test]
    fn the_order_of_members_makes_no_difference(pod in pod(), scopes in scopes(), seed: u64) {
        let reordered_scopes = Scopes {
            workload: scopes
                .workload
                .iter()
                .map(|(kind, name, annotations)| (kind.clone(), name.clone(), reorder_map(annotations, seed)))
                .collect(),
            service_account: reorder_map(&scopes.service_account, seed),
            namespace: reorder_map(&scopes.namespace, seed),
        };
        let one = admit(&pod, &scopes, &operators());
        let other = admit(&reorder(&pod, seed), &reordered_scopes, &operators());
        match (one, other) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(one.patch, other.patch);
                prop_assert_eq!(one.warnings, other.warnings);
                prop_assert_eq!(one.pod, other.pod);
            }
            (Err(one), Err(other)) => prop_assert_eq!(one, other),
            (one, other) => prop_assert!(false, "{one:?} {other:?}"),
        }
    }

    #[test]
    fn the_order_of_layers_makes_no_difference(pod in pod(), scopes in scopes()) {
        let read: Pod = serde_json::from_value(pod).unwrap();
        let layers = layers(&read, &scopes);
        let mut reversed = layers.clone();
        reversed.reverse();
        // Within a scope the nearer object comes first; the order of scopes does not count.
        if scopes.workload.len() < 2 {
            prop_assert_eq!(
                plan(&read, &layers, &operators()),
                plan(&read, &reversed, &operators())
            );
        }
    }

    #[test]
    fn a_patched_pod_is_as_planned_unless_something_clashed(pod in pod(), scopes in scopes()) {
        if let Ok(answer) = admit(&pod, &scopes, &operators()) {
            let clashes = answer.warnings.iter().any(|line| {
                ["is kept", "are kept", "left out", "more warnings"].iter().any(|mark| line.contains(mark))
            });
            // One that was there under our name is recognised by that and its arguments alone.
            let had_ours = elements(&pod["spec"]["initContainers"])
                .any(|container| container["name"].as_str().is_some_and(|name| name.starts_with("cwii-")));
            if !clashes && !had_ours {
                prop_assert_eq!(differences(&defaulted(&answer.pod), &answer.plan), vec![]);
            }
        }
    }

    #[test]
    fn a_variable_or_a_mount_is_never_there_twice(pod in pod(), scopes in scopes()) {
        if let Ok(answer) = admit(&pod, &scopes, &operators()) {
            for (array, key) in [("env", "name"), ("volumeMounts", "mountPath")] {
                for (before, after) in own_containers(&pod).into_iter().zip(own_containers(&answer.pod)) {
                    for element in elements(&after[array]) {
                        let count = |container: &Value| {
                            elements(&container[array]).filter(|other| other[key] == element[key]).count()
                        };
                        prop_assert!(count(&after) <= count(&before).max(1));
                    }
                }
            }
        }
    }

    #[test]
    fn any_json_is_read_or_refused_without_a_panic(value in json(), scopes in scopes()) {
        no_panic(&value, &scopes);
        no_panic(&json!({ "metadata": value, "spec": { "containers": [{ "name": "app" }] } }), &scopes);
        no_panic(&json!({ "spec": value }), &scopes);
        no_panic(&json!({ "spec": { "containers": value } }), &scopes);
        no_panic(&json!({ "spec": { "containers": [value] } }), &scopes);
        no_panic(&json!({ "spec": { "volumes": [value], "containers": [{ "env": [value], "volumeMounts": [value] }] } }), &scopes);
    }

    #[test]
    fn any_annotation_is_answered_in_one_clean_line(
        key in select(all_keys()),
        value in any::<String>(),
        other_key in "\\PC{0,300}",
        mut scopes in scopes(),
    ) {
        scopes.service_account.insert(key, value.clone().into());
        scopes.service_account.insert(format!("cwii.dev/{other_key}"), value.into());
        let pod = json!({ "metadata": {}, "spec": { "containers": [{ "name": "app" }] } });
        let lines = match admit(&pod, &scopes, &operators()) {
            Ok(answer) => answer.warnings,
            Err(denial) => {
                let line = denial.to_string();
                prop_assert!(line.chars().count() < 1024, "{line}");
                vec![line]
            }
        };
        for line in lines {
            prop_assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn deep_nesting_is_skipped_or_refused_without_a_panic() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let pod = format!(
        r#"{{"metadata":{{"x":{deep}}},"spec":{{"y":{deep},"containers":[{{"name":"app","z":{deep}}}]}}}}"#
    );
    // Skipped without recursion: it does not concern us.
    serde_json::from_str::<Pod>(&pod).unwrap();
    let pod = format!(r#"{{"spec":{{"containers":{deep}}}}}"#);
    serde_json::from_str::<Pod>(&pod).unwrap_err();
}

#[test]
fn what_another_webhook_adds_in_between_is_injected_without_touching_the_rest() {
    let pod = json!({
        "metadata": { "name": "web", "annotations": { "cwii.dev/aws-role-arn": "arn:aws:iam::123456789012:role/web", "cwii.dev/aws-verify": "true" } },
        "spec": { "initContainers": [{ "name": "migrate" }], "containers": [{ "name": "app" }] },
    });
    let mut meshed = admit(&pod, &Scopes::default(), &settings()).unwrap().pod;
    let before = meshed.clone();
    let mesh = |name: &str| json!({ "name": name, "image": "mesh", "env": [{ "name": "MESH", "value": "1" }] });
    meshed["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(mesh("mesh-proxy"));
    meshed["spec"]["initContainers"]
        .as_array_mut()
        .unwrap()
        .insert(0, mesh("mesh-init"));
    // It mirrors our image, too.
    meshed["spec"]["initContainers"][1]["image"] = "mirror.example.com/agent".into();
    let again = admit(&meshed, &Scopes::default(), &settings()).unwrap();
    assert!(again.warnings.is_empty(), "{:?}", again.warnings);
    let spec = &again.pod["spec"];
    for container in [&spec["containers"][1], &spec["initContainers"][0]] {
        assert_eq!(container["env"][1]["name"], "AWS_ROLE_ARN");
        assert_eq!(container["volumeMounts"][0]["name"], "cwii-aws-token");
    }
    assert_eq!(spec["containers"][0], before["spec"]["containers"][0]);
    assert_eq!(spec["initContainers"].as_array().unwrap().len(), 3);
    assert_eq!(
        spec["initContainers"][2],
        before["spec"]["initContainers"][1]
    );
    assert_eq!(spec["volumes"], before["spec"]["volumes"]);
}

#[test]
fn missing_init_containers_go_behind_those_of_ours_that_precede_them() {
    let pod = json!({
        "metadata": { "name": "web", "annotations": {
            "cwii.dev/aws-role-arn": "arn:aws:iam::123456789012:role/web", "cwii.dev/aws-verify": "true",
            "cwii.dev/gcp-inject": "true", "cwii.dev/gcp-verify": "true",
            "cwii.dev/gcp-audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        } },
        "spec": { "initContainers": [
            { "name": "first" },
            { "name": "cwii-aws-verify", "args": ["verify", "aws"] },
            { "name": "last" },
        ], "containers": [{ "name": "app" }] },
    });
    let answer = admit(&pod, &Scopes::default(), &settings()).unwrap();
    let names: Vec<_> = elements(&answer.pod["spec"]["initContainers"])
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "cwii-gcp-creds-writer",
            "first",
            "cwii-aws-verify",
            "cwii-gcp-verify",
            "last"
        ]
    );
}

fn no_panic(value: &Value, scopes: &Scopes) {
    let Ok(pod) = serde_json::from_value::<Pod>(value.clone()) else {
        return;
    };
    let _ = (pod.workload(), pod.is_windows(), pod.service_account_name());
    let answer: Result<Answer, _> = admit(value, scopes, &operators());
    if let Ok(answer) = answer {
        let _ = (
            differences(value, &answer.plan),
            differences(&answer.pod, &answer.plan),
        );
    }
}

/// An operator who allows everything.
fn operators() -> cwii_contract::Settings {
    let mut settings = settings();
    settings.native_annotations = true;
    settings.config_map_delivery = true;
    settings
}

// Pods

const POOL: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q";

fn pod() -> impl Strategy<Value = Value> {
    (
        maybe(annotations()),
        vec(container(), 1..4),
        maybe(vec(container(), 0..3).prop_map(Value::from)),
        maybe(vec(volume(), 0..3).prop_map(Value::from)),
        maybe(run_as()),
        unknown(),
        unknown(),
        unknown(),
    )
        .prop_map(
            |(annotations, containers, init_containers, volumes, run_as, a, b, c)| {
                let metadata = object(
                    [("name", Some("web".into())), ("annotations", annotations)],
                    a,
                );
                let spec = object(
                    [
                        ("initContainers", init_containers),
                        ("containers", Some(containers.into())),
                        ("volumes", volumes),
                        ("securityContext", run_as),
                    ],
                    b,
                );
                object([("metadata", Some(metadata)), ("spec", Some(spec))], c)
            },
        )
}

fn container() -> impl Strategy<Value = Value> {
    (
        select(vec![
            "app",
            "helper",
            "cwii-aws-verify",
            "cwii-gcp-creds-writer",
            "a~/b",
        ]),
        maybe(vec(variable(), 0..4).prop_map(Value::from)),
        maybe(vec(mount(), 0..3).prop_map(Value::from)),
        maybe(run_as()),
        option::of(select(vec![
            json!(["verify", "aws"]),
            json!([]),
            Value::Null,
        ])),
        unknown(),
    )
        .prop_map(|(name, env, mounts, run_as, args, unknown)| {
            object(
                [
                    ("name", Some(name.into())),
                    ("env", env),
                    ("volumeMounts", mounts),
                    ("securityContext", run_as),
                    ("args", args),
                ],
                unknown,
            )
        })
}

fn variable() -> impl Strategy<Value = Value> {
    (
        select(vec![
            "LOG",
            "AWS_ROLE_ARN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_REGION",
            "AZURE_TENANT_ID",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "AWS_ACCESS_KEY_ID",
        ]),
        option::of(select(vec![
            "/var/run/secrets/cwii.dev/aws/token",
            "arn:aws:iam::123456789012:role/web",
            "own",
        ])),
        unknown(),
    )
        .prop_map(|(name, value, unknown)| {
            object(
                [
                    ("name", Some(name.into())),
                    ("value", value.map(Value::from)),
                ],
                unknown,
            )
        })
}

fn mount() -> impl Strategy<Value = Value> {
    (
        select(vec!["data", "cwii-aws-token", "cwii-gcp-creds"]),
        select(vec![
            "/data",
            "/var/run/secrets/cwii.dev/aws",
            "/var/run/secrets/cwii.dev/aws/",
            "/var/run/secrets/cwii.dev/gcp-creds",
        ]),
        unknown(),
    )
        .prop_map(|(name, path, unknown)| {
            object(
                [
                    ("name", Some(name.into())),
                    ("mountPath", Some(path.into())),
                ],
                unknown,
            )
        })
}

fn volume() -> impl Strategy<Value = Value> {
    (
        select(vec!["data", "cwii-aws-token", "cwii-gcp-creds", "cwii-verify-scratch"]),
        select(vec![
            json!({ "emptyDir": {} }),
            json!({ "projected": { "sources": [{ "serviceAccountToken": { "path": "token", "audience": "sts.amazonaws.com", "expirationSeconds": 3600 } }] } }),
            json!({ "projected": { "sources": null } }),
            json!({ "hostPath": { "path": "/" } }),
        ]),
        unknown(),
    )
        .prop_map(|(name, source, unknown)| {
            let mut volume = object([("name", Some(name.into()))], unknown);
            volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            volume
        })
}

fn run_as() -> impl Strategy<Value = Value> {
    (
        select(vec![json!(null), json!(0), json!(1000), json!(2000)]),
        unknown(),
    )
        .prop_map(|(user, unknown)| object([("runAsUser", Some(user))], unknown))
}

/// Members that nobody here knows, with names that sort anywhere.
fn unknown() -> impl Strategy<Value = Map<String, Value>> {
    vec(
        (
            select(vec!["aNewField", "lifecycle", "zone/~x", "tolerations"]),
            json(),
        ),
        0..3,
    )
    .prop_map(|members| {
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    })
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let names = select(vec![
            "name",
            "env",
            "containers",
            "metadata",
            "annotations",
            "x",
        ]);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((names, inner), 0..4).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            }),
        ]
    })
}

fn maybe(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![1 => Just(None), 1 => Just(Some(Value::Null)), 4 => value.prop_map(Some)]
}

fn object<const N: usize>(known: [(&str, Option<Value>); N], unknown: Map<String, Value>) -> Value {
    let mut object = unknown;
    for (name, value) in known {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    }
    object.into()
}

// Annotations

fn scopes() -> impl Strategy<Value = Scopes> {
    (
        annotations(),
        annotations(),
        annotations(),
        annotations(),
        any::<bool>(),
    )
        .prop_map(|(job, cron_job, account, namespace, has_cron_job)| {
            let map = |value: Value| value.as_object().unwrap().clone();
            let mut workload = vec![("Job".to_owned(), "j".to_owned(), map(job))];
            if has_cron_job {
                workload.push(("CronJob".to_owned(), "c".to_owned(), map(cron_job)));
            }
            Scopes {
                workload,
                service_account: map(account),
                namespace: map(namespace),
            }
        })
}

fn annotations() -> impl Strategy<Value = Value> {
    let some = select(vec![
        (
            "cwii.dev/aws-role-arn",
            "arn:aws:iam::123456789012:role/web",
        ),
        ("cwii.dev/aws-region", "eu-central-1"),
        ("cwii.dev/aws-inject", "false"),
        ("cwii.dev/aws-verify", "true"),
        ("cwii.dev/aws-verify", "yes"),
        ("cwii.dev/aws-verify-image", "amazon/aws-cli:2"),
        ("cwii.dev/aws-token-expiration", "60"),
        ("cwii.dev/az-inject", "true"),
        (
            "cwii.dev/az-client-id",
            "11111111-1111-1111-1111-111111111111",
        ),
        (
            "cwii.dev/az-tenant-id",
            "22222222-2222-2222-2222-222222222222",
        ),
        ("cwii.dev/az-verify", "true"),
        ("cwii.dev/gcp-inject", "true"),
        ("cwii.dev/gcp-audience", POOL),
        ("cwii.dev/gcp-verify", "true"),
        ("cwii.dev/gcp-delivery", "config-map"),
        (
            "cwii.dev/gcp-service-account",
            "reader@demo.iam.gserviceaccount.com",
        ),
        ("cwii.dev/skip-containers", "helper, logs"),
        ("cwii.dev/injected", "gcp"),
        ("cwii.dev/misspelt", "x"),
        ("cwii.dev/aws-audience", "$(HOME)$$"),
        (
            "eks.amazonaws.com/role-arn",
            "arn:aws:iam::123456789012:role/native",
        ),
        (
            "azure.workload.identity/client-id",
            "33333333-3333-3333-3333-333333333333",
        ),
        ("example.com/other", "x"),
    ]);
    vec(some, 0..8).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), Value::from(value)))
            .collect()
    })
}

fn all_keys() -> Vec<String> {
    ANNOTATIONS
        .iter()
        .flat_map(|row| {
            let native = row.native.iter().map(|(_, key)| (*key).to_owned());
            Provider::ALL
                .map(|provider| row.full_key(provider))
                .into_iter()
                .chain(native)
        })
        .collect()
}

// Comparisons

/// Takes out of a patched pod what a webhook may have added to the pod that it was.
fn strip(before: &Value, after: &mut Value) {
    let outputs = ["cwii.dev/injected", "cwii.dev/webhook-version"];
    if let Some(annotations) = after
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        for key in outputs {
            match before
                .pointer("/metadata/annotations")
                .and_then(|a| a.get(key))
            {
                Some(value) => annotations.insert(key.to_owned(), value.clone()),
                None => annotations.shift_remove(key),
            };
        }
    }
    let volumes = [names::GCP_CREDENTIALS_VOLUME, names::VERIFY_SCRATCH_VOLUME]
        .into_iter()
        .chain(Provider::ALL.map(names::token_volume));
    let volumes: Vec<_> = volumes.collect();
    cut(
        &before["spec"]["volumes"],
        &mut after["spec"]["volumes"],
        |volume| volumes.contains(&volume["name"].as_str().unwrap()),
    );
    // Ours are put in front of, or between, those of the pod: what is left has to be the pod's own, in its order.
    let ours = [names::GCP_CREDENTIALS_WRITER]
        .into_iter()
        .chain(Provider::ALL.map(names::verify_container));
    for name in ours {
        let was_there =
            elements(&before["spec"]["initContainers"]).any(|container| container["name"] == name);
        if let Some(containers) = after["spec"]["initContainers"]
            .as_array_mut()
            .filter(|_| !was_there)
        {
            containers.retain(|container| container["name"] != name);
        }
    }
    for array in ["initContainers", "containers"] {
        let own: Vec<Value> = elements(&before["spec"][array]).cloned().collect();
        for (before, after) in own
            .iter()
            .zip(after["spec"][array].as_array_mut().into_iter().flatten())
        {
            cut(&before["env"], &mut after["env"], |variable| {
                ["AWS_", "AZURE_", "GOOGLE_", "CLOUDSDK_"]
                    .iter()
                    .any(|prefix| variable["name"].as_str().unwrap().starts_with(prefix))
            });
            cut(
                &before["volumeMounts"],
                &mut after["volumeMounts"],
                |mount| volumes.contains(&mount["name"].as_str().unwrap()),
            );
        }
    }
    *after = without_empty(after);
}

/// Cuts an array to what it was, if all that follows is ours.
fn cut(before: &Value, after: &mut Value, is_ours: impl Fn(&Value) -> bool) {
    if let Some(after) = after.as_array_mut() {
        let length = elements(before).count();
        if after.iter().skip(length).all(is_ours) {
            after.truncate(length);
        }
    }
}

/// `null`, an empty array and an absent member are one to the API server, and the patch fills each of them.
fn without_empty(value: &Value) -> Value {
    fn is_empty(value: &Value) -> bool {
        value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(Map::is_empty)
    }
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), without_empty(value)))
            .filter(|(_, value)| !is_empty(value))
            .collect(),
        Value::Array(elements) => elements.iter().map(without_empty).collect(),
        other => other.clone(),
    }
}

/// What an API server adds to a pod between two invocations.
fn defaulted(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let spec = &mut pod["spec"];
    for volume in spec["volumes"].as_array_mut().into_iter().flatten() {
        for source in ["projected", "configMap"] {
            if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
                source.insert("defaultMode".into(), 420.into());
            }
        }
    }
    for array in ["initContainers", "containers"] {
        for container in spec[array].as_array_mut().into_iter().flatten() {
            container["terminationMessagePath"] = "/dev/termination-log".into();
            container["terminationMessagePolicy"] = "File".into();
            for mount in container["volumeMounts"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                mount["recursiveReadOnly"] = "Disabled".into();
            }
        }
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|_, value| !value.is_null());
        spec.insert("restartPolicy".into(), "Always".into());
        spec.insert("dnsPolicy".into(), "ClusterFirst".into());
    }
    pod
}

fn own_containers(pod: &Value) -> Vec<Value> {
    let is_ours = |container: &Value| {
        container["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("cwii-"))
    };
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|array| {
            elements(&pod["spec"][array])
                .filter(|c| !is_ours(c))
                .cloned()
                .collect::<Vec<_>>()
        })
        .collect()
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn reorder(value: &Value, seed: u64) -> Value {
    match value {
        Value::Object(members) => reorder_map(members, seed).into(),
        Value::Array(elements) => elements
            .iter()
            .map(|element| reorder(element, seed))
            .collect(),
        other => other.clone(),
    }
}

fn reorder_map(members: &Map<String, Value>, seed: u64) -> Map<String, Value> {
    let mut members: Vec<_> = members
        .iter()
        .map(|(name, value)| (name.clone(), reorder(value, seed)))
        .collect();
    members.sort_by_key(|(name, _)| {
        let mut hasher = DefaultHasher::new();
        (seed, name).hash(&mut hasher);
        hasher.finish()
    });
    members.into_iter().collect()
}
