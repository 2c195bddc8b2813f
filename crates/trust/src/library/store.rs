//! What `trust store` writes and `doctor` reads back: a ConfigMap with one key per document, and no secret in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Library, LibraryError, Recognised, base_name};
use crate::document::escape;

impl Library {
    /// The data of a ConfigMap: the file's name as the key, the document as the value. Keys cannot have every character of a
    /// file name; another one is written as `_` and its two hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`LibraryError::Secret`] where a key set holds private keys: their values are gone already, but a key set that was
    /// published with them is nothing to hand on.
    pub fn to_config_map_data(&self) -> Result<BTreeMap<String, String>, LibraryError> {
        let mut data = BTreeMap::new();
        for entry in &self.entries {
            if let Some(pointer) = private_member_names(&entry.value) {
                return Err(LibraryError::Secret {
                    file: entry.file.clone(),
                    position: None,
                    pointer,
                });
            }
            let mut name = base_name(&entry.file);
            if data.contains_key(&key_of(name)) {
                name = &entry.file;
            }
            let mut key = key_of(name);
            for number in 2.. {
                if !data.contains_key(&key) {
                    break;
                }
                key = key_of(&format!("{number}-{name}"));
            }
            data.insert(key, entry.value.to_string());
        }
        Ok(data)
    }

    /// Reads the data of such a ConfigMap. One document that cannot be used does not hide the others.
    #[must_use]
    pub fn from_config_map_data<'a>(
        data: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> (Self, Vec<Result<Recognised, LibraryError>>) {
        let mut library = Self::default();
        let results = data
            .into_iter()
            .map(|(key, text)| library.parse(&name_of(key), text.as_bytes()))
            .collect();
        (library, results)
    }
}

/// A key of a ConfigMap: at most 253 of letters, digits, `-`, `_` and `.`.
/// Source: Kubernetes API, `ConfigMap.data`.
fn key_of(name: &str) -> String {
    let bytes = name.as_bytes();
    let mut key = String::with_capacity(name.len());
    for (index, byte) in bytes.iter().enumerate() {
        let ambiguous =
            *byte == b'_' && bytes.get(index + 1..index + 3).and_then(decoded).is_some();
        if is_key_byte(*byte) && !ambiguous {
            key.push(char::from(*byte));
        } else if byte.is_ascii_graphic() || *byte == b' ' {
            key.push_str(&format!("_{byte:02x}"));
        } else {
            key.push('-');
        }
    }
    // The end of a name tells more than its beginning, and says what the file is.
    let from = key.len().saturating_sub(MAX_KEY_BYTES);
    let key = key.split_off(from);
    match key.as_str() {
        "" | "." | ".." => format!("document{key}"),
        _ => key,
    }
}

fn name_of(key: &str) -> String {
    let bytes = key.as_bytes();
    let mut name = String::with_capacity(key.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let escaped = (*byte == b'_')
            .then(|| bytes.get(index + 1..index + 3).and_then(decoded))
            .flatten();
        match escaped {
            Some(decoded) => {
                name.push(char::from(decoded));
                index += 3;
            }
            None => {
                name.push(char::from(*byte));
                index += 1;
            }
        }
    }
    name
}

/// The character that two digits after a `_` stand for: one that a key cannot have, or `_` itself.
fn decoded(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.len() != 2
        || text
            .bytes()
            .any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    let byte = u8::from_str_radix(text, 16).ok()?;
    ((b' '..0x7f).contains(&byte) && (!is_key_byte(byte) || byte == b'_')).then_some(byte)
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// A key set without the values of its private members; their names stay, so that a check can name them.
pub(super) fn without_private_members(document: &Value) -> Value {
    let mut document = document.clone();
    if let Some(keys) = document.get_mut("keys").and_then(Value::as_array_mut) {
        for key in keys.iter_mut().filter_map(Value::as_object_mut) {
            for (name, value) in key.iter_mut() {
                if PRIVATE_JWK_MEMBERS.contains(&name.as_str()) {
                    *value = Value::Null;
                }
            }
        }
    }
    document
}

fn private_member_names(document: &Value) -> Option<String> {
    let keys = document.get("keys")?.as_array()?;
    keys.iter().enumerate().find_map(|(index, key)| {
        let name = key
            .as_object()?
            .keys()
            .find(|name| PRIVATE_JWK_MEMBERS.contains(&name.as_str()))?;
        Some(format!("/keys/{index}/{}", escape(name)))
    })
}

/// JSON pointer to the first thing in a document that looks like a secret: a member that is named like one and has a value,
/// a private key, a token.
pub(super) fn secret_in(document: &Value) -> Option<String> {
    let mut pointer = String::new();
    find_secret(document, &mut pointer).then_some(pointer)
}

fn find_secret(value: &Value, pointer: &mut String) -> bool {
    match value {
        Value::Object(members) => {
            let is_private_jwk = members.get("kty").is_some_and(Value::is_string);
            members.iter().any(|(name, value)| {
                let length = pointer.len();
                pointer.push('/');
                pointer.push_str(&escape(name));
                let found = (is_named_like_a_secret(name) && is_text(value))
                    || (is_private_jwk
                        && PRIVATE_JWK_MEMBERS.contains(&name.as_str())
                        && !value.is_null())
                    || find_secret(value, pointer);
                if !found {
                    pointer.truncate(length);
                }
                found
            })
        }
        Value::Array(items) => items.iter().enumerate().any(|(index, item)| {
            let length = pointer.len();
            pointer.push_str(&format!("/{index}"));
            let found = find_secret(item, pointer);
            if !found {
                pointer.truncate(length);
            }
            found
        }),
        Value::String(text) => is_secret_text(text),
        _ => false,
    }
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_named_like_a_secret(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    SECRET_NAMES.contains(&name.as_str())
}

fn is_secret_text(text: &str) -> bool {
    if text.contains("PRIVATE KEY-----") || is_token(text) {
        return true;
    }
    // A key set can stand in a provider as text.
    let start = text.trim_start();
    start.starts_with('{')
        && start.contains("\"kty\"")
        && serde_json::from_str::<Map<String, Value>>(start)
            .is_ok_and(|members| secret_in(&Value::Object(members)).is_some())
}

/// Three parts of base64url, the first an object.
fn is_token(text: &str) -> bool {
    let text = text.trim();
    let mut parts = text.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    header.starts_with("eyJ")
        && payload.starts_with("eyJ")
        && !signature.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

const MAX_KEY_BYTES: usize = 253;

/// RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1; `priv` of RFC 9964.
const PRIVATE_JWK_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// In lower case, without `_` and `-`.
const SECRET_NAMES: &[&str] = &[
    "secretaccesskey",
    "sessiontoken",
    "clientsecret",
    "secrettext",
    "privatekey",
    "privatekeydata",
    "clientkey",
    "password",
    "accesstoken",
    "refreshtoken",
    "idtoken",
];
