//! Running the binary, and what it left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cwii_contract::{Provider, VerifyResult, names};
use cwii_exchange::{Env, Options};
use cwii_lab::{Lab, Workload};
use jiff::Timestamp;

/// A lab on free ports. All of this process sign with the same keys: making an RSA key takes a moment.
pub(crate) fn lab() -> Lab {
    static KEYS: OnceLock<cwii_lab::Keys> = OnceLock::new();
    let lab = Lab::start(cwii_lab::Options {
        keys: KEYS.get().cloned(),
        ..Default::default()
    })
    .unwrap();
    KEYS.get_or_init(|| lab.keys());
    lab
}

/// The agent library in this process.
pub(crate) fn verify(workload: &Workload, timeout: Duration) -> cwii_agent::Verification {
    let env: Env = workload
        .env
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut options = Options::new(timeout, Timestamp::now);
    options
        .allow_endpoints
        .clone_from(&workload.allow_endpoints);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(cwii_agent::verify(workload.provider, &env, &options))
}

/// The agent binary, about to run.
#[derive(Debug)]
pub(crate) struct Agent {
    arguments: Vec<String>,
    env: BTreeMap<String, String>,
    files: tempfile::TempDir,
    termination_log: PathBuf,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code; none when a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The termination message; empty when none was written.
    pub(crate) message: String,
    pub(crate) took: Duration,
}

impl Agent {
    /// `cwii-agent` with these arguments, in an empty environment.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let termination_log = files.path().join("termination-log");
        std::fs::write(&termination_log, "").unwrap();
        Self {
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
            env: BTreeMap::new(),
            files,
            termination_log,
        }
    }

    /// `cwii-agent verify PROVIDER` for a workload of the lab.
    pub(crate) fn verify(workload: &Workload) -> Self {
        let mut agent = Self::new(&["verify", workload.provider.as_str()]);
        agent.env.clone_from(&workload.env);
        for endpoint in &workload.allow_endpoints {
            agent.arguments.push(format!("--allow-endpoint={endpoint}"));
        }
        agent
    }

    /// `cwii-agent verify PROVIDER` in an environment that names nothing.
    pub(crate) fn verify_bare(provider: Provider) -> Self {
        Self::new(&["verify", provider.as_str()])
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("NO_GCE_CHECK", "true")
    }

    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Another place for the termination message.
    pub(crate) fn termination_log(mut self, path: &Path) -> Self {
        self.termination_log = path.to_owned();
        self
    }

    /// A directory that goes with this run.
    pub(crate) fn dir(&self) -> &Path {
        self.files.path()
    }

    /// Starts it.
    pub(crate) fn spawn(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cwii-agent"));
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.env)
            .env("CWII_TERMINATION_LOG", &self.termination_log)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Ran {
        let start = Instant::now();
        let child = self.spawn();
        self.finish(child, start)
    }

    /// Waits for a child of [`Agent::spawn`].
    pub(crate) fn finish(self, child: Child, start: Instant) -> Ran {
        let output = child.wait_with_output().unwrap();
        let message = match self.termination_log.metadata() {
            Ok(metadata) if metadata.is_file() => {
                std::fs::read_to_string(&self.termination_log).unwrap()
            }
            _ => String::new(),
        };
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            message,
            took: start.elapsed(),
        }
    }
}

impl Ran {
    /// The result that the termination message ends with, after checking its form: summary, blank line, one line of
    /// JSON, 4096 bytes at most.
    #[track_caller]
    pub(crate) fn result(&self) -> VerifyResult {
        assert!(
            self.message.len() <= names::TERMINATION_MESSAGE_MAX_BYTES,
            "{} bytes",
            self.message.len()
        );
        let (summary, line) = self
            .message
            .trim_end()
            .rsplit_once("\n\n")
            .expect("summary, blank line, result");
        assert!(
            !summary.trim().is_empty() && !line.contains('\n'),
            "{}",
            self.message
        );
        VerifyResult::from_termination_message(line).expect("the last line is the result")
    }

    /// Asserts the promise of a check that does not enforce and did not pass.
    #[track_caller]
    pub(crate) fn assert_not_enforced(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(
            self.stderr.lines().last(),
            Some(names::NON_ENFORCING_LAST_LINE),
            "{self:?}"
        );
        assert!(self.stderr.ends_with('\n'), "{self:?}");
    }
}
