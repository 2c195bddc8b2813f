//! The official clients: command-line tools found on `PATH`, and the Python SDKs, each doing what the agent does.
//!
//! What is not installed is installed from its registry, in pinned versions, into virtual environments outside the
//! checkout. Telemetry and update checks are turned off, which is to the clients' advantage.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use cwii_contract::Provider;
use cwii_lab::{Lab, Workload};

use super::measure::Invocation;
use crate::process;

/// An official client of one cloud.
pub(crate) struct Client {
    /// What it is called.
    pub(crate) name: &'static str,
    /// How it is run, or why it cannot be.
    pub(crate) invocation: Result<Invocation>,
}

/// The clients of a workload's cloud.
pub(crate) fn official(lab: &Lab, workload: &Workload) -> Vec<Client> {
    let environment = environment(workload);
    let run = |command: Vec<OsString>| Invocation {
        command,
        environment: environment.clone(),
    };
    let python = |package: &str, program: &str| {
        let python = virtual_environment(package)?.join("bin/python");
        Ok(run(vec![python.into(), "-c".into(), program.into()]))
    };
    match workload.provider {
        Provider::Aws => {
            let aws = process::find("aws").map_or_else(
                || Ok(virtual_environment("awscli==1.46.3")?.join("bin/aws")),
                Ok,
            );
            vec![
                Client {
                    name: "aws sts get-caller-identity",
                    invocation: aws.map(|aws| {
                        run(vec![aws.into(), "sts".into(), "get-caller-identity".into()])
                    }),
                },
                Client {
                    name: "botocore (Python)",
                    invocation: python("botocore==1.44.5", BOTOCORE_PROGRAM),
                },
            ]
        }
        Provider::Gcp => {
            let gcloud = process::find("gcloud").context("not on PATH");
            vec![
                Client {
                    name: "gcloud auth application-default print-access-token",
                    invocation: gcloud.map(|gcloud| {
                        let mut command = vec![gcloud.into()];
                        command.extend(
                            ["auth", "application-default", "print-access-token"].map(Into::into),
                        );
                        run(command)
                    }),
                },
                Client {
                    name: "google-auth (Python)",
                    invocation: python("google-auth[requests]==2.62.2", GOOGLE_PROGRAM),
                },
            ]
        }
        Provider::Az => {
            let az = process::find("az")
                .context("not on PATH")
                .and_then(|az| prepare_az(&az, lab, &environment).map(|()| az));
            vec![
                Client {
                    name: "az login && az account show",
                    invocation: az.map(|az| {
                        let command = ["/bin/sh".into(), "-ec".into(), AZ_SCRIPT.into(), az.into()];
                        run(command.into())
                    }),
                },
                Client {
                    name: "azure-identity (Python)",
                    invocation: python("azure-identity==1.27.0", AZURE_PROGRAM),
                },
            ]
        }
    }
}

/// The workload's variables, and the few that programs on a normal machine have.
fn environment(workload: &Workload) -> BTreeMap<String, OsString> {
    let own = [
        ("PATH", env::var_os("PATH").unwrap_or_default()),
        ("HOME", workload.dir.join("home").into()),
        ("LANG", "C.UTF-8".into()),
        ("CLOUDSDK_CORE_DISABLE_PROMPTS", "1".into()),
        ("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "1".into()),
        (
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK",
            "1".into(),
        ),
        ("AZURE_CORE_COLLECT_TELEMETRY", "false".into()),
        // It would ask the real Entra about the lab.
        ("AZURE_CORE_INSTANCE_DISCOVERY", "false".into()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let workload = workload
        .env
        .iter()
        .map(|(name, value)| (name.clone(), value.into()));
    own.into_iter().chain(workload).collect()
}

/// Makes the lab's Entra a cloud of the az CLI, which ignores `AZURE_AUTHORITY_HOST`.
fn prepare_az(az: &Path, lab: &Lab, environment: &BTreeMap<String, OsString>) -> Result<()> {
    let az = |arguments: &[&str]| {
        process::output(
            Command::new(az)
                .args(arguments)
                .args(["--output", "none"])
                .env_clear()
                .envs(environment),
        )
    };
    let authority = &lab.endpoints().entra;
    let arm = "https://management.azure.com/";
    az(&[
        "cloud",
        "register",
        "--name",
        "CwiiLab",
        "--skip-endpoint-discovery",
        "--endpoint-active-directory",
        authority,
        "--endpoint-active-directory-resource-id",
        arm,
        "--endpoint-resource-manager",
        arm,
        "--endpoint-management",
        arm,
        "--endpoint-gallery",
        arm,
    ])?;
    az(&["cloud", "set", "--name", "CwiiLab"])?;
    Ok(())
}

/// A virtual environment with one package, made once and kept in the cache.
fn virtual_environment(package: &str) -> Result<PathBuf> {
    let name: String = package
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let folder = cache()?.join(name);
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(folder);
    }
    eprintln!("installing {package} into {}", folder.display());
    process::output(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )
    .context("no Python with venv")?;
    process::output(
        Command::new(folder.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .arg(package),
    )
    .with_context(|| format!("{package} cannot be installed"))?;
    fs::write(complete, "")?;
    Ok(folder)
}

fn cache() -> Result<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    let folder = base
        .or_else(home)
        .unwrap_or_else(env::temp_dir)
        .join("cwii-bench");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

const BOTOCORE_PROGRAM: &str = "\
import botocore.session
print(botocore.session.get_session().create_client('sts').get_caller_identity()['Arn'])
";

const GOOGLE_PROGRAM: &str = "\
import google.auth
from google.auth.transport.requests import Request
credentials, _ = google.auth.default(scopes=['https://www.googleapis.com/auth/cloud-platform'])
credentials.refresh(Request())
";

const AZURE_PROGRAM: &str = "\
from azure.identity import WorkloadIdentityCredential
WorkloadIdentityCredential().get_token('https://management.azure.com/.default')
";

/// As people write it in a verification container; the lab has no subscriptions to list. The CLI takes the token as an
/// argument only, which is tolerable for the lab's throw-away one.
const AZ_SCRIPT: &str = r#"
"$0" login --service-principal --username "$AZURE_CLIENT_ID" --tenant "$AZURE_TENANT_ID" \
  --federated-token "$(cat "$AZURE_FEDERATED_TOKEN_FILE")" --skip-subscription-discovery --output none
"$0" account show
"#;
