//! Who owns the fields of an object after a write.

use kprov_schema::decode::Target as Decoding;
use kprov_schema::kind::{Reset, Write};
use kprov_schema::managed::{Managed, Scene, scaled, shown_in_scale};
use kprov_schema::structure::Ref;
use kprov_schema::{Kind, Object, Status, Subresource};
use serde_json::Value;

use super::core::Core;
use super::errors;
use super::query::WriteOptions;
use super::registry::Registry;
use super::subresource::{self, Part};
use super::target::Target;
use super::write::Proposal;
use crate::store::Stored;

/// What a proposal says of the owners.
#[derive(Clone)]
pub(crate) enum Owners {
    /// The writer owns what it changes.
    Changed,
    /// These.
    Told(Managed),
    /// The change is the server's own: they stay who they were.
    Kept,
}

impl Owners {
    /// `metadata.managedFields` after a write.
    ///
    /// None of the objects names its owners: `had` are those of the one that is there, `said` what the new one claims.
    pub(crate) fn after(
        self,
        writer: &Writer<'_>,
        (live, had): (Option<&Object>, Option<&Value>),
        (object, said): (&Object, Option<&Value>),
    ) -> Option<Value> {
        match (self, live) {
            (Self::Kept, _) => had.cloned(),
            (Self::Told(managed), _) => managed.written(),
            (Self::Changed, None) => writer.created(object, said),
            (Self::Changed, Some(live)) => writer.updated(live, had, object, said),
        }
    }
}

/// A write, as far as owners are concerned.
pub(crate) struct Writer<'a> {
    pub(crate) core: &'a Core,
    pub(crate) target: &'a Target,
    pub(crate) door: Write,
    pub(crate) options: &'a WriteOptions,
}

impl Writer<'_> {
    /// `metadata.managedFields` of a new object; `said` is what the request says they are.
    fn created(&self, object: &Object, said: Option<&Value>) -> Option<Value> {
        self.scene(|scene| scene.update(None, object, Managed::before(None, said))).written()
    }

    /// The same of what a part's action answers with: the body, as far as it was brought.
    pub(crate) fn brought(&self, decoding: &Decoding, body: &Object) -> Option<Value> {
        let version = format!("{}/{}", decoding.group, decoding.version);
        let structure = decoding.structure.clone();
        let reset = Reset::Except(&[&["status"]]);
        self.scene_as(structure, &version, reset, |scene| scene.update(None, body, Managed::default())).written()
    }

    /// The same of a changed object. Neither object names its owners: `had` are those of the one that is there.
    fn updated(&self, live: &Object, had: Option<&Value>, object: &Object, said: Option<&Value>) -> Option<Value> {
        // Parts do not bring owners.
        let said = said.filter(|_| self.target.part.is_none());
        if said.is_none_or(|said| Some(said) == had) && live == object {
            return had.cloned();
        }
        self.scene(|scene| scene.update(Some(live), object, Managed::before(had, said))).written()
    }

    /// What an apply makes of an object, `None` when it is not there, with its owners.
    pub(crate) fn applied(&self, live: Option<&Object>, config: &Object) -> Result<(Object, Managed), Status> {
        let had = Managed::read(live.and_then(Object::managers))
            .map_err(|error| errors::plain(500, format!("failed to decode managed fields: {error}")))?;
        let live = live.map(Object::without_managers);
        let applied = self.scene(|scene| scene.apply(live.as_ref(), config, had, self.options.force));
        let applied = applied.map_err(|refusal| refusal.into_status())?;
        Ok((applied.object, applied.managed))
    }

    /// The object with a new part, and its owners then.
    pub(crate) fn through(&self, part: &Part, old: &Stored, new: Object) -> Result<Proposal, Status> {
        let kind = &self.target.kind;
        let owners = if part.speaks.is_some() {
            let shown = (part.show)(kind, &old.object);
            let decoding = subresource::decoding(self.target)?;
            Owners::Told(Scale::of(self, &decoding).updated(&old.object, &shown, &new)?)
        } else {
            Owners::Changed
        };
        let object = (part.put)(kind, &old.object, new)?;
        Ok(Proposal { object, warnings: Vec::new(), owners })
    }

    /// Runs something where the object itself, or a part of its own kind, is written.
    fn scene<R>(&self, run: impl FnOnce(&Scene<'_>) -> R) -> R {
        let kind = &self.target.kind;
        self.scene_as(kind.structure(), &kind.resource.api_version(), kind.reset(self.door), run)
    }

    fn scene_as<R>(&self, structure: Ref, api_version: &str, reset: Reset, run: impl FnOnce(&Scene<'_>) -> R) -> R {
        let registry = self.core.registry();
        let kind = &self.target.kind;
        run(&Scene {
            structure,
            api_version,
            manager: &self.options.manager,
            subresource: self.target.part.map(Subresource::name).unwrap_or_default(),
            reset,
            now: errors::seconds(self.core.world.clock.now()),
            in_version: &|object, version| {
                let other = sibling(&registry, kind, version)?;
                Some((other.structure(), as_kind(object.clone(), kind, other)))
            },
            from_version: &|object, version| Some(as_kind(object, sibling(&registry, kind, version)?, kind)),
        })
    }
}

/// `metadata.managedFields` of a question, which is answered and not kept.
pub(crate) fn of_question(
    core: &Core,
    options: &WriteOptions,
    structure: Ref,
    api_version: &str,
    question: &Object,
) -> Option<Value> {
    let scene = Scene {
        structure,
        api_version,
        manager: &options.manager,
        subresource: "",
        reset: Reset::Except(&[&["status"]]),
        now: errors::seconds(core.world.clock.now()),
        in_version: &|_, _| None,
        from_version: &|_, _| None,
    };
    scene.update(None, question, Managed::default()).written()
}

/// What a write of a part that speaks a kind of its own makes of the object's owners.
pub(crate) struct Scale<'a> {
    writer: &'a Writer<'a>,
    decoding: &'a Decoding,
    replicas: Vec<String>,
}

impl<'a> Scale<'a> {
    pub(crate) fn of(writer: &'a Writer<'a>, decoding: &'a Decoding) -> Self {
        let paths = writer.target.kind.scale_paths();
        let path = paths.map_or(".spec.replicas", |paths| &paths.spec_replicas);
        Self {
            writer,
            decoding,
            replicas: path.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        }
    }

    fn run<R>(
        &self,
        old: &Object,
        run: impl FnOnce(&Scene<'_>, Managed) -> Result<(R, Managed), Status>,
    ) -> Result<(R, Managed), Status> {
        let replicas: Vec<&str> = self.replicas.iter().map(String::as_str).collect();
        let parent = Managed::read(old.managers()).unwrap_or_default();
        let scale = shown_in_scale(&parent, &replicas);
        let version = format!("{}/{}", self.decoding.group, self.decoding.version);
        let structure = self.decoding.structure.clone();
        let (made, scale) = self.writer.scene_as(structure, &version, Reset::Except(&[]), |scene| run(scene, scale))?;
        Ok((made, scaled(&parent, scale, &self.writer.target.kind.resource.api_version(), &replicas)))
    }

    /// The owners of the object `old`, once its part becomes `new`.
    pub(crate) fn updated(&self, old: &Object, shown: &Object, new: &Object) -> Result<Managed, Status> {
        let updated = self.run(old, |scene, had| Ok(((), scene.update(Some(shown), new, had))));
        updated.map(|((), managed)| managed)
    }

    /// The part with a configuration applied, and the owners of the object then.
    pub(crate) fn applied(&self, old: &Object, shown: &Object, config: &Object) -> Result<(Object, Managed), Status> {
        self.run(old, |scene, had| {
            let applied = scene.apply(Some(shown), config, had, self.writer.options.force);
            let applied = applied.map_err(|refusal| refusal.into_status())?;
            Ok((applied.object, applied.managed))
        })
    }
}

/// The same kind in another version, when it is a face of the same stored objects.
fn sibling<'a>(registry: &'a Registry, kind: &Kind, api_version: &str) -> Option<&'a Kind> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let same = |other: &&'a Kind| other.stored_resource() == kind.stored_resource();
    registry.named(group, version, &kind.kind).map(|found| &**found).filter(same)
}

/// An object of one kind as another one of the same store serves it.
pub(crate) fn as_kind(mut object: Object, from: &Kind, to: &Kind) -> Object {
    if from.resource == to.resource {
        return object;
    }
    if let Some(stored) = &from.stored_as {
        (stored.write)(from, &mut object);
    }
    if let Some(stored) = &to.stored_as {
        (stored.read)(to, &mut object);
    }
    object.set(&["apiVersion"], to.resource.api_version().into());
    object.set(&["kind"], to.kind.as_ref().into());
    object
}
