//! The issuer's documents are served with headers that keep old keys about.
//!
//! ## What it checks
//!
//! With `--probe`, `Cache-Control` of the published JWKS: `max-age` of at most a day; and `Content-Type`, which is JSON and not HTML.
//!
//! ## Why it matters
//!
//! Whoever caches the keys for longer than new keys are published ahead of their first use refuses tokens in between. A content
//! delivery network does as the header says, clouds have times of their own.
//!
//! ## How it looks
//!
//! After a rotation tokens are refused for hours, and then accepted without anybody having changed anything.
//!
//! ## How to fix it
//!
//! Serve the documents as `application/json` with `Cache-Control: max-age=300`, and publish a new key a day before it signs.
//!
//! ## How to verify the fix
//!
//! `curl -sSI JWKS_URL` shows the headers.
//!
//! ## References
//!
//! - RFC 9111, "HTTP Caching", section 5.2.2.1: <https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.1>

use super::{PUBLISHED, document, of_published};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, not_collected},
    report::Finding,
    rules::words::quote,
};

pub(super) const RULE: Rule =
    Rule::new("ISS09", PUBLISHED, check).blocked_by(&["ISS01", "ISS05", "ISS06", "ISS08"]);

/// A day: what people publish new keys ahead.
const LONGEST_SECONDS: u64 = 86_400;

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    of_published(case, |issuer, _| {
        let Some(answer) = &issuer.seen.jwks else {
            return Err(not_collected(Need::Published));
        };
        let url = issuer.jwks_url.as_deref().unwrap_or(&issuer.url);
        let found = |message: String| {
            Finding::new("ISS09", message)
                .at(document("JWKS", url))
                .fix("serve the keys as `application/json` with `Cache-Control: max-age=300`")
                .command(format!("curl -sSI {}", quote(url)))
        };
        let mut findings = Vec::new();
        let seconds = answer
            .cache_control
            .as_deref()
            .and_then(|header| {
                header
                    .split(',')
                    .find_map(|part| part.trim().to_lowercase().strip_prefix("max-age=")?.parse::<u64>().ok())
            })
            .unwrap_or_default();
        if seconds > LONGEST_SECONDS {
            findings.push(
                found(format!("the published JWKS may be cached for {seconds} s"))
                    .compared(format!("max-age={seconds}"), "max-age=300"),
            );
        }
        let content_type = answer.content_type.as_deref().unwrap_or_default();
        if content_type.starts_with("text/html") {
            findings.push(
                found("the published JWKS is served as HTML".into())
                    .compared(content_type, "application/json"),
            );
        }
        Ok(findings)
    })
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, facts::DocumentAnswer, rules::fixture::Fixture};

    fn served(content_type: &str, cache_control: &str) -> Fixture {
        Fixture::irsa().publishing(|issuer| {
            issuer.seen.jwks = Some(DocumentAnswer {
                status: 200,
                content_type: Some(content_type.into()),
                cache_control: Some(cache_control.into()),
                ..DocumentAnswer::default()
            });
        })
    }

    #[test]
    fn usual_headers_pass() {
        for (content_type, cache) in [
            ("application/json", "max-age=300"),
            ("application/jwk-set+json", "public, max-age=3600"),
            ("binary/octet-stream", ""),
        ] {
            assert_eq!(served(content_type, cache).decide("ISS09"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn a_week_in_caches_and_html_are_warnings() {
        assert_eq!(
            served("application/json", "public, max-age=604800").messages("ISS09"),
            ["the published JWKS may be cached for 604800 s"]
        );
        assert_eq!(
            served("text/html; charset=utf-8", "no-cache").messages("ISS09"),
            ["the published JWKS is served as HTML"]
        );
    }

    #[test]
    fn without_an_answer_nobody_looked() {
        assert!(Fixture::irsa().published().decide("ISS09").is_err());
    }
}
