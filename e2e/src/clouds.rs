//! The lab's emulated clouds, set up to trust the control plane's issuer and to answer to the clouds' own names.
//!
//! Names and ports are what a pod knows them by: its hosts file leads `sts.googleapis.com` to an address of its own
//! loopback device, where port 443 is forwarded to the lab. So nothing in a pod differs from one that asks the real
//! cloud, save whom its image trusts.

use std::{
    net::TcpStream,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    thread,
};

use anyhow::Result;
use cwii_lab::{Case, Change, Document, Lab, Mechanism, Options};
use serde_json::Value;

use crate::sandbox::{Forward, pump};

/// The emulated clouds of one control plane.
#[derive(Debug)]
pub struct Clouds {
    /// The lab.
    pub lab: Lab,
    /// What the API server publishes: discovery document and keys.
    published: Option<(Value, Value)>,
    sockets: PathBuf,
}

impl Clouds {
    /// Starts them; pods reach them through sockets in `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let clouds = Self {
            lab: Lab::start(Options {
                extra_names: HOSTS.iter().map(|(name, _)| (*name).to_owned()).collect(),
                ..Options::default()
            })?,
            published: None,
            sockets: folder.to_owned(),
        };
        for (name, endpoint) in HOSTS {
            let listener = UnixListener::bind(clouds.socket(name))?;
            let to = endpoint(&clouds.lab).replace("https://localhost:", "127.0.0.1:");
            // It ends with the process, as the lab does.
            thread::spawn(move || {
                for unix in listener.incoming().flatten() {
                    if let Ok(tcp) = TcpStream::connect(&to) {
                        let _ = pump(tcp, unix);
                    }
                }
            });
        }
        Ok(clouds)
    }

    /// The issuer of the control plane's tokens.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("{}/{CLUSTER}", self.lab.endpoints().issuer)
    }

    /// A workload of the control plane's cluster that everything is right about: roles, pools and credentials for it
    /// exist, and name its ServiceAccount.
    #[must_use]
    pub fn case(
        &self,
        name: &'static str,
        mechanism: Mechanism,
        namespace: &'static str,
        service_account: &'static str,
    ) -> Case {
        let case = Case::new(name, mechanism)
            .in_cluster(CLUSTER)
            .of(namespace, service_account);
        match &self.published {
            None => case,
            Some((discovery, keys)) => case
                .change(Change::Write(Document::Discovery, discovery.clone()))
                .change(Change::Write(Document::Jwks, keys.clone())),
        }
    }

    /// Takes over what the API server publishes, as an operator uploads it to a bucket.
    pub(crate) fn publish(&mut self, discovery: Value, keys: Value) {
        self.published = Some((discovery, keys));
    }

    /// What a pod's ports lead to.
    pub(crate) fn forwards(&self) -> Vec<Forward> {
        HOSTS
            .iter()
            .zip(1..)
            .map(|((name, _), n)| Forward {
                port: format!("{}:443", address(n)),
                socket: self.socket(name),
            })
            .collect()
    }

    /// A pod's hosts file, as the kubelet writes it, with the clouds in the place of a name server.
    pub(crate) fn hosts(&self) -> String {
        let mut text = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n".to_owned();
        for ((name, _), n) in HOSTS.iter().zip(1..) {
            text.push_str(&format!("{}\t{name}\n", address(n)));
        }
        text
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.sockets.join(format!("{name}.sock"))
    }
}

fn address(number: u8) -> String {
    format!("127.0.1.{number}")
}

type Endpoint = fn(&Lab) -> &str;

/// The clouds' own names, and which of the lab's services answers to them.
const HOSTS: [(&str, Endpoint); 5] = [
    ("sts.amazonaws.com", |lab| &lab.endpoints().sts),
    ("sts.us-east-1.amazonaws.com", |lab| &lab.endpoints().sts),
    ("sts.googleapis.com", |lab| &lab.endpoints().google_sts),
    ("iamcredentials.googleapis.com", |lab| {
        &lab.endpoints().google_iam
    }),
    ("login.microsoftonline.com", |lab| &lab.endpoints().entra),
];

const CLUSTER: &str = "e2e";
