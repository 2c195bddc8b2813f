//! What cwii promises in a cluster: names, paths, variables, exit codes, the values they hold, parsed, and what follows
//! from them for a pod.
//!
//! Everything that a user, a manifest or a dashboard may rely on stands here once. The webhook writes it, the agent
//! reads it, `doctor` compares it. The crate does no I/O and reads no clock.
//!
//! From an admission to its patch: [`Pod`] is read from raw JSON, the four scopes become [`Layer`]s, [`plan`](plan::plan)
//! decides, [`patch`](patch::patch) writes it down.

pub mod annotations;
pub mod deployed;
pub mod difference;
pub mod effective;
pub mod env;
pub mod exit;
pub mod external_account;
pub mod image;
pub mod message;
pub mod names;
pub mod patch;
pub mod plan;
pub mod pod;
pub mod provider;
mod resolve;
pub mod scope;
pub mod settings;
pub mod spec;
pub mod types;
pub mod verdict;

pub use deployed::{Deployed, deployed};
pub use difference::{Difference, differences};
pub use effective::{Effective, Setting, Source};
pub use exit::VerifyExit;
pub use external_account::ExternalAccount;
pub use message::{Denial, Warning};
pub use patch::{Patch, patch};
pub use plan::{Plan, plan};
pub use pod::{Pod, Workload, WorkloadKind};
pub use provider::Provider;
pub use scope::{Keys, Layer, ObjectRef, Scope};
pub use settings::Settings;
pub use verdict::{Outcome, VerifyResult};
