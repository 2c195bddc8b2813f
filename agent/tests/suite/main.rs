//! The agent as a process, against the lab.

mod bad_input;
mod canary;
mod commands;
mod error_rows;
mod promise;
mod scenarios;
mod support;
