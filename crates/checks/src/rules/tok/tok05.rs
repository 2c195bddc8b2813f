//! The clocks of the cluster and of those who read its tokens differ by more than is tolerated.
//!
//! ## What it checks
//!
//! The `Date` header of the API server against the clock of this machine; `iat`, `nbf` and `exp` of a token that was minted or
//! found in the pod against the moment of the diagnosis. AWS lets clocks be five minutes apart, Google about one.
//!
//! ## Why it matters
//!
//! Times in a token are those of the control plane that signed it. A cloud that sees a token from the future refuses it, and so
//! do SDKs that compute when to renew.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS700024: Client assertion is not within its valid time range. Current time: …, assertion valid from …, expiry time of assertion …
//! ```
//!
//! ## How to fix it
//!
//! Have control plane and nodes take their time from NTP or the cloud's time service.
//!
//! ## How to verify the fix
//!
//! `kubectl get --raw / -v=8` shows the `Date` header of the API server; `kubectl cwii verify TYPE/NAME` compares the clocks of
//! a node and of the cloud.
//!
//! ## References
//!
//! - Microsoft, "Microsoft Entra authentication and authorization error codes":
//!   <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

use cwii_token::span::humanize;

use super::{NO_TOKEN, claim, leeway, presents, reader, real};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, known},
    report::Finding,
    rules::federation::each,
};

pub(super) const RULE: Rule = Rule::new(
    "TOK05",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Tokens,
        Need::Claims,
        Need::Discovery,
        Need::Jwks,
        Need::Clock,
    ],
    check,
)
.blocked_by(&["TOK09"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, presents, NO_TOKEN, |mechanism| {
        let tolerated = leeway(mechanism.provider);
        let found = |message: String| {
            Finding::new("TOK05", message)
                .of(mechanism.provider)
                .evidence("tolerated", humanize(tolerated))
        };
        let token = real(case, mechanism);
        if let Ok(view) = &token {
            let claims = &view.token.claims;
            let from = [claims.issued_at(), claims.not_before()].into_iter().flatten().max();
            if let Some(from) = from
                && from.duration_since(case.now()) > tolerated
            {
                return Ok(vec![
                    found(format!(
                        "the token is valid only in {}: the clock of the control plane is ahead",
                        humanize(from.duration_since(case.now()))
                    ))
                    .at(claim(view, "nbf"))
                    .compared(from.to_string(), case.now().to_string())
                    .fix("set the clock of the control plane (NTP)"),
                ]);
            }
            if let Some(expiry) = claims.expires_at()
                && case.now().duration_since(expiry) > tolerated
            {
                return Ok(vec![
                    found(format!(
                        "the token expired {} ago by {}'s clock",
                        humanize(case.now().duration_since(expiry)),
                        reader(mechanism.provider)
                    ))
                    .at(claim(view, "exp"))
                    .compared(expiry.to_string(), case.now().to_string())
                    .fix("set the clocks of control plane and node (NTP)"),
                ]);
            }
        }
        match (known(&case.look(Need::Clock).clock, Need::Clock), token) {
            (Ok(Some(clock)), _) => {
                let skew = clock.server.duration_since(clock.local);
                if skew.abs() <= tolerated {
                    return Ok(Vec::new());
                }
                Ok(vec![
                    found(format!(
                        "the API server's clock is {} {} that of this machine",
                        humanize(skew),
                        if skew.is_negative() { "behind" } else { "ahead of" }
                    ))
                    .evidence_from("API server", clock.server.to_string(), "`Date` header")
                    .evidence("this machine", clock.local.to_string())
                    .fix("set the clock that is wrong (NTP)")
                    // Either may be wrong, and only the API server's matters to a cloud.
                    .warning(),
                ])
            }
            (_, Ok(_)) => Ok(Vec::new()),
            (Err(gap), Err(_)) => Err(gap),
            (Ok(None), Err(gap)) => Err(gap),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::{Gap, Need, Outcome, State},
        facts::{Fact, ServerClock},
        rules::fixture::Fixture,
    };

    const NOW: i64 = 1_795_348_800;

    fn clocks(server: &str) -> Fixture {
        let server = server.parse().unwrap();
        Fixture::cwii_aws().with(|facts| {
            facts.clock = Fact::Known(ServerClock {
                server,
                local: "2026-11-22T12:00:00Z".parse().unwrap(),
            });
        })
    }

    #[test]
    fn clocks_that_agree_pass() {
        assert_eq!(clocks("2026-11-22T12:04:00Z").decide("TOK05"), Ok(Outcome::Pass));
        assert_eq!(
            Fixture::cwii_aws().in_pod(json!({})).decide("TOK05"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn clocks_that_differ_are_a_warning_for_either_may_be_wrong() {
        let fixture = clocks("2026-11-22T12:10:00Z");
        assert_eq!(
            fixture.messages("TOK05"),
            ["the API server's clock is 10 m ahead of that of this machine"]
        );
        assert_eq!(fixture.severities("TOK05"), [Severity::Warning]);
    }

    #[test]
    fn a_token_from_the_future_is_an_error() {
        let fixture = Fixture::cwii_aws()
            .minted(json!({"iat": NOW + 900, "nbf": NOW + 900, "exp": NOW + 4500}));
        assert_eq!(
            fixture.messages("TOK05"),
            ["the token is valid only in 15 m: the clock of the control plane is ahead"]
        );
    }

    #[test]
    fn a_token_that_ran_out_is_explained_by_its_age() {
        let fixture = Fixture::cwii_aws()
            .in_pod(json!({"iat": NOW - 7200, "nbf": NOW - 7200, "exp": NOW - 3600}));
        assert_eq!(fixture.messages("TOK05"), ["the token expired 1 h ago by AWS STS's clock"]);
        let examination = fixture.examine();
        assert!(examination.verdicts.iter().any(|verdict| {
            verdict.entry.code == "TOK05"
                && matches!(&verdict.state, State::Unknown { blocked_by, .. } if blocked_by.contains(&"TOK09"))
        }));
    }

    #[test]
    fn without_clock_and_token_nobody_looked() {
        assert!(matches!(
            Fixture::cwii_aws().decide("TOK05"),
            Err(Gap::NotLookedAt(Need::Clock, _))
        ));
    }
}
