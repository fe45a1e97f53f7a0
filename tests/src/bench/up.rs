//! From nothing to an API server, a cluster, an application that answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, ensure};
use http::StatusCode;

use super::Options;
use super::machine::{Stopwatch, folder};
use super::stats::Line;
use crate::cluster::TestCluster;
use crate::server::ApiServer;

/// Runs of what takes milliseconds, for each of what takes seconds.
const SHORT: usize = 4;

/// From the start of the API server's process to its first answer over HTTPS.
pub(super) async fn readyz(options: &Options) -> anyhow::Result<Vec<Line>> {
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for _ in 0..options.runs * SHORT {
        let folder = folder()?;
        for times in [&mut fresh, &mut again] {
            let clock = Stopwatch::start();
            let mut server = ApiServer::start(&options.binary, folder.path())?;
            let answer = server.ready().await?.connect().await?.get("/readyz").await?;
            times.push(clock.ms());
            ensure!(answer.status == StatusCode::OK, "{}", answer.text());
            server.end().await?;
        }
    }
    Ok(vec![
        Line::new("API server alone: exec to /readyz, new store", "ms", fresh),
        Line::new("API server alone: exec to /readyz, store that is there", "ms", again),
    ])
}

/// `kprov up --demo` on a machine without a cluster, until the demo's page is read; then `kprov down`.
pub(super) async fn demo(options: &Options) -> anyhow::Result<Vec<Line>> {
    let (mut up, mut twice, mut down) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let cluster = TestCluster::prepare(options.kprov()?, "bench-up")?;
        let clock = Stopwatch::start();
        let said = cluster.kprov("up", &["--demo"])?;
        let url = said.lines().find_map(|line| line.split("http://").nth(1)).context("up printed no URL")?;
        ensure!(get(url.trim_end_matches('/'))?.contains("Hostname:"), "the demo did not answer");
        up.push(clock.ms());
        let clock = Stopwatch::start();
        cluster.kprov("up", &[])?;
        twice.push(clock.ms());
        let clock = Stopwatch::start();
        cluster.kprov("down", &[])?;
        down.push(clock.ms());
    }
    Ok(vec![
        Line::new("cold `up --demo` to the demo answering", "ms", up),
        Line::new("second `up`", "ms", twice),
        Line::new("`down` with the demo running", "ms", down),
    ])
}

/// The answer of `http://<address>/`.
fn get(address: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address.parse::<SocketAddr>()?)?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
