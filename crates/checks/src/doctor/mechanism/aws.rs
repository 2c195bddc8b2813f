//! IRSA and EKS Pod Identity.
//!
//! Sources: AWS, "Assign IAM roles to Kubernetes service accounts"
//! (<https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>) and "EKS Pod Identity"
//! (<https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>).

use cwii_contract::{Provider, env};

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
    [irsa(facts, pod), pod_identity(facts, pod), manual(pod)]
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

fn irsa(facts: &Facts, pod: &Object) -> Option<Mechanism> {
    let account = match &facts.service_account {
        Fact::Known(account) => Some(account),
        _ => None,
    };
    let asked = account.and_then(|account| Given::annotation(account, ROLE_ARN));
    let token = token_at(
        pod,
        "aws-iam-token",
        Some("/var/run/secrets/eks.amazonaws.com/serviceaccount/token"),
    );
    if asked.is_none() && token.is_none() {
        return None;
    }
    let mut mechanism = Mechanism {
        asked_by: asked.as_ref().and_then(|given| given.subject.clone()),
        injected: token.is_some(),
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
    let injected = pod
        .containers()
        .any(|container| container.has_variable(env::AWS_CONTAINER_CREDENTIALS_FULL_URI));
    let account = pod.text("/spec/serviceAccountName").unwrap_or("default");
    let associated = match &facts.trust {
        Fact::Known(trust) => trust
            .aws(None)
            .associations
            .unwrap_or_default()
            .into_iter()
            .find(|a| a.namespace == facts.target.namespace && a.service_account == account),
        _ => None,
    };
    if !injected && associated.is_none() {
        return None;
    }
    Some(Mechanism {
        injected,
        audience: Some(Given::default(POD_IDENTITY)),
        role: associated
            .and_then(|association| association.role_arn)
            .map(Given::default),
        token: token_at(
            pod,
            "eks-pod-identity-token",
            Some("/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token"),
        ),
        ..Mechanism::new(MechanismKind::EksPodIdentity, Provider::Aws)
    })
}

fn manual(pod: &Object) -> Option<Mechanism> {
    let path = Given::variable(pod, env::AWS_WEB_IDENTITY_TOKEN_FILE)?;
    let token = token_at(pod, "", Some(&path.value));
    let known = ["aws-iam-token", "cwii-aws-token"];
    if token
        .as_ref()
        .is_some_and(|token| known.contains(&token.source.volume.as_str()))
        || path
            .value
            .starts_with("/var/run/secrets/eks.amazonaws.com/")
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
