//! The order of a merged list: items of the patch in its order, those of the server where they were.

use std::collections::{BTreeMap, HashMap};

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
    let (order, server) = (places(order, key), places(server, key));
    let (named, others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| order.contains_key(&identity(item, key)));
    let named = sorted(named, |item| order.get(&identity(item, key)).copied());
    let others = sorted(others, |item| server.get(&identity(item, key)).copied());
    Ok(interleave(others, named, |item| server.get(&identity(item, key)).copied()))
}

/// What two items that are the same have in common.
fn identity<'a>(item: &'a Value, key: Option<&str>) -> Option<&'a Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

/// Where in a list the first of equal items stands.
fn places<'a>(list: &'a [Value], key: Option<&str>) -> HashMap<Option<&'a Value>, usize> {
    let mut places = HashMap::with_capacity(list.len());
    for (place, item) in list.iter().enumerate() {
        places.entry(identity(item, key)).or_insert(place);
    }
    places
}

/// Sorts by place. An item without a place goes to the front, as it does in upstream's sorting by insertion: there it goes
/// before every left neighbour. One with a place goes behind the last that is not after it.
fn sorted(items: Vec<Value>, place: impl Fn(&Value) -> Option<usize>) -> Vec<Value> {
    // A list of who follows whom, so that nothing is moved; the last of equal places by place.
    let (mut first, mut follower) = (None, vec![None; items.len()]);
    let mut last_at = BTreeMap::new();
    for (number, item) in items.iter().enumerate() {
        let place = place(item);
        let left = place.and_then(|place| last_at.range(..=place).next_back().map(|(_, left)| *left));
        let after = match left {
            Some(left) => &mut follower[left],
            None => &mut first,
        };
        let next = after.replace(number);
        follower[number] = next;
        last_at.extend(place.map(|place| (place, number)));
    }
    let mut items: Vec<Option<Value>> = items.into_iter().map(Some).collect();
    std::iter::successors(first, |number| follower[*number]).filter_map(|number| items[number].take()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Upstream's sorting, word for word: compare with the left neighbour, swap, go on.
    fn by_insertion(items: &mut [Value], place: impl Fn(&Value) -> Option<usize>) {
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

    #[test]
    fn items_end_where_upstream_puts_them() {
        // Every list of five out of these, where 0 stands for an item without a place.
        for number in 0..4_usize.pow(5) {
            let items: Vec<Value> =
                (0..5).map(|at| Value::from(vec![number / 4_usize.pow(at) % 4, at as usize])).collect();
            let place = |item: &Value| item[0].as_u64().filter(|place| *place > 0).map(|place| place as usize);
            let mut want = items.clone();
            by_insertion(&mut want, place);
            assert_eq!(sorted(items, place), want);
        }
    }
}
