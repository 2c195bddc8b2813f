//! What a lab leaves on disk, in memory and in its records.
#![expect(
    clippy::disallowed_methods,
    reason = "tests read and write the files of a lab"
)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
};

use cwii_lab::{Case, Document, Lab, Mechanism, Options, Service, scenarios};
use serde_json::json;
use support::{client, drive, lab};

fn healthy() -> impl Iterator<Item = &'static cwii_lab::Scenario> {
    scenarios().iter().filter(|s| s.is_healthy())
}

#[tokio::test]
async fn nothing_is_left_when_a_lab_is_dropped_or_shut_down() {
    for shut_down in [false, true] {
        let lab = lab();
        let dir = lab.dir().to_owned();
        let address = lab
            .endpoints()
            .pod_identity
            .trim_start_matches("http://")
            .to_owned();
        lab.workload(&scenarios()[0]).unwrap();
        assert!(dir.exists());
        assert!(TcpStream::connect(&address).is_ok());
        if shut_down {
            lab.shutdown().await;
        } else {
            drop(lab);
        }
        assert!(!dir.exists());
        assert!(TcpStream::connect(&address).is_err());
    }
}

#[tokio::test]
async fn a_folder_of_the_caller_keeps_documents_and_loses_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("lab");
    let lab = Lab::start(Options {
        dir: Some(dir.clone()),
        ..Options::default()
    })
    .unwrap();
    let workload = lab.workload(&scenarios()[0]).unwrap();
    assert!(workload.token_file.unwrap().starts_with(&dir));
    drop(lab);
    assert!(dir.join("aws/roles/hello-aws.json").exists());
    assert!(!dir.join("workloads").exists());
}

#[tokio::test]
async fn workloads_of_one_cluster_share_its_issuer() {
    let lab = lab();
    for (name, mechanism) in [
        ("shared-aws", Mechanism::AwsWebIdentity),
        ("shared-eks", Mechanism::AwsPodIdentity),
        ("shared-gcp", Mechanism::GoogleImpersonated),
        ("shared-az", Mechanism::EntraFederated),
    ] {
        let case = Case::new(name, mechanism).in_cluster("shared");
        let workload = lab.lay_out(&case).unwrap();
        assert_eq!(
            workload.issuer,
            format!("{}/shared", lab.endpoints().issuer)
        );
        assert!(drive(&workload).await.unwrap().verified(), "{name}");
    }
    assert!(lab.dir().join("issuer/shared/jwks.json").exists());
    assert!(!lab.dir().join("issuer/shared-aws").exists());
}

#[tokio::test]
async fn labs_do_not_know_each_other() {
    let (one, two) = (lab(), lab());
    let scenario = &scenarios()[0];
    let workload = one.workload(scenario).unwrap();
    assert!(drive(&workload).await.unwrap().verified());
    assert!(two.requests().is_empty());
    assert_eq!(two.connections(Service::AwsSts), 0);
    let mut stranger = two.workload(scenario).unwrap();
    stranger.env.insert(
        "AWS_WEB_IDENTITY_TOKEN_FILE".into(),
        workload.env["AWS_WEB_IDENTITY_TOKEN_FILE"].clone(),
    );
    let seen = drive(&stranger).await.unwrap();
    assert!(seen.text.starts_with("No OpenIDConnect provider found"));
}

#[tokio::test]
async fn an_edited_document_changes_the_next_verdict() {
    let lab = lab();
    let cases = [
        ("hello-aws", Document::AwsRole, "AccessDenied"),
        (
            "hello-google",
            Document::GoogleProvider,
            "unauthorized_client",
        ),
        (
            "hello-entra",
            Document::EntraFederatedCredentials,
            "AADSTS700213",
        ),
        (
            "hello-pod-identity",
            Document::AwsPodIdentityAssociation,
            "ResourceNotFoundException",
        ),
    ];
    for (name, document, code) in cases {
        let scenario = scenarios().iter().find(|s| s.name == name).unwrap();
        let workload = lab.workload(scenario).unwrap();
        assert!(drive(&workload).await.unwrap().verified(), "{name}");
        let path = lab.document_file(&scenario.case, document);
        let right = fs::read_to_string(&path).unwrap();
        // As an editor would: the file is written in place.
        fs::write(
            &path,
            right.replace("shop", "shopp").replace("billing", "b"),
        )
        .unwrap();
        assert_eq!(drive(&workload).await.unwrap().code, code, "{name}");
        fs::write(&path, right).unwrap();
        assert!(drive(&workload).await.unwrap().verified(), "{name}");
    }
}

#[tokio::test]
async fn a_document_that_is_broken_is_named() {
    let lab = lab();
    let scenario = &scenarios()[0];
    let workload = lab.workload(scenario).unwrap();
    fs::write(
        lab.document_file(&scenario.case, Document::AwsRole),
        "{ \"Role\": ",
    )
    .unwrap();
    let seen = drive(&workload).await.unwrap();
    assert_eq!(seen.status, 500);
    assert!(
        seen.text.contains("hello-aws.json: not JSON at line 1"),
        "{seen:?}"
    );
    lab.edit(&scenario.case, Document::AwsOidcProvider, |provider| {
        provider["Url"] = json!(7);
    })
    .unwrap();
    fs::remove_file(lab.document_file(&scenario.case, Document::AwsRole)).unwrap();
    let seen = drive(&workload).await.unwrap();
    assert!(seen.text.contains("hello-aws.json"), "{seen:?}");
}

#[tokio::test]
async fn records_hold_what_was_sent_and_no_secret() {
    let lab = lab();
    for scenario in scenarios() {
        let workload = lab.workload(scenario).unwrap();
        // Some never arrive; those that do are recorded.
        let _ = drive(&workload).await;
    }
    let requests = lab.requests();
    let shown = format!("{requests:?} {lab:?} {:?}", lab.connection_details());
    let json = serde_json::to_string(&requests).unwrap();
    let secrets = lab.secrets();
    assert!(secrets.len() > scenarios().len());
    for secret in &secrets {
        assert!(secret.len() >= 32);
        assert!(!shown.contains(secret.as_str()) && !json.contains(secret.as_str()));
    }
    let assume = requests
        .iter()
        .find(|r| r.service == Service::AwsSts)
        .unwrap();
    let names: Vec<&str> = assume.form.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(
        names,
        [
            "Action",
            "Version",
            "RoleArn",
            "RoleSessionName",
            "WebIdentityToken"
        ]
    );
    assert_eq!(assume.form[2].1, "arn:aws:iam::111122223333:role/hello-aws");
    assert_eq!(
        (assume.method.as_str(), assume.path.as_str()),
        ("POST", "/")
    );
    assert_eq!(assume.status, Some(200));
    let jwks = requests
        .iter()
        .find(|r| r.path.ends_with("/openid/v1/jwks"));
    assert!(jwks.unwrap().internal);
    assert_eq!(lab.connections(Service::Issuer), 0);
}

#[tokio::test]
async fn tokens_lie_as_the_kubelet_lays_them_and_are_replaced_whole() {
    let lab = lab();
    for scenario in healthy() {
        let workload = lab.workload(scenario).unwrap();
        let Some(path) = workload.token_file else {
            continue;
        };
        let volume = path.parent().unwrap();
        let target = fs::read_link(&path).unwrap();
        assert_eq!(target, Path::new("..data").join(path.file_name().unwrap()));
        let first = fs::read_to_string(&path).unwrap();
        let folder = fs::read_link(volume.join("..data")).unwrap();
        lab.workload(scenario).unwrap();
        assert_ne!(fs::read_to_string(&path).unwrap(), first);
        assert_ne!(fs::read_link(volume.join("..data")).unwrap(), folder);
        let entries: BTreeSet<PathBuf> = fs::read_dir(volume)
            .unwrap()
            .map(|e| e.unwrap().file_name().into())
            .collect();
        assert_eq!(entries.len(), 3, "{entries:?}");
    }
}

#[tokio::test]
async fn a_token_has_the_claims_of_kube_apiserver() {
    let lab = lab();
    let token = lab.mint(&lab.token_spec(&scenarios()[0].case)).unwrap();
    let token = cwii_token::Token::decode(&token).unwrap();
    let header: Vec<&str> = token.header.members.keys().map(String::as_str).collect();
    assert_eq!(header, ["alg", "kid"]);
    let claims: Vec<&str> = token.claims.members.keys().map(String::as_str).collect();
    assert_eq!(
        claims,
        [
            "aud",
            "exp",
            "iat",
            "iss",
            "jti",
            "kubernetes.io",
            "nbf",
            "sub"
        ]
    );
    assert!(token.claims.members["aud"].is_array());
    let kubernetes = token.claims.kubernetes().unwrap();
    assert_eq!(kubernetes.namespace.as_deref(), Some("shop"));
    for reference in [
        kubernetes.service_account.as_ref(),
        kubernetes.pod.as_ref(),
        kubernetes.node.as_ref(),
    ] {
        assert!(reference.unwrap().uid.is_some());
    }
}

#[tokio::test]
async fn every_kind_of_key_signs_what_its_published_key_verifies() {
    use cwii_lab::{Case, KeyName, Mechanism};
    use cwii_token::Algorithm;
    let lab = lab();
    let names = [
        KeyName::Rsa,
        KeyName::RsaNext,
        KeyName::P256,
        KeyName::P384,
        KeyName::P521,
    ];
    let case = Case::new("all-keys", Mechanism::AwsWebIdentity).published(names);
    let workload = lab.lay_out(&case).unwrap();
    let http = client(&lab.ca_file());
    let jwks = http
        .get(format!("{}/openid/v1/jwks", workload.issuer))
        .send()
        .await
        .unwrap();
    assert_eq!(jwks.headers()["content-type"], "application/jwk-set+json");
    let jwks = cwii_token::Jwks::parse(&jwks.bytes().await.unwrap()).unwrap();
    assert!(jwks.hygiene().is_empty(), "{:?}", jwks.hygiene());
    for (key, algorithm) in [
        (KeyName::Rsa, Algorithm::Rs256),
        (KeyName::Rsa, Algorithm::Rs384),
        (KeyName::RsaNext, Algorithm::Rs512),
        (KeyName::P256, Algorithm::Es256),
        (KeyName::P384, Algorithm::Es384),
        (KeyName::P521, Algorithm::Es512),
    ] {
        let mut spec = lab.token_spec(&case);
        spec.key = key;
        spec.algorithm = Some(algorithm);
        let token = cwii_token::Token::decode(&lab.mint(&spec).unwrap()).unwrap();
        let jwk =
            cwii_token::select_key(&token.header, &jwks, cwii_token::KeyRules::Kubernetes).unwrap();
        cwii_token::verify_signature(&token, jwk).unwrap_or_else(|e| panic!("{algorithm:?}: {e}"));
    }
    let seen = drive(&workload).await.unwrap();
    assert!(seen.verified(), "{seen:?}");
}

#[tokio::test]
async fn the_exports_of_a_served_lab_work_for_all_three_clouds() {
    let lab = lab();
    let exports = lab.exports().unwrap();
    for mechanism in [
        Mechanism::AwsWebIdentity,
        Mechanism::GoogleImpersonated,
        Mechanism::EntraFederated,
    ] {
        let mut workload = lab.workload(&scenarios()[0]).unwrap();
        workload.mechanism = mechanism;
        workload.env = exports.clone();
        assert!(drive(&workload).await.unwrap().verified());
    }
    let shell = cwii_lab::shell_exports(&exports);
    assert!(
        shell
            .lines()
            .all(|l| l.starts_with("export ") && l.ends_with('\''))
    );
}

#[tokio::test]
async fn a_service_answers_on_ipv6_where_the_machine_has_it() {
    let lab = lab();
    let port = lab.endpoints().sts.rsplit(':').next().unwrap().to_owned();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let response = client(&lab.ca_file())
        .post(format!("https://[::1]:{port}/"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    use cwii_lab::{Case, Mechanism};
    let lab = lab();
    let case = Case::new("short-lived", Mechanism::AwsWebIdentity)
        .token(|t| t.lifetime = jiff::SignedDuration::from_secs(2));
    let broken = Case::new("short-copied", Mechanism::AwsWebIdentity)
        .token(|t| t.lifetime = jiff::SignedDuration::from_secs(2))
        .file(cwii_lab::TokenFile::Copied);
    let read = |w: &cwii_lab::Workload| fs::read(w.token_file.as_ref().unwrap()).unwrap();
    let (kept, copied) = (lab.lay_out(&case).unwrap(), lab.lay_out(&broken).unwrap());
    let (first, copy) = (read(&kept), read(&copied));
    tokio::time::sleep(std::time::Duration::from_millis(3500)).await;
    assert_ne!(read(&kept), first);
    assert_eq!(read(&copied), copy);
}

#[tokio::test]
async fn entra_answers_what_official_clients_ask_first() {
    let lab = lab();
    let http = client(&lab.ca_file());
    let base = &lab.endpoints().entra;
    let get = async |path: &str| -> serde_json::Value {
        let response = http.get(format!("{base}{path}")).send().await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    };
    let tenant = "/lab.onmicrosoft.com/v2.0/.well-known/openid-configuration";
    assert_eq!(
        get(tenant).await["token_endpoint"],
        format!("{base}/lab.onmicrosoft.com/oauth2/v2.0/token")
    );
    let nobody = get("/nobody.onmicrosoft.com/v2.0/.well-known/openid-configuration").await;
    assert_eq!(nobody["error_codes"][0], 90002);
    let instance = get(&format!(
        "/common/discovery/instance?api-version=1.1&authorization_endpoint={base}/lab.onmicrosoft.com/oauth2/v2.0/authorize"
    ))
    .await;
    assert_eq!(
        instance["tenant_discovery_endpoint"],
        format!("{base}{tenant}")
    );
}

#[tokio::test]
async fn google_sts_takes_json_as_it_takes_a_form() {
    let lab = lab();
    let scenario = scenarios()
        .iter()
        .find(|s| s.name == "hello-google-direct")
        .unwrap();
    let workload = lab.workload(scenario).unwrap();
    let token = fs::read_to_string(workload.token_file.unwrap()).unwrap();
    let ask = async |body: serde_json::Value| {
        client(&lab.ca_file())
            .post(format!("{}/v1/token", lab.endpoints().google_sts))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap()
    };
    let mut body = json!({
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": workload.names.get("PROVIDER_NAME"),
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "subjectToken": token,
        "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
    });
    assert_eq!(ask(body.clone()).await.status(), 200);
    body["scope"] = "cloud-platform".into();
    let refused = ask(body).await;
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("invalid_scope"));
    let recorded = format!("{:?}", lab.requests());
    assert!(!recorded.contains(token.trim()));
}

#[tokio::test]
async fn credentials_that_the_lab_did_not_issue_are_not_accepted() {
    let lab = lab();
    let http = client(&lab.ca_file());
    let unsigned = http
        .post(format!("{}/", lab.endpoints().sts))
        .header("content-type", support::FORM)
        .body("Action=GetCallerIdentity&Version=2011-06-15")
        .send()
        .await
        .unwrap();
    assert_eq!(unsigned.status(), 403);
    let text = unsigned.text().await.unwrap();
    assert_eq!(
        support::element(&text, "Code"),
        "MissingAuthenticationToken"
    );
    let workload = lab.workload(&scenarios()[0]).unwrap();
    let code = async |tamper: fn(&mut support::Credentials)| {
        support::drive_with(&workload, tamper).await.unwrap().code
    };
    assert_eq!(code(|c| c.secret.push('x')).await, "SignatureDoesNotMatch");
    assert_eq!(code(|c| c.token.push('x')).await, "InvalidClientTokenId");
    assert_eq!(
        code(|c| c.key = "ASIAAAAAAAAAAAAAAAAA".into()).await,
        "InvalidClientTokenId"
    );
    let stranger = http
        .post(format!(
            "{}/v1/projects/-/serviceAccounts/hello-google@lab-project.iam.gserviceaccount.com:generateAccessToken",
            lab.endpoints().google_iam
        ))
        .bearer_auth("ya29.d.invented")
        .header("content-type", "application/json")
        .body(r#"{"scope":["https://www.googleapis.com/auth/cloud-platform"]}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(stranger.status(), 401);
}
