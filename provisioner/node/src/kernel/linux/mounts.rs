//! What is mounted below the agent's root, made and undone.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mounts an in-memory file system unless one is there.
pub fn tmpfs(path: &Path, size: Option<u64>, mode: u32) -> io::Result<()> {
    if is_mount_point(path)? {
        return Ok(());
    }
    let mut options = format!("mode={mode:o}");
    if let Some(size) = size {
        options.push_str(&format!(",size={size}"));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options.as_str())).map_err(io::Error::from)
}

/// Makes what `source` leads to visible at `target` too.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>).map_err(io::Error::from)
}

/// Lets what is mounted below a folder later be seen in mount namespaces that exist already, as those of sandboxes do.
pub fn share(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    if !is_mount_point(folder)? {
        bind(folder, folder)?;
    }
    mount(None::<&str>, folder, None::<&str>, MsFlags::MS_SHARED, None::<&str>).map_err(io::Error::from)
}

/// Whether a path is the root of a mount.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let path = path.canonicalize()?;
    Ok(table()?.contains(&path))
}

/// Unmounts everything below `root`, the newest mount first. What is in use goes as soon as it is not.
pub fn unmount_below(root: &Path) -> io::Result<()> {
    let Ok(root) = root.canonicalize() else { return Ok(()) };
    for path in table()?.into_iter().rev().filter(|path| path.starts_with(&root)) {
        match umount2(&path, MntFlags::MNT_DETACH) {
            // A mount that went with its parent is as gone as it should be.
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Whoever removes the folder now must not reach what was mounted in it.
    match table()?.into_iter().find(|path| path.starts_with(&root)) {
        Some(path) => Err(io::Error::other(format!("{} is still mounted", path.display()))),
        None => Ok(()),
    }
}

/// Every mount point, oldest first.
fn table() -> io::Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| PathBuf::from(unescape(path))).collect())
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((first, rest)) = bytes.split_first() {
        let code = rest.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                bytes = &rest[3..];
            }
            None => {
                out.push(*first);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
        assert_eq!(unescape("/a\\0"), "/a\\0");
    }

    #[test]
    fn the_root_is_a_mount_point() {
        assert!(is_mount_point(Path::new("/")).expect("mountinfo can be read"));
        assert!(!is_mount_point(&std::env::temp_dir().join("..").join("etc")).expect("mountinfo can be read"));
    }
}
