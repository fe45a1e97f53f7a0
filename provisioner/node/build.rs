//! Says `containers` to the sources when the feature of that name is on and the target is Linux: the one switch for all
//! that needs the Linux kernel.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(containers)");
    let on_linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if on_linux && env::var_os("CARGO_FEATURE_CONTAINERS").is_some() {
        println!("cargo::rustc-cfg=containers");
    }
}
