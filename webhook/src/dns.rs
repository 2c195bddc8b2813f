//! Names to addresses without glibc, whose resolver wants shared objects that a static binary in an empty root has not.
//!
//! In a cluster the API server's address is usually a number; it is a name in some managed clusters and in kubeconfigs.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    vec,
};

use hickory_resolver::{TokioResolver, config::LookupIpStrategy, net::NetError};
use hyper_util::client::legacy::connect::dns::Name;
use tower::{BoxError, Service};

/// `/etc/hosts`, then the name servers of `/etc/resolv.conf`, read when the first name needs them.
#[derive(Clone, Default)]
pub(crate) struct Resolver(Arc<OnceLock<Result<TokioResolver, NetError>>>);

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = Arc::clone(&self.0);
        Box::pin(async move {
            let resolver = resolver.get_or_init(build).as_ref().map_err(|error| {
                format!("`{name}` cannot be resolved: no name server is known: {error}")
            })?;
            let found = resolver
                .lookup_ip(name.as_str())
                .await
                .map_err(|error| format!("`{name}` cannot be resolved: {error}"))?;
            let addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}

fn build() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_needs_no_name_server() {
        let name: Name = "localhost".parse().unwrap();
        let found: Vec<_> = Resolver::default().call(name).await.unwrap().collect();
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        assert!(!found.is_empty());
    }
}
