//! The one right answer to a review: computed by the contract, and looked at once more without it.

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use cwii_contract::Keys;
use cwii_contract::{Layer, ObjectRef, Pod, Settings, patch, plan};
use serde::Serialize;
use serde_json::Value;

use super::{
    http::{self, Exchange, UID_LENGTH},
    objects,
    review::{self, DEPLOYMENT, NAMESPACE},
    tls::SERVER_NAME,
};

/// Sizes of one exchange, bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sizes {
    pub(crate) review: usize,
    pub(crate) operations: usize,
    pub(crate) patch_json: usize,
    pub(crate) patch_base64: usize,
    pub(crate) answer: usize,
}

/// Asks once for a pod of one of the measured ServiceAccounts, proves that the answer is right, and makes it the one
/// against which all others are compared.
///
/// # Errors
///
/// `ask` fails, or the answer is not the contract's.
pub(crate) fn learn(
    service_account: &str,
    ask: impl FnOnce(&[u8]) -> Result<(u16, Vec<u8>)>,
) -> Result<(Exchange, Sizes)> {
    let uid = http::uid(0);
    let uid = str::from_utf8(&uid)?;
    let review = review::review(service_account, uid);
    let body = review.to_string().into_bytes();
    let (status, answer) = ask(&body)?;
    let text = String::from_utf8(answer).context("the answer is not UTF-8")?;
    ensure!(status == 200, "status {status}: {text}");

    let document: Value = serde_json::from_str(&text)?;
    let response = &document["response"];
    ensure!(
        document["apiVersion"] == "admission.k8s.io/v1"
            && document["kind"] == "AdmissionReview"
            && response["uid"] == uid
            && response["allowed"] == true,
        "another answer: {text}"
    );
    let given = match &response["patch"] {
        Value::Null => None,
        Value::String(patch) => {
            ensure!(response["patchType"] == "JSONPatch", "no patchType: {text}");
            Some(patch)
        }
        other => anyhow::bail!("a patch of another type: {other}"),
    };
    let pod = &review["request"]["object"];
    let json = given
        .map(|patch| BASE64_STANDARD.decode(patch))
        .transpose()?;
    let operations: Vec<Value> = match &json {
        Some(json) => serde_json::from_slice(json)?,
        None => Vec::new(),
    };
    let expected = expected(pod, service_account)?;
    ensure!(
        operations == expected,
        "expected the patch {expected:?}, found {operations:?}"
    );
    let patched = apply(pod, &operations)?;
    ensure!(
        contains(&patched, pod),
        "the patch takes something away: {operations:?}"
    );
    look(&patched, pod, service_account)?;

    let at = find(text.as_bytes(), uid.as_bytes()).context("the answer has no uid")?;
    let uid_at = find(&body, uid.as_bytes()).context("the review has no uid")?;
    let sizes = Sizes {
        review: body.len(),
        operations: operations.len(),
        patch_json: json.map_or(0, |json| json.len()),
        patch_base64: given.map_or(0, String::len),
        answer: text.len(),
    };
    let exchange = Exchange {
        body,
        uid_at,
        authority: SERVER_NAME.to_owned(),
        answer: (
            text.as_bytes()[..at].to_vec(),
            text.as_bytes()[at + UID_LENGTH..].to_vec(),
        ),
    };
    Ok((exchange, sizes))
}

/// The contract's operations.
fn expected(pod: &Value, service_account: &str) -> Result<Vec<Value>> {
    let pod: Pod = serde::Deserialize::deserialize(pod)?;
    let keys = keys(service_account);
    let layers = [
        Layer {
            object: pod.object(NAMESPACE),
            keys: pod.keys(),
        },
        Layer {
            object: ObjectRef::workload("Deployment", NAMESPACE, DEPLOYMENT),
            keys: Keys::default(),
        },
        Layer {
            object: ObjectRef::service_account(NAMESPACE, service_account),
            keys: Keys::from_annotations(keys.iter().copied()),
        },
        Layer {
            object: ObjectRef::namespace(NAMESPACE),
            keys: Keys::default(),
        },
    ];
    let settings = Settings::new(env!("CARGO_PKG_VERSION"))?;
    let plan = plan(&pod, &layers, &settings)
        .map_err(|denial| anyhow::anyhow!("the contract denies the pod: {denial}"))?;
    Ok(serde_json::from_slice(&patch(&pod, &plan).to_json()?)?)
}

fn keys(service_account: &str) -> &'static [(&'static str, &'static str)] {
    objects::MEASURED
        .iter()
        .find(|(name, _)| *name == service_account)
        .map_or(&[], |(_, keys)| keys)
}

/// RFC 6902, `add` alone.
fn apply(pod: &Value, operations: &[Value]) -> Result<Value> {
    let mut pod = pod.clone();
    for operation in operations {
        ensure!(operation["op"] == "add", "not an `add`: {operation}");
        let path = operation["path"].as_str().context("no path")?;
        let (parent, last) = path.rsplit_once('/').context("no `/` in the path")?;
        let value = operation["value"].clone();
        match pod.pointer_mut(parent) {
            Some(Value::Object(fields)) => {
                fields.insert(last.replace("~1", "/").replace("~0", "~"), value);
            }
            Some(Value::Array(items)) if last == "-" => items.push(value),
            Some(Value::Array(items)) => {
                let index: usize = last.parse()?;
                ensure!(index <= items.len(), "{path} is beyond the end");
                items.insert(index, value);
            }
            _ => anyhow::bail!("{path} does not exist"),
        }
    }
    Ok(pod)
}

/// Whether everything in `part` is in `whole` as well; items of arrays in the same order.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|w| contains(w, value))),
        (Value::Array(whole), Value::Array(part)) => {
            let mut whole = whole.iter();
            part.iter()
                .all(|value| whole.any(|candidate| contains(candidate, value)))
        }
        _ => whole == part,
    }
}

/// What has to be in the pod, from contract.md and not from the code.
fn look(patched: &Value, pod: &Value, service_account: &str) -> Result<()> {
    let keys = keys(service_account);
    let key = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, v)| *v);
    let Some(role) = key("cwii.dev/aws-role-arn") else {
        ensure!(patched == pod, "a pod that asks for nothing was changed");
        return Ok(());
    };
    let list = |field: &str| patched["spec"][field].as_array().into_iter().flatten();
    ensure!(
        patched["metadata"]["annotations"]["cwii.dev/injected"] == "aws",
        "no `cwii.dev/injected`"
    );
    ensure!(
        list("volumes").any(|volume| volume["name"] == "cwii-aws-token"),
        "no token volume"
    );
    let verify = key("cwii.dev/aws-verify").is_some();
    ensure!(
        list("initContainers").any(|c| c["name"] == "cwii-aws-verify") == verify,
        "expected a verify container: {verify}"
    );
    for container in list("initContainers").chain(list("containers")) {
        let has = |field: &str, name: &str, value: &str| {
            let mut items = container[field].as_array().into_iter().flatten();
            items.any(|item| {
                item.as_object().is_some_and(|o| {
                    o.values().any(|v| v == name) && o.values().any(|v| v == value)
                })
            })
        };
        let directory = "/var/run/secrets/cwii.dev/aws";
        ensure!(
            has("env", "AWS_ROLE_ARN", role)
                && has(
                    "env",
                    "AWS_WEB_IDENTITY_TOKEN_FILE",
                    &format!("{directory}/token")
                )
                && has("volumeMounts", "cwii-aws-token", directory),
            "{} lacks something",
            container["name"]
        );
        if let Some(region) = key("cwii.dev/aws-region") {
            ensure!(
                has("env", "AWS_REGION", region),
                "{} lacks the region",
                container["name"]
            );
        }
    }
    Ok(())
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The webhook's answer, made by the contract itself.
    fn answer(service_account: &str, body: &[u8], alter: impl FnOnce(&mut Vec<Value>)) -> Vec<u8> {
        let review: Value = serde_json::from_slice(body).unwrap();
        let mut operations = expected(&review["request"]["object"], service_account).unwrap();
        alter(&mut operations);
        let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
        if !operations.is_empty() {
            response["patchType"] = "JSONPatch".into();
            let patch = BASE64_STANDARD.encode(Value::from(operations).to_string());
            response["patch"] = patch.into();
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn the_contracts_answer_is_right_for_every_measured_pod() {
        for (name, _) in objects::MEASURED {
            let (exchange, sizes) =
                learn(name, |body| Ok((200, answer(name, body, |_| {})))).unwrap();
            assert_eq!(exchange.body.len(), sizes.review);
            assert_eq!(sizes.operations == 0, name == "nothing");
        }
    }

    #[test]
    fn an_answer_that_lacks_one_operation_is_wrong() {
        let result = learn("role", |body| {
            Ok((
                200,
                answer("role", body, |operations| drop(operations.pop())),
            ))
        });
        assert!(result.is_err());
    }

    #[test]
    fn a_patch_that_takes_away_is_noticed() {
        let pod = json!({"a": [{"b": 1}, {"c": 2}], "d": {"e": 3}});
        assert!(contains(
            &json!({"a": [{"b": 1}, {"x": 0}, {"c": 2, "y": 0}], "d": {"e": 3}}),
            &pod
        ));
        assert!(!contains(
            &json!({"a": [{"c": 2}, {"b": 1}], "d": {"e": 3}}),
            &pod
        ));
        assert!(!contains(
            &json!({"a": [{"b": 1}, {"c": 2}], "d": {}}),
            &pod
        ));
    }
}
