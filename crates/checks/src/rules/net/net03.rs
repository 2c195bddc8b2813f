//! The cloud is reached through a private endpoint, whose policy may refuse what the trust configuration allows.
//!
//! ## What it checks
//!
//! Whether the endpoint's address is a private one (VPC endpoint, Private Service Connect, Private Link). The agent
//! sees the address that the pod's resolver gives.
//!
//! ## Why it matters
//!
//! A private endpoint has a policy of its own. It may refuse `sts:AssumeRoleWithWebIdentity`, or roles of other
//! accounts, with the same words as the trust policy.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
//! ```
//!
//! ## How to fix it
//!
//! Allow the action and the role in the endpoint's policy.
//!
//! ## How to verify the fix
//!
//! The exchange works from a pod that uses the private endpoint: `kubectl cwii verify TYPE/NAME --provider P`.
//!
//! ## References
//!
//! - AWS, "Control access to VPC endpoints using endpoint policies": <https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html>
//! - Google Cloud, "Private Service Connect": <https://cloud.google.com/vpc/docs/private-service-connect>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("NET03", Elsewhere::InPod);
