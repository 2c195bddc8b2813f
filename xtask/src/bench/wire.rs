//! Connections and round trips of each mechanism, as the lab counts them, and what they cost on a distant link.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use cwii_lab::{FaultKind, Lab, Mechanism, Service};
use serde::Serialize;

use super::measure::{self, Invocation, Series};

/// What a mechanism needs at least.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Floor {
    /// Connections.
    pub(crate) connections: usize,
    /// Round trips over all connections: TCP and TLS 1.3 one each, every request one.
    pub(crate) round_trips: u32,
    /// Those that wait for one another.
    pub(crate) in_sequence: u32,
}

/// What the agent did with one mechanism.
#[derive(Debug, Serialize)]
pub(crate) struct Wire {
    pub(crate) mechanism: &'static str,
    pub(crate) connections: usize,
    pub(crate) round_trips: u32,
    pub(crate) floor: Floor,
    /// Over a link with [`ROUND_TRIP`].
    pub(crate) distant: Series,
    /// `floor.in_sequence` times [`ROUND_TRIP`], milliseconds.
    pub(crate) distant_floor_ms: f64,
    /// How far the median is above it, percent.
    pub(crate) above_percent: f64,
}

impl Wire {
    /// Runs the agent near, to count, and far, to time.
    pub(crate) fn observe(
        lab: &Lab,
        mechanism: Mechanism,
        agent: &Invocation,
        runs: u32,
    ) -> Result<Self> {
        // The first exchange makes the emulated cloud fetch keys, and everything load.
        measure::once(agent)?;
        let before = lab.connection_details().len();
        measure::once(agent)?;
        let mut seen = lab.connection_details().split_off(before);
        seen.retain(|c| !c.internal);
        let connections = seen.len();
        let round_trips = seen.iter().map(|c| c.round_trips).sum();

        // Not the issuer: fetching its keys is between the cloud and it.
        for service in Service::ALL.into_iter().filter(|s| *s != Service::Issuer) {
            lab.set_fault(service, FaultKind::RoundTrip(ROUND_TRIP));
        }
        let samples: Result<Vec<_>> = (0..runs).map(|_| measure::once(agent)).collect();
        lab.clear_faults();
        let Some(distant) = Series::of(&samples?) else {
            bail!("no runs, nothing to report");
        };

        let floor = floor(mechanism);
        let distant_floor_ms = (ROUND_TRIP * floor.in_sequence).as_secs_f64() * 1000.0;
        Ok(Self {
            mechanism: name(mechanism),
            connections,
            round_trips,
            floor,
            above_percent: (distant.median_ms / distant_floor_ms - 1.0) * 100.0,
            distant_floor_ms,
            distant,
        })
    }

    /// Fails unless the counts are the floor's.
    pub(crate) fn check(&self) -> Result<()> {
        let Floor {
            connections,
            round_trips,
            ..
        } = self.floor;
        ensure!(
            (self.connections, self.round_trips) == (connections, round_trips),
            "{}: {} connections and {} round trips, expected {connections} and {round_trips}",
            self.mechanism,
            self.connections,
            self.round_trips,
        );
        Ok(())
    }
}

/// One connection per host, no request but those that are needed; for Pod Identity and the metadata server those that the
/// official clients make.
fn floor(mechanism: Mechanism) -> Floor {
    let (connections, round_trips, in_sequence) = match mechanism {
        // TCP, TLS, assume, identity.
        Mechanism::AwsWebIdentity => (1, 4, 4),
        // Plain HTTP to the node's agent, TCP and credentials, while TCP and TLS to STS are opened; then the identity.
        Mechanism::AwsPodIdentity => (2, 5, 3),
        // TCP, TLS, token.
        Mechanism::GoogleDirect | Mechanism::EntraFederated => (1, 3, 3),
        // Twice TCP, TLS, token; the second connection is opened while the first token is awaited.
        Mechanism::GoogleImpersonated => (2, 6, 4),
        // Plain HTTP to the node's server: TCP, is it one, project, account, token.
        Mechanism::GkeMetadata => (1, 5, 5),
    };
    Floor {
        connections,
        round_trips,
        in_sequence,
    }
}

/// What people call it.
pub(crate) fn name(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::AwsWebIdentity => "AWS web identity",
        Mechanism::AwsPodIdentity => "EKS Pod Identity",
        Mechanism::GoogleDirect => "Google direct",
        Mechanism::GoogleImpersonated => "Google impersonated",
        Mechanism::GkeMetadata => "GKE metadata server",
        Mechanism::EntraFederated => "Entra",
    }
}

/// Added to every round trip: a cloud on the other side of an ocean, or a proxy in between.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(50);
