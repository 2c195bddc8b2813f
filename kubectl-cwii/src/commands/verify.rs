//! `kubectl cwii verify`: the real exchange, from a short-lived pod.
//!
//! The pod gets what the webhook would inject, by the same plan, and runs the agent as its only container. It carries no
//! other program, so nothing of the workload starts; it ends by itself, is deleted afterwards, and belongs to the
//! workload, so that it is gone with it even if nobody deletes it.

use std::time::Duration;

use clap::Args;
use cwii_agent::output::printable;
use cwii_contract::{
    Layer, Outcome, Pod, Provider, Settings, VerifyResult,
    annotations::{self, Annotation},
    image::Image,
    names, patch, plan,
    scope::Keys,
    settings::{Delivery, VerifyCommand},
};
use serde::{Deserialize as _, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    cli::Format,
    cluster::{Cluster, Failure, resource, webhook},
    commands::Context,
    document,
    exit::ExitStatus,
    problem::Problem,
    stop::Stop,
    target::{IDENTITIES, Words},
    terminal::{Terminal, Tone},
    workload::Workload,
};

/// Run the agent in the cluster as the service account of a workload, and show its result.
///
/// Creates one short-lived pod that does the exchange with the cloud, and deletes it afterwards, also when interrupted.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Would pods of this deployment get credentials of AWS?
  kubectl cwii verify deploy checkout --provider aws -n shop

  # The same for a service account
  kubectl cwii verify sa checkout --provider gcp -n shop

Output formats: human, json, yaml")]
pub(crate) struct Verify {
    /// POD, TYPE/NAME or TYPE NAME
    #[arg(value_name = "TARGET", num_args = 1.., required = true)]
    pub(crate) target: Vec<String>,

    /// The cloud: aws, az or gcp
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Provider,

    /// Image of the agent; that of the webhook if omitted
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
}

pub(crate) async fn run(arguments: &Verify, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(&[Format::Human, Format::Json, Format::Yaml])?;
    let named = Words::parse(&arguments.target, resource::POD, IDENTITIES)?.one()?;
    if named.resource == resource::NAMESPACE {
        return Err(Problem::new(
            "a namespace runs as nobody, expected a workload or a service account",
        )
        .into());
    }
    let cluster = context.connect().await?;
    let namespace = cluster.access().namespace.clone();
    let (workload, webhook) = tokio::join!(
        Workload::read(&cluster, &named, &namespace),
        webhook::find(&cluster),
    );
    let workload = workload?;
    let mut settings = match webhook {
        Ok(webhook) => webhook.deployed.settings,
        Err(failure) => {
            if failure != Failure::Absent {
                context.terminal.note(&format!(
                    "warning: the webhook's flags are not known: {failure}"
                ));
            }
            webhook::default_settings()
                .map_err(|failure| failure.into_problem("the webhook's defaults"))?
        }
    };
    if let Some(image) = &arguments.image {
        settings.agent_image = image
            .parse::<Image>()
            .map_err(|error| Problem::new(format!("--image: {error}")))?;
    }
    let manifest = manifest(&workload, arguments.provider, &settings)?;
    let run = Run::of(&cluster, &namespace, &manifest, context).await?;
    let status = context.stop.or(run.status());
    let report = Report::new(&workload, arguments.provider, &run, status);
    match format {
        Format::Json => context.terminal.line(&document::json(&report)?),
        Format::Yaml => context.terminal.line(&document::yaml(&report)?),
        _ => show(&workload, arguments.provider, &run, &mut context.terminal),
    }
    Ok(status)
}

/// The pod: what the webhook would inject for one provider, with the agent in place of the workload.
fn manifest(
    workload: &Workload,
    provider: Provider,
    settings: &Settings,
) -> Result<Value, Problem> {
    let spec = &workload.pod["spec"];
    let mut base = Map::new();
    for member in [
        "serviceAccountName",
        "nodeSelector",
        "tolerations",
        "imagePullSecrets",
        "runtimeClassName",
        "os",
    ] {
        if let Some(value) = spec.get(member).filter(|value| !value.is_null()) {
            base.insert(member.to_owned(), value.clone());
        }
    }
    let mut security = json!({
        "runAsNonRoot": true,
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    // A user other than root decides who may read the token, as it does in the workload.
    let user = spec
        .pointer("/securityContext/runAsUser")
        .and_then(Value::as_i64);
    if user.is_some_and(|user| user != 0) {
        for member in ["runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"] {
            if let Some(value) = spec.pointer(&format!("/securityContext/{member}")) {
                security[member] = value.clone();
            }
        }
    }
    base.insert("securityContext".to_owned(), security);
    base.insert(
        "containers".to_owned(),
        json!([{ "name": PLACEHOLDER, "image": settings.agent_image.as_str() }]),
    );
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": base });

    let parsed = Pod::deserialize(&pod)
        .map_err(|_| Problem::new("the pod template is not what the API documents"))?;
    let mut layers = vec![ours(provider, settings)];
    layers.extend(workload.layers.iter().cloned());
    // What verifies is what this tool asks for, whatever images the operator allows others.
    let settings = Settings {
        verify_image_allow: Vec::new(),
        ..settings.clone()
    };
    let mut plan = plan(&parsed, &layers, &settings)
        .map_err(|denial| Problem::new(format!("the webhook refuses such pods: {denial}")))?;
    plan.providers.retain(|plan| plan.provider == provider);
    if parsed.is_windows() {
        return Err(Problem::new(
            "the workload runs on Windows, where the agent does not",
        ));
    }
    if plan.providers.is_empty() {
        return Err(not_injected(workload, provider, &plan));
    }
    let patch = patch(&parsed, &plan);
    let operations = serde_json::to_value(&patch.operations)
        .and_then(serde_json::from_value::<json_patch::Patch>)
        .map_err(|error| Problem::new(format!("the plan makes no patch: {error}")))?;
    json_patch::patch(&mut pod, &operations)
        .map_err(|error| Problem::new(format!("the plan cannot be applied: {error}")))?;

    let agent = names::verify_container(provider);
    let (agents, writers): (Vec<Value>, Vec<Value>) = array(&pod["spec"]["initContainers"])
        .cloned()
        .partition(|container| container["name"] == agent);
    let deadline = agents.iter().map(timeout).max().unwrap_or_default() + STARTUP;
    let spec = &mut pod["spec"];
    spec["containers"] = agents.into();
    spec["initContainers"] = writers.into();
    spec["restartPolicy"] = "Never".into();
    spec["activeDeadlineSeconds"] = deadline.as_secs().into();
    spec["terminationGracePeriodSeconds"] = 0.into();
    spec["automountServiceAccountToken"] = false.into();
    spec["enableServiceLinks"] = false.into();
    let (label, value) = names::MANAGED_BY_LABEL;
    pod["metadata"] = json!({
        "generateName": format!("cwii-verify-{}-", shortened(&workload.name)),
        "namespace": workload.namespace,
        "labels": { label: value, "app.kubernetes.io/name": "cwii-verify" },
        // It has everything already.
        "annotations": Provider::ALL
            .into_iter()
            .map(|provider| (annotations::INJECT.full_key(provider), "false".into()))
            .collect::<Map<String, Value>>(),
        "ownerReferences": owner(workload).into_iter().collect::<Vec<_>>(),
    });
    Ok(pod)
}

/// What is asked for beside what the workload's objects say.
fn ours(provider: Provider, settings: &Settings) -> Layer {
    let key = |annotation: &Annotation| annotation.full_key(provider);
    let values = [
        (key(&annotations::VERIFY), "true"),
        // So that the exit code says how it ended.
        (key(&annotations::VERIFY_ENFORCE), "true"),
        (
            key(&annotations::VERIFY_IMAGE),
            settings.agent_image.as_str(),
        ),
        (
            key(&annotations::VERIFY_COMMAND),
            VerifyCommand::Agent.as_str(),
        ),
        // A ConfigMap would have to be written first.
        (
            key(&annotations::GCP_DELIVERY),
            Delivery::InitContainer.as_str(),
        ),
        (key(&annotations::SKIP_CONTAINERS), ""),
    ];
    Layer {
        object: cwii_contract::ObjectRef {
            scope: cwii_contract::Scope::Pod,
            kind: "Pod".into(),
            namespace: None,
            name: "cwii-verify".into(),
        },
        keys: Keys::from_annotations(values.iter().map(|(key, value)| (key.as_str(), *value))),
    }
}

fn not_injected(workload: &Workload, provider: Provider, plan: &cwii_contract::Plan) -> Problem {
    let mut problem = Problem::new(format!(
        "{} is not injected into pods of {}",
        provider.display_name(),
        workload.title()
    ));
    for warning in &plan.warnings {
        problem = problem.help(warning.as_str());
    }
    problem.help("see what decides with").help(format!(
        "  kubectl cwii plan {} {} -n {}",
        workload.kind.singular, workload.name, workload.namespace
    ))
}

/// The agent's own deadline.
fn timeout(container: &Value) -> Duration {
    let seconds = array(&container["args"])
        .filter_map(Value::as_str)
        .find_map(|argument| {
            argument
                .strip_prefix("--timeout=")?
                .strip_suffix('s')?
                .parse()
                .ok()
        })
        .unwrap_or(names::VERIFY_TIMEOUT_DEFAULT_SECONDS);
    Duration::from_secs(seconds)
}

/// The object that the pod goes away with.
fn owner(workload: &Workload) -> Option<Value> {
    Some(json!({
        "apiVersion": workload.kind.api_version(),
        "kind": workload.kind.kind,
        "name": workload.object.pointer("/metadata/name")?.as_str()?,
        "uid": workload.object.pointer("/metadata/uid")?.as_str()?,
        "controller": false,
        "blockOwnerDeletion": false,
    }))
}

/// As much of a name as leaves room for what is put around it.
fn shortened(name: &str) -> &str {
    let cut = name.char_indices().nth(40).map_or(name.len(), |(at, _)| at);
    name[..cut].trim_end_matches(['-', '.'])
}

/// One pod's life.
struct Run {
    pod: String,
    image: String,
    end: End,
    took: Duration,
}

/// How it ended.
enum End {
    /// The agent ran, and left this.
    Ran {
        exit_code: i64,
        message: String,
        result: Option<VerifyResult>,
    },
    /// The agent did not come to an end; the text says what the pod waits for or what stopped it.
    NotRun(String),
}

impl Run {
    /// Creates the pod, waits for its end, and deletes it, whatever happens in between.
    async fn of(
        cluster: &Cluster,
        namespace: &str,
        manifest: &Value,
        context: &mut Context,
    ) -> Result<Self, Problem> {
        let begin = Instant::now();
        let Context { terminal, stop, .. } = context;
        terminal.progress("creating a pod");
        // Not interrupted: a pod whose name nobody learnt could not be deleted.
        let created = cluster
            .create_whole(resource::POD, namespace, manifest)
            .await
            .map_err(|failure| refused(failure, namespace))?;
        let pod = created["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let limit = manifest["spec"]["activeDeadlineSeconds"]
            .as_u64()
            .unwrap_or_default();
        let limit = Duration::from_secs(limit) + STARTUP;
        let end = wait(cluster, namespace, &pod, limit, stop, terminal).await;
        let deleted = cluster.delete(resource::POD, namespace, &pod).await;
        if let Err(failure) = deleted
            && failure != Failure::Absent
        {
            terminal.note(&format!(
                "warning: pod {pod} could not be deleted: {failure}"
            ));
            terminal.note(&format!("help: kubectl -n {namespace} delete pod {pod}"));
        }
        Ok(Self {
            image: manifest["spec"]["containers"][0]["image"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            pod,
            end,
            took: begin.elapsed(),
        })
    }

    fn outcome(&self) -> Option<Outcome> {
        match &self.end {
            End::Ran { result, .. } => result.as_ref().map(|result| result.outcome),
            End::NotRun(_) => None,
        }
    }

    fn status(&self) -> ExitStatus {
        match self.outcome() {
            Some(Outcome::Verified) => ExitStatus::Success,
            Some(Outcome::Denied | Outcome::Invalid) => ExitStatus::Findings,
            Some(Outcome::Unreachable | Outcome::Error) | None => ExitStatus::Inconclusive,
        }
    }
}

fn refused(failure: Failure, namespace: &str) -> Problem {
    match failure {
        Failure::Denied(permission) => Problem::new(format!("not allowed to {permission}"))
            .help("run it as somebody who may create pods there, or look at the tokens alone with")
            .help(format!("  kubectl cwii doctor -n {namespace} --probe")),
        Failure::Rejected {
            reason, message, ..
        } => Problem::new(format!(
            "the API server does not admit the pod: {reason}: {message}"
        )),
        other => other.into_problem("a pod"),
    }
}

/// Waits until the pod has ended, cannot start, or nobody wants to wait any more.
async fn wait(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    limit: Duration,
    stop: &Stop,
    terminal: &mut Terminal,
) -> End {
    let end = Instant::now() + limit;
    let mut last = String::from("nothing is known of it");
    while Instant::now() < end && stop.reason().is_none() {
        match cluster.get(resource::POD, namespace, name).await {
            Ok(pod) => {
                match State::of(&pod) {
                    State::Ended(end) => return end,
                    State::Stuck(why) => return End::NotRun(why),
                    State::Waiting(why) => last = why,
                }
                terminal.progress(&format!("pod {name}: {last}"));
            }
            Err(Failure::Absent) => {
                return End::NotRun(format!("somebody deleted pod {name}"));
            }
            Err(failure) if stop.reason().is_none() => last = failure.to_string(),
            Err(_) => {}
        }
        tokio::select! {
            () = sleep(POLL) => {}
            _ = stop.wait() => {}
        }
    }
    End::NotRun(format!("the pod had not ended: {last}"))
}

/// Where a pod stands.
enum State {
    Waiting(String),
    /// It will not start without somebody's help.
    Stuck(String),
    Ended(End),
}

impl State {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let phase = status["phase"].as_str().unwrap_or("Pending");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for list in ["initContainerStatuses", "containerStatuses"] {
            for container in array(&status[list]) {
                let state = &container["state"];
                let ended = &state["terminated"];
                if ended.is_object() && list == "containerStatuses" {
                    let message = text(&ended["message"]);
                    return Self::Ended(End::Ran {
                        exit_code: ended["exitCode"].as_i64().unwrap_or_default(),
                        result: VerifyResult::from_termination_message(&message),
                        message,
                    });
                }
                if ended.is_object() && ended["exitCode"] != 0 {
                    return Self::Stuck(format!(
                        "init container {} ended with exit code {}: {}",
                        text(&container["name"]),
                        ended["exitCode"],
                        text(&ended["message"])
                    ));
                }
                let reason = text(&state["waiting"]["reason"]);
                if STUCK.contains(&reason.as_str()) {
                    return Self::Stuck(format!(
                        "{reason}: {}",
                        text(&state["waiting"]["message"])
                    ));
                }
                if !reason.is_empty() && reason != "PodInitializing" {
                    return Self::Waiting(reason);
                }
            }
        }
        if matches!(phase, "Failed" | "Succeeded") {
            let reason = format!(
                "{phase}: {} {}",
                text(&status["reason"]),
                text(&status["message"])
            );
            return Self::Stuck(reason.trim().to_owned());
        }
        let unscheduled = array(&status["conditions"]).find(|condition| {
            condition["type"] == "PodScheduled" && condition["status"] == "False"
        });
        match unscheduled {
            Some(condition) => {
                Self::Waiting(format!("not scheduled: {}", text(&condition["message"])))
            }
            None => Self::Waiting(phase.to_owned()),
        }
    }
}

fn show(workload: &Workload, provider: Provider, run: &Run, terminal: &mut Terminal) {
    let separator = if terminal.has_unicode() {
        " · "
    } else {
        " - "
    };
    let (word, tone) = match run.outcome() {
        Some(Outcome::Verified) => ("verified", Tone::Good),
        Some(outcome) => (outcome.as_str(), Tone::Bad),
        None => ("unknown", Tone::Warning),
    };
    terminal.line(&format!(
        "{}{separator}{provider}{separator}{}{separator}{:.1} s",
        terminal.paint(Tone::Strong, &printable(&workload.title())),
        terminal.paint(tone, word),
        run.took.as_secs_f64()
    ));
    terminal.line("");
    match &run.end {
        End::NotRun(why) => {
            terminal.line(&format!("  the agent gave no result: {}", printable(why)));
        }
        End::Ran {
            exit_code,
            message,
            result,
        } => {
            // The last line is the result for machines.
            let words = match (result, message.trim_end().rsplit_once('\n')) {
                (Some(_), Some((words, _))) => words.trim_end(),
                (Some(_), None) => "",
                (None, _) => message.trim_end(),
            };
            if words.is_empty() {
                let line = format!("  the agent ended with exit code {exit_code} and said nothing");
                terminal.line(&line);
            }
            for line in words.lines() {
                terminal.line(format!("  {}", printable(line)).trim_end());
            }
            if let Some(code) = result.as_ref().and_then(|result| result.code.as_ref()) {
                terminal.line("");
                terminal.line(&printable(&format!("  more: kubectl cwii explain {code}")));
            }
        }
    }
}

/// What the machine formats hold.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    schema: Value,
    tool: Value,
    target: Value,
    provider: Provider,
    pod: &'a str,
    image: &'a str,
    /// The agent's own result; none where it gave none.
    result: Option<&'a VerifyResult>,
    exit_code: Option<i64>,
    message: &'a str,
    duration_ms: u64,
    summary: Value,
}

impl<'a> Report<'a> {
    fn new(workload: &'a Workload, provider: Provider, run: &'a Run, status: ExitStatus) -> Self {
        let (result, exit_code, message) = match &run.end {
            End::Ran {
                exit_code,
                message,
                result,
            } => (result.as_ref(), Some(*exit_code), message),
            End::NotRun(why) => (None, None, why),
        };
        Self {
            schema: json!({ "name": "cwii.verify", "version": "1.0" }),
            tool: json!({ "name": "kubectl-cwii", "version": env!("CARGO_PKG_VERSION") }),
            target: json!({
                "kind": workload.kind.kind,
                "namespace": workload.namespace,
                "name": workload.name,
            }),
            provider,
            pod: &run.pod,
            image: &run.image,
            result,
            exit_code,
            message,
            duration_ms: u64::try_from(run.took.as_millis()).unwrap_or(u64::MAX),
            summary: json!({ "exitCode": status }),
        }
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The container that the plan is made for; the agent takes its place.
const PLACEHOLDER: &str = "cwii-verify";
/// For scheduling and pulling the image.
const STARTUP: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(500);
/// Reasons to wait that do not pass by themselves.
const STUCK: &[&str] = &[
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];
