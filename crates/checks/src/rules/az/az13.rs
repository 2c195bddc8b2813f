//! The scope that the application asks for is not one of this cloud.
//!
//! ## What it checks
//!
//! The sign-in with the scope that the application uses. The scope stands in the application's code, so that only the agent and
//! the application itself see the answer.
//!
//! ## Why it matters
//!
//! A client-credentials request takes `RESOURCE/.default` and nothing else. Resources of another cloud are unknown, and a
//! resource whose id ends in a slash needs two of them.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS500011: The resource principal named … was not found in the tenant named ….
//! ```
//!
//! ## How to fix it
//!
//! Ask for the resource's scope in this cloud, such as `https://management.azure.com/.default`.
//!
//! ## How to verify the fix
//!
//! The application's token request succeeds.
//!
//! ## References
//!
//! - Microsoft, "Scopes and permissions in the Microsoft identity platform":
//!   <https://learn.microsoft.com/entra/identity-platform/scopes-oidc>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AZ13", Elsewhere::InPod);
