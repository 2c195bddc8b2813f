//! A workload as rules see it.
//!
//! Each look at a fact is noted, so that a test can hold what a rule declares against what it does. A look that could not
//! be taken is a [`Gap`]: never a pass, and never taken for absence.

use std::{cell::Cell, collections::BTreeMap};

use cwii_contract::{
    Denial, Layer, ObjectRef, Plan, Pod, Settings, Source, WorkloadKind, pod::OwnerReference,
    scope::Keys,
};
use cwii_token::{Discovery, Jwks};
use cwii_trust::Library;
use jiff::Timestamp;
use serde::Deserialize as _;

use super::{
    claims::{self, TokenView},
    facts::{Backend, Facts, Need, Owner},
    mechanism::Mechanism,
    object::Object,
};
use crate::{
    facts::{Fact, Issuer},
    report::Subject,
};

/// The needs of every rule that asks which mechanisms a pod has.
pub(crate) const MECHANISMS: &[Need] = &[
    Need::Pod,
    Need::Owners,
    Need::ServiceAccount,
    Need::Namespace,
    Need::WebhookSettings,
    Need::Node,
    Need::Trust,
];

/// A workload's facts, and which of them were looked at.
#[derive(Debug)]
pub struct Case<'a> {
    facts: &'a Facts,
    mechanisms: &'a [Mechanism],
    touched: Cell<u64>,
}

/// Why a rule came to no verdict.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Gap {
    /// It was asked for, and could not be had; the text says why and what would settle it.
    Unknown(Need, String),
    /// It was not asked for; the text says what would settle it.
    NotLookedAt(Need, String),
}

impl<'a> Case<'a> {
    pub(crate) fn new(facts: &'a Facts, mechanisms: &'a [Mechanism]) -> Self {
        Self {
            facts,
            mechanisms,
            touched: Cell::new(0),
        }
    }

    /// The facts, noting that one of them is looked at. For rules that tell failures apart; others take the methods below,
    /// which turn a failure into a [`Gap`].
    pub fn look(&self, need: Need) -> &'a Facts {
        self.touched.set(self.touched.get() | 1 << need as u8);
        self.facts
    }

    /// What was looked at so far.
    #[must_use]
    pub fn touched(&self, need: Need) -> bool {
        self.touched.get() & (1 << need as u8) != 0
    }

    /// The moment of the diagnosis.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.facts.now
    }

    /// The workload's namespace.
    #[must_use]
    pub fn namespace_name(&self) -> &'a str {
        &self.facts.target.namespace
    }

    /// The pod, or one made from the template of a workload that has none.
    ///
    /// # Errors
    ///
    /// It could not be read.
    pub fn pod(&self) -> Result<&'a Object, Gap> {
        known(&self.look(Need::Pod).pod, Need::Pod)?
            .ok_or_else(|| Gap::Unknown(Need::Pod, "there is no pod to look at".into()))
    }

    /// Whether nothing but a template is known of the pod: what webhooks and kubelet add is not missing from it.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.look(Need::Pod).from_template
    }

    /// The name of the pod's ServiceAccount.
    ///
    /// # Errors
    ///
    /// The pod could not be read.
    pub fn service_account_name(&self) -> Result<&'a str, Gap> {
        let name = self
            .pod()?
            .text("/spec/serviceAccountName")
            .filter(|name| !name.is_empty());
        Ok(name.unwrap_or("default"))
    }

    /// `sub` of the pod's tokens.
    ///
    /// # Errors
    ///
    /// The pod could not be read.
    pub fn subject(&self) -> Result<String, Gap> {
        Ok(format!(
            "system:serviceaccount:{}:{}",
            self.namespace_name(),
            self.service_account_name()?
        ))
    }

    /// The mechanisms that the pod has or asks for. What could not be read is taken as silent.
    #[must_use]
    pub fn mechanisms(&self) -> &'a [Mechanism] {
        for need in MECHANISMS {
            self.look(*need);
        }
        self.mechanisms
    }

    /// The controllers above the pod, the nearest first.
    #[must_use]
    pub fn owners(&self) -> &'a [Owner] {
        &self.look(Need::Owners).owners
    }

    /// The topmost controller: what a person edits and restarts.
    #[must_use]
    pub fn top_owner(&self) -> Option<&'a Owner> {
        self.owners().last()
    }

    /// What the webhook would inject into this pod.
    ///
    /// # Errors
    ///
    /// One of the four scopes could not be read.
    pub fn plan(&self) -> Result<Result<Plan, Denial>, Gap> {
        self.service_account()?;
        self.namespace()?;
        let owners: Vec<_> = self
            .owners()
            .iter()
            .filter_map(|owner| Some((workload_kind(owner)?, owner)))
            .collect();
        let has_deployment = owners.iter().any(|(kind, owner)| {
            *kind == WorkloadKind::Deployment && matches!(owner.object, Fact::Known(_))
        });
        for (kind, owner) in owners {
            // A ReplicaSet speaks only where no Deployment does.
            if kind != WorkloadKind::ReplicaSet || !has_deployment {
                known(&owner.object, Need::Owners)?;
            }
        }
        self.look(Need::WebhookSettings);
        Ok(plan(self.facts, self.pod()?))
    }

    /// The pod as the template of its nearest controller makes it, before any admission; none for a pod without one, or
    /// whose controllers could not be read.
    #[must_use]
    pub fn template(&self) -> Option<Object> {
        self.owners().iter().find_map(|owner| match &owner.object {
            Fact::Known(object) => object.template_pod(),
            _ => None,
        })
    }

    /// The webhook's work on this workload, once more: on the template where there is one, else on the pod itself.
    ///
    /// # Errors
    ///
    /// One of the four scopes could not be read.
    pub fn replay(&self) -> Result<Replay, Gap> {
        let Some(template) = self.template() else {
            return Ok(Replay {
                plan: self.plan()?,
                admitted: None,
                template: None,
            });
        };
        // Whatever cannot be read ends this as it ends a plan of the pod itself.
        let _ = self.plan()?;
        let plan = plan(self.facts, &template);
        let admitted = plan.as_ref().ok().and_then(|plan| admit(&template, plan));
        Ok(Replay {
            plan,
            admitted,
            template: Some(template),
        })
    }

    /// The scopes as the contract reads them, in order of precedence.
    ///
    /// # Errors
    ///
    /// One of the four could not be read.
    pub fn layers(&self) -> Result<Vec<Layer>, Gap> {
        let _ = self.plan()?;
        Ok(layers(self.facts, self.pod()?))
    }

    /// Those scopes that could be read, and the plan that they alone make: right in what it says of a value of theirs, not
    /// in what a pod receives.
    ///
    /// # Errors
    ///
    /// The pod could not be read.
    pub fn known(&self) -> Result<(Vec<Layer>, Result<Plan, Denial>), Gap> {
        let pod = self.pod()?;
        for need in [
            Need::Owners,
            Need::ServiceAccount,
            Need::Namespace,
            Need::WebhookSettings,
        ] {
            self.look(need);
        }
        let template = self.template();
        let made = template.as_ref().unwrap_or(pod);
        Ok((layers(self.facts, pod), plan(self.facts, made)))
    }

    /// The place of a setting with provenance.
    #[must_use]
    pub fn source_subject(&self, source: &Source) -> Option<Subject> {
        for need in [
            Need::Pod,
            Need::Owners,
            Need::ServiceAccount,
            Need::Namespace,
        ] {
            self.look(need);
        }
        source_subject(self.facts, source)
    }

    /// A token as the cloud would see it from this mechanism: minted by a probe, written down in a document, or foretold
    /// from the API server's discovery document and the pod.
    ///
    /// # Errors
    ///
    /// None of the three can be had.
    pub fn token(&self, mechanism: &Mechanism) -> Result<TokenView, Gap> {
        for need in claims::NEEDS {
            self.look(*need);
        }
        claims::view(self, self.facts, mechanism)
    }

    /// Trust documents.
    ///
    /// # Errors
    ///
    /// None were given, or the stored ones could not be read.
    pub fn trust(&self) -> Result<&'a Library, Gap> {
        known(&self.look(Need::Trust).trust, Need::Trust)?.ok_or_else(|| not_collected(Need::Trust))
    }
}

/// What the webhook would do to a workload.
#[derive(Debug)]
pub struct Replay {
    /// What it would inject, or why it would refuse the pod.
    pub plan: Result<Plan, Denial>,
    /// The template, as it comes out of the admission.
    pub admitted: Option<Object>,
    /// The template as a pod.
    pub template: Option<Object>,
}

/// A pod as the webhook would patch it; none where it is no pod.
#[must_use]
pub fn admit(pod: &Object, plan: &Plan) -> Option<Object> {
    let parsed = Pod::deserialize(pod.value()).ok()?;
    let operations = serde_json::to_value(cwii_contract::patch(&parsed, plan).operations).ok()?;
    let patch: json_patch::Patch = serde_json::from_value(operations).ok()?;
    let mut value = pod.value().clone();
    json_patch::patch(&mut value, &patch).ok()?;
    Some(pod.with_value(value))
}

macro_rules! look_for {
    ($($(#[$doc:meta])* $name:ident, $need:ident, $type:ty;)*) => {
        impl<'a> Case<'a> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                ///
                /// It could not be read, or nobody asked for it.
                pub fn $name(&self) -> Result<Option<&'a $type>, Gap> {
                    known(&self.look(Need::$need).$name, Need::$need)
                }
            )*
        }
    };
}

look_for! {
    /// The pod's ServiceAccount; none where it does not exist.
    service_account, ServiceAccount, Object;
    /// The namespace.
    namespace, Namespace, Object;
    /// The namespace's ServiceAccounts.
    service_accounts, ServiceAccounts, Vec<Object>;
    /// Other manifests of the namespace.
    others, Others, Vec<Object>;
    /// Events about the pod and its owners.
    events, Events, Vec<Object>;
    /// MutatingWebhookConfigurations.
    webhooks, Webhooks, Vec<Object>;
    /// What stands behind the webhooks.
    backends, Backends, BTreeMap<String, Backend>;
    /// The cwii webhook's settings.
    webhook_settings, WebhookSettings, Settings;
    /// `gitVersion` of the API server.
    version, Version, String;
    /// API groups.
    api_groups, ApiGroups, Vec<String>;
    /// The API server's discovery document.
    discovery, Discovery, Discovery;
    /// The API server's keys.
    jwks, Jwks, Jwks;
    /// The node.
    node, Node, Object;
    /// DaemonSets.
    daemon_sets, DaemonSets, Vec<Object>;
    /// NetworkPolicies of the namespace.
    network_policies, NetworkPolicies, Vec<Object>;
    /// ConfigMaps that the pod uses.
    config_maps, ConfigMaps, Vec<Object>;
    /// ResourceQuotas and LimitRanges.
    quotas, Quotas, Vec<Object>;
    /// The pod as it would be admitted now.
    dry_run, DryRun, Object;
    /// The API server's metrics.
    metrics, Metrics, String;
    /// The published issuer.
    published, Published, Issuer;
}

/// A fact, or why it is none.
pub(crate) fn known<T>(fact: &Fact<T>, need: Need) -> Result<Option<&T>, Gap> {
    let what = need.describe();
    Err(match fact {
        Fact::Known(value) => return Ok(Some(value)),
        Fact::Absent => return Ok(None),
        Fact::Denied(permission) => Gap::Unknown(
            need,
            format!("not allowed to {permission}, which shows {what}"),
        ),
        Fact::Unreachable(why) => Gap::Unknown(need, format!("{what} could not be read: {why}")),
        Fact::TimedOut => Gap::Unknown(need, format!("{what} could not be read in time")),
        Fact::Invalid(why) => Gap::Unknown(need, format!("{what} cannot be used: {why}")),
        Fact::NotCollected => return Err(not_collected(need)),
    })
}

pub(crate) fn not_collected(need: Need) -> Gap {
    let what = need.describe();
    Gap::NotLookedAt(
        need,
        match need.flag() {
            Some(flag) => format!("{flag} would show {what}"),
            None => format!("{what}: neither given nor read"),
        },
    )
}

/// The four scopes of a pod as the contract reads them; what could not be read is left out.
pub(super) fn layers(facts: &Facts, pod: &Object) -> Vec<Layer> {
    let namespace = facts.target.namespace.as_str();
    let keys = |object: &Object| Keys::from_annotations(object.annotations());
    let mut layers = Vec::new();
    if let Ok(parsed) = Pod::deserialize(pod.value()) {
        layers.push(Layer {
            object: parsed.object(namespace),
            keys: parsed.keys(),
        });
    }
    let workloads: Vec<_> = facts
        .owners
        .iter()
        .filter_map(|owner| Some((workload_kind(owner)?, owner)))
        .collect();
    for (kind, owner) in &workloads {
        // A ReplicaSet speaks only where no Deployment does.
        let of_deployment = *kind == WorkloadKind::ReplicaSet
            && workloads
                .iter()
                .any(|(kind, _)| *kind == WorkloadKind::Deployment);
        if let (Fact::Known(object), false) = (&owner.object, of_deployment) {
            layers.push(Layer {
                object: ObjectRef::workload(owner.kind.clone(), namespace, &owner.name),
                keys: keys(object),
            });
        }
    }
    if let Fact::Known(account) = &facts.service_account {
        layers.push(Layer {
            object: ObjectRef::service_account(namespace, account.name()),
            keys: keys(account),
        });
    }
    if let Fact::Known(object) = &facts.namespace {
        layers.push(Layer {
            object: ObjectRef::namespace(namespace),
            keys: keys(object),
        });
    }
    layers
}

/// The kind of a controller, if it is one whose annotations the contract reads.
fn workload_kind(owner: &Owner) -> Option<WorkloadKind> {
    let reference: OwnerReference = serde_json::from_value(serde_json::json!({
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": "",
        "controller": true,
    }))
    .ok()?;
    WorkloadKind::of(&reference)
}

pub(super) fn plan(facts: &Facts, pod: &Object) -> Result<Plan, Denial> {
    let default;
    let settings = match &facts.webhook_settings {
        Fact::Known(settings) => settings,
        _ => match Settings::new(env!("CARGO_PKG_VERSION")) {
            Ok(settings) => {
                default = settings;
                &default
            }
            Err(_) => return Ok(Plan::default()),
        },
    };
    match Pod::deserialize(pod.value()) {
        Ok(parsed) => cwii_contract::plan(&parsed, &layers(facts, pod), settings),
        Err(_) => Ok(Plan::default()),
    }
}

pub(super) fn source_subject(facts: &Facts, source: &Source) -> Option<Subject> {
    let Source::Annotation { object, key } = source else {
        return None;
    };
    let known = [&facts.pod, &facts.service_account, &facts.namespace]
        .into_iter()
        .chain(facts.owners.iter().map(|owner| &owner.object))
        .filter_map(|fact| match fact {
            Fact::Known(known) => Some(known),
            _ => None,
        })
        .find(|known| known.kind() == object.kind && known.name() == object.name);
    Some(match known {
        Some(known) => known.subject_annotation(key),
        None => Subject {
            kind: object.kind.clone().into_owned(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            pointer: Some(format!(
                "/metadata/annotations/{}",
                super::object::escape(key)
            )),
            what: Some(format!("annotation `{key}`")),
            ..Subject::default()
        },
    })
}
