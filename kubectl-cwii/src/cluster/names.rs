//! Names to addresses for the connection to the API server.
//!
//! As the exchanges do it, without glibc: a static binary that asks it loads the modules that `/etc/nsswitch.conf` names,
//! which were made for the glibc of the machine, not for the one in the binary.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use cwii_exchange::{ResolveError, Resolver};
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

#[derive(Clone, Default)]
pub(super) struct Names(Resolver);

impl Service<Name> for Names {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            let addresses: Vec<_> = found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}
