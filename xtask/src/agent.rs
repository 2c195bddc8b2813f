//! The agent as one static file.

use std::path::PathBuf;

use anyhow::Result;

use crate::{empty_root, static_build::StaticBuild};

/// `cargo xtask agent`.
pub(crate) fn run(check: bool) -> Result<()> {
    let path = build()?;
    AGENT.inspect(&path, check)?;
    if check {
        empty_root::check(&path)?;
    }
    Ok(())
}

/// Builds the static agent and says where it is.
pub(crate) fn build() -> Result<PathBuf> {
    AGENT.build()
}

/// How it is built, and how large it may be.
pub(crate) const AGENT: StaticBuild = StaticBuild {
    name: "cwii-agent",
    max_bytes: 6_000_000,
    max_gzipped: Some(2_800_000),
};
