//! Every document that was given, whatever the cloud.

use crate::aws;

/// Documents by their shape.
#[derive(Clone, Debug, Default)]
pub struct Library {
    aws: aws::Documents,
}

impl Library {
    /// AWS documents.
    #[must_use]
    pub fn aws(&self, _role: Option<&cwii_contract::types::RoleArn>) -> aws::Documents {
        self.aws.clone()
    }
}
