//! The floor: a server that does nothing but take a request of the same bytes over TLS and send an answer of the same
//! bytes. What the webhook takes beyond it is the webhook's own.

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use mio::{Events, Interest, Poll, Token, net::TcpListener};
use rustls::{ServerConfig, ServerConnection};
use serde::{Deserialize, Serialize};

use super::{
    http::{UID_LENGTH, Version},
    stream::Stream,
    tls::Certificate,
};

/// What the echo server has to know, as JSON in a file.
#[derive(Deserialize, Serialize)]
pub(crate) struct Script {
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    /// Where the uid is in the request's body.
    pub(crate) uid_at: usize,
    /// The answer's body before and after the uid.
    pub(crate) answer: (Vec<u8>, Vec<u8>),
}

/// Serves until it is killed. The address is printed when it listens.
pub(crate) fn serve(script: &Path) -> Result<()> {
    let script = fs::read(script).with_context(|| script.display().to_string())?;
    let mut echo = Echo::start(serde_json::from_slice(&script)?)?;
    println!("{}", echo.address()?);
    loop {
        echo.turn(None)?;
    }
}

/// The server.
pub(crate) struct Echo {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    uid_at: usize,
    /// Head and body of the answer before the uid, and its body after it.
    answer: (Vec<u8>, Vec<u8>),
    /// With what has arrived and is no whole request yet.
    connections: HashMap<Token, (Stream, Vec<u8>)>,
    next: usize,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl Echo {
    /// Listens on a free port.
    pub(crate) fn start(script: Script) -> Result<Self> {
        let certificate = Certificate {
            certificate_pem: script.certificate_pem,
            key_pem: script.key_pem,
        };
        let (before, after) = script.answer;
        let length = before.len() + UID_LENGTH + after.len();
        // The header fields that the webhook's answers have.
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
        );
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(256),
            listener,
            tls: certificate.server(Version::One)?,
            uid_at: script.uid_at,
            answer: ([head.as_bytes(), &before].concat(), after),
            connections: HashMap::new(),
            next: LISTENER.0 + 1,
            buffer: vec![0; 1 << 16],
            out: Vec::new(),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Waits for sockets, and answers what has arrived.
    pub(crate) fn turn(&mut self, wait: Option<Duration>) -> Result<()> {
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            let token = event.token();
            if token == LISTENER {
                while let Ok((mut socket, _)) = self.listener.accept() {
                    let token = Token(self.next);
                    self.next += 1;
                    self.poll
                        .registry()
                        .register(&mut socket, token, Interest::READABLE)?;
                    let tls = ServerConnection::new(Arc::clone(&self.tls))?;
                    let stream = Stream::new(socket, tls.into())?;
                    self.connections.insert(token, (stream, Vec::new()));
                }
                continue;
            }
            let Some((stream, plain)) = self.connections.get_mut(&token) else {
                continue;
            };
            let mut open = stream.read(&mut self.buffer, plain, event.is_read_closed());
            while let Some((body, end)) = request(plain) {
                self.out.clear();
                self.out.extend_from_slice(&self.answer.0);
                let uid = plain[body..end].get(self.uid_at..self.uid_at + UID_LENGTH);
                self.out.extend_from_slice(uid.unwrap_or_default());
                self.out.extend_from_slice(&self.answer.1);
                plain.drain(..end);
                if let Err(error) = stream.write(&self.out) {
                    open = Err(error);
                }
            }
            if !matches!(open, Ok(true)) {
                self.connections.remove(&token);
            }
        }
        Ok(())
    }
}

/// Where the body of the first whole request begins and ends.
fn request(plain: &[u8]) -> Option<(usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(plain) {
        Ok(httparse::Status::Complete(head)) => head,
        _ => return None,
    };
    let length: usize = request
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("content-length"))
        .and_then(|h| str::from_utf8(h.value).ok()?.parse().ok())?;
    (plain.len() >= head + length).then_some((head, head + length))
}

const LISTENER: Token = Token(0);
