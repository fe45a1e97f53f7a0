//! Resource slices: the devices that a driver has on a node, or on several.

use k8s_openapi::api::resource::v1::{
    CounterSet, Device, DeviceAttribute, DeviceTaint, ResourceSlice, ResourceSliceSpec,
};
use serde_json::{Value, json};

use super::check::{Errors, Path};
use super::device_claim::{pool, qualified, set, several};
use super::fields::{list, text};
use super::parts;
use super::pod::affinity::node_selector;
use super::pod::volumes::csi_driver;
use crate::kind::{Column, Rules, Selectable, Write};
use crate::meta::MetaRules;
use crate::names;
use crate::status::FieldError;
use crate::table;

const NODE: &str = "NodeName identifies the node which provides the resources in this pool. A field selector can be \
    used to list only ResourceSlice objects belonging to a certain node.\n\nThis field can be used to limit access \
    from nodes to ResourceSlices with the same node name. It also indicates to autoscalers that adding new nodes of \
    the same type as some old node might also make new resources available.\n\nExactly one of NodeName, NodeSelector, \
    AllNodes, and PerDeviceNodeSelection must be set. This field is immutable.";
const DRIVER: &str = "Driver identifies the DRA driver providing the capacity information. A field selector can be \
    used to list only ResourceSlice objects with a certain driver name.\n\nMust be a DNS subdomain and should end with \
    a DNS domain owned by the vendor of the driver. It should use only lower case characters. This field is immutable.";
const POOL: &str = "Name is used to identify the pool. For node-local devices, this is often the node name, but this \
    is not required.\n\nIt must not be longer than 253 characters and must consist of one or more DNS sub-domains \
    separated by slashes. This field is immutable.";

const DEVICES_MAX: usize = 128;
/// How many devices there may be if some have taints or share counters.
const SPECIAL_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const ATTRIBUTES_MAX: usize = 32;
const TAINTS_MAX: usize = 16;
const VALUE_MAX: usize = 64;
const ONE_PLACE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";

impl Rules for ResourceSlice {
    const META: MetaRules = MetaRules::COMMON;
    const SELECTABLE: &'static [Selectable] = &[Selectable::text("spec.nodeName"), Selectable::text("spec.driver")];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Node", NODE, |it, _| text(&it.spec.node_name).into()),
        table::text("Driver", DRIVER, |it, _| it.spec.driver.as_str().into()),
        table::text("Pool", POOL, |it, _| it.spec.pool.name.as_str().into()),
        table::age(),
    ];

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec));
        parts::prepare_spec((&mut self.metadata, &mut self.spec), old, write);
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let (at, spec) = (Path::root("spec"), &self.spec);
        let pool_at = at.child("pool");
        csi_driver(&mut errors, &at.child("driver"), &spec.driver);
        pool(&mut errors, &pool_at.child("name"), &spec.pool.name);
        if spec.pool.resource_slice_count <= 0 {
            let count = spec.pool.resource_slice_count;
            errors.invalid(&pool_at.child("resourceSliceCount"), count, "must be greater than zero");
        }
        if spec.pool.generation < 0 {
            let why = "must be greater than or equal to zero";
            errors.invalid(&pool_at.child("generation"), spec.pool.generation, why);
        }
        if let Some(old) = old {
            errors.immutable(&pool_at.child("name"), &spec.pool.name, &old.spec.pool.name);
            errors.immutable(&at.child("driver"), &spec.driver, &old.spec.driver);
            errors.immutable(&at.child("nodeName"), &spec.node_name, &old.spec.node_name);
        }
        place(&mut errors, &at, spec);
        contents(&mut errors, &at, spec);
        errors.into_vec()
    }
}

fn place(errors: &mut Errors, at: &Path<'_>, spec: &ResourceSliceSpec) {
    let mut given = Vec::new();
    match spec.node_name.as_deref() {
        None => {}
        Some("") => errors.invalid(&at.child("nodeName"), "", "must be either unset or set to a non-empty string"),
        Some(name) => {
            given.push("`nodeName`");
            errors.all(&at.child("nodeName"), name, names::dns1123_subdomain(name));
        }
    }
    if let Some(selector) = &spec.node_selector {
        given.push("`nodeSelector`");
        let selector_at = at.child("nodeSelector");
        node_selector(errors, &selector_at, selector, false);
        if selector.node_selector_terms.len() != 1 {
            let why = "must have exactly one node selector term";
            errors.invalid(&selector_at.child("nodeSelectorTerms"), json!(selector.node_selector_terms), why);
        }
    }
    for (field, shown, set) in [
        ("allNodes", "`allNodes`", spec.all_nodes),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`", spec.per_device_node_selection),
    ] {
        match set {
            None => {}
            Some(true) => given.push(shown),
            Some(false) => errors.invalid(&at.child(field), false, "must be either unset or set to true"),
        }
    }
    match given[..] {
        [] => errors.required(at, ONE_PLACE),
        [_] => {}
        _ => {
            let shown = format!("{{{}}}", given.join(", "));
            errors.invalid(at, shown, &format!("{ONE_PLACE}, but multiple fields are set"));
        }
    }
}

fn contents(errors: &mut Errors, at: &Path<'_>, spec: &ResourceSliceSpec) {
    let (devices, counters) = (list(&spec.devices), list(&spec.shared_counters));
    if spec.shared_counters.is_some() && spec.devices.is_some() {
        errors.invalid(at, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    let special = |device: &Device| !list(&device.taints).is_empty() || !list(&device.consumes_counters).is_empty();
    let max = if devices.iter().any(special) { SPECIAL_DEVICES_MAX } else { DEVICES_MAX };
    let apart = spec.per_device_node_selection == Some(true);
    set(errors, &at.child("devices"), devices, max, |one| &one.name, |errors, at, one| device(errors, at, one, apart));
    set(errors, &at.child("sharedCounters"), counters, COUNTER_SETS_MAX, |one| &one.name, counter_set);
}

fn device(errors: &mut Errors, at: &Path<'_>, device: &Device, apart: bool) {
    errors.all(&at.child("name"), &device.name, names::dns1123_label(&device.name));
    let (attributes, capacity) = (device.attributes.iter().flatten(), device.capacity.iter().flatten());
    let count = attributes.clone().count() + capacity.clone().count();
    if count > ATTRIBUTES_MAX {
        let why = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        errors.invalid(at, count, &why);
    }
    let (attributes_at, capacity_at) = (at.child("attributes"), at.child("capacity"));
    for (name, value) in attributes {
        qualified(errors, &attributes_at, name);
        attribute(errors, &attributes_at.key(name), value);
    }
    capacity.for_each(|(name, _)| qualified(errors, &capacity_at, name));
    several(errors, &at.child("taints"), list(&device.taints), TAINTS_MAX, taint);
    own_place(errors, at, device, apart);
}

fn attribute(errors: &mut Errors, at: &Path<'_>, value: &DeviceAttribute) {
    let given = [value.bool.is_some(), value.int.is_some(), value.string.is_some(), value.version.is_some()];
    match given.into_iter().filter(|given| *given).count() {
        0 => errors.required(at, "exactly one value must be specified"),
        1 => {}
        _ => errors.invalid(at, json!(value), "exactly one value must be specified"),
    }
    for (field, text) in [("string", &value.string), ("version", &value.version)] {
        if text.as_ref().is_some_and(|text| text.len() > VALUE_MAX) {
            errors.too_long(&at.child(field), VALUE_MAX);
        }
    }
}

fn taint(errors: &mut Errors, at: &Path<'_>, taint: &DeviceTaint) {
    errors.all(&at.child("key"), &taint.key, names::qualified(&taint.key));
    let value = text(&taint.value);
    errors.all(&at.child("value"), value, names::label_value(value));
    errors.filled_one_of(&at.child("effect"), &taint.effect, &["NoExecute", "NoSchedule", "None"]);
}

/// Where a device is, if every device of the slice says that itself.
fn own_place(errors: &mut Errors, at: &Path<'_>, device: &Device, apart: bool) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
        `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    let any = device.node_name.is_some() || device.node_selector.is_some() || device.all_nodes.is_some();
    if !apart {
        if any {
            let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
                       true in the ResourceSlice spec";
            errors.invalid(at, Value::Null, why);
        }
        return;
    }
    let mut given = Vec::new();
    match device.node_name.as_deref() {
        None => {}
        Some("") => errors.invalid(&at.child("nodeName"), "", "must not be empty"),
        Some(name) => {
            given.push("`nodeName`");
            errors.all(&at.child("nodeName"), name, names::dns1123_subdomain(name));
        }
    }
    if let Some(selector) = &device.node_selector {
        given.push("`nodeSelector`");
        node_selector(errors, &at.child("nodeSelector"), selector, false);
    }
    match device.all_nodes {
        None => {}
        Some(true) => given.push("`allNodes`"),
        Some(false) => errors.invalid(&at.child("allNodes"), false, "must be either unset or set to true"),
    }
    match given[..] {
        [] => errors.required(at, ONE),
        [_] => {}
        _ => errors.invalid(at, format!("{{{}}}", given.join(", ")), ONE),
    }
}

fn counter_set(errors: &mut Errors, at: &Path<'_>, counters: &CounterSet) {
    errors.filled_all(&at.child("name"), &counters.name, names::dns1123_label);
    let counters_at = at.child("counters");
    if counters.counters.is_empty() {
        errors.required(&counters_at, "");
    }
    for name in counters.counters.keys() {
        errors.all(&counters_at, name, names::dns1123_label(name));
    }
}
