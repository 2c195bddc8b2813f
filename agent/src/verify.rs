//! A verification, whole: the exchange, the issuer's documents where they can tell more, the diagnosis.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cwii_checks::{
    Diagnosis, diagnose,
    facts::{Cause, Exchange, Issuer},
    needs_issuer,
};
use cwii_contract::{Outcome, Provider, VerifyResult, names, verdict::ProviderError};
use cwii_exchange::{Env, Options};
use jiff::{Timestamp, Unit};

use crate::{output, render};

/// What a verification found.
#[derive(Debug)]
pub struct Verification {
    /// The exchange as it went.
    pub exchange: Exchange,
    /// The issuer's documents, where they were fetched.
    pub issuer: Option<Issuer>,
    /// Cause, evidence, exit code.
    pub diagnosis: Diagnosis,
    /// When it ended, by the local clock.
    pub at: Timestamp,
}

/// Longest part of the deadline that looking at the issuer may take: a hint is not worth a pod's start.
const ISSUER_TIMEOUT: Duration = Duration::from_secs(5);

/// Performs the provider's exchange and diagnoses what went wrong.
///
/// Never takes longer than `options.timeout`; a failure of any kind is in the result.
pub async fn verify(provider: Provider, env: &Env, options: &Options) -> Verification {
    let start = Instant::now();
    let exchange = cwii_exchange::exchange(provider, env, options).await;
    let mut issuer = None;
    if let Some(url) = needs_issuer(&exchange) {
        let left = options
            .timeout
            .saturating_sub(start.elapsed())
            .min(ISSUER_TIMEOUT);
        if left > Duration::from_millis(50) {
            let options = Options {
                timeout: left,
                ..options.clone()
            };
            issuer = Some(cwii_exchange::issuer(url, env, &options, provider).await);
        }
    }
    let at = (options.clock)();
    let diagnosis = diagnose(&exchange, issuer.as_ref(), at);
    Verification {
        exchange,
        issuer,
        diagnosis,
        at,
    }
}

impl Verification {
    /// The result as the termination message and `-o json` carry it.
    #[must_use]
    pub fn result(&self) -> VerifyResult {
        let answer = match &self.exchange.result {
            Err(failure) => provider_error(&failure.cause),
            Ok(_) => None,
        };
        let identity: BTreeMap<_, _> = match &self.exchange.result {
            Ok(identity) => identity
                .members
                .iter()
                .map(|(k, v)| ((*k).to_owned(), v.clone()))
                .collect(),
            Err(_) => BTreeMap::new(),
        };
        VerifyResult {
            cwii: VerifyResult::VERSION,
            provider: self.exchange.provider,
            outcome: Outcome::from(self.diagnosis.exit),
            code: self
                .diagnosis
                .cause
                .as_ref()
                .and_then(|c| c.code())
                .map(str::to_owned),
            provider_error: answer.map(|mut error| {
                error.message = output::scrub(&error.message, &self.exchange);
                error
            }),
            identity,
            at: self.at.round(Unit::Second).unwrap_or(self.at).to_string(),
        }
    }

    /// A one-screen summary, a blank line, and the result on one line; at most
    /// [`names::TERMINATION_MESSAGE_MAX_BYTES`] bytes in all. The summary gives way to the result.
    #[must_use]
    pub fn termination_message(&self) -> String {
        const SUMMARY_MAX: usize = 2048;
        let mut summary = render::summary(self);
        if summary.len() > SUMMARY_MAX {
            let mut end = SUMMARY_MAX - '…'.len_utf8();
            while !summary.is_char_boundary(end) {
                end -= 1;
            }
            summary.truncate(end);
            summary.push('…');
        }
        let room = names::TERMINATION_MESSAGE_MAX_BYTES - summary.trim_end().len() - 3;
        format!(
            "{}\n\n{}\n",
            summary.trim_end(),
            self.result().to_line(room)
        )
    }
}

fn provider_error(cause: &Cause) -> Option<ProviderError> {
    match cause {
        Cause::Answer(answer) => Some(ProviderError {
            code: answer.code.clone(),
            message: answer.message.clone(),
        }),
        Cause::Deadline {
            last: Some(last), ..
        } => provider_error(last),
        _ => None,
    }
}
