//! The nodes decide how many pods a daemon set has.

use kprov::build::*;

fn main() {
    let _ = DaemonSet::new("agent", Container::new("nginx", "nginx:1.27")).replicas(3);
}
