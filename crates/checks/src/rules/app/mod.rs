//! The application.

group! { app01 app02 app03 app04 app05 app06 }
