//! Microsoft's clouds: authorities, and the resource manager that goes with each.
//!
//! Authority and scope of different clouds do not fit (AADSTS500011, AADSTS900382), so one table holds both. Sources:
//! MSAL's list of known authorities; the cloud environments of the Azure SDKs and of Azure PowerShell.

use cwii_checks::facts::{Cause, ConfigurationProblemKind};
use cwii_contract::{env::AZURE_AUTHORITY_HOST, types::shorten};
use url::Url;

use crate::{
    Env,
    run::{ENVIRONMENT, misconfigured},
};

/// An authority and what belongs to it.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) url: Url,
    /// The cloud, as Microsoft's tools call it.
    pub(super) cloud: &'static str,
    /// Its resource manager.
    pub(super) scope: &'static str,
    /// It is one of Microsoft's.
    pub(super) known: bool,
}

impl Authority {
    /// Reads the variable as azure-identity for Python does: a bare host, a slash at the end and blanks around it are
    /// accepted, plain http is not.
    pub(super) fn find(env: &Env) -> Result<Self, Cause> {
        let text = env
            .trimmed(AZURE_AUTHORITY_HOST)
            .unwrap_or(PUBLIC_AUTHORITY);
        let wrong = |why: String| {
            misconfigured(
                ConfigurationProblemKind::Invalid,
                AZURE_AUTHORITY_HOST,
                ENVIRONMENT,
                format!("`{}` is not an authority: {why}", shorten(text)),
            )
        };
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let url = Url::parse(with_scheme.trim_end_matches([' ', '/']))
            .map_err(|e| wrong(e.to_string()))?;
        if url.scheme() != "https" {
            return Err(wrong(format!("expected https, found `{}`", url.scheme())));
        }
        let Some(host) = url.host_str() else {
            return Err(wrong("it has no host".into()));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(misconfigured(
                ConfigurationProblemKind::Invalid,
                AZURE_AUTHORITY_HOST,
                ENVIRONMENT,
                "the URL carries a user name or password",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("expected neither query nor fragment".into()));
        }
        let known = CLOUDS
            .iter()
            .find(|cloud| url.port().is_none() && cloud.hosts.contains(&host));
        let cloud = known.unwrap_or(&CLOUDS[0]);
        Ok(Self {
            cloud: cloud.name,
            scope: cloud.scope,
            known: known.is_some(),
            url,
        })
    }

    /// The URL without the slash at its end.
    pub(super) fn shown(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    pub(super) fn token_endpoint(&self, tenant: &str) -> Result<Url, Cause> {
        super::token_endpoint(&self.url, tenant)
    }
}

/// One cloud.
struct Cloud {
    name: &'static str,
    hosts: &'static [&'static str],
    scope: &'static str,
}

const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com";

/// The public cloud first: what no other names belongs to it.
const CLOUDS: [Cloud; 8] = [
    Cloud {
        name: "AzureCloud",
        hosts: &[
            "login.microsoftonline.com",
            "login.microsoft.com",
            "login.windows.net",
            "sts.windows.net",
        ],
        scope: "https://management.azure.com/.default",
    },
    Cloud {
        name: "AzureUSGovernment",
        hosts: &[
            "login.microsoftonline.us",
            "login-us.microsoftonline.com",
            "login.usgovcloudapi.net",
        ],
        scope: "https://management.usgovcloudapi.net/.default",
    },
    Cloud {
        name: "AzureChinaCloud",
        hosts: &["login.chinacloudapi.cn", "login.partner.microsoftonline.cn"],
        scope: "https://management.chinacloudapi.cn/.default",
    },
    Cloud {
        name: "AzureBleuCloud",
        hosts: &["login.sovcloud-identity.fr"],
        scope: "https://management.sovcloud-api.fr/.default",
    },
    Cloud {
        name: "AzureGermanyCloud",
        hosts: &["login.sovcloud-identity.de"],
        scope: "https://management.sovcloud-api.de/.default",
    },
    // Microsoft names its authority; that the resource manager is called like those of the two above is an inference.
    Cloud {
        name: "GovSGCloud",
        hosts: &["login.sovcloud-identity.sg"],
        scope: "https://management.sovcloud-api.sg/.default",
    },
    Cloud {
        name: "USNat",
        hosts: &["login.microsoftonline.eaglex.ic.gov"],
        scope: "https://management.azure.eaglex.ic.gov/.default",
    },
    Cloud {
        name: "USSec",
        hosts: &["login.microsoftonline.microsoft.scloud"],
        scope: "https://management.azure.microsoft.scloud/.default",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Result<Authority, Cause> {
        Authority::find(&[(AZURE_AUTHORITY_HOST, text)].into_iter().collect())
    }

    #[test]
    fn forms_that_the_python_sdk_takes_are_taken() {
        for text in [
            "",
            "login.microsoftonline.com",
            " https://login.microsoftonline.com/ ",
            "https://login.microsoftonline.com//",
            "HTTPS://LOGIN.microsoftonline.COM",
        ] {
            let authority = find(text).unwrap();
            assert_eq!(authority.shown(), PUBLIC_AUTHORITY, "{text:?}");
            assert!(authority.known);
        }
        let endpoint = find("https://localhost:8443/entra/")
            .unwrap()
            .token_endpoint("t")
            .unwrap();
        assert_eq!(
            endpoint.as_str(),
            "https://localhost:8443/entra/t/oauth2/v2.0/token"
        );
    }

    #[test]
    fn what_is_no_https_authority_is_refused() {
        for text in [
            "http://localhost:5601",
            "ftp://login.microsoftonline.com",
            "https://",
            "https://u:hunter2@login.microsoftonline.com",
            "https://login.microsoftonline.com/?x",
        ] {
            let error = format!("{:?}", find(text).unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn authority_and_scope_belong_to_one_cloud() {
        for (host, cloud, scope) in [
            (
                "login.microsoftonline.us",
                "AzureUSGovernment",
                "usgovcloudapi.net",
            ),
            (
                "login.partner.microsoftonline.cn",
                "AzureChinaCloud",
                "chinacloudapi.cn",
            ),
            (
                "login.sovcloud-identity.fr",
                "AzureBleuCloud",
                "sovcloud-api.fr",
            ),
        ] {
            let authority = find(host).unwrap();
            assert_eq!(authority.cloud, cloud);
            assert_eq!(
                authority.scope,
                format!("https://management.{scope}/.default")
            );
        }
        for foreign in [
            "login.microsoftonline.com.evil.example",
            "https://login.microsoftonline.com:8443",
            "localhost",
        ] {
            assert!(!find(foreign).unwrap().known, "{foreign}");
        }
    }
}
