//! Every error row of the clouds' catalogue: provoked in the lab, seen by the agent, classified to the right code, exit
//! code and cause.

use std::collections::BTreeSet;
use std::time::Duration;

use cwii_checks::{catalogue, errors};
use cwii_contract::VerifyExit;
use cwii_lab::{Provocation, rows};

use crate::support::{lab, verify};

#[test]
fn every_row_is_provoked_seen_and_classified() {
    let lab = lab();
    let mut wrong = Vec::new();
    for row in rows() {
        let Some(workload) = lab.provoke(row).unwrap() else {
            assert!(
                matches!(row.provocation, Provocation::Impossible(why) if !why.is_empty()),
                "{}",
                row.id
            );
            continue;
        };
        let verification = verify(&workload, Duration::from_secs(4));
        lab.clear_faults();
        let diagnosis = &verification.diagnosis;
        // What works all the same is told beside the verdict.
        let findings = match &diagnosis.cause {
            Some(cause) => std::slice::from_ref(cause),
            None => diagnosis.also.as_slice(),
        };
        let code = findings.iter().find_map(|f| f.code());
        let said = verification.result().provider_error;
        let mut problems = Vec::new();
        if diagnosis.exit != row.exit {
            problems.push(format!(
                "exit {:?}, expected {:?}",
                diagnosis.exit, row.exit
            ));
        }
        if code != row.check {
            problems.push(format!("code {code:?}, expected {:?}", row.check));
        }
        // A value that the agent can tell to be wrong is never sent: then the row's answer is for other clients.
        if let (Some(said), Some(answer)) = (&said, row.answer) {
            if said.code.as_deref().unwrap_or_default() != answer.code
                || !said.message.contains(answer.text)
            {
                problems.push(format!("the cloud said {said:?}, expected {answer:?}"));
            }
            if diagnosis.row.is_none() {
                problems.push("the error table has no row for it".into());
            }
        }
        match &diagnosis.cause {
            Some(cause) if cause.message.is_empty() || cause.fix.summary.is_empty() => {
                problems.push("cause or fix are missing".into());
            }
            None if row.exit != VerifyExit::Verified => problems.push("no cause is named".into()),
            _ => {}
        }
        if !problems.is_empty() {
            wrong.push(format!(
                "{} ({}): {}\n{}",
                row.id,
                row.title,
                problems.join("; "),
                cwii_agent::render::text(&verification)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows:\n\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_lab_and_the_error_table_know_the_same_rows() {
    let lab: BTreeSet<&str> = rows()
        .iter()
        .filter(|r| r.answer.is_some())
        .map(|r| r.id)
        .collect();
    let table: BTreeSet<&str> = errors::rows().map(|r| r.id).collect();
    // The lab has a row per AADSTS number; the table joins numbers of one meaning.
    let codes: BTreeSet<&str> = errors::rows()
        .flat_map(|r| r.codes)
        .filter_map(|c| c.strip_prefix("AADSTS"))
        .collect();
    let unknown: Vec<_> = lab
        .iter()
        .filter(|id| !table.contains(*id) && !codes.contains(*id))
        .collect();
    assert!(unknown.is_empty(), "the error table lacks {unknown:?}");
    let all: BTreeSet<&str> = rows().iter().map(|r| r.id).collect();
    let unprovoked: Vec<_> = table.iter().filter(|id| !all.contains(*id)).collect();
    assert!(
        unprovoked.is_empty(),
        "the lab cannot provoke {unprovoked:?}"
    );
}

#[test]
fn every_check_that_a_row_expects_is_in_the_catalogue() {
    for row in rows() {
        if let Some(check) = row.check {
            assert!(catalogue::find(check).is_some(), "{}: {check}", row.id);
        }
    }
}
