//! `kubectl cwii options`: the flags that all commands share.

use crate::{cli, commands::Context, exit::ExitStatus};

pub(crate) fn run(context: &mut Context) -> anyhow::Result<ExitStatus> {
    let flags: Vec<clap::Arg> = cli::command(context.program)
        .get_arguments()
        .filter(|flag| flag.is_global_set())
        .map(|flag| flag.clone().hide(false))
        .collect();
    let mut shown = clap::Command::new("options")
        .disable_help_flag(true)
        .help_template("The following options can be passed to any command:\n\n{options}")
        .args(flags);
    let text = shown.render_help().to_string();
    context.terminal.line(text.trim_end());
    Ok(ExitStatus::Success)
}
