//! Files that become keys of config maps and secrets.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use super::text::DataKey;

/// The file under its own name, or all files of a folder, as kubectl's `--from-file` takes them: no folders below.
pub(super) fn read(path: &Path) -> Result<Vec<(DataKey, Vec<u8>)>> {
    if !told(path, std::fs::metadata(path))?.is_dir() {
        return Ok(vec![file(path)?]);
    }
    let mut files = Vec::new();
    for entry in told(path, std::fs::read_dir(path))? {
        let inner = told(path, entry)?.path();
        if inner.is_file() {
            files.push(file(&inner)?);
        }
    }
    files.sort();
    Ok(files)
}

fn file(path: &Path) -> Result<(DataKey, Vec<u8>)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let key = name.parse().map_err(|error: super::Invalid| Error::new(ErrorKind::InvalidInput, error))?;
    Ok((key, told(path, std::fs::read(path))?))
}

/// Puts the path in front of what went wrong with it.
fn told<T>(path: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
}
