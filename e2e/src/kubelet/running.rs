//! Containers that go on: started, probed, restarted, and ended in time, as the kubelet does it.
//!
//! Source: Kubernetes, "Pod Lifecycle" and "Configure Liveness, Readiness and Startup Probes". Probes are HTTP, without a
//! look at certificates; what ends gets SIGTERM, and SIGKILL when its grace period is over; readiness is asked until the
//! end, so that the endpoint slice controller can tell what still serves.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{BoundPod, program, second, termination_message, text, volumes};
use crate::sandbox::Exit;

/// A container of an image of ours that runs.
pub(super) struct Main {
    /// Which of the pod's containers.
    index: usize,
    /// What the sandbox calls this run.
    number: usize,
    log: PathBuf,
    message_file: PathBuf,
    restarts: u32,
    readiness: Probe,
    liveness: Probe,
    state: State,
}

/// What becomes of a container next.
#[derive(Clone, Copy)]
enum State {
    Runs,
    /// It has ended, and is started again then.
    BacksOff(Instant),
    /// It has ended for good.
    Done,
}

/// How a container that went on ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its pod.
    pub pod: String,
    /// Its name.
    pub container: String,
    /// Its exit code; 137 where it was killed at the end of its grace period.
    pub code: i32,
    /// Whether it ended because its pod was deleted.
    pub asked_to: bool,
    /// What it printed.
    pub log: String,
}

/// One probe of one container.
struct Probe {
    due: Instant,
    failures: u64,
    successes: u64,
}

impl Probe {
    fn new(container: &Value, kind: &str) -> Self {
        let delay = container[kind]["initialDelaySeconds"].as_u64();
        Self {
            due: Instant::now() + Duration::from_secs(delay.unwrap_or_default()),
            failures: 0,
            successes: 0,
        }
    }
}

impl BoundPod {
    /// Starts the containers of images of ours.
    pub(super) async fn start_mains(&mut self) -> Result<()> {
        let containers = self.pod["spec"]["containers"].as_array();
        let containers = containers.cloned().unwrap_or_default();
        for (index, container) in containers.iter().enumerate() {
            if let Some(main) = self.start_main(index, container, 0).await? {
                self.said_to_start(&main, container);
                self.mains.push(main);
            }
        }
        Ok(())
    }

    /// Looks after the containers that run: probes them, starts those again that ended, and keeps their volumes up to
    /// date. The answer is what has ended since.
    ///
    /// # Errors
    ///
    /// The API server's, or the sandbox is gone.
    pub(crate) async fn tend(&mut self, is_ending: bool) -> Result<Vec<Ended>> {
        let mut mains = std::mem::take(&mut self.mains);
        let mut ended = Vec::new();
        let changed = self.tend_all(&mut mains, is_ending, &mut ended).await;
        mains.retain(|main| !matches!(main.state, State::Done));
        self.mains = mains;
        if changed? {
            self.write_status().await?;
        }
        Ok(ended)
    }

    async fn tend_all(
        &mut self,
        mains: &mut [Main],
        is_ending: bool,
        ended: &mut Vec<Ended>,
    ) -> Result<bool> {
        let mut changed = false;
        for main in mains {
            changed |= self.tend_one(main, is_ending, ended).await?;
        }
        Ok(changed)
    }

    /// Keeps ConfigMaps and Secrets that are mounted up to date.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub(crate) async fn refresh(&self) -> Result<()> {
        volumes::refresh(&self.kubelet.api, &self.pod, &self.volumes).await
    }

    /// Ends the pod as its deletion asks for, and takes it off the API server. The answer is how its containers ended.
    ///
    /// # Errors
    ///
    /// The API server's, or the sandbox is gone.
    pub(crate) async fn end(&mut self) -> Result<Vec<Ended>> {
        let grace = self.pod["spec"]["terminationGracePeriodSeconds"].as_u64();
        let deadline = Instant::now() + Duration::from_secs(grace.unwrap_or(30));
        let mut ended = Vec::new();
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if signal == Signal::SIGTERM {
                self.before_the_end(deadline).await?;
            }
            for number in self.numbers() {
                self.in_sandbox(move |s| s.signal(number, signal)).await?;
            }
            while !self.mains.is_empty() && (Instant::now() < deadline || signal == Signal::SIGKILL)
            {
                ended.extend(self.tend(true).await?);
                tokio::time::sleep(POLL).await;
            }
        }
        let network = self.kubelet.plane.network().zip(self.address.as_deref());
        if let Some((network, address)) = network {
            for port in super::ports(&self.pod) {
                // Nobody answers there any more.
                let _ = fs::remove_file(network.pod(address, port));
            }
        }
        self.kubelet.api.delete(&self.object).await?;
        Ok(ended)
    }

    fn numbers(&self) -> Vec<usize> {
        self.mains.iter().map(|m| m.number).collect()
    }

    /// `lifecycle.preStop`, of which only waiting is known here.
    async fn before_the_end(&mut self, deadline: Instant) -> Result<()> {
        let hooks: Vec<Value> = self
            .mains
            .iter()
            .map(|m| self.pod["spec"]["containers"][m.index]["lifecycle"]["preStop"].clone())
            .filter(|hook| !hook.is_null())
            .collect();
        for hook in hooks {
            let seconds = hook["sleep"]["seconds"]
                .as_u64()
                .with_context(|| format!("a hook of another kind: {hook}"))?;
            let until = deadline.min(Instant::now() + Duration::from_secs(seconds));
            while Instant::now() < until {
                self.tend(true).await?;
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    async fn start_main(
        &self,
        index: usize,
        container: &Value,
        restarts: u32,
    ) -> Result<Option<Main>> {
        let Some(program) = program(text(container, "/image"))? else {
            return Ok(None);
        };
        let (order, message_file) = self.order(container, &program)?;
        let log = message_file.with_file_name(format!("{restarts}.log"));
        let to = log.clone();
        let number = self.in_sandbox(move |s| s.set_off(order, to)).await?;
        let name = text(container, "/name");
        self.event("Normal", "Started", "Container started", None)
            .await
            .with_context(|| format!("event of `{name}`"))?;
        Ok(Some(Main {
            index,
            number,
            log,
            message_file,
            restarts,
            readiness: Probe::new(container, READINESS),
            liveness: Probe::new(container, LIVENESS),
            state: State::Runs,
        }))
    }

    fn said_to_start(&mut self, main: &Main, container: &Value) {
        let status = &mut self.pod["status"]["containerStatuses"][main.index];
        status["state"] = json!({ "running": { "startedAt": second(Timestamp::now()) } });
        status["started"] = true.into();
        status["ready"] = container.get(READINESS).is_none().into();
        status["restartCount"] = main.restarts.into();
    }

    /// Whether the pod's status has changed.
    async fn tend_one(
        &mut self,
        main: &mut Main,
        is_ending: bool,
        ended: &mut Vec<Ended>,
    ) -> Result<bool> {
        let container = self.pod["spec"]["containers"][main.index].clone();
        if let State::BacksOff(until) = main.state {
            if is_ending {
                main.state = State::Done;
            }
            if is_ending || Instant::now() < until {
                return Ok(false);
            }
            let restarts = main.restarts + 1;
            if let Some(again) = self.start_main(main.index, &container, restarts).await? {
                *main = again;
            }
            self.said_to_start(main, &container);
            return Ok(true);
        }
        let number = main.number;
        if let Some(code) = self.in_sandbox(move |s| s.ended(number)).await? {
            return self.has_ended(main, &container, code, is_ending, ended);
        }
        let mut changed = false;
        if let Some(holds) = self
            .probe(&container, READINESS, &mut main.readiness)
            .await?
        {
            let ready = &mut self.pod["status"]["containerStatuses"][main.index]["ready"];
            changed = *ready != holds;
            *ready = holds.into();
        }
        if !is_ending && self.probe(&container, LIVENESS, &mut main.liveness).await? == Some(false)
        {
            self.in_sandbox(move |s| s.signal(number, Signal::SIGTERM))
                .await?;
        }
        Ok(changed)
    }

    fn has_ended(
        &mut self,
        main: &mut Main,
        container: &Value,
        code: i32,
        is_ending: bool,
        ended: &mut Vec<Ended>,
    ) -> Result<bool> {
        let name = text(container, "/name").to_owned();
        let log = String::from_utf8_lossy(&fs::read(&main.log)?).into_owned();
        let exit = Exit {
            code,
            stderr: log.clone(),
            ..Exit::default()
        };
        let message = termination_message(container, &main.message_file, &exit)?;
        let status = &mut self.pod["status"]["containerStatuses"][main.index];
        status["ready"] = false.into();
        status["started"] = false.into();
        status["state"] = json!({ "terminated": {
            "exitCode": code,
            "reason": if code == 0 { "Completed" } else { "Error" },
            "message": message,
            "finishedAt": second(Timestamp::now()),
        } });
        ended.push(Ended {
            pod: self.object.name.clone(),
            container: name,
            code,
            asked_to: is_ending,
            log,
        });
        let policy = text(&self.pod, "/spec/restartPolicy");
        let again = policy == "Always" || (policy == "OnFailure" && code != 0);
        if again && !is_ending {
            main.state = State::BacksOff(Instant::now() + BACK_OFF);
            return Ok(true);
        }
        main.state = State::Done;
        if !is_ending {
            let phase = if code == 0 { "Succeeded" } else { "Failed" };
            self.pod["status"]["phase"] = phase.into();
        }
        Ok(true)
    }

    /// What a probe comes to, where it is due and has made up its mind.
    async fn probe(
        &self,
        container: &Value,
        kind: &str,
        probe: &mut Probe,
    ) -> Result<Option<bool>> {
        let Some(spec) = container.get(kind) else {
            return Ok(None);
        };
        if Instant::now() < probe.due {
            return Ok(None);
        }
        let number = |name: &str, default: u64| spec[name].as_u64().unwrap_or(default);
        probe.due = Instant::now() + Duration::from_secs(number("periodSeconds", 10));
        let get = spec
            .get("httpGet")
            .with_context(|| format!("a probe of another kind: {spec}"))?;
        let timeout = Duration::from_secs(number("timeoutSeconds", 1));
        if self.answers(container, get, timeout).await? {
            probe.failures = 0;
            probe.successes += 1;
            return Ok((probe.successes >= number("successThreshold", 1)).then_some(true));
        }
        probe.successes = 0;
        probe.failures += 1;
        Ok((probe.failures >= number("failureThreshold", 3)).then_some(false))
    }

    async fn answers(&self, container: &Value, get: &Value, timeout: Duration) -> Result<bool> {
        let (Some(network), Some(address)) = (self.kubelet.plane.network(), &self.address) else {
            bail!("a pod with probes needs a network");
        };
        let port = match &get["port"] {
            Value::String(name) => {
                let ports = container["ports"].as_array();
                let named = ports.into_iter().flatten().find(|p| p["name"] == **name);
                named.map_or(Value::Null, |p| p["containerPort"].clone())
            }
            number => number.clone(),
        };
        let port = port.as_u64().context("a probe's port")?.try_into()?;
        let scheme = get["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
        let url = format!("{scheme}://{address}:{port}{}", text(get, "/path"));
        // The kubelet trusts every certificate. Nobody else in this process relies on a default provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .unix_socket(network.pod(address, port))
            .tls_danger_accept_invalid_certs(true)
            .no_proxy()
            .timeout(timeout)
            .build()?;
        let answer = client.get(url).send().await;
        Ok(answer.is_ok_and(|a| a.status().is_success() || a.status().is_redirection()))
    }
}

const READINESS: &str = "readinessProbe";
const LIVENESS: &str = "livenessProbe";
const BACK_OFF: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);
