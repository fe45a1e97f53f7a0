//! Config maps: texts that pods read as files or environment.

use std::path::Path;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;

use super::env::{ConfigMapKey, KeyOf};
use super::files;
use super::object::named;
use super::text::{DataKey, Name, Of};
use super::wraps::object;

object! {
    /// Texts that pods read as files or environment.
    ///
    /// ```
    /// use kprov::build::*;
    /// let site = ConfigMap::new("site").file("index.html", "<h1>hello</h1>");
    /// let web = Container::new("web", "nginx:1.27").mount(&site, "/usr/share/nginx/html");
    /// ```
    namespaced ConfigMap(core::ConfigMap)
}

/// What it holds, by keys.
///
/// ```
/// # use kprov::build::*;
/// let settings = ConfigMap::new("settings").file("LEVEL", "info").bytes("logo.png", [0x89, 0x50]).immutable();
/// let web = Container::new("web", "shop:1").env("LEVEL", settings.key("LEVEL"));
/// ```
impl ConfigMap {
    /// An empty config map.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>) -> Self {
        Self(core::ConfigMap { metadata: named(name.checked()), ..core::ConfigMap::default() })
    }

    /// Adds a text under a key, which is also its file name in a volume.
    #[must_use]
    #[track_caller]
    pub fn file(mut self, key: impl Of<DataKey>, text: impl Into<String>) -> Self {
        self.0.data.get_or_insert_default().insert(key.checked().into(), text.into());
        self
    }

    /// Adds bytes that are no text under a key.
    #[must_use]
    #[track_caller]
    pub fn bytes(mut self, key: impl Of<DataKey>, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.binary_data.get_or_insert_default().insert(key.checked().into(), ByteString(bytes.into()));
        self
    }

    /// Adds a file's content under its name, or those of all files in a folder. What is no text becomes bytes.
    ///
    /// Errors: what can't be read, or whose name is no key.
    ///
    /// ```no_run
    /// # use kprov::build::*;
    /// let site = ConfigMap::new("site").read("site/")?.read("nginx.conf")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read(mut self, path: impl AsRef<Path>) -> std::io::Result<Self> {
        for (key, content) in files::read(path.as_ref())? {
            self = match String::from_utf8(content) {
                Ok(text) => self.file(key, text),
                Err(error) => self.bytes(key, error.into_bytes()),
            };
        }
        Ok(self)
    }

    /// Never changes again; only deleting and making it anew does.
    #[must_use]
    pub fn immutable(mut self) -> Self {
        self.0.immutable = Some(true);
        self
    }

    /// One of its texts, for an environment variable.
    ///
    /// Panics when it has no such key: that is a mistake in the program, not in its input.
    #[must_use]
    #[track_caller]
    pub fn key(&self, key: impl Of<DataKey>) -> ConfigMapKey {
        KeyOf::present(self, key.checked(), self.0.data.iter().flat_map(|data| data.keys()))
    }
}
