//! Google's credentials document of type `external_account`.
//!
//! The webhook builds it, `write-gcp-credentials` checks it before it writes it, the exchange follows it.
//! Source: Google Cloud documentation, "Workload identity federation", and AIP-4117.

use serde_json::{Value, json};
use url::Url;

use crate::types::{PoolProvider, ServiceAccountEmail, shorten};

/// The only subject token type that a Kubernetes token fits.
pub const SUBJECT_TOKEN_TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Universe that a document without `universe_domain` belongs to.
pub const DEFAULT_UNIVERSE_DOMAIN: &str = "googleapis.com";

/// A document that was read and found to be one that the exchange can follow.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExternalAccount {
    /// `audience`, verbatim: for a workload identity pool the provider's full name.
    pub audience: String,
    /// `subject_token_type`.
    pub subject_token_type: String,
    /// `token_url`, or the universe's default.
    pub token_url: Url,
    /// Where the subject token is.
    pub source: SubjectTokenFile,
    /// `service_account_impersonation_url`; none for direct federation.
    pub impersonation_url: Option<Url>,
    /// `service_account_impersonation.token_lifetime_seconds`, seconds; Google accepts 600 to 43200.
    pub token_lifetime_seconds: Option<i64>,
    /// `quota_project_id`: billed for the calls made later; the exchange itself does not send it.
    pub quota_project_id: Option<String>,
    /// `universe_domain`.
    pub universe_domain: String,
    /// Members that this reader does not know, by name.
    pub unknown_members: Vec<String>,
}

/// `credential_source` of a token in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubjectTokenFile {
    /// Path of the file.
    pub file: String,
    /// For a JSON file the member that holds the token; none for text.
    pub json_field: Option<String>,
}

/// Why a document cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalAccountError {
    /// Not JSON. The text of the document is not repeated: it may hold a key.
    #[error("the credentials document is not JSON: line {line}, column {column}")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("the credentials document is JSON but not an object")]
    NotAnObject,
    /// Another type of credential.
    #[error("the credentials document is of type `{0}`, not `external_account`")]
    OtherType(String),
    /// A member is missing.
    #[error("the credentials document lacks `{0}`")]
    Missing(&'static str),
    /// A member does not hold what it should.
    #[error("`{member}` of the credentials document {problem}")]
    Invalid {
        /// Name of the member, dotted.
        member: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A way to obtain the token that does not exist in a pod.
    #[error(
        "`credential_source` of the credentials document is `{0}`: only a `file` can be read in a pod"
    )]
    OtherSource(&'static str),
}

impl ExternalAccount {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Every way in which the document is not an `external_account` with a file source.
    pub fn parse(text: &str) -> Result<Self, ExternalAccountError> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| ExternalAccountError::NotJson {
                line: e.line(),
                column: e.column(),
            })?;
        let members = value.as_object().ok_or(ExternalAccountError::NotAnObject)?;
        match string(&value, "type")? {
            Some("external_account") => {}
            Some(other) => return Err(ExternalAccountError::OtherType(shorten(other))),
            None => return Err(ExternalAccountError::Missing("type")),
        }
        let universe_domain = string(&value, "universe_domain")?
            .unwrap_or(DEFAULT_UNIVERSE_DOMAIN)
            .to_owned();
        if universe_domain.is_empty()
            || !universe_domain
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        {
            return Err(invalid(
                "universe_domain",
                format!("is `{}`, not a domain", shorten(&universe_domain)),
            ));
        }
        let audience = string(&value, "audience")?
            .ok_or(ExternalAccountError::Missing("audience"))?
            .to_owned();
        let subject_token_type = string(&value, "subject_token_type")?
            .ok_or(ExternalAccountError::Missing("subject_token_type"))?
            .to_owned();
        if subject_token_type != SUBJECT_TOKEN_TYPE_JWT {
            return Err(invalid(
                "subject_token_type",
                format!(
                    "is `{}`, expected `{SUBJECT_TOKEN_TYPE_JWT}`",
                    shorten(&subject_token_type)
                ),
            ));
        }
        let token_url = match url(&value, "token_url")? {
            Some(url) => url,
            None => Url::parse(&format!("https://sts.{universe_domain}/v1/token"))
                .map_err(|e| invalid("universe_domain", format!("makes no URL: {e}")))?,
        };
        let impersonation_url = url(&value, "service_account_impersonation_url")?;
        if let Some(url) = &impersonation_url
            && impersonated_email(url).is_none()
        {
            return Err(invalid(
                "service_account_impersonation_url",
                "does not end in `/serviceAccounts/EMAIL:generateAccessToken`".into(),
            ));
        }
        let token_lifetime_seconds =
            match value.pointer("/service_account_impersonation/token_lifetime_seconds") {
                None | Some(Value::Null) => None,
                Some(seconds) => Some(seconds.as_i64().ok_or_else(|| {
                    invalid(
                        "service_account_impersonation.token_lifetime_seconds",
                        "is not a whole number of seconds".into(),
                    )
                })?),
            };
        const KNOWN: [&str; 10] = [
            "type",
            "audience",
            "subject_token_type",
            "token_url",
            "token_info_url",
            "credential_source",
            "service_account_impersonation_url",
            "service_account_impersonation",
            "quota_project_id",
            "universe_domain",
        ];
        Ok(Self {
            audience,
            subject_token_type,
            token_url,
            source: source(&value)?,
            impersonation_url,
            token_lifetime_seconds,
            quota_project_id: string(&value, "quota_project_id")?.map(str::to_owned),
            universe_domain,
            unknown_members: members
                .keys()
                .filter(|k| !KNOWN.contains(&k.as_str()))
                .cloned()
                .collect(),
        })
    }

    /// The document that cwii puts into a pod: direct federation, or impersonation of `service_account`.
    #[must_use]
    pub fn document(
        audience: &str,
        token_file: &str,
        service_account: Option<&ServiceAccountEmail>,
    ) -> Value {
        let mut document = json!({
            "type": "external_account",
            "audience": audience,
            "subject_token_type": SUBJECT_TOKEN_TYPE_JWT,
            "token_url": "https://sts.googleapis.com/v1/token",
            "token_info_url": "https://sts.googleapis.com/v1/introspect",
            "credential_source": { "file": token_file },
        });
        if let Some(email) = service_account {
            document["service_account_impersonation_url"] = Value::String(format!(
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
            ));
        }
        document
    }

    /// The provider that `audience` names, or why it names none.
    ///
    /// # Errors
    ///
    /// The audience is not the full name of a workload identity pool provider (Google answers `invalid_request`).
    pub fn pool_provider(&self) -> Result<PoolProvider, crate::types::ParseError> {
        self.audience.parse()
    }

    /// E-mail of the service account that the document impersonates.
    #[must_use]
    pub fn service_account(&self) -> Option<&str> {
        self.impersonation_url.as_ref().and_then(impersonated_email)
    }
}

fn impersonated_email(url: &Url) -> Option<&str> {
    url.path()
        .rsplit_once("/serviceAccounts/")?
        .1
        .strip_suffix(":generateAccessToken")
        .filter(|e| !e.is_empty())
}

fn source(value: &Value) -> Result<SubjectTokenFile, ExternalAccountError> {
    let source = value
        .get("credential_source")
        .ok_or(ExternalAccountError::Missing("credential_source"))?;
    for other in ["url", "executable", "certificate", "environment_id"] {
        if source.get(other).is_some() {
            return Err(ExternalAccountError::OtherSource(other));
        }
    }
    let file = match source.get("file") {
        Some(Value::String(file)) if !file.is_empty() => file.clone(),
        Some(_) => return Err(invalid("credential_source.file", "is not a path".into())),
        None => return Err(ExternalAccountError::Missing("credential_source.file")),
    };
    let format = source.get("format").unwrap_or(&Value::Null);
    let json_field = match format.get("type").and_then(Value::as_str) {
        None | Some("text") => None,
        Some("json") => Some(
            format
                .get("subject_token_field_name")
                .and_then(Value::as_str)
                .ok_or(ExternalAccountError::Missing(
                    "credential_source.format.subject_token_field_name",
                ))?
                .to_owned(),
        ),
        Some(other) => {
            return Err(invalid(
                "credential_source.format.type",
                format!("is `{}`, expected `text` or `json`", shorten(other)),
            ));
        }
    };
    Ok(SubjectTokenFile { file, json_field })
}

fn string<'a>(
    value: &'a Value,
    member: &'static str,
) -> Result<Option<&'a str>, ExternalAccountError> {
    match value.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(member, "is not a string".into())),
    }
}

fn url(value: &Value, member: &'static str) -> Result<Option<Url>, ExternalAccountError> {
    string(value, member)?
        .map(|text| {
            let url = Url::parse(text)
                .map_err(|e| invalid(member, format!("is `{}`, no URL: {e}", shorten(text))))?;
            if url.scheme() != "https" {
                return Err(invalid(
                    member,
                    format!("is `{}`, not an https URL", shorten(text)),
                ));
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err(invalid(member, "carries a user name or password".into()));
            }
            Ok(url)
        })
        .transpose()
}

fn invalid(member: &'static str, problem: String) -> ExternalAccountError {
    ExternalAccountError::Invalid { member, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIENCE: &str =
        "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/p/providers/k8s";

    fn document() -> Value {
        ExternalAccount::document(
            AUDIENCE,
            "/var/run/secrets/cwii.dev/gcp/token",
            Some(&"reader@demo.iam.gserviceaccount.com".parse().unwrap()),
        )
    }

    #[test]
    fn the_document_that_we_write_is_one_that_we_read() {
        let read = ExternalAccount::parse(&document().to_string()).unwrap();
        assert_eq!(read.pool_provider().unwrap().to_string(), AUDIENCE);
        assert_eq!(
            read.service_account(),
            Some("reader@demo.iam.gserviceaccount.com")
        );
        assert_eq!(
            read.source,
            SubjectTokenFile {
                file: "/var/run/secrets/cwii.dev/gcp/token".into(),
                json_field: None
            }
        );
        assert!(read.unknown_members.is_empty());
    }

    #[test]
    fn a_document_without_token_url_belongs_to_its_universe() {
        let mut value = document();
        value.as_object_mut().unwrap().remove("token_url");
        value["universe_domain"] = "example.goog".into();
        assert_eq!(
            ExternalAccount::parse(&value.to_string())
                .unwrap()
                .token_url
                .as_str(),
            "https://sts.example.goog/v1/token"
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_name() {
        let with = |pointer: &str, to: Value| {
            let mut value = document();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            value.pointer_mut(parent).unwrap()[name] = to;
            ExternalAccount::parse(&value.to_string())
                .unwrap_err()
                .to_string()
        };
        assert!(with("/type", json!("service_account")).contains("`service_account`"));
        assert!(with("/audience", Value::Null).contains("lacks `audience`"));
        assert!(with("/token_url", json!("http://sts.googleapis.com/v1/token")).contains("https"));
        assert!(
            with(
                "/token_url",
                json!("https://u:p@sts.googleapis.com/v1/token")
            )
            .contains("password")
        );
        assert!(
            with("/service_account_impersonation_url", json!("https://x/y"))
                .contains("generateAccessToken")
        );
        assert!(with("/credential_source", json!({"url": "http://localhost/"})).contains("`url`"));
        assert!(
            with(
                "/credential_source",
                json!({"file": "/t", "format": {"type": "json"}})
            )
            .contains("subject_token_field_name")
        );
        assert!(
            with(
                "/service_account_impersonation",
                json!({"token_lifetime_seconds": "1h"})
            )
            .contains("seconds")
        );
        assert_eq!(
            ExternalAccount::parse("{\n  oops"),
            Err(ExternalAccountError::NotJson { line: 2, column: 3 })
        );
        assert_eq!(
            ExternalAccount::parse("[]"),
            Err(ExternalAccountError::NotAnObject)
        );
    }
}
