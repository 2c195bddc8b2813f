//! The name of a cloud's endpoint does not resolve in the pod.
//!
//! ## What it checks
//!
//! That the pod's DNS resolves the endpoints of its exchanges: the STS host of the region, `sts.googleapis.com` and
//! `iamcredentials.googleapis.com`, the Entra authority. Only the pod's own resolver can tell, so the agent looks.
//!
//! ## Why it matters
//!
//! Without the address no token is presented at all. Private zones and split horizons often know some of the names and
//! not all: the regional STS host, and not the global one.
//!
//! ## How it looks
//!
//! ```text
//! Could not connect to the endpoint URL: "https://sts.eu-central-1.amazonaws.com/"
//! ```
//!
//! ## How to fix it
//!
//! Let the cluster's DNS forward the zone, or add the missing record to the private zone. Check a NetworkPolicy for
//! port 53 (NET06).
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider P` resolves the name and goes on.
//!
//! ## References
//!
//! - Kubernetes, "DNS for Services and Pods": <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>
//! - AWS, "AWS STS endpoints and quotas": <https://docs.aws.amazon.com/general/latest/gr/sts.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("NET01", Elsewhere::InPod);
