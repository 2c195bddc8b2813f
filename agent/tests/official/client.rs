//! One interpreter per client, which takes any number of jobs.

use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use cwii_contract::{Outcome, Provider};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A running client; it ends with this value.
pub(crate) struct Client {
    child: Child,
    jobs: ChildStdin,
    verdicts: BufReader<ChildStdout>,
}

/// What the client is to do with a workload's environment.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// How long it waits for a connection or an answer.
    pub(crate) timeout: Duration,
    /// How often it tries, where it can be told; none: as often as it does by itself.
    pub(crate) attempts: Option<u32>,
}

#[derive(Serialize)]
struct Job<'a> {
    env: &'a BTreeMap<String, String>,
    timeout: f64,
    attempts: Option<u32>,
    deadline: u64,
}

/// What the client made of it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Verdict {
    #[serde(rename = "verdict")]
    pub(crate) outcome: Outcome,
    #[serde(default)]
    pub(crate) code: Option<String>,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) identity: BTreeMap<String, Value>,
}

impl Verdict {
    /// In what this verdict is another than the client's, in a few words.
    pub(crate) fn differs_from(&self, client: &Self) -> Option<String> {
        if self.outcome != client.outcome {
            return Some("other verdicts".to_owned());
        }
        match self.outcome {
            Outcome::Verified => client.identity.iter().find_map(|(name, theirs)| {
                let ours = self.identity.get(name).map(Value::to_string);
                let same = ours.map(|ours| gist(&ours)) == Some(gist(&theirs.to_string()));
                (!same).then(|| format!("another `{name}`"))
            }),
            // Without an answer there is no code, and each describes the trouble in its own words.
            Outcome::Denied if self.code != client.code => Some("other codes".to_owned()),
            Outcome::Denied => {
                let text = |verdict: &Self| gist(verdict.message.as_deref().unwrap_or_default());
                // The agent adds the reason that a Google API gives beside its text.
                (!text(self).starts_with(&text(client))).then(|| "other texts".to_owned())
            }
            Outcome::Unreachable if self.code.is_some() && client.code.is_some() => {
                (self.code != client.code).then(|| "other codes".to_owned())
            }
            _ => None,
        }
    }
}

/// A text of a cloud without what differs from request to request: ids, times, and session names that a client makes up.
fn gist(text: &str) -> String {
    let text = text.split("Trace ID:").next().unwrap_or_default();
    let text = text.replace("botocore-session-", "cwii-verify-");
    let mut gist = String::new();
    let mut rest = text.trim();
    while let Some(c) = rest.chars().next() {
        let length = if rest.get(..36).is_some_and(is_uuid) {
            36
        } else {
            c.len_utf8()
        };
        gist.push(if length == 36 || c.is_ascii_digit() {
            '#'
        } else {
            c
        });
        rest = &rest[length..];
    }
    gist
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outcome.as_str())?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        for (name, value) in &self.identity {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

impl Client {
    /// Starts the official client of a cloud.
    pub(crate) fn start(interpreter: &Path, provider: Provider) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/official");
        let script = folder.join(format!("{}.py", provider.as_str()));
        let mut child = Command::new(interpreter)
            .arg("-B")
            .arg(script)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let jobs = child.stdin.take().unwrap();
        let verdicts = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            jobs,
            verdicts,
        }
    }

    /// Lets the client federate; the text beside the verdict is all that it said.
    pub(crate) fn verify(
        &mut self,
        env: &BTreeMap<String, String>,
        patience: Patience,
    ) -> (Verdict, String) {
        let job = Job {
            env,
            timeout: patience.timeout.as_secs_f64(),
            attempts: patience.attempts,
            deadline: 30,
        };
        let line = serde_json::to_string(&job).unwrap();
        writeln!(self.jobs, "{line}").unwrap();
        self.jobs.flush().unwrap();
        let mut said = String::new();
        self.verdicts.read_line(&mut said).unwrap();
        let verdict = serde_json::from_str(&said)
            .unwrap_or_else(|e| panic!("the client ended or did not answer in JSON: {e}"));
        (verdict, said)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
