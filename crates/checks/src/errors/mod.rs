//! The error table: what a provider's answer means, as data.
//!
//! Providers change their texts, and Microsoft says that even its numbers may change, so a row matches on step, code,
//! status and a piece of the text, the most telling first, and the raw answer is always printed beside the meaning.
//! Where token, clock or the published keys tell more than the text, [`crate::diagnose()`] goes by them.

use crate::facts::{Answer, Step};

/// Makes a cloud's table: id, steps, statuses, codes, texts, class, stage, finding, meaning, fix.
macro_rules! table {
    ($($id:literal $steps:ident [$($status:literal)*] [$($code:literal)*] [$($text:literal)*] $class:ident $stage:ident $finding:expr, $meaning:literal, $fix:literal;)*) => {
        /// The rows, the more telling before the more general.
        pub(super) const ROWS: &[Row] = &[$(Row {
            id: $id,
            steps: $steps,
            statuses: &[$($status),*],
            codes: &[$($code),*],
            texts: &[$($text),*],
            class: $crate::errors::Class::$class,
            stage: $crate::errors::Stage::$stage,
            code: $finding,
            meaning: $meaning,
            fix: $fix,
        }),*];
    };
}

mod aws;
mod entra;
mod google;

/// What an answer means for the exit code and for another try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// The cloud said no. Asking again gives the same answer.
    Denied,
    /// The cloud could not decide now: throttled, overloaded, its own dependency away.
    Transient,
}

/// How far the cloud got with the token before it answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// It had not accepted the token: token, clock and keys can be the cause, whatever the text says.
    Token,
    /// The token was fine; what is compared with it, or what comes after, is the cause.
    Trust,
    /// The request never got as far as the token.
    Request,
}

/// One row: an answer and its meaning.
#[derive(Debug, Eq, PartialEq)]
pub struct Row {
    /// Number of the row, such as `A1`; for Entra the AADSTS number.
    pub id: &'static str,
    /// Steps at which it is met.
    pub steps: &'static [Step],
    /// HTTP statuses; empty: any.
    pub statuses: &'static [u16],
    /// Codes of the provider; empty: any.
    pub codes: &'static [&'static str],
    /// Pieces of the text, lower case, of which one must be there; empty: any.
    pub texts: &'static [&'static str],
    /// What it means for exit code and retries.
    pub class: Class,
    /// How far the token got.
    pub stage: Stage,
    /// The code of the catalogue unless facts tell a better one; none for passing trouble.
    pub code: Option<&'static str>,
    /// The meaning, one sentence without a period.
    pub meaning: &'static str,
    /// What to do.
    pub fix: &'static str,
}

/// What is known of an answer at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Classified {
    /// The row that matched.
    pub row: Option<&'static Row>,
    /// Whether another try may give another answer.
    pub transient: bool,
    /// Whether a trust object made within the last minutes gives this answer until it has spread.
    pub propagating: bool,
}

/// Finds the row of an answer. An answer that no row knows is transient by its status (408, 429, 5xx), else a denial.
#[must_use]
pub fn classify(step: Step, answer: &Answer) -> Classified {
    let text = answer.message.to_lowercase();
    let row = rows().find(|row| {
        row.steps.contains(&step)
            && (row.statuses.is_empty() || row.statuses.contains(&answer.status))
            && (row.codes.is_empty()
                || answer
                    .code
                    .as_deref()
                    .is_some_and(|c| row.codes.contains(&c)))
            && (row.texts.is_empty() || row.texts.iter().any(|t| text.contains(t)))
    });
    let transient = match row {
        Some(row) => row.class == Class::Transient,
        None => matches!(answer.status, 408 | 429 | 500..),
    };
    Classified {
        row,
        transient,
        propagating: row.is_some_and(|row| {
            [aws::SPREADING, google::SPREADING, entra::SPREADING]
                .iter()
                .any(|ids| ids.contains(&row.id))
        }),
    }
}

/// All rows, cloud by cloud.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [aws::ROWS, google::ROWS, entra::ROWS].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    fn answer(status: u16, code: Option<&str>, message: &str) -> Answer {
        Answer {
            status,
            code: code.map(str::to_owned),
            message: message.to_owned(),
            request_id: None,
        }
    }

    #[test]
    fn every_row_names_a_code_of_the_catalogue() {
        for row in rows() {
            if let Some(code) = row.code {
                assert!(catalogue::find(code).is_some(), "{}: {code}", row.id);
            }
            assert!(
                row.texts.iter().all(|t| *t == t.to_lowercase()),
                "{}",
                row.id
            );
            assert!(
                !row.meaning.ends_with('.') && !row.fix.ends_with('.'),
                "{}",
                row.id
            );
        }
    }

    #[test]
    fn every_row_can_be_reached_by_an_answer_of_its_own() {
        for row in rows() {
            let status = row.statuses.first().copied().unwrap_or(400);
            let found = classify(
                row.steps[0],
                &answer(
                    status,
                    row.codes.first().copied(),
                    row.texts.first().copied().unwrap_or("x"),
                ),
            );
            assert_eq!(found.row.map(|r| r.id), Some(row.id), "{:?}", row.meaning);
        }
    }

    #[test]
    fn a_code_without_a_row_is_a_denial_and_a_server_error_is_not() {
        let denied = classify(Step::EntraToken, &answer(400, Some("AADSTS999999"), "new"));
        assert!(denied.row.is_none() && !denied.transient);
        assert!(classify(Step::GoogleTokenExchange, &answer(599, None, "")).transient);
        assert!(classify(Step::EntraToken, &answer(429, None, "")).transient);
    }

    #[test]
    fn the_generic_text_of_aws_does_not_swallow_the_telling_ones() {
        let id = |text: &str| {
            classify(
                Step::AssumeRoleWithWebIdentity,
                &answer(400, Some("InvalidIdentityToken"), text),
            )
            .row
            .map(|r| r.id)
        };
        assert_eq!(
            id("No OpenIDConnect provider found in your account for https://x"),
            Some("A2")
        );
        assert_eq!(
            id("The web identity token provided could not be validated."),
            Some("A3")
        );
        assert_eq!(
            id("Couldn't retrieve verification key from your identity provider,  please"),
            Some("A5")
        );
    }
}
