//! Who breaks a validating admission policy is told so, through every door.

use std::path::Path;

use serde_json::{Value, json};

use crate::definitions::Cluster;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// A policy about resources of a group, with what else stands in its spec, and a binding of the same name.
async fn policy(cluster: &Cluster, name: &str, (group, resources, operations): (&str, &[&str], &[&str]), spec: Value) {
    let mut whole = json!({"matchConstraints": {"resourceRules": [
        {"apiGroups": [group], "apiVersions": ["*"], "resources": resources, "operations": operations}]}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": whole});
    let (code, answer) = cluster.post(&format!("{REGISTRATION}/validatingadmissionpolicies"), policy).await;
    assert_eq!(code, 201, "{answer}");
}

async fn bind(cluster: &Cluster, name: &str, spec: Value) {
    let mut whole = json!({"policyName": name, "validationActions": ["Deny"]});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": whole});
    let (code, answer) = cluster.post(&format!("{REGISTRATION}/validatingadmissionpolicybindings"), binding).await;
    assert_eq!(code, 201, "{answer}");
}

async fn start(folder: &Path) -> Cluster {
    Cluster::start(folder).await
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn what_breaks_a_policy_is_denied_with_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    let spec = json!({
        "variables": [{"name": "size", "expression": "has(object.data) ? size(object.data) : 0"}],
        "matchConditions": [{"name": "no-system", "expression": "!request.name.startsWith('kube-')"}],
        "validations": [
            {"expression": "variables.size < 2", "messageExpression": "'has ' + string(variables.size) + ' keys'"},
            {"expression": "!('secret' in object.data)", "message": "no secrets here", "reason": "Forbidden"},
        ],
    });
    policy(&cluster, "keys", ("", &["configmaps"], &["CREATE", "UPDATE"]), spec).await;
    // Without a binding it says nothing.
    assert_eq!(cluster.post(MAPS, map("a", json!({"a": "1", "b": "2"}))).await.0, 201);
    bind(&cluster, "keys", json!({})).await;
    let (code, answer) = cluster.post(MAPS, map("b", json!({"a": "1", "b": "2"}))).await;
    let want = "configmaps \"b\" is forbidden: ValidatingAdmissionPolicy 'keys' with binding 'keys' denied request: has 2 keys";
    assert_eq!((code, message(&answer), &answer["reason"]), (422, want, &json!("Invalid")));
    assert_eq!(answer["details"]["causes"][0]["message"], &want["configmaps \"b\" is forbidden: ".len()..]);
    let (code, answer) = cluster.post(MAPS, map("b", json!({"secret": "1"}))).await;
    assert_eq!(code, 403, "{answer}");
    assert!(message(&answer).ends_with("no secrets here"), "{answer}");
    assert_eq!(cluster.post(MAPS, map("kube-b", json!({"a": "1", "b": "2"}))).await.0, 201);
    assert_eq!(cluster.post(MAPS, map("c", json!({"a": "1"}))).await.0, 201);
    let (code, answer) = cluster.merge(&format!("{MAPS}/c"), json!({"data": {"b": "2"}})).await;
    assert_eq!(code, 422, "{answer}");
    assert_eq!(cluster.ask("DELETE", &format!("{MAPS}/a"), "", Value::Null).await.0, 200);
    // Without the binding it says nothing again.
    let gone = format!("{REGISTRATION}/validatingadmissionpolicybindings/keys");
    assert_eq!(cluster.ask("DELETE", &gone, "", Value::Null).await.0, 200);
    assert_eq!(cluster.post(MAPS, map("b", json!({"a": "1", "b": "2"}))).await.0, 201);
    cluster.stop().await;
}

#[tokio::test]
async fn deletions_are_asked_about_too_and_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    let spec = json!({"validations": [{"expression": "object == null && oldObject.metadata.name != 'kept'"}]});
    policy(&cluster, "keep", ("", &["configmaps"], &["DELETE"]), spec).await;
    for name in ["kept", "other"] {
        assert_eq!(cluster.post(MAPS, map(name, json!({}))).await.0, 201);
    }
    bind(&cluster, "keep", json!({"validationActions": ["Warn"]})).await;
    let (code, warnings) = cluster.warnings("DELETE", &format!("{MAPS}/kept?dryRun=All")).await;
    let want = "299 - \"Validation failed for ValidatingAdmissionPolicy 'keep' with binding 'keep': failed expression: \
                object == null && oldObject.metadata.name != 'kept'\"";
    assert_eq!((code, warnings), (200, vec![want.to_owned()]));
    assert_eq!(cluster.warnings("DELETE", MAPS).await, (200, vec![want.to_owned()]));
    cluster.stop().await;
}

#[tokio::test]
async fn parameters_come_from_where_the_binding_says() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "params == null || size(object.metadata.name) <= int(params.data.longest)"}],
    });
    policy(&cluster, "names", ("", &["secrets"], &["CREATE"]), spec).await;
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    let secrets = "/api/v1/namespaces/default/secrets";
    bind(&cluster, "names", json!({"paramRef": {"name": "longest", "parameterNotFoundAction": "Deny"}})).await;
    let (code, answer) = cluster.post(secrets, secret("abc")).await;
    let why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert!(code == 422 && message(&answer).ends_with(why), "{answer}");
    assert_eq!(cluster.post(MAPS, map("longest", json!({"longest": "3"}))).await.0, 201);
    assert_eq!(cluster.post(secrets, secret("abc")).await.0, 201);
    assert_eq!(cluster.post(secrets, secret("abcd")).await.0, 422);
    // Each object that a selector finds is a parameter of its own.
    let binding = format!("{REGISTRATION}/validatingadmissionpolicybindings/names");
    let selector = json!({"spec": {"paramRef": {"name": null, "parameterNotFoundAction": "Allow",
        "selector": {"matchLabels": {"for": "names"}}}}});
    let (code, answer) = cluster.merge(&binding, selector).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(cluster.post(secrets, secret("abcd")).await.0, 201);
    for (name, longest) in [("one", "9"), ("two", "4")] {
        let mut param = map(name, json!({"longest": longest}));
        param["metadata"]["labels"] = json!({"for": "names"});
        assert_eq!(cluster.post(MAPS, param).await.0, 201);
    }
    assert_eq!(cluster.post(secrets, secret("abcde")).await.0, 422);
    cluster.stop().await;
}

#[tokio::test]
async fn parts_and_other_versions_are_asked_about_as_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    let few = json!({"validations": [{"expression": "object.kind == 'Scale' && object.spec.replicas < 5 && oldObject.spec.replicas == 1"}]});
    policy(&cluster, "few", ("apps", &["deployments/scale"], &["UPDATE"]), few).await;
    bind(&cluster, "few", json!({})).await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(cluster.post(deployments, deployment).await.0, 201);
    let scale = |replicas: u32| json!({"spec": {"replicas": replicas}});
    let (code, answer) = cluster.merge(&format!("{deployments}/d/scale"), scale(9)).await;
    assert_eq!(code, 422, "{answer}");
    let (code, answer) = cluster.merge(&format!("{deployments}/d/scale"), scale(2)).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(cluster.merge(&format!("{deployments}/d"), scale(9)).await.0, 200);

    // A rule over one version is about the others, too.
    let spec = json!({"matchConstraints": {"resourceRules": [{"apiGroups": ["autoscaling"], "apiVersions": ["v2"],
        "resources": ["horizontalpodautoscalers"], "operations": ["CREATE"]}]},
        "validations": [{"expression": "request.kind.version == 'v2' && request.requestKind.version == 'v1' && object.spec.metrics.size() == 0"}]});
    policy(&cluster, "metrics", ("", &["none"], &["CREATE"]), spec).await;
    bind(&cluster, "metrics", json!({})).await;
    let scaler = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let (code, answer) = cluster.post("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", scaler).await;
    assert!(code == 422 && message(&answer).contains("failed expression: request.kind.version"), "{answer}");
    cluster.stop().await;
}

#[tokio::test]
async fn what_can_t_be_worked_out_denies_unless_it_is_to_be_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    let spec =
        |failure: &str| json!({"failurePolicy": failure, "validations": [{"expression": "object.none.there == 1"}]});
    policy(&cluster, "ignored", ("", &["configmaps"], &["*"]), spec("Ignore")).await;
    bind(&cluster, "ignored", json!({})).await;
    assert_eq!(cluster.post(MAPS, map("a", json!({}))).await.0, 201);
    policy(&cluster, "strict", ("*", &["*/*"], &["*"]), spec("Fail")).await;
    let chosen = json!({"matchResources": {"objectSelector": {"matchLabels": {"checked": "yes"}}}});
    bind(&cluster, "strict", chosen).await;
    assert_eq!(cluster.post(MAPS, map("b", json!({}))).await.0, 201);
    let mut checked = map("c", json!({}));
    checked["metadata"]["labels"] = json!({"checked": "yes"});
    let (code, answer) = cluster.post(MAPS, checked).await;
    let why = "expression 'object.none.there == 1' resulted in error: no such key: none";
    assert!(code == 422 && message(&answer).ends_with(why), "{answer}");
    // Nothing can be said about policies themselves: they can always be taken back.
    let label = json!({"metadata": {"labels": {"checked": "yes"}}});
    let itself = format!("{REGISTRATION}/validatingadmissionpolicies/strict");
    assert_eq!(cluster.merge(&itself, label).await.0, 200);
    assert_eq!(cluster.ask("DELETE", &itself, "", Value::Null).await.0, 200);
    cluster.stop().await;
}

#[tokio::test]
async fn expressions_ask_who_may_do_what() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    let spec = json!({"validations": [
        {"expression": "authorizer.requestResource.check('delete').allowed()", "message": "the administrator may delete"},
        {"expression": "!authorizer.serviceAccount('default', 'a').group('').resource('configmaps').namespace('default').check('get').allowed()",
            "message": "the account may read"},
    ]});
    policy(&cluster, "asks", ("", &["configmaps"], &["CREATE"]), spec).await;
    bind(&cluster, "asks", json!({})).await;
    let (code, answer) = cluster.post(MAPS, map("a", json!({}))).await;
    assert_eq!(code, 201, "{answer}");
    let bound = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "a"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "a"}]});
    let (code, answer) = cluster.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", bound).await;
    assert_eq!(code, 201, "{answer}");
    let (code, answer) = cluster.post(MAPS, map("b", json!({}))).await;
    assert!(code == 422 && message(&answer).ends_with("the account may read"), "{answer}");
    cluster.stop().await;
}
