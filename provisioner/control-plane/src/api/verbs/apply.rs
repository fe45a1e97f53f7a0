//! Applies a configuration: server-side apply.

use std::sync::Arc;

use kprov_schema::decode::{self, Target as Decoding};
use kprov_schema::kind::Write;
use kprov_schema::{Object, Status};

use super::Written;
use super::create;
use crate::api::authorize::{Attributes, authorize};
use crate::api::core::Core;
use crate::api::errors;
use crate::api::owners::{Owners, Scale, Writer};
use crate::api::query::{FieldValidation, WriteOptions};
use crate::api::subresource::{self, Part};
use crate::api::target::Target;
use crate::api::user::User;
use crate::api::write::{self, Proposal};
use crate::store::Stored;

/// How often an apply is tried again when the object comes and goes.
const TRIES: usize = 16;

/// Applies a configuration to the object of `target`, or to the part that it names; says whether that made the object.
pub(crate) async fn apply(
    core: &Arc<Core>,
    user: &User,
    target: &Target,
    config: &[u8],
    options: &WriteOptions,
) -> Result<(Written, bool), Status> {
    let part = target.part.map(subresource::part).transpose()?;
    let door = part.map_or(Write::Main, |part| part.door);
    let decoding = subresource::decoding(target)?;
    let writer = Writer { core, target, door, options };
    let job = Job { writer: &writer, part, decoding: &decoding, config };
    for _ in 0..TRIES {
        if target.find(&core.store).is_some() {
            match write::modify(core, user, target, door, options, |old| job.change(old)).await {
                Err(status) if status.is_not_found() && part.is_none() => {}
                done => return Ok((done?, false)),
            }
        }
        if part.is_some() {
            return Err(target.not_found());
        }
        match job.make(user).await {
            Err(status) if status.already_exists() => {}
            done => return Ok((done?, true)),
        }
    }
    Err(errors::modified(&target.kind.resource, &target.key.name))
}

struct Job<'a> {
    writer: &'a Writer<'a>,
    part: Option<&'static Part>,
    decoding: &'a Decoding,
    config: &'a [u8],
}

impl Job<'_> {
    /// The configuration, once it is known to be of the right kind.
    fn config(&self) -> Result<(Object, Vec<String>), Status> {
        let (config, complaints) = decode::configuration(self.config)?;
        let (given, kind) = (config.api_version(), config.kind());
        let Decoding { group, version, kind: wanted, .. } = self.decoding;
        let (given_group, given_version) = given.rsplit_once('/').unwrap_or(("", given));
        if (given_group, given_version, kind) != (group.as_ref(), version.as_ref(), wanted.as_ref()) {
            let shown = format!("{given_group}/{given_version}, Kind={kind}");
            return Err(errors::bad_request(format!("invalid object type: {shown}")));
        }
        Ok((config, complaints))
    }

    /// What strict reading says, as a refusal or as advice.
    fn advice(&self, complaints: Vec<String>) -> Result<Vec<String>, Status> {
        match (self.writer.options.validation, complaints.first()) {
            (FieldValidation::Strict, Some(first)) => {
                Err(errors::bad_request(format!("error strict decoding YAML: {first}")))
            }
            (FieldValidation::Warn, _) => Ok(complaints),
            _ => Ok(Vec::new()),
        }
    }

    fn change(&self, old: &Arc<Stored>) -> Result<Proposal, Status> {
        let (config, complaints) = self.config()?;
        let Some(part) = self.part.filter(|part| part.speaks.is_some()) else {
            let (object, managed) = self.writer.applied(Some(&old.object), &config)?;
            let warnings = self.advice(complaints)?;
            let mut object = self.placed(object, &config)?;
            // Only a resourceVersion that the configuration itself names is a precondition.
            if config.text(&["metadata", "resourceVersion"]).unwrap_or_default().is_empty() {
                object.remove(&["metadata", "resourceVersion"]);
            }
            let object = match self.part {
                Some(part) => (part.put)(&self.writer.target.kind, &old.object, object)?,
                None => object,
            };
            return Ok(Proposal { object, warnings, owners: Owners::Told(managed) });
        };
        let kind = &self.writer.target.kind;
        let shown = (part.show)(kind, &old.object);
        let (scale, managed) = Scale::of(self.writer, self.decoding).applied(&old.object, &shown, &config)?;
        let warnings = self.advice(complaints)?;
        let mut scale = self.placed(scale, &config)?;
        if config.text(&["metadata", "resourceVersion"]).unwrap_or_default().is_empty() {
            scale.remove(&["metadata", "resourceVersion"]);
        }
        let object = (part.put)(kind, &old.object, scale)?;
        Ok(Proposal { object, warnings, owners: Owners::Told(managed) })
    }

    /// The object as the kind reads it, once it is known to be where the path says.
    fn placed(&self, object: Object, config: &Object) -> Result<Object, Status> {
        let mut object = decode::applied(self.decoding, object, config)?;
        write::same_namespace(self.writer.target, &mut object)?;
        write::same_name(self.writer.target, &object)?;
        Ok(object)
    }

    /// Makes the object that is not there.
    async fn make(&self, user: &User) -> Result<Written, Status> {
        let Writer { core, target, options, .. } = self.writer;
        let (config, complaints) = self.config()?;
        let (object, managed) = self.writer.applied(None, &config)?;
        let warnings = self.advice(complaints)?;
        let uid = object.uid();
        if !uid.0.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(errors::conflict(&target.kind.resource, &target.kind.resource.plural, &target.key.name, &why));
        }
        let object = self.placed(object, &config)?;
        authorize(core, user, &Attributes::in_process("create", &target.kind, &target.key, None))?;
        let mut written = create::create(core, user, target, object, options, Owners::Told(managed)).await?;
        written.warnings.splice(0..0, warnings);
        Ok(written)
    }
}
