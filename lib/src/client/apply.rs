//! Server-side apply of a bundle: stage by stage, what failed told with the rest, safe to repeat after a crash.

mod run;
mod send;

use std::collections::BTreeSet;
use std::time::Duration;

use kprov_schema::Object;

pub(super) use run::without_bookkeeping;

use super::Client;
use super::error::ClientError;
use super::inventory::Set;
use super::place::{Id, Place};
use super::report::{Progress, Report};
use crate::Bundle;
use crate::bundle::Stage;
use run::{Inside, Run};

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

/// What it may do, and what it does besides.
///
/// ```
/// use std::time::Duration;
/// use kprov::client::Apply;
///
/// let first = Apply::new().track().established_within(Duration::from_secs(120));
/// let second = Apply::new().prune().force().dry_run();
/// ```
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

impl Client {
    /// Applies a bundle, without force, and says what became of each object.
    ///
    /// Errors: [`ClientError::Incomplete`], whose report has every object.
    ///
    /// ```
    /// use kprov::Bundle;
    /// use kprov::client::{Client, ClientError};
    ///
    /// async fn deploy(cluster: &Client, app: &Bundle) -> Result<bool, ClientError> {
    ///     Ok(cluster.apply(app).await?.changed())
    /// }
    /// ```
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
    ///
    /// ```
    /// use kprov::Bundle;
    /// use kprov::client::{Apply, Client, ClientError, Progress};
    ///
    /// async fn deploy(cluster: &Client, app: &Bundle) -> Result<(), ClientError> {
    ///     let mut tell = |progress: Progress<'_>| {
    ///         if let Progress::Did(did) = progress {
    ///             println!("{} {}", did.object, did.outcome);
    ///         }
    ///     };
    ///     cluster.apply_with(app, &Apply::new().prune(), &mut tell).await?;
    ///     Ok(())
    /// }
    /// ```
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
