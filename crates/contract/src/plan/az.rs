//! Microsoft Entra ID: a federated identity credential by variables alone.

use crate::{
    Provider, Settings,
    annotations::{AZ_AUTHORITY_HOST, AZ_CLIENT_ID, AZ_TENANT_ID},
    env,
    message::Denial,
    names,
    resolve::Resolver,
    spec::EnvVar,
    types::{AuthorityHost, ClientId, TenantId},
};

use super::{Cloud, Parts};

pub(super) const CLOUD: Cloud = Cloud {
    provider: Provider::Az,
    identity: &AZ_CLIENT_ID,
    identity_activates: false,
    required: |resolver, settings| {
        let client = resolver.first(&AZ_CLIENT_ID, Provider::Az).is_some();
        let tenant = resolver.first(&AZ_TENANT_ID, Provider::Az).is_some()
            || settings.az_default_tenant_id.is_some();
        [
            (!client).then_some(&AZ_CLIENT_ID),
            (!tenant).then_some(&AZ_TENANT_ID),
        ]
        .into_iter()
        .flatten()
        .collect()
    },
    parts,
    default_audience: |_| None,
    static_credentials: &[
        &[env::AZURE_CLIENT_SECRET],
        &[env::AZURE_CLIENT_CERTIFICATE_PATH],
        &[env::AZURE_USERNAME, env::AZURE_PASSWORD],
    ],
    cli_check: "az login --service-principal --username \"$AZURE_CLIENT_ID\" --tenant \"$AZURE_TENANT_ID\" \
                --federated-token \"$(cat \"$AZURE_FEDERATED_TOKEN_FILE\")\" --allow-no-subscriptions --output none \
                && az account show",
};

fn parts(
    resolver: &mut Resolver<'_>,
    settings: &Settings,
    _audience: Option<&str>,
    active: bool,
) -> Result<Option<Parts>, Denial> {
    const AZ: Provider = Provider::Az;
    let client = resolver.parsed::<ClientId>(&AZ_CLIENT_ID, AZ, active, None)?;
    let tenant = resolver.parsed::<TenantId>(
        &AZ_TENANT_ID,
        AZ,
        active,
        settings.az_default_tenant_id.as_ref(),
    )?;
    let authority = resolver.parsed::<AuthorityHost>(
        &AZ_AUTHORITY_HOST,
        AZ,
        active,
        settings.az_default_authority_host.as_ref(),
    )?;
    let (Some(client), Some(tenant), true) = (client, tenant, active) else {
        return Ok(None);
    };
    let mut variables = vec![vec![
        EnvVar::literal(env::AZURE_CLIENT_ID, client.to_string()),
        EnvVar::literal(env::AZURE_TENANT_ID, tenant.to_string()),
        EnvVar::literal(env::AZURE_FEDERATED_TOKEN_FILE, names::token_file(AZ)),
    ]];
    if let Some(authority) = authority {
        variables.push(vec![EnvVar::literal(
            env::AZURE_AUTHORITY_HOST,
            authority.to_string(),
        )]);
    }
    Ok(Some(Parts {
        variables,
        ..Parts::default()
    }))
}
