//! What programs may do: users, capabilities, system calls, and `restricted()`, which asks for the least of each.

mod restricted;

use k8s_openapi::api::core::v1 as core;

pub(super) use restricted::join;
use restricted::{assert_allowed, harden};

use super::container::Container;
use super::pods::Pods;
use super::text::{Of, text};

text! {
    /// A right of the superuser that can be given alone, such as `NET_BIND_SERVICE`.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").drop_capability("ALL").add_capability("NET_BIND_SERVICE");
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
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "shop:1")
///     .run_as(1000)
///     .run_as_group(1000)
///     .run_as_non_root()
///     .read_only_root()
///     .no_privilege_escalation()
///     .drop_capability("ALL")
///     .add_capability("NET_BIND_SERVICE")
///     .seccomp(Seccomp::RuntimeDefault)
///     .app_armor(AppArmor::RuntimeDefault);
/// let driver = Container::new("driver", "driver:1").privileged();
/// ```
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
///
/// let proxy = Deployment::new("proxy", Container::new("proxy", "envoy:1"))
///     .run_as_non_root()
///     .run_as_group(1000)
///     .own_users()
///     .seccomp(Seccomp::RuntimeDefault)
///     .app_armor(AppArmor::RuntimeDefault)
///     .sysctl("net.core.somaxconn", "4096");
/// let agent = DaemonSet::new("agent", Container::new("agent", "agent:1")).host_processes().host_ipc();
/// ```
/// Source: <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
pub trait Secured: Pods {
    /// What holds for all containers, to change by hand.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let mut web = Pod::new("web", Container::new("web", "shop:1"));
    /// web.security_mut().supplemental_groups = Some(vec![2000]);
    /// ```
    fn security_mut(&mut self) -> &mut core::PodSecurityContext {
        self.pod_mut().1.security_context.get_or_insert_default()
    }

    /// Asks for everything that the Pod Security level `restricted` demands, of the pod and of every container, also of
    /// those that are added later: no superuser, the runtime's system calls, no more rights than at the start, no
    /// capabilities but `NET_BIND_SERVICE`.
    ///
    /// Panics, with the words of the API server, when the pod asks for what this level forbids: host namespaces, ports or
    /// paths, privileged containers, other capabilities, user 0. An image that starts as the superuser needs [`Secured::run_as`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).run_as(1000).restricted();
    /// ```
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
        assert_allowed(spec);
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
