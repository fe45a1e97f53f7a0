//! Discovery documents: what is served, in the legacy and in the aggregated form.
//!
//! All are pure functions of a list of entries, one a kind and version.
//! Source: <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api>

use std::borrow::Cow;
use std::cmp::Reverse;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::kind::{Kind, Subresource};
use crate::structure::{Ref, Served, schema};

/// Content type of an aggregated document; clients read its parameters.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Groups in the order in which upstream lists them; others follow by name.
const GROUPS: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "storagemigration.k8s.io",
];

type Text = Cow<'static, str>;

/// A kind in one version, as discovery tells it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// API group, empty for the core group.
    pub group: Text,
    /// Version.
    pub version: Text,
    /// CamelCase name.
    pub kind: Text,
    /// Plural, lower-case name.
    pub plural: Text,
    /// Singular, lower-case name.
    pub singular: Text,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs.
    pub verbs: Vec<Text>,
    /// Short names.
    pub short_names: Vec<Text>,
    /// Categories.
    pub categories: Vec<Text>,
    /// Group and version that objects are stored as; `None` for kinds that are not stored.
    pub storage: Option<(Text, Text)>,
    /// Subresources.
    pub subresources: Vec<Part>,
    /// Its fields.
    pub structure: Ref,
    /// Whether a CustomResourceDefinition made it.
    pub custom: bool,
    /// The schema that its definition gives, which says more than its structure.
    pub schema: Option<Value>,
}

/// A subresource, as discovery tells it.
#[derive(Clone, Debug)]
pub struct Part {
    /// Last part of its path, such as `scale`.
    pub name: Text,
    /// Verbs.
    pub verbs: Vec<Text>,
    /// Group, version and kind that it speaks.
    pub speaks: (Text, Text, Text),
}

/// Verbs of a custom resource, in upstream's order.
const CUSTOM_VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

fn texts(words: &[&'static str]) -> Vec<Text> {
    words.iter().copied().map(Cow::Borrowed).collect()
}

impl Entry {
    /// The entry of a row: upstream's own for a built-in kind, one made from the row for a custom resource.
    #[must_use]
    pub fn of(kind: &Kind) -> Self {
        match schema().resource(&kind.resource) {
            Some(served) => Self::from(served),
            None => Self::custom(kind),
        }
    }

    /// The entry of a kind that has no row, such as `TokenReview`; `None` if upstream does not serve it by default.
    #[must_use]
    pub fn published(group: &str, version: &str, kind: &str) -> Option<Self> {
        schema().served(group, version, kind).map(Self::from)
    }

    fn custom(kind: &Kind) -> Self {
        let resource = &kind.resource;
        let own = (resource.group.clone(), resource.version.clone(), kind.kind.clone());
        let scale: (Text, Text, Text) = ("autoscaling".into(), "v1".into(), "Scale".into());
        let part = |part: Subresource, speaks| {
            let verbs = texts(&["get", "patch", "update"]);
            kind.subresources.contains(&part).then(|| Part { name: part.name().into(), verbs, speaks })
        };
        let status = part(Subresource::Status, own);
        let scaled = part(Subresource::Scale, scale);
        Self {
            group: resource.group.clone(),
            version: resource.version.clone(),
            kind: kind.kind.clone(),
            plural: resource.plural.clone(),
            singular: kind.singular().into(),
            namespaced: kind.is_namespaced(),
            verbs: texts(&CUSTOM_VERBS),
            short_names: kind.short_names(),
            categories: kind.categories(),
            storage: Some((resource.group.clone(), resource.version.clone())),
            subresources: status.into_iter().chain(scaled).collect(),
            structure: kind.structure(),
            custom: true,
            schema: kind.open_api().cloned(),
        }
    }

    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    /// Tells clients when the version that objects are stored as changes.
    fn storage_hash(&self) -> Option<String> {
        let (group, version) = self.storage.as_ref()?;
        let digest = Sha256::digest(format!("{group}/{version}/{}", self.kind));
        Some(STANDARD.encode(&digest[..8]))
    }
}

impl From<&Served> for Entry {
    fn from(served: &Served) -> Self {
        Self {
            group: served.group.into(),
            version: served.version.into(),
            kind: served.kind.into(),
            plural: served.plural.into(),
            singular: served.kind.to_ascii_lowercase().into(),
            namespaced: served.namespaced,
            verbs: texts(&served.verbs),
            short_names: texts(&served.short_names),
            categories: texts(&served.categories),
            storage: served.storage.map(|(group, version)| (group.into(), version.into())),
            subresources: served
                .subresources
                .iter()
                .map(|one| Part {
                    name: one.name.into(),
                    verbs: texts(&one.verbs),
                    speaks: (one.group.into(), one.version.into(), one.kind.into()),
                })
                .collect(),
            structure: served.structure.clone(),
            custom: false,
            schema: None,
        }
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// `/api`: the versions of the core group, with the address that clients are to use.
#[must_use]
pub fn api_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    })
}

/// `/apis`: every group but the core one.
#[must_use]
pub fn group_list(entries: &[Entry]) -> Value {
    let groups: Vec<Value> =
        groups(entries).iter().filter(|group| !group.is_empty()).map(|group| group_of(entries, group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; `None` when nothing of the group is served.
#[must_use]
pub fn group(entries: &[Entry], name: &str) -> Option<Value> {
    entries.iter().find(|entry| entry.group == name)?;
    let mut group = group_of(entries, name);
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Some(group)
}

fn group_of(entries: &[Entry], group: &str) -> Value {
    let versions: Vec<Value> = versions(entries, group)
        .iter()
        .map(|version| json!({"groupVersion": group_version(group, version), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

/// `/api/v1` or `/apis/GROUP/VERSION`; `None` when nothing of the version is served.
#[must_use]
pub fn resource_list(entries: &[Entry], group: &str, version: &str) -> Option<Value> {
    let found = of_version(entries, group, version);
    found.first()?;
    let resources: Vec<Value> = found.iter().flat_map(|entry| resources(entry)).collect();
    let mut list =
        json!({"kind": "APIResourceList", "groupVersion": group_version(group, version), "resources": resources});
    if !group.is_empty() {
        list["apiVersion"] = json!("v1");
    }
    Some(list)
}

fn resources(entry: &Entry) -> Vec<Value> {
    let mut own = json!({
        "name": entry.plural, "singularName": entry.singular, "namespaced": entry.namespaced, "kind": entry.kind, "verbs": entry.verbs,
    });
    put_names(&mut own, entry);
    if let Some(hash) = entry.storage_hash() {
        own["storageVersionHash"] = json!(hash);
    }
    let parts = entry.subresources.iter().map(|part| {
        let (group, version, kind) = &part.speaks;
        let mut one = json!({
            "name": format!("{}/{}", entry.plural, part.name), "singularName": "", "namespaced": entry.namespaced,
            "kind": kind, "verbs": part.verbs,
        });
        if (group, version) != (&entry.group, &entry.version) {
            one["group"] = json!(group);
            one["version"] = json!(version);
        }
        one
    });
    std::iter::once(own).chain(parts).collect()
}

fn put_names(resource: &mut Value, entry: &Entry) {
    if !entry.short_names.is_empty() {
        resource["shortNames"] = json!(entry.short_names);
    }
    if !entry.categories.is_empty() {
        resource["categories"] = json!(entry.categories);
    }
}

/// The aggregated form of `/api` (the core group alone) and of `/apis` (every other).
#[must_use]
pub fn aggregated(entries: &[Entry], core: bool) -> Value {
    let items: Vec<Value> = groups(entries)
        .iter()
        .filter(|group| group.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> =
                versions(entries, group).iter().map(|version| aggregated_version(entries, group, version)).collect();
            let mut metadata = Map::new();
            if !group.is_empty() {
                metadata.insert("name".to_owned(), json!(group));
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_version(entries: &[Entry], group: &str, version: &str) -> Value {
    let resources: Vec<Value> =
        of_version(entries, group, version).iter().map(|entry| aggregated_resource(entry)).collect();
    json!({"version": version, "freshness": "Current", "resources": resources})
}

fn aggregated_resource(entry: &Entry) -> Value {
    let own = (entry.group.clone(), entry.version.clone(), entry.kind.clone());
    let mut resource = json!({
        "resource": entry.plural, "singularResource": entry.singular, "verbs": entry.verbs,
        "scope": if entry.namespaced { "Namespaced" } else { "Cluster" },
        "responseKind": response_kind(entry, &own),
    });
    put_names(&mut resource, entry);
    if !entry.subresources.is_empty() {
        let parts: Vec<Value> = entry
            .subresources
            .iter()
            .map(|part| json!({"subresource": part.name, "verbs": part.verbs, "responseKind": response_kind(entry, &part.speaks)}))
            .collect();
        resource["subresources"] = json!(parts);
    }
    resource
}

/// Group and version are named for custom resources, and where they differ from those around.
fn response_kind(entry: &Entry, (group, version, kind): &(Text, Text, Text)) -> Value {
    let foreign = entry.custom || (group, version) != (&entry.group, &entry.version);
    let (group, version) = if foreign { (group.as_ref(), version.as_ref()) } else { ("", "") };
    json!({"group": group, "version": version, "kind": kind})
}

/// The groups of the entries, in upstream's order.
fn groups(entries: &[Entry]) -> Vec<&str> {
    let mut groups: Vec<&str> = entries.iter().map(|entry| entry.group.as_ref()).collect();
    let place = |group: &str| GROUPS.iter().position(|one| *one == group).unwrap_or(GROUPS.len());
    groups.sort_by_key(|group| (place(group), *group));
    groups.dedup();
    groups
}

/// The versions of a group, the preferred one first.
fn versions<'a>(entries: &'a [Entry], group: &str) -> Vec<&'a str> {
    let mut versions: Vec<&str> =
        entries.iter().filter(|entry| entry.group == group).map(|entry| entry.version.as_ref()).collect();
    versions.sort_by_key(|version| Reverse(version_rank(version)));
    versions.dedup();
    versions
}

/// Orders versions as Kubernetes does: stable before beta before alpha, higher before lower, other names last, by name.
#[must_use]
pub fn version_rank(version: &str) -> impl Ord + use<> {
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, stage) = (rest[..digits].parse::<u32>().ok()?, &rest[digits..]);
        let numbered = |word: &str, rank: u8| {
            stage.strip_prefix(word).and_then(|minor| Some((rank, major, minor.parse::<u32>().ok()?)))
        };
        if stage.is_empty() { Some((3, major, 0)) } else { numbered("beta", 2).or_else(|| numbered("alpha", 1)) }
    });
    (parsed.unwrap_or((0, 0, 0)), Reverse(version.to_owned()))
}

/// The entries of a group and version, by plural name.
pub(crate) fn of_version<'a>(entries: &'a [Entry], group: &str, version: &str) -> Vec<&'a Entry> {
    let mut found: Vec<&Entry> =
        entries.iter().filter(|entry| entry.group == group && entry.version == version).collect();
    found.sort_by(|a, b| a.plural.cmp(&b.plural));
    found
}

/// The hash of a document's bytes, as it stands in an `ETag` and in the address of an OpenAPI document.
#[must_use]
pub fn hash(document: &[u8]) -> String {
    Sha512::digest(document).iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ranked_as_kubernetes_does() {
        let mut versions = ["foo", "v1alpha1", "v1", "v2beta1", "v11beta2", "v10", "bar", "v2"];
        versions.sort_by_key(|version| Reverse(version_rank(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v11beta2", "v2beta1", "v1alpha1", "bar", "foo"]);
    }
}
