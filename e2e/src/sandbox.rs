//! The inside of a pod: namespaces of its own, and one container after the other in them.
//!
//! Rust's safe standard library cannot enter a namespace, so `unshare` starts a small program there
//! (`cwii-e2e-sandbox`), which is [`main`]. It reads one line of JSON per order and answers with one line. It is the
//! first process of its process namespace: when it ends, so does everything that it started.
//!
//! Its network has a loopback device and nothing else. Unix sockets, which are reached by path whatever the network
//! namespace, lead out of it and into it, so a pod listens on the ports of its spec under an address of its own, and
//! nobody outside has to know of free ports.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::process::{self, lasting};

/// A sandbox, seen from outside. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Sandbox {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What is to be reached inside, and from inside.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Wiring {
    /// Addresses of the loopback device beside its own: `10.244.0.7`.
    pub(crate) addresses: Vec<String>,
    /// Ports inside that lead out.
    pub(crate) outward: Vec<Forward>,
    /// Ports inside that are reached from outside.
    pub(crate) inward: Vec<Forward>,
}

/// A port inside the sandbox and a Unix socket.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Forward {
    /// `127.0.1.1:443`.
    pub(crate) port: String,
    /// Outward somebody outside listens there, inward the sandbox does.
    pub(crate) socket: PathBuf,
}

#[derive(Debug, Deserialize, Serialize)]
enum Order {
    /// A container to its end; answers [`Exit`].
    Run(Box<Container>),
    /// A container that goes on, and where what it prints is kept; answers its number.
    Start(Box<Container>, PathBuf),
    /// Whether a container that went on has ended; answers its code or nothing.
    Ended(usize),
    /// Asks a container to end, or makes it.
    Signal(usize, i32),
}

/// A container to run to its end.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Container {
    /// An empty folder, where its root directory is mounted.
    pub(crate) root: PathBuf,
    /// Small files of its own: path, content.
    pub(crate) files: BTreeMap<String, String>,
    /// What is mounted, in order.
    pub(crate) mounts: Vec<Mount>,
    /// Whether the root directory can be written to.
    pub(crate) read_only: bool,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Its whole environment.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// A file or folder from outside, inside.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Mount {
    pub(crate) from: PathBuf,
    pub(crate) to: String,
    pub(crate) read_only: bool,
}

/// How a container ended.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Exit {
    /// As a shell has it: 128 and the number for a signal.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    /// Whether this machine lets us have namespaces; if not, what it says.
    pub(crate) fn is_possible() -> Result<()> {
        process::output(
            Command::new("unshare")
                .args(NAMESPACES)
                .args(["--", "true"]),
        )
        .map(drop)
        .context("pods cannot be run: no namespaces to be had here")
    }

    /// Starts one: `program` is `cwii-e2e-sandbox`.
    pub(crate) fn start(program: &Path, wiring: &Wiring) -> Result<Self> {
        let mut command = lasting("unshare");
        command
            .args(NAMESPACES)
            .arg("--")
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = process::spawn(command)?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the sandbox has no pipes");
        };
        let mut sandbox = Self {
            child,
            orders,
            answers: BufReader::new(answers),
        };
        sandbox.ask::<_, ()>(wiring)?;
        Ok(sandbox)
    }

    /// Runs a container to its end.
    pub(crate) fn run_to_end(&mut self, container: Container) -> Result<Exit> {
        self.ask(&Order::Run(Box::new(container)))
    }

    /// Starts a container that goes on, and writes what it prints to a file. The answer is its number.
    pub(crate) fn set_off(&mut self, container: Container, log: PathBuf) -> Result<usize> {
        self.ask(&Order::Start(Box::new(container), log))
    }

    /// The exit code of a container that went on, once it has ended.
    pub(crate) fn ended(&mut self, number: usize) -> Result<Option<i32>> {
        self.ask(&Order::Ended(number))
    }

    /// Sends a signal to a container that goes on. One that has ended hears nothing.
    pub(crate) fn signal(&mut self, number: usize, signal: Signal) -> Result<()> {
        self.ask(&Order::Signal(number, signal as i32))
    }

    fn ask<T: Serialize, A: DeserializeOwned>(&mut self, order: &T) -> Result<A> {
        writeln!(self.orders, "{}", serde_json::to_string(order)?)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Result<A, String> =
            serde_json::from_str(&line).context("the sandbox ended without an answer")?;
        answer.map_err(anyhow::Error::msg)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program inside.
///
/// # Errors
///
/// Nobody gives orders, or nobody hears the answers.
pub fn main() -> Result<()> {
    let mut orders = io::stdin().lines();
    let answer = |result: Result<serde_json::Value>| -> Result<()> {
        let result = result.map_err(|error| format!("{error:#}"));
        writeln!(io::stdout(), "{}", serde_json::to_string(&result)?)?;
        Ok(())
    };
    let wiring = orders.next().context("no orders")??;
    answer(wire(&wiring).map(|()| serde_json::Value::Null))?;
    let mut running = Vec::new();
    for order in orders {
        answer(obey(&order?, &mut running))?;
    }
    Ok(())
}

/// A container that goes on.
struct Running {
    child: Child,
    ended: Option<ExitStatus>,
    // Unmounted in the end.
    _root: Root,
}

fn obey(order: &str, running: &mut Vec<Running>) -> Result<serde_json::Value> {
    Ok(match serde_json::from_str(order)? {
        Order::Run(container) => serde_json::to_value(run_to_end(&container)?)?,
        Order::Start(container, log) => {
            let log = File::create(log)?;
            let (mut command, root) = prepare(&container)?;
            let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
            running.push(Running {
                child,
                ended: None,
                _root: root,
            });
            (running.len() - 1).into()
        }
        Order::Ended(number) => {
            let container = running.get_mut(number).context(UNKNOWN)?;
            if container.ended.is_none() {
                container.ended = container.child.try_wait()?;
            }
            serde_json::to_value(container.ended.map(code))?
        }
        Order::Signal(number, signal) => {
            let container = running.get_mut(number).context(UNKNOWN)?;
            if container.ended.is_none() {
                let process = Pid::from_raw(container.child.id().try_into()?);
                kill(process, Signal::try_from(signal)?)?;
            }
            serde_json::Value::Null
        }
    })
}

/// Moves bytes between two streams until both have ended.
pub(crate) fn pump(tcp: TcpStream, unix: UnixStream) -> Result<()> {
    let (mut tcp_in, mut unix_out) = (tcp.try_clone()?, unix.try_clone()?);
    let (mut tcp_out, mut unix_in) = (tcp, unix);
    tcp_in.set_nodelay(true)?;
    thread::spawn(move || {
        let _ = io::copy(&mut tcp_in, &mut unix_out);
        let _ = unix_out.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = io::copy(&mut unix_in, &mut tcp_out);
        let _ = tcp_out.shutdown(Shutdown::Write);
    });
    Ok(())
}

fn wire(wiring: &str) -> Result<()> {
    process::output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let wiring: Wiring = serde_json::from_str(wiring)?;
    for address in wiring.addresses {
        process::output(Command::new("ip").args([
            "address",
            "add",
            &format!("{address}/32"),
            "dev",
            "lo",
        ]))?;
    }
    for Forward { port, socket } in wiring.outward {
        let listener = TcpListener::bind(&port).with_context(|| format!("port {port}"))?;
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                // A service that is gone looks like a connection that is closed.
                if let Ok(unix) = UnixStream::connect(&socket) {
                    let _ = pump(tcp, unix);
                }
            }
        });
    }
    for Forward { port, socket } in wiring.inward {
        let listener =
            UnixListener::bind(&socket).with_context(|| format!("socket {}", socket.display()))?;
        thread::spawn(move || {
            for unix in listener.incoming().flatten() {
                // So does a port where nobody listens.
                if let Ok(tcp) = TcpStream::connect(&port) {
                    let _ = pump(tcp, unix);
                }
            }
        });
    }
    Ok(())
}

fn run_to_end(container: &Container) -> Result<Exit> {
    let (mut command, _root) = prepare(container)?;
    let output = command.output()?;
    Ok(Exit {
        code: code(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// As a shell has it.
fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .or(status.signal().map(|s| 128 + s))
        .unwrap_or_default()
}

/// The container's program, and its root directory, which has to stay for as long as the program runs.
fn prepare(container: &Container) -> Result<(Command, Root)> {
    let root = Root::build(container)?;
    let groups: Vec<String> = container.groups.iter().map(u32::to_string).collect();
    // No capabilities and none to be gained. What `chroot` itself needs it loses by becoming the user.
    let mut command = Command::new("setpriv");
    command
        .args([
            "--no-new-privs",
            "--bounding-set=-all,+sys_chroot,+setuid,+setgid",
            "chroot",
            &format!("--userspec={}:{}", container.uid, container.gid),
            &format!("--groups={}", groups.join(",")),
        ])
        .arg(&root.0)
        .args(&container.command)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(&container.env)
        .stdin(Stdio::null());
    Ok((command, root))
}

/// A root directory on a file system of its own, unmounted in the end.
struct Root(PathBuf);

impl Root {
    fn build(container: &Container) -> Result<Self> {
        let root = Self(container.root.clone());
        fs::create_dir_all(&root.0)?;
        mount(
            &["-t", "tmpfs", "-o", "mode=0755"],
            Path::new("tmpfs"),
            &root.0,
        )?;
        for (path, text) in &container.files {
            let path = root.inside(path);
            make_folder(&path)?;
            fs::write(path, text)?;
        }
        for wanted in &container.mounts {
            let target = root.inside(&wanted.to);
            make_folder(&target)?;
            if wanted.from.is_dir() {
                fs::create_dir_all(&target)?;
            } else {
                fs::write(&target, "")?;
            }
            let options = if wanted.read_only { "bind,ro" } else { "bind" };
            mount(&["-o", options], &wanted.from, &target)?;
        }
        if container.read_only {
            mount(&["-o", "remount,ro"], Path::new("tmpfs"), &root.0)?;
        }
        Ok(root)
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // The mounts end with the namespace all the same.
        let _ = Command::new("umount")
            .args(["--recursive", "--lazy"])
            .arg(&self.0)
            .status();
    }
}

fn make_folder(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent()
        && !folder.exists()
    {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn mount(options: &[&str], from: &Path, to: &Path) -> Result<()> {
    process::output(Command::new("mount").args(options).arg(from).arg(to)).map(drop)
}

const UNKNOWN: &str = "no such container";
const NAMESPACES: [&str; 7] = [
    "--net",
    "--mount",
    "--pid",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child",
];
