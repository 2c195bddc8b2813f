//! What every evaluator answers with. Nothing here knows a cloud.

use std::fmt;

use cwii_contract::types::shorten;
use cwii_token::Jwks;

/// What is known about the issuer's keys.
#[derive(Clone, Copy, Debug)]
pub enum JwksFact<'a> {
    /// The published key set.
    Known(&'a Jwks),
    /// The cloud cannot read it; the text says why. This denies.
    Unavailable(&'a str),
    /// Nobody looked. Key and signature are taken as good and a lint says that they were not checked.
    NotCollected,
}

/// An evaluator's answer. `G` is what the cloud grants, `R` why it denies, `L` what else is worth saying.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict<G, R, L> {
    /// What is granted, or why nothing is.
    pub result: Result<G, Box<Denial<R>>>,
    /// The clause that decided: the statement that allows or denies, the list that lacks a value.
    pub decided_by: Clause,
    /// What else is wrong or dangerous although it did not decide. In the order of the documents.
    pub lints: Vec<Lint<L>>,
}

impl<G, R, L> Verdict<G, R, L> {
    /// Whether the cloud grants what was asked for.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.result.is_ok()
    }

    /// What is granted.
    #[must_use]
    pub fn grant(&self) -> Option<&G> {
        self.result.as_ref().ok()
    }

    /// Why nothing is granted.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial<R>> {
        self.result.as_ref().err().map(|denial| &**denial)
    }

    /// The error that the cloud returns.
    #[must_use]
    pub fn error(&self) -> Option<&CloudError> {
        self.denial().map(|denial| &denial.error)
    }

    /// The reason of a denial.
    #[must_use]
    pub fn reason(&self) -> Option<&R> {
        self.denial().map(|denial| &denial.reason)
    }

    pub(crate) fn granted(grant: G, decided_by: Clause, lints: Vec<Lint<L>>) -> Self {
        Self {
            result: Ok(grant),
            decided_by,
            lints,
        }
    }

    pub(crate) fn denied(failure: Failure<R>, lints: Vec<Lint<L>>) -> Self {
        Self {
            result: Err(Box::new(Denial {
                reason: failure.reason,
                error: failure.error,
                others: failure.others,
            })),
            decided_by: failure.clause,
            lints,
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial<R> {
    /// The reason that decided, for programs.
    pub reason: R,
    /// What the cloud says.
    pub error: CloudError,
    /// Everything else that would have to change too, nearest first: the other conditions of the statement that came
    /// closest, then the other statements.
    pub others: Vec<NearMiss<R>>,
}

/// One thing that does not match, beside the one that decided.
#[derive(Clone, Debug, PartialEq)]
pub struct NearMiss<R> {
    /// Why it does not match.
    pub reason: R,
    /// Where, and what was compared.
    pub clause: Clause,
}

/// Something worth saying that did not decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Lint<L> {
    /// What it is.
    pub kind: L,
    /// Where it stands.
    pub clause: Clause,
}

/// A place in a document, and what was compared there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Clause {
    /// Which document: `token`, `request`, `trust policy of arn:…`, `provider projects/…`.
    pub document: String,
    /// JSON pointer (RFC 6901) into the document as it was given. Where a document holds another one as text (a policy in
    /// a string) the pointer goes on inside it. For the token it begins with `/header` or `/payload`, for the request with
    /// the name of the parameter.
    pub pointer: String,
    /// The rule that was applied: `StringEquals`, `Principal`, `ClientIDList`, `attributeCondition`.
    pub rule: String,
    /// What was compared, where something was.
    pub comparison: Option<Comparison>,
}

impl Clause {
    pub(crate) fn new(
        document: impl Into<String>,
        pointer: impl Into<String>,
        rule: impl Into<String>,
    ) -> Self {
        Self {
            document: document.into(),
            pointer: pointer.into(),
            rule: rule.into(),
            comparison: None,
        }
    }

    pub(crate) fn compared(
        mut self,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        self.comparison = Some(Comparison {
            expected: expected.into(),
            found: found.into(),
        });
        self
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at `{}` of the {}",
            self.rule, self.pointer, self.document
        )?;
        if let Some(Comparison { expected, found }) = &self.comparison {
            write!(
                f,
                ": expected {}, found {}",
                shorten(expected),
                shorten(found)
            )?;
        }
        Ok(())
    }
}

/// Both sides of a comparison, whole, so that a reader can mark the first character that differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Comparison {
    /// What the document asks for. Several values are joined with ` or `.
    pub expected: String,
    /// What the token or the request has. Several values are joined with `, `; `(absent)` where there is none.
    pub found: String,
}

impl Comparison {
    /// Whether the token or the request has nothing there, so that no two texts stand side by side.
    #[must_use]
    pub fn finds_nothing(&self) -> bool {
        self.found == ABSENT
    }
}

/// An error as the cloud puts it on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudError {
    /// HTTP status.
    pub http_status: u16,
    /// The code member of the cloud's error format: `AccessDenied`, `invalid_grant`, `PERMISSION_DENIED`, and for Entra
    /// the OAuth error such as `invalid_client` (its number is `row` and the start of `message`).
    pub code: String,
    /// The text, as recorded or documented.
    pub message: String,
    /// The row of the error catalogue that the text comes from: `A1`, `G3`, `700213`.
    pub row: &'static str,
    /// The `details` list of the error, where the cloud's format has one.
    pub details: Option<serde_json::Value>,
}

impl CloudError {
    pub(crate) fn new(
        row: &'static str,
        http_status: u16,
        code: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            http_status,
            code: code.to_owned(),
            message: message.into(),
            row,
            details: None,
        }
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.http_status, self.code, self.message)
    }
}

/// What an evaluator's steps fail with.
#[derive(Clone, Debug)]
pub(crate) struct Failure<R> {
    pub(crate) reason: R,
    pub(crate) clause: Clause,
    pub(crate) error: CloudError,
    pub(crate) others: Vec<NearMiss<R>>,
}

impl<R> Failure<R> {
    pub(crate) fn new(reason: R, clause: Clause, error: CloudError) -> Self {
        Self {
            reason,
            clause,
            error,
            others: Vec::new(),
        }
    }
}

/// Text for a claim or parameter that is not there.
pub(crate) const ABSENT: &str = "(absent)";
