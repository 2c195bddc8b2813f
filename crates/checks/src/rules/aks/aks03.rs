//! The AKS cluster's issuer URL does not serve its documents.
//!
//! ## What it checks
//!
//! That the issuer's discovery document and keys can be read from the public internet. `kubectl cwii issuer check` reads them,
//! as ISS05 to ISS10 do with `--probe`.
//!
//! ## Why it matters
//!
//! AKS publishes them itself. After a deployment or an upgrade that went wrong the URL can be there and serve nothing, and
//! every sign-in of every workload fails.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS90061: Request to External OIDC endpoint failed.
//! ```
//!
//! ## How to fix it
//!
//! `az aks update --name CLUSTER -g GROUP` without other flags has AKS put the cluster as it should be; otherwise it is a case
//! for Azure's support.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii issuer check` passes.
//!
//! ## References
//!
//! - Microsoft, "Create an OpenID Connect provider on AKS": <https://learn.microsoft.com/azure/aks/use-oidc-issuer>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AKS03", Elsewhere::Command("issuer check"));
