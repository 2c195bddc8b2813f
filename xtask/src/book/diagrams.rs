//! Diagrams as text: mdBook runs this as a preprocessor, and ```` ```dot ```` fences become drawings in the page.
//!
//! Of our own, since it is one call of Graphviz: the drawing takes the colours of the book's theme through CSS, has the
//! graph's name as its title for screen readers, and nothing is fetched when a page is read.
//!
//! Source: mdBook's guide, "Preprocessors": the program is asked `supports RENDERER`, then gets context and book as JSON.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio, exit},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::markdown::fences;

/// `cargo xtask diagrams [supports RENDERER]`.
pub(crate) fn run(question: &[String]) -> Result<()> {
    if let [supports, renderer] = question
        && supports == "supports"
    {
        exit(i32::from(renderer != "html"));
    }
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let (_, mut book): (Value, Value) =
        serde_json::from_str(&input).context("not what mdBook hands to a preprocessor")?;
    let items = book
        .get_mut("items")
        .context("the book has no `items`: another mdBook than .ci/tool names")?;
    chapters(items, &mut |content| drawn(content))?;
    println!("{book}");
    Ok(())
}

/// Calls for the content of every chapter.
fn chapters(items: &mut Value, with: &mut impl FnMut(&str) -> Result<String>) -> Result<()> {
    for item in items.as_array_mut().into_iter().flatten() {
        let Some(chapter) = item.get_mut("Chapter") else {
            continue;
        };
        let name = chapter["name"].as_str().unwrap_or_default().to_owned();
        if let Some(content) = chapter["content"].as_str() {
            chapter["content"] = Value::String(with(content).context(name)?);
        }
        chapters(&mut chapter["sub_items"], with)?;
    }
    Ok(())
}

/// A page with its drawings.
fn drawn(content: &str) -> Result<String> {
    let mut out = String::with_capacity(content.len());
    let mut at = 0;
    for fence in fences(content) {
        if fence.language != "dot" {
            continue;
        }
        out.push_str(content.get(at..fence.range.start).unwrap_or_default());
        let svg = draw(&fence.content).with_context(|| format!("line {}", fence.line))?;
        out.push_str(&svg);
        at = fence.range.end;
    }
    out.push_str(content.get(at..).unwrap_or_default());
    Ok(out)
}

/// One drawing, on one line: an empty line would end the HTML.
pub(super) fn draw(graph: &str) -> Result<String> {
    let title = title(graph)?;
    let mut dot = Command::new("dot")
        .args(["-Tsvg", "-Gbgcolor=transparent", "-Gfontname=sans-serif"])
        .args([
            "-Nfontname=sans-serif",
            "-Efontname=sans-serif",
            "-Nfontsize=12",
            "-Efontsize=11",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("`dot` cannot be started; it is in the Debian package graphviz")?;
    dot.stdin
        .take()
        .context("dot has no standard input")?
        .write_all(graph.as_bytes())?;
    let output = dot.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || complaint.contains("syntax error") {
        bail!("dot: {}", complaint.trim());
    }
    let svg = String::from_utf8(output.stdout)?;
    let body = svg
        .find("<svg")
        .and_then(|begin| svg.get(begin..))
        .context("dot drew no SVG")?;
    let (head, body) = body.split_once('>').context("the SVG has no end")?;
    let view_box = attribute(head, "viewBox").context("the SVG has no viewBox")?;
    let width = attribute(head, "width").context("the SVG has no width")?;
    let body: String = body
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("<!--") && !line.is_empty())
        .map(without_id)
        .collect::<Vec<_>>()
        .join(" ");
    Ok(format!(
        "<div class=\"diagram\"><svg role=\"img\" aria-label=\"{title}\" viewBox=\"{view_box}\" \
         style=\"width:{width}\" xmlns=\"http://www.w3.org/2000/svg\"><title>{title}</title>{body}</div>\n"
    ))
}

/// The name of the graph, which people hear who cannot see it.
fn title(graph: &str) -> Result<String> {
    let title = graph
        .split_once('{')
        .and_then(|(head, _)| head.split_once('"'))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(title, _)| title.trim())
        .filter(|title| !title.is_empty())
        .context("the graph has no name: expected `digraph \"What it shows\" {`")?;
    Ok(title.replace('&', "&amp;").replace('<', "&lt;"))
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// Several drawings on a page would have the same ids.
fn without_id(line: &str) -> String {
    match line.split_once(" id=\"") {
        Some((before, rest)) => match rest.split_once('"') {
            Some((_, after)) => format!("{before}{after}"),
            None => line.to_owned(),
        },
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chapters_below_chapters_are_drawn_too() {
        let mut items = serde_json::json!([
            {"PartTitle": "p"},
            {"Chapter": {"name": "a", "content": "x", "sub_items": [
                {"Chapter": {"name": "b", "content": "y", "sub_items": []}}
            ]}}
        ]);
        chapters(&mut items, &mut |content| Ok(content.to_uppercase())).unwrap();
        assert_eq!(items[1]["Chapter"]["content"], "X");
        assert_eq!(
            items[1]["Chapter"]["sub_items"][0]["Chapter"]["content"],
            "Y"
        );
    }

    #[test]
    fn a_graph_needs_a_name_because_the_name_is_its_title() {
        assert_eq!(title("digraph \"From < to\" {}").unwrap(), "From &lt; to");
        assert!(title("digraph { a }").is_err());
    }
}
