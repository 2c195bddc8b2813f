//! `kubectl cwii plan`: what the webhook would inject.

use clap::Args;
use cwii_agent::output::printable;
use cwii_checks::doctor::Object;
use cwii_contract::{
    Difference, Effective, Plan as Injection, Pod, Settings, Source, differences, patch, plan,
};
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};

use crate::{
    cli::Format,
    cluster::{
        Cluster, Failure, Resource, resource,
        webhook::{self, Webhook},
    },
    commands::Context,
    document,
    exit::ExitStatus,
    facts::manifest,
    problem::Problem,
    target::{FileArgs, WORKLOADS, Words},
    terminal::{Terminal, Tone, wrapped},
    tree,
    workload::{Workload, controller},
};

/// Show what the webhook would inject into a workload, as a diff, and which object and key decides.
///
/// For a workload: what its new pods would receive. For a pod: what it would receive if it were created again, and where
/// it differs from that.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # What would new pods of this deployment receive?
  kubectl cwii plan deploy checkout -n shop

  # What would these manifests receive, as if they were applied?
  kubectl cwii plan -f deploy/

  # The same with no cluster, for one of the workloads in them
  kubectl cwii plan deploy/checkout --local -f deploy/

Output formats: human, json, yaml")]
pub(crate) struct Plan {
    /// POD, TYPE/NAME or TYPE NAME
    #[arg(value_name = "TARGET", num_args = 0..)]
    pub(crate) target: Vec<String>,

    #[command(flatten)]
    pub(crate) files: FileArgs,

    /// With -f: look at the manifests alone, and at no cluster
    #[arg(long, requires = "filename")]
    pub(crate) local: bool,
}

pub(crate) async fn run(arguments: &Plan, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(&[Format::Human, Format::Json, Format::Yaml])?;
    let (workloads, server) = workloads(arguments, context).await?;
    let items: Vec<Item> = workloads
        .into_iter()
        .map(|workload| Item::new(workload, &server.settings))
        .collect();
    let status = if items.iter().any(|item| item.denied.is_some()) {
        ExitStatus::Findings
    } else if server.unknown.is_some() || items.iter().any(|item| !item.workload.gaps.is_empty()) {
        ExitStatus::Inconclusive
    } else {
        ExitStatus::Success
    };
    let status = context.stop.or(status);
    match format {
        Format::Json => context
            .terminal
            .line(&document::json(&report(&items, &server, status))?),
        Format::Yaml => context
            .terminal
            .line(&document::yaml(&report(&items, &server, status))?),
        _ => show(&items, &server, &mut context.terminal),
    }
    Ok(status)
}

/// What decides on the side of the webhook.
struct Server {
    settings: Settings,
    webhook: Option<Webhook>,
    /// Why the deployed webhook's flags are not known.
    unknown: Option<String>,
}

async fn workloads(
    arguments: &Plan,
    context: &mut Context,
) -> anyhow::Result<(Vec<Workload>, Server)> {
    if arguments.files.filename.is_empty() {
        let words = Words::parse(&arguments.target, resource::POD, WORKLOADS)?;
        let named = words.one()?;
        let cluster = context.connect().await?;
        let namespace = cluster.access().namespace.clone();
        let (workload, server) = tokio::join!(
            Workload::read(&cluster, &named, &namespace),
            server(Some(&cluster)),
        );
        return Ok((vec![workload?], server?));
    }
    let manifests = manifest::read(&arguments.files, &mut context.terminal)?;
    let cluster = if arguments.local {
        None
    } else {
        Some(context.connect().await?)
    };
    let namespace = match (&cluster, &context.globals.namespace) {
        (Some(cluster), _) => cluster.access().namespace.clone(),
        (None, Some(namespace)) => namespace.clone(),
        (None, None) => "default".to_owned(),
    };
    let cluster = cluster.as_ref();
    let chosen: Vec<(&Object, &'static Resource)> = manifests
        .iter()
        .filter_map(|manifest| {
            Some((
                manifest,
                Resource::of(manifest.api_version(), manifest.kind())?,
            ))
        })
        .filter(|(_, resource)| WORKLOADS.contains(resource))
        .collect();
    if chosen.is_empty() {
        return Err(Problem::new("no manifest is a pod or has a pod template").into());
    }
    let chosen = chosen_among(&arguments.target, chosen)?;
    let read = async {
        let mut workloads = Vec::new();
        for (manifest, resource) in chosen {
            let one = Workload::of_manifest(manifest, resource, &manifests, &namespace, cluster);
            workloads.push(one.await?);
        }
        Ok::<_, Problem>(workloads)
    };
    let (workloads, server) = tokio::join!(read, server(cluster));
    Ok((workloads?, server?))
}

/// The workload that was named, or without a name those that no other in the manifests makes.
fn chosen_among<'m>(
    target: &[String],
    all: Vec<(&'m Object, &'static Resource)>,
) -> Result<Vec<(&'m Object, &'static Resource)>, Problem> {
    if target.is_empty() {
        let is_made = |object: &Object| {
            controller(object.value()).is_some_and(|owner| {
                all.iter().any(|(other, _)| {
                    other.kind() == owner.kind
                        && other.name() == owner.name
                        && other.namespace() == object.namespace()
                })
            })
        };
        let heads = all.iter().filter(|(object, _)| !is_made(object));
        return Ok(heads.copied().collect());
    }
    let named = Words::parse(target, resource::POD, WORKLOADS)?.one()?;
    let found: Vec<_> = all
        .iter()
        .filter(|(object, resource)| *resource == named.resource && object.name() == named.name)
        .copied()
        .collect();
    if found.is_empty() {
        let names: Vec<_> = all
            .iter()
            .map(|(object, resource)| format!("{}/{}", resource.singular, object.name()))
            .collect();
        return Err(Problem::new(format!(
            "the manifests have no {}/{}, they have {}",
            named.resource.singular,
            named.name,
            names.join(", ")
        )));
    }
    Ok(found)
}

async fn server(cluster: Option<&Cluster>) -> Result<Server, Problem> {
    let defaults = || {
        webhook::default_settings()
            .map_err(|failure| failure.into_problem("the webhook's defaults"))
    };
    let found = match cluster {
        Some(cluster) => webhook::find(cluster).await,
        None => Err(Failure::Absent),
    };
    Ok(match found {
        Ok(webhook) => Server {
            settings: webhook.deployed.settings.clone(),
            webhook: Some(webhook),
            unknown: None,
        },
        Err(failure) => Server {
            settings: defaults()?,
            webhook: None,
            unknown: (failure != Failure::Absent).then(|| failure.to_string()),
        },
    })
}

/// One workload and what becomes of its pods.
struct Item {
    workload: Workload,
    plan: Injection,
    /// Why the webhook would refuse the pod.
    denied: Option<String>,
    warnings: Vec<String>,
    /// The operations of the patch.
    patch: Value,
    /// The pod after them.
    after: Value,
    /// Where a live pod is not as planned.
    differences: Vec<Difference>,
}

impl Item {
    fn new(workload: Workload, settings: &Settings) -> Self {
        let mut item = Self {
            plan: Injection::default(),
            denied: None,
            warnings: Vec::new(),
            patch: json!([]),
            after: workload.pod.clone(),
            differences: Vec::new(),
            workload,
        };
        let Ok(pod) = Pod::deserialize(&item.workload.pod) else {
            item.denied = Some("the pod is not what the API documents".to_owned());
            return item;
        };
        match plan(&pod, &item.workload.layers, settings) {
            Ok(plan) => item.plan = plan,
            Err(denial) => {
                item.denied = Some(denial.to_string());
                return item;
            }
        }
        let patch = patch(&pod, &item.plan);
        let warnings = item.plan.warnings.iter().chain(&patch.warnings).cloned();
        item.warnings = cwii_contract::Warning::limit(warnings.collect());
        item.patch = serde_json::to_value(&patch.operations).unwrap_or_default();
        // Every operation adds; what cannot be applied stays in the patch as it is.
        if let Ok(operations) = serde_json::from_value::<json_patch::Patch>(item.patch.clone()) {
            let mut after = item.after.clone();
            if json_patch::patch(&mut after, &operations).is_ok() {
                item.after = after;
            }
        }
        if item.workload.kind == resource::POD && item.workload.place.is_none() {
            item.differences = differences(&item.workload.pod, &item.plan);
        }
        item
    }
}

fn show(items: &[Item], server: &Server, terminal: &mut Terminal) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            terminal.line("");
        }
        show_item(item, terminal);
    }
    terminal.line("");
    let by = match (&server.webhook, &server.unknown) {
        (Some(webhook), _) => format!(
            "by the flags of deployment {}/{}, version {}",
            webhook.namespace, webhook.name, server.settings.version
        ),
        (None, Some(why)) => format!("by the defaults of this tool, since {why}"),
        (None, None) => format!(
            "by the defaults of version {}: no webhook was looked at or none is installed",
            server.settings.version
        ),
    };
    terminal.line(&wrapped(&printable(&by), 0));
    if let Some(webhook) = &server.webhook
        && !webhook.deployed.unread.is_empty()
    {
        let unread = webhook.deployed.unread.join(", ");
        terminal.line(&wrapped(&printable(&format!("not known: {unread}")), 0));
    }
}

fn show_item(item: &Item, terminal: &mut Terminal) {
    let separator = if terminal.has_unicode() {
        " · "
    } else {
        " - "
    };
    let injected = if item.plan.injects() {
        item.plan.injected()
    } else {
        "nothing is injected".to_owned()
    };
    let mut title = terminal.paint(Tone::Strong, &printable(&item.workload.title()));
    title.push_str(separator);
    title.push_str(&printable(&injected));
    if let Some(place) = &item.workload.place {
        title.push_str(separator);
        title.push_str(&printable(place));
    }
    terminal.line(&title);
    if let Some(denied) = &item.denied {
        terminal.line("");
        let text = wrapped(&format!("denied: {}", printable(denied)), 2);
        terminal.line(&terminal.paint(Tone::Bad, &text));
        terminal.line("  the webhook refuses such pods");
    }
    let lines = tree::added(&item.workload.pod, &item.after);
    if !lines.is_empty() {
        terminal.line("");
    }
    for line in lines {
        let text = printable(&line.text);
        let text = if line.added {
            terminal.paint(Tone::Good, &format!("  + {text}"))
        } else {
            format!("    {text}")
        };
        terminal.line(&text);
    }
    // What is missing stands in the diff.
    let otherwise = item.differences.iter().filter_map(|difference| {
        let found = difference.found.as_ref()?;
        Some(format!("    {}: found {}", difference.what, short(found)))
    });
    let otherwise: Vec<String> = otherwise.collect();
    if !otherwise.is_empty() {
        terminal.line("");
        terminal.line("  this pod has otherwise");
        for line in otherwise {
            terminal.line(&printable(&line));
        }
    }
    if item.plan.settings().next().is_some() {
        terminal.line("");
        terminal.line("  because");
        for effective in item.plan.settings() {
            let value = format!("    {} = {}", effective.key, effective.value);
            terminal.line(&printable(&value));
            terminal.line(&printable(&format!("        {}", provenance(effective))));
        }
    }
    if !item.warnings.is_empty() || !item.workload.gaps.is_empty() {
        terminal.line("");
    }
    for warning in &item.warnings {
        let text = wrapped(&format!("warning: {}", printable(warning)), 0);
        terminal.line(&terminal.paint(Tone::Warning, &text));
    }
    for gap in &item.workload.gaps {
        let text = wrapped(&format!("unknown: {}", printable(gap)), 0);
        terminal.line(&terminal.paint(Tone::Warning, &text));
    }
}

fn provenance(effective: &Effective) -> String {
    let own = &effective.key;
    match &effective.from {
        Source::Annotation { object, key } if key == own => format!("set on {object}"),
        Source::Annotation { object, key } => format!("annotation {key} of {object}"),
        Source::Flag(flag) => format!("flag {flag} of the webhook"),
        Source::Default => "the default".to_owned(),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    cwii_contract::types::shorten_to(&text, 80)
}

/// What the machine formats hold.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    schema: Schema,
    tool: Tool,
    webhook: WebhookReport<'a>,
    items: Vec<ItemReport<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Schema {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Tool {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebhookReport<'a> {
    /// None: not looked at, not installed, or not known.
    deployment: Option<String>,
    image: Option<&'a str>,
    version: &'a str,
    unread: &'a [String],
    unknown: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemReport<'a> {
    target: Target<'a>,
    injected: Vec<&'static str>,
    denied: Option<&'a str>,
    settings: Vec<SettingReport<'a>>,
    warnings: &'a [String],
    patch: &'a Value,
    differences: &'a [Difference],
    unknown: &'a [String],
}

#[derive(Serialize)]
struct Target<'a> {
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
}

#[derive(Serialize)]
struct SettingReport<'a> {
    key: &'a str,
    value: &'a str,
    source: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    exit_code: ExitStatus,
}

fn report<'a>(items: &'a [Item], server: &'a Server, status: ExitStatus) -> Report<'a> {
    let webhook = server.webhook.as_ref();
    Report {
        schema: Schema {
            name: "cwii.plan",
            version: "1.0",
        },
        tool: Tool {
            name: "kubectl-cwii",
            version: env!("CARGO_PKG_VERSION"),
        },
        webhook: WebhookReport {
            deployment: webhook.map(|webhook| format!("{}/{}", webhook.namespace, webhook.name)),
            image: webhook.map(|webhook| webhook.image.as_str()),
            version: &server.settings.version,
            unread: webhook.map_or(&[], |webhook| &webhook.deployed.unread),
            unknown: server.unknown.as_deref(),
        },
        items: items.iter().map(ItemReport::from).collect(),
        summary: Summary { exit_code: status },
    }
}

impl<'a> From<&'a Item> for ItemReport<'a> {
    fn from(item: &'a Item) -> Self {
        let providers = item.plan.providers.iter();
        Self {
            target: Target {
                kind: item.workload.kind.kind,
                namespace: &item.workload.namespace,
                name: &item.workload.name,
                place: item.workload.place.as_deref(),
            },
            injected: providers.map(|plan| plan.provider.as_str()).collect(),
            denied: item.denied.as_deref(),
            settings: item.plan.settings().map(SettingReport::from).collect(),
            warnings: &item.warnings,
            patch: &item.patch,
            differences: &item.differences,
            unknown: &item.workload.gaps,
        }
    }
}

impl<'a> From<&'a Effective> for SettingReport<'a> {
    fn from(effective: &'a Effective) -> Self {
        let source = match &effective.from {
            Source::Annotation { object, key } => json!({
                "annotation": key,
                "kind": object.kind,
                "namespace": object.namespace,
                "name": object.name,
            }),
            Source::Flag(flag) => json!({ "flag": flag }),
            Source::Default => json!({ "default": true }),
        };
        Self {
            key: &effective.key,
            value: &effective.value,
            source,
        }
    }
}
