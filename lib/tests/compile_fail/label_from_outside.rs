//! Text from outside is parsed before it becomes a label.

use kprov::build::*;

fn main() {
    let team = std::env::args().next().unwrap_or_default();
    let _ = Deployment::new("web", Container::new("nginx", "nginx:1.27")).label("team", team);
}
