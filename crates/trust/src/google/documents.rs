//! Google documents in the shapes that gcloud, the REST APIs and Terraform print.

use std::collections::BTreeMap;

use cwii_contract::types::PoolProvider;
use serde_json::Value;

use crate::{
    DocumentError, Pointers,
    document::{Node, Resource, terraform_resources},
};

/// What is known of projects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// Workload identity pool providers. One that is not here does not exist.
    pub providers: Vec<Provider>,
    /// Workload identity pools, for their state; a pool that is not here is taken as active.
    pub pools: Vec<Pool>,
    /// Service accounts, for their state; one that is in neither this list nor `policies` does not exist.
    pub service_accounts: Vec<ServiceAccount>,
    /// Allow policies of service accounts, by e-mail. What projects and folders grant is not visible in them.
    pub policies: BTreeMap<String, IamPolicy>,
    /// Services of projects; `None` when nobody looked, in which case all are taken as enabled.
    pub services: Option<Vec<Service>>,
}

/// A workload identity pool provider. Source: IAM API v1, `WorkloadIdentityPoolProvider`.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// `name`.
    pub name: PoolProvider,
    /// `state`: `ACTIVE` or `DELETED` (for 30 days).
    pub state: Option<String>,
    /// `disabled`.
    pub disabled: bool,
    /// `attributeMapping`, by target: `google.subject`, `attribute.namespace`, …
    pub attribute_mapping: BTreeMap<String, String>,
    /// `attributeCondition`.
    pub attribute_condition: Option<String>,
    /// `oidc.issuerUri`.
    pub issuer_uri: String,
    /// `oidc.allowedAudiences`; empty means the provider's own name, with and without `https:`.
    pub allowed_audiences: Vec<String>,
    /// `oidc.jwksJson`: keys that were uploaded, in place of the issuer's.
    pub jwks_json: Option<String>,
    /// Where its members stand, those of `oidc` included.
    pub pointers: Pointers,
}

/// A workload identity pool. Source: IAM API v1, `WorkloadIdentityPool`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pool {
    /// `name`: `projects/NUMBER/locations/global/workloadIdentityPools/POOL`.
    pub name: String,
    /// `state`: `ACTIVE` or `DELETED`.
    pub state: Option<String>,
    /// `disabled`.
    pub disabled: bool,
    /// JSON pointer to the pool in its document.
    pub pointer: String,
}

/// A service account. Source: IAM API v1, `ServiceAccount`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceAccount {
    /// `email`.
    pub email: String,
    /// `uniqueId`.
    pub unique_id: Option<String>,
    /// `disabled`.
    pub disabled: bool,
    /// JSON pointer to the account in its document.
    pub pointer: String,
}

/// An allow policy. Source: IAM API v1, `Policy`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IamPolicy {
    /// `bindings`.
    pub bindings: Vec<Binding>,
}

/// A role and who has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// `role`.
    pub role: String,
    /// `members`.
    pub members: Vec<Member>,
    /// `condition.expression`, CEL.
    pub condition: Option<String>,
    /// JSON pointer to the binding.
    pub pointer: String,
}

/// A member of a binding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// As written.
    pub text: String,
    /// JSON pointer to it.
    pub pointer: String,
}

/// A service of a project. Source: Service Usage API v1, `Service`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// `parent`: `projects/NUMBER`.
    pub parent: String,
    /// `config.name`: `iamcredentials.googleapis.com`.
    pub name: String,
    /// `state` is `ENABLED`.
    pub enabled: bool,
}

/// What a document does not say about itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// E-mail of the service account that a bare allow policy belongs to.
    pub service_account: Option<&'a str>,
}

impl Documents {
    /// Adds whatever a document holds:
    ///
    /// - `gcloud iam workload-identity-pools providers describe` and `list`, and the same of pools
    /// - `gcloud iam service-accounts get-iam-policy` (with [`Hints::service_account`]), `describe` and `list`
    /// - `gcloud services list`
    /// - an array of these, or the REST API's lists
    /// - `terraform show -json`, a state file, or one resource of either
    ///
    /// # Errors
    ///
    /// What is not as it should be, and where.
    pub fn add(&mut self, document: &Value, hints: &Hints<'_>) -> Result<(), DocumentError> {
        self.add_node(&Node::root("Google document", document), hints)
    }

    /// Adds what a document holds and leaves out what cannot be used: a plan does not know everything yet.
    pub(crate) fn add_known(&mut self, document: &Value, hints: &Hints<'_>) {
        let node = Node::root("Google document", document);
        match terraform_resources(&node) {
            Some(resources) => {
                for resource in &resources {
                    // Left out, as said.
                    let _ = self.add_resource(resource);
                }
            }
            None => {
                for item in node.one_or_many() {
                    let _ = self.add_node(&item, hints);
                }
            }
        }
    }

    /// The provider of this name.
    #[must_use]
    pub fn provider(&self, name: &PoolProvider) -> Option<&Provider> {
        self.providers
            .iter()
            .find(|provider| provider.name == *name)
    }

    /// The service account of this e-mail or unique id.
    #[must_use]
    pub fn service_account(&self, id: &str) -> Option<&ServiceAccount> {
        self.service_accounts
            .iter()
            .find(|account| account.email == id || account.unique_id.as_deref() == Some(id))
    }

    fn add_node(&mut self, node: &Node<'_>, hints: &Hints<'_>) -> Result<(), DocumentError> {
        if node.value.is_array() {
            return node
                .items()?
                .iter()
                .try_for_each(|item| self.add_node(item, hints));
        }
        if let Some(resources) = terraform_resources(node) {
            return resources
                .iter()
                .try_for_each(|resource| self.add_resource(resource));
        }
        // The lists of the REST API.
        if let Some(list) = node.get(&[
            "workloadIdentityPoolProviders",
            "workloadIdentityPools",
            "accounts",
            "services",
        ]) {
            return list
                .items()?
                .iter()
                .try_for_each(|item| self.add_node(item, hints));
        }
        let name = node
            .get(&["name"])
            .and_then(|name| name.value.as_str())
            .unwrap_or_default();
        if node.has("oidc") || name.contains("/providers/") {
            return self.add_provider(node);
        }
        if name.contains("/workloadIdentityPools/") {
            return self.add_pool(node, name);
        }
        if node.has("email") {
            return self.add_service_account(node);
        }
        if node.has("config") && node.has("parent") {
            return self.add_service(node);
        }
        // A policy without bindings is printed as nothing but an etag.
        if node.has("bindings") || node.has("etag") {
            let Some(email) = hints.service_account else {
                return Err(node.error(
                    "a service account: an allow policy does not say whose it is, so its account must be named",
                ));
            };
            let bindings = read_bindings(node)?;
            self.policies
                .insert(email.to_owned(), IamPolicy { bindings });
            return Ok(());
        }
        Err(node.error(
            "a workload identity pool provider, a pool, a service account, an allow policy, services, or Terraform's JSON",
        ))
    }

    fn add_resource(&mut self, resource: &Resource<'_>) -> Result<(), DocumentError> {
        let values = &resource.values;
        match resource.kind {
            "google_iam_workload_identity_pool_provider" => self.add_provider(values),
            "google_iam_workload_identity_pool" => {
                self.add_pool(values, &values.required_text(&["name"])?)
            }
            "google_service_account" => self.add_service_account(values),
            "google_service_account_iam_member" => {
                let member = values.require(&["member"])?;
                let members = vec![Member {
                    text: member.text()?.to_owned(),
                    pointer: member.pointer.clone(),
                }];
                self.add_binding(values, members)
            }
            "google_service_account_iam_binding" => {
                let members = read_members(&values.require(&["members"])?)?;
                self.add_binding(values, members)
            }
            "google_service_account_iam_policy" => {
                let data = values.require(&["policy_data"])?;
                let policy: Value = serde_json::from_str(data.text()?)
                    .map_err(|_| data.error("an allow policy, JSON in a string"))?;
                let bindings =
                    read_bindings(&Node::at("Google document", data.pointer.clone(), &policy))?;
                let email = bound_account(values)?;
                self.policies.insert(email, IamPolicy { bindings });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add_provider(&mut self, node: &Node<'_>) -> Result<(), DocumentError> {
        let name = node.require(&["name"])?;
        let full = format!("//iam.googleapis.com/{}", name.text()?);
        let oidc = node
            .block(&["oidc"])
            .ok_or_else(|| node.error("an OIDC provider, with a member `oidc`"))?;
        let issuer = oidc.require(ISSUER)?;
        let mapping = node.get(MAPPING);
        let mut attribute_mapping = BTreeMap::new();
        if let Some(mapping) = &mapping {
            for (target, expression) in mapping.members()? {
                attribute_mapping.insert(target.to_owned(), expression.text()?.to_owned());
            }
        }
        let provider = Provider {
            name: full.parse().map_err(|_| {
                name.error(
                    "`projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`",
                )
            })?,
            state: node.optional_text(&["state"])?,
            disabled: node.optional_bool(&["disabled"])?.unwrap_or(false),
            attribute_mapping,
            attribute_condition: node
                .optional_text(CONDITION)?
                .filter(|condition| !condition.is_empty()),
            issuer_uri: issuer.text()?.to_owned(),
            allowed_audiences: oidc.optional_texts(AUDIENCES)?,
            jwks_json: oidc
                .optional_text(JWKS)?
                .filter(|jwks| !jwks.is_empty()),
            pointers: node
                .pointers(&[MAPPING, CONDITION])
                .with(&oidc, &[ISSUER, AUDIENCES, JWKS]),
        };
        self.providers.retain(|known| known.name != provider.name);
        self.providers.push(provider);
        Ok(())
    }

    fn add_pool(&mut self, node: &Node<'_>, name: &str) -> Result<(), DocumentError> {
        let pool = Pool {
            name: name.to_owned(),
            state: node.optional_text(&["state"])?,
            disabled: node.optional_bool(&["disabled"])?.unwrap_or(false),
            pointer: node.pointer.clone(),
        };
        self.pools.retain(|known| known.name != pool.name);
        self.pools.push(pool);
        Ok(())
    }

    fn add_service_account(&mut self, node: &Node<'_>) -> Result<(), DocumentError> {
        let account = ServiceAccount {
            email: node.required_text(&["email"])?,
            unique_id: node.optional_text(&["uniqueId", "unique_id"])?,
            disabled: node.optional_bool(&["disabled"])?.unwrap_or(false),
            pointer: node.pointer.clone(),
        };
        self.service_accounts
            .retain(|known| known.email != account.email);
        self.service_accounts.push(account);
        Ok(())
    }

    fn add_service(&mut self, node: &Node<'_>) -> Result<(), DocumentError> {
        let service = Service {
            parent: node.required_text(&["parent"])?,
            name: node.require(&["config"])?.required_text(&["name"])?,
            enabled: node.optional_text(&["state"])?.as_deref() == Some("ENABLED"),
        };
        self.services.get_or_insert_default().push(service);
        Ok(())
    }

    fn add_binding(
        &mut self,
        values: &Node<'_>,
        members: Vec<Member>,
    ) -> Result<(), DocumentError> {
        let binding = Binding {
            role: values.required_text(&["role"])?,
            members,
            condition: read_condition(values)?,
            pointer: values.pointer.clone(),
        };
        let email = bound_account(values)?;
        self.policies
            .entry(email)
            .or_default()
            .bindings
            .push(binding);
        Ok(())
    }
}

/// `service_account_id` of Terraform's IAM resources: `projects/P/serviceAccounts/EMAIL`.
fn bound_account(values: &Node<'_>) -> Result<String, DocumentError> {
    let id = values.required_text(&["service_account_id"])?;
    Ok(id.rsplit('/').next().unwrap_or_default().to_owned())
}

fn read_bindings(policy: &Node<'_>) -> Result<Vec<Binding>, DocumentError> {
    let Some(bindings) = policy.get(&["bindings"]) else {
        return Ok(Vec::new());
    };
    bindings
        .items()?
        .iter()
        .map(|binding| {
            Ok(Binding {
                role: binding.required_text(&["role"])?,
                members: match binding.get(&["members"]) {
                    Some(members) => read_members(&members)?,
                    None => Vec::new(),
                },
                condition: read_condition(binding)?,
                pointer: binding.pointer.clone(),
            })
        })
        .collect()
}

fn read_members(members: &Node<'_>) -> Result<Vec<Member>, DocumentError> {
    members
        .items()?
        .iter()
        .map(|member| {
            Ok(Member {
                text: member.text()?.to_owned(),
                pointer: member.pointer.clone(),
            })
        })
        .collect()
}

fn read_condition(binding: &Node<'_>) -> Result<Option<String>, DocumentError> {
    binding
        .block(&["condition"])
        .map(|condition| condition.required_text(&["expression"]))
        .transpose()
}

const MAPPING: &[&str] = &["attributeMapping", "attribute_mapping"];
const CONDITION: &[&str] = &["attributeCondition", "attribute_condition"];
const ISSUER: &[&str] = &["issuerUri", "issuer_uri"];
const AUDIENCES: &[&str] = &["allowedAudiences", "allowed_audiences"];
const JWKS: &[&str] = &["jwksJson", "jwks_json"];
