//! AWS: IAM OIDC provider and role for web identity; role and association for EKS Pod Identity.

use cwii_contract::types::{IssuerUrl, RoleArn, Subject};
use serde_json::{Value, json};

use super::{
    SuggestedDocument, Suggestion, command,
    hcl::{self, Block, label},
};
use crate::aws::{Documents, provider_arn};

/// What a role is to trust by web identity.
#[derive(Clone, Copy, Debug)]
pub struct WebIdentityTrust<'a> {
    /// The cluster's issuer.
    pub issuer: &'a IssuerUrl,
    /// The token's audience, as a rule `sts.amazonaws.com`.
    pub audience: &'a str,
    /// The role.
    pub role: &'a RoleArn,
}

/// What a role is to trust by EKS Pod Identity.
#[derive(Clone, Copy, Debug)]
pub struct PodIdentityTrust<'a> {
    /// The cluster's name.
    pub cluster_name: &'a str,
    /// The cluster's ARN; without it, clusters of the same name in other regions of the account are admitted as well.
    pub cluster_arn: Option<&'a str>,
    /// The role.
    pub role: &'a RoleArn,
}

/// An IAM OIDC provider and a role that exactly this ServiceAccount may assume.
///
/// Sources: IAM User Guide, "Create an OpenID Connect (OIDC) identity provider in IAM"; Amazon EKS User Guide, "Assign IAM
/// roles to Kubernetes service accounts".
#[must_use]
pub fn web_identity(
    subject: &Subject,
    trust: &WebIdentityTrust<'_>,
    known: &Documents,
) -> Suggestion {
    let WebIdentityTrust {
        issuer,
        audience,
        role,
    } = *trust;
    let url = issuer.without_scheme();
    let arn = provider_arn(role.partition().as_str(), role.account(), url);
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Federated": arn },
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": { "StringEquals": {
                format!("{url}:aud"): literal(audience),
                format!("{url}:sub"): subject.to_string(),
            } },
        }],
    });

    let mut suggestion = Suggestion::default();
    let provider = known
        .providers
        .iter()
        .flatten()
        .find(|provider| provider.arn == arn);
    let client_ids = provider.and_then(|provider| provider.client_ids.clone());
    match (&provider, &client_ids) {
        (None, _) => suggestion.commands.push(command(
            &["aws", "iam", "create-open-id-connect-provider"],
            &[("--url", issuer.as_str()), ("--client-id-list", audience)],
        )),
        (Some(_), Some(ids)) if ids.iter().any(|id| id == audience) => {}
        (Some(_), _) => suggestion.commands.push(command(
            &["aws", "iam", "add-client-id-to-open-id-connect-provider"],
            &[
                ("--open-id-connect-provider-arn", &arn),
                ("--client-id", audience),
            ],
        )),
    }
    let mut all_ids = client_ids.unwrap_or_default();
    if !all_ids.iter().any(|id| id == audience) {
        all_ids.push(audience.to_owned());
    }
    suggestion.documents.push(SuggestedDocument {
        file: "oidc-provider.json".to_owned(),
        title: format!("IAM OIDC provider of account {}", role.account()),
        document: json!({ "Arn": arn, "Url": url, "ClientIDList": all_ids }),
    });
    let provider_block = provider.is_none().then(|| {
        Block::new("resource", &["aws_iam_openid_connect_provider", "cluster"])
            .set("url", issuer.as_str())
            .list("client_id_list", &[audience])
    });
    with_role(&mut suggestion, role, &policy, known, provider_block);
    suggestion
}

/// A role that exactly this ServiceAccount may assume by EKS Pod Identity, and the association. The conditions need the
/// session tags that EKS sets unless an association disables them.
///
/// Sources: Amazon EKS User Guide, "Create IAM role with trust policy required by EKS Pod Identity" and "Grant Pods access to
/// AWS resources based on tags".
#[must_use]
pub fn pod_identity(
    subject: &Subject,
    trust: &PodIdentityTrust<'_>,
    known: &Documents,
) -> Suggestion {
    let PodIdentityTrust {
        cluster_name,
        cluster_arn,
        role,
    } = *trust;
    let cluster = match cluster_arn {
        Some(arn) => ("aws:RequestTag/eks-cluster-arn", arn),
        None => ("aws:RequestTag/eks-cluster-name", cluster_name),
    };
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "pods.eks.amazonaws.com" },
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": { "StringEquals": {
                cluster.0: cluster.1,
                "aws:RequestTag/kubernetes-namespace": subject.namespace(),
                "aws:RequestTag/kubernetes-service-account": subject.service_account(),
            } },
        }],
    });
    let mut suggestion = Suggestion::default();
    let block = Block::new(
        "resource",
        &[
            "aws_eks_pod_identity_association",
            &label(subject.service_account()),
        ],
    )
    .set("cluster_name", cluster_name)
    .set("namespace", subject.namespace())
    .set("service_account", subject.service_account())
    .set("role_arn", role.as_str());
    with_role(&mut suggestion, role, &policy, known, None);
    suggestion.terraform.push('\n');
    suggestion.terraform.push_str(&hcl::file(&[block]));
    suggestion.documents.push(SuggestedDocument {
        file: "pod-identity-association.json".to_owned(),
        title: format!("EKS Pod Identity association of cluster {cluster_name}"),
        document: json!({ "association": {
            "clusterName": cluster_name,
            "namespace": subject.namespace(),
            "serviceAccount": subject.service_account(),
            "roleArn": role.as_str(),
        } }),
    });
    let exists = known.associations.iter().flatten().any(|association| {
        association.cluster_name == cluster_name
            && association.namespace == subject.namespace()
            && association.service_account == subject.service_account()
            && association.role_arn.as_deref() == Some(role.as_str())
    });
    if !exists {
        suggestion.commands.push(command(
            &["aws", "eks", "create-pod-identity-association"],
            &[
                ("--cluster-name", cluster_name),
                ("--namespace", subject.namespace()),
                ("--service-account", subject.service_account()),
                ("--role-arn", role.as_str()),
            ],
        ));
    }
    if cluster_arn.is_none() {
        suggestion.notes.push(format!(
            "without the cluster's ARN the role admits this ServiceAccount of every cluster of account {} that is called `{cluster_name}`",
            role.account()
        ));
    }
    suggestion
}

fn with_role(
    suggestion: &mut Suggestion,
    role: &RoleArn,
    policy: &Value,
    known: &Documents,
    provider: Option<Block>,
) {
    suggestion.documents.push(SuggestedDocument {
        file: format!("role-{}.json", role.name()),
        title: format!("role {}, with its trust policy", role.name()),
        document: json!({ "Role": {
            "Path": role_path(role),
            "RoleName": role.name(),
            "Arn": role.as_str(),
            "AssumeRolePolicyDocument": policy,
        } }),
    });
    let text = policy.to_string();
    let path = role_path(role);
    if known.role(role.as_str()).is_some() {
        suggestion.commands.push(command(
            &["aws", "iam", "update-assume-role-policy"],
            &[("--role-name", role.name()), ("--policy-document", &text)],
        ));
        suggestion.notes.push(format!(
            "`update-assume-role-policy` replaces the whole trust policy of `{}`: whoever else it admits now is admitted no longer",
            role.name()
        ));
    } else {
        let mut flags = vec![("--role-name", role.name())];
        if path != "/" {
            flags.push(("--path", &path));
        }
        flags.push(("--assume-role-policy-document", &text));
        suggestion
            .commands
            .push(command(&["aws", "iam", "create-role"], &flags));
    }
    let mut block =
        Block::new("resource", &["aws_iam_role", &label(role.name())]).set("name", role.name());
    if path != "/" {
        block = block.set("path", &path);
    }
    block = block.json("assume_role_policy", policy);
    if provider.is_some() {
        block = block.raw("depends_on", "[aws_iam_openid_connect_provider.cluster]");
    }
    let blocks: Vec<Block> = provider.into_iter().chain([block]).collect();
    suggestion.terraform = hcl::file(&blocks);
}

/// A value of a condition in which nothing is a policy variable.
/// Source: IAM User Guide, "IAM policy elements: Variables and tags".
fn literal(value: &str) -> String {
    value.replace("${", "${$}{")
}

/// A role's path with the slashes that IAM wants: `/`, `/team/`.
fn role_path(role: &RoleArn) -> String {
    let path = role.path().trim_matches('/');
    if path.is_empty() {
        "/".to_owned()
    } else {
        format!("/{path}/")
    }
}
