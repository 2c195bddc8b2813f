//! Values that appear in annotations, tokens and cloud documents, parsed once and then trusted.
//!
//! Each type says on failure what it expected; the caller adds where the text came from.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// A text that is not the value it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{found}` is not {expected}{hint}", found = shorten(found))]
pub struct ParseError {
    found: String,
    expected: &'static str,
    hint: String,
}

impl ParseError {
    pub(crate) fn new(found: &str, expected: &'static str) -> Self {
        Self {
            found: found.to_owned(),
            expected,
            hint: String::new(),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = format!(": {}", hint.into());
        self
    }

    /// What a valid text looks like.
    #[must_use]
    pub fn expected(&self) -> &'static str {
        self.expected
    }

    /// What is valid, and where this text departs from it, if that is known.
    #[must_use]
    pub fn allowed(&self) -> String {
        format!("{}{}", self.expected, self.hint)
    }
}

/// An AWS partition: a set of regions with accounts, names and endpoints of its own.
/// Source: botocore's `partitions.json`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partition {
    /// The commercial regions.
    Aws,
    /// China.
    AwsCn,
    /// GovCloud (US).
    AwsUsGov,
    /// European Sovereign Cloud.
    AwsEusc,
    /// US ISO.
    AwsIso,
    /// US ISOB.
    AwsIsoB,
    /// EU ISOE.
    AwsIsoE,
    /// US ISOF.
    AwsIsoF,
}

impl Partition {
    /// All partitions, the commercial one first.
    pub const ALL: [Self; 8] = [
        Self::Aws,
        Self::AwsCn,
        Self::AwsUsGov,
        Self::AwsEusc,
        Self::AwsIso,
        Self::AwsIsoB,
        Self::AwsIsoE,
        Self::AwsIsoF,
    ];

    /// The name as it stands in an ARN.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
            Self::AwsEusc => "aws-eusc",
            Self::AwsIso => "aws-iso",
            Self::AwsIsoB => "aws-iso-b",
            Self::AwsIsoE => "aws-iso-e",
            Self::AwsIsoF => "aws-iso-f",
        }
    }

    /// Domain suffixes of the partition's endpoints: the standard one, then the dual-stack one.
    #[must_use]
    pub const fn dns_suffixes(self) -> [&'static str; 2] {
        match self {
            Self::Aws | Self::AwsUsGov => ["amazonaws.com", "api.aws"],
            Self::AwsCn => ["amazonaws.com.cn", "api.amazonwebservices.com.cn"],
            Self::AwsEusc => ["amazonaws.eu", "api.amazonwebservices.eu"],
            Self::AwsIso => ["c2s.ic.gov", "api.aws.ic.gov"],
            Self::AwsIsoB => ["sc2s.sgov.gov", "api.aws.scloud"],
            Self::AwsIsoE => ["cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"],
            Self::AwsIsoF => ["csp.hci.ic.gov", "api.aws.hci.ic.gov"],
        }
    }

    /// The partition of a region. A region that fits no pattern belongs to the commercial partition, as in the SDKs.
    #[must_use]
    pub fn of_region(region: &str) -> Self {
        const PATTERNS: [(&str, Partition); 7] = [
            ("cn-", Partition::AwsCn),
            ("us-gov-", Partition::AwsUsGov),
            ("eusc-de-", Partition::AwsEusc),
            ("us-iso-", Partition::AwsIso),
            ("us-isob-", Partition::AwsIsoB),
            ("eu-isoe-", Partition::AwsIsoE),
            ("us-isof-", Partition::AwsIsoF),
        ];
        PATTERNS
            .into_iter()
            .find(|(prefix, _)| {
                // `^<prefix>\w+-\d+$`
                region
                    .strip_prefix(prefix)
                    .and_then(|rest| rest.rsplit_once('-'))
                    .is_some_and(|(name, number)| {
                        !name.is_empty()
                            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                            && !number.is_empty()
                            && number.bytes().all(|b| b.is_ascii_digit())
                    })
            })
            .map_or(Self::Aws, |(_, partition)| partition)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Partition {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|p| p.as_str() == s)
            .ok_or_else(|| {
                ParseError::new(
                    s,
                    "an AWS partition such as `aws`, `aws-cn` or `aws-us-gov`",
                )
            })
    }
}

/// ARN of an IAM role: `arn:PARTITION:iam::ACCOUNT:role/[PATH/]NAME`.
/// Source: IAM user guide, "IAM identifiers"; STS API: 20 to 2048 characters.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RoleArn {
    text: String,
    partition: Partition,
}

impl RoleArn {
    /// The partition that the role lives in.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The account that the role lives in, 12 digits.
    #[must_use]
    pub fn account(&self) -> &str {
        self.text.split(':').nth(4).unwrap_or_default()
    }

    /// The role's name, without its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// The role's path, `/` unless it has one.
    #[must_use]
    pub fn path(&self) -> &str {
        let resource = self.text.splitn(6, ':').nth(5).unwrap_or_default();
        &resource["role".len()..resource.len() - self.name().len()]
    }

    /// The ARN as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for RoleArn {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let wrong = || {
            ParseError::new(
                s,
                "the ARN of an IAM role, `arn:aws:iam::123456789012:role/NAME`",
            )
        };
        if s.trim() != s {
            return Err(wrong().hint("white space around it"));
        }
        if s.starts_with(['"', '\'']) || s.ends_with(['"', '\'']) {
            return Err(wrong().hint("quotes around it"));
        }
        if s.contains("${") || s.contains('<') {
            return Err(wrong().hint("a placeholder that nothing replaced"));
        }
        let parts: Vec<&str> = s.splitn(6, ':').collect();
        let [arn, partition, service, region, account, resource] = parts[..] else {
            return Err(wrong().hint("an ARN has six parts between colons"));
        };
        if arn != "arn" {
            return Err(wrong().hint("it does not begin with `arn:`"));
        }
        let partition: Partition = partition.parse().map_err(|_| {
            wrong().hint(format!(
                "no partition is called `{}`",
                shorten_to(partition, 20)
            ))
        })?;
        if service != "iam" {
            let hint = if resource.starts_with("assumed-role/") {
                "it names a session, not the role itself".to_owned()
            } else {
                format!("the service is `{}`, not `iam`", shorten_to(service, 20))
            };
            return Err(wrong().hint(hint));
        }
        if !region.is_empty() {
            return Err(wrong()
                .hint("IAM has no region: nothing stands between the colons before the account"));
        }
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong().hint(format!(
                "the account is `{}`, not 12 digits",
                shorten_to(account, 20)
            )));
        }
        let Some(name) = resource.strip_prefix("role/") else {
            let kind = resource.split('/').next().unwrap_or_default();
            return Err(wrong().hint(format!(
                "it names a `{}`, not a `role`",
                shorten_to(kind, 20)
            )));
        };
        let (path, name) = name.rsplit_once('/').unwrap_or(("", name));
        // IAM API: role name 1 to 64 of [\w+=,.@-], path of printable ASCII, 512 at most with its slashes.
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_iam_name_byte) {
            return Err(
                wrong().hint("a role's name has 1 to 64 letters, digits or any of `_+=,.@-`")
            );
        }
        if path.len() > 510 || !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong().hint("a role's path has at most 512 printable characters"));
        }
        Ok(Self {
            text: s.to_owned(),
            partition,
        })
    }
}

/// Name of an STS session: 2 to 64 of `[\w+=,.@-]`. Source: STS API, `AssumeRoleWithWebIdentity`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RoleSessionName(String);

impl FromStr for RoleSessionName {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        if (2..=64).contains(&s.len()) && s.bytes().all(is_iam_name_byte) {
            Ok(Self(s.to_owned()))
        } else {
            Err(ParseError::new(
                s,
                "a role session name: 2 to 64 letters, digits or any of `_+=,.@-`",
            ))
        }
    }
}

/// An AWS region, as the SDKs accept one: a DNS label such as `eu-central-1`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Region(String);

impl FromStr for Region {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        if is_dns_label(s) {
            Ok(Self(s.to_owned()))
        } else {
            Err(ParseError::new(s, "a region such as `eu-central-1`"))
        }
    }
}

/// Entra authority: an https URL with a host, without user, query and fragment, kept byte for byte.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AuthorityHost(String);

impl FromStr for AuthorityHost {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let wrong = || {
            ParseError::new(
                s,
                "an https URL such as `https://login.microsoftonline.com/`",
            )
        };
        let url = url::Url::parse(s).map_err(|e| wrong().hint(e.to_string()))?;
        if url.scheme() != "https" {
            return Err(wrong().hint(format!("the scheme is `{}`", shorten_to(url.scheme(), 20))));
        }
        if url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
            || !s.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(wrong().hint("only scheme, host, port and path may stand in it"));
        }
        Ok(Self(s.to_owned()))
    }
}

/// Entra tenant: a UUID or a verified domain.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TenantId(String);

impl FromStr for TenantId {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let domain = s.contains('.')
            && s.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            });
        if is_uuid(s) || domain {
            Ok(Self(s.to_owned()))
        } else {
            Err(ParseError::new(
                s,
                "a tenant: a UUID or a domain such as `contoso.onmicrosoft.com`",
            ))
        }
    }
}

/// Entra application (client) id: a UUID.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClientId(String);

impl FromStr for ClientId {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        if is_uuid(s) {
            return Ok(Self(s.to_owned()));
        }
        let error = ParseError::new(
            s,
            "a client id, a UUID such as `11111111-2222-3333-4444-555555555555`",
        );
        Err(if s.starts_with("/subscriptions/") {
            error.hint("it is a resource id; `az identity show --ids … --query clientId` prints the client id")
        } else {
            error
        })
    }
}

/// E-mail of a Google service account.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ServiceAccountEmail(String);

impl FromStr for ServiceAccountEmail {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let valid = s.split_once('@').is_some_and(|(name, domain)| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
                && domain.contains('.')
                && domain.split('.').all(|label| {
                    !label.is_empty()
                        && label
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                })
        });
        if valid {
            Ok(Self(s.to_owned()))
        } else {
            Err(ParseError::new(
                s,
                "the e-mail of a service account, `NAME@PROJECT.iam.gserviceaccount.com`",
            ))
        }
    }
}

/// Full resource name of a workload identity pool provider, as the `audience` of a Google credentials document has it:
/// `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PoolProvider {
    project_number: String,
    pool: String,
    provider: String,
}

impl PoolProvider {
    /// Number (not id) of the project that holds the pool.
    #[must_use]
    pub fn project_number(&self) -> &str {
        &self.project_number
    }

    /// Id of the workload identity pool.
    #[must_use]
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// Id of the provider in its pool.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Resource name of the pool, without scheme and host.
    #[must_use]
    pub fn pool_resource(&self) -> String {
        format!(
            "projects/{}/locations/global/workloadIdentityPools/{}",
            self.project_number, self.pool
        )
    }

    /// Resource name of the provider, without scheme and host.
    #[must_use]
    pub fn resource(&self) -> String {
        format!("{}/providers/{}", self.pool_resource(), self.provider)
    }
}

impl fmt::Display for PoolProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "//iam.googleapis.com/{}", self.resource())
    }
}

impl FromStr for PoolProvider {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let wrong = || {
            ParseError::new(
                s,
                "the full name of a pool provider, \
                 `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`",
            )
        };
        let Some(name) = s.strip_prefix("//iam.googleapis.com/") else {
            return Err(if s.starts_with("https://iam.googleapis.com/") {
                wrong().hint("it begins with `https:`")
            } else if s.starts_with("projects/") {
                wrong().hint("`//iam.googleapis.com/` is missing in front")
            } else {
                wrong()
            });
        };
        let parts: Vec<&str> = name.split('/').collect();
        let [
            "projects",
            number,
            "locations",
            "global",
            "workloadIdentityPools",
            pool,
            "providers",
            provider,
        ] = parts[..]
        else {
            return Err(wrong());
        };
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong().hint(format!(
                "`{}` is a project's id; its number is wanted (`gcloud projects describe … --format='value(projectNumber)'`)",
                shorten(number)
            )));
        }
        let is_id = |s: &str| {
            !s.is_empty()
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        if !is_id(pool) || !is_id(provider) {
            return Err(wrong());
        }
        Ok(Self {
            project_number: number.into(),
            pool: pool.into(),
            provider: provider.into(),
        })
    }
}

/// Issuer of ServiceAccount tokens: an https URL, kept byte for byte, since every cloud compares it so.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct IssuerUrl(String);

impl IssuerUrl {
    /// Host, port and path without the scheme: the name of the provider in AWS.
    #[must_use]
    pub fn without_scheme(&self) -> &str {
        self.0.strip_prefix("https://").unwrap_or(&self.0)
    }

    /// Where the discovery document is served. OpenID Connect Discovery 1.0, section 4: a trailing slash of the issuer
    /// is removed first.
    #[must_use]
    pub fn discovery_url(&self) -> String {
        format!(
            "{}/.well-known/openid-configuration",
            self.0.trim_end_matches('/')
        )
    }
}

impl FromStr for IssuerUrl {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::new(s, "an issuer: an https URL without query and fragment");
        let url = url::Url::parse(s).map_err(|e| wrong().hint(e.to_string()))?;
        if url.scheme() != "https" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong());
        }
        Ok(Self(s.to_owned()))
    }
}

/// Subject of a ServiceAccount token: `system:serviceaccount:NAMESPACE:NAME`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Subject {
    text: String,
    namespace_end: usize,
}

impl Subject {
    const PREFIX: &str = "system:serviceaccount:";

    /// The ServiceAccount's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.text[Self::PREFIX.len()..self.namespace_end]
    }

    /// The ServiceAccount's name.
    #[must_use]
    pub fn service_account(&self) -> &str {
        &self.text[self.namespace_end + 1..]
    }
}

impl FromStr for Subject {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let wrong = || {
            ParseError::new(
                s,
                "the subject of a ServiceAccount, `system:serviceaccount:NAMESPACE:NAME`",
            )
        };
        let rest = s.strip_prefix(Self::PREFIX).ok_or_else(wrong)?;
        let (namespace, name) = rest.split_once(':').ok_or_else(wrong)?;
        if namespace.is_empty() || name.is_empty() || name.contains(':') {
            return Err(wrong());
        }
        Ok(Self {
            text: s.to_owned(),
            namespace_end: Self::PREFIX.len() + namespace.len(),
        })
    }
}

macro_rules! text_value {
    ($($type:ident => $field:tt),* $(,)?) => {$(
        impl $type {
            /// The value as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.$field
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.$field)
            }
        }
    )*};
}

text_value!(
    AuthorityHost => 0,
    ClientId => 0,
    IssuerUrl => 0,
    Region => 0,
    RoleSessionName => 0,
    ServiceAccountEmail => 0,
    Subject => text,
    TenantId => 0,
);

/// At most 80 characters of a text that came from outside, control characters escaped, so that a message stays one line.
#[must_use]
pub fn shorten(text: &str) -> String {
    shorten_to(text, 80)
}

/// The same with another limit, in characters.
#[must_use]
pub fn shorten_to(text: &str, limit: usize) -> String {
    let mut out: String = text
        .chars()
        .take(limit)
        .flat_map(char::escape_debug)
        .collect();
    out = out.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(limit).is_some() {
        out.push('…');
    }
    out
}

fn is_iam_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b)
}

/// RFC 1123: at most 63 lower-case letters, digits and hyphens, no hyphen at either end.
fn is_dns_label(s: &str) -> bool {
    (1..=63).contains(&s.len())
        && s.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !s.starts_with('-')
        && !s.ends_with('-')
}

fn is_uuid(s: &str) -> bool {
    s.len() == 36
        && s.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_arn_gives_its_parts() {
        let arn: RoleArn = "arn:aws-cn:iam::123456789012:role/team/a/deploy"
            .parse()
            .unwrap();
        assert_eq!(arn.partition(), Partition::AwsCn);
        assert_eq!(arn.account(), "123456789012");
        assert_eq!((arn.path(), arn.name()), ("/team/a/", "deploy"));
        let arn: RoleArn = "arn:aws:iam::123456789012:role/deploy".parse().unwrap();
        assert_eq!((arn.path(), arn.name()), ("/", "deploy"));
    }

    #[test]
    fn what_is_not_a_role_arn_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "six parts"),
            ("deploy", "six parts"),
            ("arn:aws:iam::123456789012:role/x\n", "white space"),
            ("\"arn:aws:iam::123456789012:role/x\"", "quotes"),
            ("arn:aws:iam::${ACCOUNT}:role/x", "placeholder"),
            ("arn:aws:iam::12345678901:role/x", "12 digits"),
            ("arn:aws:iam::123456789012:user/x", "`user`"),
            (
                "arn:aws:iam::123456789012:instance-profile/x",
                "`instance-profile`",
            ),
            ("arn:aws:sts::123456789012:assumed-role/x/y", "session"),
            ("arn:aws:iam:eu-west-1:123456789012:role/x", "no region"),
            ("arn:amazon:iam::123456789012:role/x", "partition"),
            ("arn:aws:iam::123456789012:role/", "name"),
        ] {
            let error = text.parse::<RoleArn>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_region_belongs_to_its_partition() {
        for (region, partition) in [
            ("eu-central-1", Partition::Aws),
            ("cn-north-1", Partition::AwsCn),
            ("us-gov-west-1", Partition::AwsUsGov),
            ("eusc-de-east-1", Partition::AwsEusc),
            ("us-iso-east-1", Partition::AwsIso),
            ("us-isob-east-1", Partition::AwsIsoB),
            ("eu-isoe-west-1", Partition::AwsIsoE),
            ("us-isof-south-1", Partition::AwsIsoF),
            ("moon-base-1", Partition::Aws),
            ("cn-", Partition::Aws),
        ] {
            assert_eq!(Partition::of_region(region), partition, "{region}");
        }
    }

    #[test]
    fn a_pool_provider_wants_the_projects_number() {
        let name = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/p/providers/k8s";
        let provider: PoolProvider = name.parse().unwrap();
        assert_eq!(provider.to_string(), name);
        assert_eq!(
            (
                provider.project_number(),
                provider.pool(),
                provider.provider()
            ),
            ("123", "p", "k8s")
        );
        for (text, reason) in [
            (name.replace("123", "my-project"), "number"),
            (format!("https:{name}"), "`https:`"),
            (
                name.trim_start_matches("//iam.googleapis.com/").to_owned(),
                "missing in front",
            ),
            (name.replace("/providers/k8s", ""), "full name"),
        ] {
            assert!(
                text.parse::<PoolProvider>()
                    .unwrap_err()
                    .to_string()
                    .contains(reason),
                "{text}"
            );
        }
    }

    #[test]
    fn tenants_clients_emails_subjects_and_issuers() {
        assert!("contoso.onmicrosoft.com".parse::<TenantId>().is_ok());
        for tenant in ["", "bad/tenant", "<tenant>", "contoso", "a..b"] {
            assert!(tenant.parse::<TenantId>().is_err(), "{tenant}");
        }
        assert!(
            "11111111-1111-1111-1111-11111111111A"
                .parse::<ClientId>()
                .is_ok()
        );
        assert!("my-app".parse::<ClientId>().is_err());
        assert!(
            "x@p.iam.gserviceaccount.com"
                .parse::<ServiceAccountEmail>()
                .is_ok()
        );
        assert!("x".parse::<ServiceAccountEmail>().is_err());
        let subject: Subject = "system:serviceaccount:shop:checkout".parse().unwrap();
        assert_eq!(
            (subject.namespace(), subject.service_account()),
            ("shop", "checkout")
        );
        assert!("system:serviceaccount:shop".parse::<Subject>().is_err());
        let issuer: IssuerUrl = "https://oidc.example.com/c/".parse().unwrap();
        assert_eq!(issuer.without_scheme(), "oidc.example.com/c/");
        assert_eq!(
            issuer.discovery_url(),
            "https://oidc.example.com/c/.well-known/openid-configuration"
        );
        assert!("http://oidc.example.com".parse::<IssuerUrl>().is_err());
    }
}
