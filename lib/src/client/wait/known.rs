//! What a wait knows, and what it makes of it: watches tell, this judges. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kprov_schema::Object;
use kprov_schema::selector::Labels;
use kube::runtime::watcher;

use super::{Event, Goal, Group, NotReady, Unready};
use crate::client::place::Id;
use crate::client::readiness::{Readiness, Trouble, readiness, remains, trouble_of};
use crate::client::report::Progress;

/// What is known of the objects that are waited for. Pure.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) goal: Goal,
    /// Every object that is waited for: as it is, or `None` when it is not there. Absent until it was looked for.
    objects: BTreeMap<Id, Option<Object>>,
    unseen: BTreeSet<Id>,
    pods: BTreeMap<(String, String), Object>,
    pub(super) wanted: BTreeSet<Id>,
    /// What was told of each, so that nothing is told twice.
    told: BTreeMap<Id, Readiness>,
    broken: Option<String>,
}

impl Known {
    pub(super) fn new(wanted: impl IntoIterator<Item = Id>, goal: Goal) -> Self {
        Self {
            goal,
            objects: BTreeMap::new(),
            unseen: BTreeSet::new(),
            pods: BTreeMap::new(),
            wanted: wanted.into_iter().collect(),
            told: BTreeMap::new(),
            broken: None,
        }
    }

    fn of_group<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Id> {
        self.wanted.iter().filter(move |id| group_of(id) == *group)
    }

    fn find(&self, group: &Group, object: &Object) -> Option<Id> {
        self.of_group(group).find(|id| id.name == object.name()).cloned()
    }

    pub(super) fn hear(&mut self, event: Event) {
        match event {
            Event::Object(group, event) => self.hear_object(&group, event),
            Event::Pod(namespace, event) => self.hear_pod(&namespace, event),
            Event::Broken(error) => {
                self.broken = Some(error.to_string());
                return;
            }
            Event::Blind(why) => {
                self.broken = Some(format!("no reasons of pods: {why}"));
                return;
            }
        }
        self.broken = None;
    }

    fn hear_object(&mut self, group: &Group, event: watcher::Event<Object>) {
        match event {
            watcher::Event::Init => self.unseen = self.of_group(group).cloned().collect(),
            watcher::Event::InitApply(mut object) | watcher::Event::Apply(mut object) => {
                // Items of a list don't say what they are.
                object.set(&["apiVersion"], group.0.as_str().into());
                object.set(&["kind"], group.1.as_str().into());
                if let Some(id) = self.find(group, &object) {
                    self.unseen.remove(&id);
                    self.objects.insert(id, Some(object));
                }
            }
            watcher::Event::InitDone => {
                for id in self.of_group(group).cloned().collect::<Vec<_>>() {
                    if self.unseen.remove(&id) {
                        self.objects.insert(id, None);
                    }
                }
            }
            watcher::Event::Delete(object) => {
                if let Some(id) = self.find(group, &object) {
                    self.objects.insert(id, None);
                }
            }
        }
    }

    fn hear_pod(&mut self, namespace: &str, event: watcher::Event<Object>) {
        let key = |pod: &Object| (namespace.to_owned(), pod.name().to_owned());
        match event {
            watcher::Event::Init => self.pods.retain(|(of, _), _| of != namespace),
            watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) => {
                self.pods.insert(key(&pod), pod);
            }
            watcher::Event::Delete(pod) => {
                self.pods.remove(&key(&pod));
            }
            watcher::Event::InitDone => {}
        }
    }

    /// How one object is now.
    fn state(&self, id: &Id) -> Readiness {
        let looked_for = self.objects.get(id);
        match (self.goal, looked_for) {
            (_, None) => Readiness::Waiting("it was not looked for yet".to_owned()),
            (Goal::Gone, Some(None)) => Readiness::Ready,
            (Goal::Gone, Some(Some(object))) => remains(object).map_or(Readiness::Ready, Readiness::Waiting),
            (Goal::Ready, Some(None)) => Readiness::Waiting("it does not exist".to_owned()),
            (Goal::Ready, Some(Some(object))) => match readiness(object) {
                Readiness::Waiting(why) => Readiness::Waiting(self.with_pods(id, object, why)),
                Readiness::Failed(why) => Readiness::Failed(self.with_pods(id, object, why)),
                Readiness::Ready => Readiness::Ready,
            },
        }
    }

    /// The reason of a workload, with that of the pod that is worst off.
    fn with_pods(&self, id: &Id, object: &Object, why: String) -> String {
        let Some(selector) = selector(object) else { return why };
        let own =
            self.pods.iter().filter(|((namespace, _), pod)| *namespace == id.namespace && selector.match_object(pod));
        let troubled = own.filter(|(_, pod)| !pod.is_deleting()).filter_map(|((_, name), pod)| {
            let (trouble, said) = trouble_of(pod)?;
            Some(((trouble, pod.text(&["metadata", "creationTimestamp"]).unwrap_or_default()), name, said))
        });
        // Of equal troubles the youngest pod's counts: older ones may be of a template that is on its way out.
        match troubled.max_by(|one, other| one.0.cmp(&other.0)) {
            Some(((trouble, _), name, said)) if trouble > Trouble::Starting => format!("{why}; pod {name}: {said}"),
            _ => why,
        }
    }

    /// Tells what has changed, and says whether the wait is over.
    pub(super) fn settle(&mut self, tell: &mut (dyn FnMut(Progress<'_>) + Send)) -> Option<Result<(), NotReady>> {
        let mut all = true;
        let mut failed = false;
        for id in self.wanted.clone() {
            let state = self.state(&id);
            all &= state == Readiness::Ready;
            failed |= matches!(state, Readiness::Failed(_));
            if self.told.get(&id) == Some(&state) {
                continue;
            }
            match (&state, self.goal) {
                (Readiness::Ready, Goal::Ready) => tell(Progress::Ready(&id)),
                (Readiness::Ready, Goal::Gone) => tell(Progress::Gone(&id)),
                (Readiness::Waiting(reason) | Readiness::Failed(reason), _) if self.objects.contains_key(&id) => {
                    tell(Progress::Waiting { object: &id, reason });
                }
                _ => {}
            }
            self.told.insert(id, state);
        }
        match (all, failed) {
            (true, _) => Some(Ok(())),
            (false, true) => Some(Err(self.missed(None))),
            (false, false) => None,
        }
    }

    /// What is not there where it should be.
    pub(super) fn missed(&self, within: Option<Duration>) -> NotReady {
        let unready = self.wanted.iter().filter_map(|id| match self.state(id) {
            Readiness::Ready => None,
            Readiness::Waiting(reason) => Some(Unready { object: id.clone(), reason, failed: false }),
            Readiness::Failed(reason) => Some(Unready { object: id.clone(), reason, failed: true }),
        });
        NotReady { within, objects: unready.collect(), broken: self.broken.clone(), gone: self.goal == Goal::Gone }
    }
}

pub(super) fn group_of(id: &Id) -> Group {
    (id.api_version.clone(), id.kind.clone(), id.namespace.clone())
}

/// The selector of a workload's pods; `None` for what has no pods.
pub(in crate::client) fn selector(object: &Object) -> Option<Labels> {
    let selector = object.at(&["spec", "selector"])?;
    // A service and a ReplicationController select by labels alone.
    if object.kind() == "ReplicationController" {
        let pairs: BTreeMap<String, String> = serde_json::from_value(selector.clone()).ok()?;
        return Some(Labels::equal(&pairs));
    }
    HAS_PODS.contains(&object.kind()).then(|| Labels::of(&serde_json::from_value(selector.clone()).ok()?).ok())?
}

/// Kinds whose pods tell why they are not ready.
pub(super) const HAS_PODS: &[&str] =
    &["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn id(kind: &str, name: &str) -> Id {
        let api_version = if kind == "Deployment" { "apps/v1" } else { "v1" };
        Id {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: "default".to_owned(),
            name: name.to_owned(),
        }
    }

    fn object(kind: &str, name: &str, mut rest: Value) -> Object {
        rest["kind"] = kind.into();
        rest["apiVersion"] = id(kind, name).api_version.into();
        rest["metadata"]["name"] = name.into();
        Object::try_from(rest).unwrap()
    }

    fn deployment(available: i64) -> Object {
        let status = json!({
            "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": available,
        });
        let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": "web"}}});
        object("Deployment", "web", json!({"spec": spec, "status": status}))
    }

    fn pod(name: &str, born: &str, reason: &str) -> Event {
        let waiting = json!({"waiting": {"reason": reason, "message": "no such image"}});
        let metadata = json!({"labels": {"app": "web"}, "creationTimestamp": born});
        let status = json!({"containerStatuses": [{"name": "c", "state": waiting}]});
        let pod = object("Pod", name, json!({"metadata": metadata, "status": status}));
        Event::Pod("default".to_owned(), watcher::Event::Apply(pod))
    }

    fn told(id: &Id, event: watcher::Event<Object>) -> Event {
        Event::Object(group_of(id), event)
    }

    /// What is told when it settles, and whether it is over.
    fn settle(known: &mut Known) -> (Vec<String>, Option<Result<(), NotReady>>) {
        let mut lines = Vec::new();
        let over = known.settle(&mut |progress| {
            lines.push(match progress {
                Progress::Waiting { object, reason } => format!("{object}: {reason}"),
                Progress::Ready(object) => format!("{object} ready"),
                Progress::Gone(object) => format!("{object} gone"),
                Progress::Did(_) => unreachable!("a wait does nothing"),
            });
        });
        (lines, over)
    }

    #[test]
    fn reasons_go_down_to_the_pod_that_is_worst_off_and_are_told_once() {
        let web = id("Deployment", "web");
        let mut known = Known::new([web.clone()], Goal::Ready);
        assert_eq!(settle(&mut known), (vec![], None), "nothing is told before it was looked for");
        let mut item = deployment(0);
        item.remove(&["kind"]);
        item.remove(&["apiVersion"]);
        known.hear(told(&web, watcher::Event::InitApply(item)));
        assert_eq!(settle(&mut known).0, ["Deployment default/web: 0 of 2 pods are available"]);
        known.hear(pod("web-1", "2026-01-01T00:00:00Z", "ErrImagePull"));
        known.hear(pod("web-2", "2026-01-02T00:00:00Z", "ImagePullBackOff"));
        known.hear(pod("web-3", "2026-01-03T00:00:00Z", "ContainerCreating"));
        let said = "Deployment default/web: 0 of 2 pods are available; pod web-2: ImagePullBackOff: no such image";
        assert_eq!(settle(&mut known).0, [said]);
        assert_eq!(settle(&mut known), (vec![], None));
        let missed = known.missed(Some(Duration::from_secs(3))).to_string();
        assert_eq!(missed, format!("not ready after 3 s\n  {said}"));
        known.hear(told(&web, watcher::Event::Apply(deployment(2))));
        assert_eq!(settle(&mut known), (vec!["Deployment default/web ready".to_owned()], Some(Ok(()))));
    }

    #[test]
    fn what_has_failed_for_good_ends_the_wait() {
        let (web, pod) = (id("Deployment", "web"), id("Pod", "once"));
        let mut known = Known::new([web.clone(), pod.clone()], Goal::Ready);
        known.hear(told(&web, watcher::Event::Apply(deployment(1))));
        let failed = json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}});
        known.hear(told(&pod, watcher::Event::Apply(object("Pod", "once", failed))));
        let (_, over) = settle(&mut known);
        let said = over.unwrap().unwrap_err().to_string();
        assert!(said.starts_with("will not become ready\n"), "{said}");
        assert!(said.contains("\n  Pod default/once: Evicted: low on memory"), "{said}");
    }

    #[test]
    fn a_list_that_lacks_an_object_says_that_it_is_not_there() {
        let (one, two) = (id("Pod", "one"), id("Pod", "two"));
        let mut known = Known::new([one.clone(), two], Goal::Gone);
        known.hear(told(&one, watcher::Event::Init));
        let leaving = json!({"metadata": {"deletionTimestamp": "x", "finalizers": ["a/b"]}});
        known.hear(told(&one, watcher::Event::InitApply(object("Pod", "one", leaving))));
        known.hear(told(&one, watcher::Event::InitDone));
        let (said, over) = settle(&mut known);
        assert_eq!(said, ["Pod default/one: it is kept by the finalizers a/b", "Pod default/two gone"]);
        assert_eq!(over, None);
        known.hear(told(&one, watcher::Event::Delete(object("Pod", "one", json!({})))));
        assert_eq!(settle(&mut known), (vec!["Pod default/one gone".to_owned()], Some(Ok(()))));
    }

    #[test]
    fn a_broken_watch_is_named_until_it_works_again() {
        let web = id("Deployment", "web");
        let mut known = Known::new([web.clone()], Goal::Ready);
        known.hear(Event::Broken(kube::Error::Service("connection reset".into())));
        let said = known.missed(Some(Duration::from_secs(1))).to_string();
        assert!(said.contains("the cluster can't be watched: ") && said.contains("connection reset"), "{said}");
        known.hear(told(&web, watcher::Event::Apply(deployment(1))));
        assert_eq!(known.missed(None).broken, None);
    }
}
