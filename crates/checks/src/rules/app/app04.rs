//! The application keeps a token or credentials past their end.
//!
//! ## What it checks
//!
//! Whether an exchange works from the pod now, while the application's log says that its token or credentials are
//! expired. The agent settles the first half; the log is the application's.
//!
//! ## Why it matters
//!
//! The kubelet replaces the token file long before it ends. An application that read it once at its start, or that
//! caches credentials without their end, works for an hour or a day and fails then.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS700024: Client assertion is not within its valid time range.
//! ```
//!
//! ## How to fix it
//!
//! Use the SDK's own provider, which reads the file again, or read the file for each exchange. A restart helps until
//! the next end.
//!
//! ## How to verify the fix
//!
//! The application works for longer than a token's lifetime.
//!
//! ## References
//!
//! - Kubernetes, "Configure Service Accounts for Pods", section "Launch a Pod using service account token projection": <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#launch-a-pod-using-service-account-token-projection>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("APP04", Elsewhere::InPod);
