//! The one policy by which anything is tried again, whatever the cloud.
//!
//! Transient trouble only: the network, 429, and what the error table of the checks crate calls transient (5xx, AWS's
//! `IDPCommunicationError` and throttling codes). Full jitter (Amazon Architecture Blog, "Exponential Backoff And
//! Jitter"), `Retry-After` honoured where it fits into the deadline, and never a wait that cannot end before it: then
//! the last failure is reported at once. A denial is final, unless the caller asks for patience with trust objects that
//! are only seconds old.

use std::time::{Duration, SystemTime};

use cwii_checks::{
    errors,
    facts::{Answer, Cause, Step, TransportProblemKind},
};
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::Instant;

use crate::{http::Trouble, run::Run};

/// How often, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Tries in all.
    pub(crate) attempts: u32,
    /// As long as this after the first try, a refused connection costs no try: a server that is about to start.
    pub(crate) awaited: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 3,
            awaited: Duration::ZERO,
        }
    }
}

/// A try that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) cause: Cause,
    /// Whether the layer that failed thinks that another try may work; for answers the error table decides.
    transient: bool,
    retry_after: Option<Duration>,
}

impl Failed {
    /// The provider's answer, and how long it asked to wait.
    pub(crate) fn answer(answer: Answer, retry_after: Option<Duration>) -> Self {
        Self {
            cause: Cause::Answer(answer),
            transient: false,
            retry_after,
        }
    }
}

impl From<Cause> for Failed {
    fn from(cause: Cause) -> Self {
        Self {
            cause,
            transient: false,
            retry_after: None,
        }
    }
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self {
            cause: Cause::Transport(trouble.problem),
            transient: trouble.transient,
            retry_after: None,
        }
    }
}

/// Takes a step, as often as the policy allows.
pub(crate) async fn attempt<T>(
    run: &mut Run<'_>,
    step: Step,
    mut call: impl AsyncFnMut(&mut Run<'_>) -> Result<T, Failed>,
) -> Result<T, Cause> {
    run.begin(step);
    let started = Instant::now();
    let mut tries = 0;
    let mut patience = run.options.propagation_retries;
    loop {
        run.attempts += 1;
        let failed = match call(run).await {
            Ok(value) => return Ok(value),
            Err(failed) => failed,
        };
        let Verdict {
            again,
            base,
            patient,
        } = judge(step, &failed);
        let refused =
            matches!(&failed.cause, Cause::Transport(p) if p.kind == TransportProblemKind::Refused);
        let awaited = refused && started.elapsed() < run.policy.awaited;
        if !awaited {
            tries += 1;
        }
        let wait = if again && tries < run.policy.attempts {
            let exponent = tries.saturating_sub(1).min(5);
            failed
                .retry_after
                .unwrap_or_else(|| jitter((base * 2_u32.pow(exponent)).min(LONGEST_WAIT)))
        } else if patient && patience > 0 {
            patience -= 1;
            PROPAGATION_WAIT
        } else {
            return Err(failed.cause);
        };
        if wait >= run.remaining() {
            tracing::debug!(?step, ?wait, "no time left for another try");
            return Err(failed.cause);
        }
        tracing::debug!(?step, attempt = run.attempts, ?wait, "trying again");
        run.last = Some(failed.cause);
        tokio::time::sleep(wait).await;
    }
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3), against our own clock. A date that has passed is
/// no wait at all.
pub(crate) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(
        date.duration_since(SystemTime::from(now))
            .unwrap_or(Duration::ZERO),
    )
}

struct Verdict {
    again: bool,
    base: Duration,
    patient: bool,
}

fn judge(step: Step, failed: &Failed) -> Verdict {
    match &failed.cause {
        Cause::Answer(answer) => {
            let class = errors::classify(step, answer);
            Verdict {
                again: class.transient,
                base: if is_throttling(answer) {
                    THROTTLED_BASE
                } else {
                    BASE
                },
                patient: class.propagating,
            }
        }
        _ => Verdict {
            again: failed.transient,
            base: BASE,
            patient: false,
        },
    }
}

fn is_throttling(answer: &Answer) -> bool {
    answer.status == 429
        || answer
            .code
            .as_deref()
            .is_some_and(|code| code.starts_with("Throttl") || code == "quota_exceeded")
}

/// A random part of `longest`. Without randomness the whole of it: late is better than all at once.
fn jitter(longest: Duration) -> Duration {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => longest.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)),
        Err(_) => longest,
    }
}

/// First wait at most; doubled with each try.
const BASE: Duration = Duration::from_millis(500);
/// The same after an answer that says "too many requests" without saying for how long.
const THROTTLED_BASE: Duration = Duration::from_secs(1);
/// No wait of our own choice is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// IAM takes 3 to 10 seconds to spread a change; two of these waits cover the most of it.
const PROPAGATION_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (value, expected) in [
            ("3", Some(3)),
            (" 120 ", Some(120)),
            ("Thu, 01 Jan 2026 00:00:07 GMT", Some(7)),
            ("Wed, 31 Dec 2025 23:59:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(
                retry_after(value, now).map(|d| d.as_secs()),
                expected,
                "{value:?}"
            );
        }
    }

    #[test]
    fn jitter_stays_within_its_bound() {
        for _ in 0..100 {
            assert!(jitter(BASE) <= BASE);
        }
    }

    #[test]
    fn denials_are_final_and_trouble_is_not() {
        let answer = |status, code: &str, message: &str| {
            Failed::answer(
                Answer {
                    status,
                    code: Some(code.into()),
                    message: message.into(),
                    request_id: None,
                },
                None,
            )
        };
        let step = Step::AssumeRoleWithWebIdentity;
        let denied = judge(
            step,
            &answer(
                403,
                "AccessDenied",
                "Not authorized to perform sts:AssumeRoleWithWebIdentity",
            ),
        );
        assert!(!denied.again && denied.patient);
        for (status, code) in [
            (400, "IDPCommunicationError"),
            (400, "Throttling"),
            (503, "ServiceUnavailable"),
        ] {
            assert!(judge(step, &answer(status, code, "x")).again, "{code}");
        }
        assert_eq!(
            judge(step, &answer(400, "Throttling", "Rate exceeded")).base,
            THROTTLED_BASE
        );
    }
}
