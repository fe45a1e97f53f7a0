//! Ports end at 65535.

use kprov::build::*;

fn main() {
    let _ = Container::new("nginx", "nginx:1.27").port("http", 70000);
}
