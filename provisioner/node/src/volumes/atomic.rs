//! Files of a volume that change all at once: readers see the old ones or the new ones, never a mixture.
//!
//! Source: kubelet `volume/util.AtomicWriter`: a folder with the time in its name, the link `..data` to it that is
//! swapped by a rename, and links from the names that users see into `..data`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use super::payload::{File, Payload};

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Writes `payload` into `folder` unless exactly that is there already; whether it wrote.
pub fn write(folder: &Path, payload: &Payload, group: Option<u32>) -> io::Result<bool> {
    let old = version_in_use(folder)?;
    if let Some(old) = &old
        && same(&folder.join(old), payload)?
    {
        return Ok(false);
    }
    let name = version_name(folder, old.as_deref());
    let version = folder.join(&name);
    fs::DirBuilder::new().mode(0o755).create(&version)?;
    open_folder(&version, group)?;
    for (path, file) in &payload.files {
        put(&version, path, file, group)?;
    }
    let next = folder.join(NEXT);
    remove_if_there(&next)?;
    symlink(&name, &next)?;
    fs::rename(&next, folder.join(DATA))?;
    link_names(folder, payload)?;
    if let Some(old) = old {
        fs::remove_dir_all(folder.join(old))?;
    }
    Ok(true)
}

/// The folder that `..data` leads to, if it is one that [`write`] may have made.
///
/// A container that may write here can make the link lead anywhere; the agent must not follow it out of the volume.
fn version_in_use(folder: &Path) -> io::Result<Option<PathBuf>> {
    let target = match fs::read_link(folder.join(DATA)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut parts = target.components();
    let only = match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) => name.to_str(),
        _ => None,
    };
    let own = only.is_some_and(|name| name.starts_with("..") && ![DATA, NEXT].contains(&name));
    let own = own && fs::symlink_metadata(folder.join(&target)).is_ok_and(|found| found.is_dir());
    Ok(own.then_some(target))
}

/// `..2026_01_02_03_04_05.6`: unlike any folder that is there. The number counts up, so that no clock is needed.
fn version_name(folder: &Path, old: Option<&Path>) -> String {
    let number = old.and_then(|old| old.to_str()?.rsplit('.').next()?.parse::<u64>().ok()).unwrap_or(0);
    let mut next = number + 1;
    while folder.join(format!("..{next:04}.{next}")).exists() {
        next += 1;
    }
    format!("..{next:04}.{next}")
}

fn put(version: &Path, path: &Path, file: &File, group: Option<u32>) -> io::Result<()> {
    let mut parent = version.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        parent.push(part);
        if !parent.exists() {
            fs::create_dir(&parent)?;
            open_folder(&parent, group)?;
        }
    }
    let target = version.join(path);
    fs::write(&target, &file.data)?;
    // A group that is given the volume may read what its owner may.
    let mode = if group.is_some() { file.mode | 0o440 } else { file.mode };
    chown(&target, file.user, group)?;
    fs::set_permissions(&target, PermissionsExt::from_mode(mode))
}

fn open_folder(path: &Path, group: Option<u32>) -> io::Result<()> {
    chown(path, None, group)?;
    fs::set_permissions(path, PermissionsExt::from_mode(if group.is_some() { 0o2755 } else { 0o755 }))
}

/// Links the first component of every path into `..data`, and removes links that lead nowhere now.
fn link_names(folder: &Path, payload: &Payload) -> io::Result<()> {
    let first = |path: &Path| {
        path.components().find_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            _ => None,
        })
    };
    let wanted: BTreeSet<_> = payload.files.keys().filter_map(|path| first(path)).collect();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.to_string_lossy().starts_with("..") && !wanted.contains(&name) {
            remove_if_there(&folder.join(&name))?;
        }
    }
    for name in wanted {
        let link = folder.join(&name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(&name), link)?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn same(version: &Path, payload: &Payload) -> io::Result<bool> {
    let mut there = BTreeSet::new();
    if !version.is_dir() {
        return Ok(false);
    }
    walk(version, version, &mut there)?;
    if there.len() != payload.files.len() {
        return Ok(false);
    }
    for (path, file) in &payload.files {
        if !there.contains(path) || fs::read(version.join(path))? != file.data {
            return Ok(false);
        }
    }
    Ok(true)
}

fn walk(root: &Path, folder: &Path, out: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(root, &entry.path(), out)?;
        } else if let Ok(path) = entry.path().strip_prefix(root) {
            out.insert(path.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |text: &str| File { data: text.as_bytes().to_vec(), mode: 0o644, user: None };
        Payload { files: files.iter().map(|(path, text)| (path.into(), file(text))).collect() }
    }

    #[test]
    fn swaps_all_files_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        assert!(write(folder.path(), &payload(&[("a", "1"), ("deep/er", "2")]), None).expect("written"));
        let first = fs::read_link(at(DATA)).expect("a link");
        assert_eq!(fs::read_to_string(at("a")).expect("there"), "1");
        assert_eq!(fs::read_to_string(at("deep/er")).expect("there"), "2");
        assert_eq!(fs::read_link(at("deep")).expect("a link"), Path::new("..data/deep"));
        assert!(!write(folder.path(), &payload(&[("a", "1"), ("deep/er", "2")]), None).expect("unchanged"));
        assert!(write(folder.path(), &payload(&[("a", "3")]), None).expect("written"));
        assert_eq!(fs::read_to_string(at("a")).expect("there"), "3");
        assert!(!at("deep").exists() && !at(&first.to_string_lossy()).exists());
        assert!(write(folder.path(), &payload(&[]), None).expect("written"));
        assert!(!at("a").exists() && at(DATA).exists());
    }

    #[test]
    fn follows_no_link_that_a_container_made() {
        let place = tempfile::tempdir().expect("a folder");
        let (volume, host) = (place.path().join("volume"), place.path().join("host"));
        let kept = host.join("kept");
        for target in [host.clone(), "../host".into(), "..out".into(), DATA.into(), ".".into()] {
            fs::create_dir_all(&volume).expect("made");
            fs::create_dir_all(&host).expect("made");
            fs::write(&kept, "1").expect("written");
            write(&volume, &payload(&[("a", "1")]), None).expect("written");
            symlink(&host, volume.join("..out")).expect("linked");
            fs::remove_file(volume.join(DATA)).expect("removed");
            symlink(&target, volume.join(DATA)).expect("linked");
            for text in ["2", "3"] {
                assert!(write(&volume, &payload(&[("a", text)]), None).expect("written"), "{target:?}");
                assert_eq!(fs::read_to_string(volume.join("a")).expect("there"), text, "{target:?}");
            }
            assert_eq!(fs::read_to_string(&kept).expect("still there"), "1", "{target:?}");
            assert_eq!(fs::read_dir(&host).expect("there").count(), 1, "{target:?}");
            fs::remove_dir_all(&volume).expect("removed");
        }
    }
}
