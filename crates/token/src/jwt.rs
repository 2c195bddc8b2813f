//! A JSON Web Token in compact serialization (RFC 7515, section 7.1), decoded strictly.
//!
//! Official clients send the token file as it stands, so text that would be a token if somebody trimmed it is an error of
//! its own here: it reaches the cloud with its newline and is refused there with a message that names something else.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::{Claims, document, words};

/// The longest text that is decoded, in bytes. AWS takes 20 000 characters, Google about 16 KiB.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// A decoded token. `Debug` shows header and claims, never the raw text or the signature.
#[derive(Clone, Debug)]
pub struct Token {
    /// The JOSE header.
    pub header: Header,
    /// The payload.
    pub claims: Claims,
    raw: SecretString,
}

impl Token {
    /// Decodes exactly this text: three non-empty parts, base64url without padding, header and payload JSON objects,
    /// nothing around. Nothing is verified; a token with algorithm `none` decodes as long as it has a third part.
    ///
    /// # Errors
    ///
    /// What is wrong first, reading from the left; [`DecodeError::SurroundingWhitespace`] only if the text between
    /// would decode.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        let token = Self::decode_trimmed(text)?;
        let inner = trim(text);
        if inner.len() == text.len() {
            return Ok(token);
        }
        let leading = text.len() - text.trim_start_matches(is_surrounding).len();
        let trailing = text.len() - leading - inner.len();
        Err(DecodeError::SurroundingWhitespace {
            leading,
            trailing,
            what: describe_surroundings(&text[..leading], &text[text.len() - trailing..]),
        })
    }

    /// Decodes what is left without white space, quotes and byte order marks around it. This is not what a cloud is sent;
    /// it is for people who want to know what is inside a file that [`Token::decode`] refuses.
    ///
    /// # Errors
    ///
    /// As [`Token::decode`], except that surroundings are no error.
    pub fn decode_trimmed(text: &str) -> Result<Self, DecodeError> {
        if text.is_empty() {
            return Err(DecodeError::Empty);
        }
        if text.len() > MAX_TOKEN_BYTES {
            return Err(DecodeError::TooLong { bytes: text.len() });
        }
        let inner = trim(text);
        if inner.is_empty() {
            return Err(DecodeError::Blank {
                what: describe_characters(text),
            });
        }
        let parts: Vec<&str> = inner.split('.').collect();
        let &[header, payload, signature] = parts.as_slice() else {
            return Err(DecodeError::NotThreeParts { parts: parts.len() });
        };
        let header = decode_object(Part::Header, header)?;
        let payload = decode_object(Part::Payload, payload)?;
        decode_part(Part::Signature, signature)?;
        Ok(Self {
            header: Header::from_members(header),
            claims: Claims { members: payload },
            raw: inner.into(),
        })
    }

    /// The raw text, for the wire only.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.raw.expose_secret()
    }

    /// The first 12 hexadecimal digits of the SHA-256 of the raw text: enough to tell two tokens apart, useless to
    /// anybody who wants to use one.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        digest::digest(&digest::SHA256, self.expose().as_bytes())
            .as_ref()
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The signing input (RFC 7515, section 2) and the signature in base64url.
    pub(crate) fn signed(&self) -> (&str, &str) {
        // Decoding made sure of the dots.
        self.expose().rsplit_once('.').unwrap_or_default()
    }
}

/// Why a text is not a token. No variant holds any of its text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Nothing at all.
    #[error("expected a JWT, found nothing")]
    Empty,
    /// Only white space or quotes.
    #[error("expected a JWT, found only {what}")]
    Blank {
        /// The characters, described.
        what: String,
    },
    /// More than [`MAX_TOKEN_BYTES`].
    #[error("expected a JWT of at most {MAX_TOKEN_BYTES} bytes, found {bytes}")]
    TooLong {
        /// Length found, bytes.
        bytes: usize,
    },
    /// A token, with something around it. Clouds are sent the text as it stands and refuse it.
    #[error("expected a JWT and nothing else, found {what}")]
    SurroundingWhitespace {
        /// Bytes before the token.
        leading: usize,
        /// Bytes after the token.
        trailing: usize,
        /// The characters and where they are: `a newline at the end`.
        what: String,
    },
    /// Not three parts with two dots between them.
    #[error("expected three parts with dots between them, found {}", describe_parts(*.parts))]
    NotThreeParts {
        /// Parts found.
        parts: usize,
    },
    /// A part without content. An empty signature is what an unsigned token has.
    #[error("the {part} is empty")]
    EmptyPart {
        /// Which part.
        part: Part,
    },
    /// A part that is not base64url without padding (RFC 7515, section 2).
    #[error("the {part} is not base64url without padding: {detail}")]
    NotBase64 {
        /// Which part.
        part: Part,
        /// What is wrong and where in the part; names at most one character, which is outside the alphabet.
        detail: String,
    },
    /// A part whose bytes are not JSON.
    #[error("the {part} is not JSON: {detail}")]
    NotJson {
        /// Which part.
        part: Part,
        /// The parser's reason and place.
        detail: String,
    },
    /// A part whose JSON is not an object.
    #[error("the {part} is not a JSON object but {found}")]
    NotAnObject {
        /// Which part.
        part: Part,
        /// The type found: `an array`.
        found: &'static str,
    },
}

/// A part of the compact serialization.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The first: the JOSE header.
    Header,
    /// The second: the claims.
    Payload,
    /// The third.
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// The JOSE header (RFC 7515, section 4). A member of another type than expected is `None` here and stands in `members`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// `alg`, the signature algorithm.
    pub alg: Option<String>,
    /// `kid`, the name of the key in the issuer's set.
    pub kid: Option<String>,
    /// `typ`, which kube-apiserver leaves out.
    pub typ: Option<String>,
    /// `crit`, the extensions that a reader must understand.
    pub crit: Option<Value>,
    /// All members; of a duplicate one the last.
    pub members: Map<String, Value>,
}

impl Header {
    fn from_members(members: Map<String, Value>) -> Self {
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            alg: text("alg"),
            kid: text("kid"),
            typ: text("typ"),
            crit: members.get("crit").cloned(),
            members,
        }
    }
}

fn decode_object(part: Part, text: &str) -> Result<Map<String, Value>, DecodeError> {
    let bytes = decode_part(part, text)?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(other) => Err(DecodeError::NotAnObject {
            part,
            found: document::type_name(&other),
        }),
        Err(error) => Err(DecodeError::NotJson {
            part,
            detail: error.to_string(),
        }),
    }
}

fn decode_part(part: Part, text: &str) -> Result<Vec<u8>, DecodeError> {
    if text.is_empty() {
        return Err(DecodeError::EmptyPart { part });
    }
    URL_SAFE_NO_PAD.decode(text).map_err(|error| {
        let foreign = text
            .char_indices()
            .find(|(_, c)| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'));
        let detail = match (foreign, error) {
            (Some((at, c)), _) => format!("{} at byte {at}", words::character(c)),
            (None, base64::DecodeError::InvalidLength(length)) => {
                format!("{length} characters cannot be whole bytes, it is cut off or too long")
            }
            (None, _) => "unused bits of its last character are set".to_owned(),
        };
        DecodeError::NotBase64 { part, detail }
    })
}

fn describe_parts(parts: usize) -> String {
    match parts {
        1 => "one part without dots".to_owned(),
        5 => "five parts, as an encrypted token (JWE) has".to_owned(),
        n => format!("{n} parts"),
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_surrounding)
}

fn is_surrounding(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '\0' | '\u{feff}' | '\u{200b}')
}

fn describe_surroundings(leading: &str, trailing: &str) -> String {
    let mut places = Vec::new();
    if !leading.is_empty() {
        places.push(format!("{} at the start", describe_characters(leading)));
    }
    if !trailing.is_empty() {
        places.push(format!("{} at the end", describe_characters(trailing)));
    }
    places.join(" and ")
}

/// Names a run of characters: `a newline`, `a carriage return and a newline`, `12 characters of white space and quotes`.
fn describe_characters(text: &str) -> String {
    let names: Vec<String> = text.chars().take(4).map(words::character).collect();
    match names.as_slice() {
        [one] => one.clone(),
        [init @ .., last] if names.len() <= 3 => format!("{} and {last}", init.join(", ")),
        _ => format!(
            "{} characters of white space or quotes, first {}",
            text.chars().count(),
            words::character(text.chars().next().unwrap_or(' '))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.c2lnbmF0dXJl", encode(header), encode(payload))
    }

    fn good() -> String {
        token(r#"{"alg":"RS256","kid":"a"}"#, r#"{"sub":"s"}"#)
    }

    #[test]
    fn the_header_is_read_and_keeps_what_it_does_not_know() {
        let text = token(
            r#"{"alg":"RS256","kid":"a","typ":"JWT","crit":["x"],"x":1}"#,
            r#"{"sub":"s"}"#,
        );
        let token = Token::decode(&text).unwrap();
        assert_eq!(token.header.alg.as_deref(), Some("RS256"));
        assert_eq!(token.header.kid.as_deref(), Some("a"));
        assert_eq!(token.header.typ.as_deref(), Some("JWT"));
        assert_eq!(token.header.crit, Some(serde_json::json!(["x"])));
        assert_eq!(token.header.members["x"], 1);
        assert_eq!(token.claims.subject(), Some("s"));
        assert_eq!(token.expose(), text);
    }

    #[test]
    fn a_member_of_another_type_is_none_and_null_is_a_member() {
        let token = Token::decode(&token(r#"{"alg":1,"kid":null,"crit":null}"#, "{}")).unwrap();
        assert_eq!((token.header.alg, token.header.kid), (None, None));
        assert_eq!(token.header.crit, Some(Value::Null));
    }

    #[test]
    fn the_last_of_duplicate_members_wins() {
        let token = Token::decode(&token(
            r#"{"kid":"a","kid":"b"}"#,
            r#"{"sub":"first","sub":"last"}"#,
        ))
        .unwrap();
        assert_eq!(token.header.kid.as_deref(), Some("b"));
        assert_eq!(token.claims.subject(), Some("last"));
    }

    #[test]
    fn an_unsigned_algorithm_decodes_an_empty_signature_does_not() {
        let none = token(r#"{"alg":"none"}"#, "{}");
        assert_eq!(
            Token::decode(&none).unwrap().header.alg.as_deref(),
            Some("none")
        );
        let unsigned = none.replace("c2lnbmF0dXJl", "");
        assert_eq!(
            Token::decode(&unsigned).unwrap_err(),
            DecodeError::EmptyPart {
                part: Part::Signature
            }
        );
    }

    #[test]
    fn what_stands_around_a_token_is_named() {
        for (before, after, expected) in [
            ("", "\n", "a newline at the end"),
            ("", "\r\n", "a carriage return and a newline at the end"),
            (" ", "", "a space at the start"),
            (
                "\"",
                "\"",
                "a double quote at the start and a double quote at the end",
            ),
            ("\u{feff}", "", "a byte order mark (U+FEFF) at the start"),
            ("", "\u{a0}", "a no-break space (U+00A0) at the end"),
            (
                "",
                "\"\r\n",
                "a double quote, a carriage return and a newline at the end",
            ),
            (
                "",
                "\n\n\n\n\n",
                "5 characters of white space or quotes, first a newline at the end",
            ),
        ] {
            let text = format!("{before}{}{after}", good());
            let error = Token::decode(&text).unwrap_err();
            assert_eq!(
                error,
                DecodeError::SurroundingWhitespace {
                    leading: before.len(),
                    trailing: after.len(),
                    what: expected.to_owned(),
                }
            );
            assert_eq!(
                error.to_string(),
                format!("expected a JWT and nothing else, found {expected}")
            );
            assert_eq!(Token::decode_trimmed(&text).unwrap().expose(), good());
        }
    }

    #[test]
    fn what_is_no_token_is_told_apart() {
        let payload = encode("{}");
        let header = encode("{}");
        for (text, expected) in [
            (String::new(), "expected a JWT, found nothing"),
            ("\n".to_owned(), "expected a JWT, found only a newline"),
            (
                " \n".to_owned(),
                "expected a JWT, found only a space and a newline",
            ),
            (
                "ya29opaque\n".to_owned(),
                "expected three parts with dots between them, found one part without dots",
            ),
            (
                format!("{header}.{payload}"),
                "expected three parts with dots between them, found 2 parts",
            ),
            (
                "a.b.c.d.e".to_owned(),
                "expected three parts with dots between them, found five parts, as an encrypted token (JWE) has",
            ),
            (format!(".{payload}.c2ln"), "the header is empty"),
            (format!("{header}..c2ln"), "the payload is empty"),
            (
                format!("Bearer {header}.{payload}.c2ln"),
                "the header is not base64url without padding: a space at byte 6",
            ),
            (
                format!("{header}.{payload}.c2lnbg=="),
                "the signature is not base64url without padding: `=` at byte 6",
            ),
            (
                format!("{header}.{payload}.c2+n"),
                "the signature is not base64url without padding: `+` at byte 2",
            ),
            (
                format!("{header}.{payload}.c2lnb"),
                "the signature is not base64url without padding: 5 characters cannot be whole bytes, it is cut off or too long",
            ),
            (
                format!("{header}.{payload}.c2lnbh"),
                "the signature is not base64url without padding: unused bits of its last character are set",
            ),
            (
                token("{", "{}"),
                "the header is not JSON: EOF while parsing an object at line 1 column 1",
            ),
            (
                token("{}", "[]"),
                "the payload is not a JSON object but an array",
            ),
            (
                token("{}", "null"),
                "the payload is not a JSON object but null",
            ),
            (
                token("{}", "7"),
                "the payload is not a JSON object but a number",
            ),
        ] {
            assert_eq!(
                Token::decode(&text).unwrap_err().to_string(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_token_may_have_64_kib_and_not_a_byte_more() {
        let head = format!("{}.{}.", encode("{}"), encode("{}"));
        let text = |length: usize| format!("{head}{}", "A".repeat(length - head.len()));
        assert!(Token::decode(&text(MAX_TOKEN_BYTES)).is_ok());
        assert_eq!(
            Token::decode(&text(MAX_TOKEN_BYTES + 1)).unwrap_err(),
            DecodeError::TooLong {
                bytes: MAX_TOKEN_BYTES + 1
            }
        );
    }

    #[test]
    fn neither_debug_nor_errors_show_the_text() {
        let text = good();
        let shown = format!("{:?}", Token::decode(&text).unwrap());
        assert!(
            shown.contains("RS256") && !shown.contains("c2lnbmF0dXJl") && !shown.contains(&text)
        );
        for cut in 8..text.len() {
            if let Err(error) = Token::decode(&text[..cut]) {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains(&text[..8]), "{shown}");
            }
        }
    }

    #[test]
    fn the_fingerprint_is_the_start_of_the_sha_256() {
        // printf %s e30.e30.c2ln | sha256sum
        let token = Token::decode("e30.e30.c2ln").unwrap();
        assert_eq!(token.fingerprint(), "c6b7f82b5d3c");
    }
}
