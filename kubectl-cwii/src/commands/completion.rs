//! `kubectl cwii completion`: scripts for shells, and the file through which kubectl completes plugins.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use clap_complete::{Generator as _, Shell};
#[cfg(unix)]
use std::os::unix::fs::symlink;
// Windows lets those who may, developers and administrators; Krew needs the same right there.
#[cfg(windows)]
use std::os::windows::fs::symlink_file as symlink;

use crate::{
    cli::{self, Program},
    commands::Context,
    exit::ExitStatus,
    problem::{Problem, described},
};

/// Output shell completion code, or install completion for `kubectl cwii`.
///
/// kubectl completes plugins through a program that is called kubectl_complete-cwii and stands in PATH. `install` puts
/// it next to this binary. The scripts complete the binary under its other name, cwii.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Let kubectl complete `kubectl cwii`
  kubectl cwii completion install

  # Let bash complete the binary under its other name
  source <(kubectl cwii completion bash)")]
pub(crate) struct Completion {
    /// bash, zsh, fish, powershell, or install
    #[arg(value_name = "SHELL|install", value_enum, hide_possible_values = true)]
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum What {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Install,
}

pub(crate) fn run(arguments: &Completion, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let shell = match arguments.what {
        What::Bash => Shell::Bash,
        What::Zsh => Shell::Zsh,
        What::Fish => Shell::Fish,
        What::Powershell => Shell::PowerShell,
        What::Install => {
            let installed = install()?;
            context
                .terminal
                .line(&format!("installed {}", installed.display()));
            return Ok(ExitStatus::Success);
        }
    };
    context.terminal.line(script(shell).trim_end());
    Ok(ExitStatus::Success)
}

/// Every script by its file name.
pub(crate) fn scripts() -> Vec<(String, String)> {
    [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell]
        .into_iter()
        .map(|shell| (shell.file_name(Program::Standalone.name()), script(shell)))
        .collect()
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    let mut command = cli::command(Program::Standalone);
    clap_complete::generate(shell, &mut command, Program::Standalone.name(), &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Puts the completer next to the binary as it was called, which under Krew is a link in Krew's own directory. Relative,
/// so that it goes on to lead to the binary when that is replaced.
fn install() -> Result<PathBuf, Problem> {
    let binary = called_as().ok_or_else(|| {
        Problem::new("the place of this program is not known").help("call it by its path")
    })?;
    let directory = binary.parent().unwrap_or(Path::new("."));
    let file = binary.file_name().map(OsString::from).unwrap_or_default();
    let link = directory.join(format!("{COMPLETER}{}", env::consts::EXE_SUFFIX));
    let refused = |error: &io::Error| {
        Problem::new(format!(
            "`{}` could not be written: {}",
            link.display(),
            described(error)
        ))
        .help("put a link of that name to this program into any directory of PATH")
    };
    match fs::symlink_metadata(&link) {
        Ok(found) if !found.is_symlink() => {
            return Err(Problem::new(format!(
                "`{}` is there already and is no link",
                link.display()
            )));
        }
        Ok(_) => fs::remove_file(&link).map_err(|error| refused(&error))?,
        Err(_) => {}
    }
    symlink(&file, &link).map_err(|error| refused(&error))?;
    Ok(link)
}

/// The path that this program was called by: kubectl calls plugins by the path that it found.
fn called_as() -> Option<PathBuf> {
    let name = PathBuf::from(env::args_os().next()?);
    if name.components().count() > 1 {
        return std::path::absolute(name).ok();
    }
    let paths = env::var_os("PATH")?;
    env::split_paths(&paths)
        .map(|directory| directory.join(&name))
        .find(|path| path.is_file())
        .or_else(|| env::current_exe().ok())
}

const COMPLETER: &str = "kubectl_complete-cwii";
