//! The clients in a virtual environment of their own, made once per set of versions and kept outside the checkout.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// What is installed. What these depend on is the newest that they accept, as in an application's image.
pub(crate) const PACKAGES: [&str; 3] = [
    "botocore==1.44.5",
    "google-auth[requests]==2.62.2",
    "azure-identity==1.27.0",
];

/// The interpreter that has the clients, or in one line why there is none.
pub(crate) fn interpreter() -> Result<&'static Path, &'static str> {
    static INTERPRETER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    INTERPRETER
        .get_or_init(|| {
            let place = cache().join(name(&python_version()?));
            if !interpreter_in(&place).exists() {
                install(&place)?;
            }
            Ok(interpreter_in(&place))
        })
        .as_deref()
        .map_err(String::as_str)
}

/// Where environments are kept: `CWII_TEST_CACHE`, else the user's cache folder, else the folder for temporary files.
fn cache() -> PathBuf {
    let folder = |name: &str| {
        env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    folder("CWII_TEST_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("cwii-tests")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/cwii-tests")))
        .unwrap_or_else(|| env::temp_dir().join("cwii-tests"))
}

fn name(python: &str) -> String {
    let packages: String = PACKAGES.join("-");
    format!("python-{python}-{packages}")
        .replace("==", "-")
        .replace("[requests]", "")
}

fn interpreter_in(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

fn python_version() -> Result<String, String> {
    let mut command = python(Path::new("python3"));
    command.args([
        "-c",
        "import ensurepip, sys, venv; print('%d.%d.%d' % sys.version_info[:3])",
    ]);
    run(&mut command, "python3 with venv and ensurepip").map(|version| version.trim().to_owned())
}

/// Builds beside the place and moves there, so that nobody ever finds half an installation, and of two processes that
/// build at once the second throws its own away.
fn install(place: &Path) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", place.display());
    let folder = place.parent().unwrap_or(place);
    fs::create_dir_all(folder).map_err(failed)?;
    let draft = tempfile::Builder::new()
        .prefix(".draft-")
        .tempdir_in(folder)
        .map_err(failed)?;
    let environment = draft.path().join("environment");
    run(
        python(Path::new("python3"))
            .args(["-m", "venv"])
            .arg(&environment),
        "virtual environment of Python",
    )?;
    run(
        python(&interpreter_in(&environment))
            .args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--retries=1", "--timeout=15"])
            .args(PACKAGES),
        "installation from the package registry",
    )?;
    if place.exists() && !interpreter_in(place).exists() {
        // Its Python was removed from the machine since.
        fs::remove_dir_all(place).map_err(failed)?;
    }
    // The scripts in `bin` name the draft's path; the interpreter finds its packages wherever it lies.
    match fs::rename(&environment, place) {
        Err(e) if !interpreter_in(place).exists() => Err(failed(e)),
        _ => Ok(()),
    }
}

fn python(interpreter: &Path) -> Command {
    let mut command = Command::new(interpreter);
    command.env_remove("PYTHONHOME").env_remove("PYTHONPATH");
    command
}

/// Runs a command to its end and gives its output; the error is one line.
fn run(command: &mut Command, need: &str) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("no {need}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(format!(
        "no {need}: {}",
        last.unwrap_or("no explanation").trim()
    ))
}
