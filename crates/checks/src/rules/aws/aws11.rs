//! Asks AWS whether the role exists.
//!
//! ## What it checks
//!
//! Only AWS can tell: a role whose document was not given may exist all the same. A role of the same name with another path is
//! found by AWS10 where its document was given.
//!
//! ## Why it matters
//!
//! STS answers for a role that does not exist as it does for one whose trust policy denies, so that nobody can probe for
//! names. A role that was deleted and made anew has another id, too, and resource policies that name the old one no longer fit.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
//! ```
//!
//! ## How to fix it
//!
//! Create the role, or write the ARN of the one that is meant. `kubectl cwii trust suggest` prints the smallest trust policy.
//!
//! ## How to verify the fix
//!
//! `aws iam get-role --role-name NAME` prints the role, in the account of the ARN.
//!
//! ## References
//!
//! - AWS IAM, "GetRole": <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html>
//! - AWS STS, "AssumeRoleWithWebIdentity":
//!   <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AWS11", Elsewhere::CloudCredentials);
