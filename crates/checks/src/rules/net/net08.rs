//! An address family leads nowhere: the name resolves to IPv6 and the pod has no way there, or the other way round.
//!
//! ## What it checks
//!
//! Which addresses the endpoint's name has, and to which of them the pod connects. Only the pod's own routes can tell,
//! so the agent looks.
//!
//! ## Why it matters
//!
//! A dual-stack name on a cluster with one family costs a timeout for each address, in each exchange, before the other
//! one is tried; some clients never try it.
//!
//! ## How it looks
//!
//! ```text
//! dial tcp [2600:1f18::1]:443: connect: network is unreachable
//! ```
//!
//! ## How to fix it
//!
//! Use an endpoint of the family that the pod has (`AWS_USE_DUALSTACK_ENDPOINT`), or give the pod a way to the other
//! one.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider P` connects at once.
//!
//! ## References
//!
//! - Kubernetes, "IPv4/IPv6 dual-stack": <https://kubernetes.io/docs/concepts/services-networking/dual-stack/>
//! - AWS, "Dual-stack and FIPS endpoints": <https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("NET08", Elsewhere::InPod);
