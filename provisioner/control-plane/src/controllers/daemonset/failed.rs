//! How long a failed pod of a DaemonSet stays before it is replaced: longer each time, so that a node that refuses it is
//! not asked without end.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kprov_schema::{Object, Uid};

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(15 * 60);

/// A set in one generation, on one node.
type Place = (Uid, i64, String);

/// When pods of a set were last replaced on a node, and how long the next one waits.
#[derive(Default)]
pub(super) struct Failed {
    by_node: Mutex<HashMap<Place, (Timestamp, Duration)>>,
}

impl Failed {
    /// Until when a failed pod has to stay; `None` lets it go now, and the next one waits longer.
    ///
    /// A change of the set, and twice the longest wait without a failure, start it anew.
    pub(super) fn until(&self, set: &Object, node: &str, now: Timestamp) -> Option<Timestamp> {
        let mut by_node = self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
        by_node.retain(|_, (last, _)| *last + LAST * 2 > now);
        let key = (set.uid(), set.generation(), node.to_owned());
        let delay = match by_node.get(&key) {
            Some((last, delay)) if *last + *delay > now => return Some(*last + *delay),
            Some((_, delay)) => (*delay * 2).min(LAST),
            None => FIRST,
        };
        by_node.insert(key, (now, delay));
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_failure_waits_twice_as_long_as_the_one_before() {
        let set = Object::try_from(json!({"metadata": {"uid": "u", "generation": 1}})).unwrap();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let failed = Failed::default();
        let cases =
            [(0, None), (0, Some(1)), (1, None), (2, Some(3)), (3, None), (4, Some(7)), (7, None), (9000, None)];
        for (now, until) in cases {
            assert_eq!(failed.until(&set, "n1", at(now)), until.map(at), "{now}");
        }
        assert_eq!(failed.until(&set, "n1", at(9000)), Some(at(9001)), "it was quiet for long: it starts anew");
        assert_eq!(failed.until(&set, "n2", at(9000)), None);
    }
}
