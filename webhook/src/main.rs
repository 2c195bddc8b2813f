//! `cwii-webhook`: the process around the webhook. Arguments, signals and exit status; everything else is the library's.

use std::{process::ExitCode, thread::available_parallelism};

use cwii_webhook::{
    Options,
    exit::ExitStatus,
    log::{self, Log, printable},
    run,
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::error;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args_os()) {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            log::last_words(&error.to_string());
            return ExitStatus::Usage.into();
        }
        Err(help) => {
            log::answer(&help.to_string());
            return ExitStatus::Success.into();
        }
    };
    let started =
        Log::start(options.log_level, options.log_format).and_then(|log| Ok((log, runtime()?)));
    let (log, runtime) = match started {
        Ok(started) => started,
        Err(error) => {
            log::last_words(&format!("error: the process could not start: {error}"));
            return ExitStatus::Failure.into();
        }
    };
    let status = runtime.block_on(async {
        // The handlers stand before anything else can take time.
        let signals = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
        let (mut terminate, mut interrupt) = match signals {
            Ok(signals) => signals,
            Err(error) => {
                error!(error = %error, "signals cannot be handled");
                return ExitStatus::Failure;
            }
        };
        let served = run(
            options,
            log.dropped(),
            either(&mut terminate, &mut interrupt),
        )
        .await;
        match served {
            Ok(()) => ExitStatus::Success,
            Err(problem) => {
                error!(
                    error = printable(&problem.to_string()),
                    "the process could not start"
                );
                ExitStatus::Usage
            }
        }
    });
    // Watches and what else has no end of its own must not hold the process.
    runtime.shutdown_background();
    drop(log);
    status.into()
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// One thread where there is one processor, which saves handing work over; a container's CPU limit counts.
fn runtime() -> std::io::Result<Runtime> {
    let processors = available_parallelism().map_or(1, usize::from);
    let mut builder = if processors == 1 {
        Builder::new_current_thread()
    } else {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(processors.min(MAX_THREADS));
        builder
    };
    builder.enable_all().build()
}

/// One core answers more admissions than any cluster asks for.
const MAX_THREADS: usize = 4;
