//! Tables of what objects take, and of what quotas say to them.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::kind::Typed;

fn object(value: Value) -> Arc<Object> {
    Arc::new(Object::try_from(value).unwrap())
}

fn resource(group: &str, plural: &str) -> Resource {
    Resource { group: group.to_owned().into(), version: "v1".into(), plural: plural.to_owned().into() }
}

fn quota(hard: Value, used: Value, spec: Value) -> ResourceQuota {
    let value = json!({"metadata": {"name": "q"}, "spec": spec, "status": {"hard": hard, "used": used}});
    ResourceQuota::from_object(&object(value)).unwrap()
}

fn check(plural: &str, new: Value, old: Option<Value>, quota: &ResourceQuota, said: &Expect) {
    let demand = Demand {
        counted: Counted::of(&resource("", plural)).unwrap(),
        new: object(new),
        old: old.map(object),
        forced: false,
        now: Timestamp::UNIX_EPOCH,
    };
    let shown = match demand.charge(quota) {
        Ok(None) => "not concerned".to_owned(),
        Ok(Some(used)) => used.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(","),
        Err(why) => why,
    };
    said.assert_eq(&shown);
}

fn pod(resources: Value) -> Value {
    json!({"spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

#[test]
fn pods_are_counted_until_there_is_too_much() {
    let hard = json!({"pods": "2", "requests.cpu": "1", "limits.memory": "1Gi"});
    let full = |pods: &str| {
        quota(hard.clone(), json!({"pods": pods, "requests.cpu": "500m", "limits.memory": "0"}), json!({}))
    };
    let fine = json!({"requests": {"cpu": "500m"}, "limits": {"memory": "512Mi"}});
    check("pods", pod(fine.clone()), None, &full("1"), &expect!["limits.memory=512Mi,pods=2,requests.cpu=1"]);
    check(
        "pods",
        pod(fine),
        None,
        &full("2"),
        &expect!["exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"],
    );
    let large = json!({"requests": {"cpu": "600m"}, "limits": {"memory": "2Gi"}});
    check(
        "pods",
        pod(large),
        None,
        &full("1"),
        &expect![
            "exceeded quota: q, requested: limits.memory=2Gi,requests.cpu=600m, used: limits.memory=0,requests.cpu=500m, limited: limits.memory=1Gi,requests.cpu=1"
        ],
    );
    check(
        "pods",
        pod(json!({})),
        None,
        &full("1"),
        &expect!["failed quota: q: must specify limits.memory for: c; requests.cpu for: c"],
    );
}

#[test]
fn a_quota_that_was_not_counted_lets_nothing_in() {
    let fresh = quota(json!({"pods": "2"}), json!({}), json!({}));
    check("pods", pod(json!({})), None, &fresh, &expect!["status unknown for quota: q, resources: pods"]);
    check("services", json!({"spec": {}}), None, &fresh, &expect!["not concerned"]);
}

#[test]
fn scopes_choose_pods() {
    let of = |spec: Value| quota(json!({"pods": "0"}), json!({"pods": "0"}), spec);
    let refused = expect!["exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"];
    let asking = pod(json!({"requests": {"cpu": "1m"}}));
    check("pods", pod(json!({})), None, &of(json!({"scopes": ["BestEffort"]})), &refused);
    check("pods", asking.clone(), None, &of(json!({"scopes": ["BestEffort"]})), &expect!["not concerned"]);
    check(
        "pods",
        asking.clone(),
        None,
        &of(json!({"scopes": ["NotBestEffort", "Terminating"]})),
        &expect!["not concerned"],
    );
    let mut bounded = asking;
    bounded["spec"]["activeDeadlineSeconds"] = json!(5);
    bounded["spec"]["priorityClassName"] = json!("high");
    check("pods", bounded.clone(), None, &of(json!({"scopes": ["NotBestEffort", "Terminating"]})), &refused);
    let classes = |operator: &str, values: &[&str]| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    check("pods", bounded.clone(), None, &of(classes("In", &["high"])), &refused);
    check("pods", bounded, None, &of(classes("NotIn", &["high"])), &expect!["not concerned"]);
    check("pods", pod(json!({})), None, &of(classes("DoesNotExist", &[])), &refused);
}

#[test]
fn ended_pods_and_those_that_should_have_ended_take_nothing() {
    let counted = Counted::of(&resource("", "pods")).unwrap();
    let all = quota(json!({"pods": "1"}), json!({}), json!({}));
    let taken = |pod: Value, now: i64| {
        let usage = counted.of_quota(&all, &object(pod), Timestamp::from_second(now).unwrap()).unwrap();
        (usage.contains_key("pods"), usage["count/pods"].value())
    };
    let mut one = pod(json!({}));
    assert_eq!(taken(one.clone(), 0), (true, 1));
    one["metadata"] = json!({"deletionTimestamp": "1970-01-01T00:00:40Z", "deletionGracePeriodSeconds": 30});
    assert_eq!(taken(one.clone(), 70), (true, 1));
    assert_eq!(taken(one.clone(), 71), (false, 1));
    one["status"] = json!({"phase": "Failed"});
    assert_eq!(taken(one, 0), (false, 1));
}

#[test]
fn what_containers_ask_for_is_counted_under_every_name() {
    let counted = Counted::of(&resource("", "pods")).unwrap();
    for name in ["requests.example.com/gpu", "requests.hugepages-2Mi", "hugepages-2Mi", "count/pods", "cpu"] {
        assert!(counted.has(name), "{name}");
    }
    for name in ["example.com/gpu", "requests.storage", "services", "count/secrets"] {
        assert!(!counted.has(name), "{name}");
    }
    let gpus = quota(json!({"requests.example.com/gpu": "3"}), json!({"requests.example.com/gpu": "2"}), json!({}));
    let asking = pod(json!({"requests": {"example.com/gpu": "2"}, "limits": {"example.com/gpu": "2"}}));
    check(
        "pods",
        asking,
        None,
        &gpus,
        &expect![
            "exceeded quota: q, requested: requests.example.com/gpu=2, used: requests.example.com/gpu=2, limited: requests.example.com/gpu=3"
        ],
    );
}

#[test]
fn a_change_pays_for_what_is_more() {
    let ports = quota(
        json!({"services": "1", "services.nodeports": "1"}),
        json!({"services": "1", "services.nodeports": "1"}),
        json!({}),
    );
    let service =
        |type_: &str, ports: usize| json!({"spec": {"type": type_, "ports": vec![json!({"port": 80}); ports]}});
    check("services", service("NodePort", 1), Some(service("NodePort", 1)), &ports, &expect!["not concerned"]);
    check(
        "services",
        service("NodePort", 2),
        Some(service("NodePort", 1)),
        &ports,
        &expect![
            "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1"
        ],
    );
    check("services", service("ClusterIP", 2), Some(service("NodePort", 1)), &ports, &expect!["not concerned"]);
}

#[test]
fn claims_are_counted_by_class() {
    let gold = quota(
        json!({"requests.storage": "5Gi", "gold.storageclass.storage.k8s.io/requests.storage": "1Gi"}),
        json!({"requests.storage": "0", "gold.storageclass.storage.k8s.io/requests.storage": "0"}),
        json!({}),
    );
    let claim =
        |class: &str| json!({"spec": {"storageClassName": class, "resources": {"requests": {"storage": "2Gi"}}}});
    check(
        "persistentvolumeclaims",
        claim("tin"),
        None,
        &gold,
        &expect!["gold.storageclass.storage.k8s.io/requests.storage=0,requests.storage=2Gi"],
    );
    check(
        "persistentvolumeclaims",
        claim("gold"),
        None,
        &gold,
        &expect![
            "exceeded quota: q, requested: gold.storageclass.storage.k8s.io/requests.storage=2Gi, used: gold.storageclass.storage.k8s.io/requests.storage=0, limited: gold.storageclass.storage.k8s.io/requests.storage=1Gi"
        ],
    );
}

#[test]
fn everything_is_counted_by_number_but_events() {
    assert!(Counted::of(&resource("apps", "deployments")).unwrap().has("count/deployments.apps"));
    assert!(Counted::of(&resource("", "secrets")).unwrap().has("secrets"));
    assert!(Counted::of(&resource("", "events")).is_none());
    let two =
        quota(json!({"count/secrets": "3", "secrets": "2"}), json!({"count/secrets": "2", "secrets": "2"}), json!({}));
    check(
        "secrets",
        json!({}),
        None,
        &two,
        &expect!["exceeded quota: q, requested: secrets=1, used: secrets=2, limited: secrets=2"],
    );
}
