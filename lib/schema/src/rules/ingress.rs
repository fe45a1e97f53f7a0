//! Ingresses: which service answers which host and path.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressLoadBalancerIngress, IngressRule, IngressServiceBackend,
    IngressSpec, IngressStatus, IngressTLS,
};
use serde_json::Value;

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::{parts, reference};
use crate::kind::{Column, Rules, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::table;

/// The annotation that named a class before there was a field for it.
const CLASS: &str = "kubernetes.io/ingress.class";
/// Stands for a path type that is written but empty, until it is judged.
const EMPTY: &str = "\0";

impl Rules for Ingress {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text(
            "Class",
            "The name of the IngressClass resource that should be used for additional configuration",
            |it, _| {
                let class = it.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
                class.unwrap_or(table::NONE).into()
            },
        ),
        table::text("Hosts", "Hosts that incoming requests are matched against before the ingress rule", |it, _| {
            hosts(it.spec.as_ref().map(|spec| list(&spec.rules)).unwrap_or_default()).into()
        }),
        table::text("Address", "Address is a list containing ingress points for the load-balancer", |it, _| {
            addresses(it).into()
        }),
        table::text("Ports", "Ports of TLS configurations that open", |it, _| {
            let tls = it.spec.as_ref().map(|spec| list(&spec.tls)).unwrap_or_default();
            if tls.is_empty() { "80".into() } else { "80, 443".into() }
        }),
        table::age(),
    ];

    fn note_empty(&mut self, object: &Object) {
        let rules = object.at(&["spec", "rules"]).and_then(Value::as_array);
        let typed = self.spec.iter_mut().flat_map(|spec| spec.rules.iter_mut().flatten());
        for (typed, rule) in typed.zip(rules.into_iter().flatten()) {
            let paths = rule["http"]["paths"].as_array();
            let typed = typed.http.iter_mut().flat_map(|http| http.paths.iter_mut());
            for (typed, path) in typed.zip(paths.into_iter().flatten()) {
                if path["pathType"] == "" {
                    EMPTY.clone_into(&mut typed.path_type);
                }
            }
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare((&mut self.metadata, &mut self.spec, &mut self.status), old, write);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let none = IngressSpec::default();
        let wanted = self.spec.as_ref().unwrap_or(&none);
        match (old, write) {
            (Some(old), Write::Status) => status(&mut errors, self, old),
            (Some(old), _) => spec(&mut errors, wanted, old.spec.as_ref()),
            (None, _) => {
                spec(&mut errors, wanted, None);
                class_annotation(&mut errors, self, wanted);
            }
        }
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let class = self.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
        if old.is_some() || class.is_some() || annotated_class(self).is_none() {
            return Vec::new();
        }
        vec![format!("annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead")]
    }
}

/// The class that an ingress names: by its field, else by the annotation that was there before the field.
#[must_use]
pub fn class_of(ingress: &Ingress) -> Option<&str> {
    let field = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    field.or_else(|| annotated_class(ingress))
}

fn annotated_class(ingress: &Ingress) -> Option<&str> {
    ingress.metadata.annotations.as_ref()?.get(CLASS).map(String::as_str)
}

/// The first three hosts; all of them when a rule has none.
fn hosts(rules: &[IngressRule]) -> String {
    const SHOWN: usize = 3;
    let named: Vec<&str> = rules.iter().map(|rule| text(&rule.host)).filter(|host| !host.is_empty()).collect();
    // Upstream notices that there are more only when a rule follows the one that filled the list.
    let full = rules.iter().scan(0, |count, rule| {
        let before = *count;
        *count += usize::from(!text(&rule.host).is_empty());
        Some(before >= SHOWN)
    });
    let more = full.into_iter().any(|full| full);
    let shown = named[..named.len().min(SHOWN)].join(",");
    match (shown.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, true) => format!("{shown} + {} more...", rules.len() - SHOWN),
        (false, false) => shown,
    }
}

fn points(status: Option<&IngressStatus>) -> &[IngressLoadBalancerIngress] {
    let balancer = status.and_then(|status| status.load_balancer.as_ref());
    balancer.map(|balancer| list(&balancer.ingress)).unwrap_or_default()
}

/// Where it is reached, each once, in order.
fn addresses(ingress: &Ingress) -> String {
    let name = |point: &IngressLoadBalancerIngress| match text(&point.ip) {
        "" => text(&point.hostname).to_owned(),
        ip => ip.to_owned(),
    };
    let all: BTreeSet<String> =
        points(ingress.status.as_ref()).iter().map(name).filter(|name| !name.is_empty()).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

fn class_annotation(errors: &mut Errors, ingress: &Ingress, spec: &IngressSpec) {
    if let (Some(annotated), Some(class)) = (annotated_class(ingress), &spec.ingress_class_name)
        && annotated != class
    {
        let at = Path::root("annotations");
        errors.invalid(&at.child(CLASS), annotated, "must match `ingressClassName` when both are specified");
    }
}

fn spec(errors: &mut Errors, spec: &IngressSpec, old: Option<&IngressSpec>) {
    let at = Path::root("spec");
    let rules = list(&spec.rules);
    if rules.is_empty() && spec.default_backend.is_none() {
        errors.invalid(&at, Value::Null, "either `defaultBackend` or `rules` must be specified");
    }
    if let Some(backend) = &spec.default_backend {
        self::backend(errors, &at.child("defaultBackend"), backend);
    }
    let loose_wildcards = old.is_some_and(has_bad_wildcard);
    let rules_at = at.child("rules");
    for (index, one) in rules.iter().enumerate() {
        rule(errors, &rules_at.index(index), one, loose_wildcards);
    }
    let loose_secrets = old.is_some_and(|old| list(&old.tls).iter().any(|tls| !secret_name(tls).is_empty()));
    let tls_at = at.child("tls");
    for (index, one) in list(&spec.tls).iter().enumerate() {
        tls(errors, &tls_at.index(index), one, loose_secrets);
    }
    if let Some(class) = &spec.ingress_class_name {
        errors.all(&at.child("ingressClassName"), class, names::dns1123_subdomain(class));
    }
}

/// Whether an older server took a rule for a wildcard host that would not pass now.
fn has_bad_wildcard(old: &IngressSpec) -> bool {
    list(&old.rules).iter().filter(|rule| text(&rule.host).contains('*')).any(|rule| {
        let mut errors = Errors::default();
        paths(&mut errors, &Path::root("rule"), rule);
        errors.count() > 0
    })
}

fn host_name(host: &str) -> Vec<String> {
    if host.contains('*') { names::wildcard_dns1123_subdomain(host) } else { names::dns1123_subdomain(host) }
}

fn not_an_address(errors: &mut Errors, at: &Path<'_>, host: &str) {
    if names::parse_ip(host).is_some() {
        errors.invalid(at, host, "must be a DNS name, not an IP address");
    }
}

fn rule(errors: &mut Errors, at: &Path<'_>, rule: &IngressRule, loose_wildcards: bool) {
    let host = text(&rule.host);
    if !host.is_empty() {
        let at = at.child("host");
        not_an_address(errors, &at, host);
        errors.all(&at, host, host_name(host));
    }
    if !(loose_wildcards && host.contains('*')) {
        paths(errors, at, rule);
    }
}

fn paths(errors: &mut Errors, at: &Path<'_>, rule: &IngressRule) {
    let Some(http) = &rule.http else { return };
    let at = at.child("http");
    let at = at.child("paths");
    if http.paths.is_empty() {
        errors.required(&at, "");
    }
    for (index, one) in http.paths.iter().enumerate() {
        path(errors, &at.index(index), one);
    }
}

fn path(errors: &mut Errors, at: &Path<'_>, path: &HTTPIngressPath) {
    let (path_at, written) = (at.child("path"), text(&path.path));
    let absolute = "must be an absolute path";
    match path.path_type.as_str() {
        "" => return errors.required(&at.child("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !written.starts_with('/') {
                errors.invalid(&path_at, written, absolute);
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|bad| written.contains(**bad)) {
                errors.invalid(&path_at, written, &format!("must not contain '{bad}'"));
            }
            for bad in ["/..", "/."].iter().filter(|bad| written.ends_with(**bad)) {
                errors.invalid(&path_at, written, &format!("cannot end with '{bad}'"));
            }
        }
        "ImplementationSpecific" if !written.is_empty() && !written.starts_with('/') => {
            errors.invalid(&path_at, written, absolute);
        }
        "ImplementationSpecific" => {}
        other => {
            let shown = if other == EMPTY { "" } else { other };
            errors.not_supported(&at.child("pathType"), shown, &["Exact", "ImplementationSpecific", "Prefix"]);
        }
    }
    backend(errors, &at.child("backend"), &path.backend);
}

fn backend(errors: &mut Errors, at: &Path<'_>, backend: &IngressBackend) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => errors.invalid(at, "", "cannot set both resource and service backends"),
        (None, None) => errors.invalid(at, "", "resource or service backend is required"),
        (None, Some(service)) => service_backend(errors, at, service),
        (Some(resource), None) => {
            let at = at.child("resource");
            reference::group(errors, &at, resource.api_group.as_deref());
            reference::segments(errors, &at, &[("kind", &resource.kind), ("name", &resource.name)]);
        }
    }
}

fn service_backend(errors: &mut Errors, at: &Path<'_>, service: &IngressServiceBackend) {
    let service_at = at.child("service");
    errors.filled_all(&service_at.child("name"), &service.name, names::dns1123_label);
    let port = service.port.clone().unwrap_or_default();
    let (name, number) = (text(&port.name), port.number.unwrap_or_default());
    let port_at = service_at.child("port");
    match (name.is_empty(), number == 0) {
        (false, false) => errors.invalid(at, "", "cannot set both port name & port number"),
        (false, true) => errors.all(&port_at.child("name"), name, names::port_name(name)),
        (true, false) => errors.port(&port_at.child("number"), number),
        (true, true) => errors.required(at, "port name or number is required"),
    }
}

fn secret_name(tls: &IngressTLS) -> Vec<String> {
    let name = text(&tls.secret_name);
    if name.is_empty() { Vec::new() } else { names::dns1123_subdomain(name) }
}

fn tls(errors: &mut Errors, at: &Path<'_>, tls: &IngressTLS, loose_secrets: bool) {
    let hosts_at = at.child("hosts");
    for (index, host) in list(&tls.hosts).iter().enumerate() {
        errors.all(&hosts_at.index(index), host, host_name(host));
    }
    if !loose_secrets {
        errors.all(&at.child("secretName"), text(&tls.secret_name), secret_name(tls));
    }
}

fn status(errors: &mut Errors, new: &Ingress, old: &Ingress) {
    let at = Path::root("status");
    let at = at.child("loadBalancer");
    let at = at.child("ingress");
    let known: Vec<&str> = points(old.status.as_ref()).iter().map(|point| text(&point.ip)).collect();
    for (index, point) in points(new.status.as_ref()).iter().enumerate() {
        let at = at.index(index);
        let (ip, host) = (text(&point.ip), text(&point.hostname));
        if !ip.is_empty() && !known.contains(&ip) {
            errors.all(&at.child("ip"), ip, names::ip(ip));
        }
        if !host.is_empty() {
            let at = at.child("hostname");
            errors.all(&at, host, names::dns1123_subdomain(host));
            not_an_address(errors, &at, host);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn three_hosts_are_shown() {
        let check = |all: &[&str]| {
            let rules: Vec<IngressRule> = all
                .iter()
                .map(|host| IngressRule { host: Some((*host).to_owned()), ..IngressRule::default() })
                .collect();
            hosts(&rules)
        };
        assert_eq!(check(&[]), "*");
        assert_eq!(check(&["a", ""]), "a");
        assert_eq!(check(&["a", "b", "c"]), "a,b,c");
        assert_eq!(check(&["a", "b", "c", "d", "e"]), "a,b,c + 2 more...");
    }

    #[test]
    fn what_an_older_server_took_may_stay() {
        let spec_of = |value: Value| serde_json::from_value::<IngressSpec>(value).unwrap();
        let bad = spec_of(json!({"rules": [{"host": "*.a.b", "http": {"paths": []}}],
                                 "tls": [{"secretName": "Bad_Name"}]}));
        let said = |old: Option<&IngressSpec>| {
            let mut errors = Errors::default();
            spec(&mut errors, &bad, old);
            errors.into_vec().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(said(None).len(), 2, "{:?}", said(None));
        assert!(said(Some(&bad)).is_empty());
    }
}
