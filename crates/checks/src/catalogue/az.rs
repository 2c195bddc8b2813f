//! AZ: federation with Entra ID.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "AZ01",
        "client-id-unknown",
        "no application has this client id in the tenant",
    ),
    error(
        "AZ02",
        "tenant-unknown",
        "the tenant does not exist, or is not the identity's",
    ),
    error(
        "AZ03",
        "credential-issuer-differs",
        "no federated identity credential has the token's issuer",
    ),
    error(
        "AZ04",
        "credential-audience-differs",
        "no federated identity credential has the token's audience",
    ),
    error(
        "AZ05",
        "credential-subject-differs",
        "no federated identity credential has the token's subject",
    ),
    error(
        "AZ06",
        "credential-too-new",
        "the federated identity credential may not have spread yet",
    ),
    warning(
        "AZ07",
        "credentials-near-limit",
        "nearly as many federated identity credentials as fit on one identity",
    ),
    error(
        "AZ08",
        "wrong-cloud",
        "authority and tenant belong to different clouds",
    ),
    error(
        "AZ09",
        "azure-variables-incomplete",
        "not all of the AZURE_* variables are set",
    ),
    error(
        "AZ10",
        "client-secret-shadows-federation",
        "a client secret or certificate in the environment wins over federation",
    ),
    error(
        "AZ11",
        "sign-in-blocked",
        "the tenant's policy or the application's state blocks the sign-in",
    ),
    error(
        "AZ12",
        "role-assignment-missing",
        "the identity has no role on what the application uses",
    ),
    error(
        "AZ13",
        "scope-invalid",
        "the scope or resource is not one of this cloud",
    ),
    error(
        "AZ14",
        "issuer-unreachable-for-entra",
        "Entra cannot read the issuer's documents",
    ),
];
