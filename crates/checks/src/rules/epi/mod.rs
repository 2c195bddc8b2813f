//! EKS Pod Identity.
//!
//! Nothing of OIDC federation applies here. An association ties a ServiceAccount to a role, EKS puts an endpoint and a token
//! into its pods, an agent on the node answers there, and EKS itself assumes the role.

mod mend;

use cwii_contract::types::RoleArn;
use cwii_trust::aws::Association;

use crate::{
    doctor::{Case, Gap, Mechanism, MechanismKind, Need, aws as mechanism},
    facts::Fact,
};

group! { epi01 epi02 epi03 epi04 epi05 epi06 epi07 epi08 epi09 epi10 epi11 epi12 epi13 epi14 epi15 epi16 }

/// The needs of whoever asks whether a pod has Pod Identity.
const NEEDS: &[Need] = crate::doctor::MECHANISMS;

const NONE: &str = "the pod has nothing of EKS Pod Identity";

/// The Pod Identity of this pod: in it, or in an association.
fn pod_identity<'a>(case: &Case<'a>) -> Option<&'a Mechanism> {
    case.mechanisms()
        .iter()
        .find(|mechanism| mechanism.kind == MechanismKind::EksPodIdentity)
}

/// The association of the pod's ServiceAccount.
fn association(case: &Case<'_>) -> Result<Option<Association>, Gap> {
    Ok(mechanism::association(
        case.look(Need::Trust),
        case.namespace_name(),
        case.service_account_name()?,
    ))
}

/// ARN of the association's cluster: as described, or as the association's own ARN tells it.
fn cluster_arn(case: &Case<'_>, association: &Association) -> Option<String> {
    let described = mechanism::eks_cluster(case.look(Need::Trust))
        .filter(|cluster| cluster.name == association.cluster_name)
        .and_then(|cluster| cluster.arn.clone());
    described.or_else(|| {
        let (head, _) = association
            .arn
            .as_deref()?
            .split_once(":podidentityassociation/")?;
        Some(format!("{head}:cluster/{}", association.cluster_name))
    })
}

/// The role of an association.
///
/// # Errors
///
/// A summary does not say.
fn associated_role(association: &Association) -> Result<RoleArn, Gap> {
    association
        .role_arn
        .as_deref()
        .and_then(|role| role.parse().ok())
        .ok_or_else(|| {
            Gap::Unknown(
                Need::Trust,
                format!(
                    "the role of the pod identity association is not among the trust documents; \
                     `aws eks describe-pod-identity-association --cluster-name {} --association-id ID` prints it",
                    association.cluster_name
                ),
            )
        })
}

/// Whether any association is known at all.
fn has_associations(case: &Case<'_>) -> bool {
    match &case.look(Need::Trust).trust {
        Fact::Known(library) => library.has_associations(),
        _ => false,
    }
}
