//! Tables of what the clouds decide, with tokens that are really signed.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests panic as the tests themselves do"
)]

mod aws_documents;
mod aws_policy;
mod aws_sts;
mod entra;
mod google;
mod library;
mod pod_identity;
mod properties;
mod suggest;
mod support;
#[path = "../table/mod.rs"]
mod table;
mod trust_table;
