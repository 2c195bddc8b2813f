//! Which STS endpoint, signed for which region.
//!
//! The table of the SDKs' endpoint ruleset for STS (all partitions, FIPS, dual-stack, the legacy mapping), with botocore's
//! freedoms: no region means the global endpoint, and FIPS or dual-stack beside an endpoint of one's own is accepted.
//! A test holds it against the ruleset in aws-sdk-sts.

use cwii_checks::facts::{Cause, ConfigurationProblemKind};
use cwii_contract::{
    env::{AWS_DEFAULT_REGION, AWS_REGION},
    types::{Partition, shorten},
};
use url::Url;

use super::settings::{Settings, Sourced};
use crate::{
    endpoints,
    run::{Run, misconfigured},
};

/// An endpoint of STS.
#[derive(Debug)]
pub(crate) struct StsEndpoint {
    pub(crate) url: Url,
    /// The region that requests are signed for.
    pub(crate) signing_region: String,
    /// The partition of the region.
    pub(crate) partition: Partition,
    /// Where the region came from.
    pub(crate) region_source: Option<String>,
    /// The URL is somebody's own and says nothing about the partition.
    pub(crate) overridden: bool,
}

impl StsEndpoint {
    /// Chooses the endpoint and records region and endpoint with what other SDKs would do.
    pub(crate) fn resolve(run: &mut Run<'_>, settings: &Settings<'_>) -> Result<Self, Cause> {
        let region = settings.region();
        if let Some(region) = &region {
            if !is_region(&region.value) {
                let name = if region.is_from_profile() {
                    "region"
                } else {
                    &region.source
                };
                return Err(region.invalid(
                    name,
                    format!(
                        "`{}` is not a region: letters, digits and hyphens, such as `eu-central-1`",
                        shorten(&region.value)
                    ),
                ));
            }
            run.input("region", &region.value, &region.source);
        } else {
            run.input("region", "none", "default");
        }
        note_region(run, settings, region.as_ref());
        let fips = settings.switch("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint");
        let dual_stack = settings.switch("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint");
        let name = region.as_ref().map(|r| r.value.as_str());
        let choice = choose(
            name,
            fips.is_some(),
            dual_stack.is_some(),
            settings.legacy_endpoints()?,
        );
        let own = own_endpoint(settings);
        let (url, source, overridden) = match &own {
            Some(own) => {
                let url = parse(own)?;
                for variant in [&fips, &dual_stack].into_iter().flatten() {
                    run.note(
                        None,
                        format!(
                            "{} is set beside an endpoint of your own: boto3 and the AWS CLI accept \
                             that and use the endpoint, other SDKs refuse it",
                            variant.source
                        ),
                    );
                }
                note_foreign(run, own, &url);
                (url, own.source.clone(), true)
            }
            None => {
                let url = Url::parse(&format!("https://{}/", choice.host))
                    .map_err(|e| Cause::Internal(format!("`{}` makes no URL: {e}", choice.host)))?;
                let source = match &region {
                    Some(region) => format!("region {}", region.value),
                    None => "default".into(),
                };
                (url, source, false)
            }
        };
        run.input("endpoint", url.as_str(), source);
        Ok(Self {
            url,
            signing_region: choice.signing_region,
            partition: choice.partition,
            region_source: region.map(|r| r.source),
            overridden,
        })
    }
}

/// Host, signing region and partition for a region and its variants.
#[derive(Debug, Eq, PartialEq)]
struct Choice {
    host: String,
    signing_region: String,
    partition: Partition,
}

fn choose(region: Option<&str>, fips: bool, dual_stack: bool, legacy: bool) -> Choice {
    let plain = !fips && !dual_stack;
    let global = match region {
        None | Some("aws-global") => true,
        Some(region) => legacy && LEGACY_REGIONS.contains(&region),
    };
    if global && plain {
        return Choice {
            host: "sts.amazonaws.com".into(),
            signing_region: GLOBAL_REGION.into(),
            partition: Partition::Aws,
        };
    }
    // The global endpoint has no variants; it lives in this region.
    let region = region
        .filter(|region| *region != "aws-global")
        .unwrap_or(GLOBAL_REGION);
    let partition = Partition::of_region(region);
    let [standard, dual] = partition.dns_suffixes();
    let suffix = if dual_stack { dual } else { standard };
    // The ordinary endpoints of GovCloud are FIPS endpoints.
    let service = if fips && (dual_stack || partition != Partition::AwsUsGov) {
        "sts-fips"
    } else {
        "sts"
    };
    Choice {
        host: format!("{service}.{region}.{suffix}"),
        signing_region: region.into(),
        partition,
    }
}

fn own_endpoint(settings: &Settings<'_>) -> Option<Sourced> {
    let ignored = settings.switch(
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "ignore_configured_endpoint_urls",
    );
    if ignored.is_some() {
        return None;
    }
    let variable = |name: &'static str| {
        settings.env().non_empty(name).map(|value| Sourced {
            value: value.to_owned(),
            source: name.to_owned(),
        })
    };
    let profile = |value: &str, what: &str| Sourced {
        value: value.to_owned(),
        source: format!("profile {}{what}", settings.profile_name()),
    };
    variable("AWS_ENDPOINT_URL_STS")
        .or_else(|| variable("AWS_ENDPOINT_URL"))
        .or_else(|| {
            settings
                .profile()
                .services_endpoint()
                .map(|url| profile(url, ", services"))
        })
        .or_else(|| {
            settings
                .profile()
                .get("endpoint_url")
                .map(|url| profile(url, ""))
        })
}

fn parse(own: &Sourced) -> Result<Url, Cause> {
    let name = if own.is_from_profile() {
        "endpoint_url"
    } else {
        &own.source
    };
    let wrong = |why: String| {
        misconfigured(
            ConfigurationProblemKind::Invalid,
            name,
            own.origin(),
            format!(
                "`{}` is not the URL of an endpoint, such as `https://sts.eu-central-1.amazonaws.com`: {why}",
                shorten(&own.value)
            ),
        )
    };
    let url = Url::parse(own.value.trim()).map_err(|e| wrong(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("expected https or http and a host".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(misconfigured(
            ConfigurationProblemKind::Invalid,
            name,
            own.origin(),
            "the URL carries a user name or password",
        ));
    }
    Ok(url)
}

/// An endpoint variable is the operator's own word and SDKs follow it, so it is followed here; but it is said.
fn note_foreign(run: &mut Run<'_>, own: &Sourced, url: &Url) {
    let host = url.host_str().unwrap_or_default();
    let aws = Partition::ALL
        .into_iter()
        .flat_map(Partition::dns_suffixes)
        .any(|domain| endpoints::is_within(host, domain));
    if !aws && !endpoints::is_allowed(run.options, url) {
        run.note(
            None,
            format!(
                "{} sends the token to `{}`, which is not an AWS endpoint",
                own.source,
                crate::http::authority(url)
            ),
        );
    }
    if url.scheme() == "http" {
        run.note(None, format!("{} sends the token without TLS", own.source));
    }
}

fn note_region(run: &mut Run<'_>, settings: &Settings<'_>, region: Option<&Sourced>) {
    let env = settings.env();
    match (env.non_empty(AWS_REGION), env.non_empty(AWS_DEFAULT_REGION)) {
        (Some(region), None) => run.note(
            Some("AWS12"),
            format!(
                "the region `{}` is only in {AWS_REGION}: boto3 and the AWS CLI read {AWS_DEFAULT_REGION}, \
                 and would use {}",
                shorten(region),
                settings
                    .profile()
                    .get("region")
                    .map_or("the global endpoint".into(), |r| format!(
                        "`{}` of profile `{}`",
                        shorten(r),
                        settings.profile_name()
                    ))
            ),
        ),
        (Some(one), Some(other)) if one != other => run.note(
            Some("AWS12"),
            format!(
                "{AWS_REGION} is `{}` and {AWS_DEFAULT_REGION} is `{}`: boto3 and the AWS CLI use \
                 the latter",
                shorten(one),
                shorten(other)
            ),
        ),
        _ if region.is_none() => run.note(
            Some("AWS12"),
            format!(
                "no region is set: boto3 uses the global endpoint, as here; the AWS CLI and other \
                 SDKs fail without one, so set {AWS_REGION} and {AWS_DEFAULT_REGION}"
            ),
        ),
        _ => {}
    }
}

/// A host label, as botocore checks it before it builds a host name from a region.
fn is_region(region: &str) -> bool {
    (1..=63).contains(&region.len())
        && region
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !region.starts_with('-')
        && !region.ends_with('-')
        && !region.bytes().all(|b| b.is_ascii_digit())
}

/// Where the global endpoint is, and what it is signed for.
const GLOBAL_REGION: &str = "us-east-1";

/// Regions whose STS is the global endpoint under `sts_regional_endpoints = legacy`. Source: botocore.
const LEGACY_REGIONS: [&str; 16] = [
    "ap-northeast-1",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "aws-global",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

#[cfg(test)]
mod tests {
    use aws_sdk_sts::config::endpoint::{DefaultResolver, Params};

    use super::*;

    fn host(region: &str, fips: bool, dual_stack: bool) -> String {
        choose(Some(region), fips, dual_stack, false).host
    }

    #[test]
    fn every_partition_has_its_hosts() {
        for (region, standard, fips, dual, both) in [
            (
                "eu-central-1",
                "sts.eu-central-1.amazonaws.com",
                "sts-fips.eu-central-1.amazonaws.com",
                "sts.eu-central-1.api.aws",
                "sts-fips.eu-central-1.api.aws",
            ),
            (
                "cn-north-1",
                "sts.cn-north-1.amazonaws.com.cn",
                "sts-fips.cn-north-1.amazonaws.com.cn",
                "sts.cn-north-1.api.amazonwebservices.com.cn",
                "sts-fips.cn-north-1.api.amazonwebservices.com.cn",
            ),
            (
                "us-gov-west-1",
                "sts.us-gov-west-1.amazonaws.com",
                "sts.us-gov-west-1.amazonaws.com",
                "sts.us-gov-west-1.api.aws",
                "sts-fips.us-gov-west-1.api.aws",
            ),
            (
                "eusc-de-east-1",
                "sts.eusc-de-east-1.amazonaws.eu",
                "sts-fips.eusc-de-east-1.amazonaws.eu",
                "sts.eusc-de-east-1.api.amazonwebservices.eu",
                "sts-fips.eusc-de-east-1.api.amazonwebservices.eu",
            ),
            (
                "us-iso-east-1",
                "sts.us-iso-east-1.c2s.ic.gov",
                "sts-fips.us-iso-east-1.c2s.ic.gov",
                "sts.us-iso-east-1.api.aws.ic.gov",
                "sts-fips.us-iso-east-1.api.aws.ic.gov",
            ),
            (
                "us-isob-east-1",
                "sts.us-isob-east-1.sc2s.sgov.gov",
                "sts-fips.us-isob-east-1.sc2s.sgov.gov",
                "sts.us-isob-east-1.api.aws.scloud",
                "sts-fips.us-isob-east-1.api.aws.scloud",
            ),
            (
                "eu-isoe-west-1",
                "sts.eu-isoe-west-1.cloud.adc-e.uk",
                "sts-fips.eu-isoe-west-1.cloud.adc-e.uk",
                "sts.eu-isoe-west-1.api.cloud-aws.adc-e.uk",
                "sts-fips.eu-isoe-west-1.api.cloud-aws.adc-e.uk",
            ),
            (
                "us-isof-south-1",
                "sts.us-isof-south-1.csp.hci.ic.gov",
                "sts-fips.us-isof-south-1.csp.hci.ic.gov",
                "sts.us-isof-south-1.api.aws.hci.ic.gov",
                "sts-fips.us-isof-south-1.api.aws.hci.ic.gov",
            ),
        ] {
            assert_eq!(host(region, false, false), standard);
            assert_eq!(host(region, true, false), fips);
            assert_eq!(host(region, false, true), dual);
            assert_eq!(host(region, true, true), both);
        }
        assert_eq!(
            host("moon-base-1", false, false),
            "sts.moon-base-1.amazonaws.com"
        );
    }

    #[tokio::test]
    async fn the_table_agrees_with_the_ruleset_of_the_sdk() {
        let resolver = DefaultResolver::new();
        let regions = [
            "us-east-1",
            "eu-central-1",
            "mx-central-1",
            "cn-northwest-1",
            "us-gov-east-1",
            "eusc-de-east-1",
            "us-iso-west-1",
            "us-isob-east-1",
            "eu-isoe-west-1",
            "us-isof-east-1",
            "moon-base-1",
            "aws-global",
        ];
        for region in regions {
            for (fips, dual_stack, legacy) in [
                (false, false, false),
                (false, false, true),
                (true, false, false),
                (false, true, false),
                (true, true, false),
            ] {
                if region == "aws-global" && (fips || dual_stack) {
                    continue; // The ruleset makes hosts of it that do not exist.
                }
                let params = Params::builder()
                    .region(region)
                    .use_fips(fips)
                    .use_dual_stack(dual_stack)
                    .use_global_endpoint(legacy)
                    .build()
                    .unwrap();
                let expected = aws_sdk_sts::config::endpoint::ResolveEndpoint::resolve_endpoint(
                    &resolver, &params,
                )
                .await
                .unwrap();
                assert_eq!(
                    format!(
                        "https://{}",
                        choose(Some(region), fips, dual_stack, legacy).host
                    ),
                    expected.url(),
                    "{region} fips {fips} dual-stack {dual_stack} legacy {legacy}"
                );
            }
        }
    }

    #[test]
    fn no_region_is_the_global_endpoint_signed_for_us_east_1() {
        for region in [None, Some("aws-global")] {
            let choice = choose(region, false, false, false);
            assert_eq!(
                (choice.host.as_str(), choice.signing_region.as_str()),
                ("sts.amazonaws.com", "us-east-1")
            );
        }
        assert_eq!(
            choose(None, true, false, false).host,
            "sts-fips.us-east-1.amazonaws.com"
        );
    }

    #[test]
    fn legacy_maps_the_old_regions_only() {
        for region in LEGACY_REGIONS {
            assert_eq!(
                choose(Some(region), false, false, true).host,
                "sts.amazonaws.com"
            );
        }
        assert_eq!(
            choose(Some("eu-south-1"), false, false, true).host,
            "sts.eu-south-1.amazonaws.com"
        );
        assert_eq!(
            choose(Some("eu-west-1"), true, false, true).host,
            "sts-fips.eu-west-1.amazonaws.com"
        );
    }

    #[test]
    fn a_region_is_a_host_label() {
        for region in [
            "",
            "eu-west-1 ",
            "eu_west_1",
            "-a",
            "a-",
            "1234",
            "a/b",
            "x.evil.example",
        ] {
            assert!(!is_region(region), "{region:?}");
        }
        assert!(is_region("eu-west-1"));
    }
}
