//! Trust configurations of AWS, Google and Entra: read them, evaluate them as the cloud does, explain the answer.
//!
//! Each cloud has a module of its own with an evaluator that takes a token, the issuer's keys, the documents that people
//! can print with the cloud's own command line or Terraform, and the time. The answer is a [`Verdict`]: what the cloud
//! would grant, or the error that it would return, and in both cases the clause that decided and what it compared.
//!
//! The lab's emulated clouds answer with these verdicts; `doctor` and `trust` print them. So that both agree, there is one
//! evaluator per cloud and no other opinion anywhere. The crate does no I/O and reads no clock.
//!
//! Documents are taken as the whole world: an object that was not given does not exist, unless its documentation says
//! otherwise. Every error carries the row of the error catalogue that its text comes from.

pub mod aws;
mod document;
pub mod entra;
pub mod google;
pub mod judge;
pub mod library;
mod pattern;
pub mod suggest;
mod verdict;

pub use document::{DocumentError, Pointers};
pub use library::{Library, LibraryError, Shape};
pub use verdict::{Clause, CloudError, Comparison, Denial, JwksFact, Lint, NearMiss, Verdict};
