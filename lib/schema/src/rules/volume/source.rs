//! Where a persistent volume's storage is.

use k8s_openapi::api::core::v1::{
    AzureFileVolumeSource, CSIPersistentVolumeSource, CephFSVolumeSource, CinderVolumeSource, FlexVolumeSource,
    GlusterfsVolumeSource, ISCSIPersistentVolumeSource, LocalObjectReference, PersistentVolumeSpec, RBDVolumeSource,
    ScaleIOVolumeSource, SecretReference, StorageOSVolumeSource, Volume,
};

use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::text;
use crate::rules::pod::{mounts, storage_volumes, volume_defaults, volumes};

/// What the storage of a pod's volume and of this one have in common, as the volume of a pod.
///
/// Source: the two families of types differ in how they name secrets alone.
fn as_pods(name: &str, spec: &PersistentVolumeSpec) -> Volume {
    let secret = |name: &Option<String>| LocalObjectReference { name: text(name).to_owned() };
    Volume {
        name: name.to_owned(),
        aws_elastic_block_store: spec.aws_elastic_block_store.clone(),
        azure_disk: spec.azure_disk.clone(),
        azure_file: spec.azure_file.as_ref().map(|one| AzureFileVolumeSource {
            secret_name: one.secret_name.clone(),
            share_name: one.share_name.clone(),
            read_only: one.read_only,
        }),
        cephfs: spec
            .cephfs
            .as_ref()
            .map(|one| CephFSVolumeSource { monitors: one.monitors.clone(), ..CephFSVolumeSource::default() }),
        cinder: spec.cinder.as_ref().map(|one| CinderVolumeSource {
            volume_id: one.volume_id.clone(),
            secret_ref: one.secret_ref.as_ref().map(|one| secret(&one.name)),
            ..CinderVolumeSource::default()
        }),
        fc: spec.fc.clone(),
        flex_volume: spec.flex_volume.as_ref().map(|one| FlexVolumeSource {
            driver: one.driver.clone(),
            options: one.options.clone(),
            ..FlexVolumeSource::default()
        }),
        flocker: spec.flocker.clone(),
        gce_persistent_disk: spec.gce_persistent_disk.clone(),
        glusterfs: spec.glusterfs.as_ref().map(|one| GlusterfsVolumeSource {
            endpoints: one.endpoints.clone(),
            path: one.path.clone(),
            ..GlusterfsVolumeSource::default()
        }),
        nfs: spec.nfs.clone(),
        photon_persistent_disk: spec.photon_persistent_disk.clone(),
        portworx_volume: spec.portworx_volume.clone(),
        quobyte: spec.quobyte.clone(),
        rbd: spec.rbd.as_ref().map(|one| RBDVolumeSource {
            image: one.image.clone(),
            monitors: one.monitors.clone(),
            ..RBDVolumeSource::default()
        }),
        scale_io: spec.scale_io.as_ref().map(|one| ScaleIOVolumeSource {
            gateway: one.gateway.clone(),
            system: one.system.clone(),
            volume_name: one.volume_name.clone(),
            ..ScaleIOVolumeSource::default()
        }),
        storageos: spec.storageos.as_ref().map(|one| StorageOSVolumeSource {
            volume_name: one.volume_name.clone(),
            volume_namespace: one.volume_namespace.clone(),
            secret_ref: one.secret_ref.as_ref().map(|one| secret(&one.name)),
            ..StorageOSVolumeSource::default()
        }),
        vsphere_volume: spec.vsphere_volume.clone(),
        ..Volume::default()
    }
}

/// The names of the sources that a volume has set, in the order in which they are looked at; one is right.
fn set(spec: &PersistentVolumeSpec) -> Vec<&'static str> {
    let all = [
        ("hostPath", spec.host_path.is_some()),
        ("gcePersistentDisk", spec.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", spec.aws_elastic_block_store.is_some()),
        ("glusterfs", spec.glusterfs.is_some()),
        ("flocker", spec.flocker.is_some()),
        ("nfs", spec.nfs.is_some()),
        ("rbd", spec.rbd.is_some()),
        ("quobyte", spec.quobyte.is_some()),
        ("cephFS", spec.cephfs.is_some()),
        ("iscsi", spec.iscsi.is_some()),
        ("cinder", spec.cinder.is_some()),
        ("fc", spec.fc.is_some()),
        ("flexVolume", spec.flex_volume.is_some()),
        ("azureFile", spec.azure_file.is_some()),
        ("vsphereVolume", spec.vsphere_volume.is_some()),
        ("photonPersistentDisk", spec.photon_persistent_disk.is_some()),
        ("portworxVolume", spec.portworx_volume.is_some()),
        ("azureDisk", spec.azure_disk.is_some()),
        ("scaleIO", spec.scale_io.is_some()),
        ("local", spec.local.is_some()),
        ("storageos", spec.storageos.is_some()),
        ("csi", spec.csi.is_some()),
    ];
    all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
}

/// Checks that a volume is in one place, and that place.
pub(super) fn check(errors: &mut Errors, at: &Path<'_>, name: &str, spec: &PersistentVolumeSpec) {
    let set = set(spec);
    let common = as_pods(name, spec);
    for (index, source) in set.iter().enumerate() {
        // Upstream looks at flexible volumes even where another source is set.
        if index > 0 && *source != "flexVolume" {
            errors.forbidden(&at.child(source), "may not specify more than 1 volume type");
            continue;
        }
        storage_volumes::source(errors, at, &common, source);
        own(errors, at, name, spec, source);
    }
    if set.is_empty() {
        errors.required(at, "must specify a volume type");
    }
}

/// What is asked of persistent volumes alone.
fn own(errors: &mut Errors, at: &Path<'_>, name: &str, spec: &PersistentVolumeSpec, source: &str) {
    let here = at.child(source);
    match source {
        "hostPath" => spec.host_path.iter().for_each(|one| volumes::host_path(errors, &here, one)),
        "glusterfs" => {
            let namespace = spec.glusterfs.as_ref().and_then(|one| one.endpoints_namespace.as_deref());
            endpoints_namespace(errors, &here.child("endpointsNamespace"), namespace);
        }
        "iscsi" => spec.iscsi.iter().for_each(|one| iscsi(errors, &here, one, name)),
        "cinder" => {
            let secret = spec.cinder.as_ref().and_then(|one| one.secret_ref.as_ref());
            secret_namespace(errors, &here, secret.map(|one| text(&one.namespace)));
        }
        "storageos" => {
            let secret = spec.storageos.as_ref().and_then(|one| one.secret_ref.as_ref());
            secret_namespace(errors, &here, secret.map(|one| text(&one.namespace)));
        }
        "azureFile" => {
            let namespace = spec.azure_file.as_ref().and_then(|one| one.secret_namespace.as_deref());
            namespace.iter().for_each(|namespace| {
                errors.filled(&here.child("secretNamespace"), namespace);
            });
        }
        "local" => {
            if let Some(local) = spec.local.as_ref().filter(|one| errors.filled(&here.child("path"), &one.path)) {
                mounts::no_backsteps(errors, &here.child("path"), &local.path);
            }
            if spec.node_affinity.is_none() {
                errors.required(&at.child("nodeAffinity"), "Local volume requires node affinity");
            }
        }
        "csi" => spec.csi.iter().for_each(|one| csi(errors, &here, one)),
        _ => {}
    }
}

fn secret_namespace(errors: &mut Errors, at: &Path<'_>, namespace: Option<&str>) {
    if let Some(namespace) = namespace {
        let at = at.child("secretRef");
        errors.filled(&at.child("namespace"), namespace);
    }
}

fn endpoints_namespace(errors: &mut Errors, at: &Path<'_>, namespace: Option<&str>) {
    match namespace {
        Some("") => errors.invalid(at, "", "if the endpointnamespace is set, it must be a valid namespace name"),
        Some(namespace) => errors.all(at, namespace, names::dns1123_label(namespace)),
        None => {}
    }
}

fn iscsi(errors: &mut Errors, at: &Path<'_>, iscsi: &ISCSIPersistentVolumeSource, volume: &str) {
    const FORM: &str = "must be valid format";
    errors.filled(&at.child("targetPortal"), &iscsi.target_portal);
    if iscsi.initiator_name.is_some() && volume.len() + 1 + iscsi.target_portal.len() > 64 {
        errors.invalid(&at.child("targetportal"), iscsi.target_portal.as_str(), storage_volumes::LONG_PORTAL);
    }
    if errors.filled(&at.child("iqn"), &iscsi.iqn) {
        storage_volumes::initiator(errors, &at.child("iqn"), &iscsi.iqn, FORM);
    }
    storage_volumes::lun(errors, &at.child("lun"), iscsi.lun);
    let authenticates = iscsi.chap_auth_discovery == Some(true) || iscsi.chap_auth_session == Some(true);
    let secret_at = at.child("secretRef");
    match &iscsi.secret_ref {
        None if authenticates => errors.required(&secret_at, ""),
        None => {}
        Some(secret) => {
            errors.filled(&secret_at.child("name"), text(&secret.name));
        }
    }
    if let Some(name) = &iscsi.initiator_name {
        storage_volumes::initiator(errors, &at.child("initiatorname"), name, FORM);
    }
}

fn csi(errors: &mut Errors, at: &Path<'_>, csi: &CSIPersistentVolumeSource) {
    volumes::csi_driver(errors, &at.child("driver"), &csi.driver);
    errors.filled(&at.child("volumeHandle"), &csi.volume_handle);
    for (field, reference) in [
        ("controllerPublishSecretRef", &csi.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &csi.controller_expand_secret_ref),
        ("nodePublishSecretRef", &csi.node_publish_secret_ref),
        ("nodeExpandSecretRef", &csi.node_expand_secret_ref),
    ] {
        reference.iter().for_each(|one| secret(errors, &at.child(field), one));
    }
}

fn secret(errors: &mut Errors, at: &Path<'_>, secret: &SecretReference) {
    let (name, namespace) = (text(&secret.name), text(&secret.namespace));
    if errors.filled(&at.child("name"), name) {
        errors.all(&at.child("name"), name, names::dns1123_subdomain(name));
    }
    if errors.filled(&at.child("namespace"), namespace) {
        errors.all(&at.child("namespace"), namespace, names::dns1123_label(namespace));
    }
}

/// Fills in what the storage leaves out.
pub(super) fn fill_defaults(spec: &mut PersistentVolumeSpec) {
    if let Some(host) = &mut spec.host_path {
        host.type_.get_or_insert_default();
    }
    if let Some(rbd) = &mut spec.rbd {
        volume_defaults::rbd(&mut rbd.pool, &mut rbd.user, &mut rbd.keyring);
    }
    if let Some(iscsi) = &mut spec.iscsi {
        volume_defaults::iscsi(&mut iscsi.iscsi_interface);
    }
    if let Some(scale_io) = &mut spec.scale_io {
        volume_defaults::scale_io(&mut scale_io.storage_mode, &mut scale_io.fs_type);
    }
    spec.azure_disk.iter_mut().for_each(volume_defaults::azure_disk);
}

/// Whether the storage takes options for mounting.
pub(super) fn takes_mount_options(spec: &PersistentVolumeSpec) -> bool {
    const TAKE: &[&str] = &[
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephFS",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    set(spec).iter().any(|source| TAKE.contains(source))
}

/// The storage of a volume without the rest of its spec: what may not change after creation.
///
/// A secret for growing may still be added to what `old` has, and is left out then.
pub(super) fn alone(spec: &PersistentVolumeSpec, old: Option<&PersistentVolumeSpec>) -> PersistentVolumeSpec {
    let mut sources = PersistentVolumeSpec {
        access_modes: None,
        capacity: None,
        claim_ref: None,
        mount_options: None,
        node_affinity: None,
        persistent_volume_reclaim_policy: None,
        storage_class_name: None,
        volume_attributes_class_name: None,
        volume_mode: None,
        ..spec.clone()
    };
    let had = old.and_then(|old| old.csi.as_ref());
    if let Some(csi) = &mut sources.csi
        && had.is_some_and(|had| had.controller_expand_secret_ref.is_none())
    {
        csi.controller_expand_secret_ref = None;
    }
    sources
}

/// Storage that is on its way out, with whether the volume has it and what is said of it.
pub(super) fn outdated(spec: &PersistentVolumeSpec) -> [(&'static str, bool, &'static str); 6] {
    [
        ("cephfs", spec.cephfs.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
        (
            "photonPersistentDisk",
            spec.photon_persistent_disk.is_some(),
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        ("scaleIO", spec.scale_io.is_some(), "deprecated in v1.16, non-functional in v1.22+"),
        ("storageOS", spec.storageos.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", spec.glusterfs.is_some(), "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", spec.rbd.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{HostPathVolumeSource, NFSVolumeSource};

    #[test]
    fn one_place_is_right() {
        let host = HostPathVolumeSource { path: "/a".to_owned(), type_: None };
        let spec = PersistentVolumeSpec {
            host_path: Some(host),
            nfs: Some(NFSVolumeSource::default()),
            ..PersistentVolumeSpec::default()
        };
        let mut errors = Errors::default();
        check(&mut errors, &Path::root("spec"), "v", &spec);
        let said: Vec<String> = errors.into_vec().iter().map(ToString::to_string).collect();
        assert_eq!(said, ["spec.nfs: Forbidden: may not specify more than 1 volume type"]);
    }
}
