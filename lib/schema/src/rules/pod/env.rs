//! Environment variables of containers.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, FileKeySelector, ObjectFieldSelector, PodSpec, ResourceFieldSelector,
};

use super::{containers, mounts};
use crate::names;
use crate::quantity::Quantity;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields of a pod that its files may show.
pub(super) const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Fields that a reference can name at all; where it stands allows fewer.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "spec.host",
];

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const UNITS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Checks `env`.
pub(super) fn variables(errors: &mut Errors, at: &Path<'_>, container: &Container) {
    for (index, variable) in list(&container.env).iter().enumerate() {
        let at = at.index(index);
        if errors.filled(&at.child("name"), &variable.name) {
            errors.all(&at.child("name"), &variable.name, names::env_var(&variable.name));
        }
        value_from(errors, &at.child("valueFrom"), variable);
    }
}

fn value_from(errors: &mut Errors, at: &Path<'_>, variable: &EnvVar) {
    let Some(source) = &variable.value_from else { return };
    let mut sources = 0;
    if let Some(field) = &source.field_ref {
        sources += 1;
        field_reference(errors, &at.child("fieldRef"), field, FIELDS);
    }
    if let Some(resource) = &source.resource_field_ref {
        sources += 1;
        resource_reference(errors, &at.child("resourceFieldRef"), resource, false);
    }
    if let Some(map) = &source.config_map_key_ref {
        sources += 1;
        key_reference(errors, &at.child("configMapKeyRef"), &map.name, &map.key);
    }
    if let Some(secret) = &source.secret_key_ref {
        sources += 1;
        key_reference(errors, &at.child("secretKeyRef"), &secret.name, &secret.key);
    }
    if let Some(file) = &source.file_key_ref {
        sources += 1;
        file_reference(errors, &at.child("fileKeyRef"), file);
    }
    if sources == 0 {
        let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or \
                   `fileKeyRef`";
        errors.invalid(at, "", why);
    } else if !text(&variable.value).is_empty() {
        errors.invalid(at, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(at, "", "may not have more than one field specified at a time");
    }
}

/// Checks a reference to a field of the pod.
pub(super) fn field_reference(errors: &mut Errors, at: &Path<'_>, reference: &ObjectFieldSelector, allowed: &[&str]) {
    if !errors.filled(&at.child("apiVersion"), text(&reference.api_version))
        || !errors.filled(&at.child("fieldPath"), &reference.field_path)
    {
        return;
    }
    let field = reference.field_path.as_str();
    let subscript = subscripted(field);
    if let Some(why) = unknown_field(text(&reference.api_version), field, subscript) {
        errors.invalid(&at.child("fieldPath"), field, &format!("error converting fieldPath: {why}"));
        return;
    }
    let field = if field == "spec.host" { "spec.nodeName" } else { field };
    match subscript {
        Some(("metadata.annotations", key)) => {
            errors.all(at, &key.to_lowercase(), names::qualified(&key.to_lowercase()));
        }
        Some((_, key)) => errors.all(at, key, names::qualified(key)),
        None => errors.one_of(&at.child("fieldPath"), field, allowed),
    }
}

/// `metadata.labels['a']` taken apart into path and key.
fn subscripted(field: &str) -> Option<(&str, &str)> {
    field.strip_suffix("']")?.split_once("['").filter(|(path, _)| !path.is_empty())
}

fn unknown_field(version: &str, field: &str, subscript: Option<(&str, &str)>) -> Option<String> {
    if version != "v1" {
        return Some(format!("unsupported pod version: {version}"));
    }
    match subscript {
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {field}")),
        None if KNOWN_FIELDS.contains(&field) => None,
        None => Some(format!("field label not supported: {field}")),
    }
}

/// Checks a reference to a container's resources.
pub(super) fn resource_reference(
    errors: &mut Errors,
    at: &Path<'_>,
    reference: &ResourceFieldSelector,
    in_volume: bool,
) {
    let resource = reference.resource.as_str();
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if in_volume && text(&reference.container_name).is_empty() {
        errors.required(&at.child("containerName"), "");
    } else if errors.filled(&at.child("resource"), resource) && !huge {
        errors.one_of(&at.child("resource"), resource, RESOURCES);
    }
    divisor(errors, &at.child("divisor"), reference, huge);
}

fn divisor(errors: &mut Errors, at: &Path<'_>, reference: &ResourceFieldSelector, huge: bool) {
    let Some(divisor) = reference.divisor.as_ref().map(Quantity::from).filter(|divisor| !divisor.is_zero()) else {
        return;
    };
    let resource = reference.resource.as_str();
    let written = divisor.to_string();
    let (units, kind) = match resource {
        "limits.cpu" | "requests.cpu" if matches!(written.as_str(), "1m" | "1") => return,
        "limits.cpu" | "requests.cpu" => {
            errors.invalid(at, resource, "only divisor's values 1m and 1 are supported with the cpu resource");
            return;
        }
        "limits.memory" | "requests.memory" => (UNITS, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (UNITS, "local ephemeral storage"),
        _ if huge => (UNITS, "hugepages"),
        _ => return,
    };
    if !units.contains(&written.as_str()) {
        let listed = units.join(", ");
        errors.invalid(at, resource, &format!("only divisor's values {listed} are supported with the {kind} resource"));
    }
}

fn key_reference(errors: &mut Errors, at: &Path<'_>, name: &str, key: &str) {
    errors.all(&at.child("name"), name, names::dns1123_subdomain(name));
    if errors.filled(&at.child("key"), key) {
        errors.all(&at.child("key"), key, names::config_map_key(key));
    }
}

fn file_reference(errors: &mut Errors, at: &Path<'_>, file: &FileKeySelector) {
    if errors.filled(&at.child("key"), &file.key) {
        errors.all(&at.child("key"), &file.key, names::env_var(&file.key));
    }
    if errors.filled(&at.child("volumeName"), &file.volume_name) {
        errors.all(&at.child("volumeName"), &file.volume_name, names::dns1123_label(&file.volume_name));
    }
    if errors.filled(&at.child("path"), &file.path) {
        mounts::no_backsteps(errors, &at.child("path"), &file.path);
    }
}

/// Checks `envFrom`.
pub(super) fn sources(errors: &mut Errors, at: &Path<'_>, container: &Container) {
    for (index, source) in list(&container.env_from).iter().enumerate() {
        let item = at.index(index);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            errors.all(&item.child("prefix"), prefix, names::env_var(prefix));
        }
        if let Some(map) = &source.config_map_ref {
            let at = item.child("configMapRef");
            source_name(errors, &at.child("name"), &map.name);
        }
        if let Some(secret) = &source.secret_ref {
            let at = item.child("secretRef");
            source_name(errors, &at.child("name"), &secret.name);
        }
        match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => errors.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"),
            (Some(_), Some(_)) => errors.invalid(at, "", "may not have more than one field specified at a time"),
            _ => {}
        }
    }
}

fn source_name(errors: &mut Errors, at: &Path<'_>, name: &str) {
    if errors.filled(at, name) {
        errors.all(at, name, names::NameRule::Subdomain.check(name, true));
    }
}

/// A file with variables must lie in an empty directory of the pod.
pub(super) fn files(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    containers::visit(spec, at, |container, at| {
        let at = at.child("env");
        for (index, variable) in list(&container.env).iter().enumerate() {
            let Some(file) = variable.value_from.as_ref().and_then(|source| source.file_key_ref.as_ref()) else {
                continue;
            };
            let (at, name) = (at.index(index), file.volume_name.as_str());
            let at = at.child("valueFrom");
            let at = at.child("fileKeyRef");
            match list(&spec.volumes).iter().rfind(|volume| volume.name == name) {
                None => errors.not_found(&at.child("volumeName"), name),
                Some(volume) if volume.empty_dir.is_none() => {
                    errors.invalid(&at.child("volumeName"), name, "referenced volume must be of type emptyDir");
                }
                Some(_) => {}
            }
        }
    });
}
