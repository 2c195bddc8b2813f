//! What cwii promises in a cluster: names, paths, variables, exit codes, and the values they hold, parsed.
//!
//! Everything that a user, a manifest or a dashboard may rely on stands here once. The webhook writes it, the agent
//! reads it, `doctor` compares it. The crate does no I/O and reads no clock.

pub mod annotations;
pub mod env;
pub mod exit;
pub mod external_account;
pub mod names;
pub mod provider;
pub mod types;
pub mod verdict;

pub use exit::VerifyExit;
pub use external_account::ExternalAccount;
pub use provider::Provider;
pub use verdict::{Outcome, VerifyResult};
