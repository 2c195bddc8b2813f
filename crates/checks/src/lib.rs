//! Facts, findings, and the table that turns a provider's error into its meaning.
//!
//! A check is a pure function of facts. The agent uses the slice that an exchange from inside a pod can settle:
//! [`diagnose()`] takes the exchange as it went, the issuer as it was seen, and the clock, and names the cause.

pub mod catalogue;
pub mod diagnose;
pub mod errors;
pub mod facts;
pub mod report;

pub use catalogue::{Entry, Severity};
pub use diagnose::{Diagnosis, diagnose, needs_issuer};
pub use report::{Evidence, Finding, Fix};
