//! The table of differences: where a client differs from the agent by its nature, and why that is so.

use cwii_contract::Outcome::{self, Denied, Invalid, Unreachable, Verified};

pub(crate) const BOTOCORE: &str = "botocore";
pub(crate) const GOOGLE_AUTH: &str = "google-auth";
pub(crate) const AZURE_IDENTITY: &str = "azure-identity";

/// The rows of one client, by what they are of.
pub(crate) fn rows(client: &str) -> impl Iterator<Item = (&'static Difference, &'static str)> {
    let rows = DIFFERENCES.iter().filter(move |row| row.client == client);
    rows.flat_map(|row| row.of.iter().map(move |of| (row, *of)))
}

/// Where a client differs from the agent by its nature. A difference that is not listed fails the test, and so does a
/// row that does not hold to the letter.
static DIFFERENCES: [Difference; 11] = [
    Difference {
        client: BOTOCORE,
        of: &["aws-placeholder", "row-a23-arn", "row-a24-session"],
        verdicts: Some((Invalid, Denied)),
        requests: false,
        because: "the agent parses role and session name, and sends no token where they cannot be",
    },
    Difference {
        client: BOTOCORE,
        of: &["row-a7-opaque", "row-p3-empty"],
        verdicts: Some((Invalid, Denied)),
        requests: false,
        because: "the agent sends nothing that cannot be a token",
    },
    Difference {
        client: BOTOCORE,
        of: &["static-keys-too"],
        verdicts: Some((Verified, Denied)),
        requests: true,
        because: "static keys win in botocore; the agent federates all the same, and notes it",
    },
    Difference {
        client: GOOGLE_AUTH,
        of: &[
            "GoogleDirect, google-sts: 429 once",
            "GoogleDirect, google-sts: 503 once",
            "GoogleImpersonated, google-iam: 429 once",
            "GoogleImpersonated, google-iam: 503 once",
        ],
        verdicts: Some((Verified, Unreachable)),
        requests: false,
        because: "google-auth asks STS and IAM once, the agent again where the trouble may pass",
    },
    Difference {
        client: GOOGLE_AUTH,
        of: &[
            "GkeMetadata, gke-metadata: 429 once",
            "GkeMetadata, gke-metadata: 503 once",
        ],
        verdicts: Some((Verified, Unreachable)),
        requests: true,
        because: "to google-auth a first answer that is no success means no metadata server",
    },
    Difference {
        client: GOOGLE_AUTH,
        of: &[
            "GoogleDirect, google-sts: redirect 302",
            "GoogleDirect, google-sts: redirect 307",
            "GoogleImpersonated, google-iam: redirect 302",
            "GoogleImpersonated, google-iam: redirect 307",
            "GkeMetadata, gke-metadata: redirect 302",
            "GkeMetadata, gke-metadata: redirect 307",
        ],
        verdicts: None,
        requests: true,
        because: "google-auth follows redirects with the token in its hands, the agent never does",
    },
    Difference {
        client: GOOGLE_AUTH,
        of: &["google-client"],
        verdicts: None,
        requests: true,
        because: "client authentication belongs to pools of people; the agent sends none",
    },
    Difference {
        client: AZURE_IDENTITY,
        of: &["row-900023-tenant"],
        verdicts: Some((Invalid, Denied)),
        requests: false,
        because: "the agent parses the tenant, which becomes a part of the path",
    },
    Difference {
        client: AZURE_IDENTITY,
        of: &["row-7000218-empty", "row-50027-truncated"],
        verdicts: Some((Invalid, Denied)),
        requests: false,
        because: "the agent sends nothing that cannot be a token",
    },
    Difference {
        client: AZURE_IDENTITY,
        of: &["row-50196", "row-500531"],
        verdicts: Some((Unreachable, Denied)),
        requests: false,
        because: "azure-identity knows what may pass by the status alone, the agent by Entra's code as well",
    },
    Difference {
        client: AZURE_IDENTITY,
        of: &["entra-host-and-port"],
        verdicts: Some((Verified, Invalid)),
        requests: false,
        because: "Python's URL parser takes the host of `HOST:PORT` for a scheme",
    },
];

/// A row of the table.
pub(crate) struct Difference {
    client: &'static str,
    /// Workloads, or `MECHANISM, SERVICE: FAULT`.
    of: &'static [&'static str],
    /// The agent's verdict and the client's, where they differ.
    pub(crate) verdicts: Option<(Outcome, Outcome)>,
    /// Whether the requests differ, beyond that one who finds its input invalid sends none.
    pub(crate) requests: bool,
    pub(crate) because: &'static str,
}
