//! Asks CloudTrail for refused exchanges of this ServiceAccount.
//!
//! ## What it checks
//!
//! Events `AssumeRoleWithWebIdentity` with an error whose `userIdentity.userName` is the token's subject. It needs credentials of
//! the cloud.
//!
//! ## Why it matters
//!
//! CloudTrail shows what STS saw: the issuer, the subject and the audience of tokens that nobody else has kept.
//!
//! ## How it looks
//!
//! ```text
//! "eventName": "AssumeRoleWithWebIdentity", "errorCode": "AccessDenied", "userIdentity": {"userName": "system:serviceaccount:shop:checkout"}
//! ```
//!
//! ## How to fix it
//!
//! Compare the event's subject and provider with the role's trust policy.
//!
//! ## How to verify the fix
//!
//! New events have no `errorCode`.
//!
//! ## References
//!
//! - AWS IAM, "Logging IAM and AWS STS API calls with AWS CloudTrail":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AWS18", Elsewhere::CloudCredentials);
