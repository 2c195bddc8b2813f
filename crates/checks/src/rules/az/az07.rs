//! An application or managed identity has nearly as many federated identity credentials as fit on it.
//!
//! ## What it checks
//!
//! The number of credentials in the documents: 20 is the most.
//!
//! ## Why it matters
//!
//! Every cluster, namespace and ServiceAccount that shares an identity takes one. The twenty-first is refused when it is
//! written, usually by a pipeline in the middle of a roll-out. Credentials of one managed identity must also be written one
//! after the other: concurrent writes are refused.
//!
//! ## How it looks
//!
//! Nothing fails yet. Later: `Too many Federated Identity Credentials exist for provided identity`.
//!
//! ## How to fix it
//!
//! Take away credentials of clusters that are gone, or give the next workloads an identity of their own.
//!
//! ## How to verify the fix
//!
//! The list is shorter.
//!
//! ## References
//!
//! - Microsoft, "Important considerations and restrictions for federated identity credentials":
//!   <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations>

use cwii_contract::Provider;
use cwii_trust::entra::LintKind;

use super::{assertion, each};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("AZ07", super::ASSERTION, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let Some(assertion) = assertion(case, mechanism)? else {
            return Ok(Vec::new());
        };
        Ok(assertion
            .lints
            .iter()
            .filter_map(|lint| {
                let LintKind::CredentialsNearLimit { count } = lint.kind else {
                    return None;
                };
                let client = &assertion.application.client_id;
                Some(
                    Finding::new(
                        "AZ07",
                        format!("`{client}` has {count} federated identity credentials, and 20 is the most"),
                    )
                    .of(Provider::Az)
                    .at(assertion.at(&lint.clause))
                    .fix("take away credentials of clusters that are gone, or use a second identity"),
                )
            })
            .collect())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn a_few_pass_and_nineteen_are_a_warning() {
        assert_eq!(Fixture::aks().decide("AZ07"), Ok(Outcome::Pass));
        let fixture = Fixture::aks().document("credentials.json", |list| {
            let list = list.as_array_mut().unwrap();
            for number in 1..19 {
                let mut credential = list[0].clone();
                credential["name"] = format!("other-{number}").into();
                credential["subject"] = json!(format!("system:serviceaccount:shop:other-{number}"));
                list.push(credential);
            }
        });
        assert_eq!(fixture.messages("AZ07").len(), 1);
    }
}
