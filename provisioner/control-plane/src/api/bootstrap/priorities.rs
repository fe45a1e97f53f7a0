//! The priorities of requests: the levels and flows that every cluster has.
//!
//! Source: apiserver `registry/flowcontrol/ensurer`.

use std::sync::Arc;

use futures::future::try_join_all;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use kprov_schema::rules::flow_defaults::{FLOWS, LEVELS};
use kprov_schema::{Key, Object, Resource, Status, Subresource};
use serde_json::{Value, json};

use crate::api::core::Core;
use crate::api::errors;
use crate::api::inprocess::InProcess;
use crate::api::user::User;
use crate::client::Verbs;

/// Who lets the server keep a spec as it should be says so by this annotation.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Makes what is missing, and brings up to date what nobody else keeps; all at once, for few writes to the disk.
pub(super) async fn ensure(core: &Arc<Core>) -> Result<(), Status> {
    let client = |manager: &str| InProcess::new(core.clone(), User::component("system:apiserver")).managing_as(manager);
    let producer = client("api-priority-and-fairness-config-producer-v1");
    let consumer = client("api-priority-and-fairness-config-consumer-v1");
    let (levels, flows) = (Resource::of::<PriorityLevelConfiguration>(), Resource::of::<FlowSchema>());
    let kept = LEVELS.iter().map(|level| keep(&producer, &levels, level.name, level.mandatory, json!(level.spec())));
    try_join_all(kept).await?;
    let kept = FLOWS.iter().map(|flow| async {
        if keep(&producer, &flows, flow.name, flow.mandatory, json!(flow.spec())).await? {
            let time = errors::seconds(core.world.clock.now());
            let status = json!({"conditions": [found(&flow.spec().priority_level_configuration.name, time)]});
            let said = object("FlowSchema", json!({"name": flow.name}), "status", status);
            consumer.apply_part(&flows, &Key::new("", flow.name), Subresource::Status, &said).await?;
        }
        Ok(())
    });
    try_join_all(kept).await.map(|_| ())
}

/// Says whether the object is new.
async fn keep(
    client: &InProcess,
    resource: &Resource,
    name: &str,
    mandatory: bool,
    spec: Value,
) -> Result<bool, Status> {
    let old = match client.get(resource, &Key::new("", name)).await {
        Err(status) if status.is_not_found() => {
            let kind =
                if *resource == Resource::of::<FlowSchema>() { "FlowSchema" } else { "PriorityLevelConfiguration" };
            let metadata = json!({"name": name, "annotations": {AUTO_UPDATE: "true"}});
            let new = Object::try_from(object(kind, metadata, "spec", spec)).map_err(errors::internal)?;
            return client.create(resource, &Key::default(), None, new).await.map(|_| true);
        }
        found => found?,
    };
    let kept = old.annotation(AUTO_UPDATE).map_or(mandatory, |said| said == "true");
    if kept && old.at(&["spec"]) != Some(&spec) {
        let mut new = Object::clone(&old);
        new.set(&["spec"], spec);
        client.update(resource, None, new).await?;
    }
    Ok(false)
}

fn object(kind: &str, metadata: Value, field: &str, value: Value) -> Value {
    json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind, "metadata": metadata, field: value})
}

fn found(level: &str, time: Value) -> Value {
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named \"{level}\" and it exists");
    json!({"type": "Dangling", "status": "False", "lastTransitionTime": time, "reason": "Found", "message": message})
}
