//! Which system calls a container may make: a profile, as a program for the kernel.
//!
//! The program is loaded right before the container's own is executed, so that nothing that makes the container has to be
//! allowed by it.

#![allow(unsafe_code, reason = "a filter is loaded by a bare system call")]

mod compile;
mod default;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use nix::libc;
use serde::Deserialize;

use crate::runtime::Seccomp;

/// A program in the kernel's packet filter language.
pub(super) type Filter = Vec<libc::sock_filter>;

/// A profile in the form that OCI runtimes read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: Action,
    #[serde(default)]
    default_errno_ret: Option<u16>,
    /// Those beside the machine's own that may be used.
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    names: Vec<String>,
    action: Action,
    #[serde(default)]
    errno_ret: Option<u16>,
    /// All must hold; those of one argument are alternatives.
    #[serde(default)]
    args: Vec<Condition>,
}

/// On one argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    index: u8,
    value: u64,
    /// What `value` as a mask leaves.
    #[serde(default)]
    value_two: u64,
    op: Op,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Op {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
}

/// The filter of a container with these capabilities; `None` allows everything.
///
/// Errors: a profile that can't be read or understood, in words for the user.
pub(super) fn filter(wish: &Seccomp, capabilities: &BTreeSet<&'static str>) -> Result<Option<Filter>, String> {
    let profile = match wish {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::RuntimeDefault => default::profile(capabilities),
        Seccomp::Localhost(path) => read(path)?,
    };
    compile::compile(&profile).map(Some)
}

fn read(path: &Path) -> Result<Profile, String> {
    let fail = |error: &dyn std::fmt::Display| format!("cannot load seccomp profile {:?}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| fail(&error))?;
    serde_json::from_slice(&text).map_err(|error| fail(&error))
}

/// Writes a filter down: eight bytes a step, as the kernel has them.
pub(super) fn save(path: &Path, filter: &[libc::sock_filter]) -> io::Result<()> {
    let bytes = filter.iter().flat_map(|step| {
        let [a, b] = step.code.to_ne_bytes();
        let [c, d, e, f] = step.k.to_ne_bytes();
        [a, b, step.jt, step.jf, c, d, e, f]
    });
    std::fs::write(path, bytes.collect::<Vec<u8>>())
}

/// Reads what [`save`] wrote; `None` when nothing was.
pub(super) fn load(path: &Path) -> io::Result<Option<Filter>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let steps = bytes.chunks_exact(8).map(|step| libc::sock_filter {
        code: u16::from_ne_bytes([step[0], step[1]]),
        jt: step[2],
        jf: step[3],
        k: u32::from_ne_bytes([step[4], step[5], step[6], step[7]]),
    });
    Ok(Some(steps.collect()))
}

/// Loads a filter into this process for good. Needs `no_new_privs` or `CAP_SYS_ADMIN`.
pub(super) fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).map_err(|_| io::Error::other("the seccomp filter is too long"))?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which outlives the call, and writes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&program)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_can_not_be_used_is_named_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("p.json");
        let words = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&path, text).expect("written");
            }
            filter(&Seccomp::Localhost(path.clone()), &BTreeSet::new()).err().unwrap_or_default()
        };
        let missing = words(None);
        assert!(missing.contains("p.json") && missing.contains("No such file"), "{missing}");
        assert!(words(Some("{}")).contains("missing field `defaultAction`"));
        let action = r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#;
        assert!(words(Some(action)).contains("unknown variant `SCMP_ACT_NOTIFY`"));
        let argument = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action":
            "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#;
        assert!(words(Some(argument)).contains("argument 6"));
        assert_eq!(words(Some(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#)), "");
        assert_eq!(filter(&Seccomp::Unconfined, &BTreeSet::new()).map(|filter| filter.is_none()), Ok(true));
    }
}
