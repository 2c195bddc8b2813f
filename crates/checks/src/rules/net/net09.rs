//! The node's metadata service answers the pod, so that a failed federation falls back to the node's identity.
//!
//! ## What it checks
//!
//! Whether `169.254.169.254` answers the pod, and with which identity. The agent asks; the doctor cannot see the hop
//! limit of an instance or the rules of a node.
//!
//! ## Why it matters
//!
//! SDKs end their search at the metadata service. A broken federation then does not fail: the pod works with the
//! node's rights, which are other ones, and often wider.
//!
//! ## How it looks
//!
//! ```text
//! User: arn:aws:sts::111122223333:assumed-role/node-role/i-0123456789abcdef0 is not authorized to perform: s3:GetObject
//! ```
//!
//! ## How to fix it
//!
//! Set the hop limit of the instances to 1 and require IMDSv2, use GKE's metadata server, or block the address with a
//! NetworkPolicy.
//!
//! ## How to verify the fix
//!
//! A request from the pod to `169.254.169.254` is refused or times out, and the identity of the exchange is the
//! workload's own.
//!
//! ## References
//!
//! - AWS, "Restrict access to the instance profile assigned to the worker node": <https://docs.aws.amazon.com/eks/latest/best-practices/identity-and-access-management.html>
//! - Google Cloud, "Protecting cluster metadata": <https://cloud.google.com/kubernetes-engine/docs/how-to/protecting-cluster-metadata>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("NET09", Elsewhere::InPod);
