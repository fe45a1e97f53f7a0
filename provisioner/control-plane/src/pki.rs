//! The cluster's own certificate authority with the keys and certificates that come from it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;

use crate::world::World;

/// Years that the authority lives.
const AUTHORITY_YEARS: i16 = 10;
/// Days that a certificate signed by it lives.
const LEAF_DAYS: i32 = 365;
/// Days before its end at which a certificate is made anew.
const RENEW_DAYS: i32 = 30;

/// Why keys or certificates can't be had.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is there, but holds something else than it should. It is left as it is.
    #[error("{}: not a usable {what}: {detail} (remove the file to have a new one made)", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// A certificate can't be made from what was asked for.
    #[error("can't make a certificate for {subject}: {detail}")]
    Make {
        /// Whose certificate.
        subject: String,
        /// What is wrong.
        detail: String,
    },
}

/// A certificate with its private key, both as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The authority and what a control plane needs of it.
pub struct Pki {
    authority: String,
    issuer: Issuer<'static, KeyPair>,
    serving: Identity,
    admin: Identity,
    service_account_key: Vec<u8>,
    world: World,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Pki {
    /// Reads the files below `dir`, making those that aren't there, readable by their owner alone.
    ///
    /// `names` are the DNS names and addresses that the server is reached by; its certificate is made anew when they
    /// changed, or when it has less than 30 days to live.
    /// Errors: [`PkiError::Corrupt`] when a file holds something else; it is never overwritten.
    pub fn open_or_create(dir: &Path, names: &[String], world: &World) -> Result<Self, PkiError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| file_error(dir, source))?;
        let authority_key = open_key(&dir.join("ca.key"))?;
        let now = world.clock.now();
        let (authority, issuer) = open_authority(&dir.join("ca.crt"), authority_key, now)?;
        let mut pki = Self {
            authority,
            issuer,
            serving: Identity { certificate: String::new(), key: String::new() },
            admin: Identity { certificate: String::new(), key: String::new() },
            service_account_key: open_key(&dir.join("service-account.key"))?.serialize_der(),
            world: world.clone(),
        };
        pki.serving = pki.open_leaf(dir, "apiserver", &serving_params(names)?, names)?;
        let admin = client_params("kubernetes-admin", &["system:masters"]);
        pki.admin = pki.open_leaf(dir, "admin", &admin, &[])?;
        Ok(pki)
    }

    /// The authority's certificate as PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The administrator's certificate: user `kubernetes-admin` of group `system:masters`.
    #[must_use]
    pub fn admin(&self) -> &Identity {
        &self.admin
    }

    /// The key that service account tokens are signed with: PKCS#8, ECDSA P-256.
    #[must_use]
    pub fn service_account_key(&self) -> &[u8] {
        &self.service_account_key
    }

    /// A new client certificate for a user and its groups, such as `system:node:a` of `system:nodes`.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Identity, PkiError> {
        self.sign(user, &client_params(user, groups), &new_key(user)?)
    }

    /// TLS for the API server: its certificate, and the authority to check clients' certificates by.
    pub fn tls(&self) -> Result<ServerConfig, PkiError> {
        let made = |detail: String| PkiError::Make { subject: "the API server".into(), detail };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(pem_certificate(&self.authority).map_err(made)?).map_err(|error| made(error.to_string()))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| made(error.to_string()))?;
        let chain = vec![
            pem_certificate(&self.serving.certificate).map_err(made)?,
            pem_certificate(&self.authority).map_err(made)?,
        ];
        let key =
            <PrivateKeyDer<'static> as rustls::pki_types::pem::PemObject>::from_pem_slice(self.serving.key.as_bytes())
                .map_err(|error| made(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| made(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| made(error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// The text of a kubeconfig by which the administrator reaches the server at `url`.
    #[must_use]
    pub fn kubeconfig(&self, name: &str, url: &str) -> String {
        use base64::Engine as _;
        let coded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let name = serde_json::Value::from(name);
        let url = serde_json::Value::from(url);
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {name}\n  cluster:\n    server: {url}\n    \
             certificate-authority-data: {}\nusers:\n- name: {name}\n  user:\n    client-certificate-data: {}\n    \
             client-key-data: {}\ncontexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {name}\n\
             current-context: {name}\n",
            coded(&self.authority),
            coded(&self.admin.certificate),
            coded(&self.admin.key),
        )
    }

    fn open_leaf(
        &self,
        dir: &Path,
        name: &str,
        params: &CertificateParams,
        names: &[String],
    ) -> Result<Identity, PkiError> {
        let key = open_key(&dir.join(format!("{name}.key")))?;
        let path = dir.join(format!("{name}.crt"));
        if let Some(certificate) = read(&path)?
            && self.still_good(&path, &certificate, &key, names)?
        {
            return Ok(Identity { certificate, key: key.serialize_pem() });
        }
        let identity = self.sign(name, params, &key)?;
        write(&path, &identity.certificate)?;
        Ok(identity)
    }

    /// Whether a certificate is of this authority and key, names what it should and lives long enough.
    fn still_good(&self, path: &Path, pem: &str, key: &KeyPair, names: &[String]) -> Result<bool, PkiError> {
        let corrupt = |detail: String| PkiError::Corrupt { path: path.to_owned(), what: "certificate", detail };
        let der = pem_certificate(pem).map_err(corrupt)?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|error| corrupt(error.to_string()))?;
        let authority = pem_certificate(&self.authority).map_err(corrupt)?;
        let (_, authority) =
            x509_parser::parse_x509_certificate(&authority).map_err(|error| corrupt(error.to_string()))?;
        let soon =
            day(self.world.clock.now(), RENEW_DAYS).to_zoned(TimeZone::UTC).expect("a day of this era").timestamp();
        let mut wanted: Vec<String> = names.to_vec();
        wanted.sort();
        let mut has = alternative_names(&certificate);
        has.sort();
        // Authorities have one name; the key tells an old one from this one.
        Ok(certificate.issuer() == authority.subject()
            && certificate.verify_signature(Some(authority.public_key())).is_ok()
            && certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
            && certificate.validity().not_after.timestamp() > soon.as_second()
            && has == wanted)
    }

    fn sign(&self, subject: &str, params: &CertificateParams, key: &KeyPair) -> Result<Identity, PkiError> {
        let made = |error: rcgen::Error| PkiError::Make { subject: subject.to_owned(), detail: error.to_string() };
        let now = self.world.clock.now();
        let mut params = params.clone();
        live(&mut params, day(now, -1), day(now, LEAF_DAYS));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        let certificate = params.signed_by(key, &self.issuer).map_err(made)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn alternative_names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let address = |bytes: &[u8]| -> Option<std::net::IpAddr> {
        <[u8; 4]>::try_from(bytes).map(Into::into).or_else(|_| <[u8; 16]>::try_from(bytes).map(Into::into)).ok()
    };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(text).collect()
}

fn serving_params(names: &[String]) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(names.to_vec())
        .map_err(|error| PkiError::Make { subject: names.join(", "), detail: error.to_string() })?;
    params.distinguished_name = subject("kube-apiserver", &[]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn client_params(user: &str, groups: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(user, groups);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject("kprov-ca", &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    live(&mut params, day(now, -1), day(now, 0).saturating_add(AUTHORITY_YEARS.years()));
    params
}

fn subject(common_name: &str, organizations: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, *organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn day(now: Timestamp, after: i32) -> Date {
    now.to_zoned(TimeZone::UTC).date().saturating_add(after.days())
}

fn live(params: &mut CertificateParams, from: Date, until: Date) {
    let number = |value: i8| u8::try_from(value).expect("months and days are positive");
    let moment = |date: Date| rcgen::date_time_ymd(date.year().into(), number(date.month()), number(date.day()));
    params.not_before = moment(from);
    params.not_after = moment(until);
}

fn open_authority(path: &Path, key: KeyPair, now: Timestamp) -> Result<(String, Issuer<'static, KeyPair>), PkiError> {
    let corrupt = |detail: String| PkiError::Corrupt { path: path.to_owned(), what: "authority certificate", detail };
    let params = authority_params(now);
    let Some(pem) = read(path)? else {
        let made = params
            .self_signed(&key)
            .map_err(|error| PkiError::Make { subject: "the authority".into(), detail: error.to_string() })?;
        write(path, &made.pem())?;
        return Ok((made.pem(), Issuer::new(params, key)));
    };
    let der = pem_certificate(&pem).map_err(corrupt)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|error| corrupt(error.to_string()))?;
    if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(corrupt("it does not belong to the key beside it".to_owned()));
    }
    Ok((pem, Issuer::new(params, key)))
}

fn pem_certificate(pem: &str) -> Result<CertificateDer<'static>, String> {
    <CertificateDer<'static> as rustls::pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes())
        .map_err(|error| error.to_string())
}

fn new_key(subject: &str) -> Result<KeyPair, PkiError> {
    KeyPair::generate().map_err(|error| PkiError::Make { subject: subject.to_owned(), detail: error.to_string() })
}

fn open_key(path: &Path) -> Result<KeyPair, PkiError> {
    let corrupt = |detail: String| PkiError::Corrupt { path: path.to_owned(), what: "private key", detail };
    if let Some(pem) = read(path)? {
        return KeyPair::from_pem(&pem).map_err(|error| corrupt(error.to_string()));
    }
    let key = new_key(&path.display().to_string())?;
    write(path, &key.serialize_pem())?;
    Ok(key)
}

fn file_error(path: &Path, source: io::Error) -> PkiError {
    PkiError::File { path: path.to_owned(), source }
}

fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error(path, error)),
    }
}

/// Writes beside the file and renames, so that a crash leaves the old file or the new one.
fn write(path: &Path, text: &str) -> Result<(), PkiError> {
    let beside = path.with_extension("new");
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| file_error(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, names: &[&str]) -> Result<Pki, PkiError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Pki::open_or_create(dir, &names, &crate::world::real::world(dir))
    }

    #[test]
    fn keeps_what_is_good_and_renews_on_other_names() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), &["localhost", "127.0.0.1"]).unwrap();
        let again = open(dir.path(), &["127.0.0.1", "localhost"]).unwrap();
        assert_eq!(first.authority, again.authority);
        assert_eq!(first.serving.certificate, again.serving.certificate);
        assert_eq!(first.service_account_key, again.service_account_key);
        let other = open(dir.path(), &["localhost", "127.0.0.1", "10.96.0.1"]).unwrap();
        assert_eq!(first.authority, other.authority);
        assert_ne!(first.serving.certificate, other.serving.certificate);
        assert!(other.tls().is_ok());
    }

    #[test]
    fn renews_what_another_authority_signed() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), &["localhost"]).unwrap();
        for name in ["ca.key", "ca.crt"] {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        let other = open(dir.path(), &["localhost"]).unwrap();
        assert_ne!(first.authority, other.authority);
        assert_ne!(first.serving.certificate, other.serving.certificate);
        assert_ne!(first.admin.certificate, other.admin.certificate);
        let again = open(dir.path(), &["localhost"]).unwrap();
        assert_eq!(again.serving.certificate, other.serving.certificate);
    }

    #[test]
    fn leaves_a_corrupt_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &["localhost"]).unwrap();
        for name in ["ca.key", "ca.crt", "apiserver.crt", "admin.key", "service-account.key"] {
            let path = dir.path().join(name);
            let good = fs::read(&path).unwrap();
            fs::write(&path, "torn").unwrap();
            let error = open(dir.path(), &["localhost"]).unwrap_err();
            assert!(matches!(error, PkiError::Corrupt { .. }), "{name}: {error}");
            assert_eq!(fs::read(&path).unwrap(), b"torn");
            fs::write(&path, good).unwrap();
        }
    }

    #[test]
    fn files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &["localhost"]).unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
