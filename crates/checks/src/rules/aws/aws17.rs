//! Asks AWS whether the role's permissions cover the actions that the workload needs.
//!
//! ## What it checks
//!
//! IAM's policy simulation for a list of actions. It needs credentials of the cloud, and somebody who knows the actions.
//!
//! ## Why it matters
//!
//! An exchange that works says who the pod is, not what it may do. `kubectl cwii doctor` ends where the identity is right.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: User: arn:aws:sts::111122223333:assumed-role/checkout/session is not authorized to perform: s3:GetObject
//! ```
//!
//! ## How to fix it
//!
//! Attach a policy with the action to the role.
//!
//! ## How to verify the fix
//!
//! `aws iam simulate-principal-policy --policy-source-arn ROLE_ARN --action-names ACTION` says `allowed`.
//!
//! ## References
//!
//! - AWS IAM, "IAM policy testing with the IAM policy simulator":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_testing-policies.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AWS17", Elsewhere::CloudCredentials);
