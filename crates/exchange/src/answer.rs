//! A provider's refusal, made safe to keep: bounded, and without tokens that the provider sends back.
//!
//! STS quotes values that break a constraint, and an endpoint that is not what it should be may quote anything, so what
//! looks like a JWT is taken out of every text before it is cut.

use cwii_checks::facts::Answer;

/// Puts an answer together.
pub(crate) fn answer(
    status: u16,
    code: Option<&str>,
    message: &str,
    request_id: Option<&str>,
) -> Answer {
    let short = |text: &str| cut(&without_tokens(text), LONGEST_NAME).to_owned();
    Answer {
        status,
        code: code.filter(|c| !c.is_empty()).map(short),
        message: cut(without_tokens(message).trim(), LONGEST_MESSAGE).to_owned(),
        request_id: request_id.filter(|id| !id.is_empty()).map(short),
    }
}

/// The text with every JWT in it replaced, whole or cut off.
fn without_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Base64url of `{"`, with which every JOSE header begins.
    while let Some(at) = rest.find("eyJ") {
        let (before, from) = rest.split_at(at);
        let end = from
            .find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
            .unwrap_or(from.len());
        let (run, after) = from.split_at(end);
        out.push_str(before);
        out.push_str(if run.len() > SHORTEST_TOKEN {
            "[token]"
        } else {
            run
        });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Bytes of a message that are kept, as [`Answer::message`] promises.
const LONGEST_MESSAGE: usize = 4096;
/// Bytes of a code or an id that are kept.
const LONGEST_NAME: usize = 128;
/// A word that begins like a token and is shorter is just a word.
const SHORTEST_TOKEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_come_back_are_taken_out() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl";
        for text in [
            format!("Value '{token}' at 'webIdentityToken' failed"),
            token.to_owned(),
            format!("a {token} b {token}"),
            token[..30].to_owned(),
        ] {
            let answer = answer(400, Some("ValidationError"), &text, None);
            assert!(!answer.message.contains("eyJhbGci"), "{}", answer.message);
            assert!(answer.message.contains("[token]"));
        }
        assert_eq!(
            without_tokens("eyJ is how it begins"),
            "eyJ is how it begins"
        );
        assert_eq!(without_tokens("éeyJé"), "éeyJé");
    }

    #[test]
    fn an_answer_is_bounded_at_a_character() {
        let long = "é".repeat(5000);
        let answer = answer(400, Some(&long), &long, Some(""));
        assert_eq!(answer.message.len(), 4096);
        assert_eq!(answer.code.unwrap().len(), 128);
        assert_eq!(answer.request_id, None);
    }
}
