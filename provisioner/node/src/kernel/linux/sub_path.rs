//! Parts of volumes, pinned so that a container can't lead the mount elsewhere.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, mkdirat};

use super::mounts;

/// Opens `relative` below `volume`, making missing folders, and binds it at `pin`.
///
/// Links may not lead out of the volume: the kernel resolves below it or fails.
pub fn pin(volume: &Path, relative: &Path, pin: &Path) -> io::Result<()> {
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("subPath {} leaves its volume", relative.display()),
        ));
    }
    if pin.exists() && mounts::is_mount_point(pin)? {
        mounts::unmount_below(pin)?;
    }
    let target = resolve(volume, relative)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", target.as_raw_fd()));
    place(pin, fs::metadata(&source)?.is_dir())?;
    mounts::bind(&source, pin)
}

fn resolve(volume: &Path, relative: &Path) -> io::Result<OwnedFd> {
    let root = open(volume, OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    match open_below(&root, relative) {
        Err(nix::Error::ENOENT) => {}
        other => return Ok(other?),
    }
    let mut made = PathBuf::new();
    for part in relative.components() {
        made.push(part);
        match open_below(&root, &made) {
            Err(nix::Error::ENOENT) => {
                let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let name = made.file_name().map(Path::new).unwrap_or(&made);
                // Folders are as open as the volume itself, as upstream makes them.
                mkdirat(&open_below(&root, parent)?, name, Mode::from_bits_truncate(0o777))?;
                open_up(&open_below(&root, &made)?)?;
            }
            other => drop(other?),
        }
    }
    Ok(open_below(&root, relative)?)
}

/// A folder made through a umask is opened up again.
fn open_up(folder: &OwnedFd) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777))
}

fn open_below(root: &OwnedFd, relative: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, relative, how)
}

fn place(path: &Path, is_folder: bool) -> io::Result<()> {
    let folder = if is_folder { Some(path) } else { path.parent() };
    DirBuilder::new().recursive(true).mode(0o755).create(folder.unwrap_or(path))?;
    if !is_folder {
        File::options().create(true).append(true).open(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn resolves_below_the_volume_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let volume = folder.path();
        fs::create_dir(volume.join("..data")).expect("made");
        fs::write(volume.join("..data/k"), "v").expect("written");
        symlink("..data/k", volume.join("k")).expect("linked");
        symlink("/etc", volume.join("out")).expect("linked");
        symlink("../..", volume.join("up")).expect("linked");
        assert!(resolve(volume, Path::new("k")).is_ok());
        assert!(resolve(volume, Path::new("new/deep")).is_ok());
        assert!(volume.join("new/deep").is_dir());
        assert!(resolve(volume, Path::new("out/passwd")).is_err());
        assert!(resolve(volume, Path::new("up")).is_err());
        assert!(pin(volume, Path::new("../x"), Path::new("/nowhere")).is_err());
    }
}
