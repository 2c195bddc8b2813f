//! What there is to say about the codes themselves: the catalogue as a document, a page for each code, the schemas.
//!
//! All of it comes from the catalogue and the heads of the rules' files; `cargo xtask generate` writes it down and CI compares.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    machine,
    model::{DOCUMENTATION, Level, Report, Schema, address},
    stage::Stage,
    sweep::Sweep,
};
use crate::{
    catalogue::{self, Entry},
    doctor::{Elsewhere, Need, Rule, rule},
};

/// The catalogue as a document.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[schemars(title = "cwii catalogue")]
pub struct Catalogue {
    /// What this document is.
    pub schema: Schema,
    /// The codes: from the cluster outwards, by code within a group.
    pub checks: Vec<Check>,
}

/// One code.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The code, `TOK03`.
    pub code: &'static str,
    /// The bad thing, `audience-mismatch`.
    pub name: &'static str,
    /// The letters of the code.
    pub group: &'static str,
    /// How much it matters, unless a case is a lesser one.
    pub severity: Level,
    /// The stage of the way from the pod to the cloud.
    pub stage: Stage,
    /// The headline.
    pub title: &'static str,
    /// One sentence.
    pub summary: String,
    /// What it looks at.
    pub needs: Vec<&'static str>,
    /// What the doctor must be asked for to look at all of it: `--probe`, `--trust`.
    pub flags: Vec<&'static str>,
    /// Where it is settled, if not by the doctor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_elsewhere: Option<String>,
    /// The codes whose failure hides it.
    pub blocked_by: Vec<&'static str>,
    /// Address of its documentation.
    pub url: String,
}

impl Catalogue {
    /// The codes that a filter keeps.
    #[must_use]
    pub fn of(keep: impl Fn(&Entry) -> bool) -> Self {
        Self {
            schema: Schema {
                name: "cwii.checks",
                version: "1.0",
            },
            checks: catalogue::entries()
                .filter(|entry| keep(entry))
                .map(Check::new)
                .collect(),
        }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> String {
        machine::json(self)
    }

    /// As YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        machine::yaml(self)
    }
}

impl Check {
    pub(super) fn new(entry: &'static Entry) -> Self {
        let rule = rule(entry.code);
        let needs = rule.map(|rule| rule.needs).unwrap_or_default();
        let mut flags: Vec<_> = needs.iter().copied().filter_map(Need::flag).collect();
        flags.sort_unstable();
        flags.dedup();
        Self {
            code: entry.code,
            name: entry.name,
            group: entry.group(),
            severity: entry.severity.into(),
            stage: Stage::of(entry.code),
            title: entry.title,
            summary: rule
                .map(|rule| rule.documentation().summary())
                .unwrap_or_default(),
            needs: needs.iter().map(|need| need.describe()).collect(),
            flags,
            settled_elsewhere: rule
                .and_then(Rule::settled_elsewhere)
                .map(Elsewhere::describe),
            blocked_by: rule
                .map(|rule| rule.blocked_by.to_vec())
                .unwrap_or_default(),
            url: address(entry.code),
        }
    }
}

/// Where the catalogue and the schemas lie, from the root of the project.
const REFERENCE: &str = "docs/src/reference";

/// The lines of the book's table of contents: every page of a code, below the page of all codes.
#[must_use]
pub fn contents() -> String {
    let mut out = String::from("- [Checks](checks/index.md)\n");
    let mut group = "";
    for check in Catalogue::of(|entry| rule(entry.code).is_some()).checks {
        if check.group != group {
            group = check.group;
            let _ = writeln!(out, "  - [{group}: {}]()", group_title(group));
        }
        let _ = writeln!(
            out,
            "    - [{0}: {1}](checks/{0}.md)",
            check.code,
            check.name.replace('-', " ")
        );
    }
    out
}

/// The files that are generated: path from the root of the project, and content.
#[must_use]
pub fn files() -> Vec<(String, String)> {
    let mut files: Vec<_> = catalogue::entries()
        .filter_map(|entry| Some((entry, rule(entry.code)?)))
        .map(|(entry, rule)| {
            (
                format!("{DOCUMENTATION}/{}.md", entry.code),
                page(entry, rule),
            )
        })
        .collect();
    files.push((format!("{DOCUMENTATION}/index.md"), index()));
    files.push((
        format!("{REFERENCE}/checks.json"),
        Catalogue::of(|_| true).json(),
    ));
    for (name, schema) in [
        ("report", schemars::schema_for!(Report)),
        ("sweep", schemars::schema_for!(Sweep)),
        ("checks", schemars::schema_for!(Catalogue)),
    ] {
        files.push((
            format!("{REFERENCE}/{name}.schema.json"),
            machine::json(schema.as_value()),
        ));
    }
    files
}

/// The page of one code.
fn page(entry: &Entry, rule: &Rule) -> String {
    let check = rule.documentation();
    let mut out = format!(
        "# {}: {}\n\n<!-- Generated from crates/checks/src/rules/{}/{}.rs by `cargo xtask generate`. -->\n\n",
        entry.code,
        entry.title,
        entry.group().to_lowercase(),
        entry.code.to_lowercase()
    );
    let _ = writeln!(
        out,
        "`{}` · {} · stage {}\n",
        entry.name,
        Level::from(entry.severity).name(),
        Stage::of(entry.code).name()
    );
    out.push_str(check.markdown().trim());
    out.push_str("\n\n## How the doctor looks\n\n");
    if let Some(place) = rule.settled_elsewhere() {
        let _ = writeln!(out, "- Not by the doctor: {}.", place.describe());
    } else {
        for need in rule.needs {
            let _ = writeln!(out, "- {}", needed(*need));
        }
    }
    if !rule.blocked_by.is_empty() {
        let links: Vec<_> = rule
            .blocked_by
            .iter()
            .map(|code| format!("[{code}]({code}.md)"))
            .collect();
        let _ = writeln!(
            out,
            "- Not settled while one of these fails: {}.",
            links.join(", ")
        );
    }
    out
}

/// One need with what it takes.
fn needed(need: Need) -> String {
    let permissions: Vec<_> = need
        .permissions()
        .iter()
        .map(|permission| format!("`{} {}`", permission.verb, permission.resource))
        .collect();
    let mut takes = Vec::new();
    if let Some(flag) = need.flag() {
        takes.push(format!("`{flag}`"));
    }
    if !permissions.is_empty() && need.flag() != Some("--trust") {
        takes.push(permissions.join(", "));
    }
    if takes.is_empty() {
        format!("It reads {}.", need.describe())
    } else {
        format!("It reads {} ({}).", need.describe(), takes.join("; "))
    }
}

/// All codes, a table for each group.
fn index() -> String {
    let mut out = String::from(
        "# Checks\n\n<!-- Generated by `cargo xtask generate`. -->\n\n\
         What `kubectl cwii doctor` and the agent report, by code. `kubectl cwii explain CODE` shows the same text; \
         `kubectl cwii checks` prints this table. The machine-readable catalogue is [checks.json](../reference/checks.json).\n",
    );
    let mut group = "";
    for check in Catalogue::of(|_| true).checks {
        if check.group != group {
            group = check.group;
            let _ = write!(
                out,
                "\n## {}: {}\n\n| code | name | severity | stage | finding |\n|---|---|---|---|---|\n",
                group,
                group_title(group)
            );
        }
        let code = match rule(check.code) {
            Some(_) => format!("[{0}]({0}.md)", check.code),
            None => check.code.to_owned(),
        };
        let _ = writeln!(
            out,
            "| {code} | {} | {} | {} | {} |",
            check.name,
            check.severity.name(),
            check.stage.name(),
            check.title.replace('|', "\\|")
        );
    }
    out
}

/// What the letters of a code stand for.
#[must_use]
pub fn group_title(group: &str) -> &'static str {
    match group {
        "POD" => "pod, ServiceAccount and namespace",
        "CWII" => "cwii itself",
        "HOOK" => "admission webhook",
        "TOK" => "token",
        "ISS" => "issuer and keys",
        "AWS" => "AWS federation",
        "GCP" => "Google federation",
        "AZ" => "Entra federation",
        "EPI" => "EKS Pod Identity",
        "GKE" => "GKE workload identity",
        "AKS" => "AKS workload identity",
        "NET" => "network",
        "APP" => "application",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Documentation;

    #[test]
    fn every_group_has_a_title_and_every_check_a_place() {
        for check in Catalogue::of(|_| true).checks {
            assert!(!group_title(check.group).is_empty(), "{}", check.group);
        }
        assert_eq!(
            Catalogue::of(|entry| entry.group() == "TOK").checks[0].code,
            "TOK01"
        );
    }

    #[test]
    fn the_catalogue_obeys_its_schema() {
        let schema =
            jsonschema::validator_for(schemars::schema_for!(Catalogue).as_value()).unwrap();
        let value = serde_json::from_str(&Catalogue::of(|_| true).json()).unwrap();
        assert!(schema.is_valid(&value));
    }

    #[test]
    fn a_page_has_the_rule_s_own_words_and_what_it_needs() {
        let files = files();
        let (_, page) = files
            .iter()
            .find(|(path, _)| path == "docs/src/checks/POD02.md")
            .unwrap();
        assert!(page.starts_with("# POD02: "), "{page}");
        for heading in Documentation::SECTIONS {
            assert!(page.contains(&format!("\n## {heading}\n")), "{heading}");
        }
        assert!(
            page.contains("It reads the ServiceAccount (`get serviceaccounts`)."),
            "{page}"
        );
        assert!(files.iter().all(|(_, text)| text.ends_with('\n')));
    }
}
