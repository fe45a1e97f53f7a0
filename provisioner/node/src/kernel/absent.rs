//! No Linux kernel: nothing is mounted, and what needs it says so.

use std::io;

fn needs_linux<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("{what} need Linux")))
}

/// Nothing is labelled.
pub(crate) fn has_selinux() -> bool {
    false
}

/// Nothing is mounted below the agent's root.
pub mod mounts {
    use std::io;
    use std::path::Path;

    /// Errors: always; what shall be in memory must not be on a disk instead.
    pub fn tmpfs(_path: &Path, _size: Option<u64>, _mode: u32) -> io::Result<()> {
        super::needs_linux("volumes in memory")
    }

    /// Errors: always.
    pub fn bind(_source: &Path, _target: &Path) -> io::Result<()> {
        super::needs_linux("volumes of claims")
    }

    /// Nothing is.
    pub fn is_mount_point(_path: &Path) -> io::Result<bool> {
        Ok(false)
    }

    /// There is no other mount namespace that would have to see a mount. Makes the folder, as its twin does.
    pub fn share(folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)
    }

    /// Nothing is mounted.
    pub fn unmount_below(_root: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// No parts of volumes.
pub mod sub_path {
    use std::io;
    use std::path::Path;

    /// Errors: always.
    pub fn pin(_volume: &Path, _relative: &Path, _pin: &Path) -> io::Result<()> {
        super::needs_linux("parts of volumes")
    }
}

/// No changes of files.
pub(crate) mod watch {
    use std::io;
    use std::path::Path;

    /// A watch that there is none of.
    pub(crate) enum Watch {}

    impl Watch {
        /// Errors: always.
        pub(crate) fn of_growth(_path: &Path) -> io::Result<Self> {
            super::needs_linux("logs that are followed")
        }

        pub(crate) async fn change(&mut self) -> io::Result<()> {
            match *self {}
        }
    }
}
