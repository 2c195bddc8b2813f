//! How a command ends. The same whatever the output format.

use std::process::ExitCode;

use serde::Serialize;

/// How a command ended, as a process says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(into = "u8")]
pub(crate) enum ExitStatus {
    /// Nothing is wrong.
    Success,
    /// Findings at or above `--fail-on`.
    Findings,
    /// Wrong usage, a target that does not exist, or nothing that could be evaluated.
    Usage,
    /// Nothing failed, but something that was asked for could not be settled.
    Inconclusive,
    /// `--timeout` passed.
    TimedOut,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl ExitStatus {
    /// All, by their codes.
    pub(crate) const ALL: [Self; 7] = [
        Self::Success,
        Self::Findings,
        Self::Usage,
        Self::Inconclusive,
        Self::TimedOut,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// What it says, without a period.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "clean",
            Self::Findings => "findings at or above `--fail-on` (default `error`)",
            Self::Usage => {
                "wrong usage, a target that does not exist, or nothing that could be evaluated"
            }
            Self::Inconclusive => {
                "nothing failed, but something that was asked for could not be settled; `--allow-unknown` makes it 0"
            }
            Self::TimedOut => "`--timeout` passed; what was found by then is printed",
            Self::Interrupted => "interrupted (SIGINT); what was found by then is printed",
            Self::Terminated => "terminated (SIGTERM); what was found by then is printed",
        }
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Findings => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            // As `timeout(1)` has it.
            Self::TimedOut => 124,
            // 128 and the number of the signal, as shells have it.
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl ExitStatus {
    /// The status with this code.
    pub(crate) fn of(code: u8) -> Self {
        Self::ALL
            .into_iter()
            .find(|status| status.code() == code)
            .unwrap_or(Self::Usage)
    }
}

impl From<ExitStatus> for u8 {
    fn from(status: ExitStatus) -> Self {
        status.code()
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
