//! Reading files that somebody else wrote, without being held up or filled up by them.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _},
};

/// Why a file was not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FileError {
    /// Nothing is there.
    Missing,
    /// This user may not read it.
    Forbidden,
    /// A directory.
    Directory,
    /// A device, a pipe, a socket.
    Special,
    /// More bytes than the caller takes; none where it grew while it was read.
    TooLarge { bytes: Option<u64> },
    /// Another failure of the operating system.
    Other(ErrorKind),
}

impl FileError {
    /// What is wrong, for a sentence that has named the path.
    pub(crate) fn describe(self, path: &str) -> String {
        match self {
            Self::Missing => match missing_parent(path) {
                Some(parent) => format!("there is no such file: `{parent}` does not exist either"),
                None => "there is no such file".into(),
            },
            Self::Forbidden => format!("it may not be read{}", who_asks(path)),
            Self::Directory => "it is a directory, expected a file".into(),
            Self::Special => "it is neither a file nor a directory, expected a file".into(),
            Self::TooLarge { bytes: Some(bytes) } => {
                format!("it holds {bytes} bytes, more than can be right")
            }
            Self::TooLarge { bytes: None } => "it holds more than can be right".into(),
            Self::Other(kind) => format!("it cannot be read: {kind}"),
        }
    }
}

/// The bytes of a regular file of at most `limit` bytes. Links are followed; a pipe is not waited for.
pub(crate) fn read(path: &str, limit: u64) -> Result<Vec<u8>, FileError> {
    let metadata = fs::metadata(path).map_err(error)?;
    if metadata.is_dir() {
        return Err(FileError::Directory);
    }
    if !metadata.is_file() {
        return Err(FileError::Special);
    }
    if metadata.len() > limit {
        return Err(FileError::TooLarge {
            bytes: Some(metadata.len()),
        });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(error)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { bytes: None });
    }
    Ok(bytes)
}

fn error(error: std::io::Error) -> FileError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => FileError::Missing,
        ErrorKind::PermissionDenied => FileError::Forbidden,
        kind => FileError::Other(kind),
    }
}

/// The nearest directory above `path` that does not exist: a volume that was never mounted shows here.
fn missing_parent(path: &str) -> Option<String> {
    let parent = std::path::Path::new(path).parent()?;
    let gone = parent != std::path::Path::new("") && fs::symlink_metadata(parent).is_err();
    gone.then(|| parent.display().to_string())
}

#[cfg(unix)]
fn who_asks(path: &str) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(me) = fs::metadata("/proc/self") else {
        return String::new();
    };
    let file = fs::metadata(path)
        .map(|m| {
            format!(
                ": its mode is {:04o} and its owner {}:{}",
                m.mode() & 0o7777,
                m.uid(),
                m.gid()
            )
        })
        .unwrap_or_default();
    format!(" by user {} of group {}{file}", me.uid(), me.gid())
}

#[cfg(not(unix))]
fn who_asks(_path: &str) -> String {
    String::new()
}
