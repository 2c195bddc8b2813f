//! The application.

group! { app01 }
