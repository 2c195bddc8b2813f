//! The API server is the issuer, and shows its documents to nobody without credentials.
//!
//! ## What it checks
//!
//! Whether the answer 401 or 403 to a request for the published discovery document comes from an API server: it sends headers of
//! its own.
//!
//! ## Why it matters
//!
//! Where the issuer's URL is the API server itself, clouds read its documents without credentials. Kubernetes lets authenticated
//! ServiceAccounts read them only, unless a ClusterRoleBinding says otherwise.
//!
//! ## How it looks
//!
//! ```text
//! {"kind":"Status","status":"Failure","message":"forbidden: User \"system:anonymous\" cannot get path \"/.well-known/openid-configuration\"","reason":"Forbidden","code":403}
//! ```
//!
//! ## How to fix it
//!
//! Bind the ClusterRole `system:service-account-issuer-discovery` to the group `system:unauthenticated`, with
//! `--anonymous-auth` on for these paths; or publish the documents elsewhere.
//!
//! ## How to verify the fix
//!
//! `curl https://ISSUER/.well-known/openid-configuration` without credentials prints the document.
//!
//! ## References
//!
//! - Kubernetes, "Service account issuer discovery":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>

use super::{PUBLISHED, document, of_published, unread};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, not_collected},
    facts::Fact,
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new("ISS07", PUBLISHED, check).blocked_by(&["ISS01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    of_published(case, |issuer, fetching| {
        let Some(answer) = &issuer.seen.discovery else {
            return match &issuer.discovery {
                // Whoever handed the document out wanted no credentials.
                Fact::Known(_) => Ok(Vec::new()),
                _ => Err(not_collected(Need::Published)),
            };
        };
        if !answer.from_api_server || ![401, 403].contains(&answer.status) {
            return Ok(Vec::new());
        }
        Ok(vec![
            Finding::new(
                "ISS07",
                "the API server is the issuer, and does not show its discovery document to anonymous readers",
            )
            .at(document("DiscoveryDocument", &issuer.discovery_url))
            .evidence("status", answer.status.to_string())
            .answered(unread(fetching))
            .fix("let everybody read the two documents, which hold public keys alone")
            .command("kubectl create clusterrolebinding service-account-issuer-discovery --clusterrole=system:service-account-issuer-discovery --group=system:unauthenticated")
            .applicable(Applicability::Unsafe),
        ])
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::Outcome,
        facts::{DocumentAnswer, Fact},
        rules::fixture::Fixture,
    };

    fn answered(status: u16, from_api_server: bool) -> Fixture {
        Fixture::irsa().publishing(|issuer| {
            issuer.discovery = Fact::Denied(status.to_string());
            issuer.seen.discovery = Some(DocumentAnswer {
                status,
                from_api_server,
                ..DocumentAnswer::default()
            });
        })
    }

    #[test]
    fn a_document_that_anybody_reads_passes() {
        assert_eq!(Fixture::irsa().published().decide("ISS07"), Ok(Outcome::Pass));
        assert_eq!(answered(403, false).decide("ISS07"), Ok(Outcome::Pass));
    }

    #[test]
    fn an_api_server_that_wants_credentials_is_named() {
        for status in [401, 403] {
            assert_eq!(answered(status, true).messages("ISS07").len(), 1);
        }
    }

    #[test]
    fn without_an_answer_nobody_looked() {
        let fixture = Fixture::irsa().publishing(|issuer| issuer.discovery = Fact::NotCollected);
        assert!(fixture.decide("ISS07").is_err());
    }
}
