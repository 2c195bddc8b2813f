//! The admission webhooks.

group! {}
