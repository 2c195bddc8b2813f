//! Entra documents in the shapes that the Azure CLI, Microsoft Graph, Azure Resource Manager and Terraform print.

use serde_json::Value;

use crate::{
    DocumentError, Pointers,
    document::{Node, Resource, terraform_resources},
};

/// What is known of a directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// The tenants of the cloud; `None` when nobody looked, in which case every tenant exists.
    pub tenants: Option<Vec<Tenant>>,
    /// Applications and managed identities. One that is not here does not exist.
    pub applications: Vec<Application>,
    /// Service principals of the tenant; `None` when nobody looked, in which case every application has an enabled one.
    pub service_principals: Option<Vec<ServicePrincipal>>,
}

/// A tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tenant {
    /// Its UUID.
    pub id: String,
    /// Its verified domains.
    pub domains: Vec<String>,
}

/// What a client id belongs to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ObjectKind {
    /// An application registration.
    #[default]
    Application,
    /// A user-assigned managed identity.
    ManagedIdentity,
}

/// An application registration or a managed identity.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Application {
    /// `appId`, or `clientId` of a managed identity.
    pub client_id: String,
    /// `displayName`, or `name` of a managed identity.
    pub display_name: Option<String>,
    /// Which of both.
    pub kind: ObjectKind,
    /// Its federated identity credentials.
    pub credentials: Vec<FederatedIdentityCredential>,
    /// Object id or resource id, by which Terraform's credentials name it.
    pub owner_id: Option<String>,
}

/// A federated identity credential. Source: Microsoft Graph, `federatedIdentityCredential`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FederatedIdentityCredential {
    /// `name`.
    pub name: String,
    /// `issuer`, compared letter for letter.
    pub issuer: String,
    /// `subject`, compared letter for letter; none where there is an expression.
    pub subject: Option<String>,
    /// `audiences`, exactly one.
    pub audiences: Vec<String>,
    /// `claimsMatchingExpression.value`.
    pub claims_matching_expression: Option<String>,
    /// Where its members stand.
    pub pointers: Pointers,
}

/// A service principal. Source: Microsoft Graph, `servicePrincipal`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServicePrincipal {
    /// `appId`.
    pub app_id: String,
    /// `accountEnabled`; true unless it says otherwise.
    pub account_enabled: bool,
    /// Where its members stand.
    pub pointers: Pointers,
}

/// What a document does not say about itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// Client id of the object that bare credentials belong to.
    pub client_id: Option<&'a str>,
    /// What that object is.
    pub kind: ObjectKind,
}

impl Documents {
    /// Adds whatever a document holds:
    ///
    /// - `az ad app federated-credential list` and `show`, `az identity federated-credential list` and `show`, the same from
    ///   Graph (`{"value": […]}`) and Resource Manager (nested in `properties`), with [`Hints::client_id`]
    /// - `az ad app show`, also with its credentials expanded; `az identity show`; `az ad sp show`; lists of these
    /// - Graph's `organization`, `az account tenant list`
    /// - `terraform show -json`, a state file, or one resource of either
    ///
    /// # Errors
    ///
    /// What is not as it should be, and where.
    pub fn add(&mut self, document: &Value, hints: &Hints<'_>) -> Result<(), DocumentError> {
        let node = Node::root("Entra document", document);
        if let (Value::Array(items), Some(client_id)) = (document, hints.client_id)
            && items.is_empty()
        {
            // An empty list says that there is no credential, which is more than nothing.
            self.application(client_id, hints.kind);
        }
        self.add_node(&node, hints)
    }

    /// Adds what a document holds and leaves out what cannot be used: a plan does not know everything yet, and credentials
    /// of an unknown owner are nobody's here unless one is named.
    pub(crate) fn add_known(&mut self, document: &Value, hints: &Hints<'_>) {
        let node = Node::root("Entra document", document);
        match terraform_resources(&node) {
            Some(resources) => {
                let is_credential = |resource: &&Resource<'_>| {
                    resource.kind.ends_with("federated_identity_credential")
                };
                let owners = resources.iter().filter(|known| !is_credential(known));
                let credentials = resources.iter().filter(is_credential);
                for resource in owners.chain(credentials) {
                    // Left out, as said.
                    let _ = self.add_resources(std::slice::from_ref(resource), hints);
                }
            }
            None => {
                let _ = self.add(document, hints);
            }
        }
    }

    /// The application or managed identity of this client id; UUIDs have no case.
    #[must_use]
    pub fn find(&self, client_id: &str) -> Option<&Application> {
        self.applications
            .iter()
            .find(|application| application.client_id.eq_ignore_ascii_case(client_id))
    }

    fn add_node(&mut self, node: &Node<'_>, hints: &Hints<'_>) -> Result<(), DocumentError> {
        if node.value.is_array() {
            return node
                .items()?
                .iter()
                .try_for_each(|item| self.add_node(item, hints));
        }
        if let Some(resources) = terraform_resources(node) {
            return self.add_resources(&resources, hints);
        }
        if let Some(list) = node.get(&["value"]).filter(|list| list.value.is_array()) {
            if let (Some([]), Some(client_id)) =
                (list.value.as_array().map(Vec::as_slice), hints.client_id)
            {
                self.application(client_id, hints.kind);
            }
            return self.add_node(&list, hints);
        }
        // Resource Manager nests what the CLI flattens.
        let inner = node.get(&["properties"]).unwrap_or_else(|| node.clone());
        if inner.has("issuer") {
            let credential = read_credential(node, &inner)?;
            let Some(client_id) = hints.client_id else {
                return Err(node.error(
                    "a client id: a federated identity credential does not say whose it is, so its owner must be named",
                ));
            };
            // Resource Manager's ids name the identity and its resource group.
            let id = node.optional_text(&["id"])?.unwrap_or_default();
            let owner = id
                .split_once("/federatedIdentityCredentials/")
                .map(|(owner, _)| owner.to_owned());
            let application = self.application(client_id, hints.kind);
            if application.owner_id.is_none() {
                application.owner_id = owner.filter(|owner| owner.contains('/'));
            }
            application.put(credential);
            return Ok(());
        }
        if node.has("accountEnabled") || node.has("servicePrincipalType") {
            return self.add_service_principal(node);
        }
        if node.has("appId") {
            return self.add_application(node);
        }
        if inner.has("clientId") {
            let client_id = inner.required_text(&["clientId"])?;
            let application = self.application(&client_id, ObjectKind::ManagedIdentity);
            application.kind = ObjectKind::ManagedIdentity;
            application.display_name = node.optional_text(&["name"])?;
            application.owner_id = node.optional_text(&["id"])?;
            return Ok(());
        }
        if node.has("verifiedDomains") || node.has("tenantId") {
            return self.add_tenant(node);
        }
        Err(node.error(
            "federated identity credentials, an application, a managed identity, a service principal, a tenant, or Terraform's JSON",
        ))
    }

    fn add_application(&mut self, node: &Node<'_>) -> Result<(), DocumentError> {
        let client_id = node.required_text(&["appId"])?;
        let credentials = node
            .get(&["federatedIdentityCredentials"])
            .map(|list| {
                list.items()?
                    .iter()
                    .map(|credential| read_credential(credential, credential))
                    .collect::<Result<Vec<_>, _>>()
            })
            .transpose()?
            .unwrap_or_default();
        let application = self.application(&client_id, ObjectKind::Application);
        application.display_name = node.optional_text(&["displayName"])?;
        application.owner_id = node.optional_text(&["id"])?;
        credentials
            .into_iter()
            .for_each(|credential| application.put(credential));
        Ok(())
    }

    fn add_service_principal(&mut self, node: &Node<'_>) -> Result<(), DocumentError> {
        let service_principal = ServicePrincipal {
            app_id: node.required_text(&["appId"])?,
            account_enabled: node.optional_bool(ENABLED)?.unwrap_or(true),
            pointers: node.pointers(&[ENABLED]),
        };
        self.service_principals
            .get_or_insert_default()
            .push(service_principal);
        Ok(())
    }

    fn add_tenant(&mut self, node: &Node<'_>) -> Result<(), DocumentError> {
        let mut domains = Vec::new();
        for domain in node
            .get(&["verifiedDomains"])
            .iter()
            .flat_map(Node::one_or_many)
        {
            domains.push(domain.required_text(&["name"])?);
        }
        domains.extend(node.optional_text(&["defaultDomain", "tenantDefaultDomain"])?);
        let tenant = Tenant {
            id: node.required_text(&["tenantId", "id"])?,
            domains,
        };
        self.tenants.get_or_insert_default().push(tenant);
        Ok(())
    }

    fn add_resources(
        &mut self,
        resources: &[Resource<'_>],
        hints: &Hints<'_>,
    ) -> Result<(), DocumentError> {
        // Owners first: credentials name them.
        for Resource { kind, values } in resources {
            let (object_kind, id_members) = match *kind {
                "azuread_application" | "azuread_application_registration" => {
                    (ObjectKind::Application, ["id", "object_id"])
                }
                "azurerm_user_assigned_identity" => (ObjectKind::ManagedIdentity, ["id", "name"]),
                "azuread_service_principal" => {
                    let service_principal = ServicePrincipal {
                        app_id: values.required_text(&["client_id", "application_id"])?,
                        account_enabled: values.optional_bool(ENABLED)?.unwrap_or(true),
                        pointers: values.pointers(&[ENABLED]),
                    };
                    self.service_principals
                        .get_or_insert_default()
                        .push(service_principal);
                    continue;
                }
                _ => continue,
            };
            let client_id = values.required_text(&["client_id", "application_id"])?;
            let application = self.application(&client_id, object_kind);
            application.display_name = values.optional_text(&["display_name", "name"])?;
            application.owner_id = values.optional_text(&id_members)?;
        }
        for Resource { kind, values } in resources {
            let (object_kind, owner) = match *kind {
                "azuread_application_federated_identity_credential"
                | "azuread_application_flexible_federated_identity_credential" => (
                    ObjectKind::Application,
                    values.optional_text(&["application_id", "application_object_id"])?,
                ),
                "azurerm_federated_identity_credential" => (
                    ObjectKind::ManagedIdentity,
                    values.optional_text(&["parent_id", "user_assigned_identity_id"])?,
                ),
                _ => continue,
            };
            let credential = read_credential(values, values)?;
            let known = self
                .applications
                .iter_mut()
                .find(|application| same_object(&application.owner_id, &owner));
            match (known, hints.client_id) {
                (Some(application), _) => application.put(credential),
                (None, Some(client_id)) => {
                    self.application(client_id, object_kind).put(credential);
                }
                (None, None) => {
                    return Err(values.error(format!(
                        "an owner that is in the documents, or a named client id (its owner is {})",
                        owner.unwrap_or_else(|| "not known".to_owned())
                    )));
                }
            }
        }
        Ok(())
    }

    fn application(&mut self, client_id: &str, kind: ObjectKind) -> &mut Application {
        let known = self
            .applications
            .iter()
            .position(|application| application.client_id.eq_ignore_ascii_case(client_id));
        let index = known.unwrap_or_else(|| {
            self.applications.push(Application {
                client_id: client_id.to_owned(),
                kind,
                ..Application::default()
            });
            self.applications.len() - 1
        });
        &mut self.applications[index]
    }
}

impl Application {
    /// The last document about a credential counts.
    fn put(&mut self, credential: FederatedIdentityCredential) {
        self.credentials
            .retain(|known| known.name.is_empty() || known.name != credential.name);
        self.credentials.push(credential);
    }
}

/// Terraform writes `/applications/OBJECT-ID` in one place and `OBJECT-ID` in another; resource ids have no case.
fn same_object(known: &Option<String>, owner: &Option<String>) -> bool {
    let (Some(known), Some(owner)) = (known, owner) else {
        return false;
    };
    let strip = |id: &str| {
        id.strip_prefix("/applications/")
            .unwrap_or(id)
            .to_ascii_lowercase()
    };
    strip(known) == strip(owner)
}

/// `outer` has the name, `inner` the rest.
fn read_credential(
    outer: &Node<'_>,
    inner: &Node<'_>,
) -> Result<FederatedIdentityCredential, DocumentError> {
    let expression = inner.get(EXPRESSION);
    let claims_matching_expression = match expression {
        Some(expression) if expression.value.is_object() => expression.optional_text(&["value"])?,
        Some(expression) => Some(expression.text()?.to_owned()),
        None => None,
    };
    let subject = inner
        .optional_text(&["subject"])?
        .filter(|subject| !subject.is_empty());
    if subject.is_none() && claims_matching_expression.is_none() {
        return Err(inner.error("a member `subject` or `claimsMatchingExpression`"));
    }
    Ok(FederatedIdentityCredential {
        name: outer
            .optional_text(&["name", "display_name"])?
            .unwrap_or_default(),
        issuer: inner.required_text(&["issuer"])?,
        subject,
        audiences: inner.require(AUDIENCES)?.texts()?,
        claims_matching_expression,
        pointers: inner.pointers(&[AUDIENCES, EXPRESSION]),
    })
}

const ENABLED: &[&str] = &["accountEnabled", "account_enabled"];
const AUDIENCES: &[&str] = &["audiences", "audience"];
const EXPRESSION: &[&str] = &["claimsMatchingExpression", "claims_matching_expression"];
