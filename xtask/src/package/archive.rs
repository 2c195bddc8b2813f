//! Archives whose bytes depend on what is in them and on nothing else.

use std::io::{Cursor, Write as _};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use jiff::Timestamp;

/// A file in an archive.
pub(super) struct Entry {
    pub(super) name: String,
    content: Vec<u8>,
    mode: u32,
}

impl Entry {
    pub(super) fn program(name: &str, content: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            content,
            mode: 0o755,
        }
    }

    pub(super) fn text(name: &str, content: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            content,
            mode: 0o644,
        }
    }
}

/// The entries in the order given, all of that time, owned by nobody in particular. Krew takes regular files only.
pub(super) fn tar_gz(entries: &[Entry], time: u64) -> Result<Vec<u8>> {
    // The time in gzip's own header stays 0, and the system unknown.
    let gzip = GzBuilder::new()
        .operating_system(255)
        .write(Vec::new(), Compression::best());
    let mut archive = tar::Builder::new(gzip);
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(entry.content.len() as u64);
        header.set_mode(entry.mode);
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        archive
            .append_data(&mut header, &entry.name, entry.content.as_slice())
            .with_context(|| entry.name.clone())?;
    }
    Ok(archive.into_inner()?.finish()?)
}

/// The same as a zip; its times are even seconds since 1980.
pub(super) fn zip(entries: &[Entry], time: u64) -> Result<Vec<u8>> {
    let at = Timestamp::from_second(i64::try_from(time)?)?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .datetime();
    let at = zip::DateTime::from_date_and_time(
        u16::try_from(at.year())?,
        at.month().try_into()?,
        at.day().try_into()?,
        at.hour().try_into()?,
        at.minute().try_into()?,
        at.second().try_into()?,
    )
    .ok()
    .context("a zip archive cannot be older than 1980")?;
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for entry in entries {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .last_modified_time(at)
            .unix_permissions(entry.mode);
        archive.start_file(entry.name.as_str(), options)?;
        archive.write_all(&entry.content)?;
    }
    Ok(archive.finish()?.into_inner())
}
