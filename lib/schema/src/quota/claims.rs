//! Claims: their number and storage, as a whole and by storage class.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ScopedResourceSelectorRequirement};

use super::{Amounts, selects};
use crate::kind::{Typed, Write};
use crate::object::Object;
use crate::quantity::Quantity;
use crate::rules::claim::named_class;

pub(super) const NAMES: &[&str] = &["persistentvolumeclaims", "requests.storage"];
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

/// `gold.storageclass.storage.k8s.io/requests.storage`
pub(super) fn is_of_class(name: &str) -> bool {
    name.split_once(OF_CLASS).is_some_and(|(_, what)| NAMES.contains(&what))
}

pub(super) fn usage(object: &Object, _: Timestamp) -> Result<Amounts, String> {
    let claim = PersistentVolumeClaim::from_object(object)?;
    let field = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    let class = named_class(&claim.metadata, field);
    let counts = [("persistentvolumeclaims", Some(Quantity::whole(1))), ("requests.storage", storage(&claim))];
    let mut usage = Amounts::new();
    for (name, amount) in counts.into_iter().filter_map(|(name, amount)| Some((name, amount?))) {
        if !class.is_empty() {
            usage.insert(format!("{class}{OF_CLASS}{name}"), amount.clone());
        }
        usage.insert(name.to_owned(), amount);
    }
    Ok(usage)
}

/// What it asks for, or what was set aside for it where that is more.
fn storage(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let resources = claim.spec.as_ref()?.resources.as_ref()?;
    let asked = Quantity::from(resources.requests.as_ref()?.get("storage")?);
    let set_aside = claim.status.as_ref().and_then(|status| status.allocated_resources.as_ref()?.get("storage"));
    Some(set_aside.map(Quantity::from).filter(|amount| *amount > asked).unwrap_or(asked))
}

pub(super) fn charges(old: &Object, new: &Object, door: Write) -> Result<bool, String> {
    let moved = |path: &[&str]| old.at(path) != new.at(path);
    let through_status = || {
        let fields = ["allocatedResources", "currentVolumeAttributesClassName", "modifyVolumeStatus"];
        fields.iter().any(|field| moved(&["status", field]))
    };
    Ok(door == Write::Main || door == Write::Status && through_status())
}

pub(super) fn is_in_scope(scope: &ScopedResourceSelectorRequirement, object: &Object) -> Result<bool, String> {
    if scope.scope_name != "VolumeAttributesClass" {
        return Ok(false);
    }
    let classes = [
        object.text(&["spec", "volumeAttributesClassName"]),
        object.text(&["status", "currentVolumeAttributesClassName"]),
        object.text(&["status", "modifyVolumeStatus", "targetVolumeAttributesClassName"]),
    ];
    let classes: BTreeSet<&str> = classes.into_iter().flatten().filter(|class| !class.is_empty()).collect();
    let any = classes.iter().any(|class| selects(scope, Some(class)));
    Ok(any || classes.is_empty() && selects(scope, None))
}
