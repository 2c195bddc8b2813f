//! Line and column of a place in a JSON text.
//!
//! Readers speak in JSON pointers; people have an editor open. This walks the text along a pointer. It is only asked about
//! texts that have been parsed already, so it gives up (`None`) where the text is not JSON.

use std::fmt;

/// A place in a text. Both begin at 1; columns count characters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Position {
    /// The place of a byte.
    pub(super) fn of(bytes: &[u8], offset: usize) -> Self {
        let before = &bytes[..offset.min(bytes.len())];
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1);
        Self {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            // Bytes that continue a character of UTF-8 are none of their own.
            column: 1 + before[start..]
                .iter()
                .filter(|byte| **byte & 0xc0 != 0x80)
                .count(),
        }
    }
}

/// Where the value that a JSON pointer (RFC 6901) names begins. Of a pointer that leads nowhere, where the last value on its
/// way does: the object that lacks a member, the string that holds a document.
#[must_use]
pub fn locate(bytes: &[u8], pointer: &str) -> Option<Position> {
    let mut walk = Walk { bytes, at: 0 };
    walk.space();
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let here = walk.at;
        if !walk.enter(&token)? {
            walk.at = here;
            break;
        }
    }
    (walk.at < bytes.len()).then(|| Position::of(bytes, walk.at))
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    /// Goes to a member or an item of the value that begins here. Whether there is one; `None` where this is no JSON.
    fn enter(&mut self, token: &str) -> Option<bool> {
        match self.peek()? {
            b'{' => {
                let mut found = None;
                self.at += 1;
                loop {
                    self.space();
                    if self.peek()? == b'}' {
                        break;
                    }
                    let start = self.at;
                    self.string()?;
                    let name: String = serde_json::from_slice(&self.bytes[start..self.at]).ok()?;
                    self.space();
                    if self.peek()? != b':' {
                        return None;
                    }
                    self.at += 1;
                    self.space();
                    // Of a duplicate member the last one counts.
                    if name == token {
                        found = Some(self.at);
                    }
                    self.value()?;
                    if !self.comma()? {
                        break;
                    }
                }
                self.at = match found {
                    Some(at) => at,
                    None => return Some(false),
                };
                Some(true)
            }
            b'[' => {
                let Ok(index) = token.parse::<usize>() else {
                    return Some(false);
                };
                self.at += 1;
                for _ in 0..index {
                    self.space();
                    if self.peek()? == b']' {
                        return Some(false);
                    }
                    self.value()?;
                    if !self.comma()? {
                        return Some(false);
                    }
                }
                self.space();
                Some(self.peek()? != b']')
            }
            _ => Some(false),
        }
    }

    /// Skips a value, nested as deep as it likes.
    fn value(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            self.space();
            match self.peek()? {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                b',' | b':' => return None,
                _ => {
                    while self.peek().is_some_and(|byte| {
                        !matches!(byte, b',' | b':' | b'}' | b']') && !byte.is_ascii_whitespace()
                    }) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// After a value: past the comma, or at the end of the list.
    fn comma(&mut self) -> Option<bool> {
        self.space();
        match self.peek()? {
            b',' => {
                self.at += 1;
                Some(true)
            }
            b'}' | b']' => Some(false),
            _ => None,
        }
    }

    fn string(&mut self) -> Option<()> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}
