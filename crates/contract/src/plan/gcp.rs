//! Google Cloud: a credentials document of type `external_account`, and how it reaches the pod.

use std::{collections::BTreeMap, fmt::Write as _};

use sha2::{Digest, Sha256};

use crate::{
    ExternalAccount, Provider, Settings,
    annotations::{AUDIENCE, GCP_DELIVERY, GCP_PROVIDER, GCP_SERVICE_ACCOUNT},
    env,
    message::{Cause, Denial},
    names,
    resolve::Resolver,
    settings::{Delivery, flag},
    spec::{EnvVar, KeyToPath, Volume, VolumeMount, VolumeSource},
    types::{PoolProvider, ServiceAccountEmail, shorten_to},
};

use super::{Cloud, ConfigMap, Parts, Writer};

pub(super) const CLOUD: Cloud = Cloud {
    provider: Provider::Gcp,
    identity: &GCP_SERVICE_ACCOUNT,
    identity_activates: false,
    required: |resolver, settings| {
        let known = resolver.first(&AUDIENCE, Provider::Gcp).is_some()
            || settings.gcp_default_audience.is_some();
        (!known).then_some(&AUDIENCE).into_iter().collect()
    },
    parts,
    default_audience: |settings| settings.gcp_default_audience.as_deref(),
    static_credentials: &[],
    // The command prints a credential, which belongs in no log.
    cli_check: "gcloud auth application-default print-access-token >/dev/null",
};

fn parts(
    resolver: &mut Resolver<'_>,
    settings: &Settings,
    audience: Option<&str>,
    active: bool,
) -> Result<Option<Parts>, Denial> {
    const GCP: Provider = Provider::Gcp;
    let account =
        resolver.parsed::<ServiceAccountEmail>(&GCP_SERVICE_ACCOUNT, GCP, active, None)?;
    let provider = resolver.parsed::<PoolProvider>(&GCP_PROVIDER, GCP, active, None)?;
    let asked = resolver.first(&GCP_DELIVERY, GCP);
    let delivery = resolver
        .parsed::<Delivery>(
            &GCP_DELIVERY,
            GCP,
            active,
            Some(&settings.gcp_default_delivery),
        )?
        .unwrap_or_default();
    let Some(audience) = audience.filter(|_| active) else {
        return Ok(None);
    };
    let delivery = match (delivery, asked) {
        (Delivery::ConfigMap, asked) if !settings.config_map_delivery => {
            let asker =
                asked.map_or_else(|| GCP_DELIVERY.flag(GCP).to_string(), |asked| asked.name());
            resolver.warn(
                Cause::SwitchedOff,
                &format!(
                    "{asker} is `{}`, which the webhook may not do without `{}`: `{}` is used",
                    Delivery::ConfigMap,
                    flag::CONFIG_MAP_DELIVERY,
                    Delivery::InitContainer,
                ),
            );
            Delivery::InitContainer
        }
        (delivery, _) => delivery,
    };
    let document_audience = match &provider {
        Some(provider) => provider.to_string(),
        None => {
            let name = audience
                .strip_prefix("https:")
                .filter(|name| name.starts_with("//iam.googleapis.com/projects/"))
                .unwrap_or(audience);
            if name.parse::<PoolProvider>().is_err() {
                let asker = resolver
                    .first(&AUDIENCE, GCP)
                    .map_or_else(|| AUDIENCE.flag(GCP).to_string(), |asked| asked.name());
                resolver.warn(
                    Cause::Missing,
                    &format!(
                        "{asker} is `{}`, which names no pool provider: Google refuses it unless `{}` names one",
                        shorten_to(audience, 40),
                        GCP_PROVIDER.full_key(GCP),
                    ),
                );
            }
            name.to_owned()
        }
    };
    let document =
        ExternalAccount::document(&document_audience, names::token_file(GCP), account.as_ref())
            .to_string();

    let mut parts = Parts {
        variables: vec![vec![
            EnvVar::literal(
                env::GOOGLE_APPLICATION_CREDENTIALS,
                names::GCP_CREDENTIALS_FILE,
            ),
            EnvVar::literal(
                env::CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE,
                names::GCP_CREDENTIALS_FILE,
            ),
        ]],
        mounts: vec![VolumeMount {
            name: names::GCP_CREDENTIALS_VOLUME,
            mount_path: names::GCP_CREDENTIALS_DIR,
            read_only: true,
        }],
        ..Parts::default()
    };
    let source = match delivery {
        Delivery::InitContainer => {
            parts.writer = Some(Writer {
                name: names::GCP_CREDENTIALS_WRITER,
                args: vec![names::WRITE_GCP_CREDENTIALS.to_owned()],
                env: vec![EnvVar::literal(env::CWII_GCP_CREDS_JSON, document)],
                mounts: vec![VolumeMount {
                    name: names::GCP_CREDENTIALS_VOLUME,
                    mount_path: names::GCP_CREDENTIALS_DIR,
                    read_only: false,
                }],
            });
            VolumeSource::EmptyDir {}
        }
        Delivery::ConfigMap => {
            let name = config_map_name(&document);
            parts.config_map = Some(ConfigMap {
                name: name.clone(),
                data: BTreeMap::from([(names::GCP_CREDENTIALS_FILE_NAME, document)]),
            });
            VolumeSource::ConfigMap {
                name,
                items: [KeyToPath {
                    key: names::GCP_CREDENTIALS_FILE_NAME,
                    path: names::GCP_CREDENTIALS_FILE_NAME,
                }],
            }
        }
    };
    parts.volumes.push(Volume {
        name: names::GCP_CREDENTIALS_VOLUME,
        source,
    });
    Ok(Some(parts))
}

/// Named after its content, so that it never changes under a pod that names it.
fn config_map_name(content: &str) -> String {
    let mut name = names::GCP_CREDENTIALS_CONFIG_MAP_PREFIX.to_owned();
    for byte in &Sha256::digest(content.as_bytes())[..6] {
        // Writing to a `String` cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}
