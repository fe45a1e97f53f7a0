//! Paths of the machine that pods ask for.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// What must be at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Kubernetes' own host path types")]
pub enum Kind {
    Unchecked,
    DirectoryOrCreate,
    Directory,
    FileOrCreate,
    File,
    Socket,
    CharDevice,
    BlockDevice,
}

impl Kind {
    /// From its name in a volume. Errors: it is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" => Self::Unchecked,
            "DirectoryOrCreate" => Self::DirectoryOrCreate,
            "Directory" => Self::Directory,
            "FileOrCreate" => Self::FileOrCreate,
            "File" => Self::File,
            "Socket" => Self::Socket,
            "CharDevice" => Self::CharDevice,
            "BlockDevice" => Self::BlockDevice,
            other => return Err(format!("hostPath type {other:?} is unknown")),
        })
    }
}

/// Makes what may be made, and checks that it is what was asked for.
///
/// Errors: a text for the pod's events. Source: kubelet `host_path.checkType`.
pub fn check(path: &Path, kind: Kind) -> Result<(), String> {
    let shown = path.display();
    match kind {
        Kind::DirectoryOrCreate if !path.exists() => {
            let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
            made.map_err(|error| format!("make {shown}: {error}"))?;
        }
        Kind::FileOrCreate if !path.exists() => {
            let made = OpenOptions::new().create(true).append(true).mode(0o644).open(path);
            made.map_err(|error| format!("make {shown}: {error}"))?;
        }
        _ => {}
    }
    let is = |test: fn(&fs::FileType) -> bool| fs::metadata(path).is_ok_and(|meta| test(&meta.file_type()));
    let (holds, wanted) = match kind {
        Kind::Unchecked => (true, ""),
        Kind::DirectoryOrCreate | Kind::Directory => (is(fs::FileType::is_dir), "directory"),
        Kind::FileOrCreate | Kind::File => (is(fs::FileType::is_file), "file"),
        Kind::Socket => (is(fs::FileType::is_socket), "socket file"),
        Kind::CharDevice => (is(fs::FileType::is_char_device), "character device"),
        Kind::BlockDevice => (is(fs::FileType::is_block_device), "block device"),
    };
    if holds { Ok(()) } else { Err(format!("hostPath type check failed: {shown} is not a {wanted}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        assert_eq!(check(&at("made"), Kind::DirectoryOrCreate), Ok(()));
        assert_eq!(check(&at("made"), Kind::Directory), Ok(()));
        assert_eq!(check(&at("file"), Kind::FileOrCreate), Ok(()));
        assert_eq!(check(&at("file"), Kind::File), Ok(()));
        assert_eq!(check(&at("nothing"), Kind::Unchecked), Ok(()));
        let no = format!("hostPath type check failed: {} is not a directory", at("none").display());
        assert_eq!(check(&at("none"), Kind::Directory), Err(no));
        assert!(check(&at("file"), Kind::Socket).expect_err("a file").ends_with("is not a socket file"));
        assert!(check(&at("file"), Kind::DirectoryOrCreate).is_err());
    }
}
