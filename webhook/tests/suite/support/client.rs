//! Clients that speak to the webhook as an API server does.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// One connection.
pub(crate) enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

/// Which protocol to ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Alpn {
    Http1,
    Http2,
}

/// A certificate and its key, PEM.
pub(crate) type Identity = (String, String);

pub(crate) async fn tls(
    address: SocketAddr,
    ca: &str,
    alpn: Alpn,
    identity: Option<&Identity>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![match alpn {
        Alpn::Http1 => b"http/1.1".to_vec(),
        Alpn::Http2 => b"h2".to_vec(),
    }];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, ca: &str, alpn: Alpn) -> Self {
        Self::over(tls(address, ca, alpn, None).await.unwrap(), alpn).await
    }

    /// Without TLS.
    pub(crate) async fn plain(address: SocketAddr) -> Self {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    pub(crate) async fn over(stream: TlsStream<TcpStream>, alpn: Alpn) -> Self {
        let io = TokioIo::new(stream);
        match alpn {
            Alpn::Http1 => {
                let (sender, connection) = http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Alpn::Http2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.unwrap();
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        }
    }

    pub(crate) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> hyper::Result<Reply> {
        let response = match self {
            Self::Http1(sender) => {
                request
                    .headers_mut()
                    .insert(header::HOST, "localhost".parse().unwrap());
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                let path = request.uri().path_and_query().unwrap().clone();
                *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
                *request.version_mut() = Version::HTTP_2;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (parts, body) = response.into_parts();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    pub(crate) async fn post(&mut self, review: &Value) -> Reply {
        self.send(post(review.to_string())).await.unwrap()
    }

    /// The `response` of an answered review.
    pub(crate) async fn admit(&mut self, review: &Value) -> Value {
        let reply = self.post(review).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let mut answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
        answer["response"].take()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        let request = Request::get(path).body(Full::default()).unwrap();
        self.send(request).await.unwrap()
    }
}

pub(crate) fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/mutate?timeout=10s")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
