//! The webhook under load: the static binary as its own process on a processor of its own, asked over TLS by an open-loop
//! generator that compares every answer, beside a server that does nothing but echo bytes.
//!
//! Times depend on the machine, so they are printed next to what is aimed at, never asserted. Answers, errors, sizes and
//! memory do not, and `--check` asserts them.

mod client;
mod cluster;
mod echo;
mod generator;
mod http;
mod measure;
mod memory;
mod objects;
mod report;
mod review;
mod server;
mod stream;
mod tls;
mod verify;

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;
use serde_json::Value;
use tempfile::TempDir;

use crate::{process, webhook};
use cluster::Cluster;
use generator::{Arrivals, Load};
use http::{Exchange, Version};
use measure::{Measurement, Pace, on_the_generators_processor};
use report::{PatchSize, Report};
use server::{Limit, Others, Processors, Server};
use tls::Certificate;

pub(crate) use echo::serve as echo_server;

/// How to run it.
pub(crate) struct Options {
    /// Of each reported run.
    pub(crate) seconds: u32,
    /// Fail on what is no time.
    pub(crate) check: bool,
    /// Fewer cases, shorter.
    pub(crate) quick: bool,
    /// What is measured, if not what this checkout builds.
    pub(crate) webhook: Option<PathBuf>,
    /// Where the figures go as JSON.
    pub(crate) json: Option<PathBuf>,
}

/// `cargo xtask load`.
pub(crate) fn run(options: &Options) -> Result<()> {
    if cfg!(debug_assertions) {
        // The generator has one processor, and must not be what is measured.
        return process::again_with_optimisation();
    }
    server::end_servers_on_signals()?;
    let bench = Bench {
        binary: match &options.webhook {
            Some(path) => path.clone(),
            None => webhook::build()?,
        },
        processors: Processors::split()?,
        certificate: Certificate::generate()?,
        folder: tempfile::tempdir()?,
        pace: if options.quick {
            Pace {
                probe: Duration::from_millis(300),
                seconds: Duration::from_secs(1),
                shares: &[0.9, 0.75, 0.5],
            }
        } else {
            Pace {
                probe: Duration::from_secs(1),
                seconds: Duration::from_secs(options.seconds.into()),
                shares: &[0.95, 0.85, 0.75, 0.6, 0.4],
            }
        },
        quick: options.quick,
    };
    let report = bench.run()?;
    report.print();
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| path.display().to_string())?;
    }
    if options.check {
        report.check()?;
    }
    Ok(())
}

struct Bench {
    binary: PathBuf,
    processors: Processors,
    certificate: Certificate,
    folder: TempDir,
    pace: Pace,
    quick: bool,
}

impl Bench {
    fn run(&self) -> Result<Report> {
        let begun = Instant::now();
        let others = Others::watch()?;
        let cluster = Cluster::start(SERVICE_ACCOUNTS, true)?;
        let mut webhook = self.webhook(&cluster)?;
        let ask = |body: &[u8]| self.ask(&webhook, "/mutate", Some(body));
        let learn = |service_account| {
            verify::learn(service_account, ask).with_context(|| format!("pod of {service_account}"))
        };
        let (plain, _) = learn("nothing")?;
        let (role, role_sizes) = learn("role")?;
        let mut patches = vec![PatchSize::new("role ARN", role_sizes)];
        for (case, service_account) in [
            ("role ARN, region", "region"),
            ("role ARN, enforcing verify", "verify"),
        ] {
            patches.push(PatchSize::new(case, learn(service_account)?.1));
        }
        let mut echo = self.echo(&role)?;
        let asked_before = cluster.asked();

        let system_calls = [
            self.system_calls(&echo.server, &self.load(echo.address, &role)?)?,
            self.system_calls(&webhook.server, &self.load(webhook.address, &role)?)?,
        ];
        let kept = self.kept_connections(&mut webhook, &mut echo, &plain, &role)?;
        let fresh = self.fresh_connections(&mut webhook, &mut echo, &role)?;
        let steady_reads = cluster.asked().gets - asked_before.gets;
        drop(echo);
        let limited = self.limited(webhook, &role)?;
        drop(cluster);

        let sizes: &[(usize, bool)] = if self.quick {
            &[(1000, true), (50_000, true)]
        } else {
            &[
                (1000, true),
                (10_000, true),
                (50_000, true),
                (50_000, false),
            ]
        };
        let memory = sizes
            .iter()
            .map(|(service_accounts, workloads)| {
                self.memory(*service_accounts, *workloads)
                    .with_context(|| format!("{service_accounts} ServiceAccounts"))
            })
            .collect::<Result<_>>()?;
        Ok(Report {
            pinned: self.processors.are_split(),
            pace: self.pace,
            kept,
            fresh,
            limited,
            memory,
            patches,
            system_calls,
            steady_reads,
            binary_bytes: fs::metadata(&self.binary)?.len(),
            others: others.processors()?,
            took: begun.elapsed(),
        })
    }

    /// Connections that stay open.
    fn kept_connections(
        &self,
        webhook: &mut Listening,
        echo: &mut Listening,
        plain: &Exchange,
        role: &Exchange,
    ) -> Result<Vec<Measurement>> {
        let all: &[usize] = if self.quick { &[16] } else { &[1, 16, 64] };
        let mut measurements = Vec::new();
        for connections in all {
            let base = Load {
                connections: *connections,
                ..self.load(echo.address, role)?
            };
            measurements.push(self.take(ECHO, &base, &mut echo.server)?);
        }
        for connections in [1, 16, 64] {
            let base = Load {
                connections,
                ..self.load(webhook.address, role)?
            };
            measurements.push(self.take(WEBHOOK, &base, &mut webhook.server)?);
        }
        for connections in all {
            let base = Load {
                connections: *connections,
                exchange: plain,
                ..self.load(webhook.address, role)?
            };
            measurements.push(self.take(NOTHING, &base, &mut webhook.server)?);
        }
        for streams in all {
            let base = Load {
                version: Version::Two,
                tls: self.certificate.client(Version::Two)?,
                streams: *streams,
                ..self.load(webhook.address, role)?
            };
            measurements.push(self.take(HTTP_2, &base, &mut webhook.server)?);
        }
        Ok(measurements)
    }

    /// A new TLS connection for every request.
    fn fresh_connections(
        &self,
        webhook: &mut Listening,
        echo: &mut Listening,
        role: &Exchange,
    ) -> Result<Vec<Measurement>> {
        let mut measurements = Vec::new();
        for (name, listening) in [(ECHO, echo), (WEBHOOK, webhook)] {
            let base = Load {
                connections: 16,
                fresh: true,
                ..self.load(listening.address, role)?
            };
            let case = format!("{name}, full handshake");
            measurements.push(self.take(&case, &base, &mut listening.server)?);
        }
        Ok(measurements)
    }

    /// A tenth of a processor.
    fn limited(
        &self,
        mut webhook: Listening,
        role: &Exchange,
    ) -> Result<Result<Vec<Measurement>, String>> {
        let limit = match Limit::set(&webhook.server, MILLICORES) {
            Ok(limit) => limit,
            Err(error) => return Ok(Err(format!("{error:#}"))),
        };
        let base = Load {
            connections: 16,
            ..self.load(webhook.address, role)?
        };
        let bounds: &[Duration] = if self.quick {
            &[BOUND]
        } else {
            &[BOUND, LIMITED_BOUND]
        };
        let measurements = bounds
            .iter()
            .map(|bound| {
                Measurement::take(
                    WEBHOOK,
                    &base,
                    &mut webhook.server,
                    &self.processors,
                    self.pace,
                    *bound,
                )
            })
            .collect::<Result<_>>()?;
        drop(webhook);
        drop(limit);
        Ok(Ok(measurements))
    }

    fn take(&self, case: &str, load: &Load<'_>, server: &mut Server) -> Result<Measurement> {
        Measurement::take(case, load, server, &self.processors, self.pace, BOUND)
            .with_context(|| format!("{case}, {} connections", load.connections))
    }

    fn system_calls(&self, server: &Server, load: &Load<'_>) -> Result<Option<f64>> {
        server.system_calls(|| {
            let load = Load {
                duration: Duration::from_millis(300),
                warm_up: Duration::ZERO,
                ..load.clone()
            };
            Ok(on_the_generators_processor(&self.processors, || load.run())?.right)
        })
    }

    /// One connection, in a closed loop.
    fn load<'a>(&self, address: SocketAddr, exchange: &'a Exchange) -> Result<Load<'a>> {
        Ok(Load {
            address,
            tls: self.certificate.client(Version::One)?,
            exchange,
            version: Version::One,
            connections: 1,
            streams: 1,
            fresh: false,
            arrivals: Arrivals::Saturate,
            spin: self.processors.are_split(),
            warm_up: self.pace.probe / 5,
            duration: self.pace.probe,
        })
    }

    /// Starts the webhook beside a cluster and waits until it is ready.
    fn webhook(&self, cluster: &Cluster) -> Result<Listening> {
        let write = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            fs::write(&path, text).map(|()| path)
        };
        let certificate = write("tls.crt", &self.certificate.certificate_pem)?;
        let key = write("tls.key", &self.certificate.key_pem)?;
        let kubeconfig = self.folder.path().join("kubeconfig");
        cluster.write_kubeconfig(&kubeconfig)?;
        let mut command = Command::new(&self.binary);
        // Its flags are variables as well.
        command.env_clear();
        command.args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
        for (flag, path) in [
            ("--tls-cert-file", &certificate),
            ("--tls-key-file", &key),
            ("--kubeconfig", &kubeconfig),
        ] {
            command.arg(flag).arg(path);
        }
        let mut server = Server::start(&mut command, &self.processors)?;
        let address = server.wait_for(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["https"].as_str()?.parse().ok()
        })?;
        let mut listening = Listening { server, address };
        let limit = Instant::now() + READY;
        loop {
            listening.server.ensure_alive()?;
            if matches!(self.ask(&listening, "/readyz", None), Ok((200, _))) {
                return Ok(listening);
            }
            ensure!(Instant::now() < limit, "the webhook does not become ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the echo server for an exchange.
    fn echo(&self, exchange: &Exchange) -> Result<Listening> {
        let script = echo::Script {
            certificate_pem: self.certificate.certificate_pem.clone(),
            key_pem: self.certificate.key_pem.clone(),
            uid_at: exchange.uid_at,
            answer: exchange.answer.clone(),
        };
        let path = self.folder.path().join("echo.json");
        fs::write(&path, serde_json::to_vec(&script)?)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("echo-server").arg(&path);
        let mut server = Server::start(&mut command, &self.processors)?;
        let address = server.wait_for(|line| line.parse().ok())?;
        Ok(Listening { server, address })
    }

    fn ask(
        &self,
        listening: &Listening,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<(u16, Vec<u8>)> {
        let tls: Arc<ClientConfig> = self.certificate.client(Version::One)?;
        client::ask(listening.address, Some(&tls), path, body)
    }
}

/// A server and where it listens.
struct Listening {
    server: Server,
    address: SocketAddr,
}

/// Of the cluster beside which rates are measured.
const SERVICE_ACCOUNTS: usize = 1000;
const READY: Duration = Duration::from_secs(60);
/// Within which 99 of 100 answers come.
const BOUND: Duration = Duration::from_millis(3);
/// The same for a server that is stopped for most of every 100 ms.
const LIMITED_BOUND: Duration = Duration::from_millis(100);
const MILLICORES: u64 = 100;

const ECHO: &str = "echo";
const WEBHOOK: &str = "webhook";
const NOTHING: &str = "webhook, pod asks for nothing";
const HTTP_2: &str = "webhook, HTTP/2";
