//! The same report in all formats.

use std::time::Duration;

use cwii_contract::Provider;
use cwii_token::text::is_printable;
use serde_json::Value;

use super::*;
use crate::{
    Applicability, Severity, Subject, catalogue,
    doctor::{Examination, MechanismKind, Need, State, Target, Verdict},
    report::Finding,
};

/// The workload of the documentation's sample: an audience with a slash too many.
pub(super) fn sample() -> Examination {
    let finding = Finding::new("TOK03", "token audience is not what AWS STS expects")
        .of(Provider::Aws)
        .at(Subject {
            kind: "ServiceAccount".into(),
            namespace: Some("shop".into()),
            name: "checkout".into(),
            pointer: Some("/metadata/annotations/cwii.dev~1aws-audience".into()),
            what: Some("annotation `cwii.dev/aws-audience`".into()),
            ..Subject::default()
        })
        .compared("sts.amazonaws.com/", "sts.amazonaws.com")
        .evidence_from("set by", "field manager `helm`", "3 d ago")
        .answered("AWS will answer: InvalidIdentityToken: Incorrect token audience")
        .fix("correct the annotation, then restart the workload")
        .command("kubectl -n shop annotate serviceaccount checkout cwii.dev/aws-audience=sts.amazonaws.com --overwrite")
        .command("kubectl -n shop rollout restart deployment checkout")
        .applicable(Applicability::Safe);
    examination(vec![
        ("TOK03", State::Fail(Box::new(finding))),
        (
            "AWS19",
            State::Unknown {
                why: "blocked by TOK03".into(),
                need: None,
                blocked_by: vec!["TOK03"],
            },
        ),
        (
            "AWS05",
            State::Skipped {
                why: "--trust would show the trust documents".into(),
                need: Some(Need::Trust),
            },
        ),
        ("POD02", State::Pass),
        ("POD10", State::Pass),
        ("ISS01", State::Pass),
        ("GKE04", State::NotApplicable("not on GKE".into())),
    ])
}

pub(super) fn examination(states: Vec<(&str, State)>) -> Examination {
    Examination {
        mechanisms: vec![crate::doctor::Mechanism::new(
            MechanismKind::Cwii,
            Provider::Aws,
        )],
        verdicts: states
            .into_iter()
            .map(|(code, state)| Verdict {
                entry: catalogue::find(code).unwrap(),
                state,
            })
            .collect(),
    }
}

pub(super) fn target(name: &str) -> Target {
    Target {
        kind: "Pod".into(),
        namespace: "shop".into(),
        name: name.into(),
    }
}

pub(super) fn context() -> Context {
    Context {
        tool_version: "0.1.0".into(),
        kube_context: Some("prod-eu".into()),
        server_version: Some("v1.34.2".into()),
        elapsed: Some(Duration::from_millis(1234)),
    }
}

pub(super) fn report(examination: &Examination) -> Report {
    Report::new(
        &target("checkout-7d9f"),
        examination,
        &context(),
        Policy::default(),
    )
}

#[test]
fn the_page_reads_like_its_sample() {
    let report = report(&sample());
    let page = Document::Report(&report).render(Format::Human, &Style::default());
    assert_eq!(
        page,
        "\
shop/pod/checkout-7d9f · aws · context prod-eu · Kubernetes v1.34.2

  access ── injector ── wiring ── token ── issuer ── trust ── exchange
    ok         -          ok      FAIL       ok        ?         ?

error[TOK03]: token audience is not what AWS STS expects
  --> serviceaccount/checkout  annotation cwii.dev/aws-audience
   | sts.amazonaws.com/
   |                  ^ trailing slash; expected `sts.amazonaws.com`
   = set by: field manager `helm` (3 d ago)
   = AWS will answer: InvalidIdentityToken: Incorrect token audience
help: correct the annotation, then restart the workload
        kubectl -n shop annotate serviceaccount checkout cwii.dev/aws-audience=sts.amazonaws.com \\
          --overwrite
        kubectl -n shop rollout restart deployment checkout
      more: kubectl cwii explain TOK03

unknown: AWS19: blocked by TOK03
not looked at: 1 check, settled by `--trust`

1 error · 3 passed · 1 not applicable · 1 unknown · 1 not looked at · 1.2 s
"
    );
}

const ALL: [Format; 11] = [
    Format::Human,
    Format::Wide,
    Format::Short,
    Format::Name,
    Format::Json,
    Format::Yaml,
    Format::Jsonl,
    Format::Sarif,
    Format::Junit,
    Format::Github,
    Format::Html,
];

/// What a stranger may have written into annotations, claims and documents.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\r::error::x%0A\n::stop-commands::t\u{9b}31m\u{202e}evil\u{2066}\u{200b}\u{feff}\u{e0041}\0\u{ffff}</pre><script>alert(1)</script><img src=x onerror=alert(1)>\" ' & ]]> `--` \u{7f}é";

fn hostile() -> Examination {
    let finding = Finding::new("AWS05", HOSTILE)
        .of(Provider::Aws)
        .at(Subject {
            kind: "ServiceAccount".into(),
            namespace: Some(HOSTILE.into()),
            name: HOSTILE.into(),
            pointer: Some(HOSTILE.into()),
            what: Some(HOSTILE.into()),
            file: Some(HOSTILE.into()),
            line: Some(7),
        })
        .compared(HOSTILE, "\u{202e}")
        .evidence_from("claim", HOSTILE, HOSTILE)
        .answered(HOSTILE)
        .fix(HOSTILE)
        .command(format!(
            "kubectl annotate serviceaccount checkout a='{HOSTILE}'"
        ));
    let unknown = |need| State::Unknown {
        why: HOSTILE.into(),
        need,
        blocked_by: Vec::new(),
    };
    let mut examination = examination(vec![
        ("AWS05", State::Fail(Box::new(finding.clone()))),
        ("AWS12", State::Warn(Box::new(finding.warning()))),
        ("ISS06", unknown(Some(Need::Published))),
        (
            "TOK03",
            State::Skipped {
                why: HOSTILE.into(),
                need: None,
            },
        ),
        ("GKE04", State::NotApplicable(HOSTILE.into())),
    ]);
    examination.mechanisms[0].asked_by = Some(Subject {
        name: HOSTILE.into(),
        ..Subject::default()
    });
    examination
}

fn hostile_report() -> Report {
    let context = Context {
        tool_version: HOSTILE.into(),
        kube_context: Some(HOSTILE.into()),
        server_version: Some(HOSTILE.into()),
        elapsed: None,
    };
    Report::new(&target(HOSTILE), &hostile(), &context, Policy::default())
}

fn sweep_of(examinations: &[Examination]) -> Sweep {
    let mut builder = SweepBuilder::new(context(), Policy::default());
    for (index, examination) in examinations.iter().enumerate() {
        let pod = target(&format!("pod-{index}"));
        builder.add(&pod, &pod, examination);
    }
    builder.finish()
}

/// Every format of a report and of a sweep.
fn rendered(report: &Report, sweep: &Sweep, style: &Style) -> Vec<(String, String)> {
    ALL.into_iter()
        .flat_map(|format| {
            [
                (
                    format!("report {format:?}"),
                    Document::Report(report).render(format, style),
                ),
                (
                    format!("sweep {format:?}"),
                    Document::Sweep(sweep).render(format, style),
                ),
            ]
        })
        .collect()
}

#[test]
fn nothing_that_a_terminal_or_a_browser_would_obey_gets_through_any_format() {
    let report = hostile_report();
    let mut builder = SweepBuilder::new(context(), Policy::default());
    builder.add(&target(HOSTILE), &target(HOSTILE), &hostile());
    builder.add(&target("b"), &target("b"), &hostile());
    let sweep = builder.finish();
    for (name, text) in rendered(&report, &sweep, &Style::default()) {
        assert!(text.ends_with('\n') && !text.is_empty(), "{name}");
        for c in text.chars() {
            assert!(c == '\n' || is_printable(c), "{name}: {c:?}");
        }
        if !name.ends_with("Json")
            && !name.ends_with("Jsonl")
            && !name.ends_with("Yaml")
            && !name.ends_with("Sarif")
        {
            assert!(
                text.contains("\\u{1b}]0;owned"),
                "{name}: what was there can be seen"
            );
        }
    }
    // Workflow commands: as many lines as were meant, each a command.
    let github = Document::Report(&report).render(Format::Github, &Style::default());
    assert_eq!(github.lines().count(), 3, "{github}");
    assert!(github.lines().all(|line| {
        ["::error ", "::warning ", "::notice "]
            .iter()
            .any(|word| line.starts_with(word))
    }));
    for line in github.lines() {
        let properties = line[2..].split_once("::").unwrap().0;
        assert!(!properties.contains("::"), "{properties}");
    }
}

#[test]
fn json_keeps_every_character() {
    let report = hostile_report();
    let read: Value =
        serde_json::from_str(&Document::Report(&report).render(Format::Json, &Style::default()))
            .unwrap();
    assert_eq!(read["results"][0]["message"], HOSTILE);
    assert_eq!(read, serde_json::to_value(&report).unwrap());
}

#[test]
fn yaml_reads_back_as_the_json() {
    for report in [report(&sample()), hostile_report()] {
        let yaml = Document::Report(&report).render(Format::Yaml, &Style::default());
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read, serde_json::to_value(&report).unwrap(), "{yaml}");
    }
    let sweep = sweep_of(&[sample(), hostile()]);
    let yaml = Document::Sweep(&sweep).render(Format::Yaml, &Style::default());
    let read: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(read, serde_json::to_value(&sweep).unwrap());
}

#[test]
fn json_obeys_the_schema_that_its_types_make() {
    let report_schema =
        jsonschema::validator_for(schemars::schema_for!(Report).as_value()).unwrap();
    let sweep_schema = jsonschema::validator_for(schemars::schema_for!(Sweep).as_value()).unwrap();
    for report in [report(&sample()), hostile_report()] {
        let text = Document::Report(&report).render(Format::Json, &Style::default());
        let errors = report_schema
            .iter_errors(&serde_json::from_str(&text).unwrap())
            .map(|error| error.to_string())
            .collect::<Vec<_>>();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    let sweep = sweep_of(&[sample(), hostile(), sample()]);
    let text = Document::Sweep(&sweep).render(Format::Json, &Style::default());
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(sweep_schema.is_valid(&value));
    // A schema that takes anything would prove nothing.
    let mut broken = value;
    broken["workloads"][0]["path"][0]["state"] = "fine".into();
    assert!(!sweep_schema.is_valid(&broken));
}

#[test]
fn json_lines_hold_the_same_results() {
    let report = report(&sample());
    let text = Document::Report(&report).render(Format::Jsonl, &Style::default());
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), report.results.len() + 2);
    assert_eq!(lines[0]["type"], "report");
    assert_eq!(lines[0]["schema"]["name"], "cwii.report");
    assert_eq!(lines[1]["type"], "result");
    assert_eq!(lines[1]["code"], "TOK03");
    let end = lines.last().unwrap();
    assert_eq!(
        (&end["type"], &end["exitCode"]),
        (&"summary".into(), &1.into())
    );
}

#[test]
fn sarif_obeys_the_public_schema() {
    // A bracket too many in its pattern for a run's language, which ECMA-262 does not take in Unicode mode.
    let schema =
        include_str!("../../tests/schemas/sarif-2.1.0.json").replace("{2}]?$\"", "{2}?$\"");
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    for (name, text) in [
        (
            "sample",
            Document::Report(&report(&sample())).render(Format::Sarif, &Style::default()),
        ),
        (
            "hostile",
            Document::Report(&hostile_report()).render(Format::Sarif, &Style::default()),
        ),
        (
            "sweep",
            Document::Sweep(&sweep_of(&[sample(), hostile()]))
                .render(Format::Sarif, &Style::default()),
        ),
    ] {
        let value: Value = serde_json::from_str(&text).unwrap();
        let errors: Vec<_> = schema
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        let run = &value["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!(rules.len(), catalogue::entries().count());
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
        }
        assert_eq!(run["invocations"][0]["exitCode"], 1);
    }
}

#[test]
fn sarif_names_file_and_line() {
    let finding = Finding::new("POD10", "x").at(Subject {
        kind: "Pod".into(),
        name: "a".into(),
        file: Some("deploy/my app.yaml".into()),
        line: Some(12),
        ..Subject::default()
    });
    let report = report(&examination(vec![(
        "POD10",
        State::Fail(Box::new(finding)),
    )]));
    let text = Document::Report(&report).render(Format::Sarif, &Style::default());
    let value: Value = serde_json::from_str(&text).unwrap();
    let place = &value["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "deploy/my%20app.yaml");
    assert_eq!(place["region"]["startLine"], 12);
}

#[test]
fn junit_parses_and_counts_what_it_holds() {
    use quick_xml::{Reader, events::Event};
    for (name, text) in [
        Document::Report(&report(&sample())),
        Document::Report(&hostile_report()),
        Document::Sweep(&sweep_of(&[sample(), hostile()])),
    ]
    .map(|document| {
        (
            document.exit_code(),
            document.render(Format::Junit, &Style::default()),
        )
    }) {
        let mut reader = Reader::from_str(&text);
        reader.config_mut().check_end_names = true;
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        let mut declared = std::collections::BTreeMap::<String, usize>::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Start(element) | Event::Empty(element) => {
                    let tag = element.name().as_ref().to_owned();
                    for attribute in element.attributes() {
                        let attribute = attribute.unwrap();
                        let key = attribute.key.as_ref().to_owned();
                        if tag == "testsuite"
                            && let Ok(count) = attribute.value.parse()
                        {
                            declared.insert(key, count);
                        }
                    }
                    *counts.entry(tag).or_default() += 1;
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let count = |tag: &str| counts.get(tag).copied().unwrap_or(0);
        assert_eq!(declared["tests"], count("testcase"), "{name}: {text}");
        assert!(declared["failures"] > 0, "{text}");
        assert!(declared["failures"] <= count("failure"), "{text}");
        assert_eq!(declared["errors"], count("error"), "{text}");
        assert_eq!(declared["skipped"], count("skipped"), "{text}");
    }
}

#[test]
fn html_loads_nothing_and_holds_no_element_of_a_stranger() {
    let sweep = sweep_of(&[sample(), hostile()]);
    for text in [
        Document::Report(&hostile_report()).render(Format::Html, &Style::default()),
        Document::Sweep(&sweep).render(Format::Html, &Style::default()),
    ] {
        let known = [
            "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "main", "header", "h1",
            "h2", "p", "svg", "line", "rect", "circle", "text", "span", "article", "section", "dl",
            "dt", "dd", "code", "mark", "ul", "li", "strong", "pre", "details", "summary", "div",
            "table", "thead", "tbody", "tr", "th", "td", "footer",
        ];
        let mut open = Vec::new();
        for piece in text.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').unwrap();
            let name: String = tag
                .trim_start_matches('/')
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '!')
                .collect();
            assert!(known.contains(&name.as_str()), "<{tag}>");
            for loads in [" src", " href", " onerror", " data=", "url("] {
                assert!(!tag.contains(loads), "<{tag}>");
            }
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{tag}");
            } else if !tag.ends_with('/') && name != "meta" && name != "!DOCTYPE" {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
        let css = text
            .split_once("<style>")
            .unwrap()
            .1
            .split_once("</style>")
            .unwrap()
            .0;
        assert!(!css.contains("url(") && !css.contains("@import"), "{css}");
        assert!(css.contains("prefers-color-scheme"));
        assert!(text.contains("default-src 'none'"));
    }
}

#[test]
fn pages_stay_within_their_width() {
    let long = "a policy that was written by hand and names another account ".repeat(6);
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":[{}]}}"#,
        [r#"{"Effect":"Allow","Action":"sts:AssumeRoleWithWebIdentity","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/i.example"}}"#; 4].join(",")
    );
    let finding = Finding::new("AWS05", long.trim())
        .at(Subject {
            kind: "IAM role".into(),
            name: "checkout".into(),
            what: Some(long.trim().into()),
            ..Subject::default()
        })
        .compared(
            format!("{}X{}", "a".repeat(200), "b".repeat(90)),
            "a".repeat(300),
        )
        .evidence_from("policy", long.trim(), "role.json")
        .answered(long.trim())
        .fix(long.trim())
        .command(format!(
            "aws iam update-assume-role-policy --role-name checkout --policy-document '{document}'"
        ));
    let mut states = vec![("AWS05", State::Fail(Box::new(finding)))];
    for code in [
        "ISS05", "ISS06", "ISS08", "ISS10", "ISS14", "TOK05", "TOK09", "TOK12",
    ] {
        states.push((
            code,
            State::Unknown {
                why: long.trim().into(),
                need: Some(Need::Published),
                blocked_by: Vec::new(),
            },
        ));
    }
    let report = report(&examination(states.clone()));
    let sweep = sweep_of(&[sample(), examination(states)]);
    for columns in [80, 100, 140] {
        let style = Style {
            width: columns,
            ..Style::default()
        };
        for format in [Format::Human, Format::Wide, Format::Short] {
            for document in [Document::Report(&report), Document::Sweep(&sweep)] {
                for line in document.render(format, &style).lines() {
                    assert!(text::width(line) <= columns, "{columns}: {line}");
                }
            }
        }
    }
}

#[test]
fn colour_says_nothing_that_the_text_does_not_say() {
    let plain = Style::default();
    let colored = Style {
        color: true,
        ..plain
    };
    let report = report(&sample());
    let sweep = sweep_of(&[sample(), sample()]);
    for ((name, with), (_, without)) in rendered(&report, &sweep, &colored)
        .into_iter()
        .zip(rendered(&report, &sweep, &plain))
    {
        let mut text = String::new();
        let mut rest = with.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            text.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        text.push_str(rest);
        assert_eq!(text, without, "{name}");
    }
}

#[test]
fn a_page_can_do_without_unicode() {
    let style = Style {
        unicode: false,
        ..Style::default()
    };
    let mut examination = hostile();
    examination.verdicts.extend(sample().verdicts);
    let page = Document::Report(&report(&examination)).render(Format::Wide, &style);
    assert!(page.is_ascii(), "{page}");
}

#[test]
fn the_exit_code_is_settled_before_the_format() {
    let warning = || State::Warn(Box::new(Finding::new("AWS12", "x").warning()));
    let failure = || State::Fail(Box::new(Finding::new("AWS05", "x")));
    let denied = || State::Unknown {
        why: "may not `get secrets`".into(),
        need: Some(Need::Backends),
        blocked_by: Vec::new(),
    };
    let blocked = || State::Unknown {
        why: "blocked by AWS12".into(),
        need: None,
        blocked_by: vec!["AWS12"],
    };
    let skipped = || State::Skipped {
        why: "--trust would show the trust documents".into(),
        need: Some(Need::Trust),
    };
    let strict = Policy {
        fail_on: Severity::Warning,
        allow_unknown: false,
    };
    let lenient = Policy {
        fail_on: Severity::Error,
        allow_unknown: true,
    };
    for (states, policy, code, verdict) in [
        (vec![State::Pass], Policy::default(), 0, "pass"),
        (vec![skipped()], Policy::default(), 0, "pass"),
        (vec![warning()], Policy::default(), 0, "warn"),
        (vec![warning()], strict, 1, "warn"),
        (vec![warning(), blocked()], Policy::default(), 0, "warn"),
        (vec![denied()], Policy::default(), 3, "inconclusive"),
        (vec![denied()], lenient, 0, "inconclusive"),
        (
            vec![warning(), denied()],
            Policy::default(),
            3,
            "inconclusive",
        ),
        (vec![warning(), denied()], strict, 1, "inconclusive"),
        (vec![failure(), denied()], Policy::default(), 1, "fail"),
        (vec![failure(), denied()], lenient, 1, "fail"),
    ] {
        let examination = examination(states.into_iter().map(|state| ("AWS12", state)).collect());
        let report = Report::new(&target("a"), &examination, &context(), policy);
        let mut builder = SweepBuilder::new(context(), policy);
        builder.add(&target("a"), &target("a"), &examination);
        let sweep = builder.finish();
        let value = serde_json::to_value(&report).unwrap();
        assert_eq!(value["summary"]["verdict"], verdict);
        assert_eq!(report.summary.exit_code, code, "{verdict}");
        assert_eq!(sweep.summary.exit_code, code, "{verdict}");
        for (name, text) in rendered(&report, &sweep, &Style::default()) {
            if name.ends_with(" Json") {
                let value: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(value["summary"]["exitCode"], code);
            }
        }
    }
    let interrupted = report(&sample()).ended_with(130);
    assert_eq!(Document::Report(&interrupted).exit_code(), 130);
}

#[test]
fn without_a_measured_time_a_report_is_the_same_every_time() {
    let make = || {
        let context = Context {
            elapsed: None,
            ..context()
        };
        let report = Report::new(&target("a"), &sample(), &context, Policy::default());
        Document::Report(&report).render(Format::Json, &Style::default())
    };
    assert_eq!(make(), make());
    assert!(!make().contains("durationMs"));
}

#[test]
fn a_stage_is_as_bad_as_the_worst_that_belongs_to_it() {
    let state = |states: Vec<(&str, State)>, stage| {
        let report = report(&examination(states));
        let step = report.path.iter().find(|step| step.stage == stage).unwrap();
        step.state
    };
    let trust = || State::Skipped {
        why: "--trust would show the trust documents".into(),
        need: Some(Need::Trust),
    };
    let pod = || State::Skipped {
        why: "only from inside".into(),
        need: None,
    };
    let probe = || State::Skipped {
        why: "no probe".into(),
        need: Some(Need::Published),
    };
    // What the cloud was told was not looked at: nothing else makes that stage one that is fine.
    assert_eq!(
        state(
            vec![("AWS05", trust()), ("AWS09", State::Pass)],
            Stage::Trust
        ),
        StepState::Skipped
    );
    assert_eq!(
        state(vec![("AWS05", State::Pass), ("AWS16", pod())], Stage::Trust),
        StepState::Pass
    );
    assert_eq!(
        state(
            vec![("ISS01", State::Pass), ("ISS06", probe())],
            Stage::Issuer
        ),
        StepState::Partial
    );
    // Network that looks open is no exchange.
    assert_eq!(
        state(
            vec![("NET05", State::Pass), ("AWS19", pod())],
            Stage::Exchange
        ),
        StepState::Skipped
    );
    assert_eq!(
        state(
            vec![("GKE04", State::NotApplicable("x".into()))],
            Stage::Wiring
        ),
        StepState::NotApplicable
    );
}

#[test]
fn one_broken_service_account_with_three_hundred_pods_is_one_finding() {
    let mut builder = SweepBuilder::new(context(), Policy::default());
    for index in 0..300 {
        let pod = target(&format!("checkout-{index}"));
        builder.add(&pod, &pod, &sample());
    }
    let sweep = builder.finish();
    assert_eq!(sweep.workloads.len(), 300);
    assert_eq!(sweep.findings.len(), 1);
    assert_eq!(sweep.findings[0].count, 300);
    assert_eq!(sweep.findings[0].examples.len(), 5);
    let page = Document::Sweep(&sweep).render(Format::Human, &Style::default());
    assert_eq!(page.matches("error[TOK03]").count(), 1);
    assert!(page.contains("and 295 more"), "{page}");
}

#[test]
fn pods_of_one_workload_share_a_row_and_their_own_faults_are_one() {
    let deployment = Target {
        kind: "Deployment".into(),
        ..target("checkout")
    };
    let mut builder = SweepBuilder::new(context(), Policy::default());
    for name in ["checkout-7d9f-a1", "checkout-7d9f-b2", "checkout-7d9f-c3"] {
        let finding = Finding::new("POD10", format!("pod `{name}` has no token")).at(Subject {
            kind: "Pod".into(),
            namespace: Some("shop".into()),
            name: name.into(),
            ..Subject::default()
        });
        let examination = examination(vec![("POD10", State::Fail(Box::new(finding)))]);
        builder.add(&deployment, &target(name), &examination);
    }
    builder.add(
        &target("other"),
        &target("other"),
        &examination(vec![("POD10", State::Pass)]),
    );
    let sweep = builder.finish();
    assert_eq!((sweep.summary.workloads, sweep.summary.pods), (2, 4));
    assert_eq!(sweep.findings.len(), 1, "{:#?}", sweep.findings);
    assert_eq!(sweep.findings[0].count, 1);
    assert_eq!(sweep.workloads[0].target.name, "checkout", "worst first");
    assert_eq!(sweep.workloads[0].pods, 3);
    let names = Document::Sweep(&sweep).render(Format::Name, &Style::default());
    assert_eq!(names, "deployment/checkout\n");
}

#[test]
fn what_no_flag_settles_takes_one_line_unless_everything_is_wanted() {
    let skipped = |why: &str, need| State::Skipped {
        why: why.into(),
        need,
    };
    let report = report(&examination(vec![
        ("AWS05", skipped("--trust would show it", Some(Need::Trust))),
        ("ISS06", skipped("b", None)),
        ("TOK05", skipped("c", Some(Need::Events))),
        ("TOK09", skipped("c", Some(Need::Events))),
    ]));
    let lines = |format| -> Vec<String> {
        let page = Document::Report(&report).render(format, &Style::default());
        page.lines()
            .filter(|line| line.starts_with("not looked at"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        lines(Format::Human),
        [
            "not looked at: 1 check, settled by `--trust`",
            "not looked at: 3 checks, for 2 other reasons, which `-o wide` names"
        ]
    );
    assert_eq!(lines(Format::Wide).len(), 3);
}

#[test]
fn a_sweep_of_ten_thousand_pods_keeps_what_is_printed_and_no_more() {
    let mut builder = SweepBuilder::new(context(), Policy::default());
    let broken = sample();
    for index in 0..10_000 {
        let pod = target(&format!("pod-{index}"));
        builder.add(&pod, &pod, &broken);
    }
    let sweep = builder.finish();
    assert_eq!(sweep.summary.fail, 10_000);
    assert_eq!(sweep.findings.len(), 1);
    assert_eq!((sweep.unknown.len(), sweep.skipped.len()), (1, 1));
    assert_eq!(sweep.skipped[0].count, 10_000);
    let page = Document::Sweep(&sweep).render(Format::Short, &Style::default());
    assert!(page.lines().count() < 10_050);
}
