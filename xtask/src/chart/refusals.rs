//! Whether Helm refuses what the chart does not know, and names it: at every place, in Helm's own words.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::helm::Helm;

/// Misspells a key in every object, gives every value a wrong type, and tries what the webhook could not start with.
pub(super) fn check(helm: &Helm, schema: &Value) -> Result<usize> {
    let mut places = Places::default();
    places.collect("", schema);
    let mut missing = Vec::new();
    for (wrong, expected) in [&places.keys, &places.types].map(|cases| {
        let mut values = json!({});
        let mut expected = Vec::new();
        for (path, wrong, words) in cases {
            insert(&mut values, path, wrong.clone());
            expected.push(words.clone());
        }
        (values, expected)
    }) {
        let said = helm.refusal(&wrong)?;
        for words in expected {
            if !said.contains(&words) {
                missing.push(words);
            }
        }
    }
    let senseless = [
        (
            json!({ "agent": { "image": { "tag": "latest" } } }),
            "`agent.image.tag` is `latest`: ",
        ),
        (
            json!({ "certificates": { "existing": { "caBundle": "LS0tLS1CRUdJTg==" } } }),
            "at '/certificates/existing/caBundle': ",
        ),
        (
            json!({ "webhook": { "failurePolicy": "fail" } }),
            "at '/webhook/failurePolicy': value must be one of 'Ignore', 'Fail'",
        ),
        (
            json!({ "providers": { "gcp": { "defaultDelivery": "config-map" } } }),
            "which needs `configMapDelivery: true`",
        ),
    ];
    for (wrong, words) in &senseless {
        if !helm.refusal(wrong)?.contains(words) {
            missing.push((*words).to_owned());
        }
    }
    if !missing.is_empty() {
        bail!("Helm does not say:\n  {}", missing.join("\n  "));
    }
    Ok(places.keys.len() + places.types.len() + senseless.len())
}

/// Where something can be wrong: path, a wrong value, and what Helm then says.
#[derive(Default)]
struct Places {
    keys: Vec<(String, Value, String)>,
    types: Vec<(String, Value, String)>,
}

impl Places {
    fn collect(&mut self, path: &str, schema: &Value) {
        if let Some(properties) = schema["properties"].as_object() {
            self.keys.push((
                format!("{path}/misspelt"),
                json!(1),
                format!("at '{path}': additional properties 'misspelt' not allowed"),
            ));
            for (name, property) in properties {
                self.collect(&format!("{path}/{name}"), property);
            }
            return;
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        let wrong = if kinds.contains(&"string") {
            json!(true)
        } else {
            json!("wrong")
        };
        let got = if wrong.is_boolean() {
            "boolean"
        } else {
            "string"
        };
        self.types.push((
            path.to_owned(),
            wrong,
            format!("at '{path}': got {got}, want "),
        ));
    }
}

fn insert(values: &mut Value, path: &str, value: Value) {
    let mut at = values;
    for part in path.split('/').skip(1) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[part];
    }
    *at = value;
}
