//! AdmissionReview, `admission.k8s.io/v1`: what is read of a request, and the answer.
//!
//! The pod is not parsed here. It is found, checked to be one, and handed on as the bytes that it came as, so what this
//! build does not know cannot be lost. Source: Kubernetes API, `admission/v1`.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use cwii_contract::types::shorten;

/// A request that is no admission review of a pod, and what to say about it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct Rejection {
    /// HTTP status.
    pub status: StatusCode,
    /// The reason as a metric's label.
    pub reason: &'static str,
    /// What was expected and what was found.
    pub text: String,
}

impl Rejection {
    pub(crate) fn new(status: StatusCode, reason: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            text: text.into(),
        }
    }

    fn bad(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, text)
    }
}

/// The request of a review.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Names the review; the answer repeats it.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    #[serde(default, borrow)]
    kind: GroupVersionKind<'a>,
    /// Namespace of the pod; its own `metadata.namespace` may still be empty.
    #[serde(default, borrow)]
    pub namespace: Cow<'a, str>,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(default, borrow)]
    pub operation: Cow<'a, str>,
    /// Nothing may be changed in the cluster.
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GroupVersionKind<'a> {
    #[serde(borrow)]
    group: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

impl<'a> Request<'a> {
    /// Reads a review.
    ///
    /// # Errors
    ///
    /// Not JSON, not an AdmissionReview, another version of it, or one without a request.
    pub fn parse(body: &'a [u8]) -> Result<Self, Rejection> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Review<'a> {
            #[serde(default, borrow)]
            api_version: Cow<'a, str>,
            #[serde(default, borrow)]
            kind: Cow<'a, str>,
            #[serde(borrow)]
            request: Option<Request<'a>>,
        }
        let review: Review<'_> = serde_json::from_slice(body).map_err(|error| {
            Rejection::bad("json", format!("the body is no AdmissionReview: {error}"))
        })?;
        if review.kind != KIND || review.api_version != API_VERSION {
            return Err(Rejection::bad(
                "version",
                format!(
                    "expected apiVersion `{API_VERSION}` and kind `{KIND}`, found `{}` and `{}`",
                    shorten(&review.api_version),
                    shorten(&review.kind)
                ),
            ));
        }
        review.request.ok_or_else(|| {
            Rejection::bad(
                "request",
                "expected an AdmissionReview with a `request`, found none",
            )
        })
    }

    /// The pod, as JSON.
    ///
    /// # Errors
    ///
    /// Another kind of object, or none.
    pub fn pod(&self) -> Result<&'a str, Rejection> {
        let GroupVersionKind {
            group,
            version,
            kind,
        } = &self.kind;
        if !group.is_empty() || version != "v1" || kind != "Pod" {
            let slash = if group.is_empty() { "" } else { "/" };
            return Err(Rejection::bad(
                "kind",
                format!(
                    "expected an object of kind `v1 Pod`, found `{}{slash}{} {}`",
                    shorten(group),
                    shorten(version),
                    shorten(kind)
                ),
            ));
        }
        self.object.map(RawValue::get).ok_or_else(|| {
            Rejection::bad("object", "expected a pod in `request.object`, found none")
        })
    }

    /// Whether the pod will be persisted.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.dry_run == Some(true)
    }
}

/// The answer to a review.
#[derive(Debug, Default)]
pub struct Answer {
    /// JSON Patch; none leaves the pod as it is.
    pub patch: Option<Vec<u8>>,
    /// The message of a denial; none admits the pod.
    pub denial: Option<String>,
    /// Lines for the person who made the request.
    pub warnings: Vec<String>,
    /// Keys, less the webhook's name, and values for the API server's audit log.
    pub audit: Vec<(&'static str, String)>,
}

impl Answer {
    /// The body of the response.
    #[must_use]
    pub fn to_json(&self, uid: &str) -> Vec<u8> {
        let patch = self.patch.as_deref();
        let response = Response {
            uid,
            allowed: self.denial.is_none(),
            patch_type: patch.map(|_| "JSONPatch"),
            patch: patch.map(|patch| STANDARD.encode(patch)),
            status: self.denial.as_deref().map(|message| Status {
                status: "Failure",
                message,
                reason: "BadRequest",
                code: StatusCode::BAD_REQUEST.as_u16(),
            }),
            warnings: &self.warnings,
            audit_annotations: Audit(&self.audit),
        };
        // Texts and numbers: nothing here can fail.
        serde_json::to_vec(&Envelope {
            api_version: API_VERSION,
            kind: KIND,
            response,
        })
        .unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Audit::is_empty")]
    audit_annotations: Audit<'a>,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
}

struct Audit<'a>(&'a [(&'static str, String)]);

impl Audit<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Audit<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_the_pod_keeps_its_bytes() {
        let body = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u\u0031",
          "kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"apps","operation":"CREATE","dryRun":true,
          "userInfo":{"username":"x","extra":{"a":[{}]}},"object":{"b":1, "a":[ ]},"oldObject":null}}"#;
        let request = Request::parse(body).unwrap();
        assert_eq!((&*request.uid, &*request.namespace), ("u1", "apps"));
        assert!(request.is_dry_run());
        assert_eq!(request.pod().unwrap(), r#"{"b":1, "a":[ ]}"#);
    }

    #[test]
    fn an_answer_without_anything_to_say_is_short() {
        let answer = Answer::default().to_json("u1");
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u1","allowed":true}}"#
        );
    }

    #[test]
    fn a_denial_carries_a_status_and_a_patch_is_base64() {
        let answer = Answer {
            patch: Some(b"[]".to_vec()),
            denial: Some("no".into()),
            warnings: vec!["w".into()],
            audit: vec![("injected", "aws".into())],
        };
        let value: serde_json::Value = serde_json::from_slice(&answer.to_json("u1")).unwrap();
        assert_eq!(
            value["response"],
            serde_json::json!({"uid": "u1", "allowed": false, "patchType": "JSONPatch", "patch": "W10=",
              "status": {"status": "Failure", "message": "no", "reason": "BadRequest", "code": 400},
              "warnings": ["w"], "auditAnnotations": {"injected": "aws"}})
        );
    }
}
