//! Environment variables that the clouds' SDKs read and cwii injects, and those that set the agent itself.

/// Role to assume.
pub const AWS_ROLE_ARN: &str = "AWS_ROLE_ARN";
/// File with the web identity token.
pub const AWS_WEB_IDENTITY_TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
/// Name of the session, 2 to 64 of `[\w+=,.@-]`.
pub const AWS_ROLE_SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";
/// Region, as the newer SDKs read it.
pub const AWS_REGION: &str = "AWS_REGION";
/// Region, as botocore reads it.
pub const AWS_DEFAULT_REGION: &str = "AWS_DEFAULT_REGION";
/// `regional` or `legacy`.
pub const AWS_STS_REGIONAL_ENDPOINTS: &str = "AWS_STS_REGIONAL_ENDPOINTS";
/// What cwii sets [`AWS_STS_REGIONAL_ENDPOINTS`] to: older SDKs otherwise ask us-east-1.
pub const AWS_STS_REGIONAL_ENDPOINTS_VALUE: &str = "regional";
/// Static credentials, which every SDK prefers to a web identity token.
pub const AWS_ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// See [`AWS_ACCESS_KEY_ID`].
pub const AWS_SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// Credentials endpoint of a container, whole URL (EKS Pod Identity).
pub const AWS_CONTAINER_CREDENTIALS_FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
/// Credentials endpoint of a container, path on 169.254.170.2 (ECS).
pub const AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
/// File whose content is sent as `Authorization` to the credentials endpoint.
pub const AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/// Value sent as `Authorization` to the credentials endpoint.
pub const AWS_CONTAINER_AUTHORIZATION_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";

/// Application (client) id.
pub const AZURE_CLIENT_ID: &str = "AZURE_CLIENT_ID";
/// Tenant id or domain.
pub const AZURE_TENANT_ID: &str = "AZURE_TENANT_ID";
/// File with the federated token.
pub const AZURE_FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// Entra authority.
pub const AZURE_AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
/// Static credentials, which azure-identity's `EnvironmentCredential` finds before the federated token.
pub const AZURE_CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
/// See [`AZURE_CLIENT_SECRET`].
pub const AZURE_CLIENT_CERTIFICATE_PATH: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
/// See [`AZURE_CLIENT_SECRET`]; only together with [`AZURE_PASSWORD`].
pub const AZURE_USERNAME: &str = "AZURE_USERNAME";
/// See [`AZURE_USERNAME`].
pub const AZURE_PASSWORD: &str = "AZURE_PASSWORD";

/// Google's credentials document.
pub const GOOGLE_APPLICATION_CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// The same, for the gcloud CLI.
pub const CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE: &str = "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE";

/// Directory that the clouds' CLIs write below.
pub const HOME: &str = "HOME";

/// Content of Google's credentials document, for `cwii-agent write-gcp-credentials`.
pub const CWII_GCP_CREDS_JSON: &str = "CWII_GCP_CREDS_JSON";
/// `--enforce` of `cwii-agent verify`.
pub const CWII_ENFORCE: &str = "CWII_ENFORCE";
/// `--timeout` of `cwii-agent verify`.
pub const CWII_TIMEOUT: &str = "CWII_TIMEOUT";
/// `--on-unreachable` of `cwii-agent verify`.
pub const CWII_ON_UNREACHABLE: &str = "CWII_ON_UNREACHABLE";
/// `--output` of `cwii-agent verify`.
pub const CWII_OUTPUT: &str = "CWII_OUTPUT";
/// `--allow-endpoint` of `cwii-agent verify`, comma-separated.
pub const CWII_ALLOW_ENDPOINT: &str = "CWII_ALLOW_ENDPOINT";
/// `--termination-log` of `cwii-agent verify`.
pub const CWII_TERMINATION_LOG: &str = "CWII_TERMINATION_LOG";
/// `--log` of `cwii-agent`.
pub const CWII_LOG: &str = "CWII_LOG";
