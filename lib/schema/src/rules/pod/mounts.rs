//! Where containers find volumes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::containers::Around;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

/// Checks `volumeMounts`.
pub(super) fn mounts(errors: &mut Errors, at: &Path<'_>, container: &Container, around: &Around<'_>) {
    let devices = list(&container.volume_devices);
    let mut paths = BTreeSet::new();
    for (index, mount) in list(&container.volume_mounts).iter().enumerate() {
        let item = at.index(index);
        errors.filled(&item.child("name"), &mount.name);
        if !around.volumes.contains_key(mount.name.as_str()) {
            errors.not_found(&item.child("name"), &mount.name);
        }
        errors.filled(&item.child("mountPath"), &mount.mount_path);
        if !paths.insert(mount.mount_path.as_str()) {
            errors.invalid(&item.child("mountPath"), mount.mount_path.as_str(), "must be unique");
        }
        if devices.iter().any(|device| device.name == mount.name) {
            errors.invalid(&item.child("name"), mount.name.as_str(), "must not already exist in volumeDevices");
        }
        if devices.iter().any(|device| device.device_path == mount.mount_path) {
            let why = "must not already exist as a path in volumeDevices";
            errors.invalid(&item.child("mountPath"), mount.mount_path.as_str(), why);
        }
        sub_path(errors, at, &item, mount);
        propagation(errors, &at.child("mountPropagation"), mount, container);
        recursive_read_only(errors, &at.child("recursiveReadOnly"), mount);
    }
}

// Upstream names the list and not the item in what it says of sub paths, propagation and recursion.
fn sub_path(errors: &mut Errors, at: &Path<'_>, item: &Path<'_>, mount: &VolumeMount) {
    let (fixed, expanded) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    if !fixed.is_empty() {
        descending(errors, &at.child("subPath"), fixed);
    }
    if !expanded.is_empty() {
        if !fixed.is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(&item.child("subPathExpr"), expanded, why);
        }
        descending(errors, &at.child("subPathExpr"), expanded);
    }
}

fn propagation(errors: &mut Errors, at: &Path<'_>, mount: &VolumeMount, container: &Container) {
    let Some(mode) = &mount.mount_propagation else { return };
    errors.one_of(at, mode, &["Bidirectional", "HostToContainer", "None"]);
    let privileged = container.security_context.as_ref().and_then(|context| context.privileged).unwrap_or_default();
    if mode == "Bidirectional" && !privileged {
        errors.forbidden(at, "Bidirectional mount propagation is available only to privileged containers");
    }
}

fn recursive_read_only(errors: &mut Errors, at: &Path<'_>, mount: &VolumeMount) {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !mount.read_only.unwrap_or_default() {
                errors.forbidden(at, "may only be specified when readOnly is true");
            }
            if mount.mount_propagation.as_deref().is_some_and(|mode| mode != "None") {
                errors.forbidden(at, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(other) => errors.not_supported(at, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// Checks `volumeDevices`.
pub(super) fn devices(errors: &mut Errors, at: &Path<'_>, container: &Container, around: &Around<'_>) {
    let mounts = list(&container.volume_mounts);
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in list(&container.volume_devices).iter().enumerate() {
        let (name, path) = (device.name.as_str(), device.device_path.as_str());
        let at = at.index(index);
        let (name_at, path_at) = (at.child("name"), at.child("devicePath"));
        errors.filled(&name_at, name);
        if names.contains(name) {
            errors.invalid(&name_at, name, "must be unique");
        }
        match around.volumes.get(name) {
            None => errors.not_found(&name_at, name),
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&name_at, name, why);
            }
            Some(_) => {}
        }
        errors.filled(&path_at, path);
        if paths.contains(path) {
            errors.invalid(&path_at, path, "must be unique");
        }
        if has_backsteps(path) {
            errors.invalid(&path_at, path, "can not contain backsteps ('..')");
        } else {
            paths.insert(path);
        }
        if mounts.iter().any(|mount| mount.name == name) {
            errors.invalid(&name_at, name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| mount.mount_path == path) {
            errors.invalid(&path_at, path, "must not already exist as a path in volumeMounts");
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}

fn has_backsteps(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// A path may not climb.
pub(crate) fn no_backsteps(errors: &mut Errors, at: &Path<'_>, path: &str) {
    if has_backsteps(path) {
        errors.invalid(at, path, "must not contain '..'");
    }
}

/// A path must lead down from where it starts.
pub(super) fn descending(errors: &mut Errors, at: &Path<'_>, path: &str) {
    if path.starts_with('/') {
        errors.invalid(at, path, "must be a relative path");
    }
    no_backsteps(errors, at, path);
}

/// A path must lead down, and its first part may not look like those that volumes keep for themselves.
pub(super) fn not_reserved(errors: &mut Errors, at: &Path<'_>, path: &str) {
    descending(errors, at, path);
    if path.starts_with("..") && !path.starts_with("../") {
        errors.invalid(at, path, "must not start with '..'");
    }
}
