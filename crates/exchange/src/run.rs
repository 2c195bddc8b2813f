//! One exchange under way: what was read, what was noticed, where it stands.

use std::{sync::Arc, time::Duration};

use cwii_checks::facts::{
    Cause, ConfigurationProblem, ConfigurationProblemKind, Exchange, Failure, Identity, Input,
    Mechanism, Note, PresentedToken, Step, TransportProblem,
};
use cwii_contract::Provider;
use tokio::time::Instant;

use crate::{Clock, Env, Options, http::Traffic, retry::Policy};

/// The record that a cloud's module fills in while it works.
pub(crate) struct Run<'a> {
    pub(crate) env: &'a Env,
    pub(crate) options: &'a Options,
    pub(crate) mechanism: Option<Mechanism>,
    pub(crate) token: Option<PresentedToken>,
    /// The step that is being taken.
    pub(crate) step: Step,
    /// How many times it has been tried.
    pub(crate) attempts: u32,
    /// What went wrong at the last try.
    pub(crate) last: Option<Cause>,
    pub(crate) policy: Policy,
    inputs: Vec<Input>,
    notes: Vec<Note>,
    deadline: Instant,
    traffic: Arc<Traffic>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(env: &'a Env, options: &'a Options) -> Self {
        Self {
            env,
            options,
            mechanism: None,
            token: None,
            step: Step::Configuration,
            attempts: 0,
            last: None,
            policy: Policy::default(),
            inputs: Vec::new(),
            notes: Vec::new(),
            deadline: Instant::now() + options.timeout,
            traffic: Arc::default(),
        }
    }

    /// Records a value that decides something.
    pub(crate) fn input(
        &mut self,
        name: &'static str,
        value: impl Into<String>,
        source: impl Into<String>,
    ) {
        self.inputs.push(Input {
            name,
            value: value.into(),
            source: source.into(),
        });
    }

    /// Records something worth saying beside the verdict.
    pub(crate) fn note(&mut self, code: Option<&'static str>, text: impl Into<String>) {
        let note = Note {
            code,
            text: text.into(),
        };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Begins a step: from here on failures are its own.
    pub(crate) fn begin(&mut self, step: Step) {
        self.step = step;
        self.attempts = 0;
        self.last = None;
    }

    /// Time until the deadline.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(crate) fn clock(&self) -> Clock {
        self.options.clock.clone()
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    /// The whole record, once the exchange has ended: with its result, or at the deadline with what was waited for then.
    pub(crate) fn finish(
        self,
        provider: Provider,
        ended: Result<Result<Identity, Cause>, Option<TransportProblem>>,
    ) -> Exchange {
        let result = match ended {
            Ok(Ok(identity)) => Ok(identity),
            Ok(Err(cause)) => Err(cause),
            Err(waiting_for) => Err(Cause::Deadline {
                after_ms: u64::try_from(self.options.timeout.as_millis()).unwrap_or(u64::MAX),
                last: self
                    .last
                    .or(waiting_for.map(Cause::Transport))
                    .map(Box::new),
            }),
        };
        Exchange {
            provider,
            mechanism: self.mechanism,
            inputs: self.inputs,
            token: self.token,
            result: result.map_err(|cause| Failure {
                step: self.step,
                cause,
                attempts: self.attempts,
            }),
            server_clock: self.traffic.server_clock(),
            notes: self.notes,
            wire: self.traffic.wire(),
        }
    }
}

/// A configuration problem as the cause of a failure.
pub(crate) fn misconfigured(
    kind: ConfigurationProblemKind,
    name: impl Into<String>,
    source: impl Into<String>,
    problem: impl Into<String>,
) -> Cause {
    Cause::Configuration(ConfigurationProblem {
        name: name.into(),
        source: source.into(),
        problem: problem.into(),
        kind,
    })
}

/// Where a variable comes from, as [`ConfigurationProblem::source`].
pub(crate) const ENVIRONMENT: &str = "environment";
