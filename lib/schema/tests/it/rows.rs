//! What rows say of writes that the recordings do not hold.

use kprov_schema::kind::Write;
use kprov_schema::{KINDS, Kind, Object, Subresource, canonical, meta};
use serde_json::{Value, json};

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.kind == name).unwrap()
}

fn made(kind: &Kind, object: &Value) -> Object {
    let mut object = Object::try_from(object.clone()).unwrap();
    object.set(&["apiVersion"], json!(kind.resource.api_version()));
    object.set(&["kind"], json!(kind.kind));
    kind.fill_defaults(&mut object).unwrap();
    object
}

/// A new object as it is stored.
fn stored(kind: &Kind, object: &Value) -> Object {
    let mut object = made(kind, object);
    kind.prepare(&mut object, None, Write::Main).unwrap();
    canonical::canonicalise(kind, &mut object);
    object.set(&["metadata", "resourceVersion"], json!("1"));
    assert_eq!(said(kind, &object, None, Write::Main), "", "{object:?}");
    object
}

fn said(kind: &Kind, object: &Object, old: Option<&Object>, write: Write) -> String {
    let mut texts: Vec<String> = kind.validate(object, old, write).unwrap().iter().map(ToString::to_string).collect();
    texts.dedup();
    texts.join("\n")
}

/// The object after a write, and what is wrong with it.
fn changed(kind: &Kind, old: &Object, change: impl FnOnce(&mut Object), write: Write) -> (Object, String) {
    let mut object = old.clone();
    change(&mut object);
    kind.fill_defaults(&mut object).unwrap();
    meta::keep_on_update(&mut object, old);
    kind.prepare(&mut object, Some(old), write).unwrap();
    canonical::canonicalise(kind, &mut object);
    let said = said(kind, &object, Some(old), write);
    (object, said)
}

#[test]
fn what_is_given_empty_is_checked_empty_and_stored_as_nothing() {
    let kind = kind("Deployment");
    let deployment = |labels: Value| {
        json!({
            "metadata": {"name": "web", "namespace": "n"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i", "args": []}]}}},
        })
    };
    for (labels, shown) in [(json!({}), "{}"), (Value::Null, "null"), (json!({"app": "web"}), "")] {
        let mut object = made(kind, &deployment(labels));
        assert!(canonical::given(kind, &mut object), "the arguments are empty");
        let said = said(kind, &object, None, Write::Main);
        let at = format!("Invalid value: {shown}: `selector` does not match template `labels`");
        assert!(if shown.is_empty() { said.is_empty() } else { said.ends_with(&at) }, "{said}");
        canonical::canonicalise(kind, &mut object);
        let container = object.at(&["spec", "template", "spec", "containers"]).unwrap()[0].clone();
        assert_eq!(container.get("args"), None);
        assert!(!canonical::given(kind, &mut object), "nothing empty comes back from the store");
    }
}

#[test]
fn a_node_keeps_its_ranges_and_its_provider() {
    let kind = kind("Node");
    let old = stored(kind, &json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24", "providerID": "x"}}));
    assert_eq!(old.at(&["spec", "podCIDRs"]), Some(&json!(["10.0.0.0/24"])));
    let set = |path: &'static [&str], value: Value| move |object: &mut Object| object.set(path, value);
    for (path, value, why) in [
        (&["spec", "providerID"][..], json!("y"), "spec.providerID: Forbidden: node updates may not change providerID"),
        (&["spec", "podCIDR"], json!("10.1.0.0/24"), "spec.podCIDRs: Forbidden: node updates may not change podCIDR"),
        (&["spec", "externalID"], json!("e"), "spec.externalID: Forbidden: may not be updated"),
        (&["spec", "unschedulable"], json!(true), ""),
    ] {
        let (_, said) = changed(kind, &old, set(path, value), Write::Main);
        assert!(if why.is_empty() { said.is_empty() } else { said.starts_with(why) }, "{path:?}: {said}");
    }
}

#[test]
fn a_nodes_status_is_written_through_its_own_door() {
    let kind = kind("Node");
    let old = stored(kind, &json!({"metadata": {"name": "n"}}));
    let busy = |object: &mut Object| {
        object.set(&["status", "phase"], json!("Running"));
        object.set(&["spec", "unschedulable"], json!(true));
    };
    let (object, _) = changed(kind, &old, busy, Write::Main);
    assert_eq!((object.at(&["status", "phase"]), object.at(&["spec", "unschedulable"])), (None, Some(&json!(true))));
    let (object, _) = changed(kind, &old, busy, Write::Status);
    assert_eq!((object.text(&["status", "phase"]), object.at(&["spec", "unschedulable"])), (Some("Running"), None));
}

#[test]
fn a_namespace_is_finalized_and_terminates() {
    let kind = kind("Namespace");
    let old = stored(kind, &json!({"metadata": {"name": "a"}}));
    assert_eq!(old.at(&["spec", "finalizers"]), Some(&json!(["kubernetes"])));
    assert_eq!(old.label("kubernetes.io/metadata.name"), Some("a"));
    let empty = |object: &mut Object| object.set(&["spec", "finalizers"], json!([]));
    let (object, _) = changed(kind, &old, empty, Write::Main);
    assert_eq!(object.at(&["spec", "finalizers"]), Some(&json!(["kubernetes"])));
    let (object, _) = changed(kind, &old, empty, Write::Other(Subresource::Finalize));
    assert_eq!(object.at(&["spec", "finalizers"]), None);
    let bad = |object: &mut Object| object.set(&["spec", "finalizers"], json!(["nope"]));
    let (_, why) = changed(kind, &old, bad, Write::Other(Subresource::Finalize));
    assert!(why.starts_with("spec.finalizers[0]: Invalid value: \"nope\": name is neither"), "{why}");
    let ending = |object: &mut Object| object.set(&["status", "phase"], json!("Terminating"));
    let (_, why) = changed(kind, &old, ending, Write::Status);
    assert_eq!(
        why,
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    );
}

#[test]
fn only_leases_want_their_version_named() {
    let unnamed = |object: &mut Object| {
        object.remove(&["metadata", "resourceVersion"]);
    };
    for (name, why) in
        [("Lease", "metadata.resourceVersion: Invalid value: \"\": must be specified for an update"), ("ConfigMap", "")]
    {
        let kind = kind(name);
        let old = stored(kind, &json!({"metadata": {"name": "a", "namespace": "b"}}));
        assert_eq!(changed(kind, &old, unnamed, Write::Main).1, why, "{name}");
    }
}

#[test]
fn a_service_changes_its_type() {
    let kind = kind("Service");
    let old = stored(
        kind,
        &json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80, "nodePort": 30080}]}}),
    );
    let narrow = |object: &mut Object| object.set(&["spec", "type"], json!("ClusterIP"));
    let (object, why) = changed(kind, &old, narrow, Write::Main);
    assert_eq!((object.at(&["spec", "ports"]).unwrap()[0].get("nodePort"), why.as_str()), (None, ""));
    assert_eq!(object.at(&["spec", "externalTrafficPolicy"]), None);
    let named = |object: &mut Object| {
        object.set(&["spec", "type"], json!("ExternalName"));
        object.set(&["spec", "externalName"], json!("a.example.com"));
    };
    let (object, why) = changed(kind, &old, named, Write::Main);
    assert_eq!((object.at(&["spec", "clusterIP"]), why.as_str()), (None, ""));
    let terse = |object: &mut Object| {
        object.remove(&["spec", "clusterIP"]);
        object.remove(&["spec", "clusterIPs"]);
        object.set(&["spec", "ports"], json!([{"port": 81}]));
    };
    let (object, why) = changed(kind, &old, terse, Write::Main);
    assert_eq!(object.text(&["spec", "clusterIP"]), Some("10.96.0.7"), "{why}");
    assert_eq!(object.at(&["spec", "ports"]).unwrap()[0]["nodePort"], json!(30080));
    let balanced = |object: &mut Object| object.set(&["status", "loadBalancer", "ingress"], json!([{"ip": "1.2.3.4"}]));
    let (_, why) = changed(kind, &old, balanced, Write::Status);
    assert_eq!(why, "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'");
}

#[test]
fn an_immutable_bag_stays() {
    for name in ["ConfigMap", "Secret"] {
        let kind = kind(name);
        let old = stored(
            kind,
            &json!({"metadata": {"name": "a", "namespace": "b"}, "immutable": true, "data": {"k": "dg=="}}),
        );
        let open = |object: &mut Object| {
            object.remove(&["immutable"]);
            object.set(&["data", "k"], json!("dw=="));
        };
        let (_, why) = changed(kind, &old, open, Write::Main);
        let frozen = "Forbidden: field is immutable when `immutable` is set";
        assert_eq!(why, format!("immutable: {frozen}\ndata: {frozen}"), "{name}");
    }
}

#[test]
fn a_request_for_a_certificate_is_decided_once() {
    const APPROVAL: Write = Write::Other(Subresource::Approval);
    let kind = kind("CertificateSigningRequest");
    // A block that holds nothing.
    let block = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";
    let spec = json!({"request": block, "signerName": "a.b/c", "usages": ["client auth"]});
    let old = stored(kind, &json!({"metadata": {"name": "a"}, "spec": spec}));
    let decide = |types: &[&str]| {
        let conditions: Vec<Value> = types.iter().map(|one| json!({"type": one, "status": "True"})).collect();
        move |object: &mut Object| object.set(&["status", "conditions"], conditions.clone().into())
    };
    let (_, why) = changed(kind, &old, decide(&["Approved"]), Write::Status);
    assert_eq!(why, "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"");
    let (_, why) = changed(kind, &old, decide(&["Approved", "Denied"]), APPROVAL);
    let both = "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive";
    assert_eq!(why, both);
    let (approved, why) = changed(kind, &old, decide(&["Approved"]), APPROVAL);
    assert_eq!(why, "");
    let (_, why) = changed(kind, &approved, decide(&[]), APPROVAL);
    assert_eq!(why, "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"");
    let issue = |object: &mut Object| object.set(&["status", "certificate"], json!("bm8="));
    let (kept, why) = changed(kind, &approved, issue, APPROVAL);
    assert_eq!((kept.at(&["status", "certificate"]), why.as_str()), (None, ""));
    let (_, why) = changed(kind, &approved, issue, Write::Status);
    let none = "must contain at least one CERTIFICATE PEM block";
    assert_eq!(why, format!("status.certificate: Invalid value: \"<certificate data>\": {none}"));
}

#[test]
fn a_volume_that_is_attached_without_an_object_is_a_drivers() {
    let kind = kind("VolumeAttachment");
    let attached = |volume: Value| {
        let object = made(
            kind,
            &json!({"metadata": {"name": "a"},
                    "spec": {"attacher": "a.b", "nodeName": "n", "source": {"inlineVolumeSpec": volume}}}),
        );
        said(kind, &object, None, Write::Main)
    };
    let modes = json!(["ReadWriteOnce"]);
    let csi = json!({"driver": "a.b", "volumeHandle": "h"});
    assert_eq!(attached(json!({"accessModes": modes, "csi": csi})), "");
    let at = "spec.source.inlineVolumeSpec";
    let context = "in the context of inline volumes";
    assert_eq!(
        attached(json!({"accessModes": modes, "hostPath": {"path": "/a"}, "storageClassName": "s"})),
        format!(
            "{at}.csi: Required value: has to be specified {context}\n{at}.storageClassName: Forbidden: may not be \
             specified {context}"
        )
    );
}

#[test]
fn the_priorities_of_a_cluster_are_taken_as_they_are() {
    use kprov_schema::rules::flow_defaults::{FLOWS, LEVELS};
    let check = |name: &str, kind_name: &str, spec: Value| {
        let kind = kind(kind_name);
        let old = stored(kind, &json!({"metadata": {"name": name}, "spec": spec}));
        assert_eq!(old.at(&["spec"]), Some(&spec), "{name}: defaults change nothing");
        (kind, old)
    };
    for level in LEVELS {
        let (kind, old) = check(level.name, "PriorityLevelConfiguration", json!(level.spec()));
        let other = |object: &mut Object| object.set(&["spec", "limited", "lendablePercent"], json!(7));
        let (_, why) = changed(kind, &old, other, Write::Main);
        assert_eq!(!why.is_empty(), level.mandatory, "{}: {why}", level.name);
    }
    for flow in FLOWS {
        let (kind, old) = check(flow.name, "FlowSchema", json!(flow.spec()));
        let other = |object: &mut Object| object.set(&["spec", "matchingPrecedence"], json!(7));
        let (_, why) = changed(kind, &old, other, Write::Main);
        assert_eq!(!why.is_empty(), flow.mandatory, "{}: {why}", flow.name);
    }
}
