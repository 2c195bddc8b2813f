//! Asks AWS whether a private cluster has a way to EKS Auth.
//!
//! ## What it checks
//!
//! Nodes without a way to the internet need a VPC endpoint `com.amazonaws.REGION.eks-auth`. The endpoints of a VPC are
//! read with credentials of the cloud.
//!
//! ## Why it matters
//!
//! The agent on the node, not the pod, asks EKS Auth, and gives up after a second. A private cluster that works with IRSA
//! through an endpoint of STS does not have this one.
//!
//! ## How it looks
//!
//! ```text
//! Error when retrieving credentials from container-role: Error retrieving metadata: Received non 200 response 500 from container metadata: … context deadline exceeded
//! ```
//!
//! ## How to fix it
//!
//! Create the interface endpoint in the VPC, and let the nodes' security group reach it.
//!
//! ## How to verify the fix
//!
//! `aws ec2 describe-vpc-endpoints --filters Name=service-name,Values=com.amazonaws.REGION.eks-auth` shows it as
//! available.
//!
//! ## References
//!
//! - Amazon EKS, "Deploy private clusters with limited internet access":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/private-clusters.html>
//! - Amazon EKS, "Access Amazon EKS using AWS PrivateLink":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/vpc-interface-endpoints.html>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("EPI12", Elsewhere::CloudCredentials);
