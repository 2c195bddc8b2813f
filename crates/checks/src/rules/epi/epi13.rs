//! Watches the EKS Pod Identity Agent throttle or fail.
//!
//! ## What it checks
//!
//! Answers of the agent with status 429 or 5xx. They pass, so they are only seen while they happen; the agent of cwii
//! tells them from refusals.
//!
//! ## Why it matters
//!
//! The agent keeps credentials of a pod for hours and has limits of its own. Processes that ask for credentials for every
//! call, many pods that start at once, and throttling by EKS Auth behind it end here.
//!
//! ## How it looks
//!
//! ```text
//! Error when retrieving credentials from container-role: Error retrieving metadata: Received non 200 response 429 from container metadata: Too Many Requests
//! ```
//!
//! ## How to fix it
//!
//! Let SDK clients be made once and keep their credentials, with retries of a few attempts.
//!
//! ## How to verify the fix
//!
//! `kubectl -n kube-system logs daemonset/eks-pod-identity-agent` shows no more of it.
//!
//! ## References
//!
//! - Amazon EKS Auth, "AssumeRoleForPodIdentity", errors:
//!   <https://docs.aws.amazon.com/eks/latest/APIReference/API_auth_AssumeRoleForPodIdentity.html>
//! - Amazon EKS, "Understand how EKS Pod Identity works":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("EPI13", Elsewhere::InPod);
