//! AWS federation: IAM roles and OIDC providers.
//!
//! One verdict for each way in which a pod presents a web token to STS, and many rules that each tell one part of it. STS
//! ends at the first thing that is wrong; here the provider and the policy are judged apart, so that faults which have
//! nothing to do with each other are all told.

mod commands;
pub(super) mod mend;

pub(super) use commands::{annotate, set_variable};

use super::words::{quote, restarted};

use cwii_contract::{
    Provider,
    types::{Partition, RoleArn, RoleSessionName},
};
use cwii_token::Token;
use cwii_trust::{
    Clause, CloudError, JwksFact,
    aws::{self, Documents, KeyStatus, LintKind, Policy, Reason, Request, Verdict},
};
use serde_json::Value;

use self::mend::Wanted;
use crate::{
    doctor::{Case, Gap, Given, Mechanism, Need, Outcome, TokenOrigin, TokenView},
    report::{Applicability, Finding, Subject},
};

group! { aws01 aws02 aws03 aws04 aws05 aws06 aws07 aws08 aws09 aws10 aws11 aws12 aws13 aws14 aws15 aws16 aws17 aws18 aws19 aws20 aws21 aws22 }

/// What the rules on trust documents look at.
const NEEDS: &[Need] = &[
    Need::Pod,
    Need::Owners,
    Need::ServiceAccount,
    Need::Namespace,
    Need::WebhookSettings,
    Need::Node,
    Need::Trust,
    Need::Tokens,
    Need::Claims,
    Need::Discovery,
    Need::Jwks,
];

/// What STS makes of one mechanism.
struct Ruling<'a> {
    case: &'a Case<'a>,
    role: RoleArn,
    documents: Documents,
    token: Token,
    origin: TokenOrigin,
    /// With the account's providers.
    whole: Verdict,
    /// The role's policy alone, as if provider and audience were as they should be.
    policy: Verdict,
}

/// A part of a trust policy that does not admit the token.
struct Miss<'r> {
    reason: &'r Reason,
    clause: &'r Clause,
}

/// The mechanisms of this pod that present a web token to STS.
fn web_identities<'a>(case: &Case<'a>) -> Vec<&'a Mechanism> {
    case.mechanisms()
        .iter()
        .filter(|mechanism| mechanism.provider == Provider::Aws && mechanism.kind.presents_token())
        .collect()
}

const NO_WEB_IDENTITY: &str = "the pod presents no web token to AWS";

/// Decides for each mechanism. What was found with one of them counts although another could not be judged.
fn each<'a>(
    case: &'a Case<'a>,
    decide: impl Fn(&Ruling<'a>) -> Result<Vec<Finding>, Gap>,
) -> Result<Outcome, Gap> {
    let mechanisms = web_identities(case);
    if mechanisms.is_empty() {
        return Ok(Outcome::not_applicable(NO_WEB_IDENTITY));
    }
    case.trust()?;
    let mut found: Vec<Finding> = Vec::new();
    let mut gap = None;
    for mechanism in mechanisms {
        match Ruling::of(case, mechanism).and_then(|ruling| decide(&ruling)) {
            Ok(findings) => {
                for finding in findings {
                    if !found.contains(&finding) {
                        found.push(finding);
                    }
                }
            }
            Err(why) => gap = gap.or(Some(why)),
        }
    }
    match gap {
        Some(gap) if found.is_empty() => Err(gap),
        _ => Ok(Outcome::of(found)),
    }
}

impl<'a> Ruling<'a> {
    fn of(case: &'a Case<'a>, mechanism: &Mechanism) -> Result<Self, Gap> {
        let library = case.trust()?;
        let TokenView { token, origin } = case.token(mechanism)?;
        let given: &Given = mechanism.role.as_ref().ok_or_else(|| {
            Gap::NotLookedAt(Need::Pod, "the pod does not say which role it takes".into())
        })?;
        let role: RoleArn = given.value.parse().map_err(|_| {
            Gap::Unknown(
                Need::Pod,
                format!("`{}` is not the ARN of a role", given.value),
            )
        })?;
        let documents = library.aws(Some(&role));
        let session_name = mechanism
            .session_name
            .as_ref()
            .map(|given| given.value.as_str())
            .filter(|name| name.parse::<RoleSessionName>().is_ok())
            // What botocore takes; a condition on it is left alone below.
            .unwrap_or("botocore-session-0");
        let token = lasting(&token, case).ok_or_else(|| {
            Gap::Unknown(
                Need::Claims,
                "the token's claims are not those of a JWT".into(),
            )
        })?;
        let judge = |documents: &Documents| {
            let request = Request::new(
                Ok(&token),
                // Keys and signature are judged by themselves.
                JwksFact::NotCollected,
                role.as_str(),
                session_name,
                case.now(),
            );
            aws::evaluate(&request, documents)
        };
        let whole = judge(&documents);
        let policy = judge(&Documents {
            providers: None,
            ..documents.clone()
        });
        Ok(Self {
            case,
            role,
            documents,
            token,
            origin,
            whole,
            policy,
        })
    }

    /// The account's providers.
    ///
    /// # Errors
    ///
    /// None were given.
    fn providers(&self) -> Result<&[aws::OidcProvider], Gap> {
        self.documents.providers.as_deref().ok_or_else(|| {
            Gap::Unknown(
                Need::Trust,
                format!(
                    "the IAM OIDC providers of account {} are not among the trust documents; \
                     `aws iam list-open-id-connect-providers` prints them",
                    self.role.account()
                ),
            )
        })
    }

    /// What STS refuses about the token itself, before it looks for anything of ours.
    fn token_refused(&self) -> Option<&CloudError> {
        let reason = self.policy.reason()?;
        (!is_of_policy(reason))
            .then(|| self.policy.error())
            .flatten()
    }

    /// What the policy does not admit the token for, as far as this can be told; nothing where it does.
    ///
    /// # Errors
    ///
    /// The role was not given, or only a real request would tell.
    fn misses(&self) -> Result<Vec<Miss<'_>>, Gap> {
        self.policy_given()?;
        let Some(denial) = self.policy.denial() else {
            return Ok(Vec::new());
        };
        if let Some(error) = self.token_refused() {
            return Err(Gap::Unknown(
                Need::Claims,
                format!(
                    "STS refuses the token before it looks at the trust policy: {}",
                    error.message
                ),
            ));
        }
        let decided = &self.policy.decided_by;
        let nearest = mend::statement_of(&decided.pointer);
        // Statements for others are no fault.
        let of_statement = denial
            .others
            .iter()
            .filter(|other| mend::statement_of(&other.clause.pointer) == nearest)
            .map(|other| Miss {
                reason: &other.reason,
                clause: &other.clause,
            });
        let all: Vec<Miss<'_>> = std::iter::once(Miss {
            reason: &denial.reason,
            clause: decided,
        })
        .chain(of_statement)
        .collect();
        let known: Vec<Miss<'_>> = all.into_iter().filter(|miss| self.is_known(miss)).collect();
        if known.is_empty() {
            return Err(Gap::Unknown(
                Need::Trust,
                format!(
                    "the trust policy asks for something at `{}` that only the real request shows",
                    decided.pointer
                ),
            ));
        }
        Ok(known)
    }

    /// Whether a miss does not hang on something that nobody knows here.
    fn is_known(&self, miss: &Miss<'_>) -> bool {
        match miss.reason {
            Reason::ConditionFailed(condition) => {
                condition.status != KeyStatus::NotKnown
                    && !condition.key.eq_ignore_ascii_case("sts:RoleSessionName")
            }
            Reason::ExplicitDeny { .. } => !self.policy.lints.iter().any(|lint| {
                matches!(lint.kind, LintKind::KeyNotKnown { .. })
                    && lint.clause.pointer.starts_with(&miss.clause.pointer)
            }),
            _ => true,
        }
    }

    /// The role's policy.
    ///
    /// # Errors
    ///
    /// It was not given.
    fn policy_given(&self) -> Result<&Policy, Gap> {
        match self.documents.role(self.role.as_str()) {
            Some(role) => Ok(&role.trust_policy),
            None => Err(role_not_given(&self.role)),
        }
    }

    /// The ARN of the provider that STS looks for.
    fn provider(&self) -> String {
        format!(
            "arn:{}:iam::{}:oidc-provider/{}",
            self.role.partition(),
            self.role.account(),
            self.prefix()
        )
    }

    fn issuer(&self) -> String {
        self.token.claims.issuer().unwrap_or_default().to_owned()
    }

    fn prefix(&self) -> String {
        let issuer = self.issuer();
        issuer
            .strip_prefix("https://")
            .unwrap_or(&issuer)
            .to_owned()
    }

    fn subject(&self) -> String {
        self.token.claims.subject().unwrap_or_default().to_owned()
    }

    fn audience(&self) -> String {
        let claims = &self.token.claims;
        claims
            .authorized_party()
            .or_else(|| claims.audiences().first().copied())
            .unwrap_or_default()
            .to_owned()
    }

    /// The place of a clause of the role's policy.
    fn at_policy(&self, clause: &Clause) -> Subject {
        let library = self.case.trust().ok();
        Subject {
            kind: "IAM role".into(),
            name: self.role.to_string(),
            pointer: Some(clause.pointer.clone()),
            what: Some(format!("`{}` of the trust policy", clause.rule)),
            file: library
                .and_then(|library| library.file_of_aws_role(&self.role))
                .map(str::to_owned),
            ..Subject::default()
        }
    }

    /// A finding about a clause of the role's policy.
    fn of_policy(&self, code: &str, message: String, clause: &Clause) -> Finding {
        let mut finding = Finding::new(code, message)
            .of(Provider::Aws)
            .at(self.at_policy(clause));
        // The document is what is looked at here, and the token what it should fit. Of what is in neither there is nothing to
        // show.
        if let Some(comparison) = &clause.comparison
            && !comparison.finds_nothing()
        {
            finding = finding.compared(&comparison.expected, &comparison.found);
        }
        finding = self.claims(finding);
        match self.policy.error() {
            Some(error) => finding.answered(answer(error)),
            None => finding,
        }
    }

    /// Adds what the token says.
    fn claims(&self, finding: Finding) -> Finding {
        let source = match self.origin {
            TokenOrigin::Minted => "a token that was just minted",
            TokenOrigin::Documented => "the claims of the token in the pod",
            TokenOrigin::Foretold => "discovery document and pod",
        };
        finding
            .evidence_from("issuer", self.issuer(), source)
            .evidence_from("subject", self.subject(), source)
            .evidence_from("audience", self.audience(), source)
    }

    /// The whole trust policy as it should be; none where it is, or where only a person can tell.
    fn mended(&self) -> Option<Value> {
        let role = self.documents.role(self.role.as_str())?;
        let wanted = Wanted {
            provider: self.provider(),
            prefix: self.prefix(),
            subject: self.subject(),
            audience: self.audience(),
        };
        mend::mend(&role.trust_policy, &wanted, &self.documents, |policy| {
            let mut role = role.clone();
            role.trust_policy = policy.clone();
            let request = Request::new(
                Ok(&self.token),
                JwksFact::NotCollected,
                self.role.as_str(),
                "botocore-session-0",
                self.case.now(),
            );
            aws::evaluate(
                &request,
                &Documents {
                    roles: vec![role],
                    ..Documents::default()
                },
            )
        })
    }

    /// Adds the command that puts the mended policy in place, or the one that prints the policy where none is proposed. The
    /// command mends all faults of the policy, so that of several findings each carries the same.
    fn with_policy(&self, finding: Finding, summary: &str) -> Finding {
        match self.mended() {
            Some(policy) => finding
                .fix(format!("{summary}; the command keeps what the policy admits today, drop what nobody uses"))
                .command(update_policy(&self.role, &policy))
                .applicable(Applicability::Unsafe),
            None => finding.fix(summary).command(format!(
                "aws iam get-role --role-name {} --query Role.AssumeRolePolicyDocument",
                quote(self.role.name())
            )),
        }
    }
}

/// The document of a role that an active mechanism takes.
fn role_not_given(role: &RoleArn) -> Gap {
    Gap::Unknown(
        Need::Trust,
        format!(
            "the role {role} is not among the trust documents; `aws iam get-role --role-name {}` prints it",
            quote(role.name())
        ),
    )
}

/// The command that replaces a role's trust policy.
pub(super) fn update_policy(role: &RoleArn, policy: &Value) -> String {
    format!(
        "aws iam update-assume-role-policy --role-name {} --policy-document {}{}",
        quote(role.name()),
        quote(&policy.to_string()),
        region_flag(role)
    )
}

/// IAM is one service per partition; the CLI finds that of another one by its region.
/// Source: AWS General Reference, "AWS Identity and Access Management endpoints and quotas".
fn region_flag(role: &RoleArn) -> &'static str {
    match role.partition() {
        Partition::AwsCn => " --region cn-north-1",
        Partition::AwsUsGov => " --region us-gov-west-1",
        Partition::AwsEusc => " --region eusc-de-east-1",
        Partition::AwsIso => " --region us-iso-east-1",
        Partition::AwsIsoB => " --region us-isob-east-1",
        Partition::AwsIsoE => " --region eu-isoe-west-1",
        Partition::AwsIsoF => " --region us-isof-south-1",
        Partition::Aws => "",
    }
}

/// What AWS will answer.
pub(super) fn answer(error: &CloudError) -> String {
    if error.code.is_empty() {
        format!("AWS will answer: {}", error.message)
    } else {
        format!("AWS will answer: {}: {}", error.code, error.message)
    }
}

/// Whether a reason comes from the role's policy, rather than from the token or its provider.
fn is_of_policy(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::NoAllowStatement
            | Reason::PrincipalMismatch { .. }
            | Reason::ActionMismatch { .. }
            | Reason::ConditionFailed(_)
            | Reason::ConditionKeyUnknown(_)
            | Reason::ConditionOnOtherClaim(_)
            | Reason::WildcardInStringEquals { .. }
            | Reason::ExplicitDeny { .. }
            | Reason::SessionActionMissing { .. }
    )
}

/// The same claims with times that are good now: whether a token is too old is another rule's, and a token that is foretold
/// has none. The algorithm is another rule's too.
fn lasting(token: &Token, case: &Case<'_>) -> Option<Token> {
    let mut claims = token.claims.members.clone();
    let now = case.now().as_second();
    claims.remove("nbf");
    claims.insert("iat".into(), now.into());
    claims.insert("exp".into(), (now + 3600).into());
    crate::doctor::unsigned(&claims, None)
}
