//! What a document is, by its shape.

use std::fmt;

use serde_json::{Map, Value};

use super::{LibraryError, Position};
use crate::document::{self, Node};

/// A document that is known, named after what prints it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Shape {
    /// `aws iam get-role`, or the role alone.
    AwsRole,
    /// `aws iam list-roles`.
    AwsRoleList,
    /// A role's trust policy alone; does not name its role.
    AwsTrustPolicy,
    /// `aws iam get-open-id-connect-provider`.
    AwsOidcProvider,
    /// `aws iam list-open-id-connect-providers`.
    AwsOidcProviderList,
    /// `aws eks describe-pod-identity-association`.
    AwsPodIdentityAssociation,
    /// `aws eks list-pod-identity-associations`.
    AwsPodIdentityAssociationList,
    /// `aws eks describe-cluster`.
    EksCluster,
    /// `gcloud iam workload-identity-pools describe`, `list`.
    GooglePool,
    /// `gcloud iam workload-identity-pools providers describe`, `list`.
    GoogleProvider,
    /// `gcloud iam service-accounts describe`, `list`.
    GoogleServiceAccount,
    /// `gcloud iam service-accounts get-iam-policy`; does not name its service account.
    GoogleIamPolicy,
    /// `gcloud services list`.
    GoogleServices,
    /// `gcloud container clusters describe`, `list`.
    GkeCluster,
    /// `az aks show`, `list`.
    AksCluster,
    /// `az ad app federated-credential list`, `show`; does not name its application.
    EntraCredentials,
    /// `az identity federated-credential list`, `show`; names the identity by its resource id.
    EntraIdentityCredentials,
    /// `az ad app show`, `list`.
    EntraApplication,
    /// `az identity show`, `list`.
    EntraManagedIdentity,
    /// `az ad sp show`, `list`.
    EntraServicePrincipal,
    /// `az account tenant list`, Graph's `organization`.
    EntraTenant,
    /// `terraform show -json` of a plan or a state, a state file, or a resource cut out of one.
    Terraform,
    /// `kubectl get --raw /.well-known/openid-configuration`.
    Discovery,
    /// `kubectl get --raw /openid/v1/jwks`.
    Jwks,
    /// The same from the public issuer: a key set in a file whose name contains `published`.
    PublishedJwks,
    /// The claims of a token, in a file whose name ends in `claims.json`.
    Claims,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AwsRole => "IAM role",
            Self::AwsRoleList => "list of IAM roles",
            Self::AwsTrustPolicy => "trust policy of a role",
            Self::AwsOidcProvider => "IAM OIDC provider",
            Self::AwsOidcProviderList => "list of IAM OIDC providers",
            Self::AwsPodIdentityAssociation => "EKS Pod Identity association",
            Self::AwsPodIdentityAssociationList => "list of EKS Pod Identity associations",
            Self::EksCluster => "EKS cluster",
            Self::GooglePool => "workload identity pool",
            Self::GoogleProvider => "workload identity pool provider",
            Self::GoogleServiceAccount => "Google service account",
            Self::GoogleIamPolicy => "allow policy of a Google service account",
            Self::GoogleServices => "list of Google services",
            Self::GkeCluster => "GKE cluster",
            Self::AksCluster => "AKS cluster",
            Self::EntraCredentials => "federated identity credentials",
            Self::EntraIdentityCredentials => {
                "federated identity credentials of a managed identity"
            }
            Self::EntraApplication => "Entra application",
            Self::EntraManagedIdentity => "managed identity",
            Self::EntraServicePrincipal => "Entra service principal",
            Self::EntraTenant => "Entra tenant",
            Self::Terraform => "Terraform plan or state",
            Self::Discovery => "discovery document",
            Self::Jwks => "JWKS of the cluster",
            Self::PublishedJwks => "published JWKS",
            Self::Claims => "token claims",
        })
    }
}

/// What a document is, or `None`.
pub(super) fn shape(file: &str, document: &Value) -> Option<Shape> {
    let name = super::base_name(file).to_ascii_lowercase();
    if name.ends_with("claims.json") && document.is_object() {
        return Some(Shape::Claims);
    }
    match document {
        // What nobody has is printed as an empty list, of which only the file's name tells what it would be of.
        Value::Array(items) if items.is_empty() => empty_list(&name),
        Value::Array(items) => match one(&name, items.first()?.as_object()?)? {
            Shape::AwsRole => Some(Shape::AwsRoleList),
            // Neither is printed in a list.
            Shape::Jwks | Shape::PublishedJwks | Shape::Discovery | Shape::AwsTrustPolicy => None,
            shape => Some(shape),
        },
        // IAM's API has policies as percent-encoded text.
        Value::String(text) => (text.contains("Statement")
            && (text.trim_start().starts_with('{')
                || text.trim_start().to_ascii_lowercase().starts_with("%7b")))
        .then_some(Shape::AwsTrustPolicy),
        Value::Object(members) => one(&name, members),
        _ => None,
    }
}

fn empty_list(name: &str) -> Option<Shape> {
    let credentials = name.contains("credential")
        || name.contains("fic")
        || (0..name.len())
            .filter_map(|start| name.get(start..start + 36))
            .any(is_uuid);
    credentials.then_some(Shape::EntraCredentials)
}

fn one(name: &str, members: &Map<String, Value>) -> Option<Shape> {
    let has = |member: &str| members.get(member).is_some_and(|value| !value.is_null());
    let text = |member: &str| {
        members
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    // Kubernetes has members of the same names.
    if has("apiVersion") && has("kind") {
        return None;
    }
    if is_terraform(members) {
        return Some(Shape::Terraform);
    }
    if has("jwks_uri") {
        return Some(Shape::Discovery);
    }
    if members.get("keys").is_some_and(Value::is_array) {
        return Some(if name.contains("published") {
            Shape::PublishedJwks
        } else {
            Shape::Jwks
        });
    }

    if has("Role") || has("AssumeRolePolicyDocument") {
        return Some(Shape::AwsRole);
    }
    if has("Roles") {
        return Some(Shape::AwsRoleList);
    }
    if has("OpenIDConnectProviderList") {
        return Some(Shape::AwsOidcProviderList);
    }
    if has("ClientIDList") || has("ThumbprintList") {
        return Some(Shape::AwsOidcProvider);
    }
    if has("association") || (has("clusterName") && has("serviceAccount")) {
        return Some(Shape::AwsPodIdentityAssociation);
    }
    if has("associations") {
        return Some(Shape::AwsPodIdentityAssociationList);
    }
    if let Some(statement) = members.get("Statement") {
        // Other policies have the same shape and name what may be done to what, not who may.
        let of_a_role = match statement {
            Value::Array(items) => items.iter().all(|item| item.get("Resource").is_none()),
            other => other.get("Resource").is_none(),
        };
        return of_a_role.then_some(Shape::AwsTrustPolicy);
    }
    let cluster = members.get("cluster").and_then(Value::as_object);
    if cluster.is_some_and(|cluster| {
        cluster.contains_key("identity") || text_of(cluster, "arn").contains(":eks:")
    }) || text("arn").contains(":eks:")
    {
        return Some(Shape::EksCluster);
    }

    if text("name").contains("/workloadIdentityPools/") {
        return if !text("name").contains("/providers/") {
            Some(Shape::GooglePool)
        } else if has("aws") || has("saml") || has("x509") {
            None
        } else {
            Some(Shape::GoogleProvider)
        };
    }
    if has("oidc") {
        return Some(Shape::GoogleProvider);
    }
    if has("workloadIdentityPoolProviders") {
        return Some(Shape::GoogleProvider);
    }
    if has("workloadIdentityPools") {
        return Some(Shape::GooglePool);
    }
    if has("accounts") || text("email").ends_with(".gserviceaccount.com") {
        return Some(Shape::GoogleServiceAccount);
    }
    if has("services") || (has("config") && text("parent").starts_with("projects/")) {
        return Some(Shape::GoogleServices);
    }

    let properties = members.get("properties").and_then(Value::as_object);
    let has_inner =
        |member: &str| has(member) || properties.is_some_and(|p| p.contains_key(member));
    let kind = text("type").to_ascii_lowercase();
    if kind == "microsoft.containerservice/managedclusters"
        || has_inner("agentPoolProfiles")
        || has_inner("oidcIssuerProfile")
    {
        return Some(Shape::AksCluster);
    }
    if has("nodePools") || has("workloadIdentityConfig") || text("selfLink").contains("/clusters/")
    {
        return Some(Shape::GkeCluster);
    }
    if has_inner("issuer") && (has_inner("subject") || has_inner("audiences")) {
        let of_identity = kind.contains("managedidentity")
            || text("id")
                .to_ascii_lowercase()
                .contains("/userassignedidentities/");
        return Some(if of_identity {
            Shape::EntraIdentityCredentials
        } else {
            Shape::EntraCredentials
        });
    }
    if has_inner("claimsMatchingExpression") {
        return Some(Shape::EntraCredentials);
    }
    if let Some(Value::Array(items)) = members.get("value") {
        // The lists of Graph and Resource Manager.
        return match items.first() {
            Some(first) => one(name, first.as_object()?),
            None => empty_list(name),
        };
    }
    if has("accountEnabled") || has("servicePrincipalType") {
        return Some(Shape::EntraServicePrincipal);
    }
    if has("appId") {
        return Some(Shape::EntraApplication);
    }
    if kind.contains("userassignedidentities")
        || (has_inner("clientId") && has_inner("principalId"))
    {
        return Some(Shape::EntraManagedIdentity);
    }
    if has("verifiedDomains") || (has("tenantId") && has("tenantCategory")) {
        return Some(Shape::EntraTenant);
    }
    // Printed without bindings, a policy is nothing but its etag.
    if has("bindings") || (has("etag") && members.keys().all(|k| k == "etag" || k == "version")) {
        return Some(Shape::GoogleIamPolicy);
    }
    None
}

fn text_of<'a>(members: &'a Map<String, Value>, name: &str) -> &'a str {
    members
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn is_terraform(members: &Map<String, Value>) -> bool {
    let has = |member: &str| members.contains_key(member);
    (has("terraform_version") && (has("resources") || has("format_version")))
        || (has("format_version") && (has("planned_values") || has("values")))
        || has("root_module")
        || (text_of(members, "type").contains('_') && (has("values") || has("instances")))
}

/// The resource id of the managed identity that credentials belong to, from their own ids.
pub(super) fn identity_of(document: &Value) -> Option<String> {
    let first = match document {
        Value::Array(items) => items.first()?,
        Value::Object(members) => match members.get("value") {
            Some(Value::Array(items)) => items.first()?,
            _ => document,
        },
        _ => return None,
    };
    let id = first.get("id")?.as_str()?;
    let at = id
        .to_ascii_lowercase()
        .find("/federatedidentitycredentials/")?;
    let identity = id.get(..at)?;
    identity
        .to_ascii_lowercase()
        .contains("/userassignedidentities/")
        .then(|| identity.to_owned())
}

/// What Terraform printed, less everything that is not read here: other resources, and of those that are, other attributes.
/// A state holds secrets in plain text. What is left stands where it stood, so that pointers stay true. Beside it how many
/// resources are left.
pub(super) fn terraform(document: &Value) -> (Value, usize) {
    let mut kept = 0;
    let value = terraform_node(document, &mut kept);
    (value, kept)
}

fn terraform_node(value: &Value, kept: &mut usize) -> Value {
    let Value::Object(members) = value else {
        return Value::Null;
    };
    // A resource.
    if members.get("type").is_some_and(Value::is_string) {
        let kind = text_of(members, "type");
        let Some((_, attributes)) = RESOURCES.iter().find(|(known, _)| *known == kind) else {
            return Value::Object(Map::new());
        };
        *kept += 1;
        let mut resource = Map::new();
        for name in ["address", "mode", "type", "name"] {
            if let Some(value) = members.get(name).filter(|value| value.is_string()) {
                resource.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(values) = members.get("values") {
            resource.insert("values".to_owned(), only(values, attributes));
        }
        if let Some(Value::Array(instances)) = members.get("instances") {
            let instances = instances.iter().map(|instance| {
                let mut left = Map::new();
                if let Some(values) = instance.get("attributes") {
                    left.insert("attributes".to_owned(), only(values, attributes));
                }
                Value::Object(left)
            });
            resource.insert("instances".to_owned(), instances.collect());
        }
        return Value::Object(resource);
    }
    let mut left = Map::new();
    for (name, value) in members {
        match name.as_str() {
            "terraform_version" | "format_version" if value.is_string() => {
                left.insert(name.clone(), value.clone());
            }
            "planned_values" | "values" | "root_module" => {
                left.insert(name.clone(), terraform_node(value, kept));
            }
            "resources" | "child_modules" => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let items = items.iter().map(|item| terraform_node(item, kept));
                left.insert(name.clone(), items.collect());
            }
            _ => {}
        }
    }
    Value::Object(left)
}

fn only(values: &Value, attributes: &[&str]) -> Value {
    let Value::Object(members) = values else {
        return Value::Null;
    };
    members
        .iter()
        .filter(|(name, value)| attributes.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

pub(super) fn not_json(file: &str, bytes: &[u8], error: &serde_json::Error) -> LibraryError {
    let start = bytes.trim_ascii_start();
    let text = std::str::from_utf8(bytes);
    let first = text
        .ok()
        .and_then(|text| text.trim_start().chars().next())
        .unwrap_or_default();
    let (position, found) = if start.is_empty() {
        (None, "nothing: the file is empty".to_owned())
    } else if text.is_err() {
        (None, "bytes that are not UTF-8 text".to_owned())
    } else if matches!(first, '{' | '[' | '"') {
        let what = if error.is_eof() {
            "the end of the file".to_owned()
        } else {
            // The parser's text ends in the place, which stands in front already.
            let text = error.to_string();
            text.split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let position = Position {
            line: error.line().max(1),
            column: error.column().max(1),
        };
        (Some(position), what)
    } else if first == '<' {
        (None, "HTML or XML".to_owned())
    } else if start.starts_with(b"-----BEGIN") {
        (None, "a PEM file".to_owned())
    } else if start.starts_with(b"eyJ") {
        (None, "a token".to_owned())
    } else {
        (None, "text that is not JSON".to_owned())
    };
    LibraryError::NotJson {
        file: file.to_owned(),
        position,
        expected: "a trust document in JSON",
        found,
    }
}

pub(super) fn not_recognised(file: &str, document: &Value) -> LibraryError {
    let kubernetes = document.get("kind").and_then(Value::as_str);
    let found = match kubernetes {
        Some(kind) if document.get("apiVersion").is_some() => format!(
            "a Kubernetes object of kind `{}`",
            cwii_contract::types::shorten(kind)
        ),
        _ => Node::root("", document).error("").found,
    };
    LibraryError::NotRecognised {
        file: file.to_owned(),
        expected: EXPECTED,
        found: if document.is_array() && found.ends_with("of 0") {
            "an empty array".to_owned()
        } else if document.is_null() {
            "null".to_owned()
        } else {
            match document.as_array().and_then(|items| items.first()) {
                Some(first) => format!("{found}, the first {}", document::describe(first)),
                None => found,
            }
        },
    }
}

/// Eight, four, four, four and twelve hexadecimal digits.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| {
            if matches!(index, 8 | 13 | 18 | 23) {
                byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}

const EXPECTED: &str = "an IAM role, trust policy, IAM OIDC provider, EKS Pod Identity association, workload identity pool \
     or provider, Google service account or its allow policy, federated identity credentials, an Entra application, \
     managed identity or service principal, an EKS, GKE or AKS cluster, a Terraform plan or state, a discovery document, \
     a JWKS, or token claims (`*.claims.json`)";

/// What is read of Terraform: resources, and their attributes. Data sources have the same types.
const RESOURCES: &[(&str, &[&str])] = &[
    (
        "aws_iam_role",
        &[
            "arn",
            "name",
            "assume_role_policy",
            "unique_id",
            "max_session_duration",
        ],
    ),
    (
        "aws_iam_openid_connect_provider",
        &["arn", "url", "client_id_list", "thumbprint_list"],
    ),
    (
        "aws_eks_pod_identity_association",
        &[
            "cluster_name",
            "namespace",
            "service_account",
            "role_arn",
            "target_role_arn",
            "disable_session_tags",
        ],
    ),
    ("aws_eks_cluster", &["arn", "name", "identity"]),
    (
        "google_iam_workload_identity_pool_provider",
        &[
            "name",
            "state",
            "disabled",
            "attribute_mapping",
            "attribute_condition",
            "oidc",
        ],
    ),
    (
        "google_iam_workload_identity_pool",
        &["name", "state", "disabled"],
    ),
    (
        "google_service_account",
        &["email", "unique_id", "disabled"],
    ),
    (
        "google_service_account_iam_member",
        &["service_account_id", "role", "member", "condition"],
    ),
    (
        "google_service_account_iam_binding",
        &["service_account_id", "role", "members", "condition"],
    ),
    (
        "google_service_account_iam_policy",
        &["service_account_id", "policy_data"],
    ),
    (
        "google_container_cluster",
        &[
            "name",
            "project",
            "location",
            "workload_identity_config",
            "enable_autopilot",
        ],
    ),
    (
        "azuread_application",
        &[
            "client_id",
            "application_id",
            "id",
            "object_id",
            "display_name",
        ],
    ),
    (
        "azuread_application_registration",
        &[
            "client_id",
            "application_id",
            "id",
            "object_id",
            "display_name",
        ],
    ),
    (
        "azuread_service_principal",
        &["client_id", "application_id", "account_enabled"],
    ),
    (
        "azuread_application_federated_identity_credential",
        CREDENTIAL,
    ),
    (
        "azuread_application_flexible_federated_identity_credential",
        CREDENTIAL,
    ),
    (
        "azurerm_user_assigned_identity",
        &["id", "name", "client_id", "principal_id"],
    ),
    ("azurerm_federated_identity_credential", CREDENTIAL),
    (
        "azurerm_kubernetes_cluster",
        &[
            "name",
            "resource_group_name",
            "oidc_issuer_enabled",
            "oidc_issuer_url",
            "workload_identity_enabled",
        ],
    ),
];

const CREDENTIAL: &[&str] = &[
    "application_id",
    "application_object_id",
    "parent_id",
    "user_assigned_identity_id",
    "name",
    "display_name",
    "issuer",
    "subject",
    "audience",
    "audiences",
    "claims_matching_expression",
];
