//! The kinds that are served right now, found by where their paths stand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use kprov_schema::discovery::{self, Entry};
use kprov_schema::{KINDS, Kind, Resource, openapi};

use super::discovery as documents;
use super::documents::VERSION;
use super::review::REVIEWS;

/// Every kind that is served: the built-in ones, later the defined ones too. What is derived from it is made once.
#[derive(Default)]
pub(crate) struct Registry {
    by_plural: HashMap<String, Vec<Arc<Kind>>>,
    entries: Vec<Entry>,
    aggregated: [OnceLock<(Bytes, String)>; 2],
    schema_hashes: OnceLock<BTreeMap<String, String>>,
}

impl Registry {
    /// The built-in kinds.
    pub(crate) fn built_in() -> Self {
        let mut registry = Self::default();
        for kind in KINDS {
            let plural = kind.resource.plural.to_string();
            registry.by_plural.entry(plural).or_default().push(Arc::new(kind.clone()));
            registry.entries.push(Entry::of(kind));
        }
        let reviews = REVIEWS.iter().map(|review| review.kind);
        registry.entries.extend(reviews.filter_map(|(group, version, kind)| Entry::published(group, version, kind)));
        registry
    }

    /// The kind at a group, version and plural.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let fits = |kind: &&Arc<Kind>| kind.resource.group == group && kind.resource.version == version;
        self.by_plural.get(plural)?.iter().find(fits)
    }

    /// The kind of a group, version and name.
    pub(crate) fn named(&self, group: &str, version: &str, name: &str) -> Option<&Kind> {
        let fits =
            |kind: &&Arc<Kind>| kind.resource.group == group && kind.resource.version == version && kind.kind == name;
        self.by_plural.values().flatten().find(fits).map(|kind| &**kind)
    }

    /// The kind of a resource.
    pub(crate) fn of(&self, resource: &Resource) -> Option<&Arc<Kind>> {
        self.find(&resource.group, &resource.version, &resource.plural)
    }

    /// What discovery says of the kinds.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The aggregated discovery document of the core group, or of all others, with its hash.
    pub(crate) fn aggregated(&self, core: bool) -> &(Bytes, String) {
        self.aggregated[usize::from(core)].get_or_init(|| {
            let document = documents::text(&discovery::aggregated(&self.entries, core));
            let hash = discovery::hash(&document);
            (document, hash)
        })
    }

    /// The hash of every OpenAPI document, by name.
    pub(crate) fn schema_hashes(&self) -> &BTreeMap<String, String> {
        self.schema_hashes.get_or_init(|| openapi::hashes(&self.entries, VERSION))
    }
}
