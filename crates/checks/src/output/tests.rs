//! The same report in all formats.

use std::time::Duration;

use cwii_contract::Provider;

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
                why: "trust documents were not given".into(),
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
