//! What can go wrong with a service on purpose, set and cleared while the lab runs.
//!
//! A fault belongs to a service as a whole. What only one workload should meet is a matter of documents instead, so
//! that workloads do not disturb each other.

use std::{fmt, time::Duration};

use jiff::SignedDuration;

/// A server of the lab.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Service {
    /// Discovery documents and JWKS of all clusters.
    Issuer,
    /// AWS STS.
    AwsSts,
    /// The EKS Pod Identity agent.
    PodIdentity,
    /// Google STS.
    GoogleSts,
    /// Google IAM credentials.
    GoogleIam,
    /// GKE metadata servers, all of them.
    GkeMetadata,
    /// Entra.
    Entra,
    /// Where redirects lead: it answers everything with 200, so that a client that follows is caught, not stopped.
    Trap,
}

impl Service {
    /// All services.
    pub const ALL: [Self; 8] = [
        Self::Issuer,
        Self::AwsSts,
        Self::PodIdentity,
        Self::GoogleSts,
        Self::GoogleIam,
        Self::GkeMetadata,
        Self::Entra,
        Self::Trap,
    ];

    /// Stable kebab-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::AwsSts => "aws-sts",
            Self::PodIdentity => "pod-identity",
            Self::GoogleSts => "google-sts",
            Self::GoogleIam => "google-iam",
            Self::GkeMetadata => "gke-metadata",
            Self::Entra => "entra",
            Self::Trap => "trap",
        }
    }

    /// Whether it speaks TLS. The link-local services of the real clouds do not.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        !matches!(self, Self::PodIdentity | Self::GkeMetadata)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fault, and how often it strikes.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Strikes the first N times, then the service works again: requests for what concerns a request, connections
    /// for what concerns a connection. None: until it is cleared.
    pub first: Option<u32>,
}

impl Fault {
    /// Strikes until it is cleared.
    #[must_use]
    pub const fn always(kind: FaultKind) -> Self {
        Self { kind, first: None }
    }

    /// Strikes `n` times.
    #[must_use]
    pub const fn first(n: u32, kind: FaultKind) -> Self {
        Self {
            kind,
            first: Some(n),
        }
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self::always(kind)
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Every answer waits this long. Request.
    Latency(Duration),
    /// A link with this round-trip time. The kernel finishes TCP's handshake on loopback at once, so the server
    /// begins to read one round trip after it accepted; from then on everything that it sends arrives one round trip
    /// later. To a client that waits for answers, this is what half a round trip each way looks like. Connection.
    RoundTrip(Duration),
    /// An error in the service's own shape: 429, 500, 503, … Request.
    Status {
        /// HTTP status.
        status: u16,
        /// Value of `Retry-After`, seconds.
        retry_after: Option<u64>,
    },
    /// The connection is accepted and nothing else happens: no TLS, no answer. Connection.
    HangConnect,
    /// The request is read, no answer comes. Request.
    Hang,
    /// The first half of the answer's body comes, then nothing. Request.
    HangBody,
    /// The request is read, then the connection is reset (RST). Request.
    Reset,
    /// The first half of the answer's body comes, then the connection is closed. Request.
    Truncated,
    /// A success whose body has this many bytes. Request.
    Oversized(usize),
    /// Bytes that are not HTTP. Request.
    Garbage,
    /// HTTP 200 with a body that is no document of the service. Request.
    WrongContent,
    /// HTTP 200 with a page of HTML, as captive portals and proxies answer. Request.
    HtmlPage,
    /// HTTP 502 with a page of HTML, as gateways answer. Request.
    HtmlError,
    /// A redirect with this status to [`Service::Trap`]. Request.
    Redirect(u16),
    /// The cloud verifies with the keys that it fetched first, whatever the issuer publishes now. Request.
    StaleJwks,
    /// The server shows a certificate that is wrong. Connection, TLS services only.
    Certificate(Certificate),
    /// The server's clock is ahead by this much (negative: behind), in its `Date` and in its verdicts. Request.
    ClockShift(SignedDuration),
    /// This answer, whatever was asked. Request.
    Answer(ForcedAnswer),
}

/// How a certificate can be wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Certificate {
    /// Signed by an authority that nobody trusts.
    Untrusted,
    /// Expired years ago.
    Expired,
    /// Issued for another name.
    OtherName,
}

/// An answer that stands for a decision which no document expresses: a service control policy, a tenant's policy,
/// throttling. The service wraps it in its own shape.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ForcedAnswer {
    /// HTTP status.
    pub status: u16,
    /// The provider's code: `AccessDenied`, `invalid_grant`, `PERMISSION_DENIED`, `700223`.
    pub code: String,
    /// The provider's text.
    pub message: String,
    /// What the code needs beside it: for Entra the OAuth error, for Google APIs the `reason`.
    pub detail: Option<String>,
}

impl FaultKind {
    /// Whether it strikes when a connection begins, before any request.
    #[must_use]
    pub const fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::RoundTrip(_) | Self::HangConnect | Self::Certificate(_)
        )
    }
}

/// The faults of one service that are in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a fault; one of the same kind is replaced.
    pub(crate) fn set(&mut self, fault: Fault) {
        let kind = std::mem::discriminant(&fault.kind);
        self.0.retain(|f| std::mem::discriminant(&f.kind) != kind);
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The faults that strike now, and one strike less for each.
    pub(crate) fn strike(&mut self, of_connection: bool) -> Vec<FaultKind> {
        let mut struck = Vec::new();
        self.0.retain_mut(|fault| {
            if fault.kind.is_of_connection() != of_connection {
                return true;
            }
            match &mut fault.first {
                None => struck.push(fault.kind.clone()),
                Some(0) => return false,
                Some(left) => {
                    *left -= 1;
                    struck.push(fault.kind.clone());
                }
            }
            true
        });
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_two_strikes_is_gone_at_the_third_request() {
        let mut faults = Faults::default();
        faults.set(Fault::first(2, FaultKind::Reset));
        assert_eq!(faults.strike(false), [FaultKind::Reset]);
        assert_eq!(faults.strike(true), []);
        assert_eq!(faults.strike(false), [FaultKind::Reset]);
        assert_eq!(faults.strike(false), []);
    }

    #[test]
    fn a_second_fault_of_a_kind_replaces_the_first() {
        let mut faults = Faults::default();
        faults.set(FaultKind::Redirect(302).into());
        faults.set(FaultKind::Redirect(307).into());
        faults.set(FaultKind::Hang.into());
        assert_eq!(
            faults.strike(false),
            [FaultKind::Redirect(307), FaultKind::Hang]
        );
    }
}
