//! The policy language: operators, missing keys, modifiers, variables, principals, actions, several statements.

use cwii_trust::aws::{
    ConditionMiss, KeyMistake, KeyStatus, LintKind, PrincipalDifference, Reason,
    policy::{self, Caller, Context, Policy},
};
use serde_json::{Value, json};

use crate::support::{PREFIX, SUBJECT};

const PROVIDER: &str =
    "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC";
const ACTION: &str = "sts:AssumeRoleWithWebIdentity";

fn context() -> Context {
    let mut context = Context::new();
    context.set_issuer(PREFIX, vec!["aud", "oaud", "sub", "amr", "email"]);
    context.set(&format!("{PREFIX}:sub"), [SUBJECT]);
    context.set(&format!("{PREFIX}:aud"), ["sts.amazonaws.com"]);
    context.set(&format!("{PREFIX}:oaud"), ["sts.amazonaws.com", "vault"]);
    context.set("aws:CurrentTime", ["2026-11-21T12:00:00Z"]);
    context.set("aws:EpochTime", ["1795262400"]);
    context.set("aws:SourceIp", ["10.1.2.3"]);
    context.set("aws:RequestTag/team", ["shop"]);
    context.set("aws:RequestTag/star", ["*"]);
    context.set("aws:TagKeys", ["team", "star"]);
    context.set("aws:userid", [PROVIDER]);
    context.set("sts:RoleSessionName", ["checkout-0"]);
    context.set("sts:RoleAuthorizedByIdp", ["false"]);
    context.set("x:bytes", ["hello"]);
    context.set("x:ip6", ["2001:db8::1"]);
    context.set_not_known("aws:SourceVpc");
    context
}

fn statement(condition: &Value) -> Value {
    let condition: Value = serde_json::from_str(
        &condition
            .to_string()
            .replace("\"P:", &format!("\"{PREFIX}:")),
    )
    .unwrap();
    json!({
        "Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": ACTION, "Condition": condition,
    })
}

fn policy_of(statements: Value) -> Policy {
    Policy::parse(&json!({"Version": "2012-10-17", "Statement": statements})).unwrap()
}

fn allows(policy: &Policy) -> bool {
    policy::evaluate(policy, Caller::Federated(PROVIDER), ACTION, &context())
        .outcome
        .is_ok()
}

#[test]
fn every_operator_compares_as_documented() {
    let rows: Vec<(&str, Value, bool)> = vec![
        (
            "StringEquals is exact",
            json!({"StringEquals": {"P:sub": SUBJECT}}),
            true,
        ),
        (
            "StringEquals has case",
            json!({"StringEquals": {"P:sub": SUBJECT.to_uppercase()}}),
            false,
        ),
        (
            "StringEquals takes any of several values",
            json!({"StringEquals": {"P:sub": ["x", SUBJECT]}}),
            true,
        ),
        (
            "StringEquals takes wildcards literally",
            json!({"StringEquals": {"P:sub": "system:serviceaccount:shop:*"}}),
            false,
        ),
        (
            "StringEquals with no values",
            json!({"StringEquals": {"P:sub": []}}),
            false,
        ),
        (
            "StringNotEquals",
            json!({"StringNotEquals": {"P:sub": "x"}}),
            true,
        ),
        (
            "StringNotEquals is nor over values",
            json!({"StringNotEquals": {"P:sub": ["x", SUBJECT]}}),
            false,
        ),
        (
            "StringNotEquals with no values",
            json!({"StringNotEquals": {"P:sub": []}}),
            true,
        ),
        (
            "StringEqualsIgnoreCase",
            json!({"StringEqualsIgnoreCase": {"P:sub": SUBJECT.to_uppercase()}}),
            true,
        ),
        (
            "StringNotEqualsIgnoreCase",
            json!({"StringNotEqualsIgnoreCase": {"P:sub": SUBJECT.to_uppercase()}}),
            false,
        ),
        (
            "StringLike with star",
            json!({"StringLike": {"P:sub": "system:serviceaccount:shop:*"}}),
            true,
        ),
        (
            "StringLike with question mark",
            json!({"StringLike": {"P:sub": "system:serviceaccount:sho?:checkout"}}),
            true,
        ),
        (
            "StringLike has case",
            json!({"StringLike": {"P:sub": "System:*"}}),
            false,
        ),
        (
            "StringLike is anchored",
            json!({"StringLike": {"P:sub": "system"}}),
            false,
        ),
        (
            "StringLike with several stars",
            json!({"StringLike": {"P:sub": "*:shop:*t"}}),
            true,
        ),
        (
            "StringNotLike",
            json!({"StringNotLike": {"P:sub": "*:shop:*"}}),
            false,
        ),
        (
            "operators have no case",
            json!({"stringlike": {"P:sub": "*"}}),
            true,
        ),
        (
            "key names have no case",
            json!({"StringEquals": {PREFIX.to_uppercase() + ":SUB": SUBJECT}}),
            true,
        ),
        (
            "operators are and",
            json!({"StringEquals": {"P:sub": SUBJECT}, "StringLike": {"P:aud": "x"}}),
            false,
        ),
        (
            "keys are and",
            json!({"StringEquals": {"P:sub": SUBJECT, "P:aud": "x"}}),
            false,
        ),
        (
            "keys are and, all hold",
            json!({"StringEquals": {"P:sub": SUBJECT, "P:aud": "sts.amazonaws.com"}}),
            true,
        ),
        (
            "NumericEquals",
            json!({"NumericEquals": {"aws:EpochTime": 1_795_262_400}}),
            true,
        ),
        (
            "NumericEquals of text",
            json!({"NumericEquals": {"aws:EpochTime": "1795262400.0"}}),
            true,
        ),
        (
            "NumericNotEquals",
            json!({"NumericNotEquals": {"aws:EpochTime": 1}}),
            true,
        ),
        (
            "NumericLessThan",
            json!({"NumericLessThan": {"aws:EpochTime": 1_795_262_400}}),
            false,
        ),
        (
            "NumericLessThanEquals",
            json!({"NumericLessThanEquals": {"aws:EpochTime": 1_795_262_400}}),
            true,
        ),
        (
            "NumericGreaterThan",
            json!({"NumericGreaterThan": {"aws:EpochTime": 1}}),
            true,
        ),
        (
            "NumericGreaterThanEquals",
            json!({"NumericGreaterThanEquals": {"aws:EpochTime": 1_795_262_401}}),
            false,
        ),
        (
            "Numeric of a word is false",
            json!({"NumericLessThan": {"P:sub": 5}}),
            false,
        ),
        (
            "DateEquals",
            json!({"DateEquals": {"aws:CurrentTime": "2026-11-21T12:00:00Z"}}),
            true,
        ),
        (
            "DateEquals with offset",
            json!({"DateEquals": {"aws:CurrentTime": "2026-11-21T13:00:00+01:00"}}),
            true,
        ),
        (
            "DateNotEquals",
            json!({"DateNotEquals": {"aws:CurrentTime": "2026-11-21"}}),
            true,
        ),
        (
            "DateLessThan a day",
            json!({"DateLessThan": {"aws:CurrentTime": "2026-11-22"}}),
            true,
        ),
        (
            "DateLessThanEquals an epoch",
            json!({"DateLessThanEquals": {"aws:CurrentTime": "1795262400"}}),
            true,
        ),
        (
            "DateGreaterThan a year",
            json!({"DateGreaterThan": {"aws:CurrentTime": "2026"}}),
            true,
        ),
        (
            "DateGreaterThan a month",
            json!({"DateGreaterThan": {"aws:CurrentTime": "2026-12"}}),
            false,
        ),
        (
            "DateGreaterThanEquals an epoch key",
            json!({"DateGreaterThanEquals": {"aws:EpochTime": "2026-11-21T12:00:01Z"}}),
            false,
        ),
        (
            "Date of a word is false",
            json!({"DateLessThan": {"aws:CurrentTime": "tomorrow"}}),
            false,
        ),
        (
            "Bool as text",
            json!({"Bool": {"sts:RoleAuthorizedByIdp": "false"}}),
            true,
        ),
        (
            "Bool as boolean",
            json!({"Bool": {"sts:RoleAuthorizedByIdp": true}}),
            false,
        ),
        (
            "Bool has no case",
            json!({"Bool": {"sts:RoleAuthorizedByIdp": "False"}}),
            true,
        ),
        (
            "BinaryEquals",
            json!({"BinaryEquals": {"x:bytes": "aGVsbG8="}}),
            true,
        ),
        (
            "BinaryEquals of other bytes",
            json!({"BinaryEquals": {"x:bytes": "aGVsbA=="}}),
            false,
        ),
        (
            "IpAddress in a network",
            json!({"IpAddress": {"aws:SourceIp": "10.1.0.0/16"}}),
            true,
        ),
        (
            "IpAddress outside",
            json!({"IpAddress": {"aws:SourceIp": ["192.168.0.0/16", "10.2.0.0/16"]}}),
            false,
        ),
        (
            "IpAddress alone",
            json!({"IpAddress": {"aws:SourceIp": "10.1.2.3"}}),
            true,
        ),
        (
            "IpAddress everything",
            json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}),
            true,
        ),
        (
            "IpAddress of version 6",
            json!({"IpAddress": {"x:ip6": "2001:db8::/32"}}),
            true,
        ),
        (
            "IpAddress of version 6 everything",
            json!({"IpAddress": {"x:ip6": "::/0"}}),
            true,
        ),
        (
            "IpAddress of the other version",
            json!({"IpAddress": {"x:ip6": "10.0.0.0/8"}}),
            false,
        ),
        (
            "NotIpAddress",
            json!({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
            false,
        ),
        (
            "ArnLike part by part",
            json!({"ArnLike": {"aws:userid": "arn:aws:iam::*:oidc-provider/*"}}),
            true,
        ),
        (
            "ArnLike does not cross colons",
            json!({"ArnLike": {"aws:userid": "arn:*:oidc-provider/*"}}),
            false,
        ),
        (
            "ArnEquals takes wildcards",
            json!({"ArnEquals": {"aws:userid": "arn:aws:iam::1234567890??:oidc-provider/*"}}),
            true,
        ),
        (
            "ArnNotEquals",
            json!({"ArnNotEquals": {"aws:userid": PROVIDER}}),
            false,
        ),
        (
            "ArnNotLike",
            json!({"ArnNotLike": {"aws:userid": "arn:aws:iam::9*:*"}}),
            true,
        ),
    ];
    assert!(rows.len() >= 50);
    for (name, condition, expected) in rows {
        assert_eq!(
            allows(&policy_of(json!([statement(&condition)]))),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_missing_key_fails_positive_operators_and_passes_negated_ones() {
    for (operator, expected) in [
        ("StringEquals", false),
        ("StringEqualsIgnoreCase", false),
        ("StringLike", false),
        ("StringNotEquals", true),
        ("StringNotEqualsIgnoreCase", true),
        ("StringNotLike", true),
        ("NumericEquals", false),
        ("NumericNotEquals", true),
        ("NumericLessThan", false),
        ("DateEquals", false),
        ("DateNotEquals", true),
        ("DateGreaterThan", false),
        ("Bool", false),
        ("BinaryEquals", false),
        ("IpAddress", false),
        ("NotIpAddress", true),
        ("ArnEquals", false),
        ("ArnLike", false),
        ("ArnNotEquals", true),
        ("ArnNotLike", true),
        ("StringEqualsIfExists", true),
        ("StringNotEqualsIfExists", true),
        ("NumericLessThanIfExists", true),
        ("BoolIfExists", true),
        ("IpAddressIfExists", true),
        ("ArnLikeIfExists", true),
        ("ForAllValues:StringEquals", true),
        ("ForAllValues:StringNotEquals", true),
        ("ForAnyValue:StringEquals", false),
        ("ForAnyValue:StringNotEquals", false),
        ("ForAnyValue:StringLikeIfExists", true),
    ] {
        let condition = json!({operator: {"P:email": "1"}});
        assert_eq!(
            allows(&policy_of(json!([statement(&condition)]))),
            expected,
            "{operator}"
        );
    }
}

#[test]
fn modifiers_evaluate_normally_on_a_key_that_is_there() {
    for (condition, expected) in [
        (json!({"StringEqualsIfExists": {"P:sub": SUBJECT}}), true),
        (json!({"StringEqualsIfExists": {"P:sub": "x"}}), false),
        (
            json!({"ForAllValues:StringEquals": {"P:sub": SUBJECT}}),
            true,
        ),
        (json!({"ForAllValues:StringLike": {"P:sub": "x*"}}), false),
        (
            json!({"ForAllValues:StringEquals": {"P:oaud": ["sts.amazonaws.com", "vault", "x"]}}),
            true,
        ),
        (
            json!({"ForAllValues:StringEquals": {"P:oaud": "vault"}}),
            false,
        ),
        (
            json!({"ForAnyValue:StringEquals": {"P:oaud": "vault"}}),
            true,
        ),
        (json!({"ForAnyValue:StringLike": {"P:oaud": "v*"}}), true),
        (json!({"ForAnyValue:StringEquals": {"P:oaud": "x"}}), false),
        (
            json!({"ForAllValues:StringNotEquals": {"P:oaud": "vault"}}),
            false,
        ),
        (
            json!({"ForAnyValue:StringNotEquals": {"P:oaud": "vault"}}),
            true,
        ),
        (
            json!({"ForAnyValue:StringNotEquals": {"P:oaud": ["vault", "sts.amazonaws.com"]}}),
            false,
        ),
        (json!({"StringEquals": {"P:oaud": "vault"}}), true),
        (json!({"StringNotEquals": {"P:oaud": "vault"}}), false),
        (
            json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["team", "star"]}}),
            true,
        ),
        (json!({"Null": {"P:email": "true"}}), true),
        (json!({"Null": {"P:email": true}}), true),
        (json!({"Null": {"P:email": "false"}}), false),
        (json!({"Null": {"P:sub": "true"}}), false),
        (json!({"Null": {"P:sub": "false"}}), true),
        (json!({"Null": {"P:sub": ["true", "false"]}}), true),
    ] {
        assert_eq!(
            allows(&policy_of(json!([statement(&condition)]))),
            expected,
            "{condition}"
        );
    }
}

#[test]
fn policy_variables_exist_in_version_2012_only() {
    let rows = [
        (
            "${aws:RequestTag/team}",
            "StringEquals",
            "aws:RequestTag/team",
            true,
        ),
        ("*:${aws:RequestTag/team}:*", "StringLike", "P:sub", true),
        ("*:${AWS:requesttag/TEAM}:*", "StringLike", "P:sub", true),
        ("*:${aws:RequestTag/none}:*", "StringLike", "P:sub", false),
        (
            "*:${aws:RequestTag/none, 'shop'}:*",
            "StringLike",
            "P:sub",
            true,
        ),
        (
            "*:${aws:RequestTag/team, 'x'}:*",
            "StringLike",
            "P:sub",
            true,
        ),
        (
            "*:${aws:RequestTag/none, shop}:*",
            "StringLike",
            "P:sub",
            false,
        ),
        // What a variable inserts is literal.
        ("${aws:RequestTag/star}", "StringLike", "P:sub", false),
        (
            "${aws:RequestTag/star}",
            "StringEquals",
            "aws:RequestTag/star",
            true,
        ),
        ("${*}", "StringLike", "aws:RequestTag/star", true),
        ("${*}", "StringLike", "P:sub", false),
        ("${?}", "StringLike", "aws:RequestTag/star", false),
        ("${$}", "StringEquals", "P:sub", false),
        // Several values resolve to nothing.
        ("${aws:TagKeys}", "StringLike", "P:sub", false),
        ("*${aws:RequestTag/none}", "StringNotLike", "P:sub", false),
        (
            "arn:aws:iam::123456789012:oidc-provider/${aws:RequestTag/none, '*'}",
            "ArnLike",
            "aws:userid",
            false,
        ),
        ("${unterminated", "StringNotEquals", "P:sub", true),
    ];
    for (value, operator, key, expected) in rows {
        let policy = policy_of(json!([statement(&json!({operator: {key: value}}))]));
        assert_eq!(allows(&policy), expected, "{operator} {key} {value}");
    }
    let old = json!({
        "Version": "2008-10-17",
        "Statement": statement(&json!({"StringLike": {"P:sub": "*:${aws:RequestTag/team}:*"}})),
    });
    assert!(!allows(&Policy::parse(&old).unwrap()));
    let without = json!({
        "Statement": statement(&json!({"StringEquals": {"aws:RequestTag/team": "${aws:RequestTag/team}"}})),
    });
    assert!(!allows(&Policy::parse(&without).unwrap()));
}

fn allow_for(principal: &Value) -> Value {
    json!({"Effect": "Allow", "Principal": principal, "Action": ACTION})
}

#[test]
fn principals_match_by_exact_arn() {
    for (principal, expected) in [
        (json!({"Federated": PROVIDER}), true),
        (
            json!({"Federated": ["arn:aws:iam::1:oidc-provider/x", PROVIDER]}),
            true,
        ),
        (json!("*"), true),
        (json!({"AWS": "*"}), false),
        (json!({"AWS": "arn:aws:iam::123456789012:root"}), false),
        (json!({"Service": "pods.eks.amazonaws.com"}), false),
        (json!({"AWS": "*", "Federated": PROVIDER}), true),
        (json!({"Federated": PROVIDER.to_lowercase()}), false),
        (json!({"Federated": format!("{PROVIDER}/")}), false),
        (json!({"Federated": "accounts.google.com"}), false),
    ] {
        assert_eq!(
            allows(&policy_of(json!([allow_for(&principal)]))),
            expected,
            "{principal}"
        );
    }
    for (principal, expected) in [
        (json!({"Federated": PROVIDER}), false),
        (json!({"Federated": "arn:aws:iam::1:oidc-provider/x"}), true),
        (json!({"AWS": "*"}), true),
        (json!("*"), false),
    ] {
        let statement = json!({"Effect": "Allow", "NotPrincipal": principal, "Action": ACTION});
        assert_eq!(allows(&policy_of(statement)), expected, "not {principal}");
    }
}

#[test]
fn a_principal_that_nearly_matches_says_how_it_differs() {
    for (federated, difference) in [
        (
            PROVIDER.replace("arn:aws:", "arn:aws-cn:"),
            PrincipalDifference::Partition,
        ),
        (
            PROVIDER.replace("123456789012", "210987654321"),
            PrincipalDifference::Account,
        ),
        (
            PROVIDER.replace("oidc-provider/", "oidc-provider/https://"),
            PrincipalDifference::Scheme,
        ),
        (format!("{PROVIDER}/"), PrincipalDifference::TrailingSlash),
        (PROVIDER.replace("ABC", "abc"), PrincipalDifference::Case),
        (
            PROVIDER.replace("ABC", "OLD"),
            PrincipalDifference::OtherProvider,
        ),
        (
            "accounts.google.com".to_owned(),
            PrincipalDifference::OtherProvider,
        ),
    ] {
        let policy = policy_of(json!([allow_for(&json!({"Federated": federated}))]));
        let evaluation = policy::evaluate(&policy, Caller::Federated(PROVIDER), ACTION, &context());
        let miss = evaluation.outcome.unwrap_err();
        assert_eq!(
            miss.reason,
            Reason::PrincipalMismatch {
                principal: PROVIDER.to_owned(),
                difference
            },
            "{federated}"
        );
        assert_eq!(miss.reason.check(), Some("AWS04"));
        assert_eq!(miss.clause.pointer, "/Statement/0/Principal/Federated");
        let comparison = miss.clause.comparison.unwrap();
        assert_eq!(
            (comparison.expected, comparison.found),
            (federated, PROVIDER.to_owned())
        );
    }
}

#[test]
fn actions_match_with_wildcards_and_without_case() {
    for (element, patterns, expected) in [
        ("Action", json!("sts:AssumeRoleWithWebIdentity"), true),
        ("Action", json!("STS:assumerolewithwebidentity"), true),
        ("Action", json!("sts:AssumeRole"), false),
        ("Action", json!("sts:AssumeRole*"), true),
        ("Action", json!("sts:AssumeRoleWithWebIdentit?"), true),
        ("Action", json!("sts:*"), true),
        ("Action", json!("*"), true),
        ("Action", json!(["sts:AssumeRole", "sts:TagSession"]), false),
        (
            "Action",
            json!(["sts:TagSession", "sts:AssumeRoleWithWebIdentity"]),
            true,
        ),
        ("NotAction", json!("sts:AssumeRole"), true),
        ("NotAction", json!("sts:*"), false),
    ] {
        let statement =
            json!({"Effect": "Allow", "Principal": {"Federated": PROVIDER}, element: patterns});
        assert_eq!(
            allows(&policy_of(statement)),
            expected,
            "{element} {patterns}"
        );
    }
}

#[test]
fn a_deny_that_matches_beats_every_allow() {
    let allow = statement(&json!({}));
    let deny = |condition: &Value| {
        let mut statement = statement(condition);
        statement["Effect"] = json!("Deny");
        statement["Sid"] = json!("NotYou");
        statement
    };
    for (statements, expected) in [
        (json!([allow, deny(&json!({}))]), false),
        (json!([deny(&json!({})), allow]), false),
        (
            json!([deny(&json!({"StringEquals": {"P:sub": "x"}})), allow]),
            true,
        ),
        (
            json!([deny(&json!({"StringNotEquals": {"P:sub": SUBJECT}})), allow]),
            true,
        ),
        (
            json!([deny(&json!({"StringNotLike": {"P:email": "x"}})), allow]),
            false,
        ),
        (
            json!([
                deny(&json!({"ForAllValues:StringEquals": {"P:email": "x"}})),
                allow
            ]),
            false,
        ),
        (
            json!([{"Effect": "Deny", "Principal": "*", "Action": "*"}, allow]),
            false,
        ),
        (
            json!([{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "*"}, allow]),
            true,
        ),
        (
            json!([{"Effect": "Deny", "NotPrincipal": {"Federated": PROVIDER}, "Action": "*"}, allow]),
            true,
        ),
        (json!([deny(&json!({}))]), false),
    ] {
        assert_eq!(
            allows(&policy_of(statements.clone())),
            expected,
            "{statements}"
        );
    }
    let policy = policy_of(json!([
        allow,
        deny(&json!({"StringLike": {"P:sub": "*:shop:*"}}))
    ]));
    let evaluation = policy::evaluate(&policy, Caller::Federated(PROVIDER), ACTION, &context());
    let miss = evaluation.outcome.unwrap_err();
    assert_eq!(
        miss.reason,
        Reason::ExplicitDeny {
            sid: Some("NotYou".to_owned())
        }
    );
    assert_eq!(miss.clause.pointer, "/Statement/1");
}

#[test]
fn any_of_several_statements_allows() {
    let no = statement(&json!({"StringEquals": {"P:sub": "x"}}));
    let yes = statement(&json!({"StringEquals": {"P:sub": SUBJECT}}));
    let policy = policy_of(json!([no, yes]));
    let evaluation = policy::evaluate(&policy, Caller::Federated(PROVIDER), ACTION, &context());
    assert_eq!(evaluation.outcome.unwrap().pointer, "/Statement/1");
    assert!(!allows(&policy_of(json!([no]))));
    assert!(!allows(&policy_of(json!([]))));
    let single = policy_of(yes);
    let evaluation = policy::evaluate(&single, Caller::Federated(PROVIDER), ACTION, &context());
    assert_eq!(evaluation.outcome.unwrap().pointer, "/Statement");
}

#[test]
fn the_statement_that_comes_closest_explains_a_denial() {
    let other_cluster = json!({
        "Effect": "Allow", "Principal": {"Federated": PROVIDER.replace("ABC", "OLD")}, "Action": ACTION,
        "Condition": {"StringEquals": {"oidc.eks.eu-central-1.amazonaws.com/id/OLD:sub": SUBJECT}},
    });
    let ours = statement(
        &json!({"StringEquals": {"P:sub": "system:serviceaccount:shop:cart", "P:aud": "sts.amazonaws.com"}}),
    );
    let policy = policy_of(json!([other_cluster, ours]));
    let evaluation = policy::evaluate(&policy, Caller::Federated(PROVIDER), ACTION, &context());
    let miss = evaluation.outcome.unwrap_err();
    assert_eq!(
        miss.clause.pointer,
        "/Statement/1/Condition/StringEquals/oidc.eks.eu-central-1.amazonaws.com~1id~1ABC:sub"
    );
    assert_eq!(miss.clause.rule, "StringEquals");
    let comparison = miss.clause.comparison.unwrap();
    assert_eq!(comparison.expected, "system:serviceaccount:shop:cart");
    assert_eq!(comparison.found, SUBJECT);
    let others: Vec<_> = evaluation
        .others
        .iter()
        .map(|other| other.reason.check().unwrap())
        .collect();
    assert_eq!(others, ["AWS04", "AWS06"]);
}

#[test]
fn a_key_that_is_never_there_is_told_from_one_that_does_not_match() {
    let rows = [
        (
            "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC:sub",
            KeyMistake::Scheme,
        ),
        (
            "oidc.eks.eu-central-1.amazonaws.com/id/ABC/:sub",
            KeyMistake::TrailingSlash,
        ),
        (
            "oidc.eks.eu-central-1.amazonaws.com/id/OLD:sub",
            KeyMistake::OtherIssuer,
        ),
        (
            "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC:sub",
            KeyMistake::ProviderArn,
        ),
        ("P:iss", KeyMistake::ClaimNotAvailable),
        ("P:kubernetes.io", KeyMistake::ClaimNotAvailable),
        ("aws:PrincipalArn", KeyMistake::NotForThisCaller),
        ("sts:ExternalId", KeyMistake::NotForThisCaller),
        ("subject", KeyMistake::NoSuchKey),
    ];
    for (key, mistake) in rows {
        let policy = policy_of(json!([statement(&json!({"StringEquals": {key: SUBJECT}}))]));
        let evaluation = policy::evaluate(&policy, Caller::Federated(PROVIDER), ACTION, &context());
        let miss = evaluation.outcome.unwrap_err();
        let expected = Reason::ConditionKeyUnknown(ConditionMiss {
            operator: "StringEquals".to_owned(),
            key: key.replace("P:", &format!("{PREFIX}:")),
            status: KeyStatus::NeverPresent(mistake),
        });
        assert_eq!(miss.reason, expected, "{key}");
        assert_eq!(miss.reason.check(), Some("AWS06"));
    }
    for (key, status) in [
        ("P:email", KeyStatus::Absent),
        ("aws:SourceVpc", KeyStatus::NotKnown),
        ("P:aud", KeyStatus::Present),
    ] {
        let policy = policy_of(json!([statement(&json!({"StringEquals": {key: "x"}}))]));
        let evaluation = policy::evaluate(&policy, Caller::Federated(PROVIDER), ACTION, &context());
        let Reason::ConditionFailed(miss) = evaluation.outcome.unwrap_err().reason else {
            panic!("{key}");
        };
        assert_eq!(miss.status, status, "{key}");
    }
}

#[test]
fn a_condition_on_the_wrong_claim_is_named() {
    for (key, value, check) in [
        ("P:aud", SUBJECT, "AWS06"),
        ("P:sub", "sts.amazonaws.com", "AWS06"),
        ("P:aud", "vault", "AWS05"),
        ("P:sub", "vault", "AWS05"),
    ] {
        let policy = policy_of(json!([statement(&json!({"StringEquals": {key: value}}))]));
        let evaluation = policy::evaluate(&policy, Caller::Federated(PROVIDER), ACTION, &context());
        let reason = evaluation.outcome.unwrap_err().reason;
        assert_eq!(reason.check(), Some(check), "{key} {value}");
    }
}

#[test]
fn a_wildcard_that_is_compared_literally_is_named() {
    for (value, would_match) in [
        ("system:serviceaccount:shop:*", true),
        ("system:serviceaccount:cart:*", false),
    ] {
        let policy = policy_of(json!([statement(
            &json!({"StringEquals": {"P:sub": value}})
        )]));
        let evaluation = policy::evaluate(&policy, Caller::Federated(PROVIDER), ACTION, &context());
        let miss = evaluation.outcome.unwrap_err();
        assert_eq!(miss.reason.check(), Some("AWS07"));
        let Reason::WildcardInStringEquals {
            would_match: found, ..
        } = miss.reason
        else {
            panic!("{value}");
        };
        assert_eq!(found, would_match);
    }
}

#[test]
fn dangerous_statements_are_linted() {
    let sub = json!({"P:sub": SUBJECT, "P:aud": "sts.amazonaws.com"});
    let client_ids = ["sts.amazonaws.com".to_owned()];
    let kinds = |policy: &Policy| -> Vec<LintKind> {
        policy::lints(
            policy,
            Caller::Federated(PROVIDER),
            ACTION,
            &context(),
            Some(&client_ids),
        )
        .into_iter()
        .map(|lint| lint.kind)
        .collect()
    };
    let lint = |condition: Value| kinds(&policy_of(json!([statement(&condition)])));
    assert_eq!(lint(json!({"StringEquals": sub})), []);
    assert_eq!(
        lint(json!({"StringEquals": {"P:aud": "sts.amazonaws.com"}})),
        [LintKind::NoSubjectCondition]
    );
    assert_eq!(
        lint(
            json!({"StringNotEquals": {"P:sub": "x"}, "StringEquals": {"P:aud": "sts.amazonaws.com"}})
        ),
        [LintKind::NoSubjectCondition]
    );
    assert_eq!(
        lint(json!({"StringEquals": {"P:sub": SUBJECT}})),
        [LintKind::NoAudienceCondition]
    );
    assert_eq!(
        lint(json!({"StringEquals": {"P:sub": SUBJECT, "P:aud": ["sts.amazonaws.com", "vault"]}})),
        [LintKind::AudienceNotRegistered {
            audience: "vault".to_owned()
        }]
    );
    for wide in [
        "*",
        "system:serviceaccount:*",
        "system:serviceaccount:*:*",
        "system:*",
    ] {
        assert_eq!(
            lint(
                json!({"StringLike": {"P:sub": wide}, "StringEquals": {"P:aud": "sts.amazonaws.com"}})
            ),
            [LintKind::SubjectTooWide {
                value: wide.to_owned()
            }],
            "{wide}"
        );
    }
    for narrow in [
        "system:serviceaccount:shop:*",
        "system:serviceaccount:*:checkout",
        "system:serviceaccount:shop-*:*",
    ] {
        assert_eq!(
            lint(
                json!({"StringLike": {"P:sub": narrow}, "StringEquals": {"P:aud": "sts.amazonaws.com"}})
            ),
            [],
            "{narrow}"
        );
    }
    // On a claim that STS always supplies the modifiers change nothing.
    assert_eq!(lint(json!({"ForAllValues:StringEquals": sub})), []);
    let operator = "ForAllValues:StringEquals".to_owned();
    let key = format!("{PREFIX}:email");
    assert_eq!(
        lint(json!({"StringEquals": sub, "ForAllValues:StringEquals": {"P:email": "x"}})),
        [LintKind::TrueBecauseKeyMissing { operator, key }]
    );
    let operator = "StringNotEquals".to_owned();
    let key = format!("{PREFIX}:iss");
    assert_eq!(
        lint(json!({"StringEquals": sub, "StringNotEquals": {"P:iss": "x"}})),
        [LintKind::KeyNeverPresent {
            operator,
            key,
            mistake: KeyMistake::ClaimNotAvailable
        }]
    );
    let anyone = json!({"Effect": "Allow", "Principal": "*", "Action": ACTION, "Condition": statement(&json!({"StringEquals": sub}))["Condition"]});
    assert_eq!(kinds(&policy_of(anyone)), [LintKind::AnyPrincipal]);
}

#[test]
fn a_policy_that_iam_would_refuse_says_where_and_what() {
    let principal = json!({"Federated": PROVIDER});
    for (policy, pointer, expected) in [
        (json!([]), "", "an object"),
        (json!("not json"), "", "percent-encoded JSON"),
        (json!({"Version": "2012-10-17"}), "", "a member `Statement`"),
        (
            json!({"Version": "2012", "Statement": []}),
            "/Version",
            "`2012-10-17`",
        ),
        (
            json!({"Statements": []}),
            "/Statements",
            "no member but Version, Id, Statement",
        ),
        (
            json!({"Statement": {"Principal": principal, "Action": "*"}}),
            "/Statement",
            "a member `Effect`",
        ),
        (
            json!({"Statement": [{"Effect": "allow", "Principal": principal, "Action": "*"}]}),
            "/Statement/0/Effect",
            "`Allow` or `Deny`",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Action": "*"}]}),
            "/Statement/0",
            "a member `Principal` or `NotPrincipal`",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": "me", "Action": "*"}]}),
            "/Statement/0/Principal",
            "`*` or an object",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": {"federated": "x"}, "Action": "*"}]}),
            "/Statement/0/Principal/federated",
            "a kind of principal",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": {"Federated": [1]}, "Action": "*"}]}),
            "/Statement/0/Principal/Federated/0",
            "a string",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": principal}]}),
            "/Statement/0",
            "a member `Action` or `NotAction`",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": 5}]}),
            "/Statement/0/Action",
            "a string",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "*", "NotAction": "*"}]}),
            "/Statement/0",
            "either",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "*", "Resource": "*"}]}),
            "/Statement/0/Resource",
            "no such element",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "*", "Conditions": {}}]}),
            "/Statement/0/Conditions",
            "no member but",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "*", "Condition": {"StringIs": {"a/b": "c"}}}]}),
            "/Statement/0/Condition/StringIs",
            "a condition operator",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "*", "Condition": {"StringEquals": {"a/b~c": {"x": 1}}}}]}),
            "/Statement/0/Condition/StringEquals/a~1b~0c",
            "a string, number or boolean",
        ),
        (
            json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "*", "Condition": {"NullIfExists": {"a": "true"}}}]}),
            "/Statement/0/Condition/NullIfExists",
            "a condition operator",
        ),
    ] {
        let error = Policy::parse(&policy).unwrap_err();
        assert_eq!(error.pointer, pointer, "{policy}");
        assert!(error.expected.contains(expected), "{policy}: {error}");
    }
}
