//! Where ingresses answer, and what is wrong with them; the nodes' own proxies do the rest.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, IngressBackend, IngressClass, ServiceBackendPort};
use kprov_schema::rules::ingress::class_of;
use kprov_schema::{Key, Object, Resource, Subresource};
use serde_json::{Value, json};

use super::machinery::action::{Action, Note, Outcome};
use super::machinery::meta::reference;
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, addresses};
use crate::client::PatchKind;
use crate::informer::{Change, Unreadable};

/// Name by which ingress classes ask for the proxies of the nodes.
pub const NAME: &str = "kprov.dev/ingress";

/// The controllers that are stood in for: our own, and that of the manifests of tutorials, so that these work.
const SERVED: &[&str] = &[NAME, "k8s.io/ingress-nginx"];

/// What of ingress-nginx's annotations is done.
const ANNOTATIONS: &[&str] = &["force-ssl-redirect", "rewrite-target", "ssl-redirect", "use-regex"];
const ANNOTATION_PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// Whether the ingresses of a class with this controller are acted on here.
#[must_use]
pub fn serves(controller: &str) -> bool {
    SERVED.contains(&controller)
}

/// The class that ingresses without one get in a cluster on this machine.
#[must_use]
pub fn standard_class() -> Object {
    let body: Value = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "kprov", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": NAME},
    });
    Object::try_from(body).expect("written as a map")
}

/// Keeps the status of ingresses.
pub struct Ingresses;

impl Controller for Ingresses {
    const NAME: &'static str = "kprov-ingress-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<Ingress>(),
            Watch::new::<Node>(addresses::all_when_nodes_change::<Ingress>),
            Watch::new::<IngressClass>(|_, world| {
                world.cache(&Resource::of::<Ingress>()).all().iter().map(|entry| entry.key.clone()).collect()
            }),
            Watch::new::<Service>(|change, world| naming(change, world, services)),
            Watch::new::<Secret>(|change, world| naming(change, world, secrets)),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(ingress) = world.get::<Ingress>(key)? else { return Ok(Outcome::nothing()) };
        if ingress.raw.is_deleting() || !is_served(&ingress, world)? {
            return Ok(Outcome::nothing());
        }
        let wanted: Vec<Value> = addresses::of_ready_nodes(world)?.iter().map(|ip| json!({"ip": ip})).collect();
        let has = ingress.raw.at(&["status", "loadBalancer", "ingress"]).and_then(Value::as_array);
        if has.map(Vec::as_slice).unwrap_or_default() != wanted {
            return Ok(vec![set_status(&ingress, &wanted)].into());
        }
        // Told once the status stands: the write of it comes by here again.
        Ok(problems(&ingress, world)?.into_iter().map(Action::Record).collect::<Vec<_>>().into())
    }
}

/// Ingresses without a class are served, as in every cluster with one proxy.
fn is_served(ingress: &Ingress, world: &Snapshot) -> Result<bool, Unreadable> {
    let Some(class) = class_of(ingress) else { return Ok(true) };
    let class = world.get::<IngressClass>(&Key::new("", class))?;
    let controller = class.as_ref().and_then(|class| class.spec.as_ref()?.controller.as_deref());
    Ok(controller.is_some_and(serves))
}

fn set_status(ingress: &Seen<Ingress>, points: &[Value]) -> Action {
    let points = if points.is_empty() { Value::Null } else { points.into() };
    Action::Patch {
        resource: Resource::of::<Ingress>(),
        key: ingress.raw.key(),
        subresource: Some(Subresource::Status),
        kind: PatchKind::Merge,
        patch: json!({"metadata": {"uid": ingress.raw.uid().0}, "status": {"loadBalancer": {"ingress": points}}}),
    }
}

/// Ingresses of the namespace of what changed that name it.
fn naming(change: &Change, world: &Snapshot, named: fn(&Ingress) -> BTreeSet<&str>) -> Vec<Key> {
    let Some(changed) = change.latest() else { return Vec::new() };
    let all = world.readable_in::<Ingress>(&changed.key.namespace);
    let names = all.iter().filter(|ingress| named(ingress).contains(changed.key.name.as_str()));
    names.map(|ingress| ingress.raw.key()).collect()
}

fn backends(ingress: &Ingress) -> Vec<&IngressBackend> {
    let spec = ingress.spec.as_ref();
    let rules = spec.and_then(|spec| spec.rules.as_deref()).unwrap_or_default();
    let paths = rules.iter().filter_map(|rule| rule.http.as_ref()).flat_map(|http| &http.paths);
    spec.and_then(|spec| spec.default_backend.as_ref()).into_iter().chain(paths.map(|path| &path.backend)).collect()
}

fn services(ingress: &Ingress) -> BTreeSet<&str> {
    backends(ingress).iter().filter_map(|backend| Some(backend.service.as_ref()?.name.as_str())).collect()
}

fn secrets(ingress: &Ingress) -> BTreeSet<&str> {
    let tls = ingress.spec.as_ref().and_then(|spec| spec.tls.as_deref()).unwrap_or_default();
    tls.iter().filter_map(|tls| tls.secret_name.as_deref()).filter(|name| !name.is_empty()).collect()
}

fn problems(ingress: &Seen<Ingress>, world: &Snapshot) -> Result<Vec<Note>, Unreadable> {
    let namespace = ingress.raw.namespace();
    let mut found: BTreeSet<(&'static str, String)> = BTreeSet::new();
    for backend in backends(ingress) {
        let Some(named) = &backend.service else {
            let what =
                "a backend is a resource, which nothing here serves: its requests are answered with 503".to_owned();
            found.insert(("BackendUnsupported", what));
            continue;
        };
        let service = world.get::<Service>(&Key::new(namespace, named.name.as_str()))?;
        found.extend(wrong_with(&named.name, named.port.as_ref(), service.as_deref()));
    }
    for name in secrets(ingress) {
        let secret = world.get::<Secret>(&Key::new(namespace, name))?;
        let has = |key: &str| secret.as_ref().and_then(|secret| secret.data.as_ref()?.get(key)).is_some();
        if !has("tls.crt") || !has("tls.key") {
            let what =
                format!("secret {name:?} with tls.crt and tls.key is not there: a certificate of nobody is shown");
            found.insert(("SecretNotFound", what));
        }
    }
    let asked = ingress.raw.annotations().filter_map(|(key, _)| key.strip_prefix(ANNOTATION_PREFIX));
    found.extend(asked.filter(|name| !ANNOTATIONS.contains(name)).map(|name| {
        ("AnnotationIgnored", format!("{ANNOTATION_PREFIX}{name} is not one of those that are acted on here"))
    }));
    let about = reference(&ingress.raw);
    Ok(found.into_iter().map(|(reason, message)| Note::warning(about.clone(), reason, message)).collect())
}

fn wrong_with(
    name: &str,
    port: Option<&ServiceBackendPort>,
    service: Option<&Service>,
) -> Option<(&'static str, String)> {
    let spec = service.and_then(|service| service.spec.as_ref());
    let Some(spec) = spec else {
        return Some(("ServiceNotFound", format!("service {name:?} is not there: its requests are answered with 503")));
    };
    if spec.type_.as_deref() == Some("ExternalName") {
        let what = format!("service {name:?} is a name outside of the cluster: its requests are answered with 503");
        return Some(("BackendUnsupported", what));
    }
    let (number, port_name) = (port.and_then(|port| port.number), port.and_then(|port| port.name.as_deref()));
    let mut ports = spec.ports.iter().flatten();
    let has = ports.any(|one| number == Some(one.port) || port_name.is_some() && port_name == one.name.as_deref());
    let shown = number.map_or_else(|| format!("{:?}", port_name.unwrap_or_default()), |number| number.to_string());
    (!has)
        .then(|| ("PortNotFound", format!("service {name:?} has no port {shown}: its requests are answered with 503")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(ingress: Value, others: &[Value]) -> Vec<String> {
        let node = |name: &str, ip: &str, ready: &str| {
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {
                "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": ip}],
                "conditions": [{"type": "Ready", "status": ready}]}})
        };
        let mut objects =
            vec![node("b", "10.0.0.3", "True"), node("a", "10.0.0.2", "True"), node("c", "10.0.0.4", "False")];
        objects.extend([standard_class().map().clone().into(), ingress]);
        objects.extend(others.iter().cloned());
        let world = Snapshot::given(&Ingresses::watches(), &objects);
        let outcome = Ingresses.reconcile(&Key::new("shop", "web"), &world, Timestamp::UNIX_EPOCH).unwrap();
        let told = |action: &Action| match action {
            Action::Patch { patch, .. } => patch["status"]["loadBalancer"]["ingress"].to_string(),
            Action::Record(note) => format!("{}: {}", note.reason, note.message),
            other => format!("{other:?}"),
        };
        outcome.actions.iter().map(told).collect()
    }

    fn ingress(spec: Value, status: Value) -> Value {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {"nginx.ingress.kubernetes.io/app-root": "/x"}},
            "spec": spec, "status": {"loadBalancer": {"ingress": status}}})
    }

    #[test]
    fn it_answers_at_every_ready_node_if_its_class_is_ours() {
        let all = r#"[{"ip":"10.0.0.2"},{"ip":"10.0.0.3"}]"#;
        let class = |name: &str, controller: &str| json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": name}, "spec": {"controller": controller}});
        let others = [class("nginx", "k8s.io/ingress-nginx"), class("other", "example.com/other")];
        for (spec, expected) in [
            (json!({}), vec![all]),
            (json!({"ingressClassName": "kprov"}), vec![all]),
            (json!({"ingressClassName": "nginx"}), vec![all]),
            (json!({"ingressClassName": "other"}), vec![]),
            (json!({"ingressClassName": "nowhere"}), vec![]),
        ] {
            assert_eq!(decide(ingress(spec.clone(), json!([])), &others), expected, "{spec}");
        }
        assert_eq!(decide(ingress(json!({"ingressClassName": "other"}), json!([{"ip": "1.1.1.1"}])), &others), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_told_once_the_status_stands() {
        let path = |service: &str, port: Value| json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}});
        let service = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec});
        let services = [
            service("web", json!({"ports": [{"name": "http", "port": 80}]})),
            service("out", json!({"type": "ExternalName", "externalName": "example.com"})),
        ];
        let paths = json!([
            path("web", json!({"number": 80})),
            path("web", json!({"name": "http"})),
            path("web", json!({"number": 81})),
            path("web", json!({"name": "x"})),
            path("out", json!({"number": 80})),
            path("gone", json!({"number": 80})),
        ]);
        let spec = json!({"rules": [{"http": {"paths": paths}}], "tls": [{"secretName": "keys"}, {"hosts": ["a.b"]}]});
        let told = decide(ingress(spec, json!([{"ip": "10.0.0.2"}, {"ip": "10.0.0.3"}])), &services);
        assert_eq!(
            told,
            [
                "AnnotationIgnored: nginx.ingress.kubernetes.io/app-root is not one of those that are acted on here",
                "BackendUnsupported: service \"out\" is a name outside of the cluster: its requests are answered with 503",
                "PortNotFound: service \"web\" has no port \"x\": its requests are answered with 503",
                "PortNotFound: service \"web\" has no port 81: its requests are answered with 503",
                "SecretNotFound: secret \"keys\" with tls.crt and tls.key is not there: a certificate of nobody is shown",
                "ServiceNotFound: service \"gone\" is not there: its requests are answered with 503",
            ]
        );
    }
}
