//! The EKS Pod Identity agent, with EKS Auth behind it.
//!
//! The real agent stands on a node and knows one cluster; this one stands on the nodes of all clusters of the lab and
//! takes the cluster from the token's issuer. Errors of the agent itself are plain text.

use cwii_token::Token;
use cwii_trust::{JwksFact, aws as trust};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    aws,
    fault::Service,
    issuer::random_uuid,
    lab::State,
    server::{Received, Reply},
};

pub(crate) async fn handle(state: &State, request: &Received) -> Reply {
    if request.path != "/v1/credentials" {
        return Reply::text(404, "404 page not found\n");
    }
    if request.method != "GET" {
        return Reply::text(405, "Method Not Allowed\n");
    }
    // Loopback literals stand for the two link-local addresses; a name is how a proxy or a rebinding attack calls.
    let host = request.header("host").unwrap_or_default();
    let address = host.rsplit_once(':').map_or(host, |(address, _)| address);
    if !["127.0.0.1", "[::1]"].contains(&address) {
        return Reply::text(
            403,
            format!(
                "Access Denied. Called agent through invalid address, please use either [169.254.170.23 fd00:ec2::23] address not {address}"
            ),
        );
    }
    let text = request.header("authorization").unwrap_or_default();
    let token = Token::decode(text);
    let issuer = token
        .as_ref()
        .ok()
        .and_then(|t| t.claims.issuer())
        .unwrap_or_default();
    if let Some(reply) = state.forced_for(Service::PodIdentity, None, issuer, request.now) {
        return reply;
    }
    let documents = match aws::documents(state, None) {
        Ok(documents) => documents,
        Err(problem) => return state.broken(Service::PodIdentity, &problem, request.now),
    };
    let cluster = state.cluster_of(issuer);
    // EKS knows its clusters' keys from the clusters themselves; fetching them is how the lab has them checked.
    let keys = match &cluster {
        Some(_) => {
            let kid = token.as_ref().ok().and_then(|t| t.header.kid.as_deref());
            state
                .fetcher
                .keys(Service::PodIdentity, issuer, kid, request.stale_jwks)
                .await
        }
        None => Err("the token is of another cluster".to_owned()),
    };
    let cluster_arn = format!(
        "arn:aws:eks:{}:{}:cluster/{}",
        crate::case::REGION,
        cluster
            .as_ref()
            .map_or("111122223333", |n| n.get("ACCOUNT")),
        cluster.as_ref().map_or("lab", |n| n.get("CLUSTER")),
    );
    let asked = trust::PodIdentityRequest {
        token: token.as_ref(),
        jwks: match &keys {
            Ok(keys) => JwksFact::Known(keys),
            Err(why) => JwksFact::Unavailable(why),
        },
        cluster_arn: &cluster_arn,
        now: request.now,
    };
    match trust::evaluate_pod_identity(&asked, &documents).result {
        Ok(grant) => granted(state, request, &token, &grant, &documents, &cluster_arn),
        // Those of EKS Auth have a code and are wrapped; the agent's own are plain text.
        Err(denial) if !denial.error.code.ends_with("Exception") => {
            Reply::text(denial.error.http_status, denial.error.message)
        }
        Err(denial) => upstream_error(
            denial.error.http_status,
            &denial.error.code,
            &denial.error.message,
        ),
    }
}

/// An error of EKS Auth as the agent passes it on.
pub(crate) fn upstream_error(status: u16, code: &str, message: &str) -> Reply {
    // A text that is wrapped already, from wherever it comes, is not wrapped again.
    if message.starts_with('[') {
        return Reply::text(status, message);
    }
    let id = random_uuid().unwrap_or_default();
    let fault = if status < 500 { "client" } else { "server" };
    Reply::text(
        status,
        format!("[{id}]: ({code}): {message}, fault: {fault}"),
    )
}

fn granted(
    state: &State,
    request: &Received,
    token: &Result<Token, cwii_token::DecodeError>,
    grant: &trust::PodIdentity,
    documents: &trust::Documents,
    cluster_arn: &str,
) -> Reply {
    let expires_at = request.now.checked_add(SESSION).unwrap_or(request.now);
    let role_arn = grant.target_role_arn.as_ref().unwrap_or(&grant.role_arn);
    let role = documents.role(role_arn);
    let account = role_arn.split(':').nth(4).unwrap_or_default();
    let name = role_arn.rsplit('/').next().unwrap_or_default();
    let pod = token
        .as_ref()
        .ok()
        .and_then(|t| t.claims.kubernetes())
        .and_then(|k| k.pod)
        .map_or_else(|| "pod".to_owned(), |p| p.name);
    let cluster = cluster_arn.rsplit('/').next().unwrap_or_default();
    // `eks-CLUSTER-POD-UUID`, cut so that 64 characters hold it.
    let mut session_name = format!("eks-{cluster}-{pod}");
    session_name.truncate(64 - 37);
    let session_name = format!("{session_name}-{}", random_uuid().unwrap_or_default());
    let arn = format!("arn:aws:sts::{account}:assumed-role/{name}/{session_name}");
    let id = role.and_then(|r| r.role_id.as_deref()).unwrap_or("AROA");
    let user_id = format!("{id}:{session_name}");
    match aws::issue(state, &arn, &user_id, role_arn, expires_at) {
        Ok(session) => Reply::json(
            200,
            &json!({
                "AccessKeyId": session.access_key_id,
                "SecretAccessKey": session.secret_access_key,
                "Token": session.session_token,
                "AccountId": account,
                "Expiration": expires_at.to_string(),
            }),
        ),
        Err(problem) => state.broken(Service::PodIdentity, &problem.to_string(), request.now),
    }
}

/// EKS Auth gives credentials for six hours.
const SESSION: SignedDuration = SignedDuration::from_hours(6);
