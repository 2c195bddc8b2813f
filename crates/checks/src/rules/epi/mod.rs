//! EKS Pod Identity.

group! {}
