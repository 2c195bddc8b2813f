//! The federated principal has no role on the resource, or the product does not take federated tokens.
//!
//! ## What it checks
//!
//! Whether the resources that the application uses grant anything to the workload's `principal://` or `principalSet://`. Their
//! policies are read with credentials of the cloud, which the doctor has none of.
//!
//! ## Why it matters
//!
//! Direct federation has no service account in between: each resource must name the principal itself. A few products do not
//! take federated tokens at all; for those a service account has to be impersonated.
//!
//! ## How it looks
//!
//! ```text
//! 401 UNAUTHENTICATED: Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.
//! 403 PERMISSION_DENIED: Permission 'storage.objects.list' denied on resource (or it may not exist).
//! ```
//!
//! ## How to fix it
//!
//! Grant the role to the principal that `kubectl cwii trust suggest` prints, or impersonate a service account that has it
//! where the product takes no federated tokens.
//!
//! ## How to verify the fix
//!
//! The application's call succeeds; Policy Troubleshooter explains it for the principal.
//!
//! ## References
//!
//! - Google Cloud, "Identity federation: products and limitations":
//!   <https://cloud.google.com/iam/docs/federated-identity-supported-services>
//! - Google Cloud, "Principal identifiers": <https://cloud.google.com/iam/docs/principal-identifiers>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("GCP13", Elsewhere::CloudCredentials);
