//! The issuer and its keys.

group! {}
