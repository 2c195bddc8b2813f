//! A cloud's endpoint cannot be reached from the pod.
//!
//! ## What it checks
//!
//! That TCP and TLS to each endpoint of the exchange succeed in time, with the time of name, connection, handshake and
//! first byte apart. Only from inside the pod does this mean anything, so the agent looks.
//!
//! ## Why it matters
//!
//! A firewall that drops packets looks like a slow application: SDKs wait for minutes and try several times.
//!
//! ## How it looks
//!
//! ```text
//! Connect timeout on endpoint URL: "https://sts.eu-central-1.amazonaws.com/"
//! ```
//!
//! ## How to fix it
//!
//! Allow the hosts on port 443 in the firewall, the NAT gateway or the NetworkPolicy, or give the pod a private
//! endpoint.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider P` says how long each step took.
//!
//! ## References
//!
//! - AWS, "AWS STS endpoints and quotas": <https://docs.aws.amazon.com/general/latest/gr/sts.html>
//! - Google Cloud, "About accessing Google APIs": <https://cloud.google.com/vpc/docs/private-google-access>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("NET02", Elsewhere::InPod);
