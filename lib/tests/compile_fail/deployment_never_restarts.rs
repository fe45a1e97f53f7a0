//! What a deployment keeps running can't end.

use kprov::build::*;

fn main() {
    let _ = Deployment::new("web", Container::new("nginx", "nginx:1.27")).never_restart();
}
