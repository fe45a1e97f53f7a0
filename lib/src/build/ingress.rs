//! Ingresses: which host and path leads to which service.

use k8s_openapi::api::networking::v1 as networking;

use super::amount::Target;
use super::object::{Named, Object, named};
use super::secret::Secret;
use super::service::Service;
use super::text::{Name, Of, text};
use super::wraps::{object, part};

text! {
    /// A host that an ingress answers for: `shop.example.com`, or `*.example.com` for every name below.
    ///
    /// ```
    /// use kprov::build::*;
    /// let host: HostName = "*.example.com".parse().expect("all below example.com");
    /// ```
    HostName, "host", |host| kprov_schema::names::dns1123_subdomain(host.strip_prefix("*.").unwrap_or(host))
}

object! {
    /// Leads HTTP requests to services by host and path.
    ///
    /// ```
    /// use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("nginx", "nginx:1.27").port("http", 80)).expose("http");
    /// let cart = Deployment::new("cart", Container::new("cart", "cart:3").port("http", 8080)).expose("http");
    /// let certificate = Secret::new("shop-tls").tls("-----BEGIN …", "-----BEGIN …");
    /// let shop = Ingress::new("shop", Host::named("shop.example.com").path("/", &web).path("/cart", &cart))
    ///     .tls(&certificate, ["shop.example.com"])
    ///     .class("nginx");
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/services-networking/ingress/>
    namespaced Ingress(networking::Ingress)
}

part! {
    /// The paths of one host.
    ///
    /// ```
    /// use kprov::build::*;
    /// let host = Host::named("shop.example.com").path("/cart", ("cart", 8080)).exact("/", ("web", 80));
    /// ```
    Host(networking::IngressRule)
}

part! {
    /// Where requests go: a service and one of its ports.
    ///
    /// A reference to a service with one port stands for it, or a service and a port: `(&service, "http")`, `("web", 80)`.
    ///
    /// ```
    /// use kprov::build::*;
    /// let backend = ("web", 80).backend();
    /// ```
    Backend(networking::IngressServiceBackend)
}

impl Backend {
    fn new(service: Name, port: Target) -> Self {
        let port = match port {
            Target::Name(name) => {
                networking::ServiceBackendPort { name: Some(name.into()), ..networking::ServiceBackendPort::default() }
            }
            Target::Number(number) => networking::ServiceBackendPort { number: Some(number.into()), name: None },
        };
        Self(networking::IngressServiceBackend { name: service.into(), port: Some(port) })
    }
}

/// What can be a [`Backend`].
///
/// ```
/// use kprov::build::*;
/// let web = Service::new("web", [("app", "web")]).port(80, "http");
/// let host = Host::any().path("/", &web).path("/by-name", (&web, "http")).path("/elsewhere", ("other", 8080));
/// ```
#[diagnostic::on_unimplemented(
    message = "no requests can be sent to `{Self}`",
    note = "give a reference to a service with one port, or a service and a port: `(&service, \"http\")`, `(\"web\", 80)`"
)]
pub trait Backs {
    /// Service and port.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert_eq!(("web", 80).backend().build().name, "web");
    /// ```
    #[track_caller]
    fn backend(self) -> Backend;
}

impl Backs for Backend {
    fn backend(self) -> Backend {
        self
    }
}

impl<S> Backs for &Service<S> {
    fn backend(self) -> Backend {
        let ports = self.as_ref().spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
        let [port] = ports else {
            panic!("service {} has {} ports: say which one, `(&service, \"http\")`", self.name(), ports.len());
        };
        let number = u16::try_from(port.port).unwrap_or_default();
        Backend::new(self.object_name(), Target::Number(number.checked()))
    }
}

impl<S, P: Of<Target>> Backs for (&Service<S>, P) {
    fn backend(self) -> Backend {
        let (service, target) = (self.0, self.1.checked());
        let mut ports = service.as_ref().spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let known = ports.any(|port| match &target {
            Target::Name(name) => port.name.as_deref() == Some(name.as_str()),
            Target::Number(number) => port.port == i32::from(*number),
        });
        assert!(known, "service {} has no port {target}: an ingress names the service's port", service.name());
        Backend::new(service.object_name(), target)
    }
}

impl<P: Of<Target>> Backs for (&'static str, P) {
    fn backend(self) -> Backend {
        Backend::new(self.0.checked(), self.1.checked())
    }
}

impl<P: Of<Target>> Backs for (Name, P) {
    fn backend(self) -> Backend {
        Backend::new(self.0, self.1.checked())
    }
}

/// Paths begin with `/`; another one panics.
///
/// ```
/// # use kprov::build::*;
/// let any = Host::any().path("/", ("web", 80));
/// let shop = Host::named("*.example.com").path("/cart", ("cart", "http")).exact("/healthz", ("web", 80));
/// ```
impl Host {
    /// Whatever host is asked for.
    #[must_use]
    pub fn any() -> Self {
        Self(networking::IngressRule::default())
    }

    /// That host.
    #[must_use]
    #[track_caller]
    pub fn named(host: impl Of<HostName>) -> Self {
        Self(networking::IngressRule { host: Some(host.checked().into()), http: None })
    }

    /// Sends a path and what is below it to a service.
    #[must_use]
    #[track_caller]
    pub fn path(self, path: impl Into<String>, to: impl Backs) -> Self {
        self.push("Prefix", path.into(), to.backend())
    }

    /// Sends exactly that path to a service.
    #[must_use]
    #[track_caller]
    pub fn exact(self, path: impl Into<String>, to: impl Backs) -> Self {
        self.push("Exact", path.into(), to.backend())
    }

    #[track_caller]
    fn push(mut self, kind: &str, path: String, backend: Backend) -> Self {
        assert!(path.starts_with('/'), "the path {path:?} does not begin with '/': write \"/{path}\"");
        self.0.http.get_or_insert_default().paths.push(networking::HTTPIngressPath {
            path: Some(path),
            path_type: kind.to_owned(),
            backend: service_backend(backend),
        });
        self
    }
}

fn service_backend(backend: Backend) -> networking::IngressBackend {
    networking::IngressBackend { service: Some(backend.into()), resource: None }
}

/// Hosts, certificates, and who serves them.
///
/// ```
/// # use kprov::build::*;
/// let shop = Ingress::new("shop", Host::named("shop.example.com").path("/", ("web", 80)))
///     .path("/cart", ("cart", 80))
///     .host(Host::named("api.example.com").path("/v1", ("api", 80)))
///     .default_backend(("sorry", 80))
///     .tls("shop-tls", ["shop.example.com", "api.example.com"])
///     .class("nginx")
///     .rewrite("/");
/// let all = Ingress::everything("all", ("web", 80));
/// assert!(all.build().spec.unwrap().rules.is_none());
/// ```
impl Ingress {
    /// An ingress with the paths of one host.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, host: Host) -> Self {
        let spec = networking::IngressSpec { rules: Some(vec![host.0]), ..networking::IngressSpec::default() };
        Self(networking::Ingress { metadata: named(name.checked()), spec: Some(spec), status: None })
    }

    /// An ingress that sends everything to one service.
    #[must_use]
    #[track_caller]
    pub fn everything(name: impl Of<Name>, to: impl Backs) -> Self {
        let default_backend = Some(service_backend(to.backend()));
        let spec = networking::IngressSpec { default_backend, ..networking::IngressSpec::default() };
        Self(networking::Ingress { metadata: named(name.checked()), spec: Some(spec), status: None })
    }

    fn spec(&mut self) -> &mut networking::IngressSpec {
        self.0.spec.get_or_insert_default()
    }

    /// Adds the paths of another host.
    #[must_use]
    pub fn host(mut self, host: Host) -> Self {
        self.spec().rules.get_or_insert_default().push(host.0);
        self
    }

    /// Sends a path and what is below it, of the host that came last, to a service.
    #[must_use]
    #[track_caller]
    pub fn path(mut self, path: impl Into<String>, to: impl Backs) -> Self {
        let rules = self.spec().rules.get_or_insert_default();
        let last = rules.pop().map_or_else(Host::any, Host);
        rules.push(last.path(path, to).0);
        self
    }

    /// Where requests go that no path takes.
    #[must_use]
    #[track_caller]
    pub fn default_backend(mut self, to: impl Backs) -> Self {
        self.spec().default_backend = Some(service_backend(to.backend()));
        self
    }

    /// Answers for these hosts over TLS, with the certificate in a secret that [`Secret::tls`] made.
    #[must_use]
    #[track_caller]
    pub fn tls<H: Of<HostName>>(mut self, secret: impl Named<Secret>, hosts: impl IntoIterator<Item = H>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.checked().into()).collect();
        let tls = networking::IngressTLS { hosts: Some(hosts), secret_name: Some(secret.object_name().into()) };
        self.spec().tls.get_or_insert_default().push(tls);
        self
    }

    /// Which ingress controller serves it.
    #[must_use]
    #[track_caller]
    pub fn class(mut self, class: impl Named<IngressClass>) -> Self {
        self.spec().ingress_class_name = Some(class.object_name().into());
        self
    }

    /// Lets the services see this path in place of the one that was matched, as ingress-nginx does it.
    #[must_use]
    pub fn rewrite(mut self, path: impl Into<String>) -> Self {
        let annotations = self.0.metadata.annotations.get_or_insert_default();
        annotations.insert("nginx.ingress.kubernetes.io/rewrite-target".to_owned(), path.into());
        self
    }
}

object! {
    /// A sort of ingress controller that ingresses may ask for.
    ///
    /// ```
    /// use kprov::build::*;
    /// let class = IngressClass::new("nginx", "k8s.io/ingress-nginx").by_default();
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class>
    cluster IngressClass(networking::IngressClass)
}

impl IngressClass {
    /// A class that the controller of that name serves.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, controller: impl Of<super::Key>) -> Self {
        let spec = networking::IngressClassSpec { controller: Some(controller.checked().into()), parameters: None };
        Self(networking::IngressClass { metadata: named(name.checked()), spec: Some(spec) })
    }

    /// Takes the ingresses that name no class.
    #[must_use]
    pub fn by_default(mut self) -> Self {
        let annotations = self.0.metadata.annotations.get_or_insert_default();
        annotations.insert("ingressclass.kubernetes.io/is-default-class".to_owned(), "true".to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_go_to_the_host_that_came_last() {
        let web = Service::new("web", [("app", "web")]).port(80, "http");
        let shop = Ingress::new("shop", Host::any().path("/", &web))
            .host(Host::named("a.example.com"))
            .path("/a", ("a", 3000))
            .path("/b", (&web, "http"));
        let rules = serde_json::to_value(&shop).unwrap()["spec"]["rules"].clone();
        let path = |path, service, port| json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}});
        assert_eq!(rules[0], json!({"http": {"paths": [path("/", "web", json!({"number": 80}))]}}));
        assert_eq!(rules[1]["host"], "a.example.com");
        assert_eq!(rules[1]["http"]["paths"][0], path("/a", "a", json!({"number": 3000})));
        assert_eq!(rules[1]["http"]["paths"][1], path("/b", "web", json!({"name": "http"})));
    }

    #[test]
    #[should_panic(expected = "service web has 2 ports: say which one")]
    fn a_service_with_two_ports_needs_a_choice() {
        let web = Service::new("web", [("app", "web")]).port(80, "http").port(443, "https");
        let _ = Host::any().path("/", &web);
    }

    #[test]
    #[should_panic(expected = "does not begin with '/'")]
    fn a_path_begins_at_the_root() {
        let _ = Host::any().path("shop", ("web", 80));
    }
}
