//! Which of root's powers a container has.

use std::collections::BTreeSet;
use std::io;

use crate::runtime::Privileges;

/// Every capability by its number.
const NAMES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What containerd gives by default.
const DEFAULT: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// What this process may hand on: its bounding set, as the kernel prints it.
pub(super) fn bounding() -> io::Result<BTreeSet<&'static str>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    mask.map(from_mask).ok_or_else(|| io::Error::other("/proc/self/status tells no CapBnd"))
}

fn from_mask(mask: u64) -> BTreeSet<&'static str> {
    NAMES.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, name)| *name).collect()
}

/// The capabilities of a container, without `CAP_`.
///
/// The machine's own bounds apply to whole sets silently. One that was added by name and can't be had is an error, as is
/// an unknown name. `devices` tells whether device access is held back by a control group; without that, only a privileged
/// container has `MKNOD`, for with it one could open the machine's disks.
pub(super) fn decide(
    wishes: &Privileges,
    bounds: &BTreeSet<&'static str>,
    devices: bool,
) -> Result<BTreeSet<&'static str>, String> {
    let (add, drop) = (known(&wishes.add)?, known(&wishes.drop)?);
    if let Some(name) = add.iter().flatten().find(|name| !bounds.contains(*name)) {
        return Err(format!("capability {name} can't be added: this machine does not grant it to kprov itself"));
    }
    let mknod = wishes.privileged || devices;
    if !mknod && add.contains(&Some("MKNOD")) {
        let why = "nothing holds containers back from devices under control groups v2, so only privileged ones have it";
        return Err(format!("capability MKNOD can't be added: {why}"));
    }
    let mut set: BTreeSet<&'static str> = match (wishes.privileged || add.contains(&None), drop.contains(&None)) {
        (true, _) if wishes.privileged => return Ok(bounds.clone()),
        (_, true) => BTreeSet::new(),
        (true, false) => bounds.clone(),
        (false, false) => DEFAULT.iter().copied().filter(|name| bounds.contains(name)).collect(),
    };
    if !mknod {
        set.remove("MKNOD");
    }
    set.extend(add.into_iter().flatten());
    for name in drop.into_iter().flatten() {
        set.remove(name);
    }
    Ok(set)
}

/// Names as this table has them; `ALL` is `None`.
fn known(names: &[String]) -> Result<Vec<Option<&'static str>>, String> {
    let find = |name: &String| {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if bare == "ALL" {
            return Ok(None);
        }
        let found = NAMES.iter().find(|known| **known == bare);
        found.map(|name| Some(*name)).ok_or_else(|| format!("unknown capability {name:?}"))
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(add: &[&str], drop: &[&str], privileged: bool) -> String {
        // All but SYS_RESOURCE and MKNOD's neighbours above 31, so that the lists stay short.
        let bounds = from_mask(0x0000_0000_2840_0401 | (1 << 13));
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let wishes = Privileges { add: list(add), drop: list(drop), privileged, ..Privileges::default() };
        match decide(&wishes, &bounds, true) {
            Ok(set) => set.into_iter().collect::<Vec<_>>().join(" "),
            Err(words) => words,
        }
    }

    #[test]
    fn sets_are_cut_to_the_bounds_and_names_are_not() {
        assert_eq!(NAMES.len(), 41);
        assert_eq!(show(&[], &[], false), "AUDIT_WRITE CHOWN MKNOD NET_BIND_SERVICE NET_RAW");
        assert_eq!(show(&[], &["ALL"], false), "");
        assert_eq!(show(&["CAP_NET_BIND_SERVICE"], &["all"], false), "NET_BIND_SERVICE");
        assert_eq!(show(&["ALL"], &["MKNOD"], false), "AUDIT_WRITE CHOWN NET_BIND_SERVICE NET_RAW SYS_BOOT");
        assert_eq!(show(&[], &["ALL"], true), "AUDIT_WRITE CHOWN MKNOD NET_BIND_SERVICE NET_RAW SYS_BOOT");
        assert!(show(&["SYS_ADMIN"], &[], false).contains("does not grant"));
        assert!(show(&["FLY"], &[], false).contains("unknown"));
    }

    #[test]
    fn nobody_makes_devices_that_nothing_holds_back() {
        for (add, privileged, want) in [
            (None, false, Ok(false)),
            (Some("ALL"), false, Ok(false)),
            (Some("MKNOD"), false, Err(())),
            (Some("cap_mknod"), false, Err(())),
            (None, true, Ok(true)),
            (Some("MKNOD"), true, Ok(true)),
        ] {
            let wishes =
                Privileges { add: add.into_iter().map(str::to_owned).collect(), privileged, ..Privileges::default() };
            let has = decide(&wishes, &from_mask(u64::MAX), false).map(|set| set.contains("MKNOD"));
            assert_eq!(has.map_err(drop), want, "{add:?} {privileged}");
        }
    }
}
