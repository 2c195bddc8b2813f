//! The webhook was called for the pod, and decided to leave it as it was.
//!
//! ## What it checks
//!
//! What the webhook itself makes of the workload. For cwii `kubectl cwii plan TYPE/NAME` runs the same decision on the same
//! objects: which scope sets which key, what would be injected, and what is warned of.
//!
//! ## Why it matters
//!
//! A webhook that finds nothing to do answers with no patch, and from outside that looks the same as not having been called.
//! Others write a log line at a verbosity that nobody has switched on.
//!
//! ## How it looks
//!
//! The pod has neither variables nor token, the webhook is healthy, and its log is silent.
//!
//! ## How to fix it
//!
//! Follow what the plan says: the key that is missing, misspelt or overridden in a narrower scope.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii plan TYPE/NAME` shows the injection; a new pod has it.
//!
//! ## References
//!
//! - Kubernetes, "Dynamic Admission Control", "Response":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule =
    Rule::elsewhere("HOOK11", Elsewhere::Command("plan TYPE/NAME"));
