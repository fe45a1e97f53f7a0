//! The image store keeps whole images or nothing.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kprov_control_plane::world::real;
use kprov_node::images::{BUILTIN, Error, Reference, Store};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

fn open(folder: &Path) -> Store {
    Store::open(folder.join("images"), real::world(folder)).unwrap()
}

/// Layers need devices and trusted attributes, which only root may make.
fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(root || std::env::var_os("CI").is_none(), "these tests need root");
    root
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>())
}

struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(vec![]))
    }

    fn header(kind: EntryType, mode: u32, size: usize) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(2000);
        header.set_mtime(1_700_000_000);
        header.set_size(size as u64);
        header
    }

    /// Writes the name as it is, also when it leads outside.
    fn raw(mut self, kind: EntryType, name: &str, link: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Self::header(kind, mode, content.len());
        if kind == EntryType::Char {
            header.set_device_major(0).unwrap();
            header.set_device_minor(0).unwrap();
        }
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.raw(EntryType::Regular, name, "", 0o644, content.as_ref())
    }

    fn folder(self, name: &str) -> Self {
        self.raw(EntryType::Directory, name, "", 0o750, b"")
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|l| digest(l)).collect();
    serde_json::to_vec(&json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin", "A=b=c"], "Entrypoint": ["/bin/app"], "Cmd": ["-v"], "User": "app", "WorkingDir": "/srv", "StopSignal": "SIGQUIT"},
        "rootfs": {"type": "layers", "diff_ids": ids}
    }))
    .unwrap()
}

fn docker_archive(names: &[&str], layers: &[&[u8]]) -> Vec<u8> {
    let paths: Vec<String> = (0..layers.len()).map(|n| format!("l{n}/layer.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": names, "Layers": paths}]);
    let mut tar = Tar::new();
    for (path, layer) in paths.iter().zip(layers) {
        tar = tar.file(path, layer);
    }
    tar.file("config.json", config(layers)).file("manifest.json", manifest.to_string()).done()
}

fn oci_archive(name: &str, layers: &[&[u8]]) -> Vec<u8> {
    let mut tar = Tar::new().file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    let mut blob = |bytes: Vec<u8>| {
        let digest = digest(&bytes);
        let size = bytes.len();
        let path = format!("blobs/sha256/{}", &digest[7..]);
        let taken = std::mem::replace(&mut tar, Tar::new());
        tar = taken.file_long(&path, &bytes);
        json!({"mediaType": "x", "digest": digest, "size": size})
    };
    let descriptors: Vec<_> = layers.iter().map(|l| blob(gzip(l))).collect();
    let config = blob(config(layers));
    let manifest = blob(json!({"schemaVersion": 2, "config": config, "layers": descriptors}).to_string().into_bytes());
    let mut entry = manifest;
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    tar.file("index.json", json!({"schemaVersion": 2, "manifests": [entry]}).to_string()).done()
}

impl Tar {
    fn file_long(mut self, name: &str, content: &[u8]) -> Self {
        let mut header = Self::header(EntryType::Regular, 0o644, content.len());
        self.0.append_data(&mut header, name, content).unwrap();
        self
    }
}

fn layer_folder(folder: &Path, layer: &[u8]) -> PathBuf {
    folder.join("images/layers").join(&digest(layer)[7..39]).join("fs")
}

#[test]
fn every_archive_form_becomes_the_same_image() {
    if !root() {
        return;
    }
    let layer = Tar::new().folder("bin").file("bin/app", "#!").done();
    let forms = [
        docker_archive(&["app:1"], &[&layer]),
        gzip(&docker_archive(&["app:1"], &[&layer])),
        oci_archive("docker.io/library/app:1", &[&layer]),
        gzip(&oci_archive("app:1", &[&layer])),
    ];
    for form in forms {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path());
        let images = store.load(form.as_slice(), None).unwrap();
        let [image] = images.as_slice() else { panic!("{images:?}") };
        assert_eq!(image.id, digest(&config(&[&layer])));
        assert_eq!(image.names, ["docker.io/library/app:1"]);
        assert_eq!(image.env, [("PATH".into(), "/bin".into()), ("A".into(), "b=c".into())]);
        assert_eq!(
            (image.entrypoint.as_slice(), image.command.as_slice()),
            (&["/bin/app".into()][..], &["-v".into()][..])
        );
        assert_eq!(
            (image.user.as_str(), image.working_dir.as_str(), image.stop_signal.as_str()),
            ("app", "/srv", "SIGQUIT")
        );
        assert_eq!(image.size_bytes, 2);
        assert_eq!(store.find("app:1").unwrap().as_ref(), Some(image));
        assert_eq!(store.find(&image.id).unwrap().as_ref(), Some(image));
        assert_eq!(store.find("app").unwrap(), None, "latest was not loaded");
        assert!(std::fs::read_dir(folder.path().join("images/tmp")).unwrap().next().is_none());
    }
}

#[test]
fn layers_are_unpacked_for_overlayfs() {
    if !root() {
        return;
    }
    let layer = Tar::new()
        .folder("etc")
        .file("etc/kept", "kept")
        .file("etc/.wh.hidden", "")
        .folder("opt")
        .file("opt/.wh..wh..opq", "")
        .raw(EntryType::Link, "etc/twin", "etc/kept", 0o644, b"")
        .raw(EntryType::Symlink, "etc/link", "../../outside", 0o777, b"")
        .raw(EntryType::Regular, "su", "", 0o4755, b"x")
        .raw(EntryType::Fifo, "fifo", "", 0o600, b"")
        .file("etc/gone", "")
        .file("etc/.wh.again", "")
        .folder("etc/again")
        .done();
    let folder = TempDir::new().unwrap();
    open(folder.path()).load(docker_archive(&["a"], &[&layer]).as_slice(), None).unwrap();
    let root = layer_folder(folder.path(), &layer);
    let hidden = std::fs::symlink_metadata(root.join("etc/hidden")).unwrap();
    assert!(hidden.file_type().is_char_device() && hidden.rdev() == 0);
    let mut value = [0; 8];
    for opaque in ["opt", "etc/again"] {
        let length = rustix::fs::lgetxattr(root.join(opaque), "trusted.overlay.opaque", &mut value).unwrap();
        assert_eq!(&value[..length], b"y", "{opaque}");
    }
    let kept = std::fs::metadata(root.join("etc/kept")).unwrap();
    assert_eq!((kept.uid(), kept.gid(), kept.mode() & 0o7777, kept.mtime()), (1000, 2000, 0o644, 1_700_000_000));
    assert_eq!(kept.ino(), std::fs::metadata(root.join("etc/twin")).unwrap().ino());
    assert_eq!(std::fs::read_link(root.join("etc/link")).unwrap(), Path::new("../../outside"));
    assert_eq!(std::fs::metadata(root.join("su")).unwrap().permissions().mode() & 0o7777, 0o4755);
    assert!(std::fs::metadata(root.join("fifo")).unwrap().file_type().is_fifo());
    let etc = std::fs::metadata(root.join("etc")).unwrap();
    assert_eq!((etc.mode() & 0o7777, etc.mtime()), (0o750, 1_700_000_000));
}

#[test]
fn what_reaches_outside_is_refused_and_leaves_nothing() {
    if !root() {
        return;
    }
    let bad = [
        Tar::new().raw(EntryType::Regular, "../evil", "", 0o644, b"x"),
        Tar::new().raw(EntryType::Regular, "a/../../evil", "", 0o644, b"x"),
        Tar::new().raw(EntryType::Symlink, "way", "/", 0o777, b"").file("way/evil", "x"),
        Tar::new().raw(EntryType::Symlink, "way", "../..", 0o777, b"").file("way/evil", "x"),
        Tar::new().raw(EntryType::Link, "evil", "../../etc/passwd", 0o644, b""),
        Tar::new().raw(EntryType::Symlink, "way", "/etc", 0o777, b"").raw(
            EntryType::Link,
            "evil",
            "way/passwd",
            0o644,
            b"",
        ),
        Tar::new().raw(EntryType::Char, "null", "", 0o644, b""),
        Tar::new().file(".wh...", ""),
    ];
    for tar in bad {
        let layer = tar.done();
        let folder = TempDir::new().unwrap();
        let store = open(folder.path());
        let answer = store.load(docker_archive(&["a"], &[&layer]).as_slice(), None);
        assert!(matches!(answer, Err(Error::Unsafe { .. })), "{answer:?}");
        assert!(store.list().unwrap().is_empty());
        assert!(!folder.path().join("evil").exists());
        for part in ["tmp", "layers", "blobs/sha256"] {
            assert!(std::fs::read_dir(folder.path().join("images").join(part)).unwrap().next().is_none(), "{part}");
        }
    }
}

#[test]
fn a_link_replaced_by_a_file_is_not_written_through() {
    if !root() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "safe").unwrap();
    let link = outside.display().to_string();
    let layer = Tar::new().raw(EntryType::Symlink, "x", &link, 0o777, b"").file("x", "new").done();
    open(folder.path()).load(docker_archive(&["a"], &[&layer]).as_slice(), None).unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "safe");
    assert_eq!(std::fs::read_to_string(layer_folder(folder.path(), &layer).join("x")).unwrap(), "new");
}

#[test]
fn what_is_no_image_is_named() {
    let layer = Tar::new().file("a", "b").done();
    let damaged = {
        let text =
            String::from_utf8_lossy(&docker_archive(&["a"], &[&layer])).replace("l0/layer.tar\"", "l1/layer.tar\"");
        text.into_bytes()
    };
    let cases: [(&[u8], &str); 6] = [
        (b"", "is empty"),
        (b"hello, I am a text that is no archive at all", "no tar archive"),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0, 0], "zstd"),
        (&gzip(b"short"), "no tar archive"),
        (&layer, "neither manifest.json nor index.json"),
        (&damaged, "l1/layer.tar is missing"),
    ];
    for (bytes, words) in cases {
        let folder = TempDir::new().unwrap();
        let error = open(folder.path()).load(bytes, None).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, Error::NotAnImage(_)) && text.contains(words) && text.contains("docker save"),
            "{words}: {text}"
        );
    }
}

#[test]
fn damaged_content_is_found_by_its_digest() {
    if !root() {
        return;
    }
    let layer = Tar::new().file("a", "content-one").done();
    let mut archive = docker_archive(&["a"], &[&layer]);
    let at = archive.windows(11).position(|w| w == b"content-one").unwrap();
    archive[at] = b'C';
    let folder = TempDir::new().unwrap();
    let answer = open(folder.path()).load(archive.as_slice(), None);
    assert!(matches!(answer, Err(Error::Digest { .. })), "{answer:?}");
}

#[test]
fn another_process_sees_what_was_loaded() {
    if !root() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (server, command) = (open(folder.path()), open(folder.path()));
    assert_eq!(server.find("a").unwrap(), None);
    let layer = Tar::new().file("a", "b").done();
    command.load(docker_archive(&["a"], &[&layer]).as_slice(), None).unwrap();
    assert!(server.find("a:latest").unwrap().is_some());
    command.remove("a").unwrap();
    assert_eq!(server.find("a").unwrap(), None);
    assert!(std::fs::read_dir(folder.path().join("images/layers")).unwrap().next().is_none(), "its layer is gone too");
}

#[test]
fn an_image_in_use_stays() {
    if !root() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let layer = Tar::new().file("a", "b").done();
    let image = store.load(docker_archive(&["a:1", "a:2"], &[&layer]).as_slice(), None).unwrap().remove(0);
    let layers = store.lease("node", "c1", &image.id).unwrap();
    assert_eq!(layers.folder.join(&layers.names[0]), layer_folder(folder.path(), &layer));
    assert_eq!(store.remove("a:1").unwrap().image, None, "one of two names");
    let answer = store.remove("a:2");
    assert!(matches!(&answer, Err(Error::InUse { containers, .. }) if containers == &["node/c1"]), "{answer:?}");
    // A name that moves to another image leaves the one in use without a name, but there.
    let other = Tar::new().file("a", "c").done();
    store.load(docker_archive(&["a:2"], &[&other]).as_slice(), None).unwrap();
    assert_ne!(store.find("a:2").unwrap().unwrap().id, image.id);
    assert!(store.find(&image.id).unwrap().unwrap().names.is_empty());
    store.retain("node", &BTreeSet::from(["c1".into()])).unwrap();
    assert!(store.remove(&image.id).is_err());
    store.retain("node", &BTreeSet::new()).unwrap();
    assert_eq!(store.remove(&image.id).unwrap().image, Some(image.id));
    assert!(matches!(store.remove("a:1"), Err(Error::Missing(_))));
}

#[test]
fn a_crash_leaves_garbage_that_the_next_start_sweeps() {
    if !root() {
        return;
    }
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()));
    let images = folder.path().join("images");
    std::fs::create_dir_all(images.join("tmp/half/fs")).unwrap();
    std::fs::create_dir_all(images.join("layers/0123/fs")).unwrap();
    std::fs::write(images.join("blobs/sha256/ff"), "x").unwrap();
    let store = open(folder.path());
    for part in ["tmp", "layers", "blobs/sha256"] {
        assert!(std::fs::read_dir(images.join(part)).unwrap().next().is_none(), "{part}");
    }
    std::fs::write(images.join("index.json"), "{").unwrap();
    assert!(matches!(store.list(), Err(Error::Corrupt { .. })), "what can't be read is no empty list");
}

#[test]
fn the_builtin_image_is_made_once() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let binary = folder.path().join("binary");
    std::fs::write(&binary, "one").unwrap();
    let first = store.add_builtin(&binary).unwrap();
    assert_eq!(first.names, [BUILTIN]);
    assert_eq!(store.find("kprov.local/echo").unwrap().as_ref(), Some(&first));
    assert_eq!(store.add_builtin(&binary).unwrap(), first);
    std::fs::write(&binary, "another").unwrap();
    let second = store.add_builtin(&binary).unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(store.list().unwrap(), [second], "nobody uses the first one");
}

#[test]
fn a_name_can_be_given_to_an_archive_without_one() {
    if !root() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let layer = Tar::new().file("a", "b").done();
    let archive = oci_archive("latest", &[&layer]);
    assert!(store.load(archive.as_slice(), None).unwrap()[0].names.is_empty());
    let name = Reference::parse("team/app:3").unwrap();
    assert_eq!(store.load(archive.as_slice(), Some(&name)).unwrap()[0].names, ["docker.io/team/app:3"]);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_is_told_of_what_another_process_loads_and_removes() {
    if !root() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (agents, commands) = (open(folder.path()), open(folder.path()));
    let mut changes = agents.changes().unwrap();
    for round in 0..2 {
        commands.load(&*docker_archive(&["app:1"], &[]), None).unwrap();
        changes.next().await.unwrap();
        assert!(agents.find("app:1").unwrap().is_some(), "{round}");
        commands.remove("app:1").unwrap();
        changes.next().await.unwrap();
        assert!(agents.find("app:1").unwrap().is_none(), "{round}");
    }
}
