//! What a command looks at: pods, workloads, ServiceAccounts, manifests, spelt as kubectl users spell them.

use std::{fmt, path::PathBuf};

use clap::{Args, ValueHint};

use crate::{
    cluster::{Resource, resource},
    problem::Problem,
};

/// What to look at, as the arguments name it.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TargetArgs {
    /// POD, TYPE/NAME or TYPE NAME; types as kubectl spells them: po, deploy, sts, ds, rs, job, cj, sa
    #[arg(value_name = "TARGET", num_args = 0..)]
    pub(crate) target: Vec<String>,

    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'. (e.g. -l key1=value1,key2=value2)
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,

    /// If present, look at the requested objects across all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,

    #[command(flatten)]
    pub(crate) files: FileArgs,
}

/// Manifests.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FileArgs {
    /// Filename, directory, or - for standard input, with the manifests to look at (repeatable)
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) filename: Vec<PathBuf>,

    /// Process the directory used in -f, --filename recursively
    #[arg(short = 'R', long, requires = "filename")]
    pub(crate) recursive: bool,
}

/// The nearest of some names, if one is near.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .filter(|(distance, other)| *distance <= 2.max(other.len() / 4))
        .min()
        .map(|(_, other)| other)
}

/// One thing that the arguments name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Named {
    pub(crate) resource: &'static Resource,
    pub(crate) name: String,
}

/// What the positional arguments name: `NAME`, `TYPE/NAME`, `TYPE NAME …`, or `TYPE` alone for all of a type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Words {
    Nothing,
    Objects(Vec<Named>),
    All(&'static Resource),
}

impl Words {
    /// Reads the arguments. A name without a type is one of `default`.
    ///
    /// # Errors
    ///
    /// A type that is not known or not among `types`, or a name that is none.
    pub(crate) fn parse(
        words: &[String],
        default: &'static Resource,
        types: &[&'static Resource],
    ) -> Result<Self, Problem> {
        let [first, rest @ ..] = words else {
            return Ok(Self::Nothing);
        };
        if words.iter().any(|word| word.contains('/')) {
            let named = words.iter().map(|word| match word.split_once('/') {
                Some((kind, name)) => Named::new(type_of(kind, types)?, name),
                None => Err(Problem::new(format!(
                    "`{word}` stands beside `TYPE/NAME`, expected that form for all"
                ))),
            });
            return named.collect::<Result<_, _>>().map(Self::Objects);
        }
        if rest.is_empty() {
            // A type's name alone, unless it cannot be one: then a pod of that name.
            return match Resource::find(first) {
                Some(_) => type_of(first, types).map(Self::All),
                None => Named::new(default, first).map(|named| Self::Objects(vec![named])),
            };
        }
        let resource = type_of(first, types)?;
        let named = rest.iter().map(|name| Named::new(resource, name));
        named.collect::<Result<_, _>>().map(Self::Objects)
    }

    /// The one object that is named.
    ///
    /// # Errors
    ///
    /// None or several are.
    pub(crate) fn one(self) -> Result<Named, Problem> {
        match self {
            Self::Objects(mut objects) if objects.len() == 1 => objects
                .pop()
                .ok_or_else(|| Problem::new("nothing is named")),
            Self::Objects(_) => Err(Problem::new("several objects are named, expected one")),
            Self::All(resource) => Err(Problem::new(format!(
                "a type is named and no object, expected a name after `{}`",
                resource.singular
            ))),
            Self::Nothing => Err(Problem::new(
                "nothing is named, expected POD, TYPE/NAME, TYPE NAME or -f FILE",
            )),
        }
    }
}

impl Named {
    fn new(resource: &'static Resource, name: &str) -> Result<Self, Problem> {
        let is_name = !name.is_empty()
            && name.len() <= 253
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
        if !is_name {
            return Err(Problem::new(format!(
                "`{name}` is no name of an object, expected lower-case letters, digits, `-` and `.`"
            )));
        }
        Ok(Self {
            resource,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.resource.singular, self.name)
    }
}

fn type_of(name: &str, types: &[&'static Resource]) -> Result<&'static Resource, Problem> {
    let singular: Vec<&str> = types.iter().map(|resource| resource.singular).collect();
    match Resource::find(name) {
        Some(resource) if types.contains(&resource) => Ok(resource),
        Some(resource) => Err(Problem::new(format!(
            "a {} cannot be looked at here, expected one of {}",
            resource.singular,
            singular.join(", ")
        ))),
        None => {
            let known = types.iter().flat_map(|r| {
                [r.plural, r.singular]
                    .into_iter()
                    .chain(r.short.iter().copied())
            });
            let problem = Problem::new(format!(
                "the server doesn't have a resource type `{name}` that runs pods"
            ));
            Err(match nearest(&name.to_ascii_lowercase(), known) {
                Some(nearest) => problem.help(format!("did you mean `{nearest}`?")),
                None => problem.help(format!("types: {}", singular.join(", "))),
            })
        }
    }
}

/// Types whose objects have a pod template, or are pods.
pub(crate) const WORKLOADS: &[&Resource] = &[
    resource::POD,
    resource::DEPLOYMENT,
    resource::STATEFUL_SET,
    resource::DAEMON_SET,
    resource::REPLICA_SET,
    resource::REPLICATION_CONTROLLER,
    resource::JOB,
    resource::CRON_JOB,
];

/// Workloads, and the ServiceAccount of some.
pub(crate) const DOCTORED: &[&Resource] = &[
    resource::POD,
    resource::DEPLOYMENT,
    resource::STATEFUL_SET,
    resource::DAEMON_SET,
    resource::REPLICA_SET,
    resource::REPLICATION_CONTROLLER,
    resource::JOB,
    resource::CRON_JOB,
    resource::SERVICE_ACCOUNT,
];

/// Workloads, and what pods take their identity from.
pub(crate) const IDENTITIES: &[&Resource] = &[
    resource::POD,
    resource::DEPLOYMENT,
    resource::STATEFUL_SET,
    resource::DAEMON_SET,
    resource::REPLICA_SET,
    resource::REPLICATION_CONTROLLER,
    resource::JOB,
    resource::CRON_JOB,
    resource::SERVICE_ACCOUNT,
    resource::NAMESPACE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<String, String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        match Words::parse(&words, resource::POD, IDENTITIES) {
            Ok(Words::Nothing) => Ok("nothing".into()),
            Ok(Words::All(resource)) => Ok(format!("all {}", resource.plural)),
            Ok(Words::Objects(objects)) => {
                let objects: Vec<_> = objects.iter().map(Named::to_string).collect();
                Ok(objects.join(" "))
            }
            Err(problem) => Err(format!("{problem}; {}", problem.lines().join(" "))),
        }
    }

    #[test]
    fn targets_are_spelt_as_kubectl_users_spell_them() {
        for (words, expected) in [
            (&[][..], "nothing"),
            (&["checkout-7d9f"], "pod/checkout-7d9f"),
            (&["po", "a"], "pod/a"),
            (&["pods/a"], "pod/a"),
            (&["deployments.apps/a"], "deployment/a"),
            (&["deploy", "a", "b"], "deployment/a deployment/b"),
            (&["sa/a", "sts/b"], "serviceaccount/a statefulset/b"),
            (&["cj"], "all cronjobs"),
            (&["CronJobs", "a"], "cronjob/a"),
        ] {
            assert_eq!(parse(words).unwrap(), expected, "{words:?}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_what_helps() {
        for (words, said) in [
            (&["deplyo/a"][..], "`deploy`"),
            (&["widget/a"], "types: pod, deployment"),
            (&["svc/a"], "a service cannot be looked at here"),
            (&["pod/"], "no name of an object"),
            (&["Pod_1"], "no name of an object"),
            (&["pod/a", "b"], "beside `TYPE/NAME`"),
            (&["pod/a/b"], "no name"),
        ] {
            let problem = parse(words).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }
}
