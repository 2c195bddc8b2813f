//! The issuer's server answers some readers and not others.
//!
//! ## What it checks
//!
//! Whether the documents are served whoever asks: without a `User-Agent`, with another one, from another address. It takes several
//! requests that a diagnosis of one workload does not make; `kubectl cwii issuer check` makes them.
//!
//! ## Why it matters
//!
//! Web application firewalls, bot rules, storage firewalls and country filters let a person's browser through and refuse the
//! cloud's fetcher. Everything looks right from a desk.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS90061: Request to External OIDC endpoint failed.
//! ```
//!
//! ## How to fix it
//!
//! Exempt the two paths from the rules. In S3, let the bucket policy admit `s3:GetObject` on them, and Block Public Access with it;
//! in Azure, allow public access to the container and all networks.
//!
//! ## How to verify the fix
//!
//! `curl -sS -A '' https://ISSUER/.well-known/openid-configuration` from another network prints the document.
//!
//! ## References
//!
//! - AWS, "Blocking public access to your Amazon S3 storage":
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("ISS15", Elsewhere::Command("issuer check"));
