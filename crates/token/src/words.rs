//! Pieces of messages.

use cwii_contract::types::shorten;

/// Names a character that does not belong where it is; readable where the character itself would not be.
pub(crate) fn character(c: char) -> String {
    match c {
        '\n' => "a newline".to_owned(),
        '\r' => "a carriage return".to_owned(),
        '\t' => "a tab".to_owned(),
        ' ' => "a space".to_owned(),
        '"' => "a double quote".to_owned(),
        '\'' => "a single quote".to_owned(),
        '`' => "a backtick".to_owned(),
        '\0' => "a NUL".to_owned(),
        '\u{a0}' => "a no-break space (U+00A0)".to_owned(),
        '\u{200b}' => "a zero-width space (U+200B)".to_owned(),
        '\u{feff}' => "a byte order mark (U+FEFF)".to_owned(),
        c if c.is_ascii_graphic() => format!("`{c}`"),
        c if c.is_alphanumeric() => format!("`{c}` (U+{:04X})", u32::from(c)),
        c => format!("U+{:04X}", u32::from(c)),
    }
}

/// A value from outside in backticks, or what to say where there is none.
pub(crate) fn quoted_or(value: Option<&str>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |value| format!("`{}`", shorten(value)))
}

/// The first few values of a list, quoted; `nothing` if it is empty.
pub(crate) fn list(values: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = values
        .iter()
        .take(SHOWN)
        .map(|value| quoted_or(Some(value.as_ref()), ""))
        .collect();
    if values.len() > SHOWN {
        names.push(format!("{} more", values.len() - SHOWN));
    }
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

/// Alternatives: `a`, `b` or `c`.
pub(crate) fn one_of(values: impl IntoIterator<Item = impl ToString>) -> String {
    let names: Vec<String> = values
        .into_iter()
        .map(|value| format!("`{}`", value.to_string()))
        .collect();
    match names.as_slice() {
        [init @ .., last] if !init.is_empty() => format!("{} or {last}", init.join(", ")),
        _ => names.concat(),
    }
}

/// Several reasons in one message.
pub(crate) fn reasons(reasons: &[impl ToString]) -> String {
    let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
