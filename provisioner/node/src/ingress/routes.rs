//! Where requests go: from ingresses to a table, and from a request to who answers it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressRule};
use kprov_schema::Key;

use super::host::{self, ByHost, Host};
use super::pattern::Pattern;
use crate::net::endpoints::{by_service, endpoints, text};

const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// What routes are made of.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The ingresses that are served.
    pub ingresses: Vec<Arc<Ingress>>,
    /// The services that they name, if these are there.
    pub services: BTreeMap<Key, Arc<Service>>,
    /// At least the slices of these services.
    pub slices: Vec<Arc<EndpointSlice>>,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    hosts: ByHost<Paths>,
    otherwise: Option<Route>,
}

/// The routes of one host, best first, and what goes nowhere else.
#[derive(Clone, Debug, Default)]
struct Paths {
    routes: Vec<Route>,
    otherwise: Option<Route>,
}

#[derive(Clone, Debug)]
struct Route {
    pattern: Pattern,
    rewrite: Option<String>,
    /// Who comes without TLS is sent away to come with it.
    secure: bool,
    backend: Arc<Backend>,
}

/// Who answers for a service's port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// `<namespace>/<service>:<port>`, for people.
    pub name: String,
    /// Where it answers; nowhere when the service is not there or has nobody ready.
    pub endpoints: Vec<SocketAddr>,
}

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to a backend, which is asked for `target`: a path with its query.
    Forward {
        /// To whom.
        backend: Arc<Backend>,
        /// What for.
        target: String,
    },
    /// It is to come again, by this URL.
    Redirect(String),
    /// No rule is for it.
    Nowhere,
}

impl Routes {
    /// The table of ingresses. Of those that claim the same, the oldest has it.
    ///
    /// A default backend answers what no rule matches, first for the hosts of its own ingress, then for all; of several
    /// one of an ingress without rules.
    #[must_use]
    pub fn new(sources: &Sources) -> Self {
        let mut ingresses = sources.ingresses.clone();
        ingresses.sort_by_key(|ingress| {
            let meta = &ingress.metadata;
            (meta.creation_timestamp.as_ref().map(|time| time.0), meta.namespace.clone(), meta.name.clone())
        });
        let slices = by_service(&sources.slices);
        let mut routes = Self::default();
        let mut otherwise = Vec::new();
        for ingress in &ingresses {
            let compiler = Compiler { ingress, sources, slices: &slices };
            let rules = ingress.spec.as_ref().and_then(|spec| spec.rules.as_deref()).unwrap_or_default();
            rules.iter().for_each(|rule| compiler.add_rule(rule, &mut routes.hosts));
            otherwise.extend(compiler.default_route(None).map(|route| (!rules.is_empty(), route)));
        }
        routes.hosts.values_mut().for_each(|paths| paths.routes.sort_by_key(|route| route.pattern.rank()));
        otherwise.sort_by_key(|(has_rules, _)| *has_rules);
        routes.otherwise = otherwise.into_iter().next().map(|(_, route)| route);
        routes
    }

    /// What to do about a request for a path and query of a host, which came with or without TLS.
    ///
    /// A rule of the host itself goes before one of `*.` its domain, that before one of any host.
    #[must_use]
    pub fn decide(&self, host: &str, target: &str, secure: bool) -> Decision {
        let host = host::without_port(host);
        let (path, query) = target.find('?').map_or((target, ""), |at| target.split_at(at));
        let places = self.hosts.of(host);
        let by_path = places.iter().find_map(|paths| paths.routes.iter().find(|route| route.pattern.matches(path)));
        let by_host = || places.iter().find_map(|paths| paths.otherwise.as_ref());
        let Some(route) = by_path.or_else(by_host).or(self.otherwise.as_ref()) else { return Decision::Nowhere };
        if route.secure && !secure {
            return Decision::Redirect(format!("https://{host}{target}"));
        }
        let target = match &route.rewrite {
            Some(rewrite) => route.pattern.rewrite(path, rewrite) + query,
            None => target.to_owned(),
        };
        Decision::Forward { backend: Arc::clone(&route.backend), target }
    }

    /// Everywhere that requests may go to.
    pub fn endpoints(&self) -> impl Iterator<Item = SocketAddr> {
        let hosts = self.hosts.values().flat_map(|paths| paths.routes.iter().chain(&paths.otherwise));
        hosts.chain(&self.otherwise).flat_map(|route| route.backend.endpoints.iter().copied())
    }
}

struct Compiler<'a> {
    ingress: &'a Ingress,
    sources: &'a Sources,
    slices: &'a BTreeMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>,
}

impl Compiler<'_> {
    fn add_rule(&self, rule: &IngressRule, hosts: &mut ByHost<Paths>) {
        let host = text(&rule.host);
        let paths = hosts.entry(Host::of(host));
        let asked = rule.http.iter().flat_map(|http| &http.paths);
        paths.routes.extend(asked.filter_map(|path| self.route(host, path)));
        if paths.otherwise.is_none() {
            paths.otherwise = self.default_route(Some(host));
        }
    }

    fn route(&self, host: &str, path: &HTTPIngressPath) -> Option<Route> {
        let rewrite = self.annotation("rewrite-target").filter(|target| !target.is_empty()).map(str::to_owned);
        let regex = self.says("use-regex") || rewrite.as_ref().is_some_and(|target| target.contains('$'));
        let found = Pattern::new(path.path.as_deref().unwrap_or_default(), &path.path_type, regex);
        let told = |error: &regex::Error| {
            let (namespace, name) = (text(&self.ingress.metadata.namespace), text(&self.ingress.metadata.name));
            tracing::warn!(namespace, ingress = name, %error, "a path is left out");
        };
        let pattern = found.inspect_err(told).ok()?;
        Some(Route { pattern, rewrite, secure: self.is_secure(host), backend: self.backend(&path.backend) })
    }

    fn default_route(&self, host: Option<&str>) -> Option<Route> {
        let backend = self.backend(self.ingress.spec.as_ref()?.default_backend.as_ref()?);
        let secure = self.is_secure(host.unwrap_or_default());
        Some(Route { pattern: Pattern::Prefix(String::new()), rewrite: None, secure, backend })
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.ingress.metadata.annotations.as_ref()?.get(&format!("{PREFIX}{name}")).map(String::as_str)
    }

    fn says(&self, name: &str) -> bool {
        self.annotation(name) == Some("true")
    }

    fn is_secure(&self, host: &str) -> bool {
        let tls = self.ingress.spec.as_ref().and_then(|spec| spec.tls.as_deref()).unwrap_or_default();
        let covers = |of: &str| of == host || Host::of(of).covers(host);
        let mut listed = tls.iter().map(|tls| tls.hosts.as_deref().unwrap_or_default());
        let has_tls = listed.any(|hosts| hosts.is_empty() || hosts.iter().any(|of| covers(of)));
        self.says("force-ssl-redirect") || self.says("ssl-redirect") && has_tls
    }

    /// Names that lead out of the cluster are not looked up: their backend has nobody.
    fn backend(&self, backend: &IngressBackend) -> Arc<Backend> {
        let namespace = text(&self.ingress.metadata.namespace);
        let Some(named) = &backend.service else {
            return Arc::new(Backend { name: format!("{namespace}: a resource"), endpoints: Vec::new() });
        };
        let (number, port_name) = named.port.as_ref().map_or((None, ""), |port| (port.number, text(&port.name)));
        let shown = number.map_or_else(|| port_name.to_owned(), |number| number.to_string());
        let name = format!("{namespace}/{}:{shown}", named.name);
        let spec = self.sources.services.get(&Key::new(namespace, named.name.as_str()));
        let spec = spec.and_then(|service| service.spec.as_ref());
        let spec = spec.filter(|spec| spec.type_.as_deref() != Some("ExternalName"));
        let is_meant = |port: &&k8s_openapi::api::core::v1::ServicePort| {
            Some(port.port) == number || number.is_none() && text(&port.name) == port_name
        };
        let port = spec.and_then(|spec| spec.ports.iter().flatten().find(is_meant));
        let slices = self.slices.get(&(namespace, named.name.as_str())).map(Vec::as_slice).unwrap_or_default();
        let found = port.map(|port| endpoints(port, slices)).unwrap_or_default();
        let at =
            |endpoint: crate::net::endpoints::Endpoint| SocketAddr::new(IpAddr::V4(endpoint.address), endpoint.port);
        Arc::new(Backend { name, endpoints: found.into_iter().map(at).collect() })
    }
}
