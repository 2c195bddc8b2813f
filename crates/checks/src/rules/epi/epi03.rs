//! Looks for the pod identity association of the pod's namespace and ServiceAccount in this cluster.
//!
//! ## What it checks
//!
//! A pod that has the variables of Pod Identity must have an association that names its namespace and ServiceAccount, in this
//! cluster. It counts as missing only where the list of associations was given. An association in the pod's namespace for a
//! ServiceAccount that does not exist, and whose name is nearly the pod's, is told as well.
//!
//! ## Why it matters
//!
//! The association is all that ties a pod to a role. Names in it are free text: an association for a namespace or ServiceAccount
//! that does not exist is accepted. Associations belong to one cluster and do not move with a workload.
//!
//! ## How it looks
//!
//! ```text
//! (ResourceNotFoundException): No association was found
//! ```
//!
//! Without an association at the time of its creation the pod simply has no variables.
//!
//! ## How to fix it
//!
//! Create the association, then restart the workload: only new pods get the variables.
//!
//! ## How to verify the fix
//!
//! `aws eks list-pod-identity-associations --cluster-name CLUSTER --namespace NAMESPACE --service-account NAME` shows it, and new
//! pods have `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
//!
//! ## References
//!
//! - Amazon EKS, "Assign an IAM role to a Kubernetes service account":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-association.html>
//! - Amazon EKS, "Learn how EKS Pod Identity grants pods access to AWS services":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>

use cwii_contract::Provider;
use cwii_trust::aws::Association;

use super::{NONE, association, has_associations, pod_identity};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, aws as mechanism},
    report::{Applicability, Finding, Subject},
    rules::words::{quote, restarted},
};

pub(super) const RULE: Rule = Rule::new(
    "EPI03",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::ServiceAccounts,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let account = case.service_account_name()?;
    let namespace = case.namespace_name();
    let Some(identity) = pod_identity(case) else {
        return misnamed(case, account);
    };
    let library = case.trust()?;
    if association(case)?.is_some() {
        return Ok(Outcome::Pass);
    }
    let known = library.aws(None).associations.unwrap_or_default();
    let elsewhere = known
        .iter()
        .find(|known| known.namespace == namespace && known.service_account == account);
    if elsewhere.is_none() && !library.has_all_associations() {
        return Err(Gap::Unknown(
            Need::Trust,
            format!(
                "the pod identity association of {namespace}/{account} is not among the trust documents; \
                 `aws eks list-pod-identity-associations --cluster-name CLUSTER` prints all of a cluster"
            ),
        ));
    }
    let cluster = mechanism::eks_cluster(case.look(Need::Trust)).map(|cluster| cluster.name.as_str());
    let mut finding = match (elsewhere, cluster) {
        (Some(elsewhere), Some(cluster)) => Finding::new(
            "EPI03",
            format!(
                "the pod identity association of `{namespace}/{account}` is of cluster `{}`, not of `{cluster}`",
                elsewhere.cluster_name
            ),
        ),
        _ => Finding::new(
            "EPI03",
            format!("no pod identity association names `{namespace}/{account}`"),
        ),
    }
    .of(Provider::Aws)
    .answered("AWS will answer: ResourceNotFoundException: no association for the pod's service account");
    if let Some(similar) = similar(&known, namespace, account) {
        finding = finding.compared(
            format!("{}/{}", similar.namespace, similar.service_account),
            format!("{namespace}/{account}"),
        );
    }
    let pod = case.pod()?;
    finding = finding.at(pod.subject_at("/spec/serviceAccountName", "`serviceAccountName`"));
    let cluster = cluster
        .or_else(|| known.first().map(|known| known.cluster_name.as_str()))
        .unwrap_or("CLUSTER");
    let role = identity
        .role
        .as_ref()
        .map(|role| role.value.as_str())
        .or_else(|| elsewhere?.role_arn.as_deref());
    Ok(Outcome::Found(vec![created(case, finding, cluster, account, role)]))
}

fn created(
    case: &Case<'_>,
    finding: Finding,
    cluster: &str,
    account: &str,
    role: Option<&str>,
) -> Finding {
    let command = format!(
        "aws eks create-pod-identity-association --cluster-name {} --namespace {} --service-account {} --role-arn {}",
        quote(cluster),
        quote(case.namespace_name()),
        quote(account),
        quote(role.unwrap_or("ROLE_ARN")),
    );
    let finding = finding
        .fix("create the association, then restart the workload")
        .command(command)
        .applicable(match role {
            Some(_) => Applicability::Unsafe,
            None => Applicability::Display,
        });
    restarted(finding, case)
}

/// An association in this namespace that nobody uses, for a name that is nearly the pod's.
fn misnamed(case: &Case<'_>, account: &str) -> Result<Outcome, Gap> {
    let not_applicable = Ok(Outcome::not_applicable(NONE));
    let no_other = !case
        .mechanisms()
        .iter()
        .any(|mechanism| mechanism.provider == Provider::Aws);
    if !has_associations(case) || !no_other {
        return not_applicable;
    }
    let known = case.trust()?.aws(None).associations.unwrap_or_default();
    let candidates: Vec<&Association> = known
        .iter()
        .filter(|known| {
            known.namespace == case.namespace_name() && near(&known.service_account, account)
        })
        .collect();
    if candidates.is_empty() {
        return not_applicable;
    }
    let Some(accounts) = case.service_accounts()? else {
        return not_applicable;
    };
    let exists = |name: &str| accounts.iter().any(|known| known.name() == name);
    // Where the pod's own account is not among them they are not all.
    let Some(unused) = candidates
        .into_iter()
        .find(|known| exists(account) && !exists(&known.service_account))
    else {
        return not_applicable;
    };
    let finding = Finding::new(
        "EPI03",
        format!(
            "a pod identity association names ServiceAccount `{}`, which the namespace does not have",
            unused.service_account
        ),
    )
    .of(Provider::Aws)
    .at(Subject {
        kind: "pod identity association".into(),
        name: format!(
            "{}/{}/{}",
            unused.cluster_name, unused.namespace, unused.service_account
        ),
        ..Subject::default()
    })
    .compared(&unused.service_account, account);
    Ok(Outcome::Found(vec![created(
        case,
        finding,
        &unused.cluster_name,
        account,
        unused.role_arn.as_deref(),
    )]))
}

fn similar<'k>(
    known: &'k [Association],
    namespace: &str,
    account: &str,
) -> Option<&'k Association> {
    known
        .iter()
        .find(|known| known.service_account == account)
        .or_else(|| {
            known
                .iter()
                .find(|known| known.namespace == namespace && near(&known.service_account, account))
        })
}

/// Whether one name is the other misspelt, or with something before or after it.
fn near(found: &str, expected: &str) -> bool {
    let found_parts = format!("-{found}-");
    let expected_parts = format!("-{expected}-");
    found != expected
        && (found_parts.contains(&expected_parts)
            || expected_parts.contains(&found_parts)
            || distance(found, expected) <= 2)
}

/// Edit distance with one row of memory.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{facts::Fact, doctor::Object, rules::fixture::Fixture};

    #[test]
    fn an_association_of_the_account_passes() {
        assert_eq!(Fixture::pod_identity().decide("EPI03"), Ok(Outcome::Pass));
        assert!(matches!(Fixture::plain().decide("EPI03"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn a_list_without_the_account_is_a_fault_and_a_single_one_is_not() {
        let other = json!({"clusterName": "prod", "namespace": "store", "serviceAccount": "checkout",
            "associationArn": "arn:aws:eks:eu-central-1:111122223333:podidentityassociation/prod/a-1", "associationId": "a-1"});
        let single = Fixture::pod_identity().without("association.json")
            .document("association.json", &json!({"association": other}).to_string());
        assert!(matches!(single.decide("EPI03"), Err(Gap::Unknown(..))));
        let list = single.without("association.json")
            .document("associations.json", &json!({"associations": [other]}).to_string());
        let finding = list.findings("EPI03").remove(0);
        assert_eq!(finding.message, "no pod identity association names `shop/checkout`");
        assert_eq!(finding.comparison.unwrap().found, "store/checkout");
        assert!(finding.fix.commands[0].starts_with("aws eks create-pod-identity-association --cluster-name prod "));
    }

    #[test]
    fn an_association_of_another_cluster_is_none() {
        let fixture = Fixture::pod_identity().without("cluster.json").document("cluster.json",
            r#"{"cluster": {"name": "prod-2", "arn": "arn:aws:eks:eu-central-1:111122223333:cluster/prod-2",
                "identity": {"oidc": {"issuer": "https://oidc.example.com/two"}}}}"#);
        assert_eq!(
            fixture.messages("EPI03"),
            ["the pod identity association of `shop/checkout` is of cluster `prod`, not of `prod-2`"]
        );
    }

    #[test]
    fn an_association_for_an_account_that_is_nobodys_is_told() {
        let accounts = |names: &[&str]| {
            let objects = names.iter().map(|name| Object::new(json!({"kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": "shop"}}))).collect();
            Fact::Known(objects)
        };
        let fixture = |name: &str, names: &[&str]| {
            let association = json!({"association": {"clusterName": "prod", "namespace": "shop", "serviceAccount": name,
                "roleArn": "arn:aws:iam::111122223333:role/checkout"}});
            let names = accounts(names);
            Fixture::plain().with(move |facts| facts.service_accounts = names).trusted(Fixture::EKS_ISSUER)
                .document("association.json", &association.to_string())
        };
        assert_eq!(
            fixture("chekout", &["checkout", "default"]).messages("EPI03"),
            ["a pod identity association names ServiceAccount `chekout`, which the namespace does not have"]
        );
        for (name, names) in [("chekout", vec!["checkout", "chekout"]), ("payments", vec!["checkout"]), ("chekout", vec![])] {
            assert!(matches!(fixture(name, &names).decide("EPI03"), Ok(Outcome::NotApplicable(_))), "{name}");
        }
    }

    #[test]
    fn distances_are_those_of_edits() {
        assert_eq!(distance("checkout", "chekout"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert!(near("checkout-sa", "checkout") && !near("payments", "checkout"));
    }
}
