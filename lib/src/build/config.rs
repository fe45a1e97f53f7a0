//! Config maps.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Texts that pods read as files or environment.
///
/// Example: `ConfigMap::new("site").file("index.html", "<h1>hello</h1>").build()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMap {
    name: String,
    data: BTreeMap<String, String>,
}

impl ConfigMap {
    /// An empty config map.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), data: BTreeMap::new() }
    }

    /// Adds a text under a key, which is also its file name in a volume.
    #[must_use]
    pub fn file(mut self, key: impl Into<String>, text: impl Into<String>) -> Self {
        self.data.insert(key.into(), text.into());
        self
    }

    /// The object.
    #[must_use]
    pub fn build(&self) -> core::ConfigMap {
        core::ConfigMap {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            data: Some(self.data.clone()),
            ..core::ConfigMap::default()
        }
    }
}
