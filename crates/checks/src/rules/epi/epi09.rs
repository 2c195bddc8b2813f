//! Asks the EKS Pod Identity Agent from inside the pod.
//!
//! ## What it checks
//!
//! Whether something answers at `169.254.170.23:80`, or `[fd00:ec2::23]:80` on nodes with IPv6. The agent of cwii does so
//! where a pod goes by Pod Identity.
//!
//! ## Why it matters
//!
//! The agent binds both addresses on the node and does not start where IPv6 is off, unless it was told so. Network
//! policies, proxies and the kernel's routing of some network plug-ins keep pods from an address of the node.
//!
//! ## How it looks
//!
//! ```text
//! Error when retrieving credentials from container-role: Error retrieving metadata: … Connect timeout … 169.254.170.23
//! ```
//!
//! ## How to fix it
//!
//! See that the agent runs on this node; turn its IPv6 off in the add-on's configuration where the node has none; let
//! network policies allow the address.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify` names the association's role.
//!
//! ## References
//!
//! - Amazon EKS, "Disable IPv6 in the EKS Pod Identity Agent":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-config-ipv6.html>
//! - Amazon EKS, "Learn how EKS Pod Identity grants pods access to AWS services":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("EPI09", Elsewhere::InPod);
