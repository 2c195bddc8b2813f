//! What is AWS's own: several audiences, Pod Identity, and the commands of its CLI.

use cwii_token::KeyRules;

use super::{Case, Cloud, Coded, Unanswered, quoted, shell, token};
use crate::{
    errors::Row,
    facts::{
        ConfigurationProblem, ConfigurationProblemKind as Kind, Step, TransportProblem,
        TransportProblemKind,
    },
    report::Finding,
};

pub(super) const CLOUD: Cloud = Cloud {
    leeway_seconds: 300,
    keys: KeyRules::Aws,
    audience_rows: &["A3", "A4"],
    issuer_rows: &["A2", "A5", "A19"],
    fetch_rows: &["A5", "A19"],
    own,
    refine: |_, _| None,
    particulars,
    configuration,
    transport,
};

fn own(case: &Case<'_>, step: Step) -> Option<Finding> {
    let claims = &token(case.exchange)?.claims;
    let audiences = claims.audiences();
    if step == Step::ContainerCredentials {
        return (audiences != [POD_IDENTITY_AUDIENCE]).then(|| {
            let found = quoted(&audiences);
            Finding::new(
                "TOK03",
                format!("the token's audience is {found}, expected `{POD_IDENTITY_AUDIENCE}`"),
            )
            .evidence("token file", case.token_path())
            .fix(
                "point AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE at the token that EKS projects for \
                 Pod Identity",
            )
        });
    }
    (audiences.len() > 1 && claims.authorized_party().is_none()).then(|| {
        Finding::new(
            "TOK03",
            "the token has more than one audience, which STS accepts only with an `azp` claim",
        )
        .evidence("audience", quoted(&audiences))
        .fix("project the token for one audience")
    })
}

fn particulars(case: &Case<'_>, row: &Row, finding: Finding) -> Finding {
    let role = case
        .input("role")
        .unwrap_or("arn:aws:iam::ACCOUNT:role/ROLE");
    let issuer = case.issuer_url().unwrap_or("ISSUER");
    let audience = case.audience().unwrap_or("AUDIENCE");
    let subject = case.subject_text().unwrap_or("SUBJECT");
    let key = issuer.trim_start_matches("https://");
    let provider = format!(
        "{}:oidc-provider/{key}",
        role.rsplit_once(':').map_or("", |(head, _)| head)
    );
    match row.id {
        "A1" => {
            let name = role.rsplit('/').next().unwrap_or_default();
            finding
                .evidence("role", role)
                .evidence("principal", provider)
                .evidence("must admit", format!("{key}:aud = {audience}, {key}:sub = {subject}"))
                .command(format!(
                    "aws iam get-role --role-name {} --query Role.AssumeRolePolicyDocument",
                    shell(name)
                ))
        }
        "A2" => finding
            .evidence("account", role.split(':').nth(4).unwrap_or_default())
            .command(format!(
                "aws iam create-open-id-connect-provider --url {} --client-id-list {}",
                shell(issuer),
                shell(audience)
            )),
        "A3" | "A4" if finding.code() == Some("AWS03") => finding.command(format!(
            "aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {} --client-id {}",
            shell(&provider),
            shell(audience)
        )),
        _ => finding,
    }
}

fn configuration(problem: &ConfigurationProblem) -> Option<Coded> {
    let name = problem.name.to_lowercase();
    let code = match problem.kind {
        Kind::PartitionMismatch => "AWS10",
        Kind::Invalid if name.contains("session") => "AWS15",
        Kind::Invalid if name.contains("role") => "AWS10",
        _ => return None,
    };
    Some(Coded { code, row: None })
}

fn transport(step: Step, problem: &TransportProblem) -> Unanswered {
    use TransportProblemKind as Kind;
    match (step, problem.kind) {
        (
            Step::ContainerCredentials,
            Kind::Refused | Kind::ConnectTimeout | Kind::ReadTimeout | Kind::Other,
        ) => Unanswered {
            finding: Some(
                Finding::new("EPI09", format!("the Pod Identity agent does not answer at {}", problem.host)).fix(
                    "install the eks-pod-identity-agent add-on on this node, and let network policies allow 169.254.170.23:80",
                ),
            ),
            row: Some("P5"),
        },
        (_, Kind::Certificate | Kind::Tls) => Unanswered { finding: None, row: Some("A32") },
        _ => Unanswered { finding: None, row: Some("A31") },
    }
}

/// Audience of the tokens that EKS projects for Pod Identity.
const POD_IDENTITY_AUDIENCE: &str = "pods.eks.amazonaws.com";
