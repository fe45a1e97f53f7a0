//! What expressions cost at most, counted before they run: the interpreter itself can't be stopped.
//!
//! Source: apiserver `apis/cel/config.go` for the budget; a step is about what one unit of cost is there.

use std::cell::RefCell;
use std::collections::HashMap;

use kube_cel::cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use serde_json::Value;

/// Steps that all expressions about one object may take.
pub(crate) const BUDGET: u64 = 10_000_000;

/// Steps that a question of what somebody may do counts for.
const CHECK: u64 = 350_000;

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
pub(crate) struct Sizes(RefCell<HashMap<*const Value, Size>>);

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

/// Names that mean something at a place of an expression.
pub(crate) struct Scope<'a> {
    /// What holds everything that can be reached.
    whole: &'a Value,
    sizes: &'a Sizes,
    /// Loop variables and what they run through, behind the names that are given.
    names: Vec<(&'a str, Reach<'a>)>,
}

impl<'a> Scope<'a> {
    /// A scope of names; those of nothing lead nowhere.
    pub(crate) fn new(
        whole: &'a Value,
        sizes: &'a Sizes,
        names: impl IntoIterator<Item = (&'a str, Option<&'a Value>)>,
    ) -> Self {
        let reach = |value: Option<&'a Value>| value.map_or(Reach::Nowhere, Reach::At);
        Self { whole, sizes, names: names.into_iter().map(|(name, value)| (name, reach(value))).collect() }
    }

    /// The same with a name for something of which it is only known that it comes from inside.
    pub(crate) fn with(mut self, name: &'a str) -> Self {
        self.names.push((name, Reach::Within(self.whole)));
        self
    }

    /// At least as many steps as an expression takes.
    pub(crate) fn steps(&self, expr: &'a Expr) -> u64 {
        let inner: u64 = match expr {
            Expr::Comprehension(all) => return self.loop_steps(all),
            Expr::Call(call) => {
                let parts = call.target.iter().map(|target| &target.expr).chain(call.args.iter().map(|one| &one.expr));
                let asks = call.target.is_some() && call.func_name == "check";
                parts.map(|part| self.steps(part)).fold(if asks { CHECK } else { 0 }, u64::saturating_add)
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
            Expr::Ident(name) => {
                let known = self.names.iter().rev().find(|(known, _)| *known == name);
                known.map_or(Reach::At(self.whole), |(_, reach)| *reach)
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
                None => Reach::Within(self.whole),
            },
            _ => Reach::Within(self.whole),
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

    #[test]
    fn sizes_are_of_everything_inside() {
        let value = json!({"a": [1, 2, 3], "b": {"c": "text"}});
        assert_eq!(measure(&value), Size { largest: 4, values: 7 });
    }
}
