//! What needs the Linux kernel is behind one switch, `cfg(containers)`: its sources and its crates.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "asks cargo what it would compile")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates that the command is made of.
const CRATES: &[&str] = &["lib/schema", "lib", "provisioner/control-plane", "provisioner/node", "provisioner/cli"];

/// What no other system has.
const LINUX: &[&str] = &[
    "os::linux",
    "libc::",
    "rustix::",
    "libcontainer",
    "oci_spec",
    "netlink",
    "syscalls::",
    "inotify",
    "epoll",
    "eventfd",
    "signalfd",
    "timerfd",
    "pidfd",
    "memfd",
    "prctl",
    "openat2",
    "renameat2",
    "pipe2",
    "dup3",
    "gettid",
    "O_PATH",
    "O_TMPFILE",
    "SO_PEERCRED",
    "from_abstract_name",
    "\"/proc",
    "\"/sys",
    "target_os",
];

/// What other systems have of `nix`.
const NIX: &[&str] = &["errno::", "fcntl::OFlag", "sys::resource::", "sys::signal::", "unistd::"];

/// Crates that only Linux, or only real containers, have a use for.
const CRATES_OF_CONTAINERS: &[&str] = &[
    "hickory-proto",
    "inotify",
    "libcgroups",
    "libcontainer",
    "linux-raw-sys",
    "netlink-bindings",
    "netlink-socket2",
    "oci-spec",
    "procfs",
    "rustix",
    "syscalls",
    "tar",
    "nix feature \"inotify\"",
    "nix feature \"mount\"",
    "nix feature \"sched\"",
    "nix feature \"socket\"",
];

const OTHER_SYSTEMS: &[&str] = &["x86_64-apple-darwin", "aarch64-apple-darwin", "x86_64-unknown-freebsd"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The modules of the command, by the side of the switch that they are on.
#[derive(Default)]
struct Modules {
    /// For every system, with their code but without comments and tests.
    everywhere: Vec<(PathBuf, String)>,
    /// Files of modules that are on with containers alone.
    switched: Vec<PathBuf>,
}

impl Modules {
    /// Follows the `mod` lines of `file`, whose own modules are in `folder`.
    fn visit(&mut self, file: &Path, folder: &Path) {
        let text = fs::read_to_string(file).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<&str> = product.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(name) = module(line) else { continue };
            let (flat, nested) = (folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs"));
            let file = if flat.exists() { flat } else { nested };
            match index.checked_sub(1).map(|before| lines[before]) {
                Some("#[cfg(containers)]") => self.switched.push(file),
                _ => self.visit(&file, &folder.join(name)),
            }
        }
        self.everywhere.push((file.to_owned(), lines.join("\n")));
    }
}

/// The name in a line that says that a module is in a file of its own.
fn module(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
    line.strip_prefix("mod ")?.strip_suffix(';')
}

fn modules() -> Modules {
    let mut modules = Modules::default();
    for one in CRATES {
        let source = root().join(one).join("src");
        modules.visit(&source.join("lib.rs"), &source);
    }
    modules
}

/// What a text has of Linux alone.
fn of_linux(code: &str) -> Vec<&str> {
    let words = LINUX.iter().copied().filter(|word| code.contains(word));
    let from_nix = code.match_indices("nix::").map(|(at, _)| &code[at..]).filter(|from| {
        !code[..code.len() - from.len()].ends_with(|before: char| before == ':' || before.is_alphanumeric())
            && !NIX.iter().any(|fine| from["nix::".len()..].starts_with(fine))
    });
    words.chain(from_nix.map(|from| from.lines().next().unwrap_or_default())).collect()
}

#[test]
fn what_only_linux_has_is_behind_the_switch() {
    let modules = modules();
    for (file, code) in &modules.everywhere {
        assert_eq!(of_linux(code), Vec::<&str>::new(), "{} is for every system", file.display());
    }
    // The other side has it, so the words are those that are used and the modules were followed.
    let switched: Vec<String> = modules.switched.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!(switched.iter().filter(|code| !of_linux(code).is_empty()).count() > 3, "{:?}", modules.switched);
    assert!(modules.everywhere.len() > 300, "{} modules are followed", modules.everywhere.len());
}

#[test]
fn whole_modules_are_switched_and_nothing_smaller() {
    let mut asked = 0;
    for (file, code) in modules().everywhere {
        let lines: Vec<&str> = code.lines().collect();
        for (index, line) in
            lines.iter().enumerate().filter(|(_, line)| line.contains("cfg") && line.contains("(containers)"))
        {
            if line.contains("cfg!(containers)") {
                asked += 1;
                continue;
            }
            let switch = ["#[cfg(containers)]", "#[cfg(not(containers))]"].contains(line);
            let next = lines.get(index + 1).copied().unwrap_or_default();
            let whole = module(next).is_some() || next.starts_with("use ");
            assert!(switch && whole, "{}: {line} {next}", file.display());
        }
    }
    assert_eq!(asked, 1, "the value of the switch is asked for in one place");
}

/// Crates and features of the command, as cargo resolves them without compiling.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap();
    let out = Command::new(cargo)
        .args(["tree", "--package", "kprov-cli", "--edges", "normal,features", "--prefix", "none", "--locked"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    // A crate is followed by its version, a feature of it by the word.
    let names = text.lines().map(|line| match line.split_once(" v") {
        Some((name, _)) if !line.contains(" feature ") => name,
        _ => line.trim_end_matches(" (*)"),
    });
    names.map(str::to_owned).collect()
}

fn of_containers(tree: &BTreeSet<String>) -> Vec<&str> {
    assert!(tree.contains("kprov-node") && tree.contains("nix feature \"signal\""), "the tree is read: {tree:?}");
    CRATES_OF_CONTAINERS.iter().copied().filter(|one| tree.contains(*one)).collect()
}

#[test]
fn other_systems_get_no_crate_of_linux() {
    for target in OTHER_SYSTEMS {
        for features in [&[][..], &["--no-default-features"]] {
            let arguments = [&["--target", target], features].concat();
            assert_eq!(of_containers(&tree(&arguments)), Vec::<&str>::new(), "{arguments:?}");
        }
    }
}

#[test]
fn without_containers_linux_gets_none_either() {
    let linux = ["--target", "x86_64-unknown-linux-gnu"];
    assert_eq!(of_containers(&tree(&[&linux[..], &["--no-default-features"]].concat())), Vec::<&str>::new());
    assert!(of_containers(&tree(&linux)).len() > 8, "with containers it has them");
}
