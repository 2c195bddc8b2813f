//! The application's own Google credentials stand in the way of the injected ones.
//!
//! ## What it checks
//!
//! That no container that a webhook injects into sets `GOOGLE_APPLICATION_CREDENTIALS` to another file, or takes it from a
//! Secret or ConfigMap. Webhooks leave a variable alone that is there already.
//!
//! ## Why it matters
//!
//! Application Default Credentials look at this variable first. A container that keeps its key file goes on using the key:
//! the migration seems done, and the key can never be deleted.
//!
//! ## How it looks
//!
//! Nothing fails. Calls are made as the key's service account, or fail with `File /secrets/key.json was not found.` once the
//! Secret is gone.
//!
//! ## How to fix it
//!
//! Remove the variable from the container, and the key with it.
//!
//! ## How to verify the fix
//!
//! The new pod's variable names the injected file.
//!
//! ## References
//!
//! - Google Cloud, "How Application Default Credentials works":
//!   <https://cloud.google.com/docs/authentication/application-default-credentials>

use cwii_contract::{Provider, env};

use super::{each, injected_credentials};
use crate::{
    doctor::{Case, Gap, Outcome, Rule, variable_subject},
    report::{Applicability, Finding},
    rules::federation::workload,
};

pub(super) const RULE: Rule =
    Rule::new("GCP11", crate::doctor::MECHANISMS, check).blocked_by(&["GKE09", "APP01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    const NAME: &str = env::GOOGLE_APPLICATION_CREDENTIALS;
    each(case, |mechanism| {
        let pod = case.pod()?;
        let mut found = Vec::new();
        for container in pod.containers() {
            if container.list == "ephemeralContainers" || !container.has_variable(NAME) {
                continue;
            }
            let Some(injected) = injected_credentials(mechanism, &container) else {
                continue;
            };
            if container.variable(NAME) == Some(&injected) {
                continue;
            }
            let value = container.variable(NAME).unwrap_or("a Secret or ConfigMap");
            found.push(
                Finding::new(
                    "GCP11",
                    format!(
                        "container `{}` sets `{NAME}` itself, so that the injected credentials are not used in it",
                        container.name()
                    ),
                )
                .of(Provider::Gcp)
                .at(variable_subject(pod, &container, NAME))
                .compared(value, &injected)
                .fix("remove the variable from the workload")
                .command(format!(
                    "kubectl -n {} set env {} -c {} {NAME}-",
                    case.namespace_name(),
                    workload(case),
                    container.name()
                ))
                .applicable(Applicability::Unsafe),
            );
        }
        Ok(found)
    })
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn the_injected_file_passes() {
        assert_eq!(Fixture::gcp().decide("GCP11"), Ok(Outcome::Pass));
        assert_eq!(Fixture::google_federation().decide("GCP11"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_key_file_of_the_application_is_a_warning() {
        let fixture = Fixture::google_federation().pod(|pod| {
            pod["spec"]["containers"][0]["env"][0]["value"] = "/secrets/key.json".into();
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("GCP11") else {
            panic!()
        };
        assert_eq!(findings[0].severity(), crate::catalogue::Severity::Warning);
        assert_eq!(
            findings[0].fix.commands,
            ["kubectl -n shop set env deployment/checkout -c app GOOGLE_APPLICATION_CREDENTIALS-"]
        );
    }
}
