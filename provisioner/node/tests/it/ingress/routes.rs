//! Tables of ingresses, and where requests go by them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kprov_node::ingress::routes::{Decision, Routes, Sources};
use kprov_schema::Key;
use serde_json::{Value, json};

/// Services `a` to `d` on port 80, which is called `http`; the pod of `a` has 10.0.0.1 and so on. `d` has nobody ready.
fn routes(ingresses: &[Value]) -> Routes {
    let mut sources = Sources::default();
    for (at, value) in ingresses.iter().enumerate() {
        let mut ingress: Ingress = serde_json::from_value(value.clone()).unwrap();
        let meta = &mut ingress.metadata;
        meta.namespace.get_or_insert_with(|| "n".to_owned());
        meta.name = Some(format!("i{at}"));
        let made: jiff::Timestamp = format!("2026-01-01T00:00:0{at}Z").parse().unwrap();
        meta.creation_timestamp.get_or_insert(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(made));
        sources.ingresses.push(Arc::new(ingress));
    }
    for (at, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n"},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }))
        .unwrap();
        sources.services.insert(Key::new("n", name), Arc::new(service));
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [format!("10.0.0.{}", at + 1)], "conditions": {"ready": name != "d"}}],
        }))
        .unwrap();
        sources.slices.push(Arc::new(slice));
    }
    let out = json!({"metadata": {"name": "out", "namespace": "n"}, "spec": {"type": "ExternalName", "externalName": "a.b", "ports": [{"port": 80}]}});
    sources.services.insert(Key::new("n", "out"), Arc::new(serde_json::from_value(out).unwrap()));
    Routes::new(&sources)
}

fn to(service: &str) -> Value {
    json!({"service": {"name": service, "port": {"number": 80}}})
}

fn rule(host: &str, paths: &[(&str, &str, &str)]) -> Value {
    let path =
        |(kind, path, service): &(&str, &str, &str)| json!({"path": path, "pathType": kind, "backend": to(service)});
    json!({"host": host, "http": {"paths": paths.iter().map(path).collect::<Vec<_>>()}})
}

fn ingress(rules: &[Value]) -> Value {
    json!({"spec": {"rules": rules}})
}

/// `<who answers> <for what>`.
fn shown(decision: Decision) -> String {
    match decision {
        Decision::Nowhere => "404".to_owned(),
        Decision::Redirect(to) => format!("308 {to}"),
        Decision::Forward { backend, target } if backend.endpoints.is_empty() => {
            format!("503 {} {target}", backend.name)
        }
        Decision::Forward { backend, target } => format!("{} {target}", backend.endpoints[0]),
    }
}

#[track_caller]
fn check(ingresses: &[Value], cases: &[(&str, &str, &str)]) {
    let routes = routes(ingresses);
    for (host, target, expected) in cases {
        assert_eq!(shown(routes.decide(host, target, false)), *expected, "{host}{target}");
    }
}

#[test]
fn the_longest_path_of_the_most_exact_host() {
    let named = rule("shop.example.com", &[("Prefix", "/", "a"), ("Prefix", "/x", "b"), ("Exact", "/x", "c")]);
    let star = rule("*.example.com", &[("Prefix", "/", "b"), ("Prefix", "/only/here", "c")]);
    let all = rule("", &[("Prefix", "/everywhere", "c")]);
    check(
        &[ingress(&[all, star, named])],
        &[
            ("shop.example.com", "/", "10.0.0.1:8080 /"),
            ("SHOP.example.com:80", "/y?q=1", "10.0.0.1:8080 /y?q=1"),
            ("shop.example.com", "/x", "10.0.0.3:8080 /x"),
            ("shop.example.com", "/x?q", "10.0.0.3:8080 /x?q"),
            ("shop.example.com", "/x/", "10.0.0.2:8080 /x/"),
            ("shop.example.com", "/xy", "10.0.0.1:8080 /xy"),
            ("shop.example.com", "/everywhere", "10.0.0.1:8080 /everywhere"),
            ("other.example.com", "/only/here/too", "10.0.0.3:8080 /only/here/too"),
            ("a.b.example.com", "/", "404"),
            ("example.com", "/", "404"),
            ("example.com", "/everywhere/x", "10.0.0.3:8080 /everywhere/x"),
            ("10.213.0.10", "/everywhere", "10.0.0.3:8080 /everywhere"),
            ("", "/", "404"),
        ],
    );
}

#[test]
fn the_oldest_has_what_two_claim() {
    let claim = |service, made: &str| json!({"metadata": {"creationTimestamp": made}, "spec": {"rules": [rule("h", &[("Prefix", "/", service)])]}});
    check(&[claim("a", "2026-01-02T00:00:00Z"), claim("b", "2026-01-01T00:00:00Z")], &[("h", "/", "10.0.0.2:8080 /")]);
}

#[test]
fn default_backends_have_what_is_left() {
    let with = |rules: &[Value], service: &str| json!({"spec": {"rules": rules, "defaultBackend": to(service)}});
    let of_host = with(&[rule("h", &[("Prefix", "/a", "a")])], "b");
    check(
        std::slice::from_ref(&of_host),
        &[("h", "/a", "10.0.0.1:8080 /a"), ("h", "/", "10.0.0.2:8080 /"), ("else", "/a", "10.0.0.2:8080 /a")],
    );
    // One without rules is meant for everything; hosts of the other keep their own.
    check(&[of_host, with(&[], "c")], &[("h", "/", "10.0.0.2:8080 /"), ("else", "/", "10.0.0.3:8080 /")]);
    // A rule without paths sends its host there.
    check(&[with(&[json!({"host": "h"})], "c")], &[("h", "/x", "10.0.0.3:8080 /x")]);
}

#[test]
fn who_can_not_answer_is_unavailable() {
    let mut named = rule("h", &[("Prefix", "/named", "a"), ("Prefix", "/wrong", "a")]);
    named["http"]["paths"][0]["backend"]["service"]["port"] = json!({"name": "http"});
    named["http"]["paths"][1]["backend"]["service"]["port"] = json!({"name": "https"});
    let more = rule("h", &[("Prefix", "/empty", "d"), ("Prefix", "/gone", "gone"), ("Prefix", "/out", "out")]);
    let elsewhere =
        json!({"metadata": {"namespace": "m"}, "spec": {"rules": [rule("h", &[("Prefix", "/theirs", "a")])]}});
    let resource = json!({"spec": {"rules": [{"host": "h", "http": {"paths": [
        {"path": "/r", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "b"}}}]}}]}});
    check(
        &[ingress(&[named, more]), elsewhere, resource],
        &[
            ("h", "/named", "10.0.0.1:8080 /named"),
            ("h", "/wrong", "503 n/a:https /wrong"),
            ("h", "/empty", "503 n/d:80 /empty"),
            ("h", "/gone", "503 n/gone:80 /gone"),
            ("h", "/out", "503 n/out:80 /out"),
            ("h", "/theirs", "503 m/a:80 /theirs"),
            ("h", "/r", "503 n: a resource /r"),
        ],
    );
}

fn annotated(annotations: Value, mut ingress: Value) -> Value {
    let annotations = annotations.as_object().unwrap().iter();
    let all: serde_json::Map<String, Value> =
        annotations.map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), value.clone())).collect();
    ingress["metadata"]["annotations"] = all.into();
    ingress
}

#[test]
fn annotations_rewrite_paths() {
    let plain = ingress(&[rule("h", &[("Prefix", "/a", "a"), ("Exact", "/b", "b")])]);
    check(
        &[annotated(json!({"rewrite-target": "/"}), plain)],
        &[
            ("h", "/a", "10.0.0.1:8080 /"),
            ("h", "/a/deep?q=1", "10.0.0.1:8080 /?q=1"),
            ("h", "/b", "10.0.0.2:8080 /"),
            ("h", "/ab", "404"),
        ],
    );
    let groups = ingress(&[rule("h", &[("ImplementationSpecific", "/a(/|$)(.*)", "a"), ("Prefix", "/b/(", "b")])]);
    check(
        &[annotated(json!({"rewrite-target": "/$2"}), groups)],
        &[("h", "/a/x/y?q", "10.0.0.1:8080 /x/y?q"), ("h", "/a", "10.0.0.1:8080 /"), ("h", "/b/(", "404")],
    );
    let expression = ingress(&[rule("h", &[("ImplementationSpecific", "/v[0-9]+", "a")])]);
    check(
        &[annotated(json!({"use-regex": "true"}), expression)],
        &[("h", "/v12/x", "10.0.0.1:8080 /v12/x"), ("h", "/v", "404")],
    );
}

#[test]
fn annotations_ask_for_tls() {
    let mut both = ingress(&[rule("h", &[("Prefix", "/", "a")]), rule("other", &[("Prefix", "/", "a")])]);
    both["spec"]["tls"] = json!([{"hosts": ["h"], "secretName": "s"}]);
    check(&[both.clone()], &[("h", "/x", "10.0.0.1:8080 /x")]);
    let asked = annotated(json!({"ssl-redirect": "true"}), both.clone());
    check(
        std::slice::from_ref(&asked),
        &[("h:80", "/x?q=1", "308 https://h/x?q=1"), ("other", "/x", "10.0.0.1:8080 /x")],
    );
    assert_eq!(shown(routes(&[asked]).decide("h", "/x", true)), "10.0.0.1:8080 /x");
    let forced = annotated(json!({"force-ssl-redirect": "true"}), both);
    check(&[forced], &[("other", "/x", "308 https://other/x")]);
}
