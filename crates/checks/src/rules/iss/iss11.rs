//! The control planes of one cluster sign tokens with different keys.
//!
//! ## What it checks
//!
//! The `kid` of several tokens minted one after the other, each by whichever control plane answers, against the published keys.
//! One workload's diagnosis mints one; `kubectl cwii issuer check` looks at the keys themselves.
//!
//! ## Why it matters
//!
//! In a cluster with several control planes each has the file of its own signing key. Where one was set up with another key, a
//! share of all tokens is refused, and the share changes with the load balancer.
//!
//! ## How it looks
//!
//! The same workload is accepted in one attempt and refused in the next.
//!
//! ## How to fix it
//!
//! Copy the signing key of one control plane to the others, and give all of them the same `--service-account-key-file`.
//!
//! ## How to verify the fix
//!
//! `for i in 1 2 3 4 5 6; do kubectl create token default | kubectl cwii token decode - | grep kid; done` prints one key id.
//!
//! ## References
//!
//! - Kubernetes, "PKI certificates and requirements":
//!   <https://kubernetes.io/docs/setup/best-practices/certificates/>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("ISS11", Elsewhere::Command("issuer check"));
