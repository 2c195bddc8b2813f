//! Trust documents of `--trust`.

use std::{fs, path::PathBuf};

use cwii_checks::facts::Fact;
use cwii_trust::Library;

use super::manifest::files;
use crate::{problem::Problem, terminal::Terminal};

/// Reads every file that `--trust` names, directories with all that lies in them.
///
/// # Errors
///
/// A file that was named and is not recognised, and anywhere one that is broken or holds a secret.
pub(crate) fn read(paths: &[PathBuf], terminal: &mut Terminal) -> Result<Fact<Library>, Problem> {
    if paths.is_empty() {
        return Ok(Fact::NotCollected);
    }
    let mut library = Library::default();
    for path in paths {
        let is_directory = path.is_dir();
        for file in files(path, true, &[])? {
            let name = file.display().to_string();
            let is_hidden = file
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if is_directory && is_hidden {
                continue;
            }
            let bytes = fs::read(&file)
                .map_err(|error| Problem::new(format!("{name} cannot be read: {error}")))?;
            match library.parse(&name, &bytes) {
                Ok(_) => {}
                Err(error) if is_directory && error.is_something_else() => {
                    terminal.note(&format!("{error}; passed over"));
                }
                Err(error) => return Err(Problem::new(error.to_string())),
            }
        }
    }
    Ok(Fact::Known(library))
}
