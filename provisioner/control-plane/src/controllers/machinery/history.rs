//! ControllerRevisions: the templates that a set has had, so that it can go back to one.
//!
//! Source: upstream `pkg/controller/history/controller_history.go`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kprov_schema::{Key, Object, Resource, Uid};
use serde_json::{Value, json};

use super::action::Action;
use super::meta::controlled_by;
use super::snapshot::{Seen, Snapshot};
use crate::informer::Unreadable;

/// The revisions of a set, with the one of its present template among them.
pub struct History {
    /// All that it has, oldest first. The newest may be about to be made.
    pub revisions: Vec<Revision>,
    /// Where the one of the present template is.
    present: usize,
    /// How often a name was taken by another template.
    pub collisions: i32,
    /// What makes it so.
    pub actions: Vec<Action>,
}

/// A template that a set has or had.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Name of its ControllerRevision.
    pub name: String,
    /// The value of its label: the hash.
    pub hash: String,
    /// Rises with every change of the template.
    pub number: i64,
    /// The patch that brings the template back.
    data: Value,
    uid: Option<Uid>,
}

impl Revision {
    fn of(seen: &Seen<ControllerRevision>, label: &str) -> Self {
        Self {
            name: seen.raw.name().to_owned(),
            hash: seen.raw.label(label).unwrap_or_default().to_owned(),
            number: seen.revision.unwrap_or(0),
            data: seen.data.0.clone(),
            uid: Some(seen.raw.uid()),
        }
    }

    /// The template.
    #[must_use]
    pub fn template(&self) -> Option<&Value> {
        self.data.pointer("/spec/template")
    }
}

impl History {
    /// The history of a set that controls `seen`. `label` is where these carry their hash, `collisions` what the set's
    /// status counts.
    ///
    /// A template that the set had before is made the newest again instead of being written twice.
    pub fn of<O>(
        owner: &Seen<O>,
        mut seen: Vec<Seen<ControllerRevision>>,
        world: &Snapshot,
        label: &str,
        collisions: Option<i32>,
    ) -> Result<Self, Unreadable> {
        seen.sort_by_key(|one| (one.revision, one.metadata.creation_timestamp.clone(), one.raw.name().to_owned()));
        let revisions: Vec<Revision> = seen.iter().map(|one| Revision::of(one, label)).collect();
        let data = data(&owner.raw);
        let present = revisions.iter().rposition(|one| one.data == data);
        let collisions = collisions.unwrap_or(0);
        let mut history = Self { present: present.unwrap_or(0), revisions, collisions, actions: Vec::new() };
        match present {
            Some(at) if at + 1 == history.revisions.len() => {}
            Some(at) => history.renew(at, &seen[at].raw),
            None => history.add(&owner.raw, world, label, data)?,
        }
        Ok(history)
    }

    /// The one of the present template.
    #[must_use]
    pub fn present(&self) -> &Revision {
        &self.revisions[self.present]
    }

    /// Those of earlier templates.
    pub fn past(&self) -> impl Iterator<Item = &Revision> {
        self.revisions.iter().enumerate().filter(|(at, _)| *at != self.present).map(|(_, one)| one)
    }

    /// Deletes the oldest of those that `lives` does not hold for, beyond `limit`.
    pub fn truncate(&self, owner: &Object, limit: Option<i32>, lives: impl Fn(&Revision) -> bool) -> Vec<Action> {
        let retired: Vec<&Revision> = self.past().filter(|one| !lives(one)).collect();
        let surplus = retired.len().saturating_sub(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10));
        let delete = |one: &&Revision| {
            let key = Key::new(owner.namespace(), &*one.name);
            one.uid.as_ref().map(|uid| Action::delete(Resource::of::<ControllerRevision>(), key, uid))
        };
        retired.iter().take(surplus).filter_map(delete).collect()
    }

    fn next_number(&self) -> i64 {
        self.revisions.last().map_or(1, |one| one.number + 1)
    }

    /// Makes an earlier revision the newest.
    fn renew(&mut self, at: usize, raw: &Object) {
        let mut object = raw.clone();
        let number = self.next_number();
        object.set(&["revision"], json!(number));
        self.actions.push(Action::update(Resource::of::<ControllerRevision>(), object));
        let mut revision = self.revisions.remove(at);
        revision.number = number;
        self.push(revision);
    }

    /// Writes the present template down under a name that no other template has.
    fn add(&mut self, owner: &Object, world: &Snapshot, label: &str, data: Value) -> Result<(), Unreadable> {
        loop {
            let hash = hash(&data, self.collisions);
            let name = name(owner.name(), &hash);
            let taken = world.get::<ControllerRevision>(&Key::new(owner.namespace(), &*name))?;
            if taken.as_ref().is_some_and(|one| one.data.0 != data) {
                self.collisions += 1;
                continue;
            }
            // One that a set of this name left behind serves until it is collected.
            let uid = taken.map(|one| one.raw.uid());
            let revision = Revision { name, hash, number: self.next_number(), data, uid };
            if revision.uid.is_none() {
                let object = written(owner, label, &revision);
                self.actions.push(Action::create(Resource::of::<ControllerRevision>(), object));
            }
            self.push(revision);
            return Ok(());
        }
    }

    fn push(&mut self, revision: Revision) {
        self.present = self.revisions.len();
        self.revisions.push(revision);
    }
}

/// The patch that gives an object its present template back.
fn data(owner: &Object) -> Value {
    let mut template = owner.at(&["spec", "template"]).cloned().unwrap_or_else(|| json!({}));
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

fn written(owner: &Object, label: &str, revision: &Revision) -> Object {
    let mut labels = revision.data.pointer("/spec/template/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    labels[label] = json!(revision.hash);
    let mut metadata = json!({
        "name": revision.name,
        "namespace": owner.namespace(),
        "labels": labels,
        "ownerReferences": [controlled_by(owner)],
    });
    if let Some(annotations) = owner.at(&["metadata", "annotations"]) {
        metadata["annotations"] = annotations.clone();
    }
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "data": revision.data,
        "revision": revision.number,
    });
    Object::try_from(object).expect("written as a map")
}

/// FNV-1 of the data as upstream writes it and of the collisions, in characters that make no words.
fn hash(data: &Value, collisions: i32) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut text: String = sorted(data).to_string().chars().map(escaped).collect();
    text.push_str(&collisions.to_string());
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte));
    hash.to_string().bytes().map(|digit| ALPHABET[usize::from(digit) % ALPHABET.len()] as char).collect()
}

/// The value with its fields in the order of their names.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields: BTreeMap<&String, Value> = map.iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(fields.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// A character of JSON as Go writes it, which spares HTML.
fn escaped(one: char) -> Cow<'static, str> {
    match one {
        '<' => "\\u003c".into(),
        '>' => "\\u003e".into(),
        '&' => "\\u0026".into(),
        '\u{2028}' => "\\u2028".into(),
        '\u{2029}' => "\\u2029".into(),
        other => other.to_string().into(),
    }
}

/// The owner's name, cut to what leaves room, and the hash.
fn name(owner: &str, hash: &str) -> String {
    format!("{}-{hash}", owner.get(..223).unwrap_or(owner))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSet;

    use super::*;
    use crate::controllers::machinery::Watch;
    use crate::controllers::machinery::claim::claim;

    const LABEL: &str = "controller.kubernetes.io/hash";

    fn set(image: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "n", "uid": "db"},
            "spec": {"selector": {"matchLabels": {"app": "db"}}, "template": {
                "metadata": {"labels": {"app": "db"}}, "spec": {
                    "containers": [{"name": "c", "image": image, "resources": {}, "imagePullPolicy": "IfNotPresent",
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                    "restartPolicy": "Always", "terminationGracePeriodSeconds": 0, "dnsPolicy": "ClusterFirst",
                    "securityContext": {}, "schedulerName": "default-scheduler"}}}})
    }

    fn history(objects: &[Value]) -> History {
        let watches = [Watch::reading::<StatefulSet>(), Watch::reading::<ControllerRevision>()];
        let world = Snapshot::given(&watches, objects);
        let set = world.get::<StatefulSet>(&Key::new("n", "db")).unwrap().unwrap();
        let owned = claim::<ControllerRevision, _>(&set, &world).unwrap().owned;
        History::of(&set, owned, &world, LABEL, None).unwrap()
    }

    /// What a history writes, as an object that is there.
    fn made(history: &History, uid: &str) -> Value {
        let [Action::Create { object, .. } | Action::Update { object, .. }] = &history.actions[..] else {
            panic!("{:?}", history.actions)
        };
        let mut object = Value::from(object.clone());
        object["metadata"]["uid"] = json!(uid);
        object
    }

    #[test]
    fn a_revision_is_named_by_the_hash_that_upstream_gives_its_template() {
        for (image, hash) in [("nginx:1", "55c45b6948"), ("nginx:2", "c487c88dc")] {
            let history = history(&[set(image)]);
            assert_eq!(history.present().name, format!("db-{hash}"));
            assert_eq!(made(&history, "")["metadata"]["labels"], json!({"app": "db", LABEL: hash}));
        }
    }

    #[test]
    fn what_html_minds_is_escaped() {
        let text: String = json!({"a": "<&>\n\u{2028}"}).to_string().chars().map(escaped).collect();
        assert_eq!(text, r#"{"a":"\u003c\u0026\u003e\n\u2028"}"#);
    }

    #[test]
    fn a_template_that_comes_back_is_the_newest_again() {
        let first = made(&history(&[set("nginx:1")]), "r1");
        let second = history(&[set("nginx:2"), first.clone()]);
        assert_eq!((second.present().number, second.past().count()), (2, 1));
        let second = made(&second, "r2");
        let kept = history(&[set("nginx:2"), first.clone(), second.clone()]);
        assert!(kept.actions.is_empty());
        let back = history(&[set("nginx:1"), first.clone(), second]);
        assert_eq!(
            (back.present().number, back.present().name.as_str()),
            (3, first["metadata"]["name"].as_str().unwrap())
        );
        assert_eq!(made(&back, "")["revision"], 3);
    }

    #[test]
    fn a_name_that_another_template_has_is_left_to_it() {
        let mut taken = made(&history(&[set("nginx:1")]), "r1");
        taken["metadata"]["ownerReferences"][0]["uid"] = json!("other");
        assert!(history(&[set("nginx:1"), taken.clone()]).actions.is_empty(), "the same template serves");
        taken["data"] = json!({});
        let history = history(&[set("nginx:1"), taken]);
        assert_eq!(history.collisions, 1);
        assert_ne!(history.present().hash, "55c45b6948");
    }

    #[test]
    fn the_oldest_that_nothing_lives_of_go_beyond_the_limit() {
        let first = made(&history(&[set("nginx:1")]), "r1");
        let second = made(&history(&[set("nginx:2"), first.clone()]), "r2");
        let history = history(&[set("nginx:3"), first, second]);
        let owner = Object::try_from(set("nginx:3")).unwrap();
        let gone = |limit, alive: i64| history.truncate(&owner, Some(limit), |one| one.number == alive).len();
        assert_eq!((gone(2, 0), gone(1, 0), gone(0, 0), gone(0, 1)), (0, 1, 2, 1));
    }
}
