//! Builders lose nothing: objects with any of the published fields come back as they were, and a method changes only
//! what it names.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;

use kprov::build::*;
use kprov::k8s_openapi::api::{
    apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch, core::v1 as core, discovery::v1 as discovery,
    networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling,
    storage::v1 as storage,
};
use kprov::schema::structure::{Node, Shape, Struct, schema};
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// An object of a definition, with its required fields and a few of the others.
fn object(definition: &'static Struct, depth: usize) -> BoxedStrategy<Value> {
    let known = |name: &str| !matches!(name, "apiVersion" | "kind" | "managedFields" | "status");
    let fields = definition.fields.iter().filter(move |field| known(&field.name));
    let (needed, others): (Vec<_>, Vec<_>) = fields.partition(|field| field.required);
    let most = if depth == 0 { 0 } else { others.len().min(5) };
    let chosen = subsequence(others, 0..=most).prop_flat_map(move |others| {
        let fields = needed.iter().copied().chain(others);
        fields
            .map(|field| value(&field.node, depth.saturating_sub(1)).prop_map(|it| (field.name.to_string(), it)))
            .collect::<Vec<_>>()
    });
    chosen.prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())).boxed()
}

fn value(node: &'static Node, depth: usize) -> BoxedStrategy<Value> {
    let text = "[a-z]{1,6}";
    let most = if depth == 0 { 0 } else { 2 };
    match &node.shape {
        Shape::Text => text.prop_map(Value::from).boxed(),
        Shape::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Int32 => any::<i32>().prop_map(Value::from).boxed(),
        Shape::Int64 => any::<i64>().prop_map(Value::from).boxed(),
        Shape::Double => Just(json!(0.5)).boxed(),
        Shape::Bytes => Just(json!("aGVsbG8=")).boxed(),
        Shape::Time => Just(json!("2024-05-06T07:08:09Z")).boxed(),
        Shape::MicroTime => Just(json!("2024-05-06T07:08:09.123456Z")).boxed(),
        Shape::Duration => Just(json!("1h0m0s")).boxed(),
        Shape::Quantity => prop_oneof![Just(json!("100m")), Just(json!("1Gi"))].boxed(),
        Shape::IntOrText => prop_oneof![Just(json!(8080)), Just(json!("25%"))].boxed(),
        Shape::Any | Shape::SchemaOr(..) => Just(json!({"a": [1, "b"]})).boxed(),
        Shape::Struct(inner) => object(published(inner), depth),
        Shape::List(item) => prop::collection::vec(value(item, depth), 0..=most).prop_map(Value::from).boxed(),
        Shape::Wrapped => prop::collection::vec(text, 0..=most).prop_map(Value::from).boxed(),
        Shape::Map(item) => {
            let map = prop::collection::hash_map(text, value(item, depth), 0..=most);
            map.prop_map(|map| Value::Object(map.into_iter().collect())).boxed()
        }
    }
}

/// The published definition itself, which lives as long as the program.
fn published(one: &Struct) -> &'static Struct {
    schema().definitions().find(|definition| definition.name == one.name).expect("every published struct has a name")
}

fn each(package: &str, kind: &str, cases: u32, check: impl Fn(Value)) {
    let name = format!("io.k8s.api.{package}.{kind}");
    let definition = schema().definitions().find(|definition| definition.name == name).expect("a published kind");
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    runner
        .run(&object(definition, 8), |value| {
            check(value);
            Ok(())
        })
        .unwrap();
}

/// Down and up again, by `From` and by JSON, is the same object.
fn comes_back<B, R>(value: Value)
where
    R: DeserializeOwned + Serialize + Clone + PartialEq + Debug,
    B: From<R> + Into<R> + AsRef<R> + AsMut<R> + Clone + PartialEq + Debug,
{
    let raw: R = serde_json::from_value(value).unwrap();
    let mut built = B::from(raw.clone());
    assert_eq!(*built.as_ref(), raw);
    assert_eq!(*built.as_mut(), raw);
    assert_eq!(B::from(raw.clone()), built);
    assert_eq!(built.into(), raw);
}

/// An object's JSON is its struct's.
fn is_written_alike<B, R>(value: Value)
where
    R: DeserializeOwned + Serialize + Clone + PartialEq + Debug,
    B: From<R> + Into<R> + Serialize + DeserializeOwned,
{
    let raw: R = serde_json::from_value(value).unwrap();
    let json = serde_json::to_value(&raw).unwrap();
    assert_eq!(serde_json::to_value(B::from(raw.clone())).unwrap(), json);
    assert_eq!(serde_json::from_value::<B>(json).unwrap().into(), raw);
}

macro_rules! objects {
    ($($package:literal $builder:ident $raw:ty;)*) => {
        #[test]
        fn objects_come_back() {
            $(each($package, stringify!($builder), 60, |value| {
                comes_back::<$builder, $raw>(value.clone());
                is_written_alike::<$builder, $raw>(value);
            });)*
        }
    };
}

objects! {
    "apps.v1" DaemonSet apps::DaemonSet;
    "apps.v1" Deployment apps::Deployment;
    "apps.v1" ReplicaSet apps::ReplicaSet;
    "apps.v1" StatefulSet apps::StatefulSet;
    "batch.v1" CronJob batch::CronJob;
    "batch.v1" Job batch::Job;
    "core.v1" Pod core::Pod;
    "autoscaling.v2" HorizontalPodAutoscaler autoscaling::HorizontalPodAutoscaler;
    "core.v1" ConfigMap core::ConfigMap;
    "core.v1" LimitRange core::LimitRange;
    "core.v1" Namespace core::Namespace;
    "core.v1" PersistentVolume core::PersistentVolume;
    "core.v1" PersistentVolumeClaim core::PersistentVolumeClaim;
    "core.v1" ResourceQuota core::ResourceQuota;
    "core.v1" Secret core::Secret;

    "core.v1" ServiceAccount core::ServiceAccount;
    "discovery.v1" EndpointSlice discovery::EndpointSlice;
    "networking.v1" Ingress networking::Ingress;
    "networking.v1" IngressClass networking::IngressClass;
    "networking.v1" NetworkPolicy networking::NetworkPolicy;
    "policy.v1" PodDisruptionBudget policy::PodDisruptionBudget;
    "rbac.v1" ClusterRole rbac::ClusterRole;
    "rbac.v1" ClusterRoleBinding rbac::ClusterRoleBinding;
    "rbac.v1" Role rbac::Role;
    "rbac.v1" RoleBinding rbac::RoleBinding;
    "scheduling.v1" PriorityClass scheduling::PriorityClass;
    "storage.v1" StorageClass storage::StorageClass;
}

#[test]
fn services_come_back_as_of_any_sort() {
    each("core.v1", "Service", 60, |value| {
        comes_back::<Service<Any>, core::Service>(value.clone());
        is_written_alike::<Service<Any>, core::Service>(value);
    });
}

#[test]
fn parts_come_back() {
    each("core.v1", "Container", 200, comes_back::<Container, core::Container>);
    each("core.v1", "EnvFromSource", 50, comes_back::<EnvFrom, core::EnvFromSource>);
    each("core.v1", "LifecycleHandler", 50, comes_back::<Hook, core::LifecycleHandler>);
    each("core.v1", "PodTemplateSpec", 100, comes_back::<Template, core::PodTemplateSpec>);
    each("core.v1", "Probe", 100, comes_back::<Probe, core::Probe>);
    each("core.v1", "Toleration", 50, comes_back::<Toleration, core::Toleration>);
    each("core.v1", "TopologySpreadConstraint", 50, comes_back::<Spread, core::TopologySpreadConstraint>);
    each("core.v1", "Volume", 200, comes_back::<Volume, core::Volume>);
    each("core.v1", "VolumeMount", 50, comes_back::<Mount, core::VolumeMount>);
    each("batch.v1", "JobTemplateSpec", 50, comes_back::<JobTemplate, batch::JobTemplateSpec>);
    each("batch.v1", "PodFailurePolicyRule", 50, comes_back::<FailureRule, batch::PodFailurePolicyRule>);
}

/// Takes away what a method may change, with everything below.
fn without(value: &mut Value, path: &str) {
    let (parent, last) = path.rsplit_once('/').unwrap();
    if let Some(Value::Object(map)) = value.pointer_mut(parent) {
        map.remove(last);
    }
}

/// Whether a method leaves everything alone but the fields at these paths. Empty maps and lists count as nothing: a
/// method may make the way to its field.
fn changes_only(kind: &str, change: impl Fn(Deployment) -> Deployment, paths: &[&str]) {
    each("apps.v1", "Deployment", 60, |value| {
        let raw: apps::Deployment = serde_json::from_value(value).unwrap();
        let mut before = serde_json::to_value(&raw).unwrap();
        let mut after = serde_json::to_value(change(raw.into())).unwrap();
        for path in paths {
            without(&mut before, path);
            without(&mut after, path);
        }
        drop_empty(&mut before);
        drop_empty(&mut after);
        assert_eq!(before, after, "{kind}");
    });
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(drop_empty);
            map.retain(|_, value| {
                !matches!(value, Value::Object(map) if map.is_empty())
                    && !matches!(value, Value::Array(list) if list.is_empty())
            });
        }
        Value::Array(list) => list.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

#[test]
fn a_method_changes_only_what_it_names() {
    let pod = "/spec/template/spec";
    changes_only("replicas", |it| it.replicas(3), &["/spec/replicas"]);
    changes_only("label", |it| it.label("a", "b"), &["/metadata/labels"]);
    changes_only("annotation", |it| it.annotation("a", "b"), &["/metadata/annotations"]);
    changes_only("namespace", |it| it.namespace("shop"), &["/metadata/namespace"]);
    changes_only("rolling", |it| it.rolling(1, 0), &["/spec/strategy"]);
    changes_only("history", |it| it.history(1), &["/spec/revisionHistoryLimit"]);
    changes_only("host_network", Networked::host_network, &[&format!("{pod}/hostNetwork")]);
    changes_only("run_as", |it| Secured::run_as(it, 5), &[&format!("{pod}/securityContext/runAsUser")]);
    let spread = format!("{pod}/topologySpreadConstraints");
    changes_only("spread_over", |it| it.spread_over(Topology::Zone), &[&spread]);
    let node = format!("{pod}/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
    changes_only("on_nodes", |it| it.on_nodes(NodeRule::label("a").exists()), &[&node]);
    let volume = Volume::empty_dir("a-volume-of-its-own");
    let added = Container::new("a-container-of-its-own", "nginx").mount(&volume, "/data");
    let paths = [format!("{pod}/containers"), format!("{pod}/volumes")];
    changes_only("container", |it| it.container(added.clone()), &[&paths[0], &paths[1]]);
}
