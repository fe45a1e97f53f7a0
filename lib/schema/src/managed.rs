//! Who owns which field of an object, and what server-side apply makes of that.
//!
//! An object's fields are told apart by its structure: entries of maps and items of keyed lists and sets each by
//! itself, all else as one piece. A write makes its manager the owner of what it changes ([`Scene::update`]); an apply
//! merges a configuration, asks the other owners, and takes away what its manager no longer applies ([`Scene::apply`]).
//!
//! Source: <https://kubernetes.io/docs/reference/using-api/server-side-apply/>, structured-merge-diff,
//! apimachinery `util/managedfields`.

use serde_json::{Value, json};

use crate::kind::Reset;
use crate::object::Object;
use crate::status::Status;
use crate::structure::Ref;

mod check;
mod compare;
mod element;
mod entry;
mod extract;
mod fit;
mod form;
mod last_applied;
mod merge;
mod remove;
mod scale;
mod set;

pub use compare::{Comparison, compare};
pub use element::Element;
pub use entry::{Entry, Managed, Operation, same_but_times};
pub use extract::fields_of;
pub use merge::merge;
pub use remove::remove;
pub use scale::{scaled, shown_in_scale};
pub use set::Set;

/// So many managers that update, and no more, are told apart.
const MOST_UPDATERS: usize = 10;
/// The manager that the oldest are folded into.
const ANCIENT: &str = "ancient-changes";
/// The manager of what was there when nobody owned anything.
const BEFORE: &str = "before-first-apply";
/// What nobody owns: the server says it, or the path does.
const NOBODYS: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// An object in another version of its kind, with that version's structure; `None` when there is no such version.
pub type InVersion<'a> = &'a dyn Fn(&Object, &str) -> Option<(Ref, Object)>;
/// An object from another version of its kind back into that of the request.
pub type FromVersion<'a> = &'a dyn Fn(Object, &str) -> Option<Object>;

/// Where a write takes place, and who writes.
pub struct Scene<'a> {
    /// The structure of the kind, in the version of the request.
    pub structure: Ref,
    /// That version, such as `apps/v1`.
    pub api_version: &'a str,
    /// Who writes.
    pub manager: &'a str,
    /// The part of the object that is written; empty for the object itself.
    pub subresource: &'a str,
    /// What can't be owned through this door.
    pub reset: Reset,
    /// When.
    pub now: Value,
    /// The kind in its other versions.
    pub in_version: InVersion<'a>,
    /// Back from them.
    pub from_version: FromVersion<'a>,
}

/// Why an apply was refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// Other managers own fields that would change: each with its field.
    Conflicts(Vec<(Entry, Vec<Element>)>),
    /// The configuration does not fit.
    Status(Status),
}

/// What an apply makes of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object, without its managers.
    pub object: Object,
    /// Its managers.
    pub managed: Managed,
}

impl Scene<'_> {
    fn me(&self, operation: Operation, fields: Set) -> Entry {
        Entry {
            manager: if self.manager.is_empty() { "unknown" } else { self.manager }.to_owned(),
            operation,
            subresource: self.subresource.to_owned(),
            api_version: self.api_version.to_owned(),
            time: Value::Null,
            fields,
        }
    }

    /// The object as the server would have made it of nothing: what stands there already, nobody brought.
    fn nothing(&self) -> Object {
        let mut map = serde_json::Map::new();
        crate::canonical::structured(&self.structure, &mut map);
        Object::from(map)
    }

    /// Who owns what after a write that made `new` of `live`; neither says who owns its fields.
    ///
    /// `live` is `None` for a creation. Objects that nobody owned a field of stay so, and nobody owns a field of one
    /// whose items can't be told apart.
    #[must_use]
    pub fn update(&self, live: Option<&Object>, new: &Object, before: Managed) -> Managed {
        if live.is_some() && before.0.is_empty() {
            return before;
        }
        let nothing = live.is_none().then(|| self.nothing());
        let Some(live) = live.or(nothing.as_ref()) else { return before };
        self.changed(live, new, before, self.me(Operation::Update, Set::default()))
    }

    /// The same for objects that are there, and a manager of its own.
    fn changed(&self, live: &Object, new: &Object, before: Managed, mut me: Entry) -> Managed {
        let before = fit::fitted(self, before, live);
        let (mut managed, comparison, _) = self.shifted(live, new, before, None);
        if comparison.untold {
            return Managed::default();
        }
        me.fields = comparison.set().difference(&Set::of_fields(NOBODYS));
        if !me.fields.is_empty() {
            if let Some(earlier) = managed.get(&me) {
                me.fields = me.fields.union(&earlier.fields);
            }
            me.time = self.now.clone();
            managed.put(me);
        }
        capped(managed)
    }

    /// Takes from every manager but one what changed. Also returns what changed, and what was taken from whom.
    fn shifted(
        &self,
        live: &Object,
        new: &Object,
        before: Managed,
        but: Option<&Entry>,
    ) -> (Managed, Comparison, Vec<(Entry, Set)>) {
        let mut versions = vec![(self.api_version.to_owned(), Some(self.compared(&self.structure, live, new)))];
        let mut taken = Vec::new();
        let mut managed = Managed::default();
        for mut entry in before.0 {
            if but.is_some_and(|but| but.is_of(&entry)) {
                managed.0.extend((!entry.fields.is_empty()).then_some(entry));
                continue;
            }
            let known = versions.iter().position(|(version, _)| *version == entry.api_version);
            let known = known.unwrap_or_else(|| {
                versions.push((entry.api_version.clone(), self.compared_in(&entry.api_version, live, new)));
                versions.len() - 1
            });
            // A version that is no more has no owners.
            let Some(comparison) = &versions[known].1 else { continue };
            if !comparison.is_same() {
                let conflict = entry.fields.intersection(&comparison.set());
                entry.fields = entry.fields.difference(&conflict).difference(&comparison.removed);
                if !conflict.is_empty() {
                    taken.push((entry.clone(), conflict));
                }
            }
            managed.0.extend((!entry.fields.is_empty()).then_some(entry));
        }
        let comparison = versions.swap_remove(0).1.unwrap_or_default();
        (managed, comparison, taken)
    }

    fn compared(&self, structure: &Ref, live: &Object, new: &Object) -> Comparison {
        let Comparison { added, modified, removed, untold } = compare(structure, live, new);
        Comparison {
            untold,
            added: self.reset.kept(added),
            modified: self.reset.kept(modified),
            removed: self.reset.kept(removed),
        }
    }

    fn compared_in(&self, version: &str, live: &Object, new: &Object) -> Option<Comparison> {
        let (structure, live) = (self.in_version)(live, version)?;
        let (_, new) = (self.in_version)(new, version)?;
        Some(self.compared(&structure, &live, &new))
    }

    /// Applies a configuration. `live` is `None` when the object is not there yet, and does not say who owns its fields.
    pub fn apply(
        &self,
        live: Option<&Object>,
        config: &Object,
        before: Managed,
        force: bool,
    ) -> Result<Applied, Refusal> {
        let nothing = self.nothing();
        let before = match live {
            Some(live) if before.0.is_empty() => {
                let first = Entry { manager: BEFORE.to_owned(), ..self.me(Operation::Update, Set::default()) };
                self.changed(&nothing, live, before, first)
            }
            _ => before,
        };
        let live = live.unwrap_or(&nothing);
        self.fits(config)?;
        let merged = self.merged(live, config, before.clone(), force);
        let mut applied = match merged {
            Err(Refusal::Conflicts(conflicts)) => {
                let left = last_applied::not_allowed(self, live, conflicts);
                if !left.is_empty() {
                    return Err(Refusal::Conflicts(left));
                }
                self.merged(live, config, before, true)?
            }
            other => other?,
        };
        last_applied::follow(self, &mut applied.object, config);
        Ok(applied)
    }

    /// Whether a configuration can be applied here at all.
    fn fits(&self, config: &Object) -> Result<(), Refusal> {
        if config.at(&["metadata", "managedFields"]).is_some_and(|value| !value.is_null()) {
            return Err(Refusal::Status(Status::bad_request("metadata.managedFields must be nil")));
        }
        let errors = check::check(&self.structure, config);
        if errors.is_empty() {
            return Ok(());
        }
        let (group, version) = config.api_version().rsplit_once('/').unwrap_or(("", config.api_version()));
        let text = format!(
            "failed to create typed patch object ({}/{}; {group}/{version}, Kind={}): {}",
            config.namespace(),
            config.name(),
            config.kind(),
            check::joined(&errors)
        );
        Err(Refusal::Status(Status::failure(500, "", text)))
    }

    fn merged(&self, live: &Object, config: &Object, before: Managed, force: bool) -> Result<Applied, Refusal> {
        let mut managed = fit::fitted(self, before, live);
        let mut me = self.me(Operation::Apply, self.reset.kept(fields_of(&self.structure, config)));
        let last = managed.get(&me).cloned();
        me.time = last.as_ref().map_or(Value::Null, |last| last.time.clone());
        managed.put(me.clone());
        let object = self.pruned(merge(&self.structure, live, config), &managed, last.as_ref());
        let (mut managed, _, taken) = self.shifted(live, &object, managed, Some(&me));
        if !force && !taken.is_empty() {
            return Err(Refusal::Conflicts(conflicts(taken)));
        }
        let same = element::same(&json!(live.map()), &json!(object.map()));
        if let Some(mine) = managed.0.iter_mut().find(|one| one.is_of(&me)) {
            mine.fields = mine.fields.difference(&Set::of_fields(NOBODYS));
            if !same {
                mine.time = self.now.clone();
            }
        }
        managed.0.retain(|entry| !entry.fields.is_empty());
        Ok(Applied { object, managed })
    }

    /// Takes away what the manager applied last time and does not now, and nobody else owns.
    fn pruned(&self, merged: Object, managed: &Managed, last: Option<&Entry>) -> Object {
        let Some(last) = last.filter(|last| !last.fields.is_empty()) else { return merged };
        let (structure, whole) = match self.in_its_version(&merged, &last.api_version) {
            Some(found) => found,
            None => return merged,
        };
        let with_structs = |set: &Set, structure: &Ref| fit::with_structs(structure, set);
        let mut pruned = remove(&structure, whole.clone(), &with_structs(&last.fields, &structure));
        // Every version has its own word for what its managers own; that of the pruned one comes first.
        let mut versions: Vec<&str> = vec![&last.api_version];
        versions.extend(managed.0.iter().map(|entry| entry.api_version.as_str()));
        versions.dedup();
        let mut seen: Vec<&str> = Vec::new();
        for version in versions {
            if seen.contains(&version) {
                continue;
            }
            seen.push(version);
            let owners = managed.0.iter().filter(|entry| entry.api_version == version);
            let owned = owners.fold(Set::default(), |set, entry| set.union(&entry.fields));
            if let Some(object) = self.with_owned(&merged, &pruned, &last.api_version, version, &owned) {
                pruned = object;
            }
        }
        // What the manager did not own goes by no hand of its.
        let named = |object: &Object| with_structs(&fields_of(&structure, object), &structure);
        let gone = named(&whole).difference(&named(&pruned)).intersection(&with_structs(&last.fields, &structure));
        let pruned = remove(&structure, whole, &gone);
        if last.api_version == self.api_version {
            return pruned;
        }
        (self.from_version)(pruned, &last.api_version).unwrap_or(merged)
    }

    fn in_its_version(&self, object: &Object, version: &str) -> Option<(Ref, Object)> {
        if version == self.api_version {
            return Some((self.structure.clone(), object.clone()));
        }
        (self.in_version)(object, version)
    }

    /// What was pruned, with what is owned in `version`; both objects are looked at in that version.
    fn with_owned(
        &self,
        merged: &Object,
        pruned: &Object,
        pruned_version: &str,
        version: &str,
        owned: &Set,
    ) -> Option<Object> {
        let (structure, whole) = self.in_its_version(merged, version)?;
        let pruned = if version == pruned_version {
            pruned.clone()
        } else {
            let mine = if pruned_version == self.api_version {
                pruned.clone()
            } else {
                (self.from_version)(pruned.clone(), pruned_version)?
            };
            self.in_its_version(&mine, version)?.1
        };
        let named = |set: &Set| fit::with_structs(&structure, set);
        let kept = named(&fields_of(&structure, &pruned)).union(&named(owned));
        let gone = named(&fields_of(&structure, &whole)).difference(&kept);
        let object = remove(&structure, whole, &gone);
        if version == pruned_version {
            return Some(object);
        }
        let mine = if version == self.api_version { object } else { (self.from_version)(object, version)? };
        Some(self.in_its_version(&mine, pruned_version)?.1)
    }
}

/// The conflicts one by one, by manager.
fn conflicts(mut taken: Vec<(Entry, Set)>) -> Vec<(Entry, Vec<Element>)> {
    taken.sort_by(|(a, _), (b, _)| a.rank().cmp(&b.rank()));
    let each = |(entry, fields): (Entry, Set)| fields.paths().into_iter().map(move |path| (entry.clone(), path));
    taken.into_iter().flat_map(each).collect()
}

/// Folds the oldest managers that update into one a version, when there are too many.
fn capped(mut managed: Managed) -> Managed {
    let is_updater = |entry: &&Entry| entry.operation == Operation::Update;
    let mut count = managed.0.iter().filter(is_updater).count();
    if count <= MOST_UPDATERS {
        return managed;
    }
    let mut oldest: Vec<Entry> = managed.0.iter().filter(is_updater).cloned().collect();
    oldest.sort_by(|a, b| entry::seconds(&a.time).cmp(&entry::seconds(&b.time)).then_with(|| a.rank().cmp(&b.rank())));
    let mut first: Vec<Entry> = Vec::new();
    for one in oldest {
        if count <= MOST_UPDATERS {
            break;
        }
        let Some(other) = first.iter().find(|other| other.api_version == one.api_version).cloned() else {
            first.push(one);
            continue;
        };
        let mut bucket = Entry { manager: ANCIENT.to_owned(), subresource: String::new(), ..one.clone() };
        let so_far = match managed.get(&bucket).cloned() {
            Some(there) => there.fields,
            None => {
                managed.0.retain(|entry| !entry.is_of(&other));
                other.fields
            }
        };
        bucket.fields = one.fields.union(&so_far);
        managed.0.retain(|entry| !entry.is_of(&one));
        managed.put(bucket);
        count -= 1;
    }
    managed
}

impl Refusal {
    /// The answer to the client.
    #[must_use]
    pub fn into_status(self) -> Status {
        let conflicts = match self {
            Self::Status(status) => return status,
            Self::Conflicts(conflicts) => conflicts,
        };
        let shown = |path: &[Element]| path.iter().map(ToString::to_string).collect::<String>();
        let causes: Vec<Value> = conflicts
            .iter()
            .map(|(entry, path)| {
                let message = format!("conflict with {}", entry.named());
                json!({"reason": "FieldManagerConflict", "message": message, "field": shown(path)})
            })
            .collect();
        let message = match conflicts.as_slice() {
            [(entry, path)] => {
                format!("Apply failed with 1 conflict: conflict with {}: {}", entry.named(), shown(path))
            }
            all => {
                let mut lines: Vec<String> = Vec::new();
                let mut last: Option<&Entry> = None;
                for (entry, path) in all {
                    if !last.is_some_and(|last| last.is_of(entry)) {
                        lines.push(format!("conflicts with {}:", entry.named()));
                        last = Some(entry);
                    }
                    lines.push(format!("- {}", shown(path)));
                }
                format!("Apply failed with {} conflicts: {}", all.len(), lines.join("\n"))
            }
        };
        let mut details = serde_json::Map::new();
        details.insert("causes".to_owned(), Value::Array(causes));
        Status { details: Some(details), ..Status::failure(409, "Conflict", message) }
    }
}
