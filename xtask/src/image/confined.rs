//! Runs an image as a kubelet would under the `restricted` Pod Security level: read-only root, no capabilities, none to be
//! gained, the image's own user, and no network.
//!
//! The runtime is runc, which most nodes have, on a bundle made of the image's layers.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::layout::{Image, Index};
use crate::process;

/// One command of an image, and what it has to say.
pub(crate) struct Run {
    pub(crate) arguments: &'static [&'static str],
    pub(crate) environment: &'static [&'static str],
    pub(crate) exit: i32,
    /// Parts of what it prints, on either stream.
    pub(crate) says: &'static [&'static str],
}

/// The agent: its two modes, and the proof that the root directory cannot be written.
pub(crate) const AGENT: [Run; 4] = [
    Run {
        arguments: &["--version"],
        environment: &[],
        exit: 0,
        says: &["cwii-agent ", env!("CARGO_PKG_VERSION")],
    },
    Run {
        arguments: &["verify", "aws"],
        environment: &[],
        exit: 0,
        says: &[
            "error[POD10]",
            "cwii: verification check failed (non-enforcing)",
        ],
    },
    Run {
        arguments: &["verify", "aws", "--enforce"],
        environment: &[],
        exit: 10,
        says: &["error[POD10]"],
    },
    Run {
        arguments: &["write-gcp-credentials", "--output", "/credentials.json"],
        environment: &[
            "CWII_GCP_CREDS_JSON={\"type\":\"external_account\",\"audience\":\"//iam.googleapis.com/projects/1/\
             locations/global/workloadIdentityPools/p/providers/k\",\"subject_token_type\":\
             \"urn:ietf:params:oauth:token-type:jwt\",\"token_url\":\"https://sts.googleapis.com/v1/token\",\
             \"credential_source\":{\"file\":\"/var/run/secrets/cwii.dev/gcp/token\"}}",
        ],
        exit: 10,
        says: &["Read-only file system"],
    },
];

/// The webhook: it starts, and says why it cannot serve here.
pub(crate) const WEBHOOK: [Run; 2] = [
    Run {
        arguments: &["--version"],
        environment: &[],
        exit: 0,
        says: &["cwii-webhook ", env!("CARGO_PKG_VERSION")],
    },
    Run {
        arguments: &[
            "--tls-cert-file=/tls/tls.crt",
            "--tls-key-file=/tls/tls.key",
        ],
        environment: &[],
        exit: 2,
        says: &["no way to reach the cluster"],
    },
];

/// The plugin: what needs no cluster, and what it says where there is none.
pub(crate) const PLUGIN: [Run; 3] = [
    Run {
        arguments: &["version"],
        environment: &[],
        exit: 0,
        says: &["Client Version: v", env!("CARGO_PKG_VERSION")],
    },
    Run {
        arguments: &["explain", "TOK03"],
        environment: &[],
        exit: 0,
        says: &["error[TOK03]"],
    },
    Run {
        arguments: &["doctor", "-A"],
        environment: &[],
        exit: 2,
        says: &["no cluster is configured"],
    },
];

/// Runs the image for this machine, where a runtime is to be had.
///
/// # Errors
///
/// It does not do what it should.
pub(crate) fn check(name: &str, index: &Index, runs: &[Run]) -> Result<()> {
    let Some(image) = index.here() else {
        println!("{name}: not run: none for this machine");
        return Ok(());
    };
    if process::find("runc").is_none() {
        println!("{name}: not run: runc is not here");
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        println!("{name}: not run: a runtime without privileges cannot become the image's user");
        return Ok(());
    }
    for run in runs {
        once(image, run).with_context(|| format!("{name} {}", run.arguments.join(" ")))?;
        println!(
            "{name}: `{}` ends with {} (user {}, read-only root, no capabilities, no new privileges)",
            run.arguments.join(" "),
            run.exit,
            image.config.user
        );
    }
    Ok(())
}

fn once(image: &Image, run: &Run) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bundle = folder.path().join("bundle");
    image.unpack(&bundle.join("rootfs"))?;
    fs::write(
        bundle.join("config.json"),
        configuration(image, run)?.to_string(),
    )?;
    let output = Command::new("runc")
        .arg("--root")
        .arg(folder.path().join("state"))
        .args(["run", "--bundle"])
        .arg(&bundle)
        // Its control group is named like it, and those are seen by the whole machine.
        .arg(format!("cwii-image-check-{}", std::process::id()))
        .output()
        .context("`runc` cannot be started")?;
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    let printed = String::from_utf8_lossy(&printed);
    ensure!(
        output.status.code() == Some(run.exit),
        "expected exit code {}, found {}: {printed}",
        run.exit,
        output.status
    );
    for part in run.says {
        ensure!(printed.contains(part), "expected `{part}` in: {printed}");
    }
    Ok(())
}

/// What the runtime is told: <https://github.com/opencontainers/runtime-spec/blob/main/config.md>.
fn configuration(image: &Image, run: &Run) -> Result<Value> {
    let (user, group) = image
        .config
        .user
        .split_once(':')
        .context("the image's user has no group")?;
    let none: [&str; 0] = [];
    let entry = image.config.entrypoint.iter().map(String::as_str);
    let arguments: Vec<&str> = entry.chain(run.arguments.iter().copied()).collect();
    let environment = image.config.env.iter().map(String::as_str);
    let environment: Vec<&str> = environment.chain(run.environment.iter().copied()).collect();
    Ok(json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": true },
        "process": {
            "cwd": "/",
            "args": arguments,
            "env": environment,
            "user": { "uid": user.parse::<u32>()?, "gid": group.parse::<u32>()? },
            "capabilities": {
                "bounding": none, "effective": none, "inheritable": none, "permitted": none, "ambient": none,
            },
            "noNewPrivileges": true,
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "mode=755"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }, { "type": "network" },
            ],
        },
    }))
}
