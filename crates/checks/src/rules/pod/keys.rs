//! The annotations and labels that the clouds' own webhooks read, and where they read them.
//!
//! Sources: AWS, "Assign IAM roles to Kubernetes service accounts"
//! (<https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>); Google, "Authenticate to Google
//! Cloud APIs from GKE workloads" (<https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>); Microsoft,
//! "Service account labels and annotations"
//! (<https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>); the package
//! documentation of the Google Cloud federation webhook
//! (<https://pkg.go.dev/github.com/pfnet-research/gcp-workload-identity-federation-webhook/webhooks>).

use cwii_contract::Provider;

/// Whether a key is an annotation or a label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Member {
    Annotation,
    Label,
}

/// A key of a cloud's own webhook.
#[derive(Clone, Copy, Debug)]
pub(super) struct Native {
    pub(super) key: &'static str,
    pub(super) provider: Provider,
    pub(super) member: Member,
    /// The kinds of objects on which it is read.
    pub(super) on: &'static [&'static str],
    /// Whether there is no identity without it.
    pub(super) identity: bool,
}

impl Native {
    const fn annotation(
        provider: Provider,
        key: &'static str,
        on: &'static [&'static str],
    ) -> Self {
        Self {
            key,
            provider,
            member: Member::Annotation,
            on,
            identity: false,
        }
    }

    const fn identity(mut self) -> Self {
        self.identity = true;
        self
    }

    const fn label(mut self) -> Self {
        self.member = Member::Label;
        self
    }
}

const ACCOUNT: &[&str] = &["ServiceAccount"];
const POD: &[&str] = &["Pod"];
const BOTH: &[&str] = &["ServiceAccount", "Pod"];

/// All of them.
pub(super) const NATIVE: &[Native] = &[
    Native::annotation(Provider::Aws, "eks.amazonaws.com/role-arn", ACCOUNT).identity(),
    Native::annotation(Provider::Aws, "eks.amazonaws.com/audience", ACCOUNT),
    Native::annotation(
        Provider::Aws,
        "eks.amazonaws.com/sts-regional-endpoints",
        ACCOUNT,
    ),
    Native::annotation(Provider::Aws, "eks.amazonaws.com/token-expiration", BOTH),
    Native::annotation(Provider::Aws, "eks.amazonaws.com/skip-containers", POD),
    Native::annotation(Provider::Gcp, "iam.gke.io/gcp-service-account", ACCOUNT).identity(),
    Native::annotation(
        Provider::Gcp,
        "cloud.google.com/workload-identity-provider",
        BOTH,
    )
    .identity(),
    Native::annotation(
        Provider::Gcp,
        "cloud.google.com/service-account-email",
        BOTH,
    )
    .identity(),
    Native::annotation(Provider::Gcp, "cloud.google.com/audience", BOTH),
    Native::annotation(Provider::Gcp, "cloud.google.com/token-expiration", BOTH),
    Native::annotation(Provider::Gcp, "cloud.google.com/skip-containers", POD),
    Native::annotation(
        Provider::Gcp,
        "cloud.google.com/gcloud-run-as-user",
        ACCOUNT,
    ),
    Native::annotation(Provider::Gcp, "cloud.google.com/injection-mode", ACCOUNT),
    Native::annotation(
        Provider::Gcp,
        "cloud.google.com/external-credentials-json",
        POD,
    ),
    Native::annotation(Provider::Az, "azure.workload.identity/client-id", ACCOUNT).identity(),
    Native::annotation(Provider::Az, "azure.workload.identity/tenant-id", ACCOUNT),
    Native::annotation(
        Provider::Az,
        "azure.workload.identity/service-account-token-expiration",
        BOTH,
    ),
    Native::annotation(Provider::Az, "azure.workload.identity/skip-containers", POD),
    Native::annotation(
        Provider::Az,
        "azure.workload.identity/inject-proxy-sidecar",
        POD,
    ),
    Native::annotation(
        Provider::Az,
        "azure.workload.identity/proxy-sidecar-port",
        POD,
    ),
    Native::annotation(
        Provider::Az,
        "azure.workload.identity/use-identity-binding",
        BOTH,
    ),
    // Versions before 1.0 read the label on the ServiceAccount.
    Native::annotation(Provider::Az, "azure.workload.identity/use", BOTH)
        .label()
        .identity(),
];

/// The row of a key.
pub(super) fn find(key: &str) -> Option<&'static Native> {
    NATIVE.iter().find(|row| row.key == key)
}

/// The key that is meant by one that nobody reads, if one is near enough: of cwii or of a cloud's webhook.
pub(super) fn meant(key: &str) -> Option<(String, Option<&'static Native>)> {
    if find(key).is_some() || cwii_contract::annotations::find(key).is_some() || key.len() > 96 {
        return None;
    }
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let typed = normal(name);
    let Some(prefix) = prefix else {
        // Without a prefix only what nobody calls anything else by.
        const BARE: [&str; 2] = [
            "eks.amazonaws.com/role-arn",
            "iam.gke.io/gcp-service-account",
        ];
        return NATIVE
            .iter()
            .filter(|row| BARE.contains(&row.key))
            .find(|row| {
                let (domain, wanted) = row.key.split_once('/').unwrap_or_default();
                typed == normal(wanted) || typed == normal(&format!("{domain}-{wanted}"))
            })
            .map(|row| (row.key.to_owned(), Some(row)));
    };
    if near(&prefix.to_ascii_lowercase(), "cwii.dev", 1) && prefix != "cwii.development" {
        return cwii_contract::annotations::nearest(&format!(
            "cwii.dev/{}",
            name.to_ascii_lowercase().replace('_', "-")
        ))
        .map(|key| (key, None));
    }
    NATIVE
        .iter()
        .filter_map(|row| {
            let (domain, wanted) = row.key.split_once('/')?;
            // Prefixes such as `cloud.google.com/` carry many other keys: one slip, not three.
            let slips = if domain == "cloud.google.com" {
                2
            } else {
                (wanted.len() / 4).max(1)
            };
            let distance = strsim::damerau_levenshtein(&typed, &normal(wanted));
            let prefix_fits = prefix == domain || near(&prefix.to_ascii_lowercase(), domain, 3);
            (prefix_fits && distance <= slips).then_some((distance, row))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, row)| (row.key.to_owned(), Some(row)))
}

fn near(found: &str, wanted: &str, slips: usize) -> bool {
    strsim::damerau_levenshtein(found, wanted) <= slips
}

/// `roleArn`, `role_arn` and `ROLE-ARN` are one.
fn normal(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_nearly_right_lead_to_the_right_one() {
        for (typed, expected) in [
            ("eks.amazonaws.com/role-ARN", "eks.amazonaws.com/role-arn"),
            ("eks.amazonaws.com/role_arn", "eks.amazonaws.com/role-arn"),
            ("eks.amazonaws.com/rolearn", "eks.amazonaws.com/role-arn"),
            ("eks.amazon.com/role-arn", "eks.amazonaws.com/role-arn"),
            ("role_arn", "eks.amazonaws.com/role-arn"),
            (
                "azure.workload.identity/clientid",
                "azure.workload.identity/client-id",
            ),
            (
                "azure.workload.identity/clientID",
                "azure.workload.identity/client-id",
            ),
            ("azure.workload.identiy/use", "azure.workload.identity/use"),
            (
                "iam.gke.io/gcp-serviceaccount",
                "iam.gke.io/gcp-service-account",
            ),
            ("cwii.dev/aws_role_arn", "cwii.dev/aws-role-arn"),
            ("cwii.dev/aws-role-anr", "cwii.dev/aws-role-arn"),
            ("cwi.dev/aws-role-arn", "cwii.dev/aws-role-arn"),
        ] {
            assert_eq!(
                meant(typed).map(|(key, _)| key).as_deref(),
                Some(expected),
                "{typed}"
            );
        }
    }

    #[test]
    fn keys_of_others_are_left_alone() {
        for key in [
            "eks.amazonaws.com/role-arn",
            "eks.amazonaws.com/compute-type",
            "eks.amazonaws.com/nodegroup",
            "cloud.google.com/neg",
            "cloud.google.com/backend-config",
            "cloud.google.com/gke-nodepool",
            "iam.gke.io/gke-metadata-server-enabled",
            "azure.workload.identity/use",
            "app.kubernetes.io/name",
            "cwii.dev/injected",
            "role",
        ] {
            assert_eq!(meant(key).map(|(key, _)| key), None, "{key}");
        }
    }
}
