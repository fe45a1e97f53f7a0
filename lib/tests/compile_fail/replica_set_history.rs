//! A replica set has one version of its pods.

use kprov::build::*;

fn main() {
    let _ = ReplicaSet::new("web", Container::new("nginx", "nginx:1.27")).history(3);
}
