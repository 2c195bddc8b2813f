//! Federation with Google Cloud.

group! {}
