//! The built book: where its links lead, and that it loads nothing from elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result};
use cwii_checks::output::reference::Catalogue;

/// A tag of a page.
#[derive(Debug, Eq, PartialEq)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What is wrong with a built book.
pub(super) struct Book {
    /// The pages' tags, by path from the book's root.
    pages: BTreeMap<PathBuf, Vec<Tag>>,
    /// Every file.
    files: BTreeSet<PathBuf>,
    root: PathBuf,
}

impl Book {
    /// Reads it.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut files = BTreeSet::new();
        walk(root, root, &mut files)?;
        let mut pages = BTreeMap::new();
        for path in &files {
            if path.extension().is_some_and(|e| e == "html") {
                let text = fs::read_to_string(root.join(path))
                    .with_context(|| path.display().to_string())?;
                pages.insert(path.clone(), tags(&text));
            }
        }
        Ok(Self {
            pages,
            files,
            root: root.to_owned(),
        })
    }

    /// How many pages it has.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Links that lead nowhere, and how many were followed. `sources` is the checkout, into which links to the
    /// project's own repository must lead.
    pub(super) fn links(&self, sources: &Path, problems: &mut Vec<String>) -> usize {
        let mut followed = 0;
        for (page, tags) in &self.pages {
            for tag in tags.iter().filter(|tag| tag.name == "a") {
                let Some(href) = tag.get("href") else {
                    continue;
                };
                followed += 1;
                if let Err(problem) = self.link(page, href, sources) {
                    problems.push(format!("{}: link `{href}`: {problem}", page.display()));
                }
            }
        }
        followed
    }

    fn link(&self, page: &Path, href: &str, sources: &Path) -> Result<(), String> {
        if href.contains(':') && !href.starts_with('#') {
            return external(href, sources);
        }
        let (path, fragment) = match href.split_once('#') {
            Some((path, fragment)) => (path, Some(fragment)),
            None => (href, None),
        };
        let target = if path.is_empty() {
            page.to_owned()
        } else {
            let mut target = normal(&page.parent().unwrap_or(Path::new("")).join(path))
                .ok_or("it leads out of the book")?;
            if path.ends_with('/') || target.as_os_str().is_empty() {
                target.push("index.html");
            }
            target
        };
        if !self.files.contains(&target) {
            return Err(format!("there is no {}", target.display()));
        }
        let Some(fragment) = fragment.filter(|f| !f.is_empty()) else {
            return Ok(());
        };
        let has = self
            .pages
            .get(&target)
            .is_some_and(|tags| tags.iter().any(|tag| tag.get("id") == Some(fragment)));
        if has {
            Ok(())
        } else {
            Err(format!("{} has no `#{fragment}`", target.display()))
        }
    }

    /// What a page or a style would load from elsewhere.
    pub(super) fn loads(&self, problems: &mut Vec<String>) -> Result<()> {
        const LOADING: [&str; 8] = [
            "src",
            "href",
            "srcset",
            "poster",
            "data",
            "action",
            "xlink:href",
            "content",
        ];
        for (page, tags) in &self.pages {
            for tag in tags.iter().filter(|tag| tag.name != "a") {
                for (name, value) in &tag.attributes {
                    let away = is_elsewhere(value);
                    let loads = LOADING.contains(&name.as_str())
                        && !(name == "content" && tag.get("http-equiv").is_none());
                    if (loads && away) || (name == "style" && loads_in_style(value)) {
                        problems.push(format!(
                            "{}: <{} {name}=\"{value}\"> loads from elsewhere",
                            page.display(),
                            tag.name
                        ));
                    }
                }
            }
        }
        for path in &self.files {
            let extension = path
                .extension()
                .and_then(|e| e.to_str())
                .unwrap_or_default();
            if !["css", "js", "svg"].contains(&extension) {
                continue;
            }
            let text = fs::read_to_string(self.root.join(path))
                .with_context(|| path.display().to_string())?;
            if extension != "js" && loads_in_style(&text) {
                problems.push(format!("{}: it loads from elsewhere", path.display()));
            }
            if extension == "js"
                && let Some(what) = loads_in_script(&text)
            {
                problems.push(format!("{}: `{what}` loads from elsewhere", path.display()));
            }
        }
        Ok(())
    }

    /// Every code of the catalogue has its page, and the page of all codes leads there.
    pub(super) fn codes(&self, problems: &mut Vec<String>) -> usize {
        let index: BTreeSet<&str> = self
            .pages
            .get(Path::new("checks/index.html"))
            .into_iter()
            .flatten()
            .filter(|tag| tag.name == "a")
            .filter_map(|tag| tag.get("href"))
            .collect();
        let checks = Catalogue::of(|_| true).checks;
        for check in &checks {
            let page = format!("{}.html", check.code);
            if !self.files.contains(&Path::new("checks").join(&page)) {
                problems.push(format!("{}: it has no page", check.code));
            }
            if !index.contains(page.as_str()) {
                problems.push(format!(
                    "{}: the page of all codes does not lead to it",
                    check.code
                ));
            }
        }
        checks.len()
    }
}

/// A link out of the book is https, and into our own repository it names something that is there.
fn external(href: &str, sources: &Path) -> Result<(), String> {
    let url = url::Url::parse(href).map_err(|error| error.to_string())?;
    if url.scheme() != "https" {
        return Err("expected https".into());
    }
    if !url.host_str().is_some_and(|host| host.contains('.')) {
        return Err("it has no host".into());
    }
    let home = env!("CARGO_PKG_REPOSITORY");
    let ours = ["blob", "tree", "edit"]
        .iter()
        .find_map(|verb| href.strip_prefix(&format!("{home}/{verb}/main/")));
    if let Some(path) = ours {
        let path = path.split(['#', '?']).next().unwrap_or_default();
        if !sources.join(path).exists() {
            return Err(format!("there is no {path} in the project"));
        }
    }
    Ok(())
}

/// A path without `.` and `..`; none where it leads above its root.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::Normal(name) => out.push(name),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

fn is_elsewhere(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    if value.starts_with("data:") {
        return false;
    }
    value.starts_with("//") || value.contains("http:") || value.contains("https:")
}

fn loads_in_style(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("@import")
        || text.split("url(").skip(1).any(|rest| {
            let inside = rest.split(')').next().unwrap_or_default();
            is_elsewhere(inside.trim_matches(['"', '\'', ' ']))
        })
}

/// Scripts name addresses (namespaces, homepages in comments); what must not be is one that they load.
fn loads_in_script(text: &str) -> Option<String> {
    const BEFORE: usize = 24;
    text.match_indices("://").find_map(|(at, _)| {
        let begin = (at.saturating_sub(BEFORE)..at).find(|i| text.is_char_boundary(*i))?;
        let before = text.get(begin..at)?.to_ascii_lowercase();
        if !(before.ends_with("http") || before.ends_with("https")) {
            return None;
        }
        [
            "fetch(", "import", "src=", "src =", "href=", "href =", "open(", "src\",", "worker(",
        ]
        .iter()
        .any(|call| before.contains(call))
        .then_some(before)
    })
}

/// The tags of a page. What mdBook writes is well-formed: attributes in double quotes, no `>` in them unescaped but in
/// scripts, whose content is passed over.
fn tags(text: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find('<') {
        rest = rest.get(begin + 1..).unwrap_or_default();
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let (tag, after) = tag(rest);
        rest = after;
        if tag.name == "script" {
            rest = rest.split_once("</script").map_or("", |(_, after)| after);
        }
        tags.push(tag);
    }
    tags
}

/// A tag, and what comes after it.
fn tag(text: &str) -> (Tag, &str) {
    let end = text
        .find(|c: char| c.is_whitespace() || c == '>' || c == '/')
        .unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if rest.is_empty() {
            break;
        }
        if let Some(after) = rest.strip_prefix('>') {
            rest = after;
            break;
        }
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/'))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let (value, after) = match after.strip_prefix('=') {
            None => ("", after),
            Some(quoted) => match quoted.chars().next() {
                Some(quote @ ('"' | '\'')) => quoted
                    .get(1..)
                    .and_then(|inside| inside.split_once(quote))
                    .unwrap_or((quoted, "")),
                _ => quoted.split_at(
                    quoted
                        .find(|c: char| c.is_whitespace() || c == '>')
                        .unwrap_or(quoted.len()),
                ),
            },
        };
        rest = after;
        attributes.push((name.to_ascii_lowercase(), unescaped(value)));
        if end == 0 {
            break;
        }
    }
    (
        Tag {
            name: name.to_ascii_lowercase(),
            attributes,
        },
        rest,
    )
}

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

fn walk(root: &Path, folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else {
            files.insert(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(pages: &[(&str, &str)]) -> Book {
        Book {
            pages: pages
                .iter()
                .map(|(path, text)| (PathBuf::from(path), tags(text)))
                .collect(),
            files: pages.iter().map(|(path, _)| PathBuf::from(path)).collect(),
            root: PathBuf::new(),
        }
    }

    fn broken(pages: &[(&str, &str)]) -> Vec<String> {
        let mut problems = Vec::new();
        book(pages).links(Path::new("/nowhere"), &mut problems);
        problems
    }

    #[test]
    fn a_link_needs_a_page_and_its_anchor() {
        let there = ("a/b.html", r#"<h2 id="x&amp;y">t</h2>"#);
        assert!(broken(&[there, ("i.html", r##"<a href="a/b.html#x&amp;y">"##)]).is_empty());
        assert!(
            broken(&[
                there,
                ("a/c.html", r##"<a href="b.html"> <a href="../a/b.html">"##)
            ])
            .is_empty()
        );
        assert_eq!(
            broken(&[there, ("i.html", r##"<a href="a/b.html#z">"##)]).len(),
            1
        );
        assert_eq!(
            broken(&[there, ("i.html", r##"<a href="b.html">"##)]).len(),
            1
        );
        assert_eq!(broken(&[("i.html", r##"<a href="../../x.md">"##)]).len(), 1);
        assert_eq!(broken(&[("i.html", r##"<a href="#x">"##)]).len(), 1);
    }

    #[test]
    fn a_link_out_of_the_book_is_https_and_ours_lead_to_files() {
        assert!(broken(&[("i.html", r##"<a href="https://example.com/">"##)]).is_empty());
        assert_eq!(
            broken(&[("i.html", r##"<a href="http://example.com/">"##)]).len(),
            1
        );
        assert_eq!(
            broken(&[(
                "i.html",
                r##"<a href="https://github.com/cwii-dev/cwii/blob/main/README.md">"##
            )])
            .len(),
            1
        );
    }

    #[test]
    fn what_loads_from_elsewhere_is_found() {
        let mut problems = Vec::new();
        book(&[(
            "i.html",
            r#"<a href="https://fine.example"><script src="https://x.example/a.js"></script><link href="//y"><p style="background:url(https://z)"><img src="a.png">"#,
        )])
        .loads(&mut problems)
        .unwrap();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(loads_in_style("@import 'x'") && loads_in_style("a{b:url('https://x')}"));
        assert!(!loads_in_style(
            "a{b:url('fonts/x.woff2');c:url('data:image/svg+xml,http://www.w3.org')}"
        ));
        assert!(loads_in_script("fetch(\"https://x\")").is_some());
        assert!(loads_in_script("ns='http://www.w3.org/2000/svg'").is_none());
    }
}
