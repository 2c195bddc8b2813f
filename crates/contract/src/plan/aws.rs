//! Amazon Web Services: `AssumeRoleWithWebIdentity` by variables alone.

use crate::{
    Provider, Settings,
    annotations::{AWS_REGION, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME},
    env,
    message::Denial,
    names,
    resolve::Resolver,
    spec::EnvVar,
    types::{Region, RoleArn, RoleSessionName},
};

use super::{Cloud, Parts};

pub(super) const CLOUD: Cloud = Cloud {
    provider: Provider::Aws,
    identity: &AWS_ROLE_ARN,
    identity_activates: true,
    required: |resolver, _| {
        let known = resolver.first(&AWS_ROLE_ARN, Provider::Aws).is_some();
        (!known).then_some(&AWS_ROLE_ARN).into_iter().collect()
    },
    parts,
    default_audience: |_| None,
    static_credentials: &[&[env::AWS_ACCESS_KEY_ID], &[env::AWS_SECRET_ACCESS_KEY]],
    cli_check: "aws sts get-caller-identity",
};

fn parts(
    resolver: &mut Resolver<'_>,
    settings: &Settings,
    _audience: Option<&str>,
    active: bool,
) -> Result<Option<Parts>, Denial> {
    const AWS: Provider = Provider::Aws;
    let role = resolver.parsed::<RoleArn>(&AWS_ROLE_ARN, AWS, active, None)?;
    let region = resolver.parsed::<Region>(
        &AWS_REGION,
        AWS,
        active,
        settings.aws_default_region.as_ref(),
    )?;
    let session = resolver.parsed::<RoleSessionName>(&AWS_ROLE_SESSION_NAME, AWS, active, None)?;
    let Some(role) = role.filter(|_| active) else {
        return Ok(None);
    };
    let mut variables = vec![vec![
        EnvVar::literal(env::AWS_ROLE_ARN, role.to_string()),
        EnvVar::literal(env::AWS_WEB_IDENTITY_TOKEN_FILE, names::token_file(AWS)),
    ]];
    if let Some(region) = region {
        let region = region.to_string();
        variables.push(vec![
            EnvVar::literal(env::AWS_REGION, region.clone()),
            EnvVar::literal(env::AWS_DEFAULT_REGION, region),
        ]);
        variables.push(vec![EnvVar::literal(
            env::AWS_STS_REGIONAL_ENDPOINTS,
            env::AWS_STS_REGIONAL_ENDPOINTS_VALUE,
        )]);
    }
    if let Some(session) = session {
        variables.push(vec![EnvVar::literal(
            env::AWS_ROLE_SESSION_NAME,
            session.to_string(),
        )]);
    }
    Ok(Some(Parts {
        variables,
        ..Parts::default()
    }))
}
