//! What it costs to build an application that only uses builders: time, memory, and how much of it is our own.

#![allow(clippy::disallowed_types, reason = "starts cargo as a user does")]

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use super::machine::{self, Stopwatch};

/// A web app as a user writes it: builders, a bundle, its check, its YAML.
const MAIN: &str = r#"use kprov::Bundle;
use kprov::build::*;

fn main() {
    let web = Deployment::new("web", Container::new("nginx", "nginx:1.27").port("http", 80)).replicas(2);
    let mut app = Bundle::new("shop");
    app.add(web.expose("http").node_port());
    app.add(web);
    app.validate().expect("the server would take it");
    print!("{}", app.to_yaml().expect("it is written"));
}
"#;

/// Our own sources in such an application, with what a feature has to ask for left out.
const OURS: &[(&str, &str)] = &[("kprov (lib/src)", "lib/src"), ("kprov-schema (lib/schema/src)", "lib/schema/src")];
const LEFT_OUT: &[&str] = &["lib/src/client"];
/// Kubernetes' published facts, which are compiled in as they stand and read when the application runs.
const FACTS: &str = "lib/schema/data";

/// Builds the application in a folder of its own, with nothing built before, and prints one table.
///
/// Has to run in a process that has started nothing else: the peak of memory is that of all it ever waited for.
///
/// Errors: the build failed, or what it built does not run.
pub fn run(workspace: &Path) -> anyhow::Result<()> {
    println!("{}", machine::words()?);
    println!("| clean build of an application of builders | time | processor | largest rustc | crates | binary |");
    println!("|---|---|---|---|---|---|");
    for (profile, arguments) in [("debug", &[][..]), ("release", &["--release"][..])] {
        let folder = machine::folder()?;
        write(folder.path(), workspace)?;
        println!("| {profile} | {} |", build(folder.path(), profile, arguments)?);
    }
    println!("\n| our own sources in it | files | lines | without tests, comments and blank lines |");
    println!("|---|---|---|---|");
    for (name, folder) in OURS {
        let mut size = Size::default();
        size.add(workspace, &workspace.join(folder))?;
        println!("| {name} | {} | {} | {} |", size.files, size.lines, size.code);
    }
    println!("\nThe published facts in it ({FACTS}) are {} KB of text.", text_bytes(&workspace.join(FACTS))? / 1000);
    Ok(())
}

fn write(folder: &Path, workspace: &Path) -> anyhow::Result<()> {
    let manifest = format!(
        "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         kprov = {{ path = {:?} }}\nk8s-openapi = {{ version = \"*\", features = [\"v1_37\"] }}\n\n[workspace]\n",
        workspace.join("lib")
    );
    fs::create_dir(folder.join("src"))?;
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(folder.join("src/main.rs"), MAIN)?;
    // The versions that are tested here; cargo drops the rows that the application does not need.
    fs::copy(workspace.join("Cargo.lock"), folder.join("Cargo.lock")).context("copying the lock file")?;
    Ok(())
}

/// Builds and runs it, and returns the cells of its row.
fn build(folder: &Path, profile: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let clock = Stopwatch::start();
    let target = folder.join("target");
    let mut command = Command::new(cargo);
    command.args(["build", "--offline", "--quiet"]).args(arguments).current_dir(folder);
    // What the recipe itself was started with must not reach this build.
    command.env("CARGO_TARGET_DIR", &target).env_remove("RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
    let status = command.status()?;
    ensure!(status.success(), "the build ended with {status}");
    let time = clock.elapsed().as_secs_f64();
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |usage: &nix::sys::resource::Usage| {
        let (user, system) = (usage.user_time(), usage.system_time());
        (user.tv_sec() + system.tv_sec()) as f64 + (user.tv_usec() + system.tv_usec()) as f64 / 1e6
    };
    let program = target.join(profile).join("shop");
    let said = Command::new(&program).output()?;
    ensure!(said.status.success() && !said.stdout.is_empty(), "the application does not run");
    let size = fs::metadata(&program)?.len() as f64 / 1e6;
    let processor = seconds(&after) - seconds(&before);
    Ok(format!(
        "{time:.0} s | {processor:.0} s | {} MB | {} | {size:.1} MB",
        after.max_rss() / 1024,
        crates(&target.join(profile).join("deps"))?
    ))
}

/// The crates that were built: each leaves one file of what it depends on.
fn crates(deps: &Path) -> anyhow::Result<usize> {
    let files = fs::read_dir(deps).with_context(|| format!("reading {}", deps.display()))?;
    let of_crates = files.flatten().filter(|file| file.path().extension().is_some_and(|ending| ending == "d"));
    Ok(of_crates.count())
}

fn text_bytes(folder: &Path) -> anyhow::Result<u64> {
    let files = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let texts = files.flatten().filter(|file| file.path().extension().is_some_and(|ending| ending == "txt"));
    texts.map(|file| Ok(file.metadata()?.len())).sum()
}

#[derive(Debug, Default)]
struct Size {
    files: usize,
    lines: usize,
    code: usize,
}

impl Size {
    fn add(&mut self, workspace: &Path, folder: &Path) -> anyhow::Result<()> {
        if LEFT_OUT.iter().any(|left_out| folder == workspace.join(left_out)) {
            return Ok(());
        }
        for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
            if path.is_dir() {
                self.add(workspace, &path)?;
            } else if !is_test && path.extension().is_some_and(|ending| ending == "rs") {
                self.count(&fs::read_to_string(&path)?);
            }
        }
        Ok(())
    }

    fn count(&mut self, text: &str) {
        self.files += 1;
        self.lines += text.lines().count();
        // Tests stand last in a file.
        let product = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        self.code += product.lines().filter(code).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_with_and_without_what_is_no_code() {
        let mut size = Size::default();
        size.count("//! What.\n\nfn a() {}\n    // why\n    b();\n\n#[cfg(test)]\nmod tests {\n    c();\n}\n");
        assert_eq!((size.files, size.lines, size.code), (1, 10, 2));
    }
}
