//! Compares the session that is asked for with the longest that the role allows.
//!
//! ## What it checks
//!
//! `DurationSeconds` of the request against the role's `MaxSessionDuration`. The SDKs ask for none with a web identity and get
//! an hour, which every role allows; a duration comes from an application's own call, which is only seen where it is made.
//!
//! ## Why it matters
//!
//! A role's maximum is an hour unless somebody raised it. An application that asks for twelve gets nothing.
//!
//! ## How it looks
//!
//! ```text
//! ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.
//! ```
//!
//! ## How to fix it
//!
//! Ask for less, or raise the role's maximum, to 43200 seconds at most:
//! `aws iam update-role --role-name NAME --max-session-duration SECONDS`.
//!
//! ## How to verify the fix
//!
//! The application's own exchange succeeds.
//!
//! ## References
//!
//! - AWS STS, "AssumeRoleWithWebIdentity", `DurationSeconds`:
//!   <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
//! - AWS IAM, "Update the maximum session duration for a role":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_update-role-settings.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AWS14", Elsewhere::InPod);
