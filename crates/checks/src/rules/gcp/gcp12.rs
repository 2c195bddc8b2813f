//! Google refuses the exchange itself, or the impersonation that follows it.
//!
//! ## What it checks
//!
//! The real calls, one after the other: the token exchange at `sts.googleapis.com`, then `generateAccessToken` where a service
//! account is impersonated. Only a pod with the workload's own token can make them, so the agent does.
//!
//! ## Why it matters
//!
//! SDKs report both steps as one failure to refresh. Which half failed tells whether pool and provider or the service
//! account's policy is to be mended.
//!
//! ## How it looks
//!
//! ```text
//! google.auth.exceptions.OAuthError: ('Error code invalid_request: …')
//! google.auth.exceptions.RefreshError: ('Unable to acquire impersonated credentials', …)
//! ```
//!
//! ## How to fix it
//!
//! `kubectl cwii explain "ERROR TEXT"` names the checks behind an answer of either step.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider gcp` makes both calls and says how each ended.
//!
//! ## References
//!
//! - Google Cloud, "Method: token": <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>
//! - Google Cloud, "Method: projects.serviceAccounts.generateAccessToken":
//!   <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("GCP12", Elsewhere::InPod);
