//! The inside of a pod: namespaces of its own, and one container after the other in them.
//!
//! Rust's safe standard library cannot enter a namespace, so `unshare` starts a small program there
//! (`cwii-e2e-sandbox`), which is [`main`]. It reads one line of JSON per order and answers with one line. It is the
//! first process of its process namespace: when it ends, so does everything that it started.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::process::{self, lasting};

/// A sandbox, seen from outside. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Sandbox {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A port inside the sandbox that leads to a socket outside.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Forward {
    /// `127.0.1.1:443`.
    pub(crate) from: String,
    /// A Unix socket: those are reached by path, whatever the network namespace.
    pub(crate) to: PathBuf,
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
    pub(crate) fn start(program: &Path, forwards: &[Forward]) -> Result<Self> {
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
        sandbox.ask::<_, ()>(&forwards)?;
        Ok(sandbox)
    }

    /// Runs a container to its end.
    pub(crate) fn run(&mut self, container: &Container) -> Result<Exit> {
        self.ask(container)
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
    let forwards = orders.next().context("no orders")??;
    answer(open(&forwards).map(|()| serde_json::Value::Null))?;
    for order in orders {
        answer(contain(&order?))?;
    }
    Ok(())
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

fn open(forwards: &str) -> Result<()> {
    process::output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let forwards: Vec<Forward> = serde_json::from_str(forwards)?;
    for forward in forwards {
        let listener =
            TcpListener::bind(&forward.from).with_context(|| format!("port {}", forward.from))?;
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                // A service that is gone looks like a connection that is closed.
                if let Ok(unix) = UnixStream::connect(&forward.to) {
                    let _ = pump(tcp, unix);
                }
            }
        });
    }
    Ok(())
}

fn contain(order: &str) -> Result<serde_json::Value> {
    let container: Container = serde_json::from_str(order)?;
    let root = Root::build(&container)?;
    let groups: Vec<String> = container.groups.iter().map(u32::to_string).collect();
    // No capabilities and none to be gained. What `chroot` itself needs it loses by becoming the user.
    let output = Command::new("setpriv")
        .args([
            "--no-new-privs",
            "--bounding-set=-all,+sys_chroot,+setuid,+setgid",
            "chroot",
            &format!("--userspec={}:{}", container.uid, container.gid),
            &format!("--groups={}", groups.join(",")),
        ])
        .arg(root.0)
        .args(&container.command)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(&container.env)
        .stdin(Stdio::null())
        .output()?;
    Ok(serde_json::to_value(Exit {
        code: output
            .status
            .code()
            .or(output.status.signal().map(|s| 128 + s))
            .unwrap_or_default(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })?)
}

/// A root directory on a file system of its own, unmounted in the end.
struct Root<'a>(&'a Path);

impl<'a> Root<'a> {
    fn build(container: &'a Container) -> Result<Self> {
        let root = Self(&container.root);
        fs::create_dir_all(root.0)?;
        mount(
            &["-t", "tmpfs", "-o", "mode=0755"],
            Path::new("tmpfs"),
            root.0,
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
            mount(&["-o", "remount,ro"], Path::new("tmpfs"), root.0)?;
        }
        Ok(root)
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        // The mounts end with the namespace all the same.
        let _ = Command::new("umount")
            .args(["--recursive", "--lazy"])
            .arg(self.0)
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

const NAMESPACES: [&str; 7] = [
    "--net",
    "--mount",
    "--pid",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child",
];
