//! Who may do what: an ordered table of rules, of which one has to allow it.

use std::borrow::Cow;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, NetworkPolicy};
use kprov_schema::selector::Fields;
use kprov_schema::{Key, Kind, Resource, Status, Subresource, reference};

use super::core::Core;
use super::errors;
use super::path::Place;
use super::user::User;

/// What somebody wants to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; a method in lower case for
    /// what is no resource.
    pub(crate) verb: Cow<'static, str>,
    /// The resource; with an empty plural it is a path.
    pub(crate) place: Place,
    /// The path.
    pub(crate) path: String,
    /// Whether it is a resource even though none is named, as only a question about access can be.
    pub(crate) resource: bool,
    /// The one name that a field selector of a collection allows.
    pub(crate) only_name: Option<String>,
    /// The one node that a field selector of a collection allows.
    pub(crate) only_node: Option<String>,
}

impl Attributes {
    /// What a client in process wants.
    pub(crate) fn in_process(verb: &'static str, kind: &Kind, key: &Key, part: Option<Subresource>) -> Self {
        let place = Place {
            group: kind.resource.group.to_string(),
            version: kind.resource.version.to_string(),
            namespace: key.namespace.clone(),
            plural: kind.resource.plural.to_string(),
            name: key.name.clone(),
            subresource: part.map(Subresource::name).unwrap_or_default().to_owned(),
            ..Place::default()
        };
        Self { verb: verb.into(), place, ..Self::default() }
    }

    /// Somebody wants a path that is no resource.
    pub(crate) fn of_path(path: &str, verb: &'static str) -> Self {
        Self { verb: verb.into(), path: path.to_owned(), ..Self::default() }
    }

    /// Notes what a field selector narrows a list, watch or deletion of a collection to.
    ///
    /// Where the path names an object the selector does not count, neither does one that can't be read.
    pub(crate) fn select(&mut self, fields: &str) {
        if !matches!(&*self.verb, "list" | "watch" | "deletecollection") || !self.place.name.is_empty() {
            return;
        }
        let Ok(fields) = Fields::parse(fields) else { return };
        self.only_name = fields.exact("metadata.name").map(str::to_owned);
        self.only_node = fields.exact("spec.nodeName").map(str::to_owned);
    }

    /// Whether it is about a resource, not about a path.
    pub(crate) fn is_resource(&self) -> bool {
        self.resource || !self.place.plural.is_empty()
    }

    /// The name of the one object that it is about, if it is about one.
    pub(crate) fn name(&self) -> &str {
        match self.place.name.as_str() {
            "" => self.only_name.as_deref().unwrap_or_default(),
            name => name,
        }
    }

    /// The namespace that it is in: a namespace itself is in its own.
    pub(crate) fn namespace(&self) -> &str {
        let place = &self.place;
        let itself = place.namespace.is_empty() && place.group.is_empty() && place.plural == "namespaces";
        if itself { &place.name } else { &place.namespace }
    }

    fn reads(&self) -> bool {
        matches!(&*self.verb, "get" | "list" | "watch")
    }
}

/// A rule: whether it allows. What no rule allows is refused.
struct Rule {
    name: &'static str,
    /// `None` when it does not; else why, in words for whoever asks, which may be empty.
    allows: fn(&Core, &User, &Attributes) -> Option<String>,
}

/// The roles come last: the rules before them ask nothing of the store for those who ask most.
const RULES: &[Rule] = &[
    Rule { name: "trusted", allows: |_, user, _| is_trusted(user).then(String::new) },
    Rule { name: "node", allows: |core, user, wanted| node(core, user, wanted).then(String::new) },
    Rule { name: "roles", allows: roles },
];

/// What of their roles lets somebody do it.
fn roles(core: &Core, user: &User, wanted: &Attributes) -> Option<String> {
    match core.roles.view(&core.store) {
        Ok(view) => view.source(user, wanted).map(|source| format!("RBAC: allowed by {source}")),
        Err(error) => {
            tracing::error!(%error, "the roles can't be read, so they allow nothing");
            None
        }
    }
}

/// Whether the user may do anything: administrators, and parts of the control plane itself.
pub(crate) fn is_trusted(user: &User) -> bool {
    user.is_of("system:masters") || COMPONENTS.contains(&user.name.as_str())
}

/// Parts of the control plane itself.
const COMPONENTS: &[&str] = &["system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"];

/// Whether the user may do it; the error says to the user what was refused.
pub(crate) fn authorize(core: &Core, user: &User, wanted: &Attributes) -> Result<(), Status> {
    match decide(core, user, wanted) {
        Some(_) => Ok(()),
        None => Err(refusal(user, wanted)),
    }
}

/// Whether the user may do it, and why: the words may be empty.
pub(crate) fn decide(core: &Core, user: &User, wanted: &Attributes) -> Option<String> {
    let allowed = RULES.iter().find_map(|rule| Some((rule.name, (rule.allows)(core, user, wanted)?)));
    let (rule, why) = allowed?;
    tracing::trace!(rule, user = user.name, verb = &*wanted.verb, why, "allowed");
    Some(why)
}

fn refusal(user: &User, wanted: &Attributes) -> Status {
    let (who, verb) = (&user.name, &wanted.verb);
    if !wanted.is_resource() {
        return errors::forbidden_path(format!("forbidden: User \"{who}\" cannot {verb} path \"{}\"", wanted.path));
    }
    let place = &wanted.place;
    let shown = if place.subresource.is_empty() {
        place.plural.clone()
    } else {
        format!("{}/{}", place.plural, place.subresource)
    };
    let scope = match wanted.namespace() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let message = format!("User \"{who}\" cannot {verb} resource \"{shown}\" in API group \"{}\" {scope}", place.group);
    let resource = Resource {
        group: place.group.clone().into(),
        version: place.version.clone().into(),
        plural: place.plural.clone().into(),
    };
    errors::forbidden(&resource, wanted.name(), &message)
}

/// What an agent asks, about whose node.
struct ByNode<'a> {
    core: &'a Core,
    node: &'a str,
    wanted: &'a Attributes,
}

/// A resource, or a part of it, and what node agents may do with it.
struct NodeRow {
    resource: Resource,
    part: Option<Subresource>,
    allows: fn(&ByNode<'_>) -> bool,
}

const fn row<T: k8s_openapi::Resource>(part: Option<Subresource>, allows: fn(&ByNode<'_>) -> bool) -> NodeRow {
    NodeRow { resource: Resource::of::<T>(), part, allows }
}

const STATUS: Option<Subresource> = Some(Subresource::Status);
const TOKEN: Option<Subresource> = Some(Subresource::Token);

/// Node authorization: an agent touches its own node, its own pods, what those pods use. What has no row is refused.
///
/// Source: <https://kubernetes.io/docs/reference/access-authn-authz/node/>
const NODE_ROWS: &[NodeRow] = &[
    row::<Service>(None, reads),
    row::<EndpointSlice>(None, reads),
    row::<Endpoints>(None, reads),
    row::<Namespace>(None, reads),
    row::<NetworkPolicy>(None, reads),
    row::<Ingress>(None, reads),
    row::<IngressClass>(None, reads),
    row::<PersistentVolume>(None, |by| reads_one(by.wanted) && holds_volume(by)),
    row::<Event>(None, writes_events),
    row::<events::v1::Event>(None, writes_events),
    row::<Node>(None, |by| by.wanted.verb == "create" || own_node(by.node, by.wanted)),
    row::<Node>(STATUS, |by| own_node(by.node, by.wanted)),
    row::<Pod>(None, own_pods),
    row::<Pod>(STATUS, |by| by.wanted.verb != "create" && is_own_pod(by)),
    row::<Lease>(None, own_lease),
    row::<ServiceAccount>(TOKEN, |by| by.wanted.verb == "create" && used::<ServiceAccount>(by)),
    row::<Secret>(None, |by| reads_one(by.wanted) && used::<Secret>(by)),
    row::<ConfigMap>(None, |by| reads_one(by.wanted) && used::<ConfigMap>(by)),
    row::<PersistentVolumeClaim>(None, |by| by.wanted.reads() && used::<PersistentVolumeClaim>(by)),
];

/// What the rows of the table are about.
#[cfg(test)]
pub(super) fn rows() -> Vec<(Resource, Option<Subresource>)> {
    NODE_ROWS.iter().map(|row| (row.resource.clone(), row.part)).collect()
}

fn node(core: &Core, user: &User, wanted: &Attributes) -> bool {
    let Some(node) = user.node_name().filter(|_| wanted.is_resource()) else { return false };
    let place = &wanted.place;
    let is = |row: &&NodeRow| {
        (&*row.resource.group, &*row.resource.plural, row.part.map_or("", Subresource::name))
            == (place.group.as_str(), place.plural.as_str(), place.subresource.as_str())
    };
    let found = NODE_ROWS.iter().find(is);
    found.is_some_and(|row| (row.allows)(&ByNode { core, node, wanted }))
}

fn reads(by: &ByNode<'_>) -> bool {
    by.wanted.reads()
}

fn writes_events(by: &ByNode<'_>) -> bool {
    matches!(&*by.wanted.verb, "create" | "update" | "patch")
}

fn own_lease(by: &ByNode<'_>) -> bool {
    let place = &by.wanted.place;
    place.namespace == "kube-node-lease" && (by.wanted.verb == "create" || place.name == by.node)
}

/// A get, or a list or watch of one name.
fn reads_one(wanted: &Attributes) -> bool {
    wanted.reads() && (!wanted.place.name.is_empty() || wanted.only_name.is_some())
}

fn own_node(node: &str, wanted: &Attributes) -> bool {
    match &*wanted.verb {
        "get" | "list" | "watch" => true,
        "update" | "patch" => wanted.place.name == node,
        _ => false,
    }
}

fn own_pods(by: &ByNode<'_>) -> bool {
    match &*by.wanted.verb {
        "list" | "watch" => by.wanted.only_node.as_deref() == Some(by.node),
        "get" | "delete" => is_own_pod(by),
        _ => false,
    }
}

fn is_own_pod(by: &ByNode<'_>) -> bool {
    let place = &by.wanted.place;
    let pod = by.core.get::<Pod>(&place.namespace, &place.name);
    // A pod that is gone by now tells nothing: the answer is that it is not there.
    pod.is_none_or(|pod| pod.object.text(&["spec", "nodeName"]) == Some(by.node))
}

/// The one name that is read: in the path, or by which a list or watch selects.
fn one_name(wanted: &Attributes) -> &str {
    let named = &wanted.place.name;
    wanted.only_name.as_deref().filter(|_| named.is_empty()).unwrap_or(named)
}

/// Whether a pod of the node names the object.
fn used<T: k8s_openapi::Resource>(by: &ByNode<'_>) -> bool {
    let (name, resource) = (one_name(by.wanted), Resource::of::<T>());
    let names = |pod: &kprov_schema::Object| {
        let spec = pod.at(&["spec"]);
        spec.is_some_and(|spec| {
            reference::of_pod(spec, "").iter().any(|(row, named)| named.name == name && row.resource == resource)
        })
    };
    let Ok(pods) = by.core.list::<Pod>(&by.wanted.place.namespace) else { return false };
    pods.iter().any(|pod| pod.object.text(&["spec", "nodeName"]) == Some(by.node) && names(&pod.object))
}

/// Whether a claim that a pod of the node uses is bound to the volume named.
fn holds_volume(by: &ByNode<'_>) -> bool {
    let ByNode { core, node, wanted } = *by;
    let name = one_name(wanted);
    let Some(volume) = core.get::<PersistentVolume>("", name) else { return false };
    let claim = |field: &str| volume.object.text(&["spec", "claimRef", field]).unwrap_or_default().to_owned();
    let claim = Key::new(claim("namespace"), claim("name"));
    let bound = core
        .get::<PersistentVolumeClaim>(&claim.namespace, &claim.name)
        .is_some_and(|claim| claim.object.text(&["spec", "volumeName"]) == Some(name));
    let place = Place { namespace: claim.namespace, name: claim.name, ..Place::default() };
    let wanted = Attributes { place, ..Attributes::default() };
    bound && used::<PersistentVolumeClaim>(&ByNode { core, node, wanted: &wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a field selector narrows a verb on a named or unnamed object to: a name, a node.
    fn only(verb: &'static str, name: &str, fields: &str) -> (Option<String>, Option<String>) {
        let place = Place { plural: "pods".to_owned(), name: name.to_owned(), ..Place::default() };
        let mut wanted = Attributes { verb: verb.into(), place, ..Attributes::default() };
        wanted.select(fields);
        (wanted.only_name, wanted.only_node)
    }

    #[test]
    fn a_field_selector_narrows_as_it_is_matched() {
        let some = |text: &str| Some(text.to_owned());
        for (verb, name, fields, want) in [
            ("list", "", "metadata.name=a,spec.nodeName==n", (some("a"), some("n"))),
            ("watch", "", "spec.nodeName=n", (None, some("n"))),
            ("deletecollection", "", "metadata.name=a", (some("a"), None)),
            ("list", "", r"type!=x\,metadata.name=mine", (None, None)),
            ("list", "", r"status.phase!=x\,spec.nodeName=n", (None, None)),
            ("list", "", r"metadata.name=a\,b", (some("a,b"), None)),
            ("list", "", "metadata.name!=a", (None, None)),
            ("list", "", "metadata.name=a,nonsense", (None, None)),
            ("watch", "a", "spec.nodeName=n", (None, None)),
            ("get", "a", "metadata.name=b", (None, None)),
            ("patch", "a", "metadata.name=b", (None, None)),
        ] {
            assert_eq!(only(verb, name, fields), want, "{verb} {name} {fields}");
        }
    }

    #[test]
    fn a_node_writes_its_own_node_alone() {
        for (verb, name, want) in [
            ("update", "n", true),
            ("patch", "n", true),
            ("update", "m", false),
            ("delete", "n", false),
            ("get", "m", true),
        ] {
            let place = Place { plural: "nodes".to_owned(), name: name.to_owned(), ..Place::default() };
            let wanted =
                Attributes { verb: verb.into(), place, only_name: Some("n".to_owned()), ..Attributes::default() };
            assert_eq!(own_node("n", &wanted), want, "{verb} {name}");
        }
    }
}
