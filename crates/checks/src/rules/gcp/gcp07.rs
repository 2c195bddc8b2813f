//! The workload's principal may not impersonate the service account that it names.
//!
//! ## What it checks
//!
//! That the allow policy of the service account gives `roles/iam.workloadIdentityUser` (or another role that holds
//! `iam.serviceAccounts.getAccessToken`) to a member that includes the workload's principal: `principal://…/subject/SUBJECT`
//! or a `principalSet://` of its pool, with the project's number, the right pool, and `%2F` for each `/` in a value.
//!
//! ## Why it matters
//!
//! The exchange itself succeeds; only the second step fails. A member with the project's id, another pool or a misspelt
//! subject is accepted when it is written and never matches.
//!
//! ## How it looks
//!
//! ```text
//! 403 PERMISSION_DENIED: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).
//! ```
//!
//! ## How to fix it
//!
//! Add the binding that the finding prints. It takes effect after a minute or two. What the project or a folder grants is not
//! in the service account's own policy; if the role is given there, the finding can be ignored.
//!
//! ## How to verify the fix
//!
//! `gcloud iam service-accounts get-iam-policy EMAIL` lists the member; `kubectl cwii verify` impersonates the account.
//!
//! ## References
//!
//! - Google Cloud, "Configure Workload Identity Federation with Kubernetes":
//!   <https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes>
//! - Google Cloud, "Principal identifiers": <https://cloud.google.com/iam/docs/principal-identifiers>

use cwii_contract::Provider;
use cwii_trust::{
    Shape,
    google::{LintKind, Reason},
};

use super::{Fault, Impersonated, add_binding, each, impersonation, project_of};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
    rules::federation::{document, quote},
};

pub(super) const RULE: Rule = Rule::new("GCP07", super::EXCHANGE, check).blocked_by(&[
    "GCP01", "GCP02", "GCP03", "GCP04", "GCP05", "GCP06", "GKE05", "TOK03",
]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let Some(asked) = impersonation(case, mechanism)? else {
            return Ok(Vec::new());
        };
        let faults = asked
            .faults
            .iter()
            .filter(|fault| fault.reason.check() == Some("GCP07"))
            .map(|fault| finding("GCP07", &asked, fault));
        Ok(faults.chain(too_wide("GCP07", &asked)).collect())
    })
}

/// Members that let in others than this workload.
pub(in crate::rules) fn too_wide(code: &str, asked: &Impersonated<'_>) -> Vec<Finding> {
    let email = &asked.email;
    asked
        .lints
        .iter()
        .filter_map(|lint| {
            let found = &lint.clause.comparison.as_ref()?.expected;
            let (message, is_everybody) = match lint.kind {
                LintKind::Everybody => (format!("everybody may impersonate `{email}`"), true),
                LintKind::WholePool => (
                    format!("every workload of the pool may impersonate `{email}`"),
                    false,
                ),
                _ => return None,
            };
            let project = project_of(email)
                .map(|project| format!(" --project={project}"))
                .unwrap_or_default();
            let finding = Finding::new(code, message)
                .of(Provider::Gcp)
                .at(document(
                    asked.library,
                    &[Shape::GoogleIamPolicy],
                    "IamPolicy",
                    email,
                    &lint.clause,
                ))
                .evidence("member", found)
                .fix("bind the workloads that need it, then take the wide binding away")
                .command(add_binding(email, &asked.principal.identifier()))
                .command(format!(
                    "gcloud iam service-accounts remove-iam-policy-binding {email}{project} --role=roles/iam.workloadIdentityUser --member={}",
                    quote(found)
                ))
                .applicable(Applicability::Unsafe);
            Some(if is_everybody { finding } else { finding.warning() })
        })
        .collect()
}

/// What is wrong with an allow policy, for GKE as well.
pub(in crate::rules) fn finding(code: &str, asked: &Impersonated<'_>, fault: &Fault) -> Finding {
    let email = &asked.email;
    let member = match &asked.principal.gke {
        Some(gke) => format!(
            "serviceAccount:{}.svc.id.goog[{}/{}]",
            gke.project_id, gke.namespace, gke.service_account
        ),
        None => asked.principal.identifier(),
    };
    let what = match &fault.reason {
        Reason::RoleLacksPermission { role } => {
            format!("the workload has `{role}` on `{email}`, which does not let it impersonate")
        }
        Reason::RoleNotKnown { role } => format!(
            "the workload has the custom role `{role}` on `{email}`, whose permissions are not among the documents"
        ),
        Reason::BindingConditionFailed { .. } => {
            format!("the condition of the binding on `{email}` does not hold")
        }
        Reason::SlashNotEscaped => {
            format!("a member on `{email}` has `/` in its value where Google wants `%2F`")
        }
        Reason::ProjectIdInMember => {
            format!("a member on `{email}` names the project by its id, where only the number counts")
        }
        Reason::SubjectDiffers => format!("the members on `{email}` name other subjects"),
        Reason::AttributeDiffers { attribute } => {
            format!("the members on `{email}` name other values of `{attribute}`")
        }
        Reason::AttributeNotMapped { attribute } => format!(
            "a member on `{email}` names `{attribute}`, which the provider does not map"
        ),
        Reason::OtherPool => format!("the members on `{email}` are of another pool or project"),
        Reason::GkeOtherProject => {
            format!("the member on `{email}` is of another project than the cluster's")
        }
        Reason::GkeSwapped => {
            format!("the member on `{email}` has namespace and ServiceAccount the wrong way round")
        }
        Reason::GkeOtherServiceAccount => {
            format!("the members on `{email}` name other ServiceAccounts")
        }
        _ => format!("nobody like this workload may impersonate `{email}`"),
    };
    let mut finding = Finding::new(code, what)
        .of(Provider::Gcp)
        .at(document(
            asked.library,
            &[Shape::GoogleIamPolicy],
            "IamPolicy",
            email,
            &fault.clause,
        ))
        .evidence("principal", &member)
        .answered(&fault.answer)
        .fix("give this ServiceAccount the role of workload identity on the service account")
        .command(add_binding(email, &member))
        .applicable(Applicability::Safe);
    if let Some(comparison) = &fault.clause.comparison
        && !matches!(
            fault.reason,
            Reason::NoBinding
                | Reason::RoleLacksPermission { .. }
                | Reason::RoleNotKnown { .. }
                | Reason::BindingConditionFailed { .. }
        )
    {
        finding = finding.compared(&comparison.expected, &comparison.found);
    }
    if matches!(fault.reason, Reason::RoleNotKnown { .. }) {
        // It may hold the permission.
        finding = finding.warning();
    }
    finding
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::{Gap, Need, Outcome},
        rules::fixture::Fixture,
    };

    #[test]
    fn a_binding_for_the_principal_passes_and_direct_federation_needs_none() {
        assert_eq!(Fixture::gcp().decide("GCP07"), Ok(Outcome::Pass));
        assert_eq!(Fixture::google_federation().decide("GCP07"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_member_with_the_projects_id_is_marked_and_the_binding_printed() {
        let fixture = Fixture::google_federation().google_policy(|policy| {
            policy["bindings"][0]["members"] = json!([
                "principal://iam.googleapis.com/projects/shop-prod/locations/global/workloadIdentityPools/clusters/subject/system:serviceaccount:shop:checkout"
            ]);
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("GCP07") else {
            panic!()
        };
        assert!(findings[0].message.contains("by its id"));
        assert_eq!(
            findings[0].fix.commands,
            ["gcloud iam service-accounts add-iam-policy-binding checkout@shop-prod.iam.gserviceaccount.com --project=shop-prod --role=roles/iam.workloadIdentityUser --member=principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/clusters/subject/system:serviceaccount:shop:checkout"]
        );
    }

    #[test]
    fn a_policy_without_bindings_lacks_ours() {
        let fixture = Fixture::google_federation()
            .google_policy(|policy| *policy = json!({"etag": "ACAB"}));
        assert_eq!(
            fixture.messages("GCP07"),
            ["nobody like this workload may impersonate `checkout@shop-prod.iam.gserviceaccount.com`"]
        );
    }

    #[test]
    fn everybody_is_an_error_and_the_whole_pool_a_warning() {
        let of = |member: &str| {
            let fixture = Fixture::google_federation()
                .google_policy(|policy| policy["bindings"][0]["members"] = json!([member]));
            match fixture.decide("GCP07") {
                Ok(Outcome::Found(findings)) => findings[0].severity(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of("allUsers"), Severity::Error);
        assert_eq!(
            of("principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/clusters/*"),
            Severity::Warning
        );
    }

    #[test]
    fn a_policy_that_was_not_given_is_unknown() {
        let fixture = Fixture::google_federation().without_document("policy");
        let Err(Gap::Unknown(Need::Trust, why)) = fixture.decide("GCP07") else {
            panic!()
        };
        assert!(why.contains("`gcloud iam service-accounts get-iam-policy checkout@shop-prod.iam.gserviceaccount.com --format=json` prints it"));
    }
}
