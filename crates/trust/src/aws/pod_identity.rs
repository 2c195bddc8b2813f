//! EKS Pod Identity: the node's agent, EKS Auth behind it, and the trust policy of the associated role.
//!
//! Nothing of OIDC federation applies here: the caller is the service `pods.eks.amazonaws.com`, which assumes the role with
//! session tags that name cluster, namespace, ServiceAccount and pod. Hence two actions, of which the second is the one
//! that people forget. Source: EKS user guide, "Learn how EKS Pod Identity grants pods access to AWS services".

use std::collections::BTreeMap;

use cwii_token::{DecodeError, KeyRules, Token, select_key, verify_signature};
use jiff::Timestamp;

use crate::{
    Clause, CloudError, JwksFact, Lint, Verdict,
    aws::{
        Documents, LintKind, Reason, Role,
        policy::{self, Caller, Context},
    },
    verdict::{ABSENT, Failure},
};

/// The answer to a request for a pod's credentials.
pub type PodIdentityVerdict = Verdict<PodIdentity, Reason, LintKind>;

/// What the agent on the node is asked.
#[derive(Clone, Copy, Debug)]
pub struct PodIdentityRequest<'a> {
    /// The `Authorization` header, decoded or not.
    pub token: Result<&'a Token, &'a DecodeError>,
    /// The cluster's keys.
    pub jwks: JwksFact<'a>,
    /// The cluster: `arn:aws:eks:REGION:ACCOUNT:cluster/NAME`.
    pub cluster_arn: &'a str,
    /// The time at EKS.
    pub now: Timestamp,
}

/// A pod, as its session tags name it.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// The cluster: `arn:aws:eks:REGION:ACCOUNT:cluster/NAME`.
    pub cluster_arn: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The ServiceAccount.
    pub service_account: &'a str,
    /// The pod's name, where it is known.
    pub name: Option<&'a str>,
    /// The pod's UID, where it is known.
    pub uid: Option<&'a str>,
}

/// What EKS grants, except for the credentials themselves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodIdentity {
    /// The associated role.
    pub role_arn: String,
    /// The role that is assumed from it, where the association has one. Its own trust policy is not evaluated.
    pub target_role_arn: Option<String>,
    /// Session tags; none where the association turns them off.
    pub tags: BTreeMap<String, String>,
}

/// Decides what agent and EKS Auth would answer.
#[must_use]
pub fn evaluate_pod_identity(
    request: &PodIdentityRequest<'_>,
    documents: &Documents,
) -> PodIdentityVerdict {
    let mut lints = Vec::new();
    match decide(request, documents, &mut lints) {
        Ok((grant, clause)) => Verdict::granted(grant, clause, lints),
        Err(failure) => Verdict::denied(*failure, lints),
    }
}

/// Decides whether EKS may assume a role for a pod: its trust policy alone (EPI04). `session_tags` is false for an
/// association that disables them.
#[must_use]
pub fn evaluate_pod_identity_trust(
    role: &Role,
    pod: &Pod<'_>,
    session_tags: bool,
    now: Timestamp,
) -> PodIdentityVerdict {
    let mut lints = Vec::new();
    match check_trust(role, pod, session_tags, now, &mut lints) {
        Ok((tags, clause)) => Verdict::granted(
            PodIdentity {
                role_arn: role.arn.to_string(),
                target_role_arn: None,
                tags,
            },
            clause,
            lints,
        ),
        Err(failure) => Verdict::denied(*failure, lints),
    }
}

type Step<T> = Result<T, Box<Failure<Reason>>>;

fn decide(
    request: &PodIdentityRequest<'_>,
    documents: &Documents,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<(PodIdentity, Clause)> {
    let token = check_token(request, lints)?;
    let kubernetes = token.claims.kubernetes().unwrap_or_default();
    let (Some(namespace), Some(service_account)) =
        (&kubernetes.namespace, &kubernetes.service_account)
    else {
        return Err(agent_error(
            "Service account token failed basic claim validations: it names no service account",
            Reason::NotAServiceAccountToken,
            Clause::new("token", "/payload/kubernetes.io", "kubernetes.io")
                .compared("namespace and serviceaccount", ABSENT),
        ));
    };
    let pod = Pod {
        cluster_arn: request.cluster_arn,
        namespace,
        service_account: &service_account.name,
        name: kubernetes.pod.as_ref().map(|pod| pod.name.as_str()),
        uid: kubernetes.pod.as_ref().and_then(|pod| pod.uid.as_deref()),
    };
    let cluster = pod.cluster_name();
    let wanted = format!("{namespace}/{}", pod.service_account);
    let of_cluster: Vec<_> = documents
        .associations
        .iter()
        .flatten()
        .filter(|association| association.cluster_name == cluster)
        .collect();
    let association = of_cluster
        .iter()
        .find(|a| a.namespace == pod.namespace && a.service_account == pod.service_account);
    let Some(association) = association else {
        let similar = of_cluster
            .iter()
            .find(|a| a.namespace == pod.namespace || a.service_account == pod.service_account)
            .map(|a| format!("{}/{}", a.namespace, a.service_account));
        let found = similar.clone().unwrap_or_else(|| ABSENT.to_owned());
        return Err(Box::new(Failure::new(
            Reason::AssociationMissing { similar },
            Clause::new(
                format!("pod identity associations of {cluster}"),
                "",
                "namespace and serviceAccount",
            )
            .compared(wanted.clone(), found),
            CloudError::new(
                "P2",
                404,
                "ResourceNotFoundException",
                format!("no pod identity association for {wanted} in cluster {cluster}"),
            ),
        )));
    };
    let role_arn = association.role_arn.clone().unwrap_or_default();
    let Some(role) = documents.role(&role_arn) else {
        return Err(unauthorized(
            Reason::RoleMissing { similar: None },
            Clause::new(
                "pod identity association",
                "/association/roleArn",
                "roleArn",
            )
            .compared(role_arn, ABSENT),
        ));
    };
    let (tags, clause) = check_trust(
        role,
        &pod,
        !association.disable_session_tags,
        request.now,
        lints,
    )?;
    Ok((
        PodIdentity {
            role_arn,
            target_role_arn: association.target_role_arn.clone(),
            tags,
        },
        clause,
    ))
}

/// What the agent checks itself, then what EKS Auth checks.
fn check_token<'a>(
    request: &PodIdentityRequest<'a>,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<&'a Token> {
    let token = request.token.map_err(|error| {
        let message = match error {
            DecodeError::Empty => "Service account token cannot be empty".to_owned(),
            _ => format!("Service account token cannot be parsed: {error}"),
        };
        agent_error(
            message,
            Reason::NotAJwt {
                problem: error.to_string(),
            },
            Clause::new("token", "", "JWT").compared("a JWT", error.to_string()),
        )
    })?;
    let audiences = token.claims.audiences();
    if !audiences.contains(&SERVICE) {
        return Err(agent_error(
            format!(
                "Service account token failed basic claim validations: audience is {}",
                audiences.join(", ")
            ),
            Reason::PodIdentityAudience,
            Clause::new("token", "/payload/aud", "aud").compared(SERVICE, audiences.join(", ")),
        ));
    }
    if token
        .claims
        .expires_at()
        .is_none_or(|expires_at| expires_at <= request.now)
    {
        let found = token
            .claims
            .expires_at()
            .map_or_else(|| ABSENT.to_owned(), |expires_at| expires_at.to_string());
        return Err(agent_error(
            "Service account token failed basic claim validations: token is expired",
            Reason::Expired,
            Clause::new("token", "/payload/exp", "exp")
                .compared(format!("after {}", request.now), found),
        ));
    }
    let refused = |reason, problem: String| {
        Box::new(Failure::new(
            reason,
            Clause::new("token", "/header/kid", "signature").compared(
                "a signature of the cluster's key of this name",
                problem.clone(),
            ),
            CloudError::new("P3", 400, "InvalidTokenException", problem),
        ))
    };
    match request.jwks {
        JwksFact::Known(jwks) => {
            let key = select_key(&token.header, jwks, KeyRules::Kubernetes)
                .map_err(|error| refused(Reason::Key(error.clone()), error.to_string()))?;
            verify_signature(token, key)
                .map_err(|error| refused(Reason::Signature(error.clone()), error.to_string()))?;
        }
        JwksFact::Unavailable(problem) => {
            let reason = Reason::KeysUnavailable {
                problem: problem.to_owned(),
            };
            return Err(refused(reason, problem.to_owned()));
        }
        JwksFact::NotCollected => lints.push(Lint {
            kind: LintKind::SignatureNotChecked,
            clause: Clause::new("token", "/header/kid", "signature"),
        }),
    }
    Ok(token)
}

fn check_trust(
    role: &Role,
    pod: &Pod<'_>,
    session_tags: bool,
    now: Timestamp,
    lints: &mut Vec<Lint<LintKind>>,
) -> Step<(BTreeMap<String, String>, Clause)> {
    let tags = if session_tags {
        pod.tags()
    } else {
        BTreeMap::new()
    };
    let context = build_context(pod, &tags, now);
    let caller = Caller::Service(SERVICE);
    let mut decided_by = None;
    for action in ["sts:AssumeRole", "sts:TagSession"] {
        if action == "sts:TagSession" && !session_tags {
            continue;
        }
        let evaluation = policy::evaluate(&role.trust_policy, caller, action, &context);
        match evaluation.outcome {
            Ok(clause) => {
                decided_by.get_or_insert(clause);
            }
            Err(miss) => {
                let mut failure = unauthorized(miss.reason, miss.clause);
                failure.others = evaluation.others;
                return Err(failure);
            }
        }
    }
    lints.extend(policy::lints(
        &role.trust_policy,
        caller,
        "sts:AssumeRole",
        &context,
        None,
    ));
    let clause = decided_by.unwrap_or_else(|| Clause::new(&role.trust_policy.name, "", "Allow"));
    Ok((tags, clause))
}

impl Pod<'_> {
    fn cluster_name(&self) -> &str {
        self.cluster_arn.rsplit('/').next().unwrap_or_default()
    }

    /// The tags that EKS adds. Source: EKS user guide, "Grant Pods access to AWS resources based on tags".
    fn tags(&self) -> BTreeMap<String, String> {
        [
            ("eks-cluster-arn", Some(self.cluster_arn)),
            ("eks-cluster-name", Some(self.cluster_name())),
            ("kubernetes-namespace", Some(self.namespace)),
            ("kubernetes-service-account", Some(self.service_account)),
            ("kubernetes-pod-name", self.name),
            ("kubernetes-pod-uid", self.uid),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
        .collect()
    }
}

fn build_context(pod: &Pod<'_>, tags: &BTreeMap<String, String>, now: Timestamp) -> Context {
    let mut context = Context::new();
    context.set("aws:CurrentTime", [now.to_string()]);
    context.set("aws:EpochTime", [now.as_second().to_string()]);
    context.set("aws:SecureTransport", ["true"]);
    context.set("aws:PrincipalIsAWSService", ["true"]);
    context.set("aws:PrincipalServiceName", [SERVICE]);
    context.set("aws:SourceArn", [pod.cluster_arn]);
    context.set("aws:SourceAccount", pod.cluster_arn.split(':').nth(4));
    context.set("aws:RequestedRegion", pod.cluster_arn.split(':').nth(3));
    for (key, value) in tags {
        context.set(&format!("aws:RequestTag/{key}"), [value.as_str()]);
    }
    context.set("aws:TagKeys", tags.keys().cloned());
    // All of EKS's tags are transitive.
    context.set("sts:TransitiveTagKeys", tags.keys().cloned());
    for key in [
        "sts:RoleSessionName",
        "aws:SourceOrgID",
        "aws:SourceOrgPaths",
        "aws:PrincipalServiceNamesList",
    ] {
        context.set_not_known(key);
    }
    context
}

/// The agent answers in plain text, without a code.
fn agent_error(message: impl Into<String>, reason: Reason, clause: Clause) -> Box<Failure<Reason>> {
    Box::new(Failure::new(
        reason,
        clause,
        CloudError::new("P3", 400, "", message),
    ))
}

fn unauthorized(reason: Reason, clause: Clause) -> Box<Failure<Reason>> {
    Box::new(Failure::new(
        reason,
        clause,
        CloudError::new(
            "P1",
            400,
            "AccessDeniedException",
            "Unauthorized Exception! EKS does not have permissions to assume the associated role.",
        ),
    ))
}

const SERVICE: &str = "pods.eks.amazonaws.com";
