//! kubectl, unmodified, against a cluster that `kprov up` made. Needs root, kubectl and Debian's packages.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apply;
mod claims;
mod commands;
mod definitions;
mod demo;
mod heal;
mod image;
mod ingress;
mod loss;
mod services;
mod streams;
mod workloads;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use kprov_tests::cluster::TestCluster;
use kprov_tests::images;

const KPROV: &str = env!("CARGO_BIN_EXE_kprov-under-test");

/// A cluster with images of the tutorials in it.
fn cluster(name: &str, nodes: u32, files: &[&str]) -> TestCluster {
    cluster_with(name, &["--nodes", &nodes.to_string()], files)
}

/// The same, with arguments for `up`.
fn cluster_with(name: &str, arguments: &[&str], files: &[&str]) -> TestCluster {
    let cluster = TestCluster::up(KPROV, name, arguments).unwrap();
    for file in files {
        let archive = images::archive(file, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("images")).unwrap();
        cluster.kprov("image load", &[archive.to_str().unwrap()]).unwrap();
    }
    cluster
}

/// The body of `http://<address>/`.
fn http_get(address: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}
