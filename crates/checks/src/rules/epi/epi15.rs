//! Looks whether the SDK in the pod takes credentials from the agent's address.
//!
//! ## What it checks
//!
//! The version of the SDK, which only the container's image knows. Versions from before the end of 2023 accept the
//! addresses of ECS and loopback alone.
//!
//! ## Why it matters
//!
//! Such an SDK refuses the endpoint that EKS set and ends there; it does not go on to the next provider.
//!
//! ## How it looks
//!
//! ```text
//! Unsupported host '169.254.170.23'.  Can only retrieve metadata from these hosts: 169.254.170.2, localhost, 127.0.0.1
//! ```
//!
//! ## How to fix it
//!
//! Update the SDK to at least the version that the vendor's table names.
//!
//! ## How to verify the fix
//!
//! The application gets credentials; `aws --version` of the image is one of the table.
//!
//! ## References
//!
//! - Amazon EKS, "Use pod identity with the AWS SDK":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-minimum-sdk.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("EPI15", Elsewhere::InPod);
