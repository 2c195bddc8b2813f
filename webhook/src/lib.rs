//! The admission server that injects what cwii promises.
//!
//! An admission goes from bytes to bytes: [`review`] finds the pod in the request, [`lookup`] the objects that speak for
//! it, the contract plans and patches, [`review`] writes the answer. What the cluster looks like is kept by [`watch`] in
//! a few bytes per object; [`server`] and [`tls`] keep connections and certificate.
//!
//! Nothing here decides what a pod receives. Where this crate cannot know, it says so as an HTTP error and leaves the
//! decision to failurePolicy: it neither admits a pod silently without what it asked for, nor denies one for an outage.
#![allow(
    clippy::disallowed_methods,
    reason = "the webhook is an edge: clock, files and environment are its work"
)]

pub mod app;
mod bounded;
pub mod cli;
pub mod cluster;
pub mod credentials;
pub mod delivery;
mod dns;
pub mod exit;
pub mod kind;
pub mod log;
pub mod lookup;
pub mod metrics;
pub mod object;
mod pair;
pub mod review;
pub mod rotation;
pub mod run;
pub mod server;
pub mod share;
pub mod store;
pub mod tls;
pub mod watch;

pub use cli::Options;
pub use run::run;
