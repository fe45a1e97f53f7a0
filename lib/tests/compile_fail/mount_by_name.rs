//! A mount needs the volume itself, not its name.

use kprov::build::*;

fn main() {
    let _ = Container::new("nginx", "nginx:1.27").mount("data", "/data");
}
