//! The API server does not trust the certificate that the webhook serves.
//!
//! ## What it checks
//!
//! For webhooks with a Service: that `caBundle` is there and holds certificates that have not expired; that the certificate in
//! the Secret of the webhook's pods leads to one of them, is for `SERVICE.NAMESPACE.svc`, and is valid for more than seven
//! days still. Where the Secret may not be read, events about `x509` errors tell. Webhooks reached by URL, as that of EKS,
//! have nothing to look at here.
//!
//! ## Why it matters
//!
//! The API server calls nobody whom it cannot verify. With `failurePolicy: Ignore` pods are then admitted without their
//! identity; with `Fail` no pod is created any more. It happens when cert-manager has not filled in `caBundle`, when the
//! authority is rotated and the configuration is not, and when a certificate made by hand runs out after a year.
//!
//! ## How it looks
//!
//! ```text
//! failed calling webhook "mutate.cwii.dev": failed to call webhook: Post "https://cwii-webhook.cwii-system.svc:443/mutate": tls: failed to verify certificate: x509: certificate signed by unknown authority
//! ```
//!
//! ## How to fix it
//!
//! With cert-manager, see that the configuration has `cert-manager.io/inject-ca-from: NAMESPACE/CERTIFICATE` and that the
//! Certificate is ready. Otherwise write the authority's certificate into `caBundle`, or renew the certificate and restart
//! the webhook.
//!
//! ## How to verify the fix
//!
//! A new pod has the variables, and no further events tell of `x509`.
//!
//! ## References
//!
//! - Kubernetes, "Dynamic Admission Control", "Contacting the webhook":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#contacting-the-webhook>
//! - cert-manager, "CA Injector": <https://cert-manager.io/docs/concepts/ca-injector/>

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cwii_token::span::humanize;
use jiff::SignedDuration;
use rustls_pki_types::CertificateDer;

use super::{
    certificate::{self, Certificate, Trust},
    each,
    failure::{self, Reason},
    shell,
    webhook::{Service, Webhook, Wish},
};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, known, not_collected},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK05",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Webhooks,
        Need::Backends,
        Need::Events,
    ],
    check,
);

/// Less than this is left: somebody should look after it before it breaks.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |wish, webhook| {
        let Some(service) = webhook.service() else {
            return Ok(None);
        };
        let at_bundle = |message: String| {
            Finding::new("HOOK05", message)
                .of(wish.mechanism.provider)
                .at(webhook.subject("/clientConfig/caBundle", "`caBundle`"))
        };
        let authorities = match bundle(webhook) {
            Ok(authorities) => authorities,
            Err(problem) => {
                return Ok(Some(vec![mended(at_bundle(problem), webhook, &service)]));
            }
        };
        let read: Vec<Certificate> = authorities.iter().filter_map(certificate::read).collect();
        if !read.is_empty() && read.iter().all(|one| one.not_after < case.now()) {
            let ago = read
                .iter()
                .map(|one| case.now().duration_since(one.not_after))
                .min()
                .unwrap_or_default();
            let finding = at_bundle(format!(
                "the authority in `caBundle` of webhook `{}` expired {} ago",
                webhook.name(),
                humanize(ago)
            ));
            return Ok(Some(vec![mended(finding, webhook, &service)]));
        }
        match served(case, &service) {
            Ok(chain) => Ok(Some(judge(case, wish, webhook, &service, &chain, &authorities)?)),
            Err(gap) => match failure::latest(case, wish, webhook, Reason::Certificate)? {
                Some(event) => Ok(Some(vec![mended(
                    failure::quoted(
                        at_bundle(format!(
                            "the API server does not trust the certificate that webhook `{}` serves",
                            webhook.name()
                        )),
                        event,
                    ),
                    webhook,
                    &service,
                )])),
                None => Err(gap),
            },
        }
    })
}

/// The certificates of `caBundle`, or what is wrong with it.
fn bundle(webhook: &Webhook<'_>) -> Result<Vec<CertificateDer<'static>>, String> {
    let name = webhook.name();
    let encoded = webhook.text("/clientConfig/caBundle").unwrap_or_default();
    if encoded.is_empty() {
        return Err(format!("webhook `{name}` has no `caBundle`"));
    }
    let compact: String = encoded.split_ascii_whitespace().collect();
    let pem = STANDARD
        .decode(compact)
        .map_err(|_| format!("`caBundle` of webhook `{name}` is not base64"))?;
    let certificates = certificate::of_pem(&pem);
    if certificates.is_empty() {
        return Err(format!(
            "`caBundle` of webhook `{name}` holds no certificate"
        ));
    }
    Ok(certificates)
}

/// What the webhook's pods serve, the leaf first.
fn served(case: &Case<'_>, service: &Service<'_>) -> Result<Vec<CertificateDer<'static>>, Gap> {
    let backends = case
        .backends()?
        .ok_or_else(|| not_collected(Need::Backends))?;
    let backend = backends
        .get(&service.to_string())
        .ok_or_else(|| not_collected(Need::Backends))?;
    let pem = known(&backend.certificate, Need::Backends)?.ok_or_else(|| {
        Gap::NotLookedAt(
            Need::Backends,
            format!("no Secret with the certificate that Service {service} serves is known"),
        )
    })?;
    let chain = certificate::of_pem(pem.as_bytes());
    if chain.is_empty() {
        return Err(Gap::Unknown(
            Need::Backends,
            format!("the Secret with the certificate of Service {service} holds none"),
        ));
    }
    Ok(chain)
}

fn judge(
    case: &Case<'_>,
    wish: &Wish<'_>,
    webhook: &Webhook<'_>,
    service: &Service<'_>,
    chain: &[CertificateDer<'static>],
    authorities: &[CertificateDer<'static>],
) -> Result<Vec<Finding>, Gap> {
    let unreadable = |why: String| Gap::Unknown(Need::Backends, why);
    let leaf = chain
        .first()
        .and_then(certificate::read)
        .ok_or_else(|| unreadable(format!("the certificate of Service {service} cannot be read")))?;
    let finding = |message: String| {
        Finding::new("HOOK05", message)
            .of(wish.mechanism.provider)
            .at(webhook.subject("/clientConfig", "`clientConfig`"))
            .evidence_from("certificate", &leaf.subject, format!("Service {service}"))
    };
    let left = leaf.not_after.duration_since(case.now());
    let renew = "renew the certificate, and restart the webhook where it does not reload it";
    if left.is_negative() {
        return Ok(vec![
            finding(format!(
                "the certificate that Service {service} serves expired {} ago",
                humanize(left)
            ))
            .evidence("expired", leaf.not_after.to_string())
            .fix(renew),
        ]);
    }
    if leaf.not_before > case.now() {
        return Ok(vec![
            finding(format!(
                "the certificate that Service {service} serves is valid only in {}",
                humanize(leaf.not_before.duration_since(case.now()))
            ))
            .evidence("valid from", leaf.not_before.to_string())
            .fix("set the clock of the machine that made the certificate, and make it anew"),
        ]);
    }
    let name = format!("{}.{}.svc", service.name, service.namespace);
    if !leaf.is_for(&name) {
        return Ok(vec![
            finding(format!(
                "the certificate that Service {service} serves is not for `{name}`"
            ))
            .compared(leaf.names.join(", "), name)
            .fix("make the certificate anew with this DNS name"),
        ]);
    }
    match certificate::trust(chain, authorities, case.now()) {
        Trust::Trusted => {}
        Trust::Open(why) => {
            return Err(unreadable(format!(
                "the certificate of Service {service} cannot be verified here: {why}"
            )));
        }
        Trust::Untrusted => {
            let mut finding = finding(format!(
                "the certificate that Service {service} serves does not lead to `caBundle` of webhook `{}`",
                webhook.name()
            ))
            .evidence_from("signed by", &leaf.issuer, format!("Service {service}"));
            for authority in authorities.iter().filter_map(certificate::read) {
                finding = finding.evidence_from(
                    "trusted",
                    authority.subject,
                    format!("mutatingwebhookconfiguration {}", webhook.configuration.name()),
                );
            }
            return Ok(vec![mended(finding, webhook, service)]);
        }
    }
    if left < SOON {
        return Ok(vec![
            finding(format!(
                "the certificate that Service {service} serves expires in {}",
                humanize(left)
            ))
            .evidence("expires", leaf.not_after.to_string())
            .fix(renew)
            .warning(),
        ]);
    }
    Ok(Vec::new())
}

/// How the authority gets into the configuration.
fn mended(finding: Finding, webhook: &Webhook<'_>, service: &Service<'_>) -> Finding {
    const INJECT: &str = "cert-manager.io/inject-ca-from";
    match webhook.configuration.annotation(INJECT) {
        Some(certificate) => {
            let (namespace, name) = certificate.split_once('/').unwrap_or((service.namespace, certificate));
            finding
                .evidence_from(
                    "injected by",
                    format!("cert-manager, from Certificate {certificate}"),
                    format!("annotation `{INJECT}`"),
                )
                .fix("see why cert-manager does not fill in `caBundle`: the Certificate has to be ready and its injector to run")
                .command(format!(
                    "kubectl -n {} describe certificate {}",
                    shell(namespace),
                    shell(name)
                ))
        }
        None => finding
            .fix("write the certificate of the authority that signs the webhook's certificate into `caBundle`; a chart does so when it is applied again"),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::{Gap, Need, Object, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, certificates},
    };

    fn with_bundle(pem: &str) -> Fixture {
        Fixture::wanting().webhook("cwii", |webhook| {
            webhook["clientConfig"]["caBundle"] = json!(STANDARD.encode(pem));
        })
    }

    fn serving(pem: &str) -> Fixture {
        Fixture::wanting().backend(|backend| backend.certificate = Fact::Known(pem.into()))
    }

    #[test]
    fn a_certificate_that_leads_to_the_bundle_passes() {
        assert_eq!(Fixture::wanting().decide("HOOK05"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_certificate_that_is_trusted_itself_needs_no_authority() {
        let fixture = with_bundle(certificates::SELF_SIGNED)
            .backend(|backend| backend.certificate = Fact::Known(certificates::SELF_SIGNED.into()));
        assert_eq!(fixture.decide("HOOK05"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_webhook_reached_by_url_has_nothing_to_look_at() {
        assert!(matches!(
            Fixture::irsa().decide("HOOK05"),
            Ok(Outcome::NotApplicable(_))
        ));
    }

    #[test]
    fn a_bundle_that_is_missing_or_none_is_named() {
        let fixture = Fixture::wanting().webhook("cwii", |webhook| {
            webhook["clientConfig"]["caBundle"] = json!("");
        });
        assert_eq!(
            fixture.messages("HOOK05"),
            ["webhook `mutate.cwii.dev` has no `caBundle`"]
        );
        assert_eq!(
            with_bundle("Cg==").messages("HOOK05"),
            ["`caBundle` of webhook `mutate.cwii.dev` holds no certificate"]
        );
        let fixture = Fixture::wanting().webhook("cwii", |webhook| {
            webhook["clientConfig"]["caBundle"] = json!("%%%");
        });
        assert_eq!(
            fixture.messages("HOOK05"),
            ["`caBundle` of webhook `mutate.cwii.dev` is not base64"]
        );
    }

    #[test]
    fn another_authority_is_named_with_both_names() {
        let fixture = with_bundle(certificates::OTHER_CA);
        assert_eq!(
            fixture.messages("HOOK05"),
            [
                "the certificate that Service cwii-system/cwii-webhook serves does not lead to `caBundle` of webhook `mutate.cwii.dev`"
            ]
        );
        let Ok(Outcome::Found(findings)) = fixture.decide("HOOK05") else {
            panic!("nothing found");
        };
        let evidence: Vec<_> = findings[0].evidence.iter().map(|e| e.value.as_str()).collect();
        assert_eq!(evidence, ["CN=cwii-webhook", "CN=cwii CA", "CN=another CA"]);
    }

    #[test]
    fn a_certificate_for_another_name_is_named() {
        assert_eq!(
            serving(certificates::OTHER_NAME).messages("HOOK05"),
            [
                "the certificate that Service cwii-system/cwii-webhook serves is not for `cwii-webhook.cwii-system.svc`"
            ]
        );
    }

    #[test]
    fn the_time_left_decides() {
        let at = |now: &str| {
            let now = now.parse().unwrap();
            Fixture::wanting().with(|facts| facts.now = now)
        };
        // Valid to 2036-11-19.
        let soon = at("2036-11-15T00:00:00Z");
        assert_eq!(soon.severities("HOOK05"), [Severity::Warning]);
        assert!(soon.messages("HOOK05")[0].contains("expires in 4 d"));
        let over = Fixture::wanting().with(|facts| {
            facts.now = "2036-12-01T00:00:00Z".parse().unwrap();
        });
        assert_eq!(over.severities("HOOK05"), [Severity::Error]);
        let early = at("2020-01-01T00:00:00Z");
        assert!(early.messages("HOOK05")[0].contains("is valid only in"));
    }

    #[test]
    fn a_secret_that_may_not_be_read_is_unknown_unless_an_event_tells() {
        let denied = Fixture::wanting().backend(|backend| {
            backend.certificate = Fact::Denied("get secrets in namespace cwii-system".into());
        });
        assert!(matches!(
            denied.decide("HOOK05"),
            Err(Gap::Unknown(Need::Backends, why)) if why.contains("get secrets")
        ));
        let told = denied.with(|facts| {
            facts.events = Fact::Known(vec![Object::new(json!({
                "kind": "Event", "involvedObject": {"kind": "ReplicaSet", "name": "checkout-7d9f8b6c5"},
                "lastTimestamp": "2026-11-22T11:00:00Z",
                "message": "Error creating: Internal error occurred: failed calling webhook \"mutate.cwii.dev\": failed to call webhook: Post \"https://cwii-webhook.cwii-system.svc:443/mutate?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            }))]);
        });
        assert_eq!(
            told.messages("HOOK05"),
            ["the API server does not trust the certificate that webhook `mutate.cwii.dev` serves"]
        );
    }
}
