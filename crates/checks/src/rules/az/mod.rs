//! Federation with Entra ID.
//!
//! One verdict, many rules: [`assertion`] asks the evaluator what Entra would say to the workload's token, mends what it
//! refuses and asks again, so that faults that do not depend on each other are all found. Each rule takes those of its own
//! code.

use cwii_contract::{Provider, types::Subject as ServiceAccountSubject};
use cwii_trust::{
    Clause, JwksFact, Library, Lint, Shape,
    entra::{
        Application, Documents, FederatedIdentityCredential, LintKind, ObjectKind, Reason, Request,
        evaluate,
    },
};
use serde_json::json;

use super::federation::{answer, document, exchanges, quote};
use crate::{
    doctor::{Case, Gap, Given, Mechanism, MechanismKind, Need, Outcome, TokenOrigin, TokenView},
    report::{Applicability, Finding, Subject},
};

group! { az01 az02 az03 az04 az05 az06 az07 az08 az09 az10 az11 az12 az13 az14 }

/// What a rule needs that asks what Entra makes of the token.
pub(super) const ASSERTION: &[Need] = &[
    Need::Pod,
    Need::Owners,
    Need::ServiceAccount,
    Need::Namespace,
    Need::WebhookSettings,
    Need::Node,
    Need::Discovery,
    Need::Jwks,
    Need::Tokens,
    Need::Claims,
    Need::Trust,
];

/// Why a rule of this group does not concern a workload.
pub(super) const NO_FEDERATION: &str = "the workload does not sign in at Entra";

/// Asks a question of every mechanism that signs in at Entra.
pub(super) fn each<'a>(
    case: &Case<'a>,
    judge: impl FnMut(&'a Mechanism) -> Result<Vec<Finding>, Gap>,
) -> Result<Outcome, Gap> {
    super::federation::each(case, exchanges(Provider::Az), NO_FEDERATION, judge)
}

/// What Entra makes of the token.
pub(super) struct Assertion<'a> {
    pub(super) library: &'a Library,
    pub(super) application: Application,
    pub(super) token: TokenView,
    pub(super) faults: Vec<Fault>,
    pub(super) lints: Vec<Lint<LintKind>>,
    /// The answer beyond which nothing could be evaluated.
    stopped: Option<String>,
}

/// One thing that Entra refuses.
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) clause: Clause,
    pub(super) answer: String,
    /// What would mend it.
    repair: Repair,
}

/// What mends a credential that does not match.
enum Repair {
    /// Another value in the credential of this name.
    Update(FederatedIdentityCredential),
    /// One more credential.
    Create,
}

/// Asks what Entra would answer; none for a workload that names no client id, which its application then does.
pub(super) fn assertion<'a>(
    case: &Case<'a>,
    mechanism: &Mechanism,
) -> Result<Option<Assertion<'a>>, Gap> {
    let library = case.trust()?;
    let Some(client_id) = &mechanism.client_id else {
        return Ok(None);
    };
    let client_id = client_id.value.as_str();
    if !library.has_entra_credentials(client_id) {
        return Err(Gap::Unknown(
            Need::Trust,
            format!(
                "the federated identity credentials of `{client_id}` are not among the trust documents; `az ad app federated-credential list --id {client_id}` prints those of an application, `az identity federated-credential list --identity-name NAME -g RESOURCE-GROUP` those of a managed identity"
            ),
        ));
    }
    let mut documents = library.entra(Some(client_id));
    // What was not given is not known to be missing: AZ02 looks at tenants by itself.
    documents.tenants = None;
    let Some(application) = documents.find(client_id).cloned() else {
        return Ok(None);
    };
    let mut assertion = Assertion {
        library,
        application,
        token: case.token(mechanism)?,
        faults: Vec::new(),
        lints: Vec::new(),
        stopped: None,
    };
    let tenant = mechanism
        .tenant_id
        .as_ref()
        .map(|tenant| tenant.value.as_str())
        .filter(|tenant| tenant.parse::<cwii_contract::types::TenantId>().is_ok())
        .unwrap_or("tenant.invalid");
    assertion.evaluate(case, tenant, documents);
    Ok(Some(assertion))
}

impl Assertion<'_> {
    fn evaluate(&mut self, case: &Case<'_>, tenant: &str, mut documents: Documents) {
        let client_id = self.application.client_id.clone();
        let token = self.token.token.clone();
        // Times are other rules' matter (TOK05); a token that was foretold has none that mean anything.
        let now = token.claims.issued_at().unwrap_or(case.now());
        for _ in 0..6 {
            let verdict = evaluate(
                &Request {
                    token: Some(Ok(&token)),
                    jwks: JwksFact::NotCollected,
                    tenant,
                    client_id: &client_id,
                    scope: None,
                    now,
                },
                &documents,
            );
            self.lints = verdict.lints;
            let Err(denial) = verdict.result else {
                return;
            };
            let text = answer("Entra", &denial.error);
            // As it is by now: the last command then leaves everything right.
            let credential = documents
                .find(&client_id)
                .and_then(|now| credential(now, &verdict.decided_by));
            let repair = self.repair(&denial.reason, credential);
            let mended = match (&denial.reason, &repair) {
                (Reason::ClientDisabled | Reason::ServicePrincipalMissing, _) => {
                    documents.service_principals = None;
                    true
                }
                (_, Repair::Update(changed)) => documents
                    .applications
                    .iter_mut()
                    .filter(|application| application.client_id.eq_ignore_ascii_case(&client_id))
                    .flat_map(|application| &mut application.credentials)
                    .find(|credential| credential.name == changed.name)
                    .map(|credential| *credential = changed.clone())
                    .is_some(),
                (_, Repair::Create) => false,
            };
            self.stopped = (!mended).then(|| text.clone());
            self.faults.push(Fault {
                reason: denial.reason,
                clause: verdict.decided_by,
                answer: text,
                repair,
            });
            if !mended {
                return;
            }
        }
    }

    /// A slip in a credential that was meant for this workload is corrected; one that serves another workload or cluster
    /// stays, and this one gets its own.
    fn repair(&self, reason: &Reason, credential: Option<&FederatedIdentityCredential>) -> Repair {
        let (issuer, subject, audience) = self.claims();
        let Some(credential) = credential else {
            return Repair::Create;
        };
        let mut changed = credential.clone();
        let bare = |text: &str| text.trim().trim_end_matches('/').to_ascii_lowercase();
        match reason {
            Reason::AudienceMismatch => changed.audiences = vec![audience.to_owned()],
            Reason::SubjectCaseMismatch => changed.subject = Some(subject.to_owned()),
            Reason::SubjectMismatch if !names_somebody(credential) => {
                changed.subject = Some(subject.to_owned());
            }
            Reason::IssuerMismatch
                if credential.subject.as_deref() == Some(subject)
                    && bare(&credential.issuer) == bare(issuer) =>
            {
                changed.issuer = issuer.to_owned();
            }
            _ => return Repair::Create,
        }
        Repair::Update(changed)
    }

    /// Issuer, subject and audience of the token.
    pub(super) fn claims(&self) -> (&str, &str, &str) {
        let claims = &self.token.token.claims;
        (
            claims.issuer().unwrap_or_default(),
            claims.subject().unwrap_or_default(),
            claims.audiences().first().copied().unwrap_or_default(),
        )
    }

    /// A gap where Entra refuses for another reason before it comes to this code's.
    fn reached(&self, code: &'static str) -> Result<(), Gap> {
        match (&self.stopped, self.faults.last()) {
            (Some(stopped), Some(last)) if rank(code_of(&last.reason)) < rank(Some(code)) => {
                Err(Gap::Unknown(Need::Trust, stopped.clone()))
            }
            _ => Ok(()),
        }
    }

    fn at(&self, clause: &Clause) -> Subject {
        let (kind, name) = match credential(&self.application, clause) {
            Some(credential) => ("FederatedIdentityCredential", credential.name.clone()),
            None => (
                match self.application.kind {
                    ObjectKind::Application => "Application",
                    ObjectKind::ManagedIdentity => "ManagedIdentity",
                },
                self.application.client_id.clone(),
            ),
        };
        let shapes = [Shape::EntraCredentials, Shape::EntraIdentityCredentials];
        document(self.library, &shapes, kind, name, clause)
    }

    /// The command that mends a fault, and whether it can be pasted as it is.
    fn mended(&self, finding: Finding, repair: &Repair, case: &Case<'_>) -> Finding {
        let (issuer, subject, audience) = self.claims();
        let (verb, credential) = match repair {
            Repair::Update(changed) => ("update", changed.clone()),
            Repair::Create => (
                "create",
                FederatedIdentityCredential {
                    name: self.new_name(case),
                    issuer: issuer.to_owned(),
                    subject: Some(subject.to_owned()),
                    audiences: vec![audience.to_owned()],
                    ..FederatedIdentityCredential::default()
                },
            ),
        };
        let subject = credential.subject.as_deref().unwrap_or_default();
        let (command, complete) = match self.application.kind {
            ObjectKind::ManagedIdentity => {
                let (group, identity) = self.resource();
                let complete = group.is_some() && identity.is_some();
                (
                    format!(
                        "az identity federated-credential {verb} --name {} --identity-name {} -g {} --issuer {} --subject {} --audiences {}",
                        quote(&credential.name),
                        quote(identity.unwrap_or("IDENTITY")),
                        quote(group.unwrap_or("RESOURCE-GROUP")),
                        quote(&credential.issuer),
                        quote(subject),
                        quote(&credential.audiences.join(" ")),
                    ),
                    complete,
                )
            }
            ObjectKind::Application => {
                let parameters = json!({
                    "name": credential.name, "issuer": credential.issuer,
                    "subject": subject, "audiences": credential.audiences,
                });
                let which = match repair {
                    Repair::Update(_) => {
                        format!(" --federated-credential-id {}", quote(&credential.name))
                    }
                    Repair::Create => String::new(),
                };
                (
                    format!(
                        "az ad app federated-credential {verb} --id {}{which} --parameters {}",
                        self.application.client_id,
                        quote(&parameters.to_string()),
                    ),
                    true,
                )
            }
        };
        let finding = match repair {
            Repair::Update(_) => {
                finding.fix("correct the credential; it takes some minutes to spread")
            }
            Repair::Create => finding.fix(
                "give this ServiceAccount a credential of its own; it takes some minutes to spread",
            ),
        };
        let finding = if complete {
            finding
        } else {
            finding.evidence(
                "to fill in",
                "resource group and name of the identity: `az identity list --query \"[].{name:name, group:resourceGroup, clientId:clientId}\"`",
            )
        };
        finding.command(command).applicable(if complete {
            Applicability::Safe
        } else {
            Applicability::Display
        })
    }

    /// Resource group and name of a managed identity.
    fn resource(&self) -> (Option<&str>, Option<&str>) {
        let id = self.application.owner_id.as_deref().unwrap_or_default();
        let parts: Vec<&str> = id.split('/').collect();
        let after = |segment: &str| {
            let at = parts
                .iter()
                .position(|part| part.eq_ignore_ascii_case(segment))?;
            parts.get(at + 1).copied()
        };
        (
            after("resourceGroups"),
            after("userAssignedIdentities").or(self.application.display_name.as_deref()),
        )
    }

    /// A name that no credential has yet. Names have 3 to 120 letters, digits, `-` and `_`.
    fn new_name(&self, case: &Case<'_>) -> String {
        let account = case.service_account_name().unwrap_or("default");
        let base: String = format!("{}-{account}", case.namespace_name())
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '-'
                }
            })
            .take(110)
            .collect();
        let taken = |name: &str| {
            self.application
                .credentials
                .iter()
                .any(|credential| credential.name == name)
        };
        let mut name = base.clone();
        for number in 2..100 {
            if !taken(&name) {
                break;
            }
            name = format!("{base}-{number}");
        }
        name
    }
}

/// Whether a credential is some ServiceAccount's, if not this one's.
fn names_somebody(credential: &FederatedIdentityCredential) -> bool {
    let subject = credential.subject.as_deref();
    subject.is_some_and(|subject| subject.parse::<ServiceAccountSubject>().is_ok())
}

/// The credential that a clause stands in.
fn credential<'c>(
    application: &'c Application,
    clause: &Clause,
) -> Option<&'c FederatedIdentityCredential> {
    application.credentials.iter().find(|credential| {
        clause
            .document
            .contains(&format!("credential `{}` of", credential.name))
    })
}

/// The code of a reason, where the evaluator knows none too.
fn code_of(reason: &Reason) -> Option<&'static str> {
    match reason {
        Reason::ClientDisabled | Reason::ServicePrincipalMissing => Some("AZ11"),
        other => other.check(),
    }
}

/// The place of a code in Entra's order.
fn rank(code: Option<&str>) -> u8 {
    match code {
        Some("AZ11") => 1,
        Some("AZ03") => 3,
        Some("AZ05") => 4,
        Some("AZ04") => 5,
        _ => 2,
    }
}

/// The findings of one code about the assertion.
fn assertion_findings<'a>(
    case: &Case<'a>,
    mechanism: &Mechanism,
    code: &'static str,
    tell: impl Fn(&Assertion<'a>, &Fault) -> Finding,
) -> Result<Vec<Finding>, Gap> {
    let Some(assertion) = assertion(case, mechanism)? else {
        return Ok(Vec::new());
    };
    let found: Vec<_> = assertion
        .faults
        .iter()
        .filter(|fault| code_of(&fault.reason) == Some(code))
        .map(|fault| {
            let mut finding = tell(&assertion, fault)
                .of(Provider::Az)
                .at(assertion.at(&fault.clause))
                .answered(&fault.answer);
            let names = |text: &str| finding_names(&fault.reason, text);
            if let Some(comparison) = &fault.clause.comparison
                && names(&comparison.expected)
            {
                finding = finding.compared(&comparison.expected, &comparison.found);
            }
            finding
        })
        .collect();
    if found.is_empty() {
        assertion.reached(code)?;
    }
    Ok(found)
}

/// Whether the two sides of a reason's comparison are values of the same kind.
fn finding_names(reason: &Reason, expected: &str) -> bool {
    !expected.is_empty()
        && matches!(
            reason,
            Reason::IssuerMismatch
                | Reason::SubjectMismatch
                | Reason::SubjectCaseMismatch
                | Reason::AudienceMismatch
        )
}

/// How the token was come by.
pub(super) fn origin(token: &TokenView) -> &'static str {
    match token.origin {
        TokenOrigin::Minted => "a token minted for this ServiceAccount",
        TokenOrigin::Documented => "the documented claims",
        TokenOrigin::Foretold => "the API server's discovery document and the pod",
    }
}

/// Whether a value is a variable that is set to nothing.
fn is_empty_variable(given: &Given) -> bool {
    let pointer = given
        .subject
        .as_ref()
        .and_then(|subject| subject.pointer.as_deref());
    given.value.is_empty() && pointer.is_some_and(|pointer| pointer.contains("/env/"))
}

/// The annotation by which a mechanism is told a value; none where a variable of the pod does.
pub(super) fn annotation_of(
    mechanism: &Mechanism,
    ours: &'static str,
    azure: &'static str,
) -> Option<&'static str> {
    match mechanism.kind {
        MechanismKind::Cwii => Some(ours),
        MechanismKind::AzureWorkloadIdentity => Some(azure),
        _ => None,
    }
}
