//! Volumes as the kubelet lays them out on its node, with its modes and owners.
//!
//! Source: Kubernetes, `pkg/volume/projected`, `pkg/volume/emptydir`, `pkg/volume/util/atomic_writer.go`,
//! `pkg/volume/volume_linux.go`.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::api::{Api, Object};

/// A file of a volume.
struct File {
    bytes: Vec<u8>,
    mode: u32,
    owner: Option<u32>,
}

/// Lays out all volumes of a pod below a folder; the answer is where each of them is, by name.
///
/// # Errors
///
/// What a volume is made of does not exist, or it is of a kind that the injected containers never mount.
pub(super) async fn lay_out(
    api: &Api,
    pod: &Value,
    folder: &Path,
) -> Result<BTreeMap<String, PathBuf>> {
    let mut places = BTreeMap::new();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let name = volume["name"].as_str().context("a volume without a name")?;
        let place = folder.join(name);
        fs::create_dir_all(&place)?;
        fs::set_permissions(&place, Permissions::from_mode(0o755))?;
        make(api, pod, volume, &place)
            .await
            .with_context(|| format!("MountVolume.SetUp failed for volume \"{name}\""))?;
        places.insert(name.to_owned(), place);
    }
    Ok(places)
}

async fn make(api: &Api, pod: &Value, volume: &Value, place: &Path) -> Result<()> {
    let namespace = text(pod, "/metadata/namespace");
    let group = pod.pointer("/spec/securityContext/fsGroup").and_then(id);
    if volume.get("emptyDir").is_some() {
        fs::set_permissions(place, Permissions::from_mode(0o777))?;
        return give_to_group(place, group, 0o660);
    }
    let mut files = BTreeMap::new();
    if let Some(projected) = volume.get("projected") {
        let mode = mode(projected, 0o644);
        for source in projected["sources"].as_array().into_iter().flatten() {
            if let Some(token) = source.get("serviceAccountToken") {
                let owner = common_user(pod);
                files.insert(
                    text(token, "/path").to_owned(),
                    File {
                        bytes: mint(api, pod, token).await?.into_bytes(),
                        // A token is handed to the one user that all containers run as, or to the group, else to everybody.
                        mode: if owner.is_some() || group.is_some() {
                            0o600
                        } else {
                            mode
                        },
                        owner,
                    },
                );
            } else if let Some(map) = source.get("configMap") {
                let object = Object::new("v1", "ConfigMap", namespace, text(map, "/name"));
                files.extend(of_object(api, &object, map, mode).await?);
            } else if let Some(fields) = source.get("downwardAPI") {
                for item in fields["items"].as_array().into_iter().flatten() {
                    let field = text(item, "/fieldRef/fieldPath");
                    let value = text(pod, &format!("/{}", field.replace('.', "/")));
                    files.insert(
                        text(item, "/path").to_owned(),
                        File {
                            bytes: value.into(),
                            mode,
                            owner: None,
                        },
                    );
                }
            } else {
                bail!("a projected source of another kind: {source}");
            }
        }
    } else {
        files = of_objects(api, namespace, volume).await?;
    }
    write_atomically(place, &files)?;
    give_to_group(place, group, 0o440)
}

/// Brings volumes up to date whose ConfigMap or Secret has changed, as the kubelet does from time to time.
///
/// # Errors
///
/// As [`lay_out`].
pub(super) async fn refresh(
    api: &Api,
    pod: &Value,
    places: &BTreeMap<String, PathBuf>,
) -> Result<()> {
    let namespace = text(pod, "/metadata/namespace");
    let group = pod.pointer("/spec/securityContext/fsGroup").and_then(id);
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let Some(place) = places.get(text(volume, "/name")) else {
            continue;
        };
        if volume.get("configMap").is_none() && volume.get("secret").is_none() {
            continue;
        }
        let files = of_objects(api, namespace, volume).await?;
        let is_there = |(path, file): (&String, &File)| {
            fs::read(place.join(path)).is_ok_and(|b| b == file.bytes)
        };
        if !files.iter().all(is_there) {
            write_atomically(place, &files)?;
            give_to_group(place, group, 0o440)?;
        }
    }
    Ok(())
}

/// The files of a volume that is a ConfigMap or a Secret.
async fn of_objects(api: &Api, namespace: &str, volume: &Value) -> Result<BTreeMap<String, File>> {
    if let Some(map) = volume.get("configMap") {
        let object = Object::new("v1", "ConfigMap", namespace, text(map, "/name"));
        of_object(api, &object, map, mode(map, 0o644)).await
    } else if let Some(secret) = volume.get("secret") {
        let object = Object::new("v1", "Secret", namespace, text(secret, "/secretName"));
        of_object(api, &object, secret, mode(secret, 0o644)).await
    } else {
        bail!("a volume of another kind: {volume}");
    }
}

/// The token that TokenRequest mints for this pod.
async fn mint(api: &Api, pod: &Value, projection: &Value) -> Result<String> {
    let account = Object::new(
        "v1",
        "ServiceAccount",
        text(pod, "/metadata/namespace"),
        text(pod, "/spec/serviceAccountName"),
    );
    let audiences: Vec<&Value> = projection.get("audience").into_iter().collect();
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": projection["expirationSeconds"],
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod["metadata"]["name"],
                "uid": pod["metadata"]["uid"],
            },
        },
    });
    let answer = api.post(&account, "token", &request).await?;
    Ok(text(&answer, "/status/token").to_owned())
}

/// What a ConfigMap or Secret holds: all of it, or the items that are asked for.
async fn of_object(
    api: &Api,
    object: &Object,
    source: &Value,
    mode: u32,
) -> Result<BTreeMap<String, File>> {
    let found = api.get(object).await?;
    let data = found["data"].as_object().cloned().unwrap_or_default();
    let bytes = |key: &str| -> Result<Vec<u8>> {
        let value = data
            .get(key)
            .and_then(Value::as_str)
            .with_context(|| format!("references non-existent key: {key}"))?;
        Ok(if object.kind == "Secret" {
            STANDARD.decode(value)?
        } else {
            value.into()
        })
    };
    let wanted: Vec<(String, String)> = match source["items"].as_array() {
        Some(items) => items
            .iter()
            .map(|i| (text(i, "/key").to_owned(), text(i, "/path").to_owned()))
            .collect(),
        None => data.keys().map(|k| (k.clone(), k.clone())).collect(),
    };
    wanted
        .into_iter()
        .map(|(key, path)| {
            let file = File {
                bytes: bytes(&key)?,
                mode,
                owner: None,
            };
            Ok((path, file))
        })
        .collect()
}

/// The files lie in a folder of their own, `..data` leads to it, and each name leads through `..data`. So all of them
/// change at once, when `..data` does.
fn write_atomically(place: &Path, files: &BTreeMap<String, File>) -> Result<()> {
    let data = place.join("..data");
    let before = fs::read_link(&data).ok();
    let now = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S.%9f");
    let folder = PathBuf::from(now.to_string());
    fs::create_dir_all(place.join(&folder))?;
    for (path, file) in files {
        let target = place.join(&folder).join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.bytes)?;
        fs::set_permissions(&target, Permissions::from_mode(file.mode))?;
        if let Some(owner) = file.owner {
            chown(&target, Some(owner), None)?;
        }
        let first = path.split('/').next().unwrap_or(path);
        if !place.join(first).is_symlink() {
            symlink(Path::new("..data").join(first), place.join(first))?;
        }
    }
    let next = place.join("..data_tmp");
    symlink(&folder, &next)?;
    fs::rename(&next, &data)?;
    if let Some(before) = before {
        fs::remove_dir_all(place.join(before))?;
    }
    Ok(())
}

/// `fsGroup`: everything below belongs to the group, which may do what `bits` say.
fn give_to_group(place: &Path, group: Option<u32>, bits: u32) -> Result<()> {
    let Some(gid) = group else {
        return Ok(());
    };
    let metadata = fs::symlink_metadata(place)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    chown(place, None, Some(gid))?;
    let folder = if metadata.is_dir() { 0o2110 } else { 0 };
    let mode = metadata.permissions().mode() | bits | folder;
    fs::set_permissions(place, Permissions::from_mode(mode & 0o7777))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(place)? {
            give_to_group(&entry?.path(), group, bits)?;
        }
    }
    Ok(())
}

/// The user that all containers run as; none where one of them does not say, or they differ.
fn common_user(pod: &Value) -> Option<u32> {
    let spec = &pod["spec"];
    let pods = spec.pointer("/securityContext/runAsUser").and_then(id);
    let mut users = ["initContainers", "containers"]
        .iter()
        .flat_map(|list| spec[*list].as_array().into_iter().flatten())
        .map(|c| {
            c.pointer("/securityContext/runAsUser")
                .and_then(id)
                .or(pods)
        });
    let first = users.next()??;
    users.all(|u| u == Some(first)).then_some(first)
}

fn mode(source: &Value, default: u32) -> u32 {
    source.get("defaultMode").and_then(id).unwrap_or(default)
}

pub(super) fn id(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
