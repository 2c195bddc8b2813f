//! The promise of a check that does not enforce: the process ends with 0, and standard error ends with one known line,
//! whatever happens: a failed check, a bad flag, a panic, a signal, a hang.
//!
//! Whether the run enforces must be known before the arguments are parsed, since parsing itself may fail.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cwii_contract::{Outcome, Provider, VerifyExit, VerifyResult, env, names};
use jiff::Timestamp;

use crate::{cli, output::Output};

/// Who ends the process: the check itself, or one of its last resorts, but only one of them.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Of which cloud the process leaves a result, and where, once that is known.
static RESULT: OnceLock<(Provider, PathBuf)> = OnceLock::new();

/// What the raw arguments and variables ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// A verification that may fail the pod.
    Enforcing,
    /// A verification that may not.
    NonEnforcing,
    /// Another command: it fails as commands do.
    Other,
}

impl Mode {
    /// Reads the mode off arguments that may not parse. Enforcing needs to be asked for in so many words.
    #[must_use]
    pub fn of(arguments: &[OsString], enforce_variable: Option<&str>) -> Self {
        let words: Vec<_> = arguments
            .iter()
            .skip(1)
            .map(|a| a.to_string_lossy())
            .collect();
        let Some(verify) = words
            .iter()
            .position(|w| !w.starts_with('-'))
            .filter(|i| words[*i] == "verify")
        else {
            // `--log LEVEL verify …` has a value before the command.
            return match words.iter().position(|w| w == "verify") {
                Some(at) if words.get(at.wrapping_sub(2)).is_some_and(|w| w == "--log") => {
                    Self::of_flags(&words, enforce_variable)
                }
                _ => Self::Other,
            };
        };
        if words[verify..].iter().any(|w| w == "--help" || w == "-h") {
            return Self::Other;
        }
        Self::of_flags(&words, enforce_variable)
    }

    fn of_flags(words: &[std::borrow::Cow<'_, str>], enforce_variable: Option<&str>) -> Self {
        let flag = words
            .iter()
            .rev()
            .find_map(|w| match w.strip_prefix("--enforce")? {
                "" => Some(true),
                value => cli::boolean(value.strip_prefix('=')?).ok(),
            });
        let variable = || {
            enforce_variable
                .and_then(|v| cli::boolean(v).ok())
                .unwrap_or(false)
        };
        if flag.unwrap_or_else(variable) {
            Self::Enforcing
        } else {
            Self::NonEnforcing
        }
    }

    /// The mode of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let arguments: Vec<_> = std::env::args_os().collect();
        Self::of(&arguments, std::env::var(env::CWII_ENFORCE).ok().as_deref())
    }

    /// Writes the last line where the mode wants one, and gives the code to end with.
    #[must_use]
    pub fn end(self, output: &mut Output, exit: VerifyExit) -> u8 {
        if exit == VerifyExit::Verified {
            return 0;
        }
        match self {
            Self::NonEnforcing => {
                output.error(names::NON_ENFORCING_LAST_LINE);
                0
            }
            Self::Enforcing | Self::Other => exit.code(),
        }
    }

    /// Ends the process from wherever it is, unless it is ending already.
    pub fn end_now(self, exit: VerifyExit, message: &str) {
        if !claim_the_end() {
            return;
        }
        let mut output = Output;
        output.error(message);
        if let Some((provider, path)) = RESULT.get() {
            let outcome = match exit {
                VerifyExit::Unreachable => Outcome::Unreachable,
                _ => Outcome::Error,
            };
            leave_result(&mut output, path, *provider, outcome, message);
        }
        let code = self.end(&mut output, exit);
        std::process::exit(i32::from(code));
    }

    /// Makes a panic end the process as the mode wants. Of the panic only its place is told: its text may quote data.
    pub fn install_panic_hook(self) {
        std::panic::set_hook(Box::new(move |info| {
            let place = info
                .location()
                .map_or_else(|| "an unknown place".into(), ToString::to_string);
            self.end_now(
                VerifyExit::Internal,
                &format!("cwii: internal error at {place}; please report it"),
            );
            // Somebody else is ending the process at this moment: let them finish, but do not wait for ever, since the
            // panic may be theirs.
            std::thread::sleep(Duration::from_secs(1));
            let code = if self == Self::NonEnforcing {
                0
            } else {
                VerifyExit::Internal.code()
            };
            std::process::exit(i32::from(code));
        }));
    }

    /// Ends the process when the deadline has passed and nothing else has: a read that blocks, a clock that stands still.
    pub fn install_watchdog(self, deadline: Duration) {
        const GRACE: Duration = Duration::from_millis(500);
        let spawned = std::thread::Builder::new()
            .name("watchdog".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                std::thread::sleep(deadline + GRACE);
                self.end_now(
                    VerifyExit::Unreachable,
                    "cwii: the verification did not end in time",
                );
            });
        // Without a second thread the check's own deadline still holds.
        drop(spawned);
    }
}

/// Claims the right to end the process; false when somebody else has it.
pub fn claim_the_end() -> bool {
    !ENDED.swap(true, Ordering::SeqCst)
}

/// From here on every end of the process leaves a result for this cloud in this file.
pub fn verifies(provider: Provider, termination_log: &Path) {
    // A process verifies once.
    let _ = RESULT.set((provider, termination_log.to_owned()));
}

/// Writes the termination message of an end that no verification reached: a bad flag, a signal, a last resort.
pub fn leave_result(
    output: &mut Output,
    termination_log: &Path,
    provider: Provider,
    outcome: Outcome,
    message: &str,
) {
    let result = VerifyResult {
        cwii: VerifyResult::VERSION,
        provider,
        outcome,
        code: None,
        provider_error: None,
        identity: std::collections::BTreeMap::new(),
        at: Timestamp::now().to_string(),
    };
    let line = result.to_line(names::TERMINATION_MESSAGE_MAX_BYTES / 2);
    output.termination_message(termination_log, &format!("{message}\n\n{line}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(arguments: &str, variable: Option<&str>) -> Mode {
        let arguments: Vec<OsString> = std::iter::once("cwii-agent")
            .chain(arguments.split_whitespace())
            .map(Into::into)
            .collect();
        Mode::of(&arguments, variable)
    }

    #[test]
    fn enforcing_is_read_before_the_arguments_parse() {
        assert_eq!(mode("verify aws", None), Mode::NonEnforcing);
        assert_eq!(mode("verify aws --enforce", None), Mode::Enforcing);
        assert_eq!(
            mode("verify aws --enforce=true --bogus", None),
            Mode::Enforcing
        );
        assert_eq!(
            mode("verify aws --enforce=false", Some("true")),
            Mode::NonEnforcing
        );
        assert_eq!(mode("verify aws", Some("TRUE")), Mode::Enforcing);
        assert_eq!(mode("verify aws", Some("yes")), Mode::NonEnforcing);
        assert_eq!(mode("--log debug verify aws", None), Mode::NonEnforcing);
        assert_eq!(mode("verify", None), Mode::NonEnforcing);
        assert_eq!(mode("verify --help", None), Mode::Other);
        assert_eq!(mode("token decode verify", None), Mode::Other);
        assert_eq!(mode("", None), Mode::Other);
    }
}
