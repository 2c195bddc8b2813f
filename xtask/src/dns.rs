//! A name server that knows one domain, to show that the static agent resolves names with nothing but `resolv.conf`.
//!
//! Messages are read and written by hand (RFC 1035, section 4): one question in, at most one address out.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};

/// A name server on 127.0.0.1:53, which answers until the process ends.
pub(crate) struct NameServer(Arc<AtomicUsize>);

impl NameServer {
    /// Starts one that leads every name under `domain` to 127.0.0.1.
    pub(crate) fn start(domain: &'static str) -> Result<Self> {
        let socket =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).context("cannot listen on 127.0.0.1:53")?;
        let answered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&answered);
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if let Some((answer, found)) = answer(&query[..length], domain) {
                    count.fetch_add(usize::from(found), Ordering::Relaxed);
                    // A client that is gone asks no more.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(Self(answered))
    }

    /// How many questions were answered with an address.
    pub(crate) fn answered(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The answer to a query, and whether it holds an address; none for what is no query.
fn answer(query: &[u8], domain: &str) -> Option<(Vec<u8>, bool)> {
    let header = query.get(..HEADER)?;
    let is_response = header[2] & 0x80 != 0;
    let is_query = header[2] & 0x78 == 0;
    if is_response || !is_query || header[4..6] != [0, 1] {
        return None;
    }
    let (name, rest) = name(&query[HEADER..])?;
    let kind = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
    // The name, type and class of the question; what follows (EDNS) is not ours to repeat.
    let question_end = query.len() - rest.len() + 4;
    let known = name.ends_with(&format!(".{domain}"));
    let found = known && kind == TYPE_A;

    let mut answer = query.get(..question_end)?.to_vec();
    answer[2] = 0x84 | (header[2] & 0x01); // response, authoritative, recursion as desired
    answer[3] = if known { 0 } else { NXDOMAIN };
    answer[6..HEADER].copy_from_slice(&[0, u8::from(found), 0, 0, 0, 0]);
    if found {
        answer.extend([0xC0, 12]); // the name of the question
        answer.extend([0, 1, 0, 1]); // A, IN
        answer.extend(60u32.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(Ipv4Addr::LOCALHOST.octets());
    }
    Some((answer, found))
}

/// The name at the start of a question, in lower case, and what follows it. Questions hold no compressed names.
fn name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut name = String::new();
    loop {
        let (&length, rest) = bytes.split_first()?;
        if length == 0 {
            return Some((name, rest));
        }
        let label = rest.get(..usize::from(length)).filter(|_| length < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
        bytes = &rest[usize::from(length)..];
    }
}

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const NXDOMAIN: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const AAAA: u16 = 28;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend(label.as_bytes());
        }
        query.push(0);
        query.extend(kind.to_be_bytes());
        query.extend([0, 1]);
        query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]); // EDNS
        query
    }

    #[test]
    fn a_known_name_has_one_address() {
        let (answer, found) = answer(&query("STS.cwii.test", TYPE_A), "cwii.test").unwrap();
        assert!(found);
        assert_eq!(answer[..12], [0xAB, 0xCD, 0x85, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[answer.len() - 6..], [0, 4, 127, 0, 0, 1]);
    }

    #[test]
    fn a_known_name_without_such_a_record_exists_all_the_same() {
        let (answer, found) = answer(&query("sts.cwii.test", AAAA), "cwii.test").unwrap();
        assert!(!found);
        assert_eq!((answer[3], answer[7]), (0, 0));
    }

    #[test]
    fn another_name_does_not_exist() {
        for name in ["sts.cwii.test.cluster.local", "notcwii.test", "cwii.test"] {
            let (answer, found) = answer(&query(name, TYPE_A), "cwii.test").unwrap();
            assert!(!found, "{name}");
            assert_eq!((answer[3], answer[7]), (NXDOMAIN, 0), "{name}");
        }
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        let whole = query("sts.cwii.test", TYPE_A);
        let end_of_question = whole.len() - 11;
        for length in 0..end_of_question {
            assert!(answer(&whole[..length], "cwii.test").is_none(), "{length}");
        }
        let mut response = whole;
        response[2] |= 0x80;
        assert!(answer(&response, "cwii.test").is_none());
    }
}
