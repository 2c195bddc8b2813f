//! The GKE metadata server, one for each pod that was laid out.
//!
//! The real one tells pods apart by where a request comes from; here each pod has a port of its own. The ServiceAccount,
//! with its `iam.gke.io/gcp-service-account` annotation, is a file under `gcp/gke/`.
//! Source: Google Cloud documentation, "About Workload Identity Federation for GKE" and "VM metadata".

use cwii_trust::google as trust;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    fault::Service,
    google,
    lab::State,
    server::{Received, Reply},
};

pub(crate) fn handle(state: &State, request: &Received) -> Reply {
    if request.header("metadata-flavor") != Some("Google") {
        return Reply::text(403, "Missing Metadata-Flavor:Google header.\n");
    }
    let reply = match Pod::find(state, request) {
        Ok(Some(pod)) => route(state, request, &pod),
        Ok(None) => Reply::text(404, "no such pod\n"),
        Err(problem) => state.broken(Service::GkeMetadata, &problem, request.now),
    };
    reply
        .with("metadata-flavor", "Google")
        .with("server", "GKE Metadata Server")
}

fn route(state: &State, request: &Received, pod: &Pod) -> Reply {
    let not_found = || Reply::text(404, "Not Found\n");
    if request.method != "GET" {
        return Reply::text(405, "Method Not Allowed\n");
    }
    let recursive = request.parameter("recursive") == Some("true");
    let path = request.path.trim_end_matches('/');
    match path {
        "" => Reply::text(200, "computeMetadata/\n"),
        "/computeMetadata" | "/computeMetadata/v1" => Reply::text(200, "instance/\nproject/\n"),
        "/computeMetadata/v1/project/project-id" => Reply::text(200, pod.project.clone()),
        "/computeMetadata/v1/project/numeric-project-id" => {
            Reply::text(200, pod.project_number.clone())
        }
        "/computeMetadata/v1/universe/universe-domain" => not_found(),
        "/computeMetadata/v1/instance/service-accounts" => {
            Reply::text(200, format!("default/\n{}/\n", pod.email()))
        }
        _ => {
            let Some(rest) = path.strip_prefix("/computeMetadata/v1/instance/service-accounts/")
            else {
                return not_found();
            };
            let (account, member) = rest.split_once('/').unwrap_or((rest, ""));
            if account != "default" && account != pod.email() {
                return not_found();
            }
            match member {
                "" if recursive => Reply::json(
                    200,
                    &json!({
                        "aliases": ["default"],
                        "email": pod.email(),
                        "scopes": SCOPES,
                    }),
                ),
                "" => Reply::text(200, "aliases\nemail\nidentity\nscopes\ntoken\n"),
                "email" => Reply::text(200, pod.email()),
                "aliases" => Reply::text(200, "default\n"),
                "scopes" => Reply::text(200, SCOPES.join("\n")),
                "token" => token(state, request, pod),
                _ => not_found(),
            }
        }
    }
}

fn token(state: &State, request: &Received, pod: &Pod) -> Reply {
    if let Some(reply) = state.forced_for(Service::GkeMetadata, None, &pod.name, request.now) {
        return reply;
    }
    let mut lifetime = SESSION.as_secs();
    if let Some(email) = &pod.service_account {
        let documents = match google::documents_for(state, email) {
            Ok(documents) => documents,
            Err(problem) => return state.broken(Service::GkeMetadata, &problem, request.now),
        };
        let principal = trust::Principal::gke(
            &pod.project,
            Some(&pod.project_number),
            &pod.namespace,
            &pod.kubernetes_name,
        );
        let asked = trust::Impersonation {
            principal: &principal,
            service_account: email,
            lifetime_seconds: None,
            now: request.now,
        };
        match trust::evaluate_gke(&asked, &documents).result {
            Ok(granted) => lifetime = granted.lifetime_seconds,
            Err(denial) => return Reply::text(denial.error.http_status, denial.error.message),
        }
    }
    // Without an annotation the pod's own federated token is what there is.
    let prefix = if pod.service_account.is_some() {
        "c"
    } else {
        "d"
    };
    match google::access_token(state, prefix) {
        Ok(token) => Reply::json(
            200,
            &json!({
                "access_token": token,
                "expires_in": lifetime - 1,
                "token_type": "Bearer",
            }),
        ),
        Err(problem) => state.broken(Service::GkeMetadata, &problem.to_string(), request.now),
    }
}

struct Pod {
    name: String,
    project: String,
    project_number: String,
    namespace: String,
    kubernetes_name: String,
    /// The Google service account of the annotation.
    service_account: Option<String>,
}

impl Pod {
    fn find(state: &State, request: &Received) -> Result<Option<Self>, String> {
        let Some(name) = request.pod.as_deref() else {
            return Ok(None);
        };
        let Some(document) = state.store.document(&format!("gcp/gke/{name}.json"))? else {
            return Ok(None);
        };
        let names = state.names(name);
        let text = |pointer: &str| {
            document
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let annotation = text("/metadata/annotations/iam.gke.io~1gcp-service-account");
        Ok(Some(Self {
            name: name.to_owned(),
            project: names.get("PROJECT").to_owned(),
            project_number: names.get("PROJECT_NUMBER").to_owned(),
            namespace: text("/metadata/namespace"),
            kubernetes_name: text("/metadata/name"),
            service_account: (!annotation.is_empty()).then_some(annotation),
        }))
    }

    /// What the server calls the pod's account; without an annotation, the workload identity pool.
    fn email(&self) -> String {
        self.service_account
            .clone()
            .unwrap_or_else(|| format!("{}.svc.id.goog", self.project))
    }
}

const SESSION: SignedDuration = SignedDuration::from_hours(1);
const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
];
