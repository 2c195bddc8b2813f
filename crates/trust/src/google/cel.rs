//! CEL as Google evaluates attribute mappings and conditions: the standard library, the string extensions, and Google's own
//! `extract`.
//!
//! Expressions come from documents that anybody may have written, and the parser is a generated one that recurses. So the
//! length is capped as Google caps it, evaluation runs on a thread with a stack for the deepest nesting that fits into
//! that length, and a panic becomes an error: what Google does with an expression that fails is the same in any case.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
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

fn run(expression: &str, variables: &[(&str, &Value)]) -> Result<Value, CelError> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)
        .and_then(
            |()| add_member_overload!(env, fn extract: (CelString, CelString) -> Result<CelString>),
        )
        .and_then(|()| add_overload!(env, fn timestamp: (CelString) -> Result<CelInt>))
        .map_err(|_| CelError::Defect)?;
    let program = env
        .compile(expression)
        .map_err(|errors| CelError::Syntax(first_line(&errors.to_string())))?;
    let mut context = Context::with_env(Arc::new(env));
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
    fn deep() {
        for n in [100usize, 500, 1000, 1365, 2040, 4000] {
            for (name, e) in [
                (
                    "paren",
                    format!("{}1{}", "(".repeat(n / 2), ")".repeat(n / 2)),
                ),
                (
                    "list",
                    format!("{}1{}", "[".repeat(n / 2), "]".repeat(n / 2)),
                ),
                ("not", format!("{}true", "!".repeat(n))),
                ("minus", format!("{}1", "-".repeat(n))),
                ("plus", format!("{}1", "1+".repeat(n / 2))),
                ("and", format!("{}true", "true&&".repeat(n / 6))),
                ("dots", format!("assertion{}", ".a".repeat(n / 2))),
                ("tern", format!("{}1", "true?1:".repeat(n / 7))),
                (
                    "call",
                    format!("{}1{}", "f(".repeat(n / 3), ")".repeat(n / 3)),
                ),
                (
                    "map",
                    format!("{}1{}", "{1:".repeat(n / 4), "}".repeat(n / 4)),
                ),
                ("open", "(".repeat(n)),
                ("garbage", "\"'\\x{[(".repeat(n / 7)),
            ] {
                let t = std::time::Instant::now();
                let r = evaluate(&e, &[("assertion", &assertion())]);
                println!(
                    "{n} {name} {:?} {:?}",
                    t.elapsed(),
                    r.map(|v| {
                        let s = v.to_string();
                        s.chars().take(30).collect::<String>()
                    })
                    .map_err(|e| e
                        .to_string()
                        .chars()
                        .take(80)
                        .collect::<String>())
                );
            }
        }
    }
}
