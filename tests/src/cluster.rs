//! A cluster of a test's own: its own folder, its own kubeconfig, gone when the test ends.

#![allow(clippy::disallowed_types, reason = "starts kprov and kubectl as a user does")]

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A cluster that was brought up by the command itself.
pub struct TestCluster {
    home: tempfile::TempDir,
    kprov: PathBuf,
    name: String,
}

impl TestCluster {
    /// Brings a cluster up. `kprov` is the command's binary, `arguments` go behind `up`.
    ///
    /// Errors: what the command said.
    pub fn up(kprov: &str, name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let cluster = Self::prepare(kprov, name)?;
        cluster.kprov("up", arguments)?;
        Ok(cluster)
    }

    /// A home for a cluster that is not up yet.
    pub fn prepare(kprov: &str, name: &str) -> anyhow::Result<Self> {
        Self::prepare_in(&std::env::temp_dir(), kprov, name)
    }

    /// The same with the home in a folder of one's own.
    pub fn prepare_in(parent: &Path, kprov: &str, name: &str) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("kp").tempdir_in(parent)?;
        Ok(Self { home, kprov: kprov.into(), name: name.to_owned() })
    }

    /// Runs `kprov <verb> --name ...` and returns what it printed.
    pub fn kprov(&self, verb: &str, arguments: &[&str]) -> anyhow::Result<String> {
        said(self.kprov_command(verb).args(arguments))
    }

    /// A command that runs kprov against this cluster's home. A verb of two words goes before the name.
    #[must_use]
    pub fn kprov_command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.kprov);
        command.args(verb.split(' ')).args(["--name", &self.name]);
        command.env("KPROV_HOME", self.home.path()).env("KUBECONFIG", self.kubeconfig()).stdin(Stdio::null());
        command
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id of its server, as the server's lock says.
    ///
    /// Errors: it has never been up.
    pub fn server(&self) -> anyhow::Result<Pid> {
        let pid = std::fs::read_to_string(self.folder().join("lock")).context("reading the server's lock")?;
        Ok(Pid::from_raw(pid.trim().parse()?))
    }

    /// Sends a signal that ends the server, and returns when it has ended.
    pub fn end_server(&self, signal: Signal) -> anyhow::Result<()> {
        kill(self.server()?, signal)?;
        self.server_ended()
    }

    /// Returns when no server holds the cluster's folder: the kernel lets go of the lock when a process ends.
    pub fn server_ended(&self) -> anyhow::Result<()> {
        match File::open(self.folder().join("lock")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            opened => Flock::lock(opened?, FlockArg::LockShared).map(drop).map_err(|(_, error)| error.into()),
        }
    }

    /// The user's kubeconfig of this test.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    /// The folder of all state.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The folder of the cluster.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("clusters").join(&self.name)
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// Errors: its standard error, when it failed.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        said(self.kubectl_command().args(arguments))
    }

    /// Runs kubectl with a line of arguments, split at spaces.
    pub fn k(&self, line: &str) -> anyhow::Result<String> {
        self.kubectl(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        use std::io::Write;
        let mut child = self
            .kubectl_command()
            .args(["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no standard input")?.write_all(manifest.as_bytes())?;
        text(&child.wait_with_output()?, "kubectl apply")
    }

    /// A kubectl that talks to this cluster.
    #[must_use]
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new("kubectl");
        // Discovery is cached by address, and ports are used again.
        command.env("KUBECONFIG", self.kubeconfig()).env("KUBECACHEDIR", self.home.path().join("cache"));
        command.stdin(Stdio::null());
        command
    }

    /// The server's log, for the message of a failed test.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("serve.log")).unwrap_or_default()
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("end of the server's log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        if let Err(error) = self.kprov("down", &[]) {
            eprintln!("taking the cluster down: {error:#}");
        }
    }
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let shown = format!("{command:?}");
    text(&command.output().with_context(|| format!("starting {shown}"))?, &shown)
}

fn text(output: &Output, what: &str) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!("{what}: {}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
