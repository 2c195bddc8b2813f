//! The token proxy of AKS identity bindings: Entra's token endpoint behind a name of the cluster.
//!
//! Its URL takes the place of the authority, it may be reached under another TLS name, and it has a CA of its own.
//! SDKs use it only where the application opts in (`enable_azure_proxy`), so its use is noted. The token goes to a host
//! that is not Microsoft's, so `--allow-endpoint` must name it. Source: azure-identity, `WorkloadIdentityCredential`.

use std::net::SocketAddr;

use cwii_checks::facts::{
    Cause, ConfigurationProblemKind, Step, TransportProblem, TransportProblemKind,
};
use cwii_contract::{
    Provider,
    types::{TenantId, shorten},
};
use url::Url;

use crate::{
    Env, endpoints,
    http::{Http, OwnVariable, Reach, Resolver, Roots, authority},
    run::{ENVIRONMENT, Run, misconfigured},
};

/// The proxy that the variables describe.
pub(super) struct TokenProxy {
    url: Url,
    /// Name for TLS, where it is not the URL's host.
    sni: Option<String>,
    ca: Option<Ca>,
}

enum Ca {
    File(String),
    Data(String),
}

impl TokenProxy {
    /// Reads the variables.
    pub(super) fn find(env: &Env) -> Result<Option<Self>, Cause> {
        let wrong = |name: &str, problem: String| {
            misconfigured(
                ConfigurationProblemKind::Invalid,
                name,
                ENVIRONMENT,
                problem,
            )
        };
        let sni = env.non_empty(SNI_NAME).map(str::to_owned);
        let (file, data) = (env.non_empty(CA_FILE), env.non_empty(CA_DATA));
        let Some(text) = env.non_empty(TOKEN_PROXY) else {
            return match [SNI_NAME, CA_FILE, CA_DATA]
                .into_iter()
                .find(|name| env.non_empty(name).is_some())
            {
                Some(name) => Err(misconfigured(
                    ConfigurationProblemKind::Missing,
                    TOKEN_PROXY,
                    ENVIRONMENT,
                    format!("{name} is set, which belongs to a token proxy, and the proxy is not"),
                )),
                None => Ok(None),
            };
        };
        let ca = match (file, data) {
            (Some(_), Some(_)) => {
                return Err(wrong(
                    CA_FILE,
                    format!("{CA_FILE} and {CA_DATA} are both set, expected one of them"),
                ));
            }
            (Some(path), None) => Some(Ca::File(path.to_owned())),
            (None, Some(pem)) => Some(Ca::Data(pem.to_owned())),
            (None, None) => None,
        };
        let url = Url::parse(text)
            .map_err(|e| wrong(TOKEN_PROXY, format!("`{}` is no URL: {e}", shorten(text))))?;
        if url.scheme() != "https"
            || url.host_str().is_none()
            || !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(wrong(
                TOKEN_PROXY,
                "expected an https URL without user, query and fragment".into(),
            ));
        }
        Ok(Some(Self { url, sni, ca }))
    }

    /// The endpoint to post to, and a client that reaches it.
    pub(super) async fn client(
        &self,
        run: &mut Run<'_>,
        tenant: &TenantId,
    ) -> Result<(Url, Http), Cause> {
        run.input("endpoint", self.url.as_str(), TOKEN_PROXY);
        run.note(
            Some("AKS07"),
            "a token proxy is configured (AKS identity binding): it is used here, while SDKs use it \
             only where the application opts in",
        );
        if !endpoints::is_allowed(run.options, &self.url) {
            return Err(misconfigured(
                ConfigurationProblemKind::ForeignEndpoint,
                TOKEN_PROXY,
                ENVIRONMENT,
                endpoints::refusal(&self.url, "the authority of a Microsoft cloud"),
            ));
        }
        let own = |name: &str, path: &str| OwnVariable {
            name: name.into(),
            source: ENVIRONMENT.into(),
            path: path.into(),
        };
        let roots = match &self.ca {
            Some(Ca::File(path)) => Roots::load(Provider::Az, run.env, Some(own(CA_FILE, path))),
            Some(Ca::Data(pem)) => Roots::from_pem(CA_DATA, pem),
            None => Roots::load(Provider::Az, run.env, None),
        }
        .map_err(Cause::Configuration)?;
        let mut endpoint = super::token_endpoint(&self.url, tenant.as_str())?;
        let mut pinned = Vec::new();
        if let (Some(sni), Some(host)) = (&self.sni, self.url.host_str()) {
            // TLS takes its name from the URL: the URL gets the TLS name, and that name the proxy's addresses.
            let port = self.url.port_or_known_default().unwrap_or(443);
            let found = Resolver::system(run.traffic())
                .lookup(host)
                .await
                .map_err(|e| {
                    run.begin(Step::EntraToken);
                    Cause::Transport(TransportProblem {
                        host: authority(&self.url),
                        kind: TransportProblemKind::Dns,
                        detail: e.detail,
                        proxy: None,
                    })
                })?;
            let addresses = found
                .into_iter()
                .map(|ip| SocketAddr::new(ip, port))
                .collect();
            endpoint.set_host(Some(sni)).map_err(|e| {
                misconfigured(
                    ConfigurationProblemKind::Invalid,
                    SNI_NAME,
                    ENVIRONMENT,
                    format!("`{}` is no host name: {e}", shorten(sni)),
                )
            })?;
            pinned.push((
                endpoint.host_str().unwrap_or_default().to_owned(),
                addresses,
            ));
        }
        let reach = Reach {
            roots: Some(roots),
            proxies: None,
            pinned,
        };
        Ok((endpoint, Http::new(run, reach)?))
    }

    /// What the request says its host is: the proxy's, whatever TLS was told.
    pub(super) fn host_header(&self) -> String {
        authority(&self.url)
    }
}

const TOKEN_PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const SNI_NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> Result<Option<TokenProxy>, Cause> {
        TokenProxy::find(&variables.iter().copied().collect())
    }

    #[test]
    fn half_a_configuration_is_refused() {
        assert!(find(&[]).unwrap().is_none());
        let url = (TOKEN_PROXY, "https://proxy.aks/p");
        assert!(find(&[url]).unwrap().is_some());
        assert!(find(&[(SNI_NAME, "x")]).is_err());
        assert!(find(&[url, (CA_FILE, "/a"), (CA_DATA, "b")]).is_err());
        for wrong in [
            "http://proxy.aks",
            "https://u@proxy.aks",
            "https://proxy.aks/?q",
            "https://proxy.aks/#f",
            "proxy.aks",
        ] {
            assert!(find(&[(TOKEN_PROXY, wrong)]).is_err(), "{wrong}");
        }
    }
}
