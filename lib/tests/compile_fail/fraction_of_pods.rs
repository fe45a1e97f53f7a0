//! A share of pods is written in per cent.

use kprov::build::*;

fn main() {
    let _ = Deployment::new("web", Container::new("nginx", "nginx:1.27")).rolling(0.25, 0);
}
