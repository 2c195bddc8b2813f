//! The token file, read anew at each try, because the kubelet may replace it in between.
//!
//! What is in it goes out verbatim, as official clients send it: a newline at the end is not trimmed but named. Text that
//! would not be a JWT even without the white space around it is refused here, since no cloud can make anything of it.

use cwii_checks::facts::{Cause, PresentedToken, TokenProblem, TokenProblemKind};
use cwii_token::{DecodeError, MAX_TOKEN_BYTES, Token};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    files::{self, FileError},
    run::Run,
};

/// Reads a file that holds a JWT and records what was in it.
///
/// # Errors
///
/// [`Cause::Token`] for a file that cannot be read or holds no JWT.
pub(crate) fn read_jwt(run: &mut Run<'_>, path: &str) -> Result<SecretString, Cause> {
    let text = read(path)?;
    present_jwt(run, path, text)
}

/// Records a JWT that was found in the file at `path` and returns what to send.
///
/// # Errors
///
/// [`Cause::Token`] for text that is no JWT.
pub(crate) fn present_jwt(
    run: &mut Run<'_>,
    path: &str,
    text: SecretString,
) -> Result<SecretString, Cause> {
    match present(run, path, &text) {
        None | Some(DecodeError::SurroundingWhitespace { .. }) => Ok(text),
        Some(error) => Err(problem(
            path,
            TokenProblemKind::Malformed,
            error.to_string(),
        )),
    }
}

/// Records a token that need not be a JWT, and returns why it is none.
pub(crate) fn present(run: &mut Run<'_>, path: &str, text: &SecretString) -> Option<DecodeError> {
    let exposed = text.expose_secret();
    let token = Token::decode(exposed);
    let error = token.as_ref().err().cloned();
    let trimmed = match error {
        Some(DecodeError::SurroundingWhitespace { .. }) => Token::decode_trimmed(exposed).ok(),
        _ => None,
    };
    run.token = Some(PresentedToken {
        path: path.to_owned(),
        bytes: exposed.len() as u64,
        token,
        trimmed,
    });
    error
}

/// The content of a token file, verbatim.
///
/// # Errors
///
/// [`Cause::Token`] for a file that cannot be read, or is empty, or too large, or not text.
pub(crate) fn read(path: &str) -> Result<SecretString, Cause> {
    let bytes = files::read(path, MAX_TOKEN_BYTES as u64).map_err(|error| {
        let kind = match error {
            FileError::Missing => TokenProblemKind::Missing,
            FileError::Forbidden => TokenProblemKind::Forbidden,
            FileError::Directory | FileError::Special => TokenProblemKind::NotAFile,
            FileError::TooLarge { .. } => TokenProblemKind::TooLarge,
            FileError::Other(_) => TokenProblemKind::Unreadable,
        };
        problem(path, kind, error.describe(path))
    })?;
    if bytes.is_empty() {
        return Err(problem(path, TokenProblemKind::Empty, "it is empty"));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        problem(
            path,
            TokenProblemKind::Binary,
            "it holds bytes that are no text, expected a JWT",
        )
    })?;
    if text.trim().is_empty() {
        return Err(problem(
            path,
            TokenProblemKind::Empty,
            "it holds nothing but white space",
        ));
    }
    if text.contains('\0') {
        return Err(problem(
            path,
            TokenProblemKind::Binary,
            "it holds NUL bytes, expected a JWT",
        ));
    }
    Ok(text.into())
}

/// A token problem as the cause of a failure.
pub(crate) fn problem(path: &str, kind: TokenProblemKind, problem: impl Into<String>) -> Cause {
    Cause::Token(TokenProblem {
        path: path.to_owned(),
        problem: problem.into(),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn kind(path: &str) -> TokenProblemKind {
        match read(path).unwrap_err() {
            Cause::Token(problem) => problem.kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_that_cannot_hold_a_token_is_named_by_kind() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        assert_eq!(
            kind(dir.path().to_str().unwrap()),
            TokenProblemKind::NotAFile
        );
        assert_eq!(kind("/dev/null"), TokenProblemKind::NotAFile);
        assert_eq!(kind(&path("empty", b"")), TokenProblemKind::Empty);
        assert_eq!(kind(&path("blank", b" \n")), TokenProblemKind::Empty);
        assert_eq!(kind(&path("binary", b"\xff\xfe")), TokenProblemKind::Binary);
        assert_eq!(kind(&path("nul", b"a\0b")), TokenProblemKind::Binary);
        assert_eq!(
            kind(&path("large", &vec![b'a'; MAX_TOKEN_BYTES + 1])),
            TokenProblemKind::TooLarge
        );
        assert_eq!(
            kind(&path("x", b"x").replace("/x", "/x/token")),
            TokenProblemKind::Missing
        );
    }

    #[test]
    fn a_missing_volume_is_told_from_a_missing_file() {
        let Cause::Token(problem) = read("/nonexistent/aws/token").unwrap_err() else {
            panic!("no token problem");
        };
        assert_eq!(problem.kind, TokenProblemKind::Missing);
        assert!(
            problem.problem.contains("/nonexistent/aws"),
            "{}",
            problem.problem
        );
    }
}
