//! Real containers, tested with this binary as shim, as image and as what runs in the containers.
//!
//! Needs root: without it nothing is tested, and with `CI` set that is a failure. `cargo test --test oci NAME` runs the
//! tests whose names contain NAME.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "the modules of a test are one program")]
#![allow(clippy::disallowed_methods, reason = "the runner shows how long a test took")]

#[cfg(containers)]
mod cases;
#[cfg(containers)]
mod fixture;
#[cfg(containers)]
mod inside;
#[cfg(containers)]
mod sessions;

#[cfg(not(containers))]
fn main() {}

#[cfg(containers)]
fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    let first = args.next().unwrap_or_default();
    match first.to_str().unwrap_or_default() {
        "runtime-shim" => kprov_node::runtime::oci::shim_main(args),
        "inside" => inside::run(&args.map(|a| a.into_string().unwrap()).collect::<Vec<_>>()),
        _ => run_tests(),
    }
}

#[cfg(containers)]
fn run_tests() -> std::process::ExitCode {
    use futures::FutureExt;
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if std::env::args().any(|arg| arg == "--list") {
        cases::ALL.iter().for_each(|(name, _)| println!("{name}: test"));
        return std::process::ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        let ci = std::env::var_os("CI").is_some();
        println!("containers need root: {}", if ci { "FAILED" } else { "nothing tested" });
        return std::process::ExitCode::from(u8::from(ci));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut failed = vec![];
    for (name, case) in cases::ALL.iter().filter(|(name, _)| words.is_empty() || words.iter().any(|w| name.contains(w)))
    {
        let begun = std::time::Instant::now();
        let passed = runtime.block_on(async {
            let fixture = fixture::Fixture::new(name).await;
            let passed = std::panic::AssertUnwindSafe(case(&fixture)).catch_unwind().await.is_ok();
            fixture.end().await;
            passed
        });
        println!("test {name} ... {} ({} ms)", if passed { "ok" } else { "FAILED" }, begun.elapsed().as_millis());
        if !passed {
            failed.push(name);
        }
    }
    println!("\ntest result: {}", if failed.is_empty() { "ok".into() } else { format!("FAILED: {failed:?}") });
    std::process::ExitCode::from(u8::from(!failed.is_empty()))
}
