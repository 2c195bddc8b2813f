//! Tests against a real kube-apiserver and etcd, found through `KUBEBUILDER_ASSETS`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read files and the clock, and fail where something is not as it must be"
)]

mod bad_input;
mod chart;
mod creators;
mod doctor;
mod golden;
mod install;
mod neighbours;
mod outage;
mod owners;
mod person;
mod rotation;
mod runner;
mod support;
mod verify;
mod zero_unmutated;
