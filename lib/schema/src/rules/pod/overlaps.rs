//! Files of one volume that lie in each other's way.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection};

use crate::rules::fields::{list, text};
use crate::status::quoted;

/// A file and where it comes from.
#[derive(Clone, PartialEq)]
struct File {
    path: String,
    source: String,
}

impl File {
    fn new(path: &str, source: &str) -> Self {
        Self { path: path.trim_end_matches('/').to_owned(), source: source.to_owned() }
    }

    fn shown(&self) -> String {
        if self.source.is_empty() { quoted(&self.path) } else { format!("{} ({})", quoted(&self.path), self.source) }
    }

    /// Whether one file is the other or lies where the other would have to be a folder.
    fn overlaps(&self, other: &Self) -> bool {
        let (one, two) = (format!("{}/", self.path), format!("{}/", other.path));
        !self.path.is_empty() && !other.path.is_empty() && (one.starts_with(&two) || two.starts_with(&one))
    }
}

/// A warning for each pair of files of a volume that overlap.
pub(super) fn warnings(volumes: &[Volume]) -> Vec<String> {
    volumes.iter().flat_map(volume).collect()
}

fn volume(volume: &Volume) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(map) = &volume.config_map {
        let what = format!("ConfigMap {}", quoted(&map.name));
        pairs(&mut warnings, volume, &what, keys(list(&map.items), ""));
    }
    if let Some(secret) = &volume.secret {
        let what = format!("Secret {}", quoted(text(&secret.secret_name)));
        pairs(&mut warnings, volume, &what, keys(list(&secret.items), ""));
    }
    if let Some(downward) = &volume.downward_api {
        pairs(&mut warnings, volume, "DownwardAPI", files(list(&downward.items), ""));
    }
    let mut all = Vec::new();
    for source in volume.projected.as_ref().map(|projected| list(&projected.sources)).unwrap_or_default() {
        if *source == VolumeProjection::default() {
            warnings.push(format!("volume {} (Projected) has no sources provided", quoted(&volume.name)));
        } else {
            all.extend(projected(source));
        }
    }
    pairs(&mut warnings, volume, "Projected", all);
    warnings
}

fn keys(items: &[KeyToPath], source: &str) -> Vec<File> {
    items.iter().map(|item| File::new(&item.path, source)).collect()
}

fn files(items: &[DownwardAPIVolumeFile], source: &str) -> Vec<File> {
    items.iter().map(|item| File::new(&item.path, source)).collect()
}

fn projected(source: &VolumeProjection) -> Vec<File> {
    if let Some(map) = source.config_map.as_ref().filter(|map| map.items.is_some()) {
        keys(list(&map.items), &format!("ConfigMap {}", quoted(&map.name)))
    } else if let Some(secret) = source.secret.as_ref().filter(|secret| secret.items.is_some()) {
        keys(list(&secret.items), &format!("Secret {}", quoted(&secret.name)))
    } else if let Some(downward) = source.downward_api.as_ref().filter(|downward| downward.items.is_some()) {
        files(list(&downward.items), "DownwardAPI")
    } else if let Some(token) = &source.service_account_token {
        vec![File::new(&token.path, "ServiceAccountToken")]
    } else if let Some(bundle) = &source.cluster_trust_bundle {
        let name = bundle.name.as_deref().or(bundle.signer_name.as_deref()).unwrap_or_default();
        vec![File::new(&bundle.path, &format!("ClusterTrustBundle {}", quoted(name)))]
    } else if let Some(certificate) = &source.pod_certificate {
        let paths = [
            (text(&certificate.certificate_chain_path), "PodCertificate chain"),
            (text(&certificate.key_path), "PodCertificate key"),
            (text(&certificate.credential_bundle_path), "PodCertificate credential bundle"),
        ];
        paths.iter().filter(|(path, _)| !path.is_empty()).map(|(path, source)| File::new(path, source)).collect()
    } else {
        Vec::new()
    }
}

fn pairs(warnings: &mut Vec<String>, volume: &Volume, what: &str, files: Vec<File>) {
    for (index, file) in files.iter().enumerate() {
        for other in files[..index].iter().filter(|other| file.overlaps(other)) {
            warnings.push(format!(
                "volume {} ({what}): overlapping paths: {} with {}",
                quoted(&volume.name),
                file.shown(),
                other.shown()
            ));
        }
    }
}
