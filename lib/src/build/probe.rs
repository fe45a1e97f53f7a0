//! Probes, which ask a container how it is, and hooks, which tell it what happens.

use k8s_openapi::api::core::v1 as core;

use super::amount::{Port, Target, Time};
use super::text::Of;
use super::wraps::part;

part! {
    /// A question that the node asks a container again and again.
    ///
    /// ```
    /// use kprov::build::*;
    /// use std::time::Duration;
    /// let container = Container::new("web", "nginx:1.27")
    ///     .port("http", 80)
    ///     .readiness(Probe::http("/ready", "http").period(Duration::from_secs(5)).successes(2))
    ///     .liveness(Probe::tcp("http").failures(5));
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/>
    Probe(core::Probe)
}

/// What is asked, and how often.
///
/// ```
/// # use kprov::build::*;
/// use std::time::Duration;
/// let secure = Probe::https("/healthz", 8443).header("Accept", "application/json").timeout(Duration::from_secs(2));
/// let script = Probe::exec(["pg_isready", "-U", "postgres"]).delay(Duration::from_secs(10));
/// let rpc = Probe::grpc(9090).period(Duration::from_secs(5)).failures(6);
/// let gentle = Probe::tcp(5432).grace(Duration::from_secs(120));
/// ```
impl Probe {
    /// A GET that must be answered with a status from 200 to 399.
    #[must_use]
    #[track_caller]
    pub fn http(path: impl Into<String>, port: impl Of<Target>) -> Self {
        Self(core::Probe { http_get: Some(get(path.into(), port.checked())), ..core::Probe::default() })
    }

    /// The same over TLS; the certificate is not checked.
    #[must_use]
    #[track_caller]
    pub fn https(path: impl Into<String>, port: impl Of<Target>) -> Self {
        let get = core::HTTPGetAction { scheme: Some("HTTPS".to_owned()), ..get(path.into(), port.checked()) };
        Self(core::Probe { http_get: Some(get), ..core::Probe::default() })
    }

    /// A connection that must come about.
    #[must_use]
    #[track_caller]
    pub fn tcp(port: impl Of<Target>) -> Self {
        let action = core::TCPSocketAction { port: port.checked().into(), host: None };
        Self(core::Probe { tcp_socket: Some(action), ..core::Probe::default() })
    }

    /// A program in the container that must end with 0. No shell is put around it.
    #[must_use]
    pub fn exec(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(core::Probe { exec: Some(exec(command)), ..core::Probe::default() })
    }

    /// The health service of gRPC.
    #[must_use]
    #[track_caller]
    pub fn grpc(port: impl Of<Port>) -> Self {
        let action = core::GRPCAction { port: port.checked().into(), ..core::GRPCAction::default() };
        Self(core::Probe { grpc: Some(action), ..core::Probe::default() })
    }

    /// Sends a header along with a GET.
    ///
    /// Panics when the probe is none that sends one.
    #[must_use]
    #[track_caller]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let get = self.0.http_get.as_mut().expect("only Probe::http and Probe::https send headers");
        get.http_headers.get_or_insert_default().push(core::HTTPHeader { name: name.into(), value: value.into() });
        self
    }

    /// Waits before the first question; 0 without it.
    #[must_use]
    #[track_caller]
    pub fn delay(mut self, delay: impl Time) -> Self {
        self.0.initial_delay_seconds = Some(delay.whole_seconds());
        self
    }

    /// From one question to the next; 10 s without it.
    #[must_use]
    #[track_caller]
    pub fn period(mut self, period: impl Time) -> Self {
        self.0.period_seconds = Some(period.whole_seconds());
        self
    }

    /// How long an answer may take; 1 s without it.
    #[must_use]
    #[track_caller]
    pub fn timeout(mut self, timeout: impl Time) -> Self {
        self.0.timeout_seconds = Some(timeout.whole_seconds());
        self
    }

    /// How many bad answers in a row count; 3 without it.
    #[must_use]
    pub fn failures(mut self, failures: u16) -> Self {
        self.0.failure_threshold = Some(i32::from(failures));
        self
    }

    /// How many good answers in a row count after a bad one: only readiness may want more than one.
    #[must_use]
    pub fn successes(mut self, successes: u16) -> ReadinessProbe {
        self.0.success_threshold = Some(i32::from(successes));
        ReadinessProbe(self.0)
    }

    /// How long a container may take to end when this probe failed: only for probes that restart it.
    #[must_use]
    #[track_caller]
    pub fn grace(mut self, grace: impl Time) -> LivenessProbe {
        self.0.termination_grace_period_seconds = Some(grace.whole_seconds());
        LivenessProbe(self.0)
    }
}

part! {
    /// A probe that only readiness may use; [`Probe::successes`] makes it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").readiness(Probe::tcp(80).successes(2));
    /// ```
    ReadinessProbe(core::Probe)
}

part! {
    /// A probe that only liveness and startup may use; [`Probe::grace`] makes it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// let web = Container::new("web", "nginx:1.27").liveness(Probe::tcp(80).grace(Duration::from_secs(5)));
    /// ```
    LivenessProbe(core::Probe)
}

/// A probe that can decide whether a container gets traffic.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "nginx:1.27").readiness(Probe::http("/ready", 80).successes(2));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a readiness probe",
    note = "a failed readiness probe ends no container: leave `grace(..)` away, or use it in `liveness(..)`"
)]
pub trait Readiness: Into<core::Probe> {}
#[diagnostic::do_not_recommend]
impl Readiness for Probe {}
#[diagnostic::do_not_recommend]
impl Readiness for ReadinessProbe {}

/// A probe that can decide whether a container is restarted.
///
/// ```
/// # use kprov::build::*;
/// use std::time::Duration;
/// let web = Container::new("web", "nginx:1.27").liveness(Probe::tcp(80).grace(Duration::from_secs(5)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a liveness or startup probe",
    note = "one good answer is enough for them: leave `successes(..)` away, or use it in `readiness(..)`"
)]
pub trait Liveness: Into<core::Probe> {}
#[diagnostic::do_not_recommend]
impl Liveness for Probe {}
#[diagnostic::do_not_recommend]
impl Liveness for LivenessProbe {}

part! {
    /// What is done right after a container has started, or before it is told to end.
    ///
    /// ```
    /// use kprov::build::*;
    /// use std::time::Duration;
    /// let container = Container::new("web", "nginx:1.27").pre_stop(Hook::sleep(Duration::from_secs(5)));
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/>
    Hook(core::LifecycleHandler)
}

/// What is done.
///
/// ```
/// # use kprov::build::*;
/// use std::time::Duration;
/// let queue = Container::new("queue", "shop:1")
///     .post_start(Hook::http("/warm-up", 8080))
///     .pre_stop(Hook::exec(["/bin/drain"]));
/// let proxy = Container::new("proxy", "envoy:1").pre_stop(Hook::sleep(Duration::from_secs(5)));
/// ```
impl Hook {
    /// Runs a program in the container. No shell is put around it.
    #[must_use]
    pub fn exec(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(core::LifecycleHandler { exec: Some(exec(command)), ..core::LifecycleHandler::default() })
    }

    /// Asks the container by HTTP.
    #[must_use]
    #[track_caller]
    pub fn http(path: impl Into<String>, port: impl Of<Target>) -> Self {
        let get = get(path.into(), port.checked());
        Self(core::LifecycleHandler { http_get: Some(get), ..core::LifecycleHandler::default() })
    }

    /// Waits: before the end of a container that lets the last requests through.
    #[must_use]
    #[track_caller]
    pub fn sleep(time: impl Time) -> Self {
        let sleep = core::SleepAction { seconds: time.whole_seconds() };
        Self(core::LifecycleHandler { sleep: Some(sleep), ..core::LifecycleHandler::default() })
    }
}

fn exec(command: impl IntoIterator<Item = impl Into<String>>) -> core::ExecAction {
    core::ExecAction { command: Some(command.into_iter().map(Into::into).collect()) }
}

fn get(path: String, port: Target) -> core::HTTPGetAction {
    core::HTTPGetAction { path: Some(path), port: port.into(), ..core::HTTPGetAction::default() }
}
