//! What an error of the HTTP stack means: one kind, and the text of the layer that failed.

use std::{
    error::Error,
    fmt,
    io::{self, ErrorKind},
};

use cwii_checks::facts::{TransportProblem, TransportProblemKind as Kind};

use super::{Target, connect::ConnectTimeout, dns::ResolveError};

/// A request without an answer, and whether another try may have one.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) problem: TransportProblem,
    pub(crate) transient: bool,
}

impl Trouble {
    /// Trouble that no other kind describes, and that will be the same next time.
    pub(crate) fn other(host: &str, detail: impl Into<String>) -> Self {
        Self {
            problem: TransportProblem {
                host: host.into(),
                kind: Kind::Other,
                detail: detail.into(),
                proxy: None,
            },
            transient: false,
        }
    }

    /// An answer that is not what the protocol says.
    pub(crate) fn garbage(host: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            problem: TransportProblem {
                host: host.into(),
                kind: Kind::Garbage,
                detail: detail.into(),
                proxy: None,
            },
            transient: false,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem.host, self.problem.detail)
    }
}

impl Error for Trouble {}

/// Reads the chain of causes from the outside in; the first layer that we know decides.
pub(super) fn classify(error: &reqwest::Error, target: &Target) -> Trouble {
    let chain = chain(error);
    let (mut kind, mut transient) = chain
        .iter()
        .find_map(|layer| known(*layer))
        .unwrap_or((Kind::Other, error.is_connect()));
    // While a tunnel is opened only the proxy can refuse, hang or break; TLS is spoken with the host behind it.
    if target.proxy.is_some()
        && error.is_connect()
        && !matches!(kind, Kind::Certificate | Kind::Tls)
    {
        transient = transient
            && !chain
                .iter()
                .any(|l| l.to_string().contains("authorization"));
        kind = Kind::Proxy;
    }
    let mut texts: Vec<String> = Vec::new();
    for layer in &chain {
        let text = plainly(layer.to_string());
        if !LAYERS_THAT_SAY_NOTHING.contains(&text.as_str()) && !texts.contains(&text) {
            texts.push(text);
        }
    }
    Trouble {
        problem: target.problem(kind, texts.join(": ")),
        transient,
    }
}

/// hyper-util's words for what a proxy does to a tunnel, in words that people look for.
fn plainly(text: String) -> String {
    match text.as_str() {
        "tunnel error: proxy authorization required" => {
            "the proxy wants a user name and password (407)".into()
        }
        "tunnel error: unsuccessful" => {
            "the proxy refused to open a tunnel: its answer to CONNECT was not 200".into()
        }
        "tunnel error: failed to create underlying connection" => {
            "no connection to the proxy".into()
        }
        _ => text,
    }
}

/// All causes below reqwest's own error, which repeats the URL.
fn chain(error: &reqwest::Error) -> Vec<&(dyn Error + 'static)> {
    let mut layers = Vec::new();
    let mut next = error.source();
    while let Some(layer) = next {
        layers.push(layer);
        // An I/O error that wraps another is silent about the outer one's place in the chain.
        next = match layer
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => layer.source(),
        };
    }
    layers
}

fn known(layer: &(dyn Error + 'static)) -> Option<(Kind, bool)> {
    if let Some(timeout) = layer.downcast_ref::<ConnectTimeout>() {
        let kind = if timeout.resolving {
            Kind::Dns
        } else {
            Kind::ConnectTimeout
        };
        return Some((kind, true));
    }
    if let Some(resolve) = layer.downcast_ref::<ResolveError>() {
        return Some((Kind::Dns, resolve.transient));
    }
    if let Some(tls) = layer.downcast_ref::<rustls::Error>() {
        return Some(match tls {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                (Kind::Certificate, false)
            }
            _ => (Kind::Tls, false),
        });
    }
    if let Some(hyper) = layer.downcast_ref::<hyper::Error>() {
        if hyper.is_parse_too_large() {
            return Some((Kind::TooLarge, false));
        }
        if hyper.is_parse() {
            return Some((Kind::Garbage, false));
        }
        if hyper.is_incomplete_message() || hyper.is_canceled() || hyper.is_closed() {
            return Some((Kind::Broken, true));
        }
    }
    let io = layer.downcast_ref::<io::Error>()?;
    if io
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
    {
        return None;
    }
    match io.kind() {
        ErrorKind::ConnectionRefused => Some((Kind::Refused, true)),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => Some((Kind::Broken, true)),
        ErrorKind::TimedOut => Some((Kind::ConnectTimeout, true)),
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::AddrNotAvailable => Some((Kind::Other, true)),
        _ => None,
    }
}

const LAYERS_THAT_SAY_NOTHING: [&str; 5] = [
    "client error (Connect)",
    "client error (SendRequest)",
    "error sending request",
    "connection error",
    "dns error",
];
