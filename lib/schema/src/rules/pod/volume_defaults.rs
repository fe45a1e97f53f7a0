//! What the volumes of a pod leave out.

use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, DownwardAPIVolumeFile, EmptyDirVolumeSource, PersistentVolumeClaimTemplate, Volume,
    VolumeProjection,
};

use super::defaults::{default_text, field_selector, round_up};
use crate::image;

const DEFAULT_MODE: i32 = 0o644;

/// Fills in a volume.
pub(super) fn volume(volume: &mut Volume) {
    if super::volumes::sources(volume).is_empty() {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(host) = &mut volume.host_path {
        host.type_.get_or_insert_default();
    }
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(DEFAULT_MODE);
    }
    if let Some(map) = &mut volume.config_map {
        map.default_mode.get_or_insert(DEFAULT_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        downward.default_mode.get_or_insert(DEFAULT_MODE);
        downward.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(projected) = &mut volume.projected {
        projected.default_mode.get_or_insert(DEFAULT_MODE);
        projected.sources.iter_mut().flatten().for_each(projection);
    }
    volume.ephemeral.iter_mut().filter_map(|one| one.volume_claim_template.as_mut()).for_each(claim);
    image_volume(volume);
    network_volumes(volume);
}

fn downward_file(file: &mut DownwardAPIVolumeFile) {
    file.field_ref.iter_mut().for_each(field_selector);
}

fn projection(source: &mut VolumeProjection) {
    if let Some(downward) = &mut source.downward_api {
        downward.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(token) = &mut source.service_account_token {
        token.expiration_seconds.get_or_insert(3600);
    }
    if let Some(certificate) = &mut source.pod_certificate {
        certificate.max_expiration_seconds.get_or_insert(86400);
    }
}

fn claim(template: &mut PersistentVolumeClaimTemplate) {
    default_text(&mut template.spec.volume_mode, "Filesystem");
    if let Some(resources) = &mut template.spec.resources {
        resources.limits.iter_mut().chain(&mut resources.requests).for_each(round_up);
    }
}

fn image_volume(volume: &mut Volume) {
    let Some(source) = &mut volume.image else { return };
    let latest = image::parse(source.reference.as_deref().unwrap_or_default())
        .is_some_and(|image| image.tag.as_deref() == Some("latest"));
    default_text(&mut source.pull_policy, if latest { "Always" } else { "IfNotPresent" });
}

fn network_volumes(volume: &mut Volume) {
    if let Some(iscsi) = &mut volume.iscsi {
        self::iscsi(&mut iscsi.iscsi_interface);
    }
    if let Some(rbd) = &mut volume.rbd {
        self::rbd(&mut rbd.pool, &mut rbd.user, &mut rbd.keyring);
    }
    if let Some(scale_io) = &mut volume.scale_io {
        self::scale_io(&mut scale_io.storage_mode, &mut scale_io.fs_type);
    }
    volume.azure_disk.iter_mut().for_each(azure_disk);
}

/// Fills in how an iSCSI disk is reached.
pub(crate) fn iscsi(interface: &mut Option<String>) {
    default_text(interface, "default");
}

/// Fills in where a Ceph block device is looked for, and as whom.
pub(crate) fn rbd(pool: &mut Option<String>, user: &mut Option<String>, keyring: &mut Option<String>) {
    default_text(pool, "rbd");
    default_text(user, "admin");
    default_text(keyring, "/etc/ceph/keyring");
}

/// Fills in how a ScaleIO volume is stored and formatted.
pub(crate) fn scale_io(storage_mode: &mut Option<String>, fs_type: &mut Option<String>) {
    default_text(storage_mode, "ThinProvisioned");
    default_text(fs_type, "xfs");
}

/// Fills in how an Azure disk is cached, formatted and kept.
pub(crate) fn azure_disk(disk: &mut AzureDiskVolumeSource) {
    disk.caching_mode.get_or_insert_with(|| "ReadWrite".to_owned());
    disk.fs_type.get_or_insert_with(|| "ext4".to_owned());
    disk.read_only.get_or_insert(false);
    disk.kind.get_or_insert_with(|| "Shared".to_owned());
}
