//! The identity has no role on what the application uses.
//!
//! ## What it checks
//!
//! Whether the identity's principal has a role assignment on the resource, its group or subscription. Assignments are read with
//! credentials of the cloud, which the doctor has none of.
//!
//! ## Why it matters
//!
//! Federation ends with a token; what the token may do is another matter. Roles are assigned to the object id of the service
//! principal, not to the client id, and take some minutes.
//!
//! ## How it looks
//!
//! ```text
//! 403 AuthorizationFailed: The client '…' with object id '…' does not have authorization to perform action '…' over scope '…'.
//! ```
//!
//! ## How to fix it
//!
//! `az role assignment create --assignee-object-id OBJECT-ID --assignee-principal-type ServicePrincipal --role ROLE --scope SCOPE`.
//!
//! ## How to verify the fix
//!
//! The application's call succeeds.
//!
//! ## References
//!
//! - Microsoft, "Assign Azure roles using Azure CLI":
//!   <https://learn.microsoft.com/azure/role-based-access-control/role-assignments-cli>

use crate::doctor::{Elsewhere, Rule};

pub(super) const RULE: Rule = Rule::elsewhere("AZ12", Elsewhere::CloudCredentials);
