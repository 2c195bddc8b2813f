//! What cwii promises in a cluster.

group! {}
