//! The federated identity credential is so new that it may not have spread yet.
//!
//! ## What it checks
//!
//! Whether Entra refuses at first and accepts a few minutes later. Neither the command line nor Graph says when a credential
//! was made, so that only repeated sign-ins show it; the agent makes them.
//!
//! ## Why it matters
//!
//! A credential takes some minutes to reach all of Entra's servers. A workload that is rolled out right after its credential
//! is refused by some of them, with the same text that a wrong credential gives.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS70021: No matching federated identity record found for presented assertion.
//! ```
//!
//! ## How to fix it
//!
//! Wait some minutes and restart the workload, or let its start wait with `cwii.dev/az-verify-enforce`.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider az` signs in.
//!
//! ## References
//!
//! - Azure Workload Identity, "Frequently Asked Questions": <https://azure.github.io/azure-workload-identity/docs/faq.html>
//! - Microsoft, "Important considerations and restrictions for federated identity credentials":
//!   <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AZ06", Elsewhere::InPod);
