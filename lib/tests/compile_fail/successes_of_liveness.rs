//! One good answer is enough for a liveness probe.

use kprov::build::*;

fn main() {
    let _ = Container::new("nginx", "nginx:1.27").liveness(Probe::tcp(80).successes(2));
}
