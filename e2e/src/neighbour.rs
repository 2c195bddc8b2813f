//! Another webhook of the same cluster, as a service mesh or an image mirror brings one: it changes pods before or after
//! ours, and so the API server invokes ours again.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    control_plane::{ControlPlane, base64},
    proxy::acceptor,
    webhook::{FailurePolicy, configuration},
};

/// A webhook that answers every pod with a patch. It ends when it is dropped.
#[derive(Debug)]
pub struct Neighbour {
    task: JoinHandle<()>,
}

impl Neighbour {
    /// Starts it on the caller's event loop and registers it for the namespaces with these labels. Webhooks are called in
    /// the order of their configurations' names. `patch` makes the operations (RFC 6902) of a pod.
    ///
    /// # Errors
    ///
    /// The API server's, or there is no port.
    pub async fn start(
        plane: &ControlPlane,
        name: &str,
        namespaces: &Value,
        patch: fn(&Value) -> Value,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address: SocketAddr = listener.local_addr()?;
        let acceptor = acceptor(plane)?;
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let service = service_fn(|request| review(request, patch));
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let configuration = configuration(
            name,
            "neighbour.example.com",
            address,
            &plane.authority.certificate,
            namespaces,
            FailurePolicy::Fail,
            "None",
        );
        plane.api()?.create(&configuration).await?;
        Ok(Self { task })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn review(
    request: Request<Incoming>,
    patch: fn(&Value) -> Value,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let operations = patch(&review["request"]["object"]);
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": review["request"]["uid"],
            "allowed": true,
            "patchType": "JSONPatch",
            "patch": base64(&operations.to_string()),
        },
    });
    let mut response = Response::new(Full::from(answer.to_string()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
