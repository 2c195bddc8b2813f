//! The agent: one verification from inside a pod, and what it says about it.
//!
//! The library is the binary without its process: environment, clock and options are parameters, so the lab's tour
//! and the tests run many agents in one process. What belongs to the process alone (arguments, signals, the panic
//! hook, the deadline's last resort) is in the binary.
#![allow(
    clippy::disallowed_methods,
    reason = "the agent is an edge: clock and files are its work"
)]

pub mod cli;
pub mod credentials;
pub mod decode;
pub mod output;
pub mod promise;
pub mod render;
pub mod verify;

pub use verify::{Verification, verify};
