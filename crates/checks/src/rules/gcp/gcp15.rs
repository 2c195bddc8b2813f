//! The credentials document asks for a token lifetime that Google does not give.
//!
//! ## What it checks
//!
//! `service_account_impersonation.token_lifetime_seconds` of the credentials document, where the pod shows it: 600 to 43200.
//! Whether the organization allows more than an hour is only seen in Google's answer.
//!
//! ## Why it matters
//!
//! More than 3600 seconds needs the account in `constraints/iam.allowServiceAccountCredentialLifetimeExtension`; more than
//! twelve hours is never given. The exchange then fails altogether instead of giving a shorter token.
//!
//! ## How it looks
//!
//! ```text
//! 400 INVALID_ARGUMENT: The access token lifetime … can not have lifetimes of more than 1 hour. Use the Org Policy Constraint constraints/iam.allowServiceAccountCredentialLifetimeExtension …
//! ```
//!
//! ## How to fix it
//!
//! Leave the member out, or ask for 3600 seconds; SDKs refresh by themselves.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify` follows the document to its end.
//!
//! ## References
//!
//! - Google Cloud, "Create short-lived credentials for a service account":
//!   <https://cloud.google.com/iam/docs/create-short-lived-credentials-direct>
//! - Google, AIP-4117, "External Account Credentials (Workload Identity Federation)":
//!   <https://google.aip.dev/auth/4117>

use cwii_contract::Provider;

use super::{credentials, each};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "GCP15",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::ConfigMaps,
        Need::Others,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let Some(found) = credentials(case, mechanism)? else {
            return Ok(Vec::new());
        };
        let lifetime = found
            .account
            .ok()
            .filter(|account| account.impersonation_url.is_some())
            .and_then(|account| account.token_lifetime_seconds)
            .filter(|seconds| !(600..=43200).contains(seconds));
        Ok(lifetime
            .map(|seconds| {
                Finding::new(
                    "GCP15",
                    format!("the credentials document asks for a token of {seconds} s, and Google gives 600 to 43200"),
                )
                .of(Provider::Gcp)
                .at(found.subject)
                .fix("leave `service_account_impersonation` out of the document, or ask for 3600 seconds")
            })
            .into_iter()
            .collect())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn lifetime(seconds: i64) -> Fixture {
        Fixture::google_by_hand().with(|facts| {
            let Fact::Known(maps) = &mut facts.config_maps else {
                panic!()
            };
            let mut map = maps[0].value().clone();
            let mut document: Value =
                serde_json::from_str(map["data"]["credentials.json"].as_str().unwrap()).unwrap();
            document["service_account_impersonation"]["token_lifetime_seconds"] = seconds.into();
            map["data"]["credentials.json"] = document.to_string().into();
            maps[0] = Object::new(map);
        })
    }

    #[test]
    fn an_hour_passes_and_a_day_does_not() {
        assert_eq!(Fixture::google_by_hand().decide("GCP15"), Ok(Outcome::Pass));
        assert_eq!(lifetime(3600).decide("GCP15"), Ok(Outcome::Pass));
        assert_eq!(lifetime(86400).messages("GCP15").len(), 1);
    }
}
