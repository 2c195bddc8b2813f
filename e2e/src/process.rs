//! Other programs: run to their end, or kept running for as long as this process runs and not a moment longer.
//!
//! A test may panic, be interrupted or be killed; what it started has to end all the same. Two things see to that. The
//! kernel kills a child when the thread that started it ends (`PR_SET_PDEATHSIG`, which `setpriv` sets without unsafe
//! code here), so one thread that lives as long as the process starts them all. And a shell that waits for the end of
//! its standard input removes the files.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A program that runs in the background. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command that [`lasting`] made; what it prints goes to a file.
    ///
    /// # Errors
    ///
    /// It cannot be started, or the file not be made.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| log.display().to_string())?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        Ok(Self {
            name: name.to_owned(),
            child: spawn(command).with_context(|| format!("`{name}` cannot be started"))?,
            log: log.to_owned(),
        })
    }

    /// Fails, with the end of its log, if the program has ended.
    ///
    /// # Errors
    ///
    /// The program has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("`{}` ended with {status}: {}", self.name, self.log_tail()),
        }
    }

    /// Asks it to end, by SIGTERM.
    ///
    /// # Errors
    ///
    /// There is no such process any more.
    pub fn terminate(&self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)
            .with_context(|| format!("`{}`", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// It still runs at the deadline.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "`{}` still runs after {within:?}: {}",
                self.name,
                self.log_tail()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Everything that it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines that it printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log(), 15)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command for a program that ends with this process.
#[must_use]
pub fn lasting(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program.as_ref());
    command
}

/// Starts a command of [`lasting`] on the thread that lives as long as the process: it would otherwise end with the
/// test that happened to need it first.
///
/// # Errors
///
/// It cannot be started.
pub(crate) fn spawn(command: Command) -> Result<Child> {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static STARTER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, incoming) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in incoming {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, answered) = mpsc::channel();
    starter
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|_| anyhow!("the thread that starts programs has ended"))?;
    Ok(answered.recv()??)
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
///
/// It cannot be started, or it fails; then the error holds the end of what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("`{name}` cannot be started"))?;
    ensure!(
        output.status.success(),
        "`{name}` failed ({}): {}",
        output.status,
        complaint(&output)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last lines that a command printed; standard error where there is any.
#[must_use]
pub(crate) fn complaint(output: &Output) -> String {
    let text = if output.stderr.trim_ascii().is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    tail(&String::from_utf8_lossy(text), 5)
}

/// A folder in memory where there is one (etcd writes a lot), which is removed when this process ends, however it ends.
/// With `CWII_E2E_KEEP` set it stays, for whoever wants to read the logs.
///
/// # Errors
///
/// The folder cannot be made, or there is no shell.
pub(crate) fn scratch() -> Result<PathBuf> {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("cwii-e2e-");
    let folder = builder
        .tempdir_in(memory)
        .or_else(|_| builder.tempdir())?
        .keep();
    // Pods run as users of their own and have to reach what is mounted from here.
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    if std::env::var_os("CWII_E2E_KEEP").is_some() {
        return Ok(folder);
    }
    let mut caretaker = Command::new("sh");
    caretaker
        .args(["-c", "cat >/dev/null; sleep 1; rm -rf -- \"$0\""])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Whoever interrupts the tests does not interrupt the cleaning.
    std::os::unix::process::CommandExt::process_group(&mut caretaker, 0);
    let caretaker = caretaker.spawn().context("`sh` cannot be started")?;
    // Its standard input stays open until this process is gone.
    static CARETAKERS: Mutex<Vec<Child>> = Mutex::new(Vec::new());
    CARETAKERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(caretaker);
    Ok(folder)
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    if lines.is_empty() {
        return "it printed nothing".to_owned();
    }
    lines[lines.len().saturating_sub(count)..].join("\n")
}

const POLL: Duration = Duration::from_millis(20);
