//! Images of the tutorials, built from Debian packages.

#![allow(clippy::disallowed_types, reason = "mmdebstrap makes the root file systems")]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An image to build.
#[derive(Debug)]
pub struct Recipe {
    /// File name of its archive, without ending.
    pub file: &'static str,
    /// Names that it is loaded under.
    pub names: &'static [&'static str],
    /// Debian packages beside the smallest system.
    pub packages: &'static [&'static str],
    /// Program to start.
    pub command: &'static [&'static str],
    /// Shell commands that run in the finished tree; `$1` is its folder.
    pub finish: &'static [&'static str],
}

/// Every image that tests use.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        file: "nginx",
        names: &["nginx:latest", "nginx:1.16", "nginx:alpine"],
        packages: &["nginx-light", "curl"],
        command: &["nginx", "-g", "daemon off;"],
        finish: &[
            "ln -sf /dev/stdout \"$1/var/log/nginx/access.log\"",
            "ln -sf /dev/stderr \"$1/var/log/nginx/error.log\"",
        ],
    },
    Recipe {
        file: "httpd",
        names: &["httpd:latest", "httpd:alpine"],
        packages: &["apache2", "curl", "iproute2"],
        command: &["apache2ctl", "-D", "FOREGROUND"],
        finish: &[
            "echo 'ServerName localhost' >> \"$1/etc/apache2/apache2.conf\"",
            "echo '<html><body><h1>It works!</h1></body></html>' > \"$1/var/www/html/index.html\"",
        ],
    },
    Recipe {
        file: "busybox",
        names: &["busybox:latest", "busybox:1.28", "busybox:stable"],
        packages: &[],
        command: &["sh"],
        finish: &[],
    },
];

/// Builds what is missing in `folder` and returns the archive of each recipe, in order.
///
/// Errors: needs root, Debian's package archives, and mmdebstrap; a missing program is named.
pub fn build_all(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    RECIPES.iter().map(|recipe| build(recipe, folder).with_context(|| format!("image {}", recipe.file))).collect()
}

/// Builds one image unless its archive is there, and returns the archive's path.
pub fn build(recipe: &Recipe, folder: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    // Tests of one run need the same images at the same time, and so do several runs.
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    let archive = folder.join(format!("{}.tar", recipe.file));
    if is_current(&archive, recipe)? {
        return Ok(archive);
    }
    let layer = folder.join(format!("{}.layer.tar", recipe.file));
    if recipe.packages.is_empty() {
        busybox_layer(&layer)?
    } else {
        debian_layer(recipe, &layer)?
    }
    let new = archive.with_extension("new");
    write_archive(recipe, &layer, &new)?;
    fs::rename(&new, &archive)?;
    fs::remove_file(&layer)?;
    Ok(archive)
}

/// Whether there is an archive with the names of its recipe.
fn is_current(archive: &Path, recipe: &Recipe) -> anyhow::Result<bool> {
    if !archive.exists() {
        return Ok(false);
    }
    for entry in tar::Archive::new(File::open(archive)?).entries()? {
        let entry = entry?;
        if entry.path()?.as_os_str() == "manifest.json" {
            let manifest: Value = serde_json::from_reader(entry)?;
            return Ok(manifest[0]["RepoTags"] == json!(recipe.names));
        }
    }
    Ok(false)
}

/// The archive of the recipe with that file name.
pub fn archive(file: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let recipe = RECIPES.iter().find(|recipe| recipe.file == file).with_context(|| format!("no recipe {file}"))?;
    build(recipe, folder)
}

fn debian_layer(recipe: &Recipe, layer: &Path) -> anyhow::Result<()> {
    need("mmdebstrap", "mmdebstrap")?;
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--aptopt=Apt::Install-Recommends \"false\""]);
    command.arg(format!("--include={}", recipe.packages.join(",")));
    for step in recipe.finish {
        command.arg(format!("--customize-hook={step}"));
    }
    run(command.arg("bookworm").arg(layer))
}

/// One static program that every applet's name leads to.
fn busybox_layer(layer: &Path) -> anyhow::Result<()> {
    need("/bin/busybox", "busybox-static")?;
    let listed = Command::new("/bin/busybox").arg("--list").output().context("asking busybox for its applets")?;
    let mut tar = tar::Builder::new(File::create(layer)?);
    for (folder, mode) in [("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700), ("var", 0o755)] {
        let mut header = root_header(tar::EntryType::Directory, mode, 0);
        tar.append_data(&mut header, format!("{folder}/"), std::io::empty())?;
    }
    tar.append_path_with_name("/bin/busybox", "bin/busybox")?;
    for applet in String::from_utf8(listed.stdout)?.lines().filter(|applet| *applet != "busybox") {
        let mut header = root_header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    for (path, text) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ] {
        let mut header = root_header(tar::EntryType::Regular, 0o644, text.len());
        tar.append_data(&mut header, path, text.as_bytes())?;
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

/// Wraps a layer as `docker save` would.
fn write_archive(recipe: &Recipe, layer: &Path, archive: &Path) -> anyhow::Result<()> {
    let mut digest = Sha256::new();
    std::io::copy(&mut File::open(layer)?, &mut digest)?;
    let diff_id = format!("sha256:{}", hex(&digest.finalize()));
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {
            "Cmd": recipe.command,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    let config = serde_json::to_vec(&config)?;
    let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
    let manifest = json!([{"Config": config_name, "RepoTags": recipe.names, "Layers": ["layer.tar"]}]);
    let mut tar = tar::Builder::new(File::create(archive)?);
    for (name, bytes) in [(config_name.as_str(), config), ("manifest.json", serde_json::to_vec(&manifest)?)] {
        let mut header = root_header(tar::EntryType::Regular, 0o644, bytes.len());
        tar.append_data(&mut header, name, bytes.as_slice())?;
    }
    tar.append_path_with_name(layer, "layer.tar")?;
    tar.into_inner()?.flush()?;
    Ok(())
}

fn root_header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Set on machines that may be changed: then a Debian package that is missing is installed.
const MAY_INSTALL: [&str; 2] = ["CI", "KPROV_INSTALL"];

/// Makes sure that a program of a Debian package is there.
///
/// Errors: it is not, and may not be installed.
fn need(program: &str, package: &str) -> anyhow::Result<()> {
    let known = Command::new("sh").args(["-c", "command -v \"$0\""]).arg(program).output()?;
    if known.status.success() {
        return Ok(());
    }
    if MAY_INSTALL.iter().all(|name| std::env::var_os(name).is_none()) {
        bail!("{program} is missing: `apt-get install {package}`, or set KPROV_INSTALL=1 to have tests install it");
    }
    run(Command::new("apt-get").args(["-qq", "update"]))?;
    run(Command::new("apt-get").args(["-qq", "-y", "--no-install-recommends", "install", package]))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let out = command.output().with_context(|| format!("starting {command:?}"))?;
    if !out.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}
