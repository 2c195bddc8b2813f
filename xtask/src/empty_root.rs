//! Does the agent work where nothing else is?
//!
//! A root directory on a read-only file system that holds the agent and what a kubelet mounts, no capabilities, user
//! 65532, and a name server to ask. Namespaces keep it apart from the machine: its own loopback device with port 53
//! free, its own mounts, its own processes, all gone when it ends.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use cwii_contract::names;
use cwii_lab::{Case, Lab, Mechanism, Options, Workload};
use serde_json::Value;
use tempfile::TempDir;

use crate::{dns::NameServer, process};

/// Runs the check in fresh namespaces. Where those cannot be had it says so and passes.
pub(crate) fn check(agent: &Path) -> Result<()> {
    let mut refusal = String::new();
    // Unprivileged users get them inside a user namespace, if they may map another user than themselves.
    for user in [&[][..], &["--user", "--map-root-user", "--map-auto"]] {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(user).args(NAMESPACES).arg("--");
            command
        };
        let probe = unshare()
            .args([
                "setpriv",
                "--reuid",
                USER,
                "--regid",
                USER,
                "--clear-groups",
                "true",
            ])
            .output();
        match probe {
            Ok(probe) if probe.status.success() => {
                let status = unshare()
                    .arg(std::env::current_exe()?)
                    .arg("empty-root")
                    .arg(agent)
                    .status()?;
                ensure!(
                    status.success(),
                    "the agent does not work in an empty root directory"
                );
                return Ok(());
            }
            Ok(probe) => refusal = process::complaint(&probe),
            Err(error) => refusal = format!("`unshare` cannot be started: {error}"),
        }
    }
    println!("empty root: skipped: no namespaces to be had here ({refusal})");
    Ok(())
}

/// The check itself, as root of fresh namespaces.
pub(crate) fn inside(agent: &Path) -> Result<()> {
    process::output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    the_privileges_are_gone()?;
    let name_server = NameServer::start(DOMAIN)?;
    let lab = Lab::start(Options {
        extra_names: vec![format!("*.{DOMAIN}")],
        ..Options::default()
    })?;
    for (case, mechanism) in [
        ("empty-root-aws", Mechanism::AwsWebIdentity),
        ("empty-root-gcp", Mechanism::GoogleImpersonated),
        ("empty-root-az", Mechanism::EntraFederated),
    ] {
        let workload = lab.lay_out(&Case::new(case, mechanism))?;
        let before = name_server.answered();
        let identity = verify(agent, &lab, &workload)
            .with_context(|| format!("{} in an empty root directory", workload.provider))?;
        let asked = name_server.answered() - before;
        ensure!(
            asked > 0,
            "{}: the name server was not asked",
            workload.provider
        );
        println!(
            "empty root: {} verified as {identity} (user {USER}, read-only, no capabilities, \
             {asked} name{} resolved)",
            workload.provider,
            if asked == 1 { "" } else { "s" },
        );
    }
    Ok(())
}

/// Runs the agent for one workload and returns who the cloud says it is.
fn verify(agent: &Path, lab: &Lab, workload: &Workload) -> Result<String> {
    let root = Root::build(agent, lab, workload)?;
    let mut command = confined();
    command
        .arg(root.path())
        .args([
            "/agent",
            "verify",
            workload.provider.as_str(),
            "--enforce",
            "--timeout=20s",
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(container_environment(lab, workload));
    for endpoint in &workload.allow_endpoints {
        command.arg("--allow-endpoint").arg(renamed(endpoint));
    }
    let output = command.output().context("the agent cannot be started")?;
    ensure!(
        output.status.success(),
        "the agent ended with {}: {}",
        output.status,
        process::complaint(&output)
    );
    let identity: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout)
        .context("standard output is expected to be the identity as JSON")?;
    let who = ["Arn", "principal", "clientId"]
        .iter()
        .find_map(|name| identity.get(*name)?.as_str())
        .with_context(|| format!("nobody is named in {identity:?}"))?;

    let message = fs::read(&root.termination_log)?;
    ensure!(
        message.len() <= names::TERMINATION_MESSAGE_MAX_BYTES,
        "the termination message has {} bytes",
        message.len()
    );
    let message = String::from_utf8(message).context("the termination message is no text")?;
    let result: Value = serde_json::from_str(message.lines().last().unwrap_or_default())
        .context("the termination message is expected to end in a line of JSON")?;
    ensure!(
        result["outcome"] == "verified",
        "the termination message has the outcome {}",
        result["outcome"]
    );
    Ok(who.to_owned())
}

/// The command that enters a root directory, named next, as a container runtime would: user 65532, no capabilities,
/// none to be gained. What `chroot` itself needs it loses by becoming that user.
fn confined() -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--no-new-privs",
        "--bounding-set=-all,+sys_chroot,+setuid,+setgid",
        "chroot",
        &format!("--userspec={USER}:{USER}"),
        "--groups=",
    ]);
    command
}

/// Shows that [`confined`] does what it says.
fn the_privileges_are_gone() -> Result<()> {
    let status = process::output(confined().args(["/", "cat", "/proc/self/status"]))?;
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let four = [USER; 4].join(" ");
    for (name, expected) in [
        ("Uid", four.as_str()),
        ("Gid", four.as_str()),
        ("Groups", ""),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
    ] {
        let found = field(name);
        ensure!(
            found.as_deref() == Some(expected),
            "expected {name} `{expected}` of a confined process, found {found:?}"
        );
    }
    Ok(())
}

/// A root directory on a read-only file system of its own.
struct Root {
    folder: TempDir,
    termination_log: PathBuf,
}

impl Root {
    fn build(agent: &Path, lab: &Lab, workload: &Workload) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = Self {
            termination_log: folder.path().join("termination-log"),
            folder,
        };
        let path = root.path();
        fs::create_dir(&path)?;
        mount(&["-t", "tmpfs", "-o", "mode=0755", "tmpfs"], &path)?;
        fs::copy(agent, path.join("agent"))?;
        for (file, text) in [
            (
                "etc/hosts",
                "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost\n",
            ),
            // As the kubelet writes it under `dnsPolicy: ClusterFirst`.
            (
                "etc/resolv.conf",
                "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
                 nameserver 127.0.0.1\noptions ndots:5\n",
            ),
            ("dev/termination-log", ""),
        ] {
            write(&path.join(file), text)?;
        }
        write(&path.join(CA_FILE), fs::read(lab.ca_file())?)?;
        copy_mounts(&workload.dir.join("var"), &path.join("var"), workload)?;

        // The kubelet makes the file on the node, writable for everybody, and mounts it.
        write(&root.termination_log, "")?;
        fs::set_permissions(&root.termination_log, Permissions::from_mode(0o666))?;
        let from = root.termination_log.to_string_lossy();
        mount(&["--bind", &from], &path.join("dev/termination-log"))?;
        mount(&["-o", "remount,ro"], &path)?;
        match File::create(path.join("probe")) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(root),
            other => bail!("the root directory is not read-only: {other:?}"),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("root")
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Otherwise the folder cannot be removed; the mounts would end with the namespace all the same.
        let _ = Command::new("umount")
            .arg("--recursive")
            .arg(self.path())
            .status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> Result<()> {
    process::output(Command::new("mount").args(arguments).arg(at)).map(drop)
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content).with_context(|| path.display().to_string())
}

/// Copies a workload's mounts: symbolic links as such, Google's credentials with the names inside the container, and
/// tokens as the kubelet leaves them for a pod whose containers all run as one user: theirs alone.
fn copy_mounts(from: &Path, to: &Path, workload: &Workload) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_dir() {
            copy_mounts(&source, &target, workload)?;
        } else if entry.file_name() == names::TOKEN_FILE_NAME {
            fs::copy(&source, &target)?;
            chown(&target, Some(USER.parse()?), Some(USER.parse()?))?;
            fs::set_permissions(&target, Permissions::from_mode(0o600))?;
        } else {
            let text = fs::read_to_string(&source)?;
            write(&target, renamed(&relocated(&text, workload)))?;
        }
    }
    Ok(())
}

/// The workload's variables as they are inside its container. Those that lead to its home, which it has not, are what
/// keeps a developer's machine out of the lab, and mean nothing here.
fn container_environment(lab: &Lab, workload: &Workload) -> BTreeMap<String, String> {
    let ca = lab.ca_file().to_string_lossy().into_owned();
    let home = workload.dir.join("home").to_string_lossy().into_owned();
    workload
        .env
        .iter()
        .filter(|(_, value)| !value.starts_with(&home))
        .map(|(name, value)| {
            let value = if *value == ca {
                format!("/{CA_FILE}")
            } else {
                relocated(value, workload)
            };
            (name.clone(), renamed(&value))
        })
        .collect()
}

/// The workload's folder is the container's root.
fn relocated(text: &str, workload: &Workload) -> String {
    text.replace(&*workload.dir.to_string_lossy(), "")
}

/// The lab under a name that only the name server knows.
fn renamed(text: &str) -> String {
    text.replace("localhost:", &format!("lab.{DOMAIN}:"))
}

const NAMESPACES: [&str; 5] = ["--net", "--mount", "--pid", "--fork", "--kill-child"];
const USER: &str = "65532";
const DOMAIN: &str = "cwii.test";
const CA_FILE: &str = "var/run/secrets/lab/ca.pem";
