//! What the tests against a real control plane are made of.
//!
//! - [`control_plane()`]: etcd, kube-apiserver and kube-controller-manager, one set per process.
//! - [`Api`]: the API server's objects as JSON.
//! - [`Kubelet`]: runs the injected containers of a pod, as a node would.
//! - [`Node`]: runs whatever pods appear in a namespace, the webhook's own among them, in the cluster's network.
//! - [`Clouds`]: the lab's emulated clouds, which trust that control plane's tokens.
//!
//! Linux only: children are tied to this process by its kernel, and pods are run in its namespaces.

#![expect(
    clippy::disallowed_methods,
    reason = "a harness at the edge: it owns files, processes and deadlines"
)]

mod api;
mod clouds;
mod control_plane;
mod kubelet;
mod neighbour;
mod network;
mod node;
mod pki;
mod process;
mod proxy;
pub mod sandbox;
mod webhook;

pub use api::{Api, ApiError, Object, until};
pub use clouds::Clouds;
pub use control_plane::{
    ControlPlane, NODE, base64, binary, control_plane, control_plane_to_install_on, free_port, say,
    skip, skip_unless_required,
};
pub use kubelet::{BoundPod, Ended, Kubelet, Progress, Ran};
pub use neighbour::Neighbour;
pub use node::Node;
pub use pki::{Authority, Identity};
pub use process::{Process, lasting};
pub use proxy::{ApiProxy, Balancer, Way};
pub use webhook::{FailurePolicy, Replica, Webhook, metric};
