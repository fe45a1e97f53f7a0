//! Volumes that a storage system of some sort gives a pod directly.

use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, FCVolumeSource, FlockerVolumeSource, ISCSIVolumeSource, NFSVolumeSource,
    QuobyteVolumeSource, StorageOSVolumeSource, Volume,
};
use serde_json::json;

use super::mounts;
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

const STARTS: &str = "must be valid format starting with iqn, eui, or naa";

/// What is said of a volume's name with the portal of its target when they are too long together.
pub(crate) const LONG_PORTAL: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
    iscsi.initiatorName is specified.";

/// Checks the source that a volume has, when it is one of these.
pub(crate) fn source(errors: &mut Errors, at: &Path<'_>, volume: &Volume, first: &str) {
    let here = at.child(first);
    match first {
        "nfs" => volume.nfs.iter().for_each(|one| nfs(errors, &here, one)),
        "iscsi" => volume.iscsi.iter().for_each(|one| iscsi(errors, at, one, &volume.name)),
        "quobyte" => volume.quobyte.iter().for_each(|one| quobyte(errors, &here, one)),
        "flocker" => volume.flocker.iter().for_each(|one| flocker(errors, &here, one)),
        "fc" => volume.fc.iter().for_each(|one| fibre_channel(errors, &here, one)),
        "azureDisk" => volume.azure_disk.iter().for_each(|one| azure_disk(errors, &here, one)),
        "storageos" => volume.storageos.iter().for_each(|one| storage_os(errors, &here, one)),
        _ => simple(errors, at, volume, first),
    }
}

/// Sources of which only some fields must be there.
fn simple(errors: &mut Errors, at: &Path<'_>, volume: &Volume, first: &str) {
    let (place, needed): (&str, Vec<(&str, &str)>) = match first {
        "gcePersistentDisk" => {
            ("persistentDisk", fields(&volume.gce_persistent_disk, |one| vec![("pdName", &one.pd_name)]))
        }
        "awsElasticBlockStore" => {
            (first, fields(&volume.aws_elastic_block_store, |one| vec![("volumeID", &one.volume_id)]))
        }
        "glusterfs" => {
            (first, fields(&volume.glusterfs, |one| vec![("endpoints", &one.endpoints), ("path", &one.path)]))
        }
        "cinder" => (first, fields(&volume.cinder, |one| vec![("volumeID", &one.volume_id)])),
        "azureFile" => (
            first,
            fields(&volume.azure_file, |one| vec![("secretName", &one.secret_name), ("shareName", &one.share_name)]),
        ),
        "vsphereVolume" => (first, fields(&volume.vsphere_volume, |one| vec![("volumePath", &one.volume_path)])),
        "photonPersistentDisk" => (first, fields(&volume.photon_persistent_disk, |one| vec![("pdID", &one.pd_id)])),
        "portworxVolume" => (first, fields(&volume.portworx_volume, |one| vec![("volumeID", &one.volume_id)])),
        "scaleIO" => (
            first,
            fields(&volume.scale_io, |one| {
                vec![("gateway", &one.gateway), ("system", &one.system), ("volumeName", text(&one.volume_name))]
            }),
        ),
        "gitRepo" => (first, fields(&volume.git_repo, |one| vec![("repository", &one.repository)])),
        "flexVolume" => (first, fields(&volume.flex_volume, |one| vec![("driver", &one.driver)])),
        "cephFS" => ("cephfs", fields(&volume.cephfs, |one| vec![("monitors", first_of(&one.monitors))])),
        "rbd" => (first, fields(&volume.rbd, |one| vec![("monitors", first_of(&one.monitors)), ("image", &one.image)])),
        _ => return,
    };
    let at = at.child(place);
    for (field, value) in needed {
        errors.filled(&at.child(field), value);
    }
    rest(errors, &at, volume, first);
}

/// What must be filled in of a source.
fn fields<'a, T>(
    source: &'a Option<T>,
    needed: fn(&'a T) -> Vec<(&'static str, &'a str)>,
) -> Vec<(&'static str, &'a str)> {
    source.as_ref().map(needed).unwrap_or_default()
}

/// Something of a list that must not be empty, whatever its items are.
fn first_of(items: &[String]) -> &'static str {
    if items.is_empty() { "" } else { "some" }
}

/// What else is to be said of simple sources.
fn rest(errors: &mut Errors, at: &Path<'_>, volume: &Volume, first: &str) {
    let partition = match first {
        "gcePersistentDisk" => volume.gce_persistent_disk.as_ref().and_then(|one| one.partition),
        "awsElasticBlockStore" => volume.aws_elastic_block_store.as_ref().and_then(|one| one.partition),
        _ => None,
    };
    if let Some(partition) = partition.filter(|partition| !(0..=255).contains(partition)) {
        errors.invalid(&at.child("partition"), partition, "must be between 1 and 255, inclusive");
    }
    if let Some(secret) = volume.cinder.as_ref().filter(|_| first == "cinder").and_then(|one| one.secret_ref.as_ref()) {
        let at = at.child("secretRef");
        errors.filled(&at.child("name"), &secret.name);
    }
    if let Some(repository) = volume.git_repo.as_ref().filter(|_| first == "gitRepo") {
        mounts::descending(errors, &at.child("directory"), text(&repository.directory));
    }
    if let Some(options) = volume.flex_volume.as_ref().and_then(|one| one.options.as_ref()) {
        let at = at.child("options");
        for key in options.keys() {
            let domain = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
            if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
                errors.invalid(&at.key(key), key.as_str(), "kubernetes.io and k8s.io namespaces are reserved");
            }
        }
    }
}

fn nfs(errors: &mut Errors, at: &Path<'_>, nfs: &NFSVolumeSource) {
    errors.filled(&at.child("server"), &nfs.server);
    errors.filled(&at.child("path"), &nfs.path);
    if !nfs.path.starts_with('/') {
        errors.invalid(&at.child("path"), nfs.path.as_str(), "must be an absolute path");
    }
}

fn iscsi(errors: &mut Errors, volume_at: &Path<'_>, iscsi: &ISCSIVolumeSource, volume: &str) {
    let at = volume_at.child("iscsi");
    errors.filled(&at.child("targetPortal"), &iscsi.target_portal);
    if errors.filled(&at.child("iqn"), &iscsi.iqn) {
        initiator(errors, &at.child("iqn"), &iscsi.iqn, STARTS);
    }
    lun(errors, &at.child("lun"), iscsi.lun);
    let authenticates = iscsi.chap_auth_discovery == Some(true) || iscsi.chap_auth_session == Some(true);
    if authenticates && iscsi.secret_ref.is_none() {
        errors.required(&at.child("secretRef"), "");
    }
    if let Some(name) = &iscsi.initiator_name {
        initiator(errors, &at.child("initiatorname"), name, STARTS);
        if volume.len() + 1 + iscsi.target_portal.len() > 64 {
            errors.invalid(&volume_at.child("name"), volume, LONG_PORTAL);
        }
    }
}

/// Checks the number of a disk at its target.
pub(crate) fn lun(errors: &mut Errors, at: &Path<'_>, lun: i32) {
    if !(0..=255).contains(&lun) {
        errors.invalid(at, lun, "must be between 0 and 255, inclusive");
    }
}

/// Checks the name of a target or initiator; `starts` is said of one that starts as none does.
pub(crate) fn initiator(errors: &mut Errors, at: &Path<'_>, name: &str, starts: &str) {
    let alphanumeric =
        |text: &str, length: usize| text.len() == length && text.chars().all(|c| c.is_ascii_alphanumeric());
    // The dot of the published patterns for eui and naa stands for any character.
    let well_formed = match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => name.get(4..).is_some_and(|rest| alphanumeric(rest, 16)),
        Some("naa") => name.get(4..).is_some_and(|rest| alphanumeric(rest, 32)),
        _ => {
            errors.invalid(at, name, starts);
            return;
        }
    };
    if !well_formed {
        errors.invalid(at, name, "must be valid format");
    }
}

/// `iqn.2001-04.com.example:storage`
fn is_iqn(name: &str) -> bool {
    let Some((authority, own)) = name.split_once(':') else { return false };
    let Some((date, domain)) = authority.strip_prefix("iqn.").and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    let dated =
        date.len() == 7 && date.char_indices().all(|(at, c)| if at == 4 { c == '-' } else { c.is_ascii_digit() });
    let bad = [',', ';', '*', '&', '$', '|'];
    dated
        && !domain.is_empty()
        && domain.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
        && !own.is_empty()
        && !own.contains(bad)
        && !own.contains(char::is_whitespace)
}

fn quobyte(errors: &mut Errors, at: &Path<'_>, quobyte: &QuobyteVolumeSource) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    if quobyte.registry.is_empty() {
        errors.required(&at.child("registry"), PAIRS);
    } else if text(&quobyte.tenant).len() >= 65 {
        errors.required(&at.child("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else {
        for pair in quobyte.registry.split(',') {
            let whole = pair.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
            if !whole {
                errors.invalid(&at.child("registry"), quobyte.registry.as_str(), PAIRS);
            }
        }
    }
    errors.filled(&at.child("volume"), &quobyte.volume);
}

fn flocker(errors: &mut Errors, at: &Path<'_>, flocker: &FlockerVolumeSource) {
    let (name, uuid) = (text(&flocker.dataset_name), text(&flocker.dataset_uuid));
    if name.is_empty() && uuid.is_empty() {
        errors.required(at, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        errors.invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously");
    }
    if name.contains('/') {
        errors.invalid(&at.child("datasetName"), name, "must not contain '/'");
    }
}

fn fibre_channel(errors: &mut Errors, at: &Path<'_>, fc: &FCVolumeSource) {
    let (targets, ids) = (list(&fc.target_wwns), list(&fc.wwids));
    let targets_at = at.child("targetWWNs");
    if targets.is_empty() && ids.is_empty() {
        errors.required(&targets_at, "must specify either targetWWNs or wwids, but not both");
    }
    if !targets.is_empty() && !ids.is_empty() {
        let why = "targetWWNs and wwids can not be specified simultaneously";
        errors.invalid(&targets_at, json!(targets), why);
    }
    match fc.lun {
        _ if targets.is_empty() => {}
        None => errors.required(&at.child("lun"), "lun is required if targetWWNs is specified"),
        Some(number) => lun(errors, &at.child("lun"), number),
    }
}

fn azure_disk(errors: &mut Errors, at: &Path<'_>, disk: &AzureDiskVolumeSource) {
    errors.filled(&at.child("diskName"), &disk.disk_name);
    errors.filled(&at.child("diskURI"), &disk.disk_uri);
    if let Some(mode) = &disk.caching_mode {
        errors.one_of(&at.child("cachingMode"), mode, &["None", "ReadOnly", "ReadWrite"]);
    }
    let Some(kind) = &disk.kind else { return };
    errors.one_of(&at.child("kind"), kind, &["Dedicated", "Managed", "Shared"]);
    let (start, form) = if kind == "Managed" {
        (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        )
    } else {
        ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd")
    };
    if !disk.disk_uri.starts_with(start) {
        errors.not_supported(&at.child("diskURI"), disk.disk_uri.as_str(), &[form]);
    }
}

fn storage_os(errors: &mut Errors, at: &Path<'_>, volume: &StorageOSVolumeSource) {
    let (name, namespace) = (text(&volume.volume_name), text(&volume.volume_namespace));
    if errors.filled(&at.child("volumeName"), name) {
        errors.all(&at.child("volumeName"), name, names::dns1123_label(name));
    }
    if !namespace.is_empty() {
        errors.all(&at.child("volumeNamespace"), namespace, names::dns1123_label(namespace));
    }
    if let Some(secret) = &volume.secret_ref {
        let at = at.child("secretRef");
        errors.filled(&at.child("name"), &secret.name);
    }
}
