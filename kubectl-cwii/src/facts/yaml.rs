//! YAML and JSON with the line of every place, read as kubectl reads manifests.
//!
//! Scalars mean what they mean to kubectl, which is YAML 1.1: `0644` is octal, `yes` is a boolean, a date is a text. A
//! finding about `use: "true"` depends on exactly that.
//!
//! Source: "Declarative Management of Kubernetes Objects Using Configuration Files"
//! (<https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/>); "YAML 1.1", tag repository
//! (<https://yaml.org/type/>).

use std::{borrow::Cow, collections::BTreeMap};

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Number, Value};

/// A document of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Line of each JSON pointer, from 1.
    pub(crate) lines: BTreeMap<String, u32>,
}

/// Why a text is no YAML and no JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Malformed {
    /// Line, from 1.
    pub(crate) line: u32,
    /// Column, from 1.
    pub(crate) column: u32,
    /// What was expected and what was found.
    pub(crate) message: String,
}

/// Reads all documents of a text. Empty ones are left out.
///
/// # Errors
///
/// Where it is malformed, and what was expected there.
pub(crate) fn parse(text: &str) -> Result<Vec<Document>, Malformed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_start().chars().next() {
        Some('{' | '[') => match json(text) {
            Ok(documents) => Ok(documents),
            // A flow mapping may be YAML all the same, unless its first key is quoted as JSON wants it.
            Err(error) if is_quoted(text) => Err(error),
            Err(error) => yaml(text).map_err(|_| error),
        },
        _ => yaml(text),
    }
}

fn is_quoted(text: &str) -> bool {
    let mut characters = text.chars().filter(|c| !c.is_whitespace() && *c != '[');
    (characters.next(), characters.next()) == (Some('{'), Some('"'))
}

fn json(text: &str) -> Result<Vec<Document>, Malformed> {
    let values = serde_json::Deserializer::from_str(text)
        .into_iter::<Value>()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Malformed {
            line: saturated(error.line()),
            column: saturated(error.column()),
            message: format!("expected JSON, found an error: {}", unplaced(&error)),
        })?;
    // The values are those of the JSON; YAML's reader only says where they stand, if it can.
    let mut places = yaml(text).unwrap_or_default().into_iter();
    Ok(values
        .into_iter()
        .map(|value| Document {
            lines: places
                .next()
                .filter(|place| place.value == value)
                .map_or_else(|| BTreeMap::from([(String::new(), 1)]), |place| place.lines),
            value,
        })
        .collect())
}

/// The message without the place that serde_json puts behind it.
fn unplaced(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

fn yaml(text: &str) -> Result<Vec<Document>, Malformed> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        anchors: BTreeMap::new(),
        lines: BTreeMap::new(),
        budget: ALIASED,
    };
    let mut documents = Vec::new();
    while let Some(next) = reader.events.next() {
        let (event, _) = next.map_err(malformed)?;
        if !matches!(event, Event::DocumentStart(..)) {
            continue;
        }
        reader.anchors.clear();
        reader.lines = BTreeMap::new();
        let (event, span) = reader.next()?;
        if matches!(event, Event::DocumentEnd) {
            continue;
        }
        let value = reader.node(event, &span, String::new(), None)?;
        if !value.is_null() {
            let lines = std::mem::take(&mut reader.lines);
            documents.push(Document { value, lines });
        }
    }
    Ok(documents)
}

struct Reader<I> {
    events: I,
    anchors: BTreeMap<usize, Value>,
    lines: BTreeMap<String, u32>,
    /// Values that aliases may still stand for: a few can stand for billions.
    budget: usize,
}

impl<'t, I: Iterator<Item = Result<(Event<'t>, Span), ScanError>>> Reader<I> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Malformed> {
        match self.events.next() {
            Some(next) => next.map_err(malformed),
            None => Err(Malformed {
                line: 1,
                column: 1,
                message: "expected a value, found the end".into(),
            }),
        }
    }

    /// A node and all below it. `line` is where its key stands, which is where people look for it.
    fn node(
        &mut self,
        event: Event<'t>,
        span: &Span,
        pointer: String,
        line: Option<u32>,
    ) -> Result<Value, Malformed> {
        self.lines.insert(
            pointer.clone(),
            line.unwrap_or_else(|| saturated(span.start.line())),
        );
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar(&text, style, tag.as_deref()))
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut elements = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    let pointer = format!("{pointer}/{}", elements.len());
                    elements.push(self.node(event, &span, pointer, None)?);
                }
                (anchor, Value::Array(elements))
            }
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping(&pointer)?),
            Event::Alias(id) => {
                let value = self.anchors.get(&id).cloned().unwrap_or_default();
                match self.budget.checked_sub(size(&value)) {
                    Some(left) => self.budget = left,
                    None => {
                        return Err(at(
                            span,
                            format!(
                                "expected aliases that stand for at most {ALIASED} values, found more"
                            ),
                        ));
                    }
                }
                (0, value)
            }
            _ => {
                return Err(at(span, "expected a value, found none".into()));
            }
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn mapping(&mut self, pointer: &str) -> Result<Value, Malformed> {
        let mut members = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let (key, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, _) => {
                    (text.into_owned(), style == ScalarStyle::Plain)
                }
                Event::Alias(id) => match self.anchors.get(&id) {
                    Some(Value::String(text)) => (text.clone(), false),
                    _ => return Err(at(&span, "expected a text as key, found an alias".into())),
                },
                _ => {
                    return Err(at(
                        &span,
                        "expected a text as key, found a structure".into(),
                    ));
                }
            };
            let line = saturated(span.start.line());
            let (event, value_span) = self.next()?;
            if plain && key == "<<" {
                merged.push(self.node(event, &value_span, format!("{pointer}/<<"), Some(line))?);
                continue;
            }
            let below = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            let value = self.node(event, &value_span, below, Some(line))?;
            members.insert(key, value);
        }
        // "Merge Key Language-Independent Type for YAML 1.1": what stands here itself wins, and the first of several.
        for source in merged {
            let sources = match source {
                Value::Array(sources) => sources,
                one => vec![one],
            };
            for source in sources {
                for (key, value) in source.as_object().into_iter().flatten() {
                    members.entry(key.as_str()).or_insert_with(|| value.clone());
                }
            }
        }
        Ok(Value::Object(members))
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(size).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    match tag.and_then(Tag::core_suffix) {
        Some("str" | "binary") => return Value::String(text.to_owned()),
        Some("null") => return Value::Null,
        Some(_) => {}
        None if style != ScalarStyle::Plain => return Value::String(text.to_owned()),
        None => {}
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let text: Cow<'_, str> = if text.contains('_') {
        text.replace('_', "").into()
    } else {
        text.into()
    };
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, &*text),
    };
    let (radix, rest) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    let all_digits = !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
    if all_digits && let Ok(whole) = u64::from_str_radix(rest, radix) {
        return if negative {
            Some(i64::try_from(-i128::from(whole)).ok()?.into())
        } else {
            Some(whole.into())
        };
    }
    let is_float = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.bytes().any(|b| b.is_ascii_digit());
    if !is_float {
        return None;
    }
    Number::from_f64(text.parse().ok()?)
}

fn malformed(error: ScanError) -> Malformed {
    Malformed {
        line: saturated(error.marker().line()),
        column: saturated(error.marker().col() + 1),
        message: format!("expected YAML, found an error: {}", error.info()),
    }
}

fn at(span: &Span, message: String) -> Malformed {
    Malformed {
        line: saturated(span.start.line()),
        column: saturated(span.start.col() + 1),
        message,
    }
}

fn saturated(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Far more than anybody means to write.
const ALIASED: usize = 100_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Document {
        let mut documents = parse(text).unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    #[test]
    fn every_place_has_the_line_of_its_key() {
        let document = one(
            "# head\nkind: Pod\nmetadata:\n  annotations:\n    a/b~c: x\nspec:\n  containers:\n  - name: app\n    env:\n    - {name: A, value: b}\n",
        );
        let line = |pointer: &str| document.lines[pointer];
        assert_eq!(line(""), 2);
        assert_eq!(line("/metadata"), 3);
        assert_eq!(line("/metadata/annotations/a~1b~0c"), 5);
        assert_eq!(line("/spec/containers/0"), 8);
        assert_eq!(line("/spec/containers/0/env"), 9);
        assert_eq!(line("/spec/containers/0/env/0/value"), 10);
    }

    #[test]
    fn scalars_are_those_of_kubectl() {
        let document = one(
            "a: 0644\nb: yes\nc: \"true\"\nd: 2026-11-22\ne: 1.5\nf: ~\ng: 0x1f\nh: -3\ni: 1e3\nj: 10m\nk: 1.2.3\nl: !!str 5\nm: True\nn: |\n  text\no: 09\nq: 123456789012\n",
        );
        assert_eq!(
            document.value,
            json!({"a": 420, "b": true, "c": "true", "d": "2026-11-22", "e": 1.5, "f": null, "g": 31, "h": -3, "i": 1000.0,
                "j": "10m", "k": "1.2.3", "l": "5", "m": true, "n": "text\n", "o": 9.0, "q": 123_456_789_012_u64})
        );
    }

    #[test]
    fn several_documents_and_none_are_read() {
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse("---\n# nothing\n---\n").unwrap(), []);
        let documents = parse("a: 1\n---\nb: 2\n...\n---\nc: 3\n").unwrap();
        let lines: Vec<_> = documents.iter().map(|d| d.lines[""]).collect();
        assert_eq!(lines, [1, 3, 6]);
        assert_eq!(parse("{\"a\": 1}\n{\"b\": 2}").unwrap().len(), 2);
    }

    #[test]
    fn json_has_lines_too() {
        let document =
            one("{\n\t\"kind\": \"Pod\",\n  \"items\": [\n    {\"a\": \"yes\"}\n  ]\n}\n");
        assert_eq!(document.value["items"][0]["a"], "yes");
        let document =
            one("{\n  \"kind\": \"Pod\",\n  \"items\": [\n    {\"a\": \"yes\"}\n  ]\n}\n");
        assert_eq!(document.lines["/items/0/a"], 4);
    }

    #[test]
    fn aliases_and_merges_are_followed_and_bounded() {
        let document = one("base: &base {a: 1, b: 2}\nc:\n  <<: *base\n  b: 3\n");
        assert_eq!(document.value["c"], json!({"b": 3, "a": 1}));
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let below = level - 1;
            let aliases = vec![format!("*a{below}"); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(parse(&bomb).unwrap_err().message.contains("aliases"));
    }

    #[test]
    fn an_error_says_where() {
        let error = parse("kind: Pod\nmetadata:\n  name: x\n bad: y\n").unwrap_err();
        assert_eq!(error.line, 4, "{error:?}");
        let error = parse("{\"kind\": \"Pod\",\n \"a\": }\n").unwrap_err();
        assert_eq!(error.line, 2, "{error:?}");
        assert!(error.message.starts_with("expected JSON"), "{error:?}");
        assert!(parse("name: {{ .Values.name }}\nkind: x\n").is_err());
    }
}
