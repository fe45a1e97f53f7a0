//! A deployment needs to know what to run.

use kprov::build::*;

fn main() {
    let _ = Deployment::new("web");
}
