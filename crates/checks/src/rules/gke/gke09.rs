//! A variable of the container turns the SDKs away from GKE's metadata server.
//!
//! ## What it checks
//!
//! `GOOGLE_APPLICATION_CREDENTIALS` in the containers of a workload that is to have its identity from GKE.
//!
//! ## Why it matters
//!
//! Application Default Credentials look at this variable before they ask the metadata server. It usually is left over from
//! the time of key files: the annotation is there, the binding is there, and the workload still is the key's account, or
//! fails because the file is gone.
//!
//! ## How it looks
//!
//! ```text
//! google.auth.exceptions.DefaultCredentialsError: File /var/secrets/google/key.json was not found.
//! ```
//!
//! ## How to fix it
//!
//! Remove the variable, and the Secret with the key.
//!
//! ## How to verify the fix
//!
//! The new pod does not have it; calls are made as the service account of the annotation.
//!
//! ## References
//!
//! - Google Cloud, "How Application Default Credentials works":
//!   <https://cloud.google.com/docs/authentication/application-default-credentials>
//! - Google Cloud, "Authenticate to Google Cloud APIs from GKE workloads":
//!   <https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>

use cwii_contract::env;

use super::{CLUSTER, each};
use crate::{
    doctor::{Case, Gap, MechanismKind, Outcome, Rule, variable_subject},
    report::{Applicability, Finding},
    rules::federation::workload,
};

pub(super) const RULE: Rule = Rule::new("GKE09", CLUSTER, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    const NAME: &str = env::GOOGLE_APPLICATION_CREDENTIALS;
    each(case, |_| {
        // Federation by its side is two mechanisms that fight, and another code's.
        if case.mechanisms().iter().any(|other| {
            other.provider == cwii_contract::Provider::Gcp && other.kind != MechanismKind::GkeMetadata
        }) {
            return Ok(Vec::new());
        }
        let pod = case.pod()?;
        Ok(pod
            .containers()
            .filter(|container| container.list != "ephemeralContainers" && container.has_variable(NAME))
            .map(|container| {
                Finding::new(
                    "GKE09",
                    format!(
                        "`{NAME}` of container `{}` wins over the metadata server",
                        container.name()
                    ),
                )
                .at(variable_subject(pod, &container, NAME))
                .evidence("value", container.variable(NAME).unwrap_or("a Secret or ConfigMap"))
                .fix("remove the variable from the workload")
                .command(format!(
                    "kubectl -n {} set env {} -c {} {NAME}-",
                    case.namespace_name(),
                    workload(case),
                    container.name()
                ))
                .applicable(Applicability::Unsafe)
            })
            .collect())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn no_variable_passes_and_a_key_file_does_not() {
        assert_eq!(Fixture::gke().decide("GKE09"), Ok(Outcome::Pass));
        let fixture = Fixture::gke().pod(|pod| {
            pod["spec"]["containers"][0]["env"] =
                json!([{"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": "/var/secrets/google/key.json"}]);
        });
        assert_eq!(
            fixture.messages("GKE09"),
            ["`GOOGLE_APPLICATION_CREDENTIALS` of container `app` wins over the metadata server"]
        );
    }
}
