//! `cwii-agent`: the process around the agent.
//!
//! Arguments, environment, signals and last resorts are here; everything else is the library's.
#![allow(
    clippy::disallowed_methods,
    reason = "the process is where environment and clock come from"
)]

mod log;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use cwii_agent::{
    cli::{Cli, Command, Decode, Format, OnUnreachable, TokenCommand, Verify, WriteGcpCredentials},
    credentials, decode,
    output::{Output, printable},
    promise::{self, Mode},
    render, verify,
};
use cwii_contract::{Outcome, Provider, VerifyExit, env, names};
use cwii_exchange::{Env, Options};
use cwii_token::{MAX_TOKEN_BYTES, Token};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let mode = Mode::of_process();
    mode.install_panic_hook();
    let mut output = Output;
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            output.line(error.to_string().trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => return bad_arguments(mode, &error, &mut output),
    };
    log::install(cli.log);
    match cli.command {
        Command::Verify(arguments) => run_verify(mode, &arguments, &mut output),
        Command::WriteGcpCredentials(arguments) => write_credentials(&arguments, &mut output),
        Command::Token {
            command: TokenCommand::Decode(arguments),
        } => decode_token(&arguments, &mut output),
    }
}

fn run_verify(mode: Mode, arguments: &Verify, output: &mut Output) -> ExitCode {
    promise::verifies(arguments.provider, &arguments.termination_log);
    mode.install_watchdog(arguments.timeout);
    #[cfg(debug_assertions)]
    if std::env::var_os("CWII_TEST_PANIC").is_some() {
        panic!(
            "a panic that a test asked for: {:?}",
            std::env::var("CWII_TEST_PANIC")
        );
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            mode.end_now(
                VerifyExit::Internal,
                &format!("cwii: the runtime could not be started: {error}"),
            );
            return ExitCode::from(VerifyExit::Internal.code());
        }
    };
    let mut options = Options::new(arguments.timeout, Timestamp::now);
    options
        .allow_endpoints
        .clone_from(&arguments.allow_endpoint);
    // What is no text stays visible as such, rather than looking as if it were not set.
    let environment: Env = std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect();
    let verification = runtime.block_on(async {
        // The handlers stand before anything else can take time.
        let terminated = terminated();
        tokio::select! {
            verification = verify(arguments.provider, &environment, &options) => Ok(verification),
            signal = terminated => Err(signal),
        }
    });
    // A lookup that blocks must not hold the process after the verdict.
    runtime.shutdown_background();
    if !promise::claim_the_end() {
        // The watchdog is ending the process.
        std::thread::sleep(std::time::Duration::from_secs(5));
    }
    let verification = match verification {
        Ok(verification) => verification,
        Err(signal) => {
            let message = format!(
                "cwii: interrupted by {signal} before {} had answered",
                arguments.provider.display_name()
            );
            output.error(&message);
            promise::leave_result(
                output,
                &arguments.termination_log,
                arguments.provider,
                Outcome::Error,
                &message,
            );
            return ExitCode::from(mode.end(output, VerifyExit::Unreachable));
        }
    };
    match arguments.output {
        Format::Json => output.line(&render::document(&verification)),
        Format::Text => {
            if let Some(identity) = render::identity(&verification) {
                output.line(&identity);
            }
        }
    }
    if arguments.output == Format::Text {
        output.error(&render::text(&verification));
    }
    output.termination_message(
        &arguments.termination_log,
        &verification.termination_message(),
    );
    let exit = verification.diagnosis.exit;
    if mode == Mode::Enforcing
        && exit == VerifyExit::Unreachable
        && arguments.on_unreachable == OnUnreachable::Allow
    {
        output.error(&render::allowed_line(Outcome::from(exit)));
        return ExitCode::SUCCESS;
    }
    ExitCode::from(mode.end(output, exit))
}

/// Installs handlers at once; the future waits for a signal that asks the process to end. As process 1 of a container it
/// has no default handler.
fn terminated() -> impl Future<Output = &'static str> {
    let handlers = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    async {
        let (Ok(mut term), Ok(mut interrupt)) = handlers else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}

fn bad_arguments(mode: Mode, error: &clap::Error, output: &mut Output) -> ExitCode {
    let text = error.to_string();
    output.error(
        &text
            .lines()
            .map(|l| printable(l) + "\n")
            .collect::<String>(),
    );
    if mode == Mode::Other {
        return ExitCode::from(2);
    }
    let provider =
        std::env::args_os().find_map(|argument| argument.to_str()?.parse::<Provider>().ok());
    if let Some(provider) = provider {
        let path = std::env::var_os(env::CWII_TERMINATION_LOG)
            .map_or_else(|| PathBuf::from(names::TERMINATION_LOG), PathBuf::from);
        let summary: String = text.chars().take(1024).collect();
        promise::leave_result(
            output,
            &path,
            provider,
            Outcome::Invalid,
            summary.trim_end(),
        );
    }
    ExitCode::from(mode.end(output, VerifyExit::Configuration))
}

fn write_credentials(arguments: &WriteGcpCredentials, output: &mut Output) -> ExitCode {
    let document = std::env::var(env::CWII_GCP_CREDS_JSON).ok();
    match credentials::write(document.as_deref(), &arguments.output) {
        Ok(account) => {
            output.error(&format!(
                "cwii: wrote {} ({})",
                arguments.output.display(),
                account.service_account().map_or_else(
                    || "direct federation".into(),
                    |email| format!("impersonates {}", printable(email))
                ),
            ));
            ExitCode::SUCCESS
        }
        Err(error) => {
            output.error(&format!("cwii: {error}"));
            ExitCode::from(VerifyExit::Configuration.code())
        }
    }
}

fn decode_token(arguments: &Decode, output: &mut Output) -> ExitCode {
    // A token in the arguments is in the process table and the shell's history already: do not encourage it.
    if arguments.file.starts_with("eyJ") && arguments.file.matches('.').count() == 2 {
        output.error("error: the argument looks like a token; tokens do not belong into arguments\nhelp: pass a file, or - and the token on standard input");
        return ExitCode::from(2);
    }
    let name = if arguments.file == "-" {
        "standard input"
    } else {
        &arguments.file
    };
    let limit = MAX_TOKEN_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let read = if arguments.file == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(&arguments.file)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    if let Err(error) = read {
        output.error(&format!(
            "error: {} could not be read: {error}",
            printable(name)
        ));
        return ExitCode::from(VerifyExit::Token.code());
    }
    // For looking, unlike for sending, white space around the token is no obstacle, but it is said.
    let token = String::from_utf8(bytes)
        .map_err(|_| "it is not text".to_owned())
        .and_then(|text| {
            Token::decode(&text).or_else(|error| {
                let token = Token::decode(text.trim()).map_err(|_| error.to_string())?;
                output.error(&format!("warning: {}: {error}", printable(name)));
                Ok(token)
            })
        });
    match token {
        Ok(token) => {
            match arguments.output {
                Format::Text => output.line(decode::text(&token, Timestamp::now()).trim_end()),
                Format::Json => output
                    .line(&serde_json::to_string_pretty(&decode::json(&token)).unwrap_or_default()),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            output.error(&format!(
                "error: {} holds no token: {error}",
                printable(name)
            ));
            ExitCode::from(VerifyExit::Token.code())
        }
    }
}
