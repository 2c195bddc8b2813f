//! What the doctor says: one model, many renderers.
//!
//! A [`Report`] holds what all rules came to on one workload, a [`Sweep`] what they came to on many. The exit code is settled
//! in the model, before a format is chosen, so it is the same in all of them. Renderers are pure: a document and a style in,
//! one text out. Whatever came from a cluster, a token or a document is escaped where it is written, so a renderer can be
//! handed anything.

mod model;
mod stage;
mod sweep;

pub use model::{
    Applicability, CheckResult, Cluster, Comparison, Context, Evidence, Fix, Level, Mechanism,
    Place, Policy, Report, Schema, Status, Step, StepState, Summary, Tool, Verdict,
};
pub use stage::Stage;
pub use sweep::{Group, Sweep, SweepBuilder, SweepSummary, Unsettled, WorkloadRow};
