//! The native exchanges: a ServiceAccount token in, the identity that a cloud makes of it out.
//!
//! Each cloud is one module that reads its inputs as the command-line client of that cloud does (environment, profile,
//! documents), performs the exchange over one HTTP stack, and says who the cloud thinks we are, or where and why it
//! ended. Nothing is interpreted here beyond that: the checks crate turns these facts into a cause and a fix.
//!
//! Three rules hold everywhere. One deadline bounds the whole exchange. Only what is transient is tried again. No token,
//! key or credential leaves a `SecretString` except onto the wire; traces name hosts, statuses and durations.
#![allow(
    clippy::disallowed_methods,
    reason = "this crate is the edge: it reads token files, documents and certificate bundles"
)]

mod answer;
mod aws;
mod az;
mod endpoints;
mod files;
mod gcp;
mod http;
mod issuer;
mod retry;
mod run;
mod token_file;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use cwii_checks::facts::Exchange;
use cwii_contract::Provider;
use jiff::Timestamp;

pub use http::{ResolveError, Resolver, trusted_roots};
pub use issuer::{issuer, jwks};

use run::Run;

/// Runs the exchange of one cloud with these variables, and reports all that was learnt on the way.
///
/// It never fails otherwise: configuration, files, network, answers and the deadline all end in the result's
/// [`Failure`](cwii_checks::facts::Failure). It needs a tokio runtime with I/O and time enabled; one thread is enough.
pub async fn exchange(provider: Provider, env: &Env, options: &Options) -> Exchange {
    let mut run = Run::new(env, options);
    let traffic = run.traffic();
    let ended = {
        let mut exchange = std::pin::pin!(async {
            match provider {
                Provider::Aws => aws::exchange(&mut run).await,
                Provider::Az => az::exchange(&mut run).await,
                Provider::Gcp => gcp::exchange(&mut run).await,
            }
        });
        tokio::select! {
            result = &mut exchange => Ok(result),
            // The exchange is still alive here, so what it waits for can be told.
            () = tokio::time::sleep(options.timeout) => Err(traffic.waiting_for()),
        }
    };
    run.finish(provider, ended)
}

/// Environment variables, as data. `Debug` shows names only: values may be secrets.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// The value of a variable that is set, be it empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a variable that is set and not empty.
    #[must_use]
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The value of a variable that holds more than white space, without the white space around it.
    pub(crate) fn trimmed(&self, name: &str) -> Option<&str> {
        self.get(name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// What the caller decides about an exchange.
#[derive(Clone)]
pub struct Options {
    /// The deadline over everything, from the call on.
    pub timeout: Duration,
    /// Endpoints outside a provider's own domains that the token may be sent to: `HOST` or `HOST:PORT`.
    pub allow_endpoints: Vec<String>,
    /// How many times a denial that a new trust object may cause is tried again, two seconds apart. 0: never.
    pub propagation_retries: u32,
    /// The local clock.
    pub clock: Clock,
}

impl Options {
    /// Options with this deadline and clock, no foreign endpoint allowed, and denials taken at their word.
    pub fn new(timeout: Duration, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            timeout,
            allow_endpoints: Vec::new(),
            propagation_retries: 0,
            clock: Arc::new(clock),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("timeout", &self.timeout)
            .field("allow_endpoints", &self.allow_endpoints)
            .field("propagation_retries", &self.propagation_retries)
            .finish_non_exhaustive()
    }
}

/// A clock that tells the local time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
