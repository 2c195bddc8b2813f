//! The page for people: the path, what is wrong with evidence and fix, what is not known, counts.

use std::{collections::BTreeMap, fmt::Write as _};

use cwii_token::text::{DifferenceKind, first_difference};

use super::{
    model::{
        CheckResult, Cluster, Comparison, Level, Mechanism, Place, Report, Status, Step, StepState,
    },
    stage::Stage,
    sweep::{Group, Sweep, Unsettled, WorkloadRow},
    text::{self, Style, Tone, width, window},
};

/// How much of a page is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Amount {
    /// Failures, no warnings.
    Short,
    /// Findings, and counts of the rest.
    Normal,
    /// Every result.
    Wide,
}

/// The page on one workload.
pub(super) fn report(report: &Report, style: &Style, amount: Amount) -> String {
    let mut page = Page::new(style);
    let header = header(&report.target, &report.mechanisms, &report.context, style);
    page.title(&header);
    page.blank();
    page.path(&report.path);
    for result in report.findings() {
        if amount != Amount::Short || result.status == Status::Fail {
            page.blank();
            page.finding(result, None);
        }
    }
    if amount == Amount::Wide {
        page.blank();
        page.results(&report.results);
    }
    if amount != Amount::Short {
        let unknown = unsettled(report, Status::Unknown);
        let skipped = unsettled(report, Status::Skipped);
        page.unsettled(&unknown, &skipped, amount);
    }
    page.blank();
    page.counts(report);
    page.out
}

/// The page on many workloads.
pub(super) fn sweep(sweep: &Sweep, style: &Style, amount: Amount) -> String {
    let mut page = Page::new(style);
    let mut parts = vec![plural(sweep.summary.workloads, "workload")];
    if sweep.summary.pods != sweep.summary.workloads {
        parts.push(plural(sweep.summary.pods, "pod"));
    }
    parts.extend(cluster(&sweep.context, style));
    page.title(&parts.join(style.dot()));
    let rows: Vec<_> = sweep
        .workloads
        .iter()
        .filter(|row| amount != Amount::Short || !row.codes.is_empty())
        .collect();
    if !rows.is_empty() {
        page.blank();
        page.table(&rows, amount);
    }
    for group in &sweep.findings {
        if amount != Amount::Short || group.finding.status == Status::Fail {
            page.blank();
            page.finding(&group.finding, Some(group));
        }
    }
    if amount != Amount::Short {
        page.unsettled(&sweep.unknown, &sweep.skipped, amount);
    }
    page.blank();
    let summary = &sweep.summary;
    let mut parts = vec![
        (Tone::Bad, summary.fail, "failing"),
        (Tone::Warning, summary.warn, "with warnings"),
        (Tone::Strong, summary.inconclusive, "not settled"),
        (Tone::Good, summary.pass, "clean"),
    ];
    parts.retain(|(_, count, what)| *count > 0 || *what == "failing");
    let mut parts: Vec<_> = parts
        .into_iter()
        .map(|(tone, count, what)| {
            let tone = if count == 0 { Tone::Good } else { tone };
            style.paint(tone, &format!("{count} {what}"))
        })
        .collect();
    parts.extend(sweep.duration_ms.map(seconds));
    page.line(&parts.join(style.dot()));
    page.out
}

/// `TYPE/NAME` of what has findings, as kubectl's `-o name`.
pub(super) fn names<'a>(places: impl Iterator<Item = &'a Place>, style: &Style) -> String {
    let mut out = String::new();
    for place in places {
        let _ = writeln!(
            out,
            "{}/{}",
            style.show(&place.kind.to_lowercase()),
            style.show(&place.name)
        );
    }
    out
}

/// `serviceaccount/checkout`.
pub(super) fn object(place: &Place) -> String {
    // A document's kind is words.
    if place.kind.contains(' ') {
        format!("{} {}", place.kind, place.name)
    } else {
        format!("{}/{}", place.kind.to_lowercase(), place.name)
    }
}

/// `shop/pod/checkout`.
pub(super) fn full_name(place: &Place) -> String {
    match &place.namespace {
        Some(namespace) => format!("{namespace}/{}", object(place)),
        None => object(place),
    }
}

pub(super) fn word(state: StepState) -> &'static str {
    match state {
        StepState::Fail => "FAIL",
        StepState::Warn => "warn",
        StepState::Pass => "ok",
        StepState::Partial => "ok?",
        StepState::Unknown | StepState::Skipped => "?",
        StepState::NotApplicable => "-",
    }
}

pub(super) fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

pub(super) fn plural(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// The clouds and by what, `aws`, `gcp (GKE workload identity)`; cwii's own mechanism needs no word.
pub(super) fn mechanisms(mechanisms: &[Mechanism]) -> String {
    let names: Vec<_> = mechanisms
        .iter()
        .map(|mechanism| match mechanism.name.as_str() {
            "cwii" => mechanism.provider.clone(),
            name => format!("{} ({name})", mechanism.provider),
        })
        .collect();
    if names.is_empty() {
        "no cloud identity".to_owned()
    } else {
        names.join(", ")
    }
}

/// What differs, in a few words that stand beside a caret.
pub(super) fn difference_words(comparison: &Comparison) -> Option<&'static str> {
    let difference = first_difference(&comparison.found, &comparison.expected)?;
    Some(match (difference.kind, difference.found) {
        (DifferenceKind::TrailingSlash, Some(_)) => "trailing slash",
        (DifferenceKind::TrailingSlash, None) => "a slash is missing at the end",
        (DifferenceKind::Case, _) => "upper and lower case differ",
        (DifferenceKind::Whitespace, _) => "white space",
        (DifferenceKind::Nbsp, _) => "a character without a visible shape",
        (DifferenceKind::Other, None) => "it ends here",
        (DifferenceKind::Other, Some(_)) => "differs from here",
    })
}

/// What is not known or not looked at, by its reason: one entry for each blocker, flag or missing permission.
pub(super) fn unsettled(report: &Report, status: Status) -> Vec<Unsettled> {
    let mut order = Vec::new();
    let mut reasons: BTreeMap<String, Unsettled> = BTreeMap::new();
    for result in report.of_status(status) {
        let why = match result.settled_by {
            Some(flag) => settled_by(flag, &result.message),
            None if result.need.is_none() && !result.blocked_by.is_empty() => {
                format!("blocked by {}", result.blocked_by.join(", "))
            }
            None => result.message.clone(),
        };
        let reason = reasons.entry(why.clone()).or_insert_with(|| {
            order.push(why.clone());
            Unsettled {
                why,
                settled_by: result.settled_by,
                codes: Vec::new(),
                count: 1,
            }
        });
        if !reason.codes.contains(&result.code) {
            reason.codes.push(result.code);
        }
    }
    order
        .into_iter()
        .filter_map(|why| reasons.remove(&why))
        .collect()
}

/// By which flag; where it was given already, that something is still missing.
pub(super) fn settled_by(flag: &str, why: &str) -> String {
    if flag == "--trust" && !why.starts_with(flag) {
        format!("settled by further documents for `{flag}`, which `-o wide` names")
    } else {
        format!("settled by `{flag}`")
    }
}

fn header(target: &Place, mechanisms: &[Mechanism], context: &Cluster, style: &Style) -> String {
    let mut parts = vec![
        style.show(&full_name(target)),
        style.show(&self::mechanisms(mechanisms)),
    ];
    parts.extend(target.file.as_ref().map(|file| style.show(file)));
    parts.extend(cluster(context, style));
    parts.join(style.dot())
}

fn cluster(context: &Cluster, style: &Style) -> Vec<String> {
    let mut parts = Vec::new();
    match (&context.name, &context.server_version) {
        (None, None) => parts.push("no cluster".to_owned()),
        (name, version) => {
            parts.extend(
                name.as_ref()
                    .map(|name| format!("context {}", style.show(name))),
            );
            parts.extend(
                version
                    .as_ref()
                    .map(|v| format!("Kubernetes {}", style.show(v))),
            );
        }
    }
    parts
}

struct Page<'s> {
    style: &'s Style,
    out: String,
}

impl<'s> Page<'s> {
    fn new(style: &'s Style) -> Self {
        Self {
            style,
            out: String::new(),
        }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }

    fn title(&mut self, text: &str) {
        for line in self.style.wrap("", text, "  ") {
            self.line(&self.style.paint(Tone::Strong, &line));
        }
    }

    /// A word in its colour and escaped text after it, wrapped.
    fn led(&mut self, (word, tone): (&str, Tone), text: &str, indent: &str) {
        for (index, line) in self.style.wrap(word, text, indent).into_iter().enumerate() {
            match line.strip_prefix(word).filter(|_| index == 0) {
                Some(rest) => {
                    let line = format!("{}{rest}", self.style.paint(tone, word));
                    self.line(&line);
                }
                None => self.line(&line),
            }
        }
    }

    /// `access ── injector ── …` with the states below.
    fn path(&mut self, path: &[Step]) {
        let joint = if self.style.unicode {
            " ── "
        } else {
            " -- "
        };
        let names: Vec<_> = path.iter().map(|step| step.stage.name()).collect();
        let mut states = String::from("  ");
        for (name, step) in names.iter().zip(path) {
            let word = word(step.state);
            // Centred under the name.
            let pad = name.len().saturating_sub(word.len()) / 2;
            let gap = " ".repeat(pad);
            states.push_str(&gap);
            states.push_str(&self.style.paint(tone(step.state), word));
            let rest = (name.len() + joint.chars().count()).saturating_sub(pad + word.len());
            states.push_str(&" ".repeat(rest));
        }
        self.line(&format!("  {}", names.join(joint)));
        self.line(&states);
    }

    /// A finding; with a group, how many workloads it hits.
    fn finding(&mut self, result: &CheckResult, group: Option<&Group>) {
        let style = self.style;
        let (word, tone) = match result.status {
            Status::Warn => ("warning", Tone::Warning),
            _ => ("error", Tone::Bad),
        };
        let head = format!("{word}[{}]", result.code);
        let message = format!(": {}", style.show(&result.message));
        self.led((&head, tone), &message, "  ");
        if let Some(subject) = &result.subject {
            self.subject(subject);
        }
        if let Some(comparison) = &result.comparison {
            self.comparison(comparison, tone);
        }
        if let Some(group) = group.filter(|group| group.count > 1) {
            self.note(&affected(group, style));
        }
        for evidence in &result.evidence {
            let mut text = format!(
                "{}: {}",
                style.show(evidence.label),
                style.show(&evidence.value)
            );
            if let Some(source) = &evidence.source {
                let _ = write!(text, " ({})", style.show(source));
            }
            self.note(&text);
        }
        if let Some(answer) = &result.provider_error {
            self.note(&style.show(answer));
        }
        self.fix(result);
    }

    fn subject(&mut self, subject: &Place) {
        let style = self.style;
        let mut text = String::new();
        if let Some(file) = &subject.file {
            text.push_str(&style.show(file));
            if let Some(line) = subject.line {
                let _ = write!(text, ":{line}");
            }
            text.push_str("  ");
        }
        text.push_str(&style.show(&object(subject)));
        let what = subject.what.as_ref().or(subject.pointer.as_ref());
        if let Some(what) = what {
            // The arrow sets it off already.
            let _ = write!(text, "  {}", style.show(&what.replace('`', "")));
        }
        for line in style.wrap("  --> ", &text, "      ") {
            self.line(&style.paint(Tone::Place, &line));
        }
    }

    /// The value with a caret below the character where it parts from what was expected.
    fn comparison(&mut self, comparison: &Comparison, tone: Tone) {
        let style = self.style;
        let bar = "   | ";
        let room = style.width.saturating_sub(bar.len());
        let found = style.exactly(&comparison.found);
        let expected = style.exactly(&comparison.expected);
        let Some(difference) = first_difference(&comparison.found, &comparison.expected) else {
            self.line(&format!("{bar}{}", window(style, &found, 0, 0, room).0));
            return;
        };
        let column = width(&style.exactly(&comparison.found[..difference.offset]));
        let marked = match (difference.kind, difference.found) {
            (DifferenceKind::TrailingSlash, Some(_)) => width(&found) - column,
            (_, Some(c)) => width(&style.exactly(c.encode_utf8(&mut [0; 4]))),
            (_, None) => 1,
        };
        let shown = if found.is_empty() {
            "(empty)".to_owned()
        } else {
            found
        };
        let (shown, at) = window(style, &shown, column, marked, room);
        self.line(&format!("{bar}{shown}"));
        let carets = "^".repeat(marked.clamp(1, room.saturating_sub(at).max(1)));
        let words = difference_words(comparison).unwrap_or_default();
        let lead = format!("{bar}{}", " ".repeat(at));
        let whole = format!("{words}; expected `{expected}`");
        if width(&lead) + carets.len() + 1 + width(&whole) <= style.width {
            self.line(&format!("{lead}{} {whole}", style.paint(tone, &carets)));
            return;
        }
        if width(&lead) + carets.len() + 1 + width(words) <= style.width {
            self.line(&format!("{lead}{} {words}", style.paint(tone, &carets)));
        } else {
            self.line(&format!("{lead}{}", style.paint(tone, &carets)));
            self.line(&format!("{bar}{words}"));
        }
        // The same column in the expected value, so that both can be held against each other.
        let there = width(&style.exactly(&comparison.expected[..difference.offset]));
        let lead = "expected ";
        let room = room.saturating_sub(lead.len());
        let (expected, _) = window(style, &expected, there, 1, room);
        self.line(&format!("{bar}{lead}{expected}"));
    }

    /// An observation. A claim may be ten megabytes long; the machine formats have all of it.
    fn note(&mut self, text: &str) {
        const SHOWN: usize = 1500;
        let cut = text.char_indices().nth(SHOWN).map(|(end, _)| &text[..end]);
        let text = cut.map_or_else(
            || text.to_owned(),
            |cut| format!("{cut}{}", self.style.ellipsis()),
        );
        for line in self.style.wrap("   = ", &text, "     ") {
            self.line(&line);
        }
    }

    fn fix(&mut self, result: &CheckResult) {
        let style = self.style;
        if let Some(fix) = &result.fix {
            let text = format!(" {}", style.show(&fix.summary));
            self.led(("help:", Tone::Good), &text, "      ");
            for command in &fix.commands {
                for line in text::command(style, command, "        ") {
                    self.line(&line);
                }
            }
        }
        let more = format!("      more: kubectl cwii explain {}", result.code);
        self.line(&style.paint(Tone::Faint, &more));
    }

    /// One line for each reason; of what no flag settles one for all, unless everything is wanted.
    fn unsettled(&mut self, unknown: &[Unsettled], skipped: &[Unsettled], amount: Amount) {
        if unknown.is_empty() && skipped.is_empty() {
            return;
        }
        self.blank();
        for one in unknown {
            let text = format!(
                "unknown: {}: {}",
                codes(&one.codes),
                self.style.show(&one.why)
            );
            for line in self.style.wrap("", &text, "  ") {
                self.line(&line);
            }
        }
        let (by_flag, others): (Vec<_>, Vec<_>) = skipped
            .iter()
            .partition(|one| amount == Amount::Wide || one.settled_by.is_some());
        let mut lines: Vec<_> = by_flag
            .iter()
            .map(|one| (one.codes.len(), self.style.show(&one.why)))
            .collect();
        match others.as_slice() {
            [] => {}
            [only] => lines.push((only.codes.len(), self.style.show(&only.why))),
            several => lines.push((
                several.iter().map(|one| one.codes.len()).sum(),
                format!("for {} other reasons, which `-o wide` names", several.len()),
            )),
        }
        for (count, why) in lines {
            let text = format!("not looked at: {}, {why}", plural(count, "check"));
            for line in self.style.wrap("", &text, "  ") {
                self.line(&self.style.paint(Tone::Faint, &line));
            }
        }
    }

    /// Every result on its line.
    fn results(&mut self, results: &[CheckResult]) {
        let style = self.style;
        for result in results {
            let (word, tone) = match result.status {
                Status::Fail => ("FAIL", Tone::Bad),
                Status::Warn => ("warn", Tone::Warning),
                Status::Unknown => ("?", Tone::Strong),
                Status::Skipped => ("skip", Tone::Faint),
                Status::Pass => ("ok", Tone::Good),
                Status::NotApplicable => ("-", Tone::Faint),
            };
            let mut text = format!(
                "{}  {:<6}  {}",
                " ".repeat(4 - word.len()),
                result.code,
                result.name
            );
            // What was looked at in vain is for machines to read.
            if result.status != Status::Pass {
                text.push_str(&format!(": {}", style.show(&result.message)));
            }
            self.led((word, tone), &text, "              ");
        }
    }

    /// One row for each workload.
    fn table(&mut self, rows: &[&WorkloadRow], amount: Amount) {
        let style = self.style;
        let stages: Vec<_> = Stage::ALL.iter().map(|stage| stage.name()).collect();
        let names: Vec<_> = rows
            .iter()
            .map(|row| {
                let mut name = style.show(&full_name(&row.target));
                if row.pods > 1 {
                    let _ = write!(name, " ({} pods)", row.pods);
                }
                name
            })
            .collect();
        // A page of ten thousand rows is laid out once: the longest name decides, up to what leaves room for the rest.
        let path: usize = stages.iter().map(|name| name.len() + 2).sum();
        let longest = names.iter().map(|name| width(name)).max().unwrap_or(0);
        let first = longest.max("workload".len()).min(
            style
                .width
                .saturating_sub(path + 2 + "findings".len())
                .max(8),
        );
        if style.headers {
            let mut line = format!("{:<first$}", "WORKLOAD");
            for name in &stages {
                let _ = write!(line, "  {}", name.to_uppercase());
            }
            line.push_str("  FINDINGS");
            self.line(&style.paint(Tone::Strong, &line));
        }
        for (row, name) in rows.iter().zip(names) {
            let mut line = name;
            let mut taken = width(&line);
            if taken > first {
                // Its path stands below a name that is too long.
                self.line(&line);
                line = String::new();
                taken = 0;
            }
            line.push_str(&" ".repeat(first - taken));
            for step in &row.path {
                let word = word(step.state);
                let rest = " ".repeat(step.stage.name().len().saturating_sub(word.len()));
                let _ = write!(line, "  {}{rest}", style.paint(tone(step.state), word));
            }
            let start = first + path;
            let room = style.width.saturating_sub(start + 2).max(6);
            let narrow = Style {
                width: room,
                ..*style
            };
            let codes = narrow.wrap("", &row.codes.join(" "), "");
            for (index, codes) in codes.iter().enumerate() {
                if index == 0 {
                    self.line(&format!("{line}  {codes}"));
                } else {
                    self.line(&format!("{}  {codes}", " ".repeat(start)));
                }
            }
            if amount == Amount::Wide && !row.mechanisms.is_empty() {
                let text = format!("  {}", style.show(&row.mechanisms.join(", ")));
                self.line(&style.paint(Tone::Faint, &text));
            }
        }
    }

    fn counts(&mut self, report: &Report) {
        let style = self.style;
        let summary = &report.summary;
        let mut parts = vec![style.paint(
            if summary.fail > 0 {
                Tone::Bad
            } else {
                Tone::Good
            },
            &plural(summary.fail, "error"),
        )];
        if summary.warn > 0 {
            parts.push(style.paint(Tone::Warning, &plural(summary.warn, Level::Warning.name())));
        }
        for (count, what) in [
            (summary.pass, "passed"),
            (summary.not_applicable, "not applicable"),
            (summary.unknown, "unknown"),
            (summary.skipped, "not looked at"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.extend(report.duration_ms.map(seconds));
        self.line(&parts.join(style.dot()));
    }
}

fn tone(state: StepState) -> Tone {
    match state {
        StepState::Fail => Tone::Bad,
        StepState::Warn => Tone::Warning,
        StepState::Pass | StepState::Partial => Tone::Good,
        StepState::Unknown => Tone::Strong,
        StepState::Skipped | StepState::NotApplicable => Tone::Faint,
    }
}

/// The first few codes.
fn codes(codes: &[&str]) -> String {
    const SHOWN: usize = 6;
    if codes.len() <= SHOWN {
        return codes.join(", ");
    }
    format!(
        "{} and {} more",
        codes[..SHOWN - 1].join(", "),
        codes.len() - SHOWN + 1
    )
}

/// How many workloads, and some of them.
pub(super) fn affected(group: &Group, style: &Style) -> String {
    let names: Vec<_> = group
        .examples
        .iter()
        .map(|place| style.show(&full_name(place)))
        .collect();
    let rest = group.count - names.len();
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    format!("{} workloads: {}{more}", group.count, names.join(", "))
}
