//! The environment of a container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret, Service};

use super::expand::expand_owned;
use super::fields;
use super::resources::{self, NodeAmounts};

/// Objects that a container's environment may be taken from, by name; `None` means that there is no such object.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Config maps of the pod's namespace.
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    /// Secrets of the pod's namespace.
    pub secrets: BTreeMap<String, Option<Secret>>,
}

/// The environment in order: what comes from whole objects, what is declared, what services add.
///
/// Errors: a text for `CreateContainerConfigError`. Source: kubelet `makeEnvironmentVariables`.
pub fn environment(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    services: &[(String, String)],
    node: &NodeAmounts,
) -> Result<Vec<(String, String)>, String> {
    let mut env = Environment { entries: Vec::new() };
    whole_objects(&mut env, container, sources)?;
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) if !text.is_empty() => {
                Some(expand_owned(text, &|name| env.get(name).or_else(|| lookup(services, name)).map(str::to_owned)))
            }
            (_, Some(source)) => resolve(pod, container, variable, source, sources, node)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            env.set(&variable.name, value);
        }
    }
    for (name, value) in services {
        if env.get(name).is_none() {
            env.set(name, value.clone());
        }
    }
    Ok(env.entries)
}

struct Environment {
    entries: Vec<(String, String)>,
}

impl Environment {
    fn get(&self, name: &str) -> Option<&str> {
        lookup(&self.entries, name)
    }

    fn set(&mut self, name: &str, value: String) {
        match self.entries.iter_mut().find(|(one, _)| one == name) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((name.to_owned(), value)),
        }
    }
}

fn lookup<'a>(entries: &'a [(String, String)], name: &str) -> Option<&'a str> {
    entries.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
}

fn whole_objects(env: &mut Environment, container: &Container, sources: &Sources) -> Result<(), String> {
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(one) = &from.config_map_ref
            && let Some(map) = present(&sources.config_maps, "configmap", &one.name, one.optional)?
        {
            for (key, value) in map.data.iter().flatten() {
                env.set(&format!("{prefix}{key}"), value.clone());
            }
        }
        if let Some(one) = &from.secret_ref
            && let Some(secret) = present(&sources.secrets, "secret", &one.name, one.optional)?
        {
            for (key, value) in secret.data.iter().flatten() {
                env.set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
            }
        }
    }
    Ok(())
}

/// The object, or `None` when it may be absent.
fn present<'a, T>(
    all: &'a BTreeMap<String, Option<T>>,
    kind: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<&'a T>, String> {
    match all.get(name).and_then(Option::as_ref) {
        Some(found) => Ok(Some(found)),
        None if optional == Some(true) => Ok(None),
        None => Err(format!("{kind} {name:?} not found")),
    }
}

/// The value of a variable that is taken from somewhere; `None` leaves it out.
fn resolve(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    source: &EnvVarSource,
    sources: &Sources,
    node: &NodeAmounts,
) -> Result<Option<String>, String> {
    if let Some(one) = &source.field_ref {
        return fields::field(pod, &one.field_path).map(Some);
    }
    if let Some(one) = &source.resource_field_ref {
        let name = one.container_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&container.name);
        let other = pod.spec.as_ref().and_then(|spec| resources::container(spec, name));
        let (other, _) = other.ok_or_else(|| format!("container {name} not found"))?;
        return resources::field(&other, &one.resource, one.divisor.as_ref(), node).map(Some);
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(one) = &source.config_map_key_ref {
        let map = present(&sources.config_maps, "configmap", &one.name, one.optional)?;
        let Some(map) = map else { return Ok(None) };
        let found = map.data.as_ref().and_then(|data| data.get(&one.key)).cloned();
        return key(found, "ConfigMap", &one.key, namespace, &one.name, one.optional);
    }
    if let Some(one) = &source.secret_key_ref {
        let secret = present(&sources.secrets, "secret", &one.name, one.optional)?;
        let Some(secret) = secret else { return Ok(None) };
        let found = secret.data.as_ref().and_then(|data| data.get(&one.key));
        let found = found.map(|value| String::from_utf8_lossy(&value.0).into_owned());
        return key(found, "Secret", &one.key, namespace, &one.name, one.optional);
    }
    Err(format!("the source of environment variable {} is not supported by this node", variable.name))
}

fn key(
    found: Option<String>,
    kind: &str,
    key: &str,
    namespace: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<String>, String> {
    match found {
        None if optional != Some(true) => Err(format!("couldn't find key {key} in {kind} {namespace}/{name}")),
        found => Ok(found),
    }
}

/// Variables that tell of the services of a namespace; without `links` only of the API server's own.
///
/// Source: kubelet `getServiceEnvVarMap`, `envvars.FromServices`.
#[must_use]
pub fn of_services<'a>(
    services: impl Iterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> Vec<(String, String)> {
    let mut out = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let home = service.metadata.namespace.as_deref().unwrap_or_default();
        let is_api = home == "default" && name == "kubernetes";
        if is_api || (links && home == namespace) {
            // A service of the pod's own namespace hides the API server's.
            let own = home == namespace;
            for (key, value) in of_service(service, name) {
                if own {
                    out.insert(key, value);
                } else {
                    out.entry(key).or_insert(value);
                }
            }
        }
    }
    out.into_iter().collect()
}

fn of_service(service: &Service, name: &str) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let Some(address) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else {
        return Vec::new();
    };
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let prefix = upper(name);
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return Vec::new() };
    let mut out = vec![
        (format!("{prefix}_SERVICE_HOST"), address.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(named) = port.name.as_deref().filter(|named| !named.is_empty()) {
            out.push((format!("{prefix}_SERVICE_PORT_{}", upper(named)), port.port.to_string()));
        }
    }
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            out.push((format!("{prefix}_PORT"), url.clone()));
        }
        let base = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        out.push((base.clone(), url));
        out.push((format!("{base}_PROTO"), protocol.to_lowercase()));
        out.push((format!("{base}_PORT"), port.port.to_string()));
        out.push((format!("{base}_ADDR"), address.to_owned()));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(container: Value, wanted: Result<&[(&str, &str)], &str>) {
        let mut container = container;
        container["name"] = json!("c");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [container]},
        }))
        .expect("a pod");
        let sources = Sources {
            config_maps: [
                ("cm".to_owned(), serde_json::from_value(json!({"data": {"k": "v", "1bad": "2"}})).expect("a map")),
                ("absent".to_owned(), None),
            ]
            .into(),
            secrets: [("s".to_owned(), serde_json::from_value(json!({"data": {"k": "czM="}})).expect("a secret"))]
                .into(),
        };
        let services = [("S_HOST".to_owned(), "10.0.0.1".to_owned())];
        let spec = &pod.spec.as_ref().expect("set above").containers[0];
        let got = environment(&pod, spec, &sources, &services, &NodeAmounts::default());
        let got = got.as_ref().map(|list| {
            list.iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .filter(|(name, _)| *name != "S_HOST")
                .collect::<Vec<_>>()
        });
        assert_eq!(got.as_deref().map_err(|text| text.as_str()), wanted, "{container}");
    }

    #[test]
    fn sources() {
        let key = |source: &str, name: &str, key: &str| json!({"env": [{"name": "K", "valueFrom": {source: {"name": name, "key": key}}}]});
        check(
            json!({"env": [{"name": "A", "value": "x"}, {"name": "B", "value": "$(A)y $(S_HOST)"}]}),
            Ok(&[("A", "x"), ("B", "xy 10.0.0.1")]),
        );
        check(
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            Ok(&[("A", "p")]),
        );
        check(key("configMapKeyRef", "cm", "k"), Ok(&[("K", "v")]));
        check(key("secretKeyRef", "s", "k"), Ok(&[("K", "s3")]));
        check(key("secretKeyRef", "s", "no"), Err("couldn't find key no in Secret ns/s"));
        check(key("configMapKeyRef", "absent", "k"), Err("configmap \"absent\" not found"));
        check(
            json!({"envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "absent", "optional": true}}]}),
            Ok(&[("P_1bad", "2"), ("P_k", "v")]),
        );
        check(
            json!({"envFrom": [{"configMapRef": {"name": "cm"}}], "env": [{"name": "k", "value": "own"}]}),
            Ok(&[("1bad", "2"), ("k", "own")]),
        );
    }

    #[test]
    fn services() {
        let service = |namespace: &str, name: &str, ports: Value| -> Service {
            let meta = json!({"name": name, "namespace": namespace});
            serde_json::from_value(json!({"metadata": meta, "spec": {"clusterIP": "10.96.0.1", "ports": ports}}))
                .expect("a service")
        };
        let all = [
            service("default", "kubernetes", json!([{"name": "https", "port": 443}])),
            service("ns", "my-web", json!([{"port": 80}])),
            service("other", "x", json!([{"port": 80}])),
        ];
        let with = of_services(all.iter(), "ns", true);
        assert!(with.contains(&("MY_WEB_SERVICE_HOST".to_owned(), "10.96.0.1".to_owned())));
        assert!(with.contains(&("MY_WEB_PORT".to_owned(), "tcp://10.96.0.1:80".to_owned())));
        assert!(!with.iter().any(|(name, _)| name.starts_with("X_")));
        let without = of_services(all.iter(), "ns", false);
        assert!(without.iter().all(|(name, _)| name.starts_with("KUBERNETES_")));
        assert_eq!(without.iter().filter(|(name, _)| name.contains("KUBERNETES_SERVICE_PORT")).count(), 2);
    }
}
