//! How the process ends.

use std::process::ExitCode;

/// What the process ends with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitStatus {
    /// Served and ended as asked.
    Success,
    /// The machine did not give what it takes.
    Failure,
    /// Flags, files or addresses that cannot be used.
    Usage,
}

impl ExitStatus {
    /// All, by their codes.
    pub const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::Usage];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
        }
    }

    /// What it says, without a period.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "served, and ended as asked by SIGTERM or SIGINT",
            Self::Failure => "the machine did not give what it takes: threads, signals, the log",
            Self::Usage => "flags, files or addresses that cannot be used",
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
