//! The kinds that are served right now, found by where their paths stand.

use std::collections::HashMap;
use std::sync::Arc;

use kprov_schema::{KINDS, Kind, Resource};

/// Every kind that is served: the built-in ones, later the defined ones too.
#[derive(Default)]
pub(crate) struct Registry {
    by_plural: HashMap<String, Vec<Arc<Kind>>>,
}

impl Registry {
    /// The built-in kinds.
    pub(crate) fn built_in() -> Self {
        let mut registry = Self::default();
        for kind in KINDS {
            let kind = Arc::new(kind.clone());
            registry.by_plural.entry(kind.resource.plural.to_string()).or_default().push(kind);
        }
        registry
    }

    /// The kind at a group, version and plural.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let fits = |kind: &&Arc<Kind>| kind.resource.group == group && kind.resource.version == version;
        self.by_plural.get(plural)?.iter().find(fits)
    }

    /// The kind of a resource.
    pub(crate) fn of(&self, resource: &Resource) -> Option<&Arc<Kind>> {
        self.find(&resource.group, &resource.version, &resource.plural)
    }
}
