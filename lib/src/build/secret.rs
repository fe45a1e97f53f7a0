//! Secrets: what few may read.

use std::path::Path;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;
use serde_json::json;

use super::env::{KeyOf, SecretKey};
use super::files;
use super::object::named;
use super::text::{DataKey, Name, Of};
use super::wraps::object;

object! {
    /// Texts that few may read.
    ///
    /// ```
    /// use kprov::build::*;
    /// let db = Secret::new("db").text("password", "s3cret");
    /// let web = Container::new("web", "nginx:1.27").env("PASSWORD", db.key("password"));
    /// let certificate = Secret::new("shop-tls").tls("-----BEGIN CERTIFICATE…", "-----BEGIN PRIVATE KEY…");
    /// let pull = Secret::new("pull").registry("registry.example.com", "ada", "lovelace");
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/configuration/secret/>
    namespaced Secret(core::Secret)
}

/// What it holds, by keys. Each type of secret has keys of its own, which the methods named after them fill.
///
/// ```
/// # use kprov::build::*;
/// let mut login = Secret::new("login").basic_auth("ada", "lovelace");
/// assert_eq!(login.build().type_.as_deref(), Some("kubernetes.io/basic-auth"));
/// let deploy = Secret::new("deploy").ssh_key("-----BEGIN OPENSSH PRIVATE KEY…");
/// let cookie = Secret::new("cookie").bytes("key", [7; 32]).immutable();
/// ```
impl Secret {
    /// An empty secret of no particular type.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>) -> Self {
        Self(core::Secret { metadata: named(name.checked()), ..core::Secret::default() })
    }

    /// Adds a text under a key; the server encodes it.
    #[must_use]
    #[track_caller]
    pub fn text(mut self, key: impl Of<DataKey>, text: impl Into<String>) -> Self {
        self.0.string_data.get_or_insert_default().insert(key.checked().into(), text.into());
        self
    }

    /// Adds bytes under a key.
    #[must_use]
    #[track_caller]
    pub fn bytes(mut self, key: impl Of<DataKey>, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.data.get_or_insert_default().insert(key.checked().into(), ByteString(bytes.into()));
        self
    }

    /// Adds a file's content under its name, or those of all files in a folder.
    ///
    /// Errors: what can't be read, or whose name is no key.
    ///
    /// ```no_run
    /// # use kprov::build::*;
    /// let db = Secret::new("db").read("secrets/db/")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read(mut self, path: impl AsRef<Path>) -> std::io::Result<Self> {
        for (key, content) in files::read(path.as_ref())? {
            self.0.data.get_or_insert_default().insert(key.into(), ByteString(content));
        }
        Ok(self)
    }

    /// Makes it the certificate and key, both in PEM form, that an ingress answers with.
    #[must_use]
    pub fn tls(self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.typed("kubernetes.io/tls").text("tls.crt", certificate).text("tls.key", key)
    }

    /// Makes it the account that images are pulled with from a registry.
    #[must_use]
    pub fn registry(self, server: &str, user: &str, password: &str) -> Self {
        let both = ByteString(format!("{user}:{password}").into_bytes());
        let account = json!({"username": user, "password": password, "auth": both});
        let config = json!({"auths": {server: account}});
        self.typed("kubernetes.io/dockerconfigjson").text(".dockerconfigjson", config.to_string())
    }

    /// Makes it a user's name and password.
    #[must_use]
    pub fn basic_auth(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.typed("kubernetes.io/basic-auth").text("username", user).text("password", password)
    }

    /// Makes it a private key for SSH.
    #[must_use]
    pub fn ssh_key(self, key: impl Into<String>) -> Self {
        self.typed("kubernetes.io/ssh-auth").text("ssh-privatekey", key)
    }

    /// Never changes again; only deleting and making it anew does.
    #[must_use]
    pub fn immutable(mut self) -> Self {
        self.0.immutable = Some(true);
        self
    }

    fn typed(mut self, kind: &str) -> Self {
        self.0.type_ = Some(kind.to_owned());
        self
    }

    /// One of its texts, for an environment variable.
    ///
    /// Panics when it has no such key: that is a mistake in the program, not in its input.
    #[must_use]
    #[track_caller]
    pub fn key(&self, key: impl Of<DataKey>) -> SecretKey {
        let texts = self.0.string_data.iter().flat_map(|data| data.keys());
        KeyOf::present(self, key.checked(), texts.chain(self.0.data.iter().flat_map(|data| data.keys())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "Secret db has no key \"pasword\"; its keys: password, user")]
    fn a_key_that_is_not_there_is_a_mistake() {
        let _ = Secret::new("db").text("password", "x").text("user", "y").key("pasword");
    }

    #[test]
    fn types_have_the_keys_that_they_must_have() {
        let pull = serde_json::to_value(Secret::new("pull").registry("r.example.com", "ada", "x")).unwrap();
        assert_eq!(pull["type"], "kubernetes.io/dockerconfigjson");
        let config = pull["stringData"][".dockerconfigjson"].as_str().unwrap();
        let config: serde_json::Value = serde_json::from_str(config).unwrap();
        assert_eq!(config["auths"]["r.example.com"]["auth"], "YWRhOng=");
    }

    #[test]
    fn files_become_keys() {
        let folder = std::env::temp_dir().join(format!("kprov-secret-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("below")).unwrap();
        std::fs::write(folder.join("user.txt"), "ada").unwrap();
        let secret = Secret::new("db").read(&folder).unwrap();
        assert_eq!(secret.build().data.unwrap().keys().collect::<Vec<_>>(), ["user.txt"]);
        let missing = Secret::new("db").read(folder.join("pasword")).unwrap_err().to_string();
        assert!(missing.contains("pasword: "), "{missing}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
