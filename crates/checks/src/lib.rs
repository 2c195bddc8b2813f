//! Facts, findings, and the table that turns a provider's error into its meaning.
//!
//! A check is a pure function of facts. The agent uses the slice that an exchange from inside a pod can settle:
//! [`diagnose()`] takes the exchange as it went, the issuer as it was seen, and the clock, and names the cause.
//!
//! The feature `doctor` brings the rest: the facts of a workload ([`doctor::Facts`]), a rule for each code
//! ([`doctor::Rule`]), what becomes of them ([`doctor::examine`]), and the report in all its formats ([`output`]).

pub mod catalogue;
pub mod diagnose;
#[cfg(feature = "doctor")]
pub mod doctor;
pub mod errors;
#[cfg(feature = "doctor")]
pub mod explain;
pub mod facts;
#[cfg(feature = "doctor")]
pub mod output;
pub mod report;
#[cfg(feature = "doctor")]
mod rules;

pub use catalogue::{Entry, Severity};
pub use diagnose::{Diagnosis, diagnose, needs_issuer};
pub use report::{Applicability, Comparison, Evidence, Finding, Fix, Subject};
