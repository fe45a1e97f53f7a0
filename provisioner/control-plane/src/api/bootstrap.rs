//! What every cluster has from its first moment on.

mod groups;
mod priorities;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kprov_schema::conditions;
use kprov_schema::rules::priority_class::SYSTEM_CLASSES;
use kprov_schema::{Key, Object, Resource, Status, Subresource};
use serde_json::{Value, json};

use super::core::Core;
use super::errors;
use super::inprocess::InProcess;
use super::rbac::policy;
use super::user::User;
use crate::client::Verbs;

/// The namespaces that every cluster has.
const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is missing; kinds that are not served are passed over. `port` is where the server listens.
pub(crate) async fn bootstrap(core: &Arc<Core>, port: u16) -> Result<(), Status> {
    let client = InProcess::new(core.clone(), User::component("system:apiserver"));
    for name in NAMESPACES {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        ensure::<Namespace>(core, &client, object).await?;
    }
    default_roles(core, &client).await?;
    for class in SYSTEM_CLASSES {
        let object = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": class.name},
            "value": class.value, "description": class.description, "preemptionPolicy": "PreemptLowerPriority",
        });
        ensure::<PriorityClass>(core, &client, object).await?;
    }
    priorities::ensure(core).await?;
    groups::ensure(core, &client).await?;
    service_range(core, &client).await?;
    let address = core.config.advertise;
    ensure::<Service>(core, &client, service(&core.config.service_address().to_string(), port)).await?;
    // Nobody else reaches a loopback address, so the service then has no endpoint.
    if address.is_loopback() {
        return Ok(());
    }
    ensure::<Endpoints>(core, &client, endpoints(&address.to_string(), port)).await?;
    let slice = slice(&address.to_string(), address.is_ipv4(), port);
    ensure::<EndpointSlice>(core, &client, slice).await
}

/// Makes the roles and bindings that every cluster has, or adds what they lack; all at once, for one write to the disk.
async fn default_roles(core: &Core, client: &InProcess) -> Result<(), Status> {
    let objects = policy::objects().map_err(errors::internal)?;
    let made = objects.into_iter().map(|object| async move {
        let registry = core.registry();
        let (group, version) = object.api_version().split_once('/').unwrap_or(("", object.api_version()));
        let plural = format!("{}s", object.kind().to_lowercase());
        let Some(kind) = registry.find(group, version, &plural) else { return Ok(()) };
        let key = object.key();
        match client.get(&kind.resource, &key).await {
            Err(status) if status.is_not_found() => {
                client.create(&kind.resource, &Key::new(key.namespace, ""), None, object).await.map(|_| ())
            }
            Err(status) => Err(status),
            Ok(found) => match policy::completed(&found, &object) {
                Some(object) => client.update(&kind.resource, None, object).await.map(|_| ()),
                None => Ok(()),
            },
        }
    });
    futures::future::try_join_all(made).await.map(|_| ())
}

/// Creates an object, or brings what the server decides about an existing one up to date.
async fn ensure<T: k8s_openapi::Resource>(core: &Core, client: &InProcess, object: Value) -> Result<(), Status> {
    let resource = &Resource::of::<T>();
    if core.registry().of(resource).is_none() {
        return Ok(());
    }
    let object = Object::try_from(object).map_err(errors::internal)?;
    let key = object.key();
    let old = match client.get(resource, &key).await {
        Err(status) if status.is_not_found() => {
            return client.create(resource, &Key::new(key.namespace, ""), None, object).await.map(|_| ());
        }
        found => found?,
    };
    let mut new = Object::clone(&old);
    for (field, value) in object.map() {
        if !["metadata", "apiVersion", "kind", "spec"].contains(&field.as_str()) {
            new.map_mut().insert(field.clone(), value.clone());
        }
    }
    if let Some(ports) = object.at(&["spec", "ports"]) {
        new.set(&["spec", "ports"], ports.clone());
    }
    client.update(resource, None, new).await.map(|_| ())
}

/// Makes the range that service addresses come from, and says that it is ready.
async fn service_range(core: &Arc<Core>, client: &InProcess) -> Result<(), Status> {
    let (resource, key) = (Resource::of::<ServiceCIDR>(), Key::new("", "kubernetes"));
    let range = |rest: Value| {
        let mut object =
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}});
        object.as_object_mut().into_iter().for_each(|map| map.extend(rest.as_object().cloned().unwrap_or_default()));
        object
    };
    ensure::<ServiceCIDR>(core, client, range(json!({"spec": {"cidrs": [core.config.services.to_string()]}}))).await?;
    if conditions::is_true(&*client.get(&resource, &key).await?, "Ready") {
        return Ok(());
    }
    let ready = json!({
        "type": "Ready", "status": "True", "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": errors::seconds(core.world.clock.now()),
    });
    let controller = InProcess::new(core.clone(), User::component("system:apiserver"))
        .managing_as("kubernetes-service-cidr-controller");
    let status = range(json!({"status": {"conditions": [ready]}}));
    controller.apply_part(&resource, &key, Subresource::Status, &status).await
}

fn service(address: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": address, "clusterIPs": [address], "type": "ClusterIP", "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        },
    })
}

fn endpoints(address: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    })
}

fn slice(address: &str, is_v4: bool, port: u16) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": if is_v4 { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })
}
