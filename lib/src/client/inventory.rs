//! What the cluster remembers of a bundle: a label on each object that it made, and one ConfigMap that says where to look.
//!
//! The form is that of kubectl's ApplySets, so that kubectl sees whose the objects are and leaves them alone.
//! Source: <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/#alternative-kubectl-apply-f-directory-prune>

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kprov_schema::Object;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::ClientError;
use super::objects::Objects;
use super::place::Id;
use super::{Client, MANAGER};

const ID: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";

/// The label of an object that a bundle made: the id of the bundle's inventory.
pub(super) const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// How often an inventory that others write too is tried again.
const TRIES: usize = 5;

/// A bundle as the cluster knows it.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// Name of its ConfigMap.
    pub(super) parent: String,
    /// Namespace of its ConfigMap.
    pub(super) namespace: String,
    /// Value of its label.
    pub(super) id: String,
}

/// Where to look for what a bundle made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// `Kind.group`, or `Kind` of the core group.
    pub(super) kinds: BTreeSet<String>,
    /// Namespaces.
    pub(super) namespaces: BTreeSet<String>,
}

impl Set {
    pub(super) fn new(bundle: &str, namespace: &str) -> Self {
        let parent = format!("kprov-{bundle}");
        let digest = Sha256::digest(format!("{parent}.{namespace}.ConfigMap."));
        let id = format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(digest));
        Self { parent, namespace: namespace.to_owned(), id }
    }

    /// The bundle whose inventory a ConfigMap is; `None` when it is that of another tool.
    fn of(document: &Object) -> Option<Self> {
        let set = Self::new(document.name().strip_prefix("kprov-")?, document.namespace());
        set.is_of(document).then_some(set)
    }

    /// Whether an object is the namespace of the inventory.
    pub(super) fn is_in(&self, id: &Id) -> bool {
        is_namespace(id) && id.name == self.namespace
    }

    fn is_of(&self, document: &Object) -> bool {
        let ours = document.annotation(TOOLING).is_some_and(|tool| tool.starts_with("kprov/"));
        ours && document.label(ID) == Some(&self.id)
    }

    /// The ConfigMap that says where to look.
    fn document(&self, reach: &Reach) -> Object {
        let namespaces: Vec<&str> =
            reach.namespaces.iter().map(String::as_str).filter(|name| *name != self.namespace).collect();
        let kinds: Vec<&str> = reach.kinds.iter().map(String::as_str).collect();
        let document = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": self.parent, "namespace": self.namespace,
                "labels": {ID: self.id},
                "annotations": {
                    TOOLING: concat!("kprov/v", env!("CARGO_PKG_VERSION")),
                    KINDS: kinds.join(","),
                    NAMESPACES: namespaces.join(","),
                },
            },
        });
        Object::try_from(document).expect("it is a map")
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigMap {}/{}", self.namespace, self.parent)
    }
}

/// Whether an object is a namespace.
pub(super) fn is_namespace(id: &Id) -> bool {
    (id.api_version.as_str(), id.kind.as_str()) == ("v1", "Namespace")
}

impl Reach {
    /// Where these objects are.
    pub(super) fn of<'a>(ids: impl Iterator<Item = &'a Id>) -> Self {
        let mut reach = Self::default();
        for id in ids {
            let group = id.group();
            reach.kinds.insert(if group.is_empty() { id.kind.clone() } else { format!("{}.{group}", id.kind) });
            if !id.namespace.is_empty() {
                reach.namespaces.insert(id.namespace.clone());
            }
        }
        reach
    }

    /// Both together.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            kinds: self.kinds.union(&other.kinds).cloned().collect(),
            namespaces: self.namespaces.union(&other.namespaces).cloned().collect(),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        self.kinds.is_superset(&other.kinds) && self.namespaces.is_superset(&other.namespaces)
    }

    fn without(&self, other: &Self) -> Self {
        Self {
            kinds: self.kinds.difference(&other.kinds).cloned().collect(),
            namespaces: self.namespaces.difference(&other.namespaces).cloned().collect(),
        }
    }

    fn read(document: &Object) -> Self {
        let words = |key| {
            let text = document.annotation(key).unwrap_or_default();
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let mut reach = Self { kinds: words(KINDS), namespaces: words(NAMESPACES) };
        reach.namespaces.insert(document.namespace().to_owned());
        reach
    }

    /// Whether there is nothing to look for.
    fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

/// Group and kind of `Kind.group`.
pub(super) fn group_kind(text: &str) -> (&str, &str) {
    text.split_once('.').map_or(("", text), |(kind, group)| (group, kind))
}

impl Client {
    fn inventories(&self, set: &Set) -> Objects<Object> {
        self.clone().in_namespace(set.namespace.as_str()).of_kind("v1", "ConfigMap")
    }

    /// Where the last apply said to look, before any of its objects was made.
    pub(super) async fn remembered(&self, set: &Set) -> Result<Reach, ClientError> {
        let document = self.inventories(set).get_if_exists(&set.parent).await?;
        document.map_or_else(|| Ok(Reach::default()), |document| self.checked(set, &document))
    }

    fn checked(&self, set: &Set, document: &Object) -> Result<Reach, ClientError> {
        if set.is_of(document) {
            return Ok(Reach::read(document));
        }
        Err(ClientError::Object {
            object: set.to_string(),
            why: format!(
                "kprov remembers the bundle under this name, and it is something else: choose another name for the bundle, or remove it (label {ID} or annotation {TOOLING} is not kprov's)"
            ),
        })
    }

    /// Makes the inventory cover `reach` beside what it has. Writes nothing when it does.
    pub(super) async fn widen(&self, set: &Set, reach: &Reach) -> Result<Reach, ClientError> {
        self.write_inventory(set, |before| before.and(reach)).await
    }

    /// Takes what was `searched` out of the inventory, but for where objects of the bundle still are; an inventory of
    /// nothing goes.
    ///
    /// Another apply of the bundle may be under way. What it added stays, as it was not searched. What it makes where
    /// this one searched before is seen by the one that looks last: this one looks again after its write, and
    /// [`Client::widen`] is asked again after every apply that made something.
    pub(super) async fn narrow(&self, set: &Set, searched: &Reach, kept: &Reach) -> Result<(), ClientError> {
        let narrowed = self.write_inventory(set, |before| before.without(searched).and(kept)).await?;
        if narrowed.covers(searched) {
            return Ok(());
        }
        let left = self.leaving(set, searched, &[]).await?;
        let left = Reach::of(left.iter().map(|(id, ..)| id));
        if narrowed.covers(&left) { Ok(()) } else { self.widen(set, &left).await.map(drop) }
    }

    /// Writes what `change` makes of the inventory, unless that is what it says. A writer in between is read again.
    async fn write_inventory(&self, set: &Set, change: impl Fn(&Reach) -> Reach) -> Result<Reach, ClientError> {
        let mut tries = 1;
        loop {
            let live = self.inventories(set).get_if_exists(&set.parent).await?;
            let before = live.as_ref().map(|document| self.checked(set, document)).transpose()?.unwrap_or_default();
            let mut after = change(&before);
            after.namespaces.insert(set.namespace.clone());
            match self.replace_inventory(set, live, &after).await {
                Ok(()) => return Ok(after),
                Err(error) if tries < TRIES && error.api().is_some_and(|api| api.code() == 409) => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Errors: [`ClientError::Api`] with code 409 when the inventory is not as it was read any more.
    async fn replace_inventory(&self, set: &Set, live: Option<Object>, reach: &Reach) -> Result<(), ClientError> {
        let maps = self.inventories(set);
        let mut document = set.document(reach);
        match live {
            None if reach.is_empty() => Ok(()),
            None => maps.create(&document).await.map(drop),
            Some(live) if reach.is_empty() => {
                let (id, place) = self.locate(&live).await?;
                let as_read = live.text(&["metadata", "resourceVersion"]).map(str::to_owned);
                self.delete_this(&id, &place, &live, as_read).await.map(drop)
            }
            Some(live) if same_words(&live, &document) => Ok(()),
            Some(live) => {
                let revision = live.at(&["metadata", "resourceVersion"]).cloned().unwrap_or(Value::Null);
                document.set(&["metadata", "resourceVersion"], revision);
                maps.replace(&document).await.map(drop)
            }
        }
    }

    /// Forgets sets of which nothing is left, by the ids on objects that were deleted and by `own`.
    pub(super) async fn forget_empty(&self, own: &Set, mut ids: BTreeSet<String>) -> Result<(), ClientError> {
        let nothing_tracked = ids.is_empty();
        ids.insert(own.id.clone());
        let ids: Vec<String> = ids.into_iter().collect();
        let labels = format!("{ID} in ({})", ids.join(","));
        let found = match self.inventories(own).list_everywhere(&labels).await {
            Err(error) if is_forbidden(&error) => match self.inventories(own).list(&labels).await {
                // Who may not read it has tracked nothing here.
                Err(error) if is_forbidden(&error) && nothing_tracked => Vec::new(),
                found => found?,
            },
            found => found?,
        };
        for document in found {
            let Some(set) = Set::of(&document) else { continue };
            let reach = Reach::read(&document);
            if self.leaving(&set, &reach, &[]).await?.is_empty() {
                self.narrow(&set, &reach, &Reach::default()).await?;
            }
        }
        Ok(())
    }
}

fn is_forbidden(error: &ClientError) -> bool {
    error.api().is_some_and(|api| api.code() == 403)
}

fn same_words(live: &Object, document: &Object) -> bool {
    [KINDS, NAMESPACES].iter().all(|key| live.annotation(key) == document.annotation(key))
}

/// Whether an object was applied by kprov, as its managers say.
pub(super) fn is_ours(object: &Object) -> bool {
    let managers = object.at(&["metadata", "managedFields"]).and_then(Value::as_array);
    let applied = |entry: &Value| {
        let whole = entry["subresource"].as_str().unwrap_or_default().is_empty();
        entry["manager"] == MANAGER && entry["operation"] == "Apply" && whole
    };
    managers.into_iter().flatten().any(applied)
}

/// Why an object can't be part of the bundle: another one made it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign(pub(super) String);

/// The label that an object gets when it is applied.
///
/// What the bundle makes gets its label, what it made keeps it, what was there before gets none. An apply that tracks
/// nothing leaves the label that an earlier one gave: without it the object would be forgotten.
pub(super) fn membership(live: Option<&Object>, set: Option<&Set>) -> Result<Option<String>, Foreign> {
    let mine = set.map(|set| set.id.clone());
    let Some(live) = live else { return Ok(mine) };
    let label = live.label(PART_OF).filter(|_| is_ours(live));
    match (label, mine) {
        (None, _) => Ok(None),
        (Some(label), None) => Ok(Some(label.to_owned())),
        (Some(label), Some(mine)) if label == mine => Ok(Some(mine)),
        (Some(label), Some(_)) => Err(Foreign(label.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(label: Option<&str>, manager: &str) -> Object {
        let labels = label.map(|label| json!({PART_OF: label})).unwrap_or_default();
        let fields = json!([{"manager": manager, "operation": "Apply"}]);
        Object::try_from(json!({"metadata": {"labels": labels, "managedFields": fields}})).unwrap()
    }

    #[test]
    fn the_id_is_that_of_an_apply_set() {
        // The hash of "kprov-shop.default.ConfigMap." as kubectl would take it.
        let set = Set::new("shop", "default");
        assert_eq!(set.id.len(), "applyset-".len() + 43 + "-v1".len());
        assert_eq!(set.id, Set::new("shop", "default").id);
        assert_ne!(set.id, Set::new("shop", "other").id);
    }

    #[test]
    fn an_inventory_reads_what_it_wrote() {
        let id = |api_version: &str, kind: &str, namespace: &str| Id {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: "x".to_owned(),
        };
        let ids = [id("apps/v1", "Deployment", "default"), id("v1", "Secret", "other"), id("v1", "Namespace", "")];
        let reach = Reach::of(ids.iter());
        let document = Set::new("shop", "default").document(&reach);
        assert_eq!(document.annotation(KINDS), Some("Deployment.apps,Namespace,Secret"));
        assert_eq!(document.annotation(NAMESPACES), Some("other"));
        assert_eq!(Reach::read(&document), reach);
        assert_eq!(group_kind("Deployment.apps"), ("apps", "Deployment"));
        assert_eq!(group_kind("Secret"), ("", "Secret"));
    }

    #[test]
    fn only_what_the_bundle_makes_gets_its_label() {
        let set = Set::new("shop", "default");
        let mine = || Ok(Some(set.id.clone()));
        assert_eq!(membership(None, Some(&set)), mine(), "it is made");
        assert_eq!(membership(Some(&object(Some(&set.id), MANAGER)), Some(&set)), mine(), "it was made");
        assert_eq!(membership(Some(&object(None, MANAGER)), Some(&set)), Ok(None), "it was there before");
        assert_eq!(membership(Some(&object(Some(&set.id), "other")), Some(&set)), Ok(None), "others copied the label");
        assert_eq!(membership(Some(&object(Some("x"), MANAGER)), Some(&set)), Err(Foreign("x".to_owned())));
        assert_eq!(membership(Some(&object(Some("x"), MANAGER)), None), Ok(Some("x".to_owned())), "nobody forgets it");
        assert_eq!(membership(None, None), Ok(None));
    }
}
