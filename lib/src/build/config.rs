//! Config maps and secrets: texts that pods read as files or environment.

use k8s_openapi::api::core::v1 as core;

use super::env::{ConfigMapKey, KeyOf, SecretKey};
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
    /// # let _ = web;
    /// ```
    namespaced ConfigMap(core::ConfigMap)
}

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

    /// One of its texts, for an environment variable.
    ///
    /// Panics when it has no such key: that is a mistake in the program, not in its input.
    #[must_use]
    #[track_caller]
    pub fn key(&self, key: impl Of<DataKey>) -> ConfigMapKey {
        KeyOf::present(self, key.checked(), self.0.data.iter().flat_map(|data| data.keys()))
    }
}

object! {
    /// Texts that few may read.
    ///
    /// ```
    /// use kprov::build::*;
    /// let db = Secret::new("db").text("password", "s3cret");
    /// let web = Container::new("web", "nginx:1.27").env("PASSWORD", db.key("password"));
    /// # let _ = web;
    /// ```
    namespaced Secret(core::Secret)
}

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
}
