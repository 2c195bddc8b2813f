//! The application.

group! {}
