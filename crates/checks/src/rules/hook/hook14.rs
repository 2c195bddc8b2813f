//! The API server's audit log proves that the webhook did not change the pod.
//!
//! ## What it checks
//!
//! The annotations that the API server adds to the audit event of the pod's creation:
//! `mutation.webhook.admission.k8s.io/round_0_index_N` says of each webhook whether it changed the object, and
//! `failed-open.mutation.webhook.admission.k8s.io/round_0_index_N` that it did not answer. The log is kept by the cloud, which
//! takes the cloud's credentials to read.
//!
//! ## Why it matters
//!
//! It is the only record of what happened to one pod. The metrics count, and the pod itself shows the outcome alone.
//!
//! ## How it looks
//!
//! ```text
//! "mutation.webhook.admission.k8s.io/round_0_index_2": "{\"configuration\":\"cwii\",\"webhook\":\"mutate.cwii.dev\",\"mutated\":false}"
//! ```
//!
//! ## How to fix it
//!
//! Query the log for the creation of the pod: CloudWatch Logs Insights on the log group `/aws/eks/CLUSTER/cluster`, Cloud
//! Logging with `protoPayload.methodName="io.k8s.core.v1.pods.create"`, or the table `AKSAudit` of Azure Monitor. Then follow
//! HOOK02 where the webhook is not in the list, HOOK05 to HOOK07 where it failed open, HOOK11 where it answered without a
//! change.
//!
//! ## How to verify the fix
//!
//! The event of the next pod's creation says `"mutated":true`.
//!
//! ## References
//!
//! - Kubernetes, "Dynamic Admission Control", "Monitoring admission webhooks":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#monitoring-admission-webhooks>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("HOOK14", Elsewhere::CloudCredentials);
