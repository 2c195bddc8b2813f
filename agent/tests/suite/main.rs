//! The agent as a process, against the lab.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests lay out files, and a panic is how they fail"
)]

mod bad_input;
mod canary;
mod commands;
mod error_rows;
mod pages;
mod promise;
mod scenarios;
mod support;
