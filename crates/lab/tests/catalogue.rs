//! Every scenario and every row, as a blunt client meets them.

mod support;

use std::collections::BTreeSet;

use cwii_contract::Outcome;
use cwii_lab::{Provocation, rows, scenarios};
use support::{drive, lab};

#[tokio::test]
async fn every_row_is_answered_as_the_catalogue_says() {
    let lab = lab();
    let mut wrong = Vec::new();
    for row in rows() {
        let name = row.case().map_or(row.id, |c| c.name);
        let Some(workload) = lab.provoke(row).unwrap() else {
            assert!(matches!(row.provocation, Provocation::Impossible(why) if !why.is_empty()));
            continue;
        };
        let Some(expected) = row.answer else {
            continue;
        };
        match drive(&workload).await {
            Ok(seen)
                if (seen.status, seen.code.as_str()) == (expected.status, expected.code)
                    && seen.text.contains(expected.text) => {}
            other => wrong.push(format!("{name}: expected {expected:?}\n   found {other:?}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn every_scenario_ends_as_its_story_says() {
    let lab = lab();
    let mut wrong = Vec::new();
    for scenario in scenarios() {
        let workload = lab.workload(scenario).unwrap();
        let seen = match scenario.outcome {
            // What an agent finds before it asks is not for a blunt client.
            Outcome::Invalid => continue,
            Outcome::Unreachable => {
                assert!(drive(&workload).await.is_err(), "{}", scenario.name);
                continue;
            }
            _ => drive(&workload).await.unwrap(),
        };
        let fine = match (scenario.outcome, scenario.provider_code) {
            (Outcome::Verified, _) => seen.verified(),
            (_, Some(code)) => seen.code == code,
            // The metadata server has no codes.
            (_, None) => seen.status >= 400 && seen.code.is_empty(),
        };
        if !fine {
            wrong.push(format!(
                "{}: expected {:?}, found {seen:?}",
                scenario.name, scenario.provider_code
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_row_of_the_catalogue_is_there() {
    let ids: BTreeSet<&str> = rows().iter().map(|row| row.id).collect();
    let mut missing = Vec::new();
    let numbered = |prefix: &str, last: u32| {
        (1..=last)
            .map(|n| format!("{prefix}{n}"))
            .collect::<Vec<_>>()
    };
    let mut expected = numbered("A", 34);
    expected.extend(["A15b", "A15c"].map(str::to_owned));
    expected.extend(numbered("P", 8));
    expected.extend(numbered("G", 31));
    expected.extend(
        [
            "70021", "700211", "700212", "7002121", "700213", "7002131", "7002138", "700222",
            "700223", "700238", "7002381", "7002241", "700233", "700234", "700235", "700236",
            "700237", "700226", "7000226", "700227", "70025", "700016", "7000229", "7000112",
            "90002", "900023", "900382", "900439", "900440", "500011", "1002012", "70011", "28002",
            "900144", "7000218", "50027", "5002727", "700024", "700027", "700021", "90061",
            "50166", "501661", "50013", "500133", "7000215", "7000222", "53003", "530032", "53005",
            "500021", "500022", "5000224", "5000225", "5000229", "50020", "50034", "50196",
            "500531", "90033", "90055", "FIC",
        ]
        .map(str::to_owned),
    );
    for id in &expected {
        if !ids.contains(id.as_str()) {
            missing.push(id);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(ids.difference(&expected).count(), 0);
}

#[test]
fn names_of_cases_are_unique() {
    let mut seen = BTreeSet::new();
    let names = rows()
        .iter()
        .filter_map(|r| r.case())
        .chain(scenarios().iter().map(|s| &s.case))
        .map(|c| c.name);
    for name in names {
        assert!(seen.insert(name), "{name} twice");
        assert!((6..=30).contains(&name.len()), "{name}");
    }
}
