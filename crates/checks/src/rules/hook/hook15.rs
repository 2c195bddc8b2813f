//! Pods that should carry an identity run without it, after the webhook was away.
//!
//! ## What it checks
//!
//! All pods of the cluster or of a selection: those whose annotations ask for an identity, and that have no part of it. A
//! sweep lists them grouped by cause, which one workload alone cannot show.
//!
//! ## Why it matters
//!
//! A webhook that fails open for ten minutes leaves pods behind for weeks. They work until they first call the cloud, or
//! work under the node's identity without anybody noticing.
//!
//! ## How it looks
//!
//! Some replicas of a workload fail with missing credentials, the others do not.
//!
//! ## How to fix it
//!
//! Restart the workloads that the sweep lists, once the webhook answers again.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii doctor -A` lists no such pod any more.
//!
//! ## References
//!
//! - Kubernetes, "kubectl rollout restart":
//!   <https://kubernetes.io/docs/reference/kubectl/generated/kubectl_rollout/kubectl_rollout_restart/>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("HOOK15", Elsewhere::Command("doctor -A"));
