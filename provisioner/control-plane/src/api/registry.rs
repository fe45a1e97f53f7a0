//! The kinds that are served right now, found by where their paths stand.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use kprov_schema::discovery::{self, Entry};
use kprov_schema::{KINDS, Kind, Resource, openapi};

use super::discovery as documents;
use super::review::REVIEWS;

/// Every kind that is served, as of one moment: the built-in ones and the defined ones.
///
/// It never changes: when definitions do, another one takes its place. What is derived from it is made once.
#[derive(Default)]
pub(crate) struct Registry {
    by_plural: HashMap<String, Vec<Arc<Kind>>>,
    entries: Vec<Entry>,
    ending: HashSet<Resource>,
    aggregated: [OnceLock<(Bytes, String)>; 2],
    schema_hashes: OnceLock<BTreeMap<String, String>>,
}

/// The kinds that one definition makes: one a version that is served.
#[derive(Clone)]
pub(crate) struct Defined {
    /// The kinds.
    pub(crate) kinds: Vec<Arc<Kind>>,
    /// Whether the definition is being deleted, and its objects with it.
    pub(crate) ending: bool,
}

impl Registry {
    /// The built-in kinds.
    pub(crate) fn built_in() -> Self {
        static ENTRIES: OnceLock<Vec<(Arc<Kind>, Entry)>> = OnceLock::new();
        let rows = ENTRIES.get_or_init(|| KINDS.iter().map(|kind| (Arc::new(kind.clone()), Entry::of(kind))).collect());
        let mut registry = Self::default();
        for (kind, entry) in rows {
            registry.add(kind.clone(), entry.clone());
        }
        let reviews = REVIEWS.iter().map(|review| review.kind);
        registry.entries.extend(reviews.filter_map(|(group, version, kind)| Entry::published(group, version, kind)));
        registry
    }

    /// The built-in kinds, then the defined ones that are not called like one of them.
    pub(crate) fn with<'a>(defined: impl IntoIterator<Item = &'a Defined>) -> Self {
        let mut registry = Self::built_in();
        for definition in defined {
            for kind in &definition.kinds {
                if registry.of(&kind.resource).is_some() {
                    continue;
                }
                let mut entry = Entry::of(kind);
                if definition.ending {
                    registry.ending.insert(kind.resource.clone());
                    entry.verbs.retain(|verb| !["create", "patch", "update"].contains(&verb.as_ref()));
                }
                registry.add(kind.clone(), entry);
            }
        }
        registry
    }

    fn add(&mut self, kind: Arc<Kind>, entry: Entry) {
        self.by_plural.entry(kind.resource.plural.to_string()).or_default().push(kind);
        self.entries.push(entry);
    }

    /// The kind at a group, version and plural.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let fits = |kind: &&Arc<Kind>| kind.resource.group == group && kind.resource.version == version;
        self.by_plural.get(plural)?.iter().find(fits)
    }

    /// The kind of a group, version and name.
    pub(crate) fn named(&self, group: &str, version: &str, name: &str) -> Option<&Arc<Kind>> {
        let fits =
            |kind: &&Arc<Kind>| kind.resource.group == group && kind.resource.version == version && kind.kind == name;
        self.by_plural.values().flatten().find(fits)
    }

    /// The other kinds that serve the objects of a kind.
    pub(crate) fn equivalents<'a>(&'a self, kind: &'a Kind) -> impl Iterator<Item = &'a Arc<Kind>> {
        let all = self.by_plural.get(kind.resource.plural.as_ref()).into_iter().flatten();
        all.filter(|one| one.resource != kind.resource && one.stored_resource() == kind.stored_resource())
    }

    /// The kind of a resource.
    pub(crate) fn of(&self, resource: &Resource) -> Option<&Arc<Kind>> {
        self.find(&resource.group, &resource.version, &resource.plural)
    }

    /// Whether this very row is what is served: another definition makes another row.
    pub(crate) fn serves(&self, kind: &Arc<Kind>) -> bool {
        !kind.is_custom() || self.of(&kind.resource).is_some_and(|now| Arc::ptr_eq(now, kind))
    }

    /// Whether the kind goes away: nothing new is created.
    pub(crate) fn is_ending(&self, resource: &Resource) -> bool {
        self.ending.contains(resource)
    }

    /// The defined kinds, each once: in the version that objects are stored in, if that is served.
    pub(crate) fn custom(&self) -> Vec<Arc<Kind>> {
        let mut all: Vec<Arc<Kind>> =
            self.by_plural.values().flatten().filter(|kind| kind.is_custom()).cloned().collect();
        let name = |kind: &Arc<Kind>| (kind.resource.group.clone(), kind.resource.plural.clone());
        all.sort_by_key(|kind| (name(kind), kind.resource != *kind.stored_resource(), kind.resource.version.clone()));
        all.dedup_by_key(|kind| name(kind));
        all
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
        self.schema_hashes.get_or_init(|| openapi::hashes(&self.entries))
    }
}
