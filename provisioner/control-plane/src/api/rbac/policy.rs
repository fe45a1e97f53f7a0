//! The roles and bindings that every cluster has, kept as data in `policy.txt`.

use kprov_schema::Object;
use serde_json::{Map, Value, json};

const POLICY: &str = include_str!("policy.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
/// The annotation of what is brought up to date when the server starts, unless somebody sets it to `false`.
pub(crate) const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The objects, in the order of the data. Errors name the line that can't be read.
pub(crate) fn objects() -> Result<Vec<Object>, String> {
    let mut all: Vec<Value> = Vec::new();
    for (at, line) in POLICY.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let done = match (words.as_slice(), all.last_mut()) {
            (["role" | "binding", ..], _) => head(&words).map(|object| all.push(object)),
            (_, Some(object)) => detail(object, &words),
            (_, None) => None,
        };
        done.ok_or_else(|| format!("line {} of the default roles can't be read: {line}", at + 1))?;
    }
    all.into_iter().map(|object| Object::try_from(object).map_err(|error| error.to_string())).collect()
}

fn head(words: &[&str]) -> Option<Value> {
    let (place, name, kind, role) = match words {
        ["role", place, name] => (*place, *name, "Role", None),
        ["binding", place, name, kind, role] => (*place, *name, "RoleBinding", Some((*kind, *role))),
        _ => return None,
    };
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTO_UPDATE: "true"},
    });
    let mut kind = kind.to_owned();
    if place == "cluster" {
        kind.insert_str(0, "Cluster");
    } else {
        metadata["namespace"] = place.into();
    }
    let mut object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata});
    if let Some((kind, role)) = role {
        object["roleRef"] = json!({"apiGroup": GROUP, "kind": kind, "name": role});
    }
    Some(object)
}

fn detail(object: &mut Value, words: &[&str]) -> Option<()> {
    let listed = |text: &str| -> Value { text.split(',').collect() };
    let groups =
        |text: &str| -> Value { text.split(',').map(|group| if group == "core" { "" } else { group }).collect() };
    match words {
        ["label", key, value] => object["metadata"]["labels"][key] = (*value).into(),
        ["gathers", key, value] => {
            let mut labels = Map::new();
            labels.insert((*key).to_owned(), Value::from(*value));
            push(&mut object["aggregationRule"]["clusterRoleSelectors"], json!({"matchLabels": labels}));
        }
        ["allow", verbs, "to", paths] => {
            push(&mut object["rules"], json!({"verbs": listed(verbs), "nonResourceURLs": listed(paths)}));
        }
        ["allow", verbs, "on", group, resources, rest @ ..] => {
            let mut rule = json!({"verbs": listed(verbs), "apiGroups": groups(group), "resources": listed(resources)});
            match rest {
                [] => {}
                ["named", names] => rule["resourceNames"] = listed(names),
                _ => return None,
            }
            push(&mut object["rules"], rule);
        }
        ["subject", "ServiceAccount", account] => {
            let (namespace, name) = account.split_once('/')?;
            push(&mut object["subjects"], json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
        }
        ["subject", kind, name] => {
            push(&mut object["subjects"], json!({"kind": kind, "apiGroup": GROUP, "name": name}));
        }
        _ => return None,
    }
    Some(())
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

/// An object that is there, with what it lacks of the default one; `None` when it lacks nothing.
///
/// What somebody added stays. Source: `pkg/registry/rbac/reconciliation`.
pub(crate) fn completed(found: &Object, wanted: &Object) -> Option<Object> {
    if found.annotation(AUTO_UPDATE) == Some("false") {
        return None;
    }
    let mut object = found.clone();
    for map in ["labels", "annotations"] {
        for (key, value) in wanted.at(&["metadata", map]).and_then(Value::as_object).into_iter().flatten() {
            object.set(&["metadata", map, key], value.clone());
        }
    }
    if wanted.at(&["aggregationRule"]).is_some() {
        lists(&mut object, wanted, &["aggregationRule", "clusterRoleSelectors"]);
    } else {
        lists(&mut object, wanted, &["rules"]);
    }
    lists(&mut object, wanted, &["subjects"]);
    (object != *found).then_some(object)
}

fn lists(object: &mut Object, wanted: &Object, path: &[&str]) {
    let items = |object: &Object| object.at(path).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = items(object);
    let missing: Vec<Value> = items(wanted).into_iter().filter(|item| !all.contains(item)).collect();
    if !missing.is_empty() {
        all.extend(missing);
        object.set(path, all.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_whole() {
        let objects = objects().unwrap();
        let of = |kind: &str| objects.iter().filter(|object| object.kind() == kind).count();
        assert_eq!(
            (of("ClusterRole") > 60, of("ClusterRoleBinding") > 50, of("Role"), of("RoleBinding")),
            (true, true, 7, 7)
        );
        let admin = objects.iter().find(|object| object.name() == "cluster-admin").unwrap();
        assert_eq!(
            admin.at(&["rules"]),
            Some(&json!([
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ]))
        );
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_more_stays() {
        let objects = objects().unwrap();
        let wanted = objects.iter().find(|object| object.name() == "cluster-admin").unwrap();
        assert_eq!(completed(wanted, wanted), None);
        let mut found = wanted.clone();
        let own = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        found.set(&["rules"], json!([own]));
        let done = completed(&found, wanted).unwrap();
        assert_eq!(done.at(&["rules"]).unwrap().as_array().unwrap().len(), 3);
        found.set(&["metadata", "annotations", AUTO_UPDATE], "false".into());
        assert_eq!(completed(&found, wanted), None);
    }
}
