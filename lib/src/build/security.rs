//! What programs may do: users, capabilities, system calls, and `restricted()`, which asks for the least of each.

use k8s_openapi::api::core::v1 as core;

use super::container::Container;
use super::pods::Pods;
use super::text::{Of, text};

text! {
    /// A right of the superuser that can be given alone, such as `NET_BIND_SERVICE`.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").drop_capability("ALL").add_capability("NET_BIND_SERVICE");
    /// # let _ = web;
    /// assert!("CAP_SYS_TIME".parse::<Capability>().unwrap_err().to_string().contains("write SYS_TIME"));
    /// ```
    /// Source: <https://man7.org/linux/man-pages/man7/capabilities.7.html>
    Capability, "capability", |text| {
        let fine = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        match text.strip_prefix("CAP_") {
            Some(rest) => vec![format!("write {rest}, without CAP_")],
            None if fine => Vec::new(),
            None => vec!["write a name of capabilities(7) without CAP_, such as NET_BIND_SERVICE, or ALL".to_owned()],
        }
    }
}

/// Which system calls a program may make.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "nginx:1.27").seccomp(Seccomp::Localhost("profiles/audit.json".to_owned()));
/// # let _ = web;
/// ```
/// Source: <https://kubernetes.io/docs/tutorials/security/seccomp/>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// What the container runtime allows.
    RuntimeDefault,
    /// All of them.
    Unconfined,
    /// What a file on the node says; its path is below the node's folder of profiles.
    Localhost(String),
}

impl From<Seccomp> for core::SeccompProfile {
    fn from(profile: Seccomp) -> Self {
        let (type_, localhost_profile) = match profile {
            Seccomp::RuntimeDefault => ("RuntimeDefault", None),
            Seccomp::Unconfined => ("Unconfined", None),
            Seccomp::Localhost(path) => ("Localhost", Some(path)),
        };
        Self { type_: type_.to_owned(), localhost_profile }
    }
}

/// What the kernel's AppArmor lets a program touch.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "nginx:1.27").app_armor(AppArmor::Localhost("deny-write".to_owned()));
/// # let _ = web;
/// ```
/// Source: <https://kubernetes.io/docs/tutorials/security/apparmor/>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppArmor {
    /// What the container runtime allows.
    RuntimeDefault,
    /// Everything.
    Unconfined,
    /// What a profile of that name says, which must be loaded on the node.
    Localhost(String),
}

impl From<AppArmor> for core::AppArmorProfile {
    fn from(profile: AppArmor) -> Self {
        let (type_, localhost_profile) = match profile {
            AppArmor::RuntimeDefault => ("RuntimeDefault", None),
            AppArmor::Unconfined => ("Unconfined", None),
            AppArmor::Localhost(name) => ("Localhost", Some(name)),
        };
        Self { type_: type_.to_owned(), localhost_profile }
    }
}

/// What one container may do; it goes before what [`Secured`] says of the whole pod.
impl Container {
    fn security(&mut self) -> &mut core::SecurityContext {
        self.0.security_context.get_or_insert_default()
    }

    /// Runs as the user of that number.
    #[must_use]
    pub fn run_as(mut self, user: u32) -> Self {
        self.security().run_as_user = Some(i64::from(user));
        self
    }

    /// Runs in the group of that number.
    #[must_use]
    pub fn run_as_group(mut self, group: u32) -> Self {
        self.security().run_as_group = Some(i64::from(group));
        self
    }

    /// Does not start as the superuser, whatever the image says.
    #[must_use]
    pub fn run_as_non_root(mut self) -> Self {
        self.security().run_as_non_root = Some(true);
        self
    }

    /// May do on the node whatever the superuser may.
    #[must_use]
    pub fn privileged(mut self) -> Self {
        self.security().privileged = Some(true);
        self
    }

    /// Can't get more rights than it started with, as by `sudo`.
    #[must_use]
    pub fn no_privilege_escalation(mut self) -> Self {
        self.security().allow_privilege_escalation = Some(false);
        self
    }

    /// Can't write into its image's files, only into volumes.
    #[must_use]
    pub fn read_only_root(mut self) -> Self {
        self.security().read_only_root_filesystem = Some(true);
        self
    }

    /// Gives it a right.
    #[must_use]
    #[track_caller]
    pub fn add_capability(mut self, capability: impl Of<Capability>) -> Self {
        let capabilities = self.security().capabilities.get_or_insert_default();
        capabilities.add.get_or_insert_default().push(capability.checked().into());
        self
    }

    /// Takes a right away; `ALL` takes all that are not given again.
    #[must_use]
    #[track_caller]
    pub fn drop_capability(mut self, capability: impl Of<Capability>) -> Self {
        let capabilities = self.security().capabilities.get_or_insert_default();
        capabilities.drop.get_or_insert_default().push(capability.checked().into());
        self
    }

    /// Which system calls it may make.
    #[must_use]
    pub fn seccomp(mut self, profile: Seccomp) -> Self {
        self.security().seccomp_profile = Some(profile.into());
        self
    }

    /// What AppArmor lets it touch.
    #[must_use]
    pub fn app_armor(mut self, profile: AppArmor) -> Self {
        self.security().app_armor_profile = Some(profile.into());
        self
    }
}

/// What a pod's containers may do.
///
/// ```
/// use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "shop:1")).run_as(1000).fs_group(1000).restricted();
/// let context = web.build().spec.template.spec.unwrap().containers[0].security_context.clone().unwrap();
/// assert_eq!(context.allow_privilege_escalation, Some(false));
/// ```
/// Source: <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
pub trait Secured: Pods {
    /// What holds for all containers, to change by hand.
    fn security_mut(&mut self) -> &mut core::PodSecurityContext {
        self.pod_mut().1.security_context.get_or_insert_default()
    }

    /// Asks for everything that the Pod Security level `restricted` demands, of the pod and of every container, also of
    /// those that are added later: no superuser, the runtime's system calls, no more rights than at the start, no
    /// capabilities but `NET_BIND_SERVICE`.
    ///
    /// Panics when the pod asks for what this level forbids: host namespaces, ports or paths, privileged containers,
    /// other capabilities, user 0. An image that starts as the superuser needs [`Secured::run_as`].
    #[must_use]
    #[track_caller]
    fn restricted(mut self) -> Self {
        let context = self.security_mut();
        context.run_as_non_root = Some(true);
        if context.seccomp_profile.as_ref().is_none_or(|profile| profile.type_ == "Unconfined") {
            context.seccomp_profile = Some(Seccomp::RuntimeDefault.into());
        }
        let spec = self.pod_mut().1;
        let init = spec.init_containers.iter_mut().flatten();
        spec.containers.iter_mut().chain(init).for_each(harden);
        let wrong = contradictions(spec);
        assert!(wrong.is_empty(), "a restricted pod can't have: {}", wrong.join(", "));
        self
    }

    /// Runs as the user of that number.
    #[must_use]
    fn run_as(mut self, user: u32) -> Self {
        self.security_mut().run_as_user = Some(i64::from(user));
        self
    }

    /// Runs in the group of that number.
    #[must_use]
    fn run_as_group(mut self, group: u32) -> Self {
        self.security_mut().run_as_group = Some(i64::from(group));
        self
    }

    /// Does not start as the superuser, whatever the images say.
    #[must_use]
    fn run_as_non_root(mut self) -> Self {
        self.security_mut().run_as_non_root = Some(true);
        self
    }

    /// Gives volumes to the group of that number, and the programs that group.
    #[must_use]
    fn fs_group(mut self, group: u32) -> Self {
        self.security_mut().fs_group = Some(i64::from(group));
        self
    }

    /// Which system calls the containers may make.
    #[must_use]
    fn seccomp(mut self, profile: Seccomp) -> Self {
        self.security_mut().seccomp_profile = Some(profile.into());
        self
    }

    /// What AppArmor lets the containers touch.
    #[must_use]
    fn app_armor(mut self, profile: AppArmor) -> Self {
        self.security_mut().app_armor_profile = Some(profile.into());
        self
    }

    /// Sees the processes of its node.
    #[must_use]
    fn host_processes(mut self) -> Self {
        self.pod_mut().1.host_pid = Some(true);
        self
    }

    /// Shares memory with the processes of its node.
    #[must_use]
    fn host_ipc(mut self) -> Self {
        self.pod_mut().1.host_ipc = Some(true);
        self
    }

    /// Has users of its own: its superuser is nobody on the node.
    #[must_use]
    fn own_users(mut self) -> Self {
        self.pod_mut().1.host_users = Some(false);
        self
    }

    /// Sets a parameter of the kernel for the pod alone, such as `net.core.somaxconn`.
    #[must_use]
    fn sysctl(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let sysctl = core::Sysctl { name: name.into(), value: value.into() };
        self.security_mut().sysctls.get_or_insert_default().push(sysctl);
        self
    }
}

impl<T: Pods> Secured for T {}

/// Asks of a container what the level `restricted` demands.
fn harden(container: &mut core::Container) {
    let context = container.security_context.get_or_insert_default();
    context.allow_privilege_escalation = Some(false);
    context.run_as_non_root = context.run_as_non_root.filter(|non_root| *non_root);
    context.capabilities.get_or_insert_default().drop = Some(vec!["ALL".to_owned()]);
}

/// Hardens a container that joins a pod on which `restricted()` was called before.
#[track_caller]
pub(super) fn join(spec: &core::PodSpec, container: &mut core::Container) {
    let pod = spec.security_context.as_ref();
    let named = pod.is_some_and(|pod| pod.run_as_non_root == Some(true) && pod.seccomp_profile.is_some());
    let mut others = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    if named && !spec.containers.is_empty() && others.all(is_hardened) {
        harden(container);
        let wrong = container_contradictions(container);
        assert!(wrong.is_empty(), "a restricted pod can't have: {}", wrong.join(", "));
    }
}

fn is_hardened(container: &core::Container) -> bool {
    container.security_context.as_ref().is_some_and(|context| {
        let dropped = context.capabilities.iter().flat_map(|capabilities| capabilities.drop.iter().flatten());
        context.allow_privilege_escalation == Some(false) && dropped.clone().any(|one| one == "ALL")
    })
}

/// What a pod asks for and the level `restricted` forbids.
fn contradictions(spec: &core::PodSpec) -> Vec<String> {
    let pod = spec.security_context.as_ref();
    let flags = [
        (spec.host_network, "the host's network"),
        (spec.host_pid, "the host's processes"),
        (spec.host_ipc, "the host's shared memory"),
        (pod.and_then(|pod| pod.run_as_user).map(|user| user == 0), "user 0"),
    ];
    let mut wrong: Vec<String> =
        flags.iter().filter(|(asked, _)| *asked == Some(true)).map(|(_, what)| (*what).to_owned()).collect();
    let paths = spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some());
    wrong.extend(paths.map(|volume| format!("the host's path in volume {}", volume.name)));
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    wrong.extend(containers.flat_map(container_contradictions));
    wrong
}

fn container_contradictions(container: &core::Container) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(context) = &container.security_context {
        let added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        wrong.extend(added.filter(|one| *one != "NET_BIND_SERVICE").map(|one| format!("capability {one}")));
        if context.privileged == Some(true) {
            wrong.push("privileges".to_owned());
        }
        if context.run_as_user == Some(0) {
            wrong.push("user 0".to_owned());
        }
        if context.seccomp_profile.as_ref().is_some_and(|profile| profile.type_ == "Unconfined") {
            wrong.push("all system calls".to_owned());
        }
        if context.app_armor_profile.as_ref().is_some_and(|profile| profile.type_ == "Unconfined") {
            wrong.push("no AppArmor profile".to_owned());
        }
    }
    if container.ports.iter().flatten().any(|port| port.host_port.is_some_and(|port| port != 0)) {
        wrong.push("a port of the host".to_owned());
    }
    wrong.into_iter().map(|what| format!("{what} in container {}", container.name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::build::{Deployment, Volume};

    #[test]
    fn restricted_covers_containers_that_come_later() {
        let web = Deployment::new("web", Container::new("web", "shop:1").add_capability("NET_BIND_SERVICE"))
            .restricted()
            .init(Container::new("migrate", "shop:1"))
            .sidecar(Container::new("log", "fluent-bit:4"));
        let pod = serde_json::to_value(&web).unwrap()["spec"]["template"]["spec"].clone();
        let seccomp = json!({"type": "RuntimeDefault"});
        assert_eq!(pod["securityContext"], json!({"runAsNonRoot": true, "seccompProfile": seccomp}));
        let hardened = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        assert_eq!(pod["initContainers"][0]["securityContext"], hardened);
        assert_eq!(pod["initContainers"][1]["securityContext"], hardened);
        let capabilities = json!({"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]});
        assert_eq!(pod["containers"][0]["securityContext"]["capabilities"], capabilities);
    }

    #[test]
    fn a_pod_that_is_not_restricted_keeps_what_it_has() {
        let web = Deployment::new("web", Container::new("web", "shop:1")).container(Container::new("b", "shop:1"));
        assert!(web.build().spec.template.spec.unwrap().containers[1].security_context.is_none());
    }

    #[test]
    #[should_panic(expected = "can't have: the host's path in volume etc, privileges in container web")]
    fn what_contradicts_is_named() {
        let etc = Volume::host_path("etc", "/etc");
        let _ = Deployment::new("web", Container::new("web", "shop:1").privileged().mount(&etc, "/host")).restricted();
    }

    #[test]
    #[should_panic(expected = "capability SYS_ADMIN in container log")]
    fn what_contradicts_later_is_named() {
        let log = Container::new("log", "fluent-bit:4").add_capability("SYS_ADMIN");
        let _ = Deployment::new("web", Container::new("web", "shop:1")).restricted().sidecar(log);
    }
}
