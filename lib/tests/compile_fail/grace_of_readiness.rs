//! A failed readiness probe ends no container, so there is no time to give it.

use kprov::build::*;

fn main() {
    let probe = Probe::tcp(80).grace(std::time::Duration::from_secs(5));
    let _ = Container::new("nginx", "nginx:1.27").readiness(probe);
}
