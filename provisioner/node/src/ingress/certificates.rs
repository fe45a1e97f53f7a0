//! Certificates that names are answered with, from the secrets that ingresses name.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::{Ingress, IngressTLS};
use kprov_schema::{Key, Object};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use serde::Deserialize;

use super::host::{ByHost, Host};
use crate::net::endpoints::text;

/// Certificates by the names that they are shown for.
#[derive(Clone, Debug, Default)]
pub struct Certificates(ByHost<Arc<CertifiedKey>>);

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The secret lacks something or can't be read.
    #[error("{0}")]
    Secret(String),
    /// What it holds is no certificate or key.
    #[error("not PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// They don't fit together, or are of a sort that is not known.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// Making one failed.
    #[error(transparent)]
    Made(#[from] rcgen::Error),
}

impl Certificates {
    /// The certificates of ingresses. What can't be used is told of and left out.
    ///
    /// Without hosts a certificate is for those of its ingress's rules; of several for one host the first counts.
    #[must_use]
    pub fn new(ingresses: &[Arc<Ingress>], secrets: &BTreeMap<Key, Arc<Object>>) -> Self {
        let mut all = ByHost::default();
        let provider = ring::default_provider();
        for (ingress, tls) in
            ingresses.iter().flat_map(|ingress| entries(ingress).iter().map(move |tls| (ingress, tls)))
        {
            let Some(key) = secret(ingress, tls) else { continue };
            let Some(object) = secrets.get(&key) else { continue };
            match read(object, &provider) {
                Ok(certificate) => {
                    let certificate = Arc::new(certificate);
                    hosts(ingress, tls).into_iter().for_each(|host| all.put(host, Arc::clone(&certificate)));
                }
                Err(error) => tracing::warn!(secret = %key, %error, "a certificate can't be used"),
            }
        }
        Self(all)
    }

    /// The one to show who asks for a name, or for none.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        self.0.of(name.unwrap_or_default()).first().copied()
    }
}

fn entries(ingress: &Ingress) -> &[IngressTLS] {
    ingress.spec.as_ref().and_then(|spec| spec.tls.as_deref()).unwrap_or_default()
}

fn secret(ingress: &Ingress, tls: &IngressTLS) -> Option<Key> {
    let name = tls.secret_name.as_deref().filter(|name| !name.is_empty())?;
    Some(Key::new(text(&ingress.metadata.namespace), name))
}

/// The secrets that an ingress names.
pub fn secrets(ingress: &Ingress) -> impl Iterator<Item = Key> {
    entries(ingress).iter().filter_map(|tls| secret(ingress, tls))
}

fn hosts(ingress: &Ingress, tls: &IngressTLS) -> Vec<Host> {
    let listed = tls.hosts.as_deref().unwrap_or_default();
    if !listed.is_empty() {
        return listed.iter().map(|host| Host::of(host)).collect();
    }
    let rules = ingress.spec.as_ref().and_then(|spec| spec.rules.as_deref()).unwrap_or_default();
    let of_rules: Vec<Host> = rules.iter().map(|rule| Host::of(text(&rule.host))).collect();
    if of_rules.is_empty() { vec![Host::Any] } else { of_rules }
}

fn read(object: &Object, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let secret = Secret::deserialize(object.map()).map_err(|error| CertificateError::Secret(error.to_string()))?;
    let part = |name: &str| {
        let found = secret.data.as_ref().and_then(|data| data.get(name));
        found.map(|bytes| bytes.0.as_slice()).ok_or_else(|| CertificateError::Secret(format!("it has no {name}")))
    };
    let chain = CertificateDer::pem_slice_iter(part("tls.crt")?).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(part("tls.key")?)?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}

/// A certificate that nobody signed, for names that have none.
pub fn nobody() -> Result<CertifiedKey, CertificateError> {
    let mut params = CertificateParams::new(vec!["ingress.local".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "kprov ingress: no certificate for this name");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(CertifiedKey::from_der(vec![certificate], key, &ring::default_provider())?)
}
