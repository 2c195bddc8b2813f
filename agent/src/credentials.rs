//! `write-gcp-credentials`: the init container that puts Google's credentials document into the pod.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cwii_contract::{ExternalAccount, env, external_account::ExternalAccountError};

/// Why the document was not written.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The variable is not set, or empty.
    NotSet,
    /// The variable does not hold a document that the SDKs can follow.
    Invalid(ExternalAccountError),
    /// The file could not be written; nothing is left behind.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSet => write!(
                f,
                "{} is not set: expected Google's credentials document in it",
                env::CWII_GCP_CREDS_JSON
            ),
            Self::Invalid(error) => write!(f, "{}: {error}", env::CWII_GCP_CREDS_JSON),
            Self::Io { path, error } => {
                write!(f, "{} could not be written: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for WriteError {}

/// Checks the document and writes it whole or not at all, mode 0444: readers never see half of it, and nobody needs to
/// write it again.
///
/// # Errors
///
/// See [`WriteError`].
pub fn write(document: Option<&str>, path: &Path) -> Result<ExternalAccount, WriteError> {
    let document = document
        .filter(|d| !d.trim().is_empty())
        .ok_or(WriteError::NotSet)?;
    let account = ExternalAccount::parse(document).map_err(WriteError::Invalid)?;
    let io = |error| WriteError::Io {
        path: path.to_owned(),
        error,
    };
    let name = path.file_name().filter(|_| !path.is_dir()).ok_or_else(|| {
        io(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory, expected a file name",
        ))
    })?;
    // A name beside the target, so that the rename stays within one file system. The process id keeps two writers apart.
    let temporary = path.with_file_name(format!(
        ".{}.{}",
        name.to_string_lossy(),
        std::process::id()
    ));
    let result = (|| {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .open(&temporary)?;
        file.write_all(document.as_bytes())?;
        let mut permissions = file.metadata()?.permissions();
        read_only(&mut permissions);
        file.set_permissions(permissions)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if let Err(error) = result {
        // A file of that name that was there before is not ours to remove.
        if error.kind() != io::ErrorKind::AlreadyExists {
            let _ = std::fs::remove_file(&temporary);
        }
        return Err(io(error));
    }
    Ok(account)
}

#[cfg(unix)]
fn read_only(permissions: &mut std::fs::Permissions) {
    std::os::unix::fs::PermissionsExt::set_mode(permissions, 0o444);
}

#[cfg(not(unix))]
fn read_only(permissions: &mut std::fs::Permissions) {
    permissions.set_readonly(true);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const AUDIENCE: &str =
        "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k";

    fn document() -> String {
        ExternalAccount::document(AUDIENCE, "/var/run/secrets/cwii.dev/gcp/token", None).to_string()
    }

    #[test]
    fn the_document_is_written_whole_and_read_only_and_replaces_an_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.json");
        for _ in 0..2 {
            write(Some(&document()), &path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), document());
            assert_eq!(
                path.metadata().unwrap().permissions().mode() & 0o7777,
                0o444
            );
        }
        assert_eq!(
            dir.path().read_dir().unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn a_bad_document_leaves_an_older_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.json");
        write(Some(&document()), &path).unwrap();
        for bad in [
            None,
            Some(""),
            Some("{"),
            Some(r#"{"type":"service_account","private_key":"canary"}"#),
        ] {
            let error = write(bad, &path).unwrap_err().to_string();
            assert!(
                error.contains("CWII_GCP_CREDS_JSON") && !error.contains("canary"),
                "{error}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), document());
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            dir.path().to_owned(),
            dir.path().join("missing/credentials.json"),
        ] {
            let error = write(Some(&document()), &path).unwrap_err().to_string();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
        }
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }
}
