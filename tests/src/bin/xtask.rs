//! The project's recipes, so that they need nothing but cargo.

#![allow(clippy::disallowed_types, reason = "recipes start cargo")]

use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use kprov_tests::{bench, images, portable};

const HELP: &str = "recipes:
  cargo xtask images                 build the images that tests use, into target/images
  cargo xtask bless CRATE...         run the tests of crates and rewrite what they expect; review the difference
  cargo xtask explore [CASES]        run the property tests on new random cases, 20000 each, and say their seed
  cargo xtask portable               build the command without containers, as other systems have it, and go through its life
  cargo xtask bench build            build an application of builders from nothing: time, memory, size of our sources
  cargo xtask bench [WORD...]        measure a release build; WORD: readyz up idle size container pod creates gets watchers
                                     beside scale
      --binary PATH                  measure this kprov instead, with the measuring side as it is built
      --runs N                       repeat what takes long so often [default: 5]
      --seconds N                    let a load last so long [default: 4]";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("images") => {
            for archive in images::build_all(Path::new("target/images"))? {
                println!("{}", archive.display());
            }
            Ok(())
        }
        Some("portable") => portable(),
        Some("bless") => bless(&arguments.collect::<Vec<_>>()),
        Some("explore") => explore(&arguments.next().unwrap_or_else(|| "20000".to_owned())),
        Some("bench") => bench(arguments.collect()),
        _ => bail!("{HELP}"),
    }
}

/// Tests, builds and runs what is compiled where there is no Linux.
fn portable() -> anyhow::Result<()> {
    let without = ["-p", "kprov-cli", "--no-default-features"];
    run(Command::new(cargo()).args(["test", "-p", "kprov-node"]).args(without))?;
    run(Command::new(cargo()).arg("build").args(without))?;
    let own = std::env::current_exe()?;
    let kprov = own.parent().context("this program is in no folder")?.join("kprov");
    portable::check(kprov.to_str().context("the path of the command is no text")?)
}

/// Everything that tests can rewrite, by what each asks for.
const BLESSING: [(&str, &str); 3] = [("UPDATE_EXPECT", "1"), ("REPLAY_BLESS", "1"), ("TRYBUILD", "overwrite")];

fn bless(crates: &[String]) -> anyhow::Result<()> {
    ensure!(!crates.is_empty(), "{HELP}");
    for name in crates {
        let mut command = Command::new(cargo());
        command.args(["test", "--no-fail-fast", "-p", name]).envs(BLESSING);
        if name == "kprov" {
            // What the compiler says to mistakes is held to this set of features.
            command.args(["--features", "client"]);
        }
        run(&mut command)?;
    }
    Ok(())
}

/// Runs the property tests with another seed than the one that every run has. The seed is the report of what it finds.
fn explore(cases: &str) -> anyhow::Result<()> {
    let _: u32 = cases.parse().with_context(|| format!("{cases} is no number of cases\n{HELP}"))?;
    let seed = RandomState::new().build_hasher().finish();
    println!("PROPTEST_RNG_SEED={seed} PROPTEST_CASES={cases}");
    let tests =
        ["test", "-p", "kprov-schema", "-p", "kprov", "-p", "kprov-control-plane", "--features", "kprov/client"];
    let filters = ["--tests", "--", "--skip", "compile_fail", "managed", "yaml", "roundtrip", "model"];
    run(Command::new(cargo())
        .args(tests)
        .args(filters)
        .env("PROPTEST_RNG_SEED", seed.to_string())
        .env("PROPTEST_CASES", cases))
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn bench(arguments: Vec<String>) -> anyhow::Result<()> {
    if arguments == ["build"] {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate is in no workspace")?;
        return bench::build::run(workspace);
    }
    let mut options =
        bench::Options { binary: PathBuf::new(), runs: 5, load: Duration::from_secs(4), only: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--binary" => options.binary = value()?.into(),
            "--runs" => options.runs = value()?.parse()?,
            "--seconds" => options.load = Duration::from_secs(value()?.parse()?),
            option if option.starts_with('-') => bail!("{HELP}"),
            word => options.only.push(word.to_owned()),
        }
    }
    if options.binary.as_os_str().is_empty() {
        return measure_release(&arguments);
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(bench::run(&options))
}

/// Builds the command with the measuring side as they are released, then lets that measure.
fn measure_release(arguments: &[String]) -> anyhow::Result<()> {
    let build = ["build", "--release", "-p", "kprov-cli", "-p", "kprov-tests", "--bin", "kprov", "--bin", "xtask"];
    run(Command::new(cargo()).args(build))?;
    // This program is <target>/debug/xtask.
    let own = std::env::current_exe()?;
    let release =
        own.parent().and_then(Path::parent).context("this program is not in a target folder")?.join("release");
    run(Command::new(release.join("xtask"))
        .args([OsStr::new("bench"), OsStr::new("--binary")])
        .arg(release.join("kprov"))
        .args(arguments))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
