//! The completer that kubectl runs as `kubectl_complete-cwii`, with the words after `cwii`, the last one unfinished.
//!
//! It prints one candidate per line, with its description after a tab, and at last a colon and the sum of directives as
//! Cobra numbers them. What a cluster would have to say is asked for a moment; silence is no error.
//!
//! Sources: "Extend kubectl with plugins", shell completion for plugins
//! (<https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>); Cobra's `ShellCompDirective`
//! (<https://pkg.go.dev/github.com/spf13/cobra#ShellCompDirective>).

use std::{ffi::OsString, time::Duration};

use clap::{Arg, ArgAction, Command, ValueHint};
use cwii_agent::output::printable;
use serde_json::Value;

use crate::{
    argv::Position,
    cli::{self, Globals, Limit, Program},
    cluster::{
        Access, Cluster, ListOptions, Resource,
        config::{self, Environment},
        resource,
    },
    stop::Stop,
    target,
    terminal::Terminal,
};

/// Candidates, and what the shell should do beside showing them.
#[derive(Debug, Default, Eq, PartialEq)]
struct Answer {
    candidates: Vec<(String, String)>,
    files: bool,
}

pub(crate) fn run(words: &[OsString], terminal: &mut Terminal) {
    let answer = answer(words);
    let mut text = String::new();
    for (value, description) in &answer.candidates {
        text.push_str(&printable(value));
        if !description.is_empty() {
            text.push('\t');
            text.push_str(&printable(description));
        }
        text.push('\n');
    }
    let directive = if answer.files { DEFAULT } else { NO_FILES };
    terminal.line(&format!("{text}:{directive}"));
}

fn answer(words: &[OsString]) -> Answer {
    let command = cli::command(Program::Plugin);
    let words: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let (unfinished, finished) = match words.split_last() {
        Some((last, finished)) => (last.as_str(), finished),
        None => ("", &[][..]),
    };
    let mut position = Position::new(&command);
    let mut positionals = Vec::new();
    for word in finished {
        let before = position.positionals;
        position.pass(word);
        if position.positionals > before {
            positionals.push(word.as_str());
        }
    }
    let here = Here {
        command: position.command,
        positionals,
        globals: globals(finished),
    };
    let mut answer = if let Some(flag) = position.pending {
        here.values(flag, "")
    } else if !position.only_positionals
        && let Some((name, _)) = unfinished
            .strip_prefix("--")
            .and_then(|long| long.split_once('='))
    {
        let flag = position
            .command
            .get_arguments()
            .find(|flag| flag.get_long() == Some(name));
        flag.map_or_else(Answer::default, |flag| {
            here.values(flag, &format!("--{name}="))
        })
    } else if unfinished.starts_with('-') && !position.only_positionals {
        flags(position.command)
    } else {
        here.words(position.positionals, unfinished)
    };
    answer
        .candidates
        .retain(|(value, _)| value.starts_with(unfinished));
    answer
}

/// Where the cursor stands.
struct Here<'c> {
    command: &'c Command,
    positionals: Vec<&'c str>,
    globals: Globals,
}

impl Here<'_> {
    /// Subcommands, or what the next positional argument may be.
    fn words(&self, index: usize, unfinished: &str) -> Answer {
        if self.command.has_subcommands() && index == 0 {
            let subcommands = self.command.get_subcommands();
            return Answer {
                candidates: subcommands
                    .filter(|subcommand| !subcommand.is_hide_set())
                    .map(|subcommand| {
                        (
                            subcommand.get_name().to_owned(),
                            text(subcommand.get_about()),
                        )
                    })
                    .collect(),
                files: false,
            };
        }
        let positional = self
            .command
            .get_positionals()
            .find(|positional| positional.get_id() == "target")
            .or_else(|| self.command.get_positionals().nth(index))
            .or_else(|| self.command.get_positionals().last());
        match positional {
            Some(positional) if positional.get_id() == "target" => self.targets(unfinished),
            Some(positional) => self.values(positional, ""),
            None => Answer::default(),
        }
    }

    /// What a flag or an argument may hold.
    fn values(&self, flag: &Arg, prefix: &str) -> Answer {
        let named = |names: Vec<String>| Answer {
            candidates: names
                .into_iter()
                .map(|name| (format!("{prefix}{name}"), String::new()))
                .collect(),
            files: false,
        };
        let possible = flag.get_possible_values();
        if !possible.is_empty() {
            return Answer {
                candidates: possible
                    .iter()
                    .map(|value| {
                        (
                            format!("{prefix}{}", value.get_name()),
                            text(value.get_help()),
                        )
                    })
                    .collect(),
                files: false,
            };
        }
        match flag.get_id().as_str() {
            "namespace" => named(self.names(resource::NAMESPACE)),
            "sa" => named(self.names(resource::SERVICE_ACCOUNT)),
            "pod" => named(self.names(resource::POD)),
            "provider" => named(["aws", "az", "gcp"].map(str::to_owned).into()),
            "context" | "cluster" | "user" => named(config::names(
                flag.get_id().as_str(),
                &self.globals,
                &Environment::of_process(),
            )),
            "scenario" => named(
                cwii_lab::scenarios()
                    .iter()
                    .map(|s| s.name.to_owned())
                    .collect(),
            ),
            "text" | "only" => Answer {
                candidates: cwii_checks::catalogue::entries()
                    .map(|entry| (entry.code.to_owned(), entry.name.to_owned()))
                    .collect(),
                files: false,
            },
            _ => Answer {
                candidates: Vec::new(),
                files: matches!(
                    flag.get_value_hint(),
                    ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath
                ),
            },
        }
    }

    /// `TYPE`, `TYPE/NAME`, names of a type, or pods.
    fn targets(&self, unfinished: &str) -> Answer {
        let plain = |names: Vec<String>| Answer {
            candidates: names
                .into_iter()
                .map(|name| (name, String::new()))
                .collect(),
            files: false,
        };
        if let Some((kind, _)) = unfinished.split_once('/') {
            let names = Resource::find(kind).map(|resource| self.names(resource));
            let names = names.unwrap_or_default().into_iter();
            return plain(names.map(|name| format!("{kind}/{name}")).collect());
        }
        if let Some(first) = self.positionals.first() {
            return plain(
                Resource::find(first)
                    .map(|resource| self.names(resource))
                    .unwrap_or_default(),
            );
        }
        let types = target::IDENTITIES.iter();
        let mut names: Vec<String> = types.map(|r| r.singular.to_owned()).collect();
        names.extend(self.names(resource::POD));
        plain(names)
    }

    /// Names of objects of the cluster that the words so far choose; none where it does not say in time.
    fn names(&self, resource: &Resource) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else {
            return Vec::new();
        };
        runtime
            .block_on(async {
                let access = Access::load(&self.globals, &Environment::of_process()).ok()?;
                let stop = Stop::install(Limit(Some(PATIENCE))).ok()?;
                let namespace = access.namespace.clone();
                let cluster = Cluster::new(access, &self.globals, &stop).await.ok()?;
                let mut names = Vec::new();
                let options = ListOptions {
                    namespace: Some(&namespace),
                    metadata: true,
                    ..ListOptions::default()
                };
                cluster
                    .each(resource, options, |object: Value| {
                        names.extend(object["metadata"]["name"].as_str().map(str::to_owned));
                    })
                    .await
                    .ok()?;
                Some(names)
            })
            .unwrap_or_default()
    }
}

fn flags(command: &Command) -> Answer {
    let mut candidates = Vec::new();
    for flag in command.get_arguments().filter(|flag| !flag.is_positional()) {
        // As Cobra: a flag that wants a value is completed with the sign before it.
        let sign = match flag.get_action() {
            ArgAction::Set | ArgAction::Append => "=",
            _ => "",
        };
        if let Some(long) = flag.get_long() {
            candidates.push((format!("--{long}{sign}"), text(flag.get_help())));
        }
        if let Some(short) = flag.get_short() {
            candidates.push((format!("-{short}"), text(flag.get_help())));
        }
    }
    Answer {
        candidates,
        files: false,
    }
}

/// The flags among words that need not be whole yet, as far as they can be read.
fn globals(words: &[String]) -> Globals {
    let mut globals = Globals::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let slot = match name {
            "--context" => &mut globals.context,
            "--cluster" => &mut globals.cluster,
            "--user" => &mut globals.user,
            "--namespace" | "-n" => &mut globals.namespace,
            "--server" | "-s" => &mut globals.server,
            "--as" => &mut globals.as_user,
            "--kubeconfig" => {
                globals.kubeconfig = value.or_else(|| rest.next().cloned()).map(Into::into);
                continue;
            }
            _ => continue,
        };
        *slot = value.or_else(|| rest.next().cloned());
    }
    globals.request_timeout = Limit(Some(PATIENCE));
    globals
}

fn text(styled: Option<&clap::builder::StyledStr>) -> String {
    let text = styled.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Cobra's `ShellCompDirectiveDefault`: complete files where there are no candidates.
const DEFAULT: u8 = 0;
/// Cobra's `ShellCompDirectiveNoFileComp`.
const NO_FILES: u8 = 4;
/// How long a person waits for a list of names.
const PATIENCE: Duration = Duration::from_secs(2);
