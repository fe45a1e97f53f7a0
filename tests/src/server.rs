//! The API server alone, as a process of the test's own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::https::Access;

/// A server that was started; it is killed when it is dropped.
pub struct ApiServer {
    child: Child,
    folder: PathBuf,
}

impl ApiServer {
    /// Starts the server over the state in `folder` and does not wait for it.
    pub fn start(kprov: &Path, folder: &Path) -> anyhow::Result<Self> {
        Self::start_by(Command::new(kprov), folder)
    }

    /// The same by a command that kprov's arguments are put behind.
    pub fn start_by(mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let log = File::options().create(true).append(true).open(folder.join("serve.log"))?;
        command.args(["serve", "--only", "api", "--detached", "--data"]).arg(folder);
        command.arg("--kubeconfig").arg(folder.join("kubeconfig"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child, folder: folder.to_owned() })
    }

    /// Waits until it answers.
    ///
    /// Errors: it ended first; its log is in the message.
    pub async fn ready(&mut self) -> anyhow::Result<Access> {
        let mut said = String::new();
        if let Some(mut output) = self.child.stdout.take() {
            output.read_to_string(&mut said).await?;
        }
        if said != "listening\n" {
            bail!("the server ended before it listened:\n{}", self.log());
        }
        let mut control = UnixStream::connect(self.folder.join("control.sock")).await?;
        control.write_all(b"\"Ready\"\n").await?;
        said.clear();
        control.read_to_string(&mut said).await?;
        if said != r#"{"Ok":null}"# {
            bail!("the server ended before it was ready:\n{}", self.log());
        }
        Access::from_kubeconfig(&self.folder.join("kubeconfig"))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it as a power cut would, and returns when it is gone.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Asks it to end and returns when it has.
    ///
    /// Errors: it ended with a failure.
    pub async fn end(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().context("it has ended already")?;
        kill(Pid::from_raw(pid.try_into()?), Signal::SIGTERM)?;
        self.outcome().await
    }

    /// Waits for its end.
    ///
    /// Errors: what it said when it failed.
    pub async fn outcome(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("{status}: {}", self.log());
        }
        Ok(())
    }

    /// What it wrote to its log, of earlier lives too.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("serve.log")).unwrap_or_default()
    }
}
