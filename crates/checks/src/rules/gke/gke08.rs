//! GKE's metadata server does not answer the pod, or not in time.
//!
//! ## What it checks
//!
//! That the metadata server answers within the first seconds of a pod, and which e-mail it gives. Only from inside the pod
//! that is seen; the agent waits and asks.
//!
//! ## Why it matters
//!
//! On a new node pods may start before the metadata server does. For some seconds connections are refused, and applications
//! that ask once at their start give up or fall back to no credentials.
//!
//! ## How it looks
//!
//! ```text
//! Get "http://169.254.169.254/computeMetadata/v1/…": dial tcp 169.254.169.254:80: connect: connection refused
//! ```
//!
//! ## How to fix it
//!
//! Let the application try again, or wait in an init container: the agent with `cwii.dev/gcp-verify-enforce` does.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider gcp` asks the metadata server.
//!
//! ## References
//!
//! - Google Cloud, "Troubleshoot authentication in GKE", pod cannot authenticate at start:
//!   <https://cloud.google.com/kubernetes-engine/docs/troubleshooting/authentication>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("GKE08", Elsewhere::InPod);
