//! The network.

group! {}
