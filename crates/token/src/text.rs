//! Where two texts that should be the same part ways, in words that a person can act on.
//!
//! Issuers, subjects and audiences are compared byte by byte by every cloud, and the differences that cost people days
//! are the ones that a screen does not show: a trailing slash, a capital letter, a no-break space.

use crate::words;

/// The first difference between a text and the one that was expected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// Where both part ways, in bytes from the start; the same in both texts, and a character boundary.
    pub offset: usize,
    /// The same place as a person counts: characters, from 1.
    pub column: usize,
    /// What kind of difference it is, looking at both texts whole.
    pub kind: DifferenceKind,
    /// The character found there; none where the found text ends.
    pub found: Option<char>,
    /// The character expected there; none where the expected text ends.
    pub expected: Option<char>,
}

/// Kinds of differences.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DifferenceKind {
    /// The texts differ in slashes at their end and in nothing else.
    TrailingSlash,
    /// The texts are equal but for the case of letters.
    Case,
    /// The texts are equal but for white space.
    Whitespace,
    /// The texts are equal but for white space, of which some is a no-break space, or another character without a
    /// visible shape.
    Nbsp,
    /// Anything else.
    Other,
}

/// Compares byte by byte; none if the texts are equal.
#[must_use]
pub fn first_difference(found: &str, expected: &str) -> Option<Difference> {
    if found == expected {
        return None;
    }
    let mut ours = found.char_indices();
    let mut theirs = expected.chars();
    let mut column = 1;
    let (offset, found_char, expected_char) = loop {
        match (ours.next(), theirs.next()) {
            (Some((_, a)), Some(b)) if a == b => column += 1,
            (Some((at, a)), b) => break (at, Some(a), b),
            (None, b) => break (found.len(), None, b),
        }
    };
    Some(Difference {
        offset,
        column,
        kind: kind(found, expected),
        found: found_char,
        expected: expected_char,
    })
}

/// One line of text from outside, safe to print: control characters, line ends, text direction marks and what else a
/// terminal or a browser obeys instead of showing are escaped, `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_printable(c) {
            out.push(c)
        } else {
            out.extend(c.escape_default())
        }
    }
    out
}

/// Several lines of text from outside, safe to print; lines after the first are indented.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.lines()
        .map(|line| printable(line.trim_end()))
        .collect::<Vec<_>>()
        .join("\n  ")
}

/// Whether a character shows as itself: no control character (C0, C1), no mark that changes the direction of text (UAX #9),
/// nothing without a shape, no tag, no noncharacter.
#[must_use]
pub fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{e0000}'..='\u{e0fff}')
}

impl Difference {
    /// One clause about the found text: `has a trailing slash too many`, `differs only in case, first at character 24:
    /// found `S`, expected `s``.
    #[must_use]
    pub fn describe(&self) -> String {
        let place = self.place();
        match (self.kind, self.found) {
            (DifferenceKind::TrailingSlash, Some(_)) => "has a trailing slash too many".to_owned(),
            (DifferenceKind::TrailingSlash, None) => "lacks a trailing slash".to_owned(),
            (DifferenceKind::Case, _) => format!("differs only in case, first at {place}"),
            (DifferenceKind::Whitespace, _) => {
                format!("differs only in white space, first at {place}")
            }
            (DifferenceKind::Nbsp, _) => {
                format!("differs only in characters without a visible shape, first at {place}")
            }
            (DifferenceKind::Other, _) => format!("differs at {place}"),
        }
    }

    fn place(&self) -> String {
        let name = |c: Option<char>| c.map_or_else(|| "the end".to_owned(), words::character);
        format!(
            "character {}: found {}, expected {}",
            self.column,
            name(self.found),
            name(self.expected)
        )
    }
}

fn kind(found: &str, expected: &str) -> DifferenceKind {
    let visible = |text: &str| -> String { text.chars().filter(|c| !is_blank(*c)).collect() };
    let ascii_visible =
        |text: &str| -> String { text.chars().filter(|c| !c.is_ascii_whitespace()).collect() };
    if found.trim_end_matches('/') == expected.trim_end_matches('/') {
        DifferenceKind::TrailingSlash
    } else if found.to_lowercase() == expected.to_lowercase() {
        DifferenceKind::Case
    } else if ascii_visible(found) == ascii_visible(expected) {
        DifferenceKind::Whitespace
    } else if visible(found) == visible(expected) {
        DifferenceKind::Nbsp
    } else {
        DifferenceKind::Other
    }
}

fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_no_difference() {
        assert_eq!(first_difference("", ""), None);
        assert_eq!(first_difference("https://i/é", "https://i/é"), None);
    }

    #[test]
    fn a_difference_is_described_by_its_kind() {
        use DifferenceKind::{Case, Nbsp, Other, TrailingSlash, Whitespace};
        for (found, expected, kind, description) in [
            (
                "https://i/c/",
                "https://i/c",
                TrailingSlash,
                "has a trailing slash too many",
            ),
            (
                "https://i/c",
                "https://i/c/",
                TrailingSlash,
                "lacks a trailing slash",
            ),
            (
                "system:serviceaccount:Shop:x",
                "system:serviceaccount:shop:x",
                Case,
                "differs only in case, first at character 23: found `S`, expected `s`",
            ),
            (
                "aud\n",
                "aud",
                Whitespace,
                "differs only in white space, first at character 4: found a newline, expected the end",
            ),
            (
                "a b",
                "ab",
                Whitespace,
                "differs only in white space, first at character 2: found a space, expected `b`",
            ),
            (
                "a\u{a0}b",
                "a b",
                Nbsp,
                "differs only in characters without a visible shape, first at character 2: found a no-break space (U+00A0), expected a space",
            ),
            (
                "ab",
                "a\u{200b}b",
                Nbsp,
                "differs only in characters without a visible shape, first at character 2: found `b`, expected a zero-width space (U+200B)",
            ),
            (
                "ab",
                "ac",
                Other,
                "differs at character 2: found `b`, expected `c`",
            ),
            (
                "ab",
                "abc",
                Other,
                "differs at character 3: found the end, expected `c`",
            ),
            (
                "a/b",
                "a/",
                Other,
                "differs at character 3: found `b`, expected the end",
            ),
            // Cyrillic, which looks the same.
            (
                "p\u{430}y",
                "pay",
                Other,
                "differs at character 2: found `\u{430}` (U+0430), expected `a`",
            ),
            (
                "",
                "a",
                Other,
                "differs at character 1: found the end, expected `a`",
            ),
        ] {
            let difference = first_difference(found, expected).unwrap();
            assert_eq!(difference.kind, kind, "{found:?}");
            assert_eq!(difference.describe(), description);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(
            printable("a\u{1b}[31mb\u{202E}c\u{9b}d\né"),
            "a\\u{1b}[31mb\\u{202e}c\\u{9b}d\\né"
        );
        assert_eq!(
            printable_lines("AADSTS1: x\r\nTrace ID: y"),
            "AADSTS1: x\n  Trace ID: y"
        );
    }

    #[test]
    fn the_offset_counts_bytes_and_the_column_characters() {
        let difference = first_difference("éé/a", "éé/b").unwrap();
        assert_eq!((difference.offset, difference.column), (5, 4));
        assert_eq!(
            (difference.found, difference.expected),
            (Some('a'), Some('b'))
        );
    }
}
