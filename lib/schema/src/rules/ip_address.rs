//! IP addresses: who has an address of the cluster.

use k8s_openapi::api::networking::v1::{IPAddress, ParentReference};

use super::check::{Errors, Path};
use super::fields::text;
use super::reference;
use crate::internal::shown;
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names::{self, NameRule};
use crate::object::Object;
use crate::status::FieldError;
use crate::table;

const PARENT: &str = "ParentRef references the resource that an IPAddress is attached to. An IPAddress must reference a \
    parent object.";

impl Rules for IPAddress {
    const META: MetaRules = MetaRules::COMMON.named(NameRule::Address).repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("ParentRef", PARENT, |it, _| shown_parent(&it.spec.parent_ref).into()),
        table::age(),
    ];

    /// A reference that is there but empty has a group, the empty one.
    fn note_empty(&mut self, object: &Object) {
        if object.at(&["spec", "parentRef"]).is_some_and(|parent| parent.is_object()) {
            self.spec.parent_ref.group.get_or_insert_default();
        }
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let at = Path::root("spec");
        let at = at.child("parentRef");
        parent(&mut errors, &at, &self.spec.parent_ref);
        if old.is_some_and(|old| old.spec.parent_ref != self.spec.parent_ref) {
            let whole = shown("api.networking.v1.ParentReference", &self.spec.parent_ref);
            errors.invalid_written(&at, &whole, "field is immutable");
        }
        errors.into_vec()
    }
}

fn shown_parent(parent: &ParentReference) -> String {
    let group = Some(text(&parent.group)).filter(|group| !group.is_empty());
    let of = group.map_or_else(|| parent.resource.clone(), |group| format!("{}.{group}", parent.resource));
    let namespace = Some(text(&parent.namespace)).filter(|namespace| !namespace.is_empty());
    let namespace = namespace.map(|namespace| format!("/{namespace}")).unwrap_or_default();
    format!("{}{namespace}/{}", of.to_lowercase(), parent.name)
}

fn parent(errors: &mut Errors, at: &Path<'_>, parent: &ParentReference) {
    let Some(group) = &parent.group else { return errors.required(at, "") };
    if !group.is_empty() {
        errors.all(&at.child("group"), group, names::dns1123_subdomain(group));
    }
    reference::segments(errors, at, &[("resource", &parent.resource), ("name", &parent.name)]);
    let namespace = text(&parent.namespace);
    errors.all(&at.child("namespace"), namespace, names::path_segment(namespace, false));
}
