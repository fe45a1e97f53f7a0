//! Names and ports that a pod has, and where it looks names up.

use k8s_openapi::api::core::v1::{PodDNSConfig, PodSpec};
use serde_json::json;

use super::Options;
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

/// Checks the host ports of a pod on its node's network.
pub(super) fn host_network(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec, options: Options) {
    if spec.host_network != Some(true) {
        return;
    }
    let containers = at.child("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        let at = containers.index(index);
        let ports = at.child("ports");
        for (index, port) in list(&container.ports).iter().enumerate() {
            let host = port.host_port.unwrap_or_default();
            if (options.is_pod || host != 0) && host != port.container_port {
                let at = ports.index(index);
                let why = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&at.child("hostPort"), host, why);
            }
        }
    }
}

/// Checks `dnsConfig`.
pub(super) fn dns(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    let config = spec.dns_config.as_ref();
    if text(&spec.dns_policy) == "None" {
        match config {
            None => {
                errors.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
                return;
            }
            Some(config) if list(&config.nameservers).is_empty() => {
                let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
                errors.required(&at.child("nameservers"), why);
                return;
            }
            Some(_) => {}
        }
    }
    if let Some(config) = config {
        dns_config(errors, at, config);
    }
}

fn dns_config(errors: &mut Errors, at: &Path<'_>, config: &PodDNSConfig) {
    let (servers, searches) = (list(&config.nameservers), list(&config.searches));
    let (servers_at, searches_at) = (at.child("nameservers"), at.child("searches"));
    if servers.len() > 3 {
        errors.invalid(&servers_at, json!(servers), "must not have more than 3 nameservers");
    }
    for (index, server) in servers.iter().enumerate() {
        errors.all(&servers_at.index(index), server, names::ip(server));
    }
    if searches.len() > 32 {
        errors.invalid(&searches_at, json!(searches), "must not have more than 32 search paths");
    }
    if searches.join(" ").len() > 2048 {
        let why = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(&searches_at, json!(searches), why);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.all(&searches_at.index(index), search, names::dns1123_subdomain_with_underscore(search));
    }
    let options = at.child("options");
    for (index, option) in list(&config.options).iter().enumerate() {
        if text(&option.name).is_empty() {
            errors.required(&options.index(index), "must not be empty");
        }
    }
}

/// Checks `hostnameOverride`.
pub(super) fn hostname_override(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    let Some(name) = &spec.hostname_override else { return };
    let at = at.child("hostnameOverride");
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.forbidden(&at, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.host_network == Some(true) {
        errors.forbidden(&at, "may not be specified when hostNetwork is true");
    }
    if name.len() > 64 {
        errors.too_long(&at, 64);
    }
    errors.all(&at, name, names::dns1123_subdomain(name));
}

/// Checks `hostAliases`.
pub(super) fn host_aliases(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    for (index, alias) in list(&spec.host_aliases).iter().enumerate() {
        let at = at.index(index);
        errors.all(&at.child("ip"), &alias.ip, names::ip(&alias.ip));
        let hostnames = at.child("hostnames");
        for (index, name) in list(&alias.hostnames).iter().enumerate() {
            errors.all(&hostnames.index(index), name, names::dns1123_subdomain(name));
        }
    }
}

/// Checks what a pod in user namespaces of its own may share with its node.
pub(super) fn host_users(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    const WHY: &str = "when `hostUsers` is false";
    if spec.host_users.unwrap_or(true) {
        return;
    }
    // Upstream writes the last two with a capital.
    let shared = [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)];
    for (field, _) in shared.iter().filter(|(_, shared)| *shared == Some(true)) {
        errors.forbidden(&at.child(field), WHY);
    }
    super::containers::visit(spec, at, |container, at| {
        if !list(&container.volume_devices).is_empty() {
            errors.forbidden(&at.child("volumeDevices"), WHY);
        }
    });
}
