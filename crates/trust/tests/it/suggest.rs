//! What is suggested is read back from all three spellings and evaluated: it admits that subject, and nobody else.

use std::collections::BTreeMap;

use cwii_contract::types::{ClientId, IssuerUrl, PoolProvider, RoleArn, Subject};
use cwii_token::Token;
use cwii_trust::{
    JwksFact, Library, aws, entra, google,
    suggest::{
        self, CredentialOwner, FederatedTrust, GkeTrust, PodIdentityTrust, PoolTrust, SuggestError,
        Suggestion, WebIdentityTrust,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{KEYS, NOW, now};

const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
const GSA: &str = "checkout@shop-prod.iam.gserviceaccount.com";
const TENANT: &str = "99999999-2222-3333-4444-555555555555";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn aws_admits_exactly_this_subject(a in workload(), b in workload(), issuer in issuer(), audience in audience(), path in path()) {
        let role: RoleArn = format!("arn:aws:iam::111122223333:role{path}/app").parse().unwrap();
        let trust = WebIdentityTrust { issuer: &issuer, audience: &audience, role: &role };
        let suggestion = suggest::web_identity(&subject(&a), &trust, &aws::Documents::default());
        for library in readings(&suggestion, &role) {
            let documents = library.aws(Some(&role));
            let allowed = |token: &Token| {
                let request = aws::Request::new(Ok(token), JwksFact::NotCollected, role.as_str(), "session", now());
                aws::evaluate(&request, &documents).allowed()
            };
            exact(&allowed, &issuer, &a, &b, &audience)?;
        }
    }

    #[test]
    fn eks_pod_identity_admits_exactly_this_subject(a in workload(), b in workload()) {
        let role: RoleArn = "arn:aws:iam::111122223333:role/app".parse().unwrap();
        let cluster_arn = "arn:aws:eks:eu-central-1:111122223333:cluster/prod";
        for arn in [Some(cluster_arn), None] {
            let trust = PodIdentityTrust { cluster_name: "prod", cluster_arn: arn, role: &role };
            let suggestion = suggest::pod_identity(&subject(&a), &trust, &aws::Documents::default());
            for library in readings(&suggestion, &role) {
                let documents = library.aws(Some(&role));
                let known = documents.role(role.as_str()).unwrap();
                let allowed = |workload: &Workload, cluster_arn: &str| {
                    let pod = aws::Pod {
                        cluster_arn, namespace: &workload.0, service_account: &workload.1, name: None, uid: None,
                    };
                    aws::evaluate_pod_identity_trust(known, &pod, true, now()).allowed()
                };
                prop_assert!(allowed(&a, cluster_arn));
                prop_assert_eq!(allowed(&b, cluster_arn), a == b);
                prop_assert!(!allowed(&a, "arn:aws:eks:eu-central-1:111122223333:cluster/test"));
                let associations = documents.associations.unwrap();
                prop_assert_eq!(associations.len(), 1);
                prop_assert_eq!((&associations[0].namespace, &associations[0].service_account), (&a.0, &a.1));
                prop_assert_eq!(associations[0].role_arn.as_deref(), Some(role.as_str()));
            }
        }
    }

    #[test]
    fn google_admits_exactly_this_subject(
        a in workload(), b in workload(), issuer in issuer(), audience in prop::option::of(audience()), impersonated: bool,
    ) {
        let provider: PoolProvider = PROVIDER.parse().unwrap();
        let trust = PoolTrust {
            issuer: &issuer, provider: &provider, audience: audience.as_deref(),
            service_account: impersonated.then_some(GSA),
        };
        let suggestion = suggest::pool(&subject(&a), &trust, &google::Documents::default()).unwrap();
        let role: RoleArn = "arn:aws:iam::111122223333:role/app".parse().unwrap();
        for library in readings(&suggestion, &role) {
            let documents = library.google(Some(GSA));
            let allowed = |token: &Token| {
                let request = google::Request {
                    token: Ok(token), jwks: JwksFact::NotCollected, audience: PROVIDER, now: now(),
                };
                let verdict = google::evaluate_exchange(&request, &documents);
                verdict.grant().is_some_and(|federated| !impersonated || google::evaluate_impersonation(&google::Impersonation {
                    principal: &federated.principal, service_account: GSA, lifetime_seconds: None, now: now(),
                }, &documents).allowed())
            };
            exact(&allowed, &issuer, &a, &b, audience.as_deref().unwrap_or(PROVIDER))?;
            // The binding alone is as exact as the condition.
            if impersonated {
                let principal = |workload: &Workload| google::Principal {
                    pool: provider.pool_resource(), subject: subject(workload).to_string(), groups: Vec::new(),
                    attributes: BTreeMap::new(), gke: None,
                };
                for workload in [&a, &b] {
                    let verdict = google::evaluate_impersonation(&google::Impersonation {
                        principal: &principal(workload), service_account: GSA, lifetime_seconds: None, now: now(),
                    }, &documents);
                    prop_assert_eq!(verdict.allowed(), *workload == a);
                }
            }
        }
    }

    #[test]
    fn gke_admits_exactly_this_subject(a in workload(), b in workload()) {
        let trust = GkeTrust { project: "shop-prod", project_number: Some("123"), service_account: Some(GSA) };
        let suggestion = suggest::gke(&subject(&a), &trust);
        let role: RoleArn = "arn:aws:iam::111122223333:role/app".parse().unwrap();
        for library in readings(&suggestion, &role) {
            let documents = library.google(Some(GSA));
            let allowed = |project: &str, workload: &Workload| {
                google::evaluate_gke(&google::Impersonation {
                    principal: &google::Principal::gke(project, Some("123"), &workload.0, &workload.1),
                    service_account: GSA, lifetime_seconds: None, now: now(),
                }, &documents).allowed()
            };
            prop_assert!(allowed("shop-prod", &a));
            prop_assert_eq!(allowed("shop-prod", &b), a == b);
            prop_assert!(!allowed("shop-test", &a));
        }
    }

    #[test]
    fn entra_admits_exactly_this_subject(a in workload(), b in workload(), issuer in issuer(), audience in audience(), identity: bool) {
        let client_id: ClientId = CLIENT.parse().unwrap();
        let owner = if identity {
            CredentialOwner::ManagedIdentity { name: "checkout", resource_group: "shop" }
        } else {
            CredentialOwner::Application
        };
        let trust = FederatedTrust { issuer: &issuer, audience: &audience, client_id: &client_id, owner: Some(owner) };
        let suggestion = suggest::federated(&subject(&a), &trust, &entra::Documents::default());
        let role: RoleArn = "arn:aws:iam::111122223333:role/app".parse().unwrap();
        for library in readings(&suggestion, &role) {
            let documents = library.entra(Some(CLIENT));
            let allowed = |token: &Token| {
                let request = entra::Request {
                    token: Some(Ok(token)), jwks: JwksFact::NotCollected, tenant: TENANT, client_id: CLIENT,
                    scope: None, now: now(),
                };
                entra::evaluate(&request, &documents).allowed()
            };
            exact(&allowed, &issuer, &a, &b, &audience)?;
        }
    }
}

#[test]
fn what_is_there_already_is_not_made_again() {
    let role: RoleArn = "arn:aws:iam::111122223333:role/app".parse().unwrap();
    let issuer: IssuerUrl = "https://oidc.example.com/id/1".parse().unwrap();
    let trust = WebIdentityTrust {
        issuer: &issuer,
        audience: "sts.amazonaws.com",
        role: &role,
    };
    let a = subject(&("shop".to_owned(), "checkout".to_owned()));
    let first = suggest::web_identity(&a, &trust, &aws::Documents::default());
    let verbs = |suggestion: &Suggestion| -> Vec<String> {
        suggestion
            .commands
            .iter()
            .map(|command| words(command)[2].clone())
            .collect()
    };
    assert_eq!(
        verbs(&first),
        ["create-open-id-connect-provider", "create-role"]
    );
    let mut library = Library::default();
    for document in &first.documents {
        library.add(&document.file, &document.document).unwrap();
    }
    let second = suggest::web_identity(&a, &trust, &library.aws(Some(&role)));
    assert_eq!(verbs(&second), ["update-assume-role-policy"]);
    assert!(!second.terraform.contains("aws_iam_openid_connect_provider"));
    let other = WebIdentityTrust {
        audience: "other",
        ..trust
    };
    let third = suggest::web_identity(&a, &other, &library.aws(Some(&role)));
    assert_eq!(
        verbs(&third),
        [
            "add-client-id-to-open-id-connect-provider",
            "update-assume-role-policy"
        ]
    );
}

#[test]
fn a_subject_that_google_cannot_take_is_shortened_or_refused() {
    let provider: PoolProvider = PROVIDER.parse().unwrap();
    let issuer: IssuerUrl = "https://oidc.example.com/id/1".parse().unwrap();
    let trust = PoolTrust {
        issuer: &issuer,
        provider: &provider,
        audience: None,
        service_account: Some(GSA),
    };
    for (length, expected) in [
        (41, Some(true)),
        (42, Some(false)),
        (63, Some(false)),
        (64, None),
    ] {
        let a = ("n".repeat(63), "s".repeat(length));
        let result = suggest::pool(&subject(&a), &trust, &google::Documents::default());
        match (result, expected) {
            (Ok(suggestion), Some(whole)) => {
                assert_eq!(
                    suggestion.terraform.contains("= \"assertion.sub\" }"),
                    whole,
                    "{length}"
                );
                let role: RoleArn = "arn:aws:iam::111122223333:role/app".parse().unwrap();
                for library in readings(&suggestion, &role) {
                    let documents = library.google(Some(GSA));
                    let token = token(issuer.as_str(), &a, PROVIDER);
                    let request = google::Request {
                        token: Ok(&token),
                        jwks: JwksFact::NotCollected,
                        audience: PROVIDER,
                        now: now(),
                    };
                    let verdict = google::evaluate_exchange(&request, &documents);
                    let federated = verdict.grant().unwrap_or_else(|| panic!("{verdict:?}"));
                    let impersonation = google::Impersonation {
                        principal: &federated.principal,
                        service_account: GSA,
                        lifetime_seconds: None,
                        now: now(),
                    };
                    assert!(google::evaluate_impersonation(&impersonation, &documents).allowed());
                }
            }
            (Err(SuggestError::SubjectTooLong { bytes, .. }), None) => assert_eq!(bytes, 150),
            (result, expected) => panic!("{length}: {result:?} {expected:?}"),
        }
    }
}

type Workload = (String, String);

const PROVIDER: &str =
    "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/k8s";

/// Names from so few letters that one is often another's prefix, or the same.
fn workload() -> impl Strategy<Value = Workload> {
    ("[ab]{1,3}(-[ab])?", "[ab]{1,3}(\\.[ab])?")
}

fn issuer() -> impl Strategy<Value = IssuerUrl> {
    prop::sample::select(vec![
        "https://oidc.example.com",
        "https://oidc.example.com/",
        "https://oidc.example.com/id/A1",
        "https://oidc.example.com/id/A1/",
    ])
    .prop_map(|url| url.parse().unwrap())
}

fn audience() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "sts.amazonaws.com",
        "api://AzureADTokenExchange",
        "it's ${odd} %{very} \"so\"",
    ])
    .prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "/team", "/team/a"])
}

fn subject(workload: &Workload) -> Subject {
    format!("system:serviceaccount:{}:{}", workload.0, workload.1)
        .parse()
        .unwrap()
}

fn token(issuer: &str, workload: &Workload, audience: &str) -> Token {
    KEYS.token(&json!({
        "iss": issuer, "sub": subject(workload).to_string(), "aud": [audience],
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3540,
        "kubernetes.io": {"namespace": workload.0, "serviceaccount": {"name": workload.1, "uid": "u"}},
    }))
}

fn exact(
    allowed: &dyn Fn(&Token) -> bool,
    issuer: &IssuerUrl,
    a: &Workload,
    b: &Workload,
    audience: &str,
) -> Result<(), TestCaseError> {
    let issuer = issuer.as_str();
    prop_assert!(allowed(&token(issuer, a, audience)));
    prop_assert_eq!(allowed(&token(issuer, b, audience)), a == b);
    let (namespace, name) = (&a.0, &a.1);
    for (namespace, name) in [
        (format!("{namespace}x"), name.clone()),
        (namespace.clone(), format!("{name}x")),
        ("default".to_owned(), name.clone()),
        (namespace.clone(), "default".to_owned()),
        (namespace.to_uppercase(), name.clone()),
    ] {
        let Ok(_) = format!("system:serviceaccount:{namespace}:{name}").parse::<Subject>() else {
            continue;
        };
        prop_assert!(!allowed(&token(issuer, &(namespace, name), audience)));
    }
    for other in ["x", "", "sts.amazonaws.com/", "STS.amazonaws.com"] {
        prop_assert!(!allowed(&token(issuer, a, other)));
    }
    for other in [
        format!("{issuer}/"),
        issuer.trim_end_matches('/').to_owned() + "/x",
        "https://other.example.com".to_owned(),
    ] {
        prop_assert!(!allowed(&token(&other, a, audience)));
    }
    Ok(())
}

/// The suggestion by each of its spellings.
fn readings(suggestion: &Suggestion, role: &RoleArn) -> Vec<Library> {
    let mut by_document = Library::default();
    for document in &suggestion.documents {
        by_document.add(&document.file, &document.document).unwrap();
    }
    let mut by_command = Library::default();
    for (index, command) in suggestion.commands.iter().enumerate() {
        if let Some((file, document)) = run(&words(command), role) {
            by_command
                .add(&format!("{index}-{file}"), &document)
                .unwrap();
        }
    }
    let mut by_terraform = Library::default();
    let resources = terraform(&suggestion.terraform);
    let state = json!({"format_version": "1.0", "terraform_version": "1.9.0", "values": {"root_module": {"resources": resources}}});
    if !resources.is_empty() {
        by_terraform.add("state.json", &state).unwrap();
    }
    vec![by_document, by_command, by_terraform]
}

/// A command line as a shell reads it: words, single quotes, backslashes.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(chars.by_ref().take_while(|c| *c != '\''));
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What a command leaves behind, as the cloud then prints it.
fn run(words: &[String], role: &RoleArn) -> Option<(String, Value)> {
    let flag = |name: &str| -> &str {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1))
            .map_or("", String::as_str)
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(match words.as_slice() {
        ["aws", "iam", "create-open-id-connect-provider", ..] => {
            let url = flag("--url").strip_prefix("https://").unwrap();
            (
                "provider.json".to_owned(),
                json!({"Url": url, "ClientIDList": [flag("--client-id-list")]}),
            )
        }
        ["aws", "iam", "create-role", ..] => {
            let policy: Value =
                serde_json::from_str(flag("--assume-role-policy-document")).unwrap();
            let path = match flag("--path") {
                "" => "/",
                path => path,
            };
            let arn = format!(
                "arn:aws:iam::{}:role{path}{}",
                role.account(),
                flag("--role-name")
            );
            (
                "role.json".to_owned(),
                json!({"Role": {"Arn": arn, "AssumeRolePolicyDocument": policy}}),
            )
        }
        ["aws", "eks", "create-pod-identity-association", ..] => (
            "association.json".to_owned(),
            json!({"association": {"clusterName": flag("--cluster-name"), "namespace": flag("--namespace"),
                "serviceAccount": flag("--service-account"), "roleArn": flag("--role-arn")}}),
        ),
        [
            "gcloud",
            "iam",
            "workload-identity-pools",
            "providers",
            "create-oidc",
            name,
            ..,
        ] => {
            let (target, expression) = flag("--attribute-mapping").split_once('=').unwrap();
            let mut oidc = json!({"issuerUri": flag("--issuer-uri")});
            if !flag("--allowed-audiences").is_empty() {
                oidc["allowedAudiences"] = json!([flag("--allowed-audiences")]);
            }
            (
                "provider.json".to_owned(),
                json!({"name": format!("projects/{}/locations/{}/workloadIdentityPools/{}/providers/{name}",
                    flag("--project"), flag("--location"), flag("--workload-identity-pool")),
                "attributeMapping": {target: expression}, "attributeCondition": flag("--attribute-condition"), "oidc": oidc}),
            )
        }
        ["gcloud", "iam", "workload-identity-pools", "create", ..]
        | ["kubectl", "annotate", ..] => {
            return None;
        }
        [
            "gcloud",
            "iam",
            "service-accounts",
            "add-iam-policy-binding",
            email,
            ..,
        ] => (
            format!("{email}.json"),
            json!({"bindings": [{"role": flag("--role"), "members": [flag("--member")]}]}),
        ),
        ["az", "ad", "app", "federated-credential", "create", ..] => (
            format!("{}.json", flag("--id")),
            json!([serde_json::from_str::<Value>(flag("--parameters")).unwrap()]),
        ),
        ["az", "identity", "federated-credential", "create", ..] => (
            "credential.json".to_owned(),
            json!([{"name": flag("--name"), "issuer": flag("--issuer"), "subject": flag("--subject"),
                "audiences": [flag("--audiences")]}]),
        ),
        other => panic!("{other:?}"),
    })
}

/// The resources of a file in Terraform's language, as `terraform show -json` has them once they are made.
fn terraform(text: &str) -> Vec<Value> {
    let mut resources = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let head = strings(line);
        let mut values = json!({});
        let mut inner: Option<(String, Value)> = None;
        if line.trim().is_empty() {
            continue;
        }
        assert!(line.ends_with('{'), "{line}");
        while let Some(line) = lines.next() {
            let trimmed = line.trim();
            if let Some(name) = trimmed.strip_suffix("= <<-JSON") {
                let document: Vec<String> = lines
                    .by_ref()
                    .take_while(|line| line.trim() != "JSON")
                    .map(|line| line.replace("$${", "${").replace("%%{", "%{"))
                    .collect();
                values[name.trim()] = json!(document.join("\n"));
                continue;
            }
            if trimmed == "}" {
                match inner.take() {
                    Some((name, block)) => values[name] = json!([block]),
                    None => break,
                }
                continue;
            }
            if let Some(name) = trimmed.strip_suffix(" {") {
                inner = Some((name.to_owned(), json!({})));
                continue;
            }
            let (name, expression) = trimmed.split_once('=').unwrap();
            let (name, expression) = (name.trim(), expression.trim());
            let value = if expression.starts_with('[') && expression.contains('"') {
                json!(strings(expression))
            } else if expression.starts_with('{') {
                let pair = strings(expression);
                json!({ pair[0].as_str(): pair[1] })
            } else if expression.starts_with('"') {
                json!(strings(expression)[0])
            } else {
                Value::Null
            };
            let target = inner.as_mut().map_or(&mut values, |(_, block)| block);
            target[name] = value;
        }
        resources.push((line.split(' ').next().unwrap().to_owned(), head, values));
    }
    known_after_apply(resources)
}

/// The strings in a line, with their escapes undone.
fn strings(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = line.chars();
    while chars.by_ref().any(|c| c == '"') {
        let mut text = String::new();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => text.extend(chars.next()),
                c => text.push(c),
            }
        }
        found.push(text.replace("$${", "${").replace("%%{", "%{"));
    }
    found
}

fn known_after_apply(resources: Vec<(String, Vec<String>, Value)>) -> Vec<Value> {
    resources
        .into_iter()
        .filter(|(kind, ..)| kind == "resource")
        .map(|(_, head, mut values)| {
            match head[0].as_str() {
                "google_iam_workload_identity_pool_provider" => {
                    values["name"] = json!(format!(
                        "projects/{}/locations/global/workloadIdentityPools/{}/providers/{}",
                        values["project"].as_str().unwrap(),
                        values["workload_identity_pool_id"]
                            .as_str()
                            .unwrap_or("pool"),
                        values["workload_identity_pool_provider_id"]
                            .as_str()
                            .unwrap(),
                    ));
                }
                "google_iam_workload_identity_pool" => {
                    values["name"] = json!(format!(
                        "projects/{}/locations/global/workloadIdentityPools/{}",
                        values["project"].as_str().unwrap(),
                        values["workload_identity_pool_id"].as_str().unwrap(),
                    ));
                }
                "aws_iam_role" => {
                    let path = values["path"].as_str().unwrap_or("/").to_owned();
                    values["arn"] = json!(format!(
                        "arn:aws:iam::111122223333:role{path}{}",
                        values["name"].as_str().unwrap()
                    ));
                }
                _ => {}
            }
            json!({"type": head[0], "name": head[1], "values": values})
        })
        .collect()
}
