//! Asks AWS whether STS is active in the region for the account.
//!
//! ## What it checks
//!
//! STS endpoints of most regions can be switched off for an account, and those of opt-in regions are off until the region is
//! switched on. Only the account's settings, or the exchange itself, tell.
//!
//! ## Why it matters
//!
//! SDKs ask the endpoint of their own region. In a region that is off every exchange fails, whatever the trust policy says.
//!
//! ## How it looks
//!
//! ```text
//! RegionDisabledException: STS is not activated in this region for account:111122223333. Your account administrator can activate STS in this region using the IAM Console.
//! ```
//!
//! ## How to fix it
//!
//! Activate STS for the region in the account's settings, or point `AWS_REGION` at one that is active.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify` succeeds; the agent asks the same endpoint as the SDKs.
//!
//! ## References
//!
//! - AWS IAM, "Manage AWS STS in an AWS Region":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html>
//! - AWS STS, "AssumeRoleWithWebIdentity", errors:
//!   <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AWS13", Elsewhere::InPod);
