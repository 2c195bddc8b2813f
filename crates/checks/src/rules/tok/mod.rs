//! The token.

group! {}
