//! AWS: web identity (IRSA and any OIDC issuer), and the container credentials of EKS Pod Identity and ECS.
//!
//! Inputs are read as botocore reads them, since the AWS CLI is the command that this replaces: web identity before
//! container credentials, each key from the environment first, then from the profile. What another SDK would make of the
//! same inputs is a note.

mod container;
mod endpoint;
mod profile;
mod settings;
mod sts;

use cwii_checks::facts::{Cause, ConfigurationProblemKind, Identity, Mechanism, Step};
use cwii_contract::{
    Provider,
    env::{
        AWS_CONTAINER_CREDENTIALS_FULL_URI, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, AWS_ROLE_ARN,
        AWS_ROLE_SESSION_NAME, AWS_WEB_IDENTITY_TOKEN_FILE,
    },
    types::{RoleArn, RoleSessionName},
};

use crate::{
    http::{Ahead, Http, OwnVariable, Proxies, Reach, Roots},
    retry::attempt,
    run::{ENVIRONMENT, Run, misconfigured},
    token_file,
};
use endpoint::StsEndpoint;
use settings::{Settings, Sourced};
use sts::Sts;

/// Runs the exchange that the inputs choose.
pub(crate) async fn exchange(run: &mut Run<'_>) -> Result<Identity, Cause> {
    let settings = Settings::load(run).await?;
    settings.note_static_keys(run);
    match WebIdentity::find(&settings) {
        Some(found) => {
            run.mechanism = Some(Mechanism::AwsWebIdentity);
            if container::is_configured(run.env) {
                run.note(
                    Some("EPI07"),
                    "web identity and container credentials are both configured: SDKs use web \
                     identity, and the Pod Identity association is ignored",
                );
            }
            web_identity(run, &settings, found).await
        }
        None if container::is_configured(run.env) => {
            run.mechanism = Some(Mechanism::AwsContainerCredentials);
            container_credentials(run, &settings).await
        }
        None => Err(nothing_configured(&settings)),
    }
}

/// The keys of web identity, before they are checked.
struct WebIdentity {
    token_file: Sourced,
    role: Option<Sourced>,
    session_name: Option<Sourced>,
}

impl WebIdentity {
    /// Web identity is configured by its token file, as in botocore; an empty variable switches it off.
    fn find(settings: &Settings<'_>) -> Option<Self> {
        Some(Self {
            token_file: settings
                .key(AWS_WEB_IDENTITY_TOKEN_FILE, "web_identity_token_file")
                .filter(|file| !file.value.is_empty())?,
            role: settings.key(AWS_ROLE_ARN, "role_arn"),
            session_name: settings.key(AWS_ROLE_SESSION_NAME, "role_session_name"),
        })
    }
}

async fn web_identity(
    run: &mut Run<'_>,
    settings: &Settings<'_>,
    found: WebIdentity,
) -> Result<Identity, Cause> {
    let WebIdentity {
        token_file,
        role,
        session_name,
    } = found;
    settings.note_web_identity(run, &token_file, role.as_ref());
    let role = role.filter(|role| !role.value.is_empty()).ok_or_else(|| {
        misconfigured(
            ConfigurationProblemKind::Missing,
            AWS_ROLE_ARN,
            ENVIRONMENT,
            format!(
                "a web identity token file is configured ({}) and no role: set the variable, or \
                 `role_arn` in profile `{}`",
                token_file.source,
                settings.profile_name()
            ),
        )
    })?;
    run.input("role", &role.value, &role.source);
    run.input("token file", &token_file.value, &token_file.source);
    let arn: RoleArn = role
        .value
        .parse()
        .map_err(|e| role.invalid(AWS_ROLE_ARN, e))?;
    let session_name = match session_name.filter(|name| !name.value.is_empty()) {
        Some(name) => {
            let parsed: RoleSessionName = name
                .value
                .parse()
                .map_err(|e| name.invalid(AWS_ROLE_SESSION_NAME, e))?;
            run.input("session name", parsed.as_str(), &name.source);
            parsed.as_str().to_owned()
        }
        None => {
            let name = format!("cwii-verify-{}", (run.options.clock)().as_second().max(0));
            run.input("session name", &name, "default");
            name
        }
    };
    let endpoint = StsEndpoint::resolve(run, settings)?;
    if !endpoint.overridden && endpoint.partition != arn.partition() {
        return Err(misconfigured(
            ConfigurationProblemKind::PartitionMismatch,
            AWS_ROLE_ARN,
            &role.source,
            format!(
                "the role is in partition `{}`, and the endpoint `{}` in `{}`: {}",
                arn.partition(),
                endpoint.url,
                endpoint.partition,
                match &endpoint.region_source {
                    Some(source) => format!("the region comes from {source}"),
                    None => "no region is set".into(),
                }
            ),
        ));
    }
    let http = client(run, settings)?;
    http.record_route(run, &endpoint.url);
    let sts = Sts::new(http, Ahead::default(), &endpoint, run.clock());
    let assumed = attempt(run, Step::AssumeRoleWithWebIdentity, async |run| {
        let token = token_file::read_jwt(run, &token_file.value).inspect_err(|_| {
            run.step = Step::TokenFile;
        })?;
        sts.assume_role_with_web_identity(arn.as_str(), &session_name, &token)
            .await
    })
    .await?;
    let mut identity = caller(run, &sts, assumed.credentials).await?;
    identity.details.extend(assumed.details);
    Ok(identity)
}

async fn container_credentials(
    run: &mut Run<'_>,
    settings: &Settings<'_>,
) -> Result<Identity, Cause> {
    let source = container::Source::find(run).await?;
    let endpoint = StsEndpoint::resolve(run, settings)?;
    let http = client(run, settings)?;
    http.record_route(run, &endpoint.url);
    // STS is asked next in any case, and the credentials endpoint asks a service of its own before it answers.
    let (fetched, ahead) = http
        .meanwhile(&endpoint.url, container::fetch(run, settings, &source))
        .await?;
    let sts = Sts::new(http, ahead, &endpoint, run.clock());
    let mut identity = caller(run, &sts, fetched.credentials).await?;
    identity.details.extend(fetched.details);
    Ok(identity)
}

/// `GetCallerIdentity` with credentials that were just obtained.
async fn caller(
    run: &mut Run<'_>,
    sts: &Sts,
    credentials: aws_credential_types::Credentials,
) -> Result<Identity, Cause> {
    attempt(run, Step::GetCallerIdentity, async |_| {
        sts.get_caller_identity(credentials.clone()).await
    })
    .await
}

/// The client for everything beyond this machine and link.
fn client(run: &mut Run<'_>, settings: &Settings<'_>) -> Result<Http, Cause> {
    let reach = Reach {
        roots: Some(roots(run, settings)?),
        proxies: Some(
            Proxies::from_env(run.env)
                .map_err(Cause::Configuration)?
                .into(),
        ),
        pinned: Vec::new(),
    };
    Http::new(run, reach)
}

fn roots(run: &Run<'_>, settings: &Settings<'_>) -> Result<Roots, Cause> {
    let own = settings
        .non_empty("AWS_CA_BUNDLE", "ca_bundle")
        .map(|bundle| OwnVariable {
            name: if bundle.is_from("AWS_CA_BUNDLE") {
                "AWS_CA_BUNDLE".into()
            } else {
                "ca_bundle".into()
            },
            source: bundle.origin(),
            path: bundle.value,
        });
    Roots::load(Provider::Aws, run.env, own).map_err(Cause::Configuration)
}

fn nothing_configured(settings: &Settings<'_>) -> Cause {
    let env = settings.env();
    if let Some(role) = settings.non_empty(AWS_ROLE_ARN, "role_arn") {
        let disabled = env.get(AWS_WEB_IDENTITY_TOKEN_FILE).is_some();
        return misconfigured(
            ConfigurationProblemKind::Missing,
            AWS_WEB_IDENTITY_TOKEN_FILE,
            ENVIRONMENT,
            format!(
                "a role is configured ({}) and {}",
                role.source,
                if disabled {
                    "the variable is empty, which switches web identity off"
                } else {
                    "no token file: the variable is not set"
                }
            ),
        );
    }
    misconfigured(
        ConfigurationProblemKind::NothingConfigured,
        AWS_WEB_IDENTITY_TOKEN_FILE,
        ENVIRONMENT,
        format!(
            "nothing is configured: neither {AWS_ROLE_ARN} with {AWS_WEB_IDENTITY_TOKEN_FILE}, nor \
             the same keys in profile `{}`, nor {AWS_CONTAINER_CREDENTIALS_FULL_URI} or \
             {AWS_CONTAINER_CREDENTIALS_RELATIVE_URI}",
            settings.profile_name()
        ),
    )
}
