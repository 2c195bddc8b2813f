//! A workload from the API server to the cloud's trust configuration.
//!
//! [`Facts`] are what was learnt of one workload, each with its own failure. A [`Case`] is how rules see them: every look
//! is noted, and a look that could not be taken ends a rule with a [`Gap`] instead of a verdict. [`examine()`] runs all rules and
//! puts the root cause first.

mod case;
mod claims;
mod examine;
mod facts;
mod mechanism;
mod object;
mod rule;

pub use case::{Case, Gap, Replay, admit};
pub(crate) use case::{MECHANISMS, known, not_collected};
pub(crate) use claims::{NEEDS as TOKEN, unsigned};
pub use claims::{TokenOrigin, TokenView};
pub use examine::{Examination, State, Verdict, examine};
pub use facts::{Backend, Facts, Need, Owner, Permission, Place, Target};
#[cfg(test)]
pub(crate) use mechanism::detect;
pub use mechanism::{Given, Mechanism, MechanismKind, PodToken};
pub(crate) use mechanism::{aws, azure, google, token_at, variable_subject};
pub(crate) use object::escape;
pub use object::{Container, Manager, Object, Origin, ProjectedToken};
pub use rule::{Documentation, Elsewhere, Outcome, Rule, rule, rules};
