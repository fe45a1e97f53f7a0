//! Cluster roles whose rules are those of other cluster roles, chosen by labels.
//!
//! Source: `pkg/controller/clusterroleaggregation`.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kprov_schema::{Key, Object, Resource};
use serde_json::json;

use super::machinery::action::{Action, Outcome};
use super::machinery::selector::selects;
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch};
use crate::informer::{Change, Unreadable};

/// Gathers the rules of cluster roles.
pub struct RoleAggregation;

impl Controller for RoleAggregation {
    const NAME: &'static str = "clusterrole-aggregation-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::new::<ClusterRole>(gatherers)]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(role) = world.get::<ClusterRole>(key)? else { return Ok(Outcome::nothing()) };
        if !gathers(&role) || role.raw.is_deleting() {
            return Ok(Outcome::nothing());
        }
        let rules = gathered(&role, &world.all::<ClusterRole>()?);
        if role.rules.as_deref().unwrap_or_default() == rules {
            return Ok(Outcome::nothing());
        }
        let mut object = Object::clone(&role.raw);
        object.set(&["rules"], json!(rules));
        Ok(vec![Action::update(Resource::of::<ClusterRole>(), object)].into())
    }
}

fn gathers(role: &ClusterRole) -> bool {
    role.aggregation_rule.as_ref().is_some_and(|rule| rule.cluster_role_selectors.is_some())
}

/// Any cluster role may be chosen by those that gather, so a change to one concerns all of these.
fn gatherers(_: &Change, world: &Snapshot) -> Vec<Key> {
    world.readable::<ClusterRole>().iter().filter(|role| gathers(role)).map(|role| role.raw.key()).collect()
}

/// The rules of the roles that are chosen, each once: by selector, then by name.
fn gathered(role: &ClusterRole, all: &[Seen<ClusterRole>]) -> Vec<PolicyRule> {
    let selectors = role.aggregation_rule.iter().flat_map(|rule| rule.cluster_role_selectors.iter().flatten());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        let chosen = all.iter().filter(|one| one.metadata.name != role.metadata.name && selects(selector, &one.raw));
        for rule in chosen.flat_map(|one| one.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn role(name: &str, resources: &[&str], label: &str) -> Value {
        let rules: Vec<Value> =
            resources.iter().map(|one| json!({"verbs": ["get"], "apiGroups": [""], "resources": [one]})).collect();
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
               "metadata": {"name": name, "uid": name, "labels": {"to": label}}, "rules": rules})
    }

    fn resources(objects: &[Value]) -> Option<Vec<String>> {
        let world = Snapshot::given(&RoleAggregation::watches(), objects);
        let outcome = RoleAggregation.reconcile(&Key::new("", "all"), &world, Timestamp::UNIX_EPOCH).unwrap();
        match outcome.actions.as_slice() {
            [] => None,
            [Action::Update { object, .. }] => {
                let rules = object.at(&["rules"]).unwrap().as_array().unwrap();
                Some(rules.iter().map(|rule| rule["resources"][0].as_str().unwrap().to_owned()).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_role_that_can_not_be_read_keeps_no_other_asleep() {
        let mut all = role("all", &[], "x");
        all["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]});
        let mut broken = role("broken", &[], "all");
        broken["rules"] = json!("none");
        let world = Snapshot::given(&RoleAggregation::watches(), &[all, broken]);
        let change = Change { old: None, new: None, reached: kprov_schema::Revision(1) };
        assert_eq!(gatherers(&change, &world), [Key::new("", "all")]);
    }

    #[test]
    fn gathers_by_label_in_the_order_of_names() {
        let mut all = role("all", &["old"], "x");
        let chosen =
            [role("b", &["nodes", "pods"], "all"), role("a", &["pods"], "all"), role("c", &["secrets"], "other")];
        assert_eq!(resources(&[&[all.clone()], &chosen[..]].concat()), None, "it gathers nothing");
        all["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]});
        assert_eq!(resources(&[&[all.clone()], &chosen[..]].concat()), Some(vec!["pods".into(), "nodes".into()]));
        let done = role("all", &["pods", "nodes"], "x");
        all["rules"] = done["rules"].clone();
        assert_eq!(resources(&[&[all], &chosen[..]].concat()), None, "it has them already");
    }
}
