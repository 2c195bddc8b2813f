//! AdmissionReview, `admission.k8s.io/v1`: what is read of a request, and the answer.
//!
//! Of the pod only what the contract asks for is read. It never becomes a value that is written back, so what this build
//! does not know cannot be lost. Source: Kubernetes API, `admission/v1`.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use cwii_contract::{Pod, types::shorten};

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
#[derive(Debug)]
pub struct Request<'a> {
    /// Names the review; the answer repeats it.
    pub uid: Cow<'a, str>,
    /// Namespace of the pod; its own `metadata.namespace` may still be empty.
    pub namespace: Cow<'a, str>,
    /// Nothing may be changed in the cluster.
    pub dry_run: bool,
    /// The pod that is to be created; none for another operation, which is admitted as it is.
    pub pod: Option<Pod>,
}

impl<'a> Request<'a> {
    /// Reads a review.
    ///
    /// # Errors
    ///
    /// Not JSON, not an AdmissionReview, another version of it, without a request, of another kind of object, or of none.
    pub fn parse(body: &'a [u8]) -> Result<Self, Rejection> {
        // One pass is enough for what is as it should be. Only what is not is read again, to say what is wrong with it.
        if let Ok(review) = serde_json::from_slice::<Review<'_, Pod>>(body) {
            return review.check(Ok);
        }
        let review: Review<'_, &RawValue> = serde_json::from_slice(body).map_err(|error| {
            Rejection::bad("json", format!("the body is no AdmissionReview: {error}"))
        })?;
        review.check(|object| {
            serde_json::from_str(object.get()).map_err(|error| {
                Rejection::bad("pod", format!("`request.object` is no pod: {error}"))
            })
        })
    }
}

/// A review whose object is read as `O`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct Review<'a, O> {
    #[serde(default, borrow)]
    api_version: Cow<'a, str>,
    #[serde(default, borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<RawRequest<'a, O>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct RawRequest<'a, O> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(default, borrow)]
    kind: GroupVersionKind<'a>,
    #[serde(default, borrow)]
    namespace: Cow<'a, str>,
    #[serde(default, borrow)]
    operation: Cow<'a, str>,
    dry_run: Option<bool>,
    object: Option<O>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GroupVersionKind<'a> {
    #[serde(borrow)]
    group: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

impl<'a, O> Review<'a, O> {
    fn check(
        self,
        pod: impl FnOnce(O) -> Result<Pod, Rejection>,
    ) -> Result<Request<'a>, Rejection> {
        if self.kind != KIND || self.api_version != API_VERSION {
            return Err(Rejection::bad(
                "version",
                format!(
                    "expected apiVersion `{API_VERSION}` and kind `{KIND}`, found `{}` and `{}`",
                    shorten(&self.api_version),
                    shorten(&self.kind)
                ),
            ));
        }
        let request = self.request.ok_or_else(|| {
            let text = "expected an AdmissionReview with a `request`, found none";
            Rejection::bad("request", text)
        })?;
        let pod = if request.operation == "CREATE" {
            request.kind.check()?;
            let object = request.object.ok_or_else(|| {
                let text = "expected a pod in `request.object`, found none";
                Rejection::bad("object", text)
            })?;
            Some(pod(object)?)
        } else {
            None
        };
        Ok(Request {
            uid: request.uid,
            namespace: request.namespace,
            dry_run: request.dry_run == Some(true),
            pod,
        })
    }
}

impl GroupVersionKind<'_> {
    fn check(&self) -> Result<(), Rejection> {
        let Self {
            group,
            version,
            kind,
        } = self;
        if group.is_empty() && version == "v1" && kind == "Pod" {
            return Ok(());
        }
        let slash = if group.is_empty() { "" } else { "/" };
        Err(Rejection::bad(
            "kind",
            format!(
                "expected an object of kind `v1 Pod`, found `{}{slash}{} {}`",
                shorten(group),
                shorten(version),
                shorten(kind)
            ),
        ))
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
        let response = Response {
            uid,
            allowed: self.denial.is_none(),
            status: self.denial.as_deref().map(|message| Status {
                status: "Failure",
                message,
                reason: "BadRequest",
                code: StatusCode::BAD_REQUEST.as_u16(),
            }),
            warnings: &self.warnings,
            audit_annotations: Audit(&self.audit),
        };
        let patch = self.patch.as_deref().unwrap_or_default();
        let encoded = patch.len().div_ceil(3) * 4;
        let mut body = Vec::with_capacity(encoded + SMALL);
        // Texts and numbers, into memory: nothing here can fail.
        let _ = serde_json::to_writer(
            &mut body,
            &Envelope {
                api_version: API_VERSION,
                kind: KIND,
                response,
            },
        );
        if !patch.is_empty() {
            // Base64 needs no escaping, and it is most of the answer: it goes straight to its place, before the braces
            // that end `response` and the whole.
            body.truncate(body.len() - END.len());
            body.extend_from_slice(br#","patchType":"JSONPatch","patch":""#);
            let start = body.len();
            body.resize(start + encoded, 0);
            let _ = STANDARD.encode_slice(patch, &mut body[start..]);
            body.push(b'"');
            body.extend_from_slice(END);
        }
        body
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
const END: &[u8] = b"}}";
/// Room for what an answer holds beside a patch, as a rule.
const SMALL: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_in_one_pass() {
        let body = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u\u0031",
          "kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"apps","operation":"CREATE","dryRun":true,
          "userInfo":{"username":"x","extra":{"a":[{}]}},"object":{"metadata":{"name":"web"},"spec":{}},"oldObject":null}}"#;
        assert!(serde_json::from_slice::<Review<'_, Pod>>(body).is_ok());
        let request = Request::parse(body).unwrap();
        assert_eq!((&*request.uid, &*request.namespace), ("u1", "apps"));
        assert!(request.dry_run);
        assert_eq!(request.pod.unwrap().object("apps").name, "web");
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
