//! Checking an AWS Signature Version 4 on a request, with the credentials that the lab issued.
//!
//! Source: IAM user guide, "AWS Signature Version 4 for API requests".

use jiff::{SignedDuration, Timestamp, civil};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::hmac;
use sha2::{Digest, Sha256};

use crate::{aws::Session, server::Received};

/// Why a signature is not accepted. HTTP status 403 throughout.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// The session whose credentials signed the request.
pub(crate) fn verify(
    request: &Received,
    find: impl FnOnce(&str) -> Option<Session>,
) -> Result<Session, Refusal> {
    let Some(authorization) = request.header("authorization") else {
        return Err(refusal(
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        ));
    };
    let signed = parse(authorization).ok_or_else(|| {
        refusal(
            "IncompleteSignature",
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters.",
        )
    })?;
    let session = find(signed.access_key_id).ok_or_else(invalid_token)?;
    if request.header("x-amz-security-token") != Some(session.session_token.as_str()) {
        return Err(invalid_token());
    }
    if request.now >= session.expires_at {
        return Err(refusal(
            "ExpiredToken",
            "The security token included in the request is expired",
        ));
    }
    if signed.service != "sts" {
        return Err(refusal(
            "SignatureDoesNotMatch",
            "Credential should be scoped to correct service: 'sts'.",
        ));
    }
    let date = request.header("x-amz-date").unwrap_or_default();
    check_date(date, request.now)?;
    let canonical = canonical_request(request, signed.headers);
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{}/{}/sts/aws4_request\n{}",
        signed.date,
        signed.region,
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let mut key = format!("AWS4{}", session.secret_access_key).into_bytes();
    for part in [signed.date, signed.region, "sts", "aws4_request", &text] {
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
        key = mac.as_ref().to_vec();
    }
    if hex(&key) == signed.signature {
        Ok(session)
    } else {
        Err(refusal(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ))
    }
}

struct Signed<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    headers: &'a str,
    signature: &'a str,
}

fn parse(authorization: &str) -> Option<Signed<'_>> {
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let mut scope = field("Credential")?.split('/');
    let signed = Signed {
        access_key_id: scope.next()?,
        date: scope.next()?,
        region: scope.next()?,
        service: scope.next()?,
        headers: field("SignedHeaders")?,
        signature: field("Signature")?,
    };
    (scope.next() == Some("aws4_request")).then_some(signed)
}

/// A signature is good for a quarter of an hour around its date.
fn check_date(date: &str, now: Timestamp) -> Result<(), Refusal> {
    let signed_at = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)
        .ok()
        .and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .map(|z| z.timestamp())
        .ok_or_else(|| {
            refusal(
                "IncompleteSignature",
                "Date must be in ISO-8601 'basic format'. Got ''. See http://en.wikipedia.org/wiki/ISO_8601",
            )
        })?;
    let age = now.duration_since(signed_at);
    let compact = |time: Timestamp| {
        time.to_zoned(jiff::tz::TimeZone::UTC)
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string()
    };
    if age > WINDOW {
        let oldest = now.checked_sub(WINDOW).unwrap_or(now);
        return Err(refusal(
            "SignatureDoesNotMatch",
            &format!(
                "Signature expired: {date} is now earlier than {} ({} - 15 min.)",
                compact(oldest),
                compact(now)
            ),
        ));
    }
    if age < -WINDOW {
        let newest = now.checked_add(WINDOW).unwrap_or(now);
        return Err(refusal(
            "SignatureDoesNotMatch",
            &format!(
                "Signature not yet current: {date} is still later than {} ({} + 15 min.)",
                compact(newest),
                compact(now)
            ),
        ));
    }
    Ok(())
}

fn canonical_request(request: &Received, signed_headers: &str) -> String {
    let mut query: Vec<(String, String)> = request
        .raw_query
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encoded(name), encoded(value))
        })
        .collect();
    query.sort();
    let query: Vec<String> = query.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let mut headers = String::new();
    for name in signed_headers.split(';') {
        let values: Vec<String> = request
            .headers
            .get_all(name)
            .iter()
            .map(|v| {
                String::from_utf8_lossy(v.as_bytes())
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    format!(
        "{}\n{}\n{}\n{headers}\n{signed_headers}\n{}",
        request.method,
        request.path,
        query.join("&"),
        hex(&Sha256::digest(&request.body))
    )
}

fn encoded(text: &str) -> String {
    let plain = percent_decode_str(text).decode_utf8_lossy();
    utf8_percent_encode(&plain, RESERVED).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn invalid_token() -> Refusal {
    refusal(
        "InvalidClientTokenId",
        "The security token included in the request is invalid.",
    )
}

fn refusal(code: &'static str, message: &str) -> Refusal {
    Refusal {
        code,
        message: message.to_owned(),
    }
}

const WINDOW: SignedDuration = SignedDuration::from_mins(15);
/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
