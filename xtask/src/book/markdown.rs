//! The little of Markdown that the checks need: fenced blocks, and links of files that no book renders.

use std::ops::Range;

/// A fenced block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fence {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// Its language.
    pub(super) language: String,
    /// What stands behind the language, separated by commas.
    pub(super) attributes: Vec<String>,
    /// What is in it, without the indentation of the fence.
    pub(super) content: String,
    /// The bytes that it takes, fences included.
    pub(super) range: Range<usize>,
}

impl Fence {
    /// Whether it has an attribute.
    pub(super) fn is(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a == attribute)
    }

    /// The value of an attribute, `exit=1`.
    pub(super) fn value(&self, attribute: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find_map(|a| a.strip_prefix(attribute)?.strip_prefix('='))
    }
}

/// The fenced blocks of a page, in order. A fence is three backticks or more; ours has no tildes.
pub(super) fn fences(text: &str) -> Vec<Fence> {
    let mut found = Vec::new();
    let mut open: Option<(Fence, usize, usize)> = None;
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let begin = at;
        at += line.len();
        let trimmed = line.trim_start_matches(' ');
        let indent = line.len() - trimmed.len();
        let ticks = trimmed.len() - trimmed.trim_start_matches('`').len();
        match &mut open {
            None if ticks >= 3 => {
                let info = trimmed.get(ticks..).unwrap_or_default().trim();
                let mut words = info.split(',').map(|word| word.trim().to_owned());
                let fence = Fence {
                    line: index + 1,
                    language: words.next().unwrap_or_default(),
                    attributes: words.collect(),
                    content: String::new(),
                    range: begin..at,
                };
                open = Some((fence, ticks, indent));
            }
            None => {}
            Some((fence, fenced_by, _))
                if ticks >= *fenced_by && trimmed.trim_end().len() == ticks =>
            {
                fence.range.end = at;
                found.extend(open.take().map(|(fence, ..)| fence));
            }
            Some((fence, _, indented_by)) => {
                let skip = indent.min(*indented_by);
                fence.content.push_str(line.get(skip..).unwrap_or_default());
            }
        }
    }
    found
}

/// A text with its fenced blocks blanked out; lines stay where they are.
pub(super) fn without_fences(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for fence in fences(text) {
        out.push_str(text.get(at..fence.range.start).unwrap_or_default());
        let lines = text
            .get(fence.range.clone())
            .unwrap_or_default()
            .matches('\n');
        out.extend(lines);
        at = fence.range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// The targets of inline links: `[text](target)`.
pub(super) fn links(text: &str) -> Vec<String> {
    without_fences(text)
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_has_language_attributes_and_content_without_its_indentation() {
        let text =
            "a\n  ```console,exit=1\n  x\n    y\n  ```\n[l](m.md)\n````text\n```\n[no](k)\n````\n";
        let found = fences(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].language, "console");
        assert_eq!(found[0].value("exit"), Some("1"));
        assert_eq!(found[0].content, "x\n  y\n");
        assert_eq!(found[0].line, 2);
        assert_eq!(found[1].content, "```\n[no](k)\n");
        assert_eq!(links(text), ["m.md"]);
    }
}
