//! The token that a cloud would see.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cwii_token::{Claims, Token};
use serde_json::{Map, Value, json};

use super::{
    case::{Case, Gap, known},
    facts::{Facts, Need},
    mechanism::Mechanism,
};
use crate::facts::Fact;

/// What [`Case::token`] looks at.
pub(crate) const NEEDS: &[Need] = &[
    Need::Tokens,
    Need::Claims,
    Need::Discovery,
    Need::Jwks,
    Need::Pod,
];

/// A token and how it was come by.
#[derive(Clone, Debug)]
pub struct TokenView {
    /// The token. Unless it was minted its signature is none, and only header and claims mean something.
    pub token: Token,
    /// How it was come by.
    pub origin: TokenOrigin,
}

/// How a token was come by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenOrigin {
    /// Minted by TokenRequest: everything in it is the API server's.
    Minted,
    /// Its claims were written down in a document: the token in the pod at that time.
    Documented,
    /// Foretold: issuer from the discovery document, audience from the pod's volume, key id from the API server's keys if it
    /// has one only. There are no times in it that mean anything.
    Foretold,
}

pub(super) fn view(
    case: &Case<'_>,
    facts: &Facts,
    mechanism: &Mechanism,
) -> Result<TokenView, Gap> {
    let audience = mechanism
        .token
        .as_ref()
        .and_then(|token| token.audience.clone())
        .or_else(|| mechanism.audience.as_ref().map(|given| given.value.clone()));
    if let (Fact::Known(tokens), Some(audience)) = (&facts.tokens, &audience)
        && let Some(fact) = tokens.get(audience)
        && let Some(token) = known(fact, Need::Tokens)?
    {
        return Ok(TokenView {
            token: token.clone(),
            origin: TokenOrigin::Minted,
        });
    }
    if let Fact::Known(documented) = &facts.claims
        && let Some(claims) = pick(documented, mechanism, audience.as_deref())
        && let Some(token) = unsigned(
            &claims.members,
            kid_of(&claims.members).or_else(|| only_kid(facts)),
        )
    {
        return Ok(TokenView {
            token,
            origin: TokenOrigin::Documented,
        });
    }
    let Some(discovery) = known(&facts.discovery, Need::Discovery)? else {
        return Err(Gap::Unknown(
            Need::Discovery,
            "the API server has no discovery document".into(),
        ));
    };
    let Some(audience) = audience else {
        return Err(Gap::Unknown(
            Need::Pod,
            "the pod has no token for this mechanism".into(),
        ));
    };
    let now = facts.now.as_second();
    let claims = json!({
        "aud": [audience],
        "exp": now + 3600,
        "iat": now,
        "nbf": now,
        "iss": discovery.issuer,
        "sub": case.subject()?,
        "kubernetes.io": {
            "namespace": case.namespace_name(),
            "serviceaccount": {"name": case.service_account_name()?},
        },
    });
    claims
        .as_object()
        .and_then(|claims| unsigned(claims, only_kid(facts)))
        .map(|token| TokenView {
            token,
            origin: TokenOrigin::Foretold,
        })
        .ok_or_else(|| {
            Gap::Unknown(
                Need::Discovery,
                "the issuer makes no claim that decodes".into(),
            )
        })
}

/// Of several documented tokens the one with the audience; else the only one, for its audience may be what is wrong.
fn pick<'c>(
    documented: &'c [Claims],
    mechanism: &Mechanism,
    audience: Option<&str>,
) -> Option<&'c Claims> {
    let has =
        |claims: &&Claims| audience.is_some_and(|audience| claims.audiences().contains(&audience));
    match documented {
        [] => None,
        [only] => Some(only),
        several => several.iter().find(has).or_else(|| {
            several
                .iter()
                .find(|claims| mechanism.could_be_audience(&claims.audiences()))
        }),
    }
}

/// A document of claims may say which key signed, in a member that no token has.
fn kid_of(claims: &Map<String, Value>) -> Option<String> {
    claims.get("kid")?.as_str().map(str::to_owned)
}

fn only_kid(facts: &Facts) -> Option<String> {
    let Fact::Known(jwks) = &facts.jwks else {
        return None;
    };
    match jwks.keys.as_slice() {
        [only] => only.kid.clone(),
        _ => None,
    }
}

/// A text in the form of a token: what has claims but no signature of anybody.
pub(crate) fn unsigned(claims: &Map<String, Value>, kid: Option<String>) -> Option<Token> {
    let header = match kid {
        Some(kid) => json!({"alg": "RS256", "kid": kid}),
        None => json!({"alg": "RS256"}),
    };
    let part = |value: &[u8]| URL_SAFE_NO_PAD.encode(value);
    let mut claims = claims.clone();
    claims.remove("kid");
    let text = format!(
        "{}.{}.{}",
        part(header.to_string().as_bytes()),
        part(Value::Object(claims).to_string().as_bytes()),
        part(b"unsigned"),
    );
    Token::decode(&text).ok()
}
