//! Volume attachments: that a volume is to be attached to a node, and whether it is.

use k8s_openapi::api::storage::v1::{VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentStatus, VolumeError};

use super::check::{Errors, Path};
use super::fields::text;
use super::parts;
use super::pod::volumes::csi_driver;
use super::volume;
use crate::internal::shown;
use crate::kind::{Column, Reset, Rules, STATUS_ALONE, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::status::FieldError;
use crate::table;

const ATTACHER: &str = "attacher indicates the name of the volume driver that MUST handle this request. This is the \
    name returned by GetPluginName().";
const VOLUME: &str = "persistentVolumeName represents the name of the persistent volume to attach.";
const NODE: &str = "nodeName represents the node that the volume should be attached to.";
const ATTACHED: &str = "attached indicates the volume is successfully attached. This field must only be set by the \
    entity completing the attach operation, i.e. the external-attacher.";

/// How many bytes the metadata of an attachment may hold, and as many the message of an error.
const BYTES_MAX: usize = 256 * 1024;
const MESSAGE_MAX: usize = 1024;

impl Rules for VolumeAttachment {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const META: MetaRules = MetaRules { unconditional: false, ..MetaRules::COMMON }.repeating(Repeats::Create);
    const RESETS: &'static [(Write, Reset)] = STATUS_ALONE;
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        Column { format: "name", ..table::text("Attacher", ATTACHER, |it, _| it.spec.attacher.as_str().into()) },
        table::text("PV", VOLUME, |it, _| text(&it.spec.source.persistent_volume_name).into()),
        table::text("Node", NODE, |it, _| it.spec.node_name.as_str().into()),
        table::truth("Attached", ATTACHED, |it, _| it.status.as_ref().is_some_and(|status| status.attached).into()),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        self.spec.source.inline_volume_spec.iter_mut().for_each(volume::fill_inline);
        self.status.get_or_insert_default();
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        match (old, write) {
            (None, _) => self.status = Some(VolumeAttachmentStatus::default()),
            (Some(old), Write::Status) => {
                self.spec.clone_from(&old.spec);
                parts::keep_metadata(&mut self.metadata, &old.metadata);
            }
            (Some(old), _) => self.status.clone_from(&old.status),
        }
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let at = Path::root("spec");
        let (source_at, node) = (at.child("source"), self.spec.node_name.as_str());
        csi_driver(&mut errors, &at.child("attacher"), &self.spec.attacher);
        source(&mut errors, &source_at, &self.spec.source);
        errors.all(&at.child("nodeName"), node, names::dns1123_subdomain(node));
        if let Some(status) = &self.status {
            self::status(&mut errors, &Path::root("status"), status);
        }
        if let Some(volume) = &self.spec.source.persistent_volume_name {
            errors.all(&source_at.child("persistentVolumeName"), volume, names::dns1123_subdomain(volume));
        }
        if old.is_some_and(|old| old.spec != self.spec) {
            errors.invalid_written(
                &at,
                &shown("api.storage.v1.VolumeAttachmentSpec", &self.spec),
                "field is immutable",
            );
        }
        errors.into_vec()
    }
}

fn source(errors: &mut Errors, at: &Path<'_>, source: &VolumeAttachmentSource) {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (&source.inline_volume_spec, &source.persistent_volume_name) {
        (None, None) => errors.required(at, ONE),
        (Some(_), Some(_)) => errors.forbidden(at, ONE),
        (None, Some(name)) if name.is_empty() => {
            errors.required(&at.child("persistentVolumeName"), "must specify non empty persistentVolumeName");
        }
        (None, Some(_)) => {}
        (Some(spec), None) => volume::inline(errors, &at.child("inlineVolumeSpec"), spec),
    }
}

fn status(errors: &mut Errors, at: &Path<'_>, status: &VolumeAttachmentStatus) {
    let metadata = status.attachment_metadata.iter().flatten();
    if metadata.map(|(key, value)| key.len() + value.len()).sum::<usize>() > BYTES_MAX {
        errors.too_long(&at.child("attachmentMetadata"), BYTES_MAX);
    }
    for (field, error) in [("attachError", &status.attach_error), ("detachError", &status.detach_error)] {
        error.iter().for_each(|error| failure(errors, &at.child(field), error));
    }
}

fn failure(errors: &mut Errors, at: &Path<'_>, error: &VolumeError) {
    if text(&error.message).len() > MESSAGE_MAX {
        // Upstream names the other limit.
        errors.too_long(&at.child("message"), BYTES_MAX);
    }
    if let Some(code) = error.error_code.filter(|code| *code < 0) {
        errors.invalid(&at.child("errorCode"), code, &names::out_of_range(0, i32::MAX.into()));
    }
}
