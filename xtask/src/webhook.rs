//! The webhook as one static file.

use std::path::PathBuf;

use anyhow::Result;

use crate::static_build::StaticBuild;

/// `cargo xtask webhook`.
pub(crate) fn run(check: bool) -> Result<()> {
    let path = build()?;
    WEBHOOK.inspect(&path, check)
}

/// Builds the static webhook and says where it is.
pub(crate) fn build() -> Result<PathBuf> {
    WEBHOOK.build()
}

/// How it is built, and how large it may be.
pub(crate) const WEBHOOK: StaticBuild = StaticBuild {
    name: "cwii-webhook",
    max_bytes: 10_000_000,
    max_gzipped: None,
};
