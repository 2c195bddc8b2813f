//! The authority that the pod signs in at belongs to another cloud than the rest of its configuration.
//!
//! ## What it checks
//!
//! That `AZURE_AUTHORITY_HOST` is an https URL, and that it is of the cloud that the token's audience names (`…USGov`,
//! `…China`) and that the node's region is in.
//!
//! ## Why it matters
//!
//! The clouds of Azure know nothing of each other: the tenant of one does not exist in another. Images and manifests that
//! are used in several clouds often carry the public cloud's host along.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS90002: Tenant '…' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.
//! AADSTS900382: Confidential Client is not supported in Cross Cloud request.
//! ```
//!
//! ## How to fix it
//!
//! Set the authority of the identity's cloud: `https://login.microsoftonline.com/`, `https://login.microsoftonline.us/`, or
//! `https://login.chinacloudapi.cn/`.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider az` signs in.
//!
//! ## References
//!
//! - Microsoft, "National clouds", authentication endpoints:
//!   <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>
//! - Microsoft, "Microsoft Entra authentication and authorization error codes":
//!   <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

use cwii_contract::{Provider, env};

use super::each;
use crate::{
    doctor::{Case, Gap, Given, MechanismKind, Outcome, Rule},
    report::{Applicability, Finding},
    rules::federation::{restart, workload},
};

pub(super) const RULE: Rule = Rule::new("AZ08", crate::doctor::MECHANISMS, check);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cloud {
    Public,
    UsGov,
    China,
}

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let pod = case.pod()?;
        let Some(given) = Given::variable(pod, env::AZURE_AUTHORITY_HOST) else {
            return Ok(Vec::new());
        };
        let host = given
            .value
            .trim()
            .trim_start_matches("https://")
            .split('/')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let finding = |message: String, right: Cloud| {
            let command = match mechanism.kind {
                MechanismKind::Cwii => vec![
                    format!(
                        "kubectl -n {} annotate serviceaccount {} cwii.dev/az-authority-host={} --overwrite",
                        case.namespace_name(),
                        case.service_account_name().unwrap_or("default"),
                        right.authority()
                    ),
                    restart(case),
                ],
                _ => vec![format!(
                    "kubectl -n {} set env {} AZURE_AUTHORITY_HOST={}",
                    case.namespace_name(),
                    workload(case),
                    right.authority()
                )],
            };
            let finding = Finding::new("AZ08", message)
                .of(Provider::Az)
                .compared(&given.value, right.authority())
                .fix("set the authority of the identity's cloud")
                .applicable(Applicability::Unsafe);
            let finding = match &given.subject {
                Some(subject) => finding.at(subject.clone()),
                None => finding,
            };
            crate::rules::federation::with_commands(finding, command)
        };
        let cloud = Cloud::of_host(&host);
        if given.value.starts_with("http://") {
            return Ok(vec![
                finding("the authority is not an https URL".into(), cloud.unwrap_or(Cloud::Public))
                    .answered("the SDK will say: The value must be a TLS protected (https) URL"),
            ]);
        }
        let Some(cloud) = cloud else {
            return Ok(Vec::new());
        };
        let audience = mechanism
            .token
            .as_ref()
            .and_then(|token| token.audience.as_deref())
            .unwrap_or_default();
        if let Some(named) = Cloud::of_audience(audience).filter(|named| *named != cloud) {
            return Ok(vec![
                finding(
                    format!("the authority `{host}` is of another cloud than the token's audience"),
                    named,
                )
                .evidence("token's audience", audience)
                .answered("Entra will answer: AADSTS90002: Tenant not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."),
            ]);
        }
        // Somebody may sign in at another cloud than the cluster's on purpose.
        let region = case.node().ok().flatten().and_then(|node| {
            node.label("kubernetes.azure.com/cluster")?;
            node.label("topology.kubernetes.io/region")
        });
        let of_region = region.map(Cloud::of_region).filter(|found| *found != cloud);
        Ok(of_region
            .map(|found| {
                finding(
                    format!("the authority `{host}` is of another cloud than the node's region"),
                    found,
                )
                .evidence("region", region.unwrap_or_default())
                .warning()
            })
            .into_iter()
            .collect())
    })
}

impl Cloud {
    fn of_host(host: &str) -> Option<Self> {
        Some(match host {
            "login.microsoftonline.com" | "login.microsoft.com" | "login.windows.net"
            | "sts.windows.net" => Self::Public,
            "login.microsoftonline.us" | "login-us.microsoftonline.com"
            | "login.usgovcloudapi.net" => Self::UsGov,
            "login.chinacloudapi.cn" | "login.partner.microsoftonline.cn" => Self::China,
            _ => return None,
        })
    }

    /// The plain audience is used in every cloud for clusters' tokens.
    fn of_audience(audience: &str) -> Option<Self> {
        match audience.strip_prefix("api://AzureADTokenExchange")? {
            "USGov" => Some(Self::UsGov),
            "China" => Some(Self::China),
            _ => None,
        }
    }

    fn of_region(region: &str) -> Self {
        match region {
            region if region.starts_with("china") => Self::China,
            region if region.starts_with("usgov") || region.starts_with("usdod") => Self::UsGov,
            _ => Self::Public,
        }
    }

    fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com/",
            Self::UsGov => "https://login.microsoftonline.us/",
            Self::China => "https://login.chinacloudapi.cn/",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{catalogue::Severity, doctor::Outcome, rules::fixture::Fixture};

    fn host(host: &str) -> Fixture {
        Fixture::aks().pod(|pod| {
            for variable in pod["spec"]["containers"][0]["env"].as_array_mut().unwrap() {
                if variable["name"] == "AZURE_AUTHORITY_HOST" {
                    variable["value"] = host.into();
                }
            }
        })
    }

    #[test]
    fn the_clouds_own_authority_passes() {
        assert_eq!(Fixture::aks().decide("AZ08"), Ok(Outcome::Pass));
    }

    #[test]
    fn another_clouds_authority_is_a_warning_by_region_and_an_error_by_audience() {
        let fixture = host("https://login.chinacloudapi.cn/");
        let Ok(Outcome::Found(findings)) = fixture.decide("AZ08") else {
            panic!()
        };
        assert_eq!(findings[0].severity(), Severity::Warning);
        let fixture = Fixture::aks().pod(|pod| {
            pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["audience"] =
                "api://AzureADTokenExchangeChina".into();
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("AZ08") else {
            panic!()
        };
        assert_eq!(findings[0].severity(), Severity::Error);
        assert_eq!(findings[0].comparison.as_ref().unwrap().expected, "https://login.chinacloudapi.cn/");
    }

    #[test]
    fn an_authority_without_tls_is_an_error() {
        assert_eq!(host("http://login.microsoftonline.com").messages("AZ08").len(), 1);
    }
}
