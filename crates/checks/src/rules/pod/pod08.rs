//! A value carries characters that do not belong to it.
//!
//! ## What it checks
//!
//! The values of all identity keys, cwii's and the clouds', on the pod template, the workload, the ServiceAccount and the
//! namespace: white space and line breaks, quotes around the value, typographic dashes, characters without a shape, and
//! placeholders of templates (`${…}`, `{{…}}`, `<…>`) that nobody filled in.
//!
//! ## Why it matters
//!
//! Values are copied from web pages, chat and terminals, and every cloud compares them byte by byte. What is wrong cannot
//! be seen on a screen. cwii trims white space around its own values; the clouds' webhooks do not.
//!
//! ## How it looks
//!
//! ```text
//! ValidationError: Request ARN is invalid
//! ```
//!
//! ## How to fix it
//!
//! Write the cleaned value, then restart the workload.
//!
//! ## How to verify the fix
//!
//! `kubectl get serviceaccount NAME -o jsonpath='{.metadata.annotations}' | cat -A` shows the bare value.
//!
//! ## References
//!
//! - Unicode, "Unicode Security Considerations", UTR 36: <https://www.unicode.org/reports/tr36/>
//! - AWS, "AssumeRoleWithWebIdentity": <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use cwii_contract::annotations::{self, ValueKind};

use super::{annotations_of, keys};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{restarted, set_by},
};

pub(super) const RULE: Rule = Rule::new(
    "POD08",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    case.pod()?;
    let unread = case.service_account().err().or(case.namespace().err());
    let mut findings = Vec::new();
    for (place, key, value) in annotations_of(case) {
        let is_ours = key.starts_with(annotations::PREFIX);
        let provider = match (keys::find(key), annotations::find(key)) {
            // Lists have separators of their own: POD11.
            (Some(row), _) if !row.key.ends_with("skip-containers") && !row.key.ends_with("-json") => {
                Some(row.provider)
            }
            (None, Some((row, provider)))
                if !matches!(row.kind, ValueKind::Names | ValueKind::Output) =>
            {
                provider.or_else(|| {
                    cwii_contract::Provider::ALL
                        .into_iter()
                        .find(|provider| row.key.starts_with(&format!("{provider}-")))
                })
            }
            _ => continue,
        };
        let Some(junk) = junk(value, is_ours) else {
            continue;
        };
        let mut finding = set_by(
            Finding::new("POD08", format!("the value of `{key}` {}", junk.what))
                .at(place.at_annotation(key))
                .evidence("value", value.escape_debug().to_string()),
            case,
            place.object,
            &place.path("annotations", key),
        );
        if let Some(provider) = provider {
            finding = finding.of(provider);
        }
        finding = match &junk.clean {
            Some(clean) => restarted(
                finding
                    .compared(value, clean.clone())
                    .fix("write the bare value")
                    .command(place.annotate(&[(key, clean)], &[]))
                    .applicable(Applicability::Safe),
                case,
            ),
            None => finding.fix("fill the placeholder in: the manifest was applied without being rendered"),
        };
        findings.push(finding);
    }
    Outcome::despite(findings, unread)
}

struct Junk {
    what: String,
    /// The value as it was meant; none where nobody but its author knows.
    clean: Option<String>,
}

fn junk(value: &str, is_trimmed: bool) -> Option<Junk> {
    for (open, close) in [("${", "}"), ("{{", "}}"), ("<", ">"), ("$(", ")")] {
        if let Some((_, after)) = value.split_once(open)
            && after.contains(close)
        {
            return Some(Junk {
                what: format!("holds a placeholder `{open}…{close}` that nobody filled in"),
                clean: None,
            });
        }
    }
    let value = if is_trimmed { value.trim() } else { value };
    let mut clean = String::new();
    let mut what = None;
    for c in value.chars() {
        let (kind, replacement) = match c {
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => {
                ("holds a typographic dash", Some('-'))
            }
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}' | '\u{202a}'..='\u{202e}' => {
                ("holds a character without a shape", None)
            }
            '\n' | '\r' => ("holds a line break", None),
            c if c.is_whitespace() => ("holds white space", None),
            '\u{2018}'..='\u{201f}' => ("stands in typographic quotes", None),
            c => {
                clean.push(c);
                continue;
            }
        };
        what.get_or_insert_with(|| {
            format!("{kind} (U+{:04X})", u32::from(c))
        });
        clean.extend(replacement);
    }
    let unquoted = clean
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .or_else(|| clean.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')))
        .or_else(|| clean.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')));
    if let Some(unquoted) = unquoted {
        return Some(Junk {
            what: "stands in quotes".into(),
            clean: Some(unquoted.to_owned()),
        });
    }
    what.filter(|_| !clean.is_empty()).map(|what| Junk {
        what,
        clean: Some(clean),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, report::Finding, rules::fixture::Fixture};

    fn found(key: &str, value: &str) -> Finding {
        let fixture = Fixture::plain().service_account(|account| {
            account["metadata"]["annotations"] = json!({key: value});
        });
        match fixture.decide("POD08") {
            Ok(Outcome::Found(mut findings)) if findings.len() == 1 => findings.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bare_values_pass() {
        for fixture in [Fixture::irsa(), Fixture::cwii_all()] {
            assert_eq!(fixture.decide("POD08"), Ok(Outcome::Pass));
        }
        let padded = Fixture::cwii_aws().service_account(|account| {
            account["metadata"]["annotations"]["cwii.dev/aws-region"] = json!(" eu-central-1\n");
        });
        assert_eq!(padded.decide("POD08"), Ok(Outcome::Pass), "cwii trims");
    }

    #[test]
    fn junk_is_named_and_the_clean_value_printed() {
        for (value, message, clean) in [
            ("arn:aws:iam::111122223333:role/a\n", "holds a line break (U+000A)", "arn:aws:iam::111122223333:role/a"),
            (" arn:aws:iam::111122223333:role/a", "holds white space (U+0020)", "arn:aws:iam::111122223333:role/a"),
            ("\"arn:aws:iam::111122223333:role/a\"", "stands in quotes", "arn:aws:iam::111122223333:role/a"),
            ("arn:aws:iam::111122223333:role/a\u{2013}b", "holds a typographic dash (U+2013)",
                "arn:aws:iam::111122223333:role/a-b"),
            ("arn:aws:iam::111122223333:role/a\u{200b}", "holds a character without a shape (U+200B)",
                "arn:aws:iam::111122223333:role/a"),
        ] {
            let finding = found("eks.amazonaws.com/role-arn", value);
            assert_eq!(finding.message, format!("the value of `eks.amazonaws.com/role-arn` {message}"));
            assert_eq!(finding.comparison.unwrap().expected, clean);
            assert!(finding.fix.commands[0].contains(clean));
        }
    }

    #[test]
    fn a_placeholder_has_no_clean_value() {
        for value in ["arn:aws:iam::${ACCOUNT}:role/a", "{{ .Values.role }}", "<ROLE_ARN>"] {
            let finding = found("cwii.dev/aws-role-arn", value);
            assert!(finding.message.contains("placeholder"), "{}", finding.message);
            assert!(finding.fix.commands.is_empty());
        }
    }
}
