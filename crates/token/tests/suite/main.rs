//! The crate from outside: vectors of the RFCs, tokens that ring and p521 sign, and whatever proptest thinks of.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows it in tests, not in the fixtures that tests share"
)]

mod hygiene;
mod properties;
mod rfc;
mod select;
mod support;
mod verify;
