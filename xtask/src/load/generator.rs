//! The load generator: one thread, which has a processor to itself where there are two.
//!
//! Open loop: requests are due at a constant rate, whether or not the server keeps up, and latency counts from the moment
//! a request was due, not from when a connection was free for it. So waiting in line is part of every figure
//! (the opposite is known as coordinated omission). Every answer is compared byte for byte.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use rustls_pki_types::ServerName;
use serde::Serialize;

use super::{
    http::{self, Exchange, Http, Uid, Version},
    stream::Stream,
    tls::SERVER_NAME,
};

/// One run.
#[derive(Clone)]
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) exchange: &'a Exchange,
    pub(crate) version: Version,
    /// Connections; with a new one for each request, how many may be open at a time.
    pub(crate) connections: usize,
    /// Unanswered requests on one connection; 1 with HTTP/1.1.
    pub(crate) streams: usize,
    /// A new connection for every request.
    pub(crate) fresh: bool,
    pub(crate) arrivals: Arrivals,
    /// Poll without sleeping, where there is a processor for it: being woken takes longer than most answers.
    pub(crate) spin: bool,
    /// Before anything is counted; answers are compared already.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// When requests are due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrivals {
    /// So many a second, evenly.
    Rate(f64),
    /// As soon as the one before is answered (closed loop): the most that the server can do, with latencies that say
    /// nothing.
    Saturate,
}

/// What a run gave.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Outcome {
    /// Requests per second that were due.
    pub(crate) offered: Option<f64>,
    /// Right answers per second.
    pub(crate) answered: f64,
    /// All right answers, while warming up as well.
    pub(crate) right: u64,
    pub(crate) latency: Latency,
    /// Wrong answers, broken connections, and requests without an answer.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// The server fell so far behind that the run was ended.
    pub(crate) overloaded: bool,
    /// How long the generator itself did not run, in pauses of more than a millisecond: the machine's doing, and part of
    /// the latencies all the same. Only known where it has a processor to itself.
    pub(crate) stalled: Duration,
    /// TLS handshakes that were full, and those that resumed a session.
    pub(crate) handshakes: (u64, u64),
}

/// Quantiles of time from when a request was due until its answer was read, milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latency {
    fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        // The smallest value that is not exceeded by this share of the samples.
        let at = |share: f64| {
            let rank = (samples.len() as f64 * share).ceil() as usize;
            let sample = samples.get(rank.saturating_sub(1)).copied();
            sample.unwrap_or_default().as_nanos() as f64 / 1e6
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        }
    }
}

impl Load<'_> {
    /// Runs it. It ends by itself, whatever the server does.
    ///
    /// # Errors
    ///
    /// No connection can be opened at all, or the machine lacks what the generator needs. What goes wrong later is
    /// counted in the outcome.
    pub(crate) fn run(&self) -> Result<Outcome> {
        Generator::new(self)?.run()
    }
}

struct Generator<'a> {
    load: &'a Load<'a>,
    poll: Poll,
    slots: Vec<Slot>,
    /// Slots that can take a request, longest idle first.
    idle: VecDeque<usize>,
    unanswered: usize,
    buffer: Vec<u8>,
    samples: Vec<Duration>,
    counted: (Instant, Instant),
    in_time: u64,
    outcome: Outcome,
}

/// One connection, or the place for one.
#[derive(Default)]
struct Slot {
    session: Option<Session>,
    queued: bool,
}

struct Session {
    stream: Stream,
    http: Http,
    out: Vec<u8>,
    plain: Vec<u8>,
    flights: Vec<Flight>,
    greeted: bool,
}

/// A request without an answer yet.
struct Flight {
    stream: u32,
    due: Instant,
    uid: Uid,
}

impl<'a> Generator<'a> {
    fn new(load: &'a Load<'a>) -> Result<Self> {
        let now = Instant::now();
        let mut generator = Self {
            load,
            poll: Poll::new()?,
            slots: Vec::new(),
            idle: (0..load.connections).collect(),
            unanswered: 0,
            buffer: vec![0; 1 << 16],
            samples: Vec::new(),
            counted: (now, now),
            in_time: 0,
            outcome: Outcome::default(),
        };
        generator.slots.resize_with(load.connections, || Slot {
            session: None,
            queued: true,
        });
        if !load.fresh {
            generator.open_all()?;
        }
        Ok(generator)
    }

    /// Opens every connection before the first request is due.
    fn open_all(&mut self) -> Result<()> {
        for index in 0..self.slots.len() {
            let session = self.connect(index)?;
            self.slots[index].session = Some(session);
        }
        let limit = Instant::now() + PATIENCE;
        let mut events = Events::with_capacity(EVENTS);
        while !self.slots.iter().all(Slot::is_open) {
            ensure!(Instant::now() < limit, "the connections do not open");
            self.turn(&mut events, Duration::from_millis(10))?;
            if let Some(error) = self.outcome.first_error.take() {
                bail!("a connection does not open: {error}");
            }
        }
        Ok(())
    }

    fn run(mut self) -> Result<Outcome> {
        let load = self.load;
        let start = Instant::now();
        let end = start + load.warm_up + load.duration;
        self.counted = (start + load.warm_up, end);
        let mut events = Events::with_capacity(EVENTS);
        let alarm = Alarm::new(&self.poll)?;
        let mut ticket = 0_u64;
        let mut before = start;
        loop {
            let now = Instant::now();
            let pause = now - before;
            before = now;
            if load.spin && pause > STALL {
                self.outcome.stalled += pause;
            }
            let mut all_issued;
            let mut late = Duration::ZERO;
            // How long there is nothing to do, if no socket wants it.
            let mut rest = LONGEST_REST;
            loop {
                let due = match load.arrivals {
                    Arrivals::Rate(rate) => start + Duration::from_secs_f64(ticket as f64 / rate),
                    Arrivals::Saturate => now,
                };
                all_issued = due >= end;
                if all_issued {
                    break;
                }
                if due > now {
                    rest = due - now;
                    break;
                }
                let Some(index) = self.idle.pop_front() else {
                    late = now - due;
                    break;
                };
                self.slots[index].queued = false;
                self.issue(index, ticket, due);
                ticket += 1;
            }
            self.send();
            self.outcome.overloaded |= late > BEHIND;
            if all_issued && self.unanswered == 0 {
                break;
            }
            if self.outcome.overloaded || self.outcome.errors > MAX_ERRORS || now > end + PATIENCE {
                break;
            }
            if load.spin {
                self.turn(&mut events, Duration::ZERO)?;
                if events.is_empty() {
                    // Half a microsecond, which the server may use where both processors are threads of one core.
                    (0..32).for_each(|_| std::hint::spin_loop());
                }
            } else {
                if rest < LONGEST_REST {
                    alarm.set(rest)?;
                }
                self.turn(&mut events, LONGEST_REST)?;
            }
        }
        if !self.outcome.overloaded && self.outcome.errors <= MAX_ERRORS {
            for _ in 0..self.unanswered {
                self.outcome.error(|| "no answer".into());
            }
        }
        for session in self.slots.into_iter().filter_map(|slot| slot.session) {
            session.stream.close();
        }
        self.outcome.offered = match load.arrivals {
            Arrivals::Rate(rate) => Some(rate),
            Arrivals::Saturate => None,
        };
        self.outcome.answered = self.in_time as f64 / load.duration.as_secs_f64();
        self.outcome.latency = Latency::of(self.samples);
        Ok(self.outcome)
    }

    fn connect(&mut self, index: usize) -> Result<Session> {
        let load = self.load;
        let name = ServerName::try_from(SERVER_NAME)?;
        let tls = ClientConnection::new(Arc::clone(&load.tls), name)?;
        let mut stream = Stream::connect(load.address, tls.into())?;
        self.poll.registry().register(
            &mut stream.socket,
            Token(index),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let mut out = Vec::new();
        let http = Http::open(load.version, load.exchange, &mut out);
        Ok(Session {
            stream,
            http,
            out,
            plain: Vec::new(),
            flights: Vec::new(),
            greeted: false,
        })
    }

    /// Puts one request on its way; [`Generator::send`] follows.
    fn issue(&mut self, index: usize, ticket: u64, due: Instant) {
        if self.slots[index].session.is_none() {
            match self.connect(index) {
                Ok(session) => self.slots[index].session = Some(session),
                Err(error) => {
                    self.outcome.error(|| format!("{error:#}"));
                    self.queue(index);
                    return;
                }
            }
        }
        let Some(session) = &mut self.slots[index].session else {
            return;
        };
        let uid = http::uid(ticket);
        let stream = session
            .http
            .request(self.load.exchange, &uid, &mut session.out);
        session.flights.push(Flight { stream, due, uid });
        self.unanswered += 1;
        if self.load.version == Version::One {
            // Nothing will join it.
            self.write(index);
        } else {
            self.queue_if_room(index);
        }
    }

    /// Sends what HTTP/2 requests have gathered.
    fn send(&mut self) {
        if self.load.version == Version::Two {
            (0..self.slots.len()).for_each(|index| self.write(index));
        }
    }

    fn write(&mut self, index: usize) {
        let Some(session) = &mut self.slots[index].session else {
            return;
        };
        if session.out.is_empty() {
            return;
        }
        let result = session.stream.write(&session.out);
        session.out.clear();
        if let Err(error) = result {
            self.drop_session(index, &error.into());
        }
    }

    /// Waits for the sockets, and does what they ask for.
    fn turn(&mut self, events: &mut Events, wait: Duration) -> Result<()> {
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            result => result.context("epoll")?,
        }
        for event in events.iter().filter(|event| event.token() != ALARM) {
            let index = event.token().0;
            if let Err(error) = self.serve(index, event.is_read_closed()) {
                self.drop_session(index, &error);
            }
        }
        Ok(())
    }

    fn serve(&mut self, index: usize, closed: bool) -> Result<()> {
        let load = self.load;
        let Some(session) = &mut self.slots[index].session else {
            return Ok(());
        };
        let Session {
            stream,
            http,
            out,
            plain,
            flights,
            greeted,
        } = session;
        let open = stream.read(&mut self.buffer, plain, closed)?;
        if !*greeted && !stream.tls.is_handshaking() {
            *greeted = true;
            match stream.tls.handshake_kind() {
                Some(HandshakeKind::Resumed) => self.outcome.handshakes.1 += 1,
                _ => self.outcome.handshakes.0 += 1,
            }
            let agreed = stream.tls.alpn_protocol();
            ensure!(
                agreed == Some(load.version.alpn()),
                "the server chose {:?} by ALPN",
                agreed.map(String::from_utf8_lossy)
            );
            if !out.is_empty() && flights.is_empty() {
                stream.write(out)?;
                out.clear();
            }
        }
        let now = Instant::now();
        let mut answered = 0;
        http.receive(plain, out, |number, body| {
            let flight = flights.iter().position(|f| f.stream == number);
            let Some(flight) = flight.map(|at| flights.swap_remove(at)) else {
                self.outcome
                    .error(|| "an answer that nothing asked for".into());
                return;
            };
            answered += 1;
            if !load.exchange.is_answered_by(body, &flight.uid) {
                let body = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
                self.outcome.error(|| format!("another answer: {body}"));
                return;
            }
            self.outcome.right += 1;
            if flight.due >= self.counted.0 {
                self.samples.push(now - flight.due);
            }
            if (self.counted.0..self.counted.1).contains(&now) {
                self.in_time += 1;
            }
        })?;
        self.unanswered -= answered;
        if load.version == Version::Two {
            self.write(index);
        }
        if load.fresh {
            if answered > 0 {
                if let Some(session) = self.slots[index].session.take() {
                    session.stream.close();
                }
                self.queue(index);
                return Ok(());
            }
        } else {
            self.queue_if_room(index);
        }
        ensure!(open, "the server closed the connection");
        Ok(())
    }

    fn queue(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if !slot.queued {
            slot.queued = true;
            self.idle.push_back(index);
        }
    }

    fn queue_if_room(&mut self, index: usize) {
        let load = self.load;
        let room = self.slots[index].session.as_ref().is_some_and(|session| {
            session.flights.len() < load.streams
                && session.http.has_room(session.flights.len(), load.exchange)
        });
        if room {
            self.queue(index);
        }
    }

    /// Counts a broken connection, and everything that was on it; the next request opens another.
    fn drop_session(&mut self, index: usize, error: &anyhow::Error) {
        if let Some(session) = self.slots[index].session.take() {
            self.unanswered -= session.flights.len();
            for _ in 0..session.flights.len().max(1) {
                self.outcome.error(|| format!("{error:#}"));
            }
            self.queue(index);
        }
    }
}

/// Wakes the generator to the microsecond; the timeout of `epoll_wait` counts milliseconds.
struct Alarm(TimerFd);

impl Alarm {
    fn new(poll: &Poll) -> Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        poll.registry().register(
            &mut SourceFd(&timer.as_fd().as_raw_fd()),
            ALARM,
            Interest::READABLE,
        )?;
        Ok(Self(timer))
    }

    fn set(&self, after: Duration) -> Result<()> {
        // Nothing would disarm it.
        let after = after.max(Duration::from_nanos(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(after));
        self.0.set(expiration, TimerSetTimeFlags::empty())?;
        Ok(())
    }
}

impl Slot {
    fn is_open(&self) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.greeted && session.http.is_open())
    }
}

impl Outcome {
    fn error(&mut self, describe: impl FnOnce() -> String) {
        self.errors += 1;
        self.first_error.get_or_insert_with(describe);
    }
}

/// For connections to open, and for the last answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// A run in which requests wait this long for a connection is of a rate that does not hold.
const BEHIND: Duration = Duration::from_millis(500);
/// Far longer than a turn takes.
const STALL: Duration = Duration::from_millis(1);
const MAX_ERRORS: u64 = 100;
/// So that the end of a run is noticed whatever happens.
const LONGEST_REST: Duration = Duration::from_millis(5);
const ALARM: Token = Token(usize::MAX);
const EVENTS: usize = 256;

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use ::http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use hyper::{body::Incoming, server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::load::{
        echo::{Echo, Script},
        tls::Certificate,
    };

    /// Runs a load against an echo server that gives `answer`.
    fn against_echo(answer: (&[u8], &[u8]), change: impl FnOnce(&mut Load<'_>)) -> Outcome {
        let certificate = Certificate::generate().unwrap();
        let exchange = Exchange {
            body: http::uid(0).to_vec(),
            uid_at: 0,
            authority: SERVER_NAME.to_owned(),
            answer: (b"{".to_vec(), b"}".to_vec()),
        };
        let mut echo = Echo::start(Script {
            certificate_pem: certificate.certificate_pem.clone(),
            key_pem: certificate.key_pem.clone(),
            uid_at: 0,
            answer: (answer.0.to_vec(), answer.1.to_vec()),
        })
        .unwrap();
        let mut load = Load {
            address: echo.address().unwrap(),
            tls: certificate.client(Version::One).unwrap(),
            exchange: &exchange,
            version: Version::One,
            connections: 3,
            streams: 1,
            fresh: false,
            arrivals: Arrivals::Rate(200.0),
            spin: false,
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(200),
        };
        change(&mut load);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    echo.turn(Some(Duration::from_millis(5))).unwrap();
                }
            });
            let outcome = load.run();
            stop.store(true, Ordering::Relaxed);
            outcome.unwrap()
        })
    }

    #[test]
    fn every_request_that_is_due_is_sent_and_its_answer_compared() {
        let outcome = against_echo((b"{", b"}"), |_| {});
        assert_eq!(
            (outcome.right, outcome.errors),
            (40, 0),
            "{:?}",
            outcome.first_error
        );
        assert_eq!(outcome.handshakes, (3, 0));
    }

    #[test]
    fn a_new_connection_for_each_request_has_a_full_handshake_each() {
        let outcome = against_echo((b"{", b"}"), |load| load.fresh = true);
        assert_eq!(
            (outcome.right, outcome.errors),
            (40, 0),
            "{:?}",
            outcome.first_error
        );
        assert_eq!(outcome.handshakes, (40, 0));
    }

    #[test]
    fn a_closed_loop_asks_again_as_soon_as_it_is_answered() {
        let outcome = against_echo((b"{", b"}"), |load| load.arrivals = Arrivals::Saturate);
        assert_eq!(outcome.errors, 0, "{:?}", outcome.first_error);
        assert!(outcome.right >= 3);
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        let outcome = against_echo((b"{", b"]"), |_| {});
        assert_eq!((outcome.right, outcome.errors), (0, 40));
        assert!(
            outcome
                .first_error
                .unwrap()
                .starts_with("another answer: {")
        );
    }

    #[test]
    fn a_rate_far_beyond_the_server_ends_early() {
        let outcome = against_echo((b"{", b"}"), |load| {
            load.arrivals = Arrivals::Rate(1e7);
            load.duration = Duration::from_secs(20);
        });
        assert!(outcome.overloaded);
    }

    /// hyper is the judge of what is written by hand here.
    #[test]
    fn many_streams_on_one_connection_are_each_answered() {
        let certificate = Certificate::generate().unwrap();
        let acceptor = TlsAcceptor::from(certificate.server(Version::Two).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let server = async move {
            let (socket, _) = listener.accept().await.unwrap();
            let stream = TokioIo::new(acceptor.accept(socket).await.unwrap());
            let service = service_fn(async |request: Request<Incoming>| {
                assert_eq!(request.method(), "POST");
                assert_eq!(request.uri().authority().unwrap(), SERVER_NAME);
                assert_eq!(request.headers()["content-length"], "40000");
                let body = request.into_body().collect().await?.to_bytes();
                let uid = body.slice(..http::UID_LENGTH);
                let answer = ["{".into(), uid, "}".into()].concat();
                Ok::<_, hyper::Error>(Response::new(Full::new(bytes::Bytes::from(answer))))
            });
            let mut server = http2::Builder::new(TokioExecutor::new());
            // Smaller than what the client sends, so that it has to wait for room.
            server
                .initial_connection_window_size(100_000)
                .serve_connection(stream, service)
                .await
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let exchange = Exchange {
            body: [&http::uid(0)[..], &[b' '; 40_000 - http::UID_LENGTH]].concat(),
            uid_at: 0,
            authority: SERVER_NAME.to_owned(),
            answer: (b"{".to_vec(), b"}".to_vec()),
        };
        let load = Load {
            address,
            tls: certificate.client(Version::Two).unwrap(),
            exchange: &exchange,
            version: Version::Two,
            connections: 1,
            streams: 8,
            fresh: false,
            arrivals: Arrivals::Rate(500.0),
            spin: false,
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(200),
        };
        let outcome = thread::scope(|scope| {
            scope.spawn(|| {
                runtime.block_on(async {
                    tokio::select! {
                        _ = server => {}
                        _ = stopped => {}
                    }
                });
            });
            let outcome = load.run();
            drop(stop);
            outcome.unwrap()
        });
        assert_eq!(
            (outcome.right, outcome.errors),
            (100, 0),
            "{:?}",
            outcome.first_error
        );
    }

    #[test]
    fn a_server_that_is_not_there_is_said_so() {
        let nowhere = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let certificate = Certificate::generate().unwrap();
        let exchange = Exchange {
            body: Vec::new(),
            uid_at: 0,
            authority: String::new(),
            answer: (Vec::new(), Vec::new()),
        };
        let load = Load {
            address: nowhere,
            tls: certificate.client(Version::One).unwrap(),
            exchange: &exchange,
            version: Version::One,
            connections: 1,
            streams: 1,
            fresh: false,
            arrivals: Arrivals::Saturate,
            spin: false,
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(100),
        };
        assert!(load.run().is_err());
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let samples = (1..=1000).rev().map(Duration::from_millis).collect();
        let latency = Latency::of(samples);
        assert_eq!((latency.p50, latency.p99), (500.0, 990.0));
        assert_eq!((latency.p999, latency.max), (999.0, 1000.0));
        assert_eq!(Latency::of(Vec::new()).p99, 0.0);
    }
}
