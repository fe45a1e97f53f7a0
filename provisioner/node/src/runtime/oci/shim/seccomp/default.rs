//! The profile `RuntimeDefault`: what containerd allows, as tables.
//!
//! Source: containerd `contrib/seccomp`.

use std::collections::BTreeSet;

use nix::libc;

use super::{Action, Condition, Op, Profile, Rule, compile};

/// Allowed to everybody, a line a subject.
const ALLOWED: &[&str] = &[
    // Files.
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64",
    "fadvise64_64 arm_fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64",
    "fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents",
    "getdents64 ioctl lchown lchown32 link linkat _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat newfstatat open",
    "openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename",
    "renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs statfs64 statx symlink symlinkat sync",
    "sync_file_range arm_sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat",
    "utimensat_time64 utimes vmsplice write writev cachestat name_to_handle_at",
    // Their attributes.
    "fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr",
    "lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat",
    // Changes of them, and readiness.
    "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2",
    "fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch _newselect poll ppoll ppoll_time64",
    "pselect6 pselect6_time64 select signalfd signalfd4 pipe pipe2",
    "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit",
    // Memory.
    "brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect",
    "mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages",
    // Messages between processes.
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink",
    "msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget",
    "process_vm_readv process_vm_writev ptrace",
    // The network. `socket` has a rule of its own.
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg",
    "send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair",
    // Processes. `clone` has a rule of its own.
    "capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake",
    "get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid getpriority getsid gettid ioprio_get ioprio_set",
    "kill pause pidfd_open pidfd_send_signal prctl restart_syscall rseq seccomp set_robust_list set_thread_area",
    "set_tid_address setpgid setpriority setsid tgkill tkill vfork wait4 waitid waitpid landlock_add_rule",
    "landlock_create_ruleset landlock_restrict_self",
    // Who they are.
    "getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid getresuid32",
    "getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32",
    "setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32",
    // Limits and scheduling.
    "getrlimit getrusage prlimit64 sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr",
    "sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr",
    "sched_setparam sched_setscheduler sched_yield setrlimit sysinfo times ugetrlimit uname",
    // Signals.
    "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait",
    "rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn",
    // Time.
    "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64",
    "clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete",
    "timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime",
    "timerfd_gettime64 timerfd_settime timerfd_settime64",
    // The rest.
    "getrandom",
    // What some processors have alone.
    "arch_prctl modify_ldt breakpoint cacheflush set_tls riscv_flush_icache",
];

/// Allowed to those that have a capability.
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("BPF", "bpf"),
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    ("PERFMON", "perf_event_open"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount \
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module finit_module init_module query_module"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("SYS_RAWIO", "ioperm iopl"),
    ("SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYSLOG", "syslog"),
];

/// Allowed with these arguments.
const BY_ARGUMENT: &[(&str, Condition)] = &[
    ("personality", on_first(Op::Equal, 0, 0)),
    ("personality", on_first(Op::Equal, 0x0008, 0)),
    ("personality", on_first(Op::Equal, 0x2_0000, 0)),
    ("personality", on_first(Op::Equal, 0x2_0008, 0)),
    ("personality", on_first(Op::Equal, 0xffff_ffff, 0)),
    // Sockets to a virtual machine's host are nobody's business in a container.
    ("socket", on_first(Op::NotEqual, libc::AF_VSOCK as u64, 0)),
];

/// Every flag that makes a namespace.
const NAMESPACES: u64 = 0x7e02_0000;

const fn on_first(op: Op, value: u64, value_two: u64) -> Condition {
    Condition { index: 0, value, value_two, op }
}

/// For a container with these capabilities.
pub(super) fn profile(capabilities: &BTreeSet<&'static str>) -> Profile {
    let mut syscalls = vec![allow(ALLOWED.iter().copied(), vec![])];
    let has = BY_CAPABILITY.iter().filter(|(capability, _)| capabilities.contains(capability));
    syscalls.push(allow(has.map(|(_, names)| *names), vec![]));
    syscalls.extend(BY_ARGUMENT.iter().map(|(name, condition)| allow([*name].into_iter(), vec![*condition])));
    if !capabilities.contains("SYS_ADMIN") {
        syscalls.push(allow(["clone"].into_iter(), vec![on_first(Op::MaskedEqual, NAMESPACES, 0)]));
        // Its flags are out of a filter's sight; C libraries then fall back to `clone`.
        let errno_ret = Some(libc::ENOSYS as u16);
        syscalls.push(Rule { names: vec!["clone3".to_owned()], action: Action::Errno, errno_ret, args: vec![] });
    }
    Profile {
        default_action: Action::Errno,
        default_errno_ret: None,
        architectures: compile::other_architectures().map(str::to_owned).collect(),
        syscalls,
    }
}

fn allow<'a>(lines: impl Iterator<Item = &'a str>, args: Vec<Condition>) -> Rule {
    let names = lines.flat_map(str::split_whitespace).map(str::to_owned).collect();
    Rule { names, action: Action::Allow, errno_ret: None, args }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_there_twice_and_the_filter_is_short_enough() {
        let names: Vec<&str> = ALLOWED.iter().flat_map(|line| line.split_whitespace()).collect();
        let once: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), once.len());
        for forbidden in ["mount", "unshare", "setns", "bpf", "reboot", "keyctl", "io_uring_setup", "userfaultfd"] {
            assert!(!once.contains(forbidden), "{forbidden}");
        }
        let all: BTreeSet<&'static str> = BY_CAPABILITY.iter().map(|(capability, _)| *capability).collect();
        for capabilities in [BTreeSet::new(), all] {
            let filter = compile::compile(&profile(&capabilities)).expect("compiles");
            assert!(filter.len() < 800, "{}", filter.len());
        }
    }
}
