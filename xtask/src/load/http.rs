//! The client's half of HTTP/1.1 and HTTP/2, as much of it as a benchmark of one known exchange needs: one request, sent
//! again and again with another uid, and answers of status 200 that are compared byte for byte.
//!
//! By hand, because every library wants a runtime, whose timers and queues would be measured with the server.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// Which HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Version {
    /// HTTP/1.1: one request at a time on a connection.
    One,
    /// HTTP/2: many streams on a connection, as kube-apiserver does.
    Two,
}

impl Version {
    /// Its name in ALPN.
    pub(crate) fn alpn(self) -> &'static [u8] {
        match self {
            Self::One => b"http/1.1",
            Self::Two => b"h2",
        }
    }
}

/// The request, and what its answer has to be.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// Body of the request; [`UID_LENGTH`] bytes at `uid_at` are replaced each time.
    pub(crate) body: Vec<u8>,
    /// Where the uid is in `body`.
    pub(crate) uid_at: usize,
    /// Authority of the request.
    pub(crate) authority: String,
    /// The answer's body before and after the uid.
    pub(crate) answer: (Vec<u8>, Vec<u8>),
}

impl Exchange {
    /// Whether a body is the one expected answer.
    pub(crate) fn is_answered_by(&self, body: &[u8], uid: &Uid) -> bool {
        let (before, after) = &self.answer;
        body.len() == before.len() + UID_LENGTH + after.len()
            && body.starts_with(before)
            && body.ends_with(after)
            && body[before.len()..].starts_with(uid)
    }
}

/// The text of a UUID.
pub(crate) type Uid = [u8; UID_LENGTH];
/// Of every uid.
pub(crate) const UID_LENGTH: usize = 36;

/// A uid of the given number.
pub(crate) fn uid(number: u64) -> Uid {
    let mut uid = *b"00000000-0000-4000-8000-000000000000";
    for (i, digit) in uid[UID_LENGTH - 12..].iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * i) & 0xf) as usize];
    }
    uid
}

/// The protocol's state on one connection.
pub(crate) enum Http {
    One(One),
    Two(Two),
}

impl Http {
    /// Of a connection just opened; what is to be sent first goes to `out`.
    pub(crate) fn open(version: Version, exchange: &Exchange, out: &mut Vec<u8>) -> Self {
        match version {
            Version::One => Self::One(One::new(exchange)),
            Version::Two => Self::Two(Two::open(exchange, out)),
        }
    }

    /// Whether requests may be sent: HTTP/2 waits for the server's settings.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::One(_) => true,
            Self::Two(two) => two.settled,
        }
    }

    /// Whether one more may be sent, with so many unanswered.
    pub(crate) fn has_room(&self, unanswered: usize, exchange: &Exchange) -> bool {
        match self {
            Self::One(_) => unanswered == 0,
            Self::Two(two) => {
                unanswered < two.max_streams && two.window >= exchange.body.len() as i64
            }
        }
    }

    /// Appends one request to `out` and returns its stream.
    pub(crate) fn request(&mut self, exchange: &Exchange, uid: &Uid, out: &mut Vec<u8>) -> u32 {
        match self {
            Self::One(one) => {
                out.extend_from_slice(&one.head);
                append_body(exchange, uid, out);
                0
            }
            Self::Two(two) => two.request(exchange, uid, out),
        }
    }

    /// Takes whole answers out of `plain` and hands each to `answer`, by stream; what the protocol wants sent goes to
    /// `out`.
    pub(crate) fn receive(
        &mut self,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
        mut answer: impl FnMut(u32, &[u8]),
    ) -> Result<()> {
        match self {
            Self::One(_) => {
                let mut at = 0;
                while let Some((head, length)) = head(&plain[at..])? {
                    let (from, to) = (at + head, at + head + length);
                    if plain.len() < to {
                        break;
                    }
                    answer(0, &plain[from..to]);
                    at = to;
                }
                plain.drain(..at);
                Ok(())
            }
            Self::Two(two) => two.receive(plain, out, &mut answer),
        }
    }
}

/// HTTP/1.1.
pub(crate) struct One {
    head: Vec<u8>,
}

impl One {
    fn new(exchange: &Exchange) -> Self {
        let (authority, length) = (&exchange.authority, exchange.body.len());
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {USER_AGENT}\r\n\
             Content-Length: {length}\r\nAccept: {ACCEPT}\r\nContent-Type: {CONTENT_TYPE}\r\n\
             Accept-Encoding: gzip\r\n\r\n"
        );
        Self {
            head: head.into_bytes(),
        }
    }
}

fn append_body(exchange: &Exchange, uid: &Uid, out: &mut Vec<u8>) {
    let start = out.len() + exchange.uid_at;
    out.extend_from_slice(&exchange.body);
    out[start..start + UID_LENGTH].copy_from_slice(uid);
}

/// Length of the head and of the body of a response of status 200, once the head is whole.
fn head(plain: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(plain)? else {
        return Ok(None);
    };
    ensure!(
        response.code == Some(200),
        "status {}: {}",
        response.code.unwrap_or_default(),
        String::from_utf8_lossy(&plain[head..plain.len().min(head + 200)])
    );
    let length = response
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("content-length"))
        .and_then(|h| str::from_utf8(h.value).ok()?.parse().ok())
        .context("the response has no content-length")?;
    Ok(Some((head, length)))
}

/// HTTP/2, RFC 9113.
pub(crate) struct Two {
    /// The block of header fields of every request, RFC 7541.
    fields: Vec<u8>,
    body_length: usize,
    next_stream: u32,
    /// The server has sent its settings.
    settled: bool,
    max_streams: usize,
    /// How many more bytes the server takes on the connection.
    window: i64,
    /// Bytes that arrived since the server was last told that it may send more.
    consumed: u32,
    /// Bodies that are not whole yet, by stream.
    bodies: BTreeMap<u32, Vec<u8>>,
}

impl Two {
    fn open(exchange: &Exchange, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        // No table of the server's header fields, no push, and windows that an answer never fills.
        let settings: [(u16, u32); 3] = [(1, 0), (2, 0), (4, 1 << 20)];
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        frame(out, SETTINGS, 0, 0, &settings);
        frame(
            out,
            WINDOW_UPDATE,
            0,
            0,
            &(CONNECTION_WINDOW - 65_535).to_be_bytes(),
        );
        Self {
            fields: fields(exchange),
            body_length: exchange.body.len(),
            next_stream: 1,
            settled: false,
            max_streams: 100,
            window: 65_535,
            consumed: 0,
            bodies: BTreeMap::new(),
        }
    }

    fn request(&mut self, exchange: &Exchange, uid: &Uid, out: &mut Vec<u8>) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        frame(out, HEADERS, END_HEADERS, stream, &self.fields);
        let mut body = Vec::with_capacity(exchange.body.len());
        append_body(exchange, uid, &mut body);
        let mut frames = body.chunks(FRAME).peekable();
        while let Some(chunk) = frames.next() {
            let flags = if frames.peek().is_none() {
                END_STREAM
            } else {
                0
            };
            frame(out, DATA, flags, stream, chunk);
        }
        self.window -= exchange.body.len() as i64;
        stream
    }

    fn receive(
        &mut self,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
        answer: &mut impl FnMut(u32, &[u8]),
    ) -> Result<()> {
        let mut at = 0;
        while let Some((head, rest)) = plain[at..].split_first_chunk::<9>() {
            let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *head;
            let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            let stream = u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff;
            let Some(payload) = rest.get(..length) else {
                break;
            };
            at += 9 + length;
            match kind {
                HEADERS => {
                    ensure!(
                        flags & END_HEADERS != 0 && flags & (PADDED | PRIORITY | END_STREAM) == 0,
                        "a HEADERS frame of another shape, flags {flags:#x}"
                    );
                    // Updates of the table's size may come first; then `:status: 200` is one byte, RFC 7541 Appendix A.
                    let first = payload.iter().find(|b| **b & 0xe0 != 0x20);
                    ensure!(first == Some(&0x88), "a status other than 200");
                }
                DATA => {
                    ensure!(flags & PADDED == 0, "a padded DATA frame");
                    self.consumed += length as u32;
                    let ends = flags & END_STREAM != 0;
                    match self.bodies.remove(&stream) {
                        None if ends => answer(stream, payload),
                        body => {
                            let mut body = body.unwrap_or_default();
                            body.extend_from_slice(payload);
                            if ends {
                                answer(stream, &body);
                            } else {
                                self.bodies.insert(stream, body);
                            }
                        }
                    }
                }
                SETTINGS if flags & ACK == 0 => {
                    for setting in payload.as_chunks::<6>().0 {
                        let [i0, i1, value @ ..] = *setting;
                        let value = u32::from_be_bytes(value);
                        match u16::from_be_bytes([i0, i1]) {
                            3 => self.max_streams = value as usize,
                            4 => ensure!(
                                value as usize >= self.body_length,
                                "a stream window of {value} bytes"
                            ),
                            _ => {}
                        }
                    }
                    self.settled = true;
                    frame(out, SETTINGS, ACK, 0, &[]);
                }
                PING if flags & ACK == 0 => frame(out, PING, ACK, 0, payload),
                WINDOW_UPDATE if stream == 0 => {
                    let increment = payload
                        .first_chunk::<4>()
                        .context("a short WINDOW_UPDATE")?;
                    self.window += i64::from(u32::from_be_bytes(*increment) & 0x7fff_ffff);
                }
                RST_STREAM => bail!("stream {stream} was reset: {payload:x?}"),
                GOAWAY => bail!("the server says GOAWAY: {}", payload.escape_ascii()),
                CONTINUATION => bail!("a CONTINUATION frame"),
                _ => {}
            }
        }
        plain.drain(..at);
        if self.consumed > CONNECTION_WINDOW / 2 {
            frame(out, WINDOW_UPDATE, 0, 0, &self.consumed.to_be_bytes());
            self.consumed = 0;
        }
        Ok(())
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    frame_head(out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
}

fn frame_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Header fields without a table, RFC 7541: names by their index in Appendix A, values as they are.
fn fields(exchange: &Exchange) -> Vec<u8> {
    // `:method: POST`, `:scheme: https`.
    let mut block = vec![0x83, 0x87];
    let mut literal = |name: u8, value: &str| {
        if name < 15 {
            block.push(name);
        } else {
            block.extend([15, name - 15]);
        }
        // Shorter than 127, where the length would need a second byte.
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    };
    literal(1, &exchange.authority);
    literal(4, PATH);
    literal(19, ACCEPT);
    literal(16, "gzip");
    literal(28, &exchange.body.len().to_string());
    literal(31, CONTENT_TYPE);
    literal(58, USER_AGENT);
    block
}

// As kube-apiserver asks.
const PATH: &str = "/mutate?timeout=10s";
const ACCEPT: &str = "application/json, */*";
const CONTENT_TYPE: &str = "application/json";
const USER_AGENT: &str = "kube-apiserver-admission";

// RFC 9113, 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// Every server takes frames of this size.
const FRAME: usize = 16_384;
/// Go's client, which kube-apiserver uses, takes 1 GiB.
const CONNECTION_WINDOW: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> Exchange {
        Exchange {
            body: [b"{\"uid\":\"", &uid(0)[..], b"\"}"].concat(),
            uid_at: 8,
            authority: "webhook".into(),
            answer: (b"<".to_vec(), b">".to_vec()),
        }
    }

    #[test]
    fn an_answer_to_another_request_is_not_the_answer() {
        let exchange = exchange();
        let body = |number| [b"<", &uid(number)[..], b">"].concat();
        assert!(exchange.is_answered_by(&body(0xabc), &uid(0xabc)));
        assert!(!exchange.is_answered_by(&body(1), &uid(2)));
        assert!(!exchange.is_answered_by(&body(1)[1..], &uid(1)));
        assert!(!exchange.is_answered_by(&[&body(1)[..], b" "].concat(), &uid(1)));
    }

    #[test]
    fn http_1_answers_are_taken_one_by_one_however_they_are_cut() {
        let exchange = exchange();
        let mut http = Http::open(Version::One, &exchange, &mut Vec::new());
        let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nd";
        let mut seen = Vec::new();
        let mut plain = Vec::new();
        for byte in wire {
            plain.push(*byte);
            http.receive(&mut plain, &mut Vec::new(), |stream, body| {
                seen.push((stream, body.to_vec()));
            })
            .unwrap();
        }
        assert_eq!(seen, [(0, b"abc".to_vec()), (0, b"d".to_vec())]);
        let mut plain = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec();
        let error = http.receive(&mut plain, &mut Vec::new(), |_, _| {});
        assert!(error.unwrap_err().to_string().contains("503"));
    }

    #[test]
    fn http_2_streams_are_told_apart_and_answered_whole() {
        let exchange = exchange();
        let mut out = Vec::new();
        let mut http = Http::open(Version::Two, &exchange, &mut out);
        assert!(out.starts_with(b"PRI * HTTP/2.0"));
        assert!(!http.is_open());
        assert_eq!(http.request(&exchange, &uid(1), &mut out), 1);
        assert_eq!(http.request(&exchange, &uid(2), &mut out), 3);

        let mut wire = Vec::new();
        frame(&mut wire, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 7]);
        frame(&mut wire, HEADERS, END_HEADERS, 3, &[0x20, 0x88, 0x5c]);
        frame(&mut wire, HEADERS, END_HEADERS, 1, &[0x88]);
        frame(&mut wire, DATA, 0, 1, b"on");
        frame(&mut wire, DATA, END_STREAM, 3, b"three");
        frame(&mut wire, DATA, END_STREAM, 1, b"e");
        let mut seen = Vec::new();
        let mut plain = Vec::new();
        out.clear();
        for byte in wire {
            plain.push(byte);
            http.receive(&mut plain, &mut out, |stream, body| {
                seen.push((stream, body.to_vec()));
            })
            .unwrap();
        }
        assert_eq!(seen, [(3, b"three".to_vec()), (1, b"one".to_vec())]);
        assert!(http.is_open());
        assert_eq!(out, [0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0]);
        assert!(http.has_room(6, &exchange));
        assert!(!http.has_room(7, &exchange));

        let mut plain = Vec::new();
        frame(&mut plain, HEADERS, END_HEADERS, 5, &[0x8e]);
        assert!(http.receive(&mut plain, &mut out, |_, _| {}).is_err());
    }
}
