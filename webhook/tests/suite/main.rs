//! The webhook over real TLS on loopback, and its binary, with a fake Kubernetes API behind them. One test program: each
//! would link all of it again.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a panic is how a test fails, and files are what it tests with"
)]

mod admission;
mod connections;
mod input;
mod process;
mod support;
