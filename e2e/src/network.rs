//! The cluster's network: pods with addresses of their own, Services that lead to those that are ready, and the API
//! server's way to both.
//!
//! Pods have network namespaces of their own ([`crate::sandbox`]), with Unix sockets for ends. What stands for kube-proxy
//! and the routes between nodes is one HTTP proxy before the API server: an egress selector has it ask there for every
//! connection into the cluster (`EgressSelectorConfiguration`, `cluster`: webhooks behind a Service, proxied pods), as
//! clusters do whose control plane stands apart from their nodes. The proxy leads a Service's address to the endpoints
//! that the real endpoint slice controller lists. It reads them twice a second, so it learns late that a pod came or
//! went, as nodes do; and it leaves alone the connections that it made before.
//!
//! Which endpoints: those that are ready; where there are none, those that end but still serve, as kube-proxy does
//! (KEP-1669).

use std::{
    collections::HashMap,
    fs,
    os::unix::net::UnixListener as BlockingListener,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpStream, UnixListener, UnixStream},
    runtime::Builder,
};

use crate::{
    api::{Api, Object},
    sandbox::{Forward, Wiring},
};

/// The network of one control plane.
#[derive(Debug)]
pub(crate) struct Network {
    folder: PathBuf,
    next: AtomicU16,
}

impl Network {
    /// Makes one, with its sockets in `folder`.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let folder = folder.join("network");
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            next: AtomicU16::new(1),
        })
    }

    /// The file that has the API server ask the proxy, for `--egress-selector-config-file`.
    pub(crate) fn egress_configuration(&self) -> Result<PathBuf> {
        let path = self.folder.join("egress.json");
        // Another name, `controlplane`, is for webhooks by URL; what is not named is reached directly.
        let configuration = json!({
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{
                "name": "cluster",
                "connection": {
                    "proxyProtocol": "HTTPConnect",
                    "transport": { "uds": { "udsName": self.proxy() } },
                },
            }],
        });
        fs::write(&path, configuration.to_string())?;
        Ok(path)
    }

    /// Starts what leads into the cluster and, for pods, to the API server. It ends with the process.
    pub(crate) fn start(
        &self,
        api_server: &str,
        api: impl FnOnce() -> Result<Api> + Send + 'static,
    ) -> Result<()> {
        let listen = |path: PathBuf| -> Result<BlockingListener> {
            let listener = BlockingListener::bind(&path)
                .with_context(|| format!("socket {}", path.display()))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let (proxy, out) = (listen(self.proxy())?, listen(self.api_server())?);
        let api_server = api_server.trim_start_matches("https://").to_owned();
        let folder = self.folder.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // A thread of its own: the control plane outlives the event loop of the test that needed it first.
        thread::spawn(move || {
            runtime.block_on(async move {
                let (Ok(proxy), Ok(out), Ok(api)) = (
                    UnixListener::from_std(proxy),
                    UnixListener::from_std(out),
                    api(),
                ) else {
                    // Nobody is let in or out, and the tests say so.
                    return;
                };
                let routes = Arc::new(Routes {
                    folder,
                    services: Mutex::default(),
                    turn: AtomicUsize::new(0),
                });
                tokio::join!(
                    routes.learn(&api),
                    into_the_cluster(proxy, &routes),
                    to_the_api_server(out, &api_server),
                );
            });
        });
        Ok(())
    }

    /// An address for a pod.
    pub(crate) fn address(&self) -> String {
        let [high, low] = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        format!("10.244.{high}.{low}")
    }

    /// What a pod's sandbox needs to be at an address, to be reached at ports, and to reach the API server.
    pub(crate) fn wiring(&self, address: &str, ports: &[u16]) -> Wiring {
        Wiring {
            addresses: vec![address.to_owned(), API_SERVER.to_owned()],
            outward: vec![Forward {
                port: format!("{API_SERVER}:443"),
                socket: self.api_server(),
            }],
            inward: ports
                .iter()
                .map(|port| Forward {
                    port: format!("{address}:{port}"),
                    socket: self.pod(address, *port),
                })
                .collect(),
        }
    }

    /// Where a port of a pod is reached.
    pub(crate) fn pod(&self, address: &str, port: u16) -> PathBuf {
        pod_socket(&self.folder, address, port)
    }

    /// Where the API server asks the node for logs.
    pub(crate) fn kubelet(&self) -> PathBuf {
        self.pod(NODE_ADDRESS, KUBELET_PORT)
    }

    fn proxy(&self) -> PathBuf {
        self.folder.join("proxy.sock")
    }

    fn api_server(&self) -> PathBuf {
        self.folder.join("api-server.sock")
    }
}

fn pod_socket(folder: &Path, address: &str, port: impl std::fmt::Display) -> PathBuf {
    folder.join(format!("{address}:{port}"))
}

/// What leads where.
struct Routes {
    folder: PathBuf,
    /// `10.0.0.7:443` and the sockets of its endpoints.
    services: Mutex<HashMap<String, Vec<PathBuf>>>,
    turn: AtomicUsize,
}

impl Routes {
    async fn learn(&self, api: &Api) {
        let services = Object::new("v1", "Service", "", "");
        let slices = Object::new("discovery.k8s.io/v1", "EndpointSlice", "", "");
        loop {
            // The API server may not be up yet; what was known stays.
            if let (Ok(services), Ok(slices)) =
                tokio::join!(api.list(&services, ""), api.list(&slices, ""))
            {
                let routes = services
                    .iter()
                    .flat_map(|service| self.routes_of(service, &slices))
                    .collect();
                *self.services.lock().unwrap_or_else(PoisonError::into_inner) = routes;
            }
            tokio::time::sleep(LEARNS_EVERY).await;
        }
    }

    fn routes_of(&self, service: &Value, slices: &[Value]) -> Vec<(String, Vec<PathBuf>)> {
        let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
        let mine = |slice: &&Value| {
            slice["metadata"]["namespace"] == service["metadata"]["namespace"]
                && slice["metadata"]["labels"]["kubernetes.io/service-name"]
                    == service["metadata"]["name"]
        };
        let slices: Vec<&Value> = slices.iter().filter(mine).collect();
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        ports
            .map(|port| {
                let to = |wanted: fn(&Value) -> bool| -> Vec<PathBuf> {
                    slices
                        .iter()
                        .flat_map(|slice| self.endpoints(slice, &port["name"], wanted))
                        .collect()
                };
                let mut endpoints = to(is_ready);
                if endpoints.is_empty() {
                    endpoints = to(still_serves);
                }
                (format!("{address}:{}", port["port"]), endpoints)
            })
            .collect()
    }

    fn endpoints(
        &self,
        slice: &Value,
        port_name: &Value,
        wanted: fn(&Value) -> bool,
    ) -> Vec<PathBuf> {
        let named = |port: &&Value| {
            port["name"].as_str().unwrap_or_default() == port_name.as_str().unwrap_or_default()
        };
        let ports = slice["ports"].as_array().into_iter().flatten();
        let Some(port) = ports.clone().find(named) else {
            return Vec::new();
        };
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        endpoints
            .filter(|endpoint| wanted(&endpoint["conditions"]))
            .filter_map(|endpoint| endpoint["addresses"][0].as_str())
            .map(|address| pod_socket(&self.folder, address, &port["port"]))
            .collect()
    }

    /// The socket to connect to for an address: a Service's, one endpoint after the other, or a pod's.
    fn to(&self, address: &str) -> Option<PathBuf> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        match services.get(address) {
            Some(endpoints) if endpoints.is_empty() => None,
            Some(endpoints) => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                Some(endpoints[turn % endpoints.len()].clone())
            }
            None => Some(self.folder.join(address)).filter(|socket| socket.exists()),
        }
    }
}

fn is_ready(conditions: &Value) -> bool {
    conditions["ready"].as_bool().unwrap_or(true)
}

fn still_serves(conditions: &Value) -> bool {
    conditions["serving"].as_bool().unwrap_or(true)
        && conditions["terminating"].as_bool().unwrap_or(false)
}

async fn into_the_cluster(listener: UnixListener, routes: &Arc<Routes>) {
    while let Ok((client, _)) = listener.accept().await {
        let routes = Arc::clone(routes);
        // A connection that fails is the client's to notice.
        tokio::spawn(async move { tunnel(client, &routes).await });
    }
}

/// `CONNECT 10.0.0.7:443 HTTP/1.1`, and bytes in both directions (RFC 9110, section 9.3.6).
async fn tunnel(mut client: UnixStream, routes: &Routes) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 4096 {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let mut words = head.split(' ');
    let address = match (words.next(), words.next()) {
        (Some("CONNECT"), Some(address)) => address,
        _ => return Ok(client.write_all(b"HTTP/1.1 405 No\r\n\r\n").await?),
    };
    let connected = match routes.to(address) {
        Some(socket) => UnixStream::connect(socket).await.ok(),
        None => None,
    };
    let Some(mut server) = connected else {
        return Ok(client
            .write_all(b"HTTP/1.1 503 No endpoint\r\n\r\n")
            .await?);
    };
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn to_the_api_server(listener: UnixListener, address: &str) {
    while let Ok((mut pod, _)) = listener.accept().await {
        let address = address.to_owned();
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(address).await {
                let _ = server.set_nodelay(true);
                let _ = copy_bidirectional(&mut pod, &mut server).await;
            }
        });
    }
}

/// Where pods find the API server: the first address of the range of Services.
pub(crate) const API_SERVER: &str = "10.0.0.1";
/// The node's address.
pub(crate) const NODE_ADDRESS: &str = "10.250.0.1";
/// Its kubelet's port.
pub(crate) const KUBELET_PORT: u16 = 10250;
const LEARNS_EVERY: Duration = Duration::from_millis(500);
