//! What the rules of an object cost at most, counted before they run: the interpreter itself can't be stopped.
//!
//! Source: apiserver `apis/cel/config.go` for the budget; a step is about what one unit of cost is there.

use std::cell::RefCell;
use std::collections::HashMap;

use kube_cel::CompiledSchema;
use kube_cel::cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use serde_json::Value;

/// Steps that all rules of one object may take.
const BUDGET: u64 = 10_000_000;

/// Whether the rules of a schema take no more steps over an object than they may.
pub(super) fn is_affordable(schema: &CompiledSchema, object: &Value, old: Option<&Value>) -> bool {
    let sizes = Sizes::default();
    all(schema, object, old, &sizes, BUDGET).is_some()
}

/// What is left of a budget after the rules of a schema, and of what is below it.
fn all(schema: &CompiledSchema, value: &Value, old: Option<&Value>, sizes: &Sizes, budget: u64) -> Option<u64> {
    let scope = Scope { value, old, sizes, names: Vec::new() };
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

/// How large a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    /// Items of the largest list, map or text in it, itself included.
    largest: u64,
    /// Values in it, itself included.
    values: u64,
}

/// Sizes of values of one object, each counted once.
#[derive(Default)]
struct Sizes(RefCell<HashMap<*const Value, Size>>);

impl Sizes {
    fn of(&self, value: &Value) -> Size {
        if let Some(known) = self.0.borrow().get(&std::ptr::from_ref(value)) {
            return *known;
        }
        let size = measure(value);
        self.0.borrow_mut().insert(value, size);
        size
    }
}

fn measure(value: &Value) -> Size {
    let whole = |own: u64, inner: &mut dyn Iterator<Item = &Value>| {
        inner.map(measure).fold(Size { largest: own, values: 1 }, |sum, one| Size {
            largest: sum.largest.max(one.largest),
            values: sum.values + one.values,
        })
    };
    whole(
        items(value),
        &mut value.as_array().into_iter().flatten().chain(value.as_object().into_iter().flat_map(|map| map.values())),
    )
}

/// Items of a list or map, characters of a text.
fn items(value: &Value) -> u64 {
    let count = match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        Value::String(text) => text.len(),
        _ => 0,
    };
    count as u64
}

/// What an expression leads to.
#[derive(Clone, Copy)]
enum Reach<'a> {
    /// This value.
    At(&'a Value),
    /// Something inside of this value.
    Within(&'a Value),
    /// Nothing: the field is not there.
    Nowhere,
}

/// Names that mean something at a place of a rule.
struct Scope<'a> {
    value: &'a Value,
    old: Option<&'a Value>,
    sizes: &'a Sizes,
    /// Loop variables, and what they run through.
    names: Vec<(&'a str, Reach<'a>)>,
}

impl<'a> Scope<'a> {
    /// At least as many steps as an expression takes.
    fn steps(&self, expr: &'a Expr) -> u64 {
        let inner: u64 = match expr {
            Expr::Comprehension(all) => return self.loop_steps(all),
            Expr::Call(call) => {
                let parts = call.target.iter().map(|target| &target.expr).chain(call.args.iter().map(|one| &one.expr));
                parts.map(|part| self.steps(part)).fold(0, u64::saturating_add)
            }
            Expr::Select(select) => self.steps(&select.operand.expr),
            Expr::List(list) => list.elements.iter().map(|one| self.steps(&one.expr)).fold(0, u64::saturating_add),
            Expr::Map(map) => map.entries.iter().map(|one| self.entry_steps(&one.expr)).fold(0, u64::saturating_add),
            Expr::Struct(made) => {
                made.entries.iter().map(|one| self.entry_steps(&one.expr)).fold(0, u64::saturating_add)
            }
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => 0,
        };
        inner.saturating_add(1)
    }

    fn entry_steps(&self, entry: &'a EntryExpr) -> u64 {
        match entry {
            EntryExpr::MapEntry(entry) => self.steps(&entry.key.expr).saturating_add(self.steps(&entry.value.expr)),
            EntryExpr::StructField(field) => self.steps(&field.value.expr),
        }
    }

    fn loop_steps(&self, all: &'a ComprehensionExpr) -> u64 {
        let rounds = self.items(&all.iter_range.expr);
        let range = self.reach(&all.iter_range.expr);
        let mut names = self.names.clone();
        let names_of_items = std::iter::once(all.iter_var.as_str()).chain(all.iter_var2.as_deref());
        names.extend(names_of_items.map(|name| (name, range.inside())));
        let inner = Scope { names, ..*self };
        let mut round = inner.steps(&all.loop_cond.expr).saturating_add(inner.steps(&all.loop_step.expr));
        if gathers(&all.loop_step.expr, &all.accu_var) {
            // What was gathered so far is copied in each round.
            round = round.saturating_add(rounds / 2);
        }
        // Each item is copied to its name.
        let copied = match range {
            Reach::At(value) | Reach::Within(value) => self.sizes.of(value).values,
            Reach::Nowhere => 0,
        };
        let ends = [&all.iter_range, &all.accu_init, &all.result].map(|one| self.steps(&one.expr));
        ends.into_iter().fold(rounds.saturating_mul(round).saturating_add(copied), u64::saturating_add)
    }

    /// At least as many items as the value of an expression has.
    fn items(&self, expr: &'a Expr) -> u64 {
        let of =
            |parts: &mut dyn Iterator<Item = &'a Expr>| parts.map(|part| self.items(part)).fold(0, u64::saturating_add);
        match expr {
            Expr::Literal(LiteralValue::String(text)) => text.inner().len() as u64,
            Expr::List(list) => (list.elements.len() as u64).max(of(&mut list.elements.iter().map(|one| &one.expr))),
            Expr::Map(map) => map.entries.len() as u64,
            Expr::Comprehension(all) => self.items(&all.iter_range.expr),
            Expr::Call(call) => {
                of(&mut call.target.iter().map(|target| &target.expr).chain(call.args.iter().map(|one| &one.expr)))
            }
            Expr::Ident(_) | Expr::Select(_) => match self.reach(expr) {
                Reach::At(value) => items(value),
                Reach::Within(value) => self.sizes.of(value).largest,
                Reach::Nowhere => 0,
            },
            Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => 0,
        }
    }

    fn reach(&self, expr: &'a Expr) -> Reach<'a> {
        match expr {
            Expr::Ident(name) if name == "oldSelf" => self.old.map_or(Reach::Nowhere, Reach::At),
            Expr::Ident(name) => {
                let known = self.names.iter().rev().find(|(known, _)| *known == name);
                known.map_or(Reach::At(self.value), |(_, reach)| *reach)
            }
            // Names that CEL can't write are escaped.
            Expr::Select(select) => match self.reach(&select.operand.expr) {
                Reach::At(value) if !select.field.contains("__") => {
                    value.get(&select.field).map_or(Reach::Nowhere, Reach::At)
                }
                Reach::At(value) => Reach::Within(value),
                other => other,
            },
            Expr::Call(call) if call.func_name == "_[_]" => match call.args.first() {
                Some(list) => self.reach(&list.expr).inside(),
                None => Reach::Within(self.value),
            },
            _ => Reach::Within(self.value),
        }
    }
}

impl Reach<'_> {
    fn inside(self) -> Self {
        match self {
            Self::At(value) => Self::Within(value),
            other => other,
        }
    }
}

/// Whether an expression puts something to what a loop has gathered.
fn gathers(expr: &Expr, gathered: &str) -> bool {
    let is_it = |expr: &Expr| matches!(expr, Expr::Ident(name) if name == gathered);
    match expr {
        Expr::Call(call) => {
            let adds = call.func_name == "_+_" && call.args.iter().any(|one| is_it(&one.expr));
            adds || call.args.iter().any(|one| gathers(&one.expr, gathered))
        }
        _ => false,
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

    #[test]
    fn sizes_are_of_everything_inside() {
        let value = json!({"a": [1, 2, 3], "b": {"c": "text"}});
        assert_eq!(measure(&value), Size { largest: 4, values: 7 });
    }
}
