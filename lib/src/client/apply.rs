//! Server-side apply of a bundle: stage by stage, what failed told with the rest, safe to repeat after a crash.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use http::Request as HttpRequest;
use kprov_schema::Object;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::Value;

use super::conflict::Conflict;
use super::error::ClientError;
use super::inventory::{PART_OF, Reach, Set, is_ours, membership};
use super::place::{Id, Place};
use super::report::{Did, Outcome, Progress, Report};
use super::wait::Goal;
use super::{Client, MANAGER};
use crate::Bundle;
use crate::bundle::Stage;

/// How many objects of a stage are under way at once.
const AT_ONCE: usize = 8;

/// How a bundle is applied.
///
/// ```
/// use kprov::client::Apply;
///
/// let careful = Apply::new().dry_run();
/// let owner = Apply::new().prune().force();
/// ```
#[derive(Clone, Debug)]
pub struct Apply {
    force: bool,
    dry_run: bool,
    track: bool,
    prune: bool,
    established: Duration,
}

impl Default for Apply {
    fn default() -> Self {
        Self { force: false, dry_run: false, track: false, prune: false, established: Duration::from_secs(30) }
    }
}

impl Apply {
    /// Every object, no force, nothing remembered, nothing pruned.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over fields that other managers own, and objects that another bundle made.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Asks the server what would happen; nothing is written.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Remembers in the cluster what this bundle, by its name, has made, for a later [`Apply::prune`].
    #[must_use]
    pub fn track(mut self) -> Self {
        self.track = true;
        self
    }

    /// Tracks, and deletes what the bundle made earlier and has no more. Only when everything could be applied.
    #[must_use]
    pub fn prune(mut self) -> Self {
        self.prune = true;
        self.track()
    }

    /// How long to wait until definitions of custom kinds are served, 30 s when left out.
    #[must_use]
    pub fn established_within(mut self, time: Duration) -> Self {
        self.established = time;
        self
    }
}

/// What a bundle makes by itself, which a dry run does not have yet.
struct Inside {
    namespaces: BTreeSet<String>,
    kinds: BTreeSet<(String, String)>,
}

impl Inside {
    fn of(bundle: &Bundle) -> Self {
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
struct Run<'a> {
    client: &'a Client,
    how: &'a Apply,
    set: Option<Set>,
    inside: Inside,
}

impl Client {
    /// Applies a bundle, without force, and says what became of each object.
    ///
    /// Errors: [`ClientError::Incomplete`], whose report has every object.
    pub async fn apply(&self, bundle: &Bundle) -> Result<Report, ClientError> {
        self.apply_with(bundle, &Apply::new(), &mut |_| {}).await
    }

    /// Applies a bundle as `how` says, and tells of each object as soon as it is done.
    ///
    /// Within a stage everything is tried; what comes after a stage in which something failed is left out. Safe to run
    /// again at any time, also after a crash in the middle.
    ///
    /// Errors: [`ClientError::Incomplete`], whose report has every object; what is wrong before the first object is
    /// sent comes as it is.
    pub async fn apply_with(
        &self,
        bundle: &Bundle,
        how: &Apply,
        tell: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<Report, ClientError> {
        self.check_once_each(bundle)?;
        let set = how.track.then(|| Set::new(bundle.name(), self.default_namespace()));
        let run = Run { client: self, how, set, inside: Inside::of(bundle) };
        let mut report = Report::default();
        let mut stages = stages(bundle);
        let reach = run.remember(bundle, &mut stages, &mut report, tell).await?;
        let staged = run.stages(stages, &mut report, tell).await;
        run.remember_again(&report).await?;
        staged?;
        if let (Some(set), true, true) = (&run.set, how.prune, report.is_complete()) {
            let kept: Vec<Id> = report.objects.iter().map(|did| did.object.clone()).collect();
            self.prune(set, &reach, &kept, how.dry_run, &mut report, tell).await?;
        }
        report.outcome()
    }

    /// The same object twice would be written by two requests at once.
    fn check_once_each(&self, bundle: &Bundle) -> Result<(), ClientError> {
        let mut seen = BTreeSet::new();
        for object in bundle.objects() {
            let id = self.name_of(object);
            if id.name.is_empty() {
                let why = "it has no metadata.name, and an apply needs one (generateName is for create)".to_owned();
                return Err(ClientError::Object { object: id.to_string(), why });
            }
            if !seen.insert(id.thing()) {
                let why = "it is there twice: leave one of them out".to_owned();
                return Err(ClientError::Object { object: id.to_string(), why });
            }
        }
        Ok(())
    }

    /// What an object calls itself, before its kind is known.
    pub(super) fn name_of(&self, object: &Object) -> Id {
        let place = Place::published(object.api_version(), object.kind());
        let namespace = match (object.namespace(), place) {
            (_, Some(place)) if !place.namespaced => "",
            ("", _) => self.default_namespace(),
            (namespace, _) => namespace,
        };
        Id {
            api_version: object.api_version().to_owned(),
            kind: object.kind().to_owned(),
            namespace: namespace.to_owned(),
            name: object.name().to_owned(),
        }
    }
}

type Stages<'a> = Vec<(Stage, Vec<&'a Object>)>;

/// The objects by stage, in the order of the bundle within one.
pub(super) fn stages(bundle: &Bundle) -> Stages<'_> {
    let mut stages: Stages<'_> = Vec::new();
    for object in bundle.in_order() {
        let stage = Stage::of(object);
        match stages.last_mut() {
            Some((last, objects)) if *last == stage => objects.push(object),
            _ => stages.push((stage, vec![object])),
        }
    }
    stages
}

impl Run<'_> {
    /// Notes where the bundle's objects will be, before the first of them is made. Returns all places to look into.
    ///
    /// The namespace of the note itself may be part of the bundle: then it is made first, and taken out of its stage.
    async fn remember(
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

    async fn stages(
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
    async fn remember_again(&self, report: &Report) -> Result<(), ClientError> {
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
pub(super) fn without_bookkeeping(object: &Object) -> Object {
    let mut object = object.clone();
    for field in ["managedFields", "resourceVersion", "generation"] {
        object.remove(&["metadata", field]);
    }
    object
}

fn same_but_for_bookkeeping(one: &Object, other: &Object) -> bool {
    without_bookkeeping(one) == without_bookkeeping(other)
}

impl Client {
    /// Sends one object, with the label of its bundle. Returns the code, the warnings and the object as it is then.
    pub(super) async fn server_side_apply(
        &self,
        id: &Id,
        place: &Place,
        object: &Object,
        label: &Option<String>,
        how: &Apply,
    ) -> Result<(u16, Vec<String>, Object), ClientError> {
        let doing = format!("apply {id}");
        let mut object = object.clone();
        if let Some(label) = label {
            object.set(&["metadata", "labels", PART_OF], Value::from(label.as_str()));
        }
        let answer = self.send(&doing, self.patch(&doing, id, place, object, how)?).await;
        let answer = answer.map_err(|error| match error.api().and_then(|api| Conflict::of(id, &api.status)) {
            Some(conflict) => ClientError::Conflict(Box::new(conflict)),
            None => error,
        })?;
        let (code, warnings) = (answer.code, answer.warnings.clone());
        Ok((code, warnings, answer.object(&doing)?))
    }

    fn patch(
        &self,
        doing: &str,
        id: &Id,
        place: &Place,
        object: Object,
        how: &Apply,
    ) -> Result<HttpRequest<Vec<u8>>, ClientError> {
        let mut params = PatchParams::apply(MANAGER).validation_strict();
        params.force = how.force;
        params.dry_run = how.dry_run;
        let patch = Patch::Apply(Value::from(object));
        let request = Request::new(place.path(Some(&id.namespace))).patch(&id.name, &params, &patch);
        request.map_err(|error| self.failed(doing, kube::Error::BuildRequest(error)))
    }
}
