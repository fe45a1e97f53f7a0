//! The built-in image: the kprov binary itself, serving what it hears.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::archive::{Candidate, build_manifest};
use super::layer::digest_text;
use super::manifest::{Configuration, Descriptor, Execution, LAYER, RootFs, architecture};
use super::{At, Error, Reference, Store};
use crate::runtime::{BUILTIN, Image};

const USER: u32 = 65532;

/// Everything in the layer but the binary: path, mode, content.
const FILES: &[(&str, u32, &str)] = &[
    ("etc/passwd", 0o644, "root:x:0:0:root:/:/\necho:x:65532:65532:echo:/:/\n"),
    ("etc/group", 0o644, "root:x:0:\necho:x:65532:\n"),
];

/// Which file the image was last made of. A file's digest is only computed when one of these differs.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    image: String,
}

impl Store {
    /// Makes sure that [`BUILTIN`] is the image of `binary`, which is linked statically and understands `echo-server`.
    ///
    /// The binary is copied once, by reference where the file system can.
    pub fn add_builtin(&self, binary: &Path) -> Result<Image, Error> {
        let file = File::open(binary).at("open", binary)?;
        let found = file.metadata().at("look at", binary)?;
        let known = self.path("builtin.json");
        let made: Option<Made> = fs::read(&known).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut now = Made {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            image: made.as_ref().map(|m| m.image.clone()).unwrap_or_default(),
        };
        if made.is_some_and(|made| made == now)
            && let Some(image) = self.find(BUILTIN)?.filter(|image| image.id == now.image)
        {
            return Ok(image);
        }
        let _import = self.import()?;
        let image = self.make_builtin(&file, binary)?;
        now.image.clone_from(&image.id);
        self.replace(&known, &serde_json::to_vec(&now).expect("strings and numbers are always JSON"))?;
        Ok(image)
    }

    fn make_builtin(&self, binary: &File, path: &Path) -> Result<Image, Error> {
        let size = binary.metadata().at("look at", path)?.len();
        let mut hash = Sha256::new();
        write_archive(binary, size, &mut hash).at("read", path)?;
        let diff_id = digest_text(hash);
        if !self.has_layer(&diff_id)? {
            let work = self.work_folder()?;
            let layer = work.0.join("layer");
            write_folder(path, &layer.join("fs"))?;
            self.add_layer(&layer, &diff_id, size)?;
        }
        let config = serde_json::to_vec(&configuration(&diff_id)).expect("strings and numbers are always JSON");
        let layer = Descriptor { media_type: LAYER.into(), digest: diff_id, size, ..Descriptor::default() };
        let name = Reference::parse(BUILTIN).expect("the built-in name is well-formed");
        self.record(&Candidate {
            names: vec![name],
            manifest: build_manifest(&config, vec![layer]),
            config,
            layers: vec![],
        })
    }
}

fn configuration(diff_id: &str) -> Configuration {
    Configuration {
        architecture: architecture().into(),
        os: "linux".into(),
        config: Some(Execution {
            user: Some(format!("{USER}:{USER}")),
            env: Some(vec!["PATH=/".into()]),
            entrypoint: Some(vec!["/kprov".into(), "echo-server".into()]),
            working_dir: Some("/".into()),
            exposed_ports: Some([("8080/tcp".to_owned(), serde_json::json!({}))].into()),
            ..Execution::default()
        }),
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![diff_id.into()] },
    }
}

/// The layer as the archive that its digest is of.
fn write_archive(binary: &File, size: u64, to: impl Write) -> io::Result<()> {
    let mut archive = Builder::new(to);
    append(&mut archive, "kprov", 0o755, size, binary.take(size))?;
    for (path, mode, text) in FILES {
        append(&mut archive, path, *mode, text.len() as u64, text.as_bytes())?;
    }
    archive.into_inner().map(drop)
}

fn append(archive: &mut Builder<impl Write>, path: &str, mode: u32, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, path, content)
}

/// The same layer as a folder.
fn write_folder(binary: &Path, root: &Path) -> Result<(), Error> {
    let etc = root.join("etc");
    fs::create_dir_all(&etc).at("make", &etc)?;
    for folder in [root, &etc] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).at("set the mode of", folder)?;
    }
    let target = root.join("kprov");
    let (from, mut to) = (File::open(binary).at("open", binary)?, File::create_new(&target).at("make", &target)?);
    if rustix::fs::ioctl_ficlone(&to, &from).is_err() {
        io::copy(&mut &from, &mut to).at("copy to", &target)?;
    }
    to.set_permissions(fs::Permissions::from_mode(0o755)).at("set the mode of", &target)?;
    for (path, mode, text) in FILES {
        let file = root.join(path);
        fs::write(&file, text).at("write", &file)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).at("set the mode of", &file)?;
    }
    Ok(())
}
