//! A change of the cluster's issuer would cut off what still uses the old one.
//!
//! ## What it checks
//!
//! What a change of `--service-account-issuer` needs before it is made: the new issuer published, the old one kept as the second,
//! `--api-audiences` kept as it was. `kubectl cwii issuer check` looks at both issuers; the flags of kube-apiserver are nothing
//! that its API shows.
//!
//! ## Why it matters
//!
//! Without `--api-audiences` the API server takes the first issuer as its own audience. A new issuer then makes every token in
//! every pod one for somebody else, and all controllers get `Unauthorized` until they are restarted.
//!
//! ## How it looks
//!
//! ```text
//! Unable to authenticate the request: invalid bearer token, [invalid bearer token, service account token has been invalidated]
//! ```
//!
//! ## How to fix it
//!
//! In steps: set `--api-audiences` to the old issuer explicitly; publish the new issuer's documents; put the new issuer first and
//! the old one second on every control plane; register the new issuer with the clouds; restart workloads; remove the old issuer
//! after the longest token's life.
//!
//! ## How to verify the fix
//!
//! After each step nodes stay `Ready`, and `kubectl auth whoami` works from a pod that was not restarted.
//!
//! ## References
//!
//! - Kubernetes, "kube-apiserver", `--service-account-issuer` and `--api-audiences`:
//!   <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("ISS13", Elsewhere::Command("issuer check"));
