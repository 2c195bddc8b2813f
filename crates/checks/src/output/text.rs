//! Text for people: escaping, widths, colour, wrapping.

use cwii_token::text::printable;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How a text is laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Style {
    /// Columns that lines are wrapped to. What cannot be broken stays whole: a value, a word, a quoted argument.
    pub width: usize,
    /// Whether to colour. Colour says nothing that the text does not say.
    pub color: bool,
    /// Whether characters beyond ASCII can be expected to show.
    pub unicode: bool,
    /// Whether tables have headers.
    pub headers: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            width: 100,
            color: false,
            unicode: true,
            headers: true,
        }
    }
}

/// What a piece of text is, for colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    Strong,
    Good,
    Bad,
    Warning,
    Faint,
    Place,
}

impl Style {
    /// A piece in its colour. The text is escaped already.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Warning => "1;33",
            Tone::Faint => "2",
            Tone::Place => "36",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Text from outside, escaped, and in ASCII where nothing else can be expected to show.
    pub(super) fn show(&self, text: &str) -> String {
        let text = printable(text);
        if self.unicode || text.is_ascii() {
            return text;
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                _ if c.is_ascii() => out.push(c),
                '…' => out.push_str("..."),
                '·' => out.push('|'),
                '‘' | '’' => out.push('\''),
                '“' | '”' => out.push('"'),
                '–' | '—' => out.push('-'),
                _ => out.extend(c.escape_default()),
            }
        }
        out
    }

    /// A value whose every character counts: like [`Self::show`], and blanks other than the plain one are visible too.
    pub(super) fn exactly(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if c != ' ' && c.is_whitespace() {
                out.extend(c.escape_default());
            } else {
                out.push_str(&self.show(c.encode_utf8(&mut [0; 4])));
            }
        }
        out
    }

    /// Between the parts of a line.
    pub(super) fn dot(&self) -> &'static str {
        if self.unicode { " · " } else { " | " }
    }

    pub(super) fn ellipsis(&self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }

    /// Breaks escaped text at blanks; the first line begins with `lead`, the others with `indent`.
    pub(super) fn wrap(&self, lead: &str, text: &str, indent: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = lead.to_owned();
        let mut begun = false;
        for word in text.split(' ') {
            if begun && width(&line) + 1 + width(word) > self.width {
                lines.push(std::mem::replace(&mut line, indent.to_owned()));
            } else if begun {
                line.push(' ');
            }
            begun = true;
            line.push_str(word);
        }
        lines.push(line);
        lines
    }
}

/// Columns that escaped text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Breaks a shell command so that it can still be pasted: between arguments after a backslash, and inside a quoted JSON
/// document where JSON lets white space stand. Lines after the first are indented by two more.
pub(super) fn command(style: &Style, text: &str, indent: &str) -> Vec<String> {
    let text = style.show(text);
    if width(indent) + width(&text) <= style.width {
        return vec![format!("{indent}{text}")];
    }
    let more = format!("{indent}  ");
    // Room for the blank and the backslash.
    let room = style.width.saturating_sub(2);
    let mut lines = Vec::new();
    let mut line = indent.to_owned();
    let mut begun = false;
    for argument in arguments(&text) {
        if begun && width(&line) + 1 + width(argument) > room {
            lines.push(format!("{line} \\"));
            line.clone_from(&more);
        } else if begun {
            line.push(' ');
        }
        begun = true;
        if width(&line) + width(argument) <= room {
            line.push_str(argument);
            continue;
        }
        for piece in json_pieces(argument) {
            if width(&line) + width(piece) > room && !line.trim().is_empty() {
                lines.push(std::mem::replace(&mut line, format!("{more}  ")));
            }
            line.push_str(piece);
        }
    }
    lines.push(line);
    lines
}

/// A command's arguments as they are written, quotes and all.
fn arguments(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, ' ') => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found.retain(|argument| !argument.is_empty());
    found
}

/// An argument cut after the punctuation of a JSON document in single quotes, where a line end changes nothing. One piece if
/// it holds no such document.
fn json_pieces(argument: &str) -> Vec<&str> {
    let Some((before, document)) = argument
        .strip_suffix('\'')
        .and_then(|rest| rest.split_once('\''))
    else {
        return vec![argument];
    };
    // A quote inside would be written as '\'', which ends the quoting: such a document stays whole.
    if document.contains('\'')
        || serde_json::from_str::<serde::de::IgnoredAny>(document).is_err()
        || !document.starts_with(['{', '['])
    {
        return vec![argument];
    }
    let mut pieces = Vec::new();
    let mut start = 0;
    let (mut in_text, mut escaped) = (false, false);
    let first = before.len() + 1;
    for (at, c) in document.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            ',' | '{' | '[' if !in_text => {
                let end = first + at + c.len_utf8();
                pieces.push(&argument[start..end]);
                start = end;
            }
            _ => {}
        }
    }
    pieces.push(&argument[start..]);
    pieces
}

/// The part of a value that fits into `room` columns around what begins at `column`, with that column in it.
pub(super) fn window(
    style: &Style,
    text: &str,
    column: usize,
    marked: usize,
    room: usize,
) -> (String, usize) {
    if width(text) <= room {
        return (text.to_owned(), column);
    }
    let cut = style.ellipsis();
    let keep = room.saturating_sub(2 * width(cut)).max(8);
    // The difference two thirds into the window: what comes before it says where it is.
    let start = (column + marked.min(keep / 3)).saturating_sub(keep * 2 / 3);
    let mut out = String::new();
    let (mut at, mut begin) = (0, None);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if at >= start && at + wide <= start + keep {
            begin.get_or_insert(at);
            out.push(c);
        }
        at += wide;
    }
    let begin = begin.unwrap_or(start);
    let lead = if begin > 0 { cut } else { "" };
    let tail = if at > start + keep { cut } else { "" };
    let column = column.saturating_sub(begin) + width(lead);
    (format!("{lead}{out}{tail}"), column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(width: usize) -> Style {
        Style {
            width,
            ..Style::default()
        }
    }

    #[test]
    fn text_is_broken_at_blanks_and_words_stay_whole() {
        assert_eq!(
            style(10).wrap("", "ab cd ef ghijklmnopqrst u", "  "),
            ["ab cd ef", "  ghijklmnopqrst", "  u"]
        );
    }

    #[test]
    fn a_long_command_is_broken_where_a_shell_does_not_mind() {
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/issuer.example.com"}}]}"#;
        let text =
            format!("aws iam update-assume-role-policy --role-name a --policy-document '{policy}'");
        let lines = command(&style(80), &text, "        ");
        assert!(
            lines.iter().all(|line| line.len() <= 100),
            "{}",
            lines.join("\n")
        );
        assert!(lines[0].ends_with(" \\"), "{}", lines.join("\n"));
        // What a shell makes of it: line ends after a backslash vanish, and JSON does not care about the others.
        let joined = lines.join("\n").replace("\\\n", " ");
        let (_, rest) = joined.split_once('\'').unwrap();
        let read: serde_json::Value = serde_json::from_str(rest.trim_end_matches('\'')).unwrap();
        assert_eq!(
            read,
            serde_json::from_str::<serde_json::Value>(policy).unwrap()
        );
    }

    #[test]
    fn a_quoted_argument_that_is_no_document_stays_whole() {
        let text = "kubectl annotate serviceaccount checkout a='one two three four five six seven'";
        let lines = command(&style(40), text, "");
        assert_eq!(
            lines,
            [
                "kubectl annotate serviceaccount \\",
                "  checkout \\",
                "  a='one two three four five six seven'"
            ]
        );
    }

    #[test]
    fn a_long_value_is_cut_around_what_is_marked() {
        let text = "a".repeat(80) + "X" + &"b".repeat(80);
        let (shown, column) = window(&style(100), &text, 80, 1, 40);
        assert!(width(&shown) <= 40, "{shown}");
        assert_eq!(shown.chars().nth(column), Some('X'));
        let (shown, column) = window(&style(100), &text, 160, 1, 40);
        assert_eq!(shown.chars().nth(column), Some('b'), "the last: {shown}");
        let (shown, column) = window(&style(100), &text, 161, 1, 40);
        assert_eq!(shown.chars().count(), column, "beyond the end: {shown}");
    }
}
