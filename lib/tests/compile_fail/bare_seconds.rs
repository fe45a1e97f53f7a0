//! A number without a unit is no duration.

use kprov::build::*;

fn main() {
    let _ = Deployment::new("web", Container::new("nginx", "nginx:1.27")).min_ready(5);
}
