//! Priority classes: which pods come first.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use super::check::{Errors, Path};
use super::fields::text;
use super::pod::spec::PREEMPTION_POLICIES;
use crate::kind::{Column, Rules, Write};
use crate::status::FieldError;
use crate::table;

const VALUE: &str = "value represents the integer value of this priority class. This is the actual priority that pods receive when \
    they have the name of this class in their pod spec.";
const GLOBAL_DEFAULT: &str = "globalDefault specifies whether this PriorityClass should be considered as the default priority for pods that do \
    not have any priority class. Only one PriorityClass can be marked as `globalDefault`. However, if more than one \
    PriorityClasses exists with their `globalDefault` field set to true, the smallest value of such global default \
    PriorityClasses will be used as the default priority.";
const POLICY: &str = "preemptionPolicy is the Policy for preempting pods with lower priority. One of Never, PreemptLowerPriority. \
    Defaults to PreemptLowerPriority if unset.";
/// What names of the system's own classes begin with.
const SYSTEM: &str = "system-";
/// The highest priority that users may give.
const HIGHEST: i32 = 1_000_000_000;

/// A class that every cluster has.
pub struct SystemClass {
    /// Its name.
    pub name: &'static str,
    /// Its priority.
    pub value: i32,
    /// What it is for.
    pub description: &'static str,
}

/// The classes that every cluster has; they can't be changed in value or deleted.
///
/// Source: <https://kubernetes.io/docs/tasks/administer-cluster/guaranteed-scheduling-critical-addon-pods/>
pub const SYSTEM_CLASSES: &[SystemClass] = &[
    SystemClass {
        name: "system-node-critical",
        value: 2 * HIGHEST + 1000,
        description: "Used for system critical pods that must not be moved from their current node.",
    },
    SystemClass {
        name: "system-cluster-critical",
        value: 2 * HIGHEST,
        description: "Used for system critical pods that must run in the cluster, but can be moved to another node if \
                      necessary.",
    },
];

impl Rules for PriorityClass {
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::integer("Value", VALUE, |it, _| it.value.unwrap_or_default().into()),
        table::truth("Global-Default", GLOBAL_DEFAULT, |it, _| it.global_default.unwrap_or_default().into()),
        table::age(),
        table::text("PreemptionPolicy", POLICY, |it, _| text(&it.preemption_policy).into()),
    ];

    fn fill_defaults(&mut self) {
        self.preemption_policy.get_or_insert_with(|| "PreemptLowerPriority".to_owned());
    }

    fn prepare(&mut self, old: Option<&Self>, _: Write) {
        if old.is_none() {
            self.metadata.generation = Some(1);
        }
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let (value_at, policy_at) = (Path::root("value"), Path::root("preemptionPolicy"));
        let policy = &self.preemption_policy;
        if let Some(old) = old {
            if value(self) != value(old) {
                errors.forbidden(&value_at, "may not be changed in an update.");
            }
            if *policy != old.preemption_policy {
                let shown = policy.as_deref().map_or(Value::Null, Value::from);
                errors.invalid(&policy_at, shown, "field is immutable");
            }
            return errors.into_vec();
        }
        if text(&self.metadata.name).starts_with(SYSTEM) {
            if let Err(why) = is_known(self) {
                let why = format!(
                    "priority class names with '{SYSTEM}' prefix are reserved for system use only. error: {why}"
                );
                errors.forbidden(&Path::root("metadata").child("name"), &why);
            }
        } else if value(self) > HIGHEST {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.forbidden(&value_at, &why);
        }
        if let Some(policy) = policy {
            errors.filled_one_of(&policy_at, policy, PREEMPTION_POLICIES);
        }
        errors.into_vec()
    }
}

fn value(class: &PriorityClass) -> i32 {
    class.value.unwrap_or_default()
}

fn is_known(class: &PriorityClass) -> Result<(), String> {
    let name = text(&class.metadata.name);
    let Some(known) = SYSTEM_CLASSES.iter().find(|known| known.name == name) else {
        return Err(format!("{name} is not a known system priority class"));
    };
    if value(class) != known.value {
        return Err(format!("value of {name} PriorityClass must be {}", known.value));
    }
    if class.global_default == Some(true) {
        return Err(format!("globalDefault of {name} PriorityClass must be false"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    #[test]
    fn names_of_the_system_are_its_own() {
        let said = |name: &str, value| {
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let class = PriorityClass { metadata, value: Some(value), ..PriorityClass::default() };
            let errors = class.validate(None, Write::Main);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(said("system-node-critical", 2_000_001_000), "");
        assert_eq!(said("mine", 1_000_000_000), "");
        let reserved = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system \
                        use only. error: ";
        for (name, value, why) in [
            ("system-x", 1, "system-x is not a known system priority class"),
            ("system-node-critical", 1, "value of system-node-critical PriorityClass must be 2000001000"),
        ] {
            assert_eq!(said(name, value), format!("{reserved}{why}"));
        }
        let most = "value: Forbidden: maximum allowed value of a user defined priority is 1000000000";
        assert_eq!(said("mine", 1_000_000_001), most);
    }
}
