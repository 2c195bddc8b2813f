//! Entra cannot read the issuer's documents.
//!
//! ## What it checks
//!
//! Whether Entra gets the discovery document and the keys of the issuer. Only its answer to a real token shows it; the rows of
//! the issuer (ISS05 to ISS10) look for the cause from outside.
//!
//! ## Why it matters
//!
//! Entra fetches both from the public internet with a short timeout, and keeps what it got for hours. Private clusters and
//! storage with a firewall cannot federate until their documents are published elsewhere.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS90061: Request to External OIDC endpoint failed.
//! ```
//!
//! ## How to fix it
//!
//! Publish the two documents where anybody can read them, and have the API server's issuer point there.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii issuer check` reads the documents as Entra does.
//!
//! ## References
//!
//! - Azure Workload Identity, "Troubleshooting":
//!   <https://azure.github.io/azure-workload-identity/docs/troubleshooting.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AZ14", Elsewhere::InPod);
