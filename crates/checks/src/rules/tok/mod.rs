//! The token.

group! { tok01 tok02 tok03 tok04 tok05 tok06 tok07 tok08 tok09 tok10 tok11 tok12 }

use cwii_contract::Provider;
use jiff::SignedDuration;

use crate::{
    doctor::{Case, Gap, Mechanism, Need, TokenOrigin, TokenView, known, not_collected},
    report::Subject,
};

/// What a rule looks at that asks for the mechanisms and the token of each.
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

const NO_TOKEN: &str = "nothing in this pod presents a token to a cloud";

/// A mechanism that presents a token.
fn presents(mechanism: &Mechanism) -> bool {
    mechanism.kind.presents_token()
}

/// A token that somebody minted or found in the pod, as opposed to one that is only foretold.
fn real(case: &Case<'_>, mechanism: &Mechanism) -> Result<TokenView, Gap> {
    let view = case.token(mechanism)?;
    if view.origin != TokenOrigin::Foretold {
        return Ok(view);
    }
    known(&case.look(Need::Tokens).tokens, Need::Tokens)?;
    Err(not_collected(Need::Tokens))
}

/// One that was found in the pod: a minted one is new by itself.
fn found(case: &Case<'_>, mechanism: &Mechanism) -> Result<TokenView, Gap> {
    let view = case.token(mechanism)?;
    match view.origin {
        TokenOrigin::Documented => Ok(view),
        TokenOrigin::Minted | TokenOrigin::Foretold => Err(not_collected(Need::Claims)),
    }
}

/// A claim of a token as the place of a finding.
fn claim(view: &TokenView, name: &str) -> Subject {
    Subject {
        kind: "Token".into(),
        name: match view.origin {
            TokenOrigin::Minted => "minted now".into(),
            TokenOrigin::Documented => "in the pod".into(),
            TokenOrigin::Foretold => "foretold".into(),
        },
        pointer: Some(format!("/{name}")),
        what: Some(format!("claim `{name}`")),
        ..Subject::default()
    }
}

/// How far a cloud lets clocks be apart: AWS 5 minutes and Google about one, as both were seen to do; Entra takes 5.
fn leeway(provider: Provider) -> SignedDuration {
    match provider {
        Provider::Gcp => SignedDuration::from_secs(60),
        Provider::Aws | Provider::Az => SignedDuration::from_secs(300),
    }
}

/// The cloud, as people call what reads tokens there.
fn reader(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "AWS STS",
        Provider::Gcp => "Google STS",
        Provider::Az => "Entra",
    }
}
