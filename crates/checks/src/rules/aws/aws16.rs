//! Asks AWS for policies above the role that deny: permission boundary, service and resource control policies.
//!
//! ## What it checks
//!
//! Whether a policy of the organization, a resource control policy on `sts`, a permission boundary or a VPC endpoint policy denies
//! the exchange or what comes after it. Those are read with credentials of the cloud only.
//!
//! ## Why it matters
//!
//! A trust policy that is right admits nobody whom a policy above it denies. Resource control policies apply to
//! `sts:AssumeRoleWithWebIdentity` as well, often with a list of issuers that are allowed.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
//! AccessDenied: User: … is not authorized to perform: s3:GetObject with an explicit deny in a service control policy
//! ```
//!
//! ## How to fix it
//!
//! Have whoever administers the organization admit the issuer or the action.
//!
//! ## How to verify the fix
//!
//! `aws iam simulate-principal-policy` allows the action, and the exchange succeeds.
//!
//! ## References
//!
//! - AWS Organizations, "Resource control policies (RCPs)":
//!   <https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps.html>
//! - AWS IAM, "Policy evaluation logic":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AWS16", Elsewhere::CloudCredentials);
