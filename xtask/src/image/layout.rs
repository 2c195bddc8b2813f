//! Reads an OCI image layout as a registry's client would, from the index down to each file of each layer.
//!
//! Nothing is taken on trust: every blob is compared with the digest and the size that name it, and every layer with its
//! `diff_id`. Formats: <https://github.com/opencontainers/image-spec>, `image-layout.md`, `manifest.md` and `config.md`.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

/// The one image of a layout, for all of its platforms.
pub(crate) struct Index {
    /// The digest that a registry would show and a pod would pin.
    pub(crate) digest: String,
    /// The name in `org.opencontainers.image.ref.name`.
    pub(crate) reference: String,
    /// In the order of the index.
    pub(crate) images: Vec<Image>,
}

impl Index {
    /// The image for the architecture of this machine.
    pub(crate) fn here(&self) -> Option<&Image> {
        let mut images = self.images.iter();
        images.find(|image| image.platform.architecture == super::here())
    }
}

/// An image for one platform.
pub(crate) struct Image {
    pub(crate) platform: Platform,
    /// RFC 3339.
    pub(crate) created: String,
    pub(crate) config: Config,
    pub(crate) layers: Vec<Layer>,
}

impl Image {
    /// What a node downloads, bytes: the layers, as registries count.
    pub(crate) fn compressed(&self) -> u64 {
        self.layers.iter().map(|layer| layer.compressed).sum()
    }

    /// What the files have, bytes.
    pub(crate) fn unpacked(&self) -> u64 {
        self.entries().map(|entry| entry.content.len() as u64).sum()
    }

    /// All that the layers hold.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.layers.iter().flat_map(|layer| &layer.entries)
    }

    /// Writes the ordinary files into a folder.
    pub(crate) fn unpack(&self, folder: &Path) -> Result<()> {
        for entry in self.entries().filter(|entry| entry.file) {
            let path = folder.join(&entry.path);
            fs::create_dir_all(path.parent().context("a file has no folder")?)?;
            fs::write(&path, &entry.content).with_context(|| path.display().to_string())?;
            fs::set_permissions(&path, Permissions::from_mode(entry.mode))?;
        }
        Ok(())
    }
}

/// An operating system and an architecture, in Go's words.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
    pub(crate) variant: Option<String>,
}

/// What a runtime is told about the process. Every key that says something has to be known here, so that none comes in
/// unseen.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) user: String,
    pub(crate) env: Vec<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) working_dir: String,
    pub(crate) volumes: BTreeMap<String, serde_json::Value>,
    pub(crate) exposed_ports: BTreeMap<String, serde_json::Value>,
    pub(crate) stop_signal: String,
}

/// One layer.
pub(crate) struct Layer {
    /// Size of its blob, bytes.
    pub(crate) compressed: u64,
    pub(crate) entries: Vec<Entry>,
}

/// One entry of a layer's archive.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// As it stands in the archive, without a leading `./`.
    pub(crate) path: String,
    /// Whether it is an ordinary file, as opposed to a folder, a link or a device.
    pub(crate) file: bool,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    /// Seconds since 1970.
    pub(crate) modified: u64,
    pub(crate) content: Vec<u8>,
}

/// Reads the layout in a folder.
///
/// # Errors
///
/// It holds anything but one image, or a blob is not what its name says.
pub(crate) fn read(folder: &Path) -> Result<Index> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).with_context(|| path.display().to_string())
    };
    let version: LayoutVersion = json(&read("oci-layout")?)?;
    ensure!(
        version.image_layout_version == "1.0.0",
        "expected an image layout of version 1.0.0, found `{}`",
        version.image_layout_version
    );
    let top: Manifests = json(&read("index.json")?)?;
    let [entry] = &top.manifests[..] else {
        bail!("expected one image, found {}", top.manifests.len());
    };
    let reference = entry.annotations.get(REF_NAME).cloned().unwrap_or_default();
    ensure!(
        entry.media_type == MEDIA_INDEX,
        "expected an index of platforms, found `{}`",
        entry.media_type
    );
    let index: Manifests = json(&blob(folder, entry)?)?;
    let images = index.manifests.iter().map(|entry| image(folder, entry));
    Ok(Index {
        digest: entry.digest.clone(),
        reference,
        images: images.collect::<Result<_>>()?,
    })
}

fn image(folder: &Path, entry: &Descriptor) -> Result<Image> {
    ensure!(
        entry.media_type == MEDIA_MANIFEST,
        "expected an image manifest, found `{}`",
        entry.media_type
    );
    let platform = entry
        .platform
        .clone()
        .with_context(|| format!("{} names no platform", entry.digest))?;
    let manifest: Manifest = json(&blob(folder, entry)?)?;
    let file: ConfigFile = json(&blob(folder, &manifest.config)?)?;
    ensure!(
        file.platform == platform,
        "expected the platform of the index, {platform:?}, in the image's configuration, found {:?}",
        file.platform
    );
    ensure!(
        file.rootfs.diff_ids.len() == manifest.layers.len(),
        "expected as many `diff_ids` as layers, {}, found {}",
        manifest.layers.len(),
        file.rootfs.diff_ids.len()
    );
    let layers = manifest.layers.iter().zip(&file.rootfs.diff_ids);
    Ok(Image {
        platform,
        created: file.created,
        config: file.config,
        layers: layers
            .map(|(entry, diff_id)| layer(folder, entry, diff_id))
            .collect::<Result<_>>()?,
    })
}

fn layer(folder: &Path, entry: &Descriptor, diff_id: &str) -> Result<Layer> {
    ensure!(
        entry.media_type == MEDIA_LAYER,
        "expected a gzipped layer, found `{}`",
        entry.media_type
    );
    let mut archive = Vec::new();
    flate2::read::GzDecoder::new(&blob(folder, entry)?[..])
        .read_to_end(&mut archive)
        .with_context(|| format!("{} does not unpack", entry.digest))?;
    let found = digest(&archive);
    ensure!(
        found == diff_id,
        "expected a layer of the `diff_id` {diff_id}, found {found}"
    );
    let mut entries = Vec::new();
    for entry in tar::Archive::new(&archive[..]).entries()? {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let header = entry.header();
        entries.push(Entry {
            path: String::from_utf8_lossy(&entry.path_bytes())
                .trim_start_matches("./")
                .to_owned(),
            file: header.entry_type().is_file(),
            mode: header.mode()?,
            owner: (header.uid()?, header.gid()?),
            modified: header.mtime()?,
            content,
        });
    }
    Ok(Layer {
        compressed: entry.size,
        entries,
    })
}

fn blob(folder: &Path, entry: &Descriptor) -> Result<Vec<u8>> {
    let name = entry
        .digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        .with_context(|| format!("expected a SHA-256 digest, found `{}`", entry.digest))?;
    let path = folder.join("blobs/sha256").join(name);
    let content = fs::read(&path).with_context(|| path.display().to_string())?;
    ensure!(
        content.len() as u64 == entry.size,
        "expected {} bytes of {}, found {}",
        entry.size,
        entry.digest,
        content.len()
    );
    let found = digest(&content);
    ensure!(
        found == entry.digest,
        "expected the content of {}, found {found}",
        entry.digest
    );
    Ok(content)
}

/// `sha256:…` of some bytes.
pub(crate) fn digest(content: &[u8]) -> String {
    let mut text = b"sha256:".to_vec();
    for byte in Sha256::digest(content) {
        // Writing to a vector does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn json<T: DeserializeOwned>(content: &[u8]) -> Result<T> {
    serde_json::from_slice(content).with_context(|| {
        format!(
            "expected another document than {}",
            String::from_utf8_lossy(&content[..content.len().min(300)])
        )
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutVersion {
    image_layout_version: String,
}

#[derive(Deserialize)]
struct Manifests {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct ConfigFile {
    created: String,
    #[serde(flatten)]
    platform: Platform,
    config: Config,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const MEDIA_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MEDIA_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const MEDIA_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_layout_is_read_down_to_the_files_of_its_layers() {
        let layout = Sample::default().write();
        let index = read(layout.path()).unwrap();
        assert_eq!(index.reference, "1.2.3");
        let [image] = &index.images[..] else {
            panic!("expected one platform");
        };
        assert_eq!(image.platform.architecture, "arm64");
        assert_eq!(image.created, "2026-01-02T03:04:05Z");
        assert_eq!(image.config.user, "65532:65532");
        assert_eq!(image.config.labels["a"], "b");
        assert_eq!(image.unpacked(), 5);
        assert_eq!(image.compressed(), image.layers[0].compressed);
        let entries: Vec<_> = image.entries().collect();
        assert_eq!(entries.len(), 2);
        assert_eq!((&*entries[0].path, entries[0].file), ("bin/", false));
        assert_eq!((&*entries[1].path, entries[1].file), ("bin/tool", true));
        assert_eq!(entries[1].mode, 0o555);
        assert_eq!(entries[1].owner, (1, 2));
        assert_eq!(entries[1].modified, 1_700_000_000);
        assert_eq!(entries[1].content, b"hello");
    }

    #[test]
    fn a_blob_that_is_not_what_its_name_says_is_an_error() {
        let layout = Sample::default().write();
        let layer = layout.path().join("blobs/sha256").join(&layout.layer[7..]);
        let mut content = fs::read(&layer).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(&layer, content).unwrap();
        let error = read(layout.path()).err().unwrap().to_string();
        assert!(
            error.starts_with("expected the content of sha256:"),
            "{error}"
        );
    }

    #[test]
    fn a_layer_of_another_diff_id_is_an_error() {
        let sample = Sample {
            diff_id: Some(digest(b"another")),
            ..Sample::default()
        };
        let error = read(sample.write().path()).err().unwrap().to_string();
        assert!(error.contains("`diff_id`"), "{error}");
    }

    #[test]
    fn a_platform_that_differs_between_index_and_image_is_an_error() {
        let sample = Sample {
            index_architecture: "amd64",
            ..Sample::default()
        };
        let error = read(sample.write().path()).err().unwrap().to_string();
        assert!(error.contains("the platform of the index"), "{error}");
    }

    #[test]
    fn a_key_that_nobody_thought_of_is_an_error() {
        let mut sample = Sample::default();
        sample.config["Healthcheck"] = json!({ "Test": ["CMD", "true"] });
        let error = format!("{:#}", read(sample.write().path()).err().unwrap());
        assert!(error.contains("Healthcheck"), "{error}");
    }

    struct Sample {
        config: Value,
        diff_id: Option<String>,
        index_architecture: &'static str,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                config: json!({ "User": "65532:65532", "Labels": { "a": "b" } }),
                diff_id: None,
                index_architecture: "arm64",
            }
        }
    }

    struct Written {
        folder: TempDir,
        layer: String,
    }

    impl Written {
        fn path(&self) -> &Path {
            self.folder.path()
        }
    }

    impl Sample {
        fn write(&self) -> Written {
            let folder = tempfile::tempdir().unwrap();
            let blobs = folder.path().join("blobs/sha256");
            fs::create_dir_all(&blobs).unwrap();
            let store = |media: &str, content: &[u8]| {
                let digest = digest(content);
                fs::write(blobs.join(&digest[7..]), content).unwrap();
                json!({ "mediaType": media, "digest": digest, "size": content.len() })
            };

            let mut archive = tar::Builder::new(Vec::new());
            for (path, content) in [("bin/", None), ("bin/tool", Some(&b"hello"[..]))] {
                let mut header = tar::Header::new_ustar();
                header.set_entry_type(match content {
                    None => tar::EntryType::Directory,
                    Some(_) => tar::EntryType::Regular,
                });
                header.set_mode(0o555);
                header.set_uid(1);
                header.set_gid(2);
                header.set_mtime(1_700_000_000);
                let content = content.unwrap_or_default();
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, path, content).unwrap();
            }
            let archive = archive.into_inner().unwrap();
            let diff_id = self.diff_id.clone().unwrap_or_else(|| digest(&archive));
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(&archive).unwrap();
            let layer = store(MEDIA_LAYER, &gzip.finish().unwrap());

            let config = json!({
                "created": "2026-01-02T03:04:05Z",
                "os": "linux",
                "architecture": "arm64",
                "config": self.config,
                "rootfs": { "type": "layers", "diff_ids": [diff_id] },
            });
            let config = store(
                "application/vnd.oci.image.config.v1+json",
                config.to_string().as_bytes(),
            );
            let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
            let mut manifest = store(MEDIA_MANIFEST, manifest.to_string().as_bytes());
            manifest["platform"] =
                json!({ "os": "linux", "architecture": self.index_architecture });
            let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
            let mut index = store(MEDIA_INDEX, index.to_string().as_bytes());
            index["annotations"] = json!({ REF_NAME: "1.2.3" });
            for (name, document) in [
                ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" })),
                (
                    "index.json",
                    json!({ "schemaVersion": 2, "manifests": [index] }),
                ),
            ] {
                fs::write(folder.path().join(name), document.to_string()).unwrap();
            }
            Written {
                layer: layer["digest"].as_str().unwrap().to_owned(),
                folder,
            }
        }
    }
}
