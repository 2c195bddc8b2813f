//! The admission webhooks.

mod certificate;
mod failure;
mod matching;
mod webhook;

group! { hook01 hook02 hook03 hook04 hook05 hook06 hook07 hook08 hook09 hook10 hook11 hook12 hook13 hook14 hook15 }

use super::words::quote as shell;
use webhook::{Webhook, Wish};

use crate::{
    catalogue::Severity,
    doctor::{Case, Gap, Outcome},
    report::Finding,
};

/// Asks one question of every webhook that should serve this pod, and puts the answers together: what was found, else what
/// could not be looked at, else a pass.
fn each(
    case: &Case<'_>,
    mut ask: impl FnMut(&Wish<'_>, &Webhook<'_>) -> Result<Option<Vec<Finding>>, Gap>,
) -> Result<Outcome, Gap> {
    per_wish(case, |wish, webhooks| {
        let mut all = Answers::default();
        for webhook in webhooks {
            all.add(ask(wish, webhook).map(|answer| {
                answer.map(|findings| {
                    findings
                        .into_iter()
                        .map(|finding| anew(case, wish, finding))
                        .collect()
                })
            }));
        }
        all.into_answer()
    })
}

/// A pod that lacks its injection gets it only when it is made anew, whatever was mended before.
fn anew(case: &Case<'_>, wish: &Wish<'_>, finding: Finding) -> Finding {
    match restart(case) {
        Some(command)
            if wish.lacking()
                && finding.severity() == Severity::Error
                && !finding.fix.commands.contains(&command) =>
        {
            finding.command(command)
        }
        _ => finding,
    }
}

/// The same with all webhooks of a mechanism at once; not asked where it has none, which is HOOK01.
fn per_wish(
    case: &Case<'_>,
    mut ask: impl FnMut(&Wish<'_>, &[Webhook<'_>]) -> Result<Option<Vec<Finding>>, Gap>,
) -> Result<Outcome, Gap> {
    let wishes = webhook::wishes(case);
    if wishes.is_empty() {
        return Ok(Outcome::not_applicable(NO_WISH));
    }
    let mut all = Answers::default();
    for wish in &wishes {
        let webhooks = webhook::of(case, wish.family)?;
        if !webhooks.is_empty() {
            all.add(ask(wish, &webhooks));
        }
    }
    match all.into_answer()? {
        Some(findings) => Ok(Outcome::of(findings)),
        None => Ok(Outcome::not_applicable(
            "there is no webhook of which this could be asked",
        )),
    }
}

/// What was answered so far. No answer at all means that the question does not apply.
#[derive(Default)]
struct Answers {
    findings: Vec<Finding>,
    gap: Option<Gap>,
    answered: bool,
}

impl Answers {
    fn add(&mut self, answer: Result<Option<Vec<Finding>>, Gap>) {
        match answer {
            Ok(Some(findings)) => {
                self.answered = true;
                // Two mechanisms of one webhook (IRSA and EKS Pod Identity) find the same.
                for finding in findings {
                    if !self.findings.contains(&finding) {
                        self.findings.push(finding);
                    }
                }
            }
            Ok(None) => {}
            Err(gap) => self.gap = self.gap.take().or(Some(gap)),
        }
    }

    fn into_answer(self) -> Result<Option<Vec<Finding>>, Gap> {
        match self.gap {
            _ if !self.findings.is_empty() => Ok(Some(self.findings)),
            Some(gap) => Err(gap),
            None => Ok(self.answered.then(Vec::new)),
        }
    }
}

/// The command that makes the workload's pods anew; what does not run yet needs none.
fn restart(case: &Case<'_>) -> Option<String> {
    if case.is_template() {
        return None;
    }
    super::words::restart(case)
}

const NO_WISH: &str = "nothing in this pod is injected by a webhook";
