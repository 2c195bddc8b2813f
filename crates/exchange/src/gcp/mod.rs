//! Google: workload identity federation with an `external_account` document, and the metadata server of GKE.
//!
//! Application default credentials are looked for as the client libraries and gcloud do: the variables, then gcloud's
//! well-known file, then the metadata server.

mod external_account;
mod metadata;

use std::collections::BTreeMap;

use cwii_checks::facts::{Answer, Cause, ConfigurationProblemKind, Identity, Mechanism};
use cwii_contract::{
    ExternalAccount, Provider,
    env::{CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE, GOOGLE_APPLICATION_CREDENTIALS},
    external_account::ExternalAccountError,
};
use serde_json::Value;

use crate::{
    answer::answer,
    files::{self, FileError},
    http::{Http, OwnVariable, Proxies, Reach, Reply, Roots},
    run::{ENVIRONMENT, Run, misconfigured},
};

/// Runs the exchange that the inputs choose.
pub(crate) async fn exchange(run: &mut Run<'_>) -> Result<Identity, Cause> {
    match document(run)? {
        Some(account) => {
            run.mechanism = Some(Mechanism::GoogleExternalAccount);
            external_account::exchange(run, &account).await
        }
        None => {
            run.mechanism = Some(Mechanism::GoogleMetadataServer);
            metadata::exchange(run).await
        }
    }
}

/// The credentials document that the variables name, or gcloud's own where it is of the right type.
fn document(run: &mut Run<'_>) -> Result<Option<ExternalAccount>, Cause> {
    let libraries = run.env.non_empty(GOOGLE_APPLICATION_CREDENTIALS);
    let gcloud = run.env.non_empty(CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE);
    let (variable, path) = match (libraries, gcloud) {
        (Some(path), other) => {
            if other.is_some_and(|other| other != path) {
                run.note(
                    Some("APP02"),
                    format!(
                        "{GOOGLE_APPLICATION_CREDENTIALS} and {CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE} \
                         name different files: gcloud uses the latter"
                    ),
                );
            }
            (GOOGLE_APPLICATION_CREDENTIALS, path)
        }
        (None, Some(path)) => {
            run.note(
                None,
                format!(
                    "only {CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE} is set: gcloud reads it, the client \
                     libraries want {GOOGLE_APPLICATION_CREDENTIALS}"
                ),
            );
            (CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE, path)
        }
        (None, None) => return well_known(run),
    };
    run.input("credentials document", path, variable);
    let bytes = files::read(path, DOCUMENT_FILE_LIMIT).map_err(|error| {
        misconfigured(
            ConfigurationProblemKind::Unreadable,
            variable,
            path,
            format!(
                "the credentials document cannot be read: {}",
                error.describe(path)
            ),
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        misconfigured(
            ConfigurationProblemKind::Invalid,
            variable,
            path,
            "the credentials document holds bytes that are no text, expected JSON",
        )
    })?;
    let account = ExternalAccount::parse(&text).map_err(|error| {
        if matches!(&error, ExternalAccountError::OtherType(kind) if kind == "service_account") {
            run.note(
                Some("APP01"),
                format!(
                    "{variable} names the key of a service account: a static key, no federation"
                ),
            );
        }
        let (name, kind) = match &error {
            ExternalAccountError::Missing(member) => (*member, ConfigurationProblemKind::Missing),
            ExternalAccountError::Invalid { member, .. } => {
                (*member, ConfigurationProblemKind::Invalid)
            }
            ExternalAccountError::OtherType(_) => ("type", ConfigurationProblemKind::Invalid),
            ExternalAccountError::OtherSource(_) => {
                ("credential_source", ConfigurationProblemKind::Invalid)
            }
            _ => (variable, ConfigurationProblemKind::Invalid),
        };
        misconfigured(kind, name, path, error.to_string())
    })?;
    Ok(Some(account))
}

/// gcloud's file of application default credentials, `application_default_credentials.json` below its directory.
fn well_known(run: &mut Run<'_>) -> Result<Option<ExternalAccount>, Cause> {
    let directory = match (
        run.env.non_empty("CLOUDSDK_CONFIG"),
        run.env.non_empty("HOME"),
    ) {
        (Some(directory), _) => directory.to_owned(),
        (None, Some(home)) => format!("{}/.config/gcloud", home.trim_end_matches('/')),
        (None, None) => return Ok(None),
    };
    let path = format!("{directory}/application_default_credentials.json");
    let bytes = match files::read(&path, DOCUMENT_FILE_LIMIT) {
        Ok(bytes) => bytes,
        Err(FileError::Missing) => return Ok(None),
        Err(error) => {
            return Err(misconfigured(
                ConfigurationProblemKind::Unreadable,
                &path,
                "well-known file",
                error.describe(&path),
            ));
        }
    };
    match ExternalAccount::parse(&String::from_utf8_lossy(&bytes)) {
        Ok(account) => {
            run.input("credentials document", path, "well-known file");
            Ok(Some(account))
        }
        Err(ExternalAccountError::OtherType(kind)) => {
            run.note(
                Some("APP02"),
                format!(
                    "`{path}` holds credentials of type `{kind}`: client libraries use them before \
                     the metadata server"
                ),
            );
            Ok(None)
        }
        Err(error) => Err(misconfigured(
            ConfigurationProblemKind::Invalid,
            path,
            "well-known file",
            error.to_string(),
        )),
    }
}

/// The client for Google's public endpoints.
fn client(run: &mut Run<'_>) -> Result<Http, Cause> {
    const OWN: &str = "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE";
    let own = run.env.non_empty(OWN).map(|path| OwnVariable {
        name: OWN.into(),
        source: ENVIRONMENT.into(),
        path: path.into(),
    });
    let reach = Reach {
        roots: Some(Roots::load(Provider::Gcp, run.env, own).map_err(Cause::Configuration)?),
        proxies: Some(
            Proxies::from_env(run.env)
                .map_err(Cause::Configuration)?
                .into(),
        ),
        pinned: Vec::new(),
    };
    Http::new(run, reach)
}

/// The error in an answer: OAuth's `error` and `error_description`, or Google's `error` object with its status and text.
fn refusal(reply: &Reply) -> Answer {
    let text = reply.text();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let error = &body["error"];
    let (code, message) = match error {
        Value::String(code) => (Some(code.as_str()), body["error_description"].as_str()),
        _ => (error["status"].as_str(), error["message"].as_str()),
    };
    let message = message.unwrap_or(&text);
    // `SERVICE_DISABLED` and `IAM_PERMISSION_DENIED` say more than the status above them.
    let reason = error["details"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|detail| detail["reason"].as_str())
        .filter(|reason| !message.contains(reason));
    let message = match reason {
        Some(reason) => format!("{} ({reason})", message.trim_end()),
        None => message.to_owned(),
    };
    answer(reply.status, code, &message, reply.header("x-request-id"))
}

/// `expires_in`, which Google sends as a number and others as text.
fn seconds(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// How long a secret is, which is all that may be said of it.
fn size_of(secret: &str) -> String {
    format!("{} bytes", secret.len())
}

type Details = BTreeMap<&'static str, String>;

/// The scope that gcloud asks for.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Credentials documents have about one kilobyte.
const DOCUMENT_FILE_LIMIT: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status,
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn errors_of_both_shapes_give_code_and_text() {
        let answer = refusal(&reply(
            400,
            r#"{"error":"invalid_grant","error_description":"The audience in ID Token [x] does not match the expected audience."}"#,
        ));
        assert_eq!(answer.code.as_deref(), Some("invalid_grant"));
        assert!(answer.message.starts_with("The audience in ID Token"));
        let answer = refusal(&reply(
            403,
            r#"{"error":{"code":403,"message":"Permission denied.","status":"PERMISSION_DENIED","details":[{"reason":"IAM_PERMISSION_DENIED"}]}}"#,
        ));
        assert_eq!(answer.code.as_deref(), Some("PERMISSION_DENIED"));
        assert_eq!(answer.message, "Permission denied. (IAM_PERMISSION_DENIED)");
        for body in ["<html>no</html>", "[1]", "{}", "\"x\""] {
            let answer = refusal(&reply(503, body));
            assert_eq!((answer.code, answer.message.as_str()), (None, body));
        }
    }

    #[test]
    fn expiry_is_read_as_number_and_as_text() {
        assert_eq!(seconds(&Value::from(3599)), Some(3599));
        assert_eq!(seconds(&Value::from("3599")), Some(3599));
        assert_eq!(seconds(&Value::Null), None);
    }
}
