//! Pages of the reference that are tables: metrics, exit codes, schemas, error texts.

use std::fmt::Write as _;

use cwii_checks::explain::known_errors;
use cwii_contract::exit::VerifyExit;
use cwii_webhook::{exit::ExitStatus, metrics::Metrics};

use super::{GENERATED, cell};

/// What `/metrics` of the webhook has.
pub(super) fn metrics() -> String {
    let mut out = format!(
        "# Metrics\n\n{GENERATED}\n\n\
         `cwii-webhook` serves them under `/metrics` of `--metrics-listen`, over plain HTTP, in the OpenMetrics text format.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n"
    );
    for metric in Metrics::new("").descriptions() {
        let labels: Vec<_> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind,
            labels.join(", "),
            cell(metric.help)
        );
    }
    out
}

/// What processes end with.
pub(super) fn exit_codes() -> String {
    let mut out = format!(
        "# Exit codes\n\n{GENERATED}\n\n## kubectl cwii\n\nThe same whatever the output format. A finding (1) beats what \
         could not be settled (3).\n\n| code | meaning |\n|---|---|\n"
    );
    for (code, meaning) in kubectl_cwii::exit_codes() {
        let _ = writeln!(out, "| {code} | {} |", cell(meaning));
    }
    out.push_str(
        "\n## cwii-agent verify --enforce\n\nWithout `--enforce` it always ends with 0.\n\n| code | meaning |\n|---|---|\n",
    );
    for exit in VerifyExit::ALL {
        let _ = writeln!(out, "| {} | {} |", exit.code(), cell(exit.meaning()));
    }
    out.push_str("\n## cwii-webhook\n\n| code | meaning |\n|---|---|\n");
    for exit in ExitStatus::ALL {
        let _ = writeln!(out, "| {} | {} |", exit.code(), cell(exit.meaning()));
    }
    out
}

/// Every error that is known by its text, by who says it.
pub(super) fn error_texts() -> String {
    let mut sources: Vec<&str> = Vec::new();
    for known in known_errors() {
        if !sources.contains(&known.source) {
            sources.push(known.source);
        }
    }
    let mut out = format!(
        "# Error texts\n\n{GENERATED}\n\nWhat `kubectl cwii explain \"ERROR TEXT\"` and the agent recognise. Providers change \
         their texts, so a row needs only a code or a piece of the text. Where token, clock and keys tell more, the agent \
         goes by them.\n"
    );
    for source in sources {
        let mut letters = source.chars();
        let title: String = letters
            .next()
            .into_iter()
            .flat_map(char::to_uppercase)
            .chain(letters)
            .collect();
        let _ = writeln!(
            out,
            "\n## {title}\n\n| it says | it means | what to do | checks |\n|---|---|---|---|"
        );
        for known in known_errors().filter(|known| known.source == source) {
            let quoted = |texts: &[&str], word: &str| {
                texts
                    .iter()
                    .map(|text| format!("`{}`", text.trim()))
                    .collect::<Vec<_>>()
                    .join(word)
            };
            let says: Vec<_> = [
                quoted(known.codes, " or "),
                quoted(known.pieces, if known.all { " … " } else { " or " }),
            ]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
            let checks: Vec<_> = known
                .checks
                .iter()
                .map(|entry| format!("[{0}](../checks/{0}.md)", entry.code))
                .collect();
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |",
                cell(&says.join(" with ")),
                cell(known.meaning),
                cell(known.fix),
                checks.join(", ")
            );
        }
    }
    out
}
