//! The machine that figures come from, and its clock.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "what is measured is real time")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A clock that was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(super) fn ms(self) -> f64 {
        self.elapsed().as_secs_f64() * 1e3
    }
}

/// Lets real time pass.
pub(super) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A folder for state on the disk that is described by [`words`].
pub(super) fn folder() -> anyhow::Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("kp").tempdir()?)
}

/// A thousand connections need as many files, in the server that inherits the limit too.
pub(super) fn allow_many_connections() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit of open files")
}

/// What the machine is, and how fast its disk makes a write durable.
pub(super) fn words() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let about = fs::read_to_string("/proc/cpuinfo")?;
    let model =
        about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kilobytes: f64 = memory.split_whitespace().nth(1).context("no memory")?.parse()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "{cores} cores ({}), {:.0} GB, Linux {}, 4 KB durable in {:.2} ms, load {} before the run",
        model.unwrap_or("unknown model"),
        kilobytes / 1e6,
        kernel.trim(),
        sync_ms()?,
        load.split(' ').next().unwrap_or_default(),
    ))
}

/// The median time of a synced write.
fn sync_ms() -> anyhow::Result<f64> {
    let folder = folder()?;
    let file = File::create(folder.path().join("sync"))?;
    let mut times = Vec::new();
    for page in 0..101 {
        let clock = Stopwatch::start();
        file.write_all_at(&[1; 4096], page * 4096)?;
        file.sync_data()?;
        times.push(clock.ms());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[50])
}
