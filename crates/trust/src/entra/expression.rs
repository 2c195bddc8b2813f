//! `claimsMatchingExpression` of flexible federated identity credentials, language version 1:
//! `claims['sub'] matches 'repo:org/*' and claims['job_workflow_ref'] eq '…'`.
//! Source: Microsoft Learn, "Flexible federated identity credentials (preview)".

use serde_json::{Map, Value};

use crate::pattern::{glob, wildcards};

/// Whether all comparisons hold. A claim that is missing or no string holds none.
///
/// # Errors
///
/// What was expected where the expression does not parse.
pub(super) fn evaluate(expression: &str, claims: &Map<String, Value>) -> Result<bool, String> {
    let mut rest = expression.trim_start();
    let mut holds = true;
    loop {
        rest = expect(rest, "claims")?;
        rest = expect(rest, "[")?;
        let (claim, after) = quoted(rest)?;
        rest = expect(after, "]")?;
        let is_pattern = match (expect(rest, "eq"), expect(rest, "matches")) {
            (Ok(after), _) => {
                rest = after;
                false
            }
            (_, Ok(after)) => {
                rest = after;
                true
            }
            _ => return Err(expected("`eq` or `matches`", rest)),
        };
        let (value, after) = quoted(rest)?;
        rest = after;
        let found = claims.get(&claim).and_then(Value::as_str);
        holds &= found.is_some_and(|found| {
            if is_pattern {
                glob(&wildcards(&value), found)
            } else {
                found == value
            }
        });
        if rest.is_empty() {
            return Ok(holds);
        }
        rest = expect(rest, "and")?;
    }
}

fn expect<'a>(text: &'a str, token: &str) -> Result<&'a str, String> {
    text.strip_prefix(token)
        .map(str::trim_start)
        .ok_or_else(|| expected(&format!("`{token}`"), text))
}

/// Text in single quotes; two of them stand for one.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut rest = text
        .strip_prefix('\'')
        .ok_or_else(|| expected("text in single quotes", text))?;
    let mut value = String::new();
    loop {
        let (head, tail) = rest
            .split_once('\'')
            .ok_or_else(|| expected("a closing quote", ""))?;
        value.push_str(head);
        match tail.strip_prefix('\'') {
            Some(tail) => {
                value.push('\'');
                rest = tail;
            }
            None => return Ok((value, tail.trim_start())),
        }
    }
}

fn expected(what: &str, found: &str) -> String {
    if found.is_empty() {
        return format!("expected {what}, found the end");
    }
    format!(
        "expected {what}, found `{}`",
        cwii_contract::types::shorten(found)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_compare_claims() {
        let claims = json!({"sub": "repo:org/app:ref:refs/heads/main", "actor": "o'neil", "n": 1});
        let claims = claims.as_object().unwrap();
        for (expression, expected) in [
            ("claims['sub'] eq 'repo:org/app:ref:refs/heads/main'", true),
            ("claims['sub'] eq 'repo:org/*'", false),
            ("claims['sub'] matches 'repo:org/*'", true),
            ("claims['sub'] matches 'repo:org/ap?:*'", true),
            ("claims['sub'] matches 'repo:other/*'", false),
            (
                "claims['sub'] matches 'repo:*' and claims['actor'] eq 'o''neil'",
                true,
            ),
            (
                "claims['sub'] matches 'repo:*' and claims['actor'] eq 'x'",
                false,
            ),
            ("claims['n'] eq '1'", false),
            ("claims['missing'] matches '*'", false),
        ] {
            assert_eq!(evaluate(expression, claims), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn an_expression_that_does_not_parse_says_what_was_expected() {
        for (expression, problem) in [
            ("", "expected `claims`, found the end"),
            ("sub eq 'x'", "expected `claims`, found `sub eq 'x'`"),
            ("claims[sub] eq 'x'", "text in single quotes"),
            ("claims['sub'] like 'x'", "`eq` or `matches`"),
            ("claims['sub'] eq 'x", "a closing quote, found the end"),
            ("claims['sub'] eq 'x' or claims['a'] eq 'y'", "`and`"),
        ] {
            let error = evaluate(expression, &Map::new()).unwrap_err();
            assert!(error.contains(problem), "{expression}: {error}");
        }
    }
}
