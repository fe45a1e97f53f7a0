//! The order of a merged list: items of the patch in its order, those of the server where they were.

use serde_json::Value;

use super::{DIRECTIVE, Failed, SET_ORDER, go_text, no_key};

/// Whether a list's items stand in the order that a `$setElementOrder` names.
pub(super) fn check(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Failed> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let want = match key {
            Some(key) => Some(item.get(key).ok_or_else(|| no_key(item, key))?),
            None => None,
        };
        let found = rest.by_ref().any(|one| match (key, want) {
            (Some(key), Some(want)) => one.get(key) == Some(want),
            _ => one == item,
        });
        if !found {
            let (patch, order) = (go_text(&Value::Array(patch.to_vec())), go_text(&Value::Array(order.to_vec())));
            let directive = SET_ORDER.trim_end_matches('/');
            return Err(Failed::Misfit(format!(
                "The order in patch list:\n{patch}\n doesn't match {directive} list:\n{order}\n"
            )));
        }
    }
    Ok(())
}

/// Brings a merged list into order: items that `order` names as it does, the others as they stood on the server.
pub(super) fn enforce(
    merged: Vec<Value>,
    order: &[Value],
    server: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, Failed> {
    let key = key.filter(|_| merged.iter().chain(order).all(Value::is_object));
    if let Some(key) = key
        && let Some(item) = merged.iter().chain(order).find(|item| item.get(key).is_none())
    {
        return Err(no_key(item, key));
    }
    let at = |list: &[Value], item: &Value| list.iter().position(|one| same(one, item, key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| at(order, item).is_some());
    sort(&mut named, |item| at(order, item));
    sort(&mut others, |item| at(server, item));
    Ok(interleave(others, named, |item| at(server, item)))
}

fn same(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) => a.get(key) == b.get(key),
        None => a == b,
    }
}

/// Sorts by place. An item without a place goes before its left neighbour, as upstream's comparison has it.
fn sort(items: &mut [Value], place: impl Fn(&Value) -> Option<usize>) {
    for end in 1..items.len() {
        for at in (1..=end).rev() {
            let before = match (place(&items[at]), place(&items[at - 1])) {
                (Some(right), Some(left)) => right < left,
                _ => true,
            };
            if !before {
                break;
            }
            items.swap(at, at - 1);
        }
    }
}

/// Merges the server's own items and the patch's: where the server knew both, its order counts, else the patch's come first.
fn interleave(others: Vec<Value>, named: Vec<Value>, place: impl Fn(&Value) -> Option<usize>) -> Vec<Value> {
    let mut all = Vec::with_capacity(others.len() + named.len());
    let (mut others, mut named) = (others.into_iter().peekable(), named.into_iter().peekable());
    while let (Some(other), Some(name)) = (others.peek(), named.peek()) {
        let other_first = matches!((place(other), place(name)), (Some(other), Some(name)) if other < name);
        all.extend(if other_first { others.next() } else { named.next() });
    }
    all.extend(others);
    all.extend(named);
    all
}
