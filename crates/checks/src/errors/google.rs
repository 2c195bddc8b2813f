//! Google STS, IAM credentials and the GKE metadata server.

use crate::{errors::Row, facts::Step};

table! {
    // Google STS. Source: "Troubleshoot workload identity federation"; recorded answers.
    "G1" GOOGLE_STS [] ["invalid_request"] ["invalid value for \"audience\""] Denied Request Some("GCP01"),
        "the audience of the credentials document is not the full name of a workload identity pool provider",
        "use //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER";
    "G9" GOOGLE_STS [] [] ["exceeds the 127 bytes limit"] Denied Trust Some("GCP06"),
        "the mapped google.subject is longer than 127 bytes",
        "map a shorter subject, such as namespace and ServiceAccount name alone";
    "G10" GOOGLE_STS [] [] ["could not obtain a value for google.subject"] Denied Trust Some("GCP05"),
        "the provider's attribute mapping gives no value for this token",
        "map google.subject from a claim that the token has, assertion.sub";
    "G2" GOOGLE_STS [] ["invalid_target"] [] Denied Request Some("GCP02"),
        "the workload identity pool or provider does not exist, is disabled, or is deleted",
        "look at state and disabled of pool and provider";
    "G3" GOOGLE_STS [] [] ["the audience in id token"] Denied Token Some("GCP04"),
        "the provider does not allow the token's audience",
        "add the audience to the provider's allowed audiences, or have the token minted for an allowed one";
    "G4" GOOGLE_STS [] [] ["the issuer in id token"] Denied Token Some("GCP03"),
        "the provider is configured with another issuer than the token's",
        "set the provider's issuer to the token's, byte for byte";
    "G5" GOOGLE_STS [] [] ["is stale to sign-in"] Denied Token Some("TOK09"),
        "the token is expired, or was issued too long ago or in the future, by Google's clock",
        "mount the projected token volume and read the file again before each exchange";
    "G6" GOOGLE_STS [] [] ["error connecting to the given credential's issuer"] Denied Token Some("ISS05"),
        "Google could not fetch the issuer's keys, or the token's key is not among them",
        "make the issuer readable from the internet, or upload the cluster's JWKS to the provider";
    "G7" GOOGLE_STS [] [] ["unable to verify the id token signature"] Denied Token Some("ISS10"),
        "the token's signature does not fit the key that Google has under its key id",
        "publish the cluster's current JWKS, or upload it to the provider again";
    "G8" GOOGLE_STS [] [] ["rejected by the attribute condition"] Denied Trust Some("GCP05"),
        "the provider's attribute condition is false for this token, or fails on it",
        "evaluate the provider's attribute condition with the token's claims";
    "G25" GOOGLE_ANY [403] [] ["prohibited by organization's policy" "vpcservicecontrols"] Denied Request Some("GCP09"),
        "a service perimeter blocks the call",
        "allow the call in the perimeter's ingress rules";
    "G13" GOOGLE_STS [] ["invalid_scope"] [] Denied Request Some("GCP12"),
        "Google does not know the scope",
        "ask for https://www.googleapis.com/auth/cloud-platform";
    "G14" GOOGLE_STS [] ["unsupported_grant_type" "unsupported_token_type"] [] Denied Request Some("GCP10"),
        "Google does not accept the request that the credentials document leads to",
        "write the credentials document again";
    "G15" GOOGLE_ANY [429] [] [] Transient Request None,
        "Google throttles the project",
        "let SDKs keep their tokens; try again later";
    "G15" GOOGLE_STS [] ["quota_exceeded"] [] Transient Request None,
        "Google throttles the project",
        "let SDKs keep their tokens; try again later";
    "G16" GOOGLE_ANY [500 502 503 504] [] [] Transient Token None,
        "Google failed on its side",
        "try again later; a token in its last seconds gives this answer too";
    "G14" GOOGLE_STS [] ["invalid_request"] [] Denied Request Some("GCP10"),
        "Google does not accept the request that the credentials document leads to",
        "write the credentials document again";
    "G18" GOOGLE_ANY [403] [] ["has not been used in project" "service_disabled" "it is disabled"] Denied Trust Some("GCP09"),
        "the IAM Service Account Credentials API is disabled in the project",
        "enable iamcredentials.googleapis.com in the service account's project";
    "G21" GOOGLE_IAM [403] [] ["insufficient authentication scopes"] Denied Trust Some("GCP12"),
        "the federated token was not issued for the scope that impersonation needs",
        "exchange for https://www.googleapis.com/auth/iam or cloud-platform";
    "G17" GOOGLE_IAM [403] [] ["iam.serviceaccounts.getaccesstoken"] Denied Trust Some("GCP07"),
        "Google accepted the token, but its principal may not impersonate the service account",
        "grant roles/iam.workloadIdentityUser on the service account to this principal";
    "G23" GOOGLE_IAM [403] [] [] Denied Trust Some("GCP13"),
        "Google accepted the token, but denies its principal the call",
        "grant the principal the role on the resource";
    "G19" GOOGLE_IAM [404] [] [] Denied Trust Some("GCP08"),
        "the service account to impersonate does not exist",
        "correct the e-mail of the service account";
    "G20" GOOGLE_IAM [400] [] ["lifetime"] Denied Trust Some("GCP15"),
        "the requested token lifetime is out of range",
        "set token_lifetime_seconds to 600 to 3600";
    "G22" GOOGLE_IAM [401] [] [] Denied Trust Some("GCP13"),
        "the API does not accept the federated token",
        "impersonate a service account where the product does not take federated principals";

    // GKE metadata server. Source: GKE documentation, "Troubleshoot authentication issues".
    "G27" METADATA [404] [] ["gaia id not found" "not found"] Denied Trust Some("GKE04"),
        "the Google service account of the annotation does not exist",
        "correct iam.gke.io/gcp-service-account on the Kubernetes ServiceAccount";
    "G26" METADATA [403] [] [] Denied Trust Some("GKE05"),
        "the Kubernetes ServiceAccount may not impersonate the Google service account of its annotation",
        "grant roles/iam.workloadIdentityUser on the service account to PROJECT.svc.id.goog[NAMESPACE/NAME]";
    "G31" METADATA [408 429 500 502 503 504] [] [] Transient Request Some("GKE08"),
        "the metadata server is not ready or overloaded",
        "look at gke-metadata-server on this node";
}

const GOOGLE_STS: &[Step] = &[Step::GoogleTokenExchange];
const GOOGLE_IAM: &[Step] = &[Step::GoogleImpersonation];
const GOOGLE_ANY: &[Step] = &[Step::GoogleTokenExchange, Step::GoogleImpersonation];
const METADATA: &[Step] = &[Step::GoogleMetadata];

/// Rows that a trust object of the last minutes gives too, until it has spread.
pub(super) const SPREADING: &[&str] = &["G17"];
