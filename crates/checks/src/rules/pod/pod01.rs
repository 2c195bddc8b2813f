//! The pod does not run as the ServiceAccount that carries the configuration.
//!
//! ## What it checks
//!
//! Whether the pod's ServiceAccount asks for no identity while another one of the namespace does that is plainly this
//! workload's: it has the workload's name, or the name in the pod's `app` label. And whether the pod runs as another
//! account than its own template names.
//!
//! ## Why it matters
//!
//! A pod without `serviceAccountName` runs as `default`. Role, service account and client id are read from the account that
//! the pod runs as and from no other, so nothing is injected and nothing says so.
//!
//! ## How it looks
//!
//! The SDK finds no credentials, or those of the node.
//!
//! ```text
//! Unable to locate credentials. You can configure credentials by running "aws configure".
//! ```
//!
//! ## How to fix it
//!
//! Name the ServiceAccount in the pod template; that starts new pods.
//!
//! ## How to verify the fix
//!
//! `kubectl get pod NAME -o jsonpath='{.spec.serviceAccountName}'` prints the account with the annotations.
//!
//! ## References
//!
//! - Kubernetes, "Configure Service Accounts for Pods":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/>
//! - AWS, "Configure Pods to use a Kubernetes service account":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-configuration.html>

use cwii_contract::Provider;

use super::keys;
use crate::{
    doctor::{Case, Gap, Mechanism, Need, Object, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, kubectl, named, quote},
};

pub(super) const RULE: Rule = Rule::new(
    "POD01",
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
)
.blocked_by(&["POD02", "POD09"]);

pub(super) fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let name = case.service_account_name()?;
    if let Some(finding) = other_than_the_template(case, pod, name) {
        return Ok(Outcome::Found(vec![finding]));
    }
    let account = case.service_account()?;
    let mut findings = Vec::new();
    let accounts = match case.service_accounts() {
        Ok(accounts) => accounts.map(Vec::as_slice).unwrap_or_default(),
        // The account itself says enough where it asks for an identity.
        Err(gap) => {
            return if account.is_some_and(|account| !asks(account).is_empty()) {
                Ok(Outcome::Pass)
            } else {
                Err(gap)
            };
        }
    };
    for provider in Provider::ALL {
        let has = case
            .mechanisms()
            .iter()
            .any(|mechanism| mechanism.provider == provider && has_identity(mechanism));
        if has || account.is_some_and(|account| asks(account).contains(&provider)) {
            continue;
        }
        let meant = accounts.iter().find(|other| {
            other.name() != name
                && asks(other).contains(&provider)
                && is_of_this_workload(case, pod, other.name())
        });
        let Some(meant) = meant else { continue };
        findings.push(finding(case, pod, name, meant, provider));
    }
    Ok(Outcome::of(findings))
}

fn finding(
    case: &Case<'_>,
    pod: &Object,
    name: &str,
    meant: &Object,
    provider: Provider,
) -> Finding {
    let wanted = meant.name();
    let cloud = provider.display_name();
    let place = Place::of_pod(case);
    let mut finding = Finding::new(
        "POD01",
        format!("the pod runs as ServiceAccount `{name}`; the configuration for {cloud} is on `{wanted}`"),
    )
    .of(provider)
    .compared(name, wanted)
    .at(match place {
        Some(Place {
            object,
            template: Some(template),
        }) => object.subject_at(
            &format!("{template}/spec/serviceAccountName"),
            "`serviceAccountName` of the pod template",
        ),
        _ => pod.subject_at("/spec/serviceAccountName", "`serviceAccountName`"),
    })
    .fix("name the ServiceAccount in the pod template")
    .applicable(Applicability::Unsafe);
    for (key, value) in meant.annotations().filter(|(key, _)| identity(key)) {
        finding = finding.evidence_from(
            "configuration",
            format!("{key}={value}"),
            format!("ServiceAccount `{wanted}`"),
        );
    }
    match place {
        Some(Place {
            object,
            template: Some(_),
        }) if object.kind() != "CronJob" => finding.command(format!(
            "{} set serviceaccount {} {}",
            kubectl(object),
            named(object),
            quote(wanted)
        )),
        _ => finding,
    }
}

/// A pod that somebody made run as another account than its template names.
fn other_than_the_template(case: &Case<'_>, pod: &Object, name: &str) -> Option<Finding> {
    let template = case.template()?;
    let named = template
        .text("/spec/serviceAccountName")
        .or_else(|| template.text("/spec/serviceAccount"))
        .filter(|named| !named.is_empty())?;
    (named != name).then(|| {
        Finding::new(
            "POD01",
            format!("the pod runs as ServiceAccount `{name}`; its template names `{named}`"),
        )
        .compared(name, named)
        .at(pod.subject_at("/spec/serviceAccountName", "`serviceAccountName`"))
        .fix("restart the workload; if new pods differ again, another webhook or an operator changes them")
    })
}

/// The clouds that an account asks an identity of.
fn asks(account: &Object) -> Vec<Provider> {
    Provider::ALL
        .into_iter()
        .filter(|provider| {
            account.annotations().any(|(key, value)| {
                !value.trim().is_empty() && identity(key) && of(key) == Some(*provider)
            })
        })
        .collect()
}

/// Whether there is no identity without this key.
fn identity(key: &str) -> bool {
    keys::find(key).is_some_and(|row| row.identity)
        || [
            "cwii.dev/aws-role-arn",
            "cwii.dev/az-client-id",
            "cwii.dev/gcp-inject",
        ]
        .contains(&key)
}

fn of(key: &str) -> Option<Provider> {
    keys::find(key).map(|row| row.provider).or_else(|| {
        cwii_contract::annotations::find(key).and_then(|(_, provider)| provider).or_else(|| {
            Provider::ALL
                .into_iter()
                .find(|provider| key.starts_with(&format!("cwii.dev/{provider}-")))
        })
    })
}

/// A label that only asks to be looked at is no identity.
fn has_identity(mechanism: &Mechanism) -> bool {
    mechanism.injected
        || mechanism.role.is_some()
        || mechanism.client_id.is_some()
        || mechanism.google_service_account.is_some()
        || mechanism.google_provider.is_some()
}

fn is_of_this_workload(case: &Case<'_>, pod: &Object, account: &str) -> bool {
    let labels = ["app", "app.kubernetes.io/name", "app.kubernetes.io/instance", "k8s-app"];
    case.top_owner().is_some_and(|owner| owner.name == account)
        || labels.iter().any(|label| pod.label(label) == Some(account))
        || (case.owners().is_empty() && pod.name() == account)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, edit},
    };

    fn account(name: &str, annotations: serde_json::Value) -> Object {
        Object::new(json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": "shop", "annotations": annotations}}))
    }

    fn as_default(accounts: Vec<Object>) -> Fixture {
        Fixture::plain()
            .pod(|pod| pod["spec"]["serviceAccountName"] = json!("default"))
            .service_account(|found| found["metadata"]["name"] = json!("default"))
            .with(|facts| {
                for owner in &mut facts.owners {
                    edit(&mut owner.object, |object| {
                        object["spec"]["template"]["spec"].as_object_mut().unwrap().remove("serviceAccountName");
                    });
                }
                facts.service_accounts = Fact::Known(accounts);
            })
    }

    #[test]
    fn a_pod_that_runs_as_the_account_with_the_role_passes() {
        assert_eq!(Fixture::irsa().decide("POD01"), Ok(Outcome::Pass));
        assert_eq!(Fixture::cwii_aws().decide("POD01"), Ok(Outcome::Pass));
        assert_eq!(Fixture::plain().decide("POD01"), Ok(Outcome::Pass));
    }

    // aws/amazon-eks-pod-identity-webhook and others, #691
    #[test]
    fn a_pod_of_the_default_account_beside_one_of_its_own_name_is_found() {
        let fixture = as_default(vec![account(
            "checkout",
            json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/checkout"}),
        )]);
        let Ok(Outcome::Found(findings)) = fixture.decide("POD01") else {
            panic!()
        };
        assert_eq!(
            findings[0].message,
            "the pod runs as ServiceAccount `default`; the configuration for AWS is on `checkout`"
        );
        assert_eq!(
            findings[0].fix.commands,
            ["kubectl -n shop set serviceaccount deployment checkout checkout"]
        );
    }

    #[test]
    fn an_account_of_another_workload_is_nobody_elses_fault() {
        let fixture = as_default(vec![account(
            "billing",
            json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/billing"}),
        )]);
        assert_eq!(fixture.decide("POD01"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_pod_that_differs_from_its_template_is_found() {
        let fixture = Fixture::plain().pod(|pod| pod["spec"]["serviceAccountName"] = json!("default"));
        assert_eq!(
            fixture.messages("POD01"),
            ["the pod runs as ServiceAccount `default`; its template names `checkout`"]
        );
    }

    #[test]
    fn accounts_that_may_not_be_listed_leave_it_open() {
        let fixture = as_default(Vec::new())
            .with(|facts| facts.service_accounts = Fact::Denied("list serviceaccounts".into()));
        assert!(fixture.decide("POD01").is_err());
    }
}
