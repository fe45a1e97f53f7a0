//! `kprov apply` and `kprov delete` as users type them.
#![allow(clippy::disallowed_types, reason = "starts kprov as a user does")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{KPROV, Server};

fn kprov(kubeconfig: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(KPROV);
    command.args(arguments).arg("--kubeconfig").arg(kubeconfig).stdin(Stdio::null());
    command
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, error) = texts(&output);
    assert!(output.status.success(), "{error}");
    out
}

fn failed(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    texts(&output)
}

#[tokio::test]
async fn folders_files_and_standard_input() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (root, kubeconfig) = (folder.path(), server.kubeconfig());
    fs::create_dir(root.join("inner")).unwrap();
    fs::write(root.join("a.yaml"), "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").unwrap();
    fs::write(root.join("inner/b.yaml"), "{apiVersion: v1, kind: Namespace, metadata: {name: b}}").unwrap();
    let path = root.to_str().unwrap();
    let dry = said(&mut kprov(&kubeconfig, &["apply", "-f", path, "-R", "--dry-run"]));
    assert_eq!(dry, "Namespace b created (dry run)\nConfigMap default/a created (dry run)\n");
    assert_eq!(said(&mut kprov(&kubeconfig, &["apply", "-f", path])), "ConfigMap default/a created\n");
    let all = said(&mut kprov(&kubeconfig, &["apply", "-f", path, "-R", "--wait"]));
    assert_eq!(all, "Namespace b created\nConfigMap default/a unchanged\nNamespace b ready\n");

    let mut command = kprov(&kubeconfig, &["apply", "-n", "b", "-f", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let list = "kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s}}\n";
    child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    assert_eq!(texts(&child.wait_with_output().unwrap()).0, "Secret b/s created\n");

    let file = root.join("a.yaml");
    let file = file.to_str().unwrap();
    fs::write(file, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {colour: blue}}").unwrap();
    let (different, _) = failed(&mut kprov(&kubeconfig, &["diff", "-f", file]));
    assert!(different.contains("ConfigMap/a") && different.contains("colour"), "{different}");
    assert!(!different.contains('\x1b'), "no colours for what is no terminal");
    said(&mut kprov(&kubeconfig, &["apply", "-f", file]));
    assert_eq!(said(&mut kprov(&kubeconfig, &["diff", "-f", file])), "");
    let unreadable = kprov(&kubeconfig, &["diff", "-f", "/nowhere.yaml"]).output().unwrap();
    assert_eq!(unreadable.status.code(), Some(2), "{unreadable:?}");

    let gone = said(&mut kprov(&kubeconfig, &["delete", "-f", file, "--wait"]));
    assert_eq!(gone, "ConfigMap default/a deleted\nConfigMap default/a gone\n");
    assert_eq!(said(&mut kprov(&kubeconfig, &["delete", "-f", file])), "ConfigMap default/a was not there\n");
}

#[tokio::test]
async fn mistakes_name_the_object_the_reason_and_the_next_step() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, kubeconfig) = (folder.path().join("a.yaml"), server.kubeconfig());
    let path = file.to_str().unwrap();
    fs::write(&file, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: nowhere}}").unwrap();
    let (out, error) = failed(&mut kprov(&kubeconfig, &["apply", "-f", path]));
    assert_eq!(out, "");
    assert!(error.starts_with("error: ConfigMap nowhere/a: namespaces \"nowhere\" not found"), "{error}");
    assert!(error.contains("error: 1 of 1 objects failed: mend what is said above"), "{error}");

    fs::write(&file, "{apiVersion: example.com/v1, kind: Widget, metadata: {name: a}}").unwrap();
    let (_, error) = failed(&mut kprov(&kubeconfig, &["apply", "-f", path]));
    assert!(error.contains("serves no kind Widget of example.com/v1"), "{error}");
    assert!(error.contains("CustomResourceDefinition"), "{error}");

    fs::write(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n").unwrap();
    said(
        Command::new("kubectl")
            .args(["apply", "--server-side", "--field-manager=painter", "-f", path])
            .env("KUBECONFIG", &kubeconfig),
    );
    fs::write(&file, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: c}}").unwrap();
    let (_, error) = failed(&mut kprov(&kubeconfig, &["apply", "-f", path]));
    assert!(error.contains("ConfigMap default/a: a field belongs to others\n  data.a -> painter"), "{error}");
    let forced = said(&mut kprov(&kubeconfig, &["apply", "-f", path, "--force-conflicts"]));
    assert_eq!(forced, "ConfigMap default/a configured\n");

    let (_, error) = failed(&mut kprov(&kubeconfig, &["apply", "-f", path, "--context", "other"]));
    assert!(error.contains("there is no context \"other\": it has "), "{error}");
    let (_, error) = failed(&mut kprov(Path::new("/nowhere/config"), &["apply", "-f", path]));
    assert!(error.contains("kubeconfig /nowhere/config"), "{error}");
}

#[tokio::test]
async fn a_server_that_has_gone_is_named() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kubeconfig");
    fs::copy(server.kubeconfig(), &kept).unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").unwrap();
    server.end().await;
    let (_, error) = failed(&mut kprov(&kept, &["apply", "-f", file.to_str().unwrap()]));
    assert!(error.contains("can't reach https://127.0.0.1:"), "{error}");
    assert!(error.contains("nothing listens there; is the cluster up?"), "{error}");
}
