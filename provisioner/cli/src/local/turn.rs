//! Whose turn it is: commands that change one cluster wait for each other.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use kprov::cluster::Report;

use crate::home::Folder;

/// The right to change a cluster, until it is dropped or its process ends.
#[derive(Debug)]
pub(crate) struct Turn {
    _file: File,
}

/// Waits until no other command changes the cluster. Makes its folder.
pub(crate) async fn take(folder: &Folder, report: &dyn Report) -> anyhow::Result<Turn> {
    let path = folder.turn();
    loop {
        folder.make()?;
        let what = || format!("locking {}", path.display());
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).with_context(what)?;
        let file = match file.try_lock() {
            Ok(()) => file,
            Err(TryLockError::WouldBlock) => {
                report.says("wait for another command to finish with the cluster");
                let wait = move || file.lock().map(|()| file);
                tokio::task::spawn_blocking(wait).await?.with_context(what)?
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(what),
        };
        // Who was waited for may have taken the cluster down, and the file with it.
        if is_at(&file, &path).with_context(what)? {
            return Ok(Turn { _file: file });
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
