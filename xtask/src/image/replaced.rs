//! The images whose place the agent takes, and how large others said they are.
//!
//! No registry is asked: the figures are quotations, each with its source and day, of sizes on a node (`docker images`),
//! which is the only size that all three were published in. Newer images may be larger or smaller.

/// One quotation.
pub(crate) struct Replaced {
    /// The image, with the tag or version that was measured.
    pub(crate) image: &'static str,
    /// Unpacked size, megabytes.
    pub(crate) megabytes: u64,
    /// Who measured it.
    pub(crate) by: &'static str,
    /// When, as a date.
    pub(crate) on: &'static str,
    /// Where it can be read.
    pub(crate) source: &'static str,
}

/// In the order of the clouds.
pub(crate) const REPLACED: [Replaced; 3] = [
    Replaced {
        image: "amazon/aws-cli",
        megabytes: 339,
        by: "a user, in a comparison",
        on: "2022-05-07",
        source: "https://github.com/Azure/azure-cli/issues/19591",
    },
    Replaced {
        image: "gcr.io/google.com/cloudsdktool/cloud-sdk:slim",
        megabytes: 1_380,
        by: "a user, in a pull request",
        on: "2022-01-26",
        source: "https://github.com/GoogleCloudPlatform/cloud-builders-community/pull/558",
    },
    Replaced {
        image: "mcr.microsoft.com/azure-cli, since 2.54.0",
        megabytes: 700,
        by: "Microsoft, in its documentation",
        on: "2024-03-14",
        source: "https://github.com/MicrosoftDocs/azure-docs-cli/blob/main/docs-ref-conceptual/run-azure-cli-docker.md",
    },
];
