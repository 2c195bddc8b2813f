//! A server under load: a process of its own on a processor of its own, and what the kernel says about it.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::{
        resource::{UsageWho, getrusage},
        signal::{Signal, kill},
        time::TimeValLike,
    },
    unistd::{Pid, SysconfVar, sysconf},
};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::process;

/// From now on the signals that ask this process to end do so, and end its servers first.
pub(crate) fn end_servers_on_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Handlers, not a mask: children would inherit that.
    let guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    drop(guard);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        for id in lock(&RUNNING).iter() {
            let _ = kill(*id, Signal::SIGKILL);
        }
        std::process::exit(130);
    });
    Ok(())
}

/// The servers that have not been waited for.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child process; it is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    /// The end of what it printed.
    said: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Starts a command, on the server's processor where there is more than one.
    pub(crate) fn start(command: &mut Command, processors: &Processors) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A child begins on the processors of the thread that starts it.
        let mut child = thread::scope(|scope| {
            scope
                .spawn(|| {
                    processors.pin_server()?;
                    command.spawn().with_context(|| {
                        format!("{} cannot be started", command.get_program().display())
                    })
                })
                .join()
                .unwrap_or_else(|_| bail!("the thread that starts it panicked"))
        })?;
        lock(&RUNNING).push(Pid::from_raw(child.id().try_into()?));
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let outputs = [
            child
                .stdout
                .take()
                .map(|o| Box::new(o) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|o| Box::new(o) as Box<dyn Read + Send>),
        ];
        for mut output in outputs.into_iter().flatten() {
            let said = Arc::clone(&said);
            // Reads to the end, so that the child never waits for it, in chunks, so that a log line costs nothing here.
            thread::spawn(move || {
                let mut chunk = vec![0; 1 << 16];
                while let Ok(n @ 1..) = output.read(&mut chunk) {
                    let mut said = lock(&said);
                    if said.len() > KEPT {
                        said.clear();
                    }
                    said.extend_from_slice(&chunk[..n]);
                }
            });
        }
        Ok(Self { child, said })
    }

    /// The first line for which `find` gives something.
    ///
    /// # Errors
    ///
    /// It ends or says nothing of the kind in time; the error holds what it said instead.
    pub(crate) fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.said().lines().find_map(&find) {
                return Ok(found);
            }
            self.ensure_alive()?;
            ensure!(
                Instant::now() < limit,
                "the server does not say that it is ready, but: {}",
                self.tail()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&lock(&self.said)).into_owned()
    }

    fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }

    /// Resident memory now, and the most that it ever was.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = self.proc("status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
                .with_context(|| format!("/proc has no {name}"))
        };
        Ok(Memory {
            resident_kib: field("VmRSS:")?,
            peak_kib: field("VmHWM:")?,
        })
    }

    /// Processor time so far, of user and kernel.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        // The name may hold anything, up to the last parenthesis. Fields 14 and 15, proc_pid_stat(5).
        let (_, fields) = stat.rsplit_once(')').context("/proc stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks: u64 = fields
            .get(11..13)
            .context("/proc stat")?
            .iter()
            .map(|field| field.parse::<u64>())
            .sum::<Result<u64, _>>()?;
        duration(ticks)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended.
    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server has ended with {status}: {}", self.tail());
        }
        Ok(())
    }

    /// Every system call that it makes while `work` runs, counted by strace; `Ok(None)` where that is not installed or
    /// not permitted.
    pub(crate) fn system_calls(&self, work: impl FnOnce() -> Result<u64>) -> Result<Option<f64>> {
        let Some(strace) = process::find("strace") else {
            return Ok(None);
        };
        let mut strace = Command::new(strace)
            .args(["-f", "-c", "-q", "-p", &self.id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let attached = || {
            let status = self.proc("status").unwrap_or_default();
            status
                .lines()
                .any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        };
        let limit = Instant::now() + Duration::from_secs(2);
        while !attached() && Instant::now() < limit && strace.try_wait()?.is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        let requests = if attached() { Some(work()) } else { None };
        let id = Pid::from_raw(strace.id().try_into()?);
        // It may have ended by itself, having been refused.
        let _ = kill(id, Signal::SIGINT);
        let limit = Instant::now() + Duration::from_secs(2);
        while strace.try_wait()?.is_none() {
            if Instant::now() > limit {
                strace.kill()?;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let output = strace.wait_with_output()?;
        let Some(requests) = requests else {
            return Ok(None);
        };
        let requests = requests?;
        ensure!(requests > 0, "no requests while system calls were counted");
        let table = String::from_utf8_lossy(&output.stderr);
        // `100.00  0.012345  5  2345  12 total`: share, seconds, microseconds per call, calls, perhaps errors.
        let total = table
            .lines()
            .find(|line| line.trim_end().ends_with("total"))
            .and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
        Ok(total.map(|calls| calls as f64 / requests as f64))
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| path)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        lock(&RUNNING).retain(|id| u32::try_from(id.as_raw()) != Ok(self.child.id()));
    }
}

/// KiB.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) resident_kib: u64,
    pub(crate) peak_kib: u64,
}

/// Who runs where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processors {
    server: Option<usize>,
    generator: Option<usize>,
}

impl Processors {
    /// The first for the server and the last for the generator; nothing is pinned where there is only one.
    pub(crate) fn split() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let allowed: Vec<usize> = (0..CpuSet::count())
            .filter(|cpu| allowed.is_set(*cpu).unwrap_or_default())
            .collect();
        Ok(match allowed[..] {
            [first, .., last] => Self {
                server: Some(first),
                generator: Some(last),
            },
            _ => Self {
                server: None,
                generator: None,
            },
        })
    }

    /// Whether there is more than one.
    pub(crate) fn are_split(&self) -> bool {
        self.server.is_some()
    }

    /// Keeps the calling thread, and what it starts, on the generator's processor.
    pub(crate) fn pin_generator(&self) -> Result<()> {
        pin(self.generator)
    }

    fn pin_server(&self) -> Result<()> {
        pin(self.server)
    }
}

fn pin(cpu: Option<usize>) -> Result<()> {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &set).context("sched_setaffinity")?;
    }
    Ok(())
}

/// What the machine did beside this task.
pub(crate) struct Others {
    since: Instant,
    busy: Duration,
    ours: Duration,
}

impl Others {
    /// Begins to watch.
    pub(crate) fn watch() -> Result<Self> {
        Ok(Self {
            since: Instant::now(),
            busy: busy()?,
            ours: ours()?,
        })
    }

    /// How many processors other processes have kept busy since then. Every child has to have ended.
    pub(crate) fn processors(&self) -> Result<f64> {
        let busy = busy()?.saturating_sub(self.busy);
        let ours = ours()?.saturating_sub(self.ours);
        Ok(busy.saturating_sub(ours).as_secs_f64() / self.since.elapsed().as_secs_f64())
    }
}

/// Processor time of everybody since the machine was started, proc_stat(5).
fn busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let times: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // All but `idle` and `iowait`; the two after `steal` are part of the first two.
    let ticks = |range: std::ops::Range<usize>| times.get(range).into_iter().flatten().sum::<u64>();
    duration(ticks(0..3) + ticks(5..8))
}

fn ours() -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            sum += Duration::from_micros(time.num_microseconds().try_into()?);
        }
    }
    Ok(sum)
}

fn duration(ticks: u64) -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// A control group that limits processor time, as a container's limit does. It is removed when this is dropped.
pub(crate) struct Limit {
    folder: PathBuf,
}

impl Limit {
    /// Puts a server under a limit of so many thousandths of a processor, in periods of 100 ms as the kubelet does.
    ///
    /// # Errors
    ///
    /// Neither version of control groups has a processor controller that may be written to here.
    pub(crate) fn set(server: &Server, millicores: u64) -> Result<Self> {
        let name = format!("cwii-load-{}", server.id());
        let quota = millicores * 100;
        let one = Path::new("/sys/fs/cgroup/cpu").join(&name);
        let two = Path::new("/sys/fs/cgroup").join(&name);
        let (folder, file, value) = if Path::new("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists() {
            (one, "cpu.cfs_quota_us", quota.to_string())
        } else {
            (two, "cpu.max", format!("{quota} 100000"))
        };
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let limit = Self { folder };
        let write = |file: &str, value: &str| {
            let path = limit.folder.join(file);
            fs::write(&path, value).with_context(|| path.display().to_string())
        };
        write(file, &value)?;
        write("cgroup.procs", &server.id().to_string())?;
        Ok(limit)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // Only empty groups can be removed; the server is dropped first and leaves within milliseconds.
        let limit = Instant::now() + Duration::from_secs(1);
        while fs::remove_dir(&self.folder).is_err() && Instant::now() < limit {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Bytes of a server's output, before it is forgotten.
const KEPT: usize = 1 << 16;
const PATIENCE: Duration = Duration::from_secs(20);
