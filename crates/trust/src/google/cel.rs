//! CEL as Google evaluates attribute mappings and conditions: the standard library, the string extensions, and Google's own
//! `extract`.
//!
//! Expressions come from documents that anybody may have written, and the parser is a generated one that recurses. So the
//! length is capped as Google caps it, evaluation runs on a thread with a stack for the deepest nesting that fits into
//! that length, and a panic becomes an error: what Google does with an expression that fails is the same in any case.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
    thread,
};

use cel::{
    Context, Env, ExecutionError, Value as CelValue, add_member_overload, add_overload,
    common::types::{CelInt, CelString},
    extensions,
    objects::{Key, Map},
};
use jiff::Timestamp;
use serde_json::{Map as JsonMap, Number, Value};

/// Most characters of an attribute mapping. Source: IAM API, `WorkloadIdentityPoolProvider.attributeMapping`.
pub const MAX_MAPPING_CHARACTERS: usize = 2048;

/// Most characters of an attribute condition. Source: IAM API, `WorkloadIdentityPoolProvider.attributeCondition`.
pub const MAX_CONDITION_CHARACTERS: usize = 4096;

/// Why an expression has no value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CelError {
    /// Longer than Google takes any.
    #[error("expected an expression of at most {limit} characters, found {found}")]
    TooLong {
        /// The limit, characters.
        limit: usize,
        /// The length, characters.
        found: usize,
    },
    /// It does not parse.
    #[error("the expression does not parse: {0}")]
    Syntax(String),
    /// It fails on these values: a member that is not there, types that do not go together, an unknown function.
    #[error("the expression fails: {0}")]
    Evaluation(String),
    /// The evaluator broke down. Google may see it differently.
    #[error("the expression cannot be evaluated here")]
    Defect,
}

/// Evaluates an expression with these variables. Maps with keys that are no strings, and bytes, become strings.
///
/// # Errors
///
/// Why there is no value.
pub fn evaluate(expression: &str, variables: &[(&str, &Value)]) -> Result<Value, CelError> {
    let found = expression.chars().count();
    if found > MAX_CONDITION_CHARACTERS {
        return Err(CelError::TooLong {
            limit: MAX_CONDITION_CHARACTERS,
            found,
        });
    }
    thread::scope(|scope| {
        thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || {
                catch_unwind(AssertUnwindSafe(|| run(expression, variables)))
                    .unwrap_or(Err(CelError::Defect))
            })
            .map_err(|_| CelError::Defect)?
            .join()
            .unwrap_or(Err(CelError::Defect))
    })
}

/// The standard library with Google's additions; none if it cannot be put together. Building it costs more than most
/// expressions.
static ENVIRONMENT: LazyLock<Option<Arc<Env>>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)
        .and_then(
            |()| add_member_overload!(env, fn extract: (CelString, CelString) -> Result<CelString>),
        )
        .and_then(|()| add_overload!(env, fn timestamp: (CelString) -> Result<CelInt>))
        .ok()?;
    Some(Arc::new(env))
});

fn run(expression: &str, variables: &[(&str, &Value)]) -> Result<Value, CelError> {
    let env = ENVIRONMENT.as_ref().ok_or(CelError::Defect)?;
    let program = env
        .compile(expression)
        .map_err(|errors| CelError::Syntax(first_line(&errors.to_string())))?;
    let mut context = Context::with_env(env.clone());
    for (name, value) in variables {
        context.add_variable_from_value(*name, to_cel(value));
    }
    program
        .execute(&context)
        .map(|value| from_cel(&value))
        .map_err(|error| CelError::Evaluation(first_line(&error.to_string())))
}

/// `text.extract('before{name}after')`: what stands between the first `before` and the next `after`; the rest where
/// `after` is empty; nothing where either is missing.
/// Source: Google Cloud documentation, "Attribute reference for IAM Conditions", `extract`.
fn extract(
    text: &CelString<'_>,
    template: &CelString<'_>,
) -> Result<CelString<'static>, ExecutionError> {
    let parts = template
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?.1)));
    let Some((before, after)) = parts else {
        return Err(ExecutionError::function_error(
            "extract",
            "the template has no {name}",
        ));
    };
    let value = text.split_once(before).and_then(|(_, rest)| {
        if after.is_empty() {
            Some(rest)
        } else {
            rest.split_once(after).map(|(value, _)| value)
        }
    });
    Ok(CelString::from(value.unwrap_or_default().to_owned()))
}

/// Times are microseconds since 1970 here, so that conditions on `request.time` compare as they should without a calendar
/// in the interpreter. Their methods (`getHours` and so on) are therefore unknown and fail.
fn timestamp(text: &CelString<'_>) -> Result<CelInt, ExecutionError> {
    text.parse::<Timestamp>()
        .map(|time| CelInt::from(time.as_microsecond()))
        .map_err(|error| ExecutionError::function_error("timestamp", error))
}

fn to_cel(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::Number(number) => {
            if let Some(integer) = number.as_i64() {
                CelValue::Int(integer)
            } else if let Some(integer) = number.as_u64() {
                CelValue::UInt(integer)
            } else {
                CelValue::Float(number.as_f64().unwrap_or(f64::NAN))
            }
        }
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => CelValue::Map(Map {
            map: Arc::new(
                members
                    .iter()
                    .map(|(name, value)| (Key::String(Arc::new(name.clone())), to_cel(value)))
                    .collect::<HashMap<_, _>>(),
            ),
        }),
    }
}

fn from_cel(value: &CelValue) -> Value {
    match value {
        CelValue::Bool(flag) => Value::Bool(*flag),
        CelValue::Int(integer) => Value::from(*integer),
        CelValue::UInt(integer) => Value::from(*integer),
        CelValue::Float(float) => Number::from_f64(*float).map_or(Value::Null, Value::Number),
        CelValue::String(text) => Value::String(text.to_string()),
        CelValue::Bytes(bytes) => Value::String(String::from_utf8_lossy(bytes).into_owned()),
        CelValue::List(items) => items.iter().map(from_cel).collect(),
        CelValue::Map(map) => {
            let mut members: Vec<(String, Value)> = map
                .map
                .iter()
                .map(|(key, value)| (key.to_string(), from_cel(value)))
                .collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(members.into_iter().collect::<JsonMap<_, _>>())
        }
        _ => Value::Null,
    }
}

/// The first line: what follows draws an arrow under the expression.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Enough for the deepest nesting that fits into the longest expression; pages are only used when touched.
const STACK_BYTES: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn assertion() -> Value {
        json!({
            "iss": "https://oidc.example.com/c", "sub": "system:serviceaccount:shop:checkout", "aud": ["a", "b"],
            "exp": 1_800_000_000, "ratio": 0.5, "none": null,
            "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "checkout"}},
        })
    }

    #[test]
    fn expressions_have_the_values_that_google_documents() {
        for (expression, expected) in [
            (
                "assertion.sub",
                json!("system:serviceaccount:shop:checkout"),
            ),
            ("assertion['kubernetes.io']['namespace']", json!("shop")),
            (
                "assertion['kubernetes.io'].serviceaccount.name",
                json!("checkout"),
            ),
            (
                "assertion.sub.split(':')",
                json!(["system", "serviceaccount", "shop", "checkout"]),
            ),
            ("assertion.sub.split(':')[2]", json!("shop")),
            ("['a', 'b'].join('/')", json!("a/b")),
            ("assertion.aud.join(',')", json!("a,b")),
            ("'MiXed'.lowerAscii()", json!("mixed")),
            ("'MiXed'.upperAscii()", json!("MIXED")),
            ("' x '.trim()", json!("x")),
            ("'a-b'.replace('-', '_')", json!("a_b")),
            ("'abc'.substring(1)", json!("bc")),
            ("'abc'.indexOf('c')", json!(2)),
            ("assertion.sub.startsWith('system:')", json!(true)),
            ("assertion.sub.endsWith('x')", json!(false)),
            ("assertion.sub.contains(':shop:')", json!(true)),
            ("assertion.sub.matches('^system:[a-z]+:')", json!(true)),
            ("'a' in assertion.aud", json!(true)),
            ("assertion.aud.exists(a, a == 'b')", json!(true)),
            ("assertion.aud.all(a, a == 'b')", json!(false)),
            ("assertion.aud.map(a, a + '!')", json!(["a!", "b!"])),
            ("has(assertion.groups)", json!(false)),
            ("has(assertion.groups) ? 1 : 2", json!(2)),
            ("assertion.exp > 5", json!(true)),
            ("assertion.ratio < 1.0", json!(true)),
            ("size(assertion.aud)", json!(2)),
            ("assertion.none == null", json!(true)),
            ("assertion.none", json!(null)),
            ("{'b': 1, 'a': [true]}", json!({"a": [true], "b": 1})),
            (
                "timestamp('1970-01-01T00:00:01Z') < timestamp('1970-01-01T00:00:02Z')",
                json!(true),
            ),
        ] {
            assert_eq!(
                evaluate(expression, &[("assertion", &assertion())]),
                Ok(expected),
                "{expression}"
            );
        }
    }

    #[test]
    fn extract_takes_what_stands_between() {
        for (text, template, expected) in [
            ("projects/p/buckets/b", "buckets/{name}", "b"),
            ("projects/p/buckets/b/objects/o", "buckets/{name}/", "b"),
            (
                "projects/p/buckets/b/objects/o",
                "/buckets/{name}/objects",
                "b",
            ),
            ("projects/p/buckets/b", "buckets/{name}/", ""),
            ("projects/p", "buckets/{name}", ""),
            ("refs/heads/main", "refs/heads/{branch}", "main"),
            (
                "system:serviceaccount:shop:checkout",
                "{all}",
                "system:serviceaccount:shop:checkout",
            ),
            (
                "system:serviceaccount:shop:checkout",
                "system:serviceaccount:{ns}:",
                "shop",
            ),
            ("a:b:c", "{first}:", "a"),
            ("", "x{y}", ""),
        ] {
            let expression = format!("'{text}'.extract('{template}')");
            assert_eq!(
                evaluate(&expression, &[]),
                Ok(json!(expected)),
                "{expression}"
            );
        }
        assert!(evaluate("'x'.extract('no name')", &[]).is_err());
    }

    #[test]
    fn what_has_no_value_says_why() {
        for (expression, reason) in [
            ("assertion.upn", "No such key: upn"),
            ("unknown", "Undeclared reference to 'unknown'"),
            ("assertion.sub > 5", "no matching overload"),
            ("f(1)", "Undeclared reference to 'f'"),
            ("1 / 0", "zero"),
            ("'x'.matches('(')", "matches"),
            ("assertion.sub ==", "does not parse"),
            ("", "does not parse"),
            ("timestamp('x')", "timestamp"),
        ] {
            let error = evaluate(expression, &[("assertion", &assertion())]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(reason), "{expression}: {text}");
            assert!(!text.contains('\n'), "{text}");
        }
        let long = "a".repeat(MAX_CONDITION_CHARACTERS + 1);
        assert_eq!(
            evaluate(&long, &[]),
            Err(CelError::TooLong {
                limit: 4096,
                found: 4097
            })
        );
    }

    #[test]
    fn nesting_as_deep_as_an_expression_can_be_does_not_end_the_process() {
        for (open, middle, close) in [
            ("(", "1", ")"),
            ("[", "1", "]"),
            ("!", "true", ""),
            ("-", "1", ""),
            ("1+", "1", ""),
            ("true&&", "true", ""),
            ("true?1:", "1", ""),
            ("f(", "1", ")"),
            ("{1:", "1", "}"),
            ("", "assertion", ".a"),
            ("", "assertion", "[0]"),
            ("(", "", ""),
            ("\"'\\x{[(", "", ""),
        ] {
            let times = (MAX_CONDITION_CHARACTERS - middle.len()) / (open.len() + close.len());
            let expression = format!("{}{middle}{}", open.repeat(times), close.repeat(times));
            // Whatever it is, there is an answer.
            let _ = evaluate(&expression, &[("assertion", &assertion())]);
        }
    }
}
