//! Patterns with `*` and `?`, which both AWS and Entra have.

/// A piece of a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// A character, as itself.
    Char(char),
    /// `?` as written.
    One,
    /// `*` as written.
    Many,
}

/// A pattern in which every `*` and `?` counts.
pub(crate) fn wildcards(text: &str) -> Vec<Piece> {
    text.chars().map(piece).collect()
}

pub(crate) fn piece(c: char) -> Piece {
    match c {
        '*' => Piece::Many,
        '?' => Piece::One,
        c => Piece::Char(c),
    }
}

/// Whether a pattern matches a whole text. Case matters.
pub(crate) fn glob(pattern: &[Piece], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how far it has been stretched.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Piece::Many) => {
                star = Some((p, t));
                p += 1;
            }
            Some(Piece::One) => {
                p += 1;
                t += 1;
            }
            Some(Piece::Char(c)) if *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, stretched)) => {
                    star = Some((at, stretched + 1));
                    p = at + 1;
                    t = stretched + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|piece| *piece == Piece::Many)
}
