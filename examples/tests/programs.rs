//! Each program sends what the same program in Python sends, and how much of its code that takes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use kprov::build::Of;
use kprov_examples::programs::{aws_auth, claim, deployment, ingress, naked_pod, service};
use serde::Serialize;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The bodies that a Python program posts, as `tools/python_requests.py` kept them.
fn theirs(program: &str) -> Value {
    let kept = fs::read_to_string(folder().join("python/requests.json")).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let posts = kept[program].as_array().unwrap().iter().filter(|request| request["method"] == "POST");
    posts.map(|request| request["body"].clone()).collect()
}

#[track_caller]
fn check(program: &str, ours: impl Serialize) {
    assert_eq!(json!([ours]), theirs(program));
}

#[test]
fn a_naked_pod() {
    check("naked_pod", naked_pod::pod());
}

#[test]
fn a_deployment() {
    check("deployment", deployment::deployment());
}

/// The Python program also spells out `protocol: TCP`, which is what a port without one has.
#[test]
fn a_service() {
    let mut ours = serde_json::to_value(service::service()).unwrap();
    let port = ours["spec"]["ports"][0].as_object_mut().unwrap();
    assert_eq!(port.insert("protocol".to_owned(), json!("TCP")), None);
    check("service", ours);
}

#[test]
fn an_ingress() {
    check("ingress", ingress::ingress());
}

#[test]
fn a_claim_and_the_deployment_that_mounts_it() {
    let ours = claim::application();
    let sent: Value = ours.in_order().into_iter().map(|object| Value::Object(object.map().clone())).collect();
    assert_eq!(sent, theirs("claim"));
}

#[test]
fn the_config_map_of_an_eks_cluster() {
    check("aws_auth", aws_auth::config_map("arn:aws:iam::012345678901:role/nodes".checked()));
}

/// Lines of code of a program.
struct Length {
    /// Its name here.
    name: &'static str,
    /// In Rust.
    rust: usize,
    /// In `python/`, for today's API.
    python: usize,
    /// As the tutorial published it for Kubernetes 1.11, if it did; not stored here. Of `create_nodes.py`, the part that
    /// talks to Kubernetes.
    ///
    /// Source: <https://github.com/christianb93/Kubernetes> at 47d0e7c, counted by the same rule.
    published: Option<usize>,
}

const LENGTHS: &[Length] = &[
    Length { name: "naked_pod", rust: 9, python: 10, published: None },
    Length { name: "deployment", rust: 9, python: 20, published: Some(22) },
    Length { name: "service", rust: 9, python: 14, published: Some(21) },
    Length { name: "ingress", rust: 10, python: 22, published: Some(20) },
    Length { name: "claim", rust: 15, python: 34, published: Some(36) },
    Length { name: "aws_auth", rust: 10, python: 20, published: Some(22) },
];

#[test]
fn the_lengths_are_as_stated() {
    for stated in LENGTHS {
        let rust = lines_of_code(&folder().join(format!("examples/{}.rs", stated.name)), &["//"]);
        let python = lines_of_code(&folder().join(format!("python/{}.py", stated.name)), &["#", "\"\"\""]);
        assert_eq!((rust, python), (stated.rust, stated.python), "{}", stated.name);
    }
}

#[test]
fn what_was_published_is_twice_as_long() {
    let published = LENGTHS.iter().filter_map(|row| Some((row.name, row.rust, row.published?)));
    let longer: Vec<_> = published.clone().filter(|(_, rust, python)| 2 * rust > *python).map(|row| row.0).collect();
    assert!(longer.is_empty(), "{longer:?}");
    let together = published.fold((0, 0), |sum, row| (sum.0 + row.1, sum.1 + row.2));
    assert_eq!(together, (53, 121), "as the README says");
}

/// Lines that are neither blank nor comments; a text of documentation is a line in these programs.
fn lines_of_code(path: &Path, comments: &[&str]) -> usize {
    let text = fs::read_to_string(path).unwrap();
    let is_code = |line: &&str| !line.is_empty() && !comments.iter().any(|mark| line.starts_with(mark));
    text.lines().map(str::trim).filter(is_code).count()
}
