//! Holds the house to its layout: which room may know which.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "asks cargo what the workspace looks like")]

mod examples;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// For each crate, the crates of ours that it may depend on.
const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("kprov-schema", &[]),
    ("kprov", &["kprov-schema"]),
    ("kprov-control-plane", &["kprov-schema"]),
    ("kprov-node", &["kprov-schema", "kprov-control-plane"]),
    ("kprov-cli", &["kprov-schema", "kprov", "kprov-control-plane", "kprov-node"]),
    ("kprov-examples", &["kprov", "kprov-control-plane", "kprov-node", "kprov-cli"]),
    ("kprov-tests", &["kprov-schema", "kprov", "kprov-control-plane", "kprov-node", "kprov-cli"]),
];

/// For each room of the control plane, the rooms that it may use.
const CONTROL_PLANE: &[(&str, &[&str])] = &[
    ("world", &[]),
    ("store", &["world"]),
    ("client", &[]),
    ("pki", &["world"]),
    ("api", &["store", "client", "pki", "world"]),
    ("informer", &["client", "world"]),
    ("controllers", &["client", "informer", "world"]),
    ("scheduler", &["client", "informer", "world", "controllers"]),
];

/// What the node agent may use of the control plane: what would also work over a network.
const NODE_USES: &[&str] = &["client", "informer", "world"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The names behind every `<prefix>` in a file, outside of its comments.
fn uses(path: &Path, prefix: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let names = code.split(prefix).skip(1);
    names.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

fn manifests() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap();
    let out = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice::<Value>(&out.stdout).unwrap()["packages"].as_array().unwrap().clone()
}

#[test]
fn crates_only_look_down() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_DEPEND.iter().copied().collect();
    for package in manifests() {
        let name = package["name"].as_str().unwrap();
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} has no row in MAY_DEPEND"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            // A crate may name itself, to turn on its own features for its tests.
            if on != name && allowed.contains_key(on) {
                assert!(may.contains(&on), "{name} must not depend on {on}");
            }
        }
    }
}

#[test]
fn rooms_of_the_control_plane_only_look_down() {
    let allowed: BTreeMap<&str, &[&str]> = CONTROL_PLANE.iter().copied().collect();
    let src = root().join("provisioner/control-plane/src");
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        let may = allowed.get(room).unwrap_or_else(|| panic!("room {room} has no row in CONTROL_PLANE"));
        for used in uses(&path, "crate::") {
            assert!(
                !used.is_empty(),
                "{} groups its imports at the crate's root: name the rooms one by one",
                inside.display()
            );
            let fine = used == room || may.contains(&used.as_str()) || !allowed.contains_key(used.as_str());
            assert!(fine, "{} uses {used}, which {room} must not", inside.display());
        }
    }
}

#[test]
fn the_machinery_of_controllers_knows_no_controller() {
    for path in sources(&root().join("provisioner/control-plane/src/controllers/machinery")) {
        let text = fs::read_to_string(&path).unwrap();
        for way_up in ["super::super::", "crate::controllers::"] {
            let beside: Vec<&str> =
                text.split(way_up).skip(1).filter(|rest| !rest.starts_with("machinery::")).collect();
            assert!(beside.is_empty(), "{} looks at a controller through {way_up}", path.display());
        }
    }
}

#[test]
fn the_node_agent_uses_the_control_plane_as_a_client() {
    for path in sources(&root().join("provisioner/node/src")) {
        // A tests module may stand a whole server up.
        let text = fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        for used in product.split("kprov_control_plane::").skip(1) {
            let room: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(NODE_USES.contains(&room.as_str()), "{} uses control-plane::{room}", path.display());
        }
    }
}

#[test]
fn an_application_that_only_builds_gets_no_server_and_no_tls() {
    let cargo = std::env::var_os("CARGO").unwrap();
    let out = Command::new(cargo)
        .args(["tree", "--package", "kprov", "--edges", "normal", "--prefix", "none", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let tree = String::from_utf8(out.stdout).unwrap();
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains(&"k8s-openapi") && crates.contains(&"kprov-schema"), "the tree is read: {tree}");
    for banned in NOT_IN_BUILDERS {
        let parts_of = format!("{banned}-");
        let found = crates.iter().find(|one| *one == banned || one.starts_with(&parts_of));
        assert!(found.is_none(), "kprov without features pulls {}", found.unwrap());
    }
}

/// What an application that only builds must not compile: servers, networks, TLS, AWS. Their parts (`<name>-...`) too.
const NOT_IN_BUILDERS: &[&str] = &[
    "kprov-control-plane",
    "kprov-node",
    "kprov-cli",
    "kprov-eks",
    "aws",
    "hyper",
    "h2",
    "http",
    "tower",
    "reqwest",
    "rustls",
    "ring",
    "openssl",
    "native-tls",
    "tungstenite",
    "tokio",
    "kube",
    "redb",
    "libcontainer",
    "tera",
    "clap",
];

#[test]
fn every_source_file_says_what_it_is_for() {
    for folder in ["lib", "provisioner", "examples", "tests"] {
        for path in sources(&root().join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            let first = text.lines().next().unwrap_or_default();
            assert!(first.starts_with("//! "), "{} does not begin with its sentence", path.display());
        }
    }
}

#[test]
fn nothing_unfinished_is_left() {
    // In two parts, so that this file does not find itself.
    let marks = [["to", "do!("], ["unimple", "mented!("], ["FIX", "ME"], ["#[ig", "nore"]].map(|parts| parts.concat());
    for folder in ["lib", "provisioner", "examples", "tests"] {
        for path in sources(&root().join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            for mark in &marks {
                assert!(!text.contains(mark.as_str()), "{} holds {mark}", path.display());
            }
        }
    }
}
