//! CSI nodes: which storage drivers a node has, and under which name each knows it.

use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver};

use super::check::{Errors, Path};
use super::fields::list;
use super::pod::volumes::csi_driver;
use crate::internal::shown;
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::status::FieldError;
use crate::table;

const NODE_ID_MAX: usize = 256;

impl Rules for CSINode {
    const META: MetaRules = MetaRules { unconditional: false, ..MetaRules::COMMON }.repeating(Repeats::Create);
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::integer("Drivers", "Drivers indicates the number of CSI drivers registered on the node", |it, _| {
            it.spec.drivers.len().into()
        }),
        table::age(),
    ];

    fn prepare(&mut self, old: Option<&Self>, _: Write) {
        // The health of storage is told only where its gate is on.
        self.status = old.and_then(|old| old.status.clone());
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let at = Path::root("spec");
        let at = at.child("drivers");
        for (index, driver) in self.spec.drivers.iter().enumerate() {
            let before = &self.spec.drivers[..index];
            check(&mut errors, &at.index(index), driver, before.iter().any(|one| one.name == driver.name));
        }
        for before in old.into_iter().flat_map(|old| &old.spec.drivers) {
            for driver in self.spec.drivers.iter().filter(|driver| driver.name == before.name) {
                frozen(&mut errors, &at, driver, before);
            }
        }
        errors.into_vec()
    }
}

fn check(errors: &mut Errors, at: &Path<'_>, driver: &CSINodeDriver, repeated: bool) {
    csi_driver(errors, &at.child("name"), &driver.name);
    let id_at = at.child("nodeID");
    errors.filled(&id_at, &driver.node_id);
    if driver.node_id.len() > NODE_ID_MAX {
        errors.invalid(&id_at, driver.node_id.as_str(), &format!("must be {NODE_ID_MAX} characters or less"));
    }
    if let Some(count) = driver.allocatable.as_ref().and_then(|resources| resources.count) {
        errors.non_negative(&at.child("allocatable").child("count"), count.into());
    }
    if repeated {
        errors.duplicate(&at.child("name"), &driver.name);
    }
    let keys = list(&driver.topology_keys);
    for (index, key) in keys.iter().enumerate() {
        errors.filled(at, key);
        if keys[..index].contains(key) {
            errors.duplicate(at, key);
        }
        errors.all(at, key, names::qualified(key));
    }
}

/// How many volumes a driver takes may change, what it is not.
fn frozen(errors: &mut Errors, at: &Path<'_>, new: &CSINodeDriver, old: &CSINodeDriver) {
    let bare = |driver: &CSINodeDriver| CSINodeDriver { allocatable: None, ..driver.clone() };
    let (new, old) = (bare(new), bare(old));
    if new != old {
        errors.invalid_written(at, &shown("api.storage.v1.CSINodeDriver", &new), "field is immutable");
    }
}
