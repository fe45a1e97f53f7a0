//! What pods may do: Pod Security levels, AppArmor, system calls.

use kprov::Bundle;
use kprov::build::*;

use super::{Tutorial, only};

/// The files and what says the same.
pub const TUTORIALS: &[Tutorial] =
    &[("s68-pod-security.yaml", pod_security), ("s70-app-armor.yaml", app_armor), ("s71-seccomp.yaml", seccomp)];

/// A namespace that refuses careless pods and warns of others, and a pod in it.
#[must_use]
pub fn pod_security() -> Bundle {
    let example = Namespace::new("example")
        .enforce(PodSecurity::Baseline)
        .warn(PodSecurity::Restricted)
        .audit(PodSecurity::Restricted);
    let nginx = Container::new("nginx", "nginx").unnamed_port(80);
    let mut app = Bundle::new("pod-security");
    app.add(example).add(Pod::new("nginx", nginx).namespace("example"));
    app
}

/// A container that AppArmor lets write no file.
#[must_use]
pub fn app_armor() -> Bundle {
    let hello = Container::new("hello", "busybox:1.28")
        .command(["sh", "-c", "echo 'Hello AppArmor!' && sleep 1h"])
        .app_armor(AppArmor::Localhost("k8s-apparmor-example-deny-write".to_owned()));
    only(Pod::new("hello-apparmor", hello))
}

/// Two pods that may make some system calls only: those of a profile, and those that the runtime allows.
#[must_use]
pub fn seccomp() -> Bundle {
    let fine = Seccomp::Localhost("profiles/fine-grained.json".to_owned());
    let mut app = Bundle::new("seccomp");
    app.add(echo("fine-pod", "-text=just made some syscalls!", fine));
    app.add(echo("default-pod", "-text=just made some more syscalls!", Seccomp::RuntimeDefault));
    app
}

fn echo(name: &'static str, text: &str, profile: Seccomp) -> Pod {
    let echo = Container::new("test-container", "http-echo:0.2.3").args([text]).no_privilege_escalation();
    Pod::new(name, echo).label("app", name).seccomp(profile)
}
