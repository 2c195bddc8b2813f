//! The way from a pod to its cloud, in seven stages, and the stage that each code belongs to.

use std::{collections::BTreeMap, sync::LazyLock};

use schemars::JsonSchema;
use serde::Serialize;

use crate::catalogue::{self, Entry};

/// A stage of the way. A chain: what breaks in one is felt in those after it.
#[derive(Clone, Copy, Debug, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The pod exists, is admitted, and runs as the ServiceAccount that was meant.
    Access,
    /// Who puts token and variables into the pod: the webhook or the platform, and whether it was asked.
    Injector,
    /// What the pod has: variables, mounts, values, and nothing that overrides them.
    Wiring,
    /// The ServiceAccount token.
    Token,
    /// The cluster's issuer, its discovery document and keys.
    Issuer,
    /// What the cloud was told to trust.
    Trust,
    /// The exchange itself, and the network to it.
    Exchange,
}

impl Stage {
    /// All of them, from the pod to the cloud.
    pub const ALL: [Self; 7] = [
        Self::Access,
        Self::Injector,
        Self::Wiring,
        Self::Token,
        Self::Issuer,
        Self::Trust,
        Self::Exchange,
    ];

    /// Its name as it is drawn.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Injector => "injector",
            Self::Wiring => "wiring",
            Self::Token => "token",
            Self::Issuer => "issuer",
            Self::Trust => "trust",
            Self::Exchange => "exchange",
        }
    }

    /// The stage of a code of the catalogue: its own, else that of its group.
    #[must_use]
    pub fn of(code: &str) -> Self {
        // Asked for every code of every workload of a sweep.
        static STAGES: LazyLock<BTreeMap<&str, Stage>> = LazyLock::new(|| {
            catalogue::entries()
                .map(|entry| (entry.code, decided(entry)))
                .collect()
        });
        STAGES.get(code).copied().unwrap_or(Self::Access)
    }
}

fn decided(entry: &Entry) -> Stage {
    let has = |(_, names): &&(Stage, &[&str]), name| names.contains(&name);
    EXCEPTIONS
        .iter()
        .find(|row| has(row, entry.code))
        .or_else(|| GROUPS.iter().find(|row| has(row, entry.group())))
        .map_or(Stage::Access, |(stage, _)| *stage)
}

const GROUPS: [(Stage, &[&str]); 6] = [
    (Stage::Injector, &["HOOK", "CWII"]),
    (Stage::Wiring, &["POD", "APP", "AKS"]),
    (Stage::Token, &["TOK"]),
    (Stage::Issuer, &["ISS"]),
    (Stage::Trust, &["AWS", "GCP", "AZ", "EPI", "GKE"]),
    (Stage::Exchange, &["NET"]),
];

const EXCEPTIONS: [(Stage, &[&str]); 5] = [
    // Whether there is a pod at all, and of whom.
    (Stage::Access, &["POD01", "POD02", "POD17", "POD21"]),
    // Whether the injector saw this pod and what was asked of it.
    (
        Stage::Injector,
        &[
            "POD03", "POD04", "POD05", "POD06", "POD07", "POD09", "POD12", "POD15", "GKE01",
            "GKE02", "AKS01", "AKS02",
        ],
    ),
    // Values in the cluster, whatever the cloud was told.
    (
        Stage::Wiring,
        &[
            "CWII01", "CWII03", "AWS10", "AWS12", "AWS15", "AWS21", "EPI05", "EPI07", "EPI10",
            "EPI14", "EPI15", "GCP01", "GCP10", "GCP11", "GKE04", "GKE06", "GKE09", "AZ01", "AZ02",
            "AZ08", "AZ09", "AZ10",
        ],
    ),
    (Stage::Issuer, &["AZ14", "AKS03", "AKS04"]),
    // What only the call shows, and what stands between the pod and the endpoint.
    (
        Stage::Exchange,
        &[
            "CWII04", "AWS13", "AWS14", "AWS16", "AWS17", "AWS18", "AWS19", "AWS20", "AWS22",
            "GCP12", "GCP13", "GCP15", "AZ11", "AZ12", "AZ13", "EPI01", "EPI02", "EPI08", "EPI09",
            "EPI11", "EPI12", "EPI13", "GKE03", "GKE07", "GKE08", "APP03", "APP04",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_catalogue_belongs_to_the_stage_of_its_group_or_to_one_of_its_own() {
        for entry in catalogue::entries() {
            let groups = GROUPS
                .iter()
                .filter(|(_, groups)| groups.contains(&entry.group()))
                .count();
            assert_eq!(groups, 1, "{}", entry.code);
        }
        let mut all: Vec<_> = EXCEPTIONS.iter().flat_map(|(_, codes)| *codes).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "each once");
    }

    #[test]
    fn the_stages_of_well_known_codes() {
        for (code, stage) in [
            ("POD02", Stage::Access),
            ("POD10", Stage::Wiring),
            ("TOK03", Stage::Token),
            ("ISS10", Stage::Issuer),
            ("AWS05", Stage::Trust),
            ("AWS19", Stage::Exchange),
        ] {
            assert_eq!(Stage::of(code), stage, "{code}");
        }
    }
}
