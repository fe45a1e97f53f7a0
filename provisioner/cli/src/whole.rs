//! Files that are there whole or not at all, whatever happens while they are written.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// Puts a file in place of the one at `path`, readable by its owner alone; when it returns, it survives a power cut.
///
/// The owner stays who it was: `sudo kprov up` does not take away a user's own kubeconfig.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_added_extension("kprov-new");
    // One that a crash left may have another mode, and belongs to nobody: writers hold a lock.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let old = match fs::metadata(path) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    if let Some(old) = old {
        let new = file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        // A file that nobody may write stays so.
        file.set_permissions(Permissions::from_mode(old.mode() & 0o600))?;
    }
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::write(folder.path().join("file.kprov-new"), "left by a crash").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        // Who is not root can give files to nobody else.
        let owner = if nix::unistd::geteuid().is_root() { 12_345 } else { nix::unistd::geteuid().as_raw() };
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        write(&path, b"newer").unwrap();
        let kept = fs::metadata(&path).unwrap();
        assert_eq!((kept.uid(), kept.mode() & 0o777), (owner, 0o400));
        assert!(write(&folder.path().join("no/such/folder"), b"").is_err());
    }
}
