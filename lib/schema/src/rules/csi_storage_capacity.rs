//! Storage capacities: how much a storage class has left for a part of the nodes.

use k8s_openapi::api::storage::v1::CSIStorageCapacity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::check::{Errors, Path};
use super::pod::warnings::node_labels;
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::quantity::Quantity;
use crate::selector;
use crate::status::FieldError;
use crate::table;

impl Rules for CSIStorageCapacity {
    const META: MetaRules = MetaRules { unconditional: false, ..MetaRules::COMMON }.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[table::name(), table::created()];

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let (topology_at, class_at) = (Path::root("nodeTopology"), Path::root("storageClassName"));
        if let Some(topology) = &self.node_topology {
            let had_bad_values = old.and_then(|old| old.node_topology.as_ref()).is_some_and(is_wrong);
            errors.extend(selector::validate_unless(topology, &topology_at.to_string(), had_bad_values));
        }
        errors.all(&class_at, &self.storage_class_name, names::dns1123_subdomain(&self.storage_class_name));
        for (field, amount) in [("capacity", &self.capacity), ("maximumVolumeSize", &self.maximum_volume_size)] {
            let amount = amount.as_ref().map(Quantity::from).filter(|amount| amount.sign() < 0);
            if let Some(amount) = amount {
                errors.invalid(&Path::root(field), amount.to_string(), "must be greater than or equal to 0");
            }
        }
        if let Some(old) = old {
            errors.immutable(&topology_at, &self.node_topology, &old.node_topology);
            errors.immutable(&class_at, &self.storage_class_name, &old.storage_class_name);
        }
        errors.into_vec()
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        let topology = self.node_topology.as_ref();
        topology.map(|topology| node_labels(&Path::root("nodeTopology"), topology)).unwrap_or_default()
    }
}

fn is_wrong(selector: &LabelSelector) -> bool {
    !selector::validate(selector, "").is_empty()
}
