//! A TLS connection over a socket that does not block, without a runtime: one `read` and one `write` per turn, so that
//! neither generator nor echo server does more than the least.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
};

use mio::net::TcpStream;
use rustls::Connection;

/// A socket and its TLS session, of either side.
pub(crate) struct Stream {
    /// For registration.
    pub(crate) socket: TcpStream,
    /// For handshake state and protocol.
    pub(crate) tls: Connection,
}

impl Stream {
    /// Begins to connect. What is written before the handshake has ended follows it.
    pub(crate) fn connect(address: SocketAddr, tls: Connection) -> io::Result<Self> {
        Self::new(TcpStream::connect(address)?, tls)
    }

    /// Takes over a socket.
    pub(crate) fn new(socket: TcpStream, mut tls: Connection) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        tls.set_buffer_limit(None);
        Ok(Self { socket, tls })
    }

    /// Encrypts and sends, or keeps what the socket does not take for [`Stream::flush`].
    pub(crate) fn write(&mut self, plain: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(plain)?;
        self.flush()
    }

    /// Sends what is kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                // The latter while it connects.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::NotConnected
                    ) =>
                {
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Appends everything that has arrived to `plain`; `Ok(false)` when the other side has closed.
    ///
    /// Readiness is signalled once per arrival, so the socket is read until it has no more: a short read says so,
    /// except where the other side has closed, which `to_the_end` says.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        plain: &mut Vec<u8>,
        to_the_end: bool,
    ) -> io::Result<bool> {
        let mut open = true;
        loop {
            let n = match self.socket.read(buffer) {
                Ok(0) => {
                    open = false;
                    break;
                }
                Ok(n) => n,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::NotConnected
                    ) =>
                {
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut arrived = &buffer[..n];
            while !arrived.is_empty() {
                self.tls.read_tls(&mut arrived)?;
                let state = self.tls.process_new_packets().map_err(io::Error::other)?;
                let start = plain.len();
                plain.resize(start + state.plaintext_bytes_to_read(), 0);
                self.tls.reader().read_exact(&mut plain[start..])?;
                open &= !state.peer_has_closed();
            }
            if n < buffer.len() && !to_the_end {
                break;
            }
        }
        self.flush()?;
        Ok(open)
    }

    /// Says goodbye as TLS wants it; the socket closes when this is dropped.
    pub(crate) fn close(mut self) {
        self.tls.send_close_notify();
        // Whoever has gone already does not mind.
        let _ = self.flush();
    }
}
