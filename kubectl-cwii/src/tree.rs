//! What is added to an object, as YAML with the path that leads to it.

use serde_json::Value;

/// One line of the diff, without its mark.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    pub(crate) added: bool,
    pub(crate) text: String,
}

/// The lines of `after` that `before` does not have, each below the lines that lead to it. Empty if there are none.
/// Elements of arrays are told apart by their names, mount paths, or content.
pub(crate) fn added(before: &Value, after: &Value) -> Vec<Line> {
    let mut lines = Vec::new();
    members(before, after, 0, &mut lines);
    lines
}

fn members(before: &Value, after: &Value, indent: usize, lines: &mut Vec<Line>) {
    for (key, value) in after.as_object().into_iter().flatten() {
        let old = before.get(key).filter(|old| !old.is_null());
        match (old, value) {
            (Some(old), value) if old == value => {}
            (Some(old @ Value::Object(_)), Value::Object(_)) => {
                lines.push(context(indent, &format!("{key}:")));
                members(old, value, indent + 1, lines);
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                lines.push(context(indent, &format!("{key}:")));
                elements(old, new, indent, lines);
            }
            _ => lines.extend(yaml(key, value, indent)),
        }
    }
}

fn elements(before: &[Value], after: &[Value], indent: usize, lines: &mut Vec<Line>) {
    for element in after {
        let old = before
            .iter()
            .find(|old| match (identity(old), identity(element)) {
                (Some(old), Some(new)) => old == new,
                _ => *old == element,
            });
        match old {
            None => {
                let text = to_yaml(element);
                for (index, line) in text.lines().enumerate() {
                    let lead = if index == 0 { "- " } else { "  " };
                    lines.push(Line {
                        added: true,
                        text: format!("{}{lead}{line}", INDENT.repeat(indent)),
                    });
                }
            }
            Some(old) if old == element => {}
            Some(old) => {
                if let Some((member, name)) = identity(element) {
                    lines.push(context(indent, &format!("- {member}: {name}")));
                }
                members(old, element, indent + 1, lines);
            }
        }
    }
}

/// What an element of an array is told apart by.
fn identity(element: &Value) -> Option<(&'static str, &str)> {
    ["mountPath", "name"]
        .into_iter()
        .find_map(|member| Some((member, element.get(member)?.as_str()?)))
}

fn yaml(key: &str, value: &Value, indent: usize) -> Vec<Line> {
    let mut whole = serde_json::Map::new();
    whole.insert(key.to_owned(), value.clone());
    to_yaml(&Value::Object(whole))
        .lines()
        .map(|line| Line {
            added: true,
            text: format!("{}{line}", INDENT.repeat(indent)),
        })
        .collect()
}

fn to_yaml(value: &Value) -> String {
    // Values that came from JSON serialise.
    serde_saphyr::to_string(value).unwrap_or_default()
}

fn context(indent: usize, text: &str) -> Line {
    Line {
        added: false,
        text: format!("{}{text}", INDENT.repeat(indent)),
    }
}

const INDENT: &str = "  ";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_new_is_shown_below_what_leads_to_it() {
        let before = json!({
            "metadata": { "name": "a" },
            "spec": { "containers": [
                { "name": "one", "env": [{ "name": "A", "value": "1" }] },
                { "name": "two", "image": "x" },
            ] },
        });
        let after = json!({
            "metadata": { "name": "a", "annotations": { "k": "v" } },
            "spec": { "containers": [
                { "name": "one", "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }] },
                { "name": "two", "image": "x" },
            ] },
        });
        let text: Vec<String> = added(&before, &after)
            .iter()
            .map(|line| format!("{}{}", if line.added { "+ " } else { "  " }, line.text))
            .collect();
        assert_eq!(
            text,
            [
                "  metadata:",
                "+   annotations:",
                "+     k: v",
                "  spec:",
                "    containers:",
                "    - name: one",
                "      env:",
                "+     - name: B",
                "+       value: \"2\"",
            ]
        );
        assert!(added(&after, &after).is_empty());
    }
}
