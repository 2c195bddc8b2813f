//! A small pod runner: scheduler, kubelet and container runtime for one pod at a time.
//!
//! It does for the injected init containers what a node would: binds the pod, has its tokens minted, lays out its
//! volumes, runs the containers in order with the real agent as the user that the spec gives, restarts what failed, and
//! writes statuses and events to the API server, in the kubelet's words, so that `kubectl` shows what it would show.
//!
//! What it does not: it has no images but ours, so of an application's containers it only says that they run once every
//! init container is done; it enforces no limits of cgroups and no seccomp profile; its back-off between restarts is
//! nobody's: the caller decides when.
//!
//! Containers of our own images it runs as well ([`running`]): the last part of an image's path names the binary of this
//! workspace that the image consists of.

mod running;
mod volumes;

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use cwii_contract::names;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{Api, Object},
    control_plane::{ControlPlane, NODE, binary, skip},
    network::{API_SERVER, Network},
    process,
    sandbox::{Container, Exit, Mount, Sandbox, Wiring},
};
pub use running::Ended;
use running::Main;
use volumes::{id, text};

/// Runs pods on the one node.
#[derive(Clone)]
pub struct Kubelet {
    plane: &'static ControlPlane,
    api: Api,
    sandbox: PathBuf,
}

/// A pod that is bound to the node, with its volumes laid out and its init containers still to run.
pub struct BoundPod {
    kubelet: Kubelet,
    object: Object,
    pod: Value,
    folder: PathBuf,
    volumes: BTreeMap<String, PathBuf>,
    sandbox: Arc<Mutex<Sandbox>>,
    /// Where it is in the cluster's network, if there is one.
    address: Option<String>,
    /// Its containers of our own images, once they run.
    mains: Vec<Main>,
    /// Which init container is next, and how often it failed.
    next: usize,
    restarts: u32,
}

/// What came of running the next init container once.
#[derive(Clone, Debug)]
pub enum Progress {
    /// It ended with 0.
    Done(Ran),
    /// It ended with something else, and the pod's restart policy has it run again.
    Restarts(Ran),
    /// It ended with something else, and that was it.
    Failed(Ran),
    /// There is none left: the pod runs.
    Running,
}

/// How one container ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ran {
    /// Its name.
    pub container: String,
    /// Its exit code.
    pub code: i32,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
    /// Its termination message as the kubelet keeps it.
    pub message: String,
}

impl Kubelet {
    /// A kubelet for the caller's event loop, which runs pods in `sandbox`, the program `cwii-e2e-sandbox`; none where namespaces cannot be had, after saying so.
    ///
    /// # Errors
    ///
    /// The agent cannot be built.
    pub fn start(plane: &'static ControlPlane, sandbox: &str) -> Result<Option<Self>> {
        if let Err(error) = Sandbox::is_possible() {
            skip(&format!("{error:#}"));
            return Ok(None);
        }
        // Before the first pod waits for it.
        binary("cwii-agent")?;
        Ok(Some(Self {
            plane,
            api: plane.api()?,
            sandbox: sandbox.into(),
        }))
    }

    /// Takes a pod: binds it to the node and lays out its volumes.
    ///
    /// # Errors
    ///
    /// The API server's, or a volume cannot be laid out; then an event says so.
    pub async fn take(&self, namespace: &str, name: &str) -> Result<BoundPod> {
        let object = Object::pod(namespace, name);
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "name": name, "namespace": namespace },
            "target": { "apiVersion": "v1", "kind": "Node", "name": NODE },
        });
        self.api.post(&object, "binding", &binding).await?;
        let pod = self.api.get(&object).await?;
        let folder = self
            .plane
            .dir
            .join("pods")
            .join(text(&pod, "/metadata/uid"));
        fs::create_dir_all(&folder)?;
        let laid_out = volumes::lay_out(&self.api, &pod, &folder.join("volumes")).await;
        let network = self.plane.network();
        let address = network.map(Network::address);
        let mut wiring = match (network, &address) {
            (Some(network), Some(address)) => network.wiring(address, &ports(&pod)),
            _ => Wiring::default(),
        };
        wiring.outward.extend(self.plane.clouds.forwards());
        let mut bound = BoundPod {
            kubelet: self.clone(),
            object,
            pod,
            folder,
            volumes: BTreeMap::new(),
            sandbox: Arc::new(Mutex::new(Sandbox::start(&self.sandbox, &wiring)?)),
            address,
            mains: Vec::new(),
            next: 0,
            restarts: 0,
        };
        match laid_out {
            Ok(volumes) => bound.volumes = volumes,
            Err(error) => {
                let message = format!("{error:#}");
                bound
                    .event("Warning", "FailedMount", &message, None)
                    .await?;
                bail!(message);
            }
        }
        bound.begin().await?;
        Ok(bound)
    }
}

impl BoundPod {
    /// Runs the next init container once and writes what came of it to the API server.
    ///
    /// # Errors
    ///
    /// The API server's, or the container is none that can be run here.
    pub async fn advance(&mut self) -> Result<Progress> {
        let Some(container) = self.init_container().cloned() else {
            self.run().await?;
            return Ok(Progress::Running);
        };
        let name = text(&container, "/name").to_owned();
        let started = Timestamp::now();
        self.event("Normal", "Started", "Container started", Some(&name))
            .await?;
        let ran = self.execute(&container).await?;
        // What it ended with before, however its state is told since.
        let before = &self.pod["status"]["initContainerStatuses"][self.next];
        let before = ["/state/terminated", "/lastState/terminated"]
            .iter()
            .find_map(|pointer| before.pointer(pointer))
            .map_or(Value::Null, |ended| json!({ "terminated": ended }));
        let mut status = json!({
            "name": name,
            "lastState": before,
            "image": container["image"],
            "imageID": "",
            "containerID": self.container_id(&name),
            "ready": ran.code == 0,
            "started": false,
            "restartCount": self.restarts,
        });
        let terminated = json!({ "terminated": {
            "exitCode": ran.code,
            "reason": if ran.code == 0 { "Completed" } else { "Error" },
            "message": ran.message,
            "startedAt": second(started),
            "finishedAt": second(Timestamp::now()),
            "containerID": self.container_id(&name),
        } });
        if ran.code == 0 {
            status["state"] = terminated;
            self.set_init_status(status).await?;
            self.next += 1;
            self.restarts = 0;
            return Ok(Progress::Done(ran));
        }
        if text(&self.pod, "/spec/restartPolicy") == "Never" {
            status["state"] = terminated;
            self.pod["status"]["phase"] = "Failed".into();
            self.set_init_status(status).await?;
            return Ok(Progress::Failed(ran));
        }
        if self.restarts == 0 {
            // The first restart waits for nothing, so for a moment this is what there is to see.
            status["state"] = terminated;
        } else {
            status["lastState"] = terminated;
            let back_off = format!(
                "back-off 10s restarting failed container={name} pod={}_{}({})",
                self.object.name,
                text(&self.pod, "/metadata/namespace"),
                text(&self.pod, "/metadata/uid"),
            );
            status["state"] = json!({ "waiting": {
                "reason": "CrashLoopBackOff",
                "message": back_off,
            } });
            let message = format!("Back-off restarting failed container {name} in pod");
            self.event("Warning", "BackOff", &message, Some(&name))
                .await?;
        }
        self.set_init_status(status).await?;
        self.restarts += 1;
        Ok(Progress::Restarts(ran))
    }

    /// Runs init containers until all are done, or one has failed.
    ///
    /// # Errors
    ///
    /// As [`BoundPod::advance`].
    pub async fn advance_to_end(&mut self) -> Result<(Vec<Ran>, Progress)> {
        let mut all = Vec::new();
        loop {
            match self.advance().await? {
                Progress::Done(ran) => all.push(ran),
                end => return Ok((all, end)),
            }
        }
    }

    /// Where what its containers print is kept: a folder for each, and in it `N.log` for its run number N.
    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.join("containers")
    }

    /// The folder of one of the pod's volumes on the node.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&Path> {
        self.volumes.get(name).map(PathBuf::as_path)
    }

    fn init_container(&self) -> Option<&Value> {
        self.pod["spec"]["initContainers"].get(self.next)
    }

    /// Everything waits for the first init container.
    async fn begin(&mut self) -> Result<()> {
        let message = format!("Successfully assigned {} to {NODE}", self.object.name);
        self.event("Normal", "Scheduled", &message, None).await?;
        let waiting = |list: &Value| -> Vec<Value> {
            list.as_array()
                .into_iter()
                .flatten()
                .map(|c| {
                    json!({
                        "name": c["name"], "image": c["image"], "imageID": "", "ready": false,
                        "started": false, "restartCount": 0,
                        "state": { "waiting": { "reason": "PodInitializing" } },
                    })
                })
                .collect()
        };
        let init = waiting(&self.pod["spec"]["initContainers"]);
        let app = waiting(&self.pod["spec"]["containers"]);
        self.pod["status"] = json!({
            "phase": "Pending",
            "startTime": second(Timestamp::now()),
            "hostIP": "127.0.0.1",
            "initContainerStatuses": init,
            "containerStatuses": app,
        });
        if let Some(address) = &self.address {
            self.pod["status"]["podIP"] = address.as_str().into();
            self.pod["status"]["podIPs"] = json!([{ "ip": address }]);
        }
        self.write_status().await
    }

    /// All init containers are done: our own images' containers are started, the application's are said to run.
    async fn run(&mut self) -> Result<()> {
        self.pod["status"]["phase"] = "Running".into();
        for status in self.pod["status"]["containerStatuses"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            status["state"] = json!({ "running": { "startedAt": second(Timestamp::now()) } });
            status["ready"] = true.into();
            status["started"] = true.into();
        }
        self.start_mains().await?;
        self.write_status().await
    }

    async fn set_init_status(&mut self, status: Value) -> Result<()> {
        self.pod["status"]["initContainerStatuses"][self.next] = status;
        self.write_status().await
    }

    async fn write_status(&mut self) -> Result<()> {
        let phase = text(&self.pod, "/status/phase").to_owned();
        let now = second(Timestamp::now());
        let condition = |kind: &str, holds: bool, reason: &str| {
            json!({
                "type": kind,
                "status": if holds { "True" } else { "False" },
                "reason": if holds { "" } else { reason },
                "lastTransitionTime": now,
            })
        };
        let runs = phase == "Running";
        let ready = runs
            && self.pod["status"]["containerStatuses"]
                .as_array()
                .is_some_and(|all| all.iter().all(|status| status["ready"] == true));
        self.pod["status"]["conditions"] = json!([
            condition("PodScheduled", true, ""),
            condition(
                "Initialized",
                runs || phase == "Succeeded",
                "ContainersNotInitialized"
            ),
            condition("ContainersReady", ready, "ContainersNotReady"),
            condition("Ready", ready, "ContainersNotReady"),
        ]);
        let patch = json!({ "status": self.pod["status"] });
        self.kubelet
            .api
            .merge(&self.object, "status", &patch)
            .await?;
        Ok(())
    }

    async fn event(
        &self,
        kind: &str,
        reason: &str,
        message: &str,
        init_container: Option<&str>,
    ) -> Result<()> {
        let now = second(Timestamp::now());
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": self.object.namespace,
            "name": self.object.name,
            "uid": self.pod["metadata"]["uid"],
        });
        if let Some(name) = init_container {
            object["fieldPath"] = format!("spec.initContainers{{{name}}}").into();
        }
        self.kubelet
            .api
            .create(&json!({
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": { "generateName": format!("{}.", self.object.name), "namespace": self.object.namespace },
                "involvedObject": object,
                "type": kind,
                "reason": reason,
                "message": message,
                "source": { "component": "kubelet", "host": NODE },
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            }))
            .await?;
        Ok(())
    }

    fn container_id(&self, name: &str) -> String {
        format!(
            "cwii-e2e://{}/{name}/{}",
            text(&self.pod, "/metadata/uid"),
            self.restarts
        )
    }

    /// Runs one container to its end.
    async fn execute(&self, container: &Value) -> Result<Ran> {
        let name = text(container, "/name");
        let program = program(text(container, "/image"))?.with_context(|| {
            format!(
                "only images of this project are at hand, and each has one program: {container}"
            )
        })?;
        let (order, message_file) = self.order(container, &program)?;
        let exit = self.in_sandbox(move |s| s.run_to_end(order)).await?;
        let log = message_file.with_file_name(format!("{}.log", self.restarts));
        fs::write(log, [exit.stdout.as_str(), &exit.stderr].concat())?;
        Ok(Ran {
            container: name.to_owned(),
            message: termination_message(container, &message_file, &exit)?,
            code: exit.code,
            stdout: exit.stdout,
            stderr: exit.stderr,
        })
    }

    /// Gives the sandbox an order and waits for the answer.
    async fn in_sandbox<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Sandbox) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let sandbox = Arc::clone(&self.sandbox);
        tokio::task::spawn_blocking(move || {
            order(&mut sandbox.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await?
    }

    /// Makes what one run of a container needs: what the runtime is told, and its termination message's file.
    fn order(&self, container: &Value, program: &Program) -> Result<(Container, PathBuf)> {
        let folder = self
            .folder
            .join("containers")
            .join(text(container, "/name"));
        fs::create_dir_all(&folder)?;
        let message_file = folder.join("termination-log");
        // On the node, writable for everybody.
        fs::write(&message_file, "")?;
        fs::set_permissions(&message_file, Permissions::from_mode(0o666))?;
        let order = self.container(container, program, &folder, &message_file)?;
        Ok((order, message_file))
    }

    /// What the runtime is told of one container.
    fn container(
        &self,
        container: &Value,
        program: &Program,
        folder: &Path,
        message_file: &Path,
    ) -> Result<Container> {
        let pods = self.pod.pointer("/spec/securityContext");
        let own = container.get("securityContext");
        let setting = |name: &str| {
            own.and_then(|c| c.get(name))
                .or(pods.and_then(|c| c.get(name)))
        };
        let flag = |name: &str| setting(name).and_then(Value::as_bool).unwrap_or(false);
        // The image names its user; who runs as another has no group of his own there.
        let uid = setting("runAsUser").and_then(id);
        let gid = setting("runAsGroup").and_then(id);
        let (uid, gid) = match uid {
            None => (IMAGE_USER, gid.unwrap_or(IMAGE_USER)),
            Some(uid) => (uid, gid.unwrap_or(0)),
        };
        ensure!(
            uid != 0 || !flag("runAsNonRoot"),
            "container has runAsNonRoot and image will run as root"
        );
        let mut groups: Vec<u32> = pods
            .and_then(|c| c["supplementalGroups"].as_array())
            .into_iter()
            .flatten()
            .filter_map(id)
            .collect();
        groups.extend(pods.and_then(|c| c.get("fsGroup")).and_then(id));

        let env = self.environment(container)?;
        let words = |list: &str| -> Vec<String> {
            container[list]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|w| Some(expand(w.as_str()?, &env)))
                .collect()
        };
        ensure!(
            words("command").is_empty(),
            "images of this project have one program, and no other can be named: {container}"
        );
        let entrypoint = format!("/{}", program.name);
        let mut command = vec![entrypoint.clone()];
        command.extend(words("args"));

        let of_node = |from: &Path, to: &str| Mount {
            from: from.to_owned(),
            to: to.to_owned(),
            read_only: true,
        };
        let mut mounts = vec![of_node(&program.file, &entrypoint)];
        mounts.extend(
            program
                .libraries
                .iter()
                .map(|path| of_node(path, &path.to_string_lossy())),
        );
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let volume = text(mount, "/name");
            let place = self
                .volumes
                .get(volume)
                .with_context(|| format!("no volume `{volume}`"))?;
            ensure!(mount.get("subPath").is_none(), "a subPath: {mount}");
            mounts.push(Mount {
                from: place.clone(),
                to: text(mount, "/mountPath").to_owned(),
                read_only: mount["readOnly"].as_bool().unwrap_or(false),
            });
        }
        mounts.push(Mount {
            from: message_file.to_owned(),
            to: text(container, "/terminationMessagePath").to_owned(),
            read_only: false,
        });
        let ca = fs::read_to_string(self.kubelet.plane.clouds.lab.ca_file())?;
        Ok(Container {
            root: folder.join("root"),
            files: [
                ("/etc/hosts".to_owned(), self.kubelet.plane.clouds.hosts()),
                // No name server: who asks for another name than a cloud's gets none.
                ("/etc/resolv.conf".to_owned(), String::new()),
                ("/etc/ssl/certs/ca-certificates.crt".to_owned(), ca),
            ]
            .into(),
            mounts,
            read_only: flag("readOnlyRootFilesystem"),
            command,
            env,
            uid,
            gid,
            groups,
        })
    }

    /// What the image, the kubelet and the spec set, in this order.
    fn environment(&self, container: &Value) -> Result<BTreeMap<String, String>> {
        let mut env: BTreeMap<String, String> = [
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("HOSTNAME", &self.object.name),
            ("KUBERNETES_SERVICE_HOST", API_SERVER),
            ("KUBERNETES_SERVICE_PORT", "443"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable.get("valueFrom") {
                None => expand(text(variable, "/value"), &env),
                Some(source) => {
                    let field = text(source, "/fieldRef/fieldPath");
                    ensure!(!field.is_empty(), "a source of another kind: {variable}");
                    text(&self.pod, &format!("/{}", field.replace('.', "/"))).to_owned()
                }
            };
            env.insert(text(variable, "/name").to_owned(), value);
        }
        Ok(env)
    }
}

/// What the kubelet keeps: the file's content, or where the container asks for it the end of its output.
fn termination_message(container: &Value, file: &Path, exit: &Exit) -> Result<String> {
    let mut bytes = fs::read(file)?;
    bytes.truncate(names::TERMINATION_MESSAGE_MAX_BYTES);
    let fall_back = text(container, "/terminationMessagePolicy") == "FallbackToLogsOnError";
    if bytes.is_empty() && exit.code != 0 && fall_back {
        bytes = exit.stderr.clone().into_bytes();
        bytes.drain(..bytes.len().saturating_sub(2048));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `$(NAME)` of a variable that is known is its value, `$$` is `$`, everything else stays.
/// Kubernetes, `third_party/forked/golang/expansion`.
fn expand(template: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|t| t.split_once(')')) {
            match env.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// What an image consists of.
struct Program {
    /// `cwii-agent`.
    name: &'static str,
    file: PathBuf,
    /// What it is linked with; nothing for a static one.
    libraries: Vec<PathBuf>,
}

/// The program of an image of ours; none for an image of others.
fn program(image: &str) -> Result<Option<Program>> {
    let last = image.rsplit('/').next().unwrap_or_default();
    let name = last.split([':', '@']).next().unwrap_or_default();
    let Some(name) = PROGRAMS.iter().find(|p| **p == name) else {
        return Ok(None);
    };
    let file = binary(name)?;
    Ok(Some(Program {
        name,
        libraries: libraries(&file)?,
        file,
    }))
}

/// The ports that a pod's containers say they have.
fn ports(pod: &Value) -> Vec<u16> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers
        .flat_map(|c| c["ports"].as_array().into_iter().flatten())
        .filter_map(|port| port["containerPort"].as_u64()?.try_into().ok())
        .collect()
}

/// The shared objects that a program needs, its loader among them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let Ok(listed) = process::output(Command::new("ldd").arg(program)) else {
        // `ldd` fails on a static program.
        return Ok(Vec::new());
    };
    Ok(listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}

/// A time as the API has it: whole seconds.
fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// User of our images.
const IMAGE_USER: u32 = 65532;
/// Programs that images of ours consist of.
const PROGRAMS: [&str; 3] = ["cwii-agent", "cwii-webhook", "kubectl-cwii"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_expand_as_the_kubelet_expands_them() {
        let env = [("A".to_owned(), "1".to_owned())].into();
        for (template, expanded) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
        ] {
            assert_eq!(expand(template, &env), expanded, "{template}");
        }
    }
}
