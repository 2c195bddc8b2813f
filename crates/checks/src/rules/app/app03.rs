//! The application's SDK is older than the mechanism that it is to use.
//!
//! ## What it checks
//!
//! Whether the SDK or CLI in the image knows web identity tokens, Pod Identity's endpoint, `external_account`
//! documents or federated credentials. Versions stand in the image and nowhere in the cluster; an image with the CLI
//! tells with `--version`.
//!
//! ## Why it matters
//!
//! An SDK that does not know a variable passes over it in silence, and goes on to the node's identity.
//!
//! ## How it looks
//!
//! ```text
//! Unable to locate credentials. You can configure credentials by running "aws configure".
//! ```
//!
//! ## How to fix it
//!
//! Upgrade the SDK to the version that the vendor's page names.
//!
//! ## How to verify the fix
//!
//! The identity of a call from the application is the workload's own.
//!
//! ## References
//!
//! - AWS, "Use IRSA with the AWS SDK": <https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts-minimum-sdk.html>
//! - AWS, "Use Pod Identity with the AWS SDK": <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-minimum-sdk.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("APP03", Elsewhere::InPod);
