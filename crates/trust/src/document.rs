//! Reading documents: a JSON value that knows where it stands, so that every error can say so.

use std::collections::BTreeMap;

use cwii_contract::types::shorten;
use serde_json::Value;

/// A document that is not what it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{document} at `{pointer}`: expected {expected}, found {found}")]
pub struct DocumentError {
    /// Which document: `AWS document`, `trust policy`.
    pub document: &'static str,
    /// JSON pointer (RFC 6901) to the place, empty for the document itself.
    pub pointer: String,
    /// What was expected there.
    pub expected: String,
    /// What was found there, shortened.
    pub found: String,
}

/// Where an object and its members stand in the document that they were read from. Sources spell members differently and
/// nest them differently; this remembers how.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pointers {
    root: String,
    members: BTreeMap<&'static str, String>,
}

impl Pointers {
    /// JSON pointer to the object itself.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// JSON pointer to a member by its name in the vendor's API, also where the document does not have it.
    #[must_use]
    pub fn of(&self, member: &str) -> String {
        self.members
            .get(member)
            .cloned()
            .unwrap_or_else(|| format!("{}/{}", self.root, escape(member)))
    }

    /// Adds members of an object inside. Each is given by its spellings, that of the API first.
    pub(crate) fn with(mut self, inner: &Node<'_>, members: &[&[&'static str]]) -> Self {
        for spellings in members {
            if let (Some(name), Some(found)) = (spellings.first(), inner.get(spellings)) {
                self.members.insert(name, found.pointer);
            }
        }
        self
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    document: &'static str,
    pub(crate) pointer: String,
    pub(crate) value: &'a Value,
}

impl<'a> Node<'a> {
    pub(crate) fn root(document: &'static str, value: &'a Value) -> Self {
        Self::at(document, String::new(), value)
    }

    pub(crate) fn at(document: &'static str, pointer: String, value: &'a Value) -> Self {
        Self {
            document,
            pointer,
            value,
        }
    }

    /// A member by any of its spellings, the first that is there. `null` counts as absent: Terraform prints it so.
    pub(crate) fn get(&self, names: &[&str]) -> Option<Self> {
        names.iter().find_map(|name| {
            let value = self.value.get(name).filter(|value| !value.is_null())?;
            Some(self.child(name, value))
        })
    }

    /// Where it stands, and where the members of these spellings do.
    pub(crate) fn pointers(&self, members: &[&[&'static str]]) -> Pointers {
        Pointers {
            root: self.pointer.clone(),
            members: BTreeMap::new(),
        }
        .with(self, members)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(&[name]).is_some()
    }

    pub(crate) fn require(&self, names: &[&str]) -> Result<Self, DocumentError> {
        self.get(names).ok_or_else(|| DocumentError {
            document: self.document,
            pointer: self.pointer.clone(),
            expected: format!("a member `{}`", names.join("` or `")),
            found: describe(self.value),
        })
    }

    pub(crate) fn items(&self) -> Result<Vec<Self>, DocumentError> {
        let items = self
            .value
            .as_array()
            .ok_or_else(|| self.error("an array"))?;
        Ok(items
            .iter()
            .enumerate()
            .map(|(index, item)| self.child(&index.to_string(), item))
            .collect())
    }

    /// The items of an array, or the value itself where it is none.
    pub(crate) fn one_or_many(&self) -> Vec<Self> {
        self.items().unwrap_or_else(|_| vec![self.clone()])
    }

    pub(crate) fn members(&self) -> Result<Vec<(&'a str, Self)>, DocumentError> {
        let members = self
            .value
            .as_object()
            .ok_or_else(|| self.error("an object"))?;
        Ok(members
            .iter()
            .map(|(name, value)| (name.as_str(), self.child(name, value)))
            .collect())
    }

    pub(crate) fn text(&self) -> Result<&'a str, DocumentError> {
        self.value.as_str().ok_or_else(|| self.error("a string"))
    }

    /// A string, or the strings of an array.
    pub(crate) fn texts(&self) -> Result<Vec<String>, DocumentError> {
        self.one_or_many()
            .iter()
            .map(|item| match item.value.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(item.error("a string")),
            })
            .collect()
    }

    pub(crate) fn optional_text(&self, names: &[&str]) -> Result<Option<String>, DocumentError> {
        self.get(names)
            .map(|node| node.text().map(str::to_owned))
            .transpose()
    }

    pub(crate) fn required_text(&self, names: &[&str]) -> Result<String, DocumentError> {
        Ok(self.require(names)?.text()?.to_owned())
    }

    /// A boolean; the words that command lines print for one are taken as well.
    pub(crate) fn optional_bool(&self, names: &[&str]) -> Result<Option<bool>, DocumentError> {
        self.get(names)
            .map(|node| match node.value {
                Value::Bool(value) => Ok(*value),
                Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
                Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
                _ => Err(node.error("true or false")),
            })
            .transpose()
    }

    pub(crate) fn optional_integer(&self, names: &[&str]) -> Result<Option<i64>, DocumentError> {
        self.get(names)
            .map(|node| {
                node.value
                    .as_i64()
                    .ok_or_else(|| node.error("a whole number"))
            })
            .transpose()
    }

    /// The texts of a list; empty where it is absent.
    pub(crate) fn optional_texts(&self, names: &[&str]) -> Result<Vec<String>, DocumentError> {
        self.get(names)
            .map_or_else(|| Ok(Vec::new()), |node| node.texts())
    }

    /// The object in a block of Terraform, which is a list of one.
    pub(crate) fn block(&self, names: &[&str]) -> Option<Self> {
        let node = self.get(names)?;
        match node.value {
            Value::Array(items) => items.first().map(|first| node.child("0", first)),
            _ => Some(node),
        }
    }

    pub(crate) fn child(&self, name: &str, value: &'a Value) -> Self {
        Self {
            document: self.document,
            pointer: format!("{}/{}", self.pointer, escape(name)),
            value,
        }
    }

    pub(crate) fn error(&self, expected: impl Into<String>) -> DocumentError {
        DocumentError {
            document: self.document,
            pointer: self.pointer.clone(),
            expected: expected.into(),
            found: describe(self.value),
        }
    }
}

/// A resource of Terraform: its type and its attributes.
pub(crate) struct Resource<'a> {
    pub(crate) kind: &'a str,
    pub(crate) values: Node<'a>,
}

/// The resources of what Terraform prints: `show -json` of a state or a plan, a state file, or one resource cut out of
/// either. `None` when the document is not Terraform's.
/// Source: Terraform documentation, "JSON Output Format"; state file version 4.
pub(crate) fn terraform_resources<'a>(node: &Node<'a>) -> Option<Vec<Resource<'a>>> {
    let mut found = Vec::new();
    if let Some(kind) = node.value.get("type").and_then(Value::as_str) {
        if let Some(values) = node.get(&["values"]) {
            found.push(Resource { kind, values });
            return Some(found);
        }
        if let Some(instances) = node.get(&["instances"]) {
            instances_of(kind, &instances, &mut found);
            return Some(found);
        }
    }
    // A plan holds both; what is planned is what will be.
    let state = node
        .get(&["planned_values"])
        .or_else(|| node.get(&["values"]))
        .unwrap_or_else(|| node.clone());
    if let Some(module) = state.get(&["root_module"]) {
        module_resources(&module, &mut found);
        return Some(found);
    }
    if node.has("terraform_version") {
        if let Some(resources) = node.get(&["resources"]) {
            for resource in resources.one_or_many() {
                let kind = resource.value.get("type").and_then(Value::as_str);
                if let (Some(kind), Some(instances)) = (kind, resource.get(&["instances"])) {
                    instances_of(kind, &instances, &mut found);
                }
            }
        }
        return Some(found);
    }
    None
}

fn module_resources<'a>(module: &Node<'a>, found: &mut Vec<Resource<'a>>) {
    for resource in module
        .get(&["resources"])
        .iter()
        .flat_map(Node::one_or_many)
    {
        let kind = resource.value.get("type").and_then(Value::as_str);
        if let (Some(kind), Some(values)) = (kind, resource.get(&["values"])) {
            found.push(Resource { kind, values });
        }
    }
    for child in module
        .get(&["child_modules"])
        .iter()
        .flat_map(Node::one_or_many)
    {
        module_resources(&child, found);
    }
}

fn instances_of<'a>(kind: &'a str, instances: &Node<'a>, found: &mut Vec<Resource<'a>>) {
    for instance in instances.one_or_many() {
        if let Some(values) = instance.get(&["attributes"]) {
            found.push(Resource { kind, values });
        }
    }
}

/// A reference token of a JSON pointer (RFC 6901, section 3).
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What a value is, for a person.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.is_empty() => "an empty string".to_owned(),
        Value::String(text) => format!("the string `{}`", shorten(text)),
        Value::Array(items) if items.is_empty() => "an empty array".to_owned(),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(members) if members.is_empty() => "an empty object".to_owned(),
        Value::Object(members) => {
            let names: Vec<String> = members
                .keys()
                .take(5)
                .map(|name| format!("`{}`", shorten(name)))
                .collect();
            let more = if members.len() > 5 { ", …" } else { "" };
            format!("an object of {}{more}", names.join(", "))
        }
    }
}
