//! Probes and lifecycle hooks of containers.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, Lifecycle, Probe, SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::containers::{Around, port_number};
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

/// What a probe or a hook does.
#[derive(Default)]
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc_port: Option<i32>,
    sleep: Option<&'a SleepAction>,
}

/// Checks the hooks and probes of a container.
pub(super) fn container(errors: &mut Errors, at: &Path<'_>, container: &Container, around: &Around<'_>) {
    if let Some(hooks) = &container.lifecycle {
        lifecycle(errors, &at.child("lifecycle"), hooks, around);
    }
    let succeeds_once = |errors: &mut Errors, at: &Path<'_>, probe: &Probe| {
        let threshold = probe.success_threshold.unwrap_or_default();
        if threshold != 1 {
            errors.invalid(&at.child("successThreshold"), threshold, "must be 1");
        }
    };
    if let Some(liveness) = &container.liveness_probe {
        let at = at.child("livenessProbe");
        probe(errors, &at, liveness, around);
        succeeds_once(errors, &at, liveness);
    }
    if let Some(readiness) = &container.readiness_probe {
        let at = at.child("readinessProbe");
        probe(errors, &at, readiness, around);
        if let Some(seconds) = readiness.termination_grace_period_seconds {
            errors.invalid(&at.child("terminationGracePeriodSeconds"), seconds, "must not be set for readinessProbes");
        }
    }
    if let Some(startup) = &container.startup_probe {
        let at = at.child("startupProbe");
        probe(errors, &at, startup, around);
        succeeds_once(errors, &at, startup);
    }
}

fn probe(errors: &mut Errors, at: &Path<'_>, probe: &Probe, around: &Around<'_>) {
    let does = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc_port: probe.grpc.as_ref().map(|grpc| grpc.port),
        sleep: None,
    };
    handler(errors, at, &does, around);
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, number) in numbers {
        errors.non_negative(&at.child(field), number.unwrap_or_default().into());
    }
    if let Some(seconds) = probe.termination_grace_period_seconds.filter(|seconds| *seconds <= 0) {
        errors.invalid(&at.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
    }
}

fn lifecycle(errors: &mut Errors, at: &Path<'_>, lifecycle: &Lifecycle, around: &Around<'_>) {
    for (field, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        let Some(hook) = hook else { continue };
        let does = Handler {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc_port: None,
            sleep: hook.sleep.as_ref(),
        };
        handler(errors, &at.child(field), &does, around);
    }
    if let Some(signal) = &lifecycle.stop_signal {
        stop_signal(errors, &at.child("stopSignal"), signal, around);
    }
}

fn handler(errors: &mut Errors, at: &Path<'_>, does: &Handler<'_>, around: &Around<'_>) {
    let mut count = 0;
    let mut first = |errors: &mut Errors, field: &str| {
        count += 1;
        if count > 1 {
            errors.forbidden(&at.child(field), "may not specify more than 1 handler type");
        }
        count == 1
    };
    if let Some(exec) = does.exec.filter(|_| first(errors, "exec")) {
        let at = at.child("exec");
        if list(&exec.command).is_empty() {
            errors.required(&at.child("command"), "");
        }
    }
    if let Some(get) = does.http_get.filter(|_| first(errors, "httpGet")) {
        http_get(errors, &at.child("httpGet"), get);
    }
    if let Some(tcp) = does.tcp_socket.filter(|_| first(errors, "tcpSocket")) {
        let at = at.child("tcpSocket");
        port(errors, &at.child("port"), &tcp.port);
    }
    if let Some(number) = does.grpc_port.filter(|_| first(errors, "grpc")) {
        let at = at.child("grpc");
        port_number(errors, &at.child("port"), number);
    }
    if let Some(pause) = does.sleep.filter(|_| first(errors, "sleep")) {
        sleep(errors, &at.child("sleep"), pause, around);
    }
    if count == 0 {
        errors.required(at, "must specify a handler type");
    }
}

fn http_get(errors: &mut Errors, at: &Path<'_>, get: &HTTPGetAction) {
    errors.filled(&at.child("path"), text(&get.path));
    port(errors, &at.child("port"), &get.port);
    errors.one_of(&at.child("scheme"), text(&get.scheme), &["HTTP", "HTTPS"]);
    for header in list(&get.http_headers) {
        errors.all(&at.child("httpHeaders"), &header.name, names::http_header(&header.name));
    }
}

fn port(errors: &mut Errors, at: &Path<'_>, port: &IntOrString) {
    match port {
        IntOrString::Int(number) => port_number(errors, at, *number),
        IntOrString::String(name) => errors.all(at, name, names::port_name(name)),
    }
}

fn sleep(errors: &mut Errors, at: &Path<'_>, sleep: &SleepAction, around: &Around<'_>) {
    let Some(grace) = around.grace_seconds() else { return };
    if sleep.seconds < 0 || sleep.seconds > grace {
        let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(at, sleep.seconds, &why);
    }
}

const SIGNALS: [&str; 65] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

fn stop_signal(errors: &mut Errors, at: &Path<'_>, signal: &str, around: &Around<'_>) {
    match around.spec.os.as_ref().map(|os| os.name.as_str()) {
        None => errors.forbidden(at, "may not be set for containers with empty `spec.os.name`"),
        Some("windows") => errors.one_of(at, signal, &["SIGKILL", "SIGTERM"]),
        Some("linux") => errors.one_of(at, signal, &SIGNALS),
        Some(_) => {}
    }
}
