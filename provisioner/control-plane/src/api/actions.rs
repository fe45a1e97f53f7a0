//! Parts of an object that are only created: each does something to the object.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kprov_schema::decode::Target as Decoding;
use kprov_schema::kind::Write;
use kprov_schema::{FieldError, Object, Resource, Status, Subresource, conditions};
use serde_json::{Value, json};

use super::admission::{self, Intent};
use super::core::Core;
use super::errors;
use super::eviction;
use super::owners::{Owners, Writer};
use super::query::WriteOptions;
use super::subresource;
use super::target::Target;
use super::tokens::{Bound, Grant};
use super::user::User;
use super::write::{self, Proposal};

/// One of these parts.
pub(crate) struct Action {
    part: Subresource,
    /// The kind of the body.
    pub(crate) speaks: (&'static str, &'static str, &'static str),
    /// Does it; the answer is an object or a Status.
    run: for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Value, Status>>,
}

/// What an action is to do.
pub(crate) struct Call<'a> {
    pub(crate) core: &'a Core,
    pub(crate) user: &'a User,
    pub(crate) target: &'a Target,
    pub(crate) body: Object,
    pub(crate) options: &'a WriteOptions,
}

const ACTIONS: &[Action] = &[
    Action { part: Subresource::Binding, speaks: ("", "v1", "Binding"), run: |call| Box::pin(bind(call)) },
    Action {
        part: Subresource::Eviction,
        speaks: ("policy", "v1", "Eviction"),
        run: |call| Box::pin(eviction::evict(call)),
    },
    Action {
        part: Subresource::Token,
        speaks: ("authentication.k8s.io", "v1", "TokenRequest"),
        run: |call| Box::pin(grant_token(call)),
    },
];

/// The action of a part; other parts can't be created.
pub(crate) fn action(part: Subresource) -> Result<&'static Action, Status> {
    ACTIONS.iter().find(|one| one.part == part).ok_or_else(errors::method_not_allowed)
}

/// The parts that have rows, and the kinds that they speak.
#[cfg(test)]
pub(super) fn rows() -> Vec<(Subresource, (&'static str, &'static str, &'static str))> {
    ACTIONS.iter().map(|row| (row.part, row.speaks)).collect()
}

impl Action {
    /// Does it if nothing objects; advice that comes up is added to `warnings`.
    pub(crate) async fn act(&self, call: Call<'_>, warnings: &mut Vec<String>) -> Result<Value, Status> {
        let Call { core, user, target, .. } = call;
        let intent = Intent { core, user, target, old: None, dry_run: call.options.dry_run };
        admission::action(&intent, self.speaks, &call.body, warnings)?;
        (self.run)(call).await
    }

    /// How its body is decoded.
    pub(crate) fn decoding(&self) -> Result<Decoding, Status> {
        let (group, version, kind) = self.speaks;
        Decoding::published(group, version, kind).ok_or_else(|| errors::internal(format!("{kind} is not published")))
    }
}

pub(super) fn same_name(call: &Call<'_>, kind: &str) -> Result<(), Status> {
    if call.body.name() == call.target.key.name {
        return Ok(());
    }
    Err(errors::bad_request(format!("name in URL does not match name in {kind} object")))
}

/// Upstream answers mistakes in a binding without a reason.
fn binding_errors(binding: &Object) -> Result<(), Status> {
    let kind = binding.text(&["target", "kind"]).unwrap_or_default();
    let mut wrong = Vec::new();
    if !["", "Node"].contains(&kind) {
        wrong.push(FieldError::not_supported("target.kind", &json!(kind), &["Node", "<empty>"]));
    }
    if binding.text(&["target", "name"]).unwrap_or_default().is_empty() {
        wrong.push(FieldError::required("target.name", ""));
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(errors::plain(500, one.to_string())),
        all => {
            let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
            Err(errors::plain(500, format!("[{}]", texts.join(", "))))
        }
    }
}

async fn bind(call: Call<'_>) -> Result<Value, Status> {
    same_name(&call, "Binding")?;
    binding_errors(&call.body)?;
    let (core, target, binding) = (call.core, call.target, &call.body);
    let now = errors::seconds(core.world.clock.now());
    let door = Write::Other(Subresource::Binding);
    write::modify(core, call.user, target, door, call.options, |old| {
        let pod = bound(target, &old.object, binding, &now)?;
        Ok(Proposal { object: pod, warnings: Vec::new(), owners: Owners::Kept })
    })
    .await?;
    Ok(errors::success(Some(201), None))
}

/// The pod on its node, or why it can't go there.
fn bound(target: &Target, pod: &Object, binding: &Object, now: &Value) -> Result<Object, Status> {
    let name = pod.name();
    let resource = &target.kind.resource;
    let refuse = |message: String| {
        let what = subresource::qualified(resource, Subresource::Binding);
        Err(errors::conflict(resource, &what, name, &message))
    };
    let uid = binding.uid();
    if !uid.0.is_empty() && uid != pod.uid() {
        return refuse(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", pod.uid()));
    }
    if pod.is_deleting() {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(node) = pod.text(&["spec", "nodeName"]).filter(|node| !node.is_empty()) {
        return refuse(format!("pod {name} is already assigned to node {node:?}"));
    }
    if !write::is_empty_list(pod, &["spec", "schedulingGates"]) {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut pod = pod.clone();
    pod.remove(&["metadata", "resourceVersion"]);
    pod.set(&["spec", "nodeName"], binding.text(&["target", "name"]).unwrap_or_default().into());
    pod.remove(&["status", "nominatedNodeName"]);
    for map in ["annotations", "labels"] {
        for (key, value) in binding.at(&["metadata", map]).and_then(Value::as_object).into_iter().flatten() {
            pod.set(&["metadata", map, key], value.clone());
        }
    }
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    conditions::set_in(&mut pod, scheduled);
    Ok(pod)
}

/// Seconds that a token lives: at least, when nothing is said, at most.
const LIFE: (i64, i64, i64) = (600, 3600, 1 << 32);

async fn grant_token(call: Call<'_>) -> Result<Value, Status> {
    let (core, target) = (call.core, call.target);
    let account = core.store.get(&target.place()).ok_or_else(|| target.not_found())?;
    let seconds = call.body.at(&["spec", "expirationSeconds"]).and_then(Value::as_i64).unwrap_or(LIFE.1);
    if let Some(error) = life_error(seconds) {
        return Err(errors::invalid_as("authentication.k8s.io", "TokenRequest", "", &[error]));
    }
    let mut audiences: Vec<String> = call
        .body
        .at(&["spec", "audiences"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if audiences.is_empty() {
        audiences.push(core.tokens.audience().to_owned());
    }
    if let Some(node) = call.user.node_name() {
        bound_to_pod_of(node, &call)?;
    }
    let bound = binding_of(core, target, &call.body, &account.object)?;
    let now = core.world.clock.now();
    let grant = Grant {
        namespace: target.key.namespace.clone(),
        account: target.key.name.clone(),
        uid: account.object.uid().0,
        audiences: audiences.clone(),
        now: now.as_second(),
        expires: now.as_second() + seconds,
        bound,
        id: core.world.uuid(),
    };
    let token = core.tokens.sign(&grant)?;
    let end = jiff::Timestamp::from_second(grant.expires).map_err(errors::internal)?;
    let mut granted = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": target.key.name, "namespace": target.key.namespace,
            "uid": account.object.uid().0, "creationTimestamp": errors::seconds(now),
        },
        "spec": {
            "audiences": audiences, "expirationSeconds": seconds,
            "boundObjectRef": call.body.at(&["spec", "boundObjectRef"]).cloned().unwrap_or_default(),
        },
        "status": {"token": token, "expirationTimestamp": errors::seconds(end)},
    });
    let mut asked = call.body.clone();
    asked.set(&["spec", "expirationSeconds"], seconds.into());
    let writer = Writer { core, target, door: Write::Other(Subresource::Token), options: call.options };
    if let Some(managers) = writer.brought(&action(Subresource::Token)?.decoding()?, &asked) {
        granted["metadata"]["managedFields"] = managers;
    }
    Ok(granted)
}

fn life_error(seconds: i64) -> Option<FieldError> {
    let detail = if seconds < LIFE.0 {
        "may not specify a duration less than 10 minutes"
    } else if seconds > LIFE.2 {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return None;
    };
    Some(FieldError::invalid("spec.expirationSeconds", &seconds.into(), detail))
}

/// Agents get tokens for the pods on their node alone.
fn bound_to_pod_of(node: &str, call: &Call<'_>) -> Result<(), Status> {
    let text = |field: &str| call.body.text(&["spec", "boundObjectRef", field]).unwrap_or_default();
    let refuse = |why: &str| Err(errors::forbidden(&call.target.kind.resource, &call.target.key.name, why));
    if text("kind") != "Pod" || text("name").is_empty() {
        return refuse("node requested token not bound to a pod");
    }
    if text("uid").is_empty() {
        return refuse("node requested token bound to a pod without a uid");
    }
    let pod = find(call.core, &Resource::of::<Pod>(), &call.target.key.namespace, text("name"))?;
    if pod.text(&["spec", "nodeName"]) != Some(node) {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    Ok(())
}

/// What the token is bound to beside the account; a pod's token also names the pod's node.
fn binding_of(core: &Core, target: &Target, request: &Object, account: &Object) -> Result<Vec<Bound>, Status> {
    let text = |field: &str| request.text(&["spec", "boundObjectRef", field]).unwrap_or_default();
    let (claim, resource, namespace) = match text("kind") {
        "" => return Ok(Vec::new()),
        "Pod" => ("pod", Resource::of::<Pod>(), target.key.namespace.as_str()),
        "Secret" => ("secret", Resource::of::<Secret>(), target.key.namespace.as_str()),
        "Node" => ("node", Resource::of::<Node>(), ""),
        other => {
            return Err(errors::bad_request(format!("cannot bind token for serviceaccount to object type {other}")));
        }
    };
    let found = find(core, &resource, namespace, text("name"))?;
    let uid = text("uid");
    if !uid.is_empty() && found.uid().0 != uid {
        let message = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(errors::conflict(&resource, &resource.plural, text("name"), &message));
    }
    let mut bound = vec![Bound { kind: claim, name: found.name().to_owned(), uid: found.uid().0 }];
    if claim == "pod" {
        if found.text(&["spec", "serviceAccountName"]) != Some(account.name()) {
            let resource = &target.kind.resource;
            let message = "the bound pod uses a different serviceAccount";
            return Err(errors::forbidden(resource, account.name(), message));
        }
        if let Some(node) = found.text(&["spec", "nodeName"]).filter(|node| !node.is_empty())
            && let Some(node) = core.get::<Node>("", node)
        {
            bound.push(Bound { kind: "node", name: node.object.name().to_owned(), uid: node.object.uid().0 });
        }
    }
    Ok(bound)
}

fn find(core: &Core, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
    let found = core.find(resource, namespace, name).ok_or_else(|| errors::not_found(resource, name))?;
    Ok(found.object.clone())
}
