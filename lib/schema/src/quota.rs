//! What resource quotas count: how much an object takes of them, and whether they let it.
//!
//! One table (`Evaluator`) says what is particular of pods, services and claims; every other kind is counted by number
//! alone. The API server charges with [`Demand::charge`], a controller counts anew with [`Counted::of_quota`].
//! Source: <https://kubernetes.io/docs/concepts/policy/resource-quotas/>

mod claims;
mod evaluator;
mod pods;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ResourceQuota, ScopedResourceSelectorRequirement};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde_json::Value;

use crate::key::Resource;
use crate::kind::Write;
use crate::object::Object;
use crate::quantity::Quantity;
use evaluator::{ANY, EVALUATORS, Evaluator, UNCOUNTED};

/// Amounts by the name under which a quota counts them.
pub type Amounts = BTreeMap<String, Quantity>;

/// How objects of one resource are counted.
#[derive(Clone)]
pub struct Counted {
    rules: &'static Evaluator,
    /// `count/deployments.apps`
    number: String,
}

impl Counted {
    /// How a resource is counted; `None` for what no quota counts, such as events.
    #[must_use]
    pub fn of(resource: &Resource) -> Option<Self> {
        let (group, plural) = (&*resource.group, &*resource.plural);
        if UNCOUNTED.contains(&(group, plural)) {
            return None;
        }
        let rules = EVALUATORS.iter().find(|row| row.resource == (group, plural)).unwrap_or(&ANY);
        let dot = if group.is_empty() { "" } else { "." };
        Some(Self { rules, number: format!("count/{plural}{dot}{group}") })
    }

    /// Whether it is counted under a name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        name == self.number || self.rules.names.contains(&name) || (self.rules.also)(name)
    }

    /// Whether a quota limits anything of it.
    #[must_use]
    pub fn concerns(&self, quota: &ResourceQuota) -> bool {
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        hard.into_iter().flatten().any(|(name, _)| self.has(name))
    }

    /// What an object takes of a quota; nothing when it is outside of its scopes. Errors when it does not parse.
    pub fn of_quota(&self, quota: &ResourceQuota, object: &Object, now: Timestamp) -> Result<Amounts, String> {
        if self.is_in_scope(quota, object)? { self.usage(object, now) } else { Ok(Amounts::new()) }
    }

    /// From when on an object takes less though nothing changes, if there is such a time.
    #[must_use]
    pub fn until(&self, object: &Object) -> Option<Timestamp> {
        (self.rules.until)(object)
    }

    /// Whether a change of an object is charged; a creation always is.
    pub fn charges(&self, old: &Object, new: &Object, door: Write) -> Result<bool, String> {
        (self.rules.charges)(old, new, door)
    }

    fn usage(&self, object: &Object, now: Timestamp) -> Result<Amounts, String> {
        let one = Quantity::whole(1);
        let mut usage = (self.rules.usage)(object, now)?;
        usage.insert(self.number.clone(), one.clone());
        if self.rules.by_number {
            usage.extend(self.rules.names.iter().map(|name| ((*name).to_owned(), one.clone())));
        }
        Ok(usage)
    }

    fn is_in_scope(&self, quota: &ResourceQuota, object: &Object) -> Result<bool, String> {
        for scope in scopes(quota) {
            if !(self.rules.in_scope)(&scope, object)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What a quota limits as of when it was last counted.
fn hard(quota: &ResourceQuota) -> Amounts {
    read(quota.status.as_ref().and_then(|status| status.hard.as_ref()))
}

/// Amounts as they stand in an object.
#[must_use]
pub fn read(field: Option<&BTreeMap<String, Text>>) -> Amounts {
    field.into_iter().flatten().map(|(name, amount)| (name.clone(), Quantity::from(amount))).collect()
}

/// Amounts as objects have them.
#[must_use]
pub fn written(amounts: &Amounts) -> Value {
    Value::Object(amounts.iter().map(|(name, amount)| (name.clone(), amount.to_string().into())).collect())
}

fn scopes(quota: &ResourceQuota) -> Vec<ScopedResourceSelectorRequirement> {
    let Some(spec) = &quota.spec else { return Vec::new() };
    let plain = spec.scopes.iter().flatten().map(|scope| ScopedResourceSelectorRequirement {
        scope_name: scope.clone(),
        operator: "Exists".to_owned(),
        values: None,
    });
    let selected = spec.scope_selector.iter().filter_map(|selector| selector.match_expressions.as_ref()).flatten();
    plain.chain(selected.cloned()).collect()
}

/// Whether a requirement on a scope holds for what the object says of it.
fn selects(requirement: &ScopedResourceSelectorRequirement, value: Option<&str>) -> bool {
    let listed = || value.is_some_and(|value| requirement.values.iter().flatten().any(|one| one == value));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// Adds amounts up.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        match to.get_mut(name) {
            Some(sum) => sum.add(amount),
            None => drop(to.insert(name.clone(), amount.clone())),
        }
    }
}

/// An object that shall be written, as quotas see it.
pub struct Demand {
    /// How it is counted.
    pub counted: Counted,
    /// The object as it shall be.
    pub new: Arc<Object>,
    /// The object as it is; `None` for a creation.
    pub old: Option<Arc<Object>>,
    /// It is taken in whatever is left: the change is not the user's.
    pub forced: bool,
    /// When.
    pub now: Timestamp,
}

impl Demand {
    /// What is used of a quota with the object written; `None` when the quota has nothing to do with it.
    ///
    /// Errors: why the quota refuses, in upstream's words.
    pub fn charge(&self, quota: &ResourceQuota) -> Result<Option<Amounts>, String> {
        let hard = hard(quota);
        let restricted: BTreeSet<&str> =
            hard.keys().map(String::as_str).filter(|name| self.counted.has(name)).collect();
        if restricted.is_empty() || !self.counted.is_in_scope(quota, &self.new)? {
            return Ok(None);
        }
        let name = quota.metadata.name.as_deref().unwrap_or_default();
        if let Some(lacks) = (self.counted.rules.lacks)(&self.new, &restricted)? {
            return Err(format!("failed quota: {name}: {lacks}"));
        }
        let used = read(quota.status.as_ref().and_then(|status| status.used.as_ref()));
        if restricted.iter().any(|name| !used.contains_key(*name)) {
            let names: Vec<&str> = restricted.into_iter().collect();
            return Err(format!("status unknown for quota: {name}, resources: {}", names.join(",")));
        }
        let requested: Amounts = self.more(quota)?.into_iter().filter(|(name, _)| hard.contains_key(name)).collect();
        if requested.is_empty() {
            return Ok(None);
        }
        let mut now_used = used.clone();
        add(&mut now_used, &requested);
        let over: BTreeSet<&String> = requested.keys().filter(|name| now_used[*name] > hard[*name]).collect();
        if over.is_empty() || self.forced {
            return Ok(Some(now_used));
        }
        let told = |amounts: &Amounts| {
            let parts = amounts.iter().filter(|(name, _)| over.contains(name));
            parts.map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
        };
        let (requested, used, limited) = (told(&requested), told(&used), told(&hard));
        Err(format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}"))
    }

    /// What the object takes more than before. What it takes less is given back when it is counted anew.
    fn more(&self, quota: &ResourceQuota) -> Result<Amounts, String> {
        let mut usage = self.counted.usage(&self.new, self.now)?;
        if let Some(old) = self.old.as_ref() {
            for (name, before) in self.counted.of_quota(quota, old, self.now)? {
                if let Some(amount) = usage.get_mut(&name) {
                    amount.sub(&before);
                }
            }
        }
        usage.retain(|_, amount| amount.sign() > 0);
        Ok(usage)
    }
}

#[cfg(test)]
mod tests;
