//! One apply under way: what is remembered, sent and told, stage by stage.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use kprov_schema::Object;
use serde_json::Value;

use super::{Apply, Stages};
use crate::Bundle;
use crate::bundle::Stage;
use crate::client::Client;
use crate::client::error::ClientError;
use crate::client::inventory::{PART_OF, Reach, Set, is_ours, membership};
use crate::client::place::Id;
use crate::client::report::{Did, Outcome, Progress, Report};
use crate::client::wait::Goal;

/// How many objects of a stage are under way at once.
const AT_ONCE: usize = 8;

/// What a bundle makes by itself, which a dry run does not have yet.
pub(super) struct Inside {
    namespaces: BTreeSet<String>,
    kinds: BTreeSet<(String, String)>,
}

impl Inside {
    pub(super) fn of(bundle: &Bundle) -> Self {
        let of_kind = |kind: &'static str| bundle.objects().iter().filter(move |object| object.kind() == kind);
        let namespaces = of_kind("Namespace").map(|object| object.name().to_owned()).collect();
        let text = |object: &Object, path: &[&str]| object.text(path).unwrap_or_default().to_owned();
        let kinds = of_kind("CustomResourceDefinition")
            .map(|object| (text(object, &["spec", "group"]), text(object, &["spec", "names", "kind"])))
            .collect();
        Self { namespaces, kinds }
    }

    /// Whether an error of a dry run only says that the bundle has not been applied yet.
    fn explains(&self, error: &ClientError) -> bool {
        match error {
            ClientError::UnknownKind { api_version, kind, .. } => {
                let group = api_version.split_once('/').map_or("", |(group, _)| group);
                self.kinds.contains(&(group.to_owned(), kind.clone()))
            }
            ClientError::Api(error) => {
                let detail = |name: &str| {
                    error.status.details.as_ref().and_then(|details| details.get(name)?.as_str()).unwrap_or_default()
                };
                error.code() == 404 && detail("kind") == "namespaces" && self.namespaces.contains(detail("name"))
            }
            _ => false,
        }
    }
}

/// One apply under way.
pub(super) struct Run<'a> {
    pub(super) client: &'a Client,
    pub(super) how: &'a Apply,
    pub(super) set: Option<Set>,
    pub(super) inside: Inside,
}

impl Run<'_> {
    /// Notes where the bundle's objects will be, before the first of them is made. Returns all places to look into.
    ///
    /// The namespace of the note itself may be part of the bundle: then it is made first, and taken out of its stage.
    pub(super) async fn remember(
        &self,
        bundle: &Bundle,
        stages: &mut Stages<'_>,
        report: &mut Report,
        tell: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<Reach, ClientError> {
        let Some(set) = &self.set else { return Ok(Reach::default()) };
        if self.how.dry_run {
            return self.client.remembered(set).await;
        }
        let ids: Vec<Id> = bundle.objects().iter().map(|object| self.client.name_of(object)).collect();
        let reach = Reach::of(ids.iter());
        match self.client.widen(set, &reach).await {
            Err(error) if self.inside.explains(&error) => {}
            done => return done,
        }
        for (_, objects) in stages.iter_mut().filter(|(stage, _)| *stage == Stage::Namespaces) {
            if let Some(at) = objects.iter().position(|object| object.name() == set.namespace) {
                let did = self.one(objects.remove(at)).await;
                tell(Progress::Did(&did));
                report.objects.push(did);
            }
        }
        if report.is_complete() { self.client.widen(set, &reach).await } else { Ok(reach) }
    }

    pub(super) async fn stages(
        &self,
        stages: Stages<'_>,
        report: &mut Report,
        tell: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<(), ClientError> {
        for (stage, objects) in stages {
            if report.is_complete() {
                self.stage(stage, &objects, report, tell).await?;
            } else {
                let skipped = objects.iter().map(|object| Did::new(self.client.name_of(object), Outcome::Skipped));
                report.objects.extend(skipped);
            }
        }
        Ok(())
    }

    /// A prune that ran at the same time may have found nothing yet where objects were made since, and forgotten the place.
    pub(super) async fn remember_again(&self, report: &Report) -> Result<(), ClientError> {
        let Some(set) = self.set.as_ref().filter(|_| !self.how.dry_run && report.changed()) else { return Ok(()) };
        let tried = report.objects.iter().filter(|did| !matches!(did.outcome, Outcome::Skipped));
        self.client.widen(set, &Reach::of(tried.map(|did| &did.object))).await.map(drop)
    }

    async fn stage(
        &self,
        stage: Stage,
        objects: &[&Object],
        report: &mut Report,
        tell: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<(), ClientError> {
        let first = report.objects.len();
        let calls: Vec<_> = objects.iter().map(|object| self.one(object)).collect();
        let mut done = stream::iter(calls).buffered(AT_ONCE);
        while let Some(did) = done.next().await {
            tell(Progress::Did(&did));
            report.objects.push(did);
        }
        if stage == Stage::Definitions && !self.how.dry_run && report.is_complete() {
            let made: Vec<Id> = report.objects[first..].iter().map(|did| did.object.clone()).collect();
            self.client.await_all(made, Goal::Ready, self.how.established, tell).await?;
        }
        Ok(())
    }

    async fn one(&self, object: &Object) -> Did {
        match self.try_one(object).await {
            Ok(did) => did,
            Err(error) if self.how.dry_run && self.inside.explains(&error) => {
                let mut did = Did::new(self.client.name_of(object), Outcome::Created);
                did.warnings.push(UNSEEN.to_owned());
                did
            }
            Err(error) => Did::new(self.client.name_of(object), Outcome::Failed(error)),
        }
    }

    async fn try_one(&self, object: &Object) -> Result<Did, ClientError> {
        let (id, place) = self.client.locate(object).await?;
        let live = self.client.live(&id, &place).await?;
        let label = match membership(live.as_ref(), self.set.as_ref()) {
            Ok(label) => label,
            Err(_) if self.how.force => self.set.as_ref().map(|set| set.id.clone()),
            Err(other) => return Err(made_by_another(&id, &other.0)),
        };
        // Nothing is wanted of it but that it is there, and nothing was before: an apply would only write that down.
        if live.as_ref().is_some_and(|live| !is_ours(live)) && label.is_none() && says_no_field(object) {
            return Ok(Did::new(id, Outcome::Unchanged));
        }
        let (code, warnings, after) = self.client.server_side_apply(&id, &place, object, &label, self.how).await?;
        let Some(live) = live else {
            // Somebody made it since it was looked for: it is not ours.
            if code == 200 && label.is_some() && !self.how.dry_run {
                self.client.server_side_apply(&id, &place, object, &None, self.how).await?;
                return Ok(Did { object: id, outcome: Outcome::Configured, warnings });
            }
            return Ok(Did { object: id, outcome: Outcome::Created, warnings });
        };
        let same = if self.how.dry_run {
            same_but_for_bookkeeping(&live, &after)
        } else {
            revision(&live) == revision(&after)
        };
        let outcome = if same { Outcome::Unchanged } else { Outcome::Configured };
        Ok(Did { object: id, outcome, warnings })
    }
}

const UNSEEN: &str = "the server can't check it yet: its namespace or its kind is made by the same bundle";

fn made_by_another(id: &Id, label: &str) -> ClientError {
    let why = format!("another bundle made it ({PART_OF}={label}): apply it with that one, or take it over by force");
    ClientError::Object { object: id.to_string(), why }
}

/// Whether an object says nothing but which one it is.
fn says_no_field(object: &Object) -> bool {
    let metadata = object.at(&["metadata"]).and_then(Value::as_object);
    object.map().keys().all(|field| ["apiVersion", "kind", "metadata"].contains(&field.as_str()))
        && metadata.into_iter().flatten().all(|(field, _)| ["name", "namespace"].contains(&field.as_str()))
}

fn revision(object: &Object) -> Option<&str> {
    object.text(&["metadata", "resourceVersion"])
}

/// Without what every dry run changes: whose the fields are and when they were set.
pub(in crate::client) fn without_bookkeeping(object: &Object) -> Object {
    let mut object = object.clone();
    for field in ["managedFields", "resourceVersion", "generation"] {
        object.remove(&["metadata", field]);
    }
    object
}

fn same_but_for_bookkeeping(one: &Object, other: &Object) -> bool {
    without_bookkeeping(one) == without_bookkeeping(other)
}
