//! Every trust document that somebody gave, and which of them speak of whom.
//!
//! People hand over what their cloud's command line printed, in files of any name, or what was stored in the ConfigMap
//! `cwii-trust`. A [`Library`] recognises each by its shape, keeps only what an evaluator reads, and answers per owner: the
//! documents of this role, of this service account, of this client id.
//!
//! Some documents do not say whose they are: a trust policy alone, the allow policy of a service account, a list of federated
//! identity credentials. A single one of its kind applies; of several, the one whose file name contains the owner. One whose
//! file name names somebody else of the same kind (another e-mail address, another UUID) never applies.
//!
//! That a document was not given says nothing about the cloud. The methods that begin with `has_` tell "not given" from
//! "given and lacking"; whoever evaluates asks them first.

mod cluster;
mod locate;
mod recognise;
mod store;

use std::fmt;

use cwii_contract::types::{PoolProvider, RoleArn};
use cwii_token::{Claims, Discovery, Jwks};
use serde_json::Value;

pub use cluster::{AksCluster, ClusterDescription, EksCluster, GkeCluster, GkeNodePool};
pub use locate::{Position, locate};
pub use recognise::Shape;

use crate::{DocumentError, aws, document, entra, google};

/// Documents, recognised.
#[derive(Clone, Debug, Default)]
pub struct Library {
    entries: Vec<Entry>,
    clusters: Vec<ClusterDescription>,
    discovery: Option<Discovery>,
    published_discovery: Option<Discovery>,
    published_jwks: Option<Jwks>,
    cluster_jwks: Option<Jwks>,
    claims: Vec<(String, Claims)>,
}

/// A document and where it came from.
#[derive(Clone, Debug)]
struct Entry {
    file: String,
    shape: Shape,
    value: Value,
}

/// What a document turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recognised {
    /// Its shape.
    pub shape: Shape,
    /// How many objects it holds: 3 for a list of three roles, 0 for a Terraform state without a resource that matters here.
    pub objects: usize,
}

/// A document that cannot be used. `Display` gives file, place, and what was expected; never the content.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// The file is not JSON.
    #[error("{file}{}: expected {expected}, found {found}", colon(*position))]
    NotJson {
        /// The file.
        file: String,
        /// Where the JSON ends to be one; none for a file that is something else altogether.
        position: Option<Position>,
        /// What was expected.
        expected: &'static str,
        /// What the file is instead.
        found: String,
    },
    /// JSON, but no document that is known.
    #[error("{file}: expected {expected}, found {found}")]
    NotRecognised {
        /// The file.
        file: String,
        /// What is known.
        expected: &'static str,
        /// What the file holds instead.
        found: String,
    },
    /// A known document that is not as it should be.
    #[error("{file}{}: {problem}", colon(*position))]
    Malformed {
        /// The file.
        file: String,
        /// Line and column of what is wrong, where the document was read from bytes.
        position: Option<Position>,
        /// What is wrong, and where.
        problem: Box<DocumentError>,
    },
    /// Something in it is a secret, which no trust document has.
    #[error("{file}{}: a secret at `{pointer}`, where a trust document has none", colon(*position))]
    Secret {
        /// The file.
        file: String,
        /// Line and column of it, where the document was read from bytes.
        position: Option<Position>,
        /// JSON pointer to it.
        pointer: String,
    },
}

impl LibraryError {
    /// The file at fault.
    #[must_use]
    pub fn file(&self) -> &str {
        match self {
            Self::NotJson { file, .. }
            | Self::NotRecognised { file, .. }
            | Self::Malformed { file, .. }
            | Self::Secret { file, .. } => file,
        }
    }

    /// Whether the file may be passed over where it was not named itself but lies in a directory: it is something else than
    /// a trust document, as opposed to a broken one.
    #[must_use]
    pub fn is_something_else(&self) -> bool {
        matches!(self, Self::NotJson { .. } | Self::NotRecognised { .. })
    }

    fn at(self, bytes: &[u8]) -> Self {
        match self {
            Self::Malformed { file, problem, .. } => Self::Malformed {
                file,
                position: locate(bytes, &problem.pointer),
                problem,
            },
            Self::Secret { file, pointer, .. } => Self::Secret {
                file,
                position: locate(bytes, &pointer),
                pointer,
            },
            other => other,
        }
    }
}

fn colon(position: Option<Position>) -> String {
    position.map_or_else(String::new, |position| format!(":{position}"))
}

impl Library {
    /// Adds a document. Of two about the same thing the later one counts.
    ///
    /// # Errors
    ///
    /// Why it cannot be used. The library is then as it was before.
    pub fn add(&mut self, file: &str, document: &Value) -> Result<Recognised, LibraryError> {
        let Some(shape) = recognise::shape(file, document) else {
            return Err(recognise::not_recognised(file, document));
        };
        let malformed = |problem| LibraryError::Malformed {
            file: file.to_owned(),
            position: None,
            problem: Box::new(problem),
        };
        let mut objects = document.as_array().map_or(1, Vec::len);
        let value = match shape {
            Shape::Discovery => {
                let discovery = Discovery::parse(&bytes_of(document))
                    .map_err(|error| malformed(foreign("discovery document", document, &error)))?;
                let place = if base_name(file).contains("published") {
                    &mut self.published_discovery
                } else {
                    &mut self.discovery
                };
                *place = Some(discovery);
                document.clone()
            }
            Shape::Jwks | Shape::PublishedJwks => {
                let jwks = Jwks::parse(&bytes_of(document))
                    .map_err(|error| malformed(foreign("JWKS", document, &error)))?;
                objects = jwks.keys.len();
                let place = if shape == Shape::PublishedJwks {
                    &mut self.published_jwks
                } else {
                    &mut self.cluster_jwks
                };
                *place = Some(jwks);
                store::without_private_members(document)
            }
            Shape::Claims => {
                let claims = document.as_object().ok_or_else(|| {
                    malformed(DocumentError {
                        document: "token claims",
                        pointer: String::new(),
                        expected: "an object".to_owned(),
                        found: document::describe(document),
                    })
                })?;
                let claims = Claims {
                    members: claims.clone(),
                };
                self.claims.retain(|(known, _)| known != file);
                self.claims.push((file.to_owned(), claims));
                document.clone()
            }
            Shape::GkeCluster | Shape::AksCluster | Shape::EksCluster => {
                let (clusters, kept) = cluster::read(shape, file, document).map_err(&malformed)?;
                objects = clusters.len();
                self.clusters.extend(clusters);
                kept
            }
            Shape::Terraform => {
                let (kept, known) = recognise::terraform(document);
                // What only looked like Terraform has nothing left that could be stored and read back.
                if recognise::shape(file, &kept) != Some(shape) {
                    return Err(recognise::not_recognised(file, document));
                }
                objects = known;
                validate(shape, &kept).map_err(&malformed)?;
                self.clusters
                    .extend(cluster::read_terraform(file, &kept).map_err(&malformed)?);
                kept
            }
            _ => {
                if let Some(pointer) = store::secret_in(document) {
                    return Err(LibraryError::Secret {
                        file: file.to_owned(),
                        position: None,
                        pointer,
                    });
                }
                validate(shape, document).map_err(&malformed)?;
                document.clone()
            }
        };
        self.entries.push(Entry {
            file: file.to_owned(),
            shape,
            value,
        });
        Ok(Recognised { shape, objects })
    }

    /// Adds a document as it lies in a file: JSON, after a byte order mark if need be.
    ///
    /// # Errors
    ///
    /// As [`Self::add`]; with line and column.
    pub fn parse(&mut self, file: &str, bytes: &[u8]) -> Result<Recognised, LibraryError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let document: Value = serde_json::from_slice(bytes)
            .map_err(|error| recognise::not_json(file, bytes, &error))?;
        self.add(file, &document).map_err(|error| error.at(bytes))
    }

    /// What is known of AWS, for a role. Documents without an owner are taken as this role's by the rule of the module;
    /// without a role they stay out.
    #[must_use]
    pub fn aws(&self, role: Option<&RoleArn>) -> aws::Documents {
        let mut documents = aws::Documents::default();
        let hints = aws::Hints { role_arn: role };
        // Whatever names its owner, roles first: they tell the account of a provider without an ARN.
        let of = |shapes: &'static [Shape]| {
            self.entries
                .iter()
                .filter(|entry| shapes.contains(&entry.shape))
        };
        for entry in of(&[Shape::AwsRole, Shape::AwsRoleList, Shape::Terraform]) {
            documents.add_known(&entry.value, &hints);
        }
        if let Some(arn) = role {
            let policies: Vec<&Entry> = of(&[Shape::AwsTrustPolicy]).collect();
            for entry in applying(&policies, arn.name(), |_| false) {
                documents.add_known(&entry.value, &hints);
            }
        }
        for entry in of(&[
            Shape::AwsOidcProvider,
            Shape::AwsOidcProviderList,
            Shape::AwsPodIdentityAssociation,
            Shape::AwsPodIdentityAssociationList,
        ]) {
            // A file that is named after another account is that account's.
            let elsewhere = role.is_some_and(|arn| {
                entry.shape == Shape::AwsOidcProvider
                    && entry.value.get("Arn").is_none()
                    && account_in(base_name(&entry.file))
                        .is_some_and(|account| account != arn.account())
            });
            if !elsewhere {
                documents.add_known(&entry.value, &hints);
            }
        }
        documents
    }

    /// What is known of Google, for a service account by its e-mail address.
    #[must_use]
    pub fn google(&self, service_account: Option<&str>) -> google::Documents {
        let mut documents = google::Documents::default();
        for entry in self.entries.iter().filter(|entry| {
            matches!(
                entry.shape,
                Shape::GooglePool
                    | Shape::GoogleProvider
                    | Shape::GoogleServiceAccount
                    | Shape::GoogleServices
                    | Shape::Terraform
            )
        }) {
            documents.add_known(&entry.value, &google::Hints::default());
        }
        if let Some(email) = service_account {
            let hints = google::Hints {
                service_account: Some(email),
            };
            for entry in self.policies_of(email) {
                documents.add_known(&entry.value, &hints);
            }
        }
        documents
    }

    /// What is known of Entra, for an application or managed identity by its client id.
    #[must_use]
    pub fn entra(&self, client_id: Option<&str>) -> entra::Documents {
        let mut documents = entra::Documents::default();
        let none = entra::Hints::default();
        for entry in self.entries.iter().filter(|entry| {
            matches!(
                entry.shape,
                Shape::EntraApplication
                    | Shape::EntraManagedIdentity
                    | Shape::EntraServicePrincipal
                    | Shape::EntraTenant
                    | Shape::Terraform
            )
        }) {
            let hints = entra::Hints {
                // A plan does not know the client id of an application to be made, so credentials of an unknown owner are
                // without one.
                client_id: client_id.filter(|_| entry.shape == Shape::Terraform),
                ..none
            };
            documents.add_known(&entry.value, &hints);
        }
        let mut ownerless = Vec::new();
        for entry in self.entries.iter().filter(|entry| {
            matches!(
                entry.shape,
                Shape::EntraCredentials | Shape::EntraIdentityCredentials
            )
        }) {
            // Resource Manager's ids name the identity.
            let owner = recognise::identity_of(&entry.value).and_then(|identity| {
                documents
                    .applications
                    .iter()
                    .find(|known| {
                        known
                            .owner_id
                            .as_deref()
                            .is_some_and(|id| id.eq_ignore_ascii_case(&identity))
                    })
                    .map(|known| known.client_id.clone())
            });
            match owner {
                Some(owner) => documents.add_known(
                    &entry.value,
                    &entra::Hints {
                        client_id: Some(&owner),
                        kind: entra::ObjectKind::ManagedIdentity,
                    },
                ),
                None => ownerless.push(entry),
            }
        }
        if let Some(client_id) = client_id {
            for entry in applying(&ownerless, client_id, |name| {
                uuids(name).any(|uuid| !uuid.eq_ignore_ascii_case(client_id))
            }) {
                let kind = if entry.shape == Shape::EntraIdentityCredentials {
                    entra::ObjectKind::ManagedIdentity
                } else {
                    documents
                        .find(client_id)
                        .map_or(entra::ObjectKind::Application, |known| known.kind)
                };
                let hints = entra::Hints {
                    client_id: Some(client_id),
                    kind,
                };
                documents.add_known(&entry.value, &hints);
            }
        }
        documents
    }

    /// Descriptions of clusters, in the order in which they were given.
    #[must_use]
    pub fn clusters(&self) -> &[ClusterDescription] {
        &self.clusters
    }

    /// The key set that the public issuer serves.
    #[must_use]
    pub fn published_jwks(&self) -> Option<&Jwks> {
        self.published_jwks.as_ref()
    }

    /// The key set that the cluster serves.
    #[must_use]
    pub fn cluster_jwks(&self) -> Option<&Jwks> {
        self.cluster_jwks.as_ref()
    }

    /// The cluster's discovery document.
    #[must_use]
    pub fn discovery(&self) -> Option<&Discovery> {
        self.discovery.as_ref()
    }

    /// The discovery document that the public issuer serves: one in a file whose name contains `published`.
    #[must_use]
    pub fn published_discovery(&self) -> Option<&Discovery> {
        self.published_discovery.as_ref()
    }

    /// Claims of tokens of this ServiceAccount, in the order in which they were given: those whose claim `kubernetes.io`
    /// names it, or whose `sub` does, or whose file does where neither names anybody.
    #[must_use]
    pub fn claims(&self, namespace: &str, service_account: &str) -> Vec<&Claims> {
        let subject = format!("system:serviceaccount:{namespace}:{service_account}");
        self.claims
            .iter()
            .filter(|(file, claims)| {
                let kubernetes = claims.kubernetes();
                let named = kubernetes.as_ref().and_then(|kubernetes| {
                    Some((
                        kubernetes.namespace.as_deref()?,
                        kubernetes.service_account.as_ref()?.name.as_str(),
                    ))
                });
                match (named, claims.subject()) {
                    (Some(named), _) => named == (namespace, service_account),
                    (None, Some(sub)) if sub == subject => true,
                    (None, Some(sub)) if sub.parse::<cwii_contract::types::Subject>().is_ok() => {
                        false
                    }
                    _ => self.claims.len() == 1 || base_name(file).contains(service_account),
                }
            })
            .map(|(_, claims)| claims)
            .collect()
    }

    /// All claims of tokens, with their files.
    pub fn all_claims(&self) -> impl Iterator<Item = (&str, &Claims)> {
        self.claims
            .iter()
            .map(|(file, claims)| (file.as_str(), claims))
    }

    /// Whether the role, or its trust policy, was given.
    #[must_use]
    pub fn has_aws_role(&self, role: &RoleArn) -> bool {
        self.aws(Some(role)).role(role.as_str()).is_some()
    }

    /// Whether any IAM OIDC provider, or a list of them, was given.
    #[must_use]
    pub fn has_aws_providers(&self) -> bool {
        self.has_any(&[Shape::AwsOidcProvider, Shape::AwsOidcProviderList])
            || self.aws(None).providers.is_some()
    }

    /// Whether all IAM OIDC providers of an account are known: a list that has one of this account, or an empty list that is
    /// not named after another account. Providers that were described one by one say nothing about others.
    #[must_use]
    pub fn has_all_aws_providers_of(&self, account: &str) -> bool {
        self.entries
            .iter()
            .filter(|entry| entry.shape == Shape::AwsOidcProviderList)
            .any(|entry| {
                let arns: Vec<&str> = entry
                    .value
                    .get("OpenIDConnectProviderList")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(|provider| provider.get("Arn")?.as_str())
                    .collect();
                let named = account_in(base_name(&entry.file));
                named == Some(account)
                    || named.is_none() && arns.is_empty()
                    || arns
                        .iter()
                        .any(|arn| arn.split(':').nth(4) == Some(account))
            })
    }

    /// Whether a list of EKS Pod Identity associations was given, as opposed to single ones, which say nothing about others.
    #[must_use]
    pub fn has_all_associations(&self) -> bool {
        self.has_any(&[Shape::AwsPodIdentityAssociationList])
    }

    /// Whether any EKS Pod Identity association, or a list of them, was given.
    #[must_use]
    pub fn has_associations(&self) -> bool {
        self.aws(None).associations.is_some()
    }

    /// Whether the workload identity pool provider was given.
    #[must_use]
    pub fn has_google_provider(&self, provider: &PoolProvider) -> bool {
        self.google(None).provider(provider).is_some()
    }

    /// Whether the allow policy of the service account was given.
    #[must_use]
    pub fn has_service_account_policy(&self, email: &str) -> bool {
        self.google(Some(email)).policies.contains_key(email)
    }

    /// Whether the application or managed identity, or its credentials, were given.
    #[must_use]
    pub fn has_entra_application(&self, client_id: &str) -> bool {
        self.entra(Some(client_id)).find(client_id).is_some()
    }

    /// Whether federated identity credentials of the application or managed identity were given, be it an empty list.
    #[must_use]
    pub fn has_entra_credentials(&self, client_id: &str) -> bool {
        self.has_any(&[
            Shape::EntraCredentials,
            Shape::EntraIdentityCredentials,
            Shape::Terraform,
        ]) && self.has_entra_application(client_id)
            || self
                .entra(Some(client_id))
                .find(client_id)
                .is_some_and(|known| !known.credentials.is_empty())
    }

    /// Whether nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The files and what each is, in the order in which they were given.
    pub fn files(&self) -> impl Iterator<Item = (&str, Shape)> {
        self.entries
            .iter()
            .map(|entry| (entry.file.as_str(), entry.shape))
    }

    /// The file that tells of an IAM role; the last one counts.
    #[must_use]
    pub fn file_of_aws_role(&self, role: &RoleArn) -> Option<&str> {
        let hints = aws::Hints {
            role_arn: Some(role),
        };
        self.entries
            .iter()
            .rev()
            .find(|entry| {
                let mut documents = aws::Documents::default();
                documents.add_known(&entry.value, &hints);
                documents.role(role.as_str()).is_some()
            })
            .map(|entry| entry.file.as_str())
    }

    /// The file that tells of an IAM OIDC provider, by its ARN; one with its client ids rather than a list.
    #[must_use]
    pub fn file_of_aws_provider(&self, arn: &str, role: &RoleArn) -> Option<&str> {
        let hints = aws::Hints {
            role_arn: Some(role),
        };
        let tells =
            |entry: &&Entry, detailed: bool| {
                let mut documents = aws::Documents::default();
                documents.add_known(&entry.value, &hints);
                documents.providers.iter().flatten().any(|provider| {
                    provider.arn == arn && (provider.client_ids.is_some() || !detailed)
                })
            };
        let entries = || self.entries.iter().rev();
        entries()
            .find(|entry| tells(entry, true))
            .or_else(|| entries().find(|entry| tells(entry, false)))
            .map(|entry| entry.file.as_str())
    }

    /// The file that a clause of an evaluator's verdict stands in, where it can be told: that of the given shape, if there is
    /// only one.
    #[must_use]
    pub fn file_of(&self, shapes: &[Shape]) -> Option<&str> {
        let mut found = self
            .entries
            .iter()
            .filter(|entry| shapes.contains(&entry.shape));
        match (found.next(), found.next()) {
            (Some(only), None) => Some(&only.file),
            _ => None,
        }
    }

    /// The federated principals that trust policies without a role name, in order.
    pub(crate) fn federated_principals(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in &self.entries {
            if entry.shape != Shape::AwsTrustPolicy {
                continue;
            }
            let Some(documents) = NOBODYS_ROLE.parse().ok().map(|role: RoleArn| {
                let mut documents = aws::Documents::default();
                documents.add_known(
                    &entry.value,
                    &aws::Hints {
                        role_arn: Some(&role),
                    },
                );
                documents
            }) else {
                continue;
            };
            for role in &documents.roles {
                let principals = role
                    .trust_policy
                    .statements
                    .iter()
                    .flat_map(|statement| &statement.principals.named)
                    .filter(|principal| principal.kind == "Federated");
                found.extend(principals.map(|principal| principal.value.clone()));
            }
        }
        found
    }

    /// The service accounts that allow policies' files are named after.
    pub(crate) fn policy_owners(&self) -> Vec<String> {
        self.owners(&[Shape::GoogleIamPolicy], |name| {
            let end = name.find(".gserviceaccount.com")? + ".gserviceaccount.com".len();
            let email = name.get(..end)?;
            let local = email.find('@')?;
            let start = email
                .get(..local)?
                .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .map_or(0, |at| at + 1);
            Some(email.get(start..)?.to_owned())
        })
    }

    /// The client ids that credentials' files are named after.
    pub(crate) fn credential_owners(&self) -> Vec<String> {
        self.owners(
            &[Shape::EntraCredentials, Shape::EntraIdentityCredentials],
            |name| uuids(name).next().map(str::to_owned),
        )
    }

    fn owners(&self, shapes: &[Shape], owner: impl Fn(&str) -> Option<String>) -> Vec<String> {
        self.entries
            .iter()
            .filter(|entry| shapes.contains(&entry.shape))
            .filter_map(|entry| owner(base_name(&entry.file)))
            .collect()
    }

    fn has_any(&self, shapes: &[Shape]) -> bool {
        self.entries
            .iter()
            .any(|entry| shapes.contains(&entry.shape))
    }

    fn policies_of(&self, email: &str) -> Vec<&Entry> {
        let policies: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| entry.shape == Shape::GoogleIamPolicy)
            .collect();
        applying(&policies, email, |name| {
            name.contains('@') && !name.contains(email)
        })
    }
}

/// Of documents that do not name their owner, those that are the owner's. A later one counts more, so order is kept.
fn applying<'a>(
    entries: &[&'a Entry],
    owner: &str,
    names_another: impl Fn(&str) -> bool,
) -> Vec<&'a Entry> {
    let owner = owner.to_ascii_lowercase();
    if let [only] = entries {
        let name = base_name(&only.file).to_ascii_lowercase();
        return if name.contains(&owner) || !names_another(&name) {
            vec![only]
        } else {
            Vec::new()
        };
    }
    entries
        .iter()
        .copied()
        .filter(|entry| base_name(&entry.file).to_ascii_lowercase().contains(&owner))
        .collect()
}

/// Reads a document as its cloud's reader does, with an owner made up where it names none.
fn validate(shape: Shape, document: &Value) -> Result<(), DocumentError> {
    match shape {
        Shape::AwsRole
        | Shape::AwsRoleList
        | Shape::AwsTrustPolicy
        | Shape::AwsOidcProvider
        | Shape::AwsOidcProviderList
        | Shape::AwsPodIdentityAssociation
        | Shape::AwsPodIdentityAssociationList => {
            let nobody = NOBODYS_ROLE.parse().ok();
            let hints = aws::Hints {
                role_arn: nobody.as_ref(),
            };
            aws::Documents::default().add(document, &hints)
        }
        Shape::GooglePool
        | Shape::GoogleProvider
        | Shape::GoogleServiceAccount
        | Shape::GoogleIamPolicy
        | Shape::GoogleServices => google::Documents::default().add(
            document,
            &google::Hints {
                service_account: Some("nobody"),
            },
        ),
        Shape::EntraCredentials
        | Shape::EntraIdentityCredentials
        | Shape::EntraApplication
        | Shape::EntraManagedIdentity
        | Shape::EntraServicePrincipal
        | Shape::EntraTenant => entra::Documents::default().add(
            document,
            &entra::Hints {
                client_id: Some("nobody"),
                kind: entra::ObjectKind::Application,
            },
        ),
        // What a plan does not know yet is left out, not wrong; what is there is read with the rest.
        Shape::Terraform
        | Shape::GkeCluster
        | Shape::AksCluster
        | Shape::EksCluster
        | Shape::Discovery
        | Shape::Jwks
        | Shape::PublishedJwks
        | Shape::Claims => Ok(()),
    }
}

fn foreign(document: &'static str, value: &Value, error: &impl fmt::Display) -> DocumentError {
    let text = error.to_string();
    // The token crate's errors say both in one sentence.
    let (expected, found) = match text.split_once(", found ") {
        Some((expected, found)) => (
            expected
                .strip_prefix("expected ")
                .unwrap_or(expected)
                .to_owned(),
            found.to_owned(),
        ),
        None => (text, document::describe(value)),
    };
    DocumentError {
        document,
        pointer: String::new(),
        expected,
        found,
    }
}

fn bytes_of(document: &Value) -> Vec<u8> {
    // Values have only string keys, so this does not fail; nothing at all is then the reader's error.
    serde_json::to_vec(document).unwrap_or_default()
}

fn base_name(file: &str) -> &str {
    file.rsplit(['/', '\\']).next().unwrap_or(file)
}

/// The account that a file is named after: twelve digits on their own.
fn account_in(name: &str) -> Option<&str> {
    name.split(|c: char| !c.is_ascii_digit())
        .find(|part| part.len() == 12)
}

/// The UUIDs in a file name.
fn uuids(name: &str) -> impl Iterator<Item = &str> {
    (0..name.len())
        .filter_map(|start| name.get(start..start + 36))
        .filter(|part| recognise::is_uuid(part))
}

/// Stands in for the owner while a document is only read to see whether it can be.
const NOBODYS_ROLE: &str = "arn:aws:iam::000000000000:role/nobody";
