//! One request at a time, blocking, for everything that is not measured: probes, metrics, and the first answer.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::tls::SERVER_NAME;

/// Sends a GET, or with a body a POST of JSON, and returns status and body. Plain HTTP without `tls`.
///
/// # Errors
///
/// No connection, no answer within seconds, or one that is not HTTP/1.1 with a length.
pub(crate) fn ask(
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    path: &str,
    body: Option<&[u8]>,
) -> Result<(u16, Vec<u8>)> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {SERVER_NAME}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);

    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let answer = match tls {
        Some(tls) => {
            let name = ServerName::try_from(SERVER_NAME)?;
            let session = ClientConnection::new(Arc::clone(tls), name)?;
            exchange(StreamOwned::new(session, socket), &request)?
        }
        None => exchange(socket, &request)?,
    };
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let head = response.parse(&answer)?;
    ensure!(head.is_complete(), "the answer ends in its head");
    let status = response.code.context("no status")?;
    Ok((status, answer[head.unwrap()..].to_vec()))
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

const PATIENCE: Duration = Duration::from_secs(5);
