//! The end that comes from outside: Ctrl-C, SIGTERM, `--timeout`.
//!
//! Everything that waits asks here, so that a command ends with what it has, and cleans up, instead of dying.

use std::{sync::Arc, time::Duration};

#[cfg(unix)]
use tokio::signal::unix::{Signal as Interrupt, Signal as Terminate, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC as Interrupt, CtrlShutdown as Terminate};
use tokio::{sync::watch, time::sleep};

use crate::{cli::Limit, exit::ExitStatus};

/// Why a command is to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reason {
    Interrupted,
    Terminated,
    /// After this long.
    TimedOut(Duration),
}

impl From<Reason> for ExitStatus {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Interrupted => Self::Interrupted,
            Reason::Terminated => Self::Terminated,
            Reason::TimedOut(_) => Self::TimedOut,
        }
    }
}

/// Knows whether the command is to end. Clones know the same.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    reason: watch::Receiver<Option<Reason>>,
    /// Held so that waiting for a reason that never comes does not end.
    _sender: Arc<watch::Sender<Option<Reason>>>,
}

impl Stop {
    /// Installs handlers for signals and begins to count.
    ///
    /// # Errors
    ///
    /// The handlers cannot be installed.
    pub(crate) fn install(limit: Limit) -> std::io::Result<Self> {
        let (interrupt, terminate) = handlers()?;
        let (sender, reason) = watch::channel(None);
        let sender = Arc::new(sender);
        tokio::spawn(listen(Arc::clone(&sender), interrupt, terminate, limit));
        Ok(Self {
            reason,
            _sender: sender,
        })
    }

    /// Why the command is to end, if it is.
    pub(crate) fn reason(&self) -> Option<Reason> {
        *self.reason.borrow()
    }

    /// Waits until the command is to end; forever if nothing ends it.
    pub(crate) async fn wait(&self) -> Reason {
        let mut reason = self.reason.clone();
        // The sender lives as long as this does, so that an error cannot come.
        let found = reason.wait_for(Option::is_some).await.ok().and_then(|r| *r);
        match found {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// The status of a command that came to `status`, unless it was ended before.
    pub(crate) fn or(&self, status: ExitStatus) -> ExitStatus {
        self.reason().map_or(status, ExitStatus::from)
    }
}

/// What the system sends a program that is to end: one that a person asked for, one that did not come from them.
#[cfg(unix)]
fn handlers() -> std::io::Result<(Interrupt, Terminate)> {
    Ok((
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    ))
}

#[cfg(windows)]
fn handlers() -> std::io::Result<(Interrupt, Terminate)> {
    use tokio::signal::windows::{ctrl_c, ctrl_shutdown};

    Ok((ctrl_c()?, ctrl_shutdown()?))
}

/// The first reason holds. A second signal while the command cleans up ends the process at once.
async fn listen(
    sender: Arc<watch::Sender<Option<Reason>>>,
    mut interrupt: Interrupt,
    mut terminate: Terminate,
    limit: Limit,
) {
    let mut timeout = std::pin::pin!(async {
        match limit.0 {
            Some(limit) => {
                sleep(limit).await;
                Reason::TimedOut(limit)
            }
            None => std::future::pending().await,
        }
    });
    let mut timed_out = false;
    let mut signalled = false;
    loop {
        let reason = tokio::select! {
            _ = interrupt.recv() => Reason::Interrupted,
            _ = terminate.recv() => Reason::Terminated,
            reason = &mut timeout, if !timed_out => reason,
        };
        if let Reason::TimedOut(_) = reason {
            timed_out = true;
        } else if signalled {
            std::process::exit(ExitStatus::from(reason).code().into());
        } else {
            signalled = true;
        }
        sender.send_if_modified(|held| {
            let first = held.is_none();
            if first {
                *held = Some(reason);
            }
            first
        });
    }
}
