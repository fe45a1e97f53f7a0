//! Fields of a pod as `fieldRef` names them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

/// The value of a field. Maps (`metadata.labels`) are one `key="value"` a line.
///
/// Errors: a text for the pod's status. Source: <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>
pub fn field(pod: &Pod, path: &str) -> Result<String, String> {
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => &pod.metadata.labels,
            "metadata.annotations" => &pod.metadata.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(values.as_ref().and_then(|values| values.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let value = match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        "metadata.uid" => pod.metadata.uid.clone(),
        "metadata.labels" => Some(lines(pod.metadata.labels.as_ref())),
        "metadata.annotations" => Some(lines(pod.metadata.annotations.as_ref())),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" => status.and_then(|status| status.host_ip.clone()),
        "status.hostIPs" => status
            .map(|status| status.host_ips.iter().flatten().map(|one| one.ip.as_str()).collect::<Vec<_>>().join(",")),
        "status.podIP" => status.and_then(|status| status.pod_ip.clone()),
        "status.podIPs" => status
            .map(|status| status.pod_ips.iter().flatten().map(|one| one.ip.as_str()).collect::<Vec<_>>().join(",")),
        _ => return Err(unsupported(path)),
    };
    Ok(value.unwrap_or_default())
}

fn unsupported(path: &str) -> String {
    format!("unsupported fieldPath: {path}")
}

/// `metadata.labels['a']` as the map and the key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// Values are quoted as Go quotes a string.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let quoted = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quote(value)));
    quoted.collect::<Vec<_>>().join("\n")
}

fn quote(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_pod() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": {"a": "b", "c": "d\"e"}},
            "spec": {"containers": [], "nodeName": "n"},
            "status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
        }))
        .expect("a pod");
        let cases = [
            ("metadata.name", Ok("p")),
            ("metadata.labels['a']", Ok("b")),
            ("metadata.annotations['x']", Ok("")),
            ("metadata.labels", Ok("a=\"b\"\nc=\"d\\\"e\"")),
            ("spec.nodeName", Ok("n")),
            ("status.podIPs", Ok("10.0.0.1,fd00::1")),
            ("spec.hostname", Err("unsupported fieldPath: spec.hostname")),
        ];
        for (path, wanted) in cases {
            let got = field(&pod, path);
            assert_eq!(got.as_deref().map_err(String::as_str), wanted, "{path}");
        }
    }
}
