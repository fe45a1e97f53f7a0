//! Whether the rules of an object cost no more than they may, counted before they run.

use kube_cel::CompiledSchema;
use serde_json::Value;

use crate::cel::budget::{BUDGET, Scope, Sizes};

/// Whether the rules of a schema take no more steps over an object than they may.
pub(super) fn is_affordable(schema: &CompiledSchema, object: &Value, old: Option<&Value>) -> bool {
    let sizes = Sizes::default();
    all(schema, object, old, &sizes, BUDGET).is_some()
}

/// What is left of a budget after the rules of a schema, and of what is below it.
fn all(schema: &CompiledSchema, value: &Value, old: Option<&Value>, sizes: &Sizes, budget: u64) -> Option<u64> {
    let scope = Scope::new(value, sizes, [("self", Some(value)), ("oldSelf", old)]);
    let rules = schema.validations.iter().flatten();
    let mut programs = rules.flat_map(|rule| std::iter::once(&rule.program).chain(rule.message_program.as_ref()));
    let mut left = programs.try_fold(budget, |left, one| left.checked_sub(scope.steps(&one.expression().expr)))?;
    let branches = schema.all_of.iter().chain(&schema.one_of).chain(&schema.any_of);
    for branch in branches {
        left = all(branch, value, old, sizes, left)?;
    }
    match value {
        Value::Array(items) => {
            let Some(inner) = &schema.items else { return Some(left) };
            let old = |at: usize| old.and_then(|old| old.get(at));
            items.iter().enumerate().try_fold(left, |left, (at, item)| all(inner, item, old(at), sizes, left))
        }
        Value::Object(map) => map.iter().try_fold(left, |left, (name, value)| {
            let inner = schema.properties.get(name).or(schema.additional_properties.as_deref());
            let old = old.and_then(|old| old.get(name));
            inner.map_or(Some(left), |inner| all(inner, value, old, sizes, left))
        }),
        _ => Some(left),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn affordable(rule: &str, value: &Value) -> bool {
        let list = json!({"type": "array", "items": {"type": "object", "properties": {"b": {"type": "array", "items": {"type": "integer"}}}}});
        let schema = json!({"type": "object", "properties": {"a": list, "c": {"type": "array", "items": {"type": "integer"}},
            "s": {"type": "string"}}, "x-kubernetes-validations": [{"rule": rule}]});
        is_affordable(&kube_cel::compile_schema(&schema), value, None)
    }

    #[test]
    fn loops_in_loops_cost_what_they_run_through() {
        let long = json!({"a": [{"b": []}, {"b": [1, 2, 3]}], "c": vec![1; 100_000], "s": "x".repeat(100_000)});
        for (rule, want) in [
            ("self.c.all(x, x > 0)", true),
            ("self.c.all(x, self.a.all(y, size(y.b) < x))", true),
            ("self.a.all(x, x.b.all(y, self.c.all(z, y < z)))", true),
            ("self.c.all(x, self.c.all(y, x == y))", false),
            ("self.c.all(x, self.c.exists(y, self.c.exists(z, x + y == z)))", false),
            ("self.c.map(x, x + 1).size() > 0", false),
            ("self.c.filter(x, x > 1).size() > 0", false),
            ("self.a.map(x, x.b).size() > 0", true),
            ("self.s.split('').all(x, self.s.split('').all(y, x == y))", false),
            ("self.none.all(x, self.none.all(y, x == y))", true),
            ("(self.c + self.c).all(x, self.c.all(y, x == y))", false),
            ("[1, 2, 3].all(x, self.c.all(y, y > x))", true),
        ] {
            assert_eq!(affordable(rule, &long), want, "{rule}");
        }
    }
}
