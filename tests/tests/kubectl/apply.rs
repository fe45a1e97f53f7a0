//! Server-side apply, as kubectl asks for it.

use super::cluster;

#[test]
fn server_side_apply_tells_owners_apart() {
    let cluster = cluster("applied", 0, &[]);
    let file = cluster.home().join("map.yaml");
    let write = |data: &str| {
        let text =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map, namespace: default}}\ndata: {data}\n");
        std::fs::write(&file, text).unwrap();
    };
    let apply = |more: &[&str]| {
        let mut arguments = vec!["apply", "--server-side", "-f", file.to_str().unwrap()];
        arguments.extend(more);
        cluster.kubectl(&arguments)
    };
    let data = || cluster.k("get configmap map -o jsonpath={.data}").unwrap();
    let owners = || {
        let path = "jsonpath={range .metadata.managedFields[*]}{.manager} {.operation};{end}";
        cluster.kubectl(&["get", "configmap", "map", "--show-managed-fields", "-o", path]).unwrap()
    };

    write("{a: one, b: one}");
    assert_eq!(apply(&[]).unwrap(), "configmap/map serverside-applied\n");
    assert_eq!(owners(), "kubectl Apply;");
    let version = || cluster.k("get configmap map -o jsonpath={.metadata.resourceVersion}").unwrap();
    let before = version();
    apply(&[]).unwrap();
    assert_eq!(version(), before, "what is applied again is not written again");

    write("{a: two}");
    let conflict = apply(&["--field-manager=other"]).unwrap_err().to_string();
    assert!(conflict.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .data.a"), "{conflict}");
    assert!(conflict.contains("--force-conflicts"), "{conflict}");
    apply(&["--field-manager=other", "--force-conflicts"]).unwrap();
    assert_eq!(data(), r#"{"a":"two","b":"one"}"#);
    let shown = apply(&["--field-manager=third", "--force-conflicts", "--dry-run=server"]).unwrap();
    assert_eq!(shown, "configmap/map serverside-applied (server dry run)\n");
    assert_eq!(owners(), "kubectl Apply;other Apply;");

    write("{c: one}");
    apply(&[]).unwrap();
    assert_eq!(data(), r#"{"a":"two","c":"one"}"#, "what nobody applies any more is gone");

    std::fs::write(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\nfoo: 1\n").unwrap();
    let unknown = apply(&[]).unwrap_err().to_string();
    assert!(unknown.contains(".foo: field not declared in schema"), "{unknown}");
}
