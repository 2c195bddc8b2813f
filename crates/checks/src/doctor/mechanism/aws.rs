//! IRSA, EKS Pod Identity, and web identity that somebody set up by hand.
//!
//! EKS injects one or the other: a ServiceAccount with a pod identity association gets Pod Identity, and an annotation that was
//! left on it is not read any more. An association is only known where it was given.
//!
//! Sources: AWS, "Assign IAM roles to Kubernetes service accounts"
//! (<https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>) and "EKS Pod Identity"
//! (<https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>).

use cwii_contract::{Provider, env};
use cwii_trust::{
    aws::Association,
    library::{ClusterDescription, EksCluster},
};

use super::{Given, Mechanism, MechanismKind, token_at};
use crate::{
    doctor::{facts::Facts, object::Object},
    facts::Fact,
};

/// The annotation that asks for IRSA.
pub(crate) const ROLE_ARN: &str = "eks.amazonaws.com/role-arn";
/// The annotation with another audience than the default one.
pub(crate) const AUDIENCE: &str = "eks.amazonaws.com/audience";
/// Default audience of IRSA.
pub(crate) const STS: &str = "sts.amazonaws.com";
/// Audience of EKS Pod Identity.
pub(crate) const POD_IDENTITY: &str = "pods.eks.amazonaws.com";

pub(super) fn detect(facts: &Facts, pod: &Object) -> Vec<Mechanism> {
    let pod_identity = pod_identity(facts, pod);
    let irsa = irsa(facts, pod).filter(|irsa| {
        // What EKS does not inject any more, and nobody sees in the pod, is not a way to anything.
        irsa.injected || pod_identity.is_none()
    });
    [irsa, pod_identity, manual(pod)]
        .into_iter()
        .flatten()
        .collect()
}

pub(super) fn of_variables(mechanism: &mut Mechanism, pod: &Object) {
    mechanism.role = Given::variable(pod, env::AWS_ROLE_ARN);
    mechanism.region = Given::variable(pod, env::AWS_REGION)
        .or_else(|| Given::variable(pod, env::AWS_DEFAULT_REGION));
    mechanism.session_name = Given::variable(pod, env::AWS_ROLE_SESSION_NAME);
}

/// The pod identity association of a ServiceAccount. Where a single cluster was described, one of another cluster is none.
pub(crate) fn association(
    facts: &Facts,
    namespace: &str,
    service_account: &str,
) -> Option<Association> {
    let Fact::Known(trust) = &facts.trust else {
        return None;
    };
    let cluster = eks_cluster(facts);
    trust
        .aws(None)
        .associations
        .unwrap_or_default()
        .into_iter()
        .find(|known| {
            known.namespace == namespace
                && known.service_account == service_account
                && cluster.is_none_or(|cluster| cluster.name == known.cluster_name)
        })
}

/// The cluster of EKS that was described, where it is one only.
pub(crate) fn eks_cluster(facts: &Facts) -> Option<&EksCluster> {
    let Fact::Known(trust) = &facts.trust else {
        return None;
    };
    let mut found = trust.clusters().iter().filter_map(|cluster| match cluster {
        ClusterDescription::Eks(cluster) => Some(cluster),
        _ => None,
    });
    match (found.next(), found.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

fn irsa(facts: &Facts, pod: &Object) -> Option<Mechanism> {
    let account = match &facts.service_account {
        Fact::Known(account) => Some(account),
        _ => None,
    };
    let asked = account.and_then(|account| Given::annotation(account, ROLE_ARN));
    let token = token_at(pod, IRSA_VOLUME, Some(IRSA_TOKEN));
    let injected = token.is_some()
        || Given::variable(pod, env::AWS_WEB_IDENTITY_TOKEN_FILE)
            .is_some_and(|path| path.value.starts_with(IRSA_DIRECTORY));
    if asked.is_none() && !injected {
        return None;
    }
    let mut mechanism = Mechanism {
        asked_by: asked.as_ref().and_then(|given| given.subject.clone()),
        injected,
        audience: account
            .and_then(|account| Given::annotation(account, AUDIENCE))
            .or_else(|| Some(Given::default(STS))),
        token,
        ..Mechanism::new(MechanismKind::Irsa, Provider::Aws)
    };
    of_variables(&mut mechanism, pod);
    // What the next pod gets is what the annotation says; a pod that differs is older than it.
    mechanism.role = asked.or(mechanism.role);
    Some(mechanism)
}

fn pod_identity(facts: &Facts, pod: &Object) -> Option<Mechanism> {
    let endpoint = Given::variable(pod, env::AWS_CONTAINER_CREDENTIALS_FULL_URI);
    let injected = endpoint
        .as_ref()
        .is_some_and(|given| is_pod_identity(&given.value));
    let account = pod
        .text("/spec/serviceAccountName")
        .filter(|name| !name.is_empty())
        .unwrap_or("default");
    let associated = association(facts, &facts.target.namespace, account);
    let token = token_at(pod, POD_IDENTITY_VOLUME, Some(POD_IDENTITY_TOKEN));
    if !injected && token.is_none() && associated.is_none() {
        return None;
    }
    let mut mechanism = Mechanism {
        injected: injected || token.is_some(),
        audience: Some(Given::default(POD_IDENTITY)),
        token,
        ..Mechanism::new(MechanismKind::EksPodIdentity, Provider::Aws)
    };
    of_variables(&mut mechanism, pod);
    // The variable is web identity's; which role Pod Identity takes stands in the association alone.
    mechanism.role = associated
        .and_then(|association| association.role_arn)
        .map(Given::default);
    mechanism.session_name = None;
    Some(mechanism)
}

fn manual(pod: &Object) -> Option<Mechanism> {
    let path = Given::variable(pod, env::AWS_WEB_IDENTITY_TOKEN_FILE)?;
    // An empty value turns web identity off.
    if path.value.is_empty() {
        return None;
    }
    let token = token_at(pod, "", Some(&path.value));
    let known = [IRSA_VOLUME, "cwii-aws-token"];
    if token
        .as_ref()
        .is_some_and(|token| known.contains(&token.source.volume.as_str()))
        || path.value.starts_with(IRSA_DIRECTORY)
        || path.value.starts_with("/var/run/secrets/cwii.dev/")
    {
        return None;
    }
    let mut mechanism = Mechanism {
        asked_by: path.subject,
        injected: true,
        audience: Some(Given::default(STS)),
        token,
        ..Mechanism::new(MechanismKind::Manual, Provider::Aws)
    };
    of_variables(&mut mechanism, pod);
    Some(mechanism)
}

/// Whether a credentials endpoint is that of the EKS Pod Identity Agent.
pub(crate) fn is_pod_identity(endpoint: &str) -> bool {
    [POD_IDENTITY_IPV4, POD_IDENTITY_IPV6].iter().any(|host| {
        endpoint
            .strip_prefix("http://")
            .and_then(|rest| rest.strip_prefix(host))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
    })
}

/// Address of the EKS Pod Identity Agent on a node.
pub(crate) const POD_IDENTITY_IPV4: &str = "169.254.170.23";
/// The same, on nodes with IPv6.
pub(crate) const POD_IDENTITY_IPV6: &str = "[fd00:ec2::23]";
/// Where EKS mounts the token of Pod Identity.
pub(crate) const POD_IDENTITY_TOKEN: &str =
    "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token";
const POD_IDENTITY_VOLUME: &str = "eks-pod-identity-token";
const IRSA_VOLUME: &str = "aws-iam-token";
const IRSA_DIRECTORY: &str = "/var/run/secrets/eks.amazonaws.com/";
const IRSA_TOKEN: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token";
