//! Flow schemas: whether the priority level that one names is there.
//!
//! Source: apiserver `pkg/util/flowcontrol/apf_controller.go`.

use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use kprov_schema::{Key, Object, Resource, Subresource, conditions};
use serde_json::json;

use super::machinery::action::{Action, Outcome};
use super::machinery::snapshot::Snapshot;
use super::machinery::{Config, Controller, Watch};
use crate::informer::{Change, Unreadable};

/// Tells of flow schemas whose priority level is missing.
pub struct FlowSchemas;

impl Controller for FlowSchemas {
    const NAME: &'static str = "flow-schema-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::own::<FlowSchema>(), Watch::new::<PriorityLevelConfiguration>(of_level)]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(schema) = world.get::<FlowSchema>(key)? else { return Ok(Outcome::nothing()) };
        let level = &schema.spec.priority_level_configuration.name;
        let there = world.get::<PriorityLevelConfiguration>(&Key::new("", level.as_str()))?.is_some();
        let (status, reason, end) = if there {
            ("False", "Found", "and it exists")
        } else {
            ("True", "NotFound", "but there is no such object")
        };
        let message =
            format!("This FlowSchema references the PriorityLevelConfiguration object named \"{level}\" {end}");
        let mut object = Object::clone(&schema.raw);
        let condition = json!({
            "type": "Dangling", "status": status, "lastTransitionTime": now.to_string(),
            "reason": reason, "message": message,
        });
        conditions::set_in(&mut object, condition);
        if object == *schema.raw {
            return Ok(Outcome::nothing());
        }
        let resource = Resource::of::<FlowSchema>();
        Ok(vec![Action::Update { resource, subresource: Some(Subresource::Status), object }].into())
    }
}

/// The flow schemas that name a priority level which came or went.
fn of_level(change: &Change, world: &Snapshot) -> Vec<Key> {
    if change.old.is_some() == change.new.is_some() {
        return Vec::new();
    }
    let level = change.latest().map(|entry| entry.key.name.clone()).unwrap_or_default();
    let names = |schema: &FlowSchema| schema.spec.priority_level_configuration.name == level.as_str();
    world.readable::<FlowSchema>().iter().filter(|schema| names(schema)).map(|schema| schema.raw.key()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_schema_without_its_level_dangles() {
        let schema = |status: Value| {
            json!({
                "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "f"},
                "spec": {"priorityLevelConfiguration": {"name": "l"}}, "status": status,
            })
        };
        let level = json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
            "metadata": {"name": "l"}, "spec": {"type": "Exempt"},
        });
        let told = |objects: &[Value]| {
            let world = Snapshot::given(&FlowSchemas::watches(), objects);
            let outcome = FlowSchemas.reconcile(&Key::new("", "f"), &world, Timestamp::UNIX_EPOCH).unwrap();
            match outcome.actions.as_slice() {
                [] => None,
                [Action::Update { object, .. }] => Some(object.at(&["status"]).unwrap().clone()),
                other => panic!("{other:?}"),
            }
        };
        let missing = told(&[schema(json!({}))]).unwrap();
        assert_eq!(
            (&missing["conditions"][0]["status"], &missing["conditions"][0]["reason"]),
            (&json!("True"), &json!("NotFound"))
        );
        assert_eq!(told(&[schema(missing.clone())]), None);
        let found = told(&[schema(missing), level.clone()]).unwrap();
        assert_eq!(found["conditions"][0]["status"], "False");
        assert_eq!(told(&[schema(found), level]), None);
    }
}
