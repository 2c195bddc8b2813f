//! The documents that the emulated clouds decide on: files, in the shapes that the vendors' own CLIs print.
//!
//! They are read again for every request, so whoever edits a file sees the next verdict change.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use serde_json::{Map, Value};

use crate::{LabError, case::Mechanism, server::lock};

/// A document of one workload.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Document {
    /// What the cluster publishes at `/.well-known/openid-configuration`.
    Discovery,
    /// What the cluster publishes at its `jwks_uri`.
    Jwks,
    /// `aws iam get-role`.
    AwsRole,
    /// `aws iam get-open-id-connect-provider`, with the ARN that was asked for as `Arn`.
    AwsOidcProvider,
    /// `aws eks describe-pod-identity-association`.
    AwsPodIdentityAssociation,
    /// Settings of an account that STS looks at and no CLI prints in one document: `DisabledRegions`.
    AwsAccount,
    /// `gcloud iam workload-identity-pools describe`.
    GoogleWorkloadIdentityPool,
    /// `gcloud iam workload-identity-pools providers describe`.
    GoogleProvider,
    /// `gcloud iam service-accounts get-iam-policy`; the file is named after the service account.
    GoogleServiceAccountPolicy,
    /// `gcloud services list`; the file is named after the project.
    GoogleServices,
    /// `kubectl get serviceaccount`, as the GKE metadata server sees it.
    KubernetesServiceAccount,
    /// `az ad app show`, or `az identity show` for a managed identity.
    EntraApplication,
    /// `az ad app federated-credential list`; the file is named after the client.
    EntraFederatedCredentials,
    /// `az ad sp show`.
    EntraServicePrincipal,
    /// An answer in place of a decision; see [`crate::ForcedAnswer`].
    ForcedAnswer,
}

impl Document {
    /// Where the document of a workload lies, relative to the lab's directory.
    #[must_use]
    pub fn path(self, names: &Names) -> String {
        names.render(match self {
            Self::Discovery => "issuer/{{CLUSTER}}/openid-configuration.json",
            Self::Jwks => "issuer/{{CLUSTER}}/jwks.json",
            Self::AwsRole => "aws/roles/{{CASE}}.json",
            Self::AwsOidcProvider => "aws/oidc-providers/{{CASE}}.json",
            Self::AwsPodIdentityAssociation => "aws/pod-identity-associations/{{CASE}}.json",
            Self::AwsAccount => "aws/accounts/{{ACCOUNT}}.json",
            Self::GoogleWorkloadIdentityPool => "gcp/pools/{{CASE}}.json",
            Self::GoogleProvider => "gcp/providers/{{CASE}}.json",
            Self::GoogleServiceAccountPolicy => "gcp/service-accounts/{{GSA}}.json",
            Self::GoogleServices => "gcp/services/{{PROJECT}}.json",
            Self::KubernetesServiceAccount => "gcp/gke/{{CASE}}.json",
            Self::EntraApplication => "entra/applications/{{CLIENT_ID}}.json",
            Self::EntraFederatedCredentials => "entra/credentials/{{CLIENT_ID}}.json",
            Self::EntraServicePrincipal => "entra/service-principals/{{CLIENT_ID}}.json",
            Self::ForcedAnswer => "forced-answers/{{CASE}}.json",
        })
    }

    /// The document as it stands when everything is right; none where that is no document at all.
    fn template(self, mechanism: Mechanism) -> Option<&'static str> {
        Some(match self {
            Self::Discovery => include_str!("../templates/issuer/openid-configuration.json"),
            Self::AwsRole if mechanism == Mechanism::AwsPodIdentity => {
                include_str!("../templates/aws/pod-identity-role.json")
            }
            Self::AwsRole => include_str!("../templates/aws/role.json"),
            Self::AwsOidcProvider => include_str!("../templates/aws/oidc-provider.json"),
            Self::AwsPodIdentityAssociation => {
                include_str!("../templates/aws/pod-identity-association.json")
            }
            Self::AwsAccount => include_str!("../templates/aws/account.json"),
            Self::GoogleWorkloadIdentityPool => include_str!("../templates/gcp/pool.json"),
            Self::GoogleProvider => include_str!("../templates/gcp/provider.json"),
            Self::GoogleServiceAccountPolicy => {
                include_str!("../templates/gcp/service-account-policy.json")
            }
            Self::GoogleServices => include_str!("../templates/gcp/services.json"),
            Self::KubernetesServiceAccount => {
                include_str!("../templates/gcp/kubernetes-service-account.json")
            }
            Self::EntraApplication => include_str!("../templates/entra/application.json"),
            Self::EntraFederatedCredentials => {
                include_str!("../templates/entra/federated-credentials.json")
            }
            Self::EntraServicePrincipal => {
                include_str!("../templates/entra/service-principal.json")
            }
            // Made from the keys, and made where a case asks for one.
            Self::Jwks | Self::ForcedAnswer => return None,
        })
    }

    /// Whether the document belongs to more than one workload.
    fn is_shared(self) -> bool {
        matches!(self, Self::AwsAccount | Self::GoogleServices)
    }

    /// The documents that a mechanism needs, beside the cluster's own.
    pub(crate) fn of(mechanism: Mechanism) -> &'static [Self] {
        match mechanism {
            Mechanism::AwsWebIdentity => &[Self::AwsRole, Self::AwsOidcProvider, Self::AwsAccount],
            Mechanism::AwsPodIdentity => &[
                Self::AwsRole,
                Self::AwsPodIdentityAssociation,
                Self::AwsAccount,
            ],
            Mechanism::GoogleDirect => &[
                Self::GoogleWorkloadIdentityPool,
                Self::GoogleProvider,
                Self::GoogleServices,
            ],
            Mechanism::GoogleImpersonated => &[
                Self::GoogleWorkloadIdentityPool,
                Self::GoogleProvider,
                Self::GoogleServiceAccountPolicy,
                Self::GoogleServices,
            ],
            Mechanism::GkeMetadata => &[
                Self::KubernetesServiceAccount,
                Self::GoogleServiceAccountPolicy,
                Self::GoogleServices,
            ],
            Mechanism::EntraFederated => &[
                Self::EntraApplication,
                Self::EntraFederatedCredentials,
                Self::EntraServicePrincipal,
            ],
        }
    }
}

/// A way in which a document differs from the one that is right. Strings, member names included, may hold placeholders.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The value at a JSON pointer is another, or there is one more.
    Set(Document, &'static str, Value),
    /// There is nothing at a JSON pointer.
    Unset(Document, &'static str),
    /// There is no such document.
    Remove(Document),
    /// The document is another altogether.
    Write(Document, Value),
    /// The file holds this text, which need not be JSON.
    Text(Document, &'static str),
}

impl Change {
    /// The document that differs.
    #[must_use]
    pub const fn document(&self) -> Document {
        match self {
            Self::Set(document, ..)
            | Self::Unset(document, _)
            | Self::Remove(document)
            | Self::Write(document, _)
            | Self::Text(document, _) => *document,
        }
    }
}

/// The names that belong to one workload, by placeholder: `CASE`, `CLUSTER`, `ISSUER`, `ROLE_ARN`, `CLIENT_ID`, …
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names(BTreeMap<&'static str, String>);

impl Names {
    pub(crate) fn new(names: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(names.into_iter().collect())
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.insert(name, value.to_string());
        self
    }

    /// The value of a placeholder; empty when there is none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The cluster's issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.get("ISSUER")
    }

    /// Replaces every `{{NAME}}` that is known.
    #[must_use]
    pub fn render(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            out.push_str(before);
            match after
                .split_once("}}")
                .and_then(|(name, tail)| Some((self.0.get(name)?, tail)))
            {
                Some((value, tail)) => {
                    out.push_str(value);
                    rest = tail;
                }
                None => {
                    out.push_str("{{");
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }

    /// Replaces placeholders in every string and member name of a document.
    #[must_use]
    pub fn render_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.render(text)),
            Value::Array(items) => items.iter().map(|v| self.render_value(v)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, v)| (self.render(name), self.render_value(v)))
                .collect(),
            value => value.clone(),
        }
    }
}

/// The files.
pub(crate) struct Store {
    dir: PathBuf,
    cache: Mutex<HashMap<PathBuf, (Stamp, Arc<Value>)>>,
}

/// By what a changed file is told without reading it.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
}

impl Store {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            cache: Mutex::default(),
        }
    }

    pub(crate) fn absolute(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// A file's bytes, if there is such a file.
    pub(crate) fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.dir.join(path)).ok()
    }

    /// Writes a file whole or not at all, so that no request reads half of one.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), LabError> {
        write_atomically(&self.dir.join(path), bytes)
    }

    pub(crate) fn write_json(&self, path: &str, value: &Value) -> Result<(), LabError> {
        let mut text = serde_json::to_string_pretty(value).map_err(|e| LabError::Document {
            path: self.dir.join(path),
            problem: e.to_string(),
        })?;
        text.push('\n');
        self.write(path, text.as_bytes())
    }

    pub(crate) fn remove(&self, path: &str) -> Result<(), LabError> {
        let path = self.dir.join(path);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(LabError::File { path, source })
            }
            _ => Ok(()),
        }
    }

    /// One document; none if there is no such file.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is not JSON; the text says which and where.
    pub(crate) fn document(&self, path: &str) -> Result<Option<Arc<Value>>, String> {
        let path = self.dir.join(path);
        match stamp(&path) {
            Ok(stamp) => self.load(&path, stamp).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("{}: {e}", path.display())),
        }
    }

    /// Every `*.json` of a folder, by file name without the ending, in order of name.
    ///
    /// # Errors
    ///
    /// A file cannot be read or is not JSON; the text says which and where.
    pub(crate) fn folder(&self, folder: &str) -> Result<Vec<(String, Arc<Value>)>, String> {
        let folder = self.dir.join(folder);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(format!("{}: {e}", folder.display())),
        };
        let mut documents = Vec::new();
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let Some(name) = entry
                .file_name()
                .to_str()
                .and_then(|n| n.strip_suffix(".json"))
                .map(str::to_owned)
            else {
                continue;
            };
            // Editors leave hidden files behind; a file may also go while the folder is read.
            if name.starts_with('.') {
                continue;
            }
            if let Ok(stamp) = stamp(&path) {
                documents.push((name, self.load(&path, stamp)?));
            }
        }
        documents.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(documents)
    }

    fn load(&self, path: &Path, stamp: Stamp) -> Result<Arc<Value>, String> {
        if let Some((known, value)) = lock(&self.cache).get(path)
            && *known == stamp
        {
            return Ok(Arc::clone(value));
        }
        let text = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let value: Value = serde_json::from_slice(&text).map_err(|e| {
            format!(
                "{}: not JSON at line {}, column {}",
                path.display(),
                e.line(),
                e.column()
            )
        })?;
        let value = Arc::new(value);
        lock(&self.cache).insert(path.to_owned(), (stamp, Arc::clone(&value)));
        Ok(value)
    }

    /// Writes the documents of a workload: the right ones, then what differs.
    pub(crate) fn instantiate(
        &self,
        names: &Names,
        mechanism: Mechanism,
        made: &[(Document, Value)],
        changes: &[Change],
    ) -> Result<(), LabError> {
        let mut values: BTreeMap<Document, Option<Value>> = BTreeMap::new();
        for document in std::iter::once(&Document::Discovery).chain(Document::of(mechanism)) {
            if let Some(template) = document.template(mechanism) {
                let value = serde_json::from_str(template).map_err(|e| LabError::Document {
                    path: document.path(names).into(),
                    problem: e.to_string(),
                })?;
                values.insert(*document, Some(value));
            }
        }
        values.extend(made.iter().map(|(d, v)| (*d, Some(v.clone()))));
        // What others rely on, and somebody may have edited, is written once.
        values.retain(|document, _| {
            !document.is_shared()
                || changes.iter().any(|c| c.document() == *document)
                || !self.dir.join(document.path(names)).exists()
        });
        let mut texts = BTreeMap::new();
        for change in changes {
            let value = values.entry(change.document()).or_insert(None);
            match change {
                // Templates and pointers both hold placeholders, so a pointer finds what a template names.
                Change::Set(_, pointer, new) => {
                    set(value.get_or_insert(Value::Null), pointer, new.clone());
                }
                Change::Unset(_, pointer) => {
                    if let Some(value) = value {
                        unset(value, pointer);
                    }
                }
                Change::Remove(_) => *value = None,
                Change::Write(_, new) => *value = Some(new.clone()),
                Change::Text(document, text) => {
                    texts.insert(*document, *text);
                }
            }
        }
        for (document, value) in &values {
            let path = document.path(names);
            match (texts.get(document), value) {
                (Some(text), _) => self.write(&path, names.render(text).as_bytes())?,
                (None, Some(value)) => self.write_json(&path, &names.render_value(value))?,
                (None, None) => self.remove(&path)?,
            }
        }
        Ok(())
    }
}

/// Writes a file by renaming it into place; folders are made.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), LabError> {
    let failed = |source| LabError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut unique = [0; 8];
    crate::keys::fill_random(&mut unique)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}", u64::from_le_bytes(unique)));
    let temporary = path.with_file_name(name);
    fs::write(&temporary, bytes).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Ok(Stamp {
        modified: metadata.modified()?,
        bytes: metadata.len(),
        inode,
    })
}

/// Sets the value at an RFC 6901 pointer; objects on the way are made, `-` appends to an array.
pub(crate) fn set(root: &mut Value, pointer: &str, new: Value) {
    let mut at = root;
    for token in tokens(pointer) {
        at = match at {
            Value::Array(items) => {
                let index = token.parse().unwrap_or(items.len()).min(items.len());
                if index == items.len() {
                    items.push(Value::Null);
                }
                &mut items[index]
            }
            Value::Object(members) => members.entry(token).or_insert(Value::Null),
            other => {
                *other = Value::Object(Map::new());
                let Value::Object(members) = other else {
                    return;
                };
                members.entry(token).or_insert(Value::Null)
            }
        };
    }
    *at = new;
}

pub(crate) fn unset(root: &mut Value, pointer: &str) {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        return;
    };
    let last = last.replace("~1", "/").replace("~0", "~");
    match root.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.shift_remove(&last);
        }
        Some(Value::Array(items)) => {
            if let Ok(index) = last.parse::<usize>()
                && index < items.len()
            {
                items.remove(index);
            }
        }
        _ => {}
    }
}

fn tokens(pointer: &str) -> Vec<String> {
    pointer
        .split('/')
        .skip(1)
        .map(|t| t.replace("~1", "/").replace("~0", "~"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placeholders_are_replaced_in_names_and_values_and_unknown_ones_stay() {
        let names = Names::new([("A", "x".to_owned())]);
        assert_eq!(
            names.render_value(&json!({"{{A}}:sub": ["{{A}}{{B}}", 1]})),
            json!({"x:sub": ["x{{B}}", 1]})
        );
    }

    #[test]
    fn pointers_reach_members_items_and_the_end_of_a_list() {
        let mut value = json!({"a": [1, 2]});
        set(&mut value, "/a/0", json!(0));
        set(&mut value, "/a/-", json!(3));
        set(&mut value, "/b/c~1d", json!(true));
        assert_eq!(value, json!({"a": [0, 2, 3], "b": {"c/d": true}}));
        unset(&mut value, "/a/1");
        unset(&mut value, "/b/c~1d");
        assert_eq!(value, json!({"a": [0, 3], "b": {}}));
    }

    #[test]
    fn every_template_is_json() {
        for mechanism in Mechanism::ALL {
            for document in Document::of(mechanism) {
                let template = document.template(mechanism).unwrap();
                serde_json::from_str::<Value>(template).unwrap();
            }
        }
    }
}
