//! AWS documents in the shapes that the AWS CLI, the IAM API and Terraform print.

use cwii_contract::types::RoleArn;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    DocumentError, Pointers,
    aws::Policy,
    document::{Node, Resource, terraform_resources},
};

/// What is known of an account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    /// The roles. A role that is not here does not exist.
    pub roles: Vec<Role>,
    /// The IAM OIDC providers; `None` when nobody looked, in which case provider and audience are taken as good.
    pub providers: Option<Vec<OidcProvider>>,
    /// The EKS Pod Identity associations; `None` when nobody looked.
    pub associations: Option<Vec<Association>>,
}

/// A role. Source: IAM API, `Role`.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// `Arn`.
    pub arn: RoleArn,
    /// `RoleId`, `AROA…`.
    pub role_id: Option<String>,
    /// `MaxSessionDuration`, seconds; IAM's default is 3600.
    pub max_session_duration: Option<i64>,
    /// `AssumeRolePolicyDocument`.
    pub trust_policy: Policy,
    /// Where its members stand.
    pub pointers: Pointers,
}

/// An IAM OIDC provider. Source: IAM API, `GetOpenIDConnectProvider`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OidcProvider {
    /// `arn:PARTITION:iam::ACCOUNT:oidc-provider/URL`.
    pub arn: String,
    /// `Url`: host and path without the scheme, letter for letter.
    pub url: String,
    /// `ClientIDList`, the audiences; `None` when only the ARN is known (`list-open-id-connect-providers`).
    pub client_ids: Option<Vec<String>>,
    /// `ThumbprintList`, SHA-1 of certificates in lower-case hexadecimal digits. STS compares them only where it does not
    /// trust the issuer's certificate anyhow, which cannot be told offline.
    pub thumbprints: Vec<String>,
    /// Where its members stand.
    pub pointers: Pointers,
}

/// An EKS Pod Identity association. Source: EKS API, `PodIdentityAssociation`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Association {
    /// `clusterName`.
    pub cluster_name: String,
    /// `namespace`.
    pub namespace: String,
    /// `serviceAccount`.
    pub service_account: String,
    /// `roleArn`; summaries from `list-pod-identity-associations` do not have it.
    pub role_arn: Option<String>,
    /// `targetRoleArn`, a second role that is assumed from the first.
    pub target_role_arn: Option<String>,
    /// `disableSessionTags`.
    pub disable_session_tags: bool,
    /// `associationArn`, which tells region and account of the cluster.
    pub arn: Option<String>,
    /// `modifiedAt`, else `createdAt`: when it took its present form. Terraform does not say.
    pub changed_at: Option<Timestamp>,
}

/// What a document does not say about itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// The role that a bare trust policy belongs to; its account is that of a provider without an ARN.
    pub role_arn: Option<&'a RoleArn>,
}

impl Documents {
    /// Adds whatever a document holds:
    ///
    /// - `aws iam get-role`, `list-roles`, a bare role, or a bare trust policy (with [`Hints::role_arn`]); the policy as an
    ///   object, as JSON in a string or as percent-encoded JSON in a string
    /// - `aws iam get-open-id-connect-provider`, `list-open-id-connect-providers`; the ARN, which the first does not print,
    ///   is made of URL and account
    /// - `aws eks describe-pod-identity-association`, `list-pod-identity-associations`
    /// - an array of these
    /// - `terraform show -json`, a state file, or one resource of either
    ///
    /// # Errors
    ///
    /// What is not as it should be, and where.
    pub fn add(&mut self, document: &Value, hints: &Hints<'_>) -> Result<(), DocumentError> {
        self.add_node(&Node::root("AWS document", document), hints)
    }

    /// Adds what a document holds and leaves out what cannot be used: a plan does not know everything yet, and what does
    /// not say whose it is may be nobody's here.
    pub(crate) fn add_known(&mut self, document: &Value, hints: &Hints<'_>) {
        let node = Node::root("AWS document", document);
        match terraform_resources(&node) {
            Some(resources) => {
                for kind in [
                    "aws_iam_role",
                    "aws_eks_pod_identity_association",
                    "aws_iam_openid_connect_provider",
                ] {
                    for resource in resources.iter().filter(|known| known.kind == kind) {
                        // Left out, as said.
                        let _ = self.add_resources(std::slice::from_ref(resource), hints);
                    }
                }
            }
            None => {
                for item in node.one_or_many() {
                    let _ = self.add_node(&item, hints);
                }
            }
        }
    }

    /// The role of this ARN, letter for letter.
    #[must_use]
    pub fn role(&self, arn: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.arn.as_str() == arn)
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
        if let Some(role) = node.get(&["Role"]) {
            return self.add_role(&role, hints);
        }
        if let Some(roles) = node.get(&["Roles"]) {
            return roles
                .items()?
                .iter()
                .try_for_each(|role| self.add_role(role, hints));
        }
        if node.has("AssumeRolePolicyDocument") || node.has("assume_role_policy") {
            return self.add_role(node, hints);
        }
        if let Some(list) = node.get(&["OpenIDConnectProviderList"]) {
            // Somebody looked, even if there is none.
            self.providers.get_or_insert_default();
            return list
                .items()?
                .iter()
                .try_for_each(|provider| self.add_provider(provider, hints));
        }
        if ["Url", "ClientIDList", "client_id_list"]
            .iter()
            .any(|name| node.has(name))
        {
            return self.add_provider(node, hints);
        }
        if let Some(association) = node.get(&["association"]) {
            return self.add_association(&association);
        }
        if let Some(associations) = node.get(&["associations"]) {
            self.associations.get_or_insert_default();
            return associations
                .items()?
                .iter()
                .try_for_each(|association| self.add_association(association));
        }
        if node.has("serviceAccount") || node.has("service_account") {
            return self.add_association(node);
        }
        if node.has("Statement") || node.value.is_string() {
            let Some(arn) = hints.role_arn else {
                return Err(node.error(
                    "a role: a trust policy alone does not say whose it is, so its role must be named",
                ));
            };
            let trust_policy = Policy::parse_node(node, &policy_name(arn.as_str()))?;
            self.put_role(Role {
                arn: arn.clone(),
                role_id: None,
                max_session_duration: None,
                trust_policy,
                pointers: node.pointers(&[]),
            });
            return Ok(());
        }
        Err(node.error(
            "a role, a trust policy, an OIDC provider, a pod identity association, or Terraform's JSON",
        ))
    }

    fn add_resources(
        &mut self,
        resources: &[Resource<'_>],
        hints: &Hints<'_>,
    ) -> Result<(), DocumentError> {
        // Roles first: they tell the account of a provider whose ARN is not known yet.
        for resource in resources {
            match resource.kind {
                "aws_iam_role" => self.add_role(&resource.values, hints)?,
                "aws_eks_pod_identity_association" => self.add_association(&resource.values)?,
                _ => {}
            }
        }
        for resource in resources {
            if resource.kind == "aws_iam_openid_connect_provider" {
                self.add_provider(&resource.values, hints)?;
            }
        }
        Ok(())
    }

    fn add_role(&mut self, node: &Node<'_>, hints: &Hints<'_>) -> Result<(), DocumentError> {
        let policy = node.require(&["AssumeRolePolicyDocument", "assume_role_policy"])?;
        let arn = match node.get(&["Arn", "arn"]) {
            Some(arn) => arn
                .text()?
                .parse()
                .map_err(|_| arn.error("the ARN of a role"))?,
            // A plan does not know the ARN of a role to be made.
            None => hints
                .role_arn
                .filter(|hint| {
                    node.get(&["RoleName", "name"])
                        .is_none_or(|name| name.value.as_str() == Some(hint.name()))
                })
                .cloned()
                .ok_or_else(|| node.error("a member `Arn` or `arn`"))?,
        };
        let trust_policy = Policy::parse_node(&policy, &policy_name(arn.as_str()))?;
        self.put_role(Role {
            role_id: node.optional_text(&["RoleId", "unique_id"])?,
            max_session_duration: node.optional_integer(MAX_SESSION_DURATION)?,
            trust_policy,
            arn,
            pointers: node.pointers(&[MAX_SESSION_DURATION]),
        });
        Ok(())
    }

    /// The last document about a role counts.
    fn put_role(&mut self, role: Role) {
        self.roles.retain(|known| known.arn != role.arn);
        self.roles.push(role);
    }

    fn add_provider(&mut self, node: &Node<'_>, hints: &Hints<'_>) -> Result<(), DocumentError> {
        let arn = node.optional_text(&[
            "Arn",
            "arn",
            "OpenIDConnectProviderArn",
            "OpenIDConnectProviderARN",
        ])?;
        let (arn, url) = match (arn, node.get(URL)) {
            (Some(arn), Some(url)) => (arn, provider_url(url.text()?)),
            (Some(arn), None) => {
                let Some((_, url)) = arn.split_once(":oidc-provider/") else {
                    return Err(node.error("the ARN of an OIDC provider in `Arn`"));
                };
                let url = url.to_owned();
                (arn, url)
            }
            (None, Some(url)) => {
                let url = provider_url(url.text()?);
                let account = hints
                    .role_arn
                    .or_else(|| self.roles.first().map(|role| &role.arn))
                    .ok_or_else(|| {
                        node.error("a member `Arn`, or a role that tells the provider's account")
                    })?;
                (
                    provider_arn(account.partition().as_str(), account.account(), &url),
                    url,
                )
            }
            (None, None) => return Err(node.error("a member `Url` or `Arn`")),
        };
        let client_ids = node
            .get(CLIENT_IDS)
            .map(|list| list.texts())
            .transpose()?
            .map(without_duplicates);
        let provider = OidcProvider {
            arn,
            url,
            client_ids,
            thumbprints: node
                .optional_texts(&["ThumbprintList", "thumbprint_list"])?
                .into_iter()
                .map(|thumbprint| thumbprint.to_ascii_lowercase())
                .collect(),
            pointers: node.pointers(&[URL, CLIENT_IDS]),
        };
        let providers = self.providers.get_or_insert_default();
        match providers.iter_mut().find(|known| known.arn == provider.arn) {
            // A list has only the ARN; what is known already is more.
            Some(_) if provider.client_ids.is_none() => {}
            Some(known) => *known = provider,
            None => providers.push(provider),
        }
        Ok(())
    }

    fn add_association(&mut self, node: &Node<'_>) -> Result<(), DocumentError> {
        let association = Association {
            cluster_name: node.required_text(&["clusterName", "cluster_name"])?,
            namespace: node.required_text(&["namespace"])?,
            service_account: node.required_text(&["serviceAccount", "service_account"])?,
            role_arn: node.optional_text(&["roleArn", "role_arn"])?,
            target_role_arn: node.optional_text(&["targetRoleArn", "target_role_arn"])?,
            disable_session_tags: node
                .optional_bool(&["disableSessionTags", "disable_session_tags"])?
                .unwrap_or(false),
            arn: node.optional_text(&["associationArn", "association_arn"])?,
            changed_at: time(node, "modifiedAt").or_else(|| time(node, "createdAt")),
        };
        let associations = self.associations.get_or_insert_default();
        let same = |known: &Association| {
            (
                &known.cluster_name,
                &known.namespace,
                &known.service_account,
            ) == (
                &association.cluster_name,
                &association.namespace,
                &association.service_account,
            )
        };
        match associations.iter_mut().find(|known| same(known)) {
            Some(_) if association.role_arn.is_none() => {}
            Some(known) => *known = association,
            None => associations.push(association),
        }
        Ok(())
    }
}

/// A time as the AWS CLI prints it: ISO 8601, or seconds since 1970 where it is set up so.
fn time(node: &Node<'_>, member: &'static str) -> Option<Timestamp> {
    match node.get(&[member])?.value {
        Value::String(text) => text.parse().ok(),
        Value::Number(seconds) => {
            Timestamp::from_millisecond((seconds.as_f64()? * 1000.0) as i64).ok()
        }
        _ => None,
    }
}

/// The ARN of the provider of a URL in an account.
pub(crate) fn provider_arn(partition: &str, account: &str, url: &str) -> String {
    format!("arn:{partition}:iam::{account}:oidc-provider/{url}")
}

fn policy_name(arn: &str) -> String {
    format!("trust policy of {arn}")
}

/// IAM keeps the URL without scheme and without the default port, and everything else as it is.
fn provider_url(url: &str) -> String {
    let url = url.strip_prefix("https://").unwrap_or(url);
    let (host, path) = match url.find('/') {
        Some(slash) => url.split_at(slash),
        None => (url, ""),
    };
    format!("{}{path}", host.strip_suffix(":443").unwrap_or(host))
}

/// IAM drops duplicates and keeps the order.
fn without_duplicates(list: Vec<String>) -> Vec<String> {
    let mut seen = Vec::with_capacity(list.len());
    for item in list {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}

const MAX_SESSION_DURATION: &[&str] = &["MaxSessionDuration", "max_session_duration"];
const URL: &[&str] = &["Url", "url"];
const CLIENT_IDS: &[&str] = &["ClientIDList", "client_id_list"];
