//! Exit codes of an enforcing `cwii-agent verify`.

/// What an enforcing verification ends with. Without `--enforce` the process ends with 0 whatever happened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum VerifyExit {
    /// The cloud accepted the token.
    Verified = 0,
    /// The configuration is missing or invalid; nothing was asked.
    Configuration = 10,
    /// The token file is missing, unreadable or not a token; nothing was asked.
    Token = 11,
    /// The cloud said no.
    Denied = 20,
    /// The cloud could not be asked, after retries.
    Unreachable = 30,
    /// A defect of the agent.
    Internal = 70,
}

impl VerifyExit {
    /// All, by their numbers.
    pub const ALL: [Self; 6] = [
        Self::Verified,
        Self::Configuration,
        Self::Token,
        Self::Denied,
        Self::Unreachable,
        Self::Internal,
    ];

    /// What it says, without a period.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Verified => "the cloud accepted the token",
            Self::Configuration => "the configuration is missing or invalid; nothing was sent",
            Self::Token => "the token file is missing, unreadable or not a token; nothing was sent",
            Self::Denied => "the cloud said no",
            Self::Unreachable => {
                "the cloud could not be asked, after retries; `--on-unreachable allow` makes it 0"
            }
            Self::Internal => "a defect of the agent",
        }
    }

    /// The number that the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}
