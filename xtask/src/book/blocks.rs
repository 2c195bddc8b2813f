//! What stands in the documentation is run as printed.
//!
//! A page is one session: its ```` ```console ```` blocks run in order, in one directory that begins as a copy of the
//! checkout, with the programs on `PATH`, an empty home, and a network that ends at loopback. Attributes of a block:
//!
//! - `exit=N`: its last command ends with N, not 0;
//! - `serve=FILE`: it does not end; the next block runs once FILE has content, and it is stopped after the last;
//! - `cluster`: it wants a cluster; its lines go through the programs' parsers like those of ```` ```sh ````.
//!
//! A ```` ```text,output ```` block is what the block before it prints, both streams, as one sees them. A line `[…]` in it
//! stands for any lines, `[…]` within a line for any text; with the attribute `roughly`, numbers and white space may differ,
//! for times and ports.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::markdown::{Fence, fences};
use crate::{process, static_build};

/// A page that is looked at.
pub(super) struct Page {
    /// From the root of the project.
    pub(super) path: String,
    /// What is in it.
    pub(super) text: String,
}

/// Blocks that are not run here, by how they begin, with the reason.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cargo test ", "the gate runs the tests"),
    ("cargo xtask ", "the gate runs these tasks"),
    (
        "e2e/control-plane/build ",
        "the gate builds the control plane",
    ),
    ("go install ", "it fetches a tool from the Internet"),
];

/// The languages that blocks may have: one that is misspelt would not be run.
const LANGUAGES: [&str; 14] = [
    "", "console", "csv", "dot", "go", "hcl", "html", "ini", "json", "promql", "sh", "text",
    "toml", "yaml",
];

/// The programs, and where they run.
pub(super) struct Runner {
    checkout: PathBuf,
    scratch: tempfile::TempDir,
    bin: PathBuf,
}

/// What came of a page.
#[derive(Default)]
pub(super) struct Ran {
    /// Blocks that ran.
    pub(super) blocks: usize,
    /// Blocks whose output was compared.
    pub(super) compared: usize,
    /// Blocks that run elsewhere.
    pub(super) elsewhere: usize,
}

impl Runner {
    /// Gathers the programs, and builds those that nobody built: `CWII_E2E_BINARIES` names a folder that has them.
    pub(super) fn new(checkout: &Path, helm: Option<&Path>) -> Result<Self> {
        let built = match env::var_os("CWII_E2E_BINARIES") {
            Some(folder) => PathBuf::from(folder),
            None => build(checkout)?,
        };
        let scratch = tempfile::tempdir()?;
        let bin = scratch.path().join("bin");
        fs::create_dir(&bin)?;
        fs::create_dir(scratch.path().join("home"))?;
        let link = |from: &Path, name: &str| -> Result<()> {
            if !from.is_file() {
                bail!("{} is missing", from.display());
            }
            std::os::unix::fs::symlink(fs::canonicalize(from)?, bin.join(name))
                .with_context(|| name.to_owned())
        };
        for (binary, name) in [
            ("kubectl-cwii", "kubectl-cwii"),
            ("kubectl-cwii", "cwii"),
            ("cwii-agent", "cwii-agent"),
            ("cwii-webhook", "cwii-webhook"),
        ] {
            link(&built.join(binary), name)?;
        }
        let kubectl = env::var_os("KUBEBUILDER_ASSETS")
            .map(|folder| PathBuf::from(folder).join("kubectl"))
            .filter(|path| path.is_file())
            .or_else(|| process::find("kubectl"));
        match kubectl {
            Some(kubectl) => link(&kubectl, "kubectl")?,
            None => println!(
                "kubectl is not there (KUBEBUILDER_ASSETS): `kubectl cwii` runs without it"
            ),
        }
        if let Some(helm) = helm {
            link(helm, "helm")?;
        }
        if !bin.join("kubectl").exists() {
            // What kubectl does with a plugin, and no more.
            let shim = "#!/bin/sh\n[ \"$1\" = cwii ] || { echo 'no kubectl here' >&2; exit 1; }\nshift\nexec kubectl-cwii \"$@\"\n";
            let path = bin.join("kubectl");
            fs::write(&path, shim)?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        Ok(Self {
            checkout: checkout.to_owned(),
            scratch,
            bin,
        })
    }

    /// Runs a page, and says what is not as it says.
    pub(super) fn run(&self, page: &Page, problems: &mut Vec<String>) -> Result<Ran> {
        let fences = fences(&page.text);
        let mut ran = Ran::default();
        let mut blocks: Vec<(&Fence, Option<&Fence>)> = Vec::new();
        for (index, fence) in fences.iter().enumerate() {
            if !LANGUAGES.contains(&fence.language.as_str()) {
                problems.push(format!(
                    "{}:{}: `{}` is no language that is known here",
                    page.path, fence.line, fence.language
                ));
            }
            if fence.language == "console" && !fence.is("cluster") {
                if is_elsewhere(&fence.content) {
                    ran.elsewhere += 1;
                    continue;
                }
                let output = fences
                    .get(index + 1)
                    .filter(|next| next.language == "text" && next.is("output"));
                blocks.push((fence, output));
            }
        }
        if blocks.is_empty() {
            return Ok(ran);
        }
        let state = tempfile::tempdir_in(self.scratch.path())?;
        let results = self.session(page, &blocks, state.path())?;
        for (index, (fence, expected)) in blocks.iter().enumerate() {
            let place = format!("{}:{}", page.path, fence.line);
            let Some((code, output)) = results.get(index) else {
                problems.push(format!(
                    "{place}: it did not run, since an earlier one did not end"
                ));
                continue;
            };
            ran.blocks += 1;
            let wanted = fence.value("exit").unwrap_or("0");
            if code != wanted {
                problems.push(format!(
                    "{place}: ended with {code}, expected {wanted}\n{}",
                    indented(output)
                ));
            } else if let Some(expected) = expected {
                ran.compared += 1;
                if let Err(difference) = compare(&expected.content, output, expected.is("roughly"))
                {
                    problems.push(format!(
                        "{}:{}: {difference}\n  it printed:\n{}",
                        page.path,
                        expected.line,
                        indented(output)
                    ));
                }
            }
        }
        Ok(ran)
    }

    /// Runs the blocks in one session: exit code and output of each that ran.
    fn session(
        &self,
        page: &Page,
        blocks: &[(&Fence, Option<&Fence>)],
        state: &Path,
    ) -> Result<Vec<(String, String)>> {
        // What speaks of building is about the checkout itself, and need not be built a second time.
        let in_place = blocks.iter().any(|(f, _)| f.content.contains("cargo run"));
        let place = if in_place {
            self.checkout.clone()
        } else {
            let place = state.join("cwii");
            copy(&self.checkout, &place)?;
            place
        };
        fs::write(state.join("cwd"), format!("{}\n", place.display()))?;
        fs::write(state.join("env"), "")?;
        let mut driver = String::from("ip link set lo up 2>/dev/null\n");
        for (index, (fence, _)) in blocks.iter().enumerate() {
            fs::write(state.join(format!("{index}.sh")), &fence.content)?;
            let block = format!(
                "bash -c 'S=$1; . \"$S/env\"; cd \"$(cat \"$S/cwd\")\"; \
                 trap '\\''export -p > \"$S/env\"; pwd > \"$S/cwd\"'\\'' EXIT; set -e -o pipefail; . \"$S/{index}.sh\"' \
                 bash \"$S\" > \"$S/{index}.out\" 2>&1"
            );
            match fence.value("serve") {
                None => driver.push_str(&format!("{block}; echo $? > \"$S/{index}.rc\"\n")),
                Some(file) => driver.push_str(&format!(
                    "{block} &\nfor i in $(seq 600); do [ -s \"$(cat \"$S/cwd\")/{file}\" ] && {{ echo 0 > \"$S/{index}.rc\"; break; }}; sleep 0.1; done\n"
                )),
            }
        }
        let home = env::var_os("HOME").unwrap_or_else(|| "/".into());
        let cargo = |variable: &str, folder: &str| -> OsString {
            env::var_os(variable).unwrap_or_else(|| Path::new(&home).join(folder).into())
        };
        let mut path = OsString::from(&self.bin);
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        // Everything ends with the session, servers included, and no address but loopback's can be reached.
        let mut command = Command::new("timeout");
        command.args([
            "--kill-after=5",
            "900",
            "unshare",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
        ]);
        if !nix::unistd::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        let status = command
            .args(["bash", "-c", "S=$1; . \"$S/driver\"", "bash"])
            .arg(state)
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.scratch.path().join("home"))
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("CARGO_HOME", cargo("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", cargo("RUSTUP_HOME", ".rustup"))
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TERM_QUIET", "true")
            .envs(env::var_os("CARGO_TARGET_DIR").map(|dir| ("CARGO_TARGET_DIR", dir)))
            .envs(env::var_os("RUSTUP_TOOLCHAIN").map(|name| ("RUSTUP_TOOLCHAIN", name)))
            .stdin(Stdio::null());
        fs::write(state.join("driver"), driver)?;
        let status = status
            .status()
            .context("`unshare` (util-linux) cannot be started")?;
        let mut results = Vec::new();
        for index in 0..blocks.len() {
            let Ok(code) = fs::read_to_string(state.join(format!("{index}.rc"))) else {
                break;
            };
            let output = fs::read(state.join(format!("{index}.out"))).unwrap_or_default();
            results.push((
                code.trim().to_owned(),
                String::from_utf8_lossy(&output).into_owned(),
            ));
        }
        if results.is_empty() {
            bail!("{}: the session ended with {status}", page.path);
        }
        Ok(results)
    }
}

fn is_elsewhere(block: &str) -> bool {
    block
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .any(|line| ELSEWHERE.iter().any(|(begin, _)| line.starts_with(begin)))
}

/// Builds the programs as they are tested.
fn build(checkout: &Path) -> Result<PathBuf> {
    process::output(
        Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(checkout)
            .args(["build", "--quiet", "--locked"])
            .args([
                "-p",
                "cwii-agent",
                "-p",
                "cwii-webhook",
                "-p",
                "kubectl-cwii",
            ]),
    )?;
    Ok(static_build::target()?.join("debug"))
}

/// Copies what git knows of, and what is new.
fn copy(checkout: &Path, to: &Path) -> Result<()> {
    let listed = process::output(Command::new("git").current_dir(checkout).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let (from, to) = (checkout.join(path), to.join(path));
        // Deleted and not yet committed.
        if !from.is_file() {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(&from, &to).with_context(|| path.to_owned())?;
    }
    Ok(())
}

/// Stands for anything.
const ANYTHING: &str = "[…]";

/// Compares a transcript with what was printed.
fn compare(expected: &str, found: &str, roughly: bool) -> Result<(), String> {
    let plain = |line: &str| {
        if roughly {
            rough(line)
        } else {
            line.trim_end().to_owned()
        }
    };
    let lines = |text: &str| -> Vec<String> {
        text.trim_matches('\n')
            .trim_end()
            .lines()
            .map(plain)
            .collect()
    };
    let (expected, found) = (lines(expected), lines(found));
    let mut at = 0;
    let mut anywhere = false;
    for wanted in &expected {
        if wanted.trim() == ANYTHING {
            anywhere = true;
            continue;
        }
        let rest = found.get(at..).unwrap_or_default();
        // An empty line after an elision says nothing of where to go on.
        if anywhere && wanted.is_empty() {
            continue;
        }
        let next = if anywhere {
            rest.iter().position(|line| matches(wanted, line))
        } else {
            rest.first().filter(|line| matches(wanted, line)).map(|_| 0)
        };
        let Some(next) = next else {
            return Err(match rest.first() {
                Some(line) if !anywhere => format!("expected `{wanted}`, found `{line}`"),
                _ => format!("expected `{wanted}`, which does not come"),
            });
        };
        at += next + 1;
        anywhere = false;
    }
    match found.get(at) {
        Some(line) if !anywhere => Err(format!("it goes on with `{line}`")),
        _ => Ok(()),
    }
}

/// Whether a line is what was wanted, with `[…]` for any text.
fn matches(wanted: &str, line: &str) -> bool {
    let mut pieces = wanted.split(ANYTHING);
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, between)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in between {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A line without what differs from run to run: each number is one `0`, each white space one space.
fn rough(line: &str) -> String {
    let mut out = String::new();
    for c in line.trim().chars() {
        let c = match c {
            c if c.is_ascii_digit() => '0',
            c if c.is_whitespace() => ' ',
            c => c,
        };
        if !(matches!(c, '0' | ' ') && out.ends_with(c)) {
            out.push(c);
        }
    }
    out
}

fn indented(text: &str) -> String {
    const MOST: usize = 60;
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(MOST);
    lines
        .iter()
        .skip(skipped)
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_may_leave_out_lines_and_parts_of_lines() {
        let found = "a\nb\nc 12 ms\nd\n";
        assert_eq!(compare("a\nb\nc 12 ms\nd", found, false), Ok(()));
        assert_eq!(compare("a\n[…]\nd", found, false), Ok(()));
        assert_eq!(compare("[…]\nc […] ms\n[…]", found, false), Ok(()));
        assert_eq!(compare("a\nb\nc  7 ms\nd", found, true), Ok(()));
        assert!(compare("a\nb\nc 7 ms\nd", found, false).is_err());
        assert!(compare("a\nb\n", found, false).is_err());
        assert!(compare("a\n[…]\nx", found, false).is_err());
        assert!(compare("b\n[…]", found, false).is_err());
    }

    #[test]
    fn numbers_are_alike_only_where_it_says_so() {
        assert_eq!(rough("x  12.5 ms "), "x 0.0 ms");
        assert!(matches("a[…]c", "abc") && !matches("a[…]c", "abd") && !matches("a", "ab"));
    }
}
