//! The doctor on a live cluster: what it says there is what it says of the same objects in files, and what it may not read
//! it says too.

use std::{collections::BTreeMap, fs, path::Path, process::Stdio};

use cwii_e2e::{
    Api, ControlPlane, FailurePolicy, Object, Replica, Webhook, binary, control_plane, until,
};
use cwii_lab::{Case, Document, Mechanism, Workload};
use serde_json::{Value, json};

use crate::support::{annotations, injected, pod_of, restricted, service_account, workload};

/// What one run of the doctor came to.
struct Diagnosis {
    code: i32,
    report: Value,
    stderr: String,
}

/// Runs the doctor for JSON.
async fn doctor(plane: &ControlPlane, kubeconfig: &Path, arguments: &[&str]) -> Diagnosis {
    let output = tokio::process::Command::new(binary("kubectl-cwii").unwrap())
        .args(["doctor", "-o", "json"])
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", &plane.dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Diagnosis {
        code: output.status.code().unwrap(),
        report: serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "{error} in `{}`, {stderr}",
                String::from_utf8_lossy(&output.stdout)
            )
        }),
        stderr,
    }
}

impl Diagnosis {
    fn results(&self) -> &[Value] {
        self.report["results"].as_array().unwrap()
    }

    /// Code, state, message and pointer of everything that is wrong, in the report's order.
    fn findings(&self) -> Vec<(&str, &str, &str, &str)> {
        self.results()
            .iter()
            .filter(|result| result["status"] == "fail" || result["status"] == "warn")
            .map(|result| {
                (
                    result["code"].as_str().unwrap_or_default(),
                    result["status"].as_str().unwrap_or_default(),
                    result["message"].as_str().unwrap_or_default(),
                    result["subject"]["pointer"].as_str().unwrap_or_default(),
                )
            })
            .collect()
    }

    /// The state of each code.
    fn states(&self) -> BTreeMap<&str, &str> {
        self.results()
            .iter()
            .map(|result| {
                (
                    result["code"].as_str().unwrap(),
                    result["status"].as_str().unwrap(),
                )
            })
            .collect()
    }

    /// What could not be settled: code and reason.
    fn unknown(&self) -> Vec<(&str, &str)> {
        self.results()
            .iter()
            .filter(|result| result["status"] == "unknown")
            .map(|result| {
                (
                    result["code"].as_str().unwrap(),
                    result["message"].as_str().unwrap(),
                )
            })
            .collect()
    }
}

/// A namespace whose workload AWS trusts, under a webhook of its own.
struct Shop {
    plane: &'static ControlPlane,
    api: Api,
    namespace: &'static str,
    case: Case,
    laid_out: Workload,
    _replica: Replica,
}

impl Shop {
    async fn open(
        plane: &'static ControlPlane,
        namespace: &'static str,
        case: &'static str,
    ) -> Self {
        let api = plane.api().unwrap();
        let webhook = Webhook::new(plane, namespace, &plane.url).await.unwrap();
        let replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
        plane
            .namespace(&api, namespace, restricted(&webhook.label()), json!({}))
            .await
            .unwrap();
        let case = plane
            .clouds
            .case(case, Mechanism::AwsWebIdentity, namespace, "reports");
        let laid_out = plane.clouds.lab.lay_out(&case).unwrap();
        let asked = annotations([
            ("aws-role-arn", laid_out.names.get("ROLE_ARN")),
            ("aws-region", laid_out.names.get("REGION")),
        ]);
        api.create(&service_account(namespace, "reports", asked))
            .await
            .unwrap();
        Self {
            plane,
            api,
            namespace,
            case,
            laid_out,
            _replica: replica,
        }
    }

    /// A Deployment with an injected pod, whose name this is.
    async fn deploy(&self, name: &str) -> String {
        let manifest = workload(
            "apps/v1",
            "Deployment",
            self.namespace,
            name,
            "reports",
            &json!({}),
        );
        self.api.create(&manifest).await.unwrap();
        let pod = pod_of(&self.api, self.namespace, name).await;
        assert_eq!(injected(&pod), Some("aws"));
        pod["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// The trust documents of its workload, each as the AWS CLI prints it.
    fn trust(&self) -> Vec<String> {
        [Document::AwsRole, Document::AwsOidcProvider]
            .into_iter()
            .map(|document| {
                let path = self.plane.clouds.lab.document_file(&self.case, document);
                path.to_str().unwrap().to_owned()
            })
            .collect()
    }

    /// Diagnoses a pod in the cluster, and the same objects in a file.
    async fn both(&self, pod: &str) -> (Diagnosis, Diagnosis) {
        let trust = self.trust();
        let target = format!("pod/{pod}");
        let mut live = vec![target.as_str(), "-n", self.namespace];
        for file in &trust {
            live.extend(["--trust", file]);
        }
        let file = self.plane.dir.join(format!("{}.json", self.namespace));
        fs::write(&file, self.export().await.to_string()).unwrap();
        let mut local = live.clone();
        let discovery = self.discovery();
        local.extend([
            "--local",
            "-f",
            file.to_str().unwrap(),
            "--trust",
            &discovery,
        ]);
        let kubeconfig = self.plane.kubeconfig();
        (
            doctor(self.plane, &kubeconfig, &live).await,
            doctor(self.plane, &kubeconfig, &local).await,
        )
    }

    /// What the API server says of its issuer, which files do not know.
    fn discovery(&self) -> String {
        let path = self
            .plane
            .clouds
            .lab
            .document_file(&self.case, Document::Discovery);
        path.to_str().unwrap().to_owned()
    }

    /// The namespace's objects and the webhooks, as `kubectl get -o json` prints them.
    async fn export(&self) -> Value {
        let mut items = Vec::new();
        for (api_version, kind) in [
            ("v1", "ServiceAccount"),
            ("v1", "Pod"),
            ("apps/v1", "ReplicaSet"),
            ("apps/v1", "Deployment"),
            ("v1", "Event"),
        ] {
            let all = Object::new(api_version, kind, self.namespace, "");
            for mut item in self.api.list(&all, "").await.unwrap() {
                // Lists do not repeat them in each item.
                item["apiVersion"] = api_version.into();
                item["kind"] = kind.into();
                items.push(item);
            }
        }
        for (api_version, kind, name) in [
            ("v1", "Namespace", self.namespace),
            ("v1", "Node", cwii_e2e::NODE),
        ] {
            let object = Object::new(api_version, kind, "", name);
            items.push(self.api.get(&object).await.unwrap());
        }
        let webhooks = Object::new(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            "",
            "",
        );
        for mut item in self.api.list(&webhooks, "").await.unwrap() {
            item["apiVersion"] = "admissionregistration.k8s.io/v1".into();
            item["kind"] = "MutatingWebhookConfiguration".into();
            items.push(item);
        }
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }
}

/// What files tell is what the cluster tells; a code that files cannot settle may be settled by the cluster alone.
fn assert_same(live: &Diagnosis, local: &Diagnosis) {
    assert_eq!(live.findings(), local.findings(), "{}", live.stderr);
    assert_eq!(live.code, local.code);
    let in_files = local.states();
    for (code, state) in live.states() {
        let in_file = in_files[code];
        assert!(
            state == in_file || in_file == "skipped",
            "{code}: {state} in the cluster, {in_file} in files"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_in_the_cluster_gets_the_report_that_its_manifests_get() {
    let Some(plane) = control_plane().await else {
        return;
    };
    if !plane.has_controllers() {
        return;
    }
    let shop = Shop::open(plane, "doctor-same", "e2e-doctor-same").await;
    let pod = shop.deploy("reports").await;
    let (live, local) = shop.both(&pod).await;
    assert_eq!(live.findings(), [], "{:#}", live.report);
    assert_eq!(live.code, 0, "{:?}", live.unknown());
    assert_same(&live, &local);

    // The role trusts another namespace's ServiceAccount.
    plane
        .clouds
        .lab
        .edit(&shop.case, Document::AwsRole, |role| {
            let condition =
                &mut role["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"];
            for value in condition["StringEquals"]
                .as_object_mut()
                .unwrap()
                .values_mut()
            {
                if value.as_str().unwrap().starts_with("system:") {
                    *value = "system:serviceaccount:elsewhere:reports".into();
                }
            }
        })
        .unwrap();
    let (live, local) = shop.both(&pod).await;
    assert_eq!(live.code, 1);
    assert_eq!(live.findings()[0].0, "AWS05", "{:?}", live.findings());
    assert_same(&live, &local);
    plane.clouds.lab.lay_out(&shop.case).unwrap();

    // Somebody annotates the ServiceAccount anew and restarts nothing.
    let account = Object::new("v1", "ServiceAccount", shop.namespace, "reports");
    let other = json!({"metadata": {"annotations": {
        "cwii.dev/aws-audience": "sts.amazonaws.com.cn",
    }}});
    shop.api.merge(&account, "", &other).await.unwrap();
    let (live, local) = shop.both(&pod).await;
    assert_eq!(live.code, 1);
    let found: Vec<_> = live.findings().iter().map(|finding| finding.0).collect();
    assert!(
        found.contains(&"POD03") || found.contains(&"CWII01"),
        "{:?}",
        live.findings()
    );
    assert_same(&live, &local);
    assert!(shop.laid_out.names.get("ROLE_ARN").starts_with("arn:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_unknown_and_the_printed_role_settles_it() {
    let Some(plane) = control_plane().await else {
        return;
    };
    if !plane.has_controllers() {
        return;
    }
    let shop = Shop::open(plane, "doctor-rights", "e2e-doctor-rights").await;
    let pod = shop.deploy("reports").await;
    let api = &shop.api;
    let namespace = shop.namespace;
    let identity = plane.authority.client("oncall", "cwii-doctors").unwrap();
    let (certificate, key) = identity.write(&plane.dir, "oncall").unwrap();
    let kubeconfig = plane
        .write_kubeconfig(
            "oncall",
            &plane.url,
            &json!({"client-certificate": certificate, "client-key": key}),
        )
        .unwrap();
    api.create(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "oncall", "namespace": namespace},
        "rules": [{"apiGroups": [""], "resources": ["pods", "serviceaccounts"], "verbs": ["get"]}],
    }))
    .await
    .unwrap();
    api.create(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "oncall", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "oncall"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "oncall"}],
    }))
    .await
    .unwrap();
    let trust = shop.trust();
    let target = format!("pod/{pod}");
    let mut arguments = vec![target.as_str(), "-n", namespace];
    for file in &trust {
        arguments.extend(["--trust", file]);
    }
    let narrow = until("the role to hold", || async {
        let found = doctor(plane, &kubeconfig, &arguments).await;
        (found.code != 2).then_some(found)
    })
    .await
    .unwrap();
    assert_eq!(narrow.code, 3, "{:#}", narrow.report);
    assert_eq!(narrow.findings(), []);
    assert!(!narrow.unknown().is_empty());
    for (code, why) in narrow.unknown() {
        assert!(
            why.contains("not allowed to ") || why.starts_with("blocked by"),
            "{code}: {why}"
        );
    }

    // The Role that it asks for, through kubectl as a person applies it.
    let Some(mut kubectl) = plane.kubectl() else {
        return;
    };
    let printed = tokio::process::Command::new(binary("kubectl-cwii").unwrap())
        .args(["doctor", "--print-rbac", "-n", namespace])
        .env("KUBECONFIG", plane.kubeconfig())
        .env("HOME", &plane.dir)
        .output()
        .await
        .unwrap();
    assert!(printed.status.success());
    let file = plane.dir.join("doctor-rbac.yaml");
    fs::write(&file, &printed.stdout).unwrap();
    let applied = kubectl
        .args(["apply", "-f"])
        .arg(&file)
        .output()
        .await
        .unwrap();
    assert!(
        applied.status.success(),
        "{}",
        String::from_utf8_lossy(&applied.stderr)
    );
    // Rights hold a moment after they are given.
    let mut wide = doctor(plane, &kubeconfig, &arguments).await;
    for _ in 0..20 {
        if wide.unknown().is_empty() {
            break;
        }
        wide = doctor(plane, &kubeconfig, &arguments).await;
    }
    assert_eq!(wide.unknown(), []);
    assert_eq!(wide.findings(), []);
    assert_eq!(wide.code, 0);
}
