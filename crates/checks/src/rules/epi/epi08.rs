//! Asks AWS whether the node's role may ask EKS for credentials of pods.
//!
//! ## What it checks
//!
//! The agent calls `eks-auth:AssumeRoleForPodIdentity` with the role of its node. The permission is part of
//! `AmazonEKSWorkerNodePolicy`; whether the role has it is read with credentials of the cloud.
//!
//! ## Why it matters
//!
//! Without it no pod of the node gets credentials, and the trust policy of the pods' roles has nothing to do with it.
//! Node roles with hand-made policies lack it.
//!
//! ## How it looks
//!
//! ```text
//! (AccessDeniedException): User: arn:aws:sts::111122223333:assumed-role/node/i-0123456789abcdef0 is not authorized to perform: eks-auth:AssumeRoleForPodIdentity
//! ```
//!
//! ## How to fix it
//!
//! Attach `AmazonEKSWorkerNodePolicy` to the node's role, or allow the action on the cluster.
//!
//! ## How to verify the fix
//!
//! `kubectl -n kube-system logs daemonset/eks-pod-identity-agent` has no such error any more.
//!
//! ## References
//!
//! - Amazon EKS, "Amazon EKS node IAM role":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html>
//! - Amazon EKS, "Set up the Amazon EKS Pod Identity Agent":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("EPI08", Elsewhere::CloudCredentials);
