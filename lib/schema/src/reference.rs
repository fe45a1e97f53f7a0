//! Names of other objects: the fields of a pod's specification that hold one, in one table.
//!
//! Node agents read what these fields name, are allowed to read nothing else, and bundles are searched for it.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, ServiceAccount};
use serde_json::Value;

use crate::key::Resource;

/// A field that names an object of the same namespace.
#[derive(Debug)]
pub struct Naming {
    /// Path of the name; `[]` stands for every item of a list.
    pub path: &'static str,
    /// What is named.
    pub resource: Resource,
    /// Its kind.
    pub kind: &'static str,
}

const fn naming<T: k8s_openapi::Resource>(path: &'static str) -> Naming {
    Naming { path, resource: Resource::of::<T>(), kind: T::KIND }
}

/// Fields of a container.
pub const IN_CONTAINER: &[Naming] = &[
    naming::<ConfigMap>("env[].valueFrom.configMapKeyRef.name"),
    naming::<Secret>("env[].valueFrom.secretKeyRef.name"),
    naming::<ConfigMap>("envFrom[].configMapRef.name"),
    naming::<Secret>("envFrom[].secretRef.name"),
];

/// Fields of a volume.
pub const IN_VOLUME: &[Naming] = &[
    naming::<ConfigMap>("configMap.name"),
    naming::<Secret>("secret.secretName"),
    naming::<PersistentVolumeClaim>("persistentVolumeClaim.claimName"),
    naming::<ConfigMap>("projected.sources[].configMap.name"),
    naming::<Secret>("projected.sources[].secret.name"),
    naming::<Secret>("azureFile.secretName"),
    naming::<Secret>("cephfs.secretRef.name"),
    naming::<Secret>("cinder.secretRef.name"),
    naming::<Secret>("csi.nodePublishSecretRef.name"),
    naming::<Secret>("flexVolume.secretRef.name"),
    naming::<Secret>("iscsi.secretRef.name"),
    naming::<Secret>("rbd.secretRef.name"),
    naming::<Secret>("scaleIO.secretRef.name"),
    naming::<Secret>("storageos.secretRef.name"),
];

/// Fields of a pod's specification beside those of its containers and volumes.
pub const IN_POD: &[Naming] =
    &[naming::<Secret>("imagePullSecrets[].name"), naming::<ServiceAccount>("serviceAccountName")];

/// The lists of a pod's containers.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// A name where it stands.
#[derive(Debug)]
pub struct Named<'a> {
    /// Path of the name, such as `volumes[0].secret.secretName`.
    pub path: String,
    /// The name.
    pub name: &'a str,
    /// The map that it stands in, for what is said beside it: `optional`, `key`, `items`.
    pub beside: &'a Value,
}

/// Every name that a path such as `volumes[].secret.secretName` leads to in a value that stands at `at`.
#[must_use]
pub fn names<'a>(value: &'a Value, path: &str, at: &str) -> Vec<Named<'a>> {
    let mut found = Vec::new();
    collect(value, path, at, &mut found);
    found
}

fn collect<'a>(value: &'a Value, path: &str, at: &str, found: &mut Vec<Named<'a>>) {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let (field, list) = step.strip_suffix("[]").map_or((step, false), |field| (field, true));
    let inner = &value[field];
    if inner.is_null() {
        return;
    }
    let at = if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") };
    if list {
        for (index, item) in inner.as_array().into_iter().flatten().enumerate() {
            collect(item, rest, &format!("{at}[{index}]"), found);
        }
    } else if rest.is_empty() {
        found.extend(inner.as_str().map(|name| Named { path: at, name, beside: value }));
    } else {
        collect(inner, rest, &at, found);
    }
}

/// What a value that stands at `at` names, of the fields of a table.
pub fn named<'a>(table: &'static [Naming], value: &'a Value, at: &str) -> Vec<(&'static Naming, Named<'a>)> {
    table.iter().flat_map(|row| names(value, row.path, at).into_iter().map(move |named| (row, named))).collect()
}

/// All that the specification of a pod, which stands at `at`, names.
#[must_use]
pub fn of_pod<'a>(spec: &'a Value, at: &str) -> Vec<(&'static Naming, Named<'a>)> {
    let lists = CONTAINERS.map(|list| (list, IN_CONTAINER)).into_iter().chain([("volumes", IN_VOLUME)]);
    let mut found = Vec::new();
    for (list, table) in lists {
        for (index, item) in spec[list].as_array().into_iter().flatten().enumerate() {
            let at = if at.is_empty() { format!("{list}[{index}]") } else { format!("{at}.{list}[{index}]") };
            found.extend(named(table, item, &at));
        }
    }
    found.extend(named(IN_POD, spec, at));
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::structure::{Shape, Struct, schema};

    /// The paths below a struct where another object of the namespace is named.
    fn published(of: &Struct, at: &str, found: &mut BTreeSet<String>) {
        const REFERENCE: &str = "LocalObjectReference";
        let refers = of.short_name() == REFERENCE || of.embedded.iter().any(|(_, one)| one.short_name() == REFERENCE);
        for field in &of.fields {
            let at = format!("{at}{}", field.name);
            let plain = ["secretName", "claimName", "serviceAccountName"].contains(&field.name.as_ref());
            match &field.node.shape {
                Shape::Text if plain || (refers && field.name == "name") => drop(found.insert(at)),
                Shape::Struct(inner) => published(inner, &format!("{at}."), found),
                Shape::List(item) => item.as_struct().iter().for_each(|one| published(one, &format!("{at}[]."), found)),
                _ => {}
            }
        }
    }

    #[test]
    fn every_field_that_names_an_object_is_in_the_table() {
        let mut found = BTreeSet::new();
        published(&schema().definition("io.k8s.api.core.v1.PodSpec").unwrap(), "", &mut found);
        let rows = |at: &str, table: &[Naming]| table.iter().map(|row| format!("{at}{}", row.path)).collect::<Vec<_>>();
        let containers = CONTAINERS.iter().flat_map(|list| rows(&format!("{list}[]."), IN_CONTAINER));
        let table = containers.chain(rows("volumes[].", IN_VOLUME)).chain(rows("", IN_POD)).collect();
        assert_eq!(found, table);
    }

    #[test]
    fn names_are_found_where_they_stand() {
        let spec = json!({
            "containers": [{"name": "a", "envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "m"}}]}],
            "ephemeralContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "t", "key": "k"}}}]}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}, {"emptyDir": {}}],
            "imagePullSecrets": [{"name": "p"}],
        });
        let found: Vec<String> =
            of_pod(&spec, "spec").iter().map(|(row, one)| format!("{} {} {}", one.path, row.kind, one.name)).collect();
        assert_eq!(
            found,
            [
                "spec.containers[0].envFrom[1].configMapRef.name ConfigMap m",
                "spec.containers[0].envFrom[0].secretRef.name Secret s",
                "spec.ephemeralContainers[0].env[0].valueFrom.secretKeyRef.name Secret t",
                "spec.volumes[0].persistentVolumeClaim.claimName PersistentVolumeClaim c",
                "spec.imagePullSecrets[0].name Secret p",
            ]
        );
        let named = names(&spec, "ephemeralContainers[].env[].valueFrom.secretKeyRef.name", "");
        assert_eq!(named[0].beside["key"], "k");
    }
}
