//! Which volumes a pod may have.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, DownwardAPIVolumeFile, EphemeralVolumeSource, HostPathVolumeSource, KeyToPath, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Options, containers, env, mounts, projected, storage_volumes};
use crate::names;
use crate::quantity::Quantity;
use crate::rules::check::{Errors, Path};
use crate::rules::claim;
use crate::rules::fields::{list, text};

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// The names of the sources that a volume has set, in the order in which they are looked at; one is right.
pub(super) fn sources(volume: &Volume) -> Vec<&'static str> {
    let all = [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.is_some()),
        ("secret", volume.secret.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("persistentVolumeClaim", volume.persistent_volume_claim.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephFS", volume.cephfs.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("downwarAPI", volume.downward_api.is_some()),
        ("fc", volume.fc.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some()),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("storageos", volume.storageos.is_some()),
        ("projected", volume.projected.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("csi", volume.csi.is_some()),
        ("ephemeral", volume.ephemeral.is_some()),
        ("image", volume.image.is_some()),
    ];
    all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
}

/// Checks `volumes`; returns those that nothing is wrong with, by name.
pub(super) fn volumes<'a>(
    errors: &mut Errors,
    at: &Path<'_>,
    volumes: &'a [Volume],
    pod: Option<&ObjectMeta>,
    options: Options,
) -> BTreeMap<&'a str, &'a Volume> {
    let mut good = BTreeMap::new();
    let claims = ephemeral_claims(volumes, pod);
    for (index, volume) in volumes.iter().enumerate() {
        let at = at.index(index);
        let before = errors.count();
        source(errors, &at, volume, pod, options);
        let name_at = at.child("name");
        if errors.filled(&name_at, &volume.name) {
            errors.all(&name_at, &volume.name, names::dns1123_label(&volume.name));
        }
        if good.contains_key(volume.name.as_str()) {
            errors.duplicate(&name_at, &volume.name);
        }
        if errors.count() == before {
            good.insert(volume.name.as_str(), volume);
        }
        let claim = volume.persistent_volume_claim.as_ref();
        if let Some(claim) = claim.filter(|claim| claims.contains(&claim.claim_name)) {
            let at = at.child("persistentVolumeClaim");
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&at.child("claimName"), claim.claim_name.as_str(), why);
        }
    }
    good
}

fn pod_name(pod: Option<&ObjectMeta>) -> Option<&str> {
    pod.and_then(|meta| meta.name.as_deref()).filter(|name| !name.is_empty())
}

fn ephemeral_claims(volumes: &[Volume], pod: Option<&ObjectMeta>) -> BTreeSet<String> {
    let Some(pod) = pod_name(pod) else { return BTreeSet::new() };
    volumes.iter().filter(|one| one.ephemeral.is_some()).map(|one| format!("{pod}-{}", one.name)).collect()
}

fn source(errors: &mut Errors, at: &Path<'_>, volume: &Volume, pod: Option<&ObjectMeta>, options: Options) {
    let set = sources(volume);
    let Some((first, others)) = set.split_first() else {
        errors.required(at, "must specify a volume type");
        return;
    };
    if let Some(limit) = volume.empty_dir.as_ref().and_then(|dir| dir.size_limit.as_ref())
        && Quantity::from(limit).sign() < 0
    {
        let at = at.child("emptyDir");
        errors.forbidden(&at.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
    common_source(errors, at, volume, first, options);
    storage_volumes::source(errors, at, volume, first);
    for other in others {
        errors.forbidden(&at.child(other), "may not specify more than 1 volume type");
    }
    if *first == "ephemeral"
        && let Some(pod) = pod_name(pod).filter(|_| !volume.name.is_empty())
    {
        let claim = format!("{pod}-{}", volume.name);
        for why in names::dns1123_subdomain(&claim) {
            let why = format!("PVC name {claim:?}: {why}");
            errors.invalid(&at.child("name"), volume.name.as_str(), &why);
        }
    }
}

fn common_source(errors: &mut Errors, at: &Path<'_>, volume: &Volume, first: &str, options: Options) {
    match first {
        "hostPath" => volume.host_path.iter().for_each(|host| host_path(errors, &at.child("hostPath"), host)),
        "secret" => {
            let at = at.child("secret");
            if let Some(secret) = &volume.secret {
                errors.filled(&at.child("secretName"), text(&secret.secret_name));
                mode(errors, &at.child("defaultMode"), secret.default_mode);
                key_paths(errors, &at.child("items"), list(&secret.items));
            }
        }
        "configMap" => {
            let at = at.child("configMap");
            if let Some(map) = &volume.config_map {
                errors.filled(&at.child("name"), &map.name);
                mode(errors, &at.child("defaultMode"), map.default_mode);
                key_paths(errors, &at.child("items"), list(&map.items));
            }
        }
        "persistentVolumeClaim" => {
            let at = at.child("persistentVolumeClaim");
            if let Some(claim) = &volume.persistent_volume_claim {
                errors.filled(&at.child("claimName"), &claim.claim_name);
            }
        }
        "downwarAPI" => {
            let at = at.child("downwardAPI");
            if let Some(downward) = &volume.downward_api {
                mode(errors, &at.child("defaultMode"), downward.default_mode);
                // Upstream names the volume and not the item.
                list(&downward.items).iter().for_each(|file| downward_file(errors, &at, file));
            }
        }
        "projected" => {
            volume.projected.iter().for_each(|one| projected::volume(errors, &at.child("projected"), one));
        }
        "csi" => volume.csi.iter().for_each(|csi| self::csi(errors, &at.child("csi"), csi)),
        "ephemeral" => volume.ephemeral.iter().for_each(|one| ephemeral(errors, &at.child("ephemeral"), one)),
        "image" => {
            let at = at.child("image");
            if let Some(image) = &volume.image {
                if options.is_pod {
                    errors.filled(&at.child("reference"), text(&image.reference));
                }
                containers::pull_policy(errors, &at.child("pullPolicy"), text(&image.pull_policy));
            }
        }
        _ => {}
    }
}

/// Checks a folder or file of the node.
pub(crate) fn host_path(errors: &mut Errors, at: &Path<'_>, host: &HostPathVolumeSource) {
    if !errors.filled(&at.child("path"), &host.path) {
        return;
    }
    mounts::no_backsteps(errors, &at.child("path"), &host.path);
    if let Some(type_) = &host.type_ {
        errors.one_of(&at.child("type"), type_, HOST_PATH_TYPES);
    }
}

/// Checks the mode bits of files.
pub(super) fn mode(errors: &mut Errors, at: &Path<'_>, mode: Option<i32>) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(at, mode, MODE);
    }
}

/// Checks which keys become which files.
pub(super) fn key_paths(errors: &mut Errors, at: &Path<'_>, items: &[KeyToPath]) {
    for (index, item) in items.iter().enumerate() {
        key_path(errors, &at.index(index), item);
    }
}

/// Checks which file a key becomes.
pub(super) fn key_path(errors: &mut Errors, at: &Path<'_>, item: &KeyToPath) {
    errors.filled(&at.child("key"), &item.key);
    errors.filled(&at.child("path"), &item.path);
    mounts::not_reserved(errors, &at.child("path"), &item.path);
    mode(errors, &at.child("mode"), item.mode);
}

/// Checks a file that shows something of the pod.
pub(super) fn downward_file(errors: &mut Errors, at: &Path<'_>, file: &DownwardAPIVolumeFile) {
    errors.filled(&at.child("path"), &file.path);
    mounts::not_reserved(errors, &at.child("path"), &file.path);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), resource) => {
            env::field_reference(errors, &at.child("fieldRef"), field, env::FILE_FIELDS);
            if resource.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(at, "resource", why);
            }
        }
        (None, Some(resource)) => env::resource_reference(errors, &at.child("resourceFieldRef"), resource, true),
        (None, None) => errors.required(at, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(errors, &at.child("mode"), file.mode);
}

/// Checks the name of a storage driver.
pub(crate) fn csi_driver(errors: &mut Errors, at: &Path<'_>, driver: &str) {
    if errors.filled(at, driver) {
        if driver.len() > 63 {
            errors.too_long(at, 63);
        }
        errors.all(at, driver, names::dns1123_subdomain(&driver.to_lowercase()));
    }
}

fn csi(errors: &mut Errors, at: &Path<'_>, csi: &CSIVolumeSource) {
    csi_driver(errors, &at.child("driver"), &csi.driver);
    if let Some(secret) = &csi.node_publish_secret_ref {
        let secret_at = at.child("nodePublishSecretRef");
        if errors.filled(&secret_at.child("name"), &secret.name) {
            errors.all(&at.child("name"), &secret.name, names::dns1123_subdomain(&secret.name));
        }
    }
}

fn ephemeral(errors: &mut Errors, at: &Path<'_>, ephemeral: &EphemeralVolumeSource) {
    let at = at.child("volumeClaimTemplate");
    let Some(template) = &ephemeral.volume_claim_template else {
        errors.required(&at, "");
        return;
    };
    claim::template_metadata(errors, &at.child("metadata"), template.metadata.as_ref());
    claim::spec(errors, &at.child("spec"), &template.spec);
}
