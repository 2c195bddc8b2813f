//! Resident memory beside clusters of several sizes: once everything is known, under load, and after everything was
//! listed once more.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{
    Bench, Load,
    cluster::Cluster,
    measure::on_the_generators_processor,
    objects::Kind,
    server::{Memory, Server},
    verify,
};

/// One size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Footprint {
    pub(crate) service_accounts: usize,
    /// Of all kinds.
    pub(crate) objects: usize,
    /// From its start until `/readyz` says yes.
    pub(crate) ready_after: Duration,
    pub(crate) ready: Memory,
    pub(crate) loaded: Memory,
    pub(crate) relisted: Memory,
    pub(crate) compared: u64,
    pub(crate) errors: u64,
}

impl Bench {
    /// Starts a webhook beside a cluster of this size and watches it grow.
    pub(super) fn memory(&self, service_accounts: usize, workloads: bool) -> Result<Footprint> {
        let cluster = Cluster::start(service_accounts, workloads)?;
        let begun = Instant::now();
        let webhook = self.webhook(&cluster)?;
        let ready_after = begun.elapsed();
        let ready = settled(&webhook.server)?;

        let (exchange, _) =
            verify::learn("role", |body| self.ask(&webhook, "/mutate", Some(body)))?;
        let load = Load {
            connections: 64,
            ..self.load(webhook.address, &exchange)?
        };
        let outcome = on_the_generators_processor(&self.processors, || load.run())?;
        let loaded = settled(&webhook.server)?;

        let watched = |cluster: &Cluster, times| {
            let asked = cluster.asked();
            asked.watches >= Kind::ALL.len()
                && Kind::ALL
                    .iter()
                    .all(|kind| asked.lists.get(kind) >= Some(&times))
        };
        wait(|| watched(&cluster, 1)).context("not everything is watched")?;
        cluster.expire_watches();
        wait(|| watched(&cluster, 2)).context("not everything was listed again")?;
        let relisted = settled(&webhook.server)?;
        let (status, _) = self.ask(&webhook, "/readyz", None)?;
        ensure!(status == 200, "after a re-list /readyz gives {status}");
        Ok(Footprint {
            service_accounts,
            objects: cluster.objects(),
            ready_after,
            ready,
            loaded,
            relisted,
            compared: outcome.right,
            errors: outcome.errors,
        })
    }
}

/// Memory once it stays the same, or after some seconds.
fn settled(server: &Server) -> Result<Memory> {
    let limit = Instant::now() + Duration::from_secs(3);
    let mut before = server.memory()?;
    let mut same = 0;
    while same < 3 && Instant::now() < limit {
        thread::sleep(Duration::from_millis(100));
        let now = server.memory()?;
        same = if now.resident_kib == before.resident_kib {
            same + 1
        } else {
            0
        };
        before = now;
    }
    Ok(before)
}

fn wait(condition: impl Fn() -> bool) -> Result<()> {
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition() {
        ensure!(Instant::now() < limit, "not within a minute");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
