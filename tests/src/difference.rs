//! Where two JSON values part.

use serde_json::Value;

/// The first place where `got` differs from `want`, and how; `at` is put before its path.
///
/// Example: `.spec.replicas is 2, want 3`. Empty when two objects are equal.
#[must_use]
pub fn first(want: &Value, got: &Value, at: &str) -> String {
    match (want, got) {
        (Value::Object(x), Value::Object(y)) => {
            for key in x.keys().chain(y.keys()) {
                let place = format!("{at}.{key}");
                match (x.get(key), y.get(key)) {
                    (Some(x), None) => return format!("{place} missing, want {x}"),
                    (None, Some(y)) => return format!("{place} is {y}, want nothing"),
                    (Some(x), Some(y)) if x != y => return first(x, y, &place),
                    _ => {}
                }
            }
            String::new()
        }
        (Value::Array(x), Value::Array(y)) => match x.iter().zip(y).position(|(x, y)| x != y) {
            Some(index) => first(&x[index], &y[index], &format!("{at}[{index}]")),
            None => format!("{at} has {} items, want {}", y.len(), x.len()),
        },
        _ => format!("{at} is {got}, want {want}"),
    }
}
