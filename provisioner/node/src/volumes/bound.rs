//! The folder behind a claim, made visible in a pod.
//!
//! Source: kubelet `pkg/volume/local`, `pkg/volume/hostpath`, `pkg/volume/volume_linux.go`

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::PersistentVolume;

use super::{host_path, mounts};

/// Who makes volumes for this machine; their folders are made when they are first needed.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Where the data of a volume is, and how it is prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The folder on this machine.
    pub source: PathBuf,
    /// What is done about it.
    pub kind: Kind,
    /// A pod's group is given the files only when the folder is not the group's yet.
    pub on_mismatch: bool,
}

/// What is done about the folder of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path of the machine, checked as pods' own are; it belongs to nobody here.
    Host(host_path::Kind),
    /// A folder that must be there.
    Local,
    /// A folder that is the volume's alone.
    Made,
}

impl Bound {
    /// The data of a volume. Errors: it is of a sort that this node does not mount.
    pub fn of(volume: &PersistentVolume, on_mismatch: bool) -> Result<Self, String> {
        let spec = volume.spec.clone().unwrap_or_default();
        if spec.volume_mode.as_deref() == Some("Block") {
            return Err("volumes of mode Block are not supported by this node".to_owned());
        }
        if let Some(host) = &spec.host_path {
            let kind = Kind::Host(host_path::Kind::parse(host.type_.as_deref().unwrap_or_default())?);
            return Ok(Self { source: PathBuf::from(&host.path), kind, on_mismatch });
        }
        if let Some(local) = &spec.local {
            let made = volume.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(PROVISIONED_BY));
            let kind = if made { Kind::Made } else { Kind::Local };
            return Ok(Self { source: PathBuf::from(&local.path), kind, on_mismatch });
        }
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        Err(format!(
            "persistentvolume {name:?} is neither of type local nor hostPath: it is not supported by this node"
        ))
    }

    /// Makes it visible at `target` for the pod's group, unless it is already. May be called again at any time.
    pub(super) fn set_up(&self, target: &Path, group: Option<u32>) -> Result<(), String> {
        let shown = self.source.display();
        let mounted =
            target.exists() && mounts::is_mount_point(target).map_err(|error| format!("look at {shown}: {error}"))?;
        if mounted {
            return Ok(());
        }
        match self.kind {
            Kind::Host(kind) => {
                // Containers see a folder where nothing is, as container runtimes make it.
                if kind == host_path::Kind::Unchecked && !self.source.exists() {
                    fs::create_dir_all(&self.source).map_err(|error| format!("make {shown}: {error}"))?;
                }
                host_path::check(&self.source, kind)?;
            }
            Kind::Local if !self.source.exists() => return Err(format!("path {shown:?} does not exist")),
            Kind::Local => {}
            Kind::Made => self.make().map_err(|error| format!("make {shown}: {error}"))?,
        }
        if let (Some(group), Kind::Local | Kind::Made) = (group, self.kind) {
            give(&self.source, group, self.on_mismatch)
                .map_err(|error| format!("give {shown} to its group: {error}"))?;
        }
        self.show(target).map_err(|error| format!("mount {shown}: {error}"))
    }

    /// A folder that everybody may write into: whoever the pod runs as, the volume is its own.
    fn make(&self) -> io::Result<()> {
        if self.source.exists() {
            return Ok(());
        }
        if let Some(parent) = self.source.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        fs::create_dir(&self.source)?;
        fs::set_permissions(&self.source, fs::Permissions::from_mode(0o777))
    }

    fn show(&self, target: &Path) -> io::Result<()> {
        if self.source.is_dir() {
            fs::create_dir_all(target)?;
        } else if !target.exists() {
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::File::create(target)?;
        }
        mounts::bind(&self.source, target)
    }
}

/// Gives a folder and all that is in it to a group.
fn give(path: &Path, group: u32, on_mismatch: bool) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    let is_given = meta.gid() == group && meta.permissions().mode() & 0o2770 == 0o2770;
    if on_mismatch && is_given {
        return Ok(());
    }
    give_all(path, group)
}

fn give_all(path: &Path, group: u32) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    std::os::unix::fs::lchown(path, None, Some(group))?;
    if meta.is_symlink() {
        return Ok(());
    }
    let bits = if meta.is_dir() { 0o2770 } else { 0o660 };
    fs::set_permissions(path, fs::Permissions::from_mode((meta.permissions().mode() & 0o7777) | bits))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            give_all(&entry?.path(), group)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(more: Value, annotations: Value) -> Result<Bound, String> {
        let value = json!({"metadata": {"name": "v", "annotations": annotations}, "spec": more});
        Bound::of(&serde_json::from_value(value).expect("a volume"), false)
    }

    #[test]
    fn only_folders_of_this_machine_are_mounted() {
        let local = json!({"local": {"path": "/x"}});
        assert_eq!(of(local.clone(), json!({})).map(|one| one.kind), Ok(Kind::Local));
        assert_eq!(of(local, json!({PROVISIONED_BY: "kprov.dev/local"})).map(|one| one.kind), Ok(Kind::Made));
        let host = of(json!({"hostPath": {"path": "/x", "type": "Directory"}}), json!({}));
        assert_eq!(host.map(|one| one.kind), Ok(Kind::Host(host_path::Kind::Directory)));
        for other in
            [json!({"nfs": {"server": "s", "path": "/"}}), json!({"local": {"path": "/x"}, "volumeMode": "Block"})]
        {
            assert!(of(other, json!({})).is_err());
        }
    }

    #[test]
    fn what_is_in_a_folder_goes_to_the_group_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let outside = tempfile::NamedTempFile::new().expect("a file");
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o600)).expect("set");
        fs::create_dir(at("volume")).expect("made");
        fs::write(at("volume/file"), "x").expect("written");
        fs::set_permissions(at("volume/file"), fs::Permissions::from_mode(0o600)).expect("set");
        std::os::unix::fs::symlink(outside.path(), at("volume/link")).expect("linked");
        let own = fs::metadata(at("volume")).expect("there").gid();
        give(&at("volume"), own, false).expect("given");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        assert_eq!((mode(&at("volume")) & 0o2770, mode(&at("volume/file"))), (0o2770, 0o660));
        assert_eq!(mode(outside.path()), 0o600);
        fs::set_permissions(at("volume/file"), fs::Permissions::from_mode(0o600)).expect("set");
        give(&at("volume"), own, true).expect("given");
        assert_eq!(mode(&at("volume/file")), 0o600, "the folder is the group's already");
    }

    #[test]
    fn a_made_folder_is_open_to_all_and_a_local_one_must_be_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("deep/volume");
        let bound = Bound { source: source.clone(), kind: Kind::Made, on_mismatch: false };
        bound.make().expect("made");
        assert_eq!(fs::metadata(&source).expect("there").permissions().mode() & 0o7777, 0o777);
        let missing = Bound { source: folder.path().join("none"), kind: Kind::Local, on_mismatch: false };
        let why = missing.set_up(&folder.path().join("target"), None).expect_err("not there");
        assert_eq!(why, format!("path \"{}\" does not exist", folder.path().join("none").display()));
    }
}
