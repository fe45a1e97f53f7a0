//! How a container's life is watched: probes, hooks, its terminal and its last words.

use super::Container;
use crate::build::probe::{Hook, Liveness, Readiness};

/// How it is watched, and what is heard of it.
///
/// ```
/// # use kprov::build::*;
/// let shell = Container::new("shell", "busybox").stdin().tty();
/// let batch = Container::new("batch", "shop:1").termination_message("/tmp/why").termination_message_from_log();
/// ```
impl Container {
    /// Decides whether the container gets traffic.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").port("http", 80).readiness(Probe::http("/ready", "http"));
    /// ```
    #[must_use]
    pub fn readiness(mut self, probe: impl Readiness) -> Self {
        self.0.readiness_probe = Some(probe.into());
        self
    }

    /// Decides whether the container is restarted.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").liveness(Probe::tcp(80).failures(5));
    /// ```
    #[must_use]
    pub fn liveness(mut self, probe: impl Liveness) -> Self {
        self.0.liveness_probe = Some(probe.into());
        self
    }

    /// Holds the other probes back until it has succeeded once.
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// let web = Container::new("web", "nginx:1.27").startup(Probe::tcp(80).period(Duration::from_secs(2)).failures(30));
    /// ```
    #[must_use]
    pub fn startup(mut self, probe: impl Liveness) -> Self {
        self.0.startup_probe = Some(probe.into());
        self
    }

    /// What is done when the container has started.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").post_start(Hook::exec(["/bin/register"]));
    /// ```
    #[must_use]
    pub fn post_start(mut self, hook: Hook) -> Self {
        self.0.lifecycle.get_or_insert_default().post_start = Some(hook.into());
        self
    }

    /// What is done before the container is told to end.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").pre_stop(Hook::exec(["nginx", "-s", "quit"]));
    /// ```
    #[must_use]
    pub fn pre_stop(mut self, hook: Hook) -> Self {
        self.0.lifecycle.get_or_insert_default().pre_stop = Some(hook.into());
        self
    }

    /// Keeps standard input open, for `kubectl attach`.
    #[must_use]
    pub fn stdin(mut self) -> Self {
        self.0.stdin = Some(true);
        self
    }

    /// Gives the program a terminal, with standard input.
    #[must_use]
    pub fn tty(mut self) -> Self {
        self.0.tty = Some(true);
        self.stdin()
    }

    /// The file whose text becomes the reason when the container ends; `/dev/termination-log` without it.
    #[must_use]
    pub fn termination_message(mut self, path: impl Into<String>) -> Self {
        self.0.termination_message_path = Some(path.into());
        self
    }

    /// Takes the last lines of the log for the reason when a container fails and has written none.
    #[must_use]
    pub fn termination_message_from_log(mut self) -> Self {
        self.0.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
        self
    }
}
