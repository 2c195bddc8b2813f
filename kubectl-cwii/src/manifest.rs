//! Manifests: YAML and JSON, from files, directories and standard input, one document or many, lists taken apart.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    problem::{Problem, described},
    target::FileArgs,
};

/// One object of a manifest.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// The object.
    pub(crate) object: Value,
    /// The file; none for standard input.
    pub(crate) file: Option<PathBuf>,
    /// The whole text of the file, for places in it.
    pub(crate) text: std::sync::Arc<str>,
    /// Line that the document begins on, from 1.
    pub(crate) line: usize,
}

/// Reads what `-f` and `-R` name.
///
/// # Errors
///
/// What cannot be read, is neither YAML nor JSON, or holds no object.
pub(crate) fn read(files: &FileArgs) -> Result<Vec<Manifest>, Problem> {
    let mut manifests = Vec::new();
    for name in &files.filename {
        if name.as_os_str() == "-" {
            let mut bytes = Vec::new();
            io::stdin()
                .lock()
                .take(MAX_BYTES + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| unreadable("standard input", &error))?;
            parse(&bytes, None, &mut manifests)?;
            continue;
        }
        if name.is_dir() {
            let before = manifests.len();
            directory(name, files.recursive, &mut manifests)?;
            if manifests.len() == before {
                let problem = Problem::new(format!(
                    "the directory `{}` holds no manifest, expected `.yaml`, `.yml` or `.json`",
                    name.display()
                ));
                return Err(if files.recursive {
                    problem
                } else {
                    problem.help("look into its directories too with -R")
                });
            }
        } else {
            file(name, &mut manifests)?;
        }
    }
    if manifests.is_empty() {
        return Err(Problem::new("no object was given, expected at least one"));
    }
    Ok(manifests)
}

fn directory(path: &Path, recursive: bool, manifests: &mut Vec<Manifest>) -> Result<(), Problem> {
    let shown = format!("`{}`", path.display());
    let mut entries = fs::read_dir(path)
        .and_then(|entries| {
            entries
                .map(|e| e.map(|e| e.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(|error| unreadable(&shown, &error))?;
    // What a directory says first depends on its history; the order of what is found must not.
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            if recursive {
                directory(&entry, true, manifests)?;
            }
        } else if entry
            .extension()
            .is_some_and(|e| matches!(e.to_str(), Some("yaml" | "yml" | "json")))
        {
            file(&entry, manifests)?;
        }
    }
    Ok(())
}

fn file(path: &Path, manifests: &mut Vec<Manifest>) -> Result<(), Problem> {
    let shown = format!("`{}`", path.display());
    let bytes = fs::read(path).map_err(|error| unreadable(&shown, &error))?;
    parse(&bytes, Some(path), manifests)
}

fn parse(bytes: &[u8], path: Option<&Path>, manifests: &mut Vec<Manifest>) -> Result<(), Problem> {
    let shown = path.map_or_else(
        || "standard input".to_owned(),
        |path| format!("`{}`", path.display()),
    );
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(Problem::new(format!("{shown} exceeds {MAX_BYTES} bytes")));
    }
    let text: std::sync::Arc<str> = std::str::from_utf8(bytes)
        .map_err(|_| Problem::new(format!("{shown} is not text in UTF-8")))?
        .trim_start_matches('\u{feff}')
        .into();
    for (line, document) in documents(&text) {
        let value: Value = serde_saphyr::from_str(document).map_err(|error| {
            let (at, column) = error.location().map_or((line, 1), |place| {
                let within = usize::try_from(place.line()).unwrap_or(1).saturating_sub(1);
                (line + within, usize::try_from(place.column()).unwrap_or(1))
            });
            // The parser's own words would repeat the text.
            Problem::new(format!(
                "{shown}, line {at}, column {column}: expected a manifest in YAML or JSON, found what is neither"
            ))
        })?;
        add(value, &shown, path, &text, line, manifests)?;
    }
    Ok(())
}

fn add(
    value: Value,
    shown: &str,
    path: Option<&Path>,
    text: &std::sync::Arc<str>,
    line: usize,
    manifests: &mut Vec<Manifest>,
) -> Result<(), Problem> {
    if value.is_null() {
        return Ok(());
    }
    let wrong = |what: &str| {
        Problem::new(format!(
            "{shown}, line {line}: expected a Kubernetes object, found {what}"
        ))
    };
    let Some(object) = value.as_object() else {
        return Err(wrong("no mapping"));
    };
    let is_text = |member: &str| object.get(member).is_some_and(Value::is_string);
    if !is_text("kind") {
        return Err(wrong("a mapping without `kind`"));
    }
    if !is_text("apiVersion") {
        return Err(wrong("a mapping without `apiVersion`"));
    }
    let is_list = value["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"));
    match (is_list, &value["items"]) {
        (true, Value::Array(items)) => {
            for item in items {
                add(item.clone(), shown, path, text, line, manifests)?;
            }
        }
        _ => manifests.push(Manifest {
            file: path.map(Path::to_owned),
            text: std::sync::Arc::clone(text),
            line,
            object: value,
        }),
    }
    Ok(())
}

/// The documents of a YAML stream, each with the line that it begins on.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut line) = (0, 1);
    let mut at = 0;
    for (index, content) in text.split_inclusive('\n').enumerate() {
        let marker = content.trim_end();
        if marker == "---" || marker.starts_with("--- ") || marker == "..." {
            documents.push((line, &text[start..at]));
            // What follows `---` on its line belongs to the document.
            start = at + 3;
            line = index + 1;
        }
        at += content.len();
    }
    documents.push((line, &text[start..]));
    documents.retain(|(_, document)| {
        document
            .lines()
            .any(|line| !matches!(line.trim_start().chars().next(), None | Some('#')))
    });
    documents
}

fn unreadable(shown: &str, error: &io::Error) -> Problem {
    Problem::new(format!("{shown} could not be read: {}", described(error)))
}

const MAX_BYTES: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Manifest>, String> {
        let mut manifests = Vec::new();
        parse(text.as_bytes(), None, &mut manifests).map_err(|problem| problem.to_string())?;
        Ok(manifests)
    }

    #[test]
    fn documents_are_taken_apart_with_their_lines() {
        let text = "# a\n---\napiVersion: v1\nkind: Pod\n--- # b\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A}\n- {apiVersion: v1, kind: B}\n---\n# end\n";
        let found: Vec<_> = read_text(text)
            .unwrap()
            .iter()
            .map(|m| (m.line, m.object["kind"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(
            found,
            [
                (2, "Pod".to_owned()),
                (5, "A".to_owned()),
                (5, "B".to_owned())
            ]
        );
        assert_eq!(
            read_text(r#"{"apiVersion":"v1","kind":"Pod"}"#)
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn what_is_no_manifest_is_said_with_its_place_and_not_repeated() {
        for (text, said) in [
            (
                "a: b\n---\nsecret: [\n",
                "line 1: expected a Kubernetes object, found a mapping without `kind`",
            ),
            ("kind: x\n", "without `apiVersion`"),
            ("- a\n", "found no mapping"),
            (
                "---\nkind: [secret\n",
                "expected a manifest in YAML or JSON",
            ),
        ] {
            let problem = read_text(text).unwrap_err();
            assert!(problem.contains(said), "{problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
