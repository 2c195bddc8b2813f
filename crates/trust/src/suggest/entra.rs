//! Entra: a federated identity credential on an application or a user-assigned managed identity.

use cwii_contract::types::{ClientId, IssuerUrl, Subject};
use serde_json::json;

use super::{
    SuggestedDocument, Suggestion, command,
    hcl::{self, Block, label},
    name_of,
};
use crate::entra::{Documents, ObjectKind};

/// What a client is to trust.
#[derive(Clone, Copy, Debug)]
pub struct FederatedTrust<'a> {
    /// The cluster's issuer.
    pub issuer: &'a IssuerUrl,
    /// The token's audience, as a rule `api://AzureADTokenExchange`.
    pub audience: &'a str,
    /// The client.
    pub client_id: &'a ClientId,
    /// What the client is; none where only documents can tell, and an application where they do not.
    pub owner: Option<CredentialOwner<'a>>,
}

/// What has the credential.
#[derive(Clone, Copy, Debug)]
pub enum CredentialOwner<'a> {
    /// An application registration.
    Application,
    /// A user-assigned managed identity.
    ManagedIdentity {
        /// Its name.
        name: &'a str,
        /// Its resource group.
        resource_group: &'a str,
    },
}

/// A federated identity credential for exactly this ServiceAccount.
///
/// Sources: Microsoft Entra documentation, "Configure an app to trust an external identity provider" and "Configure a
/// user-assigned managed identity to trust an external identity provider"; Terraform providers azuread and azurerm.
#[must_use]
pub fn federated(subject: &Subject, trust: &FederatedTrust<'_>, known: &Documents) -> Suggestion {
    let client_id = trust.client_id.as_str();
    let client = known.find(client_id);
    let owner_id = client.and_then(|client| client.owner_id.as_deref());
    let owner = match (trust.owner, client.map(|client| client.kind)) {
        (Some(owner), _) => owner,
        (None, Some(ObjectKind::ManagedIdentity)) => match owner_id.and_then(name_and_group) {
            Some((name, resource_group)) => CredentialOwner::ManagedIdentity {
                name,
                resource_group,
            },
            None => CredentialOwner::ManagedIdentity {
                name: client
                    .and_then(|client| client.display_name.as_deref())
                    .unwrap_or(UNNAMED_IDENTITY),
                resource_group: UNNAMED_GROUP,
            },
        },
        (None, _) => CredentialOwner::Application,
    };
    let mut suggestion = Suggestion::default();
    if let CredentialOwner::ManagedIdentity {
        resource_group: UNNAMED_GROUP,
        ..
    } = owner
    {
        suggestion.notes.push(format!(
            "the managed identity's resource group is not in the documents and stands as `{UNNAMED_GROUP}`"
        ));
    }
    let subject_text = subject.to_string();
    let issuer = trust.issuer.as_str();
    let audience = trust.audience;
    // 3 to 120 characters, unique on the object.
    let taken = |name: &str| {
        client.is_some_and(|client| client.credentials.iter().any(|known| known.name == name))
    };
    let base = name_of(subject, 110);
    let name = std::iter::once(base.clone())
        .chain((2..).map(|number| format!("{base}-{number}")))
        .find(|name| !taken(name))
        .unwrap_or(base);
    let credential = json!({
        "name": name,
        "issuer": issuer,
        "subject": subject_text,
        "audiences": [audience],
    });

    suggestion.documents.push(SuggestedDocument {
        file: format!("federated-credentials-{client_id}.json"),
        title: format!("federated identity credentials of {client_id}"),
        document: json!([credential]),
    });
    let exists = client.is_some_and(|client| {
        client.credentials.iter().any(|known| {
            known.issuer == issuer
                && known.subject.as_deref() == Some(&subject_text)
                && known.audiences.iter().any(|known| known == audience)
        })
    });
    if exists {
        suggestion
            .notes
            .push("a credential of this issuer, subject and audience is there already".to_owned());
    }
    let block_label = label(&name);
    let blocks = match owner {
        CredentialOwner::Application => {
            if !exists {
                suggestion.commands.push(command(
                    &["az", "ad", "app", "federated-credential", "create"],
                    &[
                        ("--id", client_id),
                        ("--parameters", &credential.to_string()),
                    ],
                ));
            }
            vec![
                Block::new("data", &["azuread_application", "client"]).set("client_id", client_id),
                Block::new(
                    "resource",
                    &[
                        "azuread_application_federated_identity_credential",
                        &block_label,
                    ],
                )
                .raw("application_id", "data.azuread_application.client.id")
                .set("display_name", &name)
                .set("issuer", issuer)
                .set("subject", &subject_text)
                .list("audiences", &[audience]),
            ]
        }
        CredentialOwner::ManagedIdentity {
            name: identity,
            resource_group,
        } => {
            if !exists {
                suggestion.commands.push(command(
                    &["az", "identity", "federated-credential", "create"],
                    &[
                        ("--identity-name", identity),
                        ("--resource-group", resource_group),
                        ("--name", &name),
                        ("--issuer", issuer),
                        ("--subject", &subject_text),
                        ("--audiences", audience),
                    ],
                ));
            }
            vec![
                Block::new("data", &["azurerm_user_assigned_identity", "client"])
                    .set("name", identity)
                    .set("resource_group_name", resource_group),
                Block::new(
                    "resource",
                    &["azurerm_federated_identity_credential", &block_label],
                )
                .raw(
                    "user_assigned_identity_id",
                    "data.azurerm_user_assigned_identity.client.id",
                )
                .set("name", &name)
                .set("issuer", issuer)
                .set("subject", &subject_text)
                .list("audience", &[audience]),
            ]
        }
    };
    suggestion.terraform = hcl::file(&blocks);
    suggestion.notes.push(
        "a new credential takes effect within minutes; until then Entra answers as if it were not there"
            .to_owned(),
    );
    suggestion
}

const UNNAMED_IDENTITY: &str = "IDENTITY";
const UNNAMED_GROUP: &str = "RESOURCE-GROUP";

/// Name and resource group in a resource id of Resource Manager, whose fixed parts have no case.
fn name_and_group(id: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = id.split('/').collect();
    let after = |name: &str| {
        parts
            .iter()
            .position(|part| part.eq_ignore_ascii_case(name))
            .and_then(|at| parts.get(at + 1))
            .copied()
    };
    Some((after("userAssignedIdentities")?, after("resourceGroups")?))
}
