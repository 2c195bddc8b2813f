//! The SDK is told to present the token that the pod has for the API server.
//!
//! ## What it checks
//!
//! Per container: that the variable with the token file does not name `/var/run/secrets/kubernetes.io/serviceaccount/token`; and
//! that the token in the pod, where its claims are known, has an expiry and an audience and is not one of the old kind that was
//! kept in a Secret (`iss` `kubernetes/serviceaccount`).
//!
//! ## Why it matters
//!
//! That token's audience is the API server: no cloud takes it, and one that did would hold a credential for the cluster. Tokens
//! of the old kind have neither audience nor expiry, and an issuer that is no URL; no trust can be set up for them.
//!
//! ## How it looks
//!
//! ```text
//! InvalidIdentityToken: No OpenIDConnect provider found in your account for kubernetes/serviceaccount
//! ```
//!
//! ## How to fix it
//!
//! Take the variable out of the template and let the webhook inject a token for the cloud, or project one with the cloud's
//! audience.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii token decode --pod NAME --provider PROVIDER` shows the cloud's audience and an expiry.
//!
//! ## References
//!
//! - Kubernetes, "Manually manage long-lived API tokens for ServiceAccounts":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>

use cwii_contract::{Provider, env};

use super::claim;
use crate::{
    doctor::{Case, Gap, Outcome, Rule, TokenOrigin, variable_subject},
    report::Finding,
    rules::federation::workload,
};

pub(super) const RULE: Rule = Rule::new("TOK11", super::NEEDS, check);

/// Where the kubelet puts the token for the API server.
const API_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// The issuer of tokens that were kept in Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mut findings = Vec::new();
    let mut any = false;
    for container in pod.containers() {
        for (variable, provider) in [
            (env::AWS_WEB_IDENTITY_TOKEN_FILE, Provider::Aws),
            (env::AZURE_FEDERATED_TOKEN_FILE, Provider::Az),
        ] {
            let Some(path) = container.variable(variable) else {
                continue;
            };
            any = true;
            // `/run` is where `/var/run` leads to.
            if path.trim_start_matches("/var") != API_TOKEN.trim_start_matches("/var") {
                continue;
            }
            findings.push(
                Finding::new(
                    "TOK11",
                    format!(
                        "`{variable}` of container `{}` names the token for the API server",
                        container.name()
                    ),
                )
                .of(provider)
                .at(variable_subject(pod, &container, variable))
                .evidence("path", path)
                .fix("take the variable out of the pod template, so that the webhook injects a token for the cloud")
                .command(format!(
                    "kubectl -n {} set env {} {variable}-",
                    case.namespace_name(),
                    workload(case)
                )),
            );
        }
    }
    for mechanism in case.mechanisms() {
        any = true;
        let Ok(view) = case.token(mechanism) else {
            continue;
        };
        let claims = &view.token.claims;
        let legacy = claims.issuer() == Some(LEGACY_ISSUER)
            || claims.expires_at().is_none() && claims.audiences().is_empty();
        if view.origin == TokenOrigin::Documented && legacy {
            findings.push(
                Finding::new("TOK11", "the token is of the old kind that was kept in a Secret")
                    .of(mechanism.provider)
                    .at(claim(&view, "iss"))
                    .evidence("iss", claims.issuer().unwrap_or("none"))
                    .fix("project a token with the cloud's audience in place of the Secret"),
            );
        }
    }
    Ok(if any {
        Outcome::of(findings)
    } else {
        Outcome::not_applicable(super::NO_TOKEN)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn a_token_for_the_cloud_passes() {
        assert_eq!(Fixture::irsa().decide("TOK11"), Ok(Outcome::Pass));
        assert_eq!(
            Fixture::cwii_aws().in_pod(json!({})).decide("TOK11"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn the_token_for_the_api_server_is_named() {
        for path in [
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "/run/secrets/kubernetes.io/serviceaccount/token",
        ] {
            let fixture = Fixture::plain().pod(|pod| {
                pod["spec"]["containers"][0]["env"] = json!([
                    {"name": "AWS_ROLE_ARN", "value": "arn:aws:iam::111122223333:role/checkout"},
                    {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": path},
                ]);
            });
            assert_eq!(
                fixture.messages("TOK11"),
                ["`AWS_WEB_IDENTITY_TOKEN_FILE` of container `app` names the token for the API server"]
            );
        }
    }

    #[test]
    fn a_token_of_the_old_kind_is_named() {
        let fixture = Fixture::cwii_aws()
            .in_pod(json!({"iss": "kubernetes/serviceaccount", "aud": null, "exp": null}));
        assert_eq!(
            fixture.messages("TOK11"),
            ["the token is of the old kind that was kept in a Secret"]
        );
    }
}
