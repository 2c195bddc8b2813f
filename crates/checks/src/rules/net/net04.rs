//! The pod does not trust the endpoint's TLS certificate.
//!
//! ## What it checks
//!
//! Who issued the certificate that the pod is shown, and whether the pod's CA bundle has that issuer. The agent looks
//! with its own roots and with those that the environment names.
//!
//! ## Why it matters
//!
//! A proxy that opens TLS shows a certificate of its own CA, and an image without `ca-certificates` trusts nobody.
//! SDKs differ in the variable that names a bundle: `AWS_CA_BUNDLE`, `REQUESTS_CA_BUNDLE`, `SSL_CERT_FILE`.
//!
//! ## How it looks
//!
//! ```text
//! SSL validation failed for https://sts.eu-central-1.amazonaws.com/ [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate
//! ```
//!
//! ## How to fix it
//!
//! Mount the CA bundle and name it in the variable that this SDK reads, or exempt the endpoints from inspection.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider P` says which bundle it used.
//!
//! ## References
//!
//! - AWS, "Configure environment variables for the AWS CLI": <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("NET04", Elsewhere::InPod);
