//! What people hand over: tokens, key sets, trust documents; from files, standard input, or a public URL.
//!
//! Everything is bounded, and nothing of a token reaches an error.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use cwii_checks::facts::Fact;
use cwii_exchange::{Env, Options};
use cwii_token::{DecodeError, Jwks, Token};
use cwii_trust::{Library, LibraryError};
use jiff::Timestamp;

use crate::{cli::Limit, problem::Problem, terminal::Terminal};

/// A token, and how it was found.
pub(crate) struct GivenToken {
    /// The token, or why it is none.
    pub(crate) token: Result<Token, DecodeError>,
    /// What had to be taken off to get at it.
    pub(crate) surroundings: Option<String>,
    /// Where it came from, for people.
    pub(crate) source: String,
}

/// Reads a token from a file, or from standard input for `-`. White space around it is taken off and told: whoever redirects
/// a command's output gets a line end that no pod's token file has.
pub(crate) fn token(path: &Path) -> Result<GivenToken, Problem> {
    let stdin = path.as_os_str() == "-";
    let source = if stdin {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let bytes = if stdin {
        limited(io::stdin().lock(), TOKEN_LIMIT)
    } else {
        open(path).and_then(|file| limited(file, TOKEN_LIMIT))
    };
    let bytes = bytes.map_err(|error| Problem::new(format!("{source}: {error}")))?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(Problem::new(format!(
            "{source}: expected a token, found bytes that are not text"
        )));
    };
    Ok(from_text(&text, source))
}

/// A token as it was minted or read.
pub(crate) fn from_text(text: &str, source: String) -> GivenToken {
    match Token::decode(text) {
        Err(error @ DecodeError::SurroundingWhitespace { .. }) => GivenToken {
            token: Token::decode_trimmed(text),
            surroundings: Some(error.to_string()),
            source,
        },
        token => GivenToken {
            token,
            surroundings: None,
            source,
        },
    }
}

impl GivenToken {
    /// The token, where there is nothing to say about a text that is none.
    pub(crate) fn decoded(&self) -> Result<&Token, Problem> {
        self.token
            .as_ref()
            .map_err(|error| Problem::new(format!("{}: {error}", self.source)))
    }
}

/// A key set, or why there is none.
pub(crate) enum GivenKeys {
    /// The keys and where they came from.
    Known(Jwks, String),
    /// They could not be fetched; the sentence says why.
    Unavailable(String),
}

/// Reads keys from a file or an https URL.
pub(crate) async fn keys(source: &str, limit: Limit) -> Result<GivenKeys, Problem> {
    if source.contains("://") {
        let fact = cwii_exchange::jwks(source, &environment(), &options(limit)).await;
        return match fact {
            Fact::Known(jwks) => Ok(GivenKeys::Known(jwks, source.to_owned())),
            fact => Ok(GivenKeys::Unavailable(format!(
                "{source}: {}",
                describe(&fact)
            ))),
        };
    }
    let path = Path::new(source);
    let bytes = open(path)
        .and_then(|file| limited(file, DOCUMENT_LIMIT))
        .map_err(|error| Problem::new(format!("{source}: {error}")))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    match Jwks::parse(bytes) {
        Ok(jwks) => Ok(GivenKeys::Known(jwks, source.to_owned())),
        Err(error) => Err(Problem::new(format!("{source}: {error}"))),
    }
}

/// Reads trust documents. A file that was named must be one; one that lies in a directory and is something else is passed over
/// with a line on standard error.
///
/// # Errors
///
/// A file that cannot be read, that was named and is no trust document, or that is a broken one.
pub(crate) fn trust(paths: &[PathBuf], terminal: &mut Terminal) -> Result<Library, Problem> {
    let mut library = Library::default();
    for path in paths {
        let metadata = fs::metadata(path)
            .map_err(|error| Problem::new(format!("{}: {}", path.display(), words(&error))))?;
        if metadata.is_dir() {
            for file in files_in(path)? {
                match read_document(&mut library, &file) {
                    Ok(()) => {}
                    Err(Unread::Library(error)) if error.is_something_else() => {
                        terminal.note(&format!("passed over {error}"));
                    }
                    Err(Unread::TooLarge(text)) => terminal.note(&format!("passed over {text}")),
                    Err(error) => return Err(error.into()),
                }
            }
        } else {
            read_document(&mut library, path)?;
        }
    }
    Ok(library)
}

enum Unread {
    Library(LibraryError),
    TooLarge(String),
    File(String),
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Library(error) => Self::new(error.to_string()),
            Unread::TooLarge(text) | Unread::File(text) => Self::new(text),
        }
    }
}

fn read_document(library: &mut Library, path: &Path) -> Result<(), Unread> {
    let name = path.display().to_string();
    let bytes = match open(path).and_then(|file| limited(file, DOCUMENT_LIMIT)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(Unread::TooLarge(format!("{name}: {error}")));
        }
        Err(error) => return Err(Unread::File(format!("{name}: {}", words(&error)))),
    };
    library
        .parse(&name, &bytes)
        .map(|_| ())
        .map_err(Unread::Library)
}

/// The files of a directory and of those below it, in order of their names. Hidden ones, which editors leave behind, and what
/// is no file (a pipe would never end) are not among them.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, Problem> {
    let mut found = Vec::new();
    let mut waiting = vec![(directory.to_owned(), 0)];
    while let Some((directory, depth)) = waiting.pop() {
        let entries = fs::read_dir(&directory)
            .map_err(|error| Problem::new(format!("{}: {}", directory.display(), words(&error))))?;
        for entry in entries {
            let entry = entry.map_err(|error| {
                Problem::new(format!("{}: {}", directory.display(), words(&error)))
            })?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            // Through links, which are how a ConfigMap's files are mounted; a loop of them ends with the depth.
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() && depth < MAX_DEPTH => {
                    waiting.push((path, depth + 1));
                }
                Ok(metadata) if metadata.is_file() => found.push(path),
                _ => {}
            }
        }
        if found.len() > MAX_FILES {
            return Err(Problem::new(format!(
                "{}: expected at most {MAX_FILES} files",
                directory.display()
            )));
        }
    }
    found.sort();
    Ok(found)
}

/// Opens what is a file; opening a pipe that nobody writes to would wait.
fn open(path: &Path) -> io::Result<File> {
    let metadata =
        fs::metadata(path).map_err(|error| io::Error::new(error.kind(), words(&error)))?;
    if metadata.is_dir() {
        return Err(io::Error::other("expected a file, found a directory"));
    }
    File::open(path).map_err(|error| io::Error::new(error.kind(), words(&error)))
}

fn limited(from: impl io::Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| io::Error::new(error.kind(), words(&error)))?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("expected at most {} MiB, found more", limit >> 20),
        ));
    }
    Ok(bytes)
}

/// What the system says, without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "cannot be read".to_owned(),
    }
}

/// Why a fact is not known.
pub(crate) fn describe<T>(fact: &Fact<T>) -> String {
    match fact {
        Fact::Known(_) => "found".to_owned(),
        Fact::Absent => "not there (status 404)".to_owned(),
        Fact::Denied(text) => format!("denied ({text})"),
        Fact::Unreachable(text) => text.clone(),
        Fact::TimedOut => "no answer in time".to_owned(),
        Fact::Invalid(text) => text.clone(),
        Fact::NotCollected => "not looked at".to_owned(),
    }
}

/// The variables of this process, for proxies and certificate bundles.
pub(crate) fn environment() -> Env {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Options of a fetch from outside, of no token and of nothing that is secret.
pub(crate) fn options(limit: Limit) -> Options {
    Options::new(
        limit.0.unwrap_or(FETCH_TIMEOUT).min(FETCH_TIMEOUT),
        Timestamp::now,
    )
}

/// No token comes near it; a file beyond it is something else.
const TOKEN_LIMIT: u64 = 16 << 20;
/// States of Terraform grow large.
const DOCUMENT_LIMIT: u64 = 64 << 20;
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 10_000;
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
