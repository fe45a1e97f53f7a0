//! The paths of printer columns and selectable fields: Kubernetes' own dialect of JSONPath.
//!
//! Fields (`.a`, `['a']`, `\.` inside a name), indices, `[*]` and filters such as `[?(@.type=="Ready")]`.
//! Source: <https://kubernetes.io/docs/reference/kubectl/jsonpath/>

use serde_json::Value;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Where { path: Vec<Step>, equal: bool, value: Value },
}

impl Path {
    /// Reads a path such as `.spec.ports[*].port`. Errors say what is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.strip_prefix("{").and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        if !trimmed.starts_with(['.', '[']) {
            return Err("must be a simple json path starting with .".to_owned());
        }
        steps(trimmed).map(Self)
    }

    /// The values that it leads to.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        find(&self.0, value)
    }
}

fn find<'a>(steps: &[Step], value: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![value];
    for step in steps {
        found = found.into_iter().flat_map(|value| walk(step, value)).collect();
    }
    found
}

fn walk<'a>(step: &Step, value: &'a Value) -> Vec<&'a Value> {
    match (step, value) {
        (Step::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
        (Step::Index(index), Value::Array(items)) => {
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let at = if *index < 0 { length + index } else { *index };
            usize::try_from(at).ok().and_then(|at| items.get(at)).into_iter().collect()
        }
        (Step::All, Value::Array(items)) => items.iter().collect(),
        (Step::All, Value::Object(map)) => map.values().collect(),
        (Step::Where { path, equal, value: want }, Value::Array(items)) => {
            items.iter().filter(|item| find(path, item).first().is_some_and(|one| (*one == want) == *equal)).collect()
        }
        _ => Vec::new(),
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    let (mut steps, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (step, next) = if let Some(inside) = rest.strip_prefix('[') {
            let end = closing(inside).ok_or_else(|| format!("unterminated array: {text}"))?;
            (bracket(&inside[..end])?, &inside[end + 1..])
        } else {
            field(rest.strip_prefix('.').unwrap_or(rest))
        };
        steps.extend(step);
        rest = next;
    }
    Ok(steps)
}

/// Where the bracket ends that a text is inside of; brackets in quotes and filters do not count.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')') => depth -= 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn field(text: &str) -> (Option<Step>, &str) {
    let (mut name, mut chars) = (String::new(), text.char_indices());
    let end = loop {
        match chars.next() {
            None => break text.len(),
            Some((_, '\\')) => name.extend(chars.next().map(|(_, escaped)| escaped)),
            Some((at, '.' | '[')) => break at,
            Some((_, c)) => name.push(c),
        }
    };
    let step = match name.as_str() {
        "" => None,
        "*" => Some(Step::All),
        _ => Some(Step::Field(name)),
    };
    (step, &text[end..])
}

fn bracket(inside: &str) -> Result<Option<Step>, String> {
    let unquoted = |text: &str| {
        let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        text.strip_prefix(quote)?.strip_suffix(quote).map(ToOwned::to_owned)
    };
    if inside == "*" {
        return Ok(Some(Step::All));
    }
    if let Some(name) = unquoted(inside) {
        return Ok(Some(Step::Field(name)));
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        let (equal, sign) = if filter.contains("!=") { (false, "!=") } else { (true, "==") };
        let (path, value) = filter.split_once(sign).ok_or_else(|| format!("unrecognized filter {filter}"))?;
        let path = path.trim().strip_prefix('@').ok_or_else(|| format!("unrecognized filter {filter}"))?;
        let value = value.trim();
        let value = match unquoted(value) {
            Some(text) => Value::from(text),
            None => serde_json::from_str(value).map_err(|_| format!("unrecognized value {value}"))?,
        };
        return Ok(Some(Step::Where { path: steps(path)?, equal, value }));
    }
    inside.parse().map(|index| Some(Step::Index(index))).map_err(|_| format!("invalid array index {inside}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let value = json!({"a": {"b.c": 1, "list": [{"t": "x", "v": 2}, {"t": "y", "v": 3}]}});
        for (path, want) in [
            (".a.b\\.c", vec![json!(1)]),
            (".a['b.c']", vec![json!(1)]),
            (".a.list[*].v", vec![json!(2), json!(3)]),
            (".a.list[1].v", vec![json!(3)]),
            (".a.list[-1].t", vec![json!("y")]),
            (".a.list[?(@.t==\"x\")].v", vec![json!(2)]),
            (".a.list[?(@.t!='x')].v", vec![json!(3)]),
            (".a.absent.deeper", vec![]),
        ] {
            let found: Vec<Value> = Path::parse(path).unwrap().find(&value).into_iter().cloned().collect();
            assert_eq!(found, want, "{path}");
        }
        assert!(Path::parse("spec").is_err() && Path::parse(".a[").is_err());
    }
}
