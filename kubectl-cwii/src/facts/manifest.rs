//! Manifests of `-f`: files, directories and standard input, as objects that know their lines.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use cwii_checks::doctor::{Object, Origin};
use serde_json::Value;

use super::yaml::{self, Document};
use crate::{problem::Problem, target::FileArgs, terminal::Terminal};

/// Reads everything that `-f` names.
///
/// # Errors
///
/// A file that cannot be read or holds something else than Kubernetes objects: file, line, what was expected.
pub(crate) fn read(arguments: &FileArgs, terminal: &mut Terminal) -> Result<Vec<Object>, Problem> {
    let mut objects = Vec::new();
    for path in &arguments.filename {
        if path.as_os_str() == "-" {
            let mut text = Vec::new();
            std::io::stdin()
                .lock()
                .read_to_end(&mut text)
                .map_err(|error| Problem::new(format!("standard input cannot be read: {error}")))?;
            objects.extend(parse("-", &text)?);
            continue;
        }
        for file in files(path, arguments.recursive, EXTENSIONS)? {
            // A kustomization is no object; kubectl takes it with -k.
            if is_kustomization(&file) {
                terminal.note(&format!(
                    "{}: passed over: a kustomization; `kubectl kustomize DIR | kubectl cwii doctor -f -` looks at what it makes",
                    file.display()
                ));
                continue;
            }
            let text = fs::read(&file).map_err(|error| {
                Problem::new(format!("{} cannot be read: {error}", file.display()))
            })?;
            objects.extend(parse(&file.display().to_string(), &text)?);
        }
    }
    if objects.is_empty() {
        let names: Vec<_> = arguments
            .filename
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(Problem::new(format!(
            "{}: expected Kubernetes objects, found none",
            names.join(", ")
        )));
    }
    Ok(objects)
}

/// A file, or the files of a directory by name.
///
/// # Errors
///
/// It is not there, or cannot be read.
pub(crate) fn files(
    path: &Path,
    recursive: bool,
    extensions: &[&str],
) -> Result<Vec<PathBuf>, Problem> {
    let problem =
        |error: std::io::Error| Problem::new(format!("{} cannot be read: {error}", path.display()));
    if !fs::metadata(path).map_err(problem)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut entries = fs::read_dir(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(problem)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // A mounted ConfigMap keeps its generations under such names.
        if entry.file_name().to_string_lossy().starts_with("..") {
            continue;
        }
        // Links are followed: the files of a mounted ConfigMap are links.
        let path = entry.path();
        let Ok(kind) = fs::metadata(&path) else {
            continue;
        };
        if kind.is_dir() {
            // A link to a directory may lead back up.
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if recursive && !is_link {
                found.extend(files(&path, true, extensions)?);
            }
        } else if extensions.is_empty()
            || path.extension().is_some_and(|have| {
                extensions
                    .iter()
                    .any(|want| have.eq_ignore_ascii_case(want))
            })
        {
            found.push(path);
        }
    }
    Ok(found)
}

fn is_kustomization(file: &Path) -> bool {
    file.file_stem()
        .is_some_and(|stem| stem.eq_ignore_ascii_case("kustomization"))
}

/// The objects of one file. Lists are taken apart.
///
/// # Errors
///
/// It holds something else than Kubernetes objects.
pub(crate) fn parse(file: &str, text: &[u8]) -> Result<Vec<Object>, Problem> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let line = 1 + text[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Problem::new(format!(
            "{file}:{line}: expected YAML or JSON in UTF-8, found other bytes"
        ))
    })?;
    let documents = yaml::parse(text).map_err(|malformed| {
        let problem = Problem::new(format!(
            "{file}:{}:{}: {}",
            malformed.line, malformed.column, malformed.message
        ));
        if text.contains("{{") {
            problem
                .help("a template is no manifest yet; pipe what it makes in: helm template … | kubectl cwii doctor -f -")
        } else {
            problem
        }
    })?;
    let mut objects = Vec::new();
    for document in documents {
        take(file, document, None, &mut objects)?;
    }
    Ok(objects)
}

/// Adds a document's object, or those of its list. `kind` is that of the elements of a typed list, which may lack their own.
fn take(
    file: &str,
    document: Document,
    kind: Option<(&str, &str)>,
    objects: &mut Vec<Object>,
) -> Result<(), Problem> {
    let Document { mut value, lines } = document;
    let line = lines.get("").copied().unwrap_or(1);
    let expected = |what: &str, found: &str| {
        Problem::new(format!("{file}:{line}: expected {what}, found {found}"))
    };
    let Some(members) = value.as_object_mut() else {
        return Err(expected(
            "a Kubernetes object with `apiVersion` and `kind`",
            describe(&value),
        ));
    };
    if let Some((api_version, kind)) = kind {
        members
            .entry("apiVersion")
            .or_insert_with(|| api_version.into());
        members.entry("kind").or_insert_with(|| kind.into());
    }
    for member in ["apiVersion", "kind"] {
        match members.get(member) {
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(Value::String(_)) => {
                return Err(expected(&format!("a text as `{member}`"), "\"\""));
            }
            Some(other) => {
                return Err(expected(&format!("a text as `{member}`"), describe(other)));
            }
            None => {
                return Err(expected(
                    "a Kubernetes object with `apiVersion` and `kind`",
                    &format!("an object without `{member}`"),
                ));
            }
        }
    }
    let text = |member: &str| {
        members
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if kind.ends_with("List") && members.get("items").is_some_and(Value::is_array) {
        let Some(Value::Array(items)) = members.remove("items") else {
            return Ok(());
        };
        let of = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
        for (index, value) in items.into_iter().enumerate() {
            let document = Document {
                value,
                lines: below(&lines, &format!("/items/{index}")),
            };
            take(
                file,
                document,
                of.map(|kind| (api_version.as_str(), kind)),
                objects,
            )?;
        }
        return Ok(());
    }
    match members.get("metadata") {
        Some(Value::Object(metadata))
            if ["name", "generateName"]
                .iter()
                .any(|name| metadata.get(*name).is_some_and(Value::is_string)) => {}
        Some(Value::Object(_)) => {
            return Err(expected(
                "a text as `metadata.name`",
                &format!("a {kind} without one"),
            ));
        }
        other => {
            return Err(expected(
                "an object as `metadata`",
                other.map_or("nothing", describe),
            ));
        }
    }
    if kind == "Secret" {
        forget_secrets(&mut value);
    }
    objects.push(Object::from_file(
        value,
        Origin {
            file: file.to_owned(),
            lines,
        },
    ));
    Ok(())
}

/// The lines below a pointer, as seen from there.
pub(crate) fn below(lines: &BTreeMap<String, u32>, pointer: &str) -> BTreeMap<String, u32> {
    lines
        .range(pointer.to_owned()..)
        .take_while(|(place, _)| place.starts_with(pointer))
        .filter_map(|(place, line)| {
            let rest = &place[pointer.len()..];
            (rest.is_empty() || rest.starts_with('/')).then(|| (rest.to_owned(), *line))
        })
        .collect()
}

/// Leaves of a Secret its names and what is public: certificates. No key is ever kept.
pub(crate) fn forget_secrets(secret: &mut Value) {
    for member in ["data", "stringData"] {
        let Some(Value::Object(data)) = secret.get_mut(member) else {
            continue;
        };
        for (key, value) in data {
            if !matches!(key.as_str(), "tls.crt" | "ca.crt") {
                *value = Value::String(String::new());
            }
        }
    }
    // `kubectl apply` writes the whole manifest down once more.
    if let Some(Value::Object(annotations)) = secret.pointer_mut("/metadata/annotations") {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What kubectl reads of a directory.
const EXTENSIONS: &[&str] = &["json", "yaml", "yml"];

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse("x.yaml", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn lists_are_taken_apart_and_keep_their_lines() {
        let objects = parse(
            "x.yaml",
            b"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: b\n---\napiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: c}\n",
        )
        .unwrap();
        let names: Vec<_> = objects.iter().map(|o| (o.kind(), o.name())).collect();
        assert_eq!(names, [("Pod", "a"), ("Pod", "b"), ("Pod", "c")]);
        assert_eq!(objects[1].subject().line, Some(7));
        assert_eq!(
            objects[1].subject_at("/metadata/name", "name").line,
            Some(10)
        );
    }

    #[test]
    fn what_is_no_object_is_named_with_its_line() {
        assert_eq!(
            refused("# a\n- b\n"),
            "x.yaml:2: expected a Kubernetes object with `apiVersion` and `kind`, found a list"
        );
        assert_eq!(
            refused("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nname: b\n"),
            "x.yaml:5: expected a Kubernetes object with `apiVersion` and `kind`, found an object without `apiVersion`"
        );
        assert_eq!(
            refused("apiVersion: 1\nkind: Pod\n"),
            "x.yaml:1: expected a text as `apiVersion`, found a number"
        );
        assert_eq!(
            refused("apiVersion: v1\nkind: Pod\nmetadata: {}\n"),
            "x.yaml:1: expected a text as `metadata.name`, found a Pod without one"
        );
        assert!(refused("kind: [").starts_with("x.yaml:"));
        assert!(parse("x", b"\xff\xfe").is_err());
    }

    #[test]
    fn no_secret_is_kept() {
        let objects = parse(
            "x.yaml",
            b"apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  annotations: {kubectl.kubernetes.io/last-applied-configuration: \"{c2VjcmV0}\"}\ndata: {tls.crt: cHVibGlj, tls.key: c2VjcmV0}\nstringData: {token: c2VjcmV0}\n",
        )
        .unwrap();
        let text = objects[0].value().to_string();
        assert!(
            !text.contains("c2VjcmV0") && text.contains("cHVibGlj") && text.contains("tls.key"),
            "{text}"
        );
    }
}
