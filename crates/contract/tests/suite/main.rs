//! The contract, from annotations to patched pods.

#![expect(
    clippy::disallowed_methods,
    reason = "tests read fixtures; the crate itself does not"
)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may unwrap as tests do"
)]

mod golden;
mod messages;
mod properties;
mod seeds;
mod sizes;
mod support;
