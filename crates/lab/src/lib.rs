//! An issuer and emulated clouds on loopback that really verify, so that federation can be seen working, and breaking,
//! with no cluster and no account.
//!
//! A [`Lab`] runs servers for AWS STS, EKS Pod Identity, Google STS and IAM credentials, GKE metadata and Entra, and an
//! issuer that mints tokens claim for claim like kube-apiserver. The clouds fetch the issuer's published keys over TLS,
//! check signatures, and decide with `cwii_trust` on documents that lie in a folder in the shapes of the vendors' own
//! command lines. So a lab is wrong in the same places as a real set-up can be: a document, a token, a published key, a
//! clock, the network.
//!
//! - [`scenarios()`] are workloads with a story, for people; [`rows()`] provoke every error of the clouds' catalogue, for tests.
//! - [`Lab::lay_out`] puts a workload on disk as the kubelet would and says which environment it has.
//! - [`Lab::set_fault`] breaks a service while it runs.
//!
//! One rule of the clouds is waived: AWS takes no issuer with a port, and on loopback the lab's issuers have one.
//!
//! It binds loopback only, keeps no state outside itself, and leaves nothing behind when it is dropped.

#![expect(
    clippy::disallowed_methods,
    reason = "the lab is at the edge: it owns files, a clock and an environment for others"
)]

mod aws;
mod case;
mod documents;
mod entra;
mod fault;
mod gke;
mod google;
mod issuer;
mod jwks;
mod keys;
mod lab;
mod pod_identity;
mod record;
mod rows;
mod scenarios;
mod server;
mod sigv4;
mod tls;

pub use case::{Case, Mechanism, TokenFile, Workload, shell_exports};
pub use documents::{Change, Document, Names};
pub use fault::{Certificate, Fault, FaultKind, ForcedAnswer, Service};
pub use issuer::TokenSpec;
pub use keys::{KeyName, Keys};
pub use lab::{Clock, Endpoints, Lab, LabError, Options};
pub use record::{Connection, RecordedRequest, redact};
pub use rows::{CloudAnswer, Provocation, Row, rows};
pub use scenarios::{Scenario, scenarios};
