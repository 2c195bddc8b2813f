//! Federation with Entra ID.

group! {}
