//! AWS federation: IAM roles and OIDC providers.

group! {}
