//! Volumes that bring several sources into one directory.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, PodCertificateProjection, ProjectedVolumeSource, ServiceAccountTokenProjection,
    VolumeProjection,
};
use serde_json::json;

use super::affinity::label_selector;
use super::mounts::not_reserved;
use super::volumes::{downward_file, key_path, mode};
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

const KEY_TYPES: &[&str] = &["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const MONTHS_OF_SECONDS: i32 = 91 * 86400;
const KUBERNETES_SECONDS: i32 = 24 * 3600;

/// The files that the sources seen so far make.
#[derive(Default)]
struct Files(BTreeSet<String>);

impl Files {
    fn add(&mut self, errors: &mut Errors, at: &Path<'_>, path: &str, shown: &str) {
        if !path.is_empty() && !self.0.insert(path.to_owned()) {
            errors.invalid(at, shown, "conflicting duplicate paths");
        }
    }
}

/// Checks a projected volume.
pub(super) fn volume(errors: &mut Errors, at: &Path<'_>, volume: &ProjectedVolumeSource) {
    mode(errors, &at.child("defaultMode"), volume.default_mode);
    let mut files = Files::default();
    let sources = at.child("sources");
    for (index, source) in list(&volume.sources).iter().enumerate() {
        let source_at = sources.index(index);
        if plain(errors, at, &source_at, source, &mut files) + signed(errors, at, &source_at, source, &mut files) > 1 {
            errors.forbidden(&source_at, "may not specify more than 1 volume type per source");
        }
    }
}

/// Sources that are files of other objects.
fn plain(
    errors: &mut Errors,
    volume_at: &Path<'_>,
    at: &Path<'_>,
    source: &VolumeProjection,
    files: &mut Files,
) -> usize {
    let mut count = 0;
    let secret = source.secret.as_ref().map(|one| ("secret", &one.name, &one.items));
    let map = source.config_map.as_ref().map(|one| ("configMap", &one.name, &one.items));
    for (field, name, items) in [secret, map].into_iter().flatten() {
        count += 1;
        let at = at.child(field);
        errors.filled(&at.child("name"), name);
        let items_at = at.child("items");
        for (index, item) in list(items).iter().enumerate() {
            key_path(errors, &items_at.index(index), item);
            files.add(errors, volume_at, &item.path, name);
        }
    }
    if let Some(downward) = &source.downward_api {
        count += 1;
        let at = at.child("downwardAPI");
        for file in list(&downward.items) {
            downward_file(errors, &at, file);
            files.add(errors, volume_at, &file.path, &file.path);
        }
    }
    count
}

/// Sources that someone signs.
fn signed(
    errors: &mut Errors,
    volume_at: &Path<'_>,
    at: &Path<'_>,
    source: &VolumeProjection,
    files: &mut Files,
) -> usize {
    let mut count = 0;
    if let Some(one) = &source.service_account_token {
        count += 1;
        token(errors, volume_at, &at.child("serviceAccountToken"), one);
    }
    if let Some(bundle) = &source.cluster_trust_bundle {
        count += 1;
        trust_bundle(errors, &at.child("clusterTrustBundle"), bundle);
        if !files.0.insert(bundle.path.clone()) {
            errors.invalid(volume_at, bundle.path.as_str(), "conflicting duplicate paths");
        }
    }
    if let Some(one) = &source.pod_certificate {
        count += 1;
        certificate(errors, volume_at, &at.child("podCertificate"), one, files);
    }
    count
}

fn token(errors: &mut Errors, volume_at: &Path<'_>, at: &Path<'_>, token: &ServiceAccountTokenProjection) {
    let seconds = token.expiration_seconds.unwrap_or_default();
    let seconds_at = at.child("expirationSeconds");
    if seconds < 600 {
        errors.invalid(&seconds_at, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > 1 << 32 {
        errors.invalid(&seconds_at, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    // Upstream names the volume's path here.
    if errors.filled(&volume_at.child("path"), &token.path) {
        not_reserved(errors, &volume_at.child("path"), &token.path);
    }
}

fn trust_bundle(errors: &mut Errors, at: &Path<'_>, bundle: &ClusterTrustBundleProjection) {
    match (&bundle.name, &bundle.signer_name) {
        (Some(_), Some(_)) => {
            errors.invalid(at, json!(bundle), "only one of name and signerName may be used");
        }
        (Some(name), None) => {
            if name.is_empty() {
                errors.required(&at.child("name"), "must be a valid object name");
            }
            bundle_name(errors, &at.child("name"), name);
            if let Some(selector) = &bundle.label_selector {
                let why = "labelSelector must be unset if name is specified";
                errors.invalid(&at.child("labelSelector"), json!(selector), why);
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.required(&at.child("signerName"), "must be a valid signer name");
            }
            signer_name(errors, &at.child("signerName"), signer);
            label_selector(errors, &at.child("labelSelector"), bundle.label_selector.as_ref());
        }
        (None, None) => errors.required(at, "either name or signerName must be specified"),
    }
    errors.filled(&at.child("path"), &bundle.path);
    not_reserved(errors, &at.child("path"), &bundle.path);
}

/// The name of a bundle starts with its signer's, slashes written as colons.
fn bundle_name(errors: &mut Errors, at: &Path<'_>, name: &str) {
    let last = name.rsplit_once(':').map_or(name, |(_, last)| last);
    for why in names::dns1123_subdomain(last) {
        errors.invalid(at, name, &format!("not a valid clustertrustbundlename: {why}"));
    }
}

fn signer_name(errors: &mut Errors, at: &Path<'_>, name: &str) {
    if !errors.filled(at, name) {
        return;
    }
    let Some((domain, path)) = name.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        errors.invalid(at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    };
    errors.all(at, domain, names::dns1123_subdomain(domain));
    if !domain.contains('.') {
        errors.invalid(at, domain, "should be a domain with at least two segments separated by dots");
    }
    errors.all(at, path, names::dns1123_subdomain(path));
}

fn certificate(
    errors: &mut Errors,
    volume_at: &Path<'_>,
    at: &Path<'_>,
    certificate: &PodCertificateProjection,
    files: &mut Files,
) {
    signer_name(errors, &at.child("signerName"), &certificate.signer_name);
    if let Some(annotations) = &certificate.user_annotations {
        errors.annotations(&at.child("userAnnotations"), annotations);
    }
    errors.one_of(&at.child("keyType"), &certificate.key_type, KEY_TYPES);
    if let Some(seconds) = certificate.max_expiration_seconds {
        let at = at.child("maxExpirationSeconds");
        if seconds < 3600 {
            errors.invalid(&at, seconds, "if provided, maxExpirationSeconds must be >= 3600");
        }
        let domain = certificate.signer_name.split('/').next().unwrap_or_default();
        let kubernetes = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
        let most = if kubernetes { KUBERNETES_SECONDS } else { MONTHS_OF_SECONDS };
        if seconds > most {
            errors.invalid(&at, seconds, &format!("if provided, maxExpirationSeconds must be <= {most}"));
        }
    }
    let paths = [
        ("credentialBundlePath", text(&certificate.credential_bundle_path)),
        ("keyPath", text(&certificate.key_path)),
        ("certificateChainPath", text(&certificate.certificate_chain_path)),
    ];
    for (field, path) in paths.iter().filter(|(_, path)| !path.is_empty()) {
        not_reserved(errors, &at.child(field), path);
        files.add(errors, volume_at, path, path);
    }
    if paths.iter().all(|(_, path)| path.is_empty()) {
        errors.required(at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
    }
}
