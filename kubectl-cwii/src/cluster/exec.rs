//! Credential plugins: programs of the kubeconfig that print credentials.
//!
//! kube runs them too, but repeats what they print in its errors, and knows no client certificate from them. What a
//! plugin prints is a secret or may be one: it is read, used and never shown. What it says on standard error reaches a
//! terminal, where it may ask somebody to log in, and nothing else.
//!
//! Source: "client-go credential plugins"
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>).

use std::{io::IsTerminal as _, process::Stdio};

use jiff::Timestamp;
use kube::config::{Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;

use crate::{
    problem::{Problem, described},
    stop::Stop,
};

/// What a plugin gave.
pub(super) struct PluginCredentials {
    pub(super) token: Option<SecretString>,
    /// Certificate and key, PEM.
    pub(super) identity: Option<(String, SecretString)>,
    pub(super) expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<String>,
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    client_key_data: Option<SecretString>,
}

/// Runs the plugin of a user.
///
/// # Errors
///
/// It cannot be run, fails, or prints no credentials. Nothing of what it prints is in the error.
pub(super) async fn credentials(
    config: &ExecConfig,
    cluster: &Cluster,
    server: &str,
    user: &str,
    stop: &Stop,
) -> Result<PluginCredentials, Problem> {
    let Some(program) = config.command.as_deref().filter(|c| !c.is_empty()) else {
        return Err(Problem::new(format!(
            "`exec` of user `{user}` has no `command`"
        )));
    };
    let of_user = format!("the credential plugin `{program}` of user `{user}`");
    let api_version = config.api_version.as_deref().unwrap_or_default();
    if !API_VERSIONS.contains(&api_version) {
        return Err(Problem::new(format!(
            "{of_user} has the apiVersion `{api_version}`, expected `{}` or `{}`",
            API_VERSIONS[0], API_VERSIONS[1]
        )));
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let interactive = match config.interactive_mode {
        Some(ExecInteractiveMode::Never) => false,
        Some(ExecInteractiveMode::Always) if !terminal => {
            return Err(Problem::new(format!(
                "{of_user} asks questions, but standard input or standard error is no terminal"
            )));
        }
        Some(ExecInteractiveMode::Always | ExecInteractiveMode::IfAvailable) | None => terminal,
    };
    let mut spec = json!({ "interactive": interactive });
    if config.provide_cluster_info {
        let info = ExecAuthCluster::try_from(&Cluster {
            server: Some(server.to_owned()),
            ..cluster.clone()
        })
        .map_err(|_| {
            Problem::new(format!(
                "{of_user} wants the cluster's certificate authority, which could not be read"
            ))
        })?;
        spec["cluster"] = serde_json::to_value(info).unwrap_or_default();
    }
    let info = json!({ "kind": "ExecCredential", "apiVersion": api_version, "spec": spec });
    let mut command = Command::new(program);
    command
        .args(config.args.iter().flatten())
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(if interactive {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .stderr(if interactive {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    for variable in config.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let output = tokio::select! {
        output = command.output() => output,
        _ = stop.wait() => return Err(Problem::new(format!("{of_user} had not ended"))),
    };
    let output = output.map_err(|error| {
        let problem = Problem::new(format!("{of_user} could not be run: {}", described(&error)));
        match config.install_hint.as_deref().map(str::trim) {
            Some(hint) if !hint.is_empty() => problem.help(format!("the kubeconfig says: {hint}")),
            _ => problem.help(format!("put `{program}` into a directory of PATH")),
        }
    })?;
    if !output.status.success() {
        let how = match output.status.code() {
            Some(code) => format!("with exit code {code}"),
            None => "by a signal".to_owned(),
        };
        return Err(Problem::new(format!("{of_user} ended {how}"))
            .help("what it says is not shown here, it may hold secrets; see it with")
            .help("  kubectl get --raw /version"));
    }
    let useless = |what: &str| Problem::new(format!("{of_user} printed {what}"));
    let printed: ExecCredential =
        serde_json::from_slice(&output.stdout).map_err(|_| useless("no ExecCredential in JSON"))?;
    if printed.api_version != api_version {
        return Err(useless(
            "an ExecCredential of another apiVersion than it was asked for",
        ));
    }
    let Some(status) = printed.status else {
        return Err(useless("an ExecCredential without `status`"));
    };
    let expires = status
        .expiration_timestamp
        .map(|text| text.parse::<Timestamp>())
        .transpose()
        .map_err(|_| useless("an `expirationTimestamp` that is no RFC 3339 time"))?;
    let identity = match (status.client_certificate_data, status.client_key_data) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            return Err(useless(
                "a client certificate without its key, or a key without its certificate",
            ));
        }
    };
    if status.token.is_none() && identity.is_none() {
        return Err(useless("neither a token nor a client certificate"));
    }
    Ok(PluginCredentials {
        token: status.token,
        identity,
        expires,
    })
}

const API_VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];
