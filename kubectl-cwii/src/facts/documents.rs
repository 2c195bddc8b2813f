//! Trust documents of `--trust`.

use std::path::PathBuf;

use cwii_checks::facts::Fact;
use cwii_trust::Library;

use crate::{problem::Problem, sources, terminal::Terminal};

/// Reads every file that `--trust` names, directories with all that lies in them.
///
/// # Errors
///
/// A file that was named and is not recognised, and anywhere one that is broken or holds a secret.
pub(crate) fn read(paths: &[PathBuf], terminal: &mut Terminal) -> Result<Fact<Library>, Problem> {
    if paths.is_empty() {
        return Ok(Fact::NotCollected);
    }
    sources::trust(paths, terminal).map(Fact::Known)
}
