//! What a cluster costs while nothing happens.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

use super::Options;
use super::machine::pass;
use super::stats::Line;
use crate::cluster::TestCluster;
use crate::remains::Marks;

/// A cluster gets so long to come to rest, then it is looked at for as long.
const REST: Duration = Duration::from_secs(10);

/// Memory and processor time of all kprov processes of a cluster, without and with the demo.
pub(super) async fn idle(options: &Options) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (what, arguments) in [("one node", &[][..]), ("one node with the demo", &["--demo"])] {
        let cluster = TestCluster::up(options.kprov()?, "bench-idle", arguments)?;
        pass(REST).await;
        let processes = Marks::of(&cluster)?.processes()?;
        let before = processor_ns(&processes)?;
        pass(REST).await;
        let used = processor_ns(&processes)? - before;
        let percent = used / REST.as_nanos() as f64 * 100.0;
        let megabytes = memory(&processes)?;
        let count = processes.len();
        lines.push(Line::new(format!("idle memory (PSS), {what}: {count} processes"), "MB", [megabytes]));
        lines.push(Line::new(format!("idle processor, {what}"), "% of a core", [percent]));
    }
    Ok(lines)
}

/// Size of the command.
pub(super) async fn size(options: &Options) -> anyhow::Result<Vec<Line>> {
    let bytes = fs::metadata(&options.binary)?.len();
    Ok(vec![Line::new("size of the binary", "MB", [bytes as f64 / 1e6])])
}

/// The proportional set size of processes in megabytes.
pub(super) fn memory(processes: &BTreeMap<i32, String>) -> anyhow::Result<f64> {
    let mut kilobytes = 0.0;
    for pid in processes.keys() {
        let text =
            fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("a process ended while it was idle")?;
        let line = text.lines().find(|line| line.starts_with("Pss:")).context("no proportional set size")?;
        kilobytes += line.split_whitespace().nth(1).context("no number")?.parse::<f64>()?;
    }
    Ok(kilobytes * 1024.0 / 1e6)
}

/// Time that the processes have run for, threads that have ended included; a tick is a hundredth of a second.
fn processor_ns(processes: &BTreeMap<i32, String>) -> anyhow::Result<f64> {
    const TICK_NS: f64 = 1e7;
    let mut ticks = 0.0;
    for pid in processes.keys() {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).context("a process ended while it was idle")?;
        // The name in parentheses may hold spaces; the times are the 14th and 15th field, counted with it.
        let (_, rest) = text.rsplit_once(')').context("no name")?;
        for field in rest.split_whitespace().skip(11).take(2) {
            ticks += field.parse::<f64>()?;
        }
    }
    Ok(ticks * TICK_NS)
}
